"""The native engine of `gluon_rbm.sampling.gibbs`: block Gibbs sampling and annealing on a CPU.

It takes NumPy arrays, and computes in float32. `available()` says whether the library is there.
Nothing here needs MXNet. Calls release the GIL.
"""

from __future__ import annotations

from typing import Sequence

import numpy as np

from gluon_rbm.backend.native.arguments import (
    LAYOUT,
    broadcast_clamp,
    call_library,
    check_range,
    checked_array,
    new_call,
    point,
    set_key,
    set_visible_units,
)
from gluon_rbm.backend.native.binding import INSTRUCTION_SETS, Availability, Gibbs, available, describe, features, path
from gluon_rbm.backend.types import Clamp, HostArray, Key, VisibleUnits
from gluon_rbm.errors import InputError

__all__ = ["INSTRUCTION_SETS", "Availability", "available", "describe", "features", "path", "run", "anneal"]


def run(
    weight: HostArray,
    visible_bias: HostArray,
    hidden_bias: HostArray,
    *,
    key: Key,
    visible: HostArray | None = None,
    hidden: HostArray | None = None,
    sweeps: int = 1,
    beta: float | HostArray = 1.0,
    base: HostArray | None = None,
    clamp: Clamp | None = None,
    visible_units: VisibleUnits = (),
    first_sweep: int = 0,
    fixed_point: bool = False,
    retain: float = 0.0,
    spread: float = 1.0,
    num_threads: int | None = None,
    instruction_set: str | None = None,
) -> tuple[HostArray, HostArray, HostArray, HostArray]:
    """Run block Gibbs chains as `gluon_rbm.sampling.gibbs.run_chains` does, in float32.

    Parameters
    ----------
    weight
        Interaction weights W, (num_visible, num_hidden).
    visible_bias, hidden_bias
        Biases, (num_visible,) and (num_hidden,).
    key
        Integers that determine the noise, which is a function of key, chain, sweep and unit only.
    visible
        Visible start, (chains, num_visible) in [0, 1]; Gaussian units have any values.
    hidden
        Hidden start, (chains, num_hidden), 0 or 1. Exactly one of the two starts is given.
    sweeps
        Number of sweeps. A sweep draws the visible and then the hidden layer.
    beta
        Inverse temperature: a number, or (chains,).
    base
        Visible bias at beta = 0, (num_visible,); None stands for zeros.
    clamp
        (mask, values), each (num_visible,) or (chains, num_visible). Visible units with mask != 0
        hold their value in every sweep and in a visible start. The value is 0 or 1; Gaussian units
        have any values.
    visible_units
        "gaussian", or softmax groups of visible units: (start, stop) of each, in order and apart.
        Exactly one unit of a group is on. A clamp must hold all units of a group or none; this is
        not checked.
    first_sweep
        Number of the sweep before the first one. n sweeps, and then m sweeps from the hidden sample
        with first_sweep = n, give the same as n + m sweeps.
    fixed_point
        Whether to sum weights of 16 bits, up to twice as fast. Such a weight is an integer times
        one scale. The scale is the largest sum of magnitudes of the weights between a unit and a
        word of 32 others, over 32750. The chains are those of the RBM with weights rounded in this
        way. If the scale is larger than 0.01 or weights are not finite, weights have 32 bits, and a
        warning says so.
    retain, spread
        In a sweep, Gaussian units go from v to m + retain (v - m) + spread e. Here m are their
        means and e is standard normal. A retain other than 0 needs a visible start.
    num_threads
        Number of threads. None: as many as have enough work, up to OMP_NUM_THREADS or else the
        number of processors. Results do not depend on it.
    instruction_set
        One of `INSTRUCTION_SETS`; None for the best.

    Returns
    -------
    visible, hidden : float32 arrays (chains, num_visible), (chains, num_hidden)
        The samples.
    visible_probability : float32 array (chains, num_visible)
        Probabilities (means of Gaussian units) that the visible sample was drawn from. Clamped
        units have their value.
    hidden_probability : float32 array (chains, num_hidden)
        Probabilities given the visible sample.

    Raises
    ------
    InputError
        The library is not there, or an argument does not suit it.
    """
    call = _new_call(
        weight,
        visible_bias,
        hidden_bias,
        base=base,
        key=key,
        visible_units=visible_units,
        sweeps=sweeps,
        first_sweep=first_sweep,
        num_threads=num_threads,
        instruction_set=instruction_set,
    )
    start = _start(call, visible, hidden)
    call.fixed_point, call.retain, call.spread = fixed_point, retain, spread
    if retain and not call.start_visible:
        raise InputError("Gaussian units retain something of a visible start only")
    beta = np.asarray(beta, np.float64)
    beta = checked_array("beta", beta, np.float64, (call.chains,) if beta.ndim else ()).reshape(-1)
    if clamp is not None:
        start = _clamp(call, clamp, start)
    if not len(beta):  # there are no chains, so any value serves
        beta = np.ones(1)
    call.num_betas = len(beta)
    visible = start if call.start_visible else _unset_visible(call, clamp)
    hidden = np.empty((call.chains, call.num_hidden), np.float32) if call.start_visible else start
    results = (visible, hidden, np.empty_like(visible), np.empty_like(hidden))
    point(call, beta=beta, **dict(zip(("visible", "hidden", "visible_probability", "hidden_probability"), results)))
    call_library("run", call, "a hidden start")
    return results


