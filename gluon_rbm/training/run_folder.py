"""The folder of a training run. Files are written completely or not at all, and read to resume."""

from __future__ import annotations

import contextlib
import csv
import io
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
from gluon_rbm.training.run_records import ARGUMENTS, METRICS, read_arguments, read_metrics

__all__ = ["RunFolder", "check_same", "default_name", "has_checkpoint", "newest_run"]

_CHECKPOINT = "checkpoint.npz"
_LOCK = ".lock"
_RESULTS = (_CHECKPOINT, METRICS, PARAMETERS)
_PICTURES = ("learning-curve.png", "filters.png", "showcase.png")
_FILES = (*_RESULTS, ARGUMENTS, *_PICTURES)


def check_same(
    path: str, recorded: Mapping[str, Any], arguments: Mapping[str, Any], resumable: Sequence[str] = ()
) -> None:
    """Check that a run's arguments are the recorded ones.

    Parameters
    ----------
    path
        Run folder, for the error message.
    recorded
        Recorded arguments: name -> value. Arguments that are not recorded are not compared.
    arguments
        Arguments of the resumed run.
    resumable
        Names of the arguments that may differ.

    Raises
    ------
    InputError
        An argument differs.
    """
    for name, value in arguments.items():
        if name in resumable or name not in recorded or recorded[name] == value:
            continue
        if name == "data_sha256":
            raise InputError(
                "the run in %s was trained on other data (--dataset %s); resume it with the same data"
                % (path, recorded.get("dataset"))
            )
        remark = (
            "its schedule, --average or --early-stopping depends on the number"
            if name == "num_epoch"
            else "it cannot change"
        )
        raise InputError(
            "the run in %s has --%s %s, not %s, and %s; leave the flag out to resume the run"
            % (path, name.replace("_", "-"), recorded[name], value, remark)
        )


