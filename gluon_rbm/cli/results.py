"""The results of a command as files: JSON, pictures and arrays, all of them or none."""

from __future__ import annotations

import contextlib
import logging
import os
from typing import TYPE_CHECKING, Any, Mapping

import numpy as np

from gluon_rbm.backend import framework
from gluon_rbm.backend.array_files import sha256
from gluon_rbm.backend.arrays import to_numpy
from gluon_rbm.backend.files import check_writable, dump_json, write_whole
from gluon_rbm.errors import InputError, one_line
from gluon_rbm.evaluation import plots

if TYPE_CHECKING:
    from argparse import Namespace

    from gluon_rbm.backend.types import HostArray
    from gluon_rbm.models.energy import Parameters

__all__ = ["Results", "model_record"]

logger = logging.getLogger(__name__)


class Results:
    """Files PATH.ENDING of a command's results, each written whole or not at all, and all of them at the end.

    Parameters
    ----------
    args : the command's arguments, with PATH as `output` and MODEL as `model`
    endings : of the files: "json", "npz", or one of a picture

    Raises
    ------
    InputError
        At once, if the files cannot be written there.
    """

    def __init__(self, args: Namespace, *endings: str) -> None:
        if os.path.basename(args.output) in ("", os.curdir, os.pardir):
            raise InputError("--output %r names no file; give a folder and a name in it" % args.output)
        self._args = args
        self._paths = {ending: "%s.%s" % (args.output, ending) for ending in endings}
        for path in self._paths.values():
            check_writable(path, "--output")

    def write(
        self,
        parameters: Parameters | None,
        figures: Mapping[str, Any],
        pictures: Mapping[str, Any],
        arrays: Mapping[str, HostArray] | None = None,
    ) -> None:
        """Write JSON, pictures and arrays, and say where.

        Parameters
        ----------
        parameters : of a binary model; None: the figures say what the model is
        figures : what JSON can say; the command, the model and the versions are added
        pictures : ending -> Figure or animation
        arrays : name -> array, for PATH.npz
        """
        arguments = {name: value for name, value in vars(self._args).items() if name != "command"}
        report = {
            "arguments": arguments,
            "model": parameters and model_record(parameters, self._args.model),
            "results": figures,
            "versions": framework.versions(),
        }
        with contextlib.ExitStack() as stack:  # all are made before any takes its place
            for ending, path in self._paths.items():
                temporary = stack.enter_context(write_whole(path, "--output"))
                if ending == "json":
                    dump_json(temporary, report)
                elif ending == "npz":
                    with open(temporary, "wb") as file:
                        np.savez_compressed(file, **(arrays or {}))
                else:
                    plots.save(pictures[ending], temporary)
        logger.info("written: %s", one_line(", ".join(self._paths.values())))


def model_record(parameters: Parameters, path: str) -> dict[str, Any]:
    """What a report says of its model."""
    return {
        "path": str(path),
        "num_visible": parameters.num_visible,
        "num_hidden": parameters.num_hidden,
        "sha256": sha256(to_numpy(array) for array in parameters),
    }
