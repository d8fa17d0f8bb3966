"""Base classes of the estimators: checks as in scikit-learn, keys from `random_state`, passes."""

from __future__ import annotations

import time
import warnings
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Callable, Iterable, Union

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state, check_scalar, gen_batches
from sklearn.utils.validation import check_is_fitted

try:
    from sklearn.utils.validation import validate_data
except ImportError:  # scikit-learn < 1.6, where it is a method

    def validate_data(_estimator: Any, /, *arrays: Any, ensure_all_finite: Any = True, **settings: Any) -> Any:
        return _estimator._validate_data(*arrays, force_all_finite=ensure_all_finite, **settings)


from gluon_rbm.data.statistics import smoothed_visible_bias
from gluon_rbm.errors import InputError
from gluon_rbm.likelihood import ais
from gluon_rbm.likelihood.scores import LogLikelihood

if TYPE_CHECKING:
    from gluon_rbm.backend.types import HostArray, SoftmaxGroups
    from gluon_rbm.likelihood.estimates import LogPartition

__all__ = [
    "Estimator",
    "PixelRangeWarning",
    "Transformer",
    "base_rate",
    "dense",
    "float32",
    "has_gaps",
    "key_from",
    "mean_image",
    "seed_from",
]

RandomSeed = Union[int, np.random.RandomState, None]  #: what scikit-learn accepts as `random_state`
Matrix = Any  #: (n_samples, n_features), NumPy or CSR
Rows = Any  #: a slice or an array of row numbers

_ROWS_AT_ONCE = 1000
_FLOATS = (np.float64, np.float32)
_SETTINGS = {  # type, lower limit, and whether the limit is allowed ("left") or not ("neither")
    "n_components": (Integral, 1, "left"),
    "batch_size": (Integral, 1, "left"),
    "n_iter": (Integral, 0, "left"),
    "k": (Integral, 1, "left"),
    "learning_rate": (Real, 0, "neither"),
    "momentum": (Real, 0, "left"),
    "weight_decay": (Real, 0, "left"),
    "centering": (Real, 0, "left"),
    "sparsity_target": (Real, 0, "left"),
    "sparsity_cost": (Real, 0, "left"),
    "generative_weight": (Real, 0, "neither"),
    "initial_deviation": (Real, 0, "left"),
    "initial_hidden_bias": (Real, -np.inf, "left"),
}


class PixelRangeWarning(UserWarning):
    """X holds values outside [0, 1]; they are clipped to this range."""


def dense(rows: Matrix) -> HostArray:
    """Return rows of X as a NumPy array.

    Parameters
    ----------
    rows
        Rows, (n, n_features), NumPy or sparse.

    Returns
    -------
    array (n, n_features)
        The rows in their dtype. NumPy rows come back as they are.
    """
    return rows.toarray() if sparse.issparse(rows) else rows


def float32(array: HostArray) -> HostArray:
    """Return an array in float32 and C order.

    Parameters
    ----------
    array
        NumPy array of any shape.

    Returns
    -------
    float32 array
        The array itself if it already is in float32 and C order, else a copy.
    """
    return np.ascontiguousarray(array, np.float32)


def has_gaps(X: Matrix) -> bool:
    """Tell whether X holds NaN.

    Parameters
    ----------
    X
        Data (n_samples, n_features), NumPy or CSR, without infinite values.

    Returns
    -------
    bool
        True if a value of X is NaN.
    """
    return bool(np.isnan((X.data if sparse.issparse(X) else X).sum(dtype=np.float64)))


def mean_image(X: Matrix) -> HostArray:
    """Return the mean of each feature over the rows in which it is known.

    Parameters
    ----------
    X
        Data (n_samples, n_features), NumPy or CSR; NaN is missing.

    Returns
    -------
    float64 (n_features,)
        Means of the features.

    Raises
    ------
    InputError
        A feature is missing in all rows.
    """
    if not has_gaps(X):
        return np.asarray(X.mean(axis=0, dtype=np.float64)).ravel()
    total, count = np.zeros((2, X.shape[1]))
    for rows in gen_batches(X.shape[0], _ROWS_AT_ONCE):
        values = dense(X[rows]).astype(np.float64)
        total += np.nansum(values, axis=0)
        count += (~np.isnan(values)).sum(axis=0)
    if not count.all():
        raise InputError("feature %d of X is missing in all rows; leave it out" % np.argmin(count))
    return total / count


