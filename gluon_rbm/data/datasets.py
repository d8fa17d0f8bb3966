"""Data sets: training and test images with their labels, loaded and checked.

Images that come as bytes stay bytes.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Sequence

import numpy as np

from gluon_rbm.backend import array_files
from gluon_rbm.backend.types import HostArray, SoftmaxGroups
from gluon_rbm.data import array_sets, downloads, sequences
from gluon_rbm.data.batches import BINARIZE
from gluon_rbm.data.image_files import first_shape, labelled_files, read_files
from gluon_rbm.data.transforms import check_memory, resize_and_crop
from gluon_rbm.errors import InputError, did_you_mean

__all__ = ["FILES", "NAMES", "DataSet", "known_shape", "load", "load_binarized"]

NAMES = ("mnist", "fashion-mnist", "cifar10", "image-folder", "digits", "bars-and-stripes")

# Names of the labels 0, 1, ... (CIFAR-10: from batches.meta.txt; Fashion-MNIST: from its README).
_CLASS_NAMES = {
    "cifar10": ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    "fashion-mnist": (
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    ),
}  # fmt: skip

FILES = (*array_sets.SUFFIXES, *sequences.SUFFIXES)
_TEST_SHARE = 0.1  # largest share of the effective number of sequences
# Shapes of images that are known before the images are loaded.
_SHAPES = {
    "mnist": (28, 28),
    "fashion-mnist": (28, 28),
    "cifar10": (32, 32, 3),
    "digits": (8, 8),
    "bars-and-stripes": (4, 4),
}


@dataclass(frozen=True, eq=False)  # comparing arrays gives an array, not one truth value
class DataSet:
    """Images of one size, split into training and test images."""

    name: str
    #: uint8 or float32, (num_images, height, width) or (num_images, height, width, 3)
    train_images: HostArray
    train_labels: HostArray | None  #: int32 (num_images,); None if the images have no labels
    test_images: HostArray  #: as `train_images`
    test_labels: HostArray | None  #: as `train_labels`
    maximum: int  #: the pixel value that means 1.0
    #: names of the labels 0, 1, ...; None if they are numbers or unknown
    class_names: tuple[str, ...] | None = None
    #: letters of sequences, with one-hot images (length, letters); empty for other images
    alphabet: str = ""
    #: float64 (num_images,), the weight of each image; None if all are equal
    train_weights: HostArray | None = None
    test_weights: HostArray | None = None  #: as `train_weights`
    #: how many of the last training images the run at hand held out; 0: not known
    num_held_out: int = 0

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Shape of an image.

        Returns
        -------
        tuple of int
            (height, width) or (height, width, 3). For sequences, (length, letters).
        """
        return self.train_images.shape[1:]

    @property
    def num_visible(self) -> int:
        """Number of visible units that an image needs.

        Returns
        -------
        int
            Pixels of an image, times 3 in colour.
        """
        return math.prod(self.image_shape)

    @property
    def softmax_groups(self) -> SoftmaxGroups:
        """Groups of visible units of which exactly one is on.

        Returns
        -------
        tuple of (start, stop)
            For sequences, one group per place, with a unit for each letter. For images, empty.
        """
        return sequences.groups_of(*self.image_shape) if self.alphabet else ()

    @property
    def num_classes(self) -> int:
        """Number of classes.

        Returns
        -------
        int
            1 + the largest label, as classes are numbered from 0. It is 0 without labels.
        """
        if self.train_labels is None or self.test_labels is None:
            return 0
        return 1 + max(int(labels.max(initial=-1)) for labels in (self.train_labels, self.test_labels))


def load(
    name: str | os.PathLike[str],
    data_dir: str | os.PathLike[str] | None = None,
    progress: bool = True,
    image_size: Sequence[int] | None = None,
    skipped: list[Path] | None = None,
) -> DataSet:
    """Load a data set by its name, or from a file by its path.

    MNIST, Fashion-MNIST and CIFAR-10 are looked for in `data_dir`, then in the folder that the
    environment variable MXNET_RBM_DATA names, then in the cache $MXNET_HOME/datasets/NAME. In the
    first two, the folder itself comes first, then its subfolder with the name of the data set.
    Missing files are downloaded.

    Parameters
    ----------
    name
        One of `NAMES`, or the path of a file: images (.npy or .npz, see `array_sets.read`), or
        aligned sequences (.fasta, .fas, .fa or .afa, see `gluon_rbm.data.sequences`).
    data_dir
        Folder of a published data set. Required for image-folder: it holds one folder of images
        per class, or folders train and test of such folders, or images only (no labels).
    progress
        Show progress bars, on a terminal only.
    image_size
        (height, width) to which `transforms.resize_and_crop` brings images of any other size.
        Without it, the images of a folder must be of one size.
    skipped
        List to which the files in an image folder that cannot be read as images are added, and
        links out of the folder. Without it, they are an InputError.

    Returns
    -------
    DataSet
        Training and test images.

    Raises
    ------
    InputError
        The name is unknown, a file is damaged or not what it should be, a file can be neither
        found nor downloaded, or `data_dir` or `image_size` does not apply to the data set.

    Notes
    -----
    Without a given split, every tenth image, from the first on, is a test image.

    Repeated sequences are left out. The weight of a sequence is 1 / the number of sequences that
    agree with it in at least 80 % of the places, itself included. Up to a tenth of the total
    weight is test sequences. These are whole clusters, so no training sequence agrees with a test
    sequence in 80 % of the places.

    Examples
    --------
    >>> from gluon_rbm import load_dataset
    >>> data = load_dataset("bars-and-stripes")
    >>> data.train_images.shape, data.num_visible, data.class_names
    ((30, 4, 4), 16, ('bars', 'stripes'))
    """
    name = os.fspath(name)
    if name == "image-folder":
        return _image_folder(data_dir, progress, image_size, skipped)
    if data_dir is not None and name not in downloads.SOURCES and (name in NAMES or name.lower().endswith(FILES)):
        raise InputError(f"{name} is not read from a folder; leave out --data-dir {data_dir}")
    data = _load(name, data_dir, progress)
    if image_size is None or data.image_shape[:2] == tuple(image_size):
        return data
    if data.alphabet:
        raise InputError(f"{name} holds sequences, which cannot be resized; leave out --image-size")
    return _resized(data, image_size)


