"""The command reconstruct: one pass up to the hidden layer, and down to the visible layer."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

from gluon_rbm.backend.arrays import from_host, to_numpy
from gluon_rbm.cli import inputs
from gluon_rbm.cli.arguments import at_least
from gluon_rbm.cli.results import Results
from gluon_rbm.evaluation import plots
from gluon_rbm.sampling import gibbs

if TYPE_CHECKING:
    from argparse import Namespace

    from gluon_rbm.backend.types import HostArray
    from gluon_rbm.cli.inputs import AddArgument

__all__ = ["ABOUT", "add_arguments", "run"]

logger = logging.getLogger(__name__)

ABOUT = "reconstruct images by one pass to the hidden layer and back"

_SHOWN = 64


def add_arguments(add: AddArgument) -> None:
    """Add the arguments of the command.

    Parameters
    ----------
    add
        The method add_argument of a parser.
    """
    inputs.add_common(add, "reconstruct")
    add("--count", type=at_least(1, int), help="number of images; at most 64 are shown (default: 64, or all)")


def run(args: Namespace) -> None:
    """Draw h from p(h | v) for images v, draw visible units from p(v | h), and write the results.

    The results are the images, the drawn visible units, and their probabilities.

    Parameters
    ----------
    args
        The parsed arguments.
    """
    results = Results(args, "png", "json", "npz")
    parameters = inputs.model_from(args)
    data = inputs.data_from(args, parameters.num_visible)
    images = inputs.images_from(args, data, inputs.count_from(args, data, _SHOWN))
    visible = from_host(images, parameters.interaction_weight.context)
    chains = gibbs.run_chains(parameters, visible=visible, key=[args.seed], engine=args.engine)
    samples, probabilities = to_numpy(chains.visible_sample), to_numpy(chains.visible_prob_1)
    figures = {
        "num_images": len(images),
        "mean_squared_error": float(np.square(images - probabilities).mean(dtype=np.float64)),
        "cross_entropy": float(_cross_entropy(images, probabilities).mean()),
    }
    logger.info(
        "mean squared error of a pixel %(mean_squared_error).5f, cross-entropy %(cross_entropy).2f nats per image",
        figures,
    )
    shown = {"images": images, "samples": samples, "probabilities": probabilities}
    picture = plots.grids({name: rows[:_SHOWN] for name, rows in shown.items()}, data.image_shape)
    results.write(parameters, figures, {"png": picture}, shown)


def _cross_entropy(images: HostArray, prob_1: HostArray) -> HostArray:
    """Return -sum_i [v_i log p_i + (1 - v_i) log(1 - p_i)] of each image in nats: float64 (n,)."""
    prob_1 = prob_1.astype(np.float64).clip(1e-12, 1 - 1e-12)  # a float32 probability may be 1
    return -(images * np.log(prob_1) + (1 - images) * np.log1p(-prob_1)).sum(axis=1)
