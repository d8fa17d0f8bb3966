"""Ctrl-C and SIGTERM on a command line: they raise `Interrupted`, at once or when what must be whole is whole.

Only command lines enter `handled`; nothing else here touches a signal's handler.
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

    Attributes
    ----------
    exit_status : int
        What shells say of a process that the signal ended: 130 or 143.
    where : str
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
    is_counted = False  # `_counted` is at work


@contextlib.contextmanager
def _counted() -> Iterator[None]:
    """In the block a second signal ends the process even where the first one was not yet acted upon.

    Python acts on a signal in its main thread, between two of its own instructions; MXNet and the native engine may
    compute for hours in one call. But the number of each signal is written at once to a socket, where a thread counts.
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
    """The signals of a child process are not those of its parent, whose socket it has."""
    if _State.is_counted:
        signal.set_wakeup_fd(-1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)


def _receive(number: int, frame: FrameType | None) -> None:
    for one in _SIGNALS:  # the next one ends the process at once
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
    """In the block Ctrl-C and SIGTERM raise `Interrupted`; a second one ends the process.

    What is ignored (under nohup, or in the background of a shell) stays so. Signals come to the main thread: in another
    one this does nothing.
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
            if handler is not None:  # not one of Python's, which it cannot put back
                signal.signal(number, handler)
        _State.received = None


@contextlib.contextmanager
def held() -> Iterator[None]:
    """In the block a signal waits: it raises at the end, or in a block that is `allowed` to be left."""
    _State.held = True
    try:
        yield
    finally:
        _State.held = False
    _raise_received()


@contextlib.contextmanager
def allowed() -> Iterator[None]:
    """In the block, inside one that is `held`, signals raise at once again."""
    _State.held = False
    try:
        _raise_received()
        yield
    finally:
        _State.held = True
    _raise_received()  # where Python swallowed it, as in a `__del__`


def pending() -> bool:
    """Whether a signal came."""
    return _State.received is not None


def received() -> int:
    """The number of the signal that came; 0: none."""
    return _State.received or 0


def receive(number: int) -> None:
    """As if that signal had come while it is `held`: another worker received it."""
    _State.received = _State.received or number


def quiet() -> None:
    """Let Ctrl-C end the process without a traceback until `handled`: for scripts, before imports that take seconds."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
