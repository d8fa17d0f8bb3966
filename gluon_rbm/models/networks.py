"""Networks of RBMs, described by values that JSON can hold: built, kept in files, and given images.

A description is what `describe` returns. Images are (n, height, width) or (n, height, width, 3), as
in data sets. The values of a network are (n, channels, height, width), from 0 to N
if units are multinary.
"""

from __future__ import annotations

import json
import math
import os
from typing import Any, Dict, Mapping, Sequence

import numpy as np

from gluon_rbm.backend import array_files
from gluon_rbm.backend.arrays import from_host
from gluon_rbm.backend.files import write_whole
from gluon_rbm.backend.framework import mx
from gluon_rbm.backend.types import NDArray
from gluon_rbm.errors import InputError
from gluon_rbm.models.convolutional_rbm import ConvolutionalRBMBlock
from gluon_rbm.models.deep_belief import DeepBeliefNetwork
from gluon_rbm.models.files import DESCRIPTION, parameter_file, read_arrays
from gluon_rbm.models.multinary_rbm import MultinaryRBMBlock
from gluon_rbm.models.parameters import Parameters
from gluon_rbm.models.units import HIDDEN_UNITS, VISIBLE_UNITS, Gaussian, Multinary, NoisyReLU, UnitFamily

__all__ = [
    "arrays",
    "build",
    "describe",
    "from_arrays",
    "initialize",
    "lower_part",
    "parameters",
    "read",
    "save",
]

Description = Dict[str, Any]


# --- Descriptions ---------------------------------------------------------------------------------


