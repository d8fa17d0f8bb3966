"""Support vector machines of scikit-learn, with settings chosen on held-out rows."""

from __future__ import annotations

import itertools
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gluon_rbm.errors import InputError

if TYPE_CHECKING:
    from gluon_rbm.backend.types import HostArray

__all__ = [
    "GRIDS",
    "Evaluation",
    "Search",
    "evaluate_svm",
    "mean_and_error",
    "search_svm",
    "split_held_out",
]

# Settings that are tried on held-out images: C, and gamma for "rbf", smaller values first. If the
# best setting lies on an edge of the grid, values beyond the edge are tried, too.
GRIDS: dict[str, list[dict[str, float]]] = {
    "linear": [{"C": cost} for cost in (0.1, 1.0, 10.0)],
    "rbf": [{"C": cost, "gamma": gamma} for cost in (2.0, 10.0) for gamma in (0.5, 1.0, 2.0, 4.0)],
}

# While settings are chosen: most held-out images, and most other images to learn from.
_HELD_OUT = 10000
_ROUNDS_BEYOND = 6  # most rounds of trials beyond the grid
# Most rows for which the whole kernel is computed at once. It then takes 1.8 GB.
_ROWS = 15000
_CACHE = 1000  # MB for the rows of a larger kernel


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


class Search(NamedTuple):
    """A support vector machine whose settings were chosen."""

    settings: dict[str, float]  #: the chosen ones
    trials: list[dict[str, float]]  #: all settings that were tried, with the `error` on held-out rows
    classifier: Any  #: fitted to all rows


def search_svm(
    kernel: str,
    features: HostArray,
    labels: HostArray,
    rows: tuple[HostArray, HostArray],
    num_threads: int,
    one_vs_rest: bool = False,
) -> Search:
    """Learn from rows[0] with each setting, choose the best on rows[1], and learn from all rows.

    While the best setting lies on an edge of the settings tried, the next one beyond is tried, too.

    Parameters
    ----------
    kernel
        "linear" or "rbf".
    features
        Features of all rows, (n, num_features).
    labels
        Labels of all rows, (n,).
    rows, num_threads, one_vs_rest
        As in `evaluate_svm`.

    Returns
    -------
    Search
        The chosen settings, and the support vector machine that has learned from all rows.
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
    return Search(settings, trials, _svm(kernel, settings, labels, one_vs_rest).fit(features, labels))


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
    search = search_svm(kernel, *train, rows, num_threads, one_vs_rest)
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
