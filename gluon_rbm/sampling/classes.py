"""Images of a chosen class, drawn by a joint RBM of pixels and a label."""

from gluon_rbm.backend.framework import mx
from gluon_rbm.backend.random import Noise
from gluon_rbm.errors import InputError
from gluon_rbm.models.label_rbm import checked_classes, clamped, softmax_group
from gluon_rbm.sampling import gibbs

__all__ = ["draw_classes"]


def draw_classes(parameters, classes, num_classes, sweeps=1000, start=None, key=(), engine="auto"):
    """Draw an image of each of the given classes: Gibbs chains with the label clamped in every sweep.

    Parameters
    ----------
    parameters : energy.Parameters
        Of a joint RBM (`run_folder.read_model` gives both them and num_classes).
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
    if start is None:
        half = mx.nd.full((len(classes), num_pixels), 0.5, ctx=bias.context, dtype=bias.dtype)
        start = Noise([*key, 0]).bernoulli(half)
    if start.shape != (len(classes), num_pixels):
        raise InputError(
            "images to start from have shape %s; this needs %s" % (start.shape, (len(classes), num_pixels))
        )
    visible, clamp = clamped(start, classes, num_classes)
    chains = gibbs.run_chains(
        parameters,
        visible=visible,
        sweeps=sweeps,
        clamp=clamp,
        softmax_group=softmax_group(parameters.num_visible, num_classes),
        key=[*key, 1],
        engine=engine,
    )
    return chains._replace(
        visible_sample=chains.visible_sample[:, :num_pixels], visible_prob_1=chains.visible_prob_1[:, :num_pixels]
    )
