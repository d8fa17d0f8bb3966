"""The command train-gaussian: train a Gaussian-Bernoulli RBM of grey or colour images."""

from __future__ import annotations

import argparse
from typing import Sequence

from gluon_rbm.cli import options, recorded
from gluon_rbm.cli.inputs import AddArgument
from gluon_rbm.training.gaussian_settings import PRESETS, GaussianSettings

__all__ = ["ABOUT", "PRESETS", "add_arguments", "completed", "run"]

ABOUT = "train a Gaussian-Bernoulli RBM on grey or colour images"


def add_arguments(add: AddArgument) -> None:
    """Add the arguments of the command.

    Parameters
    ----------
    add
        The method add_argument of a parser.
    """
    options.add_fields(add, GaussianSettings)


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
    return recorded.resumed(argv, prog, "gaussian", GaussianSettings)


def run(args: argparse.Namespace) -> None:
    """Train, and make the pictures of the run.

    Parameters
    ----------
    args
        The parsed arguments.
    """
    from gluon_rbm.training import gaussian

    gaussian.train(options.settings_of(GaussianSettings, args))
