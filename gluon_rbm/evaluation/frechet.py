"""The Frechet distance between two sets of images, in the features of a network.

The distance between normal distributions with means m and covariances C is (Dowson & Landau,
J. Multivariate Analysis 12, 1982):

    d^2 = |m_1 - m_2|^2 + tr(C_1 + C_2 - 2 (C_1 C_2)^{1/2})

Here m and C are the mean and the covariance of the features of each set. Heusel et al. (NIPS 2017)
use the features of a particular Inception network, and call the distance FID. Another network gives
another number on another scale, so always name the network.

The estimate from n images is too large, by about a constant divided by n. The constant depends on
the features (Binkowski et al., ICLR 2018). So compare the distance with its floor: the distance
between two sets of as many real images.
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

# A network, such as a Gluon block of convolutions, takes an NDArray in [0, 1] of shape
# (batch, channels, height, width). It returns an NDArray or a NumPy array (batch, ...).
Network = Callable[[Any], Any]

_ROWS_AT_ONCE = 200
_GROUPS = 20  # most groups of the jackknife


# --- The distance ---------------------------------------------------------------------------------


def distance(features_1: HostArray, features_2: HostArray) -> float:
    """Squared Frechet distance d^2 between two sets of features, computed in float64.

    Parameters
    ----------
    features_1, features_2
        Features (n_1, d) and (n_2, d).

    Returns
    -------
    float
        Distance d^2, at least 0, in squared units of the features.

    Raises
    ------
    InputError
        A set has fewer than 2 rows or values that are not finite, or the widths d differ.

    Notes
    -----
    Let C = R^T R, with R from a QR decomposition. Then tr (C_1 C_2)^{1/2} is the sum of the
    singular values of R_1 R_2^T. So no matrix root is needed, and a covariance may have any rank.
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
    """Return R, (min(n, d), d), with the covariance R^T R."""
    root: Any = np.linalg.qr((features - features.mean(axis=0)) / np.sqrt(len(features) - 1), mode="r")
    return root


