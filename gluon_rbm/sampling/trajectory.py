"""Parallel trajectory tempering: chains of RBMs along a path exchange their states.

Training starts with independent units, where chains move freely, and ends with an RBM whose chains
hardly leave a mode. Snapshots of the training, each with its own chains, pass states on to the last
RBM (Béreux, Decelle, Furtlehner, Rosset & Seoane, ICLR 2025; training with it: the same authors,
arXiv 2607.27077, 2026). Any path of RBMs can be used. `fill` makes a path whose neighbours exchange
states often enough, from two or more RBMs.
"""

from __future__ import annotations

from typing import Any, Iterable, Mapping, NamedTuple, Sequence

import numpy as np

from gluon_rbm.backend.arrays import as_operand, asarray_like, restore_kind, take_rows, to_numpy
from gluon_rbm.backend.random import make_generator
from gluon_rbm.backend.types import Array, HostArray, Key, VisibleUnits
from gluon_rbm.errors import InputError
from gluon_rbm.models.energy import free_energy
from gluon_rbm.models.parameters import Parameters
from gluon_rbm.models.visible_units import draw_visible
from gluon_rbm.sampling import gibbs

__all__ = ["Exchange", "Path", "advance", "between", "draw_independent", "fill", "independent_units", "swap_neighbours"]

_SWEEPS, _SWAPS = range(2)

# Longest step in nats: standard deviation of a difference of free energies. About 40 % of the
# exchanges then happen.
_LONGEST = 1.1
_BISECTIONS = 8
_SETTLING = 50  # sweeps of the chains at a new RBM of a path
_MOST_RBMS = 500  # most RBMs of a path


class Path(NamedTuple):
    """RBMs on the way to another RBM, which is not part of the path.

    The first RBM has no weights, so that its chains forget everything.
    """

    name: str  #: name in reports, such as "the trajectory"
    rbms: list[Parameters]
    chains: list[Array]  #: of each RBM, (chains, num_visible) in {0, 1}

    def checked(self, parameters: Parameters) -> Path:
        """Return this path if its RBMs have the same size as another RBM.

        Parameters
        ----------
        parameters
            Parameters of the RBM that the path should lead to.

        Returns
        -------
        Path
            The same path.

        Raises
        ------
        InputError
            The sizes differ.
        """
        size, other = (rbm.interaction_weight.shape for rbm in (parameters, self.rbms[0]))
        if size != other:
            raise InputError(
                "%s leads to an RBM of size %d x %d, and this one has %d x %d; take a path to this one"
                % (self.name, *other, *size)
            )
        return self

    def in_context(self, context: Any) -> Path:
        """Return the same path with its RBMs on another device.

        Parameters
        ----------
        context
            The device, an MXNet context.

        Returns
        -------
        Path
            The path with the RBMs copied; the chains stay where they are.
        """
        return self._replace(rbms=[rbm.as_in_context(context) for rbm in self.rbms])


class Exchange(NamedTuple):
    """Result of `swap_neighbours`."""

    states: list[Array]  #: of all RBMs, after the exchanges
    pairs: list[int]  #: first RBM of each pair that was tried
    #: for each pair, F_s - F_t of the states of s and of the states of t: float64 (2, chains)
    differences: list[HostArray]

    def rates(self) -> HostArray:
        """Mean probability of an exchange of each pair of neighbours.

        Returns
        -------
        float64 (len(states) - 1,)
            Mean over the chains; NaN for pairs that were not tried.
        """
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
    """Run sweeps of the chains of some RBMs, then exchange states as `swap_neighbours` does.

    Parameters
    ----------
    rbms
        RBMs of one size, in the order of a path. If the first has no weights, its chains forget
        everything.
    visible
        Chains of each RBM, (chains, num_visible) in {0, 1}.
    turns
        Maps the number of an RBM to the sweeps of its chains; by default one sweep of each RBM.
    pairs, key
        As in `swap_neighbours`; `key` also fixes the noise of the sweeps.
    **settings
        `clamp`, `visible_units` and `engine`, as in `gibbs.run_chains`.

    Returns
    -------
    Exchange
        States after the exchanges.
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
    """Exchange the states of neighbouring RBMs, chain by chain, by the Metropolis rule.

    Chains of the neighbours s and t exchange their states with probability

        min(1, exp(F_s(v_s) + F_t(v_t) - F_s(v_t) - F_t(v_s))),

    which leaves the product of the RBMs' distributions invariant. The hidden layers are summed out,
    and must be drawn anew.

    Parameters
    ----------
    rbms
        RBMs of one size, in the order of a path.
    visible
        Chains of each RBM, (chains, num_visible) in {0, 1}.
    pairs
        First RBM of each pair, in the order in which the pairs are tried; it must not depend on the
        states. By default a coin chooses (0, 1), (2, 3), ... or (1, 2), (3, 4), ....
    key
        Non-negative integers that fix the coin and the exchanges.

    Returns
    -------
    Exchange
        States after the exchanges, and the differences of free energies.
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


