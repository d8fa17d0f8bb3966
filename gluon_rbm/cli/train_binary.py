"""The command line of the two training scripts."""

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
    """Train a binary RBM with the settings of a command line.

    Parameters
    ----------
    argv
        The command line; None: that of the process.
    prog
        The name of the program in messages.
    api
        The API of MXNet to train by: "gluon" or "module".
    on_step
        Further callbacks, called after each step.

    Returns
    -------
    int
        The exit status, as in `gluon_rbm.cli.command.exit_status`; or 4: another worker has ended.
    """

    def train() -> None:
        given = recorded.resumed(sys.argv[1:] if argv is None else argv, prog, api, BinarySettings)
        settings = options.parse(given, prog)
        from gluon_rbm.training import binary

        binary.train(settings, api, on_step)

    status = exit_status(prog, train)
    heartbeat.finish(status)
    return status
