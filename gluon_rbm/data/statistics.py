"""Means of images, and the visible biases that have them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from gluon_rbm.backend.types import HostArray

if TYPE_CHECKING:
    from gluon_rbm.data.datasets import DataSet

__all__ = ["base_visible_bias", "mean_image", "smoothed_visible_bias"]


def mean_image(images: HostArray, maximum: float) -> HostArray:
    """Mean of images (n, ...) as float64 (num_visible,) in [0, 1], without a floating-point copy of them all."""
    flat = images.reshape(len(images), math.prod(images.shape[1:]))
    return flat.mean(axis=0, dtype=np.float64) / maximum


def base_visible_bias(data: DataSet) -> HostArray:
    """The log-odds of a data set's mean training image, smoothed: float64 (num_visible,)."""
    return smoothed_visible_bias(mean_image(data.train_images, data.maximum), len(data.train_images))


def smoothed_visible_bias(mean: HostArray, num_images: int, pseudo_count: float = 1.0) -> HostArray:
    """Bias of independent pixels with the data's means: log(p / (1 - p)), p = (n mean + c/2) / (n + c); (num_visible,).

    mean is an array (num_visible,) in [0, 1] over n = num_images. The pseudo count c keeps the bias of pixels that are
    always off finite.
    """
    probability = (num_images * np.asarray(mean, np.float64) + pseudo_count / 2) / (num_images + pseudo_count)
    return np.log(probability) - np.log1p(-probability)
