"""The one loop over epochs. A kind of run brings a step and its batches; all else are callbacks.

state, output = step(state, batches)    one line each: sample, gradient, update
fit(state, step, begin_epoch, ...)      every epoch is whole on disk before the next begins
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
    """An epoch that has ended, for callbacks to add to."""

    number: int  #: from 1
    checkpoint: Checkpoint  #: of its last step
    row: dict[str, Any]  #: of the metrics
    message: str = ""  #: the line that the run prints
    monitored: bool = False


Step = Callable[[TrainState, Sequence[Any]], Tuple[TrainState, NDArray]]  #: a step with each of these batches
#: See to an epoch's noise; its batches, from the state's step on, as lists of those that are given to `Step` at once.
BeginEpoch = Callable[[TrainState], Iterable[Sequence[Any]]]
OnStep = Callable[[TrainState, NDArray], None]  #: called when steps are under way, with the output of the last
OnEpoch = Callable[[TrainState, EpochEnd], None]
Save = Callable[[Checkpoint], None]


@dataclass(frozen=True)
class Bounds:
    """Which numbers are no longer sound, and what to say then."""

    limit: float  #: the largest sound value of any array
    remedy: str
    folder: str  #: holds what was saved before

    def check(self, checkpoint: Checkpoint) -> None:
        """DivergenceError where an array of the checkpoint holds a larger value, or NaN."""
        chains_last = sorted(checkpoint.arrays.items(), key=lambda item: item[0].startswith("aux_"))
        for name, array in chains_last:
            lost = np.flatnonzero(~(np.abs(array) < self.limit))  # NaN is lost, too
            if len(lost):
                place = np.unravel_index(lost[0], array.shape)
                saved = "%s holds what was saved before" % self.folder if checkpoint.epoch else "nothing was saved yet"
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
    """Train until the run is over, or a signal came; all workers of a run call it together.

    Parameters
    ----------
    state : TrainState
    step, begin_epoch : callable
        See `Step` and `BeginEpoch`.
    group : ProcessGroup
    bounds : Bounds, optional
        Where training has diverged; checked before an epoch is counted.
    save : callable, optional
        Keeps a checkpoint in the middle of an epoch, when a signal came.
    on_step, on_epoch : sequence of callable
        Called in their order. A signal that comes in one of `on_epoch`, where it is allowed, undoes what they did: the
        checkpoint is then that of the epoch's last step.

    Raises
    ------
    DivergenceError
    Interrupted
        From a callback that allows it, after the checkpoint is saved.
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
        group.end_together()  # now that the chief has saved
    return state


def _train_epoch(
    state: TrainState, step: Step, chunks: Iterable[Sequence[Any]], on_step: Sequence[OnStep], group: ProcessGroup
) -> TrainState:
    """The steps of the epoch that are left, or those until a signal came."""
    started, before = time.perf_counter() - state.seconds, None
    for batches in chunks:
        state, output = step(state, batches)
        state.steps_at_once = len(batches)
        # Waiting for the step before keeps MXNet busy, and no more than one batch ahead.
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
