"""Images and values of a network, its filters, and features of its hidden units."""

from __future__ import annotations

import math

import numpy as np

from gluon_rbm.backend.arrays import from_host, to_numpy
from gluon_rbm.backend.types import Array, HostArray
from gluon_rbm.errors import InputError
from gluon_rbm.models.deep_belief import DeepBeliefNetwork
from gluon_rbm.models.networks import Description

__all__ = ["check_pool", "features", "filters", "to_images", "to_values"]

# Limits of a batch of `features`: values in its largest layer, and images.
_LAYER_VALUES, _MOST_IMAGES = 2**22, 500


def to_values(images: HostArray, description: Description, maximum: float | None = None) -> HostArray:
    """Return images as values of a network's visible units.

    Parameters
    ----------
    images
        Images (n, height, width) or (n, height, width, 3).
    description
        Description of the network.
    maximum
        Pixel value that means 1.0; by default 255 for bytes, and 1 for floats.

    Returns
    -------
    float32 array (n, channels, height, width)
        Values.

    Raises
    ------
    InputError
        Images have another shape than the network's, or pixels outside 0 to `maximum`.
    """
    images = np.asarray(images)
    channels, height, width = description["image_shape"]
    planes = images[:, None] if images.ndim == 3 else np.moveaxis(images, 3, 1) if images.ndim == 4 else images
    if planes.shape[1:] != (channels, height, width):
        raise InputError(
            "images have shape %s, but the network was trained on %s images of %d x %d pixels"
            % (images.shape[1:], "colour" if channels == 3 else "grey", height, width)
        )
    maximum = maximum or (255 if images.dtype == np.uint8 else 1)
    may_be_outside = images.size and (images.dtype != np.uint8 or maximum < 255)
    if may_be_outside and not (images.min() >= 0 and images.max() <= maximum):
        raise InputError("pixels are from %s to %s; scale them to 0 to %s" % (images.min(), images.max(), maximum))
    if description["visible_units"] == "gaussian":
        mean, deviation = description["mean"], description["deviation"]
        return (np.ascontiguousarray(planes, np.float32) / maximum - np.float32(mean)) / np.float32(deviation)
    values = np.multiply(np.ascontiguousarray(planes), description["maximum"] / maximum, dtype=np.float32)
    return np.floor(values + 0.5, out=values) if description["quantized"] else values


def to_images(values: Array, description: Description) -> HostArray:
    """Return values of a network's visible units as images.

    Parameters
    ----------
    values
        NDArray or NumPy array (n, ...), as `to_values` returns them.
    description
        Description of the network.

    Returns
    -------
    float32 array (n, num_visible)
        Images, values in [0, 1], with the colours of a pixel together: as
        `gluon_rbm.evaluation.plots` takes them.
    """
    values = np.asarray(to_numpy(values), np.float32)
    values = np.moveaxis(values.reshape(len(values), *description["image_shape"]), 1, 3).reshape(len(values), -1)
    if description["visible_units"] == "gaussian":
        return (values * np.float32(description["deviation"]) + np.float32(description["mean"])).clip(0, 1)
    return values / np.float32(description["maximum"])


def filters(network: DeepBeliefNetwork, description: Description) -> tuple[HostArray, tuple[int, ...]]:
    """Return the first RBM's weights as `gluon_rbm.evaluation.plots.filters` takes them.

    Parameters
    ----------
    network
        The network.
    description
        Its description.

    Returns
    -------
    weights : float32 array (pixels, filters)
        A column for each filter, with the colours of a pixel together.
    shape : tuple
        Shape of a filter's image: (height, width) or (height, width, 3).
    """
    weight = network.rbms[0].interaction_weight.data().asnumpy()
    if weight.ndim == 2:  # (num_visible, num_hidden)
        weight = weight.T.reshape(-1, *description["image_shape"])
    weight = np.moveaxis(weight, 1, 3)
    shape = weight.shape[1:] if weight.shape[3] == 3 else weight.shape[1:3]
    return weight.reshape(len(weight), -1).T, shape


def features(
    network: DeepBeliefNetwork,
    description: Description,
    images: HostArray,
    batch_size: int | None = None,
    *,
    maximum: float | None = None,
    pool: int = 1,
    sampled: bool = False,
) -> HostArray:
    """Return `DeepBeliefNetwork.transform` of images, computed in batches.

    Parameters
    ----------
    network, description
        As `read` returns them.
    images
        As in `to_values`.
    batch_size
        Number of images in a batch; by default up to 500, as long as the values of a layer fit into
        16 MB. For larger arrays the system must clear memory each time, which takes longer than the
        features do.
    maximum
        As in `to_values`.
    pool
        Take means over squares of `pool` by `pool` places in a convolutional top layer. A place
        within a square tells where something is in an image rather than what it is.
    sampled
        Draw the units of all layers by MXNet's generator, instead of taking their means.

    Returns
    -------
    float32 array (n, number of top units)
        Features; `pool` squared times fewer if pooled.

    Raises
    ------
    InputError
        The squares do not divide the top layer.
    """
    check_pool(network, pool)
    top = network.rbms[-1].hidden_shape
    context = network.rbms[0].interaction_weight.list_ctx()[0]
    if batch_size is None:
        largest = max(math.prod(shape) for rbm in network.rbms for shape in (rbm.visible_shape, rbm.hidden_shape))
        batch_size = min(max(_LAYER_VALUES // largest, 1), _MOST_IMAGES)
    batches = []
    for start in range(0, len(images), batch_size):
        values = from_host(to_values(images[start : start + batch_size], description, maximum), context)
        batches.append(_pooled(network.transform(values, sampled).asnumpy(), top, pool))
    return np.concatenate(batches) if batches else np.empty((0, math.prod(top) // pool**2), np.float32)


def check_pool(network: DeepBeliefNetwork, pool: int) -> None:
    """Raise an error unless squares of `pool` by `pool` places divide the top layer of a network.

    Parameters
    ----------
    network
        The network.
    pool
        Side of a square, in places of the layer; 1 divides any layer.

    Raises
    ------
    InputError
        The squares do not divide the layer, or the layer is dense.
    """
    top = network.rbms[-1].hidden_shape
    if pool == 1:
        return
    if len(top) == 1:
        raise InputError("the top layer is dense, so it has no places to pool; leave pool at 1")
    side = math.gcd(*top[1:])
    if side % pool:
        sides = ", ".join(str(number) for number in range(1, side + 1) if side % number == 0)
        raise InputError(
            "pool squares of %d x %d do not divide the top layer of %d x %d; choose a pool of %s"
            % (pool, pool, *top[1:], sides)
        )


def _pooled(features: HostArray, shape: tuple[int, ...], pool: int) -> HostArray:
    if pool == 1:
        return features
    filters, height, width = shape
    squares = features.reshape(-1, filters, height // pool, pool, width // pool, pool)
    return squares.mean(axis=(3, 5)).reshape(len(features), -1)
