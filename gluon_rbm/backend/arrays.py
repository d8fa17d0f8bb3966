"""The boundary between MXNet's arrays and NumPy's: views, copies, and operators for both kinds.

An *operand* is what `as_operand` returns: an array with NumPy's operators. So one line of
arithmetic serves NDArrays on a CPU, NDArrays on a GPU, and NumPy arrays. `restore_kind` turns a
result into the kind of array that was given.
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


# --- Views and copies -----------------------------------------------------------------------------


def host_view(array: Array) -> HostArray:
    """View the memory of an NDArray on a CPU as a NumPy array, without a copy.

    The view keeps the NDArray alive. MXNet does not know what is read or written through the view,
    so no operator may write the NDArray meanwhile.

    Parameters
    ----------
    array
        A dense NDArray on a CPU, not of float16. The function waits until MXNet has computed it. A
        NumPy array is returned as it is.

    Returns
    -------
    HostArray
        The view, in the shape and dtype of the array.

    Raises
    ------
    InputError
        The NDArray is on a GPU, sparse, or of float16.
    """
    if isinstance(array, np.ndarray):
        return array
    context, dtype, shape = array.context, array.dtype, array.shape  # each access asks MXNet again
    if not context.device_type.startswith("cpu"):
        raise InputError("an array is on %s where one on a CPU is needed; move all arrays to one device" % context)
    if array.stype != "default":  # the memory of a sparse array has another layout
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
    memory.owner = array  # keeps the NDArray alive as long as the view
    return np.frombuffer(memory, dtype).reshape(shape)


def writable_view(array: Array) -> HostArray:
    """View the memory of an NDArray on a CPU for writing.

    This is `host_view`, but it also waits until MXNet no longer reads the array.

    Parameters
    ----------
    array
        As in `host_view`.

    Returns
    -------
    HostArray
        A view that may be written.

    Raises
    ------
    InputError
        As in `host_view`.
    """
    if isinstance(array, mx.nd.NDArray):
        mx.base.check_call(mx.base._LIB.MXNDArrayWaitToWrite(array.handle))
    return host_view(array)


def from_host(array: HostArray, context: Any = None) -> NDArray:
    """Copy a NumPy array into a new NDArray of the same dtype.

    mx.nd.from_numpy would save the copy. But then MXNet's threads call Python to free the memory,
    and a program that ends meanwhile is aborted.

    Parameters
    ----------
    array
        An array of a dtype that MXNet has.
    context
        The device, an mx.Context; by default the CPU.

    Returns
    -------
    NDArray
        The copy, on that device.
    """
    if context not in (None, mx.cpu()) or array.dtype == np.float16:
        return mx.nd.array(array, ctx=context, dtype=array.dtype)
    result = mx.nd.empty(array.shape, dtype=array.dtype)
    host_view(result)[...] = array  # takes a third of the time of mx.nd.array
    return result


def to_numpy(array: Any) -> HostArray:
    """Return an array as a NumPy array.

    Parameters
    ----------
    array
        A NumPy array, an NDArray on any device, or anything that numpy.asarray takes.

    Returns
    -------
    HostArray
        A NumPy array as it is, a copy of an NDArray, or what numpy.asarray returns.
    """
    return array.asnumpy() if isinstance(array, mx.nd.NDArray) else np.asarray(array)


def as_host(value: Any) -> Any:
    """Turn an NDArray on a CPU into a NumPy view of its memory.

    Parameters
    ----------
    value
        An NDArray, or anything else.

    Returns
    -------
    HostArray, or the type of `value`
        The `host_view` of an NDArray; anything else as it is.

    Raises
    ------
    InputError
        As in `host_view`.
    """
    return host_view(value) if isinstance(value, mx.nd.NDArray) else value


def as_ndarrays(value: Any) -> Any:
    """Turn NumPy arrays, alone or in tuples and lists, into NDArrays.

    Parameters
    ----------
    value
        A NumPy array, a tuple or list, or anything else.

    Returns
    -------
    NDArray, tuple, or the type of `value`
        An NDArray on the CPU for a NumPy array, a tuple for a tuple or list; anything else as it
        is.
    """
    if isinstance(value, (tuple, list)):
        return tuple(map(as_ndarrays, value))
    return from_host(value) if isinstance(value, np.ndarray) else value


def asarray_like(values: Any, array: Array) -> Array:
    """Turn values into an array of the kind and dtype of another array, on its device.

    Parameters
    ----------
    values
        A NumPy array, an NDArray, or anything that numpy.asarray takes.
    array
        The other array.

    Returns
    -------
    Array
        The values, in their own shape.
    """
    values = np.asarray(to_numpy(values), array.dtype)
    return values if isinstance(array, np.ndarray) else from_host(values, array.context)


# --- Arithmetic that serves both kinds ------------------------------------------------------------


def on_cpu(array: Array) -> bool:
    """Return whether an array is on a CPU.

    Parameters
    ----------
    array
        An NDArray or a NumPy array.

    Returns
    -------
    bool
        True for an NDArray on a CPU, and for a NumPy array.
    """
    return isinstance(array, np.ndarray) or array.context.device_type == "cpu"


def as_operand(array: Array) -> Any:
    """Return an array as an operand, without a copy.

    On a CPU NumPy's BLAS is the fastest available: 131 GFLOP/s on two cores, where MXNet's dot
    reaches 74.

    Parameters
    ----------
    array
        An NDArray or a NumPy array.

    Returns
    -------
    HostArray or mx.np.ndarray
        A NumPy view of an NDArray on a CPU, an mx.np array for an NDArray on a GPU, or the given
        NumPy array itself.
    """
    return host_view(array) if on_cpu(array) else array.as_np_ndarray()


def restore_kind(value: Any, given: Array) -> Array:
    """Turn a result of operands into the kind of array that was given.

    Parameters
    ----------
    value
        What operators made of operands.
    given
        An array of the wanted kind: an NDArray or a NumPy array.

    Returns
    -------
    Array
        The result as an NDArray, or as a NumPy array.
    """
    if isinstance(given, np.ndarray):
        return value
    return from_host(value) if isinstance(value, np.ndarray) else value.as_nd_ndarray()


def take_rows(array: Array, indices: Sequence[int] | HostArray) -> Array:
    """Return rows of an array by their numbers.

    Parameters
    ----------
    array
        An NDArray or a NumPy array.
    indices
        Numbers of rows, from 0 on.

    Returns
    -------
    Array
        The rows, in the order of `indices`.
    """
    if isinstance(array, np.ndarray):
        return array[indices]
    return array.take(mx.nd.array(indices, ctx=array.context, dtype="int32"))


def assign(target: Array, how: str, value: Any) -> None:
    """Store a result as MXNet asks an operator to store it.

    Parameters
    ----------
    target
        The array to write to.
    how
        "write" or "inplace" to overwrite it, "add" to add to it, "null" to do nothing.
    value
        An operand, in the shape of `target`.
    """
    if how == "null":
        return
    place = as_operand(target)
    if how == "add":
        place += value
    else:
        place[:] = value


def assign_product(target: Array, how: str, left: Any, right: Any) -> Any:
    """Store the matrix product of two operands as `assign` does, and return it.

    On a CPU the product is computed in place if it overwrites, because a new array costs more.

    Parameters
    ----------
    target, how
        As in `assign`.
    left, right
        Operands: matrices.

    Returns
    -------
    HostArray or mx.np.ndarray
        The product, an operand.
    """
    if how in ("write", "inplace") and on_cpu(target):
        return np.matmul(left, right, out=as_operand(target))
    product = left @ right
    assign(target, how, product)
    return product
