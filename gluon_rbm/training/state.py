"""The state of a training run: all that a checkpoint holds, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Mapping, NamedTuple, Protocol, Sequence

import numpy as np

from gluon_rbm.backend.framework import mx
from gluon_rbm.backend.types import NDArray
from gluon_rbm.errors import InputError
from gluon_rbm.training import optimization
from gluon_rbm.training.checkpoint import Checkpoint
from gluon_rbm.training.optimization import EarlyStopping, ParameterAverage

__all__ = ["Learner", "Lengths", "TrainState", "assign_arrays"]


class Learner(Protocol):
    """Parameters, chains and optimizer, as MXNet holds them; a step changes them in place."""

    updater: Any  #: MXNet's `Updater`: the optimizer and its state
    parameter_names: dict[int, str]  #: the parameter that each of the updater's indices means

    def steps(self, batches: Sequence[Any]) -> NDArray:
        """Follow the gradient of each batch in turn; something that is there when that is done."""
        ...

    def arrays(self) -> dict[str, NDArray]:
        """Live parameters and chains, of the first device here."""
        ...

    def gather(self) -> dict[str, np.ndarray]:
        """Parameters and chains of the whole run; all workers call it together."""
        ...

    def scatter(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take what `gather` returned; InputError where it is not of these shapes."""
        ...


class Lengths(NamedTuple):
    """How long a run is."""

    epochs: int
    steps: int  #: of an epoch


@dataclass
class TrainState:
    """All that a checkpoint holds of a run.

    Parameters, chains and the optimizer's state are MXNet's, and live in `learner`; the rest is here.
    """

    learner: Learner
    lengths: Lengths
    average: ParameterAverage = field(default_factory=ParameterAverage)
    best: EarlyStopping = field(default_factory=lambda: EarlyStopping(0))
    epoch: int = 0  #: whole epochs done
    step: int = 0  #: steps done of the next one
    steps_at_once: int = 1  #: that the last call of the run's step made
    seconds: float = 0.0  #: which these steps took
    losses: list[NDArray] = field(default_factory=list)  #: of these steps, where the row of metrics needs them
    metrics: list[dict[str, Any]] = field(default_factory=list)  #: a row for each epoch
    stopped: bool = False  #: the chief has said that all workers are to stop

    @property
    def progress(self) -> float:
        """The fraction of the run that is done, in [0, 1)."""
        return (self.epoch + self.step / self.lengths.steps) / self.lengths.epochs

    @property
    def is_over(self) -> bool:
        """Whether no epoch is left to train."""
        return self.epoch >= self.lengths.epochs or self.best.over or self.stopped

    @property
    def optimizer(self) -> Any:
        """MXNet's optimizer."""
        return self.learner.updater.optimizer

    def learned(self) -> dict[str, NDArray]:
        """The parameters that learn, live."""
        arrays = self.learner.arrays()
        return {name: arrays[name] for name in self.learner.parameter_names.values()}

    def current(self) -> dict[str, NDArray]:
        """The parameters that are monitored: the averaged ones as soon as there are such."""
        return self.average.arrays or self.learned()

    def result(self) -> dict[str, NDArray]:
        """The run's parameters so far: with early stopping the best of those that were monitored."""
        return self.best.arrays or self.current()

    def checkpoint(self) -> Checkpoint:
        """The state on the host; all workers call it together. In the middle of an epoch it is `partial`."""
        partial = {"steps": np.array(self.step), "seconds": np.array(self.seconds)} if self.step else {}
        if self.losses:
            partial["losses"] = np.array([loss.asnumpy() for loss in self.losses])
        return Checkpoint(
            self.epoch,
            self.learner.gather(),
            optimization.optimizer_state(self.learner),
            list(self.metrics),
            self.average.state(),
            self.best.state(),
            partial,
        )

    def restore(self, checkpoint: Checkpoint, context: Any, updates: int) -> None:
        """Become the state of a checkpoint.

        Parameters
        ----------
        checkpoint : Checkpoint
        context : mx.Context
            Where averaged and best parameters are to be.
        updates : int
            How many the optimizer has made of these parameters.

        Raises
        ------
        InputError
            Where the arrays are not of this run's shapes.
        """
        self.learner.scatter(checkpoint.arrays)
        optimization.restore_optimizer(self.learner, checkpoint.optimizer_state, updates)
        self.average.restore(checkpoint.average, context)
        self.best.restore(checkpoint.best, context)
        self.epoch, self.step, self.metrics = checkpoint.epoch, checkpoint.steps, checkpoint.metrics
        self.seconds = float(checkpoint.partial.get("seconds", 0))
        self.losses = [mx.nd.array(loss, dtype=loss.dtype) for loss in checkpoint.partial.get("losses", ())]


def assign_arrays(targets: Mapping[str, NDArray], arrays: Mapping[str, np.ndarray]) -> None:
    """Put a checkpoint's arrays into those of a learner; InputError where they are not of its shapes."""
    expected = {name: array.shape for name, array in targets.items()}
    found = {name: array.shape for name, array in arrays.items()}
    for name in sorted({*expected, *found}):
        if expected.get(name) != found.get(name):
            raise InputError(
                "the checkpoint is of another run: its array %s has shape %s, the model's %s; resume with the "
                "arguments and data set of the run" % (name, found.get(name), expected.get(name))
            )
    for name, target in targets.items():
        target[:] = mx.nd.array(arrays[name], ctx=target.context)
