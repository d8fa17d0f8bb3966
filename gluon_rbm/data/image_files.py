"""Images from files: folders as data sets, and a user's own pictures or arrays for a model."""

from __future__ import annotations

import logging
import math
import os
import warnings
from pathlib import Path
from typing import Any, Sequence

import numpy as np

from gluon_rbm.backend.array_files import BrokenFile, load_npy, load_npz
from gluon_rbm.backend.types import HostArray
from gluon_rbm.data import transforms
from gluon_rbm.errors import InputError

__all__ = ["UnreadableImage", "check_exists", "first_shape", "labelled_files", "read_files", "read_images", "resized"]

logger = logging.getLogger(__name__)

_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm", ".pbm"}
# The content of a file decides its format. Pillow starts programs to read some other formats.
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")


class UnreadableImage(InputError):
    """A file that cannot be read as an image, or a link that leads out of the folder."""


def labelled_files(
    root: str | os.PathLike[str], skipped: list[Path] | None = None, tree: str | os.PathLike[str] | None = None
) -> list[tuple[Path, str]]:
    """List the images of a folder with their classes.

    The folders in `root` are the classes. Without such folders, the images in `root` itself are
    listed, and their class is "". Hidden files, pipes and devices are passed over.

    Parameters
    ----------
    root
        Folder of images, or of one folder of images per class.
    skipped
        List to which links out of `tree` are added. Without it, such a link is an InputError.
    tree
        Links that lead out of this folder are not followed. By default, it is `root`.

    Returns
    -------
    list of (path, class)
        Sorted by class, then by name.

    Raises
    ------
    InputError
        The folder cannot be read, is itself a link out of `tree`, holds no images, or holds images
        beside folders of images.
    """
    root, tree = Path(root), os.path.realpath(tree or root)
    if tree != os.path.realpath(root) and not _is_inside(root, tree):
        raise InputError(f"{root} is a link to a place outside {tree}; replace it by its target, or remove it")
    try:
        entries = _entries(root, tree, skipped)
        folders = [entry for entry in entries if entry.is_dir()]
        inside = [(path, folder.name) for folder in folders for path in _images_in(_entries(folder, tree, skipped))]
        beside = [(path, "") for path in _images_in(entries)]
    except OSError as error:
        raise InputError(
            f"{error.filename or root} cannot be read ({error.strerror}); check its permissions"
        ) from error
    if inside and beside:
        raise InputError(f"{beside[0][0]} is next to folders of images; move it into the folder of its class")
    if not inside and not beside:
        raise InputError(
            f"{root} holds no images; put them into one folder per class, with or without train/ and test/"
        )
    return inside or beside


def _entries(folder: Path, tree: str, skipped: list[Path] | None) -> list[Path]:
    paths = []
    for path in sorted(folder.iterdir(), key=lambda path: path.name):
        if path.is_symlink() and not _is_inside(path, tree):
            if skipped is None:
                raise UnreadableImage(
                    f"{path} is a link to a place outside {tree}; replace it by its target, or remove it"
                )
            skipped.append(path)
        elif path.name[0] != ".":  # hidden files belong to the system
            paths.append(path)
    return paths


def _is_inside(path: Path, tree: str) -> bool:
    return Path(tree) in Path(os.path.realpath(path)).parents


def _images_in(entries: Sequence[Path]) -> list[Path]:
    return [path for path in entries if path.suffix.lower() in _SUFFIXES and path.is_file()]


def first_shape(paths: Sequence[Path], skip: bool = False) -> tuple[int, ...]:
    """Shape of the first image that can be read.

    Parameters
    ----------
    paths
        Paths of images.
    skip
        Pass over files that cannot be read.

    Returns
    -------
    tuple of int
        (height, width) of a grey image, (height, width, 3) of one in colour.

    Raises
    ------
    InputError
        The first file cannot be read, or, with `skip`, none of them can.
    """
    for path in paths:
        try:
            return _pixels(path).shape
        except UnreadableImage:
            if not skip:
                raise
    raise InputError(f"{paths[0]} cannot be read as an image, nor can any other file there; give a folder of images")


