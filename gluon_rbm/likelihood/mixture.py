"""Log Z by importance sampling from a mixture of the RBM's conditionals, to check AIS against.

    q(v) = sum_k pi_k p(v | h_k),        Z = E_q[ p*(v) / q(v) ],        p*(v) = exp(-F(v))

The hidden states h_k come from chains that start far from each other (`dispersed_hidden`). They
need not be samples of the RBM. The estimate of Z is unbiased for any of them, so log Z is too low
on average (Jensen's inequality). By Markov's inequality, it exceeds log Z by t nats with a
probability of at most exp(-t). So a value above that of AIS shows that AIS has missed a part of the
distribution. In small RBMs with strong weights a few hidden states carry the distribution, and the
estimate is also close. In large RBMs it is far too low, and says nothing against AIS.

The mixture q is that of the conservative sampling-based log-likelihood (Bengio, Yao & Cho,
arXiv:1311.6184).
"""

from __future__ import annotations

import numpy as np

from gluon_rbm.backend.arrays import asarray_like, to_numpy
from gluon_rbm.backend.random import draw_evenly, make_generator
from gluon_rbm.backend.types import HostArray, Key, VisibleUnits
from gluon_rbm.likelihood.estimates import LogPartition, summarize_log_weights
from gluon_rbm.models.energy import log_sum_exp, softplus
from gluon_rbm.models.parameters import Parameters
from gluon_rbm.models.visible_units import draw_visible, log_normalizer
from gluon_rbm.sampling import gibbs

__all__ = ["dispersed_hidden", "mixture_log_partition"]

_STARTS = 250  # number of starts of each kind
_SWEEPS = 100
_MAX_COMPONENTS = 2000
_DRAWS = 10000
_DRAWS_AT_ONCE = 1000


def dispersed_hidden(
    parameters: Parameters, visible: HostArray, key: Key, engine: str = "auto", visible_units: VisibleUnits = ()
) -> HostArray:
    """Draw hidden states from chains that start far from each other, after 100 sweeps.

    There are three kinds of starts in either layer, with at most 250 chains of each: patterns that
    one unit of the other layer favours (v_i = 1 where W_ij > 0, and the opposite); patterns that
    random combinations of its units favour; and random bits, which are 1 with a probability that is
    drawn for each chain.

    Parameters
    ----------
    parameters
        Parameters of the RBM.
    visible
        Further visible states to start at, (n, num_visible), 0 or 1.
    key
        Integers that fix the noise.
    engine, visible_units
        As in `gluon_rbm.sampling.gibbs.run_chains`.

    Returns
    -------
    float64 NumPy array (chains, num_hidden)
        Hidden states, 0 or 1.
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
    """Starting states of the layer with a unit for each row of `weight`: bool (rows, units)."""
    num_units, num_others = weight.shape
    single = np.concatenate([weight.T > 0, weight.T < 0])
    chosen = generator.random((_STARTS, num_others)) < generator.random((_STARTS, 1))
    combined = (chosen * generator.normal(size=chosen.shape)) @ weight.T > 0
    coins = generator.random((_STARTS, num_units)) < generator.random((_STARTS, 1))
    return np.concatenate([generator.permutation(single)[:_STARTS], combined, coins])


def mixture_log_partition(
    parameters: Parameters, hidden: HostArray, key: Key, visible_units: VisibleUnits = ()
) -> LogPartition:
    """Estimate log Z by 10,000 draws from a mixture of p(v | h_k); it is too low on average.

    Half of the mixture's weight is the same for all components; the other half is proportional to
    p*(h_k). So no importance weight can be large for states that a component has found.

    Parameters
    ----------
    parameters
        Parameters of the RBM.
    hidden
        Hidden states h_k, (n, num_hidden), 0 or 1; at most 2,000 different ones are used.
    key
        Integers that fix the noise.
    visible_units
        As in `gluon_rbm.sampling.gibbs.run_chains`.

    Returns
    -------
    LogPartition
        Estimate of log Z in nats from the weights of the draws, with `num_distributions` 0.
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
    """Indices of all components or of 2,000: half have the largest mass, half are random others."""
    order = np.argsort(-log_mass)
    half = _MAX_COMPONENTS // 2
    return np.concatenate([order[:half], generator.permutation(order[half:])[:half]])
