"""Means, gradients and steps of learning in the native engine, over NumPy arrays in float32.

The engine has threads of its own. Every sum has one order, whichever thread computes it, so results
do not depend on the number of threads. Nothing here calls a BLAS.
"""

from __future__ import annotations

from typing import Any, Sequence

import numpy as np

from gluon_rbm.backend.native.arguments import (
    call_library,
    check_apart,
    check_range,
    checked_array,
    key_words,
    new_call,
    point,
    set_key,
    set_visible_units,
    threads_for,
)
from gluon_rbm.backend.native.binding import Gibbs, Learning
from gluon_rbm.backend.types import HostArray, Key, VisibleUnits
from gluon_rbm.errors import InputError

__all__ = ["descend", "free_energy", "hidden_input", "hidden_probability", "learn", "store_gradient"]


def hidden_probability(
    weight: HostArray, visible_bias: HostArray, hidden_bias: HostArray, visible: HostArray, **how: Any
) -> HostArray:
    """Return the probabilities of the hidden units given the visible units.

        p(h_j = 1 | v) = sigmoid(b_j + (v W)_j)

    Parameters
    ----------
    weight, visible_bias, hidden_bias
        W, (num_visible, num_hidden), a, (num_visible,), and b, (num_hidden,).
    visible
        Visible units v, (rows, num_visible) in [0, 1].
    **how
        The options fixed_point, num_threads and instruction_set, as in `native.run`.

    Returns
    -------
    float32 (rows, num_hidden)
        Probabilities.

    Raises
    ------
    InputError
        The library is not there, or an argument does not suit it.
    """
    call = _mean_call(weight, visible_bias, hidden_bias, visible, **how)
    result = np.empty((call.chains, call.num_hidden), np.float32)
    point(call, hidden_probability=result)
    call_library("mean", call)
    return result


def hidden_input(
    weight: HostArray, visible_bias: HostArray, hidden_bias: HostArray, visible: HostArray, **how: Any
) -> HostArray:
    """Return the inputs b_j + (v W)_j of the hidden units.

    Parameters
    ----------
    weight, visible_bias, hidden_bias, visible, **how
        As in `hidden_probability`.

    Returns
    -------
    float32 (rows, num_hidden)
        Inputs.

    Raises
    ------
    InputError
        As in `hidden_probability`.
    """
    call = _mean_call(weight, visible_bias, hidden_bias, visible, **how)
    result = np.empty((call.chains, call.num_hidden), np.float32)
    point(call, hidden_input=result)
    call_library("mean", call)
    return result


def free_energy(
    weight: HostArray, visible_bias: HostArray, hidden_bias: HostArray, visible: HostArray, **how: Any
) -> HostArray:
    """Return the free energy of each row.

        F(v) = -a.v - sum_j softplus(b_j + (v W)_j)

    Parameters
    ----------
    weight, visible_bias, hidden_bias, visible, **how
        As in `hidden_probability`.

    Returns
    -------
    float64 (rows,)
        Free energies in nats.

    Raises
    ------
    InputError
        As in `hidden_probability`.
    """
    call = _mean_call(weight, visible_bias, hidden_bias, visible, **how)
    result = np.empty(call.chains)
    point(call, log_weight=result)
    call_library("mean", call)
    return result


def _mean_call(
    weight: HostArray,
    visible_bias: HostArray,
    hidden_bias: HostArray,
    visible: HostArray,
    *,
    fixed_point: bool = False,
    num_threads: int | None = None,
    instruction_set: str | None = None,
) -> Gibbs:
    weight = checked_array("weight", weight, np.float32, (None, None))
    visible = checked_array("visible", visible, np.float32, (None, weight.shape[0]))
    call = new_call(weight.shape, num_threads, instruction_set)
    call.chains, call.fixed_point = len(visible), fixed_point
    point(
        call,
        weight=weight,
        visible_bias=checked_array("visible_bias", visible_bias, np.float32, weight.shape[:1]),
        hidden_bias=checked_array("hidden_bias", hidden_bias, np.float32, weight.shape[1:]),
        visible=visible,
    )
    return call


def _new_learning(**numbers: float) -> Learning:
    learning = Learning(**numbers)
    learning.arrays = []
    return learning


