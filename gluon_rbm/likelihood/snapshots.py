"""What an RBM in training keeps of the way it came: snapshots of itself, and chains of each.

The first snapshot has the initial biases and no weights. The RBM itself follows after the last one. Where exchanges
between the two get rare, the RBM as it is becomes the next snapshot; where there is no more room for it, that snapshot
goes whose neighbours would exchange their states most often.
"""

from __future__ import annotations

import numpy as np

from gluon_rbm.backend.arrays import as_operand, asarray_like, assign, to_numpy
from gluon_rbm.backend.types import Array, Arrays, HostArray, Key, Path, SoftmaxGroups
from gluon_rbm.errors import InputError
from gluon_rbm.models.energy import Parameters
from gluon_rbm.models.files import parameter_file, read_arrays
from gluon_rbm.sampling import gibbs, trajectory

__all__ = ["NAMES", "NUMBER", "RATES", "follow", "of_states", "read", "states"]

PARAMETERS = tuple("aux_snapshot_" + name for name in Parameters._fields)
CHAINS, RATES, NUMBER = "aux_snapshot_visible_layer_sample", "aux_snapshot_swap_rate", "aux_num_snapshots"
NAMES = (*PARAMETERS, CHAINS, RATES, NUMBER)  # of arrays, which are 0 before the first step

_LEAST_RATE = 0.3  # of exchanges between the last snapshot and the RBM
_RATE_DECAY = 0.1


def states(most: int, num_chains: int, num_visible: int, num_hidden: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the arrays: of at most so many snapshots, and how many there are."""
    shapes = (num_visible,), (num_hidden,), (num_visible, num_hidden), (num_chains, num_visible), ()
    return {**{name: (most, *shape) for name, shape in zip(NAMES, shapes)}, NUMBER: (1,)}


def of_states(aux_states: Arrays) -> tuple[list[Parameters], list[Array]]:
    """The snapshots, and the chains of each, as views of the arrays."""
    number = int(to_numpy(aux_states[NUMBER])[0])
    snapshots = [Parameters(*(aux_states[name][place] for name in PARAMETERS)) for place in range(number)]
    return snapshots, [aux_states[CHAINS][place] for place in range(number)]


def read(path: Path) -> tuple[list[Parameters], list[Array]]:
    """The snapshots of a run folder or file of parameters, and the chains of each, NDArrays.

    Raises InputError where there are none, or what is there does not belong together.
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
    if found != expected or not 1 <= number[0] <= most or not num_chains:
        raise InputError("the snapshots in %s do not belong together; train anew" % path)
    snapshots, chains = of_states(arrays)
    for parameters in snapshots:
        parameters.checked()
    if not all(gibbs.is_binary(to_numpy(rows)) for rows in chains):
        raise InputError("the snapshots in %s have chains of other values than 0 and 1; train anew" % path)
    return snapshots, chains


def follow(
    aux_states: Arrays,
    parameters: Parameters,
    visible: Array,
    *,
    softmax_groups: SoftmaxGroups,
    key: Key,
    engine: str,
) -> Array:
    """A sweep of the snapshots' chains, and exchanges, the RBM's own included: its chains' states to go on from.

    aux_states : arrays of `states`, which are changed; with the number 0 the RBM's biases become the first snapshot
    visible : array (num_chains, num_visible) in {0, 1}, the RBM's chains
    """
    rates = to_numpy(aux_states[RATES]).astype(np.float64)
    if not to_numpy(aux_states[NUMBER])[0]:
        _append(aux_states, rates, parameters, visible)
        assign(aux_states[PARAMETERS[2]][0], "write", 0)
    snapshots, chains = of_states(aux_states)
    states, found = trajectory.advance(
        [*snapshots, parameters], [*chains, visible], softmax_groups=softmax_groups, key=key, engine=engine
    )
    for chain, state in zip(chains, states):
        assign(chain, "write", as_operand(state))
    tried = np.flatnonzero(~np.isnan(found))
    rates[tried] += _RATE_DECAY * (found[tried] - rates[tried])
    if found[-1] < _LEAST_RATE:
        _append(aux_states, rates, parameters, states[-1])
    assign(aux_states[RATES], "write", as_operand(asarray_like(rates, aux_states[RATES])))
    return states[-1]


def _append(aux_states: Arrays, rates: HostArray, parameters: Parameters, visible: Array) -> None:
    """The RBM as it is becomes the last snapshot."""
    number = int(to_numpy(aux_states[NUMBER])[0])
    if number == len(rates):
        _remove(aux_states, rates)
        number -= 1
    for name, array in zip((*PARAMETERS, CHAINS), (*parameters, visible)):
        assign(aux_states[name][number], "write", as_operand(array))
    rates[number] = 1
    assign(aux_states[NUMBER], "write", number + 1)


def _remove(aux_states: Arrays, rates: HostArray) -> None:
    """The snapshot goes, but not the first, whose neighbours would exchange most without it."""
    joint = rates[:-1] * rates[1:]
    place = 1 + int(joint.argmax())
    rates[place - 1] = joint[place - 1]
    rates[place:-1] = rates[place + 1 :].copy()
    for name in (*PARAMETERS, CHAINS):
        for later in range(place, len(rates) - 1):
            assign(aux_states[name][later], "write", as_operand(aux_states[name][later + 1]))
