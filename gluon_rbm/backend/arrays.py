"""The one boundary between MXNet's arrays and NumPy's: views, copies, and operators that serve both kinds.

An *operand* is what `as_operand` makes of an array: something with NumPy's operators. So one line of arithmetic serves
NDArrays on a CPU, NDArrays on a GPU, and NumPy arrays. `restore_kind` turns a result into the kind that was given.
"""

from __future__ import annotations

import ctypes
import math
from typing import Any, Sequence

import numpy as np

from gluon_rbm.backend.framework import mx
from gluon_rbm.backend.types import Array, HostArray, NDArray
from gluon_rbm.errors import InputError

__all__ = [
    "as_host",
    "as_ndarrays",
    "as_operand",
    "asarray_like",
    "assign",
    "assign_product",
    "from_host",
    "host_view",
    "on_cpu",
    "restore_kind",
    "take_rows",
    "to_numpy",
    "writable_view",
]


# --- Views and copies -------------------------------------------------------------------------------------------------


def host_view(array: Array) -> HostArray:
    """The memory of an NDArray on a CPU as a NumPy array; no copy.

    The view keeps the NDArray alive. MXNet does not know what is read or written through it, so no operator may write
    the NDArray meanwhile.

    Parameters
    ----------
    array
        A dense NDArray on a CPU, not float16; this function waits for what MXNet still computes of it. A NumPy array is
        returned as it is.

    Returns
    -------
    HostArray
        In the shape and dtype of the array.

    Raises
    ------
    InputError
        The NDArray is on a GPU, sparse, or float16.
    """
    if isinstance(array, np.ndarray):
        return array
    context, dtype, shape = array.context, array.dtype, array.shape  # each of them asks MXNet anew
    if not context.device_type.startswith("cpu"):
        raise InputError("an array is on %s where one on a CPU is needed; move all arrays to one device" % context)
    if array.stype != "default":  # its memory is another shape
        raise InputError("an array is %s where a dense one is needed; call tostype('default')" % array.stype)
    if dtype == np.float16:
        raise InputError("float16 needs a GPU; cast to float32")
    array.wait_to_read()
    size = math.prod(shape)
    if not size:
        return np.empty(shape, dtype)
    address = ctypes.c_void_p()
    mx.base.check_call(mx.base._LIB.MXNDArrayGetData(array.handle, ctypes.byref(address)))
    memory: Any = (np.ctypeslib.as_ctypes_type(dtype) * size).from_address(address.value)
    memory.owner = array  # lives as long as the view
    return np.frombuffer(memory, dtype).reshape(shape)


def writable_view(array: Array) -> HostArray:
    """As `host_view`, after all that MXNet still reads of the array, too: it may be written."""
    if isinstance(array, mx.nd.NDArray):
        mx.base.check_call(mx.base._LIB.MXNDArrayWaitToWrite(array.handle))
    return host_view(array)


def from_host(array: HostArray, context: Any = None) -> NDArray:
    """The NDArray of a NumPy array, in its dtype: a copy.

    `mx.nd.from_numpy` would save the copy; but then MXNet's threads call Python to give the memory back, and a program
    that ends meanwhile is aborted.

    Parameters
    ----------
    array
        Of a dtype that MXNet has.
    context : mx.Context, optional
        The device; by default the CPU.
    """
    if context not in (None, mx.cpu()) or array.dtype == np.float16:
        return mx.nd.array(array, ctx=context, dtype=array.dtype)
    result = mx.nd.empty(array.shape, dtype=array.dtype)
    host_view(result)[...] = array  # a third of the time of mx.nd.array
    return result


def to_numpy(array: Any) -> HostArray:
    """A NumPy array as it is, an NDArray's content as a copy, and anything else as `numpy.asarray` makes it."""
    return array.asnumpy() if isinstance(array, mx.nd.NDArray) else np.asarray(array)


def as_host(value: Any) -> Any:
    """NDArrays on a CPU as NumPy views of their memory (`host_view`); anything else as it is."""
    return host_view(value) if isinstance(value, mx.nd.NDArray) else value


def as_ndarrays(value: Any) -> Any:
    """NumPy arrays, alone or in tuples and lists, as NDArrays; anything else as it is."""
    if isinstance(value, (tuple, list)):
        return tuple(map(as_ndarrays, value))
    return from_host(value) if isinstance(value, np.ndarray) else value


def asarray_like(values: Any, array: Array) -> Array:
    """Values, of either kind, as an array like the other: of its kind and dtype, on its device."""
    values = np.asarray(to_numpy(values), array.dtype)
    return values if isinstance(array, np.ndarray) else from_host(values, array.context)


# --- Arithmetic that serves both kinds --------------------------------------------------------------------------------


def on_cpu(array: Array) -> bool:
    """Whether an NDArray is on a CPU; a NumPy array is."""
    return isinstance(array, np.ndarray) or array.context.device_type == "cpu"


def as_operand(array: Array) -> Any:
    """The array as an operand: a NumPy view of an NDArray on a CPU, an `mx.np` array on a GPU; no copy.

    On a CPU NumPy's BLAS is the fastest at hand: 131 GFLOP/s on two cores where MXNet's `dot` reaches 74. NumPy arrays
    stay as they are: what takes operands takes them in place of NDArrays on a CPU.
    """
    return host_view(array) if on_cpu(array) else array.as_np_ndarray()


def restore_kind(value: Any, given: Array) -> Array:
    """What operators made of operands, as an array like the one that was `given`: of NumPy, or an NDArray."""
    if isinstance(given, np.ndarray):
        return value
    return from_host(value) if isinstance(value, np.ndarray) else value.as_nd_ndarray()


def take_rows(array: Array, indices: Sequence[int] | HostArray) -> Array:
    """Rows of an array, by their numbers, in their order."""
    if isinstance(array, np.ndarray):
        return array[indices]
    return array.take(mx.nd.array(indices, ctx=array.context, dtype="int32"))


def assign(target: Array, how: str, value: Any) -> None:
    """Do what MXNet asks an operator to do with a result.

    Parameters
    ----------
    target
        What to write to.
    how
        "write" or "inplace", "add", or "null" for nothing.
    value
        An operand, in the shape of the target.
    """
    if how == "null":
        return
    place = as_operand(target)
    if how == "add":
        place += value
    else:
        place[:] = value


def assign_product(target: Array, how: str, left: Any, right: Any) -> Any:
    """As `assign` of the matrix product of two operands, and return it.

    On a CPU it is made in place, because a new array of this size costs more.
    """
    if how in ("write", "inplace") and on_cpu(target):
        return np.matmul(left, right, out=as_operand(target))
    product = left @ right
    assign(target, how, product)
    return product