def standard_error(features_1: HostArray, features_2: HostArray) -> float | None:
    """Standard error of `distance` by the jackknife.

    It measures how much the estimate varies, not by how much it is too large.

    Parameters
    ----------
    features_1, features_2
        As in `distance`, with rows in random order.

    Returns
    -------
    float or None
        Standard error of d^2. None if a set has fewer than 4 rows.

    Raises
    ------
    InputError
        As in `distance`.

    Notes
    -----
    The jackknife leaves out one of 20 groups of rows at a time, of both sets. There are fewer
    groups if a set has fewer than 40 rows. (Efron & Stein, Annals of Statistics 9, 1981.)
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
    """Squared distances of drawn images, and of other real images, to real images."""

    distance: float  #: from drawn images to real images
    standard_error: float | None  #: of `distance`; None for fewer than 4 images
    #: from other real images to the same real images; perfect drawn images would have this distance
    floor: float
    floor_standard_error: float | None  #: of `floor`; None for fewer than 4 images
    num_images: int  #: number of images in each set


def compare(real: HostArray, drawn: HostArray, key: Key) -> Comparison:
    """Compare drawn images with real images by their features.

    The real images are split at random into two halves. Then the two halves and the drawn images
    are cut to one size, at random.

    Parameters
    ----------
    real, drawn
        Features of real and of drawn images, float (n, d). The numbers n may differ.
    key
        Non-negative integers that fix the random choice.

    Returns
    -------
    Comparison
        Distances from one half of the real images to the drawn images, and to the other half.

    Raises
    ------
    InputError
        As in `distance`.
    """
    real, drawn = _checked(real), _checked(drawn)
    generator = make_generator(key)
    real, drawn = generator.permutation(real), generator.permutation(drawn)
    count = min(len(real) // 2, len(drawn))
    one, other, drawn = real[:count], real[count : 2 * count], drawn[:count]
    return Comparison(
        distance(one, drawn), standard_error(one, drawn), distance(one, other), standard_error(one, other), count
    )


# --- Networks -------------------------------------------------------------------------------------


def features(network: Network, images: HostArray, image_shape: tuple[int, ...], context: Any = None) -> HostArray:
    """Compute the features of images by a network.

    Parameters
    ----------
    network
        Function that takes an NDArray (batch, channels, height, width) in [0, 1], and returns an
        NDArray or a NumPy array (batch, ...). For example, a block of convolutions of Gluon.
    images
        NumPy array (n, num_visible) in [0, 1].
    image_shape
        (height, width) or (height, width, channels).
    context
        Device of the network. By default, MXNet's current one.

    Returns
    -------
    float64 (n, d)
        What the network returns, flattened, as a NumPy array.

    Raises
    ------
    InputError
        The network does not take images of this shape.
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
    """Read a network that the method export of a hybrid block of Gluon wrote.

    Parameters
    ----------
    path
        Path as given to export: the files are `path`-symbol.json and `path`-0000.params. The
        input of the network must be named "data".
    context
        Device. By default, the CPU.

    Returns
    -------
    Network
        The network, a symbol block of Gluon.

    Raises
    ------
    InputError
        The network cannot be read.
    """
    symbol, parameters = path + "-symbol.json", path + "-0000.params"
    try:
        array_files.check_ordinary(symbol, array_files.LARGEST_TEXT)
        with open(symbol, encoding="utf-8") as file:
            json.load(file)
        array_files.load(parameters)  # checks the file, because MXNet itself does not
        return mx.gluon.SymbolBlock.imports(symbol, ["data"], parameters, ctx=context or mx.cpu())
    except Exception as error:  # MXNet raises many kinds of errors
        reason = getattr(error, "strerror", None) or next(iter(str(error).split("\n")), "") or type(error).__name__
        raise InputError(
            "no network can be read from %s and %s (%s); write them by HybridBlock.export"
            % (symbol, parameters, reason)
        ) from error


class Perceptron(NamedTuple):
    """The default network: a classifier of the data set's classes, without its last layer."""

    classifier: Any  #: a fitted MLPClassifier of scikit-learn
    accuracy: float  #: fraction of the test images that it classifies correctly
    num_training_images: int  #: number of images that it was trained on

    def __call__(self, images: NDArray) -> HostArray:
        """Return the last hidden layer, float32 (batch, 64). `images` are as in `Network`."""
        values = np.moveaxis(to_numpy(images), 1, 3).reshape(len(images), -1)
        for weight, bias in zip(self.classifier.coefs_[:-1], self.classifier.intercepts_[:-1]):
            values = np.maximum(values @ weight + bias, 0)
        return values


def train_network(data: DataSet, seed: int, num_images: int = 20000) -> Perceptron:
    """Train a `Perceptron` of 128 and 64 rectified linear units. It takes seconds.

    Parameters
    ----------
    data
        The data set, with labels.
    seed
        Seed of the training.
    num_images
        Number of training images, at most. They are evenly spaced in the data set.

    Returns
    -------
    Perceptron
        The network and its accuracy on the test images.

    Raises
    ------
    InputError
        The images have no labels, or all have the same label.
    """
    if data.train_labels is None:
        raise InputError("images of %s have no labels to train a network on; give one by --network" % data.name)
    total = len(data.train_images)
    # The images of a folder are sorted by class, so rows from the whole range are taken.
    rows = np.linspace(0, total - 1, min(num_images, total)).astype(int)
    labels = data.train_labels[rows]
    if len(np.unique(labels)) < 2:
        raise InputError("images of %s to learn from are all of one class; give a network by --network" % data.name)
    images = to_visible(data.train_images[rows], data.maximum)
    classifier = train_classifier(images, labels, "perceptron", seed=seed)
    accuracy = classifier.score(to_visible(data.test_images, data.maximum), data.test_labels)
    return Perceptron(classifier, float(accuracy), len(images))
