"""A GPU through MXNet: its arrays, and the kernels of `gibbs.cu`, compiled at run time by NVRTC."""

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

# Nothing is contracted but where the source says `fmaf`: the rounding of the C engine.
_OPTIONS = ("--fmad=false",)

# MXNet's names of types in signatures.
_NAMES = {np.int32: "int", np.float32: "float", np.float64: "double", np.uint8: "uint8_t"}


class MXNetDevice:
    """What `gluon_rbm.backend.cuda` runs on.

    Parameters
    ----------
    context : mx.Context
        A GPU.

    Raises
    ------
    MXNetError
        NVRTC cannot be had, or the kernels cannot be compiled for this GPU.
    """

    def __init__(self, context: Any) -> None:
        self._context = context
        module = mx.rtc.CudaModule(launch.source(), options=_OPTIONS)
        self._kernels = {name: module.get_kernel(name, _signature(name)) for name in launch.KERNELS}

    def empty(self, shape: tuple[int, ...], dtype: type[np.generic]) -> Any:
        """See `launch.Device`."""
        return mx.nd.empty(shape, ctx=self._context, dtype=dtype)

    def array(self, values: Any, dtype: type[np.generic], copy: bool = False) -> Any:
        """See `launch.Device`."""
        if not isinstance(values, mx.nd.NDArray):
            return mx.nd.array(np.asarray(values, dtype), ctx=self._context, dtype=dtype)
        found = values.as_in_context(self._context).astype(dtype, copy=False)
        return found.copy() if copy and found is values else found

    def to_host(self, array: Any) -> Any:
        """See `launch.Device`."""
        return to_numpy(array)

    def product(self, state: Any, rows: Any) -> Any:
        """See `launch.Device`."""
        return mx.nd.dot(state, rows)

    def launch(self, kernel: str, arguments: Sequence[Any], blocks: int, threads: int, shared_bytes: int) -> None:
        """See `launch.Device`. MXNet runs it later; an error surfaces when a result is read."""
        self._kernels[kernel].launch(arguments, self._context, (blocks, 1, 1), (threads, 1, 1), shared_bytes)


def _signature(kernel: str) -> str:
    """As MXNet wants it."""
    return ", ".join(
        "%s%s %s%s" % ("" if p.is_written else "const ", _NAMES[p.dtype], "*" if p.is_array else "", p.name)  # type: ignore[index]
        for p in launch.parameters(kernel)
    )


@functools.lru_cache(maxsize=None)
def device_of(context: Any) -> MXNetDevice:
    """The device of a context; the kernels are compiled once in a process."""
    return MXNetDevice(context)


@functools.lru_cache(maxsize=None)
def reason_against(context: Any) -> str | None:
    """None if the kernels run on that GPU and draw what the C engine draws, else why not, in one line.

    At the first call in a process they are compiled and checked (`self_check`), and what is wrong is said once.
    """
    try:
        reason = self_check.difference(device_of(context))
    except mx.MXNetError as error:
        reason = "its kernels do not run on %s (%s)" % (context, one_line(str(error).strip().splitlines()[-1]))
    if reason:
        logger.warning("note: the CUDA engine is not used: %s", reason)
    return reason
