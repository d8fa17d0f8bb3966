"""Measurements of a run between epochs, by a monitor."""

from __future__ import annotations

from typing import Mapping

import numpy as np

from gluon_rbm.training.loop import EpochEnd
from gluon_rbm.training.monitors import ImageMonitor, Row
from gluon_rbm.training.state import TrainState

__all__ = ["TEST", "Measurement"]

TEST = 3  # number, in keys, of test images that are scored only at the end


class Measurement:
    """Scores images after an epoch, and keeps the best parameters.

    It is a `gluon_rbm.training.callbacks.Measure`.

    Parameters
    ----------
    monitor
        Computes the scores.
    images
        Name -> images to score. The first entry decides which parameters are best.
    test_images
        Test images. They are scored once, at the end of the run, if `images` does not hold them.
    """

    def __init__(self, monitor: ImageMonitor, images: Mapping[str, np.ndarray], test_images: np.ndarray) -> None:
        self._monitor, self._images, self._test_images = monitor, images, test_images

    def __call__(self, state: TrainState, end: EpochEnd) -> tuple[Row, str]:
        """Return columns of the metrics, and the line to print."""
        monitor, chosen_by = self._monitor, next(iter(self._images))
        log_z = monitor.begin(end.number, state.current(), state.learner.arrays())
        scores = {
            name: monitor.score(section, images, state.current(), log_z)
            for section, (name, images) in enumerate(self._images.items(), 1)
        }
        state.best.note(monitor.merit(scores[chosen_by]), log_z, state.current())
        row, message = monitor.row(scores), monitor.message(scores)
        if state.is_over and "test" not in scores:
            log_z = state.best.log_z if state.best.arrays else log_z
            score = monitor.score(TEST, self._test_images, state.result(), log_z)
            # The score belongs in the row of the epoch that the result comes from. With early
            # stopping, this is an earlier epoch.
            columns = monitor.columns(chosen_by, scores[chosen_by])
            rows = [earlier for earlier in [*state.metrics, {**end.row, **row}] if columns.keys() <= earlier.keys()]
            of = rows[-1 - state.best.worse]
            (row if of["epoch"] == end.number else of).update(monitor.columns("test", score))
            message += "; %s after epoch %d" % (monitor.brief("test", score), of["epoch"])
        return row, "Epoch %d completed with %s" % (end.number, message)
