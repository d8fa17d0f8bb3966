"""Estimates of log Z: where they start, their uncertainty, and what to be warned of. In nats."""

from __future__ import annotations

from typing import NamedTuple, Sequence

import numpy as np

from gluon_rbm.backend.types import HostArray
from gluon_rbm.errors import InputError

__all__ = [
    "AGREEMENT",
    "GIVEN_BASE",
    "MIXTURE",
    "Bracket",
    "Check",
    "LogPartition",
    "PathPartition",
    "is_usable",
    "reasons_for_warning",
    "summarize_log_weights",
    "summarize_reverse",
]

_TRUSTED_DISTRIBUTIONS = 100
_TRUSTED_FRACTION, _TRUSTED_CHAINS = 0.1, 10  # an effective sample size below either: a few chains carry the estimate
_TRUSTED_WIDTH = 1.0  # of a bracket
AGREEMENT = 0.5  # nats between two estimates that confirm each other
_CONTRADICTION = 0.1  # nats by which a whole interval lies above another: less is the luck of a 3-sigma interval
_ROUNDING = 0.01  # nats: estimates that differ by less do not contradict each other, as chains run in float32
_TRUSTED_RATE = 0.05  # of exchanges of neighbours on a path
_NO_SPREAD = 1e-6  # nats, standard deviation of log-weights

GIVEN_BASE, MIXTURE = "the given base rate", "importance sampling"  # what estimates are called


def reasons_for_warning(num_distributions: int, num_chains: int, effective_sample_size: float) -> str:
    """Why an estimate of log Z by AIS should not be trusted; empty if nothing speaks against it."""
    reasons = []
    if 0 < num_distributions < _TRUSTED_DISTRIBUTIONS:
        reasons.append("only %d intermediate distributions" % num_distributions)
    if num_chains < _TRUSTED_CHAINS:
        reasons.append("only %d chains, too few for an interval" % num_chains)
    elif effective_sample_size < max(_TRUSTED_FRACTION * num_chains, _TRUSTED_CHAINS):
        reasons.append("effective sample size %.1f of %d chains" % (effective_sample_size, num_chains))
    return " and ".join(reasons)


def is_usable(num_chains: int, effective_sample_size: float) -> bool:
    """Whether the effective sample size is at least a tenth of the chains: below, a few chains carry the estimate."""
    return effective_sample_size >= _TRUSTED_FRACTION * num_chains


class LogPartition(NamedTuple):
    """An estimate of log Z (nats) with its uncertainty."""

    log_z: float  #: log of the mean of the chains' importance weights; reverse: minus that of their inverses
    low: float  #: log_z at minus three standard errors of that mean; -inf when it would be negative
    high: float  #: log_z at plus three; reverse: the signs the other way round, and inf
    effective_sample_size: float  #: (sum w)^2 / sum w^2 of what was averaged, out of the number of chains
    log_weights: HostArray  #: float64 (num_chains,): log Z_0 + log w of every chain
    num_distributions: int  #: intermediate ones; 0 for importance sampling

    @property
    def has_spread(self) -> bool:
        """Whether log-weights differ; where they do not, all chains may have met the same mode only."""
        return len(self.log_weights) < 2 or bool(np.std(self.log_weights) > _NO_SPREAD)

    @property
    def warning(self) -> str:
        """Why the estimate should not be trusted; empty if nothing speaks against it.

        The interval knows only the spread that the chains have seen: an AIS run that missed a mode is confident too.
        """
        return self.reasons(confirmed=False)

    def reasons(self, confirmed: bool) -> str:
        """The `warning`; `confirmed` says that an estimate from elsewhere agrees, so that no spread is no reason."""
        reasons = [reasons_for_warning(self.num_distributions, len(self.log_weights), self.effective_sample_size)]
        if not (confirmed or self.has_spread):
            reasons.append("all chains have the same weight, which says nothing of modes that none of them has met")
        return " and ".join(filter(None, reasons))


