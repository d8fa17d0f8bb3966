"""Samples of a trained machine: where chains start, and how they go on from there; every step is `gibbs.run_chains`.

Images are given as NumPy arrays or NDArrays (chains, num_visible) in [0, 1], the machine's own device and dtype are
used, and states come back as NDArrays. Common settings, which all of these hand on:

    softmax_group, engine : as in `gibbs.run_chains`
    clamp, base_visible_bias : as there; arrays of either kind
    key : sequence of int, fixes the noise
"""

import collections
import math
from typing import Any, NamedTuple

import numpy as np

from gluon_rbm.backend.arrays import asarray_like, to_numpy
from gluon_rbm.backend.framework import mx
from gluon_rbm.backend.random import Noise
from gluon_rbm.errors import InputError
from gluon_rbm.sampling import gibbs, tempering
from gluon_rbm.sampling.tempering import swap_replicas

__all__ = ["STARTS", "Tempered", "simulated_annealing", "sample_chains", "initial_visible", "parallel_tempering"]

STARTS = ("zeros", "random", "base", "images")
_ANNEALING_STEPS = 100  # at most: each is a call, which packs the weights anew
# --- Starts -----------------------------------------------------------------------------------------------------------


def initial_visible(parameters, kind, num_chains, key=(), images=None, base_visible_bias=None):
    """States for chains to start from: NDArray (num_chains, num_visible).

    kind : "zeros"; "random", each unit on with probability 1/2; "base", with sigmoid(base_visible_bias); or "images",
    which start chain after chain, over and over again

    Raises InputError for another kind, without the images or the bias that it asks for, and for images that are none
    of this machine's.
    """
    if kind not in STARTS:
        raise InputError("chains do not start from %r; choose one of %s" % (kind, ", ".join(STARTS)))
    if num_chains < 1:
        raise InputError("the number of chains is %s; it must be at least 1" % num_chains)
    if (kind == "images" and images is None) or (kind == "base" and base_visible_bias is None):
        raise InputError("a start from %r needs %s" % (kind, {"base": "the base rate's bias"}.get(kind, "images")))
    if kind == "images":
        rows = _visible(parameters, images)
        return rows.take(mx.nd.arange(num_chains, ctx=rows.context) % len(rows))
    bias = parameters.visible_layer_bias
    visible = mx.nd.zeros((num_chains, parameters.num_visible), ctx=bias.context, dtype=bias.dtype)
    if kind == "zeros":
        return visible
    base = asarray_like(base_visible_bias, parameters.interaction_weight) if kind == "base" else 0
    return Noise(key).bernoulli(mx.nd.sigmoid(visible + base))


def _visible(parameters, images, missing=False):
    """The images as an NDArray beside the parameters, or InputError; NaN may stand for missing pixels."""
    array = to_numpy(images)
    if array.ndim != 2 or array.shape[1] != parameters.num_visible or not len(array):
        raise InputError("images have shape %s; this model needs (images, %d)" % (array.shape, parameters.num_visible))
    if not (((array >= 0) & (array <= 1)) | (np.isnan(array) if missing else False)).all():
        raise InputError("images hold values outside of [0, 1]; divide by the largest value that there can be")
    return asarray_like(array, parameters.interaction_weight)


def _settings(parameters, clamp, softmax_group, base_visible_bias, engine):
    """The common settings as `gibbs.run_chains` takes them."""
    if clamp is not None:
        clamp = [asarray_like(part, parameters.interaction_weight) for part in clamp]
        for name, part in zip(("mask", "values"), clamp):
            if part.ndim not in (1, 2) or part.shape[-1] != parameters.num_visible:
                raise InputError(
                    "the clamp's %s have shape %s; give one for each of the %d visible units"
                    % (name, part.shape, parameters.num_visible)
                )
    if base_visible_bias is not None:
        base_visible_bias = asarray_like(base_visible_bias, parameters.interaction_weight)
    return dict(clamp=clamp, softmax_group=softmax_group, base_visible_bias=base_visible_bias, engine=engine)


# --- Chains -----------------------------------------------------------------------------------------------------------


def sample_chains(
    parameters,
    visible,
    sweeps,
    key,
    beta=1,
    clamp=None,
    softmax_group=None,
    base_visible_bias=None,
    every=None,
    engine="auto",
):
    """Chains from `visible` after that many sweeps: `gibbs.Chains`. From images, a few sweeps make new ones near them.

    every : int, or None
        Yield the Chains after each so many sweeps, and those that are left. (Every part draws noise of its own: the
        last Chains are not those without `every`, but as good.)
    """
    settings = _settings(parameters, clamp, softmax_group, base_visible_bias, engine)
    visible, beta = (
        _visible(parameters, visible),
        beta if np.isscalar(beta) else asarray_like(beta, parameters.interaction_weight),
    )
    if every is None:
        return gibbs.run_chains(parameters, visible, sweeps=sweeps, beta=beta, key=key, **settings)
    parts = _parts(sweeps, every)
    return _along(parameters, visible, parts, [beta] * len(parts), key, settings)


