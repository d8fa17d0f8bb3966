"""The folder of a training run: what is written there, whole or not at all, and what is read back to resume."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import os
import re
from typing import Any, Iterable, Mapping, Sequence

import filelock
import numpy as np

from gluon_rbm.backend import array_files
from gluon_rbm.backend.files import write_json, write_whole
from gluon_rbm.backend.types import SoftmaxGroups
from gluon_rbm.data.array_sets import guess_shape
from gluon_rbm.data.sequences import groups_of
from gluon_rbm.errors import InputError
from gluon_rbm.models import label_rbm
from gluon_rbm.models.files import PARAMETERS
from gluon_rbm.training.checkpoint import Checkpoint

__all__ = [
    "ARGUMENTS",
    "METRICS",
    "RunFolder",
    "check_same",
    "class_names_of",
    "default_name",
    "has_checkpoint",
    "image_shape_of",
    "newest_run",
    "read_arguments",
    "read_metrics",
    "softmax_groups_of",
]

_CHECKPOINT = "checkpoint.npz"
ARGUMENTS = "arguments.json"
METRICS = "metrics.csv"
_LOCK = ".lock"
_RESULTS = (_CHECKPOINT, METRICS, PARAMETERS)
_PICTURES = ("learning-curve.png", "filters.png", "showcase.png")
_FILES = (*_RESULTS, ARGUMENTS, *_PICTURES)


def read_metrics(path: str) -> list[dict[str, float]]:
    """The rows of metrics.csv of a run folder, as dicts of float (what is empty is left out); [] if there is none."""
    try:
        array_files.check_ordinary(os.path.join(path, METRICS), array_files.LARGEST_TEXT)
        with open(os.path.join(path, METRICS), encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        rows = [{name: float(value) for name, value in row.items() if value} for row in rows]
        if not all(math.isfinite(value) for row in rows for value in row.values()):
            raise ValueError("not finite")
        if not all("epoch" in row for row in rows):
            raise ValueError("rows without an epoch")
        return rows
    except (FileNotFoundError, NotADirectoryError):
        return []
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise InputError("%s in %s cannot be read; move it away" % (METRICS, path)) from error


def read_arguments(path: str, name: str = ARGUMENTS) -> dict[str, Any]:
    """What the run in a folder recorded as its arguments: name -> value; {} where nothing is recorded.

    Raises InputError for a file of that name that is not what a run writes.
    """
    file_path = os.path.join(path, name)
    try:
        array_files.check_ordinary(file_path, array_files.LARGEST_TEXT)
        with open(file_path, encoding="utf-8") as file:
            return dict(json.load(file)["arguments"])
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or "it is not what a run writes"
        raise InputError("%s cannot be read (%s); mend it, or choose another folder" % (file_path, reason)) from error


def image_shape_of(arguments: Mapping[str, Any], num_pixels: int) -> tuple[int, ...]:
    """(height, width) or (height, width, 3) of a run's images, or a guess where none that fits is recorded."""
    shape: Any = arguments.get("image_shape")
    is_shape = isinstance(shape, list) and len(shape) in (2, 3) and all(type(side) is int for side in shape)
    if is_shape and min(shape) > 0 and math.prod(shape) == num_pixels:
        return tuple(shape)
    return guess_shape(num_pixels)


def softmax_groups_of(arguments: Mapping[str, Any], num_visible: int, num_classes: int) -> SoftmaxGroups:
    """The softmax groups of a run's visible units: the letters of a sequence's places, or the classes of a label."""
    if arguments.get("alphabet"):
        return groups_of(*image_shape_of(arguments, num_visible))
    return label_rbm.softmax_groups(num_visible, num_classes)


def class_names_of(arguments: Mapping[str, Any], num_classes: int) -> list[str]:
    """The name of each class of a run: the recorded ones, or else their numbers."""
    names: Any = arguments.get("class_names")
    is_names = isinstance(names, list) and len(names) == num_classes and all(isinstance(name, str) for name in names)
    return names if is_names else [str(number) for number in range(num_classes)]


def check_same(
    path: str, recorded: Mapping[str, Any], arguments: Mapping[str, Any], resumable: Sequence[str] = ()
) -> None:
    """InputError if the run in a folder recorded other values than these, except under the names in `resumable`."""
    for name, value in arguments.items():
        if name in resumable or name not in recorded or recorded[name] == value:
            continue
        if name == "data_sha256":
            raise InputError(
                "the run in %s was trained on other data (--dataset %s); resume it with the same"
                % (path, recorded.get("dataset"))
            )
        raise InputError(
            "the run in %s has --%s %s, not %s; resume it with the same arguments and data, or leave them out"
            % (path, name.replace("_", "-"), recorded[name], value)
        )


