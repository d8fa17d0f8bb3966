"""Estimates of log Z with their uncertainty, and reasons not to trust them. All are in nats."""

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
# A few chains dominate the estimate if the effective sample size is below this fraction of all
# chains, or below this number.
_TRUSTED_FRACTION, _TRUSTED_CHAINS = 0.1, 10
_TRUSTED_WIDTH = 1.0  # nats, largest width of a bracket that is trusted
AGREEMENT = 0.5  # nats: estimates that differ by at most this confirm each other
_CONTRADICTION = 0.1  # nats: a larger gap between two 3-sigma intervals does not come from chance
_ROUNDING = 0.01  # nats: a smaller difference between estimates may come from float32
_TRUSTED_RATE = 0.05  # lowest rate of exchanges between neighbours on a path that is trusted
_NO_SPREAD = 1e-6  # nats, standard deviation of log-weights

GIVEN_BASE, MIXTURE = "the given base rate", "importance sampling"  # names of estimates


def reasons_for_warning(num_distributions: int, num_chains: int, effective_sample_size: float) -> str:
    """Reasons not to trust an estimate of log Z by AIS.

    Parameters
    ----------
    num_distributions
        Number of intermediate distributions; 0 for importance sampling.
    num_chains
        Number of chains.
    effective_sample_size
        Effective sample size of their importance weights.

    Returns
    -------
    str
        Reasons, joined by "and"; empty if there are none.
    """
    reasons = []
    if 0 < num_distributions < _TRUSTED_DISTRIBUTIONS:
        reasons.append("only %d intermediate distributions" % num_distributions)
    if num_chains < _TRUSTED_CHAINS:
        reasons.append("only %d chains, too few for an interval" % num_chains)
    elif effective_sample_size < max(_TRUSTED_FRACTION * num_chains, _TRUSTED_CHAINS):
        reasons.append("effective sample size %.1f of %d chains" % (effective_sample_size, num_chains))
    return " and ".join(reasons)


def is_usable(num_chains: int, effective_sample_size: float) -> bool:
    """Whether the effective sample size is at least a tenth of the number of chains.

    Below this, a few chains dominate the estimate.

    Parameters
    ----------
    num_chains, effective_sample_size
        As in `reasons_for_warning`.

    Returns
    -------
    bool
        True for a usable estimate.
    """
    return effective_sample_size >= _TRUSTED_FRACTION * num_chains


class LogPartition(NamedTuple):
    """Estimate of log Z with its uncertainty, in nats."""

    #: log of the mean weight; for reverse AIS, minus the log of the mean inverse weight
    log_z: float
    #: log_z with the mean weight three standard errors lower; -inf if this weight is not above 0
    low: float
    #: log_z with the mean weight three standard errors higher; for reverse AIS it may be inf
    high: float
    #: (sum w)^2 / sum w^2 of the averaged weights, at most the number of chains
    effective_sample_size: float
    log_weights: HostArray  #: float64 (num_chains,): log Z_0 + log w of each chain
    num_distributions: int  #: number of intermediate distributions; 0 for importance sampling

    def __repr__(self) -> str:
        shown = (self.log_z, self.low, self.high, self.effective_sample_size, self.num_chains)
        return "LogPartition(log_z=%.4f, low=%.4f, high=%.4f, effective_sample_size=%.1f of %d chains)" % shown

    @property
    def num_chains(self) -> int:
        """Number of chains, or of draws for importance sampling.

        Returns
        -------
        int
            Number of log-weights.
        """
        return len(self.log_weights)

    @property
    def has_spread(self) -> bool:
        """Whether log-weights differ. If they do not, all chains may have met the same mode only.

        Returns
        -------
        bool
            True if their standard deviation is above 1e-6 nats, or if there is only one chain.
        """
        return self.num_chains < 2 or bool(np.std(self.log_weights) > _NO_SPREAD)

    @property
    def warning(self) -> str:
        """Reasons not to trust the estimate.

        The interval reflects only the spread that the chains have seen. A run that missed a mode
        has a narrow interval, too.

        Returns
        -------
        str
            Reasons, joined by "and"; empty if there are none.
        """
        return self.reasons(confirmed=False)

    def reasons(self, confirmed: bool) -> str:
        """Reasons not to trust the estimate, given what other estimates say.

        Parameters
        ----------
        confirmed
            Whether an independent estimate agrees. Equal log-weights are then no reason.

        Returns
        -------
        str
            Reasons as in `warning`.
        """
        reasons = [reasons_for_warning(self.num_distributions, self.num_chains, self.effective_sample_size)]
        if not (confirmed or self.has_spread):
            reasons.append("all chains have the same weight, which says nothing of modes that none of them has met")
        return " and ".join(filter(None, reasons))


class Check(NamedTuple):
    """Another estimate of log Z for comparison, too low on average."""

    name: str
    estimate: LogPartition


