"""The command likelihood: print the likelihood report of a model, and write it to a file."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from gluon_rbm.backend.files import check_writable, write_json
from gluon_rbm.cli import gaussian_report, inputs, report
from gluon_rbm.cli.arguments import at_least
from gluon_rbm.cli.results import add_overwrite, check_target
from gluon_rbm.errors import InputError
from gluon_rbm.likelihood.schedules import SCHEDULES
from gluon_rbm.likelihood.state_file import StateFile
from gluon_rbm.models.files import is_gaussian

if TYPE_CHECKING:
    from argparse import Namespace

    from gluon_rbm.cli.inputs import AddArgument

__all__ = ["ABOUT", "add_arguments", "run"]

logger = logging.getLogger(__name__)

ABOUT = "how probable images are to a model, and how far that can be trusted"


def add_arguments(add: AddArgument) -> None:
    """Add the arguments of the command.

    Parameters
    ----------
    add
        The method add_argument of a parser.
    """
    inputs.add_model(add)
    inputs.add_data(add)
    add(
        "--binarize",
        metavar="HOW",
        help="none leaves pixels as they are, sample draws them from their grey values, threshold cuts them at 0.5; or "
        "a file of the same images with pixels 0 and 1 (.npy, or the text of a fixed binarization); by default as the "
        "run did",
    )
    add("--binarize-seed", type=at_least(0, int), default=0, help="what the drawn pixels follow from")
    add(
        "--pseudo-likelihood",
        choices=report.PSEUDO_LIKELIHOODS,
        default="stochastic",
        help="of binary pixels, beside the likelihood: one pixel an image, all of them (slow), or none",
    )
    _add_log_z(add)
    inputs.add_device(add)
    add("--json", metavar="FILE", help="write the report there, too")
    add_overwrite(add)


def _add_log_z(add: AddArgument) -> None:
    count = at_least(1, int)
    add(
        "--method",
        choices=report.METHODS,
        default="auto",
        help="what gives log Z; auto enumerates where that takes seconds, as with 20 units beside 784",
    )
    add("--distributions", type=count, default=10000, help="intermediate distributions of AIS")
    add("--chains", type=count, default=100, help="chains of AIS")
    add("--sweeps", type=count, default=1, help="Gibbs sweeps at each distribution")
    add("--schedule", choices=SCHEDULES, default="linear", help="where the distributions lie")
    add(
        "--base-rate",
        choices=report.BASE_RATES,
        default="data",
        help="where AIS starts: at the means of the training images, or at the model's own visible bias",
    )
    add("--no-reverse", action="store_false", dest="reverse", help="forward AIS only: half the time, and no bracket")
    add(
        "--reverse-start",
        choices=report.REVERSE_STARTS,
        default="auto",
        help="where reverse AIS starts: exact samples, chains at the end of forward AIS, or the images (a diagnostic)",
    )
    add(
        "--path",
        choices=("none", *inputs.PATHS),
        default="none",
        help="estimate log Z by Bennett's acceptance ratio, too: along snapshots of a training with --chains "
        "trajectory, or along RBMs of weaker weights whose units are on as often as in the training images",
    )
    inputs.add_noise(add)
    add("--state", metavar="FILE", help="keep the run there; the same command, once killed, goes on where it was")


def run(args: Namespace) -> None:
    """Print the report, and write it to the JSON file, if one is given.

    Parameters
    ----------
    args
        The parsed arguments.
    """
    # Check the arguments first: a mistake must not cost an hour of computing.
    if args.path != "none" and not args.reverse:
        raise InputError(
            "--path %s is a check of the bracket, which --no-reverse leaves out; leave out one" % args.path
        )
    if args.json is not None:
        check_writable(args.json, "--json")
        if os.path.abspath(args.json) in (os.path.abspath(path) for path in (args.model, args.state or os.curdir)):
            raise InputError("--json %s is the model, or --state, too; choose another --json" % args.json)
        check_target(args, args.json, "--json")
    if args.state is not None:
        check_writable(args.state, "--state")
        StateFile(args.state)
    make = gaussian_report.gaussian_report if is_gaussian(args.model) else report.likelihood_report
    result = make(args)
    logger.info("%s", report.as_text(result))
    if args.json is not None:
        write_json(args.json, result, "--json")
    if args.state is not None and os.path.exists(args.state):  # no longer needed
        os.remove(args.state)
