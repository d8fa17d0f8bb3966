"""A GPU through MXNet: its arrays, and the kernels of gibbs.cu, compiled at run time by NVRTC."""

from __future__ import annotations

import functools
import logging
from typing import Any, Sequence

import numpy as np

from gluon_rbm.backend.arrays import to_numpy
from gluon_rbm.backend.cuda import launch, self_check
from gluon_rbm.backend.framework import mx
from gluon_rbm.errors import one_line

__all__ = ["MXNetDevice", "device_of", "reason_against"]

logger = logging.getLogger(__name__)

# Without this option, the compiler may round a product and a sum only once. The kernels must round
# as the C engine does: once only where the source says fmaf.
_OPTIONS = ("--fmad=false",)

# MXNet's names for types in signatures.
_NAMES = {np.int32: "int", np.float32: "float", np.float64: "double", np.uint8: "uint8_t"}


class MXNetDevice:
    """A GPU that `gluon_rbm.backend.cuda` can use.

    Parameters
    ----------
    context
        The GPU, an mx.Context.

    Raises
    ------
    MXNetError
        NVRTC is missing, or the kernels cannot be compiled for this GPU.
    """

    def __init__(self, context: Any) -> None:
        self._context = context
        module = mx.rtc.CudaModule(launch.source(), options=_OPTIONS)
        self._kernels = {name: module.get_kernel(name, _signature(name)) for name in launch.KERNELS}

    def empty(self, shape: tuple[int, ...], dtype: type[np.generic]) -> Any:
        """Return an NDArray without setting its values.

        Parameters
        ----------
        shape, dtype
            As in `launch.Device`.

        Returns
        -------
        NDArray
            An array of any values.
        """
        return mx.nd.empty(shape, ctx=self._context, dtype=dtype)

    def array(self, values: Any, dtype: type[np.generic], copy: bool = False) -> Any:
        """Return values as an NDArray on the GPU.

        Parameters
        ----------
        values, dtype, copy
            As in `launch.Device`.

        Returns
        -------
        NDArray
            The values.
        """
        if not isinstance(values, mx.nd.NDArray):
            return mx.nd.array(np.asarray(values, dtype), ctx=self._context, dtype=dtype)
        found = values.as_in_context(self._context).astype(dtype, copy=False)
        return found.copy() if copy and found is values else found

    def to_host(self, array: Any) -> Any:
        """Return an array as a NumPy array.

        Parameters
        ----------
        array
            As in `launch.Device`.

        Returns
        -------
        HostArray
            Its values.
        """
        return to_numpy(array)

    def product(self, state: Any, rows: Any) -> Any:
        """Multiply states by rows of weights.

        Parameters
        ----------
        state, rows
            As in `launch.Device`.

        Returns
        -------
        NDArray
            The matrix product, (chains, padded units).
        """
        return mx.nd.dot(state, rows)

    def launch(self, kernel: str, arguments: Sequence[Any], blocks: int, threads: int, shared_bytes: int) -> None:
        """Start a kernel. MXNet runs it later, and reports an error when a result is read.

        Parameters
        ----------
        kernel, arguments, blocks, threads, shared_bytes
            As in `launch.Device`.
        """
        self._kernels[kernel].launch(arguments, self._context, (blocks, 1, 1), (threads, 1, 1), shared_bytes)


def _signature(kernel: str) -> str:
    """Return the signature of a kernel as MXNet wants it."""
    return ", ".join(
        "%s%s %s%s" % ("" if p.is_written else "const ", _NAMES[p.dtype], "*" if p.is_array else "", p.name)  # type: ignore[index]
        for p in launch.parameters(kernel)
    )


@functools.lru_cache(maxsize=None)
def device_of(context: Any) -> MXNetDevice:
    """Return the device of a context. The kernels are compiled once in a process.

    Parameters
    ----------
    context
        The GPU, an mx.Context.

    Returns
    -------
    MXNetDevice
        The device.
    """
    return MXNetDevice(context)


@functools.lru_cache(maxsize=None)
def reason_against(context: Any) -> str | None:
    """Say why the CUDA engine cannot be used on a GPU.

    The first call in a process compiles and checks the kernels (`self_check`), and logs the reason
    once.

    Parameters
    ----------
    context
        The GPU, an mx.Context.

    Returns
    -------
    str or None
        One line with the reason; None if the kernels run there and draw what the C engine draws.
    """
    try:
        reason = self_check.difference(device_of(context))
    except mx.MXNetError as error:
        reason = "its kernels do not run on %s (%s)" % (context, one_line(str(error).strip().splitlines()[-1]))
    if reason:
        logger.warning("note: the CUDA engine is not used: %s", reason)
    return reason
