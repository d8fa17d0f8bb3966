"""The MXNet engine of `gluon_rbm.sampling.gibbs`: MXNet's operators, on any device."""

from __future__ import annotations

from typing import Any, Callable

from gluon_rbm.backend.arrays import as_ndarrays
from gluon_rbm.backend.framework import mx
from gluon_rbm.backend.random import Noise
from gluon_rbm.backend.types import Clamp, HostArray, Key, NDArray, VisibleUnits
from gluon_rbm.models.energy import visible_bias_at
from gluon_rbm.models.parameters import Parameters
from gluon_rbm.models.visible_units import GAUSSIAN, runs, softmax_groups
from gluon_rbm.sampling.conditions import Chains, Conditions

__all__ = ["run", "run_on_host"]

# MXNet runs operators asynchronously. Python waits for it after this many sweeps. This limits the
# memory for noise that is drawn ahead.
_SWEEPS_AHEAD = 8


def run(
    parameters: Parameters,
    visible: NDArray | None,
    hidden: NDArray | None,
    conditions: Conditions,
    *,
    sweeps: int,
    key: Key,
) -> Chains:
    """Run block Gibbs chains with MXNet's operators.

    Parameters
    ----------
    parameters
        Parameters of the RBM, NDArrays.
    visible
        Start, (chains, num_visible), or None.
    hidden
        Start, (chains, num_hidden), or None. Without it, the hidden layer is drawn given `visible`.
    conditions
        Inverse temperature, clamp, visible units and so on, with NDArrays.
    sweeps
        Number of sweeps. With 0 sweeps the result has the start, and None for the probabilities.
    key
        Non-negative integers that fix the noise.

    Returns
    -------
    Chains
        States after the last sweep.
    """
    noise, clamp = Noise(key), conditions.clamp
    visible_given_hidden, hidden_given_visible = _conditionals(parameters, conditions)
    if hidden is None:
        visible = _hold(visible, clamp)
        hidden = noise.bernoulli(hidden_given_visible(visible))
    chains = Chains(visible, hidden, None, None)
    for sweep in range(sweeps):
        visible_prob_1 = _hold(visible_given_hidden(chains.hidden_sample), clamp)
        sample = _hold(_draw_visible(visible_prob_1, chains.visible_sample, conditions, noise), clamp)
        hidden_prob_1 = hidden_given_visible(sample)
        chains = Chains(sample, noise.bernoulli(hidden_prob_1), visible_prob_1, hidden_prob_1)
        if (sweep + 1) % _SWEEPS_AHEAD == 0:
            chains.hidden_sample.wait_to_read()
    return chains


def _draw_visible(mean: NDArray, before: NDArray | None, conditions: Conditions, noise: Noise) -> NDArray:
    """Draw the visible layer given its means; Langevin steps start from `before`."""
    if conditions.visible_units == GAUSSIAN:
        normal = noise.normal_like(mean).astype(mean.dtype, copy=False)
        if conditions.langevin is None:
            return mean + normal
        return mean + conditions.langevin.retain * (before - mean) + conditions.langevin.spread * normal
    sample = noise.bernoulli(mean)
    for units, size in runs(softmax_groups(conditions.visible_units)):
        sample[:, units] = _by_group(noise.one_hot, mean[:, units], size)
    return sample


def run_on_host(
    parameters: Parameters,
    visible: HostArray | None,
    hidden: HostArray | None,
    conditions: Conditions,
    *,
    sweeps: int,
    key: Key,
) -> Chains:
    """Do what `run` does with NumPy arrays.

    Parameters
    ----------
    parameters, visible, hidden, conditions, sweeps, key
        As in `run`, with NumPy arrays.

    Returns
    -------
    Chains
        States after the last sweep, NumPy arrays.
    """
    arrays = Parameters(*as_ndarrays(parameters)), as_ndarrays(visible), as_ndarrays(hidden)
    beta, base, clamp = as_ndarrays(conditions[:3])
    conditions = conditions._replace(beta=beta, base_visible_bias=base, clamp=clamp)
    chains = run(*arrays, conditions, sweeps=sweeps, key=key)
    return Chains(*(array.asnumpy() for array in chains))


def _hold(visible: NDArray, clamp: Clamp | None) -> NDArray:
    """Return the visible layer with the clamped units at their values."""
    if clamp is None:
        return visible
    mask, values = (array.astype(visible.dtype, copy=False).broadcast_to(visible.shape) for array in clamp)
    return mx.nd.where(mask, values, visible)


def _conditionals(parameters: Parameters, conditions: Conditions) -> tuple[_Conditional, _Conditional]:
    """Return p(v | h) and p(h | v) at beta, as functions of the other layer's state."""
    beta = conditions.beta
    if isinstance(beta, mx.nd.NDArray):
        beta = beta.reshape((-1, 1))  # a row for each chain
    weight = parameters.interaction_weight
    visible_bias = visible_bias_at(parameters, beta, conditions.base_visible_bias)
    hidden_bias = beta * parameters.hidden_layer_bias
    # FullyConnected is MXNet's fastest product on a CPU. It takes weights (outputs, inputs), so one
    # of the two matrices is transposed.
    return (
        _Conditional(weight, visible_bias, beta, conditions.visible_units),
        _Conditional(weight.T, hidden_bias, beta),
    )


class _Conditional:
    """state -> sigmoid(beta state.weight^T + bias), with a softmax in groups.

    beta and bias are the same for all chains, or have a row for each chain. For Gaussian units the
    result is the mean: the same without the sigmoid.
    """

    def __init__(self, weight: NDArray, bias: NDArray, beta: Any, visible_units: VisibleUnits = ()) -> None:
        self._rows = isinstance(beta, mx.nd.NDArray)
        self._beta, self._bias, self._units = beta, bias, visible_units
        self._weight = weight if self._rows or beta == 1 else beta * weight

    def __call__(self, state: NDArray) -> NDArray:
        num_units = self._weight.shape[0]
        if self._rows:
            product = mx.nd.FullyConnected(state, self._weight, no_bias=True, num_hidden=num_units)
            total_input = self._beta * product + self._bias
        else:
            total_input = mx.nd.FullyConnected(state, self._weight, self._bias, num_hidden=num_units)
        if self._units == GAUSSIAN:
            return total_input
        prob_1 = mx.nd.Activation(total_input, "sigmoid")
        for units, size in runs(softmax_groups(self._units)):
            prob_1[:, units] = _by_group(mx.nd.softmax, total_input[:, units], size)
        return prob_1


def _by_group(function: Callable[[NDArray], NDArray], values: NDArray, size: int) -> NDArray:
    """Apply a function of rows of one group to rows of several groups of one size."""
    return function(values.reshape((-1, size))).reshape(values.shape)