class RunFolder:
    """A folder under one training run's control, until it is closed.

    Raises InputError when the folder cannot be created or another run has it, when it holds a run and `resume` is
    false, when it holds a run with other arguments and `resume` is true, and when it holds pictures that are no run's.
    """

    def __init__(self, path: str | None, default_name: str, resume: bool) -> None:
        self.path = self._create(path, default_name)
        self._check_free(resume)  # a folder that is refused stays as it is, without a lock
        self._lock = self._hold()
        try:
            self._check_free(resume)
        except InputError:
            self.close()
            raise
        self.resuming = resume and has_checkpoint(self.path)
        self._remove_unfinished()

    @staticmethod
    def _create(path: str | None, default_name: str) -> str:
        try:
            if path:
                os.makedirs(path, exist_ok=True)
                return path
            return _new_path(default_name)
        except OSError as error:
            raise InputError(
                "cannot create the run folder %s (%s); choose another --output-dir" % (error.filename, error.strerror)
            ) from error

    def _hold(self) -> filelock.BaseFileLock:
        """Let no other run in until this process ends, however it ends."""
        lock = filelock.FileLock(self.file(_LOCK))
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout as error:
            raise InputError("another run is at work in %s; choose another --output-dir" % self.path) from error
        except OSError as error:
            raise InputError(
                "cannot write in %s (%s); choose another --output-dir" % (self.path, error.strerror)
            ) from error
        return lock

    def close(self) -> None:
        """Let other runs in."""
        self._lock.release()

    def file(self, name: str) -> str:
        """The path of a file in the folder."""
        return os.path.join(self.path, name)

    def _check_free(self, resume: bool) -> None:
        """InputError where the folder holds what the run would overwrite."""
        if resume and has_checkpoint(self.path):
            return
        if any(os.path.exists(self.file(name)) for name in _RESULTS):
            if resume:
                raise InputError(
                    "the run in %s has no %s to resume from; choose another --output-dir, and train anew"
                    % (self.path, _CHECKPOINT)
                )
            raise InputError(
                "%s already holds a run: continue it with --resume, or choose another --output-dir" % self.path
            )
        for name in _PICTURES:
            if os.path.lexists(self.file(name)):
                raise InputError(
                    "%s already holds %s, which would be overwritten; move it, or choose another "
                    "--output-dir" % (self.path, name)
                )

    def _remove_unfinished(self) -> None:
        """What a killed run was writing."""
        for name in os.listdir(self.path):
            if re.fullmatch(r"\.(%s)\..*\.part" % "|".join(map(re.escape, _FILES)), name):
                with contextlib.suppress(OSError):  # a folder of that name is somebody else's
                    os.remove(self.file(name))

    def write_arguments(
        self, arguments: Mapping[str, Any], versions: Mapping[str, str], resumable: Sequence[str] = ()
    ) -> None:
        """Record a run's arguments; a resumed run must have the same ones, but for the names in `resumable`."""
        if self.resuming:
            # Where nothing is recorded, the shapes in the checkpoint are all there is to check.
            check_same(self.path, read_arguments(self.path), arguments, resumable)
            learned = max((int(row["epoch"]) for row in read_metrics(self.path)), default=0)
            if arguments.get("num_epoch", learned) < learned:
                raise InputError(
                    "the run in %s has learned %d epochs; give --num-epoch %d or more" % (self.path, learned, learned)
                )
        write_json(self.file(ARGUMENTS), {"arguments": arguments, "versions": versions}, sort_keys=True)

    def save_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Write checkpoint.npz."""
        checkpoint.save(self.file(_CHECKPOINT))

    def load_checkpoint(self) -> Checkpoint | None:
        """The `Checkpoint` to resume from, or None. InputError for a damaged one says what is still good."""
        if not self.resuming:
            return None
        try:
            return Checkpoint.load(self.file(_CHECKPOINT))
        except InputError as error:
            path, kept = self.file(PARAMETERS), ""
            with contextlib.suppress(OSError, array_files.BrokenFile):
                array_files.load(path)
                kept = "; %s is whole: keep it, the commands read it" % path
            raise InputError(str(error) + kept) from error

    def write_parameters(self, arrays: Mapping[str, np.ndarray]) -> None:
        """rbm.params, as `BinaryRBMBlock.load_parameters` reads it; arrays : name -> NumPy array."""
        with write_whole(self.file(PARAMETERS)) as temporary:
            array_files.save(temporary, arrays)

    def write_metrics(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """metrics.csv: a row an epoch; a column for whatever any row has."""
        columns = list(dict.fromkeys(name for row in rows for name in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        with write_whole(self.file(METRICS)) as temporary, open(temporary, "w", encoding="utf-8") as file:
            file.write(text.getvalue())


def has_checkpoint(path: str | None) -> bool:
    """Whether there is a run to resume in a folder."""
    return path is not None and os.path.exists(os.path.join(path, _CHECKPOINT))


def default_name(kind: str, dataset: str) -> str:
    """NAME of the default run folders runs/NAME-1, runs/NAME-2 and so on.

    Parameters
    ----------
    kind : str
        Of the run: gluon, module or multinary.
    dataset : str
        The name of its data set, or the path of a file.
    """
    return "%s-%s" % (kind, os.path.splitext(os.path.basename(os.path.normpath(dataset)))[0])


def newest_run(kind: str, dataset: str | None = None) -> str | None:
    """The run folder under runs/ with the newest checkpoint, of a kind and, where it is given, a data set; or None."""
    name = re.escape(kind) + "-.+" if dataset is None else re.escape(default_name(kind, dataset))
    newest: tuple[int, int, str] | None = None
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        for folder in os.listdir("runs"):
            match, path = re.fullmatch(name + r"-(\d+)", folder), os.path.join("runs", folder)
            if match and has_checkpoint(path):
                when = os.stat(os.path.join(path, _CHECKPOINT)).st_mtime_ns
                newest = max(newest or (when, 0, ""), (when, int(match.group(1)), path))
    return newest[2] if newest else None


def _new_path(default_name: str) -> str:
    """Make runs/NAME-N with a new N."""
    os.makedirs("runs", exist_ok=True)
    matches = (re.fullmatch(re.escape(default_name) + r"-(\d+)", name) for name in os.listdir("runs"))
    number = max((int(match.group(1)) for match in matches if match), default=0)
    while True:
        number += 1
        path = os.path.join("runs", "%s-%d" % (default_name, number))
        with contextlib.suppress(FileExistsError):  # another run was faster
            os.mkdir(path)
            return path
