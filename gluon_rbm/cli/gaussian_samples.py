"""What the command `sample` does with a Gaussian-Bernoulli RBM: images drawn by its chains, grey or in colour."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from gluon_rbm.backend.array_files import sha256
from gluon_rbm.backend.arrays import to_numpy
from gluon_rbm.backend.random import make_generator
from gluon_rbm.cli.recorded import Learned
from gluon_rbm.cli.results import Results
from gluon_rbm.errors import InputError
from gluon_rbm.evaluation import plots
from gluon_rbm.models.visible_units import GAUSSIAN
from gluon_rbm.sampling import gibbs
from gluon_rbm.training.run_folder import image_shape_of

if TYPE_CHECKING:
    from argparse import Namespace

__all__ = ["run"]

_SHOWN, _COLUMNS = 64, 8
_START, _SWEEPS = range(1, 3)  # purposes of keys, as of `sample`


def run(args: Namespace) -> None:
    """Draw images by chains from hidden units at coins; write the draws, and their means given the hidden units.

    Raises InputError for flags that are of binary models alone.
    """
    from gluon_rbm.models.image_features import read_gaussian  # loads MXNet

    _refuse(args)
    results = Results(args, "png", "json", "npz")
    parameters, features = read_gaussian(args.model)
    arguments = Learned.of(args.model).arguments
    sweeps = args.sweeps or int(arguments["k"] if arguments.get("chains") == "noise" else 1000)
    shape = image_shape_of(arguments, features.num_pixels)
    generator = make_generator([args.seed, _START])
    num_hidden = parameters.scaled.num_hidden
    coins = generator.integers(0, 2, (args.count, num_hidden)).astype(np.float32)
    chains = gibbs.run_chains(
        type(parameters.scaled)(*map(to_numpy, parameters.scaled)),
        hidden=coins,
        sweeps=sweeps,
        visible_units=GAUSSIAN,
        key=[args.seed, _SWEEPS],
        engine=args.engine,
    )
    host = type(parameters)(*map(to_numpy, parameters))
    arrays = {"samples": chains.visible_sample, "means": chains.visible_prob_1}
    arrays = {name: features.images(host.unscale(rows)) for name, rows in arrays.items()}
    shown = {"%s after %d sweeps from coins" % (name, sweeps): rows[:_SHOWN] for name, rows in arrays.items()}
    figures = {
        "num_images": args.count,
        "sweeps": sweeps,
        "model": {"num_pixels": math.prod(shape), "num_hidden": num_hidden, "sha256": sha256(host)},
    }
    results.write(None, figures, {"png": plots.grids(shown, shape, _COLUMNS)}, arrays)


def _refuse(args: Namespace) -> None:
    given = {
        "--class": args.classes,
        "--anneal": args.anneal is not None,
        "--temperatures": args.temperatures,
        "--chains": args.chains != "gibbs",
        "--animate": args.animate,
        "--classifier": args.classifier,
        "--start": args.start,
    }
    for flag, value in given.items():
        if value:
            raise InputError("%s is for binary models, and %s is a Gaussian one; leave it out" % (flag, args.model))
