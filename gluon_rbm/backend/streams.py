"""Standard output and standard error where they are closed, full, or cannot show a character.

This module uses the standard library only.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Any

__all__ = ["prepare", "silence"]


def prepare() -> None:
    """Make standard output and standard error safe to write to.

    A standard stream that is closed (>&- in a shell) becomes the null device. Otherwise the next
    file that the process opens would get the number of that stream, and MXNet would print into that
    file. Characters that a stream cannot encode are written as escapes. Calling this function again
    changes nothing.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the new file gets the lowest free number
    for name in ("stdout", "stderr"):
        stream: Any = getattr(sys, name)
        if stream is None:
            # It stays open as long as the process runs.
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif getattr(stream, "errors", None) == "strict" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def silence(stream: Any) -> None:
    """Discard what a stream still holds, and all that is written to it later.

    It is called after a write to the stream has failed.

    Parameters
    ----------
    stream
        A text stream, such as sys.stdout. A stream without a file descriptor stays as it is.
    """
    with contextlib.suppress(AttributeError, OSError, ValueError):  # it has no file descriptor
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
