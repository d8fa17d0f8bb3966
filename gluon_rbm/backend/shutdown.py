"""The end and the forks of a process, while MXNet's threads may call Python."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import time
from typing import Any

__all__ = ["register"]


@functools.lru_cache(maxsize=None)
def register(mxnet: Any) -> None:
    """Make MXNet finish its calls of Python before this process ends, and before it forks.

    `gluon_rbm.backend.framework` calls this. Calling it again changes nothing.

    Parameters
    ----------
    mxnet
        The module MXNet.
    """
    atexit.register(_finish_calls, mxnet)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=functools.partial(_before_fork, mxnet))


def _finish_calls(mxnet: Any) -> None:
    """Wait until no operator of MXNet runs.

    An operator that still runs when Python ends waits for the interpreter forever, and MXNet waits
    for the operator.
    """
    with contextlib.suppress(mxnet.MXNetError):
        mxnet.nd.waitall()


def _before_fork(mxnet: Any) -> None:
    """Let MXNet's threads finish before a fork, because MXNet then joins them.

    They call Python to delete operators, even when all operators are done. So wait some time more.
    """
    _finish_calls(mxnet)
    time.sleep(0.05)
