"""Learners of a binary RBM: one for each API, and one for several devices and workers."""

from __future__ import annotations

from typing import Any, Callable, Iterator, Mapping, Protocol, Sequence

import numpy as np

from binary_rbm import BinaryRBMBlock, binary_rbm_symbol
from gluon_rbm.backend.framework import mx
from gluon_rbm.backend.types import NDArray
from gluon_rbm.likelihood import learning, rules
from gluon_rbm.training import optimizers
from gluon_rbm.training.binary_settings import BinarySettings
from gluon_rbm.training.native_step import native_step
from gluon_rbm.training.process_group import ProcessGroup
from gluon_rbm.training.state import assign_arrays

__all__ = ["LEARNERS", "DataParallelLearner", "DeviceLearner", "GluonLearner", "ModuleLearner"]


class DeviceLearner(Protocol):
    """Learner on one device, which has one shard of each batch."""

    updater: Any  #: MXNet's Updater: the optimizer and its state
    parameter_names: dict[int, str]  #: index in the updater -> name of the parameter

    def backward(self, batch: NDArray) -> NDArray:
        """Advance the chains, and compute the gradient of a batch.

        Parameters
        ----------
        batch
            Shard of the batch, (rows, num_visible).

        Returns
        -------
        NDArray
            An array that is ready when the gradient is.
        """
        ...

    def gradients(self) -> dict[str, NDArray]:
        """Return the live gradients: name of the parameter -> NDArray."""
        ...

    def update(self) -> None:
        """Update the parameters. The gradients must hold the sums over all shards."""
        ...

    def step(self, batch: NDArray) -> NDArray:
        """Make one gradient step. Only for a single shard.

        Parameters
        ----------
        batch
            Batch, (rows, num_visible).

        Returns
        -------
        NDArray
            An array that is ready when the step is done.
        """
        ...

    def steps(self, batches: Sequence[NDArray]) -> NDArray:
        """Make one gradient step for each batch, in order. Only for a single shard.

        Parameters
        ----------
        batches
            Batches, each (rows, num_visible).

        Returns
        -------
        NDArray
            An array that is ready when the steps are done.
        """
        ...

    def arrays(self) -> dict[str, NDArray]:
        """Return the live parameters and chains: name -> NDArray."""
        ...


def _block_settings(settings: BinarySettings, num_shards: int) -> dict[str, Any]:
    """Return the arguments that `BinaryRBMBlock` and `binary_rbm_symbol` share."""
    return {
        "num_hidden": settings.num_hidden,
        "k": settings.k,
        "for_training": True,
        "num_chains": settings.chains_in_all // num_shards,
        "engine": settings.engine,
        "rule": settings.rule,
    }


def _take_steps(
    learner: DeviceLearner, native: Callable[[Sequence[NDArray]], NDArray] | None, batches: Sequence[NDArray]
) -> NDArray:
    """Make steps with `native`, or, if it is None, with MXNet's graph and optimizer."""
    if native is not None:
        return native(batches)
    for batch in batches:
        output = learner.backward(batch)
        learner.update()
    return output


class GluonLearner:
    """Learner with Gluon: a `binary_rbm.BinaryRBMBlock` and its trainer. A `DeviceLearner`.

    Parameters
    ----------
    settings
        Settings of the run.
    arrays
        Initial parameters and auxiliary states: name -> NDArray.
    context
        Device of the learner.
    num_shards
        Number of devices that share each batch.
    """

    def __init__(
        self, settings: BinarySettings, arrays: Mapping[str, NDArray], context: Any, num_shards: int = 1
    ) -> None:
        num_visible = arrays["visible_layer_bias"].shape[0]
        self._context, self._divisor = context, num_shards * settings.batch_size
        self._rbm = BinaryRBMBlock(num_visible=num_visible, prefix="", **_block_settings(settings, num_shards))
        self._rbm.initialize(ctx=context)
        self._parameters = self._rbm.collect_params()
        for name, array in arrays.items():
            self._parameters[name].set_data(array)
        self._rbm.hybridize()
        self._trainer = mx.gluon.Trainer(self._parameters, optimizers.make_optimizer(settings), kvstore=None)
        # The only public way to the state of a trainer is pickle.
        self.updater = self._trainer._updaters[0]
        self.parameter_names = {
            index: parameter.name
            for index, parameter in self.updater.optimizer.param_dict.items()
            if parameter.grad_req != "null"
        }
        self._native_step = native_step(settings, self, context, num_shards)

    def backward(self, batch: NDArray) -> NDArray:
        """Advance the chains, and compute the gradient of a batch."""
        with mx.autograd.record():
            visible_prob_1, _ = self._rbm(batch)
        visible_prob_1.backward()
        return visible_prob_1

    def update(self) -> None:
        """Update the parameters. The gradients must hold the sums over all shards."""
        self._trainer.step(self._divisor)

    def step(self, batch: NDArray) -> NDArray:
        """Make one gradient step. Only for a single shard."""
        return self.steps([batch])

    def steps(self, batches: Sequence[NDArray]) -> NDArray:
        """Make one gradient step for each batch, in order. Only for a single shard."""
        return _take_steps(self, self._native_step, batches)

    def gradients(self) -> dict[str, NDArray]:
        """Return the live gradients.

        Returns
        -------
        dict
            Name of the parameter -> NDArray.
        """
        return {name: self._parameters[name].grad(self._context) for name in self.parameter_names.values()}

    def arrays(self) -> dict[str, NDArray]:
        """Return the live parameters and chains.

        Returns
        -------
        dict
            Name -> NDArray.
        """
        return {name: parameter.data(self._context) for name, parameter in self._parameters.items()}