def store_gradient(
    targets: Sequence[HostArray],
    how: Sequence[str],
    chains: tuple[HostArray, HostArray],
    data: tuple[HostArray, HostArray],
    *,
    weight: HostArray,
    offsets: Sequence[HostArray] = (),
    factor: float = 1.0,
    sparsity_target: float = 0.0,
    sparsity_cost: float = 0.0,
    weight_decay_l1: float = 0.0,
    num_threads: int | None = None,
    instruction_set: str | None = None,
) -> None:
    """Store the gradients of `gluon_rbm.likelihood.learning.store_gradients`.

    Parameters
    ----------
    targets
        Arrays for the gradients with respect to a, b and W: float32, in C order.
    how
        What to do with each of them, as in `gluon_rbm.backend.arrays.assign`.
    chains, data
        (v, p(h = 1 | v)) of the chains and of the data: (rows, num_visible), (rows, num_hidden).
    weight
        Interaction weights W, (num_visible, num_hidden).
    offsets
        Offsets of the visible and of the hidden units; none without centering.
    factor
        Factor of the difference between chains and data.
    sparsity_target, sparsity_cost
        The p and c of the sparsity c sum_j (p - q_j)^2, as in `gluon_rbm.likelihood.learning`.
    weight_decay_l1
        Factor of sign(W), which is added to the gradient with respect to W.
    num_threads, instruction_set
        As in `native.run`.

    Raises
    ------
    InputError
        The library is not there, an argument does not suit it, or a target shares memory with
        another array.
    """
    (chain_visible, chain_hidden), (data_visible, data_hidden) = (
        [checked_array("rows", array, np.float32, (None, size)) for array, size in zip(rows, weight.shape)]
        for rows in (chains, data)
    )
    call = new_call(weight.shape, num_threads, instruction_set)
    call.chains = len(chain_visible)
    if len(chain_hidden) != len(chain_visible) or len(data_hidden) != len(data_visible):
        raise InputError("visible and hidden rows are not as many")
    learning = _new_learning(
        rows=len(data_visible),
        add=sum(bit for bit, one in zip((2, 4, 1), how) if one == "add"),
        factor=factor,
        sparsity_target=sparsity_target,
        sparsity_cost=sparsity_cost,
        weight_decay_l1=weight_decay_l1,
    )
    names = ("visible_gradient", "hidden_gradient", "weight_gradient")
    kept = {name: target for name, target, one in zip(names, targets, how) if one != "null"}
    kept.setdefault("weight_gradient", np.empty(weight.shape, np.float32))
    for name, shape in zip(names, (weight.shape[:1], weight.shape[1:], weight.shape)):
        if name in kept:
            _check_target(name, kept[name], shape)
    of_call = {
        "weight": checked_array("weight", weight, np.float32, weight.shape),
        "visible": chain_visible,
        "hidden_probability": chain_hidden,
    }
    of_learning = {"data": data_visible, "data_hidden": data_hidden}
    for name, array, size in zip(("visible_offset", "hidden_offset"), offsets, weight.shape):
        of_learning[name] = checked_array(name, array, np.float32, (size,))
    check_apart(kept, {**of_call, **of_learning})
    point(call, **of_call)
    point(learning, **of_learning, **kept)
    if not call.num_threads:  # for images of digits, 6 of 7 products are 0
        products = (call.chains + learning.rows) * weight.size
        call.num_threads = threads_for(products / 10**7)
    call_library("gradient", call, more=learning)


def _check_target(name: str, array: HostArray, shape: tuple[int, ...]) -> None:
    if array.dtype != np.float32 or not (array.flags.c_contiguous and array.flags.aligned and array.flags.writeable):
        raise InputError("%s must be a float32 array in C order that can be written" % name)
    if array.shape != shape:
        raise InputError("%s: an array has shape %s; it must be %s" % (name, array.shape, shape))


def descend(
    array: HostArray,
    gradient: HostArray,
    velocity: HostArray | None = None,
    *,
    rate: float,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    rescale: float = 1.0,
    num_threads: int | None = None,
    instruction_set: str | None = None,
) -> None:
    """Step along a gradient g, in place.

        velocity <- momentum velocity - rate (rescale g + weight_decay x),    x <- x + velocity

    Parameters
    ----------
    array
        Parameters x: float32, in C order.
    gradient
        The gradient g, in the shape of `array`.
    velocity
        The velocity, float32, in the shape of `array`; without it there is no momentum.
    rate, momentum, weight_decay, rescale
        Numbers in the formula.
    num_threads, instruction_set
        As in `native.run`.

    Raises
    ------
    InputError
        The library is not there, an argument does not suit it, or arrays share memory.
    """
    gradient = checked_array("gradient", gradient, np.float32, array.shape)
    for name, target in {"array": array, "velocity": velocity}.items():
        if target is not None:
            _check_target(name, target, gradient.shape)
    check_apart({"array": array, "velocity": velocity}, {"gradient": gradient})
    call = new_call((1, array.size), num_threads, instruction_set)
    call.num_threads = call.num_threads or threads_for(array.size / 100000)
    learning = _new_learning(rescale=rescale, rate=rate, momentum=momentum, weight_decay=weight_decay)
    point(learning, weight=array, weight_gradient=gradient, weight_velocity=velocity)
    call_library("descend", call, more=learning)


