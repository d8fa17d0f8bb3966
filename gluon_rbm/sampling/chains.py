"""Samples of a trained RBM: where chains start, and how they go on from there; every step is `gibbs.run_chains`.

Images are given as NumPy arrays or NDArrays (chains, num_visible) in [0, 1], the model's own device and dtype are used,
and states come back as NDArrays.
"""

from __future__ import annotations

import collections
import math
from typing import Any, Callable, Iterable, Iterator, NamedTuple, Sequence, overload

import numpy as np

from gluon_rbm.backend.arrays import asarray_like, to_numpy
from gluon_rbm.backend.framework import mx
from gluon_rbm.backend.random import Noise
from gluon_rbm.backend.types import Array, Clamp, HostArray, Key, NDArray, VisibleUnits
from gluon_rbm.errors import InputError, check_count
from gluon_rbm.models.energy import Parameters
from gluon_rbm.sampling import gibbs, tempering, trajectory
from gluon_rbm.sampling.tempering import swap_replicas

__all__ = [
    "STARTS",
    "ChainSettings",
    "Tempered",
    "checked_images",
    "initial_visible",
    "parallel_tempering",
    "path_tempering",
    "sample_chains",
    "simulated_annealing",
]

STARTS = ("zeros", "random", "base", "images")
_ANNEALING_STEPS = 100  # at most: each is a call, which packs the weights anew


class ChainSettings(NamedTuple):
    """Settings that all kinds of chains take as keyword arguments; each is as in `gibbs.run_chains`."""

    clamp: Clamp | None = None  #: arrays of either kind
    visible_units: VisibleUnits = ()
    base_visible_bias: Array | None = None  #: an array of either kind
    engine: str = "auto"

    def beside(self, parameters: Parameters) -> ChainSettings:
        """The same with arrays in the kind, in the dtype and on the device of the parameters, or InputError."""
        weight, clamp, base = parameters.interaction_weight, self.clamp, self.base_visible_bias
        if clamp is not None:
            mask, values = (asarray_like(array, weight) for array in clamp)
            for name, array in (("mask", mask), ("values", values)):
                if array.ndim not in (1, 2) or array.shape[-1] != parameters.num_visible:
                    raise InputError(
                        "the clamp's %s have shape %s; give one for each of the %d visible units"
                        % (name, array.shape, parameters.num_visible)
                    )
            clamp = mask, values
        return self._replace(clamp=clamp, base_visible_bias=None if base is None else asarray_like(base, weight))


# --- Starts -----------------------------------------------------------------------------------------------------------


def initial_visible(
    parameters: Parameters,
    kind: str,
    num_chains: int,
    key: Key = (),
    *,
    images: Array | None = None,
    base_visible_bias: Array | None = None,
) -> NDArray:
    """States for chains to start from: NDArray (num_chains, num_visible).

    kind : "zeros"; "random", each unit on with probability 1/2; "base", with sigmoid(base_visible_bias); or "images",
    which start chain after chain, over and over again

    Raises InputError for another kind, without the images or the bias that it asks for, and for images that are none
    of this model's.
    """
    if kind not in STARTS:
        raise InputError("chains do not start from %r; choose one of %s" % (kind, ", ".join(STARTS)))
    num_chains = check_count("the number of chains", num_chains)
    if (kind == "images" and images is None) or (kind == "base" and base_visible_bias is None):
        raise InputError("a start from %r needs %s" % (kind, {"base": "the base rate's bias"}.get(kind, "images")))
    if kind == "images":
        rows = checked_images(parameters, images)
        return rows.take(mx.nd.arange(num_chains, ctx=rows.context) % len(rows))
    bias = parameters.visible_layer_bias
    visible = mx.nd.zeros((num_chains, parameters.num_visible), ctx=bias.context, dtype=bias.dtype)
    if kind == "zeros":
        return visible
    base = asarray_like(base_visible_bias, parameters.interaction_weight) if kind == "base" else 0
    return Noise(key).bernoulli(mx.nd.sigmoid(visible + base))


def checked_images(parameters: Parameters, images: Array, missing: bool = False) -> Array:
    """The images as an array beside the parameters, or InputError; with `missing`, NaN may stand for a pixel."""
    array = to_numpy(images)
    if array.ndim != 2 or array.shape[1] != parameters.num_visible or not len(array):
        raise InputError("images have shape %s; this model needs (images, %d)" % (array.shape, parameters.num_visible))
    if not (((array >= 0) & (array <= 1)) | (np.isnan(array) if missing else False)).all():
        raise InputError("images hold values outside of [0, 1]; divide by the largest value that there can be")
    return asarray_like(array, parameters.interaction_weight)


