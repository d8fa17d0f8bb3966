"""Snapshots of an RBM in training, each with its own chains.

The first snapshot has the initial biases and no weights. The RBM itself comes after the last
snapshot. Where these two exchange states rarely, the current RBM becomes a new snapshot. But if the
last snapshot has never exchanged often with the RBM, the current RBM replaces it, because the RBM's
steps are too large for chains to follow. Between two snapshots that exchange rarely, the mean of
their parameters becomes a snapshot. If there is no room, the snapshot is removed whose neighbours
would exchange most often.
"""

from __future__ import annotations

from typing import Any, Sequence

import numpy as np

from gluon_rbm.backend.arrays import as_operand, asarray_like, assign, to_numpy
from gluon_rbm.backend.random import make_generator
from gluon_rbm.backend.types import Array, Arrays, HostArray, Key, Path, VisibleUnits
from gluon_rbm.errors import InputError
from gluon_rbm.models.files import parameter_file, read_arrays
from gluon_rbm.models.parameters import Parameters
from gluon_rbm.sampling import gibbs, trajectory

__all__ = ["NAMES", "NUMBER", "RATES", "TRAJECTORY", "follow", "of_states", "read", "states"]

PARAMETERS = tuple("aux_snapshot_" + name for name in Parameters._fields)
CHAINS, RATES, NUMBER = "aux_snapshot_visible_layer_sample", "aux_snapshot_swap_rate", "aux_num_snapshots"
# Names of all arrays of the snapshots. The arrays are 0 before the first step.
NAMES = (*PARAMETERS, CHAINS, RATES, NUMBER)

TRAJECTORY = "the trajectory"  # name of the path of the snapshots

_LEAST_RATE = 0.3  # lowest rate of exchanges between the last snapshot and the RBM
_POOR_RATE = 0.1  # lowest rate of exchanges between other neighbours
_RATE_DECAY = 0.1


