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
from gluon_rbm.errors import InputError
from gluon_rbm.models.files import PARAMETERS
from gluon_rbm.training.checkpoint import Checkpoint

__all__ = [
    "ARGUMENTS",
    "METRICS",
    "RunFolder",
    "has_checkpoint",
    "read_metrics",
]

_CHECKPOINT = "checkpoint.npz"
ARGUMENTS = "arguments.json"
METRICS = "metrics.csv"
_LOCK = ".lock"
_RESULTS = (_CHECKPOINT, METRICS, PARAMETERS)
_FILES = (*_RESULTS, ARGUMENTS, "learning-curve.png", "filters.png", "showcase.png")


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


class RunFolder:
    """A folder under one training run's control, until it is closed.

    Raises InputError when the folder cannot be created or another run has it, when it holds a run and `resume` is
    false, and when it holds a run with other arguments and `resume` is true.
    """

    def __init__(self, path: str | None, default_name: str, resume: bool) -> None:
        self.path = self._create(path, default_name, resume)
        self._lock = self._hold()
        self.resuming = resume and os.path.exists(self.file(_CHECKPOINT))
        if not self.resuming and any(os.path.exists(self.file(name)) for name in _RESULTS):
            self.close()
            advice = "it has no %s to resume from" % _CHECKPOINT if resume else "continue it with --resume"
            raise InputError("%s already holds a run: %s, or choose another --output-dir" % (self.path, advice))
        self._remove_unfinished()

    @staticmethod
    def _create(path: str | None, default_name: str, resume: bool) -> str:
        try:
            if path:
                os.makedirs(path, exist_ok=True)
                return path
            return _default_path(default_name, resume)
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
            self._check_arguments({name: value for name, value in arguments.items() if name not in resumable})
        write_json(self.file(ARGUMENTS), {"arguments": arguments, "versions": versions}, sort_keys=True)

    def _check_arguments(self, arguments: Mapping[str, Any]) -> None:
        path = self.file(ARGUMENTS)
        if not os.path.exists(path):
            return  # then the shapes in the checkpoint are all there is to check
        try:
            array_files.check_ordinary(path, array_files.LARGEST_TEXT)
            with open(path, encoding="utf-8") as file:
                recorded = dict(json.load(file)["arguments"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise InputError("%s cannot be read; delete it, or choose another --output-dir" % path) from error
        for name, value in arguments.items():
            if name in recorded and recorded[name] != value:
                if name == "data_sha256":
                    raise InputError(
                        "the run in %s was trained on other data (--dataset %s); resume it with the same"
                        % (self.path, recorded.get("dataset"))
                    )
                raise InputError(
                    "the run in %s has --%s %s, not %s; resume it with the same arguments and data"
                    % (self.path, name.replace("_", "-"), recorded[name], value)
                )

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


def has_checkpoint(path: str | None, default_name: str) -> bool:
    """Whether there is a run to resume in the folder `path`, or without a path under runs/."""
    return os.path.exists(os.path.join(path, _CHECKPOINT)) if path else _last_path(default_name) is not None


def _taken(default_name: str) -> list[int]:
    """The numbers N of all runs/NAME-N."""
    with contextlib.suppress(FileNotFoundError):
        matches = (re.fullmatch(re.escape(default_name) + r"-(\d+)", name) for name in os.listdir("runs"))
        return [int(match.group(1)) for match in matches if match]
    return []


def _last_path(default_name: str) -> str | None:
    """The last runs/NAME-N with a checkpoint, or None."""
    paths = (os.path.join("runs", "%s-%d" % (default_name, number)) for number in sorted(_taken(default_name))[::-1])
    return next((path for path in paths if os.path.exists(os.path.join(path, _CHECKPOINT))), None)


def _default_path(default_name: str, resume: bool) -> str:
    """runs/NAME-N: a new N, or to resume the last one with a checkpoint."""
    last = _last_path(default_name) if resume else None
    if last:
        return last
    last = max(_taken(default_name), default=0)
    os.makedirs("runs", exist_ok=True)
    while True:
        last += 1
        path = os.path.join("runs", "%s-%d" % (default_name, last))
        with contextlib.suppress(FileExistsError):  # another run was faster
            os.mkdir(path)
            return path
