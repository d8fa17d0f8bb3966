"""Every data set, verified, and its batches as float32 arrays in [0, 1]. Images stay bytes until a batch needs them."""

import math
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Optional, Tuple

import numpy as np

from gluon_rbm.backend import array_files
from gluon_rbm.data import downloads
from gluon_rbm.data.batches import BINARIZE
from gluon_rbm.data.image_files import first_shape, labelled_files, read_files
from gluon_rbm.errors import InputError

__all__ = [
    "NAMES",
    "PARTS",
    "DataSet",
    "guess_shape",
    "hold_out",
    "load",
    "load_binarized",
    "part",
    "with_label_units",
]

NAMES = ("mnist", "fashion-mnist", "cifar10", "image-folder", "digits", "bars-and-stripes")
PARTS = ("test", "train", "held-out")

_HELD_OUT = 10000


@dataclass(frozen=True, eq=False)  # arrays have no single truth value to compare by
class DataSet:
    """Images of one size, split into training and test images."""

    name: str
    train_images: np.ndarray  #: uint8 or float32, (num_images, height, width) or (num_images, height, width, 3)
    train_labels: Optional[np.ndarray]  #: int32 (num_images,); None where images have no labels
    test_images: np.ndarray
    test_labels: Optional[np.ndarray]
    maximum: int  #: the pixel value that means 1.0

    @property
    def image_shape(self) -> Tuple[int, ...]:
        """(height, width) or (height, width, 3)."""
        return self.train_images.shape[1:]

    @property
    def num_visible(self) -> int:
        """Pixels (times colours) of an image: the visible units it needs."""
        return math.prod(self.image_shape)

    @property
    def num_classes(self) -> int:
        """Classes are numbered from 0; 0: the images have no labels."""
        if self.train_labels is None:
            return 0
        return 1 + max(int(labels.max(initial=-1)) for labels in (self.train_labels, self.test_labels))


def load(name, data_dir=None, progress=True, image_size=None, skipped=None):
    """Load a data set by its name, one of `NAMES`, or the images of a `.npy` file by its path.

    Published data sets are looked for in `data_dir`, in the folder named by the environment variable MXNET_RBM_DATA
    (in each: in the folder itself, then in its subfolder called like the data set) and in the cache
    `$MXNET_HOME/datasets/<name>`; what is missing is downloaded. `data_dir` is required for `image-folder`: it holds a
    folder of images per class, or such folders in `train` and `test`, or images only (no labels). A `.npy` file holds
    floats in [0, 1] or bytes, (n, num_visible), (n, height, width) or (n, height, width, 3). Of images that come in
    one piece every tenth, from the first on, is a test image. `progress` shows bars, on a terminal only. `image_size`
    (height, width): images of any other size are brought to it (`image_pipeline.fitted`). `skipped`: a list to which
    the files of a folder are added that cannot be read as images; without it they are refused.

    Returns a `DataSet`. Raises InputError for an unknown name, for files that are damaged or not what they should be,
    and for files that can be neither found nor downloaded.
    """
    name = os.fspath(name)
    if name == "image-folder":
        return _image_folder(data_dir, progress, image_size, skipped)
    data = _load(name, data_dir, progress)
    return data if image_size is None or data.image_shape[:2] == tuple(image_size) else _fitted(data, image_size)


def _load(name, data_dir, progress):
    if name in downloads.SOURCES:
        return DataSet(name, *downloads.read_published(name, data_dir, progress), maximum=255)
    if name == "digits":
        return _digits()
    if name == "bars-and-stripes":
        return _bars_and_stripes()
    if name.endswith(".npy"):
        return _array_file(name)
    raise InputError(f"unknown data set {name!r}; choose {', '.join(NAMES)} or the path of a .npy file")


def _fitted(data, size):
    from gluon_rbm.data.transforms import resize_and_crop  # with MXNet, which nothing else here needs

    if data.train_images.dtype != np.uint8:
        raise InputError(f"images of {data.name} are not bytes, and cannot be brought to another size; resize them")
    train, test = (
        # Cubic interpolation goes beyond the largest value beside an edge; that of bytes, 255, holds by itself.
        np.stack([resize_and_crop(image, size) for image in images]).clip(max=data.maximum)
        for images in (data.train_images, data.test_images)
    )
    return replace(data, train_images=train, test_images=test)