class RunFolder:
    """Folder of a training run. Until it is closed, no other run can use it.

    Parameters
    ----------
    path
        Folder to use or create; None: a new folder under runs/.
    default_name
        NAME of the new folder runs/NAME-1, runs/NAME-2 and so on.
    resume
        Whether to continue the run in the folder.

    Attributes
    ----------
    path
        Path of the folder.
    resuming
        Whether there is a checkpoint to continue from.

    Raises
    ------
    InputError
        The folder cannot be created or written, or another run uses it. Or it holds a run or
        pictures, and `resume` is False. Or it holds parts of a run or pictures but no checkpoint,
        and `resume` is True.
    """

    def __init__(self, path: str | None, default_name: str, resume: bool) -> None:
        self.path = self._create(path, default_name)
        self._check_free(resume)  # before a lock file is made: a refused folder does not change
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
        """Lock the folder against other runs, until this process ends for any reason."""
        lock = filelock.FileLock(self.file(_LOCK))
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout as error:
            raise InputError("another run is using %s; choose another --output-dir" % self.path) from error
        except OSError as error:
            raise InputError(
                "cannot write in %s (%s); choose another --output-dir" % (self.path, error.strerror)
            ) from error
        return lock

    def close(self) -> None:
        """Let other runs use the folder."""
        self._lock.release()

    def file(self, name: str) -> str:
        """Return the path of a file in the folder.

        Parameters
        ----------
        name
            Name of the file.

        Returns
        -------
        str
            The path.
        """
        return os.path.join(self.path, name)

    def _check_free(self, resume: bool) -> None:
        """Raise InputError if the run would overwrite files in the folder."""
        if resume and has_checkpoint(self.path):
            return
        if any(os.path.exists(self.file(name)) for name in _RESULTS):
            if resume:
                raise InputError(
                    "the run in %s has no %s to resume from; start a new run with another --output-dir"
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
        """Remove files that a killed run was writing."""
        for name in os.listdir(self.path):
            if re.fullmatch(r"\.(%s)\..*\.part" % "|".join(map(re.escape, _FILES)), name):
                with contextlib.suppress(OSError):  # if it is a folder, no run has made it
                    os.remove(self.file(name))

    def write_arguments(
        self, arguments: Mapping[str, Any], versions: Mapping[str, str], resumable: Sequence[str] = ()
    ) -> None:
        """Write arguments.json. The arguments of a resumed run must be the recorded ones.

        Parameters
        ----------
        arguments
            Name -> value.
        versions
            Name of a library -> version.
        resumable
            Names of the arguments that a resumed run may change.

        Raises
        ------
        InputError
            An argument differs, the run has trained more than num_epoch epochs already, or a file
            cannot be read or written.
        """
        if self.resuming:
            # If no arguments are recorded, only the shapes in the checkpoint are checked, later on.
            check_same(self.path, read_arguments(self.path), arguments, resumable)
            learned = max((int(row["epoch"]) for row in read_metrics(self.path)), default=0)
            if arguments.get("num_epoch", learned) < learned:
                raise InputError(
                    "the run in %s has already trained for %d epochs; give --num-epoch %d or more"
                    % (self.path, learned, learned)
                )
        write_json(self.file(ARGUMENTS), {"arguments": arguments, "versions": versions}, sort_keys=True)

    def save_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Write checkpoint.npz.

        Parameters
        ----------
        checkpoint
            Checkpoint to write.

        Raises
        ------
        InputError
            The file cannot be written.
        """
        checkpoint.save(self.file(_CHECKPOINT))

    def load_checkpoint(self) -> Checkpoint | None:
        """Read the checkpoint to resume from.

        Returns
        -------
        Checkpoint or None
            The checkpoint; None if the run does not resume.

        Raises
        ------
        InputError
            The checkpoint is damaged. The message says whether rbm.params is intact.
        """
        if not self.resuming:
            return None
        try:
            return Checkpoint.load(self.file(_CHECKPOINT))
        except InputError as error:
            path, kept = self.file(PARAMETERS), ""
            with contextlib.suppress(OSError, array_files.BrokenFile):
                array_files.load(path)
                kept = "; %s is intact: keep it, the commands can read it" % path
            raise InputError(str(error) + kept) from error

    def write_parameters(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Write rbm.params, which BinaryRBMBlock.load_parameters reads.

        Parameters
        ----------
        arrays
            Name -> NumPy array.

        Raises
        ------
        InputError
            The file cannot be written.
        """
        with write_whole(self.file(PARAMETERS)) as temporary:
            array_files.save(temporary, arrays)

    def write_metrics(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write metrics.csv, with a row for each epoch.

        Parameters
        ----------
        rows
            Column -> value for each row. The file has all columns that occur.

        Raises
        ------
        InputError
            The file cannot be written.
        """
        columns = list(dict.fromkeys(name for row in rows for name in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        with write_whole(self.file(METRICS)) as temporary, open(temporary, "w", encoding="utf-8") as file:
            file.write(text.getvalue())


def has_checkpoint(path: str | None) -> bool:
    """Whether a folder holds a run that can be resumed.

    Parameters
    ----------
    path
        Folder, or None.

    Returns
    -------
    bool
        True if the folder holds a checkpoint.
    """
    return path is not None and os.path.exists(os.path.join(path, _CHECKPOINT))


def default_name(kind: str, dataset: str) -> str:
    """Return NAME of the default run folders runs/NAME-1, runs/NAME-2 and so on.

    Parameters
    ----------
    kind
        Kind of the run: gluon, module, multinary or gaussian.
    dataset
        Name of the data set, or path of a file.

    Returns
    -------
    str
        KIND-DATASET; for a path, DATASET is the file name without its extension.
    """
    return "%s-%s" % (kind, os.path.splitext(os.path.basename(os.path.normpath(dataset)))[0])


def newest_run(kind: str, dataset: str | None = None) -> str | None:
    """Find the run folder under runs/ with the newest checkpoint.

    Parameters
    ----------
    kind
        Kind of the run, as in `default_name`.
    dataset
        Name or path of the data set; None: any.

    Returns
    -------
    str or None
        Path of the folder; None if there is none.
    """
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
