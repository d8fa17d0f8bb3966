"""Block Gibbs sampling of the RBM at an inverse temperature beta.

The rest of the sampling code calls `run_chains` or `anneal_with_weights`.

A sweep draws the visible layer given the hidden layer, then the hidden layer given the visible
layer:

    p_beta(v_i = 1 | h) = sigmoid((1 - beta) a0_i + beta (a_i + (W h)_i))
    p_beta(h_j = 1 | v) = sigmoid(beta (b_j + (v W)_j))

In a softmax group of visible units (a category, a label) exactly one unit is on. Unit k is on with
probability

    p_beta(v_k = 1 | h) = softmax_k((1 - beta) a0 + beta (a + W h)), over the group.

Gaussian visible units are normal given h, with variance 1 at every beta:

    p_beta(v_i | h) = N(m_i, 1),    m = (1 - beta) a0 + beta (a + W h)

A sweep draws them anew, or moves them by n Langevin steps of size s,
v <- v - s/2 (v - m) + sqrt(s) e with e ~ N(0, 1) (Gibbs-Langevin sampling; Liao, Kornblith, Ren,
Fleet & Hinton, *Gaussian-Bernoulli RBMs without tears*, 2022). Given h, the steps are a linear
recursion with normal noise. So the result of all n steps is drawn at once:

    v <- m + r (v - m) + q e,    r = (1 - s/2)^n,    q^2 = (1 - r^2) / (1 - s/4)

With many steps the variance tends to 1 / (1 - s/4), not 1, because there is no Metropolis
correction.

There are three engines:

- "mxnet" uses MXNet's operators, on any device.
- "native" is C code for a CPU, in float32 (see `gluon_rbm.backend.native`).
- "cuda" runs kernels on a GPU, in float32 (see `gluon_rbm.backend.cuda`).

The native and the CUDA engine draw the same noise from the same key. The MXNet engine draws other
noise of the same distribution.

The noise follows from a key, not from a generator that other code may have advanced. The same key
gives the same noise on every device and in every thread. (MXNet's own generators belong to threads,
and start in the same state in each of them.)
"""

from __future__ import annotations

from typing import Any, Sequence

import numpy as np

from gluon_rbm.backend import native
from gluon_rbm.backend.arrays import as_host, from_host, host_view, on_cpu, restore_kind, to_numpy
from gluon_rbm.backend.framework import mx
from gluon_rbm.backend.random import Noise
from gluon_rbm.backend.types import Array, Clamp, HostArray, Key, VisibleUnits
from gluon_rbm.errors import InputError, check_count
from gluon_rbm.models.energy import free_energy_difference, native_parameters
from gluon_rbm.models.parameters import Parameters
from gluon_rbm.models.visible_units import GAUSSIAN, checked_visible_units
from gluon_rbm.sampling import cuda_engine, mxnet_engine
from gluon_rbm.sampling.conditions import Chains, Conditions, Langevin

__all__ = [
    "ENGINES",
    "Chains",
    "Langevin",
    "anneal_with_weights",
    "checked_engine",
    "choose_engine",
    "redraw_non_binary",
    "run_chains",
]

ENGINES = ("auto", "mxnet", "native", "cuda")

# Sweeps in one call of the native engine. Python notices Ctrl-C only between calls.
NATIVE_SWEEPS = 100


def redraw_non_binary(sample: Array, noise: Noise) -> Array:
    """Replace every entry of a sample that is neither 0 nor 1 (NaN too) by a fair coin.

    Parameters
    ----------
    sample
        Array of any shape.
    noise
        Source of the coins.

    Returns
    -------
    Array
        The sample itself if it is on a CPU and binary; else a new array like it.
    """
    if on_cpu(sample) and is_binary(host_view(sample)):  # the usual case: no copy
        return sample
    if isinstance(sample, np.ndarray):
        return redraw_non_binary(from_host(sample), noise).asnumpy()
    if not on_cpu(sample) and cuda_engine.reason_against(sample) is None:
        return cuda_engine.redraw_non_binary(sample, noise.key)
    half = mx.nd.full(sample.shape, 0.5, ctx=sample.context, dtype=sample.dtype)
    return mx.nd.where(sample * (sample - 1) == 0, sample, noise.bernoulli(half))


def is_binary(values: HostArray) -> bool:
    """Whether all values are 0 or 1.

    Parameters
    ----------
    values
        NumPy array of any shape.

    Returns
    -------
    bool
        False if any value is NaN or neither 0 nor 1.
    """
    return bool(((values == 0) | (values == 1)).all())


