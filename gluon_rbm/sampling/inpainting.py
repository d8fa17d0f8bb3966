"""Missing pixels: which ones are known, and chains that fill in the others."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Sequence

import numpy as np

from gluon_rbm.backend.arrays import to_numpy
from gluon_rbm.backend.random import make_generator
from gluon_rbm.backend.types import Array, HostArray, Key
from gluon_rbm.errors import InputError
from gluon_rbm.models.energy import Parameters
from gluon_rbm.sampling.chains import ChainSettings, checked_images, sample_chains, simulated_annealing

__all__ = ["MASKS", "Inpainted", "inpaint", "make_mask"]

MASKS = ("top", "bottom", "left", "right", "random")

_STATES_OF_A_MEAN = 20


class Inpainted(NamedTuple):
    """Images with their missing pixels filled in, arrays (images, num_visible); known pixels as they were given."""

    visible_sample: Array  #: of the last sweep: pictures as the RBM would draw them
    visible_prob_1: Array  # what that was drawn from: the same without the grain
    visible_mean: Array  #: mean of such probabilities over the second half of the sweeps: the least squared error
    hidden_mean: Array  #: mean of p(h = 1 | v) over the same: E[h | known pixels], (images, num_hidden)


def make_mask(kind: str, image_shape: Sequence[int], fraction: float = 0.5, key: Key = ()) -> HostArray:
    """Which pixels are known when a part of the image is dropped: 1 where known, else 0, float32 (num_visible,).

    kind : "top", "bottom", "left", "right" or "random", what is dropped
    image_shape : (height, width), or (height, width, channels), whose channels are dropped together
    fraction : of the rows, columns or pixels, rounded
    key : fixes which pixels are dropped at random

    Raises InputError for another kind, and for a fraction outside of [0, 1].
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
    """Fill in missing pixels by chains that hold the known ones in every sweep: `Inpainted`.

    images : (images, num_visible) in [0, 1]; NaN is missing
    mask : (num_visible,) or (images, num_visible), or None
        0 where a pixel is missing, whatever the image holds there.
    annealed : bool
        beta rises from 0 to 1 over the first half of the sweeps, so that the fill depends less on where chains start:
        at 1/2 in each missing pixel, or at the base rate where base_visible_bias is given.
    base_visible_bias, settings : as in `gluon_rbm.sampling.chains.ChainSettings`, but clamp

    Known pixels that are grey are held as they are, by the MXNet engine; if they are 0 or 1, the native engine serves,
    which is several times as fast. Raises InputError, also where images or mask have another shape.
    """
    host = to_numpy(checked_images(parameters, images, missing=True))
    known = ~np.isnan(host) if mask is None else ~np.isnan(host) & _checked_mask(mask, host.shape)
    guess = 0.5
    if base_visible_bias is not None:
        guess = 1 / (1 + np.exp(-to_numpy(base_visible_bias).astype(host.dtype)))
    first = np.where(known, host, guess)
    conditions = ChainSettings(clamp=(known, first), base_visible_bias=base_visible_bias, **settings)._asdict()
    # At least the last sweep counts for the mean.
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
    """Whether each pixel is known: bool, for images of that shape, or InputError."""
    held = to_numpy(mask)
    if held.shape not in (shape, shape[1:]):
        raise InputError("the mask has shape %s; it must be %s or %s" % (held.shape, shape[1:], shape))
    if not np.isin(held, (0, 1)).all():
        raise InputError("the mask holds other values than 0 and 1; 1 means that a pixel is known")
    return held != 0
