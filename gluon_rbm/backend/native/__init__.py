"""The native engine of `gluon_rbm.sampling.gibbs`: block Gibbs sampling and annealing on a CPU, in float32, over NumPy arrays.

The library is built by setup.py from gibbs.c where there is a compiler, and lies next to the package under a name of
its own, so that a checkout on `sys.path` does not hide the library of the installed distribution. `available()` says
whether it is there. Nothing here needs MXNet. Calls release the GIL.
"""

import ctypes
import functools
import importlib.util
import os

import numpy as np

from gluon_rbm.errors import InputError

__all__ = ["INSTRUCTION_SETS", "Availability", "available", "features", "path", "run", "anneal"]

INSTRUCTION_SETS = ("plain", "avx2", "avx512")

_LIBRARY = "_mxnet_rbm_native"
_ABI_VERSION = 2
_OK, _BAD_SIZE, _NO_MEMORY, _NOT_BINARY, _BAD_ARGUMENT = 0, -1, -2, -3, -4


class _Gibbs(ctypes.Structure):
    """struct gibbs of gibbs.c."""

    _fields_ = [
        (name, ctypes.c_int64)
        for name in (
            "chains",
            "num_visible",
            "num_hidden",
            "sweeps",
            "first_sweep",
            "num_betas",
            "start_visible",
            "clamp_per_chain",
            "finish",
            "key_0",
            "key_1",
            "num_threads",
            "instruction_set",
            "group_start",
            "group_stop",
        )
    ] + [
        (name, ctypes.c_void_p)
        for name in (
            "weight",
            "visible_bias",
            "hidden_bias",
            "base",
            "beta",
            "clamp",
            "clamp_value",
            "visible",
            "hidden",
            "visible_probability",
            "hidden_probability",
            "log_weight",
        )
    ]


class Availability:
    """True where the native engine can be used; otherwise `reason` says why not."""

    def __init__(self, reason=None):
        self.reason = reason

    def __bool__(self):
        return self.reason is None

    def __repr__(self):
        return "available" if self else "not available: " + self.reason


@functools.lru_cache(maxsize=None)
def _load():
    """The library, or None and the reason."""
    origin = path()
    if not origin:
        return None, "it is not built; install the distribution from source where there is a C compiler"
    try:
        library = ctypes.CDLL(origin)
        for name in ("abi", "has", "noise", "run", "anneal"):
            getattr(library, "mxnet_rbm_gibbs_" + name).restype = ctypes.c_int64
    except (OSError, AttributeError) as error:
        return None, "%s cannot be loaded: %s" % (origin, error)
    library.mxnet_rbm_gibbs_has.argtypes = [ctypes.c_int64]
    if library.mxnet_rbm_gibbs_abi() != _ABI_VERSION * 1000 + ctypes.sizeof(_Gibbs):
        return None, "%s is of another version; install the distribution again" % origin
    return library, None


def available():
    """Whether the library is built, of this version and loads: an `Availability`."""
    return Availability(_load()[1])


def path():
    """The file of the library; None where there is none."""
    spec = importlib.util.find_spec(_LIBRARY)
    return spec.origin if spec else None


def _library():
    library, reason = _load()
    if library is None:
        raise InputError("the native Gibbs engine is not available: " + reason)
    return library


def features():
    """What the library uses here: instruction_sets (worst first; the last is used) and threads."""
    library = _library()
    return {
        "instruction_sets": [name for i, name in enumerate(INSTRUCTION_SETS) if library.mxnet_rbm_gibbs_has(i)],
        "threads": _num_threads(),
    }


