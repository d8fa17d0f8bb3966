"""Means of images, and the visible biases that give these means."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from gluon_rbm.backend.types import HostArray, VisibleUnits

if TYPE_CHECKING:
    from gluon_rbm.data.datasets import DataSet

__all__ = ["base_visible_bias", "mean_image", "smoothed_visible_bias"]


def mean_image(images: HostArray, maximum: float, weights: HostArray | None = None) -> HostArray:
    """Mean of images, computed without a floating-point copy of them all.

    Parameters
    ----------
    images
        Images (n, ...).
    maximum
        The pixel value that means 1.
    weights
        Weight of each image, (n,). None weights all equally.

    Returns
    -------
    float64 (num_visible,)
        Mean of each pixel in [0, 1].
    """
    flat = images.reshape(len(images), math.prod(images.shape[1:]))
    mean = flat.mean(axis=0, dtype=np.float64) if weights is None else weights @ flat / weights.sum()
    return mean / maximum


def base_visible_bias(data: DataSet) -> HostArray:
    """Bias of independent visible units with the means of a data set.

    Parameters
    ----------
    data
        The data set. Training images count by their weights, if they have any.

    Returns
    -------
    float64 (num_visible,)
        Bias by `smoothed_visible_bias`, with a pseudo count of 1.
    """
    count = len(data.train_images) if data.train_weights is None else round(data.train_weights.sum())
    mean = mean_image(data.train_images, data.maximum, data.train_weights)
    return smoothed_visible_bias(mean, count, visible_units=data.softmax_groups)


def smoothed_visible_bias(
    mean: HostArray, num_images: int, pseudo_count: float = 1.0, visible_units: VisibleUnits = ()
) -> HostArray:
    """Bias of independent visible units with given means, smoothed by a pseudo count.

    With n images and the pseudo count c:

        binary units:                log(p / (1 - p)),  p = (n mean + c/2) / (n + c)
        a softmax group of K units:  log p,             p = (n mean + c/K) / (n + c)
        Gaussian units:              mean

    The pseudo count keeps the bias finite for pixels that are always off or always on.

    Parameters
    ----------
    mean
        Mean of each unit over the images, (num_visible,). In [0, 1], except for Gaussian units.
    num_images
        Number of images, n.
    pseudo_count
        Pseudo count, c.
    visible_units
        Softmax groups, or "gaussian"; see `gluon_rbm.models.visible_units`.

    Returns
    -------
    float64 (num_visible,)
        Bias of each unit.
    """
    if isinstance(visible_units, str):
        return np.asarray(mean, np.float64)
    counts, total = num_images * np.asarray(mean, np.float64), num_images + pseudo_count
    probability = (counts + pseudo_count / 2) / total
    bias = np.log(probability) - np.log1p(-probability)
    for start, stop in visible_units:
        bias[start:stop] = np.log((counts[start:stop] + pseudo_count / (stop - start)) / total)
    return bias
