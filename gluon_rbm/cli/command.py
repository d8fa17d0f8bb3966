"""How a command line runs: what goes wrong becomes one line and an exit status."""

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
    """Run a command, a module with `add_arguments` and `run`, with arguments of its own, as texts."""
    parser = OneLineParser(prog=module.__name__)
    module.add_arguments(parser.add_argument)
    module.run(parser.parse_args(argv))


def exit_status(prog: str, action: Callable[[], object]) -> int:
    """Call action() and return the process's exit status: 0; 2: bad input; 3: divergence; 130, 143: interrupted;
    141: nobody reads the output.

    The package's messages appear on the console (`gluon_rbm.backend.logs`).
    """
    logs.configure()
    try:
        with interruption.handled(), warnings.catch_warnings():
            warnings.showwarning = _tell_of(warnings.showwarning)
            action()
    except InputError as error:
        logger.error("%s: error: %s", prog, error)
        return error.exit_status
    except ImportError as error:  # what is missing, and how to install it
        logger.error("%s: error: %s", prog, error)
        return InputError.exit_status
    except OSError as error:
        return logs.report_system_error(prog, error)
    except (MemoryError, RuntimeError) as error:  # MXNet's are among them
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
    """What shows a training that went astray as a line, without the place in the source; `show` shows others."""

    def tell(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if category.__name__ == "ConvergenceWarning":  # scikit-learn's, which takes a second to import
            logger.warning("warning: %s", one_line(str(message)))
        else:
            show(message, category, *where, **more)

    return tell


def _what_is_lacking(error: Exception) -> str | None:
    """One line for an error of the system's or MXNet's; None for one of this program."""
    text = str(error).strip()
    last = text.splitlines()[-1] if text else ""
    if isinstance(error, MemoryError) or any(words in text for words in ("bad_alloc", "allocate", "out of memory")):
        return "not enough memory; choose smaller sizes"
    if isinstance(error, mx.MXNetError) and "CUDA" in text:  # which serves this process no more
        return "the GPU failed (%s); start again, with --resume a training; `doctor` tests the GPU" % last
    if isinstance(error, mx.MXNetError):  # it hands on nothing of an operator's own error but this, and prints that
        return "MXNet failed (%s); see above" % last
    return "no more threads can be had; choose fewer workers" if "can't start new thread" in text else None