# --- Chains ---------------------------------------------------------------------------------------


def checked_engine(engine: str) -> str:
    """Return the name of an engine if there is such an engine.

    Parameters
    ----------
    engine
        A name.

    Returns
    -------
    str
        The same name.

    Raises
    ------
    InputError
        It is not "auto", "mxnet", "native" or "cuda".
    """
    if engine not in ENGINES:
        raise InputError("engine %r does not exist; choose one of %s" % (engine, ", ".join(ENGINES)))
    return engine


def choose_engine(engine: str, weight: Array) -> str:
    """Return the engine that runs chains with these weights.

    Parameters
    ----------
    engine
        The engine that is asked for: "auto", "mxnet", "native" or "cuda".
    weight
        Interaction weights, (num_visible, num_hidden). Their device, dtype and shape matter.

    Returns
    -------
    str
        "mxnet", "native" or "cuda".

    Raises
    ------
    InputError
        The engine does not exist, or "native" or "cuda" is not available or cannot use the weights.
    """
    if checked_engine(engine) == "mxnet":
        return engine
    wanted = engine if engine != "auto" else "native" if on_cpu(weight) else "cuda"
    reason = _reason_against_native(weight) if wanted == "native" else cuda_engine.reason_against(weight)
    if engine == wanted and reason:
        raise InputError("the %s engine cannot be used: %s; choose --engine mxnet or auto" % (engine, reason))
    return "mxnet" if reason else wanted


def _reason_against_native(weight: Array) -> str | None:
    if on_cpu(weight) and weight.dtype == np.float32:
        return native.available().reason
    place = getattr(weight, "context", "the host")
    return "it serves float32 on a CPU, not %s on %s" % (np.dtype(weight.dtype).name, place)


def run_chains(
    parameters: Parameters,
    *,
    visible: Array | None = None,
    hidden: Array | None = None,
    sweeps: int = 1,
    beta: Any = 1,
    base_visible_bias: Array | None = None,
    clamp: Clamp | None = None,
    visible_units: VisibleUnits = (),
    fixed_point: bool = False,
    langevin: Langevin | None = None,
    key: Key = (),
    engine: str = "auto",
) -> Chains:
    """Run block Gibbs chains, all rows side by side.

    The arrays may all be NumPy arrays. Then the result has NumPy arrays, too, and the native engine
    runs a small RBM twice as fast.

    Parameters
    ----------
    parameters
        Parameters of the RBM.
    visible
        Start, (chains, num_visible) in [0, 1]; Gaussian units take any values. The hidden layer is
        drawn given it before the first sweep.
    hidden
        Start instead of `visible`, (chains, num_hidden) in {0, 1}. Give exactly one of the two.
    sweeps
        Number of sweeps, at least 1: one draw of the visible, then of the hidden units.
    beta
        Inverse temperature: a number for all chains, or an array (chains,).
    base_visible_bias
        Visible bias a0 at beta = 0, (num_visible,); None stands for zeros.
    clamp
        (mask, values), each (num_visible,) or (chains, num_visible). Visible units with mask != 0
        hold their value in every sweep and in a visible start. Values are in [0, 1]; Gaussian units
        take any. For binary units the native and the CUDA engine hold only 0 and 1; "auto" runs the
        MXNet engine if a value is grey.
    visible_units
        Softmax groups (start, stop), in order and without overlap, or "gaussian". Of the units
        start, ..., stop - 1 exactly one is on in every sweep; their `visible_prob_1` are softmax
        probabilities. A clamp holds all units of a group or none: one at 1 and the others at 0, or
        all at 0, as if the group did not exist (a missing value).
    fixed_point
        Let the native engine sum weights of 16 bits (see `native.run`): up to twice as fast. The
        chains are those of an RBM with rounded weights. Not for Gaussian units.
    langevin
        Langevin steps that move Gaussian units in each sweep, from a visible start. None: the units
        are drawn anew.
    key
        Non-negative integers that fix the noise.
    engine
        "auto", "mxnet", "native" or "cuda". "auto" takes the native engine on a CPU and the CUDA
        engine on a GPU if it is available and can serve, else the MXNet engine.

    Returns
    -------
    Chains
        States after the last sweep, in the dtype of the parameters.

    Raises
    ------
    InputError
        Both starts or neither are given, an argument has a wrong shape, `sweeps` is below 1, `beta`
        is negative or not finite, groups overlap, a clamp holds a part of a group, Langevin steps
        are not possible, or the engine cannot be used.

    Examples
    --------
    >>> import gluon_rbm
    >>> parameters = gluon_rbm.Parameters(np.array([50.0, -50.0]), np.zeros(3), np.zeros((2, 3)))
    >>> chains = gluon_rbm.run_chains(parameters, visible=np.zeros((2, 2)), sweeps=10, key=[0])
    >>> chains.visible_sample
    array([[1., 0.],
           [1., 0.]])
    >>> chains.hidden_prob_1.shape
    (2, 3)
    """
    if (visible is None) == (hidden is None):
        raise InputError("run_chains starts from the visible or from the hidden layer: give exactly one of them")
    sweeps = check_count("the number of Gibbs sweeps", sweeps)
    visible, hidden = (_as_start(*layer) for layer in ((visible, parameters, 0), (hidden, parameters, 1)))
    start: Array = hidden if visible is None else visible
    _check_beta(beta, len(start))
    shapes = (parameters.num_visible,), (len(start), parameters.num_visible)
    for name, array in zip(("mask", "values"), clamp or ()):
        _check_shape("the clamp's " + name, array, shapes)
    if base_visible_bias is not None:
        _check_shape("base_visible_bias", base_visible_bias, shapes[:1])
    visible_units = checked_visible_units(visible_units, parameters.num_visible, clamp)
    if langevin is not None and (visible_units != GAUSSIAN or visible is None):
        raise InputError("Langevin steps move Gaussian visible units from a visible start; leave langevin out")
    mxnet_run = mxnet_engine.run_on_host if isinstance(parameters.interaction_weight, np.ndarray) else mxnet_engine.run
    runs = {"mxnet": mxnet_run, "native": _run_native, "cuda": cuda_engine.run}
    run = runs[_serving(engine, parameters, clamp, visible_units)]
    conditions = Conditions(
        beta, base_visible_bias, clamp, visible_units, fixed_point, langevin.checked() if langevin else None
    )
    return run(parameters, visible, hidden, conditions, sweeps=sweeps, key=key)


