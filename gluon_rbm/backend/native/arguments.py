"""What the functions of the native engine take: checked, and pointed to."""

from __future__ import annotations

import ctypes
import warnings
from typing import Any, Mapping

import numpy as np

from gluon_rbm.backend.native.binding import (
    INSTRUCTION_SETS,
    Classes,
    Gibbs,
    Learning,
    check,
    default_num_threads,
    features,
    library,
)
from gluon_rbm.backend.types import HostArray, Key, VisibleUnits
from gluon_rbm.errors import InputError

__all__ = [
    "LAYOUT",
    "broadcast_clamp",
    "call_library",
    "check_apart",
    "check_range",
    "checked_array",
    "key_words",
    "new_call",
    "point",
    "set_key",
    "set_visible_units",
    "threads_for",
]

LAYOUT = ("C_CONTIGUOUS", "ALIGNED")


def check_range(name: str, value: int, smallest: int) -> None:
    if not smallest <= value < 2**32:
        raise InputError("%s is %s; it must be at least %d and less than 2^32" % (name, value, smallest))


def new_call(shape: tuple[int, ...], num_threads: int | None, instruction_set: str | None) -> Gibbs:
    """A `Gibbs` for weights of that shape, which keeps the arrays that it points to alive."""
    check_range("num_threads", 1 if num_threads is None else num_threads, 1)
    call = Gibbs(num_visible=shape[0], num_hidden=shape[1], sweeps=1, num_betas=1)
    call.num_threads, call.instruction_set = num_threads or 0, _instruction_set_number(instruction_set)
    call.arrays = []
    return call


def set_key(call: Gibbs, key: Key) -> None:
    """Fix the noise of a call."""
    call.key_0, call.key_1 = map(int, key_words(key))


def key_words(key: Key) -> HostArray:
    """The two words, uint32, that noise is made with where a key of any length is given."""
    return np.random.SeedSequence([int(word) for word in key]).generate_state(2, np.uint32)


def broadcast_clamp(mask: HostArray, values: HostArray, binary: bool = True) -> tuple[HostArray, HostArray]:
    """Which units are held, bool, and their values, in one shape; InputError where binary ones are not at 0 or 1."""
    mask, values = np.broadcast_arrays(mask != 0, values)
    if binary and not np.isin(values[mask], (0, 1)).all():
        raise InputError("clamped visible units must be held at 0 or 1")
    return mask, values


def set_visible_units(call: Gibbs, visible_units: VisibleUnits) -> None:
    """What the visible units of a call are, as `gluon_rbm.models.visible_units` has it."""
    call.gaussian = isinstance(visible_units, str)
    groups = np.reshape(() if call.gaussian else visible_units, (-1, 2))
    groups = checked_array("visible_units", groups, np.int64, (None, 2))
    call.num_groups = len(groups)
    point(call, groups=groups)


def threads_for(chunks: float) -> int:
    """As many threads as there are chunks of work that are worth one, up to `default_num_threads`."""
    return max(1, min(default_num_threads(), int(chunks)))


def _instruction_set_number(name: str | None) -> int:
    """What the library calls it; -1, for the best, where it is None."""
    if name is None:
        return -1
    if name not in features()["instruction_sets"]:
        raise InputError(
            "instruction set %r is not one of those here, %s" % (name, ", ".join(features()["instruction_sets"]))
        )
    return INSTRUCTION_SETS.index(name)


def checked_array(
    name: str, values: Any, dtype: type[np.generic], shape: tuple[int | None, ...], copy: bool = False
) -> HostArray:
    """The array with that dtype, aligned and in C order; InputError unless it has the shape (None: any size)."""
    array = np.asarray(values)
    if array.ndim != len(shape) or any(wanted not in (None, size) for wanted, size in zip(shape, array.shape)):
        raise InputError(
            "%s has shape %s; it must be (%s)"
            % (name, array.shape, ", ".join("any" if size is None else str(size) for size in shape))
        )
    return np.array(array, dtype, order="C") if copy else np.require(array, dtype, LAYOUT)


def check_apart(written: Mapping[str, HostArray | None], read: Mapping[str, HostArray | None]) -> None:
    """InputError unless what is written has memory of its own: else results would depend on the order of threads.

    Arrays are in C order, so their first and last bytes say where they are.
    """
    spans = []
    for arrays in (written, read):
        for name, array in arrays.items():
            if array is not None and array.size:
                start = array.__array_interface__["data"][0]
                spans.append((start, start + array.nbytes, arrays is written, name))
    end = written_end = 0
    for start, stop, is_written, name in sorted(spans):
        if start < (end if is_written else written_end):
            raise InputError("%s shares memory with another array, and one of the two is written: pass a copy" % name)
        end = max(end, stop)
        written_end = max(written_end, stop) if is_written else written_end


def point(call: Gibbs | Learning | Classes, **arrays: HostArray | None) -> None:
    """Points fields of `call` to arrays, and keeps these alive."""
    for name, array in arrays.items():
        if array is not None:
            call.arrays.append(array)
            setattr(call, name, array.__array_interface__["data"][0])  # array.ctypes.data takes three times as long


def call_library(name: str, call: Gibbs, what: str = "", more: Learning | Classes | None = None) -> None:
    """Call a function of the library, with `more` if that is given. Raises what its code means.

    what : the argument that must be binary.
    """
    if not call.num_threads:
        # Below some ten microseconds a layer and thread, meeting costs more than it gains.
        additions = call.num_visible * call.num_hidden * min(call.chains / 2, 4 + call.chains / 4)
        call.num_threads = threads_for(additions / 500000)
    scale = ctypes.c_double()
    call.scale = ctypes.addressof(scale)
    arguments = [ctypes.byref(call)] if more is None else [ctypes.byref(call), ctypes.byref(more)]
    check(getattr(library(), "mxnet_rbm_gibbs_" + name)(*arguments), what)
    if call.fixed_point and scale.value < 0:
        warnings.warn(
            "16 bits are too coarse for weights as large as these: chains go on with 32", RuntimeWarning, stacklevel=4
        )
