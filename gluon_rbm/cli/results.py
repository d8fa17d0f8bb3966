"""The results of a command as files: JSON, pictures and arrays, all of them or none."""

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
from gluon_rbm.training.run_folder import ARGUMENTS, has_checkpoint

if TYPE_CHECKING:
    from argparse import Namespace

    from gluon_rbm.backend.types import Arrays
    from gluon_rbm.models.energy import Parameters

__all__ = ["Results", "add_output", "add_overwrite", "check_target", "model_record"]

logger = logging.getLogger(__name__)


def add_output(add: Callable[..., Any], name: str) -> None:
    """Add where the results go; name : what their files are called by default."""
    add(
        "--output",
        metavar="PATH",
        help="what the files of the results are called, before their dot; by default %s beside the model, in the run "
        "folder, and where that is taken %s-2 and so on" % (name, name),
    )
    add_overwrite(add)


def add_overwrite(add: Callable[..., Any]) -> None:
    """Add the flag without which no file is lost."""
    add("--overwrite", action="store_true", help="let results take the place of files that are there already")


def check_target(args: Namespace, path: str, option: str, inputs: Sequence[str | None] = ()) -> None:
    """InputError if a file cannot be written, is one of the inputs, or is there already and is not to be overwritten.

    args : with `overwrite`; option : what the user chose the path with
    """
    check_writable(path, option)
    for given in inputs:
        if given is not None and os.path.exists(path) and os.path.exists(given) and os.path.samefile(path, given):
            raise InputError("%s is what is read; choose another %s" % (path, option))
    if os.path.exists(path) and not args.overwrite:
        raise InputError("%s is there already; choose another %s, or give --overwrite" % (path, option))


class Results:
    """Files PATH.ENDING of a command's results, each written whole or not at all, and all of them at the end.

    By default they lie in the folder of the model, under a name that nothing there has. A run folder without a
    checkpoint is a copy that somebody keeps: then they lie in the current folder.

    Parameters
    ----------
    args : the command's arguments, with PATH as `output`, or None, and MODEL as `model`
    endings : of the files: "json", "npz", or one of a picture

    Raises
    ------
    InputError
        At once, if the files cannot be written there, or some are there already and are not to be overwritten.
    """

    def __init__(self, args: Namespace, *endings: str) -> None:
        self._args, self._endings, self._is_chosen = args, endings, args.output is not None
        if not self._is_chosen:
            args.output = self._free_path()
        if os.path.basename(args.output) in ("", os.curdir, os.pardir):
            raise InputError("--output %r names no file; give a folder and a name in it" % args.output)
        for path in self._paths().values():
            check_target(args, path, "--output")

    def _paths(self) -> dict[str, str]:
        return {ending: "%s.%s" % (self._args.output, ending) for ending in self._endings}

    def _free_path(self) -> str:
        """The command's name in the model's folder, with a number where there are such results already."""
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
        """Write JSON, pictures and arrays, and say where.

        Parameters
        ----------
        parameters : of a binary model; None: the figures say what the model is
        figures : what JSON can say; the command, the model and the versions are added
        pictures : ending -> Figure, animation, or sequences as text
        arrays : name -> array, for PATH.npz
        """
        if not self._is_chosen:
            self._args.output = self._free_path()  # once more: another command may have been faster
        paths = self._paths()
        arguments = {name: value for name, value in vars(self._args).items() if name != "command"}
        report = {
            "arguments": arguments,
            "model": parameters and model_record(parameters, self._args.model),
            "results": figures,
            "versions": framework.versions(),
        }
        with contextlib.ExitStack() as stack:  # all are made before any takes its place
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
    """Where the results of a model go by default."""
    if model is None:
        return os.curdir
    folder = folder_of(model)
    is_copy = os.path.exists(os.path.join(folder, ARGUMENTS)) and not has_checkpoint(folder)
    return os.curdir if is_copy else folder


def _shown(path: str) -> str:
    """The path as it is from the current folder, if it is in it."""
    relative = os.path.relpath(path)
    return path if relative.startswith(os.pardir) else relative


def model_record(parameters: Parameters, path: str) -> dict[str, Any]:
    """What a report says of its model."""
    return {
        "path": str(path),
        "num_visible": parameters.num_visible,
        "num_hidden": parameters.num_hidden,
        "sha256": sha256(to_numpy(array) for array in parameters),
    }
