"""Checkpoints: everything that a run needs to continue, in one .npz archive. Reading checks it."""

from __future__ import annotations

import io
import json
import math
from typing import Any, BinaryIO, Mapping

import numpy as np

from gluon_rbm.backend import array_files
from gluon_rbm.backend.files import write_whole
from gluon_rbm.errors import InputError

__all__ = ["Checkpoint"]

_SECTIONS = ("parameter", "optimizer", "average", "best", "partial")


class Checkpoint:
    """Copy of a `gluon_rbm.training.state.TrainState` on the host, after an epoch or within one.

    Parameters
    ----------
    epoch
        Number of complete epochs.
    arrays
        Parameters and chains: name -> NumPy array.
    optimizer_state
        State of the optimizer: name -> NumPy array.
    metrics
        One row for each epoch.
    average
        State of the averaged parameters: name -> NumPy array.
    best
        State of early stopping: name -> NumPy array.
    partial
        Within an epoch: number of steps done, seconds they took, and other values that the epoch's
        row of metrics needs. Name -> NumPy array.
    """

    def __init__(
        self,
        epoch: int,
        arrays: Mapping[str, np.ndarray],
        optimizer_state: Mapping[str, np.ndarray],
        metrics: list[dict[str, Any]],
        average: Mapping[str, np.ndarray] | None = None,
        best: Mapping[str, np.ndarray] | None = None,
        partial: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        self.epoch, self.arrays, self.optimizer_state, self.metrics = epoch, arrays, optimizer_state, metrics
        self.average, self.best, self.partial = average or {}, best or {}, partial or {}

    @property
    def steps(self) -> int:
        """Number of steps done in the next epoch.

        Returns
        -------
        int
            0 after a complete epoch.
        """
        return int(self.partial.get("steps", 0))

    def content(self) -> bytes:
        """Return the checkpoint as bytes.

        Returns
        -------
        bytes
            Content of a file that `load` reads.
        """
        sections = zip(_SECTIONS, (self.arrays, self.optimizer_state, self.average, self.best, self.partial))
        content = {section + "/" + name: array for section, arrays in sections for name, array in arrays.items()}
        # ZIP has no checksum for its directory, so the names of all arrays are recorded.
        progress = json.dumps({"epoch": self.epoch, "metrics": self.metrics, "arrays": list(content)})
        # The archive is made in memory. On a full disk, a half-written archive would fail a second
        # time when it is closed.
        archive = io.BytesIO()
        np.savez(archive, progress=np.array(progress), **content)  # pyright: ignore[reportArgumentType]
        return archive.getvalue()

    def save(self, path: str) -> None:
        """Write the checkpoint to a file, completely or not at all.

        Parameters
        ----------
        path
            File to write.

        Raises
        ------
        InputError
            The file cannot be written.
        """
        content = self.content()
        with write_whole(path) as temporary, open(temporary, "wb") as file:
            file.write(content)

    @classmethod
    def load(cls, path: str | BinaryIO) -> Checkpoint:
        """Read a checkpoint. The archive holds a checksum of every array.

        Parameters
        ----------
        path
            File to read.

        Returns
        -------
        Checkpoint
            The checkpoint.

        Raises
        ------
        InputError
            The checkpoint is damaged or cannot be read.
        """
        try:
            checkpoint = cls._read(path)
            values = [value for row in checkpoint.metrics for value in row.values() if value is not None]
            if min(checkpoint.epoch, checkpoint.steps) < 0 or not all(map(math.isfinite, values)):
                raise ValueError("its numbers are invalid")
            if not all("epoch" in row for row in checkpoint.metrics):
                raise ValueError("a row of its metrics has no epoch")
            return checkpoint
        except Exception as error:  # a damaged archive can raise almost any error
            raise InputError(
                "%s is not a complete checkpoint (%s: %s), so this run cannot be resumed; start a new run with another "
                "--output-dir" % (path, type(error).__name__, str(error).replace("\n", " "))
            ) from error

    @classmethod
    def _read(cls, path: str | BinaryIO) -> Checkpoint:
        content = array_files.load_npz(path)
        progress = json.loads(str(content.pop("progress")))
        if progress.get("arrays", list(content)) != list(content):
            raise ValueError("its arrays are not those that were written")
        sections: dict[str, dict[str, np.ndarray]] = {section: {} for section in _SECTIONS}
        for name, array in content.items():
            section, _, rest = name.partition("/")
            sections[section][rest] = array
            # The scores of early stopping may be NaN: classifiers have no estimate of log Z.
            if name != "best/scores" and not np.isfinite(array).all():
                raise ValueError("%s is not finite" % name)
        arrays, optimizer_state, average, best, partial = sections.values()
        metrics = list(map(dict, progress["metrics"]))
        return cls(int(progress["epoch"]), arrays, optimizer_state, metrics, average, best, partial)
