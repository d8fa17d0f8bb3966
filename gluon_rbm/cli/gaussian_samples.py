"""The command sample for a Gaussian-Bernoulli RBM: draw grey or colour images by chains."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gluon_rbm.backend.array_files import sha256
from gluon_rbm.backend.arrays import to_numpy
from gluon_rbm.cli import inputs
from gluon_rbm.cli.recorded import Learned
from gluon_rbm.cli.results import Results
from gluon_rbm.evaluation import plots
from gluon_rbm.models.gaussian_rbm import GaussianParameters
from gluon_rbm.sampling.gaussian_images import draw_images
from gluon_rbm.training.run_records import image_shape_of

if TYPE_CHECKING:
    from argparse import Namespace

__all__ = ["run"]

_SHOWN, _COLUMNS = 64, 8
_START, _SWEEPS = range(1, 3)  # purposes of keys, as in gluon_rbm.cli.sample


def run(args: Namespace) -> None:
    """Draw images by chains, and write them and their means given the hidden units.

    The chains start from hidden units that are on with probability 1/2.

    Parameters
    ----------
    args
        The parsed arguments of `gluon_rbm.cli.sample`.

    Raises
    ------
    InputError
        A flag is for binary models only.
    """
    from gluon_rbm.models.image_features import read_gaussian  # this import loads MXNet

    _refuse(args)
    results = Results(args, "png", "json", "npz")
    parameters, features = read_gaussian(args.model)
    arguments = Learned.of(args.model).arguments
    sweeps = args.sweeps or int(arguments["k"] if arguments.get("chains") == "noise" else 1000)
    shape = image_shape_of(arguments, features.num_pixels)
    drawn, means = draw_images(
        GaussianParameters(*map(to_numpy, parameters)),
        features,
        args.count,
        sweeps,
        start_key=[args.seed, _START],
        key=[args.seed, _SWEEPS],
        engine=args.engine,
    )
    arrays = {"samples": drawn, "means": means}
    shown = {"%s after %d sweeps from random states" % (name, sweeps): rows[:_SHOWN] for name, rows in arrays.items()}
    figures = {
        "num_images": args.count,
        "sweeps": sweeps,
        "model": {
            "num_pixels": math.prod(shape),
            "num_hidden": parameters.scaled.num_hidden,
            "sha256": sha256(map(to_numpy, parameters)),
        },
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
    inputs.refuse_of_gaussian(args.model, given)
