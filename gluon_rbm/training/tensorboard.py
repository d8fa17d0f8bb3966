"""Files for TensorBoard (--tensorboard): numbers, parameters and pictures of each epoch.

tensorboardX makes the entries. They are on disk before the checkpoint of the epoch. We do not use
tensorboardX's SummaryWriter: it passes entries to a thread through a queue, its flush method does
not wait for the queue, and errors in the thread would go unnoticed.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import Any, Iterator, Mapping, Sequence

import numpy as np

from gluon_rbm.errors import InputError
from gluon_rbm.evaluation import tiles

__all__ = ["FOLDER", "TensorBoardWriter", "check"]

FOLDER = "tensorboard"  # in the run folder

_BINS = 64


def check(is_asked: bool) -> None:
    """Check that tensorboardX is installed if --tensorboard is given.

    Parameters
    ----------
    is_asked
        Whether the flag is given.

    Raises
    ------
    InputError
        The flag is given, but tensorboardX is not installed.
    """
    if is_asked:
        try:
            import tensorboardX  # noqa: F401
        except ImportError as error:
            raise InputError(
                "--tensorboard needs tensorboardX, which is not installed; pip install tensorboardX, or leave "
                "out --tensorboard"
            ) from error


class TensorBoardWriter:
    """Writes the entries of a run into a folder.

    The tags are metrics/COLUMN, parameters/NAME, updates/NAME (changes of the parameters in an
    epoch) and pictures/NAME. TensorBoard discards older entries for epochs after `epoch`.

    Parameters
    ----------
    path
        Folder for the entries.
    epoch
        Number of complete epochs.
    metrics
        Rows of these epochs.
    arrays
        Learned parameters, name -> NumPy array. Empty if updates of the next epoch are not known.

    Raises
    ------
    InputError
        The folder cannot be written.
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

        event_pb2: Any = generated  # Any, because its classes are made at run time
        self._path, self._summary, self._make_event = os.path.abspath(path), summary, event_pb2.Event
        with self._errors():
            os.makedirs(self._path, exist_ok=True)
            # A new folder also gets the epochs that were trained without --tensorboard.
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
        """Write the entries of an epoch.

        Parameters
        ----------
        epoch
            Number of the epoch, from 1.
        metrics
            All rows so far. An earlier row may have a new column: the score of the test images,
            with early stopping.
        arrays
            Learned parameters, name -> NumPy array.
        pictures
            Name -> (images (n, pixels) in [0, 1], shape of an image).

        Raises
        ------
        InputError
            The folder cannot be written.
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
            picture = np.uint8(255 * tiles.tiles(images, shape).clip(0, 1) + 0.5)
            layout = "HW" if picture.ndim == 2 else "HWC"
            entries.append((epoch, self._summary.image("pictures/" + name, picture, dataformats=layout)))
        with self._errors():
            for step, entry in entries:
                self._write(step, summary=entry)
            self._writer.flush()
        self._shown.update(points)
        self._before = arrays

    def _write(self, step: int, **content: Any) -> None:
        self._writer.write_event(self._make_event(step=step, wall_time=time.time(), **content))

    def close(self) -> None:
        """Close the file of entries.

        Raises
        ------
        InputError
            The file cannot be written.
        """
        with self._errors():
            self._writer.close()

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise InputError(
                "cannot write in %s (%s); make it writable, or leave out --tensorboard" % (self._path, error.strerror)
            ) from error


def _points(metrics: Sequence[Mapping[str, Any]]) -> dict[tuple[int, str], float]:
    """Return the numbers in rows of metrics: (epoch, column) -> value."""
    return {
        (row["epoch"], name): value
        for row in metrics
        for name, value in row.items()
        if name != "epoch" and value is not None
    }