# --- Chains -----------------------------------------------------------------------------------------------------------


@overload
def sample_chains(
    parameters: Parameters, visible: Array, sweeps: int, key: Key, *, beta: Any = 1, every: None = None, **settings: Any
) -> gibbs.Chains: ...


@overload
def sample_chains(
    parameters: Parameters, visible: Array, sweeps: int, key: Key, *, beta: Any = 1, every: int, **settings: Any
) -> Iterator[gibbs.Chains]: ...


def sample_chains(
    parameters: Parameters,
    visible: Array,
    sweeps: int,
    key: Key,
    *,
    beta: Any = 1,
    every: int | None = None,
    **settings: Any,
) -> gibbs.Chains | Iterator[gibbs.Chains]:
    """Chains from `visible` after that many sweeps: `gibbs.Chains`. From images, a few sweeps make new ones near them.

    every : int, or None
        Yield the Chains after each so many sweeps, and those that are left. (Every section draws noise of its own: the
        last Chains are not those without `every`, but as good.)
    settings : as in `ChainSettings`
    """
    prepared = ChainSettings(**settings).beside(parameters)
    visible = checked_images(parameters, visible)
    beta = beta if np.isscalar(beta) else asarray_like(beta, parameters.interaction_weight)
    if every is None:
        return gibbs.run_chains(parameters, visible=visible, sweeps=sweeps, beta=beta, key=key, **prepared._asdict())
    sections = [(length, beta) for length in _lengths(sweeps, every)]
    return _run_sections(parameters, visible, sections, key, prepared)


def _lengths(sweeps: int, every: int) -> list[int]:
    """Sweeps of each section, as many as that or, in the last, what is left."""
    sweeps = check_count("the number of Gibbs sweeps", sweeps)
    every = check_count("the number of sweeps of a part", every)
    return [min(every, sweeps - done) for done in range(0, sweeps, every)]


def _run_sections(
    parameters: Parameters,
    visible: Array,
    sections: Sequence[tuple[int, Any]],
    key: Key,
    settings: ChainSettings,
    between: Callable[[gibbs.Chains, int], Array] | None = None,
) -> Iterator[gibbs.Chains]:
    """Yield the Chains after each section: so many sweeps at that beta.

    between : (Chains, number of the next section) -> the hidden layer to go on from, or None for that of the Chains
    """
    start = {"visible": visible}
    for number, (sweeps, beta) in enumerate(sections):
        chains = gibbs.run_chains(
            parameters, **start, sweeps=sweeps, beta=beta, key=[*key, number], **settings._asdict()
        )
        yield chains
        if number + 1 < len(sections):
            start = {"hidden": between(chains, number + 1) if between else chains.hidden_sample}


def _last(states: Iterable[gibbs.Chains]) -> gibbs.Chains:
    return collections.deque(states, maxlen=1).pop()


def simulated_annealing(
    parameters: Parameters,
    visible: Array,
    sweeps: int,
    key: Key,
    *,
    lowest_beta: float = 0.0,
    highest_beta: float = 1.0,
    **settings: Any,
) -> gibbs.Chains:
    """Simulated annealing: chains from `visible` while beta rises evenly: the `gibbs.Chains` at the last beta.

    beta goes from lowest_beta to highest_beta in 100 steps, or as many as there are sweeps. (A single one is at
    highest_beta.) At highest_beta = 1 the chains end as samples of the RBM, the better the slower they cooled; beyond,
    they are drawn to its most probable states (Kirkpatrick, Gelatt & Vecchi, Science 220, 1983).

    settings : as in `ChainSettings`
    """
    for name, value in (("lowest", lowest_beta), ("highest", highest_beta)):
        if not 0 <= value < np.inf:
            raise InputError("the %s inverse temperature is %s; it must be finite and at least 0" % (name, value))
    lengths = _lengths(sweeps, max(1, math.ceil(sweeps / _ANNEALING_STEPS)))
    betas = np.linspace(highest_beta, lowest_beta, len(lengths))[::-1].tolist()
    prepared = ChainSettings(**settings).beside(parameters)
    sections = list(zip(lengths, betas))
    return _last(_run_sections(parameters, checked_images(parameters, visible), sections, key, prepared))


class Tempered(NamedTuple):
    """Chains of the RBM, and how often each pair of neighbouring replicas exchanged states.

    Of temperatures, the hottest pair is the last; of snapshots, that of the last one and the RBM.
    """

    chains: gibbs.Chains
    swap_rates: HostArray  #: float64 (pairs,), NumPy; NaN where there was no time for an exchange


