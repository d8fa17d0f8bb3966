"""The command train-deep: train a deep belief network; each layer is a binary_rbm_gluon.py run."""

from __future__ import annotations

import argparse
import logging
import os
from typing import Any, Mapping, Sequence

import numpy as np

from gluon_rbm.backend import framework, logs
from gluon_rbm.backend.devices import choose_context
from gluon_rbm.backend.files import write_json, write_whole
from gluon_rbm.backend.framework import mx
from gluon_rbm.backend.random import make_generator
from gluon_rbm.backend.types import Arrays
from gluon_rbm.cli import options, recorded, train_binary
from gluon_rbm.cli.arguments import OneLineParser, at_least, path
from gluon_rbm.cli.inputs import AddArgument
from gluon_rbm.data import datasets
from gluon_rbm.data.batches import to_visible
from gluon_rbm.data.datasets import DataSet
from gluon_rbm.errors import InputError
from gluon_rbm.evaluation import classifier, plots
from gluon_rbm.models.binary_deep_belief import BinaryDeepBeliefNetwork, layer_folder
from gluon_rbm.models.parameters import Parameters
from gluon_rbm.sampling import deep_belief
from gluon_rbm.training import settings
from gluon_rbm.training.binary_settings import BinarySettings
from gluon_rbm.training.run_folder import check_same, has_checkpoint
from gluon_rbm.training.run_records import read_arguments

__all__ = ["ABOUT", "TAKES_OTHERS", "add_arguments", "completed", "run"]

logger = logging.getLogger(__name__)

ABOUT = "train a deep belief network, a stack of binary RBMs; also takes every flag of binary_rbm_gluon.py"
TAKES_OTHERS = True  # unknown flags go into args.others

_PROG = "python -m gluon_rbm train-deep"
_SHOWN = 64
# Arguments that differ between layers, or mean nothing for the whole network: deep.json does not
# record them.
_LAYERS_OWN = ("num_hidden", "below", "labels", "num_classes", "cuda_asked", "command", "others")
_LAYER_SEED, _SAMPLES, _UNTRAINED = range(1, 4)  # purposes of keys


def add_arguments(add: AddArgument) -> None:
    """Add the arguments of the command.

    Parameters
    ----------
    add
        The method add_argument of a parser.
    """
    add(
        "--layers",
        type=at_least(1, int),
        nargs="+",
        default=[500, 500, 2000],
        help="numbers of hidden units, from the bottom up",
    )
    add("--output-dir", type=path, default="deep", help="output folder, with a run folder layer-N for each layer")
    add("--resume", action="store_true", help="continue with the first unfinished layer")
    add("--count", type=at_least(1, int), default=_SHOWN, help="number of images to draw; at most 64 are shown")
    add("--sweeps", type=at_least(1, int), default=1000, help="Gibbs sweeps between the top two layers, to draw images")
    add(
        "--classify",
        action="store_true",
        help="measure the test error of a logistic regression on the features of each layer",
    )


def completed(argv: Sequence[str], prog: str) -> list[str]:
    """Complete a command line with --resume by the arguments that its network recorded.

    Parameters
    ----------
    argv
        The command line.
    prog
        The name of the program in messages.

    Returns
    -------
    list of str
        The recorded arguments, then `argv`, which takes precedence. Without --resume, or where
        nothing is recorded, `argv` alone.
    """
    parser = OneLineParser(prog=prog, add_help=False)
    add_arguments(parser.add_argument)
    args, _ = parser.parse_known_args(argv)
    arguments = read_arguments(args.output_dir, recorded.DEEP) if args.resume else {}
    if not arguments:
        return list(argv)
    flags = recorded.flags_of(BinarySettings, arguments)
    recorded.check_flags(os.path.join(args.output_dir, recorded.DEEP), flags, BinarySettings)
    own = ["--classify"] * bool(arguments.get("classify"))
    for name in ("layers", "count", "sweeps"):
        own += ["--" + name, *map(str, np.atleast_1d(arguments.get(name, [])).tolist())]
    return [*flags, *own, *argv]


@logs.unheard_lines_allowed()
def run(args: argparse.Namespace) -> None:
    """Train a deep belief network, draw images, and write pictures, arrays and JSON.

    Each layer is trained on the hidden probabilities of the layer below it.

    Parameters
    ----------
    args
        The parsed arguments; the flags of the trainer are in others.
    """
    training = _training_settings(args)
    _check_folder(args, training)
    data = datasets.load(training.dataset, training.data_dir, image_size=training.image_size)
    if args.classify and (data.train_labels is None or len(np.unique(data.train_labels)) < 2):
        reason = "have no labels" if data.train_labels is None else "to learn from are all of one class"
        raise InputError("images of %s %s; leave --classify out" % (training.dataset, reason))
    _record(args, training)
    for number, num_hidden in enumerate(args.layers, 1):
        logger.info("layer %d of %d:", number, len(args.layers))
        _train(args, training, number, num_hidden)
    context, _ = choose_context(training.cuda_asked, training.device_id)
    network = BinaryDeepBeliefNetwork.load(
        [layer_folder(args.output_dir, n + 1) for n in range(len(args.layers))], context
    )
    drawn = deep_belief.generate(network, args.count, args.sweeps, [training.seed, _SAMPLES], engine=training.engine)
    arrays = {"samples": drawn.visible_sample.asnumpy(), "probabilities": drawn.visible_prob_1.asnumpy()}
    figures: dict[str, Any] = {"pixels_on": float(arrays["samples"].mean(dtype=np.float64))}
    figures.update(_reconstruction(network, data))
    if args.classify:
        figures["logistic_regression"] = _worth(network, data, training.seed)
    _write(args, training, network, data, arrays, figures)


