"""Networks of machines as descriptions that JSON can hold: made from them, kept in files, read back, given images.

A description is what `describe` returns. Images are (n, height, width) or (n, height, width, 3), as data sets have
them; a network's values are (n, channels, height, width), from 0 to N.
"""

import json
import math

import numpy as np

from gluon_rbm.backend import array_files
from gluon_rbm.backend.arrays import from_host, to_numpy
from gluon_rbm.backend.files import write_whole
from gluon_rbm.backend.framework import mx
from gluon_rbm.errors import InputError
from gluon_rbm.models.convolutional_rbm import ConvolutionalRBMBlock
from gluon_rbm.models.deep_belief import DeepBeliefNetwork
from gluon_rbm.models.energy import Parameters
from gluon_rbm.models.files import parameter_file, read_arrays
from gluon_rbm.models.multinary_rbm import MultinaryRBMBlock
from gluon_rbm.models.units import Gaussian, Multinary, NoisyReLU

__all__ = [
    "HIDDEN_UNITS",
    "PRESETS",
    "VISIBLE_UNITS",
    "arrays",
    "build",
    "describe",
    "features",
    "filters",
    "initialize",
    "parameters",
    "read",
    "save",
    "to_images",
    "to_values",
]

VISIBLE_UNITS, HIDDEN_UNITS = ("multinary", "gaussian"), ("multinary", "relu")

_DESCRIPTION = "description"  # the array of a file of parameters that holds it: bytes of JSON

# The generators of Hwang, Hwang & Jo (2020): whatever the size, the convolutions end in 256 channels of 4 x 4.
_GENERATOR = {"dataset": "image-folder", "dense": [1000, 500, 200, 100], "learning_rate": 0.003}

# Features for a classifier: one layer of wide filters, of units that are mostly off. Tried: docs/multinary.md.
_SPARSE = {
    "initial_deviation": 0.1,
    "initial_hidden_bias": -5.0,
    "learning_rate": 0.003,
    "learning_rate_schedule": "linear",
    "num_epoch": 6,
}

# Networks and recipes by name: defaults of the flags of `python -m gluon_rbm train-multinary`.
PRESETS = {
    "mnist": {**_SPARSE, "dataset": "mnist", "channels": [64], "kernel": 10},
    "cifar10": {**_SPARSE, "dataset": "cifar10", "channels": [128], "kernel": 8},
    "celeba-64": {**_GENERATOR, "image_size": [64, 64], "channels": [64, 128, 256, 256]},
    "celeba-128": {**_GENERATOR, "image_size": [128, 128], "channels": [64, 128, 256, 256, 256]},
    # A classifier's features: without the dense machines.
    "caltech-101": {**_GENERATOR, "image_size": [128, 128], "channels": [64, 128, 256, 256, 256], "dense": []},
}


# --- Descriptions -----------------------------------------------------------------------------------------------------


def describe(
    image_shape,
    channels=(),
    dense=(),
    kernel=4,
    stride=2,
    maximum=255,
    slope=None,
    visible_units="multinary",
    hidden_units="multinary",
    whole=False,
    initial_deviation=0.01,
    initial_hidden_bias=0.0,
    mean=0.0,
    deviation=1.0,
):
    """The description of a network: a dict of what is given here, with lists for sequences.

    Parameters
    ----------
    image_shape : (channels, height, width)
        Of the images: 1 channel of grey ones, 3 of those in colour.
    channels : sequence of int
        Filters of each convolutional machine, from the images up.
    kernel, stride : int
        Of all of them; see `ConvolutionalRBM`.
    dense : sequence of int
        Hidden units of each dense machine above.
    maximum, slope : int, float or None
        N and k of all multinary units; see `Multinary`.
    visible_units, hidden_units : str
        "multinary", or "gaussian" and "relu".
    whole : bool
        Round pixels to the whole values of multinary units, with N = 1 to black and white; else they may lie between.
    initial_deviation, initial_hidden_bias : float
        Of the weights before training the standard deviation; of the hidden biases k times what they are before it:
        below 0, most units are off at first.
    mean, deviation : float
        The values of gaussian visible units are (pixel - mean) / deviation of pixels in [0, 1].
    """
    return {
        "image_shape": [int(length) for length in image_shape],
        "channels": [int(count) for count in channels],
        "dense": [int(count) for count in dense],
        "kernel": int(kernel),
        "stride": int(stride),
        "maximum": int(maximum),
        "slope": None if slope is None else float(slope),
        "visible_units": visible_units,
        "hidden_units": hidden_units,
        "whole": bool(whole),
        "initial_deviation": float(initial_deviation),
        "initial_hidden_bias": float(initial_hidden_bias),
        "mean": float(mean),
        "deviation": float(deviation),
    }


