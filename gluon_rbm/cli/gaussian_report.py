"""The likelihood report of a Gaussian-Bernoulli RBM: log densities, and bits per dimension."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gluon_rbm.backend import framework
from gluon_rbm.backend.array_files import sha256
from gluon_rbm.backend.arrays import to_numpy
from gluon_rbm.cli import inputs
from gluon_rbm.cli.report import finite, log_z_of
from gluon_rbm.cli.results import model_record
from gluon_rbm.data import splits
from gluon_rbm.errors import InputError
from gluon_rbm.likelihood import densities
from gluon_rbm.likelihood.scores import LogLikelihood
from gluon_rbm.models.visible_units import GAUSSIAN

if TYPE_CHECKING:
    from argparse import Namespace

__all__ = ["gaussian_report"]

_NOISE = 0  # purpose of the random key (seed, purpose) for the noise of pixels


def gaussian_report(args: Namespace) -> dict[str, Any]:
    """Compute the likelihood report of a Gaussian-Bernoulli RBM.

    Parameters
    ----------
    args
        The parsed arguments of `gluon_rbm.cli.likelihood`.

    Returns
    -------
    dict
        As in `gluon_rbm.cli.report.likelihood_report`, with a log density and bits per dimension.

    Raises
    ------
    InputError
        A flag is for binary models only, or the RBM stands on a network, which gives images no
        density.
    """
    from gluon_rbm.models.image_features import read_gaussian  # this import loads MXNet

    _refuse(args)
    parameters, features = read_gaussian(args.model)
    if features.code:
        raise InputError(
            "%s models the code of a network, so there is a density of codes but not of images; use frechet instead"
            % args.model
        )
    data = inputs.data_from(args, features.num_pixels)
    images, _ = splits.split_of(data, args.part)
    pixels = densities.dequantized(images, data.maximum, [args.binarize_seed, _NOISE])
    score = LogLikelihood.of(
        densities.unnormalized_log_densities(parameters, features.standardization, pixels), binary=False
    )
    # Features have mean 0.
    base_bias = np.zeros(parameters.scaled.num_visible) if args.base_rate == "data" else None
    method, log_z = log_z_of(args, parameters.scaled, GAUSSIAN, base_bias=base_bias, start=args.reverse_start)
    mean = score.mean - log_z["estimate"]
    return {
        "model": {**model_record(parameters.scaled, args.model), "sha256": sha256(map(to_numpy, parameters))},
        "data": {
            "data_set": args.dataset,
            "part": args.part,
            "num_images": score.num_images,
            "sha256": sha256([images]),
            "binarize": "noise",
            "binarize_seed": args.binarize_seed,
            "binary": False,
        },
        "method": method,
        "log_z": log_z,
        "log_likelihood": {
            "kind": "log density",
            "mean": finite(mean),
            "standard_error": finite(score.standard_error),
            "pessimistic": None if log_z["high"] is None else finite(score.mean - log_z["high"]),
            "optimistic": None if log_z["low"] is None else finite(score.mean - log_z["low"]),
            "bits_per_dimension": finite(densities.bits_per_dimension(mean, pixels.shape[1], data.maximum)),
        },
        "pseudo_log_likelihood": None,
        "versions": framework.versions(),
    }


def _refuse(args: Namespace) -> None:
    given = {
        "--binarize": args.binarize,
        "--path": args.path != "none",
        "--reverse-start data": args.reverse_start == "data",
    }
    inputs.refuse_of_gaussian(args.model, given)
