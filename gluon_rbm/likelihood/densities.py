"""Log densities of images under a Gaussian-Bernoulli RBM, and bits per dimension of pixels.

A pixel takes discrete values and has no density. Uniform noise as wide as the step between values
gives it one. The mean log density of such pixels is at most the mean log-probability of the
discrete values, so the bits are an upper bound (Uria, Murray & Larochelle, *RNADE*, NIPS 2013;
Theis, van den Oord & Bethge, ICLR 2016).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gluon_rbm.backend.arrays import from_host
from gluon_rbm.backend.random import make_generator
from gluon_rbm.backend.types import HostArray, Key
from gluon_rbm.data.batches import to_visible
from gluon_rbm.data.standardization import Standardization, num_levels
from gluon_rbm.models.gaussian_rbm import GaussianParameters, score

__all__ = ["bits_per_dimension", "dequantized", "unnormalized_log_densities"]

_ROWS_AT_ONCE = 1000


def dequantized(images: HostArray, maximum: float, key: Key) -> HostArray:
    """Add uniform noise of half a step below to half a step above each pixel.

    A step is 1 / (levels - 1), because pixels are scaled to [0, 1].

    Parameters
    ----------
    images
        Images (n, ...) with values from 0 to `maximum`.
    maximum
        Value of a white pixel.
    key
        Integers that fix the noise.

    Returns
    -------
    float64 (n, num_pixels)
        Scaled pixels with noise.
    """
    pixels = to_visible(images, maximum).astype(np.float64)
    return pixels + (make_generator(key).random(pixels.shape) - 0.5) / (num_levels(maximum) - 1)


def unnormalized_log_densities(
    parameters: GaussianParameters, standardization: Standardization, values: HostArray
) -> HostArray:
    """Log density plus log Z of each image.

    Parameters
    ----------
    parameters
        Parameters of the RBM.
    standardization
        Standardization that makes features of the values.
    values
        Pixels in [0, 1] or the codes of a network, (n, ...).

    Returns
    -------
    float64 (n,)
        Values of log p(x) + log Z, in nats.
    """
    context: Any = getattr(parameters.interaction_weight, "context", None)
    found = []
    for start in range(0, len(values), _ROWS_AT_ONCE):
        rows = values[start : start + _ROWS_AT_ONCE].reshape(-1, len(standardization.mean))
        features = from_host(standardization.features(rows), context)
        found.append(score(parameters, features) + standardization.log_density(rows))
    return np.concatenate(found)


def bits_per_dimension(log_density: float, num_pixels: int, maximum: float) -> float:
    """Bits per pixel, -log2 of the probability of a pixel's value.

    Parameters
    ----------
    log_density
        Mean log density of `dequantized` images, in nats per image.
    num_pixels
        Number of pixels of an image.
    maximum
        As in `gluon_rbm.data.standardization.num_levels`.

    Returns
    -------
    float
        Bits per pixel.
    """
    return (math.log(num_levels(maximum) - 1) - log_density / num_pixels) / math.log(2)
