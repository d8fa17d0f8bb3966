"""Schedules of inverse temperatures for annealed importance sampling.

A schedule is a float64 array of betas, from 0 (independent pixels) to 1 (the RBM itself). The
variance of log-weights grows with the square of a step of beta. So steps should be small where the
energy varies much.
"""

from __future__ import annotations

import numpy as np

from gluon_rbm.backend.types import Array, HostArray, Key, VisibleUnits
from gluon_rbm.models.parameters import Parameters
from gluon_rbm.sampling import gibbs

__all__ = ["SCHEDULES", "adaptive", "linear", "three_piece"]

SCHEDULES = ("linear", "three-piece", "adaptive")

_PILOT_DISTRIBUTIONS = 500


def linear(num_distributions: int) -> HostArray:
    """Evenly spaced betas, beta_n = n / N.

    Parameters
    ----------
    num_distributions
        Number of steps, N.

    Returns
    -------
    float64 (N + 1,)
        Inverse temperatures from 0 to 1.
    """
    return np.arange(num_distributions + 1) / num_distributions


def three_piece(num_distributions: int) -> HostArray:
    """Three evenly spaced pieces with smaller steps towards 1.

    Of 14,500 steps, 500 go from 0 to 0.5, 4,000 to 0.9 and 10,000 to 1 (Salakhutdinov & Murray
    2008, section 5). Other numbers of steps are split in the same proportions.

    Parameters
    ----------
    num_distributions
        Number of steps, N.

    Returns
    -------
    float64 (N + 1,)
        Inverse temperatures from 0 to 1.
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
    """Betas with steps that all lose the same fraction of the effective sample size.

    Let s be the standard deviation of dF/dbeta over chains at equilibrium. A small step of size d
    keeps a fraction 1 / (1 + (s d)^2) of the effective sample size. So d must be proportional to
    1 / s, and steps are even in the integral of s (the length of the path; Gelman & Meng,
    Statistical Science 13, 1998, section 5). A pilot run along at most 500 even steps measures s.

    Parameters
    ----------
    num_distributions
        Number of steps, N.
    parameters
        Parameters of the RBM.
    visible
        Samples at beta = 0 that the pilot run starts at, (chains, num_visible).
    base_visible_bias
        Visible bias at beta = 0, (num_visible,); zeros if None.
    key
        Integers that fix the noise.
    engine, visible_units
        As in `gluon_rbm.sampling.gibbs.run_chains`.

    Returns
    -------
    float64 (N + 1,)
        Inverse temperatures from 0 to 1.
    """
    betas = linear(min(num_distributions, _PILOT_DISTRIBUTIONS)).tolist()
    settings = {"base_visible_bias": base_visible_bias, "visible_units": visible_units, "key": key, "engine": engine}
    deviations = []
    for step in range(len(betas) - 1):
        visible, increments = gibbs.anneal_with_weights(parameters, visible, betas, step, step + 1, **settings)
        deviations.append(increments.std())
    # The constant keeps steps from becoming too long where the pilot's chains happen to agree.
    lengths = np.array(deviations) + max(np.mean(deviations), 1e-12) / 10
    length = np.concatenate([[0], np.cumsum(lengths)])
    schedule = np.interp(linear(num_distributions) * length[-1], length, betas)
    schedule[[0, -1]] = 0, 1
    return schedule
