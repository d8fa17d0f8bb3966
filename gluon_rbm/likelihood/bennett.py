"""Log Z along a path of RBMs, by Bennett's acceptance ratio between neighbours.

The first RBM has no weights, so its log Z is known in closed form. Let s and t be neighbours and
x(v) = F_s(v) - F_t(v). The increment D = log Z_t - log Z_s is the solution of

    mean over v of s of sigmoid(x(v) - D) = mean over v of t of sigmoid(D - x(v)).

Of all such estimates it has the least variance (Bennett, Journal of Computational Physics 22, 1976;
Shirts & Chodera, J. Chem. Phys. 129, 2008). Chains exchange states on the way
(`gluon_rbm.sampling.trajectory`). Chain number i of each RBM belongs to ladder i, and ladders do
not exchange states with each other. Therefore errors come from a jackknife over whole ladders.
They stay right although states are correlated in time and neighbours share states. Unlike AIS, the
estimate is not a bound. It is right if the ladders are at equilibrium.
"""

from __future__ import annotations

from typing import Any, Iterator, Sequence

import numpy as np

from gluon_rbm.backend.arrays import to_numpy
from gluon_rbm.backend.types import Array, HostArray, Key, VisibleUnits
from gluon_rbm.errors import InputError, check_count
from gluon_rbm.likelihood.estimates import PathPartition
from gluon_rbm.models.parameters import Parameters
from gluon_rbm.models.visible_units import log_normalizer
from gluon_rbm.sampling import trajectory

__all__ = ["along_path", "exact_log_z", "log_partition", "log_ratio"]

_START, _FILL, _SETTLE, _MEASURE = range(4)  # purposes of keys

# Least rate of exchanges. Below it, an RBM is inserted between two neighbours.
_LEAST_OF_ROUND = 0.15
_ROUNDS = 3


def exact_log_z(parameters: Parameters, visible_units: VisibleUnits = ()) -> float:
    """Log Z of an RBM without weights: log Z of the visible layer plus sum_j softplus(b_j).

    Parameters
    ----------
    parameters
        Parameters of the RBM.
    visible_units
        As in `gluon_rbm.sampling.gibbs.run_chains`.

    Returns
    -------
    float
        Log Z in nats.

    Raises
    ------
    InputError
        A weight is not 0.
    """
    visible, hidden, weight = (to_numpy(array).astype(np.float64) for array in parameters)
    if weight.any():
        raise InputError("the first RBM of a path must have no weights, so that its log Z is known")
    return float(log_normalizer(visible, visible_units) + np.logaddexp(0, hidden).sum())


