"""Parallel trajectory tempering: chains of RBMs along a path exchange their states.

A training goes from independent units, which chains cross at once, to an RBM whose chains hardly leave a mode.
Snapshots on the way, each with chains of its own, carry states down to the last RBM (Béreux, Decelle, Furtlehner,
Rosset & Seoane, ICLR 2025; training by it: the same, arXiv 2607.27077, 2026). Any path will do: `fill` makes one whose
neighbours exchange states often enough, from a few RBMs, or from two.
"""

from __future__ import annotations

from typing import Any, Iterable, Mapping, NamedTuple, Sequence

import numpy as np

from gluon_rbm.backend.arrays import as_operand, asarray_like, restore_kind, take_rows, to_numpy
from gluon_rbm.backend.random import make_generator
from gluon_rbm.backend.types import Array, HostArray, Key, VisibleUnits
from gluon_rbm.errors import InputError
from gluon_rbm.models.energy import Parameters, free_energy
from gluon_rbm.models.visible_units import draw_visible
from gluon_rbm.sampling import gibbs

__all__ = ["Exchange", "Path", "advance", "between", "draw_independent", "fill", "independent_units", "swap_neighbours"]

_SWEEPS, _SWAPS = range(2)

_LONGEST = 1.1  # nats, standard deviation of a difference of free energies: some 40 % of exchanges are made
_BISECTIONS = 8
_SETTLING = 50  # sweeps of chains that come to a new RBM of a path
_MOST_RBMS = 500  # of a path


class Path(NamedTuple):
    """RBMs on the way to another, which is not among them: the first has no weights, so that its chains forget all."""

    name: str  #: for reports: "the trajectory", ...
    rbms: list[Parameters]
    chains: list[Array]  #: of each, (chains, num_visible) in {0, 1}

    def checked(self, parameters: Parameters) -> Path:
        """This path, or InputError if its RBMs are of another size than the one it should lead to."""
        size, other = (rbm.interaction_weight.shape for rbm in (parameters, self.rbms[0]))
        if size != other:
            raise InputError(
                "%s leads to an RBM of size %d x %d, and this one has %d x %d; take a path to this one"
                % (self.name, *other, *size)
            )
        return self

    def in_context(self, context: Any) -> Path:
        """The same with RBMs on another device."""
        return self._replace(rbms=[rbm.as_in_context(context) for rbm in self.rbms])


class Exchange(NamedTuple):
    """What `swap_neighbours` did."""

    states: list[Array]  #: of all RBMs, after it
    pairs: list[int]  #: the first of each pair that was tried
    differences: list[HostArray]  #: of each: F_s - F_t of the states of s, and of those of t: float64 (2, chains)

    def rates(self) -> HostArray:
        """The mean probability of each pair's exchange, float64 (len(states) - 1,), NaN for pairs that were not."""
        rates = np.full(max(0, len(self.states) - 1), np.nan)
        for pair, difference in zip(self.pairs, self.differences):
            rates[pair] = _probability(difference).mean()
        return rates


def _probability(difference: HostArray) -> HostArray:
    return np.exp(np.minimum(0, difference[0] - difference[1]))


def advance(
    rbms: Sequence[Parameters],
    visible: Sequence[Array],
    *,
    turns: Mapping[int, int] | None = None,
    pairs: Iterable[int] | None = None,
    key: Key,
    **settings: Any,
) -> Exchange:
    """Sweeps of the chains of some RBMs, and exchanges of neighbours, as `swap_neighbours` says.

    rbms : of one size, in the order of a path; where the first has no weights, its chains forget all
    visible : arrays (chains, num_visible) in {0, 1}, the chains of each
    turns : number of an RBM -> sweeps of its chains; by default one of all
    pairs : as in `swap_neighbours`
    settings : clamp, visible_units and engine, as in `gibbs.run_chains`
    """
    states = list(visible)
    for number, sweeps in (dict.fromkeys(range(len(rbms)), 1) if turns is None else turns).items():
        chains = gibbs.run_chains(
            rbms[number], visible=states[number], sweeps=sweeps, key=[*key, _SWEEPS, number], **settings
        )
        states[number] = chains.visible_sample
    return swap_neighbours(rbms, states, pairs=pairs, key=[*key, _SWAPS])


