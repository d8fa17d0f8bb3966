"""The command likelihood: print the likelihood report of a model, and write it to a file."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from gluon_rbm.backend.files import check_writable, write_json
from gluon_rbm.cli import gaussian_report, inputs, report, report_text
from gluon_rbm.cli.arguments import at_least, path
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

ABOUT = "estimate the log-likelihood of images, and check whether the estimate can be trusted"


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
        help="binarization of the pixels; none: leave them as they are; sample: draw them from their grey values; "
        "threshold: cut them at 0.5; or a file of the same images with pixels 0 and 1 (.npy, or text of a fixed "
        "binarization); by default as in the run",
    )
    add("--binarize-seed", type=at_least(0, int), default=0, help="random seed for drawn pixels")
    add(
        "--pseudo-likelihood",
        choices=report.PSEUDO_LIKELIHOODS,
        default="stochastic",
        help="also compute the pseudo-likelihood of binary pixels; stochastic: by one pixel per image; exact: by all "
        "pixels (slow); none: skip it",
    )
    _add_log_z(add)
    inputs.add_device(add)
    add("--json", type=path, metavar="FILE", help="also write the report to this JSON file")
    add_overwrite(add)


def _add_log_z(add: AddArgument) -> None:
    count = at_least(1, int)
    add(
        "--method",
        choices=report.METHODS,
        default="auto",
        help="method for log Z; auto: enumeration if it takes seconds, as with 784 visible and 20 hidden units, else "
        "AIS",
    )
    add("--distributions", type=count, default=10000, help="number of intermediate distributions of AIS")
    add("--chains", type=count, default=100, help="number of AIS chains")
    add("--sweeps", type=count, default=1, help="Gibbs sweeps at each distribution")
    add("--schedule", choices=SCHEDULES, default="linear", help="spacing of the intermediate distributions")
    add(
        "--base-rate",
        choices=report.BASE_RATES,
        default="data",
        help="where AIS starts: at the means of the training images (data), or at the model's own visible bias (model)",
    )
    add(
        "--no-reverse",
        action="store_false",
        dest="reverse",
        help="run forward AIS only: half the time, but no bracket and no checks",
    )
    add(
        "--reverse-start",
        choices=report.REVERSE_STARTS,
        default="auto",
        help="where reverse AIS starts: at exact samples, the last states of forward AIS (chains), or the images "
        "(data; a diagnostic); auto: exact if it takes seconds, else chains",
    )
    add(
        "--path",
        choices=("none", *inputs.PATHS),
        default="none",
        help="also estimate log Z by Bennett's acceptance ratio; trajectory: along the snapshots of a training with "
        "--chains trajectory; matched: along RBMs of weaker weights, whose units are on as often as in the training "
        "images",
    )
    inputs.add_noise(add)
    add(
        "--state",
        type=path,
        metavar="FILE",
        help="save the progress in this file; if the command is stopped, the same command continues from there",
    )


def run(args: Namespace) -> None:
    """Print the report, and write it to the file of --json, if given.

    Parameters
    ----------
    args
        The parsed arguments.
    """
    # Check the arguments first: a mistake must not cost an hour of computing.
    if args.path != "none" and not args.reverse:
        raise InputError(
            "--path %s checks the bracket, which --no-reverse leaves out; give only one of them" % args.path
        )
    if args.json is not None:
        check_writable(args.json, "--json")
        if os.path.abspath(args.json) in (os.path.abspath(path) for path in (args.model, args.state or os.curdir)):
            raise InputError("--json %s is also MODEL or --state; choose another --json" % args.json)
        check_target(args, args.json, "--json")
    if args.state is not None:
        check_writable(args.state, "--state")
        StateFile(args.state)
    make = gaussian_report.gaussian_report if is_gaussian(args.model) else report.likelihood_report
    result = make(args)
    logger.info("%s", report_text.as_text(result))
    if args.json is not None:
        write_json(args.json, result, "--json")
    if args.state is not None and os.path.exists(args.state):  # no longer needed
        os.remove(args.state)