def build(description):
    """The `DeepBeliefNetwork` of a description, not yet initialized. InputError where there can be none."""
    description = describe(**description)
    layer, shape, machines = _visible_units(description), tuple(description["image_shape"]), []
    window = {"kernel": description["kernel"], "stride": description["stride"]}
    if len(shape) != 3 or shape[0] not in (1, 3) or min(shape) < 1:
        raise InputError("images of %s are neither grey nor in colour; give (1 or 3, height, width)" % (shape,))
    for size in (*description["channels"], *description["dense"]):
        units = _hidden_units(description)
        try:
            if len(machines) < len(description["channels"]):
                machine = ConvolutionalRBMBlock(shape, size, hidden_units=units, visible_units=layer, **window)
            else:
                machine = MultinaryRBMBlock(int(np.prod(shape)), size, hidden_units=units, visible_units=layer)
        except InputError as error:
            raise InputError("machine %d of the network: %s" % (len(machines) + 1, error)) from error
        machines.append(machine)
        layer, shape = units, machine.hidden_shape
    if not machines:
        raise InputError("a network needs at least one machine; give --channels, --dense or both")
    return DeepBeliefNetwork(machines)


def _visible_units(description):
    if description["visible_units"] not in VISIBLE_UNITS:
        raise InputError("unknown visible units %r; choose %s" % (description["visible_units"], VISIBLE_UNITS))
    if description["visible_units"] == "gaussian":
        if not (math.isfinite(description["mean"]) and 0 < description["deviation"] < math.inf):
            raise InputError(
                "pixels of mean %(mean)s and deviation %(deviation)s are none; the deviation must be above 0"
                % description
            )
        return Gaussian()
    return Multinary(description["maximum"], description["slope"])


def _hidden_units(description):
    if description["hidden_units"] not in HIDDEN_UNITS:
        raise InputError("unknown hidden units %r; choose %s" % (description["hidden_units"], HIDDEN_UNITS))
    if description["hidden_units"] == "relu":
        return NoisyReLU()
    return Multinary(description["maximum"], description["slope"])


def initialize(network, description, context=None):
    """Give a network the parameters that training starts with; MXNet's generator draws them."""
    description = describe(**description)
    weights = mx.init.Normal(description["initial_deviation"])
    for machine in network.machines:
        machine.initialize(ctx=context or mx.cpu(), force_reinit=True)
        machine.interaction_weight.initialize(weights, context or mx.cpu(), force_reinit=True)
        start = description["initial_hidden_bias"] / machine.hidden_units.slope
        machine.hidden_layer_bias.set_data(mx.nd.full(machine.hidden_layer_bias.shape, start))


# --- Files ------------------------------------------------------------------------------------------------------------


def arrays(network, description):
    """What a file of the network holds, parameters and description: name -> NDArray."""
    text = json.dumps(description, sort_keys=True).encode()
    values = {name: parameter.data() for name, parameter in parameters(network).items()}
    return {**values, _DESCRIPTION: from_host(np.frombuffer(text, np.uint8))}


def parameters(network):
    """The parameters by their names: 0.visible_layer_bias and so on, machine by machine."""
    return {
        "%d.%s" % (number, name): getattr(machine, name)
        for number, machine in enumerate(network.machines)
        for name in Parameters._fields
    }


def save(path, network, description):
    """Write parameters and description into one file, which MXNet reads, whole or not at all."""
    with write_whole(path, "path") as temporary:
        array_files.save(temporary, {name: a.asnumpy() for name, a in arrays(network, description).items()})


def read(path, context=None):
    """(network, description) of a run folder or of a file that `save` wrote.

    Raises InputError when there is no such file, when it is not whole, when its values are not finite, and when it
    holds anything else.
    """
    path = parameter_file(path)
    found = read_arrays(path)
    try:
        if _DESCRIPTION not in found:
            raise ValueError("there is no description in it")
        description = json.loads(found.pop(_DESCRIPTION).asnumpy().tobytes().decode())
        network = build(description)
        expected = parameters(network)
        if {name: array.shape for name, array in found.items()} != {n: p.shape for n, p in expected.items()}:
            raise ValueError("the arrays are not those of the description")
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:  # InputError is a ValueError
        raise InputError("%s holds no network of train-multinary (%s); name a file of one" % (path, error)) from error
    network.initialize(ctx=context or mx.cpu())
    for name, array in found.items():
        expected[name].set_data(array)
    return network, description


