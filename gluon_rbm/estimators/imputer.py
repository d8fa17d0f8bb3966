"""Missing values of a table, filled in by an RBM."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Sequence

import numpy as np
from sklearn.base import OneToOneFeatureMixin, TransformerMixin
from sklearn.utils import check_random_state

from gluon_rbm.errors import check_count
from gluon_rbm.estimators.common import RandomSeed, key_from
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
        None: 100 hidden units, CD-2, 60 passes or as many as 2,000 steps of 50 rows take.
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

    least_steps = 2000

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
        self._learn(self._describe(*self._begin(X, ("error", "ignore")), "quantile"))
        return self

    def transform(self, X: Any) -> HostArray:
        """X with its missing values filled in; what is known comes back as it is."""
        return self._filled(X, [self.draws])[0]

    def draw(self, X: Any, n_imputations: int = 5) -> HostArray:
        """Several imputations, each a draw: (n_imputations, n_samples, n_features). (Rubin 1987.)"""
        return np.stack(self._filled(X, [True] * check_count("n_imputations", n_imputations)))

    def _filled(self, X: Any, draws: Sequence[bool]) -> list[HostArray]:
        """The table with its gaps filled in, for each of `draws` anew."""
        table, units = self._units(X)
        missing, generator, found = are_missing(table), check_random_state(self.random_state), []
        for drawn in draws:
            filled = table.astype(np.float64 if self._encoder.is_numeric else object)
            if missing.any():
                values = self.rbm_._imputed(units, self.sweeps, drawn, key_from(generator))
                filled[missing] = self._encoder.decode(values)[missing]
            found.append(filled)
        return found
