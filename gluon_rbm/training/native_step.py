"""Steps of SGD on a CPU without MXNet's graph.

The steps call the functions of the operator and of the optimizer on views of MXNet's arrays. With
few sweeps, the graph of a step would cost more than its sweeps. Parameters, chains and the
optimizer's state stay where the API keeps them. The result is the same to the last bit.
"""

from __future__ import annotations

from typing import Any, Callable, Mapping, Protocol, Sequence

import numpy as np

from gluon_rbm.backend.arrays import host_view
from gluon_rbm.backend.framework import mx
from gluon_rbm.backend.native import learning as native_learning
from gluon_rbm.backend.random import caller_number, draw_key
from gluon_rbm.backend.types import HostArray, NDArray
from gluon_rbm.likelihood import learning
from gluon_rbm.models.energy import native_parameters, native_serves
from gluon_rbm.models.parameters import Parameters
from gluon_rbm.sampling import gibbs
from gluon_rbm.training.binary_settings import BinarySettings
from gluon_rbm.training.optimizers import NativeSGD

__all__ = ["native_step"]

_WRITE = ("write",) * 3


class _Learner(Protocol):
    """Members of a `gluon_rbm.training.learners.DeviceLearner`."""

    updater: Any
    parameter_names: dict[int, str]

    def arrays(self) -> Mapping[str, NDArray]: ...


def native_step(
    settings: BinarySettings, learner: _Learner, context: Any, num_shards: int
) -> Callable[[Sequence[NDArray]], NDArray] | None:
    """Return a function that makes a learner's steps without MXNet's graph.

    Parameters
    ----------
    settings
        Settings of the run.
    learner
        A `gluon_rbm.training.learners.DeviceLearner`.
    context
        Device of the learner.
    num_shards
        Number of devices that share each batch.

    Returns
    -------
    callable or None
        Batches -> NDArray. It returns when the steps are done. None if the learner needs MXNet's
        graph: with several shards, the MXNet engine, too many sweeps, another optimizer than
        `gluon_rbm.training.optimizers.NativeSGD`, or arrays that the native engine cannot use.
    """
    arrays = learner.arrays().values()
    optimizer = learner.updater.optimizer
    if (
        num_shards > 1
        or settings.engine == "mxnet"
        or settings.k > gibbs.NATIVE_SWEEPS  # Python notices Ctrl-C only between calls
        or not isinstance(optimizer, NativeSGD)
        or not native_serves(*arrays)
    ):
        return None
    return _NativeStep(settings, learner, context)


class _NativeStep:
    def __init__(self, settings: BinarySettings, learner: _Learner, context: Any) -> None:
        self._learner, self._context, self._rule, self._sweeps = learner, context, settings.rule, settings.k
        self._rescale = 1 / settings.batch_size
        self._indices = {name: index for index, name in learner.parameter_names.items()}
        self._views: dict[int, HostArray] = {}

    def __call__(self, batches: Sequence[NDArray]) -> NDArray:
        drawn = [draw_key(self._context) for _ in batches]
        # MXNet may still read or write the arrays. Waiting for each of them would take ten times as
        # long.
        mx.nd.waitall()
        keys = [[caller_number(), *host_view(words).tolist()] for words in drawn]
        views = {name: self._view(array) for name, array in self._learner.arrays().items()}
        parameters = Parameters(*(views[name] for name in Parameters._fields))
        aux_states = {name: views[name] for name in views.keys() - self._indices.keys()}
        data = [host_view(batch) for batch in batches]
        if self._rule.is_plain and gibbs.is_binary(aux_states[learning.SAMPLES[1]]):
            self._learn(parameters, aux_states, data, keys)
        else:
            for rows, key in zip(data, keys):
                self._follow(parameters, aux_states, rows, key)
        return batches[-1]

    def _follow(
        self, parameters: Parameters, aux_states: Mapping[str, HostArray], data: HostArray, key: list[int]
    ) -> None:
        """Make one step, with the functions that the operator and the optimizer use."""
        pace = [self._pace(name) for name in Parameters._fields]
        velocities = [self._velocity(name) for name in Parameters._fields]
        gradients = [np.empty_like(array) for array in parameters]
        learning.store_step_gradients(
            self._rule,
            gradients,
            _WRITE,
            parameters,
            data=data,
            aux_states=aux_states,
            sweeps=self._sweeps,
            key=key,
            engine="native",
        )
        for array, gradient, velocity, how in zip(parameters, gradients, velocities, pace):
            native_learning.descend(array, gradient, velocity, **how)

    def _learn(
        self,
        parameters: Parameters,
        aux_states: Mapping[str, HostArray],
        data: Sequence[HostArray],
        keys: Sequence[list[int]],
    ) -> None:
        """Make the same steps in one call of the native engine."""
        chains = [aux_states[name] for name in learning.SAMPLES]
        visible, hidden, weight = (self._velocity(name) for name in Parameters._fields)
        for _ in data:  # the optimizer must count the updates of each parameter
            pace = [self._pace(name) for name in Parameters._fields]
        native_learning.learn(
            **native_parameters(parameters),
            data=np.concatenate(data) if len(data) > 1 else data[0],
            chains=chains,
            velocities=(weight, visible, hidden),
            batch_size=len(data[0]),
            sweeps=self._sweeps,
            from_data=self._rule.chains == "data",
            keys=[[*key, 1] for key in keys],
            sparsity_target=self._rule.sparsity_target,
            sparsity_cost=self._rule.sparsity_cost,
            visible_units=self._rule.visible_units(data[0].shape[1]),
            fixed_point=self._rule.has_fixed_point(len(chains[0])),
            **pace[2],
        )

    def _pace(self, name: str) -> dict[str, Any]:
        """Count an update of a parameter, and return its rate, momentum and decay."""
        index, optimizer = self._indices[name], self._learner.updater.optimizer
        optimizer._update_count(index)
        return {
            "rate": optimizer._get_lr(index),
            "momentum": optimizer.momentum,
            "weight_decay": optimizer._get_wd(index),
            "rescale": self._rescale,
        }

    def _velocity(self, name: str) -> HostArray | None:
        """Return the optimizer's state of a parameter. The first step makes it."""
        index, updater = self._indices[name], self._learner.updater
        if index not in updater.states:
            array = self._learner.arrays()[name]
            updater.states[index] = updater.optimizer.create_state_multi_precision(index, array)
            updater.states_synced[index] = True
        state = updater.states[index]
        return None if state is None else self._view(state)

    def _view(self, array: NDArray) -> HostArray:
        """Return a view of an array's memory, which stays in its place.

        Views are kept for later calls, and each keeps its array alive.
        """
        if id(array) not in self._views:
            self._views[id(array)] = host_view(array)
        return self._views[id(array)]