class Check(NamedTuple):
    """Another estimate of log Z that is too low on average, for comparison."""

    name: str
    estimate: LogPartition


class PathPartition(NamedTuple):
    """An estimate of log Z (nats) along a path of RBMs (`gluon_rbm.likelihood.bennett`), with its uncertainty."""

    log_z: float
    low: float  #: the 3-sigma interval: of Student's t with one degree of freedom less than there are ladders
    high: float
    standard_error: float
    swap_rates: HostArray  #: of neighbours, float64 (RBMs - 1,)
    num_chains: int  #: of each RBM: ladders
    sweeps: int  #: of each RBM, while it was measured
    name: str  #: of the path

    @property
    def warning(self) -> str:
        """Why the estimate should not be trusted; empty if nothing speaks against it."""
        reasons = []
        if not self.swap_rates.min() >= _TRUSTED_RATE:
            pair = int(np.nan_to_num(self.swap_rates).argmin())
            share = 100 * float(np.nan_to_num(self.swap_rates)[pair])
            reasons.append("RBMs %d and %d of the path make %.1f %% of their exchanges" % (pair, pair + 1, share))
        if self.num_chains < _TRUSTED_CHAINS:
            reasons.append("only %d chains, too few for an interval" % self.num_chains)
        elif not self.high - self.low <= _TRUSTED_WIDTH:
            reasons.append("the interval is %.2f nats wide" % (self.high - self.low))
        return " and ".join(reasons)


class Bracket(NamedTuple):
    """Forward and reverse AIS along one schedule: log Z (nats) from below and from above, on average.

    That the reverse estimate lies above holds for reverse_start "exact". For "chains" it is an estimate itself: chains
    that have not found a part of the distribution cannot count it, and forward and reverse AIS may agree on a value
    that is far too low. So others are asked, too: AIS from other base rates (`bases`), and importance sampling from
    dispersed states (`mixture`; `gluon_rbm.likelihood.mixture`). All of these are too low on average: the largest
    counts. Along a path of other RBMs, snapshots of the training say, log Z has one more witness (`path`;
    `gluon_rbm.likelihood.bennett`), which is no bound. For "given" the reverse
    estimate is what the given samples make of it; with images of the data, a diagnostic only.
    """

    forward: LogPartition
    reverse: LogPartition
    reverse_start: str  #: "exact", "chains" or "given"
    base: str = GIVEN_BASE  #: the base rate that forward and reverse AIS are of: the one that found the most
    bases: Sequence[Check] = ()  #: forward AIS from the other base rates
    mixture: LogPartition | None = None  #: importance sampling
    path: PathPartition | None = None  #: Bennett's acceptance ratio, where a path was given

    @property
    def counts(self) -> tuple[LogPartition, ...]:
        """The estimates that count: of the mixture, where it is close to exact, and of forward and reverse AIS else."""
        if self.mixture is not None and _is_close(self.mixture):
            return (self.mixture,)
        return self.forward, self.reverse

    @property
    def estimate(self) -> LogPartition:
        """The first of them."""
        return self.counts[0]

    @property
    def log_z(self) -> float:
        """The middle of what counts: errors of forward and reverse AIS partly cancel where samples are exact."""
        return float(np.mean([estimate.log_z for estimate in self.counts]))

    @property
    def low(self) -> float:
        """The lower end: of all intervals of what counts."""
        return min(estimate.low for estimate in self._bounds)

    @property
    def high(self) -> float:
        """The upper end: of all intervals of what counts. The pessimistic side, for a likelihood."""
        return max(estimate.high for estimate in self._bounds)

    @property
    def _bounds(self) -> tuple[LogPartition, ...]:
        """What counts; and forward and reverse AIS in any case where nothing confirms it."""
        return self.counts if self.confirmations else (*self.counts, self.forward, self.reverse)

    @property
    def confirmations(self) -> dict[str, float]:
        """Others of the estimates that agree with the one that counts within half a nat.

        Name -> by how much it is above that one.
        """
        differences = {name: other.log_z - self.estimate.log_z for name, other in self.others.items()}
        return {name: value for name, value in differences.items() if abs(value) <= AGREEMENT}

    @property
    def others(self) -> dict[str, LogPartition | PathPartition]:
        """All estimates but those that count, by name."""
        others: dict[str, LogPartition | PathPartition] = {"AIS from %s" % name: one for name, one in self.bases}
        if self.path is not None and not self.path.warning:
            others[self.path.name] = self.path
        if self.estimate is not self.forward:
            return {"AIS from %s" % self.base: self.forward, **others}
        return others if self.mixture is None else {**others, MIXTURE: self.mixture}

    @property
    def warning(self) -> str:
        """Why the bracket has not converged; empty if it has, to within one nat."""
        contradictions = [
            "%s finds at least %.2f nats more" % (name, other.low - self.high)
            for name, other in self.others.items()
            if other.low > self.high + _CONTRADICTION
        ]
        return "; ".join(contradictions or [*self._spread_reasons(), *self._confirmation_reasons()])

    def _spread_reasons(self) -> list[str]:
        if self.estimate is not self.forward:
            return []
        confirmed = bool(self.confirmations) or self.reverse_start == "exact"
        sides = (("forward", self.forward.reasons(confirmed)), ("reverse", self.reverse.reasons(confirmed)))
        reasons = ["%s: %s" % side for side in sides if side[1]]
        if self.forward.low > self.reverse.high + _ROUNDING:
            reasons.append(
                "the bracket is upside down: forward AIS, which should lie below, says %.2f, and reverse AIS %.2f"
                % (self.forward.log_z, self.reverse.log_z)
            )
        elif not np.isfinite(self.high - self.low):
            reasons.append("the bracket of log Z is unbounded")
        elif self.high - self.low > _TRUSTED_WIDTH:
            reasons.append("the bracket of log Z is %.2f nats wide" % (self.high - self.low))
        return reasons

    def _confirmation_reasons(self) -> list[str]:
        if self.confirmations or not self.others:
            return []
        said = ", ".join("%s %.2f" % (name, other.log_z) for name, other in self.others.items())
        return ["no other estimate confirms %.2f (%s)" % (self.estimate.log_z, said)]


