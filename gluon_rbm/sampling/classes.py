"""Images of a chosen class, drawn by a joint RBM of pixels and a label."""

from __future__ import annotations

from typing import Any

from gluon_rbm.backend.framework import mx
from gluon_rbm.backend.random import Noise
from gluon_rbm.backend.types import Array, Key, NDArray
from gluon_rbm.errors import InputError
from gluon_rbm.models.label_rbm import checked_classes, clamped, softmax_groups
from gluon_rbm.models.parameters import Parameters
from gluon_rbm.sampling import gibbs
from gluon_rbm.sampling.conditions import check_ndarrays

__all__ = ["draw_classes", "hold_classes"]


def hold_classes(images: NDArray, classes: Array, num_classes: int) -> tuple[NDArray, dict[str, Any]]:
    """Return a start for chains, and the settings that hold their class in every sweep.

    Parameters
    ----------
    images
        Pixels of the start, (chains, num_pixels).
    classes
        Whole numbers (chains,), the class of each chain.
    num_classes
        Number of classes of the RBM.

    Returns
    -------
    visible : NDArray (chains, num_pixels + num_classes)
        The images with their labels.
    settings : dict
        `clamp` and `visible_units` for `gibbs.run_chains`, or for the functions of
        `gluon_rbm.sampling.chains`.

    Raises
    ------
    InputError
        A class does not exist, or the numbers of classes and images differ.
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
    """Draw an image of each given class by Gibbs chains that hold the label in every sweep.

    Parameters
    ----------
    parameters
        Parameters of a joint RBM, NDArrays. `gluon_rbm.models.files.read_model` returns them with
        the number of classes.
    classes
        Whole numbers (chains,), the class of each chain.
    num_classes
        Number of classes of the RBM.
    sweeps
        Number of Gibbs sweeps, at least 1.
    start
        Images to start from, (chains, num_pixels) in [0, 1]. None: each pixel is on with
        probability 1/2.
    key, engine
        As in `gibbs.run_chains`.

    Returns
    -------
    gibbs.Chains
        States after the last sweep; the visible layer has the pixels only.

    Raises
    ------
    InputError
        A class does not exist, the RBM has no labels, or the images to start from have a wrong
        shape.

    Examples
    --------
    >>> import gluon_rbm
    >>> weight = 20.0 * np.array([[1, -1], [-1, 1], [1, -1], [-1, 1]])  # 2 pixels, 2 classes
    >>> parameters = gluon_rbm.Parameters.from_arrays(np.zeros(4), np.zeros(2), weight)
    >>> chains = gluon_rbm.draw_classes(parameters, [0, 1, 1], num_classes=2, sweeps=20)
    >>> chains.visible_sample.asnumpy()
    array([[1., 0.],
           [0., 1.],
           [0., 1.]])
    """
    check_ndarrays(*parameters)
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
