"""The classic deep belief network: binary RBMs, each trained on the hidden layer of the one below.

    p(v, h_1, ..., h_L) = p(v | h_1) p(h_1 | h_2) ... p(h_(L-2) | h_(L-1)) p(h_(L-1), h_L)

The top pair of layers is an RBM; below it every layer is drawn given the one above (Hinton, Osindero & Teh, Neural
Computation 18, 2006, section 3). Training is greedy: an RBM takes the probabilities p(h = 1 | v) of the one below for
pixels (Hinton & Salakhutdinov, Science 313, 2006), grey as they are or, with --binarize sample, drawn at every use. So
each is an ordinary run of an ordinary trainer: `binary_rbm_gluon.py --below FOLDER ...`; or all of them in turn by
`python -m gluon_rbm train-deep`. Going up by probabilities is not exact inference, but what the greedy step assumes.
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
from gluon_rbm.models.energy import Parameters, hidden_probability
from gluon_rbm.models.files import PARAMETERS, read_model

__all__ = ["BinaryDeepBeliefNetwork", "layer_folder"]

_ROWS_AT_ONCE = 1000


class BinaryDeepBeliefNetwork:
    """A stack of binary RBMs.

    Parameters
    ----------
    layers
        From the images up, all on one device; each has as many visible units as the one below has hidden units.

    Raises
    ------
    InputError
        There is no layer, or one does not stand on the other.
    """

    def __init__(self, layers: Sequence[Parameters]) -> None:
        self.layers = [layer.checked() for layer in layers]
        if not self.layers:
            raise InputError("a deep belief network needs at least one layer; give its parameters")
        for number, (below, above) in enumerate(zip(self.layers, self.layers[1:]), 2):
            if above.num_visible != below.num_hidden:
                raise InputError(
                    "layer %d has %d visible units and stands on %d hidden units; name the layers from the images up"
                    % (number, above.num_visible, below.num_hidden)
                )

    def __repr__(self) -> str:
        sizes = [self.layers[0].num_visible, *(layer.num_hidden for layer in self.layers)]
        return "BinaryDeepBeliefNetwork(%s units, from the images up)" % "-".join(map(str, sizes))

    @classmethod
    def load(
        cls, models: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], context: Any = None
    ) -> BinaryDeepBeliefNetwork:
        """Read a folder of layer-1, layer-2, ..., or a sequence of run folders or files `rbm.params`, bottom up.

        Raises InputError where one cannot be read, has labels, or does not stand on the one below.
        """
        if isinstance(models, (str, os.PathLike)):
            models = _layer_folders(models)
        layers = []
        for model in models:
            parameters, num_classes = read_model(model)
            if num_classes:
                raise InputError("%s has label units, on which no layer can stand; name models without" % model)
            layers.append(parameters.as_in_context(context or mx.cpu()))
        return cls(layers)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write each layer as `folder`/layer-N/rbm.params, which every command of a binary RBM reads."""
        for number, layer in enumerate(self.layers, 1):
            os.makedirs(layer_folder(folder, number), exist_ok=True)
            with write_whole(os.path.join(layer_folder(folder, number), PARAMETERS)) as temporary:
                array_files.save(temporary, {name: array.asnumpy() for name, array in layer._asdict().items()})

    @property
    def num_visible(self) -> int:
        return self.layers[0].num_visible

    @property
    def num_hidden(self) -> int:
        """Of the top layer."""
        return self.layers[-1].num_hidden

    def transform(self, visible: NDArray, depth: int | None = None) -> NDArray:
        """Features: p(h_L = 1) by probabilities all the way up, or up to layer `depth`: (batch, num_hidden) NDArray.

        visible : (batch, num_visible) in [0, 1], on the layers' device
        """
        for layer in self.layers[:depth]:
            visible = hidden_probability(layer, visible)
        return visible

    def features(self, images: HostArray, maximum: float = 1) -> HostArray:
        """`transform` of many images (n, ...) with values up to `maximum`: (n, num_hidden); NumPy, in batches."""
        context = self.layers[0].interaction_weight.context
        batches = iterate_batches(images, maximum, _ROWS_AT_ONCE)
        return np.concatenate([self.transform(from_host(rows, context)).asnumpy() for rows in batches])

    def reconstruct(self, visible: NDArray) -> NDArray:
        """By probabilities up to the top and down again: (batch, num_visible) NDArray. visible : as in `transform`."""
        hidden = self.transform(visible)
        for layer in self.layers[::-1]:
            hidden = hidden_probability(_transposed(layer), hidden)
        return hidden

    def filters(self) -> HostArray:
        """The product of all weights, (num_visible, num_hidden), NumPy: what the top units look for, but for the biases
        and the squashing in between (Lee, Ekanadham & Ng, NIPS 2007)."""
        return functools.reduce(np.matmul, (layer.interaction_weight.asnumpy() for layer in self.layers))

    def hidden_data(self, data: DataSet, num_classes: int = 0) -> DataSet:
        """The `DataSet` of the top hidden probabilities: the pixels of a further layer, in rows as square as can be.

        num_classes : so many last columns of the images are a label's units, and are handed on as they are
        """
        if data.num_visible != self.num_visible + num_classes:
            raise InputError(
                "images of %s have %d pixels, the layer below has %d visible units; name the data set that it was "
                "trained on" % (data.name, data.num_visible - num_classes, self.num_visible)
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
        """(height, width) to show the top layer in."""
        height = next(side for side in range(math.isqrt(self.num_hidden), 0, -1) if self.num_hidden % side == 0)
        return height, self.num_hidden // height

    def arrays(self) -> list[HostArray]:
        """All parameters, from the images up, NumPy."""
        return [array.asnumpy() for layer in self.layers for array in layer]


def layer_folder(folder: str | os.PathLike[str], number: int) -> str:
    """Where layer `number`, from 1 on, of the network in a folder is."""
    return os.path.join(folder, "layer-%d" % number)


def _layer_folders(folder: str | os.PathLike[str]) -> list[str]:
    found, number = [], 1
    while os.path.isdir(layer_folder(folder, number)):
        found.append(layer_folder(folder, number))
        number += 1
    if not found:
        raise InputError(
            "%s holds no layer-1; name a folder of `train-deep`, or the layers from the images up" % folder
        )
    return found


def _transposed(parameters: Parameters) -> Parameters:
    """The same RBM with its layers exchanged: its hidden probabilities are the visible ones."""
    visible_bias, hidden_bias, weight = parameters
    return Parameters(hidden_bias, visible_bias, weight.T)
