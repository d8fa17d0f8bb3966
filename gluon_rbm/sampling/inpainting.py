"""Missing pixels: which ones are known, and chains that fill in the others."""

import math
from typing import Any, NamedTuple

import numpy as np

from gluon_rbm.backend.arrays import asarray_like, to_numpy
from gluon_rbm.backend.framework import mx
from gluon_rbm.backend.random import make_generator
from gluon_rbm.errors import InputError
from gluon_rbm.sampling.chains import _visible, sample_chains, simulated_annealing

__all__ = ["MASKS", "Inpainted", "inpaint", "make_mask"]

MASKS = ("top", "bottom", "left", "right", "random")

_STATES_OF_A_MEAN = 20


class Inpainted(NamedTuple):
    """Images with their missing pixels filled in, NDArrays (images, num_visible); known pixels as they were given."""

    visible_sample: Any  #: of the last sweep: pictures as the machine would draw them
    visible_prob_1: Any  # what that was drawn from: the same without the grain
    visible_mean: Any  #: mean of such probabilities over the second half of the sweeps: the least squared error


def make_mask(kind, image_shape, share=0.5, key=()):
    """Which pixels are known when a part of the image is dropped: 1 where known, else 0, float32 (num_visible,).

    kind : "top", "bottom", "left", "right" or "random", what is dropped
    image_shape : (height, width), or (height, width, channels), whose channels are dropped together
    share : of the rows, columns or pixels, rounded
    key : fixes which pixels are dropped at random

    Raises InputError for another kind, and for a share outside of [0, 1].
    """
    if kind not in MASKS:
        raise InputError("there is no mask %r; choose one of %s" % (kind, ", ".join(MASKS)))
    if not 0 <= share <= 1:
        raise InputError("the share to drop is %s; it must be in [0, 1]" % share)
    height, width = image_shape[:2]
    known = np.ones((height, width), np.float32)
    if kind == "random":
        generator = make_generator(key)
        known.ravel()[generator.permutation(known.size)[: round(share * known.size)]] = 0
    elif kind in ("top", "bottom"):
        known[: round(share * height)] = 0
    else:
        known[:, : round(share * width)] = 0
    if kind in ("bottom", "right"):
        known = known[::-1, ::-1]
    return np.repeat(known.ravel(), int(np.prod(image_shape[2:])))


def inpaint(
    parameters,
    images,
    sweeps,
    key,
    mask=None,
    annealed=False,
    softmax_group=None,
    base_visible_bias=None,
    engine="auto",
):
    """Fill in missing pixels by chains that hold the known ones in every sweep: `Filled`.

    images : (images, num_visible) in [0, 1]; NaN is missing
    mask : (num_visible,) or (images, num_visible), or None
        0 where a pixel is missing, whatever the image holds there.
    annealed : bool
        beta rises from 0 to 1 over the first half of the sweeps, so that the fill depends less on where chains start:
        at 1/2 in each missing pixel, or at the base rate where base_visible_bias is given.

    Known pixels that are grey are held as they are, by the MXNet engine; if they are 0 or 1, the native engine serves,
    which is several times as fast. Raises InputError, also where images or mask have another shape.
    """
    images = _visible(parameters, images, missing=True)
    host = images.asnumpy()
    known = ~np.isnan(host)
    if mask is not None:
        held = to_numpy(mask)
        if held.shape not in (host.shape, host.shape[1:]):
            raise InputError("the mask has shape %s; it must be %s or %s" % (held.shape, host.shape[1:], host.shape))
        if not np.isin(held, (0, 1)).all():
            raise InputError("the mask holds other values than 0 and 1; 1 means that a pixel is known")
        known = known & (held != 0)
    guess = (
        0.5
        if base_visible_bias is None
        else mx.nd.sigmoid(asarray_like(base_visible_bias, parameters.interaction_weight)).asnumpy()
    )
    first = np.where(known, host, guess)
    settings = dict(
        clamp=(known, first), softmax_group=softmax_group, base_visible_bias=base_visible_bias, engine=engine
    )
    # At least the last sweep counts for the mean.
    before, after = sweeps // 2, sweeps - sweeps // 2
    if before:
        first = (simulated_annealing if annealed else sample_chains)(
            parameters, first, before, [*key, 0], **settings
        ).visible_sample
    total, states = 0, 0
    for chains in sample_chains(
        parameters, first, after, [*key, 1], every=max(1, math.ceil(after / _STATES_OF_A_MEAN)), **settings
    ):
        total, states = total + chains.visible_prob_1, states + 1
    return Inpainted(chains.visible_sample, chains.visible_prob_1, total / states)
