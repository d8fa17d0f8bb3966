"""Classifiers of scikit-learn, which are independent of any RBM.

`train_classifier` trains one of five kinds on any features. An `IndependentClassifier` is trained
on real images only, and tells which classes drawn images show. It is trained again at each use, in
seconds, so it needs no file. The result is always the same. It gives every image a class, even an
empty image (on MNIST, a one).
"""

from __future__ import annotations

import itertools
import warnings
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gluon_rbm.backend.random import make_generator
from gluon_rbm.data.batches import to_visible
from gluon_rbm.errors import InputError

if TYPE_CHECKING:
    from gluon_rbm.backend.types import HostArray
    from gluon_rbm.data.datasets import DataSet

__all__ = [
    "GRIDS",
    "KINDS",
    "Evaluation",
    "IndependentClassifier",
    "check_labels",
    "evaluate_svm",
    "mean_and_error",
    "split_held_out",
    "train_classifier",
    "train_independent_classifier",
]

KINDS = ("pca-svm", "linear-svm", "rbf-svm", "logistic", "perceptron")

# Settings that are tried on held-out images: C, and gamma for "rbf", smaller values first. If the
# best setting lies on an edge of the grid, values beyond the edge are tried, too.
GRIDS: dict[str, list[dict[str, float]]] = {
    "linear": [{"C": cost} for cost in (0.1, 1.0, 10.0)],
    "rbf": [{"C": cost, "gamma": gamma} for cost in (2.0, 10.0) for gamma in (0.5, 1.0, 2.0, 4.0)],
}

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
# While settings are chosen: most held-out images, and most other images to learn from.
_HELD_OUT = 10000
_ROUNDS_BEYOND = 6  # most rounds of trials beyond the grid
# Most rows for which the whole kernel is computed at once. It then takes 1.8 GB.
_ROWS = 15000
_CACHE = 1000  # MB for the rows of a larger kernel


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
        return _search_svm(kind[: -len("-svm")], features, labels, rows, num_threads).classifier
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


# --- Support vector machines ----------------------------------------------------------------------


class Evaluation(NamedTuple):
    """Test error of a support vector machine with settings chosen on held-out rows."""

    settings: dict[str, float]  #: C, and gamma for the kernel "rbf"
    #: all settings that were tried, with the `error` on held-out rows
    trials: list[dict[str, float]]
    #: Each row counts once. For one against the rest, it counts once for each class that needs it.
    num_support_vectors: int
    error: float  #: fraction of the test rows that are classified wrongly
    standard_error: float  #: of `error`
    #: mean of the errors of the classes, with equal weights: the numbers of rows do not matter
    class_error: float
    wrong: HostArray  #: bool (n,), True for test rows that are classified wrongly


def mean_and_error(values: HostArray) -> tuple[float, float]:
    """Mean of values, and its standard error.

    Parameters
    ----------
    values
        Values (n,): wrong or right, or the difference of two such arrays for a paired comparison.

    Returns
    -------
    mean : float
        Mean of the values.
    standard_error : float
        Standard deviation over sqrt(n). For a fraction p, this is sqrt(p (1 - p) / n).
    """
    values = np.asarray(values, "float64")
    return float(values.mean()), float(values.std() / np.sqrt(len(values)))


