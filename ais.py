"""Log partition function and log-likelihood of a binary RBM by annealed importance sampling (AIS).

Sources: Neal (Statistics and Computing 11, 2001); Salakhutdinov & Murray (ICML 2008), section 4.1.

Chains start at beta = 0, with exact samples of independent pixels with bias a0, where log Z_0 is
known. They move through N distributions to beta = 1, the RBM itself. On the way each chain collects

    log w = sum_{n=1}^{N} [ log p*_{beta_n}(v_{n-1}) - log p*_{beta_{n-1}}(v_{n-1}) ],

and Z = Z_0 E[w]. The estimate of Z is unbiased. The estimate of log Z is too low on average
(Jensen's inequality), and far too low with few distributions. Log-likelihoods computed with it are
then too high.

Reverse AIS goes the same way back, from samples of the RBM to beta = 0: 1 / Z = E[1 / w] / Z_0. If
these samples are exact, its log Z is too high on average (Burda, Grosse & Salakhutdinov, AISTATS
2015; Grosse, Ghahramani & Adams, arXiv:1511.02543). The two estimates bracket log Z. All values are
in nats, and likelihoods in nats per image.
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
from gluon_rbm.models.parameters import Parameters

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
    # An mx.Context. MXNet's original example has the arguments up to this one.
    ctx: Any = None,
    *,
    base_visible_bias: Array | None = None,
    key: Key | None = None,
    engine: str = "auto",
) -> tuple[float, float]:
    """Estimate the mean log-likelihood of data and log Z by AIS.

    Parameters
    ----------
    visible_layer_bias, hidden_layer_bias, interaction_weight
        Arrays (num_visible,), (num_hidden,) and (num_visible, num_hidden) of the RBM.
    ais_batch_size
        Number of chains that run at once.
    ais_num_batch
        Number of such batches; AIS runs ais_num_batch x ais_batch_size chains.
    ais_intermediate_steps
        Number of intermediate distributions.
    ais_burn_in_steps
        Gibbs sweeps at each distribution.
    data
        Images, as in `mean_log_likelihood`.
    ctx
        Device (`mx.Context`) to move the arrays to; by default they stay where they are.
    base_visible_bias
        Bias a0 of the base distribution, (num_visible,); by default the RBM's own visible bias.
    key
        Integers that fix the noise; by default they are drawn from MXNet's generator.
    engine
        As in `gluon_rbm.sampling.gibbs.run_chains`.

    Returns
    -------
    log_likelihood : float
        Mean log-likelihood in nats per image.
    log_z : float
        Estimate of log Z in nats.

    Raises
    ------
    InputError
        The parameters, sizes or data cannot be used: see `log_partition` and `mean_log_likelihood`.

    Warns
    -----
    LikelihoodWarning
        An estimate is not reliable, or pixels are not binary: the value is then a grey-pixel score.
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