def _check_shape(name: str, array: Array, shapes: tuple[tuple[int, ...], ...]) -> None:
    if array.shape not in shapes:
        raise InputError("%s must have shape %s, not %s" % (name, " or ".join(map(str, shapes)), array.shape))


def _as_start(layer: Array | None, parameters: Parameters, number: int) -> Array | None:
    """Return layer 0 (visible) or 1 (hidden) in the dtype of the weights.

    Raises InputError unless the layer is (chains, units).
    """
    if layer is None:
        return None
    weight = parameters.interaction_weight
    if layer.ndim != 2 or layer.shape[1] != weight.shape[number]:
        raise InputError(
            "the start of the %s layer has shape %s; it must be (chains, %d)"
            % (("visible", "hidden")[number], layer.shape, weight.shape[number])
        )
    return layer.astype(weight.dtype, copy=False)


def _serving(engine: str, parameters: Parameters, clamp: Clamp | None, visible_units: VisibleUnits) -> str:
    """Return the engine that serves.

    "auto" takes the MXNet engine for what the others cannot do: grey clamps of binary units and, on
    a GPU, Gaussian units.
    """
    found = choose_engine(engine, parameters.interaction_weight)
    if engine == "auto" and found != "mxnet" and visible_units != GAUSSIAN and _is_grey(clamp):
        return "mxnet"
    if found != "cuda" or visible_units != GAUSSIAN:
        return found
    if engine == "cuda":
        raise InputError("the CUDA engine serves binary units, not Gaussian ones; choose --engine mxnet or auto")
    return "mxnet"


def _is_grey(clamp: Clamp | None) -> bool:
    if clamp is None:
        return False
    mask, values = map(to_numpy, clamp)
    return not is_binary(np.where(mask, values, 0))


def _check_beta(beta: Any, num_chains: int) -> None:
    values = to_numpy(beta)
    # The comparisons are false for NaN.
    if values.shape not in ((), (num_chains,)) or not ((values >= 0) & (values < np.inf)).all():
        raise InputError(
            "beta must be a finite number of at least 0, or an array of one for each of the %d chains" % num_chains
        )


