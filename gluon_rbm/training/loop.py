"""The loop over epochs that all runs share.

Each kind of run supplies a step and its batches. Everything else is a callback.

    state, output = step(state, batches)    one line each: sample, gradient, update
    fit(state, step, begin_epoch, ...)      saves every epoch completely before the next one begins
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Callable, Iterable, Sequence, Tuple

import numpy as np

from gluon_rbm.backend import interruption
from gluon_rbm.backend.framework import mx
from gluon_rbm.backend.types import NDArray
from gluon_rbm.errors import DivergenceError
from gluon_rbm.training.checkpoint import Checkpoint
from gluon_rbm.training.process_group import ProcessGroup
from gluon_rbm.training.state import TrainState

__all__ = ["BeginEpoch", "Bounds", "EpochEnd", "OnEpoch", "OnStep", "Save", "Step", "fit"]


@dataclass
class EpochEnd:
    """The end of an epoch. Callbacks add to it."""

    number: int  #: number of the epoch, from 1
    checkpoint: Checkpoint  #: state after the last step of the epoch
    row: dict[str, Any]  #: row of the metrics
    message: str = ""  #: line that the run prints
    monitored: bool = False  #: whether the run was measured after this epoch


Step = Callable[[TrainState, Sequence[Any]], Tuple[TrainState, NDArray]]  #: a step with each batch
#: Prepares the noise of an epoch, and returns its batches, starting at the step of the state. The
#: batches come in lists: one call of `Step` takes one list.
BeginEpoch = Callable[[TrainState], Iterable[Sequence[Any]]]
#: called with the output of each `Step`, which may still run
OnStep = Callable[[TrainState, NDArray], None]
OnEpoch = Callable[[TrainState, EpochEnd], None]  #: called after each epoch
Save = Callable[[Checkpoint], None]  #: writes a checkpoint


@dataclass(frozen=True)
class Bounds:
    """Limit for the values of a checkpoint, and the error message for values beyond it."""

    limit: float  #: absolute values must stay below it
    remedy: str  #: advice for the error message
    folder: str  #: run folder, which holds the last saved checkpoint

    def check(self, checkpoint: Checkpoint) -> None:
        """Check that all values of a checkpoint are within the limit.

        Parameters
        ----------
        checkpoint
            Checkpoint to check.

        Raises
        ------
        DivergenceError
            The absolute value of an entry is not below `limit`, or an entry is NaN.
        """
        chains_last = sorted(checkpoint.arrays.items(), key=lambda item: item[0].startswith("aux_"))
        for name, array in chains_last:
            lost = np.flatnonzero(~(np.abs(array) < self.limit))  # also true for NaN
            if len(lost):
                place = np.unravel_index(lost[0], array.shape)
                saved = "the last checkpoint is in %s" % self.folder if checkpoint.epoch else "nothing was saved yet"
                raise DivergenceError(
                    "training diverged in epoch %d: %s[%s] is %.3g; %s (%s)"
                    % (checkpoint.epoch + 1, name, ", ".join(map(str, place)), array[place], self.remedy, saved)
                )


def fit(
    state: TrainState,
    step: Step,
    begin_epoch: BeginEpoch,
    *,
    group: ProcessGroup,
    bounds: Bounds | None = None,
    save: Save | None = None,
    on_step: Sequence[OnStep] = (),
    on_epoch: Sequence[OnEpoch] = (),
) -> TrainState:
    """Train until the run is over or a signal arrives. All workers of a run call it together.

    Parameters
    ----------
    state
        State to start from.
    step, begin_epoch
        See `Step` and `BeginEpoch`.
    group
        Workers and devices of the run.
    bounds
        Limits that each epoch is checked against before it counts.
    save
        Saves the checkpoint when a signal interrupts an epoch.
    on_step, on_epoch
        Callbacks, called in their order. A callback of `on_epoch` may allow signals. A signal
        there discards the work of these callbacks: `save` then gets the state after the epoch's
        last step.

    Returns
    -------
    TrainState
        The state at the end.

    Raises
    ------
    DivergenceError
        Training has diverged: see `Bounds.check`.
    Interrupted
        A signal arrives in a callback that allows signals. The checkpoint is saved first.
    """
    while not (state.is_over or group.is_interrupted()):
        state = _train_epoch(state, step, begin_epoch(state), on_step, group)
        checkpoint = state.checkpoint()
        if bounds:
            bounds.check(checkpoint)
        if group.is_interrupted():
            if save:
                save(checkpoint)
            continue
        end = EpochEnd(state.epoch + 1, checkpoint, {"epoch": state.epoch + 1, "seconds": round(state.seconds, 3)})
        state.epoch, state.step, state.seconds, state.losses = end.number, 0, 0.0, []
        try:
            for callback in on_epoch:
                callback(state, end)
        except interruption.Interrupted:
            if save:
                save(checkpoint)
            raise
        state.stopped = group.chief_says(state.is_over)
    if group.is_agreed:
        group.end_together()  # the chief has saved by now
    return state


def _train_epoch(
    state: TrainState, step: Step, chunks: Iterable[Sequence[Any]], on_step: Sequence[OnStep], group: ProcessGroup
) -> TrainState:
    """Make the steps that are left of the epoch; stop early when a signal arrives."""
    started, before = time.perf_counter() - state.seconds, None
    for batches in chunks:
        state, output = step(state, batches)
        state.steps_at_once = len(batches)
        # Waiting for the previous step keeps MXNet busy, but at most one batch ahead.
        if before is not None:
            before.wait_to_read()
        before = output
        for callback in on_step:
            callback(state, output)
        state.step += len(batches)
        if group.is_interrupted():
            break
    if before is not None:
        before.wait_to_read()
    with group.waiting():
        mx.nd.waitall()
    state.seconds = time.perf_counter() - started
    return state
