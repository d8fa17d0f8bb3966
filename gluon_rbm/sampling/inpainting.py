"""Missing pixels: masks of known pixels, and chains that fill in the others."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Sequence

import numpy as np

from gluon_rbm.backend.arrays import to_numpy
from gluon_rbm.backend.random import make_generator
from gluon_rbm.backend.types import Array, HostArray, Key
from gluon_rbm.errors import InputError
from gluon_rbm.models.parameters import Parameters
from gluon_rbm.sampling.chains import ChainSettings, checked_images, sample_chains, simulated_annealing

__all__ = ["MASKS", "Inpainted", "inpaint", "make_mask"]

MASKS = ("top", "bottom", "left", "right", "random")

_STATES_OF_A_MEAN = 20


class Inpainted(NamedTuple):
    """Images with filled-in pixels, (images, num_visible); known pixels keep their values."""

    visible_sample: Array  #: samples of the last sweep: images as the RBM draws them
    visible_prob_1: Array  # probabilities of these samples: the images without noise
    #: mean of such probabilities over the second half of the sweeps; it has the least squared error
    visible_mean: Array
    #: mean of p(h = 1 | v) over the same sweeps, E[h | known pixels]: (images, num_hidden)
    hidden_mean: Array


def make_mask(kind: str, image_shape: Sequence[int], fraction: float = 0.5, key: Key = ()) -> HostArray:
    """Return which pixels are known when a part of the image is dropped.

    Parameters
    ----------
    kind
        Part to drop: "top", "bottom", "left", "right" or "random".
    image_shape
        (height, width), or (height, width, channels); the channels of a pixel are dropped together.
    fraction
        Fraction of the rows, columns or pixels to drop, in [0, 1]; their number is rounded.
    key
        Non-negative integers that fix which pixels are dropped at random.

    Returns
    -------
    float32 (num_visible,)
        1 for known pixels, else 0.

    Raises
    ------
    InputError
        The kind does not exist, or the fraction is outside [0, 1].
    """
    if kind not in MASKS:
        raise InputError("there is no mask %r; choose one of %s" % (kind, ", ".join(MASKS)))
    if not 0 <= fraction <= 1:
        raise InputError("the share to drop is %s; it must be in [0, 1]" % fraction)
    height, width = image_shape[:2]
    known = np.ones((height, width), np.float32)
    if kind == "random":
        generator = make_generator(key)
        known.ravel()[generator.permutation(known.size)[: round(fraction * known.size)]] = 0
    elif kind in ("top", "bottom"):
        known[: round(fraction * height)] = 0
    else:
        known[:, : round(fraction * width)] = 0
    if kind in ("bottom", "right"):
        known = known[::-1, ::-1]
    return np.repeat(known.ravel(), int(np.prod(image_shape[2:])))


def inpaint(
    parameters: Parameters,
    images: Array,
    sweeps: int,
    key: Key,
    *,
    mask: Array | None = None,
    annealed: bool = False,
    base_visible_bias: Array | None = None,
    **settings: Any,
) -> Inpainted:
    """Fill in missing pixels by Gibbs chains that hold the known pixels in every sweep.

    The MXNet engine holds grey known pixels as they are. If all known pixels are 0 or 1, the native
    engine runs the chains, several times as fast.

    Parameters
    ----------
    parameters
        Parameters of the RBM.
    images
        Images (images, num_visible) in [0, 1]; NaN marks a missing pixel.
    sweeps
        Number of Gibbs sweeps, at least 1.
    key
        Non-negative integers that fix the noise.
    mask
        Array (num_visible,) or (images, num_visible) with 0 where a pixel is missing, whatever the
        image holds there, and 1 where it is known.
    annealed
        Whether beta rises from 0 to 1 over the first half of the sweeps. Then the result depends
        less on the start of the chains.
    base_visible_bias
        Visible bias at beta = 0, (num_visible,). Missing pixels start at its sigmoid; without it,
        at 1/2.
    **settings
        As in `gluon_rbm.sampling.chains.ChainSettings`, except `clamp`.

    Returns
    -------
    Inpainted
        The filled-in images and their means.

    Raises
    ------
    InputError
        The images or the mask have another shape or other values, or `sweeps` is below 1.

    Examples
    --------
    >>> import gluon_rbm
    >>> hidden_bias, weight = np.array([-10.0, 10.0]), np.array([[10.0, -10.0], [10.0, -10.0]])
    >>> parameters = gluon_rbm.Parameters(np.zeros(2), hidden_bias, weight)  # draws equal pixels
    >>> images = np.array([[1.0, np.nan], [0.0, np.nan]])
    >>> gluon_rbm.inpaint(parameters, images, sweeps=20, key=[0]).visible_sample
    array([[1., 1.],
           [0., 0.]])
    """
    host = to_numpy(checked_images(parameters, images, missing=True))
    known = ~np.isnan(host) if mask is None else ~np.isnan(host) & _checked_mask(mask, host.shape)
    guess = 0.5
    if base_visible_bias is not None:
        guess = 1 / (1 + np.exp(-to_numpy(base_visible_bias).astype(host.dtype)))
    first = np.where(known, host, guess)
    conditions = ChainSettings(clamp=(known, first), base_visible_bias=base_visible_bias, **settings)._asdict()
    # The mean includes at least the last sweep.
    before, after = sweeps // 2, sweeps - sweeps // 2
    if before:
        settle = simulated_annealing if annealed else sample_chains
        first = settle(parameters, first, before, [*key, 0], **conditions).visible_sample
    every = max(1, math.ceil(after / _STATES_OF_A_MEAN))
    states = sample_chains(parameters, first, after, [*key, 1], every=every, **conditions)
    chains = next(states)
    visible_total, hidden_total, count = chains.visible_prob_1, chains.hidden_prob_1, 1
    for chains in states:
        visible_total, hidden_total = visible_total + chains.visible_prob_1, hidden_total + chains.hidden_prob_1
        count += 1
    return Inpainted(chains.visible_sample, chains.visible_prob_1, visible_total / count, hidden_total / count)


def _checked_mask(mask: Array, shape: tuple[int, ...]) -> HostArray:
    """Return whether each pixel is known (bool), or raise InputError for a wrong mask."""
    held = to_numpy(mask)
    if held.shape not in (shape, shape[1:]):
        raise InputError("the mask has shape %s; it must be %s or %s" % (held.shape, shape[1:], shape))
    if not np.isin(held, (0, 1)).all():
        raise InputError("the mask holds other values than 0 and 1; 1 means that a pixel is known")
    return held != 0
