"""Messages between processes that share a secret, over one connection.

Each side first sends a line of 32 random hexadecimal digits. Each later line holds a code and,
behind it, a message in JSON or nothing. The code is

    HMAC-SHA-256(secret, sending side, digits of the receiving side, number of the line, message)

in hexadecimal digits (RFC 2104). The secret itself is never sent. A line that was changed,
repeated, left out or sent back to its sender has a wrong code. A message is parsed only after its
code has been compared. A connection on which more than 8192 bytes come without the end of a line is
given up.

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

SECRET = "MXNET_RBM_SECRET"  #: the environment variable that holds the secret
# Fewest characters of a secret. Anyone who records a code can test guesses of the secret on it.
_SHORTEST = 16
_LONGEST = 8192  # most bytes that may come without the end of a line
_DIGITS = re.compile(rb"[0-9a-f]{32}")


def shared_secret() -> bytes:
    """Read the secret of a run from the environment.

    Returns
    -------
    bytes
        The value of the environment variable MXNET_RBM_SECRET.

    Raises
    ------
    InputError
        The variable is not set, or has fewer than 16 characters.
    """
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
    connection
        A connected socket.
    side, other_side
        Names of this side and of the other one in the codes. They differ.

    Attributes
    ----------
    is_trusted
        Whether a line with the right code has come.
    is_foreign
        Whether a line has come that a process with the same secret would not send.

    Raises
    ------
    InputError
        As in `shared_secret`.
    """

    def __init__(self, connection: socket.socket, side: bytes, other_side: bytes) -> None:
        self.connection, self.is_trusted, self.is_foreign = connection, False, False
        self._secret, self._side, self._other_side = shared_secret(), side, other_side
        self._digits, self._other_digits = secrets.token_hex(16).encode(), b""
        self._sent = self._received = 0  # numbers of lines
        self._rest, self._heard, self._lock = b"", time.monotonic(), threading.Lock()
        connection.settimeout(5)
        with contextlib.suppress(OSError):  # this socket does not use TCP
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(OSError):  # the next `receive` notices it
            connection.sendall(self._digits + b"\n")

    def send(self, **message: Any) -> None:
        """Send a message, or an empty line that says that this side is alive.

        The digits of the other side must have come (`is_greeted`). Errors of the connection are
        ignored.

        Parameters
        ----------
        **message
            Content of the message, in types that JSON has. Without content the line is empty.
        """
        body = json.dumps(message).encode() if message else b""
        with self._lock, contextlib.suppress(OSError):
            line = self._code(self._side, self._other_digits, self._sent, body) + b" " + body + b"\n"
            self._sent += 1
            self.connection.sendall(line)

    def receive(self) -> list[dict[str, Any]] | None:
        """Wait for data and return the messages that have come.

        Returns
        -------
        list of dict, or None
            The messages; none if nothing came before the timeout of the socket (5 seconds at
            first). None if the connection is closed, or if a foreign line came (`is_foreign`).
        """
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
        """Return the message of a line; raise ValueError if the line has a wrong code."""
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
        """Whether the other side's digits have come.

        Returns
        -------
        bool
            True if they have come. Before that, nothing can be sent.
        """
        return bool(self._other_digits)

    @property
    def silence(self) -> float:
        """Time since something last came.

        Returns
        -------
        float
            Seconds.
        """
        return time.monotonic() - self._heard
