"""The command `convert`: a model from or for elsewhere."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from gluon_rbm.cli.results import add_overwrite, check_target
from gluon_rbm.errors import InputError, one_line
from gluon_rbm.models import interchange
from gluon_rbm.models.files import PARAMETERS, parameter_file

if TYPE_CHECKING:
    from argparse import Namespace

    from gluon_rbm.cli.inputs import AddArgument

__all__ = ["ABOUT", "add_arguments", "run"]

logger = logging.getLogger(__name__)

ABOUT = "a model from or for elsewhere: plain arrays, scikit-learn's BernoulliRBM, PyDeep"


def add_arguments(add: AddArgument) -> None:
    add("source", metavar="SOURCE", help="a run folder, or a file in one of the formats")
    add("target", metavar="TARGET", help="the file to write")
    add(
        "--format",
        choices=interchange.FORMATS,
        help="params: as rbm.params; npz, sklearn, pydeep: .npz archives; safetensors: a file of that library; "
        "by default safetensors for a TARGET of that suffix, else npz",
    )
    add("--float16", action="store_true", help="numbers of 16 bits: half the space, three digits")
    add_overwrite(add)


def run(args: Namespace) -> None:
    """Read a model in whatever format it is in, and write it in another.

    Raises InputError where the source would be lost, or a run folder its parameters.
    """
    if os.path.realpath(parameter_file(args.source)) == os.path.realpath(args.target):
        raise InputError("%s is the source, too; choose another TARGET" % args.target)
    is_safetensors = args.target.endswith(".safetensors")
    form = args.format or ("safetensors" if is_safetensors else "npz")
    if os.path.basename(args.target) == PARAMETERS and form != "params":
        raise InputError("a file %s is of --format params, not %s; choose another TARGET" % (PARAMETERS, form))
    if is_safetensors and form != "safetensors":
        raise InputError("a file .safetensors is of --format safetensors, not %s; choose another TARGET" % form)
    parameters, num_classes = interchange.read(args.source)
    check_target(args, args.target, "TARGET")
    interchange.write(args.target, parameters, num_classes, form, args.float16)
    label = ", of which %d are a label" % num_classes if num_classes else ""
    logger.info("%d visible%s, %d hidden units", parameters.num_visible, label, parameters.num_hidden)
    logger.info("written: %s", one_line(args.target))
