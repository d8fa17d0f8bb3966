"""The recorded arguments of a run, for commands that use its model or resume it."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import os
from typing import Any, Mapping, NamedTuple, Sequence

from gluon_rbm.backend.array_files import sha256
from gluon_rbm.cli import options
from gluon_rbm.cli.arguments import OneLineParser
from gluon_rbm.data import datasets, downloads, splits
from gluon_rbm.data.batches import BINARIZE
from gluon_rbm.data.datasets import DataSet
from gluon_rbm.errors import InputError
from gluon_rbm.models.files import folder_of
from gluon_rbm.training.run_folder import has_checkpoint, newest_run
from gluon_rbm.training.run_records import ARGUMENTS, read_arguments

__all__ = ["DEEP", "Learned", "check_flags", "existing_data_dir", "flags_of", "resumed", "settle"]

logger = logging.getLogger(__name__)

DEEP = "deep.json"  # arguments of a deep belief network, like arguments.json of a run
_OF_EACH_CALL = ("output_dir", "resume")
# Kind of run -> an argument that only this kind has, and the program that trains it.
_PROGRAMS = {
    "binary": ("ais_num_batch", "binary_rbm_gluon.py or binary_rbm_module.py"),
    "multinary": ("channels", "python -m gluon_rbm train-multinary"),
    "gaussian": ("whiten", "python -m gluon_rbm train-gaussian"),
}
_UNRECORDED = {"dataset": "mnist", "binarize": "none"}


# --- What a model learned -------------------------------------------------------------------------


class Learned(NamedTuple):
    """The recorded arguments of the run that trained a model."""

    run: str  #: the run folder
    arguments: Mapping[str, Any]  #: empty if no run is known

    @classmethod
    def of(cls, path: str | None) -> Learned:
        """Read the recorded arguments of a run.

        Parameters
        ----------
        path
            The run folder, or a file in it; None: no run is known.

        Returns
        -------
        Learned
            The run folder and the arguments.
        """
        if path is None:
            return cls("", {})
        folder = folder_of(path)
        return cls(folder, read_arguments(folder) or read_arguments(folder, DEEP))

    def held_out_of(self, dataset: str) -> int:
        """Return how many training images of a data set the run held out.

        Parameters
        ----------
        dataset
            The name of the data set.

        Returns
        -------
        int
            The number; 0 if the run learned another data set, or no run is known.
        """
        count = self.arguments.get("held_out") if self.arguments.get("dataset") == dataset else 0
        return count if isinstance(count, int) else 0

    def warn_of_others(self, data: DataSet) -> None:
        """Log a note if the model is known to have learned other images.

        Parameters
        ----------
        data
            The data set to compare with.
        """
        digest = self.arguments.get("data_sha256")
        if digest is None or self.arguments.get("below"):
            return
        if self.arguments.get("labels") and data.num_classes:
            data = splits.with_label_units(data)
        if digest != sha256([data.train_images]):
            told = self.run, self.arguments.get("dataset"), data.name
            logger.warning("note: %s was trained on images of %s, but other images are used here: %s", *told)


def settle(args: argparse.Namespace, path: str | None) -> Learned:
    """Fill in the arguments of the data set that were not given, from the run of a model.

    Parameters
    ----------
    args
        The parsed arguments, with dataset, data_dir, image_size and, if the command has it,
        binarize. Those that are None are set.
    path
        The run folder, or a file in it. If no run is known, the data set is MNIST with grey pixels.

    Returns
    -------
    Learned
        What the run recorded.

    Raises
    ------
    InputError
        The images are no longer where the run found them, or arguments.json is not one that a run
        writes.
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
        logger.warning("note: %s was trained with --binarize %s, but %s is used here", *told)
    return learned


def existing_data_dir(run: str, recorded: Mapping[str, Any], is_named: bool = False) -> str | None:
    """Return the folder of the data set that a run learned.

    Parameters
    ----------
    run
        The run folder, for messages.
    recorded
        The recorded arguments of the run; dataset and data_dir are used.
    is_named
        Whether the user named the data set. This allows a published data set to be downloaded.

    Returns
    -------
    str or None
        The folder; None if none has to be named.

    Raises
    ------
    InputError
        The data set, or its folder, is no longer where the run found it.
    """
    dataset, data_dir = str(recorded.get("dataset")), recorded.get("data_dir")
    if dataset.lower().endswith(datasets.FILES) and not os.path.exists(os.path.expanduser(dataset)):
        raise InputError("%s was trained on %s, which no longer exists; give its path with --dataset" % (run, dataset))
    if not isinstance(data_dir, str) or dataset not in (*downloads.SOURCES, "image-folder"):
        return None
    if os.path.isdir(os.path.expanduser(data_dir)):
        return data_dir
    can_fetch = dataset in downloads.SOURCES
    if can_fetch and (is_named or None not in downloads.located(dataset).values()):
        return None  # the data set is found elsewhere, and its content is verified
    raise InputError(
        "%s was trained on %s in %s, which is no longer a folder; give the folder with --data-dir%s"
        % (run, dataset, data_dir, ", or give --dataset %s to download it" % dataset if can_fetch else "")
    )