def read_files(
    paths: Sequence[Path],
    shape: tuple[int, ...],
    progress: bool,
    resize: bool = False,
    skipped: list[Path] | None = None,
) -> tuple[HostArray, list[int]]:
    """Decode images, all in grey or all in colour.

    Parameters
    ----------
    paths
        Paths of the images.
    shape
        (height, width) for grey images, (height, width, 3) for images in colour.
    progress
        Show a progress bar, on a terminal only.
    resize
        Bring images of another size to `shape` by `transforms.resize_and_crop`.
    skipped
        List to which the paths that cannot be read are added. Without it, they are an InputError.

    Returns
    -------
    images : uint8 (n, *shape)
        The images that can be read.
    places : list of int
        The index in `paths` of each image.

    Raises
    ------
    InputError
        An image cannot be read and `skipped` is None, an image has another size and `resize` is
        false, or all images together take more than 8 GiB.
    """
    from PIL import Image
    from tqdm import tqdm

    transforms.check_memory(len(paths), shape)
    images, places, uncoloured = np.empty((len(paths), *shape), np.uint8), [], 0
    for place, path in enumerate(tqdm(paths, desc="images", disable=None if progress else True)):
        try:
            pixels = _pixels(path)
        except UnreadableImage:
            if skipped is None:
                raise
            skipped.append(path)
            continue
        if pixels.ndim != len(shape):
            uncoloured += pixels.ndim > len(shape)
            pixels = np.asarray(_converted(Image.fromarray(pixels), grey=len(shape) == 2))
        if resize:
            pixels = transforms.resize_and_crop(pixels, shape[:2])
        else:
            _check_size(path, pixels, shape, "the first image has", "; resize all images with --image-size")
        images[len(places)] = pixels
        places.append(place)
    if uncoloured:
        logger.info(
            "%d of %d images are in colour; they are converted to grey, because the first image is grey",
            uncoloured,
            len(places),
        )
    return images[: len(places)], places


def read_images(
    path: str | os.PathLike[str],
    image_shape: tuple[int, ...],
    resize: bool = False,
    missing: bool = False,
    array: str | None = None,
) -> HostArray:
    """Read a user's own images.

    Parameters
    ----------
    path
        A picture, a folder of pictures, or a file of one array (.npy, or .npz with `array`). The
        array is (n, num_visible), (n, *image_shape) or one image. It holds booleans, floats in
        [0, 1], or bytes. Bytes are divided by 255, unless all are 0 or 1.
    image_shape
        (height, width) or (height, width, 3) of the model's images.
    resize
        Bring images of another size to `image_shape` by `transforms.resize`.
    missing
        Allow NaN in arrays, for missing pixels.
    array
        Name of the array to take from a .npz file.

    Returns
    -------
    float32 (n, num_visible)
        Images in [0, 1]. Missing pixels are NaN.

    Raises
    ------
    InputError
        There is no image, an image cannot be read or has values out of range, or one has another
        size and `resize` is false.
    """
    place = Path(os.path.expanduser(os.fspath(path)))
    if place.suffix == ".npy" or place.suffix == ".npz" and array is not None:
        return _from_array_file(place, image_shape, resize, missing, array)
    check_exists(path)
    files = [file for file, _ in labelled_files(place)] if place.is_dir() else [place]
    pictures = []
    for file in files:
        pixels = _pixels(file, grey=len(image_shape) == 2)
        if not resize:
            _check_size(file, pixels, image_shape, "images of the model have", "; resize it, or give --resize")
        elif pixels.shape[:2] != image_shape[:2]:
            pixels = transforms.resize(pixels, image_shape[:2])
        pictures.append(pixels)
    return np.stack(pictures).reshape(len(pictures), -1).astype(np.float32) / 255


def check_exists(path: str | os.PathLike[str]) -> None:
    """Check that `read_images` would find a file or a folder.

    Parameters
    ----------
    path
        As in `read_images`.

    Raises
    ------
    InputError
        There is neither a file nor a folder.
    """
    place = Path(os.path.expanduser(os.fspath(path)))
    if not (place.is_file() or place.is_dir()):  # reading a pipe might never end
        raise InputError(f"there is no {path}; give an image, a folder of images, or a .npy or .npz file")