def load_binarized(path, num_images, num_visible):
    """A fixed binarization of some images: uint8 (num_images, num_visible) in {0, 1}.

    The file is a `.npy` array, (num_images, num_visible) or (num_images, height, width), or text in the manner of
    `binarized_mnist_test.amat` (Larochelle & Murray, AISTATS 2011): a line of digits 0 and 1 for each image. Raises
    InputError when it cannot be read, holds anything else than 0 and 1, or is of another shape.
    """
    try:
        if path.endswith(".npy"):
            values = array_files.load_npy(os.path.expanduser(path))
        else:
            array_files.check_ordinary(os.path.expanduser(path))
            lines = Path(os.path.expanduser(path)).read_bytes().split(b"\n")
            values = np.stack([np.frombuffer(b"".join(line.split()), np.uint8) for line in lines if line.strip()]) - 48
    except Exception as error:  # NumPy raises this and that; lines of different lengths, too
        choice = ", ".join(BINARIZE)
        raise InputError(f"{path} is no file of binary images; choose one, or binarize by {choice}") from error
    if values.ndim < 2 or values.shape[0] != num_images or math.prod(values.shape[1:]) != num_visible:
        raise InputError(
            f"{path} has shape {values.shape} where {num_images} images of {num_visible} pixels are needed; name the"
            " binarization of this part of the data set"
        )
    if values.dtype.kind not in "biuf" or not ((values == 0) | (values == 1)).all():
        raise InputError(f"{path} holds other values than 0 and 1; a fixed binarization has no others")
    return values.reshape(num_images, num_visible).astype(np.uint8)


def hold_out(data, count):
    """The data set without its last `count` training images, and those images; InputError if none would be left."""
    rest = len(data.train_images) - count
    if rest < 1:
        raise InputError(f"{count} of {len(data.train_images)} training images cannot be held out; hold out fewer")
    labels = None if data.train_labels is None else data.train_labels[:rest]
    return replace(data, train_images=data.train_images[:rest], train_labels=labels), data.train_images[rest:]


def part(data, name):
    """Images and labels (or None) of a part, one of `PARTS`; held-out: the last 10,000 training images.

    Raises InputError where there are not twice as many training images.
    """
    if name == "test":
        return data.test_images, data.test_labels
    if name == "train":
        return data.train_images, data.train_labels
    if len(data.train_images) < 2 * _HELD_OUT:
        raise InputError(
            f"held-out images are the last {_HELD_OUT} of the training images, of which {data.name} has"
            f" {len(data.train_images)}; choose --part test or train"
        )
    return data.train_images[-_HELD_OUT:], None if data.train_labels is None else data.train_labels[-_HELD_OUT:]


def guess_shape(num_visible):
    """(height, width) of images of which only the number of pixels is known: a square, or else a row."""
    side = math.isqrt(num_visible)
    return (side, side) if side * side == num_visible else (1, num_visible)


def with_label_units(data):
    """The data set with labels as further pixels of the images, rows (n, num_visible + num_classes): for a joint RBM.

    Of the label's pixels the one of the image's class is on, at `maximum`, and stays so however pixels are binarized.
    Raises InputError where images have no labels.
    """
    if not data.num_classes:
        raise InputError(f"{data.name} has no labels; choose a data set that has, or leave --labels out")

    def joined(images, labels):
        label_units = np.eye(data.num_classes, dtype=images.dtype)[labels] * images.dtype.type(data.maximum)
        return np.concatenate([images.reshape(len(images), data.num_visible), label_units], axis=1)

    return replace(
        data,
        train_images=joined(data.train_images, data.train_labels),
        test_images=joined(data.test_images, data.test_labels),
    )


# -- data sets that are not downloaded ---------------------------------------------------------------------------------


def _digits():
    from sklearn.datasets import load_digits  # comes with the library; slow to import, so only here

    digits = load_digits()
    images, labels = digits.images.astype(np.uint8), digits.target.astype(np.int32)
    return DataSet("digits", images[:1437], labels[:1437], images[1437:], labels[1437:], maximum=16)


