"""Parallel tempering: replicas of each chain at several inverse temperatures exchange their states.

Hot replicas cross from mode to mode, and what they find comes down to beta = 1 (Desjardins et al., AISTATS 2010). Rows
are replicas: first all chains at the first of the betas, then all at the second, ...
"""

from __future__ import annotations

from typing import Callable

import numpy as np

from gluon_rbm.backend.arrays import as_operand, asarray_like, take_rows
from gluon_rbm.backend.random import make_generator
from gluon_rbm.backend.types import Array, HostArray, Key
from gluon_rbm.models.energy import Parameters

__all__ = ["beta_of_rows", "swap_replicas", "swap"]


def beta_of_rows(betas: HostArray, like: Array) -> Array:
    """The inverse temperature of each row of `like`: (rows,), an array as that is."""
    return asarray_like(np.repeat(betas, len(like) // len(betas)), like)


def swap_replicas(
    parameters: Parameters,
    visible: Array,
    hidden: Array,
    betas: HostArray,
    *,
    base_visible_bias: Array | None,
    key: Key,
) -> tuple[Array, HostArray]:
    """Exchange the states of neighbouring replicas, as `swap` says.

    visible, hidden : NDArrays (rows, ...) in {0, 1}, the states; betas : (num_temperatures,)
    base_visible_bias : NDArray (num_visible,), or None for zeros
    key : sequence of int, fixes the noise

    Returns the hidden layer to go on from, and the mean probability of each pair's exchange, (num_temperatures - 1,).
    """
    uniform = make_generator(key).random
    slopes = _slopes(parameters, visible, hidden, base_visible_bias).reshape(len(betas), -1)
    order, rates = swap(slopes, betas, uniform)
    return take_rows(hidden, order.ravel()), rates


def _slopes(parameters: Parameters, visible: Array, hidden: Array, base_visible_bias: Array | None) -> HostArray:
    """dE_beta/dbeta = -(a - a0).v - b.h - v W h of each row: float64 (rows,), NumPy."""
    a, b, w, v, h = map(as_operand, (*parameters, visible, hidden))
    slopes = -((v @ w + b) * h).sum(axis=1) - v @ (
        a if base_visible_bias is None else a - as_operand(base_visible_bias)
    )
    return np.asarray(slopes, "float64") if isinstance(slopes, np.ndarray) else slopes.asnumpy().astype("float64")


def swap(
    slopes: HostArray, betas: HostArray, uniform: Callable[[tuple[int, ...]], HostArray]
) -> tuple[HostArray, HostArray]:
    """Exchange the states of replicas that are neighbours, each exchange with probability

        min(1, exp((beta_r - beta_s) (U_r - U_s))),     U = dE_beta/dbeta of a state,

    which keeps the product of all replicas' distributions as it is: first the pairs (0, 1), (2, 3), ..., then the rest.

    slopes : (num_temperatures, num_chains), U of every state; betas : (num_temperatures,); uniform : as
    `np.random.Generator.random`.

    Returns the row (of all, temperature by temperature) that each place gets its state from, int (num_temperatures,
    num_chains), and the mean probability of each pair's exchange, (num_temperatures - 1,).
    """
    slopes, rates = slopes.copy(), np.zeros(len(betas) - 1)
    order = np.arange(slopes.size).reshape(slopes.shape)
    for first in (0, 1):
        low = np.arange(first, len(betas) - 1, 2)
        probability = np.exp(np.minimum(0, (betas[low] - betas[low + 1])[:, None] * (slopes[low] - slopes[low + 1])))
        rates[low] = probability.mean(axis=1)
        exchanged = uniform(probability.shape) < probability
        for values in (order, slopes):
            here, there = values[low], values[low + 1]
            values[low], values[low + 1] = np.where(exchanged, there, here), np.where(exchanged, here, there)
    return order, rates