def learn(
    weight: HostArray,
    visible_bias: HostArray,
    hidden_bias: HostArray,
    data: HostArray,
    chains: Sequence[HostArray],
    velocities: Sequence[HostArray | None] = (None, None, None),
    *,
    batch_size: int,
    sweeps: int,
    from_data: bool = False,
    key: Key = (),
    keys: Sequence[Key] | None = None,
    rate: float,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    rescale: float = 1.0,
    sparsity_target: float = 0.0,
    sparsity_cost: float = 0.0,
    visible_units: VisibleUnits = (),
    fixed_point: bool = False,
    num_threads: int | None = None,
    instruction_set: str | None = None,
) -> None:
    """Learn by PCD or CD, in place: a step for each batch of the data, in their order.

    Parameters, chains and velocities change. A step does what `native.run`, `hidden_probability`,
    `store_gradient` and `descend` do.

    Parameters
    ----------
    weight, visible_bias, hidden_bias
        Float32 arrays (num_visible, num_hidden), (num_visible,), (num_hidden,).
    data
        Images, (rows, num_visible) in [0, 1].
    chains
        Visible and hidden samples, float32 (chains, num_visible), (chains, num_hidden). The chains
        continue from the hidden samples, which must be 0 or 1.
    velocities
        Velocities of the parameters in their order, float32; None where there is no momentum.
    batch_size
        Images of a batch; the last batch may be smaller.
    sweeps
        Sweeps of the chains in each step.
    from_data
        True is CD: in each step chain i starts at image i of the batch, modulo the batch.
    key
        Integers that determine the noise of all steps.
    keys
        A key for each step, instead of `key`. Then one call gives the same as a call for each step.
    rate, momentum, weight_decay, rescale
        As in `descend`. Only the weights decay.
    sparsity_target, sparsity_cost
        As in `store_gradient`.
    visible_units
        As in `native.run`, but not Gaussian.
    fixed_point
        As in `native.run`. The data's p(h = 1 | v) is that of the rounded weights, too.
    num_threads, instruction_set
        As in `native.run`.

    Raises
    ------
    InputError
        The library is not there, an argument does not suit it, a hidden sample is not binary, or
        arrays share memory.
    """
    data = checked_array("data", data, np.float32, (None, weight.shape[0]))
    call = new_call(weight.shape, num_threads, instruction_set)
    check_range("sweeps", sweeps, 1)
    check_range("batch_size", batch_size, 1)
    call.chains, call.sweeps, call.fixed_point = len(chains[0]), sweeps, fixed_point
    set_key(call, key)
    set_visible_units(call, visible_units)
    learning = _new_learning(
        rows=batch_size,
        num_rows=len(data),
        from_data=from_data,
        factor=1.0,
        rescale=rescale,
        rate=rate,
        momentum=momentum,
        weight_decay=weight_decay,
        sparsity_target=sparsity_target,
        sparsity_cost=sparsity_cost,
    )
    parameters: dict[str, HostArray] = {"weight": weight, "visible_bias": visible_bias, "hidden_bias": hidden_bias}
    states = dict(zip(("visible", "hidden"), chains))
    gradients = {name: np.empty_like(parameters[name]) for name in ("visible_bias", "hidden_bias")}
    moving = {name: array for name, array in zip(parameters, velocities) if array is not None}
    shapes = weight.shape, weight.shape[:1], weight.shape[1:]
    for (name, array), shape in zip(parameters.items(), shapes):
        _check_target(name, array, shape)
    for (name, array), size in zip(states.items(), weight.shape):
        _check_target(name, array, (call.chains, size))
    named = {name + "'s velocity": array for name, array in moving.items()}
    for (name, array), parameter in zip(named.items(), moving):
        _check_target(name, array, parameters[parameter].shape)
    check_apart({**parameters, **states, **named}, {"data": data})
    point(call, **parameters, **states, hidden_probability=np.empty((call.chains, call.num_hidden), np.float32))
    point(learning, data=data, **parameters)
    if keys is not None:
        if len(keys) != -(-len(data) // batch_size):
            raise InputError("there are %d keys for %d steps" % (len(keys), -(-len(data) // batch_size)))
        point(learning, keys=np.array([key_words(one) for one in keys], np.int64).reshape(-1, 2))
    names = {"weight": "weight", "visible_bias": "visible", "hidden_bias": "hidden"}
    point(learning, **{names[name] + "_gradient": array for name, array in gradients.items()})
    point(learning, **{names[name] + "_velocity": array for name, array in moving.items()})
    call_library("learn", call, "a hidden sample", learning)
