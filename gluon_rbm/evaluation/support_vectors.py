"""Support vector machines on features: how much easier classes are to tell apart by them than by pixels.

What scikit-learn's `SVC` does, one machine for each pair of classes, which vote, and libsvm solves each of them (Chang
& Lin, ACM TIST 2011). But inner products are computed by BLAS, classes by classes, once for all machines that are
trained together, whatever their kernels and costs; libsvm computes a row of the kernel at a time, and for each anew.
"""

from typing import NamedTuple

import numpy as np
from joblib import Parallel, delayed
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.svm import SVC

from gluon_rbm.errors import InputError

__all__ = ["GRIDS", "KERNELS", "Evaluation", "SupportVectorMachine", "evaluate", "fit_together", "mean_and_error"]

KERNELS = ("linear", "rbf")
# What is tried on held-out images: C, and gamma where there is one, the smaller ones first.
GRIDS = {
    "linear": [{"C": cost} for cost in (0.1, 1.0, 10.0)],
    "rbf": [{"C": cost, "gamma": gamma} for cost in (2.0, 10.0) for gamma in (0.5, 1.0, 2.0, 4.0)],
}

_ROWS_AT_ONCE = 1000
_HELD_OUT = 10000  # of the training images at most a fifth, and as many at most to learn from while choosing


class SupportVectorMachine(ClassifierMixin, BaseEstimator):
    """A support vector machine for any number of classes, by one for each pair of them.

    Features x are centred, and divided by the square root of their total variance V = sum_i Var[x_i], so that C and
    gamma mean the same for any features:

        linear: k(x, y) = (x - mean).(y - mean) / V       rbf: k(x, y) = exp(-gamma |x - y|^2 / V)

    Ties between the votes are broken by the sum of decision values, as scikit-learn's `OneVsOneClassifier` and
    `SVC(break_ties=True)` do.

    Parameters
    ----------
    kernel : "linear" or "rbf"
    C : float
        Cost of the hinge loss.
    gamma : float
        In units of 1 / V; scikit-learn's "scale" is 1.
    tol : float
        Where libsvm stops.
    n_jobs : int or None
        Threads; each takes pairs of its own. Memory is that of the features, twice; 4 bytes for every two images of one
        class; and for each thread 16 for every two images of a pair of classes (60,000 images of 10 classes: 1.4 GB and
        2.3 GB). Features in float64 are computed with in float64, all others in float32.
    """

    def __init__(self, kernel="rbf", C=10.0, gamma=1.0, tol=1e-3, n_jobs=None):
        self.kernel = kernel
        self.C = C
        self.gamma = gamma
        self.tol = tol
        self.n_jobs = n_jobs

    def fit(self, features, labels):
        """features (n, num_features), labels (n,). Raises InputError where all images are of one class."""
        fit_together([self], features, labels, self.n_jobs)
        return self

    def decision_function(self, features):
        """One value for each pair of classes, (0, 1), (0, 2), ..., positive for the second: float64 (n, pairs)."""
        rows = [features[start : start + _ROWS_AT_ONCE] for start in range(0, len(features), _ROWS_AT_ONCE)]
        kernels = (self._kernel((chunk - self._mean) / self._deviation) for chunk in rows)
        return np.concatenate([kernel @ self.dual_coef_ + self.intercept_ for kernel in kernels])

    def predict(self, features):
        """The class of each row: (n,)."""
        values = self.decision_function(features)
        first, second = np.triu_indices(len(self.classes_), 1)
        votes, confidence = np.zeros((2, len(values), len(self.classes_)))
        for value, i, j in zip(values.T, first, second):
            votes[:, i] += value <= 0
            votes[:, j] += value > 0
            confidence[:, i] -= value
            confidence[:, j] += value
        # Less than half a vote.
        return self.classes_[np.argmax(votes + confidence / (3 * (np.abs(confidence) + 1)), axis=1)]

    def _kernel(self, rows):
        """Of standardized rows with the support vectors."""
        return self._of_inner(rows @ self.support_vectors_.T, _squares(rows), _squares(self.support_vectors_))

    def _of_inner(self, inner, squares, other_squares):
        """The kernel from inner products x.y, and from x.x and y.y: float64."""
        kernel = inner.astype("float64")
        if self.kernel == "linear":
            return kernel
        kernel *= 2
        kernel -= squares[:, None]
        kernel -= other_squares
        kernel *= self.gamma
        return np.exp(kernel, out=kernel)

    def _solve(self, inner, targets):
        """One pair of classes, by its inner products: libsvm's support vectors, coefficients, and intercept."""
        squares = inner.diagonal()
        kernel = self._of_inner(inner, squares, squares)
        cache = 1 + kernel.size * 4 / 2**20  # all of it, in MB
        solved = SVC(C=self.C, kernel="precomputed", tol=self.tol, cache_size=cache).fit(kernel, targets)
        return solved.support_, solved.dual_coef_[0], solved.intercept_[0]

    def _take(self, rows, coefficients, intercept):
        """Keep what was learned from standardized `rows`; coefficients : (n, pairs)."""
        self.intercept_ = intercept
        used = np.flatnonzero(coefficients.any(axis=1))
        self.num_support_vectors_ = len(used)
        self.support_vectors_, self.dual_coef_ = rows[used], coefficients[used]
        if self.kernel == "linear":  # one vector for each pair will do
            self.support_vectors_ = (self.dual_coef_.T @ self.support_vectors_).astype(rows.dtype)
            self.dual_coef_ = np.eye(len(intercept))


