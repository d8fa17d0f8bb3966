"""The command `sample`: what an RBM draws by itself."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from gluon_rbm.backend.arrays import to_numpy
from gluon_rbm.cli import inputs
from gluon_rbm.cli.arguments import at_least, share
from gluon_rbm.cli.results import Results
from gluon_rbm.data import datasets
from gluon_rbm.data.statistics import base_visible_bias
from gluon_rbm.errors import InputError
from gluon_rbm.evaluation import classifier, plots
from gluon_rbm.models import label_rbm
from gluon_rbm.sampling.chains import STARTS, initial_visible, parallel_tempering, sample_chains, simulated_annealing
from gluon_rbm.sampling.classes import hold_classes

if TYPE_CHECKING:
    from argparse import Namespace

    from gluon_rbm.backend.types import HostArray
    from gluon_rbm.cli.inputs import AddArgument
    from gluon_rbm.evaluation.classifier import IndependentClassifier

__all__ = ["ABOUT", "add_arguments", "run"]

logger = logging.getLogger(__name__)

ABOUT = "draw images: from nothing, noise or images; annealed, tempered, of a chosen class, moving"

_SHOWN = 64
_FRAMES = 60  # of a moving picture
_START, _SWEEPS = range(1, 3)  # purposes of keys


def add_arguments(add: AddArgument) -> None:
    inputs.add_common(add, "sample")
    add(
        "--start",
        choices=STARTS,
        default="zeros",
        help="all pixels off, fair coins, each pixel on as often as in the training images, or images of --part",
    )
    add("--sweeps", type=at_least(1, int), default=1000, help="Gibbs sweeps")
    add("--count", type=at_least(1, int), default=_SHOWN, help="number of chains; at most 64 are shown")
    add(
        "--class",
        type=at_least(0, int),
        nargs="+",
        metavar="K",
        dest="classes",
        help="the class to draw, or several in turn: of a model that was trained with --labels",
    )
    add(
        "--anneal",
        type=share,
        nargs="?",
        const=0.0,
        metavar="BETA",
        help="start hot, at this inverse temperature (0, if not given), and cool down to 1 (simulated annealing)",
    )
    add(
        "--temperatures",
        type=at_least(2, int),
        metavar="N",
        help="exchange states with chains at N - 1 higher temperatures (parallel tempering)",
    )
    add("--animate", action="store_true", help="make a moving picture, too: PATH.gif")
    add(
        "--classifier",
        "--judge",
        action="store_true",
        help="have a classifier, trained on real images only, say which classes are drawn, and how often",
    )


def run(args: Namespace) -> None:
    """Run chains, and write samples and probabilities of their last state."""
    ways = {"--animate": args.animate, "--anneal": args.anneal is not None, "--temperatures": args.temperatures}
    if sum(map(bool, ways.values())) > 1:
        raise InputError("%s exclude each other; give one of them" % ", ".join(name for name in ways if ways[name]))
    results = Results(args, "png", "json", "npz", *(["gif"] if args.animate else []))
    parameters, num_classes = inputs.joint_model_from(args)
    num_pixels = parameters.num_visible - num_classes
    needs_data = args.classifier or args.start in ("base", "images")
    data = inputs.data_from(args, num_pixels) if needs_data else None
    shape = data.image_shape if data else datasets.guess_shape(num_pixels)
    trained = classifier.train_independent_classifier(data) if args.classifier else None
    classes = None if args.classes is None else np.resize(args.classes, args.count)
    chains, moments, figures = _chains(args, parameters, num_classes, data, classes)
    arrays = {"samples": chains.visible_sample, "probabilities": chains.visible_prob_1}
    arrays = {name: to_numpy(array)[:, :num_pixels] for name, array in arrays.items()}
    figures["pixels_on"] = float(arrays["samples"].mean(dtype=np.float64))
    if trained:
        figures.update(_classified(trained, arrays["probabilities"], classes))
    title = "after %d sweeps from %s" % (args.sweeps, args.start)
    shown = {"%s %s" % (name, title): rows[:_SHOWN] for name, rows in arrays.items()}
    pictures = {"png": plots.grids(shown, shape)}
    if args.animate:
        sweeps, frames = zip(*((sweep, rows[:_SHOWN, :num_pixels]) for sweep, rows in moments))
        pictures["gif"] = plots.animation(frames, shape, sweeps, "from %s" % args.start)
    results.write(parameters, figures, pictures, arrays)


def _chains(args, parameters, num_classes, data, classes):
    """The chains at their end; (sweeps, probabilities) on the way, of a moving picture; figures of the way."""
    images = bias = None
    if args.start == "images":
        available = len(datasets.split_of(data, args.part)[0])
        images = _with_label_units(inputs.images_from(args, data, min(args.count, available)), num_classes)
    if args.start == "base":
        bias = _with_label_units(base_visible_bias(data)[None], num_classes)[0]
    visible = initial_visible(
        parameters, args.start, args.count, [args.seed, _START], images=images, base_visible_bias=bias
    )
    settings = {
        "sweeps": args.sweeps,
        "key": [args.seed, _SWEEPS],
        "base_visible_bias": bias,
        "softmax_group": label_rbm.softmax_group(parameters.num_visible, num_classes),
        "engine": args.engine,
    }
    if classes is not None:
        num_pixels = parameters.num_visible - num_classes
        visible, held = hold_classes(visible[:, :num_pixels], classes, num_classes)
        settings.update(held)
    if args.anneal is not None:
        return simulated_annealing(parameters, visible, lowest_beta=args.anneal, **settings), [], {}
    if args.temperatures:
        chains, rates = parallel_tempering(parameters, visible, num_temperatures=args.temperatures, **settings)
        logger.info("swap rates: %s", " ".join("%.3f" % rate for rate in rates))
        return chains, [], {"swap_rates": [None if np.isnan(rate) else float(rate) for rate in rates]}
    if not args.animate:
        return sample_chains(parameters, visible, **settings), [], {}
    every = max(1, args.sweeps // _FRAMES)
    moments = [(0, to_numpy(visible))]
    for chains in sample_chains(parameters, visible, every=every, **settings):
        moments.append((min(moments[-1][0] + every, args.sweeps), to_numpy(chains.visible_prob_1)))
    return chains, moments, {}


def _with_label_units(rows: HostArray, num_classes: int) -> HostArray:
    """Rows of pixels with label units of zeros beside them."""
    return np.pad(rows, [(0, 0), (0, num_classes)])


def _classified(trained: IndependentClassifier, images: HostArray, classes: HostArray | None) -> dict[str, Any]:
    """What JSON says of the classes that are drawn."""
    fractions = trained.class_fractions(images)
    logger.info("classes, by the classifier: %s", " ".join("%.3f" % fraction for fraction in fractions))
    figures: dict[str, Any] = {"class_shares": fractions.tolist(), **trained.record()}
    if classes is not None:
        fraction, error = trained.fraction_as_asked(images, classes)
        figures["as_asked"] = {"share": fraction, "standard_error": error}
        logger.info(
            "%.4f +- %.4f carry the class asked for; of real images the classifier gets %.4f right",
            fraction,
            error,
            trained.accuracy,
        )
    return figures
