"""How the parameters follow the gradient over a run: optimizer, schedules, averaged parameters, early stopping.

A learner's `updater` holds an optimizer and its state.
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

# What MXNet 1.9.1 registers, but for: nadam, which keeps a number that no checkpoint sees; sgld, whose noise is not the
# same in both APIs; adamax, which divides by zero where a gradient is zero; dcasgd and lars, which fail with a momentum
# and with arrays one by one; groupadagrad, for embeddings; ccsgd, another name of sgd; and one of MXNet's tests.
OPTIMIZERS = ("sgd", "nag", "signum", "lbsgd", "adagrad", "adadelta", "adam", "ftml", "ftrl", "lamb", "rmsprop")


class Optimized(Protocol):
    """Parameters with an optimizer: any learner."""

    @property
    def updater(self) -> Any:
        """MXNet's `Updater`: the optimizer and its state."""
        ...

    @property
    def parameter_names(self) -> Mapping[int, str]:
        """The parameter that each of the updater's indices means."""
        ...

    def arrays(self) -> Mapping[str, NDArray]:
        """Live parameters, among others."""
        ...


# --- Optimizer --------------------------------------------------------------------------------------------------------


def has_momentum(name: str) -> bool:
    """Whether the optimizer of that name takes a momentum."""
    return "momentum" in inspect.signature(mx.optimizer.Optimizer.opt_registry[name].__init__).parameters


def follows_gradient(name: Any) -> bool:
    """Whether the optimizer of that name steps by its rate times the gradient; others divide by the gradient's size."""
    return name in ("sgd", "nag")


def rate_remark(settings: Any) -> str:
    """What a run says of its learning rate: the one on a batch's mean gradient, where the optimizer has such a rate."""
    if not follows_gradient(settings.optimizer):
        return ""
    rate, batch_size = settings.learning_rate, settings.batch_size
    return ", learning rate %g on the mean gradient of a batch (%g / %d)" % (rate / batch_size, rate, batch_size)


def _leaves(state: Any) -> list[NDArray]:
    """The NDArrays in an optimizer's state of one parameter: None, an NDArray, or a sequence of states."""
    if state is None or isinstance(state, mx.nd.NDArray):
        return [] if state is None else [state]
    return [leaf for part in state for leaf in _leaves(part)]


def _named_leaves(learner: Optimized) -> Iterator[tuple[str, NDArray]]:
    """(name, NDArray) of everything in the optimizer's state: parameter, parameter/1, parameter/2, ..."""
    for index, parameter in learner.parameter_names.items():
        for number, leaf in enumerate(_leaves(learner.updater.states.get(index))):
            yield (parameter if number == 0 else "%s/%d" % (parameter, number)), leaf


def optimizer_state(learner: Optimized) -> dict[str, np.ndarray]:
    """The state of a learner's optimizer: name -> NumPy array."""
    return {name: leaf.asnumpy() for name, leaf in _named_leaves(learner)}


def restore_optimizer(learner: Optimized, state: Mapping[str, np.ndarray], updates: int) -> None:
    """Give a learner's optimizer a state that `optimizer_state` returned after so many updates."""
    optimizer, updater, arrays = learner.updater.optimizer, learner.updater, learner.arrays()
    optimizer.begin_num_update = optimizer.num_update = updates
    momentum = getattr(optimizer, "momentum", None)
    if momentum == 0:  # where there is a state all the same, a schedule had one, and MXNet makes room only for such
        optimizer.momentum = 1.0
    for index, name in learner.parameter_names.items():
        if name in state:
            updater.states[index] = optimizer.create_state_multi_precision(index, arrays[name])
            updater.states_synced[index] = True
    if momentum is not None:
        optimizer.momentum = momentum
    for name, leaf in _named_leaves(learner):
        leaf[:] = mx.nd.array(state[name], ctx=leaf.context, dtype=leaf.dtype)


# --- Schedules --------------------------------------------------------------------------------------------------------


