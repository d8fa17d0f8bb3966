"""Check the arguments of the native engine, and point the library to them."""

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
    """Check that a number is in the range that the library takes.

    Parameters
    ----------
    name
        Name of the number in messages.
    value
        The number.
    smallest
        The smallest value allowed.

    Raises
    ------
    InputError
        The number is below `smallest`, or not below 2^32.
    """
    if not smallest <= value < 2**32:
        raise InputError("%s is %s; it must be at least %d and less than 2^32" % (name, value, smallest))


def new_call(shape: tuple[int, ...], num_threads: int | None, instruction_set: str | None) -> Gibbs:
    """Return the structure that a call of the library takes.

    Parameters
    ----------
    shape
        Shape of the weights, (num_visible, num_hidden).
    num_threads, instruction_set
        As in `gluon_rbm.backend.native.run`.

    Returns
    -------
    Gibbs
        A structure for one sweep and one temperature. It keeps the arrays that it points to alive.

    Raises
    ------
    InputError
        `num_threads` is out of range, or the library has no such instruction set here.
    """
    check_range("num_threads", 1 if num_threads is None else num_threads, 1)
    call = Gibbs(num_visible=shape[0], num_hidden=shape[1], sweeps=1, num_betas=1)
    call.num_threads, call.instruction_set = num_threads or 0, _instruction_set_number(instruction_set)
    call.arrays = []
    return call


def set_key(call: Gibbs, key: Key) -> None:
    """Set the key that determines the noise of a call.

    Parameters
    ----------
    call
        The structure of the call.
    key
        Non-negative integers.
    """
    call.key_0, call.key_1 = map(int, key_words(key))


def key_words(key: Key) -> HostArray:
    """Turn a key of any length into the two words that noise is made with.

    Parameters
    ----------
    key
        Non-negative integers.

    Returns
    -------
    uint32 (2,)
        The words.
    """
    return np.random.SeedSequence([int(word) for word in key]).generate_state(2, np.uint32)


def broadcast_clamp(mask: HostArray, values: HostArray, binary: bool = True) -> tuple[HostArray, HostArray]:
    """Give the mask and the values of a clamp one shape.

    Parameters
    ----------
    mask
        Not 0 where a unit is held.
    values
        What the units are held at.
    binary
        Whether these values must be 0 or 1.

    Returns
    -------
    mask : bool array
        Which units are held.
    values : array
        The values, in the shape of the mask.

    Raises
    ------
    InputError
        A binary unit is held at another value than 0 or 1.
    """
    mask, values = np.broadcast_arrays(mask != 0, values)
    if binary and not np.isin(values[mask], (0, 1)).all():
        raise InputError("clamped visible units must be held at 0 or 1")
    return mask, values


def set_visible_units(call: Gibbs, visible_units: VisibleUnits) -> None:
    """Set what the visible units of a call are.

    Parameters
    ----------
    call
        The structure of the call.
    visible_units
        As in `gluon_rbm.models.visible_units`.
    """
    call.gaussian = isinstance(visible_units, str)
    groups = np.reshape(() if call.gaussian else visible_units, (-1, 2))
    groups = checked_array("visible_units", groups, np.int64, (None, 2))
    call.num_groups = len(groups)
    point(call, groups=groups)


def threads_for(chunks: float) -> int:
    """Return how many threads some work is worth.

    Parameters
    ----------
    chunks
        The amount of work, in chunks that are worth a thread each.

    Returns
    -------
    int
        As many threads as there are whole chunks: at least 1, at most `default_num_threads`.
    """
    return max(1, min(default_num_threads(), int(chunks)))


def _instruction_set_number(name: str | None) -> int:
    """Return the library's number for an instruction set: -1, for the best, if the name is None."""
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
    """Return values as an array of a dtype, aligned and in C order.

    Parameters
    ----------
    name
        Name of the values in messages.
    values
        What numpy.asarray takes.
    dtype
        Dtype of the result.
    shape
        Shape that the values must have; None stands for any size.
    copy
        Whether the array must be a new one.

    Returns
    -------
    HostArray
        The array.

    Raises
    ------
    InputError
        The values have another shape.
    """
    array = np.asarray(values)
    if array.ndim != len(shape) or any(wanted not in (None, size) for wanted, size in zip(shape, array.shape)):
        raise InputError(
            "%s has shape %s; it must be (%s)"
            % (name, array.shape, ", ".join("any" if size is None else str(size) for size in shape))
        )
    return np.array(array, dtype, order="C") if copy else np.require(array, dtype, LAYOUT)


def check_apart(written: Mapping[str, HostArray | None], read: Mapping[str, HostArray | None]) -> None:
    """Check that arrays that are written share no memory with any other array.

    Otherwise results would depend on the order of threads. The arrays are in C order, so their
    first and last bytes say where they are.

    Parameters
    ----------
    written, read
        Name -> array, or None: what is written, and what is read.

    Raises
    ------
    InputError
        Two arrays share memory, and one of them is written.
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
    """Point fields of a structure to arrays, and keep these alive.

    Parameters
    ----------
    call
        The structure.
    **arrays
        Field -> array. None leaves a field as it is.
    """
    for name, array in arrays.items():
        if array is not None:
            call.arrays.append(array)
            # array.ctypes.data would take three times as long.
            setattr(call, name, array.__array_interface__["data"][0])


def call_library(name: str, call: Gibbs, what: str = "", more: Learning | Classes | None = None) -> None:
    """Call a function of the library, and raise what its code means.

    Parameters
    ----------
    name
        Name of the function, without the prefix mxnet_rbm_gibbs_.
    call
        First argument of the function.
    what
        Name, in messages, of the argument that must be binary.
    more
        Second argument of the function; None if it takes one.

    Raises
    ------
    InputError, MemoryError, RuntimeError
        As in `binding.check`.
    """
    if not call.num_threads:
        # A thread with less than some 10 microseconds of work for a layer costs more than it gains.
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
