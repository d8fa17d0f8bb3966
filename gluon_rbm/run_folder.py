"""The folder of a training run: what is written there, whole or not at all, and what is read back to resume."""

import contextlib
import csv
import io
import json
import os
import re
import tempfile

import numpy as np

from gluon_rbm.errors import InputError

__all__ = ["RunFolder", "Checkpoint", "write_whole"]

_CHECKPOINT = "checkpoint.npz"
_ARGUMENTS = "arguments.json"


@contextlib.contextmanager
def write_whole(path):
    """A path to write to, which takes the place of `path` at once when the block ends well, and never before.

    Raises InputError when the folder cannot be written.
    """
    folder, name = os.path.split(os.path.abspath(path))
    try:
        handle, temporary = tempfile.mkstemp(prefix="." + name + ".", suffix=".part", dir=folder)
        os.close(handle)
    except OSError as error:
        raise InputError("cannot write in %s (%s); choose another --output-dir" % (folder, error.strerror)) from error
    try:
        yield temporary
        _flush_to_disk(temporary)
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(
            "cannot write %s (%s); free some space or choose another --output-dir" % (path, error.strerror or error)
        ) from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(temporary)


def _flush_to_disk(path):
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


class Checkpoint:
    """State of a run after a whole epoch.

    epoch : int, epochs done; arrays, optimizer_state : name -> NumPy array; metrics : list of dict, one row each.
    """

    def __init__(self, epoch, arrays, optimizer_state, metrics):
        self.epoch, self.arrays, self.optimizer_state, self.metrics = epoch, arrays, optimizer_state, metrics

    def save(self, path):
        content = {"parameter/" + name: array for name, array in self.arrays.items()}
        content.update({"optimizer/" + name: array for name, array in self.optimizer_state.items()})
        progress = json.dumps({"epoch": self.epoch, "metrics": self.metrics})
        with write_whole(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, progress=np.array(progress), **content)

    @classmethod
    def load(cls, path):
        """Read a checkpoint; InputError if it is damaged (every array has a checksum in the archive)."""
        try:
            with np.load(path, allow_pickle=False) as archive:
                content = {name: archive[name] for name in archive.files}
            progress = json.loads(str(content.pop("progress")))
            parts = {"parameter": {}, "optimizer": {}}
            for name, array in content.items():
                part, _, rest = name.partition("/")
                parts[part][rest] = array
            return cls(int(progress["epoch"]), parts["parameter"], parts["optimizer"], list(progress["metrics"]))
        except Exception as error:  # a torn archive can raise nearly anything
            raise InputError(
                "%s is not a whole checkpoint (%s: %s); delete it to train from the beginning"
                % (path, type(error).__name__, str(error).replace("\n", " "))
            ) from error


class RunFolder:
    """A folder under one training run's control.

    Raises InputError when it cannot be created or written, when it holds a run and `resume` is false, and when it holds
    a run with other arguments and `resume` is true.
    """

    def __init__(self, path, default_name, resume):
        self.path = path or _default_path(default_name, resume)
        holds_run = os.path.exists(self.file(_CHECKPOINT))
        self.resuming = resume and holds_run
        if holds_run and not resume:
            raise InputError(
                "%s already holds a run; continue it with --resume or choose another --output-dir" % self.path
            )
        try:
            os.makedirs(self.path, exist_ok=True)
        except OSError as error:
            raise InputError(
                "cannot create the run folder %s (%s); choose another --output-dir" % (self.path, error.strerror)
            ) from error
        self._remove_unfinished()

    def file(self, name):
        return os.path.join(self.path, name)

    def _remove_unfinished(self):
        """What a killed run was writing."""
        for name in os.listdir(self.path):
            if name.startswith(".") and name.endswith(".part"):
                os.remove(self.file(name))

    def write_arguments(self, arguments, versions, free=()):
        """Record a run's arguments; a resumed run must have the same ones, but for the names in `free`."""
        if self.resuming:
            self._check_arguments({name: value for name, value in arguments.items() if name not in free})
        with write_whole(self.file(_ARGUMENTS)) as temporary, open(temporary, "w", encoding="utf-8") as file:
            json.dump({"arguments": arguments, "versions": versions}, file, indent=2, sort_keys=True)
            file.write("\n")

    def _check_arguments(self, arguments):
        try:
            with open(self.file(_ARGUMENTS), encoding="utf-8") as file:
                recorded = json.load(file)["arguments"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError("%s cannot be read; choose another --output-dir" % self.file(_ARGUMENTS)) from error
        for name, value in arguments.items():
            if name in recorded and recorded[name] != value:
                raise InputError(
                    "the run in %s has --%s %s, not %s; resume it with the same arguments"
                    % (self.path, name.replace("_", "-"), recorded[name], value)
                )

    def save_checkpoint(self, checkpoint):
        checkpoint.save(self.file(_CHECKPOINT))

    def load_checkpoint(self):
        """The `Checkpoint` to resume from, or None."""
        return Checkpoint.load(self.file(_CHECKPOINT)) if self.resuming else None

    def write_metrics(self, rows):
        """metrics.csv: a row an epoch; a column for whatever any row has."""
        columns = list(dict.fromkeys(name for row in rows for name in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        with write_whole(self.file("metrics.csv")) as temporary, open(temporary, "w", encoding="utf-8") as file:
            file.write(text.getvalue())


def _default_path(default_name, resume):
    """runs/NAME-N: the next N, or to resume the last one there is."""
    taken = [0]
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir("runs"):
            match = re.fullmatch(re.escape(default_name) + r"-(\d+)", name)
            taken += [int(match.group(1))] if match else []
    return os.path.join("runs", "%s-%d" % (default_name, max(max(taken), 1) if resume else max(taken) + 1))
