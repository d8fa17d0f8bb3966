"""How much a quantity that was followed along chains says about its mean, and when to warn of it.

A series is an array (chains, steps): the free energy of each chain's state, how many pixels are on, ... after every
sweep, or after every so many, which then are the unit of time. With s_t the chains' mean autocovariance at lag t, W the
mean and B / n the variance of their means' estimates (Gelman et al., Bayesian Data Analysis, 3rd ed. 2013, section
11.4; Vehtari et al., Bayesian Analysis 16, 2021, equations 1-4 and 10):

    W = mean over chains of the variance along it          B / n = variance over chains of its mean
    var+ = (n - 1) / n W + B / n                           rho_t = 1 - (W - s_t) / var+
    tau = 1 + 2 sum_t rho_t                                R-hat = sqrt(var+ / W)

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
    "diagnose",
    "reasons_for_warning",
    "effective_sample_size",
    "split_r_hat",
]

_WINDOW = 5  # autocorrelation times (Sokal 1996)
_LONG_ENOUGH = 50  # autocorrelation times (emcee's rule of thumb)
_SMALL_R_HAT = 1.01  # Vehtari et al., section 5
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

    The sum ends at the first lag that is five times the tau up to there (Sokal, Monte Carlo Methods in Statistical
    Mechanics, 1996, section 3; as in emcee), as what follows is noise; but not before lag 5, as chains that alternate
    have tau < 1. A chain much shorter than 50 tau makes it too small.
    """
    values = _checked(series)
    within, total = _variances(values)
    if not total > 0:
        return np.inf
    tau = 2 * np.cumsum(1 - (within - _autocovariance(values)) / total) - 1  # lag 0 counts once
    long_enough = np.flatnonzero(np.arange(len(tau)) >= _WINDOW * np.maximum(tau, 1))
    return float(tau[long_enough[0] if len(long_enough) else -1])


def effective_sample_size(series: HostArray) -> float:
    """Independent samples that say as much about the mean: chains x steps / tau, float."""
    return _checked(series).size / autocorrelation_time(series)


def split_r_hat(series: HostArray) -> float:
    """R-hat of the halves of the chains: float, 1 where they agree; infinite where they only differ from each other.

    Halves, so that a chain that drifts disagrees with itself. (Gelman et al. 2013, section 11.4.)
    """
    values = _checked(series)
    half = values.shape[1] // 2
    within, total = _variances(np.concatenate([values[:, :half], values[:, -half:]]))
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
    """s_t, the chains' mean, for all lags t: (steps,); with n / (n - 1), so that s_0 = W."""
    steps = values.shape[1]
    spectrum = np.fft.rfft(values - values.mean(axis=1, keepdims=True), 2 * steps)  # padded: no lag wraps around
    return np.fft.irfft((np.abs(spectrum) ** 2).mean(axis=0), 2 * steps)[:steps] / (steps - 1)
