"""Parallel trajectory tempering: chains of RBMs along a training exchange their states.

A training goes from independent units, which chains cross at once, to an RBM whose chains hardly leave a mode.
Snapshots on the way, each with chains of its own, carry states down to the last RBM (Béreux, Decelle, Furtlehner,
Rosset & Seoane, ICLR 2025; training by it: the same, arXiv 2607.27077, 2026).
"""

from __future__ import annotations

from typing import Any, Sequence

import numpy as np

from gluon_rbm.backend.arrays import as_operand, restore_kind, take_rows, to_numpy
from gluon_rbm.backend.random import make_generator
from gluon_rbm.backend.types import Array, HostArray, Key
from gluon_rbm.models.energy import Parameters, free_energy
from gluon_rbm.sampling import gibbs

__all__ = ["advance", "swap_neighbours"]

_SWEEPS, _SWAPS = range(2)


def advance(
    snapshots: Sequence[Parameters],
    visible: Sequence[Array],
    *,
    key: Key,
    **settings: Any,
) -> tuple[list[Array], HostArray]:
    """A sweep of the chains of all snapshots but the last, and exchanges of neighbours, as `swap_neighbours` says.

    snapshots : RBMs of one size, in the order of a training; where the first has no weights, its chains forget all
    visible : arrays (chains, num_visible) in {0, 1}, the chains of each
    settings : clamp, softmax_groups and engine, as in `gibbs.run_chains`

    Returns the states of all, and the mean probability of each pair's exchange.
    """
    states = [
        gibbs.run_chains(parameters, visible=state, key=[*key, _SWEEPS, number], **settings).visible_sample
        for number, (parameters, state) in enumerate(zip(snapshots[:-1], visible))
    ]
    return swap_neighbours(snapshots, [*states, visible[-1]], key=[*key, _SWAPS])


def swap_neighbours(
    snapshots: Sequence[Parameters], visible: Sequence[Array], *, key: Key
) -> tuple[list[Array], HostArray]:
    """Exchange the states of RBMs that are neighbours, chain by chain, each with probability

        min(1, exp(F_s(v_s) + F_t(v_t) - F_s(v_t) - F_t(v_s))),

    which keeps the product of all their distributions as it is. A coin says which pairs: (0, 1), (2, 3), ..., or
    (1, 2), (3, 4), .... The last pair is always among them, or follows. (Hidden layers are summed out, and to be drawn
    anew.)

    Returns the states, and the mean probability of each pair's exchange, float64 (len(snapshots) - 1,), NaN for the
    other pairs.
    """
    generator, states = make_generator(key), list(visible)
    rates = np.full(max(0, len(snapshots) - 1), np.nan)
    pairs = list(range(int(generator.integers(2)), len(rates), 2))
    for low in dict.fromkeys([*pairs, len(rates) - 1] if len(rates) else []):
        here, there = as_operand(states[low]), as_operand(states[low + 1])
        both, count = restore_kind(np.concatenate([here, there]), states[low]), len(here)
        differences = [
            energies[:count] - energies[count:]
            for energies in (to_numpy(free_energy(parameters, both)) for parameters in snapshots[low : low + 2])
        ]
        probability = np.exp(np.minimum(0, differences[0] - differences[1]))
        rates[low] = probability.mean()
        swapped = (generator.random(count) < probability) * count
        rows = np.arange(count)
        states[low], states[low + 1] = take_rows(both, rows + swapped), take_rows(both, rows + count - swapped)
    return states, rates