def _parts(sweeps, every):
    """Sweeps of each part, as many as that or, in the last, what is left."""
    for name, number in (("the number of Gibbs sweeps", sweeps), ("the number of sweeps of a part", every)):
        if number < 1:
            raise InputError("%s is %s; it must be at least 1" % (name, number))
    return [min(every, sweeps - done) for done in range(0, sweeps, every)]


def _along(parameters, visible, parts, betas, key, settings, between=None):
    """Yield the Chains after each part, as many sweeps at that beta.

    between : (Chains, number of the next part) -> the hidden layer to go on from, or None for that of the Chains
    """
    layer = {"visible": visible}
    for number, (sweeps, beta) in enumerate(zip(parts, betas)):
        chains = gibbs.run_chains(parameters, sweeps=sweeps, beta=beta, key=[*key, number], **layer, **settings)
        yield chains
        if number + 1 < len(parts):
            layer = {"hidden": between(chains, number + 1) if between else chains.hidden_sample}


def _last(parts):
    return collections.deque(parts, maxlen=1).pop()


def simulated_annealing(
    parameters,
    visible,
    sweeps,
    key,
    lowest_beta=0.0,
    highest_beta=1.0,
    clamp=None,
    softmax_group=None,
    base_visible_bias=None,
    engine="auto",
):
    """Simulated annealing: chains from `visible` while beta rises evenly: the `gibbs.Chains` at the last beta.

    beta goes from lowest_beta to highest_beta in 100 steps, or as many as there are sweeps. (A single one is at
    highest_beta.) At highest_beta = 1 the chains end as samples of the machine, the better the slower they cooled;
    beyond, they are drawn to its most probable states (Kirkpatrick, Gelatt & Vecchi, Science 220, 1983).
    """
    for name, value in (("lowest", lowest_beta), ("highest", highest_beta)):
        if not 0 <= value < np.inf:
            raise InputError("the %s inverse temperature is %s; it must be finite and at least 0" % (name, value))
    parts = _parts(sweeps, max(1, math.ceil(sweeps / _ANNEALING_STEPS)))
    betas = np.linspace(highest_beta, lowest_beta, len(parts))[::-1].tolist()
    settings = _settings(parameters, clamp, softmax_group, base_visible_bias, engine)
    return _last(_along(parameters, _visible(parameters, visible), parts, betas, key, settings))


class Tempered(NamedTuple):
    """Chains at beta = 1, and how often each pair of neighbouring replicas exchanged states, the hottest pair last."""

    chains: gibbs.Chains
    swap_rates: Any  #: float64 (num_temperatures - 1,), NumPy; NaN where there was no time for an exchange


def parallel_tempering(
    parameters,
    visible,
    sweeps,
    key,
    num_temperatures=10,
    lowest_beta=0.0,
    swap_every=10,
    clamp=None,
    softmax_group=None,
    base_visible_bias=None,
    engine="auto",
):
    """Parallel tempering: `Tempered` chains from `visible`.

    Each chain has replicas at num_temperatures inverse temperatures, evenly from 1 to lowest_beta, all of which start
    at its state; after every swap_every sweeps (but not the last) neighbours exchange their states (see
    `gluon_rbm.sampling.tempering`). An exchange costs as much as one or two sweeps. Where a swap rate is near 0, more
    temperatures are needed.
    """
    if num_temperatures < 2 or not 0 <= lowest_beta < 1:
        raise InputError(
            "parallel tempering with %s temperatures down to beta = %s cannot be: give at least 2, and a beta in [0, 1)"
            % (num_temperatures, lowest_beta)
        )
    parts = _parts(sweeps, swap_every)
    visible = _visible(parameters, visible)
    num_chains, betas = len(visible), np.linspace(1, lowest_beta, num_temperatures)
    settings = _settings(parameters, clamp, softmax_group, base_visible_bias, engine)
    if clamp is not None:  # one for each chain goes for all of its replicas
        settings["clamp"] = [
            mx.nd.tile(part, (num_temperatures, 1)) if part.ndim == 2 else part for part in settings["clamp"]
        ]
    visible = mx.nd.tile(visible, (num_temperatures, 1))
    rows, rates = tempering.beta_of_rows(betas, visible), []

    def exchange(chains, number):
        hidden, rate = swap_replicas(
            parameters,
            chains.visible_sample,
            chains.hidden_sample,
            betas,
            settings["base_visible_bias"],
            [*key, number, 1],  # SeedSequence pads the key of the sweeps with 0
        )
        rates.append(rate)
        return hidden

    chains = _last(_along(parameters, visible, parts, [rows] * len(parts), key, settings, exchange))
    swap_rates = np.mean(rates, axis=0) if rates else np.full(num_temperatures - 1, np.nan)
    return Tempered(gibbs.Chains(*(array[:num_chains] for array in chains)), swap_rates)