def log_partition(
    rbms: Sequence[Parameters],
    chains: Sequence[Array | None] = (),
    *,
    name: str,
    num_chains: int = 100,
    sweeps: int = 400,
    key: Key,
    **settings: Any,
) -> PathPartition:
    """Estimate log Z of the last of some RBMs, along a path through all of them.

    Parameters
    ----------
    rbms
        RBMs of the path. The first has no weights. Others are put between them where needed
        (`gluon_rbm.sampling.trajectory.fill`).
    chains
        Samples of each RBM, arrays (num_chains, num_visible). The first is not used. By default and
        for None, chains come from exact samples of the first RBM along the path.
    name
        Name of the path, for reports.
    num_chains
        Number of chains of each RBM.
    sweeps
        Measured sweeps of each RBM, at least 2. Before them come one to three rounds of half as
        many sweeps. After a round, an RBM is put between neighbours that exchanged rarely.
    key
        Integers that fix the noise.
    **settings
        Arguments `visible_units` and `engine` of `gluon_rbm.sampling.gibbs.run_chains`.

    Returns
    -------
    PathPartition
        Estimate of log Z in nats.

    Raises
    ------
    InputError
        The first RBM has weights, the RBMs differ too much, or a number is too small.
    """
    check_count("num_chains", num_chains)
    check_count("sweeps", sweeps, 2)
    groups = settings.get("visible_units", ())
    exact_log_z(rbms[0], groups)
    start = trajectory.draw_independent(rbms[0], num_chains, [*key, _START], groups)
    starts = [start, *(chains[1:] or [None] * len(rbms[1:]))]
    path, states = trajectory.fill(rbms, starts, key=[*key, _FILL], **settings)
    for attempt in range(_ROUNDS):  # later sweeps may show that neighbours are far apart
        found = []
        for exchange in _exchanges(path, states, max(sweeps // 2, 2), [*key, _SETTLE, attempt], settings):
            found.append(exchange.rates())
            states = exchange.states
        poor = np.flatnonzero(~(np.nanmean(found, axis=0) >= _LEAST_OF_ROUND))
        if not len(poor) or attempt == _ROUNDS - 1:
            break
        for pair in poor[::-1]:
            path.insert(pair + 1, trajectory.between(path[pair], path[pair + 1], 0.5))
            states.insert(pair + 1, states[pair])
    return along_path(path, states, name=name, sweeps=sweeps, key=[*key, _MEASURE], **settings)[0]


def _exchanges(
    path: Sequence[Parameters], states: Sequence[Array], sweeps: int, key: Key, settings: dict[str, Any]
) -> Iterator[trajectory.Exchange]:
    """Sweep all RBMs and exchange states of the even and the odd pairs in turn; yield exchanges."""
    for sweep in range(sweeps):
        pairs = range(sweep % 2, len(path) - 1, 2)
        exchange = trajectory.advance(path, states, pairs=pairs, key=[*key, sweep], **settings)
        states = exchange.states
        yield exchange


def along_path(
    path: Sequence[Parameters], states: Sequence[Array], *, name: str, sweeps: int, key: Key, **settings: Any
) -> tuple[PathPartition, list[Array]]:
    """Estimate log Z of the last RBM of a path, from chains at equilibrium.

    Parameters
    ----------
    path
        RBMs of the path; the first has no weights.
    states
        Visible states of the chains of each RBM, arrays (chains, num_visible).
    name, sweeps, key, **settings
        As in `log_partition`.

    Returns
    -------
    estimate : PathPartition
        Estimate of log Z in nats.
    states : list of arrays (chains, num_visible)
        States of the chains after the sweeps.
    """
    log_z, num_chains = exact_log_z(path[0], settings.get("visible_units", ())), len(states[0])
    series: list[list[HostArray]] = [[] for _ in path[1:]]
    rates, states = [], list(states)
    for exchange in _exchanges(path, states, sweeps, key, settings):
        rates.append(exchange.rates())
        states = exchange.states
        for pair, difference in zip(exchange.pairs, exchange.differences):
            series[pair].append(difference)
    measured = [np.stack(differences) for differences in series]  # each pair: (times, 2, chains)
    without = np.full(num_chains, log_z)  # log Z without one chain of every RBM, for the jackknife
    for differences in measured:
        ratio, leaving = _ratio_and_jackknife(differences)
        log_z += ratio
        without += leaving
    error = _jackknife_error(without)
    half = _three_sigma(num_chains) * error if num_chains > 1 else np.inf
    return PathPartition(
        float(log_z),
        float(log_z - half),
        float(log_z + half),
        float(error),
        np.nanmean(rates, axis=0),
        num_chains,
        sweeps,
        name,
    ), states


def log_ratio(lower: HostArray, upper: HostArray) -> float:
    """Solve for log Z_t - log Z_s of two RBMs s and t.

    Parameters
    ----------
    lower
        Values of F_s(v) - F_t(v) at states of s.
    upper
        The same at states of t, as many as in `lower`.

    Returns
    -------
    float
        Difference in nats.
    """
    from scipy.optimize import brentq
    from scipy.special import expit

    def excess(ratio: float) -> float:
        return float(expit(lower - ratio).mean() - expit(ratio - upper).mean())

    ends = [min(lower.min(), upper.min()) - 1, max(lower.max(), upper.max()) + 1]
    root: Any = brentq(excess, *ends, xtol=1e-10)
    return float(root)


def _ratio_and_jackknife(differences: HostArray) -> tuple[float, HostArray]:
    """`log_ratio` of all ladders, and its values without each ladder, (chains,).

    The latter are one step of Newton's method away from the former.
    """
    from scipy.special import expit

    lower, upper = differences[:, 0], differences[:, 1]  # (times, chains)
    ratio = log_ratio(lower.ravel(), upper.ravel())
    p, q = expit(lower - ratio), expit(ratio - upper)
    excess = (p - q).sum(axis=0)
    slope = -(p * (1 - p) + q * (1 - q)).sum(axis=0)
    others = slope.sum() - slope
    with np.errstate(divide="ignore", invalid="ignore"):
        return ratio, ratio - (excess.sum() - excess) / others


def _jackknife_error(without: HostArray) -> float:
    count = len(without)
    return float(np.sqrt((count - 1) * without.var())) if count > 1 else np.inf


def _three_sigma(num_chains: int) -> float:
    """Number of standard errors with the probability that three have in a normal distribution."""
    from scipy.stats import norm, t

    return float(t.ppf(norm.cdf(3), num_chains - 1))
