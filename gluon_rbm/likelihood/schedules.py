"""Schedules of inverse temperatures for annealed importance sampling.

A schedule is a float64 array of betas. Importance weights vary with the square of a step of beta, so steps should be
small where the energy varies much: between beta = 0, where pixels are independent, and 1, the RBM itself.
"""

from __future__ import annotations

import numpy as np

from gluon_rbm.backend.types import Array, HostArray, Key, VisibleUnits
from gluon_rbm.models.energy import Parameters
from gluon_rbm.sampling import gibbs

__all__ = ["SCHEDULES", "adaptive", "linear", "three_piece"]

SCHEDULES = ("linear", "three-piece", "adaptive")

_PILOT_DISTRIBUTIONS = 500


def linear(num_distributions: int) -> HostArray:
    """beta_n = n / N: float64 (N + 1,)."""
    return np.arange(num_distributions + 1) / num_distributions


def three_piece(num_distributions: int) -> HostArray:
    """Three evenly spaced pieces, finer towards 1: float64 (N + 1,).

    Of 14,500 steps, 500 go from 0 to 0.5, 4,000 to 0.9 and 10,000 to 1 (Salakhutdinov & Murray 2008, section 5); of
    another number, the same fractions.
    """
    return np.interp(linear(num_distributions), [0, 500 / 14500, 4500 / 14500, 1], [0, 0.5, 0.9, 1])


def adaptive(
    num_distributions: int,
    parameters: Parameters,
    visible: Array,
    base_visible_bias: Array | None,
    key: Key,
    engine: str = "auto",
    visible_units: VisibleUnits = (),
) -> HostArray:
    """A schedule whose steps all lose the same fraction of the effective sample size: float64 (N + 1,).

    A step of size d, taken by chains at equilibrium, keeps a fraction 1 / (1 + (s d)^2) of it, for small steps, where s
    is the standard deviation over chains of dF/dbeta. So d must go as 1 / s: steps are even in the integral of s (the
    path's length; Gelman & Meng, Statistical Science 13, 1998, section 5). s comes from a pilot run of `visible`,
    samples at beta = 0, along 500 even steps at most.
    """
    betas = linear(min(num_distributions, _PILOT_DISTRIBUTIONS)).tolist()
    settings = {"base_visible_bias": base_visible_bias, "visible_units": visible_units, "key": key, "engine": engine}
    deviations = []
    for step in range(len(betas) - 1):
        visible, increments = gibbs.anneal_with_weights(parameters, visible, betas, step, step + 1, **settings)
        deviations.append(increments.std())
    # Some of it even, so that a stretch where the pilot's chains happened to agree is not leapt over.
    lengths = np.array(deviations) + max(np.mean(deviations), 1e-12) / 10
    length = np.concatenate([[0], np.cumsum(lengths)])
    schedule = np.interp(linear(num_distributions) * length[-1], length, betas)
    schedule[[0, -1]] = 0, 1
    return schedule
