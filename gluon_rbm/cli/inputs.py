"""The arguments that commands share, and the model, data set and images that these name."""

from __future__ import annotations

import dataclasses
import logging
import math
from typing import TYPE_CHECKING, Any, Callable, Mapping

import numpy as np

from gluon_rbm.backend.devices import choose_context
from gluon_rbm.backend.random import make_generator
from gluon_rbm.cli import options, recorded
from gluon_rbm.cli.arguments import at_least, path
from gluon_rbm.cli.results import add_output
from gluon_rbm.data import datasets, splits
from gluon_rbm.data.batches import iterate_batches, to_visible
from gluon_rbm.data.statistics import base_visible_bias
from gluon_rbm.errors import InputError
from gluon_rbm.likelihood import snapshots
from gluon_rbm.models import label_rbm
from gluon_rbm.models.files import read_model
from gluon_rbm.sampling import gibbs, matching

if TYPE_CHECKING:
    from argparse import Namespace

    from gluon_rbm.backend.types import HostArray
    from gluon_rbm.models.parameters import Parameters
    from gluon_rbm.sampling import trajectory

__all__ = [
    "PATHS",
    "AddArgument",
    "add_chains",
    "add_common",
    "add_data",
    "add_device",
    "add_model",
    "add_noise",
    "data_from",
    "count_from",
    "images_from",
    "joint_model_from",
    "model_from",
    "path_from",
    "refuse_of_gaussian",
]

logger = logging.getLogger(__name__)

PATHS = ("trajectory", "matched")  #: kinds of paths to an RBM

_ROWS_OF_MEANS = 10000  # most training images to compute the means from
_CHAINS_OF_PATH = 200  # chains of each RBM on a path of matched means

AddArgument = Callable[..., Any]  #: the method add_argument of a parser


# --- Arguments ------------------------------------------------------------------------------------


def add_common(add: AddArgument, output: str) -> None:
    """Add the arguments that all commands with pictures have.

    Parameters
    ----------
    add
        The method add_argument of a parser.
    output
        The default name of the command's files.
    """
    add_model(add)
    add_data(add)
    add_noise(add)
    add_device(add)
    add_output(add, output)


def add_model(add: AddArgument) -> None:
    """Add the argument MODEL.

    Parameters
    ----------
    add
        As in `add_common`.
    """
    add("model", type=path, metavar="MODEL", help="run folder, or rbm.params file")


def add_data(add: AddArgument) -> None:
    """Add the flags of the data set, and of the part of its images.

    Parameters
    ----------
    add
        As in `add_common`.
    """
    options.add_dataset_of_run(add)
    add(
        "--part",
        choices=splits.SPLITS,
        default="test",
        help="part of the data set; held-out: the training images that the run held out (--held-out), or else the "
        "last 10,000",
    )


def add_device(add: AddArgument) -> None:
    """Add the flags of the device to compute on.

    Parameters
    ----------
    add
        As in `add_common`.
    """
    add("--cuda", action="store_true", default=None, help="compute on the GPU")
    add("--no-cuda", action="store_false", dest="cuda", default=None, help="compute on the CPU")
    add("--device-id", type=at_least(0, int), default=0, help="GPU device id")


def add_noise(add: AddArgument) -> None:
    """Add the flags of the random seed, and of the engine that runs the chains.

    Parameters
    ----------
    add
        As in `add_common`.
    """
    add("--seed", type=at_least(0, int), default=0, help="random seed; the same seed gives the same result")
    add("--engine", choices=gibbs.ENGINES, default="auto", help="engine that runs the Gibbs chains")


# --- What the arguments name ----------------------------------------------------------------------


def joint_model_from(args: Namespace) -> tuple[Parameters, int]:
    """Read MODEL, an RBM with or without labels.

    Parameters
    ----------
    args
        The parsed arguments of `add_model` and `add_device`.

    Returns
    -------
    parameters : Parameters
        The parameters, on the device of the arguments.
    num_classes : int
        The number of label units, which are the last visible units; 0: the model has no labels.
    """
    context, _ = choose_context(args.cuda, args.device_id)
    parameters, num_classes = read_model(args.model)
    return parameters.as_in_context(context), num_classes


def model_from(args: Namespace) -> Parameters:
    """Read MODEL, an RBM without labels.

    Parameters
    ----------
    args
        As in `joint_model_from`.

    Returns
    -------
    Parameters
        The parameters, on the device of the arguments.

    Raises
    ------
    InputError
        The model has labels.
    """
    parameters, num_classes = joint_model_from(args)
    if num_classes:
        raise InputError(
            "%s has labels, which this command does not support; sample, weights and classify do" % args.model
        )
    return parameters


def refuse_of_gaussian(model: str, given: Mapping[str, Any]) -> None:
    """Refuse flags of binary models for a Gaussian-Bernoulli RBM.

    Parameters
    ----------
    model
        The path of the model, for the message.
    given
        A mapping flag -> value, false if the flag was not given.

    Raises
    ------
    InputError
        One of the flags was given.
    """
    for flag, value in given.items():
        if value:
            raise InputError("%s is for binary models, but %s is Gaussian; leave the flag out" % (flag, model))


