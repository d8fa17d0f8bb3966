"""Standard output and standard error of a command line, where they are closed, full, or cannot show a character.

This module uses the standard library only.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Any

__all__ = ["prepare", "silence"]


def prepare() -> None:
    """Have something behind both streams, which takes any character. Calling it again changes nothing.

    A stream that is closed (`>&-`) becomes the null device: otherwise the next file that the process opens would get
    the stream's number, and with it what MXNet prints. Characters that a stream cannot encode become escapes.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    for name in ("stdout", "stderr"):
        stream: Any = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 (for as long as the process runs)
        elif getattr(stream, "errors", None) == "strict" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def silence(stream: Any) -> None:
    """Let what a stream holds back, and all that will be written to it, go nowhere: to write to it has failed."""
    with contextlib.suppress(AttributeError, OSError, ValueError):  # one without a number of the system's
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
