"""Parts of a data set: held-out, test and training images, and labels as pixels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gluon_rbm.backend.types import HostArray
from gluon_rbm.data.datasets import DataSet
from gluon_rbm.errors import InputError

__all__ = ["SPLITS", "hold_out", "split_of", "with_label_units"]

SPLITS = ("test", "train", "held-out")
_HELD_OUT = 10000


def hold_out(data: DataSet, count: int) -> tuple[DataSet, HostArray]:
    """Hold out the last training images of a data set.

    Parameters
    ----------
    data
        The data set.
    count
        Number of training images to hold out.

    Returns
    -------
    kept : DataSet
        The data set without its last `count` training images.
    held_out : array (count, height, width) or (count, height, width, 3)
        Those images.

    Raises
    ------
    InputError
        No training image would be left.
    """
    rest = len(data.train_images) - count
    if rest < 1:
        raise InputError(f"{count} of {len(data.train_images)} training images cannot be held out; hold out fewer")
    labels = None if data.train_labels is None else data.train_labels[:rest]
    weights = None if data.train_weights is None else data.train_weights[:rest]
    kept = replace(data, train_images=data.train_images[:rest], train_labels=labels, train_weights=weights)
    return kept, data.train_images[rest:]


def split_of(data: DataSet, name: str) -> tuple[HostArray, HostArray | None]:
    """Images and labels of a split.

    Parameters
    ----------
    data
        The data set.
    name
        One of `SPLITS`. The held-out images are the last training images: `DataSet.num_held_out`
        of them, or 10,000 if that is not known.

    Returns
    -------
    images : array (num_images, height, width) or (num_images, height, width, 3)
        Images as in the data set.
    labels : int32 (num_images,), or None
        Labels. None if the images have none.

    Raises
    ------
    InputError
        There is no such split. Or held-out images are asked for, their number is not known, and
        there are fewer than 20,000 training images.
    """
    if name == "test":
        return data.test_images, data.test_labels
    if name == "train":
        return data.train_images, data.train_labels
    if name not in SPLITS:
        raise InputError(f"unknown split {name!r}; choose {', '.join(SPLITS)}")
    if not data.num_held_out and len(data.train_images) < 2 * _HELD_OUT:
        raise InputError(
            f"the run held no images out; --part held-out then takes the last {_HELD_OUT} of at least {2 * _HELD_OUT}"
            f" training images, but {data.name} has {len(data.train_images)}; choose --part test or train"
        )
    count = data.num_held_out or _HELD_OUT
    _, images = hold_out(data, count)
    return images, None if data.train_labels is None else data.train_labels[-count:]


def with_label_units(data: DataSet) -> DataSet:
    """Append the labels to the images as one-hot pixels, for a joint RBM of images and labels.

    The label pixel of the image's class has the value `DataSet.maximum`, the others are 0. So
    every way to binarize pixels leaves them as they are.

    Parameters
    ----------
    data
        The data set.

    Returns
    -------
    DataSet
        The data set with images (num_images, num_visible + num_classes).

    Raises
    ------
    InputError
        The images have no labels.
    """
    if not data.num_classes:
        raise InputError(f"{data.name} has no labels; choose a data set with labels, or leave out --labels")

    def joined(images: HostArray, labels: HostArray | None) -> HostArray:
        label_units = np.eye(data.num_classes, dtype=images.dtype)[labels] * images.dtype.type(data.maximum)
        return np.concatenate([images.reshape(len(images), data.num_visible), label_units], axis=1)

    return replace(
        data,
        train_images=joined(data.train_images, data.train_labels),
        test_images=joined(data.test_images, data.test_labels),
    )