# --- Images -----------------------------------------------------------------------------------------------------------


def to_values(images, description, maximum=None):
    """Images as a network's values: float32 (n, channels, height, width).

    maximum : the pixel value that means 1.0; by default 255 of bytes, and 1 of floats. InputError for images of another
    shape, and for pixels outside 0 to maximum.
    """
    images = np.asarray(images)
    channels, height, width = description["image_shape"]
    planes = images[:, None] if images.ndim == 3 else np.moveaxis(images, 3, 1) if images.ndim == 4 else images
    if planes.shape[1:] != (channels, height, width):
        raise InputError(
            "images of %s are not the network's (%s, %d x %d pixels)"
            % (images.shape[1:], "in colour" if channels == 3 else "grey", height, width)
        )
    maximum = maximum or (255 if images.dtype == np.uint8 else 1)
    if (
        images.size
        and (images.dtype != np.uint8 or maximum < 255)
        and not (images.min() >= 0 and images.max() <= maximum)
    ):
        raise InputError("pixels from %s to %s are not in 0 to %s; scale them" % (images.min(), images.max(), maximum))
    if description["visible_units"] == "gaussian":
        mean, deviation = description["mean"], description["deviation"]
        return (np.ascontiguousarray(planes, np.float32) / maximum - np.float32(mean)) / np.float32(deviation)
    values = np.multiply(np.ascontiguousarray(planes), description["maximum"] / maximum, dtype=np.float32)
    return np.floor(values + 0.5, out=values) if description.get("whole") else values


def to_images(values, description):
    """A network's values, array or NDArray, as images in [0, 1]: float32 (n, num_visible), colours of a pixel together.

    That is what `gluon_rbm.evaluation.plots` takes.
    """
    values = np.asarray(to_numpy(values), np.float32)
    values = np.moveaxis(values.reshape(len(values), *description["image_shape"]), 1, 3).reshape(len(values), -1)
    if description["visible_units"] == "gaussian":
        return (values * np.float32(description["deviation"]) + np.float32(description["mean"])).clip(0, 1)
    return values / np.float32(description["maximum"])


def filters(network, description):
    """Weights (pixels, filters) of the first machine, and their images' shape: what `gluon_rbm.evaluation.plots.filters` takes."""
    weight = network.machines[0].interaction_weight.data().asnumpy()
    if weight.ndim == 2:  # (num_visible, num_hidden)
        weight = weight.T.reshape(-1, *description["image_shape"])
    weight = np.moveaxis(weight, 1, 3)
    shape = weight.shape[1:] if weight.shape[3] == 3 else weight.shape[1:3]
    return weight.reshape(len(weight), -1).T, shape


def features(network, description, images, batch_size=500, maximum=None, pool=1, sampled=False):
    """`DeepBeliefNetwork.transform` of images, in batches: float32 (n, number of units of the top layer).

    sampled : draw the units of all layers, by MXNet's generator, instead of taking their means.

    pool : of a convolutional top layer, take the means over squares of so many by so many places, which matter less for
        what an image shows than for where; InputError where they do not divide the layer.
    """
    top = network.machines[-1].hidden_shape
    if pool > 1 and (len(top) == 1 or top[1] % pool or top[2] % pool):
        raise InputError("a top layer of %s has no squares of side %d to take means over; pool less" % (top, pool))
    context = network.machines[0].interaction_weight.list_ctx()[0]
    parts = []
    for start in range(0, len(images), batch_size):
        values = from_host(to_values(images[start : start + batch_size], description, maximum), context)
        parts.append(_pooled(network.transform(values, sampled).asnumpy(), top, pool))
    return np.concatenate(parts) if parts else np.empty((0, int(np.prod(top)) // pool**2), np.float32)


def _pooled(features, shape, pool):
    if pool == 1:
        return features
    filters, height, width = shape
    squares = features.reshape(-1, filters, height // pool, pool, width // pool, pool)
    return squares.mean(axis=(3, 5)).reshape(len(features), -1)