def _is_close(mixture: LogPartition) -> bool:
    """Whether so many draws of importance sampling carry the estimate that it is known to half a nat."""
    return (
        is_usable(len(mixture.log_weights), mixture.effective_sample_size) and mixture.high - mixture.low <= AGREEMENT
    )


def summarize_log_weights(log_weights: HostArray | Sequence[float], num_distributions: int) -> LogPartition:
    """The `LogPartition` of the chains' log-weights, in log space and float64; InputError if one is not finite."""
    log_weights = np.asarray(log_weights, np.float64)
    if not np.isfinite(log_weights).all():
        raise InputError("log Z is not finite, as the parameters are too large; train again with a lower learning rate")
    count, largest = len(log_weights), log_weights.max()
    weights = np.exp(log_weights - largest)
    log_z = largest + np.log(weights.mean())
    relative_error = weights.std(ddof=1) / weights.mean() / np.sqrt(count) if count > 1 else np.inf
    low = log_z + np.log1p(-3 * relative_error) if 3 * relative_error < 1 else -np.inf
    return LogPartition(
        float(log_z),
        float(low),
        float(log_z + np.log1p(3 * relative_error)),
        float(weights.sum() ** 2 / (weights**2).sum()),
        log_weights,
        num_distributions,
    )


def summarize_reverse(log_weights: HostArray, num_distributions: int) -> LogPartition:
    """The same of log-weights whose inverses are averaged."""
    inverse = summarize_log_weights(-log_weights, num_distributions)
    return inverse._replace(log_z=-inverse.log_z, low=-inverse.high, high=-inverse.low, log_weights=log_weights)