def set_pace(optimizer: Any, args: Any, epoch: int, progress: float) -> None:
    """Set learning rate and momentum for a step in `epoch` (from 0), when a fraction `progress` of the run is done.

    args : settings; those of a network have no momentum of the first epochs
    """
    optimizer.set_learning_rate(args.learning_rate * rate_factor(args.learning_rate_schedule, args.hold, progress))
    if getattr(args, "initial_momentum_epochs", 0):
        optimizer.momentum = momentum_at(args, epoch)


def rate_factor(schedule: str, hold: float, progress: float) -> float:
    """What the learning rate is multiplied with when a fraction `progress` in [0, 1) of the run is done.

    "constant": 1. "linear": 1 up to progress = hold (in [0, 1)), from there linearly down to 0 at the end.
    """
    return 1.0 if schedule == "constant" else min(1.0, (1 - progress) / (1 - hold))


def momentum_at(args: Any, epoch: int) -> float:
    """Momentum in an epoch, counted from 0 (Hinton 2010, section 9: 0.5 at the beginning, then 0.9)."""
    return args.initial_momentum if epoch < args.initial_momentum_epochs else args.momentum


# --- Results ----------------------------------------------------------------------------------------------------------


def _on_device(state: Mapping[str, np.ndarray], context: Any) -> dict[str, NDArray]:
    return {name: mx.nd.array(array, ctx=context, dtype=array.dtype) for name, array in state.items()}


class ParameterAverage:
    """Mean of the parameters over the steps since it was made (Polyak & Juditsky 1992).

    arrays : name -> NDArray, the means; empty before the first step. count : steps.
    """

    def __init__(self) -> None:
        self.arrays: dict[str, NDArray] = {}
        self.count = 0

    def add(self, parameters: Mapping[str, NDArray]) -> None:
        """One more step; parameters : name -> NDArray. MXNet adds behind Python's back: nothing is waited for."""
        self.count += 1
        for name, parameter in parameters.items():
            if name in self.arrays:
                mean = self.arrays[name]
                mean += (parameter - mean) / self.count
            else:
                self.arrays[name] = parameter.copy()

    def state(self) -> dict[str, np.ndarray]:
        """What `restore` takes: name -> NumPy array."""
        if not self.arrays:
            return {}
        return {**{name: array.asnumpy() for name, array in self.arrays.items()}, "count": np.array(self.count)}

    def restore(self, state: Mapping[str, np.ndarray], context: Any) -> None:
        """Go on from where another average was."""
        self.arrays = _on_device({name: array for name, array in state.items() if name != "count"}, context)
        self.count = int(state.get("count", 0))


class EarlyStopping:
    """Remembers the parameters of the best score, and says when it has not been reached again for too long.

    patience : int
        Scores in a row that may be below the best one; 0: any number, and nothing is remembered.
    arrays : name -> NDArray, copies of the best parameters; empty before the first score. best, log_z : of that epoch.
    """

    def __init__(self, patience: int) -> None:
        self.patience = patience
        self.arrays: dict[str, NDArray] = {}
        self.best, self.log_z, self.worse = -np.inf, np.nan, 0

    def note(self, score: float, log_z: float, parameters: Mapping[str, NDArray]) -> None:
        """A new score, of parameters name -> NDArray whose log Z is `log_z`."""
        if not self.patience:
            return
        if score > self.best:
            self.best, self.log_z, self.worse = score, log_z, 0
            self.arrays = {name: array.copy() for name, array in parameters.items()}
        else:
            self.worse += 1

    @property
    def over(self) -> bool:
        """Whether patience has come to its end."""
        return 0 < self.patience <= self.worse

    def state(self) -> dict[str, np.ndarray]:
        """What `restore` takes: name -> NumPy array."""
        if not self.arrays:
            return {}
        return {
            **{name: array.asnumpy() for name, array in self.arrays.items()},
            "scores": np.array([self.best, self.log_z, self.worse]),
        }

    def restore(self, state: Mapping[str, np.ndarray], context: Any) -> None:
        """Go on from where another one was."""
        if state:
            self.best, self.log_z, worse = state["scores"].tolist()
            self.worse = int(worse)
            self.arrays = _on_device({name: array for name, array in state.items() if name != "scores"}, context)
