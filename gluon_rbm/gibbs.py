"""Block Gibbs sampling of the binary RBM at an inverse temperature: the one primitive everything else calls.

A sweep draws the visible layer given the hidden layer, then the hidden layer given the visible layer:

    p_beta(v_i = 1 | h) = sigmoid((1 - beta) a0_i + beta (a_i + (W h)_i))
    p_beta(h_j = 1 | v) = sigmoid(beta (b_j + (v W)_j))

Noise comes from a key, not from a generator that somebody else may have moved: the same key gives the same noise, on
every device, in every thread. (MXNet's own generators belong to threads, and start alike in each of them.)
"""

from typing import Any, NamedTuple

import numpy as np

from gluon_rbm.energy import visible_bias_at
from gluon_rbm.errors import InputError
from gluon_rbm.framework import mx

__all__ = ["Chains", "Noise", "draw_key", "redraw_non_binary", "run_chains"]

# MXNet executes behind Python's back. Waiting every so many sweeps keeps the noise that is drawn ahead of it small.
_SWEEPS_AHEAD = 8


class Chains(NamedTuple):
    """State of some chains after the last sweep; rows are chains, samples in {0, 1}, all in the parameters' dtype."""

    visible_sample: Any  # (chains, num_visible)
    hidden_sample: Any  # (chains, num_hidden), drawn given visible_sample
    visible_prob_1: Any  # (chains, num_visible), what visible_sample was drawn from
    hidden_prob_1: Any  # (chains, num_hidden), p(h = 1 | visible_sample)


class Noise:
    """Uniform random numbers that follow from a key: a sequence of non-negative integers of any size."""

    def __init__(self, key):
        # Drawn on the host: SFC64 is three times faster than MXNet's CPU generator, and CPU and GPU get the same noise.
        self._generator = np.random.Generator(np.random.SFC64(np.random.SeedSequence([int(word) for word in key])))

    def bernoulli(self, prob_1):
        """A sample in {0, 1} of each probability, in its shape, dtype and device."""
        # float16 noise would round up to 1 and make certain units fail; float32 noise is compared with it exactly.
        dtype = np.float64 if prob_1.dtype == np.float64 else np.float32
        uniform = self._generator.random(prob_1.shape, dtype=dtype)
        uniform = mx.nd.from_numpy(uniform, zero_copy=True).as_in_context(prob_1.context)
        return mx.nd.lesser(uniform, prob_1.astype(dtype, copy=False)).astype(prob_1.dtype, copy=False)


def draw_key(context=None, F=mx.nd):
    """Four random words, int32 (4,), from MXNet's generator of the calling thread: `mx.random.seed` rules them.

    With F = mx.sym they are drawn in the graph, anew in every execution.
    """
    place = {} if F is mx.sym else {"ctx": context or mx.cpu()}
    return F.random.randint(0, 2**31 - 1, shape=(4,), dtype="int32", **place)


def redraw_non_binary(sample, noise):
    """The sample with every entry that is neither 0 nor 1 (NaN too) replaced by a fair coin."""
    return mx.nd.where(
        sample * (sample - 1) == 0,
        sample,
        noise.bernoulli(mx.nd.full(sample.shape, 0.5, ctx=sample.context, dtype=sample.dtype)),
    )


def run_chains(parameters, visible=None, hidden=None, sweeps=1, beta=1, base_visible_bias=None, key=()):
    """Run block Gibbs chains, all rows side by side, and return their `Chains`.

    Parameters
    ----------
    parameters : energy.Parameters
    visible : NDArray (chains, num_visible) in [0, 1], or None
        Start; the hidden layer is drawn given it before the first sweep.
    hidden : NDArray (chains, num_hidden) in {0, 1}, or None
        Start instead of `visible`; exactly one of the two is given.
    sweeps : int >= 1
    beta : float, or NDArray (chains,)
        Inverse temperature, of all chains or of each.
    base_visible_bias : NDArray (num_visible,), or None for zeros
        The bias a0 that the visible layer has at beta = 0.
    key : sequence of int
        Fixes the noise.

    Raises InputError when the start is not one layer or sweeps < 1.
    """
    if (visible is None) == (hidden is None):
        raise InputError("run_chains starts from the visible or from the hidden layer: give exactly one of them")
    if sweeps < 1:
        raise InputError("the number of Gibbs sweeps is %s; it must be at least 1" % sweeps)
    noise = Noise(key)
    visible_given_hidden, hidden_given_visible = _conditionals(parameters, beta, base_visible_bias)
    if hidden is None:
        hidden = noise.bernoulli(hidden_given_visible(visible))
    for sweep in range(sweeps):
        visible_prob_1 = visible_given_hidden(hidden)
        visible = noise.bernoulli(visible_prob_1)
        hidden_prob_1 = hidden_given_visible(visible)
        hidden = noise.bernoulli(hidden_prob_1)
        if (sweep + 1) % _SWEEPS_AHEAD == 0:
            hidden.wait_to_read()
    return Chains(visible, hidden, visible_prob_1, hidden_prob_1)


def _conditionals(parameters, beta, base_visible_bias):
    """The two conditional probabilities at beta, as functions of the other layer's state."""
    if isinstance(beta, mx.nd.NDArray):
        beta = beta.reshape((-1, 1))  # against rows of chains
    weight = parameters.interaction_weight
    visible_bias = visible_bias_at(parameters, beta, base_visible_bias)
    hidden_bias = beta * parameters.hidden_layer_bias
    # FullyConnected, which takes (outputs, inputs), is MXNet's fastest product on a CPU; hence one transpose.
    return (_Conditional(weight, visible_bias, beta), _Conditional(weight.T, hidden_bias, beta))


class _Conditional:
    """state -> sigmoid(beta state.weight^T + bias), beta and bias for all chains or one a row."""

    def __init__(self, weight, bias, beta):
        self._rows = isinstance(beta, mx.nd.NDArray)
        self._beta, self._bias = beta, bias
        self._weight = weight if self._rows or beta == 1 else beta * weight

    def __call__(self, state):
        num_units = self._weight.shape[0]
        if self._rows:
            product = mx.nd.FullyConnected(state, self._weight, no_bias=True, num_hidden=num_units)
            return mx.nd.sigmoid(self._beta * product + self._bias)
        return mx.nd.Activation(mx.nd.FullyConnected(state, self._weight, self._bias, num_hidden=num_units), "sigmoid")
