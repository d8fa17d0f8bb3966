"""Learner of a network: all its RBMs jointly, or one RBM on top of those below it."""

from __future__ import annotations

from typing import Any, Mapping, Sequence

import numpy as np

from gluon_rbm.backend.framework import mx
from gluon_rbm.backend.types import NDArray
from gluon_rbm.models import networks
from gluon_rbm.models.contrastive import ContrastiveFreeEnergy
from gluon_rbm.models.deep_belief import DeepBeliefNetwork, JointContrastiveFreeEnergy
from gluon_rbm.models.rbm_block import alternate
from gluon_rbm.training import optimizers
from gluon_rbm.training.state import assign_arrays

__all__ = ["NetworkLearner"]


class NetworkLearner:
    """Network and its Gluon trainer: a `gluon_rbm.training.state.Learner`.

    Parameters
    ----------
    settings
        Settings of the run.
    network
        Network to train.
    trained
        Number of the RBM that learns, from 0, on top of those below it; None: all learn jointly.
    values
        First images of the training set, as values of the network. Persistent chains start at
        their means in each layer.
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
        # The only public way to the state of a trainer is pickle.
        self.updater = self._trainer._updaters[0]
        self.parameter_names = dict(enumerate(names))
        self._chains: dict[str, NDArray] = {}
        if settings.chains == "persistent":
            for place, rbm in zip(places, self._rbms):
                chains = network.up(values, place).reshape((-1, *rbm.visible_shape))
                self._chains["chains.%d" % place] = chains.copy()

    def steps(self, batches: Sequence[NDArray]) -> NDArray:
        """Make one gradient step for each batch, in order.

        Parameters
        ----------
        batches
            Batches, each as in `step`.

        Returns
        -------
        NDArray
            Loss of each image of the last batch, (rows,), in nats.
        """
        return [self.step(batch) for batch in batches][-1]

    def step(self, batch: NDArray) -> NDArray:
        """Make one gradient step.

        Parameters
        ----------
        batch
            Values of the network, (rows, channels, height, width).

        Returns
        -------
        NDArray
            Loss of each image, (rows,), in nats.
        """
        visible = self._network.up(batch, self._depth, self._sampled).reshape((-1, *self._rbms[0].visible_shape))
        for name, rbm in zip(self._chains, self._rbms):
            self._chains[name] = alternate(rbm, self._chains[name], self._sweeps)
        # All chains advance. If the last batch is short, the loss uses only as many chains as there
        # are images.
        model_visible = [chains[: len(batch)] for chains in self._chains.values()]
        with mx.autograd.record():
            loss = self._loss(visible, *model_visible)
        loss.backward()
        self._trainer.step(len(batch))
        return loss

    def arrays(self) -> dict[str, NDArray]:
        """Return the live parameters and chains.

        Returns
        -------
        dict
            Name -> NDArray.
        """
        return {**{name: parameter.data() for name, parameter in self._parameters.items()}, **self._chains}

    def gather(self) -> dict[str, np.ndarray]:
        """Copy parameters and chains to the host.

        Returns
        -------
        dict
            Name -> NumPy array.
        """
        return {name: array.asnumpy() for name, array in self.arrays().items()}

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
        assign_arrays(self.arrays(), arrays)
