"""How probable images are to a Gaussian-Bernoulli RBM: log densities, and bits per dimension of pixels in steps.

A pixel in steps has no density. Noise as wide as a step, uniform, makes one of it, and the mean log density of such
pixels is at most the mean log-probability of the steps (Uria, Murray & Larochelle, *RNADE*, NIPS 2013; Theis, van den
Oord & Bethge, ICLR 2016): the bits are an upper bound.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gluon_rbm.backend.arrays import from_host
from gluon_rbm.backend.random import make_generator
from gluon_rbm.backend.types import HostArray, Key
from gluon_rbm.data.batches import to_visible
from gluon_rbm.data.standardization import Standardization
from gluon_rbm.models.gaussian_rbm import GaussianParameters, score

__all__ = ["bits_per_dimension", "dequantized", "num_levels", "unnormalized_log_densities"]

_ROWS_AT_ONCE = 1000


def num_levels(maximum: float) -> int:
    """How many values a pixel has: whole numbers up to the largest, or 256 where images are in [0, 1]."""
    return int(maximum) + 1 if maximum > 1 else 256


def dequantized(images: HostArray, maximum: float, key: Key) -> HostArray:
    """Pixels in steps of 1 / (levels - 1), each with noise from half a step below to half a step above it.

    images : (n, ...), white being `maximum`; key : fixes the noise. Returns float64 (n, num_pixels).
    """
    pixels = to_visible(images, maximum).astype(np.float64)
    return pixels + (make_generator(key).random(pixels.shape) - 0.5) / (num_levels(maximum) - 1)


def unnormalized_log_densities(
    parameters: GaussianParameters, standardization: Standardization, values: HostArray
) -> HostArray:
    """log p(x) + log Z of pixels in [0, 1], or of a network's code, (n, ...): float64 (n,), in nats."""
    context: Any = getattr(parameters.interaction_weight, "context", None)
    found = []
    for start in range(0, len(values), _ROWS_AT_ONCE):
        rows = values[start : start + _ROWS_AT_ONCE].reshape(-1, len(standardization.mean))
        features = from_host(standardization.features(rows), context)
        found.append(score(parameters, features) + standardization.log_density(rows))
    return np.concatenate(found)


def bits_per_dimension(log_density: float, num_pixels: int, maximum: float) -> float:
    """-log2 of the probability of a pixel's value, of a mean log density of dequantized images in nats."""
    return (math.log(num_levels(maximum) - 1) - log_density / num_pixels) / math.log(2)
