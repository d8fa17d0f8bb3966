"""Messages of the package, through the standard library's logging.

A module writes a message by

    logger = logging.getLogger(__name__)
    logger.info(...)

A program that imports the package sees no messages unless it configures logging itself. A command
line calls `configure`. Then messages are written without a prefix: warnings and errors to standard
error, all others to standard output.

This module imports neither MXNet nor tqdm, so that the command doctor works where they are missing.
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
    """Writes bare messages to the console, and flushes each of them.

    Messages below WARNING go to sys.stdout, the others to sys.stderr. Both streams are looked up
    for each message, so that a replacement (by contextlib.redirect_stdout or pytest) receives it.
    Where tqdm draws progress bars, they are cleared while a message is written.
    """

    may_be_unheard = False  # whether lines may be lost without an error

    def emit(self, record: logging.LogRecord) -> None:
        """Write one message.

        Parameters
        ----------
        record
            The message and its level.

        Raises
        ------
        OSError
            Standard output cannot be written, as for print: BrokenPipeError, for example. It is not
            raised in a block of `unheard_lines_allowed`, nor for standard error.
        """
        is_output = record.levelno < logging.WARNING
        stream = sys.stdout if is_output else sys.stderr
        try:
            _write_line(stream, self.format(record))
        except OSError as error:
            streams.silence(stream)  # else the rest of the line fails again at exit
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
    """Go on in the block if a line cannot be written: to a full disk, say, or an unread pipe."""
    before, ConsoleHandler.may_be_unheard = ConsoleHandler.may_be_unheard, True
    try:
        yield
    finally:
        ConsoleHandler.may_be_unheard = before


def report_system_error(prog: str, error: OSError) -> int:
    """Report an error of the operating system in one line.

    Nothing is written for a BrokenPipeError, because nobody reads the output.

    Parameters
    ----------
    prog
        Name of the program, for the line.
    error
        The error.

    Returns
    -------
    int
        Exit status: 141 for a BrokenPipeError, else 2.
    """
    if isinstance(error, BrokenPipeError):
        return 141  # the exit status that shells report after SIGPIPE
    logging.getLogger(__name__).error("%s: error: %s", prog, _described(error))
    return 2


def _described(error: OSError) -> str:
    parts = (error.filename, error.strerror or type(error).__name__)
    return one_line(": ".join(str(part) for part in parts if part is not None))


def configure() -> None:
    """Write the package's messages of at least INFO to the console.

    Calling this function again changes nothing.
    """
    streams.prepare()
    logger = logging.getLogger(_LOGGER)
    logger.setLevel(logging.INFO)
    logger.propagate = False  # a handler of the root logger would write each line once more
    if not any(isinstance(handler, ConsoleHandler) for handler in logger.handlers):
        logger.addHandler(ConsoleHandler())
