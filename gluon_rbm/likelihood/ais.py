"""Forward and reverse annealed importance sampling, the implementation behind the module `ais`.

    log w = sum_{n=1}^{N} [ log p*_{beta_n}(v_{n-1}) - log p*_{beta_{n-1}}(v_{n-1}) ]
    forward, from the base distribution:  Z = Z_0 E[w]
    reverse, from samples of the RBM:     1 / Z = E[1 / w] / Z_0

`ais` explains both and gives the sources. `gluon_rbm.likelihood.annealing` moves the chains.
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np

from gluon_rbm.backend.types import Array, HostArray, NDArray
from gluon_rbm.data.statistics import smoothed_visible_bias
from gluon_rbm.errors import InputError, check_count
from gluon_rbm.likelihood import annealing, bennett, enumeration
from gluon_rbm.likelihood.annealing_settings import AnnealingSettings
from gluon_rbm.likelihood.estimates import AGREEMENT, GIVEN_BASE, Bracket, Check, LogPartition, PathPartition
from gluon_rbm.likelihood.mixture import dispersed_hidden, mixture_log_partition
from gluon_rbm.likelihood.scores import LogLikelihood, mean_log_likelihood, mean_pseudo_log_likelihood
from gluon_rbm.models.parameters import Parameters
from gluon_rbm.sampling.trajectory import Path

__all__ = [
    "AnnealingSettings",
    "Bracket",
    "LikelihoodWarning",
    "LogPartition",
    "LogLikelihood",
    "PathPartition",
    "bracket",
    "log_partition",
    "reverse_log_partition",
    "smoothed_visible_bias",
    "mean_log_likelihood",
    "mean_pseudo_log_likelihood",
    "warn_of",
]


# Purposes of keys. They differ from the purposes in `gluon_rbm.likelihood.annealing`.
_DISPERSED, _MIXTURE, _PATH = 100, 101, 102


class LikelihoodWarning(UserWarning):
    """Warning that a likelihood or an estimate of log Z is not reliable."""


def log_partition(
    visible_layer_bias: Array,
    hidden_layer_bias: Array,
    interaction_weight: Array,
    *,
    num_chains: int = 1000,
    **settings: Any,
) -> LogPartition:
    """Estimate log Z by annealed importance sampling (AIS), a lower bound on average.

    Parameters
    ----------
    visible_layer_bias, hidden_layer_bias, interaction_weight
        Arrays (num_visible,), (num_hidden,) and (num_visible, num_hidden), NDArrays or NumPy's. AIS
        runs on their device.
    num_chains
        Number of chains.
    **settings
        Fields of `AnnealingSettings`.

    Returns
    -------
    LogPartition
        Estimate of log Z in nats, with its uncertainty.

    Raises
    ------
    InputError
        The parameters are not finite or do not fit together, a setting is not allowed, or the state
        file is damaged or belongs to another run.

    Examples
    --------
    >>> a, b, w = np.zeros(3), np.zeros(3), np.ones((3, 3))
    >>> estimate = log_partition(a, b, w, num_chains=100, num_distributions=200, key=[0])
    >>> round(estimate.log_z, 1)  # the exact value is 9.33
    9.3
    >>> estimate.warning
    ''
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
    """Estimate log Z by reverse AIS, an upper bound on average if it starts at exact samples.

    Parameters
    ----------
    visible_layer_bias, hidden_layer_bias, interaction_weight
        As in `log_partition`.
    visible
        Samples of the RBM to start at, (num_chains, num_visible), 0 or 1; for Gaussian units any
        finite numbers.
    **settings
        Fields of `AnnealingSettings`.

    Returns
    -------
    LogPartition
        Estimate of log Z in nats, with its uncertainty.

    Raises
    ------
    InputError
        As in `log_partition`, or the samples have another width or other values.
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
    check: bool = True,
    path: Path | None = None,
    **settings: Any,
) -> Bracket:
    """Estimate log Z by forward and reverse AIS along one schedule, and compare other estimates.

    Parameters
    ----------
    visible_layer_bias, hidden_layer_bias, interaction_weight, num_chains
        As in `log_partition`.
    reverse_start
        Where reverse AIS starts. "exact" means exact samples, for RBMs that can be enumerated.
        "chains" means the chains at the end of forward AIS, resampled by their weights and then
        advanced at beta = 1. "auto" takes exact samples if they take seconds
        (`gluon_rbm.likelihood.enumeration.is_quick`), and chains otherwise. An array gives the
        samples, as in `reverse_log_partition`.
    sweeps_at_the_top
        Sweeps of "chains" at beta = 1 before reverse AIS, at least 1; by default as many as
        forward AIS makes.
    check
        Whether to estimate log Z in other ways, too, if reverse AIS starts from chains: by
        importance sampling and by forward AIS from fair coins. If the two largest estimates then
        differ by more than half a nat, forward AIS from the RBM's own visible bias is added. The
        bracket is that of the given base distribution, unless the whole interval of another one
        lies above it. The check makes a run at most 1.7 times as long.
    path
        Path of RBMs to this one: of its training (`gluon_rbm.likelihood.snapshots.read`) or of
        matched means (`gluon_rbm.sampling.matching`). The check then includes an estimate along it
        (`gluon_rbm.likelihood.bennett`).
    **settings
        Fields of `AnnealingSettings`.

    Returns
    -------
    Bracket
        Forward and reverse estimates, and other estimates for comparison.

    Raises
    ------
    InputError
        As in `log_partition` and `reverse_log_partition`, or the path leads to an RBM of another
        size, or `reverse_start` does not exist.
    """
    parameters = Parameters.from_arrays(visible_layer_bias, hidden_layer_bias, interaction_weight)
    run = annealing.prepare(parameters, num_chains, AnnealingSettings(**settings))
    if sweeps_at_the_top is not None:
        check_count("sweeps_at_the_top", sweeps_at_the_top)
    if path is not None:
        path.checked(run.parameters)
    kind = _kind_of_start(run, reverse_start)
    # The start is made before the forward run, so that an impossible start is refused at once.
    start = None
    if kind == "exact":
        start = annealing.exact_samples(run)
    elif kind == "given":
        start = annealing.checked_start(run, reverse_start)
    forwards, mixture, along = [_Forward.of(GIVEN_BASE, run)], None, None
    if check and kind == "chains":
        mixture = _add_checks(forwards)
        along = None if path is None else _along(run, path)
    best = _most(forwards)
    if start is None:
        start = annealing.advance(
            best.run, annealing.resample(best.run, best.estimate, best.visible), sweeps_at_the_top
        )
    reverse = annealing.reverse(best.run, best.betas, start)
    bases = tuple(Check(other.name, other.estimate) for other in forwards if other is not best)
    return Bracket(best.estimate, reverse, kind, best.name, bases, mixture, along)


class _Forward(NamedTuple):
    """Forward AIS from one base distribution."""

    name: str
    run: annealing.Run
    betas: HostArray
    estimate: LogPartition
    visible: HostArray  # last states of the chains

    @classmethod
    def of(cls, name: str, run: annealing.Run) -> _Forward:
        betas = annealing.inverse_temperatures(run)
        return cls(name, run, betas, *annealing.forward(run, betas))


def _add_checks(forwards: list[_Forward]) -> LogPartition:
    """Add forward AIS from other base distributions, and return importance sampling's estimate."""
    run, own = forwards[0].run, forwards[0].run.parameters.visible_layer_bias
    _add_base(forwards, "fair coins", own.zeros_like())
    ends = np.concatenate([forward.visible for forward in forwards])
    visible_units = run.settings.visible_units
    hidden = dispersed_hidden(run.parameters, ends, [*run.key, 0, _DISPERSED], run.engine, visible_units)
    mixture = mixture_log_partition(run.parameters, hidden, [*run.key, 0, _MIXTURE], visible_units)
    first, second = sorted(
        (estimate.log_z for estimate in (*(forward.estimate for forward in forwards), mixture)), reverse=True
    )[:2]
    if first - second > AGREEMENT:
        _add_base(forwards, "the model's own visible bias", own)
    return mixture


