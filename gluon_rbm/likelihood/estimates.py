"""Estimates of log Z: where they start, their uncertainty, and what to be warned of. In nats."""

from __future__ import annotations

from typing import NamedTuple, Sequence

import numpy as np

from gluon_rbm.backend.types import HostArray
from gluon_rbm.errors import InputError

__all__ = ["Bracket", "LogPartition", "reasons_for_warning", "summarize_log_weights", "summarize_reverse"]

_TRUSTED_DISTRIBUTIONS = 100
_TRUSTED_FRACTION, _TRUSTED_CHAINS = 0.1, 10  # an effective sample size below either: a few chains carry the estimate
_TRUSTED_WIDTH = 1.0  # of a bracket


def reasons_for_warning(num_distributions: int, num_chains: int, effective_sample_size: float) -> str:
    """Why an estimate of log Z by AIS should not be trusted; empty if nothing speaks against it."""
    reasons = []
    if num_distributions < _TRUSTED_DISTRIBUTIONS:
        reasons.append("only %d intermediate distributions" % num_distributions)
    if num_chains < _TRUSTED_CHAINS:
        reasons.append("only %d chains, too few for an interval" % num_chains)
    elif effective_sample_size < max(_TRUSTED_FRACTION * num_chains, _TRUSTED_CHAINS):
        reasons.append("effective sample size %.1f of %d chains" % (effective_sample_size, num_chains))
    return " and ".join(reasons)


class LogPartition(NamedTuple):
    """An estimate of log Z (nats) with its uncertainty."""

    log_z: float  #: log of the mean of the chains' importance weights; reverse: minus that of their inverses
    low: float  #: log_z at minus three standard errors of that mean; -inf when it would be negative
    high: float  #: log_z at plus three; reverse: the signs the other way round, and inf
    effective_sample_size: float  #: (sum w)^2 / sum w^2 of what was averaged, out of the number of chains
    log_weights: HostArray  #: float64 (num_chains,): log Z_0 + log w of every chain
    num_distributions: int

    @property
    def warning(self) -> str:
        """Why the estimate should not be trusted; empty if nothing speaks against it.

        The interval knows only the spread that the chains have seen: an AIS run that missed a mode is confident too.
        """
        return reasons_for_warning(self.num_distributions, len(self.log_weights), self.effective_sample_size)


class Bracket(NamedTuple):
    """Forward and reverse AIS along one schedule: log Z (nats) from below and from above, on average.

    That the reverse estimate lies above holds for reverse_start "exact". For "chains" it is an estimate itself: chains
    that have not found a part of the distribution cannot count it. For "given" it is what the given samples make of it;
    with images of the data, a diagnostic only.
    """

    forward: LogPartition
    reverse: LogPartition
    reverse_start: str  #: "exact", "chains" or "given"

    @property
    def log_z(self) -> float:
        """The middle of the two estimates, whose errors partly cancel where the reverse start is exact."""
        return (self.forward.log_z + self.reverse.log_z) / 2

    @property
    def low(self) -> float:
        """The lower end: of both intervals."""
        return min(self.forward.low, self.reverse.low)

    @property
    def high(self) -> float:
        """The upper end: of both intervals. The pessimistic side, for a likelihood."""
        return max(self.forward.high, self.reverse.high)

    @property
    def warning(self) -> str:
        """Why the bracket has not converged; empty if it has, to within one nat."""
        sides = (("forward", self.forward.warning), ("reverse", self.reverse.warning))
        reasons = ["%s: %s" % side for side in sides if side[1]]
        if self.forward.low > self.reverse.high:
            reasons.append(
                "the bracket is upside down: forward AIS, which should lie below, says %.2f, and reverse AIS %.2f"
                % (self.forward.log_z, self.reverse.log_z)
            )
        elif not np.isfinite(self.high - self.low):
            reasons.append("the bracket of log Z is unbounded")
        elif self.high - self.low > _TRUSTED_WIDTH:
            reasons.append("the bracket of log Z is %.2f nats wide" % (self.high - self.low))
        return "; ".join(reasons)


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
