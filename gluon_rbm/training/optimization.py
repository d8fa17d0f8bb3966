"""How a run changes its parameters: optimizer, schedules, averaged parameters, early stopping.

The `updater` of a learner holds the optimizer and its state.
"""

from __future__ import annotations

import inspect
from typing import Any, Iterator, Mapping, Protocol

import numpy as np

from gluon_rbm.backend.framework import mx
from gluon_rbm.backend.types import NDArray

__all__ = [
    "OPTIMIZERS",
    "Optimized",
    "SCHEDULES",
    "EarlyStopping",
    "ParameterAverage",
    "follows_gradient",
    "has_momentum",
    "momentum_at",
    "optimizer_state",
    "rate_remark",
    "rate_factor",
    "restore_optimizer",
    "set_pace",
]

SCHEDULES = ("constant", "linear")

# All optimizers that MXNet 1.9.1 registers, except:
#   nadam: it keeps a number outside its state, so no checkpoint holds it;
#   sgld: its noise differs between MXNet's two APIs;
#   adamax: it divides by zero where a gradient is zero;
#   dcasgd and lars: they fail with a momentum and with arrays one by one;
#   groupadagrad: it is for embeddings;
#   ccsgd: it is another name of sgd;
#   and one that belongs to MXNet's tests.
OPTIMIZERS = ("sgd", "nag", "signum", "lbsgd", "adagrad", "adadelta", "adam", "ftml", "ftrl", "lamb", "rmsprop")


class Optimized(Protocol):
    """Parameters with an optimizer. Every learner is one."""

    @property
    def updater(self) -> Any:
        """MXNet's Updater, which holds the optimizer and its state."""
        ...

    @property
    def parameter_names(self) -> Mapping[int, str]:
        """Names of the parameters that the optimizer changes, by their index in the updater."""
        ...

    def arrays(self) -> Mapping[str, NDArray]:
        """Return the live arrays, the parameters among them.

        Returns
        -------
        mapping
            Name -> NDArray.
        """
        ...


# --- Optimizer ------------------------------------------------------------------------------------


def has_momentum(name: str) -> bool:
    """Whether an optimizer takes a momentum.

    Parameters
    ----------
    name
        One of `OPTIMIZERS`.

    Returns
    -------
    bool
        True if it takes one.
    """
    return "momentum" in inspect.signature(mx.optimizer.Optimizer.opt_registry[name].__init__).parameters


def follows_gradient(name: Any) -> bool:
    """Whether an optimizer steps by its learning rate times the gradient.

    The other optimizers divide by the size of the gradient.

    Parameters
    ----------
    name
        One of `OPTIMIZERS`.

    Returns
    -------
    bool
        True for "sgd" and "nag".
    """
    return name in ("sgd", "nag")


def rate_remark(settings: Any) -> str:
    """Return what a run logs about its learning rate.

    Parameters
    ----------
    settings
        Settings of the run, with `optimizer`, `learning_rate` and `batch_size`.

    Returns
    -------
    str
        States the rate on the mean gradient of a batch. Empty if `follows_gradient` is False.
    """
    if not follows_gradient(settings.optimizer):
        return ""
    rate, batch_size = settings.learning_rate, settings.batch_size
    return ", learning rate %g on the mean gradient of a batch (%g / %d)" % (rate / batch_size, rate, batch_size)


def _leaves(state: Any) -> list[NDArray]:
    """List the NDArrays of a state, which is None, an NDArray, or a sequence of states."""
    if state is None or isinstance(state, mx.nd.NDArray):
        return [] if state is None else [state]
    return [leaf for part in state for leaf in _leaves(part)]


def _named_leaves(learner: Optimized) -> Iterator[tuple[str, NDArray]]:
    """Yield (name, NDArray) of the optimizer's state: PARAMETER, PARAMETER/1, PARAMETER/2, ..."""
    for index, parameter in learner.parameter_names.items():
        for number, leaf in enumerate(_leaves(learner.updater.states.get(index))):
            yield (parameter if number == 0 else "%s/%d" % (parameter, number)), leaf


def optimizer_state(learner: Optimized) -> dict[str, np.ndarray]:
    """Copy the state of a learner's optimizer to the host.

    Parameters
    ----------
    learner
        A learner.

    Returns
    -------
    dict
        Name -> NumPy array.
    """
    return {name: leaf.asnumpy() for name, leaf in _named_leaves(learner)}


def restore_optimizer(learner: Optimized, state: Mapping[str, np.ndarray], updates: int) -> None:
    """Restore the state of a learner's optimizer.

    Parameters
    ----------
    learner
        A learner.
    state
        What `optimizer_state` returned.
    updates
        Number of updates that the optimizer had made by then.
    """
    optimizer, updater, arrays = learner.updater.optimizer, learner.updater, learner.arrays()
    optimizer.begin_num_update = optimizer.num_update = updates
    momentum = getattr(optimizer, "momentum", None)
    # If the momentum has a schedule, there may be a state although the momentum is 0 now. MXNet
    # creates a state only if the momentum is not 0.
    if momentum == 0:
        optimizer.momentum = 1.0
    for index, name in learner.parameter_names.items():
        if name in state:
            updater.states[index] = optimizer.create_state_multi_precision(index, arrays[name])
            updater.states_synced[index] = True
    if momentum is not None:
        optimizer.momentum = momentum
    for name, leaf in _named_leaves(learner):
        leaf[:] = mx.nd.array(state[name], ctx=leaf.context, dtype=leaf.dtype)


# --- Schedules ------------------------------------------------------------------------------------


