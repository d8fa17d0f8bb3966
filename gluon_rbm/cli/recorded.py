"""What a run recorded as its arguments, for commands that go on from it."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import os
from typing import Any, Mapping, NamedTuple, Sequence

from gluon_rbm.backend.array_files import sha256
from gluon_rbm.cli import options
from gluon_rbm.cli.arguments import OneLineParser
from gluon_rbm.data import datasets, downloads
from gluon_rbm.data.batches import BINARIZE
from gluon_rbm.data.datasets import DataSet
from gluon_rbm.errors import InputError
from gluon_rbm.models.files import folder_of
from gluon_rbm.training.run_folder import ARGUMENTS, has_checkpoint, newest_run, read_arguments

__all__ = ["DEEP", "Learned", "check_flags", "flags_of", "resumed", "settle"]

logger = logging.getLogger(__name__)

DEEP = "deep.json"  # what a deep belief network has for arguments.json
_OF_EACH_CALL = ("output_dir", "resume")
# Kind of run -> an argument that only it has, and what trains it.
_PROGRAMS = {
    "binary": ("ais_num_batch", "binary_rbm_gluon.py or binary_rbm_module.py"),
    "multinary": ("channels", "python -m gluon_rbm train-multinary"),
    "gaussian": ("whiten", "python -m gluon_rbm train-gaussian"),
}
_UNRECORDED = {"dataset": "mnist", "binarize": "none"}


# --- What a model learned ---------------------------------------------------------------------------------------------


class Learned(NamedTuple):
    """What a run recorded of the images that its model learned."""

    run: str  #: the run folder
    arguments: Mapping[str, Any]  #: {} where no run is known

    @classmethod
    def of(cls, path: str | None) -> Learned:
        """Of the run whose folder `path` is, or lies in; path : a folder, a file, or None."""
        if path is None:
            return cls("", {})
        folder = folder_of(path)
        return cls(folder, read_arguments(folder) or read_arguments(folder, DEEP))

    def warn_of_others(self, data: DataSet) -> None:
        """Say in a line that these are not the images that were learned, where they are known not to be."""
        digest = self.arguments.get("data_sha256")
        if digest is None or self.arguments.get("below"):
            return
        if self.arguments.get("labels") and data.num_classes:
            data = datasets.with_label_units(data)
        if digest != sha256([data.train_images]):
            told = self.run, self.arguments.get("dataset"), data.name
            logger.warning("note: %s learned the training images of %s, and others are used here: %s", *told)


def settle(args: argparse.Namespace, path: str | None) -> Learned:
    """Take the data set, its folder, size and binarization from the run that a model comes from, unless they are given.

    Parameters
    ----------
    args : argparse.Namespace
        `dataset`, `data_dir`, `image_size` and, of commands that have it, `binarize`: None where they are not given.
        They are set.
    path : str, optional
        The model, or another file in the run's folder. Where no run is known the data set is MNIST, with grey pixels.

    Raises
    ------
    InputError
        Where the images are no longer where the run found them, or arguments.json is not what a run writes.
    """
    learned, is_named = Learned.of(path), args.dataset is not None
    arguments = {**_UNRECORDED, **learned.arguments}
    if not is_named:
        args.dataset = str(arguments["dataset"])
    if args.data_dir is None and args.dataset == arguments["dataset"]:
        args.data_dir = existing_data_dir(learned.run, arguments, is_named)
    if args.image_size is None:
        args.image_size = arguments.get("image_size")
    binarize = arguments["binarize"]
    if "binarize" not in args or binarize not in BINARIZE:
        return learned
    if args.binarize is None:
        args.binarize = binarize
    elif learned.arguments and args.binarize in BINARIZE and args.binarize != binarize:
        told = learned.run, binarize, args.binarize
        logger.warning("note: %s learned pixels with --binarize %s, and they are used with %s here", *told)
    return learned


def existing_data_dir(run: str, recorded: Mapping[str, Any], is_named: bool = False) -> str | None:
    """The folder of the data set that a run learned, if one has to be named.

    Parameters
    ----------
    run : str
        The run folder, for messages.
    recorded : mapping
        `dataset` and `data_dir`, as the run recorded them.
    is_named : bool
        Whether the user names the data set, and so agrees that a published one is fetched.

    Raises
    ------
    InputError
        Where the data set, or its folder, is no longer where the run found it.
    """
    dataset, data_dir = str(recorded.get("dataset")), recorded.get("data_dir")
    if dataset.lower().endswith(datasets.FILES) and not os.path.exists(os.path.expanduser(dataset)):
        raise InputError("%s learned %s, which is not there now; say where it is with --dataset" % (run, dataset))
    if not isinstance(data_dir, str) or dataset not in (*downloads.SOURCES, "image-folder"):
        return None
    if os.path.isdir(os.path.expanduser(data_dir)):
        return data_dir
    can_fetch = dataset in downloads.SOURCES
    if can_fetch and (is_named or None not in downloads.located(dataset).values()):
        return None  # it is found elsewhere, and its content is verified
    raise InputError(
        "%s learned %s in %s, which is no folder now; say where the images are with --data-dir%s"
        % (run, dataset, data_dir, ", or give --dataset %s to fetch it" % dataset if can_fetch else "")
    )


# --- Resuming ---------------------------------------------------------------------------------------------------------


def resumed(argv: Sequence[str], prog: str, kind: str, settings: type) -> list[str]:
    """A command line with --resume, after the flags that mean what its run recorded; another one as it is.

    So a flag that the user gives counts, and a run that is resumed without one has the settings it had.

    Parameters
    ----------
    argv : sequence of str
        Without --output-dir it means the newest run under runs/, of the data set where one is given.
    prog : str
        What errors call the program.
    kind : str
        Of the run, as in `run_folder.default_name`.
    settings : type
        The dataclass of the run's settings.

    Raises
    ------
    InputError
        Where there is no run to resume, arguments.json is not what a run writes, or of another kind of run, or the
        run's data set has moved.
    """
    parser = OneLineParser(prog=prog, add_help=False)
    options.add_settings(parser, settings)
    args, _ = parser.parse_known_args(argv)
    given = _given(parser, args, argv)
    if not args.resume:
        return list(argv)
    folder = args.output_dir or newest_run(kind, given.get("dataset"))
    if folder is None:
        if getattr(args, "kv_store", "") == "dist_sync":  # the chief has the folder, perhaps on another machine
            return list(argv)
        raise InputError("runs/ holds no %s run to resume; name its folder with --output-dir" % kind)
    recorded = read_arguments(folder)
    _check_kind(folder, recorded, kind)
    if not recorded:
        if given.keys() == {"resume", "output_dir"} and not has_checkpoint(folder):  # a slip of the pen, most likely
            raise InputError("%s holds no run to resume; name another --output-dir" % folder)
        return [*argv, "--output-dir", folder]
    check_flags(os.path.join(folder, ARGUMENTS), flags_of(settings, recorded), settings)
    if "data_dir" in given or given.get("dataset", recorded.get("dataset")) != recorded.get("dataset"):
        recorded["data_dir"] = None
    else:
        recorded["data_dir"] = existing_data_dir(folder, recorded, "dataset" in given)
    return [*flags_of(settings, recorded), "--output-dir", folder, *argv]


def _check_kind(folder: str, recorded: Mapping[str, Any], kind: str) -> None:
    for name, (own, program) in _PROGRAMS.items():
        if own in recorded and name != (kind if kind in _PROGRAMS else "binary"):
            raise InputError("%s is a run of %s; resume it with that" % (folder, program))


def _given(parser: OneLineParser, args: argparse.Namespace, argv: Sequence[str]) -> dict[str, Any]:
    """What a command line gives, without the parser's defaults."""
    absent = object()
    namespace = argparse.Namespace(**dict.fromkeys(vars(args), absent))
    return {
        name: value for name, value in vars(parser.parse_known_args(argv, namespace)[0]).items() if value is not absent
    }


