"""Missing values of a table, filled in by an RBM."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import OneToOneFeatureMixin, TransformerMixin

from gluon_rbm.errors import check_count
from gluon_rbm.estimators.common import RandomSeed
from gluon_rbm.estimators.table_rbm import TableEstimator
from gluon_rbm.estimators.tables import are_missing

if TYPE_CHECKING:
    from gluon_rbm.backend.types import HostArray
    from gluon_rbm.estimators.binary import BinaryRBM

__all__ = ["RBMImputer"]


class RBMImputer(OneToOneFeatureMixin, TransformerMixin, TableEstimator):
    """Fill in missing values by chains of an RBM that hold what is known.

    The RBM learns from the rows as they are, with their gaps, whose values are summed out of the likelihood.

    Parameters
    ----------
    estimator : BinaryRBM or None, default None
        What learns the columns' units, which are in [0, 1]; its parameters missing and softmax_groups are set here.
        None: 100 hidden units, 60 passes of CD-2.
    categorical_features : None, bool or names or numbers of columns, default None
        Which columns are categories; None: those of text, of True and False, and those that a frame says are.
    num_bins : int or None, default 10
        Numbers are a group of so many quantiles. None: one binary unit, whose probability is the number between the
        least (0) and the largest value (1), as a pixel's is; then draws are the least or the largest value.
    handle_unknown : "error" or "ignore", default "error"
        A category that was not learned is refused; or it counts as missing, but stays in the table.
    sweeps : int, default 100
        Of the chains of `transform`; values are means over the second half.
    draws : bool, default False
        Fill in draws instead of means (of numbers) and most probable values (of categories).
    random_state : int, RandomState or None, default None
        For an int `transform` gives the same in each call.

    Attributes: rbm_, the fitted `BinaryRBM`; n_features_in_, feature_names_in_.
    """

    def __init__(
        self,
        estimator: BinaryRBM | None = None,
        *,
        categorical_features: Any = None,
        num_bins: int | None = 10,
        handle_unknown: str = "error",
        sweeps: int = 100,
        draws: bool = False,
        random_state: RandomSeed = None,
    ) -> None:
        self.estimator = estimator
        self.categorical_features = categorical_features
        self.num_bins = num_bins
        self.handle_unknown = handle_unknown
        self.sweeps = sweeps
        self.draws = draws
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> RBMImputer:
        """Learn a table X (n_samples, n_features) anew; NaN, None and pandas' NA are missing. Returns self."""
        check_count("sweeps", self.sweeps)
        table = self._begin(X, "quantile", ("error", "ignore"))
        self._learn(self._encoder.encode(table))
        return self

    def transform(self, X: Any) -> HostArray:
        """X with its missing values filled in; what is known comes back as it is."""
        table, units = self._units(X)
        return self._filled(table, units, self.draws)

    def draw(self, X: Any, n_imputations: int = 5) -> HostArray:
        """Several imputations, each a draw: (n_imputations, n_samples, n_features). (Rubin 1987.)"""
        table, units = self._units(X)
        check_count("n_imputations", n_imputations)
        return np.stack([self._filled(table, units, True) for _ in range(n_imputations)])

    def _filled(self, table: HostArray, units: HostArray, draws: bool) -> HostArray:
        missing = are_missing(table)
        filled = table.astype(np.float64 if self._encoder.is_numeric else object)
        if missing.any():
            drawn = self._encoder.decode(self.rbm_.impute(units, self.sweeps, draws))
            filled[missing] = drawn[missing]
        return filled
