"""The device to compute on: the GPU if MXNet can use one, else the CPU and the reason."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from gluon_rbm.backend.framework import mx
from gluon_rbm.backend.wheels import nvidia_driver, replace_wheel
from gluon_rbm.errors import InputError

__all__ = ["choose_context", "choose_contexts"]


def _first_line(error: Exception) -> str:
    """Return the message of an MXNetError without its stack trace."""
    text = str(error).strip()
    said = re.search(r"^MXNetError: (.+)", text, re.MULTILINE)
    return said.group(1) if said else text.splitlines()[0]


def _probe_gpu(device_id: int) -> str | None:
    """Return None if MXNet can compute on this GPU, else one line: the reason, and what to do."""
    if not mx.runtime.Features().is_enabled("CUDA"):
        if not _has_driver():
            return "there is no NVIDIA driver, and MXNet is the CPU-only build"
        return "MXNet is the CPU-only build; to use the GPU, run " + replace_wheel("cu112")
    try:
        count = mx.context.num_gpus()
    except mx.MXNetError as error:
        return f"the NVIDIA driver does not work ({_first_line(error)}); install one for CUDA 11.2 or newer"
    if count == 0:
        return "MXNet sees no GPU; check `nvidia-smi` and CUDA_VISIBLE_DEVICES"
    if not 0 <= device_id < count:
        return f"there is no GPU {device_id}; MXNet sees {count}, counted from 0"
    return _try_kernel(device_id)


def _has_driver() -> bool:
    """Return whether Linux has an NVIDIA driver, or Windows has one below this Linux."""
    return nvidia_driver() is not None or Path("/dev/dxg").exists()


def _try_kernel(device_id: int) -> str | None:
    try:
        mx.nd.ones((1,), ctx=mx.gpu(device_id)).asnumpy()
    except mx.MXNetError as error:
        # The wheels have code for sm_50 to sm_86 only. They have no PTX code, which the driver
        # could translate for newer GPUs.
        if "no kernel image" in str(error):
            return (
                f"this MXNet has no code for GPU {device_id}; it knows compute capability 5.0 to 8.9 "
                "(Maxwell to Ada); use such a GPU, or the CPU"
            )
        return f"GPU {device_id} does not work ({_first_line(error)}); use another, or the CPU"
    return None


def choose_context(cuda: bool | None = None, device_id: int = 0) -> tuple[Any, str | None]:
    """Choose the device to compute on: the GPU if MXNet can use it, else the CPU.

    Parameters
    ----------
    cuda
        True asks for the GPU, False for the CPU; None takes the GPU if MXNet can use it, else the
        CPU.
    device_id
        Number of the GPU, from 0.

    Returns
    -------
    context : mx.Context
        The device.
    note : str or None
        If `cuda` is None and the device is the CPU: one line that says why. Else None.

    Raises
    ------
    InputError
        `cuda` is True and MXNet cannot use that GPU. The message says why, and what to do.

    Examples
    --------
    >>> from gluon_rbm import choose_context
    >>> choose_context(cuda=False)
    (cpu(0), None)
    """
    if cuda is not None and not cuda:
        return mx.cpu(), None
    reason = _probe_gpu(device_id)
    if reason is None:
        return mx.gpu(device_id), None
    if cuda:
        raise InputError(f"cannot use the GPU: {reason}; leave --cuda out to use the CPU")
    return mx.cpu(), f"using the CPU: {reason}"


def choose_contexts(cuda: bool | None = None, device_id: int = 0, count: int = 1) -> tuple[list[Any], str | None]:
    """Choose several devices to compute on, the first as `choose_context` does.

    They are GPUs `device_id`, `device_id` + 1, ... If the first device is the CPU, they are cpu(0),
    cpu(1), ...: one device with `count` queues of work.

    Parameters
    ----------
    cuda, device_id
        As in `choose_context`.
    count
        Number of devices.

    Returns
    -------
    contexts : list of mx.Context
        The devices.
    note : str or None
        As in `choose_context`.

    Raises
    ------
    InputError
        `cuda` is True and MXNet cannot use the first GPU, or MXNet can use the first GPU but not
        one of the others.
    """
    context, note = choose_context(cuda, device_id)
    if context.device_type == "cpu":
        return [mx.cpu(index) for index in range(count)], note
    return [context, *(choose_context(True, device_id + index)[0] for index in range(1, count))], note
