"""What the estimators share: input checked in scikit-learn's words, keys from `random_state`, and epochs."""

from __future__ import annotations

import time
import warnings
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Callable, Iterable, Union

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state, check_scalar, gen_batches

try:
    from sklearn.utils.validation import validate_data
except ImportError:  # scikit-learn < 1.6

    def validate_data(_estimator: Any, /, *arrays: Any, **settings: Any) -> Any:
        return _estimator._validate_data(*arrays, **settings)


from gluon_rbm.data.statistics import smoothed_visible_bias
from gluon_rbm.likelihood import ais
from gluon_rbm.likelihood.scores import LogLikelihood

if TYPE_CHECKING:
    from gluon_rbm.backend.types import HostArray
    from gluon_rbm.likelihood.estimates import LogPartition

__all__ = ["Estimator", "PixelRangeWarning", "Transformer", "base_rate", "dense", "float32", "key_from", "mean_image"]

RandomSeed = Union[int, np.random.RandomState, None]  #: what scikit-learn takes for a `random_state`
Matrix = Any  #: (n_samples, n_features), NumPy or CSR
Rows = Any  #: a slice, or row numbers

_ROWS_AT_ONCE = 1000
_FLOATS = (np.float64, np.float32)


class PixelRangeWarning(UserWarning):
    """X holds values outside [0, 1], which were cut off there."""


def dense(rows: Matrix) -> HostArray:
    """Rows of X as a NumPy array."""
    return rows.toarray() if sparse.issparse(rows) else rows


def float32(array: HostArray) -> HostArray:
    """The array in float32 and C order: itself, where it is so."""
    return np.ascontiguousarray(array, np.float32)


def mean_image(X: Matrix) -> HostArray:
    """The mean of all rows: float64 (n_features,)."""
    return np.asarray(X.mean(axis=0, dtype=np.float64)).ravel()


def base_rate(X: Matrix) -> HostArray:
    """The smoothed bias of the mean image, where annealed importance sampling starts best."""
    return smoothed_visible_bias(mean_image(X), X.shape[0])


def key_from(random_state: np.random.RandomState) -> list[int]:
    """Four words, as `gluon_rbm.sampling.gibbs` takes keys, from a `RandomState`."""
    return random_state.randint(2**31 - 1, size=4).tolist()


class Estimator(BaseEstimator):
    """What any of the estimators is; a subclass has parameters n_components, learning_rate, batch_size, n_iter, ..."""

    if TYPE_CHECKING:  # what a subclass has
        random_state: RandomSeed
        batch_size: int
        n_iter: int
        verbose: int
        random_state_: np.random.RandomState
        n_features_in_: int

    def _check_settings(self) -> None:
        for name, kind, lowest, included in (
            ("n_components", Integral, 1, "left"),
            ("learning_rate", Real, 0, "neither"),
            ("batch_size", Integral, 1, "left"),
            ("n_iter", Integral, 0, "left"),
            ("k", Integral, 1, "left"),
            ("momentum", Real, 0, "left"),
            ("weight_decay", Real, 0, "left"),
        ):
            check_scalar(getattr(self, name), name, kind, min_val=lowest, include_boundaries=included)

    def _checked(self, X: Matrix, *y: Any, reset: bool = False) -> Any:
        """X (and y), as they should be: CSR or C order, float32 or float64, in [0, 1]."""
        checked = validate_data(self, X, *y, accept_sparse="csr", dtype=_FLOATS, order="C", reset=reset)
        X, rest = (checked[0], checked[1:]) if y else (checked, ())
        values = X.data if sparse.issparse(X) else X
        if values.size and (values.min() < 0 or values.max() > 1):
            warnings.warn(
                "X holds values outside [0, 1], which are cut off there; scale it first, as MinMaxScaler does",
                PixelRangeWarning,
                stacklevel=3,
            )
            X = X.copy()
            values = X.data if sparse.issparse(X) else X
            np.clip(values, 0, 1, out=values)
        return (X, *rest) if y else X

    def _continued(self) -> np.random.RandomState:
        """The `RandomState` that goes on from call to call; `fit` begins it anew."""
        if not hasattr(self, "random_state_"):
            self.random_state_ = check_random_state(self.random_state)
        return self.random_state_

    def _in_chunks(self, X: Matrix, function: Callable[[HostArray], HostArray]) -> HostArray:
        """function(rows) of all rows of X, 1,000 at a time: sparse ones are made dense chunk by chunk."""
        return np.concatenate([function(dense(X[rows])) for rows in gen_batches(X.shape[0], _ROWS_AT_ONCE)])

    def _likelihood(self, X: Matrix, scores: HostArray, partition: LogPartition, copies: float = 1) -> LogLikelihood:
        """`LogLikelihood` of scores - log Z; warns. copies : units' values are whole numbers of 1 / copies."""

        def are_whole(rows: HostArray) -> HostArray:
            ones = copies * rows.astype(np.float64)
            return (np.abs(ones - ones.round()) < 1e-4).all(axis=1)

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
        """n_iter times learn(batches), with batches of row numbers or slices; with verbose, score() is printed."""
        begin = time.time()
        for iteration in range(1, self.n_iter + 1):
            learn(self._batches(num_rows, generator.permutation(num_rows) if shuffle else None))
            if self.verbose:
                end = time.time()
                figures = (type(self).__name__, iteration, score(), end - begin)
                print("[%s] Iteration %d, %s, time = %.2fs" % figures)  # as scikit-learn does, whatever is logged
                begin = end

    def _batches(self, num_rows: int, order: HostArray | None) -> Iterable[Rows]:
        for rows in gen_batches(num_rows, self.batch_size):
            yield rows if order is None else order[rows]


class Transformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, Estimator):
    """An estimator whose transform gives n_components features."""

    if TYPE_CHECKING:  # what a fitted subclass has
        components_: HostArray

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
