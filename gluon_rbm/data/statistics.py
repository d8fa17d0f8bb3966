"""Means of images, and the visible biases that have them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from gluon_rbm.backend.types import HostArray, VisibleUnits

if TYPE_CHECKING:
    from gluon_rbm.data.datasets import DataSet

__all__ = ["base_visible_bias", "mean_image", "smoothed_visible_bias"]


def mean_image(images: HostArray, maximum: float, weights: HostArray | None = None) -> HostArray:
    """Mean of images (n, ...) as float64 (num_visible,) in [0, 1], without a floating-point copy of them all.

    weights : (n,), how much each counts, or None
    """
    flat = images.reshape(len(images), math.prod(images.shape[1:]))
    mean = flat.mean(axis=0, dtype=np.float64) if weights is None else weights @ flat / weights.sum()
    return mean / maximum


def base_visible_bias(data: DataSet) -> HostArray:
    """The log-odds of a data set's mean training image, smoothed: float64 (num_visible,)."""
    count = len(data.train_images) if data.train_weights is None else round(data.train_weights.sum())
    mean = mean_image(data.train_images, data.maximum, data.train_weights)
    return smoothed_visible_bias(mean, count, visible_units=data.softmax_groups)


def smoothed_visible_bias(
    mean: HostArray, num_images: int, pseudo_count: float = 1.0, visible_units: VisibleUnits = ()
) -> HostArray:
    """Bias of independent pixels with the data's means: log(p / (1 - p)), p = (n mean + c/2) / (n + c); (num_visible,).

    mean is an array (num_visible,) in [0, 1] over n = num_images. The pseudo count c keeps the bias of pixels that are
    always off finite. Of a softmax group of K units it is log p, p = (n mean + c/K) / (n + c), and of Gaussian units
    (`gluon_rbm.models.visible_units`) the mean.
    """
    if isinstance(visible_units, str):
        return np.asarray(mean, np.float64)
    counts, total = num_images * np.asarray(mean, np.float64), num_images + pseudo_count
    probability = (counts + pseudo_count / 2) / total
    bias = np.log(probability) - np.log1p(-probability)
    for start, stop in visible_units:
        bias[start:stop] = np.log((counts[start:stop] + pseudo_count / (stop - start)) / total)
    return bias