class ModuleLearner:
    """Learner with the Module API: an mx.mod.Module of `binary_rbm.binary_rbm_symbol`.

    It is a `DeviceLearner`.

    Parameters
    ----------
    settings, arrays, context, num_shards
        As in `GluonLearner`.
    """

    def __init__(
        self, settings: BinarySettings, arrays: Mapping[str, NDArray], context: Any, num_shards: int = 1
    ) -> None:
        num_visible = arrays["visible_layer_bias"].shape[0]
        symbol = binary_rbm_symbol(**_block_settings(settings, num_shards))
        self._module = mx.mod.Module(symbol, data_names=["data"], label_names=None, context=context)
        self._module.bind(data_shapes=[("data", (settings.batch_size // num_shards, num_visible))])
        auxiliary = symbol.list_auxiliary_states()
        self._module.init_params(
            arg_params={name: arrays[name] for name in arrays if name not in auxiliary},
            aux_params={name: arrays[name] for name in auxiliary},
        )
        learned = [name for name in symbol.list_arguments() if name in arrays]
        self.parameter_names = dict(enumerate(learned))
        optimizer = optimizers.make_optimizer(
            settings,
            rescale_grad=num_shards / settings.batch_size,
            sym=symbol,
            param_idx2name=self.parameter_names,
        )
        # With any other rescale_grad, this call would warn.
        self._module.init_optimizer(kvstore=None, optimizer=optimizer)
        optimizer.rescale_grad = 1 / (num_shards * settings.batch_size)
        # The only public way to the state of a module is pickle.
        self.updater = self._module._updater
        self._native_step = native_step(settings, self, context, num_shards)

    def backward(self, batch: NDArray) -> NDArray:
        """Advance the chains, and compute the gradient of a batch."""
        self._module.forward(mx.io.DataBatch([batch]), is_train=True)
        self._module.backward()
        return self._module.get_outputs()[0]

    def update(self) -> None:
        """Update the parameters. The gradients must hold the sums over all shards."""
        self._module.update()

    def step(self, batch: NDArray) -> NDArray:
        """Make one gradient step. Only for a single shard."""
        return self.steps([batch])

    def steps(self, batches: Sequence[NDArray]) -> NDArray:
        """Make one gradient step for each batch, in order. Only for a single shard."""
        return _take_steps(self, self._native_step, batches)

    def gradients(self) -> dict[str, NDArray]:
        """Return the live gradients.

        Returns
        -------
        dict
            Name of the parameter -> NDArray.
        """
        return {name: self._executor.grad_dict[name] for name in self.parameter_names.values()}

    def arrays(self) -> dict[str, NDArray]:
        """Return the live parameters and chains.

        Returns
        -------
        dict
            Name -> NDArray.
        """
        parameters = {name: self._executor.arg_dict[name] for name in self.parameter_names.values()}
        return {**parameters, **self._executor.aux_dict}

    @property
    def _executor(self) -> Any:
        # The executor holds the live arrays. (get_params returns copies.)
        return self._module._exec_group.execs[0]


LEARNERS: Mapping[str, Callable[..., DeviceLearner]] = {"gluon": GluonLearner, "module": ModuleLearner}


class DataParallelLearner:
    """Learner of a binary RBM on several devices and workers: a `gluon_rbm.training.state.Learner`.

    It holds the learners of this worker's devices, and synchronizes them with other workers.

    Parameters
    ----------
    make
        Makes the `DeviceLearner` of one device from its arrays and its context.
    arrays
        Initial arrays of the whole run: name -> NDArray. The shards divide the chains.
    group
        Workers and devices of the run.
    rule
        How the RBM learns from its chains.
    """

    def __init__(
        self,
        make: Callable[[dict[str, NDArray], Any], DeviceLearner],
        arrays: Mapping[str, NDArray],
        group: ProcessGroup,
        rule: rules.LearningRule,
    ) -> None:
        self._group, self._rule = group, rule
        host = {name: array.asnumpy() for name, array in arrays.items()}
        self.learners = []
        for context, shard in zip(group.contexts, self._shards(host)):
            self.learners.append(
                make({name: mx.nd.array(array, ctx=context) for name, array in shard.items()}, context)
            )
        self._first, *self._others = self.learners
        self.updater, self.parameter_names = self._first.updater, self._first.parameter_names

    def steps(self, batches: Sequence[Sequence[NDArray]]) -> NDArray:
        """Make one gradient step for each batch, in order.

        Parameters
        ----------
        batches
            For each batch a list of its shards on this worker's devices.

        Returns
        -------
        NDArray
            An array that is ready when the steps are done.
        """
        if self._group.num_shards == 1:
            return self._first.steps([batch[0] for batch in batches])
        return [self.step(batch) for batch in batches][-1]

    def step(self, batch: Sequence[NDArray]) -> NDArray:
        """Make one step along the mean gradient of all shards.

        Parameters
        ----------
        batch
            Shards of the batch on this worker's devices, each (rows, num_visible).

        Returns
        -------
        NDArray
            Output of the first device.
        """
        if self._group.num_shards == 1:
            return self._first.step(batch[0])
        outputs = [learner.backward(shard) for learner, shard in zip(self.learners, batch)]
        gradients = [learner.gradients() for learner in self.learners]
        for name in gradients[0]:
            self._group.all_reduce(name, [gradient[name] for gradient in gradients])
        self._first.update()
        states = self._average_states()
        for other in self._others:
            arrays, own = self._first.arrays(), other.arrays()
            for name in [*gradients[0], *states]:
                own[name][:] = arrays[name]
        return outputs[0]

    def _average_states(self) -> list[str]:
        """Average offsets and swap rates over all shards, and return their names."""
        names = [name for name in (*learning.OFFSETS, learning.SWAP_RATE) if name in self._first.arrays()]
        if names:
            # Operations outside an executor do not wait for the states that it writes.
            mx.nd.waitall()
        for name in names:
            arrays = [learner.arrays()[name] for learner in self.learners]
            self._group.all_reduce(name, arrays)
            arrays[0] /= self._group.num_shards
        return names

    def arrays(self) -> dict[str, NDArray]:
        """Return the live arrays of this worker's first device.

        Returns
        -------
        dict
            Name -> NDArray: the parameters, which are equal on all devices, and its own chains.
        """
        return self._first.arrays()

    def gather(self) -> dict[str, np.ndarray]:
        """Return the arrays of the whole run. All workers call it together.

        Returns
        -------
        dict
            Name -> NumPy array.

        Raises
        ------
        InputError
            The workers' parameters differ.
        """
        joint = {name: array.asnumpy() for name, array in self._first.arrays().items()}
        if self._group.num_shards == 1:
            return joint
        for name in learning.SAMPLES:
            rows = np.stack([learner.arrays()[name].asnumpy() for learner in self.learners])
            rows = self._group.all_gather(name, rows)
            rows = rows.reshape(self._group.num_shards, self._rule.replicas, -1, rows.shape[-1])
            joint[name] = rows.swapaxes(0, 1).reshape(-1, rows.shape[-1])
        self._group.check_equal(joint)
        return joint

    def scatter(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Set the arrays to those that `gather` returned.

        Parameters
        ----------
        arrays
            Name -> NumPy array of the whole run.

        Raises
        ------
        InputError
            Names or shapes differ from those of the learner.
        """
        for learner, shard in zip(self.learners, self._shards(arrays)):
            assign_arrays(learner.arrays(), shard)

    def _shards(self, arrays: Mapping[str, np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
        """Yield the arrays of each device of this worker, from those of the whole run."""
        num_shards, first = self._group.num_shards, self._group.first_shard
        for index in range(first, first + len(self._group.contexts)):
            shard = dict(arrays)
            for name in learning.SAMPLES if num_shards > 1 else ():
                rows = arrays[name].reshape(self._rule.replicas, num_shards, -1, arrays[name].shape[-1])
                shard[name] = rows[:, index].reshape(-1, rows.shape[-1])
            yield shard
