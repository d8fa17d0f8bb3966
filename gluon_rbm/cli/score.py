"""The command score: free energies of the data's images and of others, and signs of overfitting."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Mapping, Sequence

import numpy as np

from gluon_rbm.backend.arrays import from_host, to_numpy
from gluon_rbm.backend.random import make_generator
from gluon_rbm.cli import inputs
from gluon_rbm.cli.arguments import at_least, path
from gluon_rbm.cli.results import Results
from gluon_rbm.data import datasets, image_files, splits
from gluon_rbm.data.batches import BINARIZE, iterate_batches, to_visible
from gluon_rbm.data.sequences import one_hot
from gluon_rbm.errors import InputError
from gluon_rbm.evaluation import plots
from gluon_rbm.models.energy import free_energy
from gluon_rbm.models.files import folder_of
from gluon_rbm.training.run_records import read_metrics

if TYPE_CHECKING:
    from argparse import Namespace

    from matplotlib.figure import Figure

    from gluon_rbm.backend.types import HostArray
    from gluon_rbm.cli.inputs import AddArgument
    from gluon_rbm.data.datasets import DataSet
    from gluon_rbm.models.parameters import Parameters

__all__ = ["ABOUT", "add_arguments", "run"]

logger = logging.getLogger(__name__)

ABOUT = "compare free energies of the data set and of noise, letters and other images; check for overfitting"

_LEGIBLE = 8  # pixels: smaller images show no letters
_NOISE, _SHUFFLED, _PIXELS = range(1, 4)  # purposes of keys


def add_arguments(add: AddArgument) -> None:
    """Add the arguments of the command.

    Parameters
    ----------
    add
        The method add_argument of a parser.
    """
    inputs.add_common(add, "score")
    add(
        "--against",
        type=path,
        action="append",
        default=[],
        metavar="IMAGES",
        help="other images to compare with: a data set, a picture, a folder of pictures, or a .npy file; repeatable",
    )
    add("--resize", action="store_true", help="resize images of --against of another size to that of the model")
    add("--count", type=at_least(2, int), help="number of images of the data set (default: all of --part)")
    add(
        "--binarize",
        choices=BINARIZE,
        help="binarization of the pixels; none: leave them as they are; sample: draw them from their grey values; "
        "threshold: cut them at 0.5; by default as in the run",
    )


def run(args: Namespace) -> None:
    """Compute free energies, and compare sets of images with the data set by ROC curve and AUC.

    Parameters
    ----------
    args
        The parsed arguments.
    """
    results = Results(args, "png", "json", "npz")
    parameters = inputs.model_from(args)
    data = inputs.data_from(args, parameters.num_visible)
    name, by_epoch = _gap_by_epoch(read_metrics(folder_of(args.model)))
    energies = {name: _free_energies(args, parameters, images) for name, images in _sets(args, data).items()}
    own = next(iter(energies))
    curves = {name: _roc(energies[own], others) for name, others in energies.items() if name != own}
    train = _free_energies(args, parameters, _training_images(args, data))
    summaries = {name: _summary(values) for name, values in {**energies, "training images": train}.items()}
    figures = {
        "free_energy": summaries,
        "auc": {name: auc for name, (_, _, auc) in curves.items()},
        "gap": _last_gap(name, by_epoch) if by_epoch else _gap(args, summaries["training images"], summaries[own]),
    }
    _tell(figures, own)
    picture = _picture(energies, curves, name, by_epoch)
    results.write(parameters, figures, {"png": picture}, _named(energies, train))


def _sets(args: Namespace, data: DataSet) -> dict[str, HostArray]:
    """Return name -> images, float32 (n, num_visible); the first set is of the data set itself."""
    count = args.count or len(splits.split_of(data, args.part)[0])
    own = inputs.images_from(args, data, count)
    noise, shuffle = (make_generator([args.seed, purpose]) for purpose in (_NOISE, _SHUFFLED))
    sets = {"%s, %s" % (args.dataset, args.part): own}
    if data.alphabet:
        units = own.reshape(len(own), *data.image_shape)
        letters = noise.integers(data.image_shape[1], size=units.shape[:2])
        order = shuffle.random(units.shape[:2]).argsort(axis=1)[..., None]
        sets["letters at random"] = to_visible(one_hot(letters, data.alphabet), 1)
        sets["shuffled places"] = np.take_along_axis(units, order, axis=1).reshape(own.shape)
    else:
        sets["uniform noise"] = noise.random(own.shape, dtype=np.float32)
        sets["shuffled pixels"] = np.take_along_axis(own, shuffle.random(own.shape).argsort(axis=1), axis=1)
        if min(data.image_shape[:2]) >= _LEGIBLE:
            sets["letters"] = plots.letters(data.image_shape)
    for name in args.against:
        sets[name] = _others(args, name, data.image_shape)
    return sets


def _others(args: Namespace, name: str, image_shape: tuple[int, ...]) -> HostArray:
    if name not in datasets.NAMES:
        return image_files.read_images(name, image_shape, args.resize)
    data = datasets.load(name, args.data_dir if name in (args.dataset, "image-folder") else None)
    if data.image_shape != image_shape and not args.resize:
        raise InputError(
            "images of %s have the shape %s, but %s is needed; give --resize" % (name, data.image_shape, image_shape)
        )
    images = data.test_images.astype(np.float32) / data.maximum
    return image_files.resized(images, image_shape).reshape((len(images), -1))


def _training_images(args: Namespace, data: DataSet) -> HostArray:
    """Return the training images without those that the run, or --part held-out, holds out."""
    held_out = data.num_held_out
    if args.part == "held-out":
        held_out = len(splits.split_of(data, args.part)[0])
    data, _ = splits.hold_out(data, held_out)
    return to_visible(data.train_images, data.maximum)


def _free_energies(args: Namespace, parameters: Parameters, images: HostArray) -> HostArray:
    """Return the free energy F of each image in nats: float64 (n,), NumPy."""
    energies = []
    for batch in iterate_batches(images, 1, 1000, key=[args.seed, _PIXELS], binarize=args.binarize):
        batch = from_host(batch, parameters.interaction_weight.context)
        energies.append(to_numpy(free_energy(parameters, batch)))
    return np.concatenate(energies)


def _roc(own: HostArray, others: HostArray) -> tuple[HostArray, HostArray, float]:
    """Return the false and true positive rates of a ROC curve, and the area under it.

    An image counts as positive, that is, as like the data, if its F is below the threshold.
    """
    from sklearn.metrics import roc_auc_score, roc_curve

    is_own = np.repeat([1, 0], [len(own), len(others)])
    score = -np.concatenate([own, others])
    false_positive_rate, true_positive_rate, _ = roc_curve(is_own, score)
    return false_positive_rate, true_positive_rate, float(roc_auc_score(is_own, score))


def _summary(values: HostArray) -> dict[str, Any]:
    low, median, high = np.percentile(values, [5, 50, 95])
    return {
        "num_images": len(values),
        "mean": float(values.mean()),
        "standard_error": float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None,
        "percentiles_5_50_95": [float(low), float(median), float(high)],
    }


def _gap(args: Namespace, train: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the mean F of images not trained on, minus the mean F of training images.

    Their mean log p differ by as much, since log Z cancels. `train` and `own` are summaries.
    """
    if args.part == "train":
        return None
    errors = [summary["standard_error"] for summary in (train, own)]
    return {
        "name": "%s minus training images, computed here" % args.part,
        "mean": own["mean"] - train["mean"],
        "standard_error": None if None in errors else float(np.hypot(*errors)),
    }


