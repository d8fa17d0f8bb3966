"""Estimates of log Z by annealed importance sampling, forward and reverse: the inside of the module `ais`.

    log w = sum_{n=1}^{N} [ log p*_{beta_n}(v_{n-1}) - log p*_{beta_{n-1}}(v_{n-1}) ]
    forward, from the base rate:  Z = Z_0 E[w]       reverse, from samples of the RBM:  1 / Z = E[1 / w] / Z_0

`ais` explains both, and gives the sources. How chains move is in `gluon_rbm.likelihood.annealing`.
"""

from __future__ import annotations

import warnings
from typing import Any

from gluon_rbm.backend.types import Array
from gluon_rbm.data.statistics import smoothed_visible_bias
from gluon_rbm.errors import InputError, check_count
from gluon_rbm.likelihood import annealing, enumeration
from gluon_rbm.likelihood.annealing import AnnealingSettings
from gluon_rbm.likelihood.estimates import Bracket, LogPartition
from gluon_rbm.likelihood.scores import LogLikelihood, mean_log_likelihood, mean_pseudo_log_likelihood
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
    "warn_of",
]


class LikelihoodWarning(UserWarning):
    """A likelihood that should not be taken at its word."""


def log_partition(
    visible_layer_bias: Array,
    hidden_layer_bias: Array,
    interaction_weight: Array,
    *,
    num_chains: int = 1000,
    **settings: Any,
) -> LogPartition:
    """Estimate log Z by AIS: a lower bound on average.

    Parameters
    ----------
    visible_layer_bias, hidden_layer_bias, interaction_weight : NDArray or NumPy array
        (num_visible,), (num_hidden,), (num_visible, num_hidden); AIS runs on their device.
    num_chains : int >= 1
    settings
        As in `AnnealingSettings`.

    Returns a `LogPartition`. Raises InputError for parameters that are not finite or do not fit, for sizes < 1, and for
    a state file that is damaged or another run's.
    """
    parameters = Parameters.from_arrays(visible_layer_bias, hidden_layer_bias, interaction_weight)
    run = annealing.prepare(parameters, num_chains, AnnealingSettings(**settings))
    return annealing.forward(run, annealing.inverse_temperatures(run))[0]


def reverse_log_partition(
    visible_layer_bias: Array,
    hidden_layer_bias: Array,
    interaction_weight: Array,
    visible: Array,
    **settings: Any,
) -> LogPartition:
    """Estimate log Z by reverse AIS from visible: an upper bound on average, if they are exact samples of the RBM.

    visible : array (num_chains, num_visible) in {0, 1}
    settings : as in `AnnealingSettings`

    Returns a `LogPartition`. Raises InputError as `log_partition` does, and for a start that is not binary or of
    another width.
    """
    parameters = Parameters.from_arrays(visible_layer_bias, hidden_layer_bias, interaction_weight)
    run = annealing.prepare(parameters, len(visible), AnnealingSettings(**settings))
    return annealing.reverse(run, annealing.inverse_temperatures(run), annealing.checked_start(run, visible))


def bracket(
    visible_layer_bias: Array,
    hidden_layer_bias: Array,
    interaction_weight: Array,
    *,
    num_chains: int = 1000,
    reverse_start: str | Array = "auto",
    sweeps_at_the_top: int | None = None,
    **settings: Any,
) -> Bracket:
    """Estimate log Z by forward AIS and by reverse AIS, along the same schedule.

    Parameters
    ----------
    reverse_start : "auto", "exact", "chains", or array (num_chains, num_visible) in {0, 1}
        Where reverse AIS starts: at exact samples of an RBM that can be enumerated; at chains, namely those of the
        forward run, drawn anew by their weights and then advanced at beta = 1; or at given samples. Auto takes exact
        samples where the smaller layer has at most 20 units, else chains.
    sweeps_at_the_top : int >= 1
        Sweeps at beta = 1 before chains start; as many as the forward run took, unless given.
    num_chains : as in `log_partition`
    settings
        As in `AnnealingSettings`.

    Returns a `Bracket`. Raises InputError as the two estimates do.
    """
    parameters = Parameters.from_arrays(visible_layer_bias, hidden_layer_bias, interaction_weight)
    run = annealing.prepare(parameters, num_chains, AnnealingSettings(**settings))
    if sweeps_at_the_top is not None:
        check_count("sweeps_at_the_top", sweeps_at_the_top)
    kind = _kind_of_start(run.parameters, reverse_start)
    # Before the forward run, so that a start that cannot be is refused at once.
    start = None
    if kind == "exact":
        start = annealing.exact_samples(run)
    elif kind == "given":
        start = annealing.checked_start(run, reverse_start)
    betas = annealing.inverse_temperatures(run)
    forward, visible = annealing.forward(run, betas)
    if start is None:
        start = annealing.advance(run, annealing.resample(run, forward, visible), sweeps_at_the_top)
    return Bracket(forward, annealing.reverse(run, betas, start), kind)


def _kind_of_start(parameters: Parameters, reverse_start: str | Array) -> str:
    """ "exact", "chains" or "given"."""
    if not isinstance(reverse_start, str):
        return "given"
    if reverse_start == "auto":
        return "exact" if enumeration.can_enumerate(parameters, enumeration.QUICK_UNITS) else "chains"
    if reverse_start not in ("exact", "chains"):
        raise InputError("reverse_start %r does not exist; choose auto, exact, chains or give samples" % reverse_start)
    return reverse_start


# --- Warnings ---------------------------------------------------------------------------------------------------------


def warn_of(partition: LogPartition | Bracket, likelihood: LogLikelihood, stacklevel: int = 3) -> None:
    """Warn (LikelihoodWarning), by default in the name of the caller's caller, of what not to trust."""
    if partition.warning:
        warnings.warn(
            "log Z is not to be trusted (%s): the log-likelihood is probably optimistic" % partition.warning,
            LikelihoodWarning,
            stacklevel=stacklevel,
        )
    if not likelihood.binary:
        warnings.warn(
            "pixels are not binary: the value is a grey-pixel score, not a log-likelihood",
            LikelihoodWarning,
            stacklevel=stacklevel,
        )
