"""Classifiers that have nothing to do with Boltzmann machines, all of scikit-learn.

`train_classifier` trains one of five kinds on any features. `IndependentClassifier` is one of them, trained on real
images only: it says which classes drawn images show. It is trained anew at each use, in seconds, so that nothing has to
be kept, and always with the same result. It must choose: an empty image gets a class, too (on MNIST, a one).
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

# What is tried on held-out images: C, and gamma where there is one, the smaller ones first; then what lies beyond, as
# long as the best is on an edge.
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

_COMPONENTS = 50  # of the kind "pca-svm"
_UNITS = (128, 64)  # hidden units of the kind "perceptron"
_UPDATES, _BATCH = 4000, 100  # of its training, at most; it stops where the loss does
_HELD_OUT = 10000  # at most so many images are held out, and at most so many others are learned from while choosing
_ROUNDS_BEYOND = 6  # of trials beyond the grid, at most
_ROWS = 15000  # the kernel of so many is computed at once, at most: 1.8 GB
_CACHE = 1000  # MB for rows of the kernel of more


# --- Training ---------------------------------------------------------------------------------------------------------


def train_classifier(
    features: HostArray, labels: HostArray, kind: str = "pca-svm", *, seed: int = 0, num_threads: int = 1
) -> Any:
    """A classifier of scikit-learn, fitted to all of the features.

    Parameters
    ----------
    features : (n, num_features)
    labels : (n,)
    kind : one of `KINDS`
        "pca-svm": 50 principal components, then a support vector machine with a Gaussian kernel, C = 10.
        "linear-svm", "rbf-svm": a support vector machine whose C and gamma are chosen on held-out rows (see
        `evaluate_svm`); features are scaled by the root of their total variance.
        "logistic": logistic regression; features are scaled by the root of their mean variance.
        "perceptron": hidden layers of 128 and 64 rectified units.
    seed : what is random follows from it
    num_threads : how many settings a support vector machine tries at once

    Raises
    ------
    InputError
        Where all labels are the same, or too few rows are left to choose C and gamma on.
    """
    if len(np.unique(labels)) < 2:
        raise InputError("all images to learn from are of one class; a classifier needs two or more")
    if kind in ("linear-svm", "rbf-svm"):
        rows = split_held_out(labels, make_generator([seed]))
        return _search_svm(kind[: -len("-svm")], features, labels, rows, num_threads).classifier
    makers = {"pca-svm": _pca_svm, "logistic": _logistic_regression, "perceptron": _perceptron}
    with warnings.catch_warnings():
        from sklearn.exceptions import ConvergenceWarning

        warnings.simplefilter("ignore", ConvergenceWarning)  # so many updates are enough
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


# --- Support vector machines ------------------------------------------------------------------------------------------


class Evaluation(NamedTuple):
    """How well a support vector machine, its settings chosen on held-out rows, classifies the test rows."""

    settings: dict[str, float]  #: C and gamma
    trials: list[dict[str, float]]  #: all settings that were tried, with the `error` on held-out rows
    num_support_vectors: int  #: rows that some pair of classes needs; of one against the rest, of all machines together
    error: float
    standard_error: float
    class_error: float  #: the mean over classes of each one's error, which does not depend on how many rows it has
    wrong: HostArray  #: bool (n,), which test rows are classified wrongly


def mean_and_error(values: HostArray) -> tuple[float, float]:
    """Mean and its standard error: sqrt(p (1 - p) / n) of wrong or right, the paired one of a difference of these."""
    values = np.asarray(values, "float64")
    return float(values.mean()), float(values.std() / np.sqrt(len(values)))


def split_held_out(labels: HostArray, generator: np.random.Generator) -> tuple[HostArray, HostArray]:
    """Rows to learn from while C and gamma are chosen, and rows to choose them on; at most 10,000 of each.

    The held-out rows are a fifth of all, drawn by the generator. Raises InputError where there are none, or where the
    others are of one class.
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
    """Learn by each setting of the grid from rows[0], choose one on rows[1], and learn by it from all.

    Where the best one lies on an edge of what was tried, its neighbour beyond is tried, too.
    """
    from joblib import Parallel, delayed

    learned, held_out = ((features[part], labels[part]) for part in rows)

    def error_of(settings: dict[str, float]) -> float:
        found = _svm(kernel, settings, learned[1], one_vs_rest).fit(*learned).predict(held_out[0])
        return float(np.mean(found != held_out[1]))

    def tried(grid: list[dict[str, float]]) -> list[dict[str, float]]:
        # libsvm computes without Python's lock
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
    """A support vector machine with these settings that is to learn from rows with these labels.

    Where the kernel of all rows, or of those of any two classes, fits into memory, it is computed at once: several
    times faster than libsvm's rows of it. The machine that is found is the same.
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
    """Of what `_svm` built and fitted to rows with these labels."""
    machines = getattr(svm, "estimators_", [svm])
    if not hasattr(svm, "pairwise_indices_"):  # of scikit-learn's machines, only `OneVsOneClassifier` has these
        return sum(len(machine.support_) for machine in machines)
    pairs = itertools.combinations(svm.classes_, 2)
    rows = [np.flatnonzero(np.isin(labels, pair))[machine.support_] for pair, machine in zip(pairs, machines)]
    return len(np.unique(np.concatenate(rows)))


def _best(trials: list[dict[str, float]]) -> dict[str, float]:
    """The trial with the smallest error, the first of several."""
    return min(trials, key=lambda trial: trial["error"])


def _beyond(trials: list[dict[str, float]]) -> list[dict[str, float]]:
    """Settings next to the best ones, outside of what was tried of them, by the factor between the outermost two."""
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

    The machine is scikit-learn's `SVC`, one for each pair of classes, which vote; or one for each class against the
    rest, of which the one farthest on its side of the border wins. Features x are centred and divided by
    the root of their total variance V = sum_i Var[x_i], so that C and gamma mean the same for any features:

        linear: k(x, y) = (x - mean).(y - mean) / V       rbf: k(x, y) = exp(-gamma |x - y|^2 / V)

    Parameters
    ----------
    kernel : "linear" or "rbf"
    train, test : features (n, num_features) and labels (n,)
    rows : what `split_held_out` made of the training labels
    num_threads : how many settings are tried at once; each needs memory of its own
    one_vs_rest : a machine for each class, instead of each pair: better where there are many classes of few rows each
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


# --- Of images --------------------------------------------------------------------------------------------------------


class IndependentClassifier(NamedTuple):
    """A classifier of images that learned from real ones only, and how far it can be trusted."""

    classifier: Any
    accuracy: float  #: fraction of the test images that it classifies as they are labelled
    num_training_images: int
    num_test_images: int
    kind: str  #: one of `KINDS`
    data_set: str  #: the name of the data set

    @property
    def description(self) -> str:
        """What it is, what it learned, and how far it can be trusted: a line."""
        return "%s, trained on %d images of %s (%.1f %% of %d test images right)" % (
            _DESCRIPTIONS[self.kind],
            self.num_training_images,
            self.data_set,
            100 * self.accuracy,
            self.num_test_images,
        )

    @property
    def num_classes(self) -> int:
        """Number of classes that it knows."""
        return len(self.classifier.classes_)

    def record(self) -> dict[str, dict[str, float | str]]:
        """What the JSON of a command says of it."""
        names = ("kind", "data_set", "accuracy", "num_training_images", "num_test_images")
        return {"judge": {name: getattr(self, name) for name in names}}  # the name that published results have

    def classes(self, images: HostArray) -> HostArray:
        """The class of each image: int (n,). images : (n, num_visible) in [0, 1], samples or probabilities."""
        return self.classifier.predict(images)

    def class_fractions(self, images: HostArray) -> HostArray:
        """The fraction of each class among images: float64 (num_classes,), in the order of the labels."""
        return (self.classes(images)[:, None] == self.classifier.classes_).mean(axis=0)

    def fraction_as_asked(self, images: HostArray, asked: int | HostArray) -> tuple[float, float]:
        """The fraction of images of the class asked for, one for all or one for each, and its standard error."""
        fraction = float((self.classes(images) == asked).mean())
        return fraction, float(np.sqrt(fraction * (1 - fraction) / len(images)))


def check_labels(data: DataSet) -> HostArray:
    """The labels of the training images. Raises InputError where there are none for a classifier to learn from."""
    if data.train_labels is None:
        raise InputError(
            "images of %s have no labels for a classifier to learn from; choose a data set that has" % data.name
        )
    return data.train_labels


def train_independent_classifier(data: DataSet, num_images: int = 20000) -> IndependentClassifier:
    """An `IndependentClassifier` of the kind "pca-svm", from the first `num_images` training images of a data set.

    Raises InputError where images have no labels.
    """
    kind = "pca-svm"
    labels = check_labels(data)[:num_images]
    images = to_visible(data.train_images[:num_images], data.maximum)
    test = to_visible(data.test_images, data.maximum)
    classifier = train_classifier(images, labels, kind)
    accuracy = float((classifier.predict(test) == data.test_labels).mean())
    return IndependentClassifier(classifier, accuracy, len(images), len(test), kind, data.name)
