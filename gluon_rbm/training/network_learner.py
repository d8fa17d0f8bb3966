"""What follows the gradient of a network's loss: its RBMs jointly, or one of them on top of those below it."""

from __future__ import annotations

from typing import Any, Mapping, Sequence

import numpy as np

from gluon_rbm.backend.framework import mx
from gluon_rbm.backend.types import NDArray
from gluon_rbm.models import networks
from gluon_rbm.models.deep_belief import DeepBeliefNetwork, JointContrastiveFreeEnergy
from gluon_rbm.models.rbm_block import ContrastiveFreeEnergy, alternate
from gluon_rbm.training import optimizers
from gluon_rbm.training.state import assign_arrays

__all__ = ["NetworkLearner"]


class NetworkLearner:
    """A `DeepBeliefNetwork` and its `gluon.Trainer`: a `gluon_rbm.training.state.Learner`.

    Parameters
    ----------
    settings : NetworkSettings
    network : DeepBeliefNetwork
    trained : int or None
        The place of the one RBM that learns, on top of those below it; None: all of them learn, jointly.
    values : NDArray
        The first images, where persistent chains start: at their means in every layer.
    """

    def __init__(self, settings: Any, network: DeepBeliefNetwork, trained: int | None, values: NDArray) -> None:
        self._network, self._sweeps, self._sampled = network, settings.k, settings.sampled
        self._depth = trained or 0
        places = range(len(network.rbms)) if trained is None else [trained]
        self._rbms = [network.rbms[place] for place in places]
        if trained is None:
            self._loss = JointContrastiveFreeEnergy(network, settings.k, settings.sampled, settings.detach)
        else:
            self._loss = ContrastiveFreeEnergy(self._rbms[0], settings.k, settings.sampled)
        self._loss.hybridize(static_alloc=True)
        self._parameters = networks.parameters(network)
        names = [name for name in self._parameters if int(name.partition(".")[0]) in places]
        self._trainer = mx.gluon.Trainer(
            [self._parameters[name] for name in names],
            optimizers.make_optimizer(settings, wd=settings.weight_decay),
            kvstore=None,
        )
        self.updater = self._trainer._updaters[0]  # there is no public way to a trainer's state but pickle
        self.parameter_names = dict(enumerate(names))
        self._chains: dict[str, NDArray] = {}
        if settings.chains == "persistent":
            for place, rbm in zip(places, self._rbms):
                chains = network.up(values, place).reshape((-1, *rbm.visible_shape))
                self._chains["chains.%d" % place] = chains.copy()

    def steps(self, batches: Sequence[NDArray]) -> NDArray:
        """Follow the gradient of each batch in turn; the loss of each image of the last."""
        return [self.step(batch) for batch in batches][-1]

    def step(self, batch: NDArray) -> NDArray:
        """Follow the gradient of a batch; the loss of each image."""
        visible = self._network.up(batch, self._depth, self._sampled).reshape((-1, *self._rbms[0].visible_shape))
        for name, rbm in zip(self._chains, self._rbms):
            self._chains[name] = alternate(rbm, self._chains[name], self._sweeps)
        # All chains go on; beside a last short batch so many of them are looked at.
        model_visible = [chains[: len(batch)] for chains in self._chains.values()]
        with mx.autograd.record():
            loss = self._loss(visible, *model_visible)
        loss.backward()
        self._trainer.step(len(batch))
        return loss

    def arrays(self) -> dict[str, NDArray]:
        """Live parameters and chains."""
        return {**{name: parameter.data() for name, parameter in self._parameters.items()}, **self._chains}

    def gather(self) -> dict[str, np.ndarray]:
        """The same on the host."""
        return {name: array.asnumpy() for name, array in self.arrays().items()}

    def scatter(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take what `gather` returned; InputError where it is not of these shapes."""
        assign_arrays(self.arrays(), arrays)
