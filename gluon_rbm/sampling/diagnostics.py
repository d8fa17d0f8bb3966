"""How much a quantity that was followed along chains says about its mean, and when to warn of it.

A series is an array (chains, steps): the free energy of each chain's state, how many pixels are on, ... after every
sweep, or after every so many, which then are the unit of time. With s_t the chains' mean autocovariance at lag t, a sum
over n - t steps divided by n (Gelman et al., Bayesian Data Analysis, 3rd ed. 2013, section 11.4; Vehtari, Gelman,
Simpson, Carpenter & Buerkner, Bayesian Analysis 16, 2021, equations 1-4):

    W = mean over chains of the variance along it          B / n = variance over chains of its mean
    var+ = (n - 1) / n W + B / n = s_0 + B / n             rho_t = (s_t + B / n) / var+
    tau = 1 + 2 sum_t rho_t                                R-hat = sqrt(var+ / W)

(rho_t is theirs, equation 10, plus 1 / n: their bias, which counts where tau is far below 1.)

So chains that stay in modes of their own are as good as no samples, however still each is within its mode.
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

_LONG_ENOUGH = 50  # autocorrelation times (emcee's rule of thumb)
_SMALL_R_HAT = 1.01  # Vehtari et al., section 4: of the rank-normalised, folded one
_LEAST_STEPS = 4


class Diagnosis(NamedTuple):
    """What `diagnose` finds."""

    autocorrelation_time: float
    effective_sample_size: float
    split_r_hat: float
    warning: str | None  #: why not to trust the series


def diagnose(series: HostArray) -> Diagnosis:
    """All of the figures below: `Diagnosis`."""
    return Diagnosis(
        autocorrelation_time(series), effective_sample_size(series), split_r_hat(series), reasons_for_warning(series)
    )


def autocorrelation_time(series: HostArray) -> float:
    """tau, the steps between independent samples: float, in steps; infinite where nothing varies.

    The sum goes by pairs, P_t = rho_2t + rho_(2t+1), which are positive and fall where a chain is reversible, even one
    that alternates and so has tau < 1. It ends before the first pair that is not positive, and no pair counts for more
    than one before it (Geyer's initial monotone sequence, Statistical Science 7, 1992, section 3.3). Where chains
    alternate, half of the next even lag is the rest of the sum, and the pairs, small differences of large numbers,
    count as they are. tau is at least 1 / n, as the mean of n steps that alternate for ever is unsure by about 1 / n of
    a deviation.

    A chain much shorter than 50 tau makes it too small.
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
    """tau of a class, int (chains, steps): of the vector that has 1 at the class and 0 elsewhere, in steps.

    Its correlation is the sum of its entries' autocovariances over the sum of their variances. Infinite where no chain
    changes its class.
    """
    values = np.asarray(classes)
    entries = np.stack([values == one for one in np.unique(values)]).astype(np.float64)
    entries -= entries.mean(axis=(1, 2), keepdims=True)
    return autocorrelation_time(entries.reshape(-1, values.shape[-1]))


def effective_sample_size(series: HostArray) -> float:
    """Independent samples that say as much about the mean: chains x steps / tau, float."""
    return _checked(series).size / autocorrelation_time(series)


def split_r_hat(series: HostArray) -> float:
    """The rank-normalised, folded split-R-hat: float, 1 where chains agree; infinite where each stands still apart.

    The larger of two values of R-hat, of the halves of the chains: of the normal scores of all values' ranks, which
    shows chains that differ in place, and of those of their distances from the median, which shows chains that differ
    in spread. Ranks make both meaningful where a variance is not finite; halves make a chain that drifts disagree with
    itself. (Vehtari et al. 2021, section 4. Where all distances are equal the second one says nothing.)
    """
    values = _checked(series)
    half = values.shape[1] // 2
    halves = np.concatenate([values[:, :half], values[:, -half:]])
    return float(np.fmax(_r_hat_of_ranks(halves), _r_hat_of_ranks(np.abs(halves - np.median(halves)))))


def _r_hat_of_ranks(values: HostArray) -> float:
    """R-hat of z = Phi^-1((r - 3/8) / (S + 1/4)), r the ranks among all S values; NaN where all values are equal."""
    from scipy.special import ndtri
    from scipy.stats import rankdata

    ranks = rankdata(values).reshape(values.shape)  # ties share their mean rank
    within, total = _variances(ndtri((ranks - 3 / 8) / (values.size + 1 / 4)))
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.sqrt(np.divide(total, within)))


def reasons_for_warning(series: HostArray) -> str | None:
    """Why not to trust the series, in one line, or None."""
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
    """W and var+."""
    steps = values.shape[1]
    within = values.var(axis=1, ddof=1).mean()
    between = values.mean(axis=1).var(ddof=1) if len(values) > 1 else 0.0
    return within, (steps - 1) / steps * within + between


def _autocovariance(values: HostArray) -> HostArray:
    """s_t, the chains' mean, for all lags t: (steps,)."""
    steps = values.shape[1]
    spectrum = np.fft.rfft(values - values.mean(axis=1, keepdims=True), 2 * steps)  # padded: no lag wraps around
    return np.fft.irfft((np.abs(spectrum) ** 2).mean(axis=0), 2 * steps)[:steps] / steps