def _last_gap(name: str, by_epoch: Sequence[tuple[float, float, float]]) -> dict[str, Any]:
    """Return the gap of the last epoch, where the plotted curve ends."""
    epoch, mean, error = by_epoch[-1]
    return {
        "name": "%s minus training images, as the run monitored them, epoch %d (metrics.csv)" % (name, epoch),
        "mean": mean,
        "standard_error": error,
    }


def _tell(figures: Mapping[str, Any], own: str) -> None:
    for name, summary in figures["free_energy"].items():
        auc = "" if name not in figures["auc"] else ", AUC %.4f against %s" % (figures["auc"][name], own)
        logger.info(
            "%-20s free energy %.2f on average (%d images)%s", name, summary["mean"], summary["num_images"], auc
        )
    if figures["gap"]:
        error = figures["gap"]["standard_error"]
        logger.info(
            "free-energy gap, %s: %.2f +- %s nats per image",
            figures["gap"]["name"],
            figures["gap"]["mean"],
            "unknown" if error is None else "%.2f" % error,
        )


def _picture(
    energies: Mapping[str, HostArray],
    curves: Mapping[str, tuple[HostArray, HostArray, float]],
    name: str,
    by_epoch: Sequence[tuple[float, float, float]],
) -> Figure:
    figure, axes = plots.panels(3 if by_epoch else 2)
    plots.histograms(energies, "free energy of images", "F (nats)", axes=axes[0])
    plots.roc_curves(curves, axes=axes[1])
    if by_epoch:
        plots.free_energy_gap(*zip(*by_epoch), name=name, axes=axes[2])
    return figure


def _gap_by_epoch(metrics: Sequence[Mapping[str, float]]) -> tuple[str, list[tuple[float, float, float]]]:
    """Return the part of the images that a run monitored, and (epoch, gap, standard error).

    The gap is the mean log-likelihood of training images minus that of the part. It equals the gap
    of free energies, since log Z cancels.
    """
    column = "held_out" if any("held_out_log_likelihood" in row for row in metrics) else "test"
    return column.replace("_", "-"), [
        (
            row["epoch"],
            row["train_log_likelihood"] - row[column + "_log_likelihood"],
            float(np.hypot(row["train_standard_error"], row[column + "_standard_error"])),
        )
        for row in metrics
        if "train_log_likelihood" in row and column + "_log_likelihood" in row
    ]


def _named(energies: Mapping[str, HostArray], train: HostArray) -> dict[str, HostArray]:
    """Name the sets by numbers: the names of arrays in a .npz file cannot be any text."""
    sets = {**energies, "training images": train}
    return {"set_%d" % index: values for index, values in enumerate(sets.values())}
