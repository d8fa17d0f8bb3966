"""Missing values: the likelihood of what is known of a row, integrated over what is not.

    p(v_known) = sum_{v_missing} p(v),        F(v_known) = -log sum_{v_missing} exp(-F(v)) = -log p(v_known) - log Z

The sum is a partition function, that of the RBM with the known units held: annealed importance sampling estimates it
row by row, from independent missing units on (Salakhutdinov & Murray, ICML 2008, of an RBM whose hidden biases are
b + v_known W_known). Arrays are NumPy's; a missing value is NaN.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gluon_rbm.backend.random import make_generator
from gluon_rbm.backend.types import Clamp, HostArray, Key, SoftmaxGroups
from gluon_rbm.errors import InputError, check_count
from gluon_rbm.likelihood.schedules import linear
from gluon_rbm.models.energy import Parameters, are_pixels, free_energy, log_sum_exp
from gluon_rbm.models.visible_units import checked_visible_units, draw_visible, grouped_units, log_normalizer
from gluon_rbm.models.visible_units import softmax_groups as softmax_groups_of
from gluon_rbm.sampling import gibbs

__all__ = ["check_gaps", "marginal_free_energy"]

_CHAINS_AT_ONCE = 2000
_START, _ANNEAL = range(2)


def check_gaps(visible: HostArray, softmax_groups: SoftmaxGroups = ()) -> HostArray:
    """Which values are known: bool (rows, num_visible). NaN is missing.

    Raises InputError where some units of a softmax group are missing and others are not.
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
    """F(v_known) of each row: float64 (rows,), in nats. Exact without a gap; with one, by annealed importance sampling.

    Parameters
    ----------
    parameters : of NumPy arrays
    visible : array (rows, num_visible) in [0, 1], NaN where a value is missing
    num_chains, num_distributions : int >= 1
        Of each row. exp(-F) is unbiased, so that F is too high on average, by half the variance of its log.
    base_visible_bias : array (num_visible,), or None for the model's own
        Of the missing units at beta = 0.
    softmax_groups, engine : as in `gluon_rbm.sampling.gibbs.run_chains`
    key : sequence of int
        Fixes the noise. A row's estimate depends on its number among those with gaps.

    Raises InputError for values outside [0, 1], a group that is missing in part, and sizes that cannot be.
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
    """The log-weights of chains from missing units that are independent to those of the RBM: float64 (chains,)."""
    known, values = clamp
    inputs = np.broadcast_to(base, values.shape)
    visible = np.where(known, values, draw_visible(inputs, groups, make_generator([*key, _START])))
    settings: dict[str, Any] = {"base_visible_bias": base, "clamp": clamp, "visible_units": groups}
    return gibbs.anneal_with_weights(
        parameters, visible.astype(values.dtype), betas, key=[*key, _ANNEAL], engine=engine, **settings
    )[1]


def _log_z_0(known: HostArray, values: HostArray, base: HostArray, groups: SoftmaxGroups) -> HostArray:
    """log sum over the missing units at beta = 0, known ones held, of each row: float64 (rows,)."""
    base = base.astype(np.float64)
    # What is known has one state: a unit that is alone is off, and one unit of a group is on, at no cost.
    grouped, _, _ = grouped_units(groups, values.shape[1])
    one_state = np.where(grouped & (values > 0), 0.0, -np.inf)
    return log_normalizer(np.where(known, one_state, base), groups) + values.astype(np.float64) @ base