def _bars_and_stripes(size=4):
    """Every pattern of uniform columns (bars, label 0) or rows (stripes, label 1); all off and all on are bars."""
    lines = (np.arange(2**size)[:, None] >> np.arange(size)) & 1
    bars = np.repeat(lines[:, None, :], size, axis=1)
    stripes = np.repeat(lines[1:-1, :, None], size, axis=2)
    images = np.concatenate([bars, stripes]).astype(np.uint8)
    labels = np.repeat(np.array([0, 1], np.int32), [len(bars), len(stripes)])
    return DataSet("bars-and-stripes", images, labels, images, labels, maximum=1)


def _array_file(path):
    try:
        array = array_files.load_npy(os.path.expanduser(path))
    except FileNotFoundError:
        raise InputError(f"there is no file {path}; give the path of a .npy file") from None
    except Exception as error:  # NumPy raises this and that on a file that is damaged or holds no array
        raise InputError(f"{path} cannot be read as an array of numbers; write it with numpy.save") from error
    images, maximum = _checked_images(path, array)
    # From the first on: two images are enough for both parts.
    is_test = np.arange(len(images)) % 10 == 0
    return DataSet(path, images[~is_test], None, images[is_test], None, maximum)


def _checked_images(path, array):
    """Images of an array, (n, height, width[, 3]), and their maximum."""
    shape = getattr(array, "shape", ())  # a .npz archive under the name of a .npy file has none
    is_image = len(shape) in (2, 3) or (len(shape) == 4 and shape[3] in (1, 3))
    if not is_image or 0 in shape or shape[0] < 2:
        raise InputError(
            f"{path} has shape {shape}; save at least 2 images as (n, num_visible), (n, height, width) or"
            " (n, height, width, 3)"
        )
    if len(shape) == 2:
        array = array.reshape((-1, *guess_shape(shape[1])))
    elif len(shape) == 4 and shape[3] == 1:
        array = array[..., 0]
    if array.dtype == np.uint8:
        return array, 255 if array.max() > 1 else 1  # bytes that are all 0 or 1 are bits
    if not np.issubdtype(array.dtype, np.floating):
        raise InputError(f"{path} holds {array.dtype} numbers; save floats in [0, 1] or uint8")
    low, high = array.min(), array.max()  # NaN if any number is
    if np.isnan(low):
        raise InputError(f"{path} holds NaN; save numbers in [0, 1]")
    if low < 0 or high > 1:
        raise InputError(f"{path} holds numbers from {low:g} to {high:g}; scale them into [0, 1]")
    return array.astype(np.float32), 1


# -- folders of images -------------------------------------------------------------------------------------------------


def _image_folder(root, progress, size, skipped):
    if root is None or not os.path.isdir(os.path.expanduser(root)):
        raise InputError(f"image-folder needs a folder of images ({root} is none); name one with --data-dir")
    root = Path(os.path.expanduser(root))
    split = (root / "train").is_dir() and (root / "test").is_dir()
    parts = (
        [labelled_files(root / part, skipped, root) for part in ("train", "test")]
        if split
        else _every_tenth(root, skipped)
    )
    classes = sorted({label for part in parts for _, label in part})
    if "" in classes[:-1]:
        raise InputError(f"only one of train and test in {root} has a folder per class; give both, or neither, one")
    # Of the tenths, the first image is the test images'.
    files = [path for part in (parts if split else parts[::-1]) for path, _ in part]
    shape = first_shape(files, skip=skipped is not None)
    shape = shape if size is None else (*size, *shape[2:])
    images, labels = [], [None, None]
    for index, part in enumerate(parts):
        pixels, places = read_files([path for path, _ in part], shape, progress, size is not None, skipped)
        if not places:
            raise InputError(f"no {('training', 'test')[index]} image of {root} can be read; repair or remove them")
        images.append(pixels)
        if classes != [""]:
            labels[index] = np.array([classes.index(part[place][1]) for place in places], np.int32)
    return DataSet("image-folder", images[0], labels[0], images[1], labels[1], maximum=255)


def _every_tenth(root, skipped):
    files = labelled_files(root, skipped)
    if len(files) < 2:
        raise InputError(f"{root} holds a single image; add more")
    return [file for index, file in enumerate(files) if index % 10], files[::10]
