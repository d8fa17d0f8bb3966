"""The command exercise: train an RBM of 10 and one of 400 hidden units, and make all pictures."""

from __future__ import annotations

import argparse
import json
import logging
import os
import statistics
from typing import Any

from gluon_rbm.backend.files import write_json
from gluon_rbm.cli import (
    command,
    inpaint,
    inputs,
    reconstruct,
    recorded,
    resample,
    sample,
    score,
    train_binary,
    weights,
)
from gluon_rbm.cli.arguments import at_least, path
from gluon_rbm.cli.inputs import AddArgument
from gluon_rbm.data import datasets
from gluon_rbm.evaluation import classifier
from gluon_rbm.training.binary_settings import PRESETS
from gluon_rbm.training.run_records import read_metrics

__all__ = ["ABOUT", "add_arguments", "run"]

logger = logging.getLogger(__name__)

ABOUT = "train RBMs with 10 and 400 hidden units (--preset exercise), and make all pictures"


def add_arguments(add: AddArgument) -> None:
    """Add the arguments of the command.

    Parameters
    ----------
    add
        The method add_argument of a parser.
    """
    inputs.add_data(add)
    inputs.add_noise(add)
    inputs.add_device(add)
    add(
        "--hidden",
        type=at_least(1, int),
        nargs="+",
        default=[10, 400],
        help="numbers of hidden units, one RBM for each",
    )
    add("--num-epoch", type=at_least(1, int), default=10, help="number of epochs for each RBM")
    add("--sweeps", type=at_least(1, int), nargs="+", default=[100, 1000], help="numbers of Gibbs sweeps for resample")
    add(
        "--output-dir",
        type=path,
        default="exercise",
        help="output folder; RBMs already trained there are not trained again",
    )


def run(args: argparse.Namespace) -> None:
    """Train each RBM, run the commands that make its pictures, and write exercise.json.

    The file holds the time of an epoch, the metrics of the last epoch, and the results of each RBM.

    Parameters
    ----------
    args
        The parsed arguments.
    """
    recorded.settle(args, None)
    classifier.check_labels(datasets.load(args.dataset, args.data_dir, image_size=args.image_size))
    report = {}
    for num_hidden in args.hidden:
        folder = os.path.join(args.output_dir, "hidden-%d" % num_hidden)
        _train(args, num_hidden, folder)
        _make_pictures(args, folder)
        metrics = read_metrics(folder)
        report[num_hidden] = {
            "seconds_an_epoch": statistics.median(row["seconds"] for row in metrics),
            "last_epoch": metrics[-1],
            "table": _figures(folder, args.sweeps[-1]),
        }
    write_json(os.path.join(args.output_dir, "exercise.json"), report, "--output-dir")
    for num_hidden, found in report.items():
        logger.info("%d hidden units: %.2f s per epoch (median)", num_hidden, found["seconds_an_epoch"])
        for name, value in found["table"].items():
            logger.info("    %s: %s", name, value if isinstance(value, str) else "%.4f" % value)


def _figures(folder: str, sweeps: int) -> dict[str, float | str]:
    """Return results of the commands, in the words and order of the table in docs/commands.md."""

    def results(command: str) -> dict[str, Any]:
        with open(os.path.join(folder, command + ".json"), encoding="utf-8") as file:
            return json.load(file)["results"]

    end = "after %d sweeps" % sweeps
    sampled, missing, resampled = results("sample"), results("inpaint")["mean_squared_error"], results("resample")
    letters = results("score")["auc"].get("letters")
    shares = resampled["class_shares"][end]
    return {
        "mean squared error of a reconstructed pixel": results("reconstruct")["mean_squared_error"],
        "mean squared error of a missing pixel": missing["visible_mean"],
        "that of the training images' mean": missing["data_mean"],
        **({} if letters is None else {"AUC against letters": letters}),
        "classes %s that are as at the start" % end: "%.0f %%" % (100 * resampled["as_at_the_start"][end]),
        "largest share of a class %s" % end: "%d: %.0f %%" % (shares.index(max(shares)), 100 * max(shares)),
        "blank images of those drawn from nothing": "%.0f %%" % (100 * sampled["blank_images"] / sampled["num_images"]),
    }


def _train(args: argparse.Namespace, num_hidden: int, folder: str) -> None:
    recipe = PRESETS["exercise"]
    logger.info(
        "%d hidden units: CD-%d, batches of %d, learning rate %g on the mean gradient of a batch",
        num_hidden,
        recipe["k"],
        recipe["batch_size"],
        recipe["learning_rate"] / recipe["batch_size"],
    )
    own = ["--preset", "exercise", "--num-hidden", num_hidden, "--num-epoch", args.num_epoch, "--output-dir", folder]
    status = train_binary.main([*map(str, own), "--resume", *_shared(args)], "python -m gluon_rbm exercise", "gluon")
    if status:  # the trainer has reported the error
        raise SystemExit(status)


def _make_pictures(args: argparse.Namespace, folder: str) -> None:
    own = {
        sample: ["--classifier"],
        reconstruct: [],
        inpaint: [],
        resample: ["--sweeps", *map(str, args.sweeps)],
        weights: [],
        score: ["--binarize", "none"],
    }
    for module, arguments in own.items():
        name = module.__name__.rpartition(".")[2]
        logger.info("%s:", name)
        output = ["--part", args.part, "--output", os.path.join(folder, name), "--overwrite"]
        command.call(module, [folder, *_shared(args), *output, *arguments])


def _shared(args: argparse.Namespace) -> list[str]:
    """Return the flags that training and all commands share."""
    flags = ["--dataset", args.dataset, "--seed", str(args.seed), "--engine", args.engine]
    flags += ["--data-dir", args.data_dir] if args.data_dir else []
    flags += ["--image-size", *map(str, args.image_size)] if args.image_size else []
    flags += ["--device-id", str(args.device_id)]
    return flags + ([] if args.cuda is None else ["--cuda" if args.cuda else "--no-cuda"])