def describe(
    image_shape: Sequence[int],
    channels: Sequence[int] = (),
    dense: Sequence[int] = (),
    *,
    kernel: int = 4,
    stride: int = 2,
    maximum: int = 255,
    slope: float | None = None,
    visible_units: str = "multinary",
    hidden_units: str = "multinary",
    quantized: bool = False,
    initial_deviation: float = 0.01,
    initial_hidden_bias: float = 0.0,
    mean: float = 0.0,
    deviation: float = 1.0,
) -> Description:
    """Describe a network: return a dict of the arguments, with lists for sequences.

    Parameters
    ----------
    image_shape
        Shape (channels, height, width) of the images, with 1 channel if grey and 3 if in colour.
    channels
        Number of filters of each convolutional RBM, from the images up.
    dense
        Number of hidden units of each dense RBM above these.
    kernel, stride
        As in `gluon_rbm.models.convolutional_rbm.ConvolutionalRBMBlock`, for all convolutional
        RBMs.
    maximum, slope
        N and k of all multinary units, as in `gluon_rbm.models.units.Multinary`.
    visible_units
        "multinary" or "gaussian".
    hidden_units
        "multinary" or "relu".
    quantized
        Round pixels to the whole values of multinary units (N = 1: black and white). Otherwise they
        may lie between whole values.
    initial_deviation
        Standard deviation of the weights before training.
    initial_hidden_bias
        The hidden biases before training, times k. Below 0, most units are off at first.
    mean, deviation
        Gaussian visible units have the value (pixel - mean) / deviation, with pixels in [0, 1].

    Returns
    -------
    dict
        The description.
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
        "quantized": bool(quantized),
        "initial_deviation": float(initial_deviation),
        "initial_hidden_bias": float(initial_hidden_bias),
        "mean": float(mean),
        "deviation": float(deviation),
    }


def _complete(description: Description) -> Description:
    """Add what a description leaves out; earlier files say "whole" for "quantized"."""
    description = dict(description)
    if "whole" in description:
        description["quantized"] = description.pop("whole")
    return describe(**description)


def build(description: Description) -> DeepBeliefNetwork:
    """Build the network of a description; it is not yet initialized.

    Parameters
    ----------
    description
        As `describe` returns it; what is missing has its default.

    Returns
    -------
    DeepBeliefNetwork
        The network.

    Raises
    ------
    InputError
        There can be no such network.
    """
    description = _complete(description)
    layer, shape, rbms = _visible_units(description), tuple(description["image_shape"]), []
    window = {"kernel": description["kernel"], "stride": description["stride"]}
    if len(shape) != 3 or shape[0] not in (1, 3) or min(shape) < 1:
        raise InputError("images have shape %s; it must be (1 or 3, height, width)" % (shape,))
    for size in (*description["channels"], *description["dense"]):
        units = _hidden_units(description)
        try:
            if len(rbms) < len(description["channels"]):
                rbm = ConvolutionalRBMBlock(shape, size, hidden_units=units, visible_units=layer, **window)
            else:
                rbm = MultinaryRBMBlock(math.prod(shape), size, hidden_units=units, visible_units=layer)
        except InputError as error:
            raise InputError("RBM %d of the network: %s" % (len(rbms) + 1, error)) from error
        rbms.append(rbm)
        layer, shape = units, rbm.hidden_shape
    if not rbms:
        raise InputError("a network needs at least one RBM; give --channels, --dense or both")
    return DeepBeliefNetwork(rbms)


def _visible_units(description: Description) -> UnitFamily:
    if description["visible_units"] not in VISIBLE_UNITS:
        raise InputError(
            "unknown visible units %r; choose %s" % (description["visible_units"], " or ".join(VISIBLE_UNITS))
        )
    if description["visible_units"] == "gaussian":
        if not (math.isfinite(description["mean"]) and 0 < description["deviation"] < math.inf):
            raise InputError(
                "pixels have mean %(mean)s and deviation %(deviation)s; both must be finite, and the deviation above 0"
                % description
            )
        return Gaussian()
    return Multinary(description["maximum"], description["slope"])


def _hidden_units(description: Description) -> UnitFamily:
    if description["hidden_units"] not in HIDDEN_UNITS:
        raise InputError(
            "unknown hidden units %r; choose %s" % (description["hidden_units"], " or ".join(HIDDEN_UNITS))
        )
    if description["hidden_units"] == "relu":
        return NoisyReLU()
    return Multinary(description["maximum"], description["slope"])


def initialize(network: DeepBeliefNetwork, description: Description, context: Any = None) -> None:
    """Give a network the parameters that training starts with; MXNet's generator draws the weights.

    Parameters
    ----------
    network
        The network.
    description
        Its description.
    context
        Device of the parameters, an mx.Context; by default the CPU.
    """
    description = _complete(description)
    weights = mx.init.Normal(description["initial_deviation"])
    for rbm in network.rbms:
        rbm.initialize(ctx=context or mx.cpu(), force_reinit=True)
        rbm.interaction_weight.initialize(weights, context or mx.cpu(), force_reinit=True)
        start = description["initial_hidden_bias"] / rbm.hidden_units.slope
        rbm.hidden_layer_bias.set_data(mx.nd.full(rbm.hidden_layer_bias.shape, start))


# --- Files ----------------------------------------------------------------------------------------


def arrays(network: DeepBeliefNetwork, description: Description) -> dict[str, NDArray]:
    """Return what a file of a network holds: parameters and description.

    Parameters
    ----------
    network
        The network.
    description
        Its description.

    Returns
    -------
    dict
        Name to NDArray.
    """
    text = json.dumps(description, sort_keys=True).encode()
    values = {name: parameter.data() for name, parameter in parameters(network).items()}
    return {**values, DESCRIPTION: from_host(np.frombuffer(text, np.uint8))}


def parameters(network: DeepBeliefNetwork) -> dict[str, Any]:
    """Return the Gluon parameters of a network by their names.

    Parameters
    ----------
    network
        The network.

    Returns
    -------
    dict
        Name to parameter, RBM by RBM: 0.visible_layer_bias and so on.
    """
    return {
        "%d.%s" % (number, name): getattr(rbm, name)
        for number, rbm in enumerate(network.rbms)
        for name in Parameters._fields
    }


def save(path: str | os.PathLike[str], network: DeepBeliefNetwork, description: Description) -> None:
    """Write parameters and description into one file that MXNet reads, whole or not at all.

    Parameters
    ----------
    path
        The file.
    network
        The network.
    description
        Its description.

    Raises
    ------
    InputError
        The file cannot be written.
    """
    with write_whole(path, "path") as temporary:
        array_files.save(temporary, {name: a.asnumpy() for name, a in arrays(network, description).items()})


def read(path: str | os.PathLike[str], context: Any = None) -> tuple[DeepBeliefNetwork, Description]:
    """Read a network.

    Parameters
    ----------
    path
        A run folder, or a file that `save` wrote.
    context
        As in `initialize`.

    Returns
    -------
    network : DeepBeliefNetwork
        The network.
    description : dict
        Its complete description, as `describe` returns it, whichever version wrote the file.

    Raises
    ------
    InputError
        There is no such file, it is not whole, or it holds values that are not finite, or anything
        but a network.
    """
    path = parameter_file(path)
    found = read_arrays(path)
    try:
        return from_arrays(found, context)
    except ValueError as error:
        raise InputError(
            "%s is not a network of train-multinary (%s); give the file or folder of one" % (path, error)
        ) from error


def from_arrays(found: Mapping[str, NDArray], context: Any = None) -> tuple[DeepBeliefNetwork, Description]:
    """Return the network that arrays hold.

    Parameters
    ----------
    found
        Name to NDArray, as `arrays` returns them.
    context
        As in `initialize`.

    Returns
    -------
    network : DeepBeliefNetwork
        The network.
    description : dict
        Its complete description.

    Raises
    ------
    ValueError
        The arrays hold something else. The message says why.
    """
    found = dict(found)
    try:
        if DESCRIPTION not in found:
            raise ValueError("it has no description")
        description = _complete(json.loads(found.pop(DESCRIPTION).asnumpy().tobytes().decode()))
        network = build(description)
        expected = parameters(network)
        if {name: array.shape for name, array in found.items()} != {n: p.shape for n, p in expected.items()}:
            raise ValueError("its arrays do not match its description")
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError) as error:
        raise ValueError(str(error)) from error
    network.initialize(ctx=context or mx.cpu())
    for name, array in found.items():
        expected[name].set_data(array)
    return network, description


def lower_part(
    network: DeepBeliefNetwork, description: Description, depth: int
) -> tuple[DeepBeliefNetwork, Description]:
    """Return the lowest RBMs of a network, as a network with the same parameters.

    Parameters
    ----------
    network
        The network.
    description
        Its description.
    depth
        Number of RBMs.

    Returns
    -------
    network : DeepBeliefNetwork
        The lower part.
    description : dict
        Its description.

    Raises
    ------
    InputError
        The network has fewer RBMs, or `depth` is below 1.
    """
    if not 1 <= depth <= len(network.rbms):
        raise InputError("the network has %d RBMs; choose 1 to %d of them" % (len(network.rbms), len(network.rbms)))
    channels = description["channels"][:depth]
    dense = description["dense"][: depth - len(channels)]
    return DeepBeliefNetwork(network.rbms[:depth]), {**description, "channels": channels, "dense": dense}
