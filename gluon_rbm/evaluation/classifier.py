"""Classifiers of scikit-learn, which are independent of any RBM.

`train_classifier` trains one of five kinds on any features. An `IndependentClassifier` is trained
on real images only, and tells which classes drawn images show. It is trained again at each use, in
seconds, so it needs no file. The result is always the same. It gives every image a class, even an
empty image (on MNIST, a one).
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gluon_rbm.backend.random import make_generator
from gluon_rbm.data.batches import to_visible
from gluon_rbm.errors import InputError

if TYPE_CHECKING:
    from gluon_rbm.backend.types import HostArray
    from gluon_rbm.data.datasets import DataSet

from gluon_rbm.evaluation.support_vectors import search_svm, split_held_out

__all__ = [
    "KINDS",
    "IndependentClassifier",
    "check_labels",
    "train_classifier",
    "train_independent_classifier",
]

KINDS = ("pca-svm", "linear-svm", "rbf-svm", "logistic", "perceptron")


_DESCRIPTIONS = {
    "pca-svm": "a support vector machine on 50 principal components",
    "linear-svm": "a linear support vector machine",
    "rbf-svm": "a support vector machine with a Gaussian kernel",
    "logistic": "logistic regression",
    "perceptron": "a perceptron of two hidden layers",
}

_COMPONENTS = 50  # principal components of "pca-svm"
_UNITS = (128, 64)  # hidden units of "perceptron"
# "perceptron": most updates, and images in a batch. Training stops when the loss no longer falls.
_UPDATES, _BATCH = 4000, 100


# --- Training -------------------------------------------------------------------------------------


def train_classifier(
    features: HostArray, labels: HostArray, kind: str = "pca-svm", *, seed: int = 0, num_threads: int = 1
) -> Any:
    """Train a classifier of scikit-learn on all rows.

    Parameters
    ----------
    features
        Features (n, num_features).
    labels
        Labels (n,).
    kind
        One of `KINDS`.
        "pca-svm": 50 principal components, then a support vector machine with a Gaussian kernel
        and C = 10.
        "linear-svm", "rbf-svm": a support vector machine with C and gamma chosen on held-out rows
        (see `evaluate_svm`). Features are divided by the root of their total variance.
        "logistic": logistic regression. Features are divided by the root of their mean variance.
        "perceptron": hidden layers of 128 and 64 rectified linear units.
    seed
        Seed of all random numbers.
    num_threads
        Number of settings that "linear-svm" and "rbf-svm" try at once.

    Returns
    -------
    classifier or pipeline of scikit-learn
        The fitted classifier.

    Raises
    ------
    InputError
        There is no such kind, all labels are the same, or there are too few rows to choose C and
        gamma.
    """
    if kind not in KINDS:
        raise InputError("there is no classifier %r; choose one of %s" % (kind, ", ".join(KINDS)))
    if len(np.unique(labels)) < 2:
        raise InputError("all images to learn from are of one class; a classifier needs two or more")
    if kind in ("linear-svm", "rbf-svm"):
        rows = split_held_out(labels, make_generator([seed]))
        return search_svm(kind[: -len("-svm")], features, labels, rows, num_threads).classifier
    makers = {"pca-svm": _pca_svm, "logistic": _logistic_regression, "perceptron": _perceptron}
    with warnings.catch_warnings():
        from sklearn.exceptions import ConvergenceWarning

        warnings.simplefilter("ignore", ConvergenceWarning)  # this many updates are enough
        return makers[kind](features.shape, seed).fit(features, labels)


def _pca_svm(shape: tuple[int, ...], seed: int) -> Any:
    from sklearn.decomposition import PCA
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import SVC

    return make_pipeline(PCA(min(_COMPONENTS, *shape), random_state=seed), SVC(C=10))


def _logistic_regression(shape: tuple[int, ...], seed: int) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    from gluon_rbm.evaluation.scaling import CommonScale

    return make_pipeline(CommonScale(), LogisticRegression(max_iter=200, random_state=seed))


def _perceptron(shape: tuple[int, ...], seed: int) -> Any:
    from sklearn.neural_network import MLPClassifier

    batch_size = min(_BATCH, shape[0])
    epochs = -(-_UPDATES * batch_size // shape[0])
    settings: dict[str, Any] = {"batch_size": batch_size, "max_iter": epochs, "random_state": seed}
    return MLPClassifier(_UNITS, **settings)


# --- Classifiers of images ------------------------------------------------------------------------


class IndependentClassifier(NamedTuple):
    """A classifier that learned from real images only, and its accuracy."""

    classifier: Any  #: a fitted classifier of scikit-learn
    accuracy: float  #: fraction of the test images that it classifies correctly
    num_training_images: int  #: number of images that it was trained on
    num_test_images: int  #: number of images that `accuracy` was measured on
    kind: str  #: one of `KINDS`
    data_set: str  #: name of the data set

    @property
    def description(self) -> str:
        """Kind, training images and accuracy of the classifier, as a line of text.

        Returns
        -------
        str
            The description.
        """
        return "%s, trained on %d images of %s (%.1f %% of %d test images right)" % (
            _DESCRIPTIONS[self.kind],
            self.num_training_images,
            self.data_set,
            100 * self.accuracy,
            self.num_test_images,
        )

    @property
    def num_classes(self) -> int:
        """Number of classes that the classifier tells apart.

        Returns
        -------
        int
            Number of different labels of the training images.
        """
        return len(self.classifier.classes_)

    def record(self) -> dict[str, dict[str, float | str]]:
        """Record of the classifier, for the JSON output of commands.

        Returns
        -------
        dict
            Its only key is "judge". The value is a dict of all fields but `classifier`.
        """
        names = ("kind", "data_set", "accuracy", "num_training_images", "num_test_images")
        # Published results use the key "judge".
        return {"judge": {name: getattr(self, name) for name in names}}

    def classes(self, images: HostArray) -> HostArray:
        """Classify images.

        Parameters
        ----------
        images
            Images (n, num_visible) in [0, 1], samples or probabilities.

        Returns
        -------
        int (n,)
            Class of each image.
        """
        return self.classifier.predict(images)

    def class_fractions(self, images: HostArray) -> HostArray:
        """Fraction of each class among images.

        Parameters
        ----------
        images
            As in `classes`.

        Returns
        -------
        float64 (num_classes,)
            Fractions in the order of the labels. Their sum is 1.
        """
        return (self.classes(images)[:, None] == self.classifier.classes_).mean(axis=0)

    def fraction_as_asked(self, images: HostArray, asked: int | HostArray) -> tuple[float, float]:
        """Fraction of images that show the class asked for.

        Parameters
        ----------
        images
            As in `classes`.
        asked
            A class for all images, or a class for each image, (n,).

        Returns
        -------
        fraction : float
            Fraction p of the images.
        standard_error : float
            Its standard error, sqrt(p (1 - p) / n).
        """
        fraction = float((self.classes(images) == asked).mean())
        return fraction, float(np.sqrt(fraction * (1 - fraction) / len(images)))


def check_labels(data: DataSet) -> HostArray:
    """Labels of the training images, for a classifier to learn from.

    Parameters
    ----------
    data
        The data set.

    Returns
    -------
    int32 (num_images,)
        The labels.

    Raises
    ------
    InputError
        The images have no labels.
    """
    if data.train_labels is None:
        raise InputError(
            "images of %s have no labels for a classifier to learn from; choose a data set that has" % data.name
        )
    return data.train_labels


def train_independent_classifier(data: DataSet, num_images: int = 20000) -> IndependentClassifier:
    """Train an `IndependentClassifier` of the kind "pca-svm".

    Parameters
    ----------
    data
        The data set, with labels.
    num_images
        Number of training images to learn from, at most. The first ones are used.

    Returns
    -------
    IndependentClassifier
        The classifier, with its accuracy on all test images.

    Raises
    ------
    InputError
        The images have no labels, or all have the same label.
    """
    kind = "pca-svm"
    labels = check_labels(data)[:num_images]
    images = to_visible(data.train_images[:num_images], data.maximum)
    test = to_visible(data.test_images, data.maximum)
    classifier = train_classifier(images, labels, kind)
    accuracy = float((classifier.predict(test) == data.test_labels).mean())
    return IndependentClassifier(classifier, accuracy, len(images), len(test), kind, data.name)
