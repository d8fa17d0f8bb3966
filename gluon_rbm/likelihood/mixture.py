"""log Z by importance sampling from a mixture of the RBM's own conditionals: what AIS is checked against.

    q(v) = sum_k pi_k p(v | h_k),        Z = E_q[ p*(v) / q(v) ],        p*(v) = exp(-F(v))

The hidden states h_k come from chains that start far from each other (`dispersed_hidden`). They need not be samples of
the RBM: whatever they are, the estimate of Z has no bias, so log Z is too low on average (Jensen), and by Markov's
inequality it exceeds log Z by t nats with a probability of exp(-t) at most. So a value above that of AIS shows that
AIS has missed a part of the distribution. Where few hidden states carry the distribution, as in small RBMs with strong
weights, the estimate is also close; in large RBMs it is far too low, and says nothing against AIS.

q is that of the conservative sampling-based log-likelihood (Bengio, Yao & Cho, arXiv:1311.6184).
"""

from __future__ import annotations

import numpy as np

from gluon_rbm.backend.arrays import asarray_like, to_numpy
from gluon_rbm.backend.random import draw_evenly, make_generator
from gluon_rbm.backend.types import HostArray, Key, VisibleUnits
from gluon_rbm.likelihood.estimates import LogPartition, summarize_log_weights
from gluon_rbm.models.energy import Parameters, log_sum_exp, softplus
from gluon_rbm.models.visible_units import draw_visible, log_normalizer
from gluon_rbm.sampling import gibbs

__all__ = ["dispersed_hidden", "mixture_log_partition"]

_STARTS = 250  # of each kind
_SWEEPS = 100
_MAX_COMPONENTS = 2000
_DRAWS = 10000
_DRAWS_AT_ONCE = 1000


def dispersed_hidden(
    parameters: Parameters, visible: HostArray, key: Key, engine: str = "auto", visible_units: VisibleUnits = ()
) -> HostArray:
    """Hidden states of chains that start far from each other, after 100 sweeps: float64 (chains, num_hidden), NumPy.

    Chains start at the patterns that one unit of the other layer calls for (v_i = 1 where W_ij > 0, and the opposite),
    at those that random combinations of its units call for, and at coins of every fairness: at most 250 of each kind,
    of either layer. visible : array (n, num_visible) in {0, 1}, other states to start from.
    """
    generator = make_generator([*key, 0])
    weight = to_numpy(parameters.interaction_weight).astype(np.float64)
    visible, hidden = np.concatenate([_patterns(weight, generator), visible]), _patterns(weight.T, generator)
    states = []
    for number, start in enumerate(({"visible": visible}, {"hidden": hidden}), 1):
        arrays = {name: asarray_like(values, parameters.interaction_weight) for name, values in start.items()}
        settings = {"sweeps": _SWEEPS, "visible_units": visible_units, "key": [*key, number], "engine": engine}
        chains = gibbs.run_chains(parameters, **settings, **arrays)
        states.append(to_numpy(chains.hidden_sample))
    return np.concatenate(states).astype(np.float64)


def _patterns(weight: HostArray, generator: np.random.Generator) -> HostArray:
    """States of the layer whose units are the rows of weight: bool (rows, units)."""
    num_units, num_others = weight.shape
    single = np.concatenate([weight.T > 0, weight.T < 0])
    chosen = generator.random((_STARTS, num_others)) < generator.random((_STARTS, 1))
    combined = (chosen * generator.normal(size=chosen.shape)) @ weight.T > 0
    coins = generator.random((_STARTS, num_units)) < generator.random((_STARTS, 1))
    return np.concatenate([generator.permutation(single)[:_STARTS], combined, coins])


def mixture_log_partition(
    parameters: Parameters, hidden: HostArray, key: Key, visible_units: VisibleUnits = ()
) -> LogPartition:
    """log Z by 10,000 draws from a mixture of p(v | h_k): too low on average.

    hidden : array (n, num_hidden) in {0, 1}, any states; 2,000 different ones are used at most
    key : sequence of int, fixes the noise

    Half of each pi_k is the same for all, and half proportional to p*(h_k), so that no weight can be large for what a
    component has found. Returns a `LogPartition` of the draws' weights (num_distributions: 0).
    """
    generator = make_generator(key)
    a, b, w = (to_numpy(array).astype(np.float64) for array in parameters)
    hidden = np.unique(hidden, axis=0)
    log_mass = hidden @ b + log_normalizer(a + hidden @ w.T, visible_units)  # log p*(h)
    chosen = _choose(log_mass, generator)
    inputs: HostArray = a + hidden[chosen] @ w.T
    mass = np.exp(log_mass[chosen] - log_mass.max())
    proportion = 0.5 / len(mass) + 0.5 * mass / mass.sum()
    offsets = np.log(proportion) - log_normalizer(inputs, visible_units)
    log_weights = []
    for components in np.array_split(draw_evenly(proportion, _DRAWS, generator), _DRAWS // _DRAWS_AT_ONCE):
        visible = draw_visible(inputs[components], visible_units, generator)
        log_p = visible @ a + softplus(b + visible @ w).sum(axis=1)
        log_weights.append(log_p - log_sum_exp(visible @ inputs.T + offsets))
    return summarize_log_weights(np.concatenate(log_weights), 0)


def _choose(log_mass: HostArray, generator: np.random.Generator) -> HostArray:
    """Numbers of 2,000 components, or of all where there are no more: half those of the most mass, half by chance."""
    order = np.argsort(-log_mass)
    half = _MAX_COMPONENTS // 2
    return np.concatenate([order[:half], generator.permutation(order[half:])[:half]])