def _along(run: annealing.Run, path: Path) -> PathPartition:
    """Estimate along a path."""
    return bennett.log_partition(
        [*path.rbms, run.parameters],
        [*path.chains, None],
        name=path.name,
        num_chains=len(path.chains[0]),
        key=[*run.key, 0, _PATH],
        visible_units=run.settings.visible_units,
        engine=run.engine,
    )


def _add_base(forwards: list[_Forward], name: str, base_visible_bias: NDArray) -> None:
    """Add forward AIS from a base distribution, unless it is there."""
    if not any((forward.run.base_visible_bias == base_visible_bias).min().asscalar() for forward in forwards):
        run = annealing.from_base(forwards[0].run, name, base_visible_bias)
        forwards.append(_Forward.of(name, run))


def _most(forwards: list[_Forward]) -> _Forward:
    """The first run, unless the whole interval of another run lies above its interval."""
    best = forwards[0]
    for other in forwards[1:]:
        if other.estimate.low > best.estimate.high:
            best = other
    return best


def _kind_of_start(run: annealing.Run, reverse_start: str | Array) -> str:
    """Kind of start: "exact", "chains" or "given"."""
    if not isinstance(reverse_start, str):
        return "given"
    if reverse_start == "auto":
        return "exact" if enumeration.is_quick(run.parameters, run.settings.visible_units) else "chains"
    if reverse_start not in ("exact", "chains"):
        raise InputError("reverse_start %r does not exist; choose auto, exact, chains or give samples" % reverse_start)
    return reverse_start


# --- Warnings -------------------------------------------------------------------------------------


def warn_of(partition: LogPartition | Bracket, likelihood: LogLikelihood, stacklevel: int = 3) -> None:
    """Warn of estimates that are not reliable.

    Parameters
    ----------
    partition
        Estimate of log Z.
    likelihood
        Mean log-likelihood that was computed with it.
    stacklevel
        Stack level of `warnings.warn`; by default the warning points at the caller's caller.

    Warns
    -----
    LikelihoodWarning
        One warning for each of the two that is not reliable.
    """
    if likelihood.warning:
        warnings.warn(likelihood.warning, LikelihoodWarning, stacklevel=stacklevel)
    if partition.warning:
        warnings.warn(
            "log Z is not to be trusted (%s): the log-likelihood is probably optimistic" % partition.warning,
            LikelihoodWarning,
            stacklevel=stacklevel,
        )