# --- Paths ----------------------------------------------------------------------------------------


def independent_units(parameters: Parameters, visible_layer_bias: Array) -> Parameters:
    """Return an RBM without weights or hidden biases, where a path that scales the weights begins.

    Parameters
    ----------
    parameters
        Parameters of the RBM at the end of the path.
    visible_layer_bias
        Visible biases of the new RBM, (num_visible,).

    Returns
    -------
    Parameters
        Arrays in the kind, dtype and on the device of `parameters`.
    """
    bias, hidden, weight = (np.zeros(array.shape, np.float64) for array in parameters)
    bias[...] = to_numpy(visible_layer_bias)
    return Parameters(*(asarray_like(array, like) for array, like in zip((bias, hidden, weight), parameters)))


def draw_independent(rbm: Parameters, num_chains: int, key: Key, visible_units: VisibleUnits = ()) -> Array:
    """Draw exact samples of an RBM without weights.

    Parameters
    ----------
    rbm
        Parameters of the RBM; only the visible biases are used.
    num_chains
        Number of samples.
    key
        Non-negative integers that fix the samples.
    visible_units
        As in `gibbs.run_chains`.

    Returns
    -------
    Array (num_chains, num_visible)
        Samples in {0, 1}, in the kind, dtype and on the device of the RBM's arrays.
    """
    inputs = np.tile(to_numpy(rbm.visible_layer_bias).astype(np.float64), (num_chains, 1))
    return asarray_like(draw_visible(inputs, visible_units, make_generator(key)), rbm.interaction_weight)


def fill(
    rbms: Sequence[Parameters], visible: Sequence[Array | None], *, key: Key, **settings: Any
) -> tuple[list[Parameters], list[Array]]:
    """Make a path from the first to the last RBM whose neighbours exchange states often enough.

    The path leads through the other RBMs. Between two of them, the parameters are weighted means. A
    step is as long as the standard deviation of the difference of free energies allows, over chains
    that move along the path.

    Parameters
    ----------
    rbms
        Two or more RBMs of one size.
    visible
        Samples of each RBM, (chains, num_visible) in {0, 1}. None, for any but the first RBM,
        continues the chains that moved along the path.
    key
        Non-negative integers that fix the noise.
    **settings
        As in `advance`.

    Returns
    -------
    rbms : list of Parameters
        RBMs of the path, with both ends.
    chains : list of arrays (chains, num_visible)
        Chains of each RBM, which need not be at equilibrium yet.

    Raises
    ------
    InputError
        The path would need more than 500 RBMs.
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
    """Return the RBM at a place in [0, len(rbms) - 1] of the path."""
    low = min(int(place), len(rbms) - 2)
    return between(rbms[low], rbms[low + 1], place - low)


def between(here: Parameters, there: Parameters, place: float) -> Parameters:
    """Return the weighted mean of the parameters of two RBMs.

    Parameters
    ----------
    here, there
        Parameters of the two RBMs.
    place
        Weight of `there`, in [0, 1].

    Returns
    -------
    Parameters
        The parameters of `here` at 0, of `there` at 1.
    """
    if place in (0, 1):
        return there if place else here
    pairs = ((as_operand(a), as_operand(b)) for a, b in zip(here, there))
    means = ((1 - place) * a + place * b for a, b in pairs)
    return Parameters(*(restore_kind(mean, like) for mean, like in zip(means, here)))


def _next_place(rbms: Sequence[Parameters], place: float, visible: Array) -> float:
    """Return the farthest place for the next RBM after the RBM at `place`, given its chains."""
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