def parallel_tempering(
    parameters: Parameters,
    visible: Array,
    sweeps: int,
    key: Key,
    *,
    num_temperatures: int = 10,
    lowest_beta: float = 0.0,
    swap_every: int = 10,
    **settings: Any,
) -> Tempered:
    """Parallel tempering: `Tempered` chains from `visible`.

    Each chain has replicas at num_temperatures inverse temperatures, evenly from 1 to lowest_beta, all of which start
    at its state; after every swap_every sweeps (but not the last) neighbours exchange their states (see
    `gluon_rbm.sampling.tempering`). An exchange costs as much as one or two sweeps. Where a swap rate is near 0, more
    temperatures are needed.

    settings : as in `ChainSettings`
    """
    if num_temperatures < 2 or not 0 <= lowest_beta < 1:
        raise InputError(
            "parallel tempering with %s temperatures down to beta = %s cannot be: give at least 2, and a beta in [0, 1)"
            % (num_temperatures, lowest_beta)
        )
    lengths = _lengths(sweeps, swap_every)
    visible = checked_images(parameters, visible)
    num_chains, betas = len(visible), np.linspace(1, lowest_beta, num_temperatures)
    prepared = ChainSettings(**settings).beside(parameters)
    if prepared.clamp is not None:  # one for each chain goes for all of its replicas
        mask, values = (
            mx.nd.tile(array, (num_temperatures, 1)) if array.ndim == 2 else array for array in prepared.clamp
        )
        prepared = prepared._replace(clamp=(mask, values))
    replicas, rates = mx.nd.tile(visible, (num_temperatures, 1)), []

    def exchange(chains: gibbs.Chains, number: int) -> Array:
        hidden, rate = swap_replicas(
            parameters,
            chains.visible_sample,
            chains.hidden_sample,
            betas,
            base_visible_bias=prepared.base_visible_bias,
            key=[*key, number, 1],  # SeedSequence pads the key of the sweeps with 0
        )
        rates.append(rate)
        return hidden

    beta = tempering.beta_of_rows(betas, replicas)
    chains = _last(_run_sections(parameters, replicas, [(n, beta) for n in lengths], key, prepared, exchange))
    swap_rates = np.mean(rates, axis=0) if rates else np.full(num_temperatures - 1, np.nan)
    return Tempered(gibbs.Chains(*(array[:num_chains] for array in chains)), swap_rates)


def path_tempering(
    parameters: Parameters,
    visible: Array,
    sweeps: int,
    key: Key,
    *,
    path: trajectory.Path,
    every: int = 1,
    **settings: Any,
) -> Iterator[Tempered]:
    """Tempering along a path: yield `Tempered` chains from `visible` after each `every` sweeps, and at the end.

    Before each sweep the chains of all RBMs of the path have one, too, and neighbours exchange their states (see
    `gluon_rbm.sampling.trajectory`), so that a sweep costs about 5 len(path.rbms) times as much as a plain one.

    path : RBMs of the training (`gluon_rbm.likelihood.snapshots.read`: parallel trajectory tempering) or of matched
    means (`gluon_rbm.sampling.matching.matched_path`); chains start over again where there are fewer of them than rows
    of `visible`
    settings : as in `ChainSettings`
    """
    prepared = ChainSettings(**settings).beside(parameters)._asdict()
    how = {name: prepared[name] for name in ("clamp", "visible_units", "engine")}
    states: list[Any] = [
        asarray_like(to_numpy(rows)[np.arange(len(visible)) % len(rows)], parameters.interaction_weight)
        for rows in [*path.checked(parameters).chains, checked_images(parameters, visible)]
    ]
    total = np.zeros(len(path.rbms))
    turns, rbms = dict.fromkeys(range(len(path.rbms)), 1), [*path.rbms, parameters]
    pairs = [*range(0, len(path.rbms), 2), *range(1, len(path.rbms), 2)]
    for sweep in range(1, check_count("the number of Gibbs sweeps", sweeps) + 1):
        exchange = trajectory.advance(rbms, states, turns=turns, pairs=pairs, key=[*key, sweep, 1], **how)
        states, total = exchange.states, total + exchange.rates()
        chains = gibbs.run_chains(parameters, visible=states[-1], key=[*key, sweep, 2], **how)
        states[-1] = chains.visible_sample
        if sweep % every == 0 or sweep == sweeps:
            yield Tempered(chains, total / sweep)
