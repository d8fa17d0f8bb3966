"""The command classify: classify images by the exact class posterior of an RBM with labels."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

from gluon_rbm.backend.arrays import from_host, to_numpy
from gluon_rbm.cli import inputs
from gluon_rbm.cli.recorded import Learned
from gluon_rbm.cli.results import Results
from gluon_rbm.data import splits
from gluon_rbm.data.batches import iterate_batches
from gluon_rbm.errors import InputError
from gluon_rbm.evaluation import plots
from gluon_rbm.models import label_rbm
from gluon_rbm.training.run_records import class_names_of

if TYPE_CHECKING:
    from argparse import Namespace

    from gluon_rbm.cli.inputs import AddArgument

__all__ = ["ABOUT", "add_arguments", "run"]

logger = logging.getLogger(__name__)

ABOUT = "classify images by the exact class posterior of an RBM trained with --labels"

_ROWS_AT_ONCE = 1000


def add_arguments(add: AddArgument) -> None:
    """Add the arguments of the command.

    Parameters
    ----------
    add
        The method add_argument of a parser.
    """
    inputs.add_common(add, "classify")


def run(args: Namespace) -> None:
    """Classify all images of --part, and write the error and the confusion matrix.

    Parameters
    ----------
    args
        The parsed arguments.
    """
    results = Results(args, "png", "json", "npz")
    parameters, num_classes = inputs.joint_model_from(args)
    if not num_classes:
        raise InputError("%s has no labels; train a model with --labels" % args.model)
    data = inputs.data_from(args, parameters.num_visible - num_classes)
    images, labels = splits.split_of(data, args.part)
    if labels is None:
        raise InputError("%s has no labels to compare with; choose a data set with labels" % args.dataset)
    context = parameters.interaction_weight.context
    log_posterior = np.concatenate(
        [
            to_numpy(label_rbm.class_log_posterior(parameters, from_host(rows, context), num_classes))
            for rows in iterate_batches(images, data.maximum, _ROWS_AT_ONCE)
        ]
    )
    counts = np.zeros((num_classes, num_classes), int)
    np.add.at(counts, (labels, log_posterior.argmax(axis=1)), 1)
    figures = {**label_rbm.Classification.of(log_posterior, labels)._asdict(), "confusion": counts.tolist()}
    logger.info(
        "%(num_images)d images: error %(error).4f +- %(standard_error).4f, log p(label | pixels) %(log_posterior).4f",
        figures,
    )
    title = "%s, %s: %.2f %% classified wrongly" % (args.dataset, args.part, 100 * figures["error"])
    names = class_names_of(Learned.of(args.model).arguments, num_classes)
    pictures = {"png": plots.confusion(counts, title, names)}
    results.write(parameters, figures, pictures, {"log_posterior": log_posterior, "labels": labels})
