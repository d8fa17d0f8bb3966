"""An RBM of categories, as an estimator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import gen_batches
from sklearn.utils.validation import check_is_fitted

from gluon_rbm.errors import InputError
from gluon_rbm.estimators.binary import BinaryRBM
from gluon_rbm.estimators.common import RandomSeed, seed_from, validate_data
from gluon_rbm.estimators.tables import Category, TableEncoder, are_missing, as_objects, check_unknown, column_names
from gluon_rbm.models.energy import pseudo_log_likelihood

if TYPE_CHECKING:
    from gluon_rbm.backend.types import HostArray
    from gluon_rbm.likelihood.estimates import LogPartition
    from gluon_rbm.likelihood.scores import LogLikelihood

__all__ = ["CategoricalRBM"]

_ROWS_AT_ONCE = 1000

_OF_RBM = (  # parameters of the `BinaryRBM` within
    "n_components",
    "learning_rate",
    "batch_size",
    "n_iter",
    "verbose",
    "k",
    "chains",
    "centering",
    "momentum",
    "weight_decay",
    "engine",
    "missing",
)


class CategoricalRBM(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """An RBM of a table of categories: each column is a softmax group of visible units, a unit for each value.

        p(x, h) = exp(sum_c a_{c x_c} + b.h + sum_c sum_j W_{c x_c j} h_j) / Z

    Within is a `BinaryRBM` of the columns' units (`rbm_`), from independent columns on.

    Parameters
    ----------
    n_components : int, default 100
        Hidden units.
    categories : "auto" or list of arrays, default "auto"
        The values of each column, as in `sklearn.preprocessing.OneHotEncoder`; "auto": those that X has, text or
        numbers.
    handle_unknown : "error" or "ignore", default "error"
        A value that is none of the categories is refused; or it counts as missing, which `missing` then has to allow.
    missing : "error", "omit" or "integrate", default "error"
        What NaN, None and pandas' NA mean, as in `BinaryRBM`.
    learning_rate, batch_size, n_iter, verbose, k, chains, centering, momentum, weight_decay, engine
        As in `BinaryRBM`; rows come in a new order in each pass.
    random_state : int, RandomState or None, default None

    Attributes: categories_, the values of each column in order; rbm_; components_, intercept_visible_ and
    intercept_hidden_, those of rbm_; n_features_in_, feature_names_in_.
    """

    def __init__(
        self,
        n_components: int = 100,
        *,
        categories: Any = "auto",
        handle_unknown: str = "error",
        missing: str = "error",
        learning_rate: float = 0.02,
        batch_size: int = 50,
        n_iter: int = 50,
        verbose: int = 0,
        random_state: RandomSeed = None,
        k: int = 2,
        chains: str = "data",
        centering: float = 0.01,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        engine: str = "auto",
    ) -> None:
        self.n_components = n_components
        self.categories = categories
        self.handle_unknown = handle_unknown
        self.missing = missing
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.n_iter = n_iter
        self.verbose = verbose
        self.random_state = random_state
        self.k = k
        self.chains = chains
        self.centering = centering
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.engine = engine

    if TYPE_CHECKING:
        n_features_in_: int

    def fit(self, X: Any, y: Any = None) -> CategoricalRBM:
        """Learn a table X (n_samples, n_features) of categories anew; returns self."""
        check_unknown(self.handle_unknown, ("error", "ignore"))
        if self.handle_unknown == "ignore" and self.missing == "error":
            raise InputError("handle_unknown='ignore' takes what is unknown for missing; give missing='omit', too")
        table = self._table(X, reset=True)
        if isinstance(self.categories, str):
            if self.categories != "auto":
                raise InputError("categories is %r; it must be 'auto', or the values of each column" % self.categories)
        elif len(self.categories) != self.n_features_in_:
            raise InputError("categories are of %d columns; X has %d" % (len(self.categories), self.n_features_in_))
        everything = np.ones(self.n_features_in_, bool)
        self._encoder = TableEncoder(
            table, everything, column_names(self), self.categories, handle_unknown=self.handle_unknown
        )
        self.rbm_ = BinaryRBM(
            **{name: getattr(self, name) for name in _OF_RBM},
            random_state=seed_from(self.random_state),
            softmax_groups=self._encoder.softmax_groups,
            initial_visible_bias="data",
            shuffle=True,
        ).fit(self._encoder.encode(table))
        return self

    def _table(self, X: Any, gaps: bool = False, reset: bool = False) -> HostArray:
        table = np.asarray(validate_data(self, as_objects(X), dtype=None, ensure_all_finite="allow-nan", reset=reset))
        if not gaps and self.missing == "error" and are_missing(table).any():
            raise InputError("X holds NaN (or None, or NA); missing='omit' or 'integrate' says what it means")
        return table

    def _units(self, X: Any, gaps: bool = False) -> HostArray:
        check_is_fitted(self)
        return self._encoder.encode(self._table(X, gaps))

    @property
    def categories_(self) -> list[HostArray]:
        """The values of each column, in order."""
        return [column.values for column in self._encoder.columns if isinstance(column, Category)]

    @property
    def components_(self) -> HostArray:
        """W, transposed: (n_components, values of all columns)."""
        return self.rbm_.components_

    @property
    def intercept_visible_(self) -> HostArray:
        """a, of the values of all columns."""
        return self.rbm_.intercept_visible_

    @property
    def intercept_hidden_(self) -> HostArray:
        """b: (n_components,)."""
        return self.rbm_.intercept_hidden_

    def transform(self, X: Any) -> HostArray:
        """E[h | row]: float32 (n_samples, n_components). With gaps as `BinaryRBM.transform`."""
        units = self._units(X)
        return self.rbm_.transform(units)

    def free_energy(self, X: Any, **settings: Any) -> HostArray:
        """F of each row, with or without gaps: float64 (n_samples,), in nats. As `BinaryRBM.free_energy`."""
        units = self._units(X)
        return self.rbm_.free_energy(units, **settings)

    def score_samples(self, X: Any) -> HostArray:
        """log p(x) + log Z = -F of each row: float64 (n_samples,), in nats. By it one RBM's rows compare."""
        return -self.free_energy(X)

    def score(self, X: Any, y: Any = None) -> float:
        """The mean of sum_c log p(x_c | other columns), in nats per row: by it RBMs compare, as in a grid search.

        Of a row with gaps, known columns given the other known ones, as if it had no more. (Besag 1975.)
        """
        units = self._units(X)
        parameters, groups = self.rbm_.parameters_, self.rbm_.softmax_groups
        total = 0.0
        for rows in gen_batches(len(units), _ROWS_AT_ONCE):
            known, filled = ~np.isnan(units[rows]), np.nan_to_num(units[rows]).astype(np.float64)
            for start, stop in groups:
                terms = pseudo_log_likelihood(parameters, filled, np.full(len(filled), start), groups)
                total += (stop - start) / units.shape[1] * terms[known[:, start]].sum()
        return float(total / len(units))

    def log_partition(self, X: Any = None, **settings: Any) -> LogPartition:
        """log Z by annealed importance sampling, as `BinaryRBM.log_partition`. X : rows with the base rate's means."""
        check_is_fitted(self)
        return self.rbm_.log_partition(None if X is None else self._units(X), **settings)

    def log_likelihood(self, X: Any, log_partition: LogPartition | None = None, **settings: Any) -> LogLikelihood:
        """Mean log-likelihood of X in nats per row, as `BinaryRBM.log_likelihood`."""
        units = self._units(X)
        return self.rbm_.log_likelihood(units, log_partition, **settings)

    def impute(self, X: Any, sweeps: int = 100, draws: bool = False) -> HostArray:
        """X with missing values filled in: the most probable category given what is known, or with draws a sample."""
        units = self._units(X, gaps=True)
        return self._encoder.decode(self.rbm_.impute(units, sweeps, draws))

    def sample(self, n_samples: int = 1, sweeps: int = 1000) -> HostArray:
        """Draw rows from nothing: a table (n_samples, n_features), after so many sweeps from random units on."""
        check_is_fitted(self)
        return self._encoder.decode(self.rbm_.sample(n_samples, sweeps))

    @property
    def _n_features_out(self) -> int:
        return len(self.intercept_hidden_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.categorical = tags.input_tags.string = True
        tags.input_tags.allow_nan = self.missing != "error"
        tags.transformer_tags.preserves_dtype = []
        return tags

    def _more_tags(self) -> dict[str, Any]:  # scikit-learn < 1.6
        kinds = ["2darray", "categorical", "string"]
        return {"X_types": kinds, "allow_nan": self.missing != "error", "preserves_dtype": []}