def _from_array_file(
    path: Path, image_shape: tuple[int, ...], resize: bool, missing: bool, name: str | None
) -> HostArray:
    """Read the images of a .npy or .npz file, as `read_images` does."""
    array = _load_array(path, name)
    num_visible, shape = math.prod(image_shape), array.shape
    known = array[~np.isnan(array)]
    if known.size < array.size and not missing:
        raise InputError(f"{path} holds NaN; give images without missing pixels")
    if known.size and (known.min() < 0 or known.max() > 1):
        raise InputError(f"{path} holds numbers from {known.min():g} to {known.max():g}; scale them into [0, 1]")
    if shape == tuple(image_shape) or len(shape) > 1 and math.prod(shape[1:]) == num_visible:
        return array.reshape(-1, num_visible)
    if shape == (num_visible,):
        return array[None]
    if not resize or len(shape) != len(image_shape) + 1 or shape[3:] != tuple(image_shape[2:]):
        raise InputError(
            f"{path} has shape {shape}, but images of {image_shape} are needed; save (n, {num_visible}) or"
            f" (n, {', '.join(map(str, image_shape))}), or give --resize with images of another height and width"
        )
    if known.size < array.size:
        raise InputError(f"{path} has missing pixels (NaN), so its images cannot be resized; resize them yourself")
    return resized(array, image_shape).reshape(len(array), num_visible)


def _load_array(path: Path, name: str | None) -> HostArray:
    """Read a .npy file, or the array `name` of a .npz file, as float32.

    Bytes are divided by 255, unless all are 0 or 1.
    """
    try:
        array = load_npz(path, only=name)[name] if name is not None and path.suffix == ".npz" else load_npy(path)
    except BrokenFile as error:
        raise InputError(f"{path} cannot be read: {error}; give another file or array") from error
    except Exception as error:
        # NumPy raises errors of many kinds if a file is damaged or has no array.
        raise InputError(f"{path} cannot be read as an array of numbers; write it with numpy.save") from error
    shape = getattr(array, "shape", ())  # a .npz archive that is named .npy has no shape
    if not shape or 0 in shape or not (np.issubdtype(array.dtype, np.floating) or array.dtype in (np.uint8, np.bool_)):
        found = f"an array {shape} of {array.dtype}" if shape else "no array"
        raise InputError(f"{path} holds {found}, not images; save floats in [0, 1] or uint8")
    if array.dtype == np.uint8 and array.max() > 1:  # bytes that are all 0 or 1 are bits
        array = array / 255
    return array.astype(np.float32)


def resized(images: HostArray, image_shape: tuple[int, ...]) -> HostArray:
    """Bring images to another height and width by `transforms.resize`.

    Parameters
    ----------
    images
        Images in [0, 1], float32 (n, height, width) or (n, height, width, 3).
    image_shape
        (height, width) or (height, width, 3) of the result.

    Returns
    -------
    float32 (n, *image_shape)
        Images, clipped to [0, 1].

    Raises
    ------
    InputError
        `images` are grey and `image_shape` is in colour, or the reverse.
    """
    if images.shape[3:] != tuple(image_shape[2:]):
        raise InputError("grey images cannot be compared with images in colour; convert them first")
    result = [transforms.resize(image, image_shape[:2]) for image in images]
    return np.stack(result).clip(0, 1) if result else np.empty((0, *image_shape), np.float32)


def _check_size(path: Path, pixels: HostArray, shape: tuple[int, ...], whose: str, advice: str) -> None:
    """Raise InputError where the height and width of a picture are not those of `shape`."""
    if pixels.shape[:2] != tuple(shape[:2]):
        (height, width), needed = pixels.shape[:2], "%d x %d" % (shape[1], shape[0])
        raise InputError(f"{path} has {width} x {height} pixels, but {whose} {needed}{advice}")


def _pixels(path: Path, grey: bool | None = None) -> HostArray:
    """Read a picture as uint8 (height, width[, 3]).

    `grey` chooses grey or colour. With None, the picture keeps what it has.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings():
            # An image of about 90 million pixels or more is an error.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(path, formats=_FORMATS)
        with image:
            if image.mode.startswith("I"):  # 16 bits of grey, which Pillow would clip at 255
                image = Image.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
            grey = image.mode in ("1", "L", "LA") if grey is None else grey
            return np.asarray(_converted(image, grey))
    except Exception as error:  # Pillow raises errors of many kinds
        raise UnreadableImage(f"{path} cannot be read as an image; repair or remove it") from error


def _converted(image: Any, grey: bool) -> Any:
    """Convert an image of Pillow to grey or to colour."""
    return image.convert("L" if grey else "RGB")
