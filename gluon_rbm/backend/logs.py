"""The lines that the package says, through the standard library's `logging`.

A module says a line by `logger = logging.getLogger(__name__)` and `logger.info(...)`. A program that imports the
package hears nothing unless it configures `logging` itself. A command line calls `configure`: then each message goes,
bare, to standard output, and warnings and errors go to standard error.

This module imports neither MXNet nor tqdm, so that `doctor` can speak where they are missing.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from typing import Any, Iterator

from gluon_rbm.backend import streams
from gluon_rbm.errors import one_line

__all__ = ["ConsoleHandler", "configure", "report_system_error", "unheard_lines_allowed"]

_LOGGER = "gluon_rbm"  # the parent of the loggers of all modules

logging.getLogger(_LOGGER).addHandler(logging.NullHandler())


class ConsoleHandler(logging.Handler):
    """Writes bare messages, each flushed: below WARNING to `sys.stdout`, from WARNING on to `sys.stderr`.

    Both are looked up for each message, so that whoever replaces them, as `contextlib.redirect_stdout` and pytest do,
    receives the message. Where tqdm draws progress bars, they are cleared while a message is written.
    """

    may_be_unheard = False  # a line that cannot be written is no error

    def emit(self, record: logging.LogRecord) -> None:
        """Write one message. Raises what the stream raises, such as `BrokenPipeError`, as `print` would."""
        is_output = record.levelno < logging.WARNING
        stream = sys.stdout if is_output else sys.stderr
        try:
            _write_line(stream, self.format(record))
        except OSError as error:
            streams.silence(stream)  # else the rest of the line would fail once more at the end of the process
            error.filename = "standard output" if is_output else "standard error"
            if is_output and not self.may_be_unheard:
                raise
            if is_output and not isinstance(error, BrokenPipeError):
                record = logging.makeLogRecord({"levelno": logging.WARNING, "msg": "%s; it goes on without its lines"})
                record.args = (_described(error),)
                self.emit(record)


def _write_line(stream: Any, text: str) -> None:
    tqdm = getattr(sys.modules.get("tqdm"), "tqdm", None)
    if tqdm is None:
        stream.write(text + "\n")
    else:
        tqdm.write(text, file=stream)
    stream.flush()


@contextlib.contextmanager
def unheard_lines_allowed() -> Iterator[None]:
    """In the block nothing ends because a line cannot be written: a pipe that nobody reads, say, or a full disk."""
    before, ConsoleHandler.may_be_unheard = ConsoleHandler.may_be_unheard, True
    try:
        yield
    finally:
        ConsoleHandler.may_be_unheard = before


def report_system_error(prog: str, error: OSError) -> int:
    """Say an error of the system's in one line, or nothing where nobody reads the output; returns the exit status."""
    if isinstance(error, BrokenPipeError):
        return 141  # what shells say of a process that ended so
    logging.getLogger(__name__).error("%s: error: %s", prog, _described(error))
    return 2


def _described(error: OSError) -> str:
    parts = (error.filename, error.strerror or type(error).__name__)
    return one_line(": ".join(str(part) for part in parts if part is not None))


def configure() -> None:
    """Let the package's messages of at least INFO appear on the console. Calling it again changes nothing."""
    streams.prepare()
    logger = logging.getLogger(_LOGGER)
    logger.setLevel(logging.INFO)
    logger.propagate = False  # a handler of the root logger would write each line once more
    if not any(isinstance(handler, ConsoleHandler) for handler in logger.handlers):
        logger.addHandler(ConsoleHandler())
