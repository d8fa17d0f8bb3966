"""Estimates of log Z by annealed importance sampling, forward and reverse: the inside of the module `ais`.

    log w = sum_{n=1}^{N} [ log p*_{beta_n}(v_{n-1}) - log p*_{beta_{n-1}}(v_{n-1}) ]
    forward, from the base rate:  Z = Z_0 E[w]       reverse, from samples of the RBM:  1 / Z = E[1 / w] / Z_0

`ais` explains both, and gives the sources. How chains move is in `gluon_rbm.likelihood.annealing`.
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np

from gluon_rbm.backend.types import Array, HostArray, NDArray
from gluon_rbm.data.statistics import smoothed_visible_bias
from gluon_rbm.errors import InputError, check_count
from gluon_rbm.likelihood import annealing, bennett, enumeration
from gluon_rbm.likelihood.annealing import AnnealingSettings
from gluon_rbm.likelihood.estimates import AGREEMENT, GIVEN_BASE, Bracket, Check, LogPartition, PathPartition
from gluon_rbm.likelihood.mixture import dispersed_hidden, mixture_log_partition
from gluon_rbm.likelihood.scores import LogLikelihood, mean_log_likelihood, mean_pseudo_log_likelihood
from gluon_rbm.models.energy import Parameters
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


_DISPERSED, _MIXTURE, _PATH = 100, 101, 102  # purposes of keys, as `gluon_rbm.likelihood.annealing` has others


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

    visible : array (num_chains, num_visible) in {0, 1} (of Gaussian units any)
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
    check: bool = True,
    path: Path | None = None,
    **settings: Any,
) -> Bracket:
    """Estimate log Z by forward AIS and by reverse AIS, along the same schedule, and compare it with other estimates.

    Parameters
    ----------
    reverse_start : "auto", "exact", "chains", or array (num_chains, num_visible) in {0, 1}
        Where reverse AIS starts: at exact samples of an RBM that can be enumerated; at chains, namely those of the
        forward run, drawn anew by their weights and then advanced at beta = 1; or at given samples. Auto takes exact
        samples where that takes seconds (`enumeration.is_quick`), else chains.
    sweeps_at_the_top : int >= 1
        Sweeps at beta = 1 before chains start; as many as the forward run took, unless given.
    check : bool
        Where reverse AIS starts from chains, estimate log Z in other ways, too: by importance sampling, by forward AIS
        from fair coins and, where these agree with nothing, from the model's own visible bias. The bracket is that of
        the given base rate, unless the whole interval of another lies above it. This takes at most 1.7 times as long.
    path : trajectory.Path, or None
        Of the training, as `gluon_rbm.likelihood.snapshots.read` has it, or of matched means
        (`gluon_rbm.sampling.matching`): with `check` log Z is estimated along it, too (`gluon_rbm.likelihood.bennett`).
    num_chains : as in `log_partition`
    settings
        As in `AnnealingSettings`.

    Returns a `Bracket`. Raises InputError as the two estimates do, and for a path to an RBM of another size.
    """
    parameters = Parameters.from_arrays(visible_layer_bias, hidden_layer_bias, interaction_weight)
    run = annealing.prepare(parameters, num_chains, AnnealingSettings(**settings))
    if sweeps_at_the_top is not None:
        check_count("sweeps_at_the_top", sweeps_at_the_top)
    if path is not None:
        path.checked(run.parameters)
    kind = _kind_of_start(run, reverse_start)
    # Before the forward run, so that a start that cannot be is refused at once.
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
    """Forward AIS from a base rate."""

    name: str
    run: annealing.Run
    betas: HostArray
    estimate: LogPartition
    visible: HostArray  # the chains at its end

    @classmethod
    def of(cls, name: str, run: annealing.Run) -> _Forward:
        betas = annealing.inverse_temperatures(run)
        return cls(name, run, betas, *annealing.forward(run, betas))


def _add_checks(forwards: list[_Forward]) -> LogPartition:
    """Add forward AIS from other base rates to that from the given one; and return importance sampling's estimate."""
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
    """The estimate along a path."""
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
    """Add forward AIS from that base rate, unless it is there."""
    if not any((forward.run.base_visible_bias == base_visible_bias).min().asscalar() for forward in forwards):
        run = annealing.from_base(forwards[0].run, name, base_visible_bias)
        forwards.append(_Forward.of(name, run))


def _most(forwards: list[_Forward]) -> _Forward:
    """That from the given base rate, unless the whole interval of another lies above its own."""
    best = forwards[0]
    for other in forwards[1:]:
        if other.estimate.low > best.estimate.high:
            best = other
    return best


def _kind_of_start(run: annealing.Run, reverse_start: str | Array) -> str:
    """ "exact", "chains" or "given"."""
    if not isinstance(reverse_start, str):
        return "given"
    if reverse_start == "auto":
        return "exact" if enumeration.is_quick(run.parameters, run.settings.visible_units) else "chains"
    if reverse_start not in ("exact", "chains"):
        raise InputError("reverse_start %r does not exist; choose auto, exact, chains or give samples" % reverse_start)
    return reverse_start


# --- Warnings ---------------------------------------------------------------------------------------------------------


def warn_of(partition: LogPartition | Bracket, likelihood: LogLikelihood, stacklevel: int = 3) -> None:
    """Warn (LikelihoodWarning), by default in the name of the caller's caller, of what not to trust."""
    if likelihood.warning:
        warnings.warn(likelihood.warning, LikelihoodWarning, stacklevel=stacklevel)
    if partition.warning:
        warnings.warn(
            "log Z is not to be trusted (%s): the log-likelihood is probably optimistic" % partition.warning,
            LikelihoodWarning,
            stacklevel=stacklevel,
        )
