"""Missing values: the likelihood of the known values of a row, summed over the missing ones.

    p(v_known) = sum_{v_missing} p(v)
    F(v_known) = -log sum_{v_missing} exp(-F(v)) = -log p(v_known) - log Z

The sum in F is the partition function of the RBM with the known units held fixed. Annealed
importance sampling (AIS) estimates it for each row, and starts with independent missing units
(Salakhutdinov & Murray, ICML 2008, for an RBM with hidden biases b + v_known W_known). Arrays are
NumPy's. A missing value is NaN.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gluon_rbm.backend.random import make_generator
from gluon_rbm.backend.types import Clamp, HostArray, Key, SoftmaxGroups
from gluon_rbm.errors import InputError, check_count
from gluon_rbm.likelihood.schedules import linear
from gluon_rbm.models.energy import are_pixels, free_energy, log_sum_exp
from gluon_rbm.models.parameters import Parameters
from gluon_rbm.models.visible_units import checked_visible_units, draw_visible, grouped_units, log_normalizer
from gluon_rbm.models.visible_units import softmax_groups as softmax_groups_of
from gluon_rbm.sampling import gibbs

__all__ = ["check_gaps", "marginal_free_energy"]

_CHAINS_AT_ONCE = 2000
_START, _ANNEAL = range(2)


def check_gaps(visible: HostArray, softmax_groups: SoftmaxGroups = ()) -> HostArray:
    """Return which values are known.

    Parameters
    ----------
    visible
        Array (rows, num_visible), NaN where a value is missing.
    softmax_groups
        Pairs (start, stop) of visible units, of which exactly one unit is on.

    Returns
    -------
    bool (rows, num_visible)
        True where a value is known.

    Raises
    ------
    InputError
        Some units of a softmax group are missing in a row, and others are not.
    """
    known = ~np.isnan(visible)
    for start, stop in softmax_groups:
        of_group = known[:, start:stop]
        if (of_group.any(axis=1) != of_group.all(axis=1)).any():
            raise InputError(
                "a value of units %d to %d, a softmax group, is missing in part; give NaN in all" % (start, stop)
            )
    return known


def marginal_free_energy(
    parameters: Parameters,
    visible: HostArray,
    *,
    num_chains: int = 20,
    num_distributions: int = 200,
    base_visible_bias: HostArray | None = None,
    softmax_groups: SoftmaxGroups = (),
    key: Key = (),
    engine: str = "auto",
) -> HostArray:
    """Free energy F(v_known) of each row.

    It is exact for rows without missing values, and estimated by AIS for the others. For these
    exp(-F) is unbiased, so F is too high on average, by about half its variance.

    Parameters
    ----------
    parameters
        Parameters of the RBM as NumPy arrays.
    visible
        Array (rows, num_visible) of values in [0, 1], NaN where a value is missing.
    num_chains
        Number of AIS chains for each row.
    num_distributions
        Number of intermediate distributions.
    base_visible_bias
        Bias (num_visible,) of the missing units at beta = 0; by default the RBM's own visible bias.
    softmax_groups
        As in `check_gaps`.
    key
        Integers that fix the noise. An estimate also depends on the row's position among the rows
        with missing values.
    engine
        As in `gluon_rbm.sampling.gibbs.run_chains`.

    Returns
    -------
    float64 (rows,)
        Free energies in nats.

    Raises
    ------
    InputError
        A value is outside [0, 1], a softmax group is missing in part, or a number is below 1.
    """
    check_count("num_chains", num_chains)
    check_count("num_distributions", num_distributions)
    groups = softmax_groups_of(checked_visible_units(softmax_groups, parameters.num_visible))
    known = check_gaps(visible, groups)
    filled = np.where(known, visible, 0).astype(parameters.interaction_weight.dtype)
    if not are_pixels(filled):
        raise InputError("visible units hold values outside of [0, 1]")
    energy = np.asarray(free_energy(parameters, filled))
    gaps = np.flatnonzero(~known.all(axis=1))
    base = parameters.visible_layer_bias if base_visible_bias is None else base_visible_bias
    base = np.asarray(base, filled.dtype)
    betas = linear(num_distributions).tolist()
    rows_at_once = max(1, _CHAINS_AT_ONCE // num_chains)
    for number, first in enumerate(range(0, len(gaps), rows_at_once)):
        rows = gaps[first : first + rows_at_once]
        clamp = known[rows].repeat(num_chains, axis=0), filled[rows].repeat(num_chains, axis=0)
        log_weights = _log_weights(parameters, clamp, base, groups, betas, [*key, number], engine)
        of_rows = log_sum_exp(log_weights.reshape(len(rows), num_chains)) - np.log(num_chains)
        energy[rows] = -(_log_z_0(known[rows], filled[rows], base, groups) + of_rows)
        energy[rows] -= parameters.num_hidden * np.log(2)
    return energy


def _log_weights(
    parameters: Parameters,
    clamp: Clamp,
    base: HostArray,
    groups: SoftmaxGroups,
    betas: list[float],
    key: Key,
    engine: str,
) -> HostArray:
    """Log-weights of chains from independent missing units to the RBM's: float64 (chains,)."""
    known, values = clamp
    inputs = np.broadcast_to(base, values.shape)
    visible = np.where(known, values, draw_visible(inputs, groups, make_generator([*key, _START])))
    settings: dict[str, Any] = {"base_visible_bias": base, "clamp": clamp, "visible_units": groups}
    return gibbs.anneal_with_weights(
        parameters, visible.astype(values.dtype), betas, key=[*key, _ANNEAL], engine=engine, **settings
    )[1]


def _log_z_0(known: HostArray, values: HostArray, base: HostArray, groups: SoftmaxGroups) -> HostArray:
    """Log Z at beta = 0 with the known units of each row held: float64 (rows,)."""
    base = base.astype(np.float64)
    # A known unit or group has one state, so its sum has one term. `one_state` makes this term
    # exp(0) = 1. The product with `base` then adds what the known values contribute.
    grouped, _, _ = grouped_units(groups, values.shape[1])
    one_state = np.where(grouped & (values > 0), 0.0, -np.inf)
    return log_normalizer(np.where(known, one_state, base), groups) + values.astype(np.float64) @ base