class PathPartition(NamedTuple):
    """Estimate of log Z along a path of RBMs (`gluon_rbm.likelihood.bennett`), in nats."""

    log_z: float
    #: lower end of the 3-sigma interval, by Student's t with num_chains - 1 degrees of freedom
    low: float
    high: float  #: upper end of this interval
    standard_error: float  #: of log_z, by a jackknife over chains
    swap_rates: HostArray  #: rates of exchanges between neighbours, float64 (RBMs - 1,)
    num_chains: int  #: number of chains of each RBM
    sweeps: int  #: number of measured sweeps of each RBM
    name: str  #: name of the path

    @property
    def warning(self) -> str:
        """Reasons not to trust the estimate.

        Returns
        -------
        str
            Reasons, joined by "and"; empty if there are none.
        """
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
    """Lower and upper estimates of log Z (nats) by forward and reverse AIS along one schedule.

    The reverse estimate is too high on average only for `reverse_start` "exact". For "chains" it
    starts at approximate samples. Chains do not count a part of the distribution that they have not
    found, so forward and reverse AIS may agree on a value that is far too low. Therefore they are
    compared with other estimates: AIS from other base distributions (`bases`), and importance
    sampling from dispersed states (`mixture`, see `gluon_rbm.likelihood.mixture`). All of these are
    too low on average, so the largest one is the best.

    A path of other RBMs, such as snapshots of the training, gives one more estimate (`path`, see
    `gluon_rbm.likelihood.bennett`), which is not a bound. For "given" the reverse estimate depends
    on the given samples. If these are images of the data, it is only a diagnostic.
    """

    forward: LogPartition
    reverse: LogPartition
    reverse_start: str  #: "exact", "chains" or "given"
    #: base distribution of forward and reverse AIS: the given one, unless another finds more
    base: str = GIVEN_BASE
    bases: Sequence[Check] = ()  #: forward AIS from the other base distributions
    mixture: LogPartition | None = None  #: importance sampling
    path: PathPartition | None = None  #: Bennett's acceptance ratio, if a path was given

    @property
    def counts(self) -> tuple[LogPartition, ...]:
        """Estimates that log Z is taken from.

        Returns
        -------
        tuple of LogPartition
            Importance sampling if its effective sample size is large enough and its interval at
            most half a nat wide; otherwise forward and reverse AIS.
        """
        if self.mixture is not None and _is_close(self.mixture):
            return (self.mixture,)
        return self.forward, self.reverse

    @property
    def estimate(self) -> LogPartition:
        """First of the `counts`.

        Returns
        -------
        LogPartition
            Estimate by importance sampling or by forward AIS.
        """
        return self.counts[0]

    @property
    def log_z(self) -> float:
        """Mean of the `counts`.

        The errors of forward and reverse AIS partly cancel if the reverse samples are exact.

        Returns
        -------
        float
            Log Z in nats.
        """
        return float(np.mean([estimate.log_z for estimate in self.counts]))

    @property
    def low(self) -> float:
        """Lowest end of the intervals of the `counts`.

        Returns
        -------
        float
            Lower end in nats. Without `confirmations`, forward and reverse AIS are included.
        """
        return min(estimate.low for estimate in self._bounds)

    @property
    def high(self) -> float:
        """Highest end of the intervals of the `counts`, the pessimistic side for a likelihood.

        Returns
        -------
        float
            Upper end in nats. Without `confirmations`, forward and reverse AIS are included.
        """
        return max(estimate.high for estimate in self._bounds)

    @property
    def _bounds(self) -> tuple[LogPartition, ...]:
        """The `counts`, and forward and reverse AIS if nothing confirms them."""
        return self.counts if self.confirmations else (*self.counts, self.forward, self.reverse)

    @property
    def confirmations(self) -> dict[str, float]:
        """Other estimates that agree with `estimate` within half a nat.

        An estimate of few chains, or with an interval without a lower end, confirms nothing.

        Returns
        -------
        dict of str to float
            Name of each, and how far it is above `estimate`, in nats.
        """
        differences = {
            name: other.log_z - self.estimate.log_z for name, other in self.others.items() if _is_bounded(other)
        }
        return {name: value for name, value in differences.items() if abs(value) <= AGREEMENT}

    @property
    def others(self) -> dict[str, LogPartition | PathPartition]:
        """Estimates that do not count, by name.

        Returns
        -------
        dict of str to LogPartition or PathPartition
            Estimates to compare with `estimate`; one along a path only if it has no warning.
        """
        others: dict[str, LogPartition | PathPartition] = {"AIS from %s" % name: one for name, one in self.bases}
        if self.path is not None and not self.path.warning:
            others[self.path.name] = self.path
        if self.estimate is not self.forward:
            return {"AIS from %s" % self.base: self.forward, **others}
        return others if self.mixture is None else {**others, MIXTURE: self.mixture}

    @property
    def warning(self) -> str:
        """Reasons why the bracket has not converged to within one nat.

        Returns
        -------
        str
            Reasons, joined by semicolons; empty if it has converged.
        """
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


def _is_bounded(other: LogPartition | PathPartition) -> bool:
    """Whether an estimate has enough chains, and a relative standard error below a third."""
    return other.num_chains >= _TRUSTED_CHAINS and bool(np.isfinite(other.high - other.low))


def _is_close(mixture: LogPartition) -> bool:
    """Whether importance sampling is usable and its interval at most half a nat wide."""
    return is_usable(mixture.num_chains, mixture.effective_sample_size) and mixture.high - mixture.low <= AGREEMENT


def summarize_log_weights(log_weights: HostArray | Sequence[float], num_distributions: int) -> LogPartition:
    """Summarize log-weights as an estimate of log Z.

    Parameters
    ----------
    log_weights
        Log Z_0 + log w of each chain, (num_chains,).
    num_distributions
        Number of intermediate distributions; 0 for importance sampling.

    Returns
    -------
    LogPartition
        Log of the mean weight with its 3-sigma interval, computed in log space and float64.

    Raises
    ------
    InputError
        A log-weight is not finite.
    """
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
    """Summarize log-weights of reverse AIS, with a mean over inverse weights.

    Parameters
    ----------
    log_weights, num_distributions
        As in `summarize_log_weights`.

    Returns
    -------
    LogPartition
        Minus the log of the mean inverse weight, with its 3-sigma interval.

    Raises
    ------
    InputError
        As in `summarize_log_weights`.
    """
    inverse = summarize_log_weights(-log_weights, num_distributions)
    return inverse._replace(log_z=-inverse.log_z, low=-inverse.high, high=-inverse.low, log_weights=log_weights)
