"""The end of a process, and its forks, while MXNet's threads may call Python."""

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
    """Have MXNet finish its calls of Python before this process ends, and before it forks.

    `gluon_rbm.backend.framework` calls this. Calling it again changes nothing.
    """
    atexit.register(_finish_calls, mxnet)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=functools.partial(_before_fork, mxnet))


def _finish_calls(mxnet: Any) -> None:
    """An operator that still runs when Python ends waits for the interpreter for ever, and MXNet waits for it."""
    with contextlib.suppress(mxnet.MXNetError):
        mxnet.nd.waitall()


def _before_fork(mxnet: Any) -> None:
    """MXNet joins its threads before a fork; and these call Python, even when all is done, to delete operators."""
    _finish_calls(mxnet)
    time.sleep(0.05)
