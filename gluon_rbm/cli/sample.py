"""The command sample: draw images by chains of an RBM."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any, Mapping, NamedTuple, Sequence

import numpy as np

from gluon_rbm.backend.arrays import to_numpy
from gluon_rbm.cli import gaussian_samples, inputs
from gluon_rbm.cli.arguments import at_least, share
from gluon_rbm.cli.recorded import Learned
from gluon_rbm.cli.results import Results
from gluon_rbm.data import sequences, splits
from gluon_rbm.data.statistics import base_visible_bias
from gluon_rbm.errors import InputError, one_line
from gluon_rbm.evaluation import blank, classifier, plots
from gluon_rbm.models.files import is_gaussian
from gluon_rbm.sampling.chains import (
    STARTS,
    initial_visible,
    parallel_tempering,
    path_tempering,
    sample_chains,
    simulated_annealing,
)
from gluon_rbm.sampling.classes import hold_classes
from gluon_rbm.training.run_records import class_names_of, image_shape_of, softmax_groups_of

if TYPE_CHECKING:
    from argparse import Namespace

    from matplotlib.animation import FuncAnimation
    from matplotlib.figure import Figure

    from gluon_rbm.backend.types import HostArray, SoftmaxGroups
    from gluon_rbm.cli.inputs import AddArgument
    from gluon_rbm.data.datasets import DataSet
    from gluon_rbm.evaluation.classifier import IndependentClassifier
    from gluon_rbm.models.parameters import Parameters
    from gluon_rbm.sampling.chains import Tempered
    from gluon_rbm.sampling.gibbs import Chains

__all__ = ["ABOUT", "add_arguments", "run"]

logger = logging.getLogger(__name__)

ABOUT = "draw images from zeros, noise or images; by annealing or tempering; of a chosen class; as an animation"

_SHOWN, _COLUMNS = 64, 8
_IN_A_ROW = 10  # if several classes are drawn: most images of each, in a row
_FRAMES = 60  # of an animation
_LEAST_SWAP_RATE = 0.01  # below it, temperatures or a path do not help
_START, _SWEEPS = range(1, 3)  # purposes of keys


def add_arguments(add: AddArgument) -> None:
    """Add the arguments of the command.

    Parameters
    ----------
    add
        The method add_argument of a parser.
    """
    inputs.add_common(add, "sample")
    add(
        "--start",
        choices=STARTS,
        help="start of the chains; zeros: all pixels off; random: each pixel on with probability 1/2; base: each "
        "pixel on as often as in the training images; images: images of --part (default: zeros; of a run with "
        "--chains noise: random)",
    )
    add("--sweeps", type=at_least(1, int), help="Gibbs sweeps (default: 1000; of a run with --chains noise: its --k)")
    add("--count", type=at_least(1, int), default=_SHOWN, help="number of chains; at most 64 are shown")
    add(
        "--class",
        type=_class,
        nargs="+",
        metavar="CLASS",
        dest="classes",
        help="class to draw, or several in turn, by number or name; needs a model trained with --labels",
    )
    add(
        "--anneal",
        type=share,
        nargs="?",
        const=0.0,
        metavar="BETA",
        help="simulated annealing: start at this inverse temperature (0 if not given), and cool down to 1",
    )
    add(
        "--temperatures",
        type=at_least(2, int),
        metavar="N",
        help="parallel tempering: exchange states with chains at N - 1 higher temperatures",
    )
    inputs.add_chains(add)
    add(
        "--animate",
        action="store_true",
        help="also write an animation, PATH.gif; give only one of --animate, --anneal, --temperatures and --chains",
    )
    add(
        "--classifier",
        "--judge",
        action="store_true",
        help="classify the drawn images (their pixel probabilities) by a classifier trained on the data set, and "
        "count the classes",
    )


def _class(text: str) -> int | str:
    """Convert the text of a class: to an int if it is a number, else to a name."""
    return int(text) if text.isdecimal() and text == str(int(text)) else text


def run(args: Namespace) -> None:
    """Run chains, and write the samples and probabilities of their last state.

    The data set is loaded only if the chains' start, their path or the classifier needs it.

    Parameters
    ----------
    args
        The parsed arguments.
    """
    ways = {"--animate": args.animate, "--anneal": args.anneal is not None, "--temperatures": args.temperatures}
    ways["--chains %s" % args.chains] = args.chains != "gibbs"
    if sum(map(bool, ways.values())) > 1:
        raise InputError("%s cannot be combined; give one of them" % ", ".join(name for name in ways if ways[name]))
    if is_gaussian(args.model):
        gaussian_samples.run(args)
        return
    arguments = Learned.of(args.model).arguments
    _settle(args, arguments)
    alphabet = arguments.get("alphabet", "")
    endings = ["png", "json", "npz", *(["gif"] if args.animate else []), *(["fasta"] if alphabet else [])]
    results = Results(args, *endings)
    parameters, num_classes = inputs.joint_model_from(args)
    num_pixels = parameters.num_visible - num_classes
    names = class_names_of(arguments, num_classes)
    classes = None if args.classes is None else np.resize(_numbers(args.classes, names), args.count)
    needs_data = args.classifier or args.start in ("base", "images") or args.chains == "matched"
    data = inputs.data_from(args, num_pixels) if needs_data else None
    trained = classifier.train_independent_classifier(data) if data and args.classifier else None
    groups = softmax_groups_of(arguments, parameters.num_visible, num_classes)
    chains, moments, figures = _chains(args, parameters, num_classes, data, classes, groups)
    arrays = {"samples": chains.visible_sample, "probabilities": chains.visible_prob_1}
    arrays = {name: to_numpy(array)[:, :num_pixels] for name, array in arrays.items()}
    figures["num_images"] = args.count
    figures["blank_images"] = blank.num_blank(arrays["samples"])
    figures["pixels_on"] = float(arrays["samples"].mean(dtype=np.float64))
    if trained:
        figures.update(_classified(trained, arrays["probabilities"], classes))
    shape = data.image_shape if data else image_shape_of(arguments, num_pixels)
    layout = _Layout.of(args.count, classes, names)
    title = "after %d sweeps from %s" % (args.sweeps, args.start if args.anneal is None else "beta %g" % args.anneal)
    pictures: dict[str, Any] = {"png": layout.grids(arrays, shape, title)}
    if args.animate:
        pictures["gif"] = layout.animation(moments, shape, "from %s" % args.start)
    if alphabet:
        letters = arrays["samples"].reshape(args.count, *shape).argmax(axis=2)
        pictures["fasta"] = sequences.to_text(letters, alphabet)
    results.write(parameters, figures, pictures, arrays)
    if len(layout.chains) < args.count:
        logger.info("the picture shows %d of the %d images; the .npz file has all", len(layout.chains), args.count)
    blank.tell(arrays["samples"])


def _settle(args: Namespace, arguments: Mapping[str, Any]) -> None:
    """Fill in the start and the number of sweeps.

    An RBM that was trained with --chains noise learned to draw in k sweeps from noise. It does so
    here, too.
    """
    from_noise = arguments.get("chains") == "noise"
    args.start = args.start or ("random" if from_noise else "zeros")
    args.sweeps = args.sweeps or (int(arguments["k"]) if from_noise else 1000)


def _numbers(classes: Sequence[int | str], names: Sequence[str]) -> list[int]:
    """Return the number of each class, given by its name or number."""
    if not names:
        raise InputError("the model has no labels, so no class can be chosen; train one with --labels")
    unknown = [given for given in classes if str(given) not in names and given not in range(len(names))]
    if unknown:
        numbers = "0 to %d" % (len(names) - 1)
        known = numbers if names[0] == "0" else "%s (or %s)" % (", ".join(names), numbers)
        raise InputError("there is no class %s; the model's classes are %s" % (unknown[0], known))
    return [names.index(str(given)) if str(given) in names else int(given) for given in classes]


class _Layout(NamedTuple):
    """Which chains a picture shows, and where."""

    chains: HostArray  #: the numbers of the chains, row after row
    columns: int
    row_labels: Sequence[str]  #: the class of each row, or empty
    title: str  #: of the whole picture

    @classmethod
    def of(cls, count: int, classes: HostArray | None, names: Sequence[str]) -> _Layout:
        """Make a layout: a row for each class, or a square where there is one class or none.

        `classes` holds the class of each chain, (count,), or is None.
        """
        if classes is None:
            return cls(np.arange(min(count, _SHOWN)), _COLUMNS, [], "")
        asked, names = list(dict.fromkeys(classes.tolist())), [one_line(name) for name in names]
        if len(asked) == 1:
            return cls(np.arange(min(count, _SHOWN)), _COLUMNS, [], "drawn as class %s" % names[asked[0]])
        chains = [np.flatnonzero(classes == number) for number in asked]
        columns = min(_IN_A_ROW, *map(len, chains))
        shown = np.concatenate([numbers[:columns] for numbers in chains])
        return cls(shown, columns, [names[number] for number in asked], "drawn as the class beside each row")

    def grids(self, arrays: Mapping[str, HostArray], shape: tuple[int, ...], title: str) -> Figure:
        """Plot samples and probabilities side by side."""
        shown = {"%s %s" % (name, title): rows[self.chains] for name, rows in arrays.items()}
        title = "; ".join(filter(None, (self.title, blank.note(arrays["samples"]))))
        return plots.grids(shown, shape, self.columns, title=title, row_labels=self.row_labels)

    def animation(self, moments: Sequence[tuple[int, HostArray]], shape: tuple[int, ...], title: str) -> FuncAnimation:
        """Animate the chains; `moments` holds pairs (sweeps, visible units of all chains)."""
        sweeps, states = zip(*moments)
        frames = [state[self.chains, : math.prod(shape)] for state in states]
        title = title if not self.title else "%s\n%s" % (self.title, title)
        return plots.animation(frames, shape, sweeps, title, self.columns, row_labels=self.row_labels)


def _chains(
    args: Namespace,
    parameters: Parameters,
    num_classes: int,
    data: DataSet | None,
    classes: HostArray | None,
    groups: SoftmaxGroups,
) -> tuple[Chains, list[tuple[int, HostArray]], dict[str, Any]]:
    """Run the chains.

    Return the last state, the pairs (sweeps, probabilities) of an animation, and figures for JSON.
    """
    images = bias = None
    if data and args.start == "images":
        available = len(splits.split_of(data, args.part)[0])
        images = _with_label_units(inputs.images_from(args, data, min(args.count, available)), num_classes)
    if data and args.start == "base":
        bias = _with_label_units(base_visible_bias(data)[None], num_classes)[0]
    visible = initial_visible(
        parameters, args.start, args.count, [args.seed, _START], images=images, base_visible_bias=bias
    )
    settings = {
        "sweeps": args.sweeps,
        "key": [args.seed, _SWEEPS],
        "base_visible_bias": bias,
        "visible_units": groups,
        "engine": args.engine,
    }
    if classes is not None:
        num_pixels = parameters.num_visible - num_classes
        visible, held = hold_classes(visible[:, :num_pixels], classes, num_classes)
        settings.update(held)
    if args.anneal is not None:
        return simulated_annealing(parameters, visible, lowest_beta=args.anneal, **settings), [], {}
    if args.temperatures:
        return _tempered(parallel_tempering(parameters, visible, num_temperatures=args.temperatures, **settings))
    if args.chains != "gibbs":
        path = inputs.path_from(args, args.chains, parameters, data, num_classes)
        return _tempered(*path_tempering(parameters, visible, path=path, every=args.sweeps, **settings))
    if not args.animate:
        return sample_chains(parameters, visible, **settings), [], {}
    every = max(1, args.sweeps // _FRAMES)
    moments = [(0, to_numpy(visible))]
    for chains in sample_chains(parameters, visible, every=every, **settings):
        moments.append((min(moments[-1][0] + every, args.sweeps), to_numpy(chains.visible_prob_1)))
    return chains, moments, {}


def _tempered(found: Tempered) -> tuple[Chains, list[tuple[int, HostArray]], dict[str, Any]]:
    logger.info("swap rates: %s", " ".join("%.3f" % rate for rate in found.swap_rates))
    if (found.swap_rates < _LEAST_SWAP_RATE).any():  # false for NaN
        logger.warning(
            "warning: a swap rate is below %s, so exchanges hardly help the chains to mix; give more --temperatures, "
            "or a path made for this RBM",
            _LEAST_SWAP_RATE,
        )
    return found.chains, [], {"swap_rates": [None if np.isnan(rate) else float(rate) for rate in found.swap_rates]}


def _with_label_units(rows: HostArray, num_classes: int) -> HostArray:
    """Append label units, which are 0, to rows of pixels."""
    return np.pad(rows, [(0, 0), (0, num_classes)])


def _classified(trained: IndependentClassifier, images: HostArray, classes: HostArray | None) -> dict[str, Any]:
    """Return figures for JSON: the classes of images, which are probabilities of pixels."""
    fractions = trained.class_fractions(images)
    logger.info("shares of the classes of the drawn pixel probabilities, by %s:", trained.description)
    logger.info("classes %s", " ".join("%.3f" % fraction for fraction in fractions))
    figures: dict[str, Any] = {"class_shares": fractions.tolist(), "classified": "probabilities", **trained.record()}
    if classes is not None:
        fraction, error = trained.fraction_as_asked(images, classes)
        figures["as_asked"] = {"share": fraction, "standard_error": error}
        logger.info(
            "%.4f +- %.4f have the requested class, by this classifier; other classifiers may differ by 0.02",
            fraction,
            error,
        )
    return figures