def swap_neighbours(
    rbms: Sequence[Parameters], visible: Sequence[Array], *, pairs: Iterable[int] | None = None, key: Key
) -> Exchange:
    """Exchange the states of RBMs that are neighbours, chain by chain, each with probability

        min(1, exp(F_s(v_s) + F_t(v_t) - F_s(v_t) - F_t(v_s))),

    which keeps the product of all their distributions as it is. (Hidden layers are summed out, and to be drawn anew.)

    pairs : the first of each pair, in the order in which they are tried, which must not depend on the states. By
        default a coin says which: (0, 1), (2, 3), ..., or (1, 2), (3, 4), ....
    """
    generator, states = make_generator(key), list(visible)
    if pairs is None:
        pairs = range(int(generator.integers(2)), len(rbms) - 1, 2)
    exchange = Exchange(states, list(pairs), [])
    for low in exchange.pairs:
        here, there = as_operand(states[low]), as_operand(states[low + 1])
        both, count = restore_kind(np.concatenate([here, there]), states[low]), len(here)
        energies = [to_numpy(free_energy(parameters, both)) for parameters in rbms[low : low + 2]]
        difference = (energies[0] - energies[1]).reshape(2, count)
        swapped = generator.random(count) < _probability(difference)
        rows = np.arange(count)
        first = rows + swapped * count
        states[low], states[low + 1] = take_rows(both, first), take_rows(both, rows + count - swapped * count)
        exchange.differences.append(difference)
    return exchange


# --- Paths ------------------------------------------------------------------------------------------------------------


def independent_units(parameters: Parameters, visible_layer_bias: Array) -> Parameters:
    """The RBM without weights or hidden biases that has these visible biases, beside the parameters: where a path that
    scales the weights from 0 begins."""
    bias, hidden, weight = (np.zeros(array.shape, np.float64) for array in parameters)
    bias[...] = to_numpy(visible_layer_bias)
    return Parameters(*(asarray_like(array, like) for array, like in zip((bias, hidden, weight), parameters)))


def draw_independent(rbm: Parameters, num_chains: int, key: Key, visible_units: VisibleUnits = ()) -> Array:
    """Exact samples of an RBM without weights: (num_chains, num_visible) in {0, 1}, an array like its own."""
    inputs = np.tile(to_numpy(rbm.visible_layer_bias).astype(np.float64), (num_chains, 1))
    return asarray_like(draw_visible(inputs, visible_units, make_generator(key)), rbm.interaction_weight)


def fill(
    rbms: Sequence[Parameters], visible: Sequence[Array | None], *, key: Key, **settings: Any
) -> tuple[list[Parameters], list[Array]]:
    """A path from the first to the last of some RBMs whose neighbours exchange their states often enough.

    It leads by way of the others: parameters are weighted means of those of two of them that are neighbours. A step is
    as long as the standard deviation of the difference of free energies, over chains that come along, allows for.

    rbms : two RBMs or more
    visible : arrays (chains, num_visible) in {0, 1}, the chains of each, samples as they should be; None, but for the
        first, where chains are to come along
    settings : as of `advance`

    Returns the RBMs of the path, and the chains of each, which need not be at equilibrium yet. Raises InputError where
    more than 500 RBMs would be needed.
    """
    last, place = len(rbms) - 1, 0.0
    path, states = [rbms[0]], [visible[0]]
    while place < last:
        place = _next_place(rbms, place, states[-1])
        path.append(_at(rbms, place))
        if len(path) > _MOST_RBMS:
            raise InputError(
                "more than %d RBMs would lie on the path, as its ends differ too much; take more snapshots "
                "(--num-snapshots) of a training with smaller steps" % _MOST_RBMS
            )
        start = visible[round(place)]
        start = states[-1] if start is None else start
        chains = gibbs.run_chains(path[-1], visible=start, sweeps=_SETTLING, key=[*key, len(path)], **settings)
        states.append(chains.visible_sample)
    return path, states


def _at(rbms: Sequence[Parameters], place: float) -> Parameters:
    """The RBM at a place in [0, len(rbms) - 1] of the path."""
    low = min(int(place), len(rbms) - 2)
    return between(rbms[low], rbms[low + 1], place - low)


def between(here: Parameters, there: Parameters, place: float) -> Parameters:
    """The weighted mean of the parameters: those of `here` at 0, of `there` at 1."""
    if place in (0, 1):
        return there if place else here
    pairs = ((as_operand(a), as_operand(b)) for a, b in zip(here, there))
    means = ((1 - place) * a + place * b for a, b in pairs)
    return Parameters(*(restore_kind(mean, like) for mean, like in zip(means, here)))


def _next_place(rbms: Sequence[Parameters], place: float, visible: Array) -> float:
    """How far the next RBM of the path may be from that of a place, whose chains are given."""
    energy, last = to_numpy(free_energy(_at(rbms, place), visible)), float(len(rbms) - 1)

    def is_near(other: float) -> bool:
        return bool(np.std(energy - to_numpy(free_energy(_at(rbms, other), visible))) <= _LONGEST)

    near, far = place, min(place + 1, last)
    while is_near(far):
        if far == last:
            return last
        near, far = far, min(far + 1, last)
    for _ in range(_BISECTIONS):
        middle = (near + far) / 2
        near, far = (middle, far) if is_near(middle) else (near, middle)
    return near if near > place else far
