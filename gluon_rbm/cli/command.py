"""How a command runs: an error becomes one line and an exit status."""

from __future__ import annotations

import logging
import warnings
from types import ModuleType
from typing import Any, Callable, Sequence

from gluon_rbm.backend import interruption, logs
from gluon_rbm.backend.framework import mx
from gluon_rbm.cli.arguments import OneLineParser
from gluon_rbm.errors import InputError, one_line

__all__ = ["call", "exit_status"]

logger = logging.getLogger(__name__)


def call(module: ModuleType, argv: Sequence[str]) -> None:
    """Run a command on a list of arguments.

    Parameters
    ----------
    module
        The module of the command, which has the functions add_arguments and run.
    argv
        The arguments, as they stand on a command line.
    """
    parser = OneLineParser(prog=module.__name__)
    module.add_arguments(parser.add_argument)
    module.run(parser.parse_args(argv))


def exit_status(prog: str, action: Callable[[], object]) -> int:
    """Call a function, and return the exit status of the process.

    The package's messages appear on the console (`gluon_rbm.backend.logs`). An error that a user
    can do something about becomes one line there. Other errors are raised.

    Parameters
    ----------
    prog
        The name of the program in messages.
    action
        The function, which is called without arguments.

    Returns
    -------
    int
        0: success. 2: bad input, a missing library, or an error of the system or of MXNet. 3: the
        training diverged. 130: Ctrl-C. 143: SIGTERM. 141: nobody reads the output.
    """
    logs.configure()
    try:
        with interruption.handled(), warnings.catch_warnings():
            warnings.showwarning = _tell_of(warnings.showwarning)
            action()
    except InputError as error:
        logger.error("%s: error: %s", prog, error)
        return error.exit_status
    except ImportError as error:  # the message says what is missing, and how to install it
        logger.error("%s: error: %s", prog, error)
        return InputError.exit_status
    except OSError as error:
        return logs.report_system_error(prog, error)
    except (MemoryError, RuntimeError) as error:  # MXNet's errors are RuntimeErrors
        reason = _what_is_lacking(error)
        if reason is None:
            raise
        logger.error("%s: error: %s", prog, reason)
        return InputError.exit_status
    except KeyboardInterrupt as interrupted:
        logger.error("%s: %s", prog, str(interrupted) or "interrupted")
        return getattr(interrupted, "exit_status", 130)
    return 0


def _tell_of(show: Callable[..., None]) -> Callable[..., None]:
    """Return a function that shows warnings: those of convergence in a line, others by `show`.

    The line of a ConvergenceWarning does not name the place in the source.
    """

    def tell(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if category.__name__ == "ConvergenceWarning":  # by name: importing scikit-learn takes 1 s
            logger.warning("warning: %s", one_line(str(message)))
        else:
            show(message, category, *where, **more)

    return tell


def _what_is_lacking(error: Exception) -> str | None:
    """Return a line about an error of the system or of MXNet, or None for any other error."""
    text = str(error).strip()
    last = text.splitlines()[-1] if text else ""
    if isinstance(error, MemoryError) or any(words in text for words in ("bad_alloc", "allocate", "out of memory")):
        return "not enough memory; choose smaller sizes"
    # After such an error, this process cannot use the GPU any more.
    if isinstance(error, mx.MXNetError) and "CUDA" in text:
        return "the GPU failed (%s); run the command again (a training with --resume); `doctor` tests the GPU" % last
    # MXNet prints the error of the operator. The exception does not have it.
    if isinstance(error, mx.MXNetError):
        return "MXNet failed (%s); see its message above" % last
    return "cannot start more threads; choose fewer workers" if "can't start new thread" in text else None
