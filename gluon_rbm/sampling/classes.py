"""Images of a chosen class, drawn by a joint RBM of pixels and a label."""

from __future__ import annotations

from typing import Any

from gluon_rbm.backend.framework import mx
from gluon_rbm.backend.random import Noise
from gluon_rbm.backend.types import Array, Key, NDArray
from gluon_rbm.errors import InputError
from gluon_rbm.models.energy import Parameters
from gluon_rbm.models.label_rbm import checked_classes, clamped, softmax_groups
from gluon_rbm.sampling import gibbs

__all__ = ["draw_classes", "hold_classes"]


def hold_classes(images: NDArray, classes: Array, num_classes: int) -> tuple[NDArray, dict[str, Any]]:
    """Where chains of any kind start, and the settings with which they keep their class in every sweep.

    Parameters
    ----------
    images : NDArray (chains, num_pixels)
    classes : whole numbers (chains,)

    Returns the visible layer, NDArray (chains, num_pixels + num_classes), and the settings of `gibbs.run_chains` or of
    what `gluon_rbm.sampling.chains` offers: clamp and visible_units.

    Raises InputError for a class that does not exist, and where classes and images are not as many.
    """
    visible, clamp = clamped(images, classes, num_classes)
    return visible, {"clamp": clamp, "visible_units": softmax_groups(visible.shape[1], num_classes)}


def draw_classes(
    parameters: Parameters,
    classes: Array,
    num_classes: int,
    sweeps: int = 1000,
    *,
    start: NDArray | None = None,
    key: Key = (),
    engine: str = "auto",
) -> gibbs.Chains:
    """Draw an image of each of the given classes: Gibbs chains with the label clamped in every sweep.

    Parameters
    ----------
    parameters : energy.Parameters
        Of a joint RBM (`gluon_rbm.models.files.read_model` gives both them and num_classes).
    classes : sequence of int, (chains,)
        The class of each chain.
    sweeps : int >= 1
    start : NDArray (chains, num_pixels) in [0, 1], or None
        Images to start from; None: each pixel on with probability 1/2.
    key, engine : as `gibbs.run_chains`

    Returns
    -------
    The `gibbs.Chains` with the pixels alone as their visible layer.

    Raises InputError for a class that does not exist, and for a model without labels.
    """
    bias = parameters.visible_layer_bias
    num_pixels = parameters.num_visible - num_classes
    classes = checked_classes(classes, num_classes)
    shape = (len(classes), num_pixels)
    if start is None:
        images = Noise([*key, 0]).bernoulli(mx.nd.full(shape, 0.5, ctx=bias.context, dtype=bias.dtype))
    else:
        images = start
    if images.shape != shape:
        raise InputError("images to start from have shape %s; this needs %s" % (images.shape, shape))
    visible, held = hold_classes(images, classes, num_classes)
    chains = gibbs.run_chains(parameters, visible=visible, sweeps=sweeps, key=[*key, 1], engine=engine, **held)
    return chains._replace(
        visible_sample=chains.visible_sample[:, :num_pixels], visible_prob_1=chains.visible_prob_1[:, :num_pixels]
    )