def base_rate(X: Matrix, softmax_groups: SoftmaxGroups = ()) -> HostArray:
    """Return the smoothed visible bias that has the means of X.

    Annealed importance sampling starts best from this bias.

    Parameters
    ----------
    X
        Data (n_samples, n_features) in [0, 1], NumPy or CSR; NaN is missing.
    softmax_groups
        As in `gluon_rbm.sampling.gibbs.run_chains`.

    Returns
    -------
    float64 (n_features,)
        As in `gluon_rbm.data.statistics.smoothed_visible_bias`.
    """
    return smoothed_visible_bias(mean_image(X), X.shape[0], visible_units=softmax_groups)


def key_from(random_state: np.random.RandomState) -> list[int]:
    """Draw a key for `gluon_rbm.sampling.gibbs`.

    Parameters
    ----------
    random_state
        Generator to draw from.

    Returns
    -------
    list of int
        Four integers from 0 to 2^31 - 2.
    """
    return random_state.randint(2**31 - 1, size=4).tolist()


def seed_from(random_state: RandomSeed) -> int | None:
    """Draw an integer `random_state` for an inner estimator.

    Parameters
    ----------
    random_state
        Integer, generator or None, as scikit-learn takes it.

    Returns
    -------
    int or None
        The seed; None where `random_state` is None.
    """
    return None if random_state is None else int(check_random_state(random_state).randint(2**31 - 1))


def _range_advice(values: HostArray) -> str:
    """Text of the warning for values of which some lie outside [0, 1]."""
    outside = values[(values < 0) | (values > 1)]
    lowest = outside.min()
    if lowest < 0 and (outside == lowest).all():  # all are the same: probably a code
        return (
            "X holds %g, which is cut off to 0; if it stands for missing values, fill them in first, as "
            "sklearn.impute.SimpleImputer(missing_values=%g) does, or leave their rows out" % (lowest, lowest)
        ) + ("; if pixels are -1 and 1, give (X + 1) / 2" if lowest == -1 else "")
    return "X holds values outside [0, 1], which are cut off there; scale it first, as MinMaxScaler does"


class Estimator(BaseEstimator):
    """Base of the estimators that learn from numbers: checks, chunks of rows and passes.

    A subclass has the parameters n_components, learning_rate, batch_size, n_iter, ...
    """

    _is_bounded = True  # X lies in [0, 1]

    if TYPE_CHECKING:  # attributes of a subclass
        random_state: RandomSeed
        batch_size: int
        n_iter: int
        verbose: int
        random_state_: np.random.RandomState
        n_features_in_: int

    def _check_settings(self) -> None:
        for name, value in self.get_params(deep=False).items():
            if name not in _SETTINGS:
                continue
            kind, lowest, included = _SETTINGS[name]
            check_scalar(value, name, kind, min_val=lowest, include_boundaries=included)
            if not np.isfinite(value):  # check_scalar accepts NaN
                raise InputError("%s is %s; it must be a finite number" % (name, value))
        shuffle = getattr(self, "shuffle", False)
        if not isinstance(shuffle, (bool, np.bool_)):
            raise InputError("shuffle is %r; it must be True or False" % (shuffle,))

    def _checked(self, X: Matrix, *y: Any, reset: bool = False, gaps: bool | None = None) -> Any:
        """Return X (and y) after all checks.

        X becomes CSR without duplicates, or NumPy in C order, in float32 or float64. Values outside
        [0, 1] are clipped if the estimator is bounded.

        gaps : whether NaN may stand for a missing value; None: as the parameter `missing` says
        """
        if gaps is None:
            gaps = getattr(self, "missing", "error") != "error"
        how: dict[str, Any] = {"accept_sparse": "csr", "dtype": _FLOATS, "order": "C", "reset": reset}
        try:
            checked = validate_data(self, X, *y, ensure_all_finite="allow-nan" if gaps else True, **how)
        except ValueError as error:
            if not str(error).startswith("Input X contains NaN"):
                raise
            raise InputError(
                "X holds NaN: fill in missing values, as sklearn.impute.SimpleImputer does, or leave their rows out%s"
                % ("; or give missing, which says what they mean" if hasattr(self, "missing") else "")
            ) from error
        X, rest = (checked[0], checked[1:]) if y else (checked, ())
        if sparse.issparse(X) and not X.has_canonical_format:
            X = X.copy()  # so that the caller's X does not change
            X.sum_duplicates()
        values = X.data if sparse.issparse(X) else X
        if (
            self._is_bounded
            and values.size
            and (np.fmin.reduce(values, axis=None) < 0 or np.fmax.reduce(values, axis=None) > 1)
        ):
            warnings.warn(_range_advice(values), PixelRangeWarning, stacklevel=3)
            X = X.copy()
            values = X.data if sparse.issparse(X) else X
            np.clip(values, 0, 1, out=values)
        return (X, *rest) if y else X

    def _continued(self) -> np.random.RandomState:
        """The generator that goes on from call to call; `fit` makes a new one."""
        if not hasattr(self, "random_state_"):
            self.random_state_ = check_random_state(self.random_state)
        return self.random_state_

    def _in_chunks(self, X: Matrix, function: Callable[[HostArray], HostArray]) -> HostArray:
        """Apply function(rows) to all rows of X, 1,000 at a time; only the chunk is made dense."""
        result: Any = None
        for rows in gen_batches(X.shape[0], _ROWS_AT_ONCE):
            chunk = function(dense(X[rows]))
            # One array for all chunks: joining them at the end would take twice the memory.
            if result is None:
                result = np.empty((X.shape[0], *chunk.shape[1:]), chunk.dtype)
            result[rows] = chunk
        return result

    def _likelihood(self, X: Matrix, scores: HostArray, partition: LogPartition, copies: float = 1) -> LogLikelihood:
        """`LogLikelihood` of scores - log Z, with warnings; units have multiples of 1 / copies."""

        def are_whole(rows: HostArray) -> HostArray:
            ones = copies * rows.astype(np.float64)
            return (~(np.abs(ones - ones.round()) >= 1e-4)).all(axis=1)  # true for NaN, too

        likelihood = LogLikelihood.of(scores - partition.log_z, bool(self._in_chunks(X, are_whole).all()))
        ais.warn_of(partition, likelihood, stacklevel=4)
        return likelihood

    def _epochs(
        self,
        num_rows: int,
        generator: np.random.RandomState,
        shuffle: bool,
        learn: Callable[[Iterable[Rows]], None],
        score: Callable[[], str],
    ) -> None:
        """Call learn(batches) `n_iter` times; with `verbose`, print score() after each pass.

        A batch is a slice or an array of row numbers.
        """
        begin = time.time()
        for iteration in range(1, self.n_iter + 1):
            learn(self._batches(num_rows, generator.permutation(num_rows) if shuffle else None))
            if self.verbose:
                end = time.time()
                figures = (type(self).__name__, iteration, score(), end - begin)
                # As in scikit-learn: printed, not logged.
                print("[%s] Iteration %d, %s, time = %.2fs" % figures)
                begin = end

    def _batches(self, num_rows: int, order: HostArray | None) -> Iterable[Rows]:
        for rows in gen_batches(num_rows, self.batch_size):
            yield rows if order is None else order[rows]


class Transformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, Estimator):
    """Base of the estimators that transform X into `n_components` features."""

    if TYPE_CHECKING:  # attributes of a fitted subclass
        components_: HostArray

    def transform(self, X: Matrix) -> HostArray:
        """Return the mean of each hidden unit given each row, E[h | v].

        For binary hidden units this is p(h = 1 | v). A classifier sums over the labels, so that it
        is p(h = 1 | x).

        Parameters
        ----------
        X
            Data (n_samples, n_features), as in `fit`.

        Returns
        -------
        array (n_samples, n_components)
            Means divided by the largest value of a hidden unit, in [0, 1], in the dtype of X.
        """
        check_is_fitted(self)
        return self._features(self._checked(X))

    def _features(self, X: Matrix) -> HostArray:
        raise NotImplementedError

    def _warn_if_saturated(self, X: Matrix) -> None:
        """Warn if more than a quarter of the hidden units do not depend on the image.

        Such a unit is on with a probability above 99 % in all of up to 1,000 images, or off in all
        of them. Steps that are too large leave such units behind. An RBM that learns has next to
        none of them; if training diverges, all units are like this.
        """
        if not self.n_iter:
            return
        rows = np.unique(np.linspace(0, X.shape[0] - 1, _ROWS_AT_ONCE).astype(int))
        features = self._features(X[rows])
        num_saturated = int(((features.min(axis=0) > 0.99) | (features.max(axis=0) < 0.01)).sum())
        if num_saturated <= features.shape[1] / 4:
            return
        has_centering = not getattr(self, "centering", 1) and getattr(self, "objective", "") != "discriminative"
        warnings.warn(
            "training went astray: %d of %d hidden units are on, or off, for all images, and tell nothing of them; "
            "lower learning_rate%s"
            % (num_saturated, features.shape[1], ", or try centering=0.01" if has_centering else ""),
            ConvergenceWarning,
            stacklevel=3,
        )

    @property
    def _n_features_out(self) -> int:
        return self.components_.shape[0]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _more_tags(self) -> dict[str, Any]:  # scikit-learn < 1.6
        return {"preserves_dtype": list(_FLOATS)}
