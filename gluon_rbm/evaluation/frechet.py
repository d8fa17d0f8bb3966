"""The Frechet distance between two sets of images, seen through the features of a network.

Of normal distributions with the sets' means m and covariances C (Dowson & Landau, J. Multivariate Analysis 12, 1982):

    d^2 = |m_1 - m_2|^2 + tr(C_1 + C_2 - 2 (C_1 C_2)^{1/2})

Heusel et al. (NIPS 2017) take the features of one particular Inception network and call it FID. With any other network
it is another number on another scale: always say which one.

It is an estimate: of n images it is too large by about 1/n times a constant, which depends on the features (Binkowski
et al., ICLR 2018). So it means little without its floor, the distance between as many real images and as many others.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Callable, NamedTuple

import numpy as np

from gluon_rbm.backend import array_files
from gluon_rbm.backend.arrays import to_numpy
from gluon_rbm.backend.framework import mx
from gluon_rbm.backend.random import make_generator
from gluon_rbm.data.batches import iterate_batches, to_visible
from gluon_rbm.data.datasets import DataSet
from gluon_rbm.errors import InputError
from gluon_rbm.evaluation.classifier import train_classifier

if TYPE_CHECKING:
    from gluon_rbm.backend.types import HostArray, Key, NDArray
    from gluon_rbm.data.datasets import DataSet

__all__ = [
    "Comparison",
    "Network",
    "Perceptron",
    "compare",
    "distance",
    "features",
    "load_network",
    "standard_error",
    "train_network",
]

# Takes an NDArray (batch, channels, height, width) in [0, 1], as convolutions do, and returns an NDArray or NumPy array
# (batch, ...): a `HybridBlock`, say.
Network = Callable[[Any], Any]

_ROWS_AT_ONCE = 200
_GROUPS = 20


# --- The distance -----------------------------------------------------------------------------------------------------


def distance(features_1: HostArray, features_2: HostArray) -> float:
    """d^2 of two sets of features, (n_1, d) and (n_2, d): float, in squared units of the features, at least 0.

    In float64. With C = R^T R, from a QR decomposition, tr (C_1 C_2)^{1/2} is the sum of the singular values of
    R_1 R_2^T: no root of a matrix is taken, and a covariance may have any rank. Raises InputError where a set has fewer
    than 2 rows, values that are not finite, or another width than the other.
    """
    first, second = _checked(features_1), _checked(features_2)
    if first.shape[1] != second.shape[1]:
        raise InputError(
            "features of %d and of %d numbers cannot be compared; take the same network for both"
            % (first.shape[1], second.shape[1])
        )
    shift, (root_1, root_2) = first.mean(axis=0) - second.mean(axis=0), map(_root, (first, second))
    overlap = np.linalg.svd(root_1 @ root_2.T, compute_uv=False).sum()
    return float(max(0.0, shift @ shift + np.square(root_1).sum() + np.square(root_2).sum() - 2 * overlap))


def _checked(features: HostArray) -> HostArray:
    array = np.asarray(features, np.float64)
    if array.ndim != 2 or len(array) < 2 or not array.shape[1]:
        raise InputError("features have shape %s; give (n, d), of at least 2 images" % (array.shape,))
    if not np.isfinite(array).all():
        raise InputError("features hold NaN or infinite values; look at the network and its images")
    return array


def _root(features: HostArray) -> HostArray:
    """R with R^T R the covariance: (min(n, d), d)."""
    root: Any = np.linalg.qr((features - features.mean(axis=0)) / np.sqrt(len(features) - 1), mode="r")
    return root


def standard_error(features_1: HostArray, features_2: HostArray) -> float | None:
    """Standard error of `distance`, by the jackknife over 20 groups of rows of both (or fewer, of few rows).

    Of what the estimate varies by, not of what it is too large by. Rows are to be in random order. None below 4 rows.
    (Efron & Stein, Annals of Statistics 9, 1981.)
    """
    first, second = _checked(features_1), _checked(features_2)
    groups = min(_GROUPS, len(first) // 2, len(second) // 2)
    if groups < 2:
        return None

    def without(rows: HostArray, group: int) -> HostArray:
        return rows[np.arange(len(rows)) % groups != group]

    left = np.array([distance(without(first, group), without(second, group)) for group in range(groups)])
    return float(np.sqrt((groups - 1) * left.var()))


class Comparison(NamedTuple):
    """Drawn images beside real ones; all are squared distances of sets of `num_images` images."""

    distance: float  #: drawn images to real ones
    standard_error: float | None  #: of it; None of fewer than 4 images
    floor: float  #: the same of other real images: what drawn ones as good as real would have
    floor_standard_error: float | None
    num_images: int


def compare(real: HostArray, drawn: HostArray, key: Key) -> Comparison:
    """`Comparison` of features of real images with those of drawn ones, float (n, d) each.

    The real ones are cut in two at random, and as many are taken of each half and of the drawn ones as there are of the
    fewest. key : sequence of int, says which. Raises InputError as `distance` does.
    """
    real, drawn = _checked(real), _checked(drawn)
    generator = make_generator(key)
    real, drawn = generator.permutation(real), generator.permutation(drawn)
    count = min(len(real) // 2, len(drawn))
    one, other, drawn = real[:count], real[count : 2 * count], drawn[:count]
    return Comparison(
        distance(one, drawn), standard_error(one, drawn), distance(one, other), standard_error(one, other), count
    )


# --- Networks ---------------------------------------------------------------------------------------------------------


def features(network: Network, images: HostArray, image_shape: tuple[int, ...], context: Any = None) -> HostArray:
    """What a network makes of images, flattened: float64 (n, d), NumPy.

    network : takes an NDArray (batch, channels, height, width) in [0, 1], as convolutions do, and returns an NDArray or
        NumPy array (batch, ...): a `HybridBlock`, say
    images : (n, num_visible) in [0, 1], NumPy
    image_shape : (height, width) or (height, width, channels)
    """
    rows = []
    for batch in iterate_batches(images, 1, _ROWS_AT_ONCE):
        planes = np.moveaxis(batch.reshape((len(batch), *image_shape[:2], -1)), 3, 1)
        try:
            found = to_numpy(network(mx.nd.array(planes, ctx=context)))
        except mx.MXNetError as error:
            reason = str(error).strip().splitlines()[-1]
            raise InputError("the network takes no images of %s (%s); name another" % (planes.shape, reason)) from error
        rows.append(found.reshape(len(batch), -1).astype(np.float64))
    return np.concatenate(rows)


def load_network(path: str, context: Any = None) -> Network:
    """The network that `HybridBlock.export(path)` wrote: path-symbol.json and path-0000.params, with the input "data".

    Raises InputError where it cannot be read.
    """
    symbol, parameters = path + "-symbol.json", path + "-0000.params"
    try:
        array_files.check_ordinary(symbol, array_files.LARGEST_TEXT)
        with open(symbol, encoding="utf-8") as file:
            json.load(file)
        array_files.load(parameters)  # MXNet trusts what it reads
        return mx.gluon.SymbolBlock.imports(symbol, ["data"], parameters, ctx=context or mx.cpu())
    except Exception as error:  # MXNet raises this and that
        reason = getattr(error, "strerror", None) or next(iter(str(error).split("\n")), "") or type(error).__name__
        raise InputError(
            "no network can be read from %s and %s (%s); write them by HybridBlock.export"
            % (symbol, parameters, reason)
        ) from error


class Perceptron(NamedTuple):
    """The default network: a classifier of the data set's own classes, without its last layer."""

    classifier: Any  #: sklearn.neural_network.MLPClassifier
    accuracy: float  #: fraction of the test images that it classifies as they are labelled
    num_training_images: int

    def __call__(self, images: NDArray) -> HostArray:
        """The last hidden layer: float32 (batch, 64). images : as for any network of `features`."""
        values = np.moveaxis(to_numpy(images), 1, 3).reshape(len(images), -1)
        for weight, bias in zip(self.classifier.coefs_[:-1], self.classifier.intercepts_[:-1]):
            values = np.maximum(values @ weight + bias, 0)
        return values


def train_network(data: DataSet, seed: int, num_images: int = 20000) -> Perceptron:
    """A `Perceptron` of 128 and 64 rectified units, from training images spread over all of a data set; seconds.

    Raises InputError where images have no labels, or all the same.
    """
    if data.train_labels is None:
        raise InputError("images of %s have no labels to train a network on; give one by --network" % data.name)
    total = len(data.train_images)
    rows = np.linspace(0, total - 1, min(num_images, total)).astype(int)  # a folder's are in the order of their classes
    labels = data.train_labels[rows]
    if len(np.unique(labels)) < 2:
        raise InputError("images of %s to learn from are all of one class; give a network by --network" % data.name)
    images = to_visible(data.train_images[rows], data.maximum)
    classifier = train_classifier(images, labels, "perceptron", seed=seed)
    accuracy = classifier.score(to_visible(data.test_images, data.maximum), data.test_labels)
    return Perceptron(classifier, float(accuracy), len(images))
