"""The command `reconstruct`: one pass up and down from images."""

import numpy as np

from gluon_rbm.backend.arrays import from_host
from gluon_rbm.cli import command
from gluon_rbm.cli.arguments import at_least
from gluon_rbm.evaluation import plots
from gluon_rbm.sampling import gibbs

__all__ = ["ABOUT", "add_arguments", "run"]

ABOUT = "one pass up and down: images, and what the hidden layer makes of them"

_SHOWN = 64


def add_arguments(add):
    command.add_common(add, "reconstruct")
    add("--count", type=at_least(1, int), default=_SHOWN, help="number of images; at most 64 are shown")


def run(args):
    """Draw h from p(h | v) of images v, then a visible layer from p(v | h), and write all three."""
    results = command.Results(args, "png", "json", "npz")
    parameters = command.load_model(args)
    data = command.load_data(args, parameters.num_visible)
    images = command.pixels(args, data, args.count)
    chains = gibbs.run_chains(
        parameters, from_host(images, parameters.interaction_weight.context), key=[args.seed], engine=args.engine
    )
    samples, probabilities = chains.visible_sample.asnumpy(), chains.visible_prob_1.asnumpy()
    figures = {
        "num_images": len(images),
        "mean_squared_error": float(np.square(images - probabilities).mean(dtype=np.float64)),
        "cross_entropy": float(_cross_entropy(images, probabilities).mean()),
    }
    print("mean squared error of a pixel %(mean_squared_error).5f, cross-entropy %(cross_entropy).2f nats per image"
          % figures)  # fmt: skip
    shown = {"images": images, "samples": samples, "probabilities": probabilities}
    picture = plots.grids({name: rows[:_SHOWN] for name, rows in shown.items()}, data.image_shape)
    results.write(parameters, figures, {"png": picture}, shown)


def _cross_entropy(images, prob_1):
    """-sum_i v_i log p_i + (1 - v_i) log(1 - p_i) of each image, in nats: float64 (n,)."""
    prob_1 = prob_1.astype(np.float64).clip(1e-12, 1 - 1e-12)  # a float32 probability may be 1
    return -(images * np.log(prob_1) + (1 - images) * np.log1p(-prob_1)).sum(axis=1)
