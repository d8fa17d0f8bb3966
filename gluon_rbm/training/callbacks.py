"""Callbacks for `gluon_rbm.training.loop.fit`: progress bar, monitoring, TensorBoard, files."""

from __future__ import annotations

import contextlib
import logging
import shlex
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

#: returns columns of metrics, and a line to print
Measure = Callable[[TrainState, EpochEnd], Tuple[Dict[str, Any], str]]
#: returns images and their shape by name
Pictures = Callable[[TrainState, Checkpoint], Dict[str, Tuple[np.ndarray, Tuple[int, ...]]]]


class Progress:
    """Progress bar on a terminal: a context manager, and a `gluon_rbm.training.loop.OnStep`.

    Parameters
    ----------
    state
        State that the run starts from.
    """

    def __init__(self, state: TrainState) -> None:
        lengths = state.lengths
        self._bar = tqdm(
            total=lengths.epochs * lengths.steps,
            initial=state.epoch * lengths.steps + state.step,
            unit="batch",
            disable=None,  # tqdm then draws no bar without a terminal
            dynamic_ncols=True,
        )

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *error: Any) -> None:
        self._bar.close()

    def __call__(self, state: TrainState, output: Any) -> None:
        """Advance the bar by the steps of the last call of `gluon_rbm.training.loop.Step`."""
        self._bar.set_description("epoch %d/%d" % (state.epoch + 1, state.lengths.epochs), refresh=False)
        self._bar.update(state.steps_at_once)


class Monitor:
    """Measures the run at intervals and after the last epoch: a `gluon_rbm.training.loop.OnEpoch`.

    A signal may interrupt a measurement, and its results are then lost.

    Parameters
    ----------
    every
        Epochs between two measurements.
    measure
        Returns columns of the metrics, and the line to print.
    observe
        Returns cheap columns of the metrics. Every epoch has them.
    """

    def __init__(self, every: int, measure: Measure, observe: Callable[[EpochEnd], dict[str, Any]]) -> None:
        self._every, self._measure, self._observe = every, measure, observe

    def __call__(self, state: TrainState, end: EpochEnd) -> None:
        """Complete the row of the epoch, and append it to the metrics."""
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
    """Writes each epoch for TensorBoard: a `gluon_rbm.training.loop.OnEpoch`.

    It writes an epoch before the checkpoint is saved. A run that resumes from the checkpoint before
    writes the epoch again.

    Parameters
    ----------
    folder
        Run folder.
    state
        State that the run starts from.
    pictures
        Returns the pictures of a monitored epoch.
    """

    def __init__(self, folder: RunFolder, state: TrainState, pictures: Pictures) -> None:
        self._pictures = pictures
        # In the middle of an epoch, the parameters before the epoch are not known.
        before = {} if state.step else {name: array.asnumpy() for name, array in state.learned().items()}
        self._writer = TensorBoardWriter(folder.file(FOLDER), state.epoch, state.metrics, before)

    def __call__(self, state: TrainState, end: EpochEnd) -> None:
        """Write the entries of the epoch, with pictures if it was monitored."""
        pictures = self._pictures(state, end.checkpoint) if end.monitored else {}
        learned = {name: end.checkpoint.arrays[name] for name in state.learner.parameter_names.values()}
        self._writer.write(end.number, state.metrics, learned, pictures)

    def close(self) -> None:
        """Close the file of TensorBoard entries."""
        self._writer.close()


class RunFiles:
    """Writes checkpoint, parameters and metrics: a `gluon_rbm.training.loop.OnEpoch`.

    The checkpoint comes first, because it holds everything else. The method `save` is a
    `gluon_rbm.training.loop.Save`.

    Parameters
    ----------
    folder
        Run folder.
    lengths
        Length of the run.
    results
        Arrays of the checkpoint -> content of rbm.params.
    """

    def __init__(
        self,
        folder: RunFolder,
        lengths: Lengths,
        results: Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]],
    ) -> None:
        self._folder, self._lengths, self._results = folder, lengths, results
        self.saved = ""  #: point of the run that the checkpoint on disk holds, in words

    def __call__(self, state: TrainState, end: EpochEnd) -> None:
        """Save the state after the epoch."""
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
        """Write a checkpoint, then the parameters and the metrics in it.

        Parameters
        ----------
        checkpoint
            Checkpoint to write.

        Raises
        ------
        InputError
            A file cannot be written.
        """
        self._folder.save_checkpoint(checkpoint)
        self.note(checkpoint)

    def note(self, checkpoint: Checkpoint) -> None:
        """Write the parameters and the metrics of a checkpoint that is on disk already.

        On disk, they may be older than the checkpoint or missing.

        Parameters
        ----------
        checkpoint
            Checkpoint on disk.

        Raises
        ------
        InputError
            A file cannot be written.
        """
        self.saved = _described(checkpoint, self._lengths)
        self._folder.write_parameters(self._results(checkpoint.arrays))
        self._folder.write_metrics(checkpoint.metrics)

    @contextlib.contextmanager
    def told_when_interrupted(self) -> Iterator[None]:
        """Add to an `Interrupted` raised in the block where the run will continue.

        Yields
        ------
        None
            Nothing.
        """
        try:
            yield
        except interruption.Interrupted as interrupted:
            saved = "%s; --resume --output-dir %s continues from there" % (self.saved, shlex.quote(self._folder.path))
            interrupted.where = saved if self.saved else "before anything was saved"
            raise


def _described(checkpoint: Checkpoint, lengths: Lengths) -> str:
    if not checkpoint.steps:
        return "after epoch %d" % checkpoint.epoch
    return "in epoch %d after %d of %d steps" % (checkpoint.epoch + 1, checkpoint.steps, lengths.steps)


def report(state: TrainState, end: EpochEnd) -> None:
    """Log the line of a monitored epoch. A `gluon_rbm.training.loop.OnEpoch`.

    Parameters
    ----------
    state
        State after the epoch; not used.
    end
        End of the epoch.
    """
    if end.monitored:
        logger.info("%s (%.1f s)", end.message, end.row["seconds"])


def save_picture(folder: RunFolder, name: str, figure: Any) -> None:
    """Write a Matplotlib figure into a run folder, completely or not at all.

    Parameters
    ----------
    folder
        Run folder.
    name
        Name of the file.
    figure
        Figure to write.

    Raises
    ------
    InputError
        The file cannot be written.
    """
    with write_whole(folder.file(name)) as temporary:
        plots.save(figure, temporary)
