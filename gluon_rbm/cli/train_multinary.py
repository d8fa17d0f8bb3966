"""The command train-multinary: train a stack of multinary RBMs by backpropagation."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Sequence

from gluon_rbm.cli import options, recorded
from gluon_rbm.cli.inputs import AddArgument
from gluon_rbm.training.network_settings import PRESETS, NetworkSettings

__all__ = ["ABOUT", "PRESETS", "add_arguments", "completed", "run"]

ABOUT = "train a stack of multinary RBMs, convolutional and dense, by backpropagation"


def add_arguments(add: AddArgument) -> None:
    """Add the arguments of the command.

    Parameters
    ----------
    add
        The method add_argument of a parser.
    """
    options.add_fields(add, NetworkSettings)


def completed(argv: Sequence[str], prog: str) -> list[str]:
    """Complete a command line with --resume by the arguments that its run recorded.

    Parameters
    ----------
    argv, prog
        As in `gluon_rbm.cli.recorded.resumed`.

    Returns
    -------
    list of str
        The command line.
    """
    return recorded.resumed(argv, prog, "multinary", NetworkSettings)


def run(args: argparse.Namespace) -> None:
    """Train, and make the pictures of the run.

    Parameters
    ----------
    args
        The parsed arguments.
    """
    from gluon_rbm.training import network

    settings = options.settings_of(NetworkSettings, args)
    network.train(replace(settings, **settings.layers))
