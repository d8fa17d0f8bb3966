"""The end of a process, and its forks, while MXNet's threads may call Python. Importing this sees to both."""

import atexit
import contextlib
import os
import time

from gluon_rbm.backend.framework import mx

__all__ = []


@atexit.register
def _finish_calls():
    """An operator that still runs when Python ends waits for the interpreter for ever, and MXNet waits for it."""
    with contextlib.suppress(mx.MXNetError):
        mx.nd.waitall()


@atexit.register
def _finish_calls():
    """An operator that still runs when Python ends waits for the interpreter for ever, and MXNet waits for it."""
    with contextlib.suppress(mx.MXNetError):
        mx.nd.waitall()


def _before_fork():
    """MXNet joins its threads before a fork; and these call Python, even when all is done, to delete operators."""
    _finish_calls()
    time.sleep(0.05)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork)
