"""The folder of a training run: what is written there, whole or not at all, and what is read back to resume."""

import contextlib
import csv
import io
import json
import math
import os
import re

import numpy as np

from gluon_rbm.backend import array_files
from gluon_rbm.backend.files import write_whole
from gluon_rbm.errors import InputError
from gluon_rbm.models.files import PARAMETERS

try:
    import fcntl
except ImportError:  # not on Windows: there nothing keeps two runs out of one folder
    fcntl = None

__all__ = [
    "ARGUMENTS",
    "RunFolder",
    "Checkpoint",
    "has_checkpoint",
    "read_metrics",
]

_CHECKPOINT = "checkpoint.npz"
_PARTS = ("parameter", "optimizer", "average", "best", "partial")
ARGUMENTS = "arguments.json"
_METRICS = "metrics.csv"
_RESULTS = (_CHECKPOINT, _METRICS, PARAMETERS)
_FILES = (*_RESULTS, ARGUMENTS, "learning-curve.png", "filters.png", "showcase.png")


def read_metrics(path):
    """The rows of metrics.csv of a run folder, as dicts of float (what is empty is left out); [] if there is none."""
    try:
        array_files.check_ordinary(os.path.join(path, _METRICS))
        with open(os.path.join(path, _METRICS), encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        rows = [{name: float(value) for name, value in row.items() if value} for row in rows]
        if not all(math.isfinite(value) for row in rows for value in row.values()):
            raise ValueError("not finite")
        return rows
    except (FileNotFoundError, NotADirectoryError):
        return []
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise InputError("%s in %s cannot be read; move it away" % (_METRICS, path)) from error


class Checkpoint:
    """State of a run after a whole epoch, or in the middle of one.

    epoch : int, whole epochs done; metrics : list of dict, one row each; arrays, optimizer_state, average (of
    parameters), best (of early stopping), partial (of an epoch that is not whole: its steps, seconds and what else its
    row needs; empty after a whole one) : name -> NumPy array. steps : int, done of the next epoch.
    """

    def __init__(self, epoch, arrays, optimizer_state, metrics, average=None, best=None, partial=None):
        self.epoch, self.arrays, self.optimizer_state, self.metrics = epoch, arrays, optimizer_state, metrics
        self.average, self.best, self.partial = average or {}, best or {}, partial or {}
        self.steps = int(self.partial.get("steps", 0))

    def content(self):
        """All of it as bytes, which `load` reads back from a file of them."""
        parts = zip(_PARTS, (self.arrays, self.optimizer_state, self.average, self.best, self.partial))
        content = {part + "/" + name: array for part, arrays in parts for name, array in arrays.items()}
        # The list of an archive's members has no checksum.
        progress = json.dumps({"epoch": self.epoch, "metrics": self.metrics, "arrays": list(content)})
        archive = io.BytesIO()  # first: on a full disk an archive that is half written fails once more when closed
        np.savez(archive, progress=np.array(progress), **content)
        return archive.getvalue()

    def save(self, path):
        content = self.content()
        with write_whole(path) as temporary, open(temporary, "wb") as file:
            file.write(content)

    @classmethod
    def load(cls, path):
        """Read a checkpoint; InputError if it is damaged (every array has a checksum in the archive)."""
        try:
            content = array_files.load_npz(path)
            progress = json.loads(str(content.pop("progress")))
            if progress.get("arrays", list(content)) != list(content):
                raise ValueError("its arrays are not those that were written")
            parts = {part: {} for part in _PARTS}
            for name, array in content.items():
                part, _, rest = name.partition("/")
                parts[part][rest] = array
                if name != "best/scores" and not np.isfinite(array).all():  # of classifiers no log Z is known
                    raise ValueError("%s is not finite" % name)
            arrays, optimizer_state, *kept = parts.values()
            checkpoint = cls(
                int(progress["epoch"]), arrays, optimizer_state, list(map(dict, progress["metrics"])), *kept
            )
            values = [value for row in checkpoint.metrics for value in row.values() if value is not None]
            if min(checkpoint.epoch, checkpoint.steps) < 0 or not all(map(math.isfinite, values)):
                raise ValueError("its numbers make no sense")
            return checkpoint
        except Exception as error:  # a torn archive can raise nearly anything
            raise InputError(
                "%s is not a whole checkpoint (%s: %s); delete it to train from the beginning"
                % (path, type(error).__name__, str(error).replace("\n", " "))
            ) from error


class RunFolder:
    """A folder under one training run's control, until it is closed.

    Raises InputError when the folder cannot be created or another run has it, when it holds a run and `resume` is
    false, and when it holds a run with other arguments and `resume` is true.
    """

    def __init__(self, path, default_name, resume):
        self.path = self._create(path, default_name, resume)
        self._lock()
        self.resuming = resume and os.path.exists(self.file(_CHECKPOINT))
        if not self.resuming and any(os.path.exists(self.file(name)) for name in _RESULTS):
            self.close()
            advice = "it has no %s to resume from" % _CHECKPOINT if resume else "continue it with --resume"
            raise InputError("%s already holds a run: %s, or choose another --output-dir" % (self.path, advice))
        self._remove_unfinished()

    @staticmethod
    def _create(path, default_name, resume):
        try:
            if path:
                os.makedirs(path, exist_ok=True)
                return path
            return _default_path(default_name, resume)
        except OSError as error:
            raise InputError(
                "cannot create the run folder %s (%s); choose another --output-dir" % (error.filename, error.strerror)
            ) from error

    def _lock(self):
        """Let no other run in until this process ends, however it ends."""
        if fcntl is None:
            return
        self._handle = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self.close()
            raise InputError("another run is at work in %s; choose another --output-dir" % self.path) from error

    def close(self):
        """Let other runs in."""
        if fcntl is not None:
            os.close(self._handle)

    def file(self, name):
        return os.path.join(self.path, name)

    def _remove_unfinished(self):
        """What a killed run was writing."""
        for name in os.listdir(self.path):
            if re.fullmatch(r"\.(%s)\..*\.part" % "|".join(map(re.escape, _FILES)), name):
                os.remove(self.file(name))

    def write_arguments(self, arguments, versions, free=()):
        """Record a run's arguments; a resumed run must have the same ones, but for the names in `free`."""
        if self.resuming:
            self._check_arguments({name: value for name, value in arguments.items() if name not in free})
        with write_whole(self.file(ARGUMENTS)) as temporary, open(temporary, "w", encoding="utf-8") as file:
            json.dump({"arguments": arguments, "versions": versions}, file, indent=2, sort_keys=True)
            file.write("\n")

    def _check_arguments(self, arguments):
        path = self.file(ARGUMENTS)
        if not os.path.exists(path):
            return  # then the shapes in the checkpoint are all there is to check
        try:
            array_files.check_ordinary(path)
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

    def save_checkpoint(self, checkpoint):
        checkpoint.save(self.file(_CHECKPOINT))

    def load_checkpoint(self):
        """The `Checkpoint` to resume from, or None."""
        return Checkpoint.load(self.file(_CHECKPOINT)) if self.resuming else None

    def write_parameters(self, arrays):
        """rbm.params, as `BinaryRBMBlock.load_parameters` reads it; arrays : name -> NumPy array."""
        with write_whole(self.file(PARAMETERS)) as temporary:
            array_files.save(temporary, arrays)

    def write_metrics(self, rows):
        """metrics.csv: a row an epoch; a column for whatever any row has."""
        columns = list(dict.fromkeys(name for row in rows for name in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        with write_whole(self.file(_METRICS)) as temporary, open(temporary, "w", encoding="utf-8") as file:
            file.write(text.getvalue())


def has_checkpoint(path, default_name):
    """Whether there is a run to resume in the folder `path`, or without a path under runs/."""
    return os.path.exists(os.path.join(path, _CHECKPOINT)) if path else _last_path(default_name) is not None


def _taken(default_name):
    """The numbers N of all runs/NAME-N."""
    with contextlib.suppress(FileNotFoundError):
        matches = (re.fullmatch(re.escape(default_name) + r"-(\d+)", name) for name in os.listdir("runs"))
        return [int(match.group(1)) for match in matches if match]
    return []


def _last_path(default_name):
    """The last runs/NAME-N with a checkpoint, or None."""
    paths = (os.path.join("runs", "%s-%d" % (default_name, number)) for number in sorted(_taken(default_name))[::-1])
    return next((path for path in paths if os.path.exists(os.path.join(path, _CHECKPOINT))), None)


def _default_path(default_name, resume):
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
