"""What TensorBoard shows of a run (`--tensorboard`): numbers, parameters and pictures, epoch by epoch.

tensorboardX makes the entries, and they are on disk before the epoch's checkpoint is. Its `SummaryWriter` is not used:
it hands them to a thread, through a queue that its `flush` does not wait for, and an error there would not be seen.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import Any, Iterator, Mapping, Sequence

import numpy as np

from gluon_rbm.errors import InputError
from gluon_rbm.evaluation import plots

__all__ = ["FOLDER", "TensorBoardWriter", "check"]

FOLDER = "tensorboard"  # of the run folder

_BINS = 64


def check(is_asked: bool) -> None:
    """InputError if `--tensorboard` is asked for and cannot be had."""
    if is_asked:
        try:
            import tensorboardX  # noqa: F401
        except ImportError as error:
            raise InputError(
                "--tensorboard needs tensorboardX, which is not installed: pip install tensorboardX, or leave "
                "--tensorboard out"
            ) from error


class TensorBoardWriter:
    """Writes a run's entries into a folder; what is there of epochs that are not done yet, TensorBoard forgets.

    path : of the folder
    epoch, metrics, arrays : epochs done, their rows, and what has been learned (name -> NumPy array)

    Tags are metrics/COLUMN; parameters/NAME and, of what they changed by in the epoch, updates/NAME; pictures/NAME.
    Raises InputError where nothing can be written.
    """

    def __init__(
        self,
        path: str,
        epoch: int,
        metrics: Sequence[Mapping[str, Any]],
        arrays: Mapping[str, np.ndarray],
    ) -> None:
        from tensorboardX import event_file_writer, summary
        from tensorboardX.proto import event_pb2 as generated

        event_pb2: Any = generated  # its classes are made at run time
        self._path, self._summary, self._make_event = os.path.abspath(path), summary, event_pb2.Event
        with self._errors():
            os.makedirs(self._path, exist_ok=True)
            # What was trained without a watcher is shown once there is one.
            self._shown = set(_points(metrics)) if os.listdir(self._path) else set()
            prefix = os.path.join(self._path, "events")
            self._writer = event_file_writer.EventsWriter(prefix, ".from-epoch-%d" % (epoch + 1))
            self._write(epoch + 1, session_log=event_pb2.SessionLog(status=event_pb2.SessionLog.START))
        self._before = arrays

    def write(
        self,
        epoch: int,
        metrics: Sequence[Mapping[str, Any]],
        arrays: Mapping[str, np.ndarray],
        pictures: Mapping[str, tuple[np.ndarray, tuple[int, ...]]],
    ) -> None:
        """An epoch's entries.

        metrics : all rows so far, as a column may come late (that of the test images, with early stopping)
        arrays : what has been learned
        pictures : name -> (images (n, pixels) in [0, 1], their shape)
        """
        points = _points(metrics)
        entries = [
            (step, self._summary.scalar("metrics/" + name, value))
            for (step, name), value in points.items()
            if (step, name) not in self._shown
        ]
        changes = {name: array - self._before[name] for name, array in arrays.items() if name in self._before}
        for kind, values in (("parameters/", arrays), ("updates/", changes)):
            entries += [(epoch, self._summary.histogram(kind + name, array, _BINS)) for name, array in values.items()]
        for name, (images, shape) in pictures.items():
            tiles = np.uint8(255 * plots.tiles(images, shape).clip(0, 1) + 0.5)
            layout = "HW" if tiles.ndim == 2 else "HWC"
            entries.append((epoch, self._summary.image("pictures/" + name, tiles, dataformats=layout)))
        with self._errors():
            for step, entry in entries:
                self._write(step, summary=entry)
            self._writer.flush()
        self._shown.update(points)
        self._before = arrays

    def _write(self, step: int, **content: Any) -> None:
        self._writer.write_event(self._make_event(step=step, wall_time=time.time(), **content))

    def close(self) -> None:
        with self._errors():
            self._writer.close()

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise InputError(
                "cannot write in %s (%s); see to it, or leave --tensorboard out" % (self._path, error.strerror)
            ) from error


def _points(metrics: Sequence[Mapping[str, Any]]) -> dict[tuple[int, str], float]:
    """The numbers of rows of metrics: (epoch, column) -> value."""
    return {
        (row["epoch"], name): value
        for row in metrics
        for name, value in row.items()
        if name != "epoch" and value is not None
    }
