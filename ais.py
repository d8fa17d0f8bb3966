"""Log partition function and log-likelihood of a binary RBM by annealed importance sampling (AIS).

Neal (Statistics and Computing 11, 2001); Salakhutdinov & Murray (ICML 2008), section 4.1. Chains start as exact samples
of independent pixels with bias a0 (beta = 0, log Z_0 known) and are carried through N intermediate distributions to the
RBM itself (beta = 1); on the way each collects

    log w = sum_{n=1}^{N} [ log p*_{beta_n}(v_{n-1}) - log p*_{beta_{n-1}}(v_{n-1}) ],

and Z = Z_0 E[w]. The estimate of Z is unbiased, that of log Z is too low on average (Jensen), by a lot when the
distributions are few: likelihoods computed with it are optimistic.

Reverse AIS goes the same way back, from samples of the RBM to beta = 0: 1 / Z = E[1 / w] / Z_0, and log Z is too
high on average, if the samples are exact (Burda, Grosse & Salakhutdinov, AISTATS 2015; Grosse, Ghahramani & Adams,
arXiv:1511.02543). The two make a bracket. Everything is in nats, likelihoods per image.
"""

from __future__ import annotations

from typing import Any, Iterable

from gluon_rbm.backend.types import Array, Key
from gluon_rbm.data.statistics import smoothed_visible_bias
from gluon_rbm.likelihood.ais import (
    AnnealingSettings,
    Bracket,
    LikelihoodWarning,
    LogLikelihood,
    LogPartition,
    bracket,
    log_partition,
    mean_log_likelihood,
    mean_pseudo_log_likelihood,
    reverse_log_partition,
    warn_of,
)
from gluon_rbm.models.energy import Parameters

__all__ = [
    "AnnealingSettings",
    "Bracket",
    "LikelihoodWarning",
    "LogPartition",
    "LogLikelihood",
    "bracket",
    "log_partition",
    "reverse_log_partition",
    "smoothed_visible_bias",
    "mean_log_likelihood",
    "mean_pseudo_log_likelihood",
    "estimate_log_likelihood",
    "warn_of",
]


def estimate_log_likelihood(
    visible_layer_bias: Array,
    hidden_layer_bias: Array,
    interaction_weight: Array,
    ais_batch_size: int,
    ais_num_batch: int,
    ais_intermediate_steps: int,
    ais_burn_in_steps: int,
    data: Array | Iterable[Any],
    ctx: Any = None,  # an mx.Context; up to here the arguments are the original's
    *,
    base_visible_bias: Array | None = None,
    key: Key | None = None,
    engine: str = "auto",
) -> tuple[float, float]:
    """Mean log-likelihood of data and log Z, both in nats: (log_likelihood, log_z), floats.

    AIS with ais_num_batch x ais_batch_size chains, ais_intermediate_steps distributions and ais_burn_in_steps sweeps at
    each; the base rate is the model's own visible bias unless another is given. data as in `mean_log_likelihood`.
    Warns (LikelihoodWarning) when the estimate is not to be trusted and when pixels are not binary: then the value is a
    grey-pixel score. Raises InputError as `log_partition` and `mean_log_likelihood` do.
    """
    parameters = Parameters.from_arrays(visible_layer_bias, hidden_layer_bias, interaction_weight)
    parameters = parameters if ctx is None else parameters.as_in_context(ctx)
    partition = log_partition(
        *parameters,
        num_chains=ais_batch_size * ais_num_batch,
        num_distributions=ais_intermediate_steps,
        burn_in_sweeps=ais_burn_in_steps,
        base_visible_bias=base_visible_bias,
        chains_at_once=ais_batch_size,
        key=key,
        engine=engine,
    )
    likelihood = mean_log_likelihood(parameters, data, partition.log_z)
    warn_of(partition, likelihood)
    return likelihood.mean, partition.log_z
