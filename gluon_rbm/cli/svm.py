"""The command svm: test errors of support vector machines on a network's features and on pixels."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, Callable, Mapping

import numpy as np

from gluon_rbm.backend.array_files import sha256
from gluon_rbm.backend.arrays import to_numpy
from gluon_rbm.backend.devices import choose_context
from gluon_rbm.backend.framework import mx
from gluon_rbm.backend.random import make_generator
from gluon_rbm.cli import inputs, options, recorded
from gluon_rbm.cli.arguments import at_least, path
from gluon_rbm.cli.results import Results, add_output
from gluon_rbm.data import datasets
from gluon_rbm.data.batches import to_visible
from gluon_rbm.errors import InputError
from gluon_rbm.evaluation import classifier, support_vectors

if TYPE_CHECKING:
    from argparse import Namespace

    from gluon_rbm.backend.types import HostArray
    from gluon_rbm.cli.inputs import AddArgument
    from gluon_rbm.data.datasets import DataSet

__all__ = ["ABOUT", "add_arguments", "run"]

logger = logging.getLogger(__name__)

ABOUT = "compare test errors of support vector machines on the features of a network and on pixels"

_KERNELS = tuple(support_vectors.GRIDS)
Features = Callable[[Any], Any]  # from images to features, NumPy (n, num_features)

_TRAIN_IMAGES, _HELD_OUT, _UNTRAINED, _COMPONENTS = range(4)  # purposes of keys (seed, purpose)
_COLUMNS = "%-10s %8s %-6s %5s %5s %9s  %-16s  %s"


def add_arguments(add: AddArgument) -> None:
    """Add the arguments of the command.

    Parameters
    ----------
    add
        The method add_argument of a parser.
    """
    add(
        "model",
        type=path,
        metavar="MODEL",
        nargs="?",
        help="run folder of train-multinary, or its file; without it, pixels only",
    )
    options.add_dataset_of_run(add)
    add(
        "--kernels",
        nargs="+",
        choices=list(support_vectors.GRIDS),
        default=list(support_vectors.GRIDS),
        help="kernels of the support vector machines",
    )
    add(
        "--one-vs-rest",
        action="store_true",
        help="one support vector machine for each class against the rest, not for each pair of classes",
    )
    add("--train-images", type=at_least(2, int), metavar="N", help="train on N training images only")
    add(
        "--pool",
        type=at_least(1, int),
        default=1,
        metavar="SIDE",
        help="average the top convolutional layer over squares of SIDE x SIDE places; 1: use every place",
    )
    add(
        "--components",
        type=at_least(0, int),
        default=0,
        metavar="N",
        help="train on the first N principal components, whitened, of all features, including pixels; 0: on all "
        "features",
    )
    add(
        "--root",
        action="store_true",
        help="take square roots of all features, including pixels, so that small values weigh more",
    )
    add("--mirror", action="store_true", help="also train on the mirror image of each training image")
    add(
        "--sampled",
        action="store_true",
        help="use draws of the units instead of their means; binary units are then 0 or 1",
    )
    add(
        "--baselines",
        action="store_true",
        default=True,
        help="also evaluate pixels, and a network with initial weights (default)",
    )
    add(
        "--no-baselines",
        action="store_false",
        dest="baselines",
        default=True,
        help="evaluate the network's features only",
    )
    add(
        "--batch-size",
        type=at_least(1, int),
        help="images per batch when features are computed (default: up to 500, fewer for large layers)",
    )
    add("--threads", type=at_least(1, int), default=1, help="number of settings of C and gamma to try in parallel")
    add("--seed", type=at_least(0, int), default=0, help="random seed; the same seed gives the same result")
    inputs.add_device(add)
    add_output(add, "svm")


def run(args: Namespace) -> None:
    """Classify the same images by each kind of features and each kernel, and print a table.

    Parameters
    ----------
    args
        The parsed arguments.
    """
    results = Results(args, "json", "npz")
    data, rows, split = _data(args)
    kinds, network = _kinds(args, data)
    logger.info("%s: %d training images, %d test images", data.name, len(rows), len(data.test_images))
    logger.info(_COLUMNS, "features", "number", "kernel", "C", "gamma", "held-out", "test error", "gain over pixels")
    table: list[dict[str, Any]] = []
    wrong: dict[tuple[str, str], HostArray] = {}
    for kind, features in kinds.items():
        for kernel, figures in _evaluate(args, features, data, rows, split).items():
            wrong[kind, kernel] = figures.pop("wrong")
            table.append({"features": kind, "kernel": kernel, **figures, **_less(wrong, kind, kernel)})
            logger.info("%s", _line(table[-1]))
    figures = {
        "one_vs_rest": args.one_vs_rest,
        "root": args.root,
        "mirror": args.mirror,
        "num_train_images": len(rows),
        "num_test_images": len(data.test_images),
        "machines": table,
    }
    arrays = {"wrong_%s_%s" % names: values for names, values in wrong.items()}
    results.write(None, {"network": network, **figures}, {}, arrays)


def _data(args: Namespace) -> tuple[DataSet, HostArray, tuple[HostArray, HostArray]]:
    """Return the data set, the rows of the training images to learn from, and their split.

    The split has two arrays of places in the rows: to learn from and to choose settings on.
    """
    learned = recorded.settle(args, args.model)
    data = datasets.load(args.dataset, args.data_dir, image_size=args.image_size)
    learned.warn_of_others(data)
    if data.train_labels is None:
        raise InputError("%s has no labels to learn; choose a data set with labels" % data.name)
    rows, count = np.arange(len(data.train_images)), args.train_images
    if count and count > len(rows):
        raise InputError("%s has %d training images; give a smaller --train-images" % (data.name, len(rows)))
    if count:
        rows = np.sort(make_generator([args.seed, _TRAIN_IMAGES]).choice(rows, count, replace=False))
    if len(np.unique(data.train_labels[rows])) < 2:
        raise InputError("the training images of %s are all of one class; at least two classes are needed" % data.name)
    return data, rows, support_vectors.split_held_out(data.train_labels[rows], make_generator([args.seed, _HELD_OUT]))


def _kinds(args: Namespace, data: DataSet) -> tuple[dict[str, Features], dict[str, Any] | None]:
    """Return kind -> function from images to features, and the network's record for the report.

    The first kind is pixels, if they are asked for.
    """
    from gluon_rbm.models import network_features, networks

    kinds: dict[str, Features] = {}
    record = None
    if not args.model and (args.pool > 1 or args.sampled or not args.baselines):
        raise InputError("--pool, --sampled and --no-baselines need a network; give its run folder as MODEL")
    if args.baselines or not args.model:
        kinds["pixels"] = lambda images: to_visible(images, data.maximum)
    if args.model:
        context, _ = choose_context(args.cuda, args.device_id)
        trained, description = networks.read(args.model, context)
        # Raises an InputError if the images do not fit the network.
        network_features.to_values(data.test_images[:1], description, data.maximum)
        network_features.check_pool(trained, args.pool)

        def by(network: Any) -> Features:
            return lambda images: network_features.features(
                network,
                description,
                images,
                args.batch_size,
                maximum=data.maximum,
                pool=args.pool,
                sampled=args.sampled,
            )

        mx.random.seed(int(make_generator([args.seed, _UNTRAINED]).integers(2**31)))
        if args.baselines:
            untrained = networks.build(description)
            networks.initialize(untrained, description, context)
            kinds["untrained"] = by(untrained)
        kinds["trained"] = by(trained)
        arrays = networks.arrays(trained, description)
        digest = sha256(to_numpy(array) for _, array in sorted(arrays.items()))
        record = {"path": str(args.model), "description": description, "sha256": digest}
    return kinds, record


def _evaluate(
    args: Namespace, features: Features, data: DataSet, rows: HostArray, split: tuple[HostArray, HostArray]
) -> dict[str, dict[str, Any]]:
    """Evaluate one kind of features.

    Return kernel -> evaluation of the support vector machine, number of features, and seconds.
    """
    times = [time.perf_counter()]
    images, labels = data.train_images[rows], classifier.check_labels(data)[rows]
    learned, held_out = split
    if args.mirror:
        images, labels = np.concatenate([images, images[:, :, ::-1]]), np.concatenate([labels, labels])
        learned = np.concatenate([learned, learned + len(rows)])
    train, test = features(images), features(data.test_images)
    if args.root:
        train, test = np.sqrt(train), np.sqrt(test)
    beside: dict[str, Any] = {"num_features": train.shape[1]}
    if args.components:
        train, test, beside["variance_kept"] = _whitened(train, test, args.components, args.seed)
        beside["num_components"] = train.shape[1]
    times.append(time.perf_counter())
    parts = (train, labels), (test, np.asarray(data.test_labels)), (learned, held_out)
    found = {
        kernel: support_vectors.evaluate_svm(kernel, *parts, args.threads, args.one_vs_rest) for kernel in args.kernels
    }
    times.append(time.perf_counter())
    seconds = dict(zip(("features", "all_machines"), np.diff(times).tolist()))
    beside["seconds"] = seconds
    return {kernel: {**evaluation._asdict(), **beside} for kernel, evaluation in found.items()}


def _whitened(train: HostArray, test: HostArray, count: int, seed: int) -> tuple[HostArray, HostArray, float]:
    """Whiten the first principal components of features.

    Each component is divided by sqrt(its variance + the mean variance of the components). So a
    property that many features share, such as an image's brightness, weighs less. Return the
    components of training and test images, and the fraction of the variance that they keep.
    """
    from sklearn.decomposition import PCA

    generator = np.random.RandomState(make_generator([seed, _COMPONENTS]).integers(2**31))
    components = PCA(min((count, *train.shape)), svd_solver="randomized", random_state=generator).fit(train)
    variance = components.explained_variance_
    scale = 1 / np.sqrt(variance + variance.mean())
    train, test = (
        components.transform(images).astype(np.float32) * scale.astype(np.float32) for images in (train, test)
    )
    return train, test, float(components.explained_variance_ratio_.sum())


def _less(wrong: Mapping[tuple[str, str], HostArray], kind: str, kernel: str) -> dict[str, Any]:
    """Return how much smaller the error is than the error by pixels, on the same test images."""
    if kind == "pixels" or ("pixels", kernel) not in wrong:
        return {"less_than_pixels": None, "standard_error_of_less": None}
    pixels, this = wrong["pixels", kernel], wrong[kind, kernel]
    less, error = support_vectors.mean_and_error(pixels.astype(int) - this)
    return {
        "less_than_pixels": less,
        "standard_error_of_less": error,
        "wrong_by_pixels_only": int((pixels & ~this).sum()),
        "wrong_by_these_only": int((this & ~pixels).sum()),
    }


def _line(row: Mapping[str, Any]) -> str:
    settings, less = row["settings"], row["less_than_pixels"]
    return _COLUMNS % (
        row["features"],
        row.get("num_components", row["num_features"]),
        row["kernel"],
        "%g" % settings["C"],
        "%g" % settings["gamma"] if "gamma" in settings else "",
        "%.2f %%" % (100 * min(trial["error"] for trial in row["trials"])),
        "%.2f +- %.2f %%" % (100 * row["error"], 100 * row["standard_error"]),
        "" if less is None else "%+.2f +- %.2f points" % (100 * less, 100 * row["standard_error_of_less"]),
    )
