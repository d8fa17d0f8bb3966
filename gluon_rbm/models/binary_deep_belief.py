"""The classic deep belief network: binary RBMs, each trained on the hidden layer of the one below.

    p(v, h_1, ..., h_L) = p(v | h_1) p(h_1 | h_2) ... p(h_(L-2) | h_(L-1)) p(h_(L-1), h_L)

The top two layers form an RBM. Each layer below is drawn given the layer above (Hinton, Osindero &
Teh, Neural Computation 18, 2006, section 3).

Training is greedy: an RBM takes the probabilities p(h = 1 | v) of the RBM below as its pixels
(Hinton & Salakhutdinov, Science 313, 2006). They stay grey, or, with --binarize sample, are drawn
at every use. So each RBM is an ordinary run of an ordinary trainer,
`binary_rbm_gluon.py --below FOLDER ...`; `python -m gluon_rbm train-deep` trains all in turn.

Passing probabilities upwards is not exact inference. Greedy training assumes it.
"""

from __future__ import annotations

import functools
import math
import os
from dataclasses import replace
from typing import Any, Sequence

import numpy as np

from gluon_rbm.backend import array_files
from gluon_rbm.backend.arrays import from_host
from gluon_rbm.backend.files import write_whole
from gluon_rbm.backend.framework import mx
from gluon_rbm.backend.types import HostArray, NDArray
from gluon_rbm.data.batches import iterate_batches, to_visible
from gluon_rbm.data.datasets import DataSet
from gluon_rbm.errors import InputError
from gluon_rbm.models.energy import hidden_probability
from gluon_rbm.models.files import PARAMETERS, read_model
from gluon_rbm.models.parameters import Parameters

__all__ = ["BinaryDeepBeliefNetwork", "layer_folder"]

_ROWS_AT_ONCE = 1000


