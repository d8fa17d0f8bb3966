"""The command lines of the two scripts."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Sequence

from gluon_rbm.backend import heartbeat
from gluon_rbm.cli import options, recorded
from gluon_rbm.cli.command import exit_status
from gluon_rbm.training.binary_settings import BinarySettings

if TYPE_CHECKING:
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

    def train() -> None:
        given = recorded.resumed(sys.argv[1:] if argv is None else argv, prog, api, BinarySettings)
        settings = options.parse(given, prog)
        from gluon_rbm.training import binary

        binary.train(settings, api, on_step)

    status = exit_status(prog, train)
    heartbeat.finish(status)
    return status
