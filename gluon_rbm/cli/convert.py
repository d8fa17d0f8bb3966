"""The command convert: convert a model from or to the format of another program."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from gluon_rbm.cli.arguments import path
from gluon_rbm.cli.results import add_overwrite, check_target
from gluon_rbm.errors import InputError, one_line
from gluon_rbm.models import interchange
from gluon_rbm.models.files import parameter_file

if TYPE_CHECKING:
    from argparse import Namespace

    from gluon_rbm.cli.inputs import AddArgument

__all__ = ["ABOUT", "add_arguments", "run"]

logger = logging.getLogger(__name__)

ABOUT = "convert a model between this package and other formats: arrays, scikit-learn, PyDeep, safetensors"


def add_arguments(add: AddArgument) -> None:
    """Add the arguments of the command.

    Parameters
    ----------
    add
        The method add_argument of a parser.
    """
    add("source", type=path, metavar="SOURCE", help="run folder, or file in one of the formats")
    add("target", type=path, metavar="TARGET", help="file to write")
    add(
        "--format",
        choices=interchange.FORMATS,
        help="format of TARGET; params: like rbm.params; npz, sklearn, pydeep: .npz archives; safetensors: a "
        ".safetensors file (default: safetensors or params if TARGET ends so, else npz)",
    )
    add("--float16", action="store_true", help="write 16-bit floats: half the size, three significant digits")
    add_overwrite(add)


def run(args: Namespace) -> None:
    """Read a model in any of the formats, and write it in another.

    Parameters
    ----------
    args
        The parsed arguments.

    Raises
    ------
    InputError
        The target is the source, has a name that does not fit the format, or exists and --overwrite
        was not given.
    """
    if os.path.realpath(parameter_file(args.source)) == os.path.realpath(args.target):
        raise InputError("%s is also SOURCE; choose another TARGET" % args.target)
    ending = os.path.splitext(args.target)[1]
    own = {".safetensors": "safetensors", ".params": "params"}.get(ending)
    form = args.format or own or "npz"
    if own not in (None, form):
        raise InputError("a %s TARGET needs --format %s, not %s; choose another name or format" % (ending, own, form))
    parameters, num_classes = interchange.read(args.source)
    check_target(args, args.target, "TARGET")
    interchange.write(args.target, parameters, num_classes, form, args.float16)
    label = " (%d of them label units)" % num_classes if num_classes else ""
    logger.info("%d visible%s, %d hidden units", parameters.num_visible, label, parameters.num_hidden)
    logger.info("written: %s", one_line(args.target))