def add_chains(add: AddArgument) -> None:
    """Add the flag of the kind of chains.

    Parameters
    ----------
    add
        As in `add_common`.
    """
    add(
        "--chains",
        choices=("gibbs", *PATHS),
        default="gibbs",
        help="gibbs: plain Gibbs chains; trajectory: exchange states with chains of the snapshots of a training with "
        "--chains trajectory; matched: exchange states with chains of RBMs of weaker weights, whose units are on as "
        "often as in the training images",
    )


def path_from(
    args: Namespace, kind: str, parameters: Parameters, data: datasets.DataSet | None, num_classes: int = 0
) -> trajectory.Path:
    """Return a path of RBMs to the RBM of MODEL.

    Parameters
    ----------
    args
        The parsed arguments; model, seed and engine are used.
    kind
        One of `PATHS`: the snapshots of the training, which are read from MODEL, or RBMs of
        matched means, which are computed.
    parameters
        The RBM.
    data
        The data set; only matched means need it.
    num_classes
        The number of label units of the RBM.

    Returns
    -------
    Path
        The path, on the device of `parameters`.
    """
    if kind == "trajectory":
        return snapshots.read(args.model).checked(parameters).in_context(parameters.interaction_weight.context)
    assert data is not None
    if num_classes:
        data = splits.with_label_units(data)
    logger.info("computing a path of RBMs with the same means; this may take minutes")
    key = [args.seed, *b"matched"]
    rows = next(iterate_batches(data.train_images, data.maximum, _ROWS_OF_MEANS, key=key, binarize="sample"))
    means = matching.Means.of(parameters, base_visible_bias(data), rows)
    settings = {"visible_units": data.softmax_groups, "engine": args.engine}
    if num_classes:
        settings["visible_units"] = label_rbm.softmax_groups(parameters.num_visible, num_classes)
    return matching.matched_path(parameters, means, _CHAINS_OF_PATH, key=key, **settings)


def data_from(args: Namespace, num_pixels: int) -> datasets.DataSet:
    """Load the data set of the arguments; by default, the data set that the model learned.

    Parameters
    ----------
    args
        The parsed arguments of `add_model` and `add_data`. Defaults of the data set are filled in.
    num_pixels
        The number of pixels that the model's images have.

    Returns
    -------
    DataSet
        The data set.

    Raises
    ------
    InputError
        The images have another number of pixels (checked before they are loaded if the number is
        known by then), or the model learned no images but the hidden layer of an RBM below it.
    """
    is_given = args.dataset is not None
    learned = recorded.settle(args, args.model)
    if learned.arguments.get("below") and not is_given:
        raise InputError(
            "%s was trained on the hidden probabilities of the layer below, not on images; give the lowest layer as "
            "MODEL" % learned.run
        )
    shape = datasets.known_shape(args.dataset, args.image_size)
    if shape is not None:
        _check_pixels(args, math.prod(shape), num_pixels, is_given or bool(learned.arguments))
    data = datasets.load(args.dataset, args.data_dir, image_size=args.image_size)
    _check_pixels(args, data.num_visible, num_pixels, True)
    learned.warn_of_others(data)
    return dataclasses.replace(data, num_held_out=learned.held_out_of(args.dataset))


def _check_pixels(args: Namespace, found: int, num_pixels: int, is_known: bool) -> None:
    if found == num_pixels:
        return
    if not is_known:
        raise InputError(
            "%s has %d visible units, but images of %s have %d pixels, and there is no record of its training; give "
            "the data set with --dataset" % (args.model, num_pixels, args.dataset, found)
        )
    raise InputError(
        "images of %s have %d pixels, but the model has %d visible units; give the data set that it was trained on"
        % (args.dataset, found, num_pixels)
    )


def count_from(args: Namespace, data: datasets.DataSet, default: int) -> int:
    """Return the number of images to use.

    Parameters
    ----------
    args
        The parsed arguments, with count and part.
    data
        The data set.
    default
        The number without --count.

    Returns
    -------
    int
        The value of --count, or else the default, at most the number of images in --part.
    """
    return args.count or min(default, len(splits.split_of(data, args.part)[0]))


def images_from(args: Namespace, data: datasets.DataSet, count: int) -> HostArray:
    """Choose images of --part at random.

    Parameters
    ----------
    args
        The parsed arguments, with part and seed.
    data
        The data set.
    count
        The number of images.

    Returns
    -------
    float32 (count, num_visible)
        Images in [0, 1], in the order of the data set.

    Raises
    ------
    InputError
        The part has fewer images.
    """
    images, _ = splits.split_of(data, args.part)
    if count > len(images):
        raise InputError(
            "%s has %d images in part %s, not %d; give a smaller --count"
            % (args.dataset, len(images), args.part, count)
        )
    rows = np.sort(make_generator([args.seed, 0]).choice(len(images), count, replace=False))
    return to_visible(images[rows], data.maximum)