def states(most: int, num_chains: int, num_visible: int, num_hidden: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the arrays that hold the snapshots.

    Parameters
    ----------
    most
        Largest number of snapshots.
    num_chains, num_visible, num_hidden
        Numbers of chains, visible units and hidden units.

    Returns
    -------
    dict of str to tuple of int
        Shape of each array by name, in order.
    """
    shapes = (num_visible,), (num_hidden,), (num_visible, num_hidden), (num_chains, num_visible), ()
    return {**{name: (most, *shape) for name, shape in zip(NAMES, shapes)}, NUMBER: (1,)}


def of_states(aux_states: Arrays) -> tuple[list[Parameters], list[Array]]:
    """Snapshots and their chains, as views of the arrays.

    Parameters
    ----------
    aux_states
        Arrays of `states`, by name.

    Returns
    -------
    snapshots : list of Parameters
        Snapshots, the first one first.
    chains : list of arrays (num_chains, num_visible)
        Visible states of the chains of each.
    """
    number = _number(aux_states)
    snapshots = [Parameters(*(aux_states[name][place] for name in PARAMETERS)) for place in range(number)]
    return snapshots, [aux_states[CHAINS][place] for place in range(number)]


def read(path: Path) -> trajectory.Path:
    """Read the snapshots of a training and their chains.

    Parameters
    ----------
    path
        Run folder or file of parameters.

    Returns
    -------
    Path
        Path of the snapshots, with NDArrays.

    Raises
    ------
    InputError
        There are no snapshots, their arrays do not fit together, the first one has weights, or
        chains have values other than 0 and 1.
    """
    path = parameter_file(path)
    arrays = read_arrays(path)
    if any(name not in arrays for name in NAMES):
        raise InputError("%s holds no snapshots of its training; train with --chains trajectory" % path)
    most, num_visible, num_hidden = arrays[PARAMETERS[2]].shape if arrays[PARAMETERS[2]].ndim == 3 else (0, 0, 0)
    num_chains = arrays[CHAINS].shape[1] if arrays[CHAINS].ndim == 3 else 0
    number = to_numpy(arrays[NUMBER]).ravel()
    expected = states(most, num_chains, num_visible, num_hidden)
    found = {name: arrays[name].shape for name in NAMES}
    if found != expected or not 1 <= number[0] <= most or number[0] % 1 or not num_chains:
        raise InputError("the snapshots in %s do not belong together; train anew" % path)
    snapshots, chains = of_states(arrays)
    for parameters in snapshots:
        parameters.checked()
    if to_numpy(snapshots[0].interaction_weight).any():
        raise InputError("the first snapshot in %s has weights, and a training starts without; train anew" % path)
    if not all(gibbs.is_binary(to_numpy(rows)) for rows in chains):
        raise InputError("the snapshots in %s have chains of other values than 0 and 1; train anew" % path)
    return trajectory.Path(TRAJECTORY, snapshots, chains)


def follow(
    aux_states: Arrays,
    parameters: Parameters,
    visible: Array,
    *,
    sweeps: int,
    visible_units: VisibleUnits,
    key: Key,
    engine: str,
) -> Array:
    """Sweep the chains of some snapshots, and exchange states along the path up to the RBM.

    In each step a snapshot takes its turn with probability 1 / `sweeps`. Its chains then make
    `sweeps` sweeps; those of the first snapshot make one, because one draws independent states.
    So chains make one sweep a step on average.

    Parameters
    ----------
    aux_states
        Arrays of `states`, by name, which are changed. If they hold no snapshot yet, the biases of
        the RBM become the first one.
    parameters
        Parameters of the RBM.
    visible
        Visible states of the RBM's chains, (num_chains, num_visible), 0 or 1.
    sweeps
        Sweeps of a snapshot's chains in a turn, before they exchange states.
    visible_units
        As in `gluon_rbm.sampling.gibbs.run_chains`.
    key
        Integers that fix the noise.
    engine
        As in `gluon_rbm.sampling.gibbs.run_chains`.

    Returns
    -------
    array (num_chains, num_visible)
        States of the RBM's chains after the exchanges.
    """
    rates = to_numpy(aux_states[RATES]).astype(np.float64)
    if not _number(aux_states):
        _append(aux_states, rates, [as_operand(array) for array in (*parameters, visible)])
        assign(aux_states[PARAMETERS[2]][0], "write", 0)
    snapshots, chains = of_states(aux_states)
    turns = _draw_turns(len(snapshots), sweeps, key)
    exchange = trajectory.advance(
        [*snapshots, parameters],
        [*chains, visible],
        turns=turns,
        pairs=turns,
        visible_units=visible_units,
        key=[*key, 1],
        engine=engine,
    )
    for chain, state in zip(chains, exchange.states):
        if state is not chain:
            assign(chain, "write", as_operand(state))
    _adapt(aux_states, rates, exchange, parameters)
    assign(aux_states[RATES], "write", as_operand(asarray_like(rates, aux_states[RATES])))
    return exchange.states[-1]


def _adapt(aux_states: Arrays, rates: HostArray, exchange: trajectory.Exchange, parameters: Parameters) -> None:
    """Update the rates by those found, then the snapshots by the rates. A rate of 0 is unknown."""
    found, last = exchange.rates(), len(exchange.states) - 2
    # Whether the last snapshot has exchanged often with the RBM.
    is_held = rates[last] >= _LEAST_RATE
    for pair in exchange.pairs:
        follows = is_held if pair == last else rates[pair] > 0
        rates[pair] += (_RATE_DECAY if follows else 1) * (found[pair] - rates[pair])
    poor = [pair for pair in exchange.pairs if pair < last and rates[pair] < _POOR_RATE]
    if found[last] < _LEAST_RATE:  # false for NaN: this pair was not tried
        latest = [as_operand(array) for array in (*parameters, exchange.states[-1])]
        if is_held or not last:
            _append(aux_states, rates, latest)
        else:
            _write(aux_states, last, latest)
    elif poor:  # only one change in a step, because it shifts the indices
        _insert_mean(aux_states, rates, min(poor, key=rates.__getitem__))


def _draw_turns(number: int, sweeps: int, key: Key) -> dict[int, int]:
    """Snapshots that take their turn, and their sweeps. The first snapshot needs only one sweep."""
    drawn = np.flatnonzero(make_generator([*key, 0]).random(number) < 1 / sweeps)
    return {int(place): sweeps if place else 1 for place in drawn}


def _append(aux_states: Arrays, rates: HostArray, latest: Sequence[Any]) -> None:
    """Make the current RBM and its chains the last snapshot."""
    if _number(aux_states) == len(rates):
        _remove(aux_states, rates, _least_needed(rates))
    number = _number(aux_states)
    _write(aux_states, number, latest)
    rates[number] = 0
    assign(aux_states[NUMBER], "write", number + 1)


def _insert_mean(aux_states: Arrays, rates: HostArray, pair: int) -> None:
    """Insert the mean of two snapshots, with the chains of the first, if there is room."""
    if _number(aux_states) == len(rates):
        place = _least_needed(rates)
        if place in (pair, pair + 1) or rates[place - 1] * rates[place] < _LEAST_RATE:
            return
        _remove(aux_states, rates, place)
        pair -= place < pair
    here, there = _read(aux_states, pair), _read(aux_states, pair + 1)
    mean = [(one + other) / 2 for one, other in zip(here[:-1], there)]
    number = _number(aux_states)
    for place in range(number, pair + 1, -1):
        _write(aux_states, place, _read(aux_states, place - 1))
        rates[place] = rates[place - 1]
    _write(aux_states, pair + 1, [*mean, here[-1]])
    rates[pair : pair + 2] = 0
    assign(aux_states[NUMBER], "write", number + 1)


def _least_needed(rates: HostArray) -> int:
    """Snapshot whose neighbours would exchange most without it; not the first or the last."""
    return 1 + int((rates[:-2] * rates[1:-1]).argmax()) if len(rates) > 2 else 1


def _remove(aux_states: Arrays, rates: HostArray, place: int) -> None:
    """Remove a snapshot."""
    number = _number(aux_states)
    rates[place - 1] *= rates[place]
    for later in range(place, number - 1):
        _write(aux_states, later, _read(aux_states, later + 1))
        rates[later] = rates[later + 1]
    assign(aux_states[NUMBER], "write", number - 1)


def _read(aux_states: Arrays, place: int) -> list[Any]:
    """Parameters and chains of a snapshot, as operands."""
    return [as_operand(aux_states[name][place]) for name in (*PARAMETERS, CHAINS)]


def _write(aux_states: Arrays, place: int, arrays: Sequence[Any]) -> None:
    for name, array in zip((*PARAMETERS, CHAINS), arrays):
        assign(aux_states[name][place], "write", array)


def _number(aux_states: Arrays) -> int:
    return int(to_numpy(aux_states[NUMBER])[0])
