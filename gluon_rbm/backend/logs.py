"""The lines that the package says, through the standard library's `logging`.

A module says a line by `logger = logging.getLogger(__name__)` and `logger.info(...)`. A program that imports the
package hears nothing unless it configures `logging` itself. A command line calls `configure`: then each message goes,
bare, to standard output, and warnings and errors go to standard error.

This module imports neither MXNet nor tqdm, so that `doctor` can speak where they are missing.
"""

from __future__ import annotations

import logging
import sys

__all__ = ["ConsoleHandler", "configure"]

_LOGGER = "gluon_rbm"  # the parent of the loggers of all modules

logging.getLogger(_LOGGER).addHandler(logging.NullHandler())


class ConsoleHandler(logging.Handler):
    """Writes bare messages, each flushed: below WARNING to `sys.stdout`, from WARNING on to `sys.stderr`.

    Both are looked up for each message, so that whoever replaces them, as `contextlib.redirect_stdout` and pytest do,
    receives the message. Where tqdm draws progress bars, they are cleared while a message is written.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Write one message. Raises what the stream raises, such as `BrokenPipeError`, as `print` would."""
        stream = sys.stdout if record.levelno < logging.WARNING else sys.stderr
        text = self.format(record)
        tqdm = getattr(sys.modules.get("tqdm"), "tqdm", None)
        if tqdm is None:
            stream.write(text + "\n")
        else:
            tqdm.write(text, file=stream)
        stream.flush()


def configure() -> None:
    """Let the package's messages of at least INFO appear on the console. Calling it again changes nothing."""
    logger = logging.getLogger(_LOGGER)
    logger.setLevel(logging.INFO)
    logger.propagate = False  # a handler of the root logger would write each line once more
    if not any(isinstance(handler, ConsoleHandler) for handler in logger.handlers):
        logger.addHandler(ConsoleHandler())