def _training_settings(args: argparse.Namespace) -> BinarySettings:
    """Read and check the flags of the trainer, before anything is trained."""
    given = options.parse(args.others, _PROG)
    if given.labels or given.below:
        raise InputError(
            "train-deep takes neither --labels nor --below: leave them out, and train a top layer with labels by "
            "binary_rbm_gluon.py --below"
        )
    return given


def _check_folder(args: argparse.Namespace, training: BinarySettings) -> None:
    """Raise InputError if the folder holds another network, or one and --resume was not given."""
    arguments = read_arguments(args.output_dir, recorded.DEEP)
    if not args.resume and (arguments or has_checkpoint(layer_folder(args.output_dir, 1))):
        raise InputError(
            "%s already holds a run: continue it with --resume, or choose another --output-dir" % args.output_dir
        )
    resumable = [*training.resumable(), *_LAYERS_OWN, "engine"]
    check_same(args.output_dir, arguments, {**settings.record(training), "layers": args.layers}, resumable)


def _record(args: argparse.Namespace, training: BinarySettings, **results: Any) -> None:
    """Write deep.json: the arguments, and at the end the results, too."""
    arguments = {**settings.record(training), **vars(args)}
    whole = {
        "arguments": {name: value for name, value in arguments.items() if name not in _LAYERS_OWN},
        "versions": framework.versions(),
        **results,
    }
    try:
        os.makedirs(args.output_dir, exist_ok=True)
    except OSError as error:
        raise InputError(
            "cannot create %s (%s); choose another --output-dir" % (args.output_dir, error.strerror)
        ) from error
    write_json(os.path.join(args.output_dir, recorded.DEEP), whole)


def _train(args: argparse.Namespace, training: BinarySettings, number: int, num_hidden: int) -> None:
    # A later flag overrides an earlier one: each layer has its own --num-hidden and --seed.
    seed = int(np.random.SeedSequence([training.seed, _LAYER_SEED, number]).generate_state(1)[0] >> 1)
    own = ["--num-hidden", num_hidden, "--seed", seed, "--output-dir", layer_folder(args.output_dir, number)]
    below = [layer_folder(args.output_dir, lower) for lower in range(1, number)]
    given = [
        *args.others,
        *map(str, own),
        *(["--below", *below] if below else []),
        *(["--resume"] if args.resume else []),
    ]
    status = train_binary.main(given, _PROG, "gluon")
    if status:  # the trainer has reported the error
        raise SystemExit(status)


def _reconstruction(network: BinaryDeepBeliefNetwork, data: DataSet) -> dict[str, float]:
    """Return the reconstruction error of test images, by probabilities up to the top and down."""
    images = to_visible(data.test_images, data.maximum)
    visible = mx.nd.array(images, ctx=network.layers[0].interaction_weight.context)
    error = np.square(network.reconstruct(visible).asnumpy() - images).mean(dtype=np.float64)
    logger.info("mean squared error of a pixel of test images, reconstructed from the top layer: %.5f", error)
    return {"mean_squared_error": float(error)}


def _worth(network: BinaryDeepBeliefNetwork, data: DataSet, seed: int) -> dict[str, dict[str, float]]:
    """Return the test error of logistic regression on pixels and on the features of each layer.

    The keys are the kinds of features. One kind is the top layer of a network with random weights.
    """

    def untrained(layer: Parameters, number: int) -> Parameters:
        noise = make_generator([seed, _UNTRAINED, number]).normal(scale=0.01, size=layer.interaction_weight.shape)
        return Parameters(
            *(mx.nd.array(array) for array in (np.zeros(layer.num_visible), np.zeros(layer.num_hidden), noise))
        )

    random = BinaryDeepBeliefNetwork([untrained(*pair) for pair in zip(network.layers, range(len(network.layers)))])
    sights = {
        "pixels": to_visible,
        **{"layer %d" % depth: BinaryDeepBeliefNetwork(network.layers[:depth]).features
           for depth in range(1, len(network.layers) + 1)},
        "top layer, untrained": random.features,
    }  # fmt: skip
    labels = data.train_labels
    assert labels is not None  # `run` checks this before it trains anything
    errors = {}
    for name, features in sights.items():
        train, test = (features(images, data.maximum) for images in (data.train_images, data.test_images))
        trained: Any = classifier.train_classifier(train, labels, "logistic")
        error = float((trained.predict(test) != data.test_labels).mean())
        errors[name] = {"error": error, "standard_error": float(np.sqrt(error * (1 - error) / len(test)))}
        said = name, 100 * error, 100 * errors[name]["standard_error"]
        logger.info("logistic regression on %s: test error %.2f +- %.2f %%", *said)
    return errors


def _write(
    args: argparse.Namespace,
    training: BinarySettings,
    network: BinaryDeepBeliefNetwork,
    data: DataSet,
    arrays: Arrays,
    figures: Mapping[str, Any],
) -> None:
    shown = {"%s after %d sweeps" % (name, args.sweeps): rows[:_SHOWN] for name, rows in arrays.items()}
    pictures = {
        "samples.png": plots.grids(shown, data.image_shape),
        "filters.png": plots.filters(network.filters(), data.image_shape),
    }
    for name, figure in pictures.items():
        with write_whole(os.path.join(args.output_dir, name)) as temporary:
            plots.save(figure, temporary)
    with write_whole(os.path.join(args.output_dir, "samples.npz")) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, **arrays)
    _record(args, training, results=figures)
    logger.info("Done: %s", args.output_dir)