def check_flags(path: str, flags: Sequence[str], settings: type) -> None:
    """Exit with one line, as a parser does, where the file `path` holds values that no flag takes."""
    parser = OneLineParser(prog=path, add_help=False)
    options.add_settings(parser, settings)
    parser.parse_args(flags)


def flags_of(settings: type, recorded: Mapping[str, Any]) -> list[str]:
    """The flags that mean the values that a run recorded (`gluon_rbm.training.settings.record`)."""
    # The device is what the run had; --cuda may have been no more than a wish.
    recorded = {**recorded, "cuda": {"cpu": False, "gpu": True}.get(recorded.get("device", "unknown"))}
    flags = []
    for field in dataclasses.fields(settings):
        if field.metadata["help"] is not None and field.name not in _OF_EACH_CALL:
            names = [field.name, *(alias.lstrip("-").replace("-", "_") for alias in field.metadata["aliases"])]
            value = next((recorded[name] for name in names if name in recorded), None)
            flags += _flag(field, value)
    return flags


def _flag(field: Any, value: Any) -> list[str]:
    """The flag that gives a field a value; [] for what it is without a flag."""
    if field.metadata["switches"]:
        return [flag for flag, (meant, _) in field.metadata["switches"].items() if meant is value]
    name = "--" + field.name.replace("_", "-")
    if isinstance(value, list):
        return [name, *map(str, value)] if value else []
    if value is None or value is False:
        return []
    return [name] if value is True else ["%s=%s" % (name, value)]
