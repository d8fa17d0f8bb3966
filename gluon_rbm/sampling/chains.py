"""Samples of a trained RBM: starts of chains, and ways to continue them.

Every step of a chain is a call of `gibbs.run_chains`. Images are NumPy arrays or NDArrays (chains,
num_visible) in [0, 1]. They are converted to the device and dtype of the parameters, and the states
come back as arrays of the parameters' kind.
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
from gluon_rbm.models.parameters import Parameters
from gluon_rbm.sampling import gibbs, tempering, trajectory
from gluon_rbm.sampling.conditions import check_ndarrays
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
_ANNEALING_STEPS = 100  # most steps of annealing: each is a call that packs the weights anew


class ChainSettings(NamedTuple):
    """Keyword arguments that chains of all kinds take; each is as in `gibbs.run_chains`."""

    clamp: Clamp | None = None  #: arrays of either kind
    visible_units: VisibleUnits = ()
    base_visible_bias: Array | None = None  #: an array of either kind
    engine: str = "auto"

    def beside(self, parameters: Parameters) -> ChainSettings:
        """Return the same settings with arrays like those of the parameters.

        Parameters
        ----------
        parameters
            Arrays with the kind, dtype and device that the settings get.

        Returns
        -------
        ChainSettings
            The settings with converted `clamp` and `base_visible_bias`.

        Raises
        ------
        InputError
            A clamp's mask or values do not have num_visible columns.
        """
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


# --- Starts ---------------------------------------------------------------------------------------


def initial_visible(
    parameters: Parameters,
    kind: str,
    num_chains: int,
    key: Key = (),
    *,
    images: Array | None = None,
    base_visible_bias: Array | None = None,
) -> NDArray:
    """Draw or copy visible states for chains to start from.

    Parameters
    ----------
    parameters
        Parameters of the RBM, NDArrays.
    kind
        "zeros"; "random" (each unit is on with probability 1/2); "base" (each unit is on with
        probability sigmoid(base_visible_bias)); or "images" (chain n starts at image n, and the
        images repeat).
    num_chains
        Number of chains, at least 1.
    key
        Non-negative integers that fix what is drawn.
    images
        Images (images, num_visible) in [0, 1], for the kind "images".
    base_visible_bias
        Bias (num_visible,), for the kind "base".

    Returns
    -------
    NDArray (num_chains, num_visible)
        States in the dtype and on the device of the parameters.

    Raises
    ------
    InputError
        The kind does not exist, `num_chains` is below 1, the images or the bias for the kind are
        missing, or the images do not suit the RBM.
    """
    if kind not in STARTS:
        raise InputError("chains do not start from %r; choose one of %s" % (kind, ", ".join(STARTS)))
    num_chains = check_count("the number of chains", num_chains)
    check_ndarrays(*parameters)
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
    """Return images as an array like the parameters.

    Parameters
    ----------
    parameters
        Parameters of the RBM.
    images
        Images (images, num_visible) in [0, 1].
    missing
        Whether NaN may stand for a missing pixel.

    Returns
    -------
    Array
        The images in the kind, dtype and on the device of the interaction weights.

    Raises
    ------
    InputError
        There are no images, they have another shape, or values lie outside [0, 1].
    """
    array = to_numpy(images)
    if array.ndim != 2 or array.shape[1] != parameters.num_visible or not len(array):
        raise InputError("images have shape %s; this model needs (images, %d)" % (array.shape, parameters.num_visible))
    if not (((array >= 0) & (array <= 1)) | (np.isnan(array) if missing else False)).all():
        raise InputError("images hold values outside of [0, 1]; divide by the largest value that there can be")
    return asarray_like(array, parameters.interaction_weight)


# --- Chains ---------------------------------------------------------------------------------------


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
    """Run Gibbs chains from `visible` at one inverse temperature.

    From images, a few sweeps lead to new images near them.

    Parameters
    ----------
    parameters
        Parameters of the RBM.
    visible
        Start, (chains, num_visible) in [0, 1].
    sweeps
        Number of Gibbs sweeps in all, at least 1.
    key
        Non-negative integers that fix the noise.
    beta
        Inverse temperature: a number for all chains, or an array (chains,).
    every
        Yield the states after each `every` sweeps, and after the last one. Each section draws its
        own noise, so the last states differ from those without `every`, but have the same
        distribution.
    **settings
        As in `ChainSettings`.

    Returns
    -------
    gibbs.Chains or iterator of gibbs.Chains
        States after the last sweep; with `every` an iterator over the states.

    Raises
    ------
    InputError
        An argument does not suit the RBM, as in `gibbs.run_chains`.

    Examples
    --------
    >>> import gluon_rbm
    >>> parameters = gluon_rbm.Parameters(np.array([50.0, -50.0]), np.zeros(3), np.zeros((2, 3)))
    >>> chains = gluon_rbm.sample_chains(parameters, np.zeros((2, 2)), sweeps=100, key=[0])
    >>> chains.visible_sample
    array([[1., 0.],
           [1., 0.]])
    >>> len(list(gluon_rbm.sample_chains(parameters, np.zeros((2, 2)), 100, [0], every=10)))
    10
    """
    prepared = ChainSettings(**settings).beside(parameters)
    visible = checked_images(parameters, visible)
    beta = beta if np.isscalar(beta) else asarray_like(beta, parameters.interaction_weight)
    if every is None:
        return gibbs.run_chains(parameters, visible=visible, sweeps=sweeps, beta=beta, key=key, **prepared._asdict())
    sections = [(length, beta) for length in _lengths(sweeps, every)]
    return _run_sections(parameters, visible, sections, key, prepared)


def _lengths(sweeps: int, every: int) -> list[int]:
    """Split the sweeps into sections of `every` sweeps; the last section may be shorter."""
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
    """Yield the Chains after each section.

    sections : pairs (number of sweeps, beta) between : (Chains, number of the next section) -> the
    hidden layer that the next section starts from; None takes the hidden layer of the Chains"""
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
    """Run chains from `visible` while beta rises evenly (simulated annealing).

    beta goes from `lowest_beta` to `highest_beta` in at most 100 equal steps, one for each section
    of sweeps. (A single section has `highest_beta`.) At highest_beta = 1 the chains end as samples
    of the RBM; the slower the cooling, the better they are. Above 1 the chains move to the most
    probable states of the RBM.

    Parameters
    ----------
    parameters, visible, sweeps, key
        As in `sample_chains`.
    lowest_beta, highest_beta
        First and last inverse temperature, finite and at least 0.
    **settings
        As in `ChainSettings`.

    Returns
    -------
    gibbs.Chains
        States at the last beta.

    Raises
    ------
    InputError
        A beta is negative or not finite, or another argument does not suit the RBM.

    Notes
    -----
    Kirkpatrick, Gelatt & Vecchi, Science 220, 1983.

    Examples
    --------
    >>> import gluon_rbm
    >>> parameters = gluon_rbm.Parameters(np.array([50.0, -50.0]), np.zeros(3), np.zeros((2, 3)))
    >>> chains = gluon_rbm.simulated_annealing(parameters, np.zeros((2, 2)), sweeps=100, key=[0])
    >>> chains.visible_sample
    array([[1., 0.],
           [1., 0.]])
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

    For temperatures, the last pair is the hottest one. For a path, the last pair is the last RBM of
    the path and the RBM itself.
    """

    chains: gibbs.Chains
    swap_rates: HostArray  #: float64 (pairs,), NumPy; NaN if there was no exchange


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
    """Run chains from `visible` whose replicas at several temperatures exchange states.

    Each chain has replicas at `num_temperatures` inverse temperatures, spaced evenly from 1 to
    `lowest_beta`. All replicas start at the chain's state. After every `swap_every` sweeps (but not
    after the last sweep) neighbours exchange their states; see `gluon_rbm.sampling.tempering`. An
    exchange costs as much as one or two sweeps. A swap rate near 0 means that more temperatures are
    needed.

    Parameters
    ----------
    parameters
        Parameters of the RBM, NDArrays.
    visible, sweeps, key
        As in `sample_chains`.
    num_temperatures
        Number of replicas of each chain, at least 2.
    lowest_beta
        Inverse temperature of the hottest replica, in [0, 1).
    swap_every
        Number of sweeps between exchanges, at least 1.
    **settings
        As in `ChainSettings`.

    Returns
    -------
    Tempered
        The replicas at beta = 1, and the swap rates of the num_temperatures - 1 pairs.

    Raises
    ------
    InputError
        The temperatures are out of range, or another argument does not suit the RBM.

    Examples
    --------
    >>> import gluon_rbm
    >>> arrays = np.array([50.0, -50.0]), np.zeros(3), np.zeros((2, 3))
    >>> parameters, start = gluon_rbm.Parameters.from_arrays(*arrays), np.zeros((2, 2))
    >>> tempered = gluon_rbm.parallel_tempering(parameters, start, 40, [0], num_temperatures=3)
    >>> tempered.chains.visible_sample.asnumpy()
    array([[1., 0.],
           [1., 0.]])
    >>> tempered.swap_rates.shape
    (2,)
    """
    if num_temperatures < 2 or not 0 <= lowest_beta < 1:
        raise InputError(
            "parallel tempering with %s temperatures down to beta = %s cannot be: give at least 2, and a beta in [0, 1)"
            % (num_temperatures, lowest_beta)
        )
    check_ndarrays(*parameters)
    lengths = _lengths(sweeps, swap_every)
    visible = checked_images(parameters, visible)
    num_chains, betas = len(visible), np.linspace(1, lowest_beta, num_temperatures)
    prepared = ChainSettings(**settings).beside(parameters)
    if prepared.clamp is not None:  # the clamp of a chain holds for all its replicas
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
            key=[*key, number, 1],  # not 0: SeedSequence pads the key of the sweeps with 0
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
    """Run chains from `visible` that exchange states with chains of RBMs along a path.

    Before each sweep the chains of all RBMs of the path make a sweep, too, and neighbours exchange
    their states; see `gluon_rbm.sampling.trajectory`. So a sweep costs about 5 len(path.rbms) times
    as much as a plain sweep.

    Parameters
    ----------
    parameters, visible, sweeps, key
        As in `sample_chains`.
    path
        RBMs of the training (`gluon_rbm.likelihood.snapshots.read`: parallel trajectory tempering)
        or of matched means (`gluon_rbm.sampling.matching.matched_path`). Its chains are repeated if
        they are fewer than the rows of `visible`.
    every
        Number of sweeps between the states that are yielded, at least 1.
    **settings
        As in `ChainSettings`; `base_visible_bias` has no effect, because beta is 1 in all chains.

    Yields
    ------
    Tempered
        The chains of the RBM after each `every` sweeps and after the last one, and the swap rates
        so far.

    Raises
    ------
    InputError
        The path leads to an RBM of another size, or another argument does not suit the RBM.
    """
    check_count("the number of sweeps between two results", every)
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