# --- Resuming -------------------------------------------------------------------------------------


def resumed(argv: Sequence[str], prog: str, kind: str, settings: type) -> list[str]:
    """Complete a command line with --resume by the flags of the run's recorded arguments.

    The recorded flags come first, so that the user's flags override them.

    Parameters
    ----------
    argv
        The command line. Without --output-dir, the run is the newest one under runs/, of the given
        data set, if one is given.
    prog
        The name of the program in messages.
    kind
        The kind of run, as in `gluon_rbm.training.run_folder.default_name`.
    settings
        The dataclass of the run's settings.

    Returns
    -------
    list of str
        The completed command line; without --resume, the given one.

    Raises
    ------
    InputError
        There is no run to resume, arguments.json is not one that a run writes, the run is of
        another kind, or its data set has moved.
    """
    parser = OneLineParser(prog=prog, add_help=False)
    options.add_settings(parser, settings)
    args, _ = parser.parse_known_args(argv)
    given = _given(parser, args, argv)
    if not args.resume:
        return list(argv)
    folder = args.output_dir or newest_run(kind, given.get("dataset"))
    if folder is None:
        # The folder may be on the computer of the chief.
        if getattr(args, "kv_store", "") == "dist_sync":
            return list(argv)
        raise InputError("runs/ has no %s run to resume; give its folder with --output-dir" % kind)
    recorded = read_arguments(folder)
    _check_kind(folder, recorded, kind)
    if not recorded:
        # The path is probably a typing error.
        if given.keys() == {"resume", "output_dir"} and not has_checkpoint(folder):
            raise InputError("%s has no run to resume; give another --output-dir" % folder)
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
            raise InputError("%s is a run of %s; resume it with that program" % (folder, program))


def _given(parser: OneLineParser, args: argparse.Namespace, argv: Sequence[str]) -> dict[str, Any]:
    """Return the values that a command line gives, without the parser's defaults."""
    absent = object()
    namespace = argparse.Namespace(**dict.fromkeys(vars(args), absent))
    return {
        name: value for name, value in vars(parser.parse_known_args(argv, namespace)[0]).items() if value is not absent
    }


def check_flags(path: str, flags: Sequence[str], settings: type) -> None:
    """Exit with an error in one line if a file has recorded values that a flag does not allow.

    Parameters
    ----------
    path
        The file, for the message.
    flags
        The flags, from `flags_of`.
    settings
        The dataclass of settings.
    """
    parser = OneLineParser(prog=path, add_help=False)
    options.add_settings(parser, settings)
    parser.parse_args(flags)


def flags_of(settings: type, recorded: Mapping[str, Any]) -> list[str]:
    """Return the flags that give the recorded arguments of a run.

    Parameters
    ----------
    settings
        The dataclass of the run's settings.
    recorded
        The recorded arguments, from `gluon_rbm.training.settings.record`.

    Returns
    -------
    list of str
        The flags and their values.
    """
    # The recorded device is the device that the run used: perhaps a CPU although --cuda was given.
    recorded = {**recorded, "cuda": {"cpu": False, "gpu": True}.get(recorded.get("device", "unknown"))}
    flags = []
    for field in dataclasses.fields(settings):
        if field.metadata["help"] is not None and field.name not in _OF_EACH_CALL:
            names = [field.name, *(alias.lstrip("-").replace("-", "_") for alias in field.metadata["aliases"])]
            value = next((recorded[name] for name in names if name in recorded), None)
            flags += _flag(field, value)
    return flags


def _flag(field: Any, value: Any) -> list[str]:
    """Return the flag that gives a field a value; empty if the field has it without a flag."""
    if field.metadata["switches"]:
        return [flag for flag, (meant, _) in field.metadata["switches"].items() if meant is value]
    name = "--" + field.name.replace("_", "-")
    if isinstance(value, list):
        return [name, *map(str, value)] if value else []
    if value is None or value is False:
        return []
    return [name] if value is True else ["%s=%s" % (name, value)]
