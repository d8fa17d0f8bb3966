"""Ctrl-C and SIGTERM on a command line.

They raise `Interrupted`: at once, or, in a block that must not be interrupted, at its end. Only
command lines enter `handled`. Apart from it and `quiet`, nothing here changes the handler of a
signal.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from types import FrameType
from typing import Iterator

__all__ = ["Interrupted", "allowed", "handled", "held", "pending", "quiet", "receive", "received"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM came.

    Parameters
    ----------
    number
        Number of the signal.

    Attributes
    ----------
    exit_status
        What shells report of a process that the signal ended: 130 or 143.
    where
        What the message says after "interrupted".
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_status, self.where = 128 + number, ""

    def __str__(self) -> str:
        return "interrupted %s" % self.where if self.where else "interrupted"


class _State:
    received: int | None = None
    held = False
    is_counted = False  # whether the process is in a block of `_counted`


@contextlib.contextmanager
def _counted() -> Iterator[None]:
    """Let a second signal in the block end the process, even if the first had no effect yet.

    Python acts on a signal in its main thread, between two of its own instructions. MXNet and the
    native engine may compute for hours in one call. But Python writes the number of each signal to
    a socket at once, and a thread counts these numbers.
    """
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    thread = threading.Thread(target=_count, args=(reader,), daemon=True)
    before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    thread.start()
    _State.is_counted = True
    try:
        yield
    finally:
        _State.is_counted = False
        signal.set_wakeup_fd(before)
        writer.close()
        thread.join()
        reader.close()


def _count(reader: socket.socket) -> None:
    count = 0
    for number in iter(lambda: reader.recv(1), b""):
        count += number[0] in _SIGNALS
        if count == 2:
            os._exit(128 + number[0])


def _forget_in_child() -> None:
    """Keep a child process from reporting its signals to the socket of its parent."""
    if _State.is_counted:
        signal.set_wakeup_fd(-1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)


def _receive(number: int, frame: FrameType | None) -> None:
    for one in _SIGNALS:  # the next signal ends the process at once
        if signal.getsignal(one) is _receive:
            signal.signal(one, signal.SIG_DFL)
    _State.received = number
    if not _State.held:
        raise Interrupted(number)


def _raise_received() -> None:
    if _State.received is not None:
        raise Interrupted(_State.received)


@contextlib.contextmanager
def handled() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM raise `Interrupted` in the block, and a second signal end the process.

    A signal that is ignored (under nohup, or in the background of a shell) stays ignored. Signals
    come to the main thread: in any other thread this context manager does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    _State.received, _State.held = None, False
    try:
        for number, handler in before.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, _receive)
        with _counted():
            yield
    finally:
        for number, handler in before.items():
            if handler is not None:  # None: Python did not set it, and cannot restore it
                signal.signal(number, handler)
        _State.received = None


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Let a signal wait in the block: it raises at the end, or in an inner `allowed` block."""
    _State.held = True
    try:
        yield
    finally:
        _State.held = False
    _raise_received()


@contextlib.contextmanager
def allowed() -> Iterator[None]:
    """Let signals raise at once again, in a block inside a `held` block."""
    _State.held = False
    try:
        _raise_received()
        yield
    finally:
        _State.held = True
    _raise_received()  # if Python swallowed the exception, as it does in __del__


def pending() -> bool:
    """Return whether a signal has come.

    Returns
    -------
    bool
        True if one has come in the present `handled` block.
    """
    return _State.received is not None


def received() -> int:
    """Return the number of the signal that came.

    Returns
    -------
    int
        The number; 0 if no signal has come.
    """
    return _State.received or 0


def receive(number: int) -> None:
    """Record a signal that another worker received, as if it had come in a `held` block.

    Parameters
    ----------
    number
        Number of the signal. It changes nothing if a signal has already come.
    """
    _State.received = _State.received or number


def quiet() -> None:
    """Let Ctrl-C end the process without a traceback, until `handled` begins.

    Scripts call this before imports that take seconds.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