def _num_threads():
    """OMP_NUM_THREADS, which MXNet obeys too, else the processors of this process."""
    number = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if number.isdigit() and int(number) > 0:
        return int(number)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run(
    weight,
    visible_bias,
    hidden_bias,
    *,
    key,
    visible=None,
    hidden=None,
    sweeps=1,
    beta=1.0,
    base=None,
    clamp=None,
    softmax_group=None,
    first_sweep=0,
    num_threads=None,
    instruction_set=None,
):
    """Block Gibbs chains as `gluon_rbm.sampling.gibbs.run_chains` runs them, in float32.

    Parameters
    ----------
    weight : array (num_visible, num_hidden); visible_bias, hidden_bias : arrays of one number a unit
    key : sequence of int
        Fixes the noise, which is a function of key, chain, sweep and unit alone.
    visible : array (chains, num_visible) in [0, 1], or None
    hidden : array (chains, num_hidden) in {0, 1}, or None
        Exactly one of them is given: the start.
    beta : number, or array (chains,)
    base : array (num_visible,), or None for zeros
        The visible bias at beta = 0.
    clamp : (mask, values), or None
        Visible units with mask != 0 hold their value, 0 or 1, in every sweep and in a visible start. Both are
        (num_visible,) or (chains, num_visible).
    softmax_group : (start, stop), or None
        Visible units of which exactly one is on. A clamp holds all of them or none, which is not checked here.
    first_sweep : int
        The sweeps are numbered from here: n sweeps and then, with first_sweep = n, m sweeps from the hidden sample are
        the same as n + m.
    num_threads : int, or None for as many as find work, up to OMP_NUM_THREADS or else all
        processors; results do not depend on it
    instruction_set : one of `INSTRUCTION_SETS`, or None for the best

    Returns visible sample, hidden sample, visible probability (what the sample was drawn from; the value of clamped
    units) and hidden probability (given the visible sample). Raises InputError.
    """
    call = _call(weight, visible_bias, hidden_bias, base, key, sweeps, first_sweep, num_threads, instruction_set)
    if (visible is None) == (hidden is None):
        raise InputError("chains start from the visible or from the hidden layer: give exactly one of them")
    _group(call, softmax_group)
    start, width = (hidden, call.num_hidden) if visible is None else (visible, call.num_visible)
    start = _array("the start", start, np.float32, (None, width), copy=True)
    call.chains = len(start)
    beta = np.asarray(beta, np.float64)
    beta = _array("beta", beta, np.float64, (call.chains,) if beta.ndim else (), copy=False).reshape(-1)
    if clamp is not None:
        start = _clamp(call, clamp, start, visible is not None)
    if not len(beta):  # no chains, and so nothing to do
        beta = np.ones(1)
    visible = np.empty((call.chains, call.num_visible), np.float32) if visible is None else start
    hidden = np.empty((call.chains, call.num_hidden), np.float32) if hidden is None else start
    visible_probability, hidden_probability = np.empty_like(visible), np.empty_like(hidden)
    call.start_visible = start is visible
    call.num_betas = len(beta)
    _point(
        call,
        beta=beta,
        visible=visible,
        hidden=hidden,
        visible_probability=visible_probability,
        hidden_probability=hidden_probability,
    )
    _call_library("run", call, "a hidden start")
    return visible, hidden, visible_probability, hidden_probability


def anneal(
    weight,
    visible_bias,
    hidden_bias,
    *,
    key,
    visible,
    betas,
    sweeps=1,
    base=None,
    softmax_group=None,
    log_weight=None,
    first_sweep=0,
    finish=True,
    num_threads=None,
    instruction_set=None,
):
    """The inner loop of annealed importance sampling, along betas (two or more, not negative).

    visible (chains, num_visible) in {0, 1} comes from the distribution at betas[0]. For each later beta the log-weights
    grow by log p*_beta(v) - log p*_{beta before}(v), and then `sweeps` sweeps at beta follow; none after the last beta
    if `finish`. A ladder may be climbed in parts: betas[:k + 1] with finish=False, then betas[k:] from what that
    returned, with first_sweep = k * sweeps, give the same as betas at once.

    Returns visible (float32) and the log-weights (float64). Other parameters as in `run`. Raises InputError.
    """
    call = _call(weight, visible_bias, hidden_bias, base, key, sweeps, first_sweep, num_threads, instruction_set)
    _group(call, softmax_group)
    visible = _array("visible", visible, np.float32, (None, call.num_visible), copy=True)
    call.chains = len(visible)
    log_weight = (
        np.zeros(call.chains)
        if log_weight is None
        else _array("log_weight", log_weight, np.float64, (call.chains,), copy=True)
    )
    betas = _array("betas", betas, np.float64, (None,))
    if len(betas) < 2 or not (np.isfinite(betas) & (betas >= 0)).all():
        raise InputError("annealing needs two inverse temperatures or more, finite and not negative")
    call.num_betas, call.finish = len(betas), bool(finish)
    _point(call, beta=betas, visible=visible, log_weight=log_weight)
    _call_library("anneal", call, "visible")
    return visible, log_weight


