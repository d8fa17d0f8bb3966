"""Learner of a Gaussian-Bernoulli RBM, and its initial parameters."""

from __future__ import annotations

import math
from typing import Any, Mapping, Sequence

import numpy as np

from gluon_rbm.backend.framework import mx
from gluon_rbm.backend.types import HostArray, Key, NDArray
from gluon_rbm.likelihood import learning
from gluon_rbm.likelihood.gaussian_learning import store_step_gradients
from gluon_rbm.models.gaussian_rbm import GaussianParameters
from gluon_rbm.training import optimizers
from gluon_rbm.training.gaussian_settings import GaussianSettings
from gluon_rbm.training.state import assign_arrays

__all__ = ["GaussianLearner", "initial_arrays"]


@np.errstate(over="ignore")  # exp(710) is infinite, and the probability of the unit is then 0
def initial_arrays(settings: GaussianSettings, features: HostArray, generator: np.random.Generator) -> dict[str, Any]:
    """Return parameters and auxiliary states before the first step.

    The visible biases keep the mean of v at 0: a = -W <p(h=1|v)>_features.

    Parameters
    ----------
    settings
        Settings of the run.
    features
        Features of training images, (n, num_visible), in random order, with mean 0 and variance 1.
        The chains start at them. With initial_weights "images", the weights point to them.
    generator
        Draws weights and hidden units.

    Returns
    -------
    dict
        Name -> NumPy array, float32.
    """
    num_chains, num_visible = settings.num_chains or settings.batch_size, features.shape[1]
    log_variance = np.full(num_visible, math.log(settings.initial_variance))
    scaled = features / math.sqrt(settings.initial_variance)
    weight = _initial_weight(settings, features, generator)
    hidden_bias = np.full(settings.num_hidden, settings.initial_hidden_bias)
    mean_hidden = (1 / (1 + np.exp(-(scaled @ weight + hidden_bias)))).mean(axis=0)
    parameters = GaussianParameters(-weight @ mean_hidden, hidden_bias, weight, log_variance)
    states = learning.states(settings.rule, num_chains, num_visible, settings.num_hidden)
    arrays: dict[str, Any] = {name: np.zeros(shape) for name, shape in states.items()}
    arrays[learning.SAMPLES[0]] = np.resize(scaled, states[learning.SAMPLES[0]])
    arrays[learning.SAMPLES[1]] = generator.random(states[learning.SAMPLES[1]]) < mean_hidden
    if settings.centering:
        arrays[learning.OFFSETS[1]] += mean_hidden
    return {name: np.float32(array) for name, array in {**arrays, **parameters._asdict()}.items()}


def _initial_weight(settings: GaussianSettings, features: HostArray, generator: np.random.Generator) -> HostArray:
    """Draw normal weights, or make equally long vectors from the mean image to images."""
    shape = features.shape[1], settings.num_hidden
    if settings.initial_weights == "normal":
        return generator.normal(scale=settings.initial_deviation, size=shape)
    images = np.resize(features, shape[::-1]).T.astype(np.float64)
    length = settings.initial_deviation * math.sqrt(shape[0])
    return images * (length / np.maximum(np.linalg.norm(images, axis=0), 1e-6))


class GaussianLearner:
    """Parameters, chains and optimizer: a `gluon_rbm.training.state.Learner`.

    Parameters
    ----------
    settings
        Settings of the run.
    arrays
        Name -> NumPy array, as `initial_arrays` returns them.
    context
        Device of the learner.
    """

    def __init__(self, settings: GaussianSettings, arrays: Mapping[str, np.ndarray], context: Any) -> None:
        self._settings = settings
        # Features have mean 0 and variance 1.
        self._mean_square = mx.nd.ones(arrays["visible_layer_bias"].shape, ctx=context)
        self._arrays = {name: mx.nd.array(array, ctx=context, dtype="float32") for name, array in arrays.items()}
        names = GaussianParameters._fields if settings.learn_variances else GaussianParameters._fields[:3]
        self.parameter_names = dict(enumerate(names))
        self._gradients = [mx.nd.zeros_like(self._arrays[name]) for name in names]
        optimizer = optimizers.make_optimizer(settings, wd=settings.weight_decay)
        optimizer.set_wd_mult({0: 0.0, 1: 0.0, 3: 0.0})  # biases and variances do not decay
        self.updater = mx.optimizer.get_updater(optimizer)

    @property
    def parameters(self) -> GaussianParameters:
        """Live parameters.

        Returns
        -------
        GaussianParameters
            NDArrays.
        """
        return GaussianParameters(*(self._arrays[name] for name in GaussianParameters._fields))

    def steps(self, batches: Sequence[tuple[NDArray, Key]]) -> NDArray:
        """Make one gradient step for each batch, in order.

        Parameters
        ----------
        batches
            For each batch its features, (rows, num_visible), and the key for its noise.

        Returns
        -------
        NDArray
            An array that is ready when the steps are done.
        """
        for data, key in batches:
            store_step_gradients(
                self._settings.rule,
                self._gradients,
                self.parameters,
                data=data,
                mean_square=self._mean_square,
                aux_states=self._arrays,
                sweeps=self._settings.k,
                key=key,
                engine=self._settings.engine,
            )
            for index, name in self.parameter_names.items():
                self.updater(index, self._gradients[index], self._arrays[name])
            if self._settings.learn_variances:
                log_variance = self._arrays["visible_log_variance"]
                log_variance[:] = mx.nd.maximum(log_variance, math.log(self._settings.least_variance))
        return self._arrays["hidden_layer_bias"]

    def arrays(self) -> dict[str, NDArray]:
        """Return the live parameters and chains.

        Returns
        -------
        dict
            Name -> NDArray.
        """
        return self._arrays

    def gather(self) -> dict[str, np.ndarray]:
        """Copy parameters and chains to the host.

        Returns
        -------
        dict
            Name -> NumPy array.
        """
        return {name: array.asnumpy() for name, array in self._arrays.items()}

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
        assign_arrays(self._arrays, arrays)