def set_pace(optimizer: Any, args: Any, epoch: int, progress: float) -> None:
    """Set the learning rate and the momentum for a step.

    Parameters
    ----------
    optimizer
        MXNet's optimizer.
    args
        Settings of the run. The momentum is left alone without `initial_momentum_epochs`.
    epoch
        Epoch of the step, from 0.
    progress
        Fraction of the run that is done, in [0, 1).
    """
    optimizer.set_learning_rate(args.learning_rate * rate_factor(args.learning_rate_schedule, args.hold, progress))
    if getattr(args, "initial_momentum_epochs", 0):
        optimizer.momentum = momentum_at(args, epoch)


def rate_factor(schedule: str, hold: float, progress: float) -> float:
    """Return the factor of the learning rate at some point of the run.

    Parameters
    ----------
    schedule
        "constant": the factor is 1. "linear": it is 1 until `progress` reaches `hold`, and then
        falls linearly to 0 at the end.
    hold
        Fraction of the run, in [0, 1).
    progress
        Fraction of the run that is done, in [0, 1).

    Returns
    -------
    float
        Factor in (0, 1].
    """
    return 1.0 if schedule == "constant" else min(1.0, (1 - progress) / (1 - hold))


def momentum_at(args: Any, epoch: int) -> float:
    """Return the momentum in an epoch.

    Parameters
    ----------
    args
        Settings of the run, with `initial_momentum`, `initial_momentum_epochs` and `momentum`.
    epoch
        Number of the epoch, from 0.

    Returns
    -------
    float
        `initial_momentum` in the first `initial_momentum_epochs` epochs, then `momentum`.

    Notes
    -----
    Hinton 2010, section 9: 0.5 at the beginning, then 0.9.
    """
    return args.initial_momentum if epoch < args.initial_momentum_epochs else args.momentum


# --- Results --------------------------------------------------------------------------------------


def _on_device(state: Mapping[str, np.ndarray], context: Any) -> dict[str, NDArray]:
    return {name: mx.nd.array(array, ctx=context, dtype=array.dtype) for name, array in state.items()}


class ParameterAverage:
    """Mean of the parameters over the steps since this object was made.

    Attributes
    ----------
    arrays
        Name -> NDArray, the means. Empty before the first step.
    count
        Number of steps.

    Notes
    -----
    Polyak & Juditsky 1992.
    """

    def __init__(self) -> None:
        self.arrays: dict[str, NDArray] = {}
        self.count = 0

    def add(self, parameters: Mapping[str, NDArray]) -> None:
        """Include the parameters after one more step. MXNet adds them asynchronously.

        Parameters
        ----------
        parameters
            Name -> NDArray.
        """
        self.count += 1
        for name, parameter in parameters.items():
            if name in self.arrays:
                mean = self.arrays[name]
                mean += (parameter - mean) / self.count
            else:
                self.arrays[name] = parameter.copy()

    def state(self) -> dict[str, np.ndarray]:
        """Return what `restore` takes.

        Returns
        -------
        dict
            Name -> NumPy array. Empty before the first step.
        """
        if not self.arrays:
            return {}
        return {**{name: array.asnumpy() for name, array in self.arrays.items()}, "count": np.array(self.count)}

    def restore(self, state: Mapping[str, np.ndarray], context: Any) -> None:
        """Continue from the state of another average.

        Parameters
        ----------
        state
            What `state` returned.
        context
            Device of the means.
        """
        self.arrays = _on_device({name: array for name, array in state.items() if name != "count"}, context)
        self.count = int(state.get("count", 0))


class EarlyStopping:
    """Parameters with the best score so far, and whether training should stop.

    Parameters
    ----------
    patience
        Training stops after this many scores in a row that are not better than the best one.
        0: it never stops, and nothing is remembered.

    Attributes
    ----------
    arrays
        Name -> NDArray, copies of the best parameters. Empty before the first score.
    best
        Best score.
    log_z
        Value of log Z of the parameters with the best score.
    worse
        Number of scores since the best one.
    """

    def __init__(self, patience: int) -> None:
        self.patience = patience
        self.arrays: dict[str, NDArray] = {}
        self.best, self.log_z, self.worse = -np.inf, np.nan, 0

    def note(self, score: float, log_z: float, parameters: Mapping[str, NDArray]) -> None:
        """Take in a new score.

        Parameters
        ----------
        score
            The larger, the better.
        log_z
            Estimate of log Z in nats, or NaN.
        parameters
            Name -> NDArray. They are copied if the score is the best so far.
        """
        if not self.patience:
            return
        if score > self.best:
            self.best, self.log_z, self.worse = score, log_z, 0
            self.arrays = {name: array.copy() for name, array in parameters.items()}
        else:
            self.worse += 1

    @property
    def over(self) -> bool:
        """Whether training should stop.

        Returns
        -------
        bool
            True if `patience` scores in a row were not better than the best one.
        """
        return 0 < self.patience <= self.worse

    def state(self) -> dict[str, np.ndarray]:
        """Return what `restore` takes.

        Returns
        -------
        dict
            Name -> NumPy array. Empty before the first score.
        """
        if not self.arrays:
            return {}
        return {
            **{name: array.asnumpy() for name, array in self.arrays.items()},
            "scores": np.array([self.best, self.log_z, self.worse]),
        }

    def restore(self, state: Mapping[str, np.ndarray], context: Any) -> None:
        """Continue from the state of another object.

        Parameters
        ----------
        state
            What `state` returned.
        context
            Device of the best parameters.
        """
        if state:
            self.best, self.log_z, worse = state["scores"].tolist()
            self.worse = int(worse)
            self.arrays = _on_device({name: array for name, array in state.items() if name != "scores"}, context)
