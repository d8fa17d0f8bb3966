"""The command `classify`: which class each image has, by the exact class posterior of a machine with labels."""

import numpy as np

from gluon_rbm.backend.arrays import from_host
from gluon_rbm.cli import command
from gluon_rbm.data import datasets
from gluon_rbm.data.batches import iterate_batches
from gluon_rbm.errors import InputError
from gluon_rbm.evaluation import plots
from gluon_rbm.models import label_rbm

__all__ = ["ABOUT", "add_arguments", "run"]

ABOUT = "which class images have: the exact class posterior of a model that was trained with --labels"

_ROWS_AT_ONCE = 1000


def add_arguments(add):
    command.add_common(add, "classify")


def run(args):
    """Classify all images of --part, and count how often each class is taken for each."""
    results = command.Results(args, "png", "json", "npz")
    parameters, num_classes = command.load_model(args, labels=True)
    if not num_classes:
        raise InputError("%s is a model without labels; train one with --labels" % args.model)
    data = command.load_data(args, parameters.num_visible - num_classes)
    images, labels = datasets.split_of(data, args.part)
    if labels is None:
        raise InputError("%s has no labels to compare with; name a data set that has" % args.dataset)
    context = parameters.interaction_weight.context
    log_posterior = np.concatenate(
        [
            label_rbm.class_log_posterior(parameters, from_host(rows, context), num_classes).asnumpy()
            for rows in iterate_batches(images, data.maximum, _ROWS_AT_ONCE)
        ]
    )
    counts = np.zeros((num_classes, num_classes), int)
    np.add.at(counts, (labels, log_posterior.argmax(axis=1)), 1)
    figures = {**label_rbm.Classification.of(log_posterior, labels)._asdict(), "confusion": counts.tolist()}
    print(
        "%(num_images)d images: error %(error).4f +- %(standard_error).4f, log p(label | pixels) %(log_posterior).4f"
        % figures
    )
    title = "%s, %s: %.2f %% classified wrongly" % (args.dataset, args.part, 100 * figures["error"])
    pictures = {"png": plots.confusion(counts, title)}
    results.write(parameters, figures, pictures, {"log_posterior": log_posterior, "labels": labels})
