"""The command weights: pictures of an RBM's parameters, and which hidden units do nothing."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Mapping

import numpy as np

from gluon_rbm.backend.arrays import asarray_like, from_host, to_numpy
from gluon_rbm.cli import inputs
from gluon_rbm.cli.arguments import at_least
from gluon_rbm.cli.recorded import Learned
from gluon_rbm.cli.results import Results
from gluon_rbm.data import splits
from gluon_rbm.data.batches import iterate_batches
from gluon_rbm.evaluation import dead_units, logos, plots
from gluon_rbm.models.energy import hidden_probability
from gluon_rbm.models.parameters import Parameters
from gluon_rbm.models.visible_units import zero_sum_gauge

if TYPE_CHECKING:
    from argparse import Namespace

    from matplotlib.figure import Figure

    from gluon_rbm.backend.types import HostArray
    from gluon_rbm.cli.inputs import AddArgument
    from gluon_rbm.data.datasets import DataSet

__all__ = ["ABOUT", "add_arguments", "run"]

logger = logging.getLogger(__name__)

ABOUT = "plot filters, biases, histograms and hidden activity; find dead units"

_LOGOS = 12


def add_arguments(add: AddArgument) -> None:
    """Add the arguments of the command.

    Parameters
    ----------
    add
        The method add_argument of a parser.
    """
    inputs.add_common(add, "weights")
    add("--side", type=at_least(1, int), default=10, help="show up to SIDE x SIDE filters")


def run(args: Namespace) -> None:
    """Plot the parameters, and the activity of the hidden units over the images of --part.

    A hidden unit is dead if the standard deviation of p(h = 1 | v) over the images is below 0.01.

    Parameters
    ----------
    args
        The parsed arguments.
    """
    alphabet = Learned.of(args.model).arguments.get("alphabet", "")
    results = Results(args, "png", "units.png", "json", "npz", *(["logos.png"] if alphabet else []))
    parameters, num_classes = inputs.joint_model_from(args)
    num_pixels = parameters.num_visible - num_classes
    data = inputs.data_from(args, num_pixels)
    parameters = _of_zero_sum(parameters, data)
    mean, deviation = _activity(parameters, splits.with_label_units(data) if num_classes else data, args.part)
    dead = deviation < dead_units.LEAST_DEVIATION
    arrays = {name: to_numpy(array) for name, array in parameters._asdict().items()}
    weight = arrays["interaction_weight"]
    figures = {
        "dead_units": np.flatnonzero(dead).tolist(),
        "num_dead": int(dead.sum()),
        "mean_hidden_probability": float(mean.mean()),
        **{name: _summary(array) for name, array in arrays.items()},
    }
    logger.info(
        "%d of %d hidden units are dead; mean probability that a hidden unit is on: %.3f",
        dead.sum(),
        len(dead),
        mean.mean(),
    )
    pictures = {
        "png": plots.filters(weight[:num_pixels], data.image_shape, args.side),
        "units.png": _units(arrays, mean, dead, data),
    }
    if alphabet:
        pictures["logos.png"] = logos.weight_logos(weight, data.image_shape, alphabet, _LOGOS)
    activity = {"hidden_mean": mean, "hidden_standard_deviation": deviation, "dead": dead}
    results.write(parameters, figures, pictures, {**arrays, **activity})


def _of_zero_sum(parameters: Parameters, data: DataSet) -> Parameters:
    """Return the same RBM; if it is of sequences, with weights that sum to 0 at each place.

    Only such weights can be compared.
    """
    if not data.softmax_groups:
        return parameters
    arrays = zero_sum_gauge(parameters, data.softmax_groups)
    return Parameters(*(asarray_like(array, parameters.interaction_weight) for array in arrays))


def _activity(parameters: Parameters, data: DataSet, part: str) -> tuple[HostArray, HostArray]:
    """Mean and standard deviation over images of p(h = 1 | v): float64 (num_hidden,) each."""
    total: Any = 0
    squares: Any = 0
    images = splits.split_of(data, part)[0]
    for batch in iterate_batches(images, data.maximum, 1000):
        batch = from_host(batch, parameters.interaction_weight.context)
        probability = to_numpy(hidden_probability(parameters, batch)).astype(np.float64)
        total, squares = total + probability.sum(axis=0), squares + np.square(probability).sum(axis=0)
    mean = total / len(images)
    return mean, np.sqrt(np.maximum(squares / len(images) - mean**2, 0))


def _summary(array: HostArray) -> dict[str, float]:
    functions = {"lowest": np.min, "mean": np.mean, "standard_deviation": np.std, "highest": np.max}
    return {name: float(function(array.astype(np.float64))) for name, function in functions.items()}


def _units(arrays: Mapping[str, HostArray], mean: HostArray, dead: HostArray, data: DataSet) -> Figure:
    figure, axes = plots.panels(2, 2)
    plots.visible_bias(arrays["visible_layer_bias"][: data.num_visible], data.image_shape, axes[0])
    plots.hidden_activity(mean, dead, axes[1])
    plots.histograms({"weights": arrays["interaction_weight"]}, "weights", "weight", log=True, axes=axes[2])
    biases = {"visible": arrays["visible_layer_bias"], "hidden": arrays["hidden_layer_bias"]}
    plots.histograms(biases, "biases", "bias", log=False, axes=axes[3])
    return figure
