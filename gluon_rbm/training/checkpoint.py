"""What a run keeps to go on from: one `.npz` archive, read with care."""

from __future__ import annotations

import io
import json
import math
from typing import Any, BinaryIO, Mapping

import numpy as np

from gluon_rbm.backend import array_files
from gluon_rbm.backend.files import write_whole
from gluon_rbm.errors import InputError

__all__ = ["Checkpoint", "Row"]

_SECTIONS = ("parameter", "optimizer", "average", "best", "partial")

Row = "dict[str, Any]"  # of metrics: column -> number, or None for what is not finite


class Checkpoint:
    """A `TrainState` on the host, after a whole epoch or in the middle of one.

    Parameters
    ----------
    epoch : int
        Whole epochs done.
    arrays, optimizer_state : name -> NumPy array
        Parameters and chains; what the optimizer keeps of each parameter.
    metrics : list of dict
        One row for each epoch.
    average, best : name -> NumPy array, optional
        Of averaged parameters, and of early stopping.
    partial : name -> NumPy array, optional
        Of an epoch that is not whole: its steps, its seconds, and what else its row of metrics needs.
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
        """Steps done of the next epoch."""
        return int(self.partial.get("steps", 0))

    def content(self) -> bytes:
        """All of it as bytes, which `load` reads back from a file of them."""
        sections = zip(_SECTIONS, (self.arrays, self.optimizer_state, self.average, self.best, self.partial))
        content = {section + "/" + name: array for section, arrays in sections for name, array in arrays.items()}
        # ZIP does not checksum its directory, so we record the expected names.
        progress = json.dumps({"epoch": self.epoch, "metrics": self.metrics, "arrays": list(content)})
        archive = io.BytesIO()  # first: on a full disk an archive that is half written fails once more when closed
        np.savez(archive, progress=np.array(progress), **content)  # pyright: ignore[reportArgumentType]
        return archive.getvalue()

    def save(self, path: str) -> None:
        """Write it, whole or not at all."""
        content = self.content()
        with write_whole(path) as temporary, open(temporary, "wb") as file:
            file.write(content)

    @classmethod
    def load(cls, path: str | BinaryIO) -> Checkpoint:
        """Read a checkpoint; InputError if it is damaged (every array has a checksum in the archive)."""
        try:
            checkpoint = cls._read(path)
            values = [value for row in checkpoint.metrics for value in row.values() if value is not None]
            if min(checkpoint.epoch, checkpoint.steps) < 0 or not all(map(math.isfinite, values)):
                raise ValueError("its numbers make no sense")
            if not all("epoch" in row for row in checkpoint.metrics):
                raise ValueError("its metrics lack an epoch")
            return checkpoint
        except Exception as error:  # a torn archive can raise nearly anything
            raise InputError(
                "%s is not a whole checkpoint (%s: %s), and the run cannot go on: train anew with another --output-dir"
                % (path, type(error).__name__, str(error).replace("\n", " "))
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
            if name != "best/scores" and not np.isfinite(array).all():  # of classifiers no log Z is known
                raise ValueError("%s is not finite" % name)
        arrays, optimizer_state, average, best, partial = sections.values()
        metrics = list(map(dict, progress["metrics"]))
        return cls(int(progress["epoch"]), arrays, optimizer_state, metrics, average, best, partial)