def known_shape(name: str, image_size: Sequence[int] | None = None) -> tuple[int, ...] | None:
    """Shape of the images of a data set, without loading them.

    Parameters
    ----------
    name, image_size
        As in `load`.

    Returns
    -------
    tuple of int, or None
        (height, width) or (height, width, 3). None if the images must be loaded to know it.
    """
    shape = _SHAPES.get(name)
    return shape and (*(image_size or shape[:2]), *shape[2:])


def _load(name: str, data_dir: str | os.PathLike[str] | None, progress: bool) -> DataSet:
    if name in downloads.SOURCES:
        arrays = downloads.read_published(name, data_dir, progress)
        return DataSet(name, *arrays, maximum=255, class_names=_CLASS_NAMES.get(name))
    if name == "digits":
        return _digits()
    if name == "bars-and-stripes":
        return _bars_and_stripes()
    if name.lower().endswith(array_sets.SUFFIXES):
        arrays, maximum = array_sets.read(name)
        return DataSet(name, *arrays, maximum=maximum)
    if name.lower().endswith(sequences.SUFFIXES):
        return _alignment(name)
    meant, names = did_you_mean(name.lower(), NAMES), ", ".join(NAMES)
    guess = f" ({meant})" if meant else ""
    raise InputError(f"unknown data set {name!r}{guess}; choose {names}, or the path of a .npy, .npz or .fasta file")


def _resized(data: DataSet, size: Sequence[int]) -> DataSet:
    if data.train_images.dtype != np.uint8:
        raise InputError(f"images of {data.name} are not bytes, so --image-size does not apply; resize them yourself")
    count = len(data.train_images) + len(data.test_images)
    check_memory(count, (*size, *data.image_shape[2:]))
    train, test = (
        # Near an edge, interpolation can exceed the largest value. (Bytes never exceed 255.)
        np.stack([resize_and_crop(image, size) for image in images]).clip(max=data.maximum)
        for images in (data.train_images, data.test_images)
    )
    return replace(data, train_images=train, test_images=test)


def load_binarized(path: str, num_images: int, num_visible: int) -> HostArray:
    """Read a fixed binarization of images from a file.

    Parameters
    ----------
    path
        A .npy file, (num_images, num_visible) or (num_images, height, width), or a text file with
        a line of digits 0 and 1 for each image.
    num_images, num_visible
        Number of images, and of pixels of each, that the file must hold.

    Returns
    -------
    uint8 (num_images, num_visible)
        Pixels, 0 or 1.

    Raises
    ------
    InputError
        The file cannot be read, holds other values than 0 and 1, or has another shape.

    Notes
    -----
    The text format is the one of binarized_mnist_test.amat (Larochelle & Murray, AISTATS 2011).
    """
    try:
        if path.lower().endswith(".npy"):
            values = array_files.load_npy(os.path.expanduser(path))
        else:
            array_files.check_ordinary(os.path.expanduser(path))
            lines = Path(os.path.expanduser(path)).read_bytes().split(b"\n")
            values = np.stack([np.frombuffer(b"".join(line.split()), np.uint8) for line in lines if line.strip()]) - 48
    except Exception as error:
        # NumPy raises errors of many kinds, also for lines of different lengths.
        choice = ", ".join(BINARIZE)
        raise InputError(f"{path} is not a file of binary images; give one, or binarize by {choice}") from error
    if values.ndim < 2 or values.shape[0] != num_images or math.prod(values.shape[1:]) != num_visible:
        raise InputError(
            f"{path} has shape {values.shape}, but {num_images} images of {num_visible} pixels are needed; give the"
            " binarization of this part of the data set"
        )
    if values.dtype.kind not in "biuf" or not ((values == 0) | (values == 1)).all():
        raise InputError(f"{path} holds values other than 0 and 1; a fixed binarization needs 0 and 1 only")
    return values.reshape(num_images, num_visible).astype(np.uint8)


