"""The command frechet: the Frechet distance of drawn and real images, in a network's features."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from gluon_rbm.backend import framework
from gluon_rbm.backend.array_files import sha256
from gluon_rbm.backend.devices import choose_context
from gluon_rbm.backend.files import write_json
from gluon_rbm.cli import inputs, recorded
from gluon_rbm.cli.arguments import at_least, path
from gluon_rbm.cli.results import add_overwrite, check_target
from gluon_rbm.data import datasets, image_files, splits
from gluon_rbm.data.batches import to_visible
from gluon_rbm.evaluation import frechet

if TYPE_CHECKING:
    from argparse import Namespace

    from gluon_rbm.cli.inputs import AddArgument
    from gluon_rbm.data.datasets import DataSet
    from gluon_rbm.evaluation.frechet import Network

__all__ = ["ABOUT", "add_arguments", "run"]

logger = logging.getLogger(__name__)

ABOUT = "compute the Frechet distance between drawn images and a data set, by the features of a network"


def add_arguments(add: AddArgument) -> None:
    """Add the arguments of the command.

    Parameters
    ----------
    add
        The method add_argument of a parser.
    """
    inputs.add_data(add)
    add(
        "--drawn",
        type=path,
        required=True,
        metavar="IMAGES",
        help="drawn images: a .npz or .npy file, a picture, or a folder of pictures",
    )
    add(
        "--array",
        default="probabilities",
        metavar="NAME",
        help="array to read from a .npz file: samples or probabilities",
    )
    add("--resize", action="store_true", help="resize drawn images of another size to that of the data set")
    add(
        "--network",
        type=path,
        metavar="PATH",
        help="network whose outputs are the features: PATH-symbol.json and PATH-0000.params, as HybridBlock.export "
        "writes them; its input is images (batch, channels, height, width) in [0, 1]; by default a perceptron is "
        "trained on the training images",
    )
    add("--seed", type=at_least(0, int), default=0, help="random seed; the same seed gives the same result")
    inputs.add_device(add)
    add("--json", type=path, metavar="FILE", help="also write the results to this JSON file")
    add_overwrite(add)


def run(args: Namespace) -> None:
    """Print the distance and its floor in one line, and write them to the file of --json, if given.

    The floor is the distance of as many other real images.

    Parameters
    ----------
    args
        The parsed arguments.
    """
    if args.json is not None:
        check_target(args, args.json, "--json")
    context, _ = choose_context(args.cuda, args.device_id)
    image_files.check_exists(args.drawn)  # before anything slow is loaded
    given = None if args.network is None else frechet.load_network(args.network, context)
    recorded.settle(args, args.drawn)
    data = datasets.load(args.dataset, args.data_dir, image_size=args.image_size)
    drawn = image_files.read_images(args.drawn, data.image_shape, args.resize, array=args.array)
    real = to_visible(splits.split_of(data, args.part)[0], data.maximum)
    network, name = (given, args.network) if given else _perceptron(args, data)
    seen, drawn_seen = (frechet.features(network, images, data.image_shape, context) for images in (real, drawn))
    found = {"features": name, **frechet.compare(seen, drawn_seen, [args.seed])._asdict()}
    logger.info(
        "Frechet distance (features: %s) of %d images: %s; of as many real images: %s",
        name,
        found["num_images"],
        _number(found["distance"], found["standard_error"]),
        _number(found["floor"], found["floor_standard_error"]),
    )
    if args.json is None:
        return
    report = {
        "arguments": {name: value for name, value in vars(args).items() if name not in ("command", "others")},
        "drawn_sha256": sha256([drawn]),
        "results": {**found, "num_features": seen.shape[1], "drawn_images": len(drawn), "real_images": len(real)},
        "versions": framework.versions(),
    }
    write_json(args.json, report, "--json")


def _perceptron(args: Namespace, data: DataSet) -> tuple[Network, str]:
    """Train a network on the data set; return it, and its description for a report."""
    network = frechet.train_network(data, args.seed)
    width = len(network.classifier.intercepts_[-2])
    return network, "%d units of a perceptron trained on %s, accuracy %.2f %%" % (
        width,
        data.name,
        100 * network.accuracy,
    )


def _number(value: float, error: float | None) -> str:
    return "%.4g" % value + ("" if error is None else " +- %.2g" % error)
