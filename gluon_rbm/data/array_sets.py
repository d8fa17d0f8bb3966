"""A user's own arrays as a data set: images in a .npy file, or a split in a .npz file."""

from __future__ import annotations

import math
import os
from typing import Any, Callable, Mapping, Optional, Tuple

import numpy as np

from gluon_rbm.backend import array_files
from gluon_rbm.backend.types import HostArray
from gluon_rbm.errors import InputError

__all__ = ["SUFFIXES", "guess_shape", "read"]

SUFFIXES = (".npy", ".npz")
_MOST_CLASSES = 10000  # larger numbers are probably not labels

# Training images, their labels or None, test images, their labels or None.
Arrays = Tuple[HostArray, Optional[HostArray], HostArray, Optional[HostArray]]


def guess_shape(num_visible: int) -> tuple[int, int]:
    """Guess the shape of images from their number of pixels.

    Parameters
    ----------
    num_visible
        Number of pixels.

    Returns
    -------
    (height, width)
        A square, or else a single row.
    """
    side = math.isqrt(num_visible)
    return (side, side) if side * side == num_visible else (1, num_visible)


def read(path: str) -> tuple[Arrays, int]:
    """Read images and labels from a file of arrays.

    Parameters
    ----------
    path
        A .npy file holds at least 2 images, as floats in [0, 1] or bytes, (n, num_visible),
        (n, height, width), (n, height, width, 1) or (n, height, width, 3). Every tenth image, from
        the first on, is a test image. A .npz file holds two such arrays, x_train and x_test. If
        there are labels, it also holds integers from 0 on (below 10,000), y_train and y_test.

    Returns
    -------
    arrays : tuple
        Training images, their labels or None, test images, their labels or None. Images are uint8
        or float32, (n, height, width) or (n, height, width, 3). Labels are int32 (n,).
    maximum : int
        The pixel value that means 1.0. It is 255 for bytes, unless all are 0 or 1.

    Raises
    ------
    InputError
        The file is missing, damaged, or holds something else.
    """
    return _archive(path) if path.lower().endswith(".npz") else _every_tenth(path)


def _read_arrays(path: str, load: Callable[[str], Any]) -> Any:
    try:
        return load(os.path.expanduser(path))
    except FileNotFoundError:
        raise InputError(f"there is no file {path}; give the path of a .npy or a .npz file") from None
    except array_files.BrokenFile as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    except Exception as error:
        # NumPy raises errors of many kinds if a file is damaged or has no array.
        raise InputError(f"{path} cannot be read as arrays of numbers; write it with numpy.save or savez") from error


def _every_tenth(path: str) -> tuple[Arrays, int]:
    images, maximum = _checked_images(path, _read_arrays(path, array_files.load_npy))
    # The first image is a test image, so that two images are enough for both splits.
    is_test = np.arange(len(images)) % 10 == 0
    return (images[~is_test], None, images[is_test], None), maximum


def _archive(path: str) -> tuple[Arrays, int]:
    """Read a .npz file: the images of both splits, and their labels if it has any."""
    arrays = _read_arrays(path, array_files.load_npz)
    if not {"x_train", "x_test"} <= arrays.keys():
        held = ", ".join(arrays) or "none"
        raise InputError(f"{path} needs arrays x_train and x_test, and y_train and y_test for labels; it has {held}")
    train, maximum = _checked_images(f"x_train of {path}", arrays["x_train"])
    test, other = _checked_images(f"x_test of {path}", arrays["x_test"])
    if train.dtype != test.dtype or train.shape[1:] != test.shape[1:]:
        raise InputError(
            f"x_train and x_test of {path} are {train.dtype} {train.shape[1:]} and {test.dtype} {test.shape[1:]};"
            " save images of one size and type"
        )
    labels = [None, None]
    if "y_train" in arrays or "y_test" in arrays:
        labels = [
            _checked_labels(path, arrays, part, len(images)) for part, images in (("train", train), ("test", test))
        ]
    return (train, labels[0], test, labels[1]), max(maximum, other)


def _checked_labels(path: str, arrays: Mapping[str, HostArray], part: str, count: int) -> HostArray:
    labels = arrays.get("y_" + part)
    if labels is None or labels.shape not in ((count,), (count, 1)) or labels.dtype.kind not in "iu":
        found = "missing" if labels is None else f"{labels.dtype} {labels.shape}"
        raise InputError(f"y_{part} of {path} is {found}; save an integer of at least 0 for each of the {count} images")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= _MOST_CLASSES:
        raise InputError(f"y_{part} of {path} has labels from {low} to {high}; number the classes from 0")
    return labels.reshape(-1).astype(np.int32)


def _checked_images(name: str, array: HostArray) -> tuple[HostArray, int]:
    """Images of an array, (n, height, width[, 3]), and their maximum. Errors call it `name`."""
    shape: Any = getattr(array, "shape", ())  # a .npz archive that is named .npy has no shape
    is_image = len(shape) in (2, 3) or (len(shape) == 4 and shape[3] in (1, 3))
    if not is_image or 0 in shape or shape[0] < 2:
        raise InputError(
            f"{name} has shape {shape}; save at least 2 images as (n, num_visible), (n, height, width) or"
            " (n, height, width, 3)"
        )
    if len(shape) == 2:
        array = array.reshape((-1, *guess_shape(shape[1])))
    elif len(shape) == 4 and shape[3] == 1:
        array = array[..., 0]
    if array.dtype == np.uint8:
        return array, 255 if array.max() > 1 else 1  # bytes that are all 0 or 1 are bits
    if not np.issubdtype(array.dtype, np.floating):
        raise InputError(f"{name} holds {array.dtype} numbers; save floats in [0, 1] or uint8")
    low, high = array.min(), array.max()  # NaN if any number is NaN
    if np.isnan(low):
        raise InputError(f"{name} holds NaN; save numbers in [0, 1]")
    if low < 0 or high > 1:
        raise InputError(f"{name} holds numbers from {low:g} to {high:g}; scale them into [0, 1]")
    return array.astype(np.float32), 1
