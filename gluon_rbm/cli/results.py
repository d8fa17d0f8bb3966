"""The files of a command's results: JSON, pictures and arrays, all of them or none."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
from typing import TYPE_CHECKING, Any, Callable, Mapping, Sequence

import numpy as np

from gluon_rbm.backend import framework
from gluon_rbm.backend.array_files import sha256
from gluon_rbm.backend.arrays import to_numpy
from gluon_rbm.backend.files import check_writable, dump_json, write_whole
from gluon_rbm.data import sequences
from gluon_rbm.errors import InputError, one_line
from gluon_rbm.evaluation import plots
from gluon_rbm.models.files import folder_of
from gluon_rbm.training.run_folder import has_checkpoint
from gluon_rbm.training.run_records import ARGUMENTS

if TYPE_CHECKING:
    from argparse import Namespace

    from gluon_rbm.backend.types import Arrays
    from gluon_rbm.models.parameters import Parameters

__all__ = ["Results", "add_output", "add_overwrite", "check_target", "model_record"]

logger = logging.getLogger(__name__)


def add_output(add: Callable[..., Any], name: str) -> None:
    """Add the flags --output and --overwrite.

    Parameters
    ----------
    add
        The method add_argument of a parser.
    name
        The default name of the files, before the dot.
    """
    add(
        "--output",
        metavar="PATH",
        help="path of the result files, without the suffix; by default %s next to the model, or %s-2 and so on if "
        "that is taken" % (name, name),
    )
    add_overwrite(add)


def add_overwrite(add: Callable[..., Any]) -> None:
    """Add the flag --overwrite; without it, results replace no file.

    Parameters
    ----------
    add
        As in `add_output`.
    """
    add("--overwrite", action="store_true", help="overwrite existing files")


def check_target(args: Namespace, path: str, option: str, inputs: Sequence[str | None] = ()) -> None:
    """Check that a command may write a file.

    Parameters
    ----------
    args
        The parsed arguments of `add_overwrite`.
    path
        The file.
    option
        The flag that names the file, for messages.
    inputs
        Paths of the files that the command reads. None is passed over.

    Raises
    ------
    InputError
        The file cannot be written, is one of the inputs, or exists and --overwrite was not given.
    """
    check_writable(path, option)
    for given in inputs:
        if given is not None and os.path.exists(path) and os.path.exists(given) and os.path.samefile(path, given):
            raise InputError("%s is an input file; choose another %s" % (path, option))
    if os.path.exists(path) and not args.overwrite:
        raise InputError("%s already exists; choose another %s, or give --overwrite" % (path, option))


class Results:
    """The files PATH.ENDING of a command's results, written at the end, all of them or none.

    By default the files lie in the folder of the model, and PATH is the name of the command, with a
    number if that name is taken. A run folder without a checkpoint is a copy that somebody keeps:
    then the files lie in the current folder, as they do without a model.

    Parameters
    ----------
    args
        The parsed arguments, with command, overwrite, output (PATH, or None, which the default path
        replaces) and model (its path, or None).
    *endings
        The endings of the files: "json", "npz", "fasta", or those of pictures.

    Raises
    ------
    InputError
        The files cannot be written, or some exist and --overwrite was not given. Raised at once,
        before the command computes anything.
    """

    def __init__(self, args: Namespace, *endings: str) -> None:
        self._args, self._endings, self._is_chosen = args, endings, args.output is not None
        if not self._is_chosen:
            args.output = self._free_path()
        if os.path.basename(args.output) in ("", os.curdir, os.pardir):
            raise InputError("--output %r is not a file name; give a folder and a name in it" % args.output)
        for path in self._paths().values():
            check_target(args, path, "--output")

    def _paths(self) -> dict[str, str]:
        return {ending: "%s.%s" % (self._args.output, ending) for ending in self._endings}

    def _free_path(self) -> str:
        """Return the default path: the name of the command, with a number if it is taken."""
        folder, name = _folder_of(self._args.model), self._args.command
        taken = {file.partition(".")[0] for file in os.listdir(folder)} if os.path.isdir(folder) else set()
        names = itertools.chain([name], ("%s-%d" % (name, number) for number in itertools.count(2)))
        free = next(one for one in names if one not in taken or self._args.overwrite)
        return free if folder == os.curdir else os.path.join(folder, free)

    def write(
        self,
        parameters: Parameters | None,
        figures: Mapping[str, Any],
        pictures: Mapping[str, Any],
        arrays: Arrays | None = None,
    ) -> None:
        """Write JSON, pictures and arrays, and log their paths.

        Parameters
        ----------
        parameters
            The parameters of a binary model; None: `figures` describe the model.
        figures
            The results in PATH.json, next to the arguments, the model and the versions.
        pictures
            A mapping ending -> figure, animation, or sequences as text.
        arrays
            A mapping name -> array, for PATH.npz.
        """
        if not self._is_chosen:
            # The name is chosen anew, because another command may have taken it.
            self._args.output = self._free_path()
        paths = self._paths()
        arguments = {name: value for name, value in vars(self._args).items() if name != "command"}
        report = {
            "arguments": arguments,
            "model": parameters and model_record(parameters, self._args.model),
            "results": figures,
            "versions": framework.versions(),
        }
        with contextlib.ExitStack() as stack:  # files get their names only when all are complete
            for ending, path in paths.items():
                temporary = stack.enter_context(write_whole(path, "--output"))
                if ending == "json":
                    dump_json(temporary, report)
                elif ending == "npz":
                    with open(temporary, "wb") as file:
                        np.savez_compressed(file, **(arrays or {}))
                elif ending == "fasta":
                    sequences.dump_fasta(temporary, pictures[ending])
                else:
                    plots.save(pictures[ending], temporary)
        logger.info("written: %s", one_line(", ".join(map(_shown, paths.values()))))


def _folder_of(model: str | None) -> str:
    """Return the default folder for the results of a model."""
    if model is None:
        return os.curdir
    folder = folder_of(model)
    is_copy = os.path.exists(os.path.join(folder, ARGUMENTS)) and not has_checkpoint(folder)
    return os.curdir if is_copy else folder


def _shown(path: str) -> str:
    """Return the path relative to the current folder, if it lies in there."""
    relative = os.path.relpath(path)
    return path if relative.startswith(os.pardir) else relative


def model_record(parameters: Parameters, path: str) -> dict[str, Any]:
    """Describe a model for a report in JSON.

    Parameters
    ----------
    parameters
        The parameters of the model.
    path
        The path of the model.

    Returns
    -------
    dict
        The path, the numbers of visible and hidden units, and the SHA-256 digest of the parameters.
    """
    return {
        "path": str(path),
        "num_visible": parameters.num_visible,
        "num_hidden": parameters.num_hidden,
        "sha256": sha256(to_numpy(array) for array in parameters),
    }
