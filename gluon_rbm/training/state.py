"""The state of a training run: everything that a checkpoint holds, and nothing else."""

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
    """Parameters, chains and optimizer, as MXNet holds them. A step changes them in place."""

    updater: Any  #: MXNet's Updater: the optimizer and its state
    parameter_names: dict[int, str]  #: index in the updater -> name of the parameter

    def steps(self, batches: Sequence[Any]) -> NDArray:
        """Make one gradient step for each batch, in order.

        Parameters
        ----------
        batches
            Batches, in the form that the learner takes.

        Returns
        -------
        NDArray
            An array that is ready when the steps are done.
        """
        ...

    def arrays(self) -> dict[str, NDArray]:
        """Return the live parameters and chains of this worker's first device.

        Returns
        -------
        dict
            Name -> NDArray.
        """
        ...

    def gather(self) -> dict[str, np.ndarray]:
        """Return parameters and chains of the whole run. All workers call it together.

        Returns
        -------
        dict
            Name -> NumPy array.
        """
        ...

    def scatter(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Set parameters and chains to arrays that `gather` returned.

        Parameters
        ----------
        arrays
            Name -> NumPy array.

        Raises
        ------
        InputError
            Names or shapes differ from those of the learner.
        """
        ...


class Lengths(NamedTuple):
    """Length of a run."""

    epochs: int  #: number of epochs
    steps: int  #: number of steps in each epoch


@dataclass
class TrainState:
    """State of a run: everything that a checkpoint holds.

    MXNet holds the parameters, the chains and the state of the optimizer, in `learner`.
    """

    learner: Learner  #: parameters, chains and optimizer
    lengths: Lengths  #: length of the run
    average: ParameterAverage = field(default_factory=ParameterAverage)  #: averaged parameters
    best: EarlyStopping = field(default_factory=lambda: EarlyStopping(0))  #: best parameters so far
    epoch: int = 0  #: number of complete epochs
    step: int = 0  #: number of steps done in the next epoch
    steps_at_once: int = 1  #: number of steps that the last call of `Step` made
    seconds: float = 0.0  #: time that the steps of the next epoch took so far
    #: losses of these steps, if the metrics need them
    losses: list[NDArray] = field(default_factory=list)
    metrics: list[dict[str, Any]] = field(default_factory=list)  #: one row for each epoch
    stopped: bool = False  #: the chief has told all workers to stop

    @property
    def progress(self) -> float:
        """Fraction of the run that is done.

        Returns
        -------
        float
            In [0, 1) while the run trains, 1 after the last epoch.
        """
        return (self.epoch + self.step / self.lengths.steps) / self.lengths.epochs

    @property
    def is_over(self) -> bool:
        """Whether no epoch is left to train.

        Returns
        -------
        bool
            True after the last epoch, after early stopping, or when the chief said to stop.
        """
        return self.epoch >= self.lengths.epochs or self.best.over or self.stopped

    @property
    def optimizer(self) -> Any:
        """MXNet's optimizer.

        Returns
        -------
        mx.optimizer.Optimizer
            The optimizer of the learner's updater.
        """
        return self.learner.updater.optimizer

    def learned(self) -> dict[str, NDArray]:
        """Return the parameters that the optimizer changes.

        Returns
        -------
        dict
            Name -> NDArray, live.
        """
        arrays = self.learner.arrays()
        return {name: arrays[name] for name in self.learner.parameter_names.values()}

    def current(self) -> dict[str, NDArray]:
        """Return the parameters that are monitored.

        Returns
        -------
        dict
            Name -> NDArray: the averaged parameters, or the learned ones before averaging begins.
        """
        return self.average.arrays or self.learned()

    def result(self) -> dict[str, NDArray]:
        """Return the result of the run so far.

        Returns
        -------
        dict
            Name -> NDArray: with early stopping the best monitored parameters, else `current`.
        """
        return self.best.arrays or self.current()

    def checkpoint(self) -> Checkpoint:
        """Copy the state to the host. All workers call it together.

        Returns
        -------
        Checkpoint
            The state. In the middle of an epoch, its `partial` holds the steps done so far.
        """
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
        """Restore the state from a checkpoint.

        Parameters
        ----------
        checkpoint
            Checkpoint of the same run.
        context
            Device of the averaged and the best parameters.
        updates
            Number of updates that the optimizer has made to the parameters.

        Raises
        ------
        InputError
            The checkpoint's arrays differ from this run's in name or shape.
        """
        self.learner.scatter(checkpoint.arrays)
        optimization.restore_optimizer(self.learner, checkpoint.optimizer_state, updates)
        self.average.restore(checkpoint.average, context)
        self.best.restore(checkpoint.best, context)
        self.epoch, self.step, self.metrics = checkpoint.epoch, checkpoint.steps, checkpoint.metrics
        self.seconds = float(checkpoint.partial.get("seconds", 0))
        self.losses = [mx.nd.array(loss, dtype=loss.dtype) for loss in checkpoint.partial.get("losses", ())]


def assign_arrays(targets: Mapping[str, NDArray], arrays: Mapping[str, np.ndarray]) -> None:
    """Copy the arrays of a checkpoint into those of a learner.

    Parameters
    ----------
    targets
        Name -> NDArray of the learner.
    arrays
        Name -> NumPy array of the checkpoint.

    Raises
    ------
    InputError
        Names or shapes differ.
    """
    expected = {name: array.shape for name, array in targets.items()}
    found = {name: array.shape for name, array in arrays.items()}
    for name in sorted({*expected, *found}):
        if expected.get(name) != found.get(name):
            raise InputError(
                "the checkpoint is from another run: its array %s has shape %s, but the model needs %s; resume with "
                "the arguments and data set of the run" % (name, found.get(name), expected.get(name))
            )
    for name, target in targets.items():
        target[:] = mx.nd.array(arrays[name], ctx=target.context)
