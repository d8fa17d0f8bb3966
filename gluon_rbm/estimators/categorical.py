"""An RBM of categories as an estimator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import gen_batches
from sklearn.utils.validation import check_is_fitted

from gluon_rbm.errors import InputError
from gluon_rbm.estimators.binary import BinaryRBM
from gluon_rbm.estimators.columns import Category
from gluon_rbm.estimators.common import RandomSeed, seed_from, validate_data
from gluon_rbm.estimators.tables import TableEncoder, are_missing, as_objects, check_unknown, column_names
from gluon_rbm.models.energy import pseudo_log_likelihood

if TYPE_CHECKING:
    from gluon_rbm.backend.types import HostArray
    from gluon_rbm.likelihood.estimates import LogPartition
    from gluon_rbm.likelihood.scores import LogLikelihood

__all__ = ["CategoricalRBM"]

_ROWS_AT_ONCE = 1000

_OF_RBM = (  # parameters that `rbm_` takes over
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
    """An RBM of a table of categories.

    Each column is a softmax group of visible units, with a unit for each value.

        p(x, h) = exp(sum_c a_{c x_c} + b.h + sum_c sum_j W_{c x_c j} h_j) / Z

    A `BinaryRBM` of these units, `rbm_`, does the work. Before training its visible biases are
    those of independent columns.

    Parameters
    ----------
    n_components
        Number of hidden units.
    categories
        The values of each column, as in `sklearn.preprocessing.OneHotEncoder`, or "auto": the
        values in X, text or numbers.
    handle_unknown
        What happens to a value that is none of the categories. "error": it is refused; "ignore": it
        counts as missing, which `missing` must allow.
    missing
        What NaN, None and NA of pandas mean, as in `BinaryRBM`.
    learning_rate, batch_size, n_iter, verbose, random_state, k, chains, centering, momentum
        As in `BinaryRBM`. Each pass takes the rows in a new order.
    weight_decay, engine
        As in `BinaryRBM`.

    Attributes
    ----------
    categories_
        The values of each column in order, a list of arrays.
    rbm_
        The fitted `BinaryRBM` of the units.
    components_
        Weights (n_components, n_values) of `rbm_`, where n_values counts those of all columns.
    intercept_visible_
        Visible biases (n_values,) of `rbm_`.
    intercept_hidden_
        Hidden biases (n_components,) of `rbm_`.
    n_features_in_
        Number of columns in `fit`.
    feature_names_in_
        Names of the columns, if X has names that are all text.

    Examples
    --------
    >>> from gluon_rbm.estimators import CategoricalRBM
    >>> table = np.array([["rain", "umbrella"], ["sun", "hat"]] * 100)
    >>> rbm = CategoricalRBM(4, n_iter=50, missing="integrate", random_state=0).fit(table)
    >>> rbm.sample(3, sweeps=100).shape
    (3, 2)
    >>> rbm.impute(np.array([["rain", None], ["sun", None]], object)).tolist()
    [['rain', 'umbrella'], ['sun', 'hat']]
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
        """Learn a table from the beginning.

        Parameters
        ----------
        X
            Table (n_samples, n_features) of categories, text or numbers.
        y
            Ignored.

        Returns
        -------
        CategoricalRBM
            The estimator itself.

        Raises
        ------
        InputError
            A parameter is not valid, or X holds missing values that `missing` does not allow, or a
            column has no known value.
        """
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
        """Values of each column.

        Returns
        -------
        list of arrays
            For each column its values, in order.
        """
        return [column.values for column in self._encoder.columns if isinstance(column, Category)]

    @property
    def components_(self) -> HostArray:
        """Weights of all values.

        Returns
        -------
        array (n_components, n_values)
            W transposed.
        """
        return self.rbm_.components_

    @property
    def intercept_visible_(self) -> HostArray:
        """Visible biases of all values.

        Returns
        -------
        array (n_values,)
            The biases a.
        """
        return self.rbm_.intercept_visible_

    @property
    def intercept_hidden_(self) -> HostArray:
        """Biases of the hidden units.

        Returns
        -------
        array (n_components,)
            The biases b.
        """
        return self.rbm_.intercept_hidden_

    def transform(self, X: Any) -> HostArray:
        """Return p(h = 1 | row) of each hidden unit.

        Parameters
        ----------
        X
            Table (n_samples, n_features). Gaps are treated as in `BinaryRBM.transform`.

        Returns
        -------
        float32 (n_samples, n_components)
            Probabilities.
        """
        units = self._units(X)
        return self.rbm_.transform(units)

    def free_energy(self, X: Any, **settings: Any) -> HostArray:
        """Return the free energy of each row, as `BinaryRBM.free_energy` does.

        Parameters
        ----------
        X
            Table (n_samples, n_features), with or without gaps.
        **settings
            As in `BinaryRBM.free_energy`.

        Returns
        -------
        float64 (n_samples,)
            Free energies in nats.
        """
        units = self._units(X)
        return self.rbm_.free_energy(units, **settings)

    def score_samples(self, X: Any) -> HostArray:
        """Return log p(x) + log Z = -F of each row.

        It compares rows under the same RBM.

        Parameters
        ----------
        X
            Table (n_samples, n_features).

        Returns
        -------
        float64 (n_samples,)
            Scores in nats.
        """
        return -self.free_energy(X)

    def score(self, X: Any, y: Any = None) -> float:
        """Return the mean of sum_c log p(x_c | other columns) over the rows.

        This pseudo-log-likelihood (Besag 1975) compares RBMs, as in a grid search. In a row with
        gaps, the sum is over the known columns, each given the other known ones, as if the row had
        no other columns.

        Parameters
        ----------
        X
            Table (n_samples, n_features).
        y
            Ignored.

        Returns
        -------
        float
            Mean pseudo-log-likelihood in nats per row.
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
        """Estimate log Z by annealed importance sampling.

        Parameters
        ----------
        X
            Rows with the means of the base rate, as in `BinaryRBM.log_partition`.
        **settings
            As in `BinaryRBM.log_partition`.

        Returns
        -------
        LogPartition
            Estimate in nats, an `ais.LogPartition`.
        """
        check_is_fitted(self)
        return self.rbm_.log_partition(None if X is None else self._units(X), **settings)

    def log_likelihood(self, X: Any, log_partition: LogPartition | None = None, **settings: Any) -> LogLikelihood:
        """Return the mean log-likelihood of X.

        Parameters
        ----------
        X
            Table (n_samples, n_features).
        log_partition, **settings
            As in `BinaryRBM.log_likelihood`.

        Returns
        -------
        LogLikelihood
            Mean in nats per row and its standard error over the rows, an `ais.LogLikelihood`.
        """
        units = self._units(X)
        return self.rbm_.log_likelihood(units, log_partition, **settings)

    def impute(self, X: Any, sweeps: int = 100, draws: bool = False) -> HostArray:
        """Fill in missing values by chains that hold the known ones.

        Parameters
        ----------
        X
            Table (n_samples, n_features) with gaps.
        sweeps
            Number of Gibbs sweeps.
        draws
            False: fill in the most probable category given the known ones. True: fill in a draw.

        Returns
        -------
        array (n_samples, n_features)
            The table without gaps.
        """
        units = self._units(X, gaps=True)
        return self._encoder.decode(self.rbm_.impute(units, sweeps, draws))

    def sample(self, n_samples: int = 1, sweeps: int = 1000) -> HostArray:
        """Draw rows by Gibbs chains that start from random units.

        Parameters
        ----------
        n_samples
            Number of rows, each from a chain of its own.
        sweeps
            Number of Gibbs sweeps.

        Returns
        -------
        array (n_samples, n_features)
            A table of categories.
        """
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
