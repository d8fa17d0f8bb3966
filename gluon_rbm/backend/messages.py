"""Messages between processes that share a secret, over one connection.

Both sides begin with a line of random digits. Each later line is a message in JSON, or nothing, behind its code

    HMAC-SHA-256(secret, side that sends, digits of the one that receives, number of the line, message)

in hexadecimal digits (RFC 2104). The secret itself is never sent. A line that was changed, repeated, left out, or sent
back to its sender has another code. No message is parsed before its code was compared, and no line may be longer than
`_LONGEST`.

This module uses the standard library only.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import os
import re
import secrets
import socket
import threading
import time
from typing import Any

from gluon_rbm.errors import InputError

__all__ = ["SECRET", "Connection", "shared_secret"]

SECRET = "MXNET_RBM_SECRET"  #: the variable of the environment
_SHORTEST = 16  # characters of a secret: a code may be recorded, and secrets be tried on it
_LONGEST = 8192  # bytes of a line
_DIGITS = re.compile(rb"[0-9a-f]{32}")


def shared_secret() -> bytes:
    """The secret of a run, from the environment. Raises InputError where it is missing or too short."""
    text = os.environ.get(SECRET, "")
    if len(text) < _SHORTEST:
        raise InputError(
            "%s is %s; set it to one text of at least %d characters for all processes of a run, such as "
            "`openssl rand -hex 16` prints" % (SECRET, "too short" if text else "not set", _SHORTEST)
        )
    return os.fsencode(text)


class Connection:
    """One side of a connection.

    Parameters
    ----------
    connection : socket.socket
    side, other_side : bytes
        What the two sides are called in the codes; they differ.

    Attributes
    ----------
    is_trusted : bool
        Whether a line with the right code has come.
    is_foreign : bool
        Whether a line came that the other side of such a connection would not send.
    """

    def __init__(self, connection: socket.socket, side: bytes, other_side: bytes) -> None:
        self.connection, self.is_trusted, self.is_foreign = connection, False, False
        self._secret, self._side, self._other_side = shared_secret(), side, other_side
        self._digits, self._other_digits = secrets.token_hex(16).encode(), b""
        self._sent = self._received = 0  # lines
        self._rest, self._heard, self._lock = b"", time.monotonic(), threading.Lock()
        connection.settimeout(5)
        with contextlib.suppress(OSError):  # of another kind than TCP
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(OSError):  # whoever reads from it next will see
            connection.sendall(self._digits + b"\n")

    def send(self, **message: Any) -> None:
        """Send a message, or without one that this side is alive. The other side's digits have come."""
        body = json.dumps(message).encode() if message else b""
        with self._lock, contextlib.suppress(OSError):
            line = self._code(self._side, self._other_digits, self._sent, body) + b" " + body + b"\n"
            self._sent += 1
            self.connection.sendall(line)

    def receive(self) -> list[dict[str, Any]] | None:
        """The messages of what has come; None where the connection is closed, or somebody else's."""
        try:
            content = self.connection.recv(4096)
        except socket.timeout:
            return []
        except OSError:
            return None
        if not content:
            return None
        self._heard = time.monotonic()
        *lines, self._rest = (self._rest + content).split(b"\n")
        try:
            messages = list(map(self._read, lines))
            if len(self._rest) > _LONGEST:
                raise ValueError("too long a line")
        except (ValueError, RecursionError):
            self.is_foreign = True
            return None
        return [message for message in messages if message]

    def _read(self, line: bytes) -> dict[str, Any]:
        """The message of a line; ValueError where it has another code."""
        if not self._other_digits:
            if not _DIGITS.fullmatch(line):
                raise ValueError("no digits")
            self._other_digits = line
            return {}
        code, _, body = line.partition(b" ")
        if not hmac.compare_digest(code, self._code(self._other_side, self._digits, self._received, body)):
            raise ValueError("another code")
        self.is_trusted = True
        self._received += 1
        message = json.loads(body) if body else {}
        if not isinstance(message, dict):
            raise ValueError("no message")
        return message

    def _code(self, sender: bytes, digits: bytes, number: int, body: bytes) -> bytes:
        return hmac.new(self._secret, b"%s %s %d " % (sender, digits, number) + body, "sha256").hexdigest().encode()

    @property
    def is_greeted(self) -> bool:
        """Whether the other side's digits have come, without which nothing can be sent."""
        return bool(self._other_digits)

    @property
    def silence(self) -> float:
        """Seconds since something came."""
        return time.monotonic() - self._heard
