"""How well a quantity along chains determines its mean, and when to warn.

A series is an array (chains, steps): the free energy of each chain's state, the number of pixels
that are on, and so on. It has a value after every sweep, or after every few sweeps, which are then
the unit of time. With s_t the chains' mean autocovariance at lag t, a sum over n - t steps divided
by n (Gelman et al., Bayesian Data Analysis, 3rd ed. 2013, section 11.4; Vehtari, Gelman, Simpson,
Carpenter & Buerkner, Bayesian Analysis 16, 2021, equations 1-4):

    W = mean over chains of the variance along it          B / n = variance over chains of its mean
    var+ = (n - 1) / n W + B / n = s_0 + B / n             rho_t = (s_t + B / n) / var+
    tau = 1 + 2 sum_t rho_t                                R-hat = sqrt(var+ / W)

(rho_t is that of Vehtari et al., equation 10, plus 1 / n. This removes their bias, which matters if
tau is far below 1.)

So chains that each stay in a mode of their own count as hardly any samples, even if each chain is
stationary within its mode.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gluon_rbm.backend.types import HostArray
from gluon_rbm.errors import InputError

__all__ = [
    "Diagnosis",
    "autocorrelation_time",
    "autocorrelation_time_of_classes",
    "diagnose",
    "reasons_for_warning",
    "effective_sample_size",
    "split_r_hat",
]

_LONG_ENOUGH = 50  # autocorrelation times (a rule of thumb from emcee)
_SMALL_R_HAT = 1.01  # for rank-normalised, folded R-hat (Vehtari et al., section 4)
_LEAST_STEPS = 4


class Diagnosis(NamedTuple):
    """Result of `diagnose`."""

    autocorrelation_time: float
    effective_sample_size: float
    split_r_hat: float
    warning: str | None  #: why not to trust the series, or None


def diagnose(series: HostArray) -> Diagnosis:
    """Return all diagnostics of a series.

    Parameters
    ----------
    series
        Values of a quantity, (chains, steps), at least 4 steps.

    Returns
    -------
    Diagnosis
        Autocorrelation time, effective sample size, split-R-hat, and a warning or None.

    Raises
    ------
    InputError
        The series has another shape or values that are not finite.
    """
    return Diagnosis(
        autocorrelation_time(series), effective_sample_size(series), split_r_hat(series), reasons_for_warning(series)
    )


def autocorrelation_time(series: HostArray) -> float:
    """Autocorrelation time tau: the number of steps between independent samples.

    The sum over lags goes by pairs, P_t = rho_2t + rho_(2t+1). For a reversible chain the pairs are
    positive and decrease, even if the chain alternates and so has tau < 1. The sum ends before the
    first pair that is not positive, and a pair counts at most as much as any pair before it
    (Geyer's initial monotone sequence). If chains alternate, half of the next even lag estimates
    the rest of the sum. The pairs are then small differences of large numbers, and count in full.
    tau is at least 1 / n: the mean of n steps that alternate for ever is uncertain by about 1 / n
    of a deviation.

    tau is too small if the chains are much shorter than 50 tau.

    Parameters
    ----------
    series
        As in `diagnose`.

    Returns
    -------
    float
        Time tau in steps; infinite if nothing varies.

    Raises
    ------
    InputError
        As in `diagnose`.

    Notes
    -----
    Geyer, Statistical Science 7, 1992, section 3.3.
    """
    values = _checked(series)
    _, total = _variances(values)
    if not total > 0:
        return np.inf
    covariance = _autocovariance(values)
    correlation = 1 - (covariance[0] - covariance) / total
    pairs = correlation[: len(correlation) // 2 * 2].reshape(-1, 2).sum(axis=1)
    count = int(np.argmin(np.append(pairs > 0, False)))
    if correlation[1] < 0:
        tau = 2 * pairs[:count].sum() - 1 + correlation[2 * count : 2 * count + 1].sum()
    else:
        tau = 2 * np.minimum.accumulate(pairs[:count]).sum() - 1
    return max(float(tau), 1 / values.shape[1])


def autocorrelation_time_of_classes(classes: HostArray) -> float:
    """Autocorrelation time tau of the class that each state belongs to.

    It is that of the vector with 1 at the class and 0 elsewhere. Its autocorrelation is the sum of
    the entries' autocovariances divided by the sum of their variances.

    Parameters
    ----------
    classes
        Class of each state, int (chains, steps), at least 4 steps.

    Returns
    -------
    float
        Time tau in steps; infinite if no chain changes its class.

    Raises
    ------
    InputError
        As in `diagnose`.
    """
    values = np.asarray(classes)
    entries = np.stack([values == one for one in np.unique(values)]).astype(np.float64)
    entries -= entries.mean(axis=(1, 2), keepdims=True)
    return autocorrelation_time(entries.reshape(-1, values.shape[-1]))


def effective_sample_size(series: HostArray) -> float:
    """Number of independent samples that determine the mean equally well: chains x steps / tau.

    Parameters
    ----------
    series
        As in `diagnose`.

    Returns
    -------
    float
        Effective sample size; 0 if nothing varies.

    Raises
    ------
    InputError
        As in `diagnose`.
    """
    return _checked(series).size / autocorrelation_time(series)


def split_r_hat(series: HostArray) -> float:
    """Rank-normalised, folded split-R-hat, which is near 1 if the chains agree.

    It is the larger of two values of R-hat over the halves of the chains. The first uses normal
    scores of the ranks of all values; it shows chains that differ in location. The second uses
    normal scores of the ranks of the distances from the median; it shows chains that differ in
    spread. Ranks give a meaningful value even if a variance is not finite. Halves reveal a chain
    that drifts. If all distances are equal, only the first value counts.

    Parameters
    ----------
    series
        As in `diagnose`.

    Returns
    -------
    float
        Split-R-hat; infinite if each chain stands still at another value, NaN if all values are
        equal.

    Raises
    ------
    InputError
        As in `diagnose`.

    Notes
    -----
    Vehtari et al. 2021, section 4.
    """
    values = _checked(series)
    half = values.shape[1] // 2
    halves = np.concatenate([values[:, :half], values[:, -half:]])
    return float(np.fmax(_r_hat_of_ranks(halves), _r_hat_of_ranks(np.abs(halves - np.median(halves)))))


def _r_hat_of_ranks(values: HostArray) -> float:
    """R-hat of z = Phi^-1((r - 3/8) / (S + 1/4)), r the ranks of S values; NaN if all are equal."""
    from scipy.special import ndtri
    from scipy.stats import rankdata

    ranks = rankdata(values).reshape(values.shape)  # ties get their mean rank
    within, total = _variances(ndtri((ranks - 3 / 8) / (values.size + 1 / 4)))
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.sqrt(np.divide(total, within)))


def reasons_for_warning(series: HostArray) -> str | None:
    """Return the reasons not to trust a series.

    Parameters
    ----------
    series
        As in `diagnose`.

    Returns
    -------
    str or None
        The reasons in one line; None if there are none.

    Raises
    ------
    InputError
        As in `diagnose`.
    """
    values = _checked(series)
    tau, r_hat = autocorrelation_time(values), split_r_hat(values)
    if not np.isfinite(tau):
        return "nothing varies in %d steps of %d chains: there is nothing to judge by" % values.shape[::-1]
    reasons = []
    if values.shape[1] < _LONG_ENOUGH * tau:
        reasons.append(
            "chains of %d steps are %.1f autocorrelation times long, and should be %d"
            % (values.shape[1], values.shape[1] / tau, _LONG_ENOUGH)
        )
    if not r_hat <= _SMALL_R_HAT:
        reasons.append("chains disagree: split-R-hat is %.4f, and should be at most %g" % (r_hat, _SMALL_R_HAT))
    return "; ".join(reasons) or None


def _checked(series: HostArray) -> HostArray:
    values = np.asarray(series, np.float64)
    if values.ndim != 2 or not len(values) or values.shape[1] < _LEAST_STEPS:
        raise InputError(
            "a series has shape %s; diagnostics need (chains, steps) with %d steps or more"
            % (values.shape, _LEAST_STEPS)
        )
    if not np.isfinite(values).all():
        raise InputError("a series holds values that are not finite; diagnostics need numbers")
    return values


def _variances(values: HostArray) -> tuple[float, float]:
    """Return W and var+."""
    steps = values.shape[1]
    within = values.var(axis=1, ddof=1).mean()
    between = values.mean(axis=1).var(ddof=1) if len(values) > 1 else 0.0
    return within, (steps - 1) / steps * within + between


def _autocovariance(values: HostArray) -> HostArray:
    """Return s_t, the mean over chains, for all lags t: (steps,)."""
    steps = values.shape[1]
    # The padding keeps lags from wrapping around.
    spectrum = np.fft.rfft(values - values.mean(axis=1, keepdims=True), 2 * steps)
    return np.fft.irfft((np.abs(spectrum) ** 2).mean(axis=0), 2 * steps)[:steps] / steps
