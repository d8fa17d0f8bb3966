"""What a run does beside learning: progress, monitoring, TensorBoard, files. Each is a small object for `loop.fit`."""

from __future__ import annotations

import contextlib
import logging
import time
from typing import Any, Callable, Dict, Iterator, Mapping, Tuple

import numpy as np
from tqdm import tqdm

from gluon_rbm.backend import interruption
from gluon_rbm.backend.files import write_whole
from gluon_rbm.evaluation import plots
from gluon_rbm.training.checkpoint import Checkpoint
from gluon_rbm.training.loop import EpochEnd
from gluon_rbm.training.run_folder import RunFolder
from gluon_rbm.training.state import Lengths, TrainState
from gluon_rbm.training.tensorboard import FOLDER, TensorBoardWriter

__all__ = ["Measure", "Monitor", "Pictures", "Progress", "RunFiles", "TensorBoard", "report", "save_picture"]

logger = logging.getLogger(__name__)

Measure = Callable[[TrainState, EpochEnd], Tuple[Dict[str, Any], str]]  #: columns of metrics, and the line to print
Pictures = Callable[[TrainState, Checkpoint], Dict[str, Tuple[np.ndarray, Tuple[int, ...]]]]  #: name -> images, shape


class Progress:
    """A progress bar on a terminal: an `OnStep` callback, and a context."""

    def __init__(self, state: TrainState) -> None:
        lengths = state.lengths
        self._bar = tqdm(
            total=lengths.epochs * lengths.steps,
            initial=state.epoch * lengths.steps + state.step,
            unit="batch",
            disable=None,  # where there is no terminal
            dynamic_ncols=True,
        )

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *error: Any) -> None:
        self._bar.close()

    def __call__(self, state: TrainState, output: Any) -> None:
        self._bar.set_description("epoch %d/%d" % (state.epoch + 1, state.lengths.epochs), refresh=False)
        self._bar.update(state.steps_at_once)


class Monitor:
    """Measures the run after every so many epochs, and after the last: an `OnEpoch` callback.

    A signal may come while it measures: what was measured is then thrown away.
    """

    def __init__(self, every: int, measure: Measure, observe: Callable[[EpochEnd], dict[str, Any]]) -> None:
        """
        Parameters
        ----------
        every : int
            Epochs between two measurements.
        measure : callable
        observe : callable
            Columns of the metrics that cost nothing; every epoch has them.
        """
        self._every, self._measure, self._observe = every, measure, observe

    def __call__(self, state: TrainState, end: EpochEnd) -> None:
        end.row.update(self._observe(end))
        end.message = "Epoch %d completed" % end.number
        end.monitored = end.number % self._every == 0 or end.number == state.lengths.epochs
        if end.monitored:
            started = time.perf_counter()
            with interruption.allowed():
                row, end.message = self._measure(state, end)
            end.row.update(row, monitor_seconds=round(time.perf_counter() - started, 3))
        state.metrics.append(end.row)


class TensorBoard:
    """Shows each epoch to TensorBoard, before its checkpoint is saved: an `OnEpoch` callback.

    A run that goes on from the checkpoint before writes the epoch anew.
    """

    def __init__(self, folder: RunFolder, state: TrainState, pictures: Pictures) -> None:
        self._pictures = pictures
        # What an epoch changes is not known of one that was done in part before.
        before = {} if state.step else {name: array.asnumpy() for name, array in state.learned().items()}
        self._writer = TensorBoardWriter(folder.file(FOLDER), state.epoch, state.metrics, before)

    def __call__(self, state: TrainState, end: EpochEnd) -> None:
        pictures = self._pictures(state, end.checkpoint) if end.monitored else {}
        learned = {name: end.checkpoint.arrays[name] for name in state.learner.parameter_names.values()}
        self._writer.write(end.number, state.metrics, learned, pictures)

    def close(self) -> None:
        """Close the file of entries."""
        self._writer.close()


class RunFiles:
    """Keeps a run on disk: its checkpoint first, which holds all the rest. An `OnEpoch` callback, and a `Save`.

    Parameters
    ----------
    folder : RunFolder
    lengths : Lengths
    results : callable
        (arrays of the checkpoint) -> what goes into the file of parameters.
    """

    def __init__(
        self,
        folder: RunFolder,
        lengths: Lengths,
        results: Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]],
    ) -> None:
        self._folder, self._lengths, self._results = folder, lengths, results
        self.saved = ""  #: which state the checkpoint on disk is of, in words

    def __call__(self, state: TrainState, end: EpochEnd) -> None:
        before = end.checkpoint
        self.save(
            Checkpoint(
                end.number,
                before.arrays,
                before.optimizer_state,
                state.metrics,
                state.average.state(),
                state.best.state(),
            )
        )

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint and what it holds for others."""
        self._folder.save_checkpoint(checkpoint)
        self.note(checkpoint)

    def note(self, checkpoint: Checkpoint) -> None:
        """The checkpoint is on disk; its parameters and metrics may be older there, or gone."""
        self.saved = _described(checkpoint, self._lengths)
        self._folder.write_parameters(self._results(checkpoint.arrays))
        self._folder.write_metrics(checkpoint.metrics)

    @contextlib.contextmanager
    def told_when_interrupted(self) -> Iterator[None]:
        """In the block, let `Interrupted` say where the run goes on from."""
        try:
            yield
        except interruption.Interrupted as interrupted:
            saved = "%s; --resume goes on from there" % self.saved
            interrupted.where = saved if self.saved else "before anything was saved"
            raise


def _described(checkpoint: Checkpoint, lengths: Lengths) -> str:
    if not checkpoint.steps:
        return "after epoch %d" % checkpoint.epoch
    return "in epoch %d after %d of %d steps" % (checkpoint.epoch + 1, checkpoint.steps, lengths.steps)


def report(state: TrainState, end: EpochEnd) -> None:
    """Say the line of an epoch that was monitored; of another there is no news. An `OnEpoch` callback."""
    if end.monitored:
        logger.info("%s (%.1f s)", end.message, end.row["seconds"])


def save_picture(folder: RunFolder, name: str, figure: Any) -> None:
    """Write a Matplotlib figure into a run folder, whole or not at all."""
    with write_whole(folder.file(name)) as temporary:
        plots.save(figure, temporary)
