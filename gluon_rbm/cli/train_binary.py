"""The command lines of the two scripts."""

from __future__ import annotations

from typing import Sequence

from gluon_rbm.backend import heartbeat
from gluon_rbm.cli import options
from gluon_rbm.cli.command import exit_status
from gluon_rbm.training import binary
from gluon_rbm.training.loop import OnStep

__all__ = ["main"]


def main(argv: Sequence[str] | None, prog: str, api: str, on_step: Sequence[OnStep] = ()) -> int:
    """Train a binary RBM as a command line asks for.

    Parameters
    ----------
    argv : sequence of str, optional
        By default that of the process.
    prog : str
        What errors call the program.
    api : str
        "gluon" or "module".
    on_step : sequence of callable
        Further callbacks of each step.

    Returns
    -------
    int
        The exit status: as of `gluon_rbm.cli.command.exit_status`, or 4 where another worker has ended.
    """
    settings = options.parse(argv, prog)
    status = exit_status(prog, lambda: binary.train(settings, api, on_step))
    heartbeat.finish(status)
    return status