# -- Data sets that are not downloaded -------------------------------------------------------------


def _digits() -> DataSet:
    # scikit-learn contains the images. It is slow to import, so it is imported only here.
    from sklearn.datasets import load_digits

    digits: Any = load_digits()  # a Bunch: its contents have no types
    images, labels = digits.images.astype(np.uint8), digits.target.astype(np.int32)
    return DataSet("digits", images[:1437], labels[:1437], images[1437:], labels[1437:], maximum=16)


def _bars_and_stripes(size: int = 4) -> DataSet:
    """All patterns of uniform columns (bars, label 0) or rows (stripes, label 1).

    The patterns with all pixels off or all on are bars.
    """
    lines = (np.arange(2**size)[:, None] >> np.arange(size)) & 1
    bars = np.repeat(lines[:, None, :], size, axis=1)
    stripes = np.repeat(lines[1:-1, :, None], size, axis=2)
    images = np.concatenate([bars, stripes]).astype(np.uint8)
    labels = np.repeat(np.array([0, 1], np.int32), [len(bars), len(stripes)])
    names = ("bars", "stripes")
    return DataSet("bars-and-stripes", images, labels, images, labels, maximum=1, class_names=names)


def _alignment(path: str) -> DataSet:
    """Read the distinct sequences of a file. Clusters drawn at random are test sequences."""
    alignment = sequences.read_fasta(path)
    _, first = np.unique(alignment.sequences, axis=0, return_index=True)
    distinct = alignment.sequences[np.sort(first)]
    weights, cluster = sequences.sequence_weights(distinct), sequences.clusters(distinct)
    of_cluster = np.bincount(cluster, weights)
    is_test, taken = np.zeros(len(of_cluster), bool), 0.0
    for number in np.random.default_rng(0).permutation(len(of_cluster)):
        if taken + of_cluster[number] <= _TEST_SHARE * weights.sum():
            is_test[number], taken = True, taken + of_cluster[number]
    if not is_test.any():
        raise InputError(
            f"sequences of {path} are too similar, or too few, to hold out a tenth of them; add more and different ones"
        )
    units, test = sequences.one_hot(distinct, alignment.alphabet), is_test[cluster]
    return DataSet(
        path,
        units[~test],
        None,
        units[test],
        None,
        maximum=1,
        alphabet=alignment.alphabet,
        train_weights=weights[~test],
        test_weights=weights[test],
    )


# -- Folders of images -----------------------------------------------------------------------------


def _image_folder(
    folder: str | os.PathLike[str] | None, progress: bool, size: Sequence[int] | None, skipped: list[Path] | None
) -> DataSet:
    if folder is None:
        raise InputError("image-folder needs a folder of images; give it with --data-dir")
    if not os.path.isdir(os.path.expanduser(folder)):
        raise InputError(f"{folder} is not a folder; give the folder of images with --data-dir")
    root = Path(os.path.expanduser(folder))
    is_split = (root / "train").is_dir() and (root / "test").is_dir()
    for name, other in (("train", "test"), ("test", "train")):
        half = root / name  # or a class of that name, whose images are directly in it
        if half.is_dir() and not (root / other).is_dir() and any(path.is_dir() for path in half.iterdir()):
            raise InputError(f"{root} has {name}/ but no {other}/; add it, or move the class folders up into {root}")
    if is_split:
        splits = [labelled_files(root / name, skipped, root) for name in ("train", "test")]
    else:
        splits = _every_tenth(root, skipped)
    classes = sorted({label for split in splits for _, label in split})
    if "" in classes[:-1]:
        raise InputError(f"only one of train and test in {root} has class folders; both must have them, or neither")
    # The first image gives the shape. Without a given split, it is a test image.
    files = [path for split in (splits if is_split else splits[::-1]) for path, _ in split]
    shape = first_shape(files, skip=skipped is not None)
    shape = shape if size is None else (*size, *shape[2:])
    images, labels = [], []
    for name, split in zip(("training", "test"), splits):
        pixels, places = read_files([path for path, _ in split], shape, progress, size is not None, skipped)
        if not places:
            raise InputError(f"no {name} image of {root} can be read; repair or remove them")
        images.append(pixels)
        numbers = [classes.index(split[place][1]) for place in places]
        labels.append(None if classes == [""] else np.array(numbers, np.int32))
    names = None if classes == [""] else tuple(classes)
    return DataSet("image-folder", images[0], labels[0], images[1], labels[1], maximum=255, class_names=names)


def _every_tenth(root: Path, skipped: list[Path] | None) -> list[list[tuple[Path, str]]]:
    """Split a folder's images: every tenth, from the first on, is a test image."""
    files = labelled_files(root, skipped)
    if len(files) < 2:
        raise InputError(f"{root} holds a single image; add more")
    return [[file for index, file in enumerate(files) if index % 10], files[::10]]