class BinaryDeepBeliefNetwork:
    """A deep belief network of binary RBMs.

    Parameters
    ----------
    layers
        RBMs from the images up, as NDArrays on one device. Each has as many visible units as the
        RBM below has hidden units.

    Raises
    ------
    InputError
        There is no layer, or a layer does not fit the layer below.

    Examples
    --------
    >>> sizes = [(784, 500), (500, 100)]
    >>> arrays = [(np.zeros(v), np.zeros(h), np.zeros((v, h))) for v, h in sizes]
    >>> network = BinaryDeepBeliefNetwork([Parameters.from_arrays(a, b, w) for a, b, w in arrays])
    >>> network
    BinaryDeepBeliefNetwork(784-500-100 units, from the images up)
    >>> network.transform(mx.nd.zeros((10, 784))).shape
    (10, 100)
    """

    def __init__(self, layers: Sequence[Parameters]) -> None:
        self.layers = [layer.checked() for layer in layers]
        if not self.layers:
            raise InputError("a deep belief network needs at least one layer; give its parameters")
        for number, (below, above) in enumerate(zip(self.layers, self.layers[1:]), 2):
            if above.num_visible != below.num_hidden:
                raise InputError(
                    "layer %d has %d visible units, but the layer below has %d hidden units; give the layers from the "
                    "images up" % (number, above.num_visible, below.num_hidden)
                )

    def __repr__(self) -> str:
        sizes = [self.layers[0].num_visible, *(layer.num_hidden for layer in self.layers)]
        return "BinaryDeepBeliefNetwork(%s units, from the images up)" % "-".join(map(str, sizes))

    @classmethod
    def load(
        cls, models: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], context: Any = None
    ) -> BinaryDeepBeliefNetwork:
        """Read a network from files.

        Parameters
        ----------
        models
            A folder that holds layer-1, layer-2, ...; or a sequence of run folders or files
            rbm.params, from the images up.
        context
            Device of the layers, an mx.Context; by default the CPU.

        Returns
        -------
        BinaryDeepBeliefNetwork
            The network.

        Raises
        ------
        InputError
            A layer cannot be read, has labels, or does not fit the layer below.
        """
        if isinstance(models, (str, os.PathLike)):
            models = _layer_folders(models)
        layers = []
        for model in models:
            parameters, num_classes = read_model(model)
            if num_classes:
                raise InputError(
                    "%s has label units, so no layer can be added on top; give a model without labels" % model
                )
            layers.append(parameters.as_in_context(context or mx.cpu()))
        return cls(layers)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write each layer as layer-N/rbm.params, which every command for a binary RBM reads.

        Parameters
        ----------
        folder
            The folder; it is made where it is missing.

        Raises
        ------
        InputError
            A file cannot be written.
        """
        for number, layer in enumerate(self.layers, 1):
            os.makedirs(layer_folder(folder, number), exist_ok=True)
            with write_whole(os.path.join(layer_folder(folder, number), PARAMETERS)) as temporary:
                array_files.save(temporary, {name: array.asnumpy() for name, array in layer._asdict().items()})

    @property
    def num_visible(self) -> int:
        """Number of visible units of the lowest layer.

        Returns
        -------
        int
            The number.
        """
        return self.layers[0].num_visible

    @property
    def num_hidden(self) -> int:
        """Number of hidden units of the top layer.

        Returns
        -------
        int
            The number.
        """
        return self.layers[-1].num_hidden

    def transform(self, visible: NDArray, depth: int | None = None) -> NDArray:
        """Return features: p(h = 1) of a layer, computed by probabilities all the way up.

        Parameters
        ----------
        visible
            NDArray (batch, num_visible), values in [0, 1], on the device of the layers.
        depth
            Number of the layer, from 1; None: the top layer.

        Returns
        -------
        NDArray (batch, hidden units of the layer)
            Probabilities.
        """
        for layer in self.layers[:depth]:
            visible = hidden_probability(layer, visible)
        return visible

    def features(self, images: HostArray, maximum: float = 1) -> HostArray:
        """Return the features of many images, computed in batches.

        Parameters
        ----------
        images
            Images (n, ...), values from 0 to `maximum`.
        maximum
            Pixel value that means 1.

        Returns
        -------
        array (n, num_hidden)
            Probabilities of the top layer, as in `transform`; a NumPy array.
        """
        context = self.layers[0].interaction_weight.context
        batches = iterate_batches(images, maximum, _ROWS_AT_ONCE)
        return np.concatenate([self.transform(from_host(rows, context)).asnumpy() for rows in batches])

    def reconstruct(self, visible: NDArray) -> NDArray:
        """Reconstruct images by probabilities up to the top layer and down again.

        Parameters
        ----------
        visible
            As in `transform`.

        Returns
        -------
        NDArray (batch, num_visible)
            Probabilities of the pixels.
        """
        hidden = self.transform(visible)
        for layer in self.layers[::-1]:
            hidden = hidden_probability(_transposed(layer), hidden)
        return hidden

    def filters(self) -> HostArray:
        """Return the product of all weights, as the filters of the top units.

        They show roughly what the top units look for: biases and sigmoids between layers are left
        out.

        Returns
        -------
        array (num_visible, num_hidden)
            The product, a NumPy array.

        Notes
        -----
        Lee, Ekanadham & Ng, NIPS 2007.
        """
        return functools.reduce(np.matmul, (layer.interaction_weight.asnumpy() for layer in self.layers))

    def hidden_data(self, data: DataSet, num_classes: int = 0) -> DataSet:
        """Return data for a further layer: a data set's top hidden probabilities, as pixels.

        Parameters
        ----------
        data
            The data set that the network was trained on.
        num_classes
            How many of the last columns of the images are label units. They are copied without
            change.

        Returns
        -------
        DataSet
            Images of shape `hidden_shape`, or with labels rows (num_hidden + num_classes,), from 0
            to 1.

        Raises
        ------
        InputError
            The images do not have as many pixels as the network has visible units.
        """
        if data.num_visible != self.num_visible + num_classes:
            raise InputError(
                "images of %s have %d pixels, but the lowest layer has %d visible units; choose the data set that it "
                "was trained on" % (data.name, data.num_visible - num_classes, self.num_visible)
            )

        def carried(images: HostArray) -> HostArray:
            rows = images.reshape(len(images), -1)
            hidden = self.features(rows[:, : self.num_visible], data.maximum)
            if num_classes:
                return np.hstack([hidden, to_visible(rows[:, self.num_visible :], data.maximum)])
            return hidden.reshape(len(images), *self.hidden_shape)

        train, test = carried(data.train_images), carried(data.test_images)
        return replace(data, train_images=train, test_images=test, maximum=1, alphabet="")

    @property
    def hidden_shape(self) -> tuple[int, int]:
        """Shape (height, width) in which to show the top layer, as square as possible.

        Returns
        -------
        tuple
            Two integers with the product `num_hidden`.
        """
        height = next(side for side in range(math.isqrt(self.num_hidden), 0, -1) if self.num_hidden % side == 0)
        return height, self.num_hidden // height

    def arrays(self) -> list[HostArray]:
        """Return the arrays of all layers, from the images up.

        Returns
        -------
        list
            NumPy arrays: a, b and W of each layer.
        """
        return [array.asnumpy() for layer in self.layers for array in layer]


def layer_folder(folder: str | os.PathLike[str], number: int) -> str:
    """Return the folder of a layer in the folder of a network.

    Parameters
    ----------
    folder
        Folder of the network.
    number
        Number of the layer, from 1.

    Returns
    -------
    str
        The folder.
    """
    return os.path.join(folder, "layer-%d" % number)


def _layer_folders(folder: str | os.PathLike[str]) -> list[str]:
    found, number = [], 1
    while os.path.isdir(layer_folder(folder, number)):
        found.append(layer_folder(folder, number))
        number += 1
    if not found:
        raise InputError(
            "%s has no folder layer-1; give a folder of `train-deep`, or the layers from the images up" % folder
        )
    return found


def _transposed(parameters: Parameters) -> Parameters:
    """Return the same RBM with its layers exchanged: hidden probabilities become visible ones."""
    visible_bias, hidden_bias, weight = parameters
    return Parameters(hidden_bias, visible_bias, weight.T)