def anneal_with_weights(
    parameters: Parameters,
    visible: Array,
    betas: Sequence[float],
    start: int = 0,
    stop: int | None = None,
    *,
    sweeps: int = 1,
    base_visible_bias: Array | None = None,
    clamp: Clamp | None = None,
    visible_units: VisibleUnits = (),
    key: Key = (),
    engine: str = "auto",
) -> tuple[Array, HostArray]:
    """Carry chains from betas[start] to betas[stop] and weight them: the inner loop of AIS.

    At each step n = start + 1, ..., stop the log-weights grow by F_{beta_(n-1)}(v) - F_{beta_n}(v).
    Then `sweeps` Gibbs sweeps at beta_n follow, except after the last of all betas. So a schedule
    may be followed in sections, with the same result.

    The estimate of log Z also needs log Z_0. It is the
    `gluon_rbm.models.visible_units.log_normalizer` of a0, plus num_hidden log 2.

    Parameters
    ----------
    parameters
        Parameters of the RBM.
    visible
        Samples of the distribution at betas[start], (chains, num_visible), with the clamped values.
    betas
        The whole schedule of inverse temperatures.
    start, stop
        Indices in `betas` where this section starts and stops; by default the whole schedule.
    sweeps
        Gibbs sweeps at each beta.
    base_visible_bias, clamp, visible_units, key, engine
        As in `run_chains`.

    Returns
    -------
    visible : array (chains, num_visible)
        Samples after the last step; a NumPy array if the given arrays are.
    log_weights : float64 NumPy array (chains,)
        Growth of the log-weights in this section, in nats.

    Raises
    ------
    InputError
        The engine does not exist or cannot be used.
    """
    last = len(betas) - 1
    stop = last if stop is None else stop
    section: dict[str, Any] = {
        "key": key,
        "betas": betas[start : stop + 1],
        "sweeps": sweeps,
        "first_sweep": start * sweeps,
        "finish": stop == last,
        "visible_units": visible_units,
    }
    serving = _serving(engine, parameters, clamp, visible_units)
    if serving == "cuda":
        return cuda_engine.anneal(parameters, visible, base=base_visible_bias, clamp=clamp, **section)
    if serving == "native":
        samples, log_weights = native.anneal(
            **_native_parameters(parameters, base_visible_bias),
            visible=as_host(visible),
            clamp=_host_clamp(clamp),
            **section,
        )
        return restore_kind(samples, visible), log_weights
    run = mxnet_engine.run_on_host if isinstance(visible, np.ndarray) else mxnet_engine.run
    log_weights = np.zeros(visible.shape[0])
    for step in range(start + 1, stop + 1):
        log_weights += to_numpy(
            free_energy_difference(parameters, visible, betas[step - 1], betas[step], base_visible_bias)
        )
        if step < last:
            conditions = Conditions(betas[step], base_visible_bias, clamp, visible_units)
            visible = run(parameters, visible, None, conditions, sweeps=sweeps, key=[*key, step]).visible_sample
    return visible, log_weights


# --- Native ---------------------------------------------------------------------------------------


def _run_native(
    parameters: Parameters,
    visible: Array | None,
    hidden: Array | None,
    conditions: Conditions,
    *,
    sweeps: int,
    key: Key,
) -> Chains:
    arrays, langevin = (), conditions.langevin
    start: dict[str, Any] = {"visible": as_host(visible), "hidden": as_host(hidden)}
    for first in range(0, sweeps, NATIVE_SWEEPS):
        arrays = native.run(
            **_native_parameters(parameters, conditions.base_visible_bias),
            **start,
            key=key,
            first_sweep=first,
            sweeps=min(NATIVE_SWEEPS, sweeps - first),
            beta=as_host(conditions.beta),
            clamp=_host_clamp(conditions.clamp),
            visible_units=conditions.visible_units,
            fixed_point=conditions.fixed_point,
            retain=langevin.retain if langevin else 0.0,
            spread=langevin.spread if langevin else 1.0,
        )
        # Langevin steps continue from the visible layer; the hidden layer is drawn anew.
        start = {"visible": arrays[0]} if langevin else {"hidden": arrays[1]}
    return Chains(*arrays if isinstance(parameters.interaction_weight, np.ndarray) else map(from_host, arrays))


def _host_clamp(clamp: Clamp | None) -> Clamp | None:
    return None if clamp is None else (as_host(clamp[0]), as_host(clamp[1]))


def _native_parameters(parameters: Parameters, base_visible_bias: Array | None) -> dict[str, Any]:
    return {**native_parameters(parameters), "base": as_host(base_visible_bias)}
