"""log Z along a path of RBMs, by Bennett's acceptance ratio between neighbours.

The first RBM has no weights, so that its log Z is known: the sum of softplus over its biases. Of neighbours s and t,
with x(v) = F_s(v) - F_t(v), the increment D = log Z_t - log Z_s solves

    mean over v of s of sigmoid(x(v) - D) = mean over v of t of sigmoid(D - x(v)),

which of all such estimates has the least variance (Bennett, Journal of Computational Physics 22, 1976; Shirts &
Chodera, J. Chem. Phys. 129, 2008). Chains exchange states on the way (`gluon_rbm.sampling.trajectory`): chain i of all
RBMs makes a ladder, which meets no other ladder. So errors come from a jackknife over whole ladders, and it matters
neither that states follow each other in time nor that neighbours share them. Unlike AIS the estimate is no bound: it is
right where the ladders are at equilibrium.
"""

from __future__ import annotations

from typing import Any, Iterator, Sequence

import numpy as np

from gluon_rbm.backend.arrays import to_numpy
from gluon_rbm.backend.types import Array, HostArray, Key, VisibleUnits
from gluon_rbm.errors import InputError, check_count
from gluon_rbm.likelihood.estimates import PathPartition
from gluon_rbm.models.energy import Parameters
from gluon_rbm.models.visible_units import log_normalizer
from gluon_rbm.sampling import trajectory

__all__ = ["along_path", "exact_log_z", "log_partition", "log_ratio"]

_START, _FILL, _SETTLE, _MEASURE = range(4)  # purposes of keys

_LEAST_OF_ROUND = 0.15  # rate of a pair below which an RBM is put between them
_ROUNDS = 3


def exact_log_z(parameters: Parameters, visible_units: VisibleUnits = ()) -> float:
    """log Z of an RBM without weights: of the visible layer, plus sum_j softplus(b_j). InputError where W is not 0."""
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
    """log Z of the last of some RBMs, along a path through all of them.

    rbms : the first has no weights; others are put between them where needed (`trajectory.fill`)
    chains : arrays (num_chains, num_visible) in {0, 1}, samples of each as they should be; by default, or where there
        is None, chains come along from exact samples of the first
    name : of the path, for reports
    sweeps : of each RBM of the path, half as many before anything is measured
    settings : visible_units and engine, as in `gibbs.run_chains`

    Raises InputError for a first RBM with weights, for RBMs that differ too much, and for counts below 1.
    """
    check_count("num_chains", num_chains)
    check_count("sweeps", sweeps, 2)
    groups = settings.get("visible_units", ())
    exact_log_z(rbms[0], groups)
    start = trajectory.draw_independent(rbms[0], num_chains, [*key, _START], groups)
    starts = [start, *(chains[1:] or [None] * len(rbms[1:]))]
    path, states = trajectory.fill(rbms, starts, key=[*key, _FILL], **settings)
    for attempt in range(_ROUNDS):  # neighbours that chains on their way up found close may be apart
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
    """Sweeps of all RBMs, each with exchanges of the even or the odd pairs, in turn."""
    for sweep in range(sweeps):
        pairs = range(sweep % 2, len(path) - 1, 2)
        exchange = trajectory.advance(path, states, pairs=pairs, key=[*key, sweep], **settings)
        states = exchange.states
        yield exchange


def along_path(
    path: Sequence[Parameters], states: Sequence[Array], *, name: str, sweeps: int, key: Key, **settings: Any
) -> tuple[PathPartition, list[Array]]:
    """log Z of the last RBM of a path, from chains at equilibrium; and their states after that many more sweeps.

    states : arrays (chains, num_visible) in {0, 1}, the chains of each RBM
    settings : as of `log_partition`
    """
    log_z, num_chains = exact_log_z(path[0], settings.get("visible_units", ())), len(states[0])
    series: list[list[HostArray]] = [[] for _ in path[1:]]
    rates, states = [], list(states)
    for exchange in _exchanges(path, states, sweeps, key, settings):
        rates.append(exchange.rates())
        states = exchange.states
        for pair, difference in zip(exchange.pairs, exchange.differences):
            series[pair].append(difference)
    measured = [np.stack(differences) for differences in series]  # of each pair (times, 2, chains)
    without = np.full(num_chains, log_z)  # what is found without one ladder
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
    """log Z_t - log Z_s from as many values of F_s(v) - F_t(v) of states of s (lower) as of states of t (upper)."""
    from scipy.optimize import brentq
    from scipy.special import expit

    def excess(ratio: float) -> float:
        return float(expit(lower - ratio).mean() - expit(ratio - upper).mean())

    ends = [min(lower.min(), upper.min()) - 1, max(lower.max(), upper.max()) + 1]
    root: Any = brentq(excess, *ends, xtol=1e-10)
    return float(root)


def _ratio_and_jackknife(differences: HostArray) -> tuple[float, HostArray]:
    """`log_ratio` of all ladders, and without each of them, (chains,), by one step of Newton's method from there."""
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
    """As many standard errors as hold what three hold of a normal distribution."""
    from scipy.stats import norm, t

    return float(t.ppf(norm.cdf(3), num_chains - 1))