def _call(weight, visible_bias, hidden_bias, base, key, sweeps, first_sweep, num_threads, instruction_set):
    """A `_Gibbs` with what both functions share. It keeps the arrays that it points to alive."""
    weight = _array("weight", weight, np.float32, (None, None))
    visible_bias = _array("visible_bias", visible_bias, np.float32, weight.shape[:1])
    hidden_bias = _array("hidden_bias", hidden_bias, np.float32, weight.shape[1:])
    base = None if base is None else _array("base", base, np.float32, weight.shape[:1])
    if instruction_set is not None and instruction_set not in features()["instruction_sets"]:
        raise InputError(
            "instruction set %r is not one of those here, %s"
            % (instruction_set, ", ".join(features()["instruction_sets"]))
        )
    for name, value, smallest in (
        ("sweeps", sweeps, 1),
        ("first_sweep", first_sweep, 0),
        ("num_threads", num_threads or 1, 1),
    ):
        if not smallest <= value < 2**32:
            raise InputError("%s is %s; it must be at least %d and less than 2^32" % (name, value, smallest))
    call = _Gibbs(num_visible=weight.shape[0], num_hidden=weight.shape[1], sweeps=sweeps, first_sweep=first_sweep)
    call.key_0, call.key_1 = map(int, np.random.SeedSequence([int(word) for word in key]).generate_state(2, np.uint32))
    call.num_threads = num_threads or 0
    call.instruction_set = -1 if instruction_set is None else INSTRUCTION_SETS.index(instruction_set)
    call.kept = []
    _point(call, weight=weight, visible_bias=visible_bias, hidden_bias=hidden_bias, base=base)
    return call


def _group(call, softmax_group):
    if softmax_group is not None:
        call.group_start, call.group_stop = softmax_group


def _clamp(call, clamp, start, start_is_visible):
    """Points `call` to mask and values; returns the start, with the values in it if it is visible."""
    mask, value = (np.asarray(part) for part in clamp)
    shape = (call.chains, call.num_visible)
    for name, part in (("mask", mask), ("values", value)):
        if part.shape not in (shape, shape[1:]):
            raise InputError(
                "the clamp's %s have shape %s; they must be %s or %s" % (name, part.shape, shape[1:], shape)
            )
    mask, value = np.broadcast_arrays(mask != 0, value)
    if not np.isin(value[mask], (0, 1)).all():
        raise InputError("clamped visible units must be held at 0 or 1")
    call.clamp_per_chain = mask.ndim == 2
    mask = np.ascontiguousarray(mask, np.uint8)
    _point(call, clamp=mask, clamp_value=np.ascontiguousarray(value, np.float32))
    return np.where(mask, value, start).astype(np.float32) if start_is_visible else start


def _array(name, array, dtype, shape, copy=False):
    """The array in C order with that dtype; InputError unless it has the shape, where None stands for any size."""
    array = np.asarray(array)
    if array.ndim != len(shape) or any(wanted not in (None, size) for wanted, size in zip(shape, array.shape)):
        raise InputError(
            "%s has shape %s; it must be (%s)"
            % (name, array.shape, ", ".join("any" if size is None else str(size) for size in shape))
        )
    return np.array(array, dtype, order="C") if copy else np.asarray(array, dtype, order="C")


def _point(call, **arrays):
    for name, array in arrays.items():
        if array is not None:
            call.kept.append(array)
            setattr(call, name, array.__array_interface__["data"][0])  # array.ctypes.data takes three times as long


def _call_library(name, call, what):
    if not call.num_threads:
        # Below some ten microseconds a layer and thread, meeting costs more than it gains.
        additions = call.num_visible * call.num_hidden * min(call.chains / 2, 4 + call.chains / 4)
        call.num_threads = max(1, min(_num_threads(), int(additions / 500000)))
    _check(getattr(_library(), "mxnet_rbm_gibbs_" + name)(ctypes.byref(call)), what)


def _check(code, what):
    if code == _BAD_SIZE:
        raise InputError("sizes or the number of sweeps are too large for the native Gibbs engine")
    if code == _NO_MEMORY:
        raise MemoryError("the native Gibbs engine needs more memory than there is")
    if code == _NOT_BINARY:
        raise InputError("%s must be binary: every value 0 or 1" % what)
    if code == _BAD_ARGUMENT:
        raise InputError("an argument does not suit the native Gibbs engine")
    if code != _OK:
        raise RuntimeError("the native Gibbs engine failed with code %d" % code)