def split_held_out(labels: HostArray, generator: np.random.Generator) -> tuple[HostArray, HostArray]:
    """Split training rows in two, to choose C and gamma.

    Parameters
    ----------
    labels
        Labels of the training rows, (n,).
    generator
        Generator that draws the held-out rows.

    Returns
    -------
    learned : int array
        Rows to learn from, at most 10,000.
    held_out : int array
        Rows to choose C and gamma on: a fifth of all rows, at most 10,000.

    Raises
    ------
    InputError
        There are no held-out rows, or the others are all of one class.
    """
    order = generator.permutation(len(labels))
    held_out, rest = np.split(order, [min(_HELD_OUT, len(order) // 5)])
    rest = rest[:_HELD_OUT]
    if not len(held_out) or len(np.unique(labels[rest])) < 2:
        raise InputError(
            "%d training images are too few: without a fifth, held out to choose C and gamma on, they must be of two "
            "classes or more; learn from more" % len(order)
        )
    return rest, held_out


class _Search(NamedTuple):
    settings: dict[str, float]
    trials: list[dict[str, float]]
    classifier: Any  #: fitted to all rows


def _search_svm(
    kernel: str,
    features: HostArray,
    labels: HostArray,
    rows: tuple[HostArray, HostArray],
    num_threads: int,
    one_vs_rest: bool = False,
) -> _Search:
    """Learn from rows[0] with each setting, choose the best on rows[1], and learn from all rows.

    While the best setting lies on an edge of the settings tried, the next one beyond is tried, too.
    """
    from joblib import Parallel, delayed

    learned, held_out = ((features[part], labels[part]) for part in rows)

    def error_of(settings: dict[str, float]) -> float:
        found = _svm(kernel, settings, learned[1], one_vs_rest).fit(*learned).predict(held_out[0])
        return float(np.mean(found != held_out[1]))

    def tried(grid: list[dict[str, float]]) -> list[dict[str, float]]:
        # Threads run in parallel, because libsvm computes without Python's lock.
        errors: Any = Parallel(num_threads, backend="threading")(delayed(error_of)(settings) for settings in grid)
        return [{**settings, "error": error} for settings, error in zip(grid, errors)]

    trials = tried(GRIDS[kernel])
    for _ in range(_ROUNDS_BEYOND):
        beyond = _beyond(trials)
        if not beyond:
            break
        trials += tried(beyond)
    settings = {name: value for name, value in _best(trials).items() if name != "error"}
    return _Search(settings, trials, _svm(kernel, settings, labels, one_vs_rest).fit(features, labels))


def _svm(kernel: str, settings: dict[str, Any], labels: HostArray, one_vs_rest: bool) -> Any:
    """Make a support vector machine with these settings, for rows with these labels.

    If the kernel of all rows, or of the rows of any two classes, fits into memory, it is computed
    at once. This is several times as fast as libsvm, which computes it row by row. The result is
    the same.
    """
    from sklearn.metrics.pairwise import pairwise_kernels
    from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
    from sklearn.pipeline import Pipeline
    from sklearn.svm import SVC

    from gluon_rbm.evaluation.scaling import CommonScale, KernelOfTrainingRows

    cost, width = settings["C"], {name: value for name, value in settings.items() if name == "gamma"}
    rows_of_classes = np.sort(np.unique(labels, return_counts=True)[1])
    steps: list[tuple[str, Any]] = [("scale", CommonScale(total=True))]
    if len(labels) <= _ROWS:
        steps.append(("kernel", KernelOfTrainingRows(kernel, **width)))
        machine = SVC(C=cost, kernel="precomputed", break_ties=not one_vs_rest)
    elif one_vs_rest or rows_of_classes[-2:].sum() > _ROWS:
        machine = SVC(**settings, kernel=kernel, break_ties=not one_vs_rest, cache_size=_CACHE)
    else:
        of_pair: Any = partial(pairwise_kernels, metric=kernel, **width)
        machine = OneVsOneClassifier(SVC(C=cost, kernel=of_pair))
    return Pipeline([*steps, ("svm", OneVsRestClassifier(machine) if one_vs_rest else machine)])


def _num_support_vectors(svm: Any, labels: HostArray) -> int:
    """Count the support vectors of a fitted `_svm` that learned from rows with these labels."""
    machines = getattr(svm, "estimators_", [svm])
    if not hasattr(svm, "pairwise_indices_"):  # only OneVsOneClassifier has this attribute
        return sum(len(machine.support_) for machine in machines)
    pairs = itertools.combinations(svm.classes_, 2)
    rows = [np.flatnonzero(np.isin(labels, pair))[machine.support_] for pair, machine in zip(pairs, machines)]
    return len(np.unique(np.concatenate(rows)))


def _best(trials: list[dict[str, float]]) -> dict[str, float]:
    """Return the trial with the smallest error, the first one if several are equal."""
    return min(trials, key=lambda trial: trial["error"])


def _beyond(trials: list[dict[str, float]]) -> list[dict[str, float]]:
    """Return settings beyond the edges that the best trial lies on.

    Along C or gamma, the next value continues the ratio of the two outermost values tried.
    """
    best, found = _best(trials), []
    for name in sorted(best.keys() - {"error"}):
        others = [
            trial for trial in trials if all(trial[key] == best[key] for key in best if key not in (name, "error"))
        ]
        values = sorted({trial[name] for trial in others})
        if len(values) > 1 and best[name] == values[-1]:
            found.append({**best, name: values[-1] ** 2 / values[-2]})
        if len(values) > 1 and best[name] == values[0]:
            found.append({**best, name: values[0] ** 2 / values[1]})
    return [{name: value for name, value in settings.items() if name != "error"} for settings in found]


def evaluate_svm(
    kernel: str,
    train: tuple[HostArray, HostArray],
    test: tuple[HostArray, HostArray],
    rows: tuple[HostArray, HostArray],
    num_threads: int = 1,
    one_vs_rest: bool = False,
) -> Evaluation:
    """Choose C and gamma on held-out training rows, learn from all, and classify the test rows.

    The classifier is SVC of scikit-learn, with a support vector machine for each pair of classes.
    The pairs vote. Features x are centred and divided by the root of their total variance
    V = sum_i Var[x_i]. So C and gamma have the same meaning for any features:

        linear:  k(x, y) = (x - mean).(y - mean) / V
        rbf:     k(x, y) = exp(-gamma |x - y|^2 / V)

    Parameters
    ----------
    kernel
        "linear" or "rbf".
    train, test
        Features (n, num_features) and labels (n,).
    rows
        Rows of `train` to learn from and to choose on, as from `split_held_out`.
    num_threads
        Number of settings that are tried at once. Each one needs its own memory.
    one_vs_rest
        Use a support vector machine for each class against all others. The class with the largest
        decision value wins. This is better for many classes of few rows each.

    Returns
    -------
    Evaluation
        Chosen settings and test error.
    """
    search = _search_svm(kernel, *train, rows, num_threads, one_vs_rest)
    wrong = search.classifier.predict(test[0]) != test[1]
    of_classes = [wrong[test[1] == label].mean() for label in np.unique(test[1])]
    return Evaluation(
        settings=search.settings,
        trials=search.trials,
        num_support_vectors=_num_support_vectors(search.classifier["svm"], train[1]),
        error=mean_and_error(wrong)[0],
        standard_error=mean_and_error(wrong)[1],
        class_error=float(np.mean(of_classes)),
        wrong=wrong,
    )


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
