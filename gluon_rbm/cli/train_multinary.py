"""The command `train-multinary`: a multinary, convolutional or deep network, trained by backpropagation."""

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
    """Give the command's parser its flags; add : its `add_argument`."""
    options.add_fields(add, NetworkSettings)


def completed(argv: Sequence[str], prog: str) -> list[str]:
    """The command line, with --resume, after what its run recorded."""
    return recorded.resumed(argv, prog, "multinary", NetworkSettings)


def run(args: argparse.Namespace) -> None:
    """Train, and make the pictures of the run."""
    from gluon_rbm.training import network

    settings = options.settings_of(NetworkSettings, args)
    network.train(replace(settings, **settings.layers))