def anneal(
    weight: HostArray,
    visible_bias: HostArray,
    hidden_bias: HostArray,
    *,
    key: Key,
    visible: HostArray,
    betas: Sequence[float] | HostArray,
    sweeps: int = 1,
    base: HostArray | None = None,
    clamp: Clamp | None = None,
    visible_units: VisibleUnits = (),
    log_weight: HostArray | None = None,
    first_sweep: int = 0,
    finish: bool = True,
    num_threads: int | None = None,
    instruction_set: str | None = None,
) -> tuple[HostArray, HostArray]:
    """Run the inner loop of annealed importance sampling along a schedule of inverse temperatures.

    For each beta but the first, the log-weight of a chain grows by

        log p*_beta(v) - log p*_{beta before}(v).

    Then `sweeps` sweeps at beta follow, but none after the last beta if `finish`. A schedule may be
    run in sections: betas[:k + 1] with finish=False, then betas[k:] with first_sweep = k * sweeps,
    from what the first section returned. This gives the same as all betas at once.

    Parameters
    ----------
    weight, visible_bias, hidden_bias, key
        As in `run`.
    visible
        Samples of the distribution at betas[0], (chains, num_visible), 0 or 1; Gaussian units have
        any values.
    betas
        The schedule, (two or more,), at least 0.
    sweeps
        Number of sweeps at each beta.
    base, clamp, visible_units
        As in `run`.
    log_weight
        Logs of the chains' importance weights so far, (chains,); None stands for zeros.
    first_sweep
        Number of the first sweep, as above.
    finish
        Whether the last beta ends the schedule.
    num_threads, instruction_set
        As in `run`.

    Returns
    -------
    visible : float32 array (chains, num_visible)
        The samples.
    log_weight : float64 array (chains,)
        Logs of the chains' importance weights, in nats.

    Raises
    ------
    InputError
        The library is not there, or an argument does not suit it.
    """
    call = _new_call(
        weight,
        visible_bias,
        hidden_bias,
        base=base,
        key=key,
        visible_units=visible_units,
        sweeps=sweeps,
        first_sweep=first_sweep,
        num_threads=num_threads,
        instruction_set=instruction_set,
    )
    visible = checked_array("visible", visible, np.float32, (None, call.num_visible), copy=True)
    call.chains = len(visible)
    call.start_visible = True
    if clamp is not None:
        visible = _clamp(call, clamp, visible)
    log_weight = (
        np.zeros(call.chains)
        if log_weight is None
        else checked_array("log_weight", log_weight, np.float64, (call.chains,), copy=True)
    )
    betas = checked_array("betas", betas, np.float64, (None,))
    if len(betas) < 2 or not (np.isfinite(betas) & (betas >= 0)).all():
        raise InputError("annealing needs two inverse temperatures or more, finite and not negative")
    call.num_betas, call.finish = len(betas), bool(finish)
    point(call, beta=betas, visible=visible, log_weight=log_weight)
    call_library("anneal", call, "visible")
    return visible, log_weight


def _new_call(
    weight: HostArray,
    visible_bias: HostArray,
    hidden_bias: HostArray,
    *,
    base: HostArray | None,
    key: Key,
    visible_units: VisibleUnits,
    sweeps: int,
    first_sweep: int,
    num_threads: int | None,
    instruction_set: str | None,
) -> Gibbs:
    """Return a `Gibbs` with what both functions share. It keeps its arrays alive."""
    weight = checked_array("weight", weight, np.float32, (None, None))
    visible_bias = checked_array("visible_bias", visible_bias, np.float32, weight.shape[:1])
    hidden_bias = checked_array("hidden_bias", hidden_bias, np.float32, weight.shape[1:])
    base = None if base is None else checked_array("base", base, np.float32, weight.shape[:1])
    check_range("sweeps", sweeps, 1)
    check_range("first_sweep", first_sweep, 0)
    call = new_call(weight.shape, num_threads, instruction_set)
    call.sweeps, call.first_sweep = sweeps, first_sweep
    set_key(call, key)
    set_visible_units(call, visible_units)
    point(call, weight=weight, visible_bias=visible_bias, hidden_bias=hidden_bias, base=base)
    return call


def _start(call: Gibbs, visible: HostArray | None, hidden: HostArray | None) -> HostArray:
    """Return a copy of the start, and set the fields chains and start_visible of `call`."""
    if (visible is None) == (hidden is None):
        raise InputError("chains start from the visible or from the hidden layer: give exactly one of them")
    call.start_visible = hidden is None
    start, width = (visible, call.num_visible) if call.start_visible else (hidden, call.num_hidden)
    start = checked_array("the start", start, np.float32, (None, width), copy=True)
    call.chains = len(start)
    return start


def _unset_visible(call: Gibbs, clamp: Clamp | None) -> HostArray:
    """Return the visible layer before it is drawn. It has the values of clamped Gaussian units."""
    shape = (call.chains, call.num_visible)
    if not call.gaussian or clamp is None:
        return np.empty(shape, np.float32)
    return np.where(clamp[0], clamp[1], np.zeros(shape)).astype(np.float32)


def _clamp(call: Gibbs, clamp: Clamp, start: HostArray) -> HostArray:
    """Point `call` to mask and values. Return the start, with the values in it if it is visible."""
    mask, value = (np.asarray(array) for array in clamp)
    shape = (call.chains, call.num_visible)
    for name, array in (("mask", mask), ("values", value)):
        if array.shape not in (shape, shape[1:]):
            raise InputError(
                "the clamp's %s have shape %s; they must be %s or %s" % (name, array.shape, shape[1:], shape)
            )
    mask, value = broadcast_clamp(mask, value, binary=not call.gaussian)
    call.clamp_per_chain = mask.ndim == 2
    mask = np.ascontiguousarray(mask, np.uint8)
    point(call, clamp=mask, clamp_value=np.require(value, np.float32, LAYOUT))
    return np.where(mask, value, start).astype(np.float32) if call.start_visible else start
