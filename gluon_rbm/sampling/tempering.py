"""Parallel tempering: replicas of each chain at several inverse temperatures exchange states.

Hot replicas move from mode to mode, and exchanges bring their states down to beta = 1 (Desjardins
et al., AISTATS 2010). Rows are replicas: first all chains at the first beta, then all chains at the
second beta, and so on.
"""

from __future__ import annotations

from typing import Callable

import numpy as np

from gluon_rbm.backend.arrays import as_operand, asarray_like, take_rows
from gluon_rbm.backend.random import make_generator
from gluon_rbm.backend.types import Array, HostArray, Key
from gluon_rbm.models.parameters import Parameters

__all__ = ["beta_of_rows", "swap_replicas", "swap"]


def beta_of_rows(betas: HostArray, like: Array) -> Array:
    """Return the inverse temperature of each row.

    Parameters
    ----------
    betas
        Inverse temperatures, (num_temperatures,).
    like
        States of all replicas, (rows, ...).

    Returns
    -------
    Array (rows,)
        Inverse temperatures in the kind, dtype and on the device of `like`.
    """
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
    """Exchange the states of neighbouring replicas, as `swap` does.

    Parameters
    ----------
    parameters
        Parameters of the RBM.
    visible, hidden
        States of all replicas in {0, 1}, (rows, num_visible) and (rows, num_hidden).
    betas
        Inverse temperatures, (num_temperatures,).
    base_visible_bias
        Visible bias a0 at beta = 0, (num_visible,); None stands for zeros.
    key
        Non-negative integers that fix the exchanges.

    Returns
    -------
    hidden : Array (rows, num_hidden)
        Hidden layer from which the chains continue.
    rates : float64 NumPy array (num_temperatures - 1,)
        Mean probability of an exchange of each pair of neighbours.
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
    """Exchange the states of neighbouring replicas by the Metropolis rule.

    Two neighbours r and s exchange their states with probability

        min(1, exp((beta_r - beta_s) (U_r - U_s))),     U = dE_beta/dbeta of a state,

    which leaves the product of all replicas' distributions invariant. The pairs (0, 1), (2, 3), ...
    come first, then the pairs (1, 2), (3, 4), ....

    Parameters
    ----------
    slopes
        U of every state, (num_temperatures, num_chains).
    betas
        Inverse temperatures, (num_temperatures,).
    uniform
        Function of a shape that draws numbers in [0, 1), such as that of a NumPy generator.

    Returns
    -------
    order : int array (num_temperatures, num_chains)
        Row (of all rows, temperature by temperature) whose state each place gets.
    rates : float64 array (num_temperatures - 1,)
        Mean probability of an exchange of each pair.
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