def _squares(rows):
    return np.einsum("ij,ij->i", rows, rows)


def fit_together(machines, features, labels, n_jobs=None):
    """Fit several `SupportVectorMachine`s to the same features, whose inner products are computed once."""
    features = np.asarray(features)
    classes, sizes = np.unique(labels, return_counts=True)
    if len(classes) < 2:
        raise InputError("all images to learn from are of one class; a classifier needs two or more")
    rows = features[np.argsort(labels, kind="stable")]
    rows = rows.astype("float64" if rows.dtype == np.float64 else "float32", copy=False)
    mean = rows.mean(axis=0, dtype="float64").astype(rows.dtype)
    rows -= mean
    deviation = float(np.sqrt(_squares(rows).mean(dtype="float64"))) or 1.0
    rows /= deviation
    parts = np.split(rows, np.cumsum(sizes)[:-1])
    own = [part @ part.T for part in parts]

    def solve(i, j):
        between = parts[i] @ parts[j].T
        inner = np.block([[own[i], between], [between.T, own[j]]])
        targets = np.repeat([0, 1], between.shape)
        return [machine._solve(inner, targets) for machine in machines]

    pairs = list(zip(*np.triu_indices(len(classes), 1)))
    solved = Parallel(n_jobs, prefer="threads")(delayed(solve)(i, j) for i, j in pairs)
    places = np.split(np.arange(len(rows)), np.cumsum(sizes)[:-1])
    for number, machine in enumerate(machines):
        coefficients, intercept = np.zeros((len(rows), len(pairs))), np.zeros(len(pairs))
        for column, (i, j) in enumerate(pairs):
            support, values, intercept[column] = solved[column][number]
            coefficients[np.concatenate([places[i], places[j]])[support], column] = values
        machine.classes_, machine._mean, machine._deviation = classes, mean, deviation
        machine._take(rows, coefficients, intercept)


# --- Judging features -------------------------------------------------------------------------------------------------


class Evaluation(NamedTuple):
    """How well a machine, whose settings were chosen on held-out training images, classifies the test images."""

    settings: dict  #: C and gamma
    trials: list  #: all that were tried, with the `error` on held-out images
    num_support_vectors: int
    error: float
    standard_error: float
    wrong: np.ndarray  #: bool (n,), which test images are classified wrongly


def mean_and_error(values):
    """Mean and its standard error: sqrt(p (1 - p) / n) of wrong or right, the paired one of a difference of these."""
    values = np.asarray(values, "float64")
    return float(values.mean()), float(values.std() / np.sqrt(len(values)))


def evaluate(kernels, features, labels, test_features, test_labels, generator, n_jobs=None):
    """Choose C and gamma of each kernel on held-out training images, learn from all, and classify the test images.

    generator : a NumPy generator, which draws the held-out images: a fifth, at most 10,000. While choosing, machines
        learn from at most 10,000 of the others.

    Returns kernel -> `Evaluation`. Raises InputError where all images to learn from are of one class, or none is left
    to hold out.
    """
    order = generator.permutation(len(labels))
    held_out, rest = np.split(order, [min(_HELD_OUT, len(order) // 5)])
    if not len(held_out) or len(np.unique(labels[rest[:_HELD_OUT]])) < 2:
        raise InputError(
            "%d training images are too few: without a fifth, held out to choose C and gamma on, they must be of two "
            "classes or more; learn from more" % len(order)
        )
    chosen, trials = _choose(kernels, features, labels, held_out, rest[:_HELD_OUT], n_jobs)
    machines = [SupportVectorMachine(kernel, **chosen[kernel]) for kernel in kernels]
    fit_together(machines, features, labels, n_jobs)
    evaluations = {}
    for machine in machines:
        wrong = machine.predict(test_features) != test_labels
        evaluations[machine.kernel] = Evaluation(
            chosen[machine.kernel],
            trials[machine.kernel],
            machine.num_support_vectors_,
            *mean_and_error(wrong),
            wrong,
        )
    return evaluations


def _choose(kernels, features, labels, held_out, rest, n_jobs):
    """kernel -> the best settings on held-out images, and kernel -> all settings with their `error`."""
    tried = [SupportVectorMachine(kernel, **settings) for kernel in kernels for settings in GRIDS[kernel]]
    fit_together(tried, features[rest], labels[rest], n_jobs)
    trials = {kernel: [] for kernel in kernels}
    for machine in tried:
        settings = {name: getattr(machine, name) for name in GRIDS[machine.kernel][0]}
        error = 1 - machine.score(features[held_out], labels[held_out])
        trials[machine.kernel].append({**settings, "error": float(error)})
    best = {kernel: dict(min(trials[kernel], key=lambda trial: trial["error"])) for kernel in kernels}
    for settings in best.values():
        del settings["error"]
    return best, trials
