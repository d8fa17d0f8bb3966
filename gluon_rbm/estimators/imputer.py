"""Missing values of a table, filled in by an RBM."""

from __future__ import annotations

from types import MappingProxyType
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
    """Fill in missing values by chains of an RBM that hold the known values.

    The RBM learns from rows with gaps as they are: missing values are summed out of the likelihood.

    Parameters
    ----------
    estimator
        The `BinaryRBM` that learns the units of the columns, which are in [0, 1]. Its parameters
        missing and softmax_groups are set here. None: 30 hidden units and CD-2 at the rate 0.05,
        with at least 60 passes and at least 2,000 steps of 50 rows. A table of many columns may
        need more hidden units; a table of few rows fewer steps.
    categorical_features
        Which columns are categories: a bool for each column, or names or numbers of columns. None:
        columns of text, columns of True and False, and columns that are categories in a data frame.
    num_bins
        Number of quantile bins. A number becomes a softmax group with a unit for each bin. None: it
        is one binary unit, as a pixel is. The probability of this unit is the number, scaled from
        the smallest value (0) to the largest (1); draws are then the smallest or the largest value.
    handle_unknown
        What happens to a category that `fit` has not seen. "error": it is refused; "ignore": it
        counts as missing for the RBM, but stays in the table.
    sweeps
        Gibbs sweeps in `transform`. Filled-in values are means over the second half.
    draws
        Whether to fill in draws instead of means (of numbers) and most probable values (of
        categories).
    random_state
        Integer, generator or None. With an integer, `transform` gives the same values in each call.

    Attributes
    ----------
    rbm_
        The fitted `BinaryRBM`.
    n_features_in_
        Number of columns in `fit`.
    feature_names_in_
        Names of the columns, if X has names that are all text.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from gluon_rbm.estimators import BinaryRBM, RBMImputer
    >>> flowers = load_iris().data
    >>> flowers[::10, 2] = np.nan
    >>> imputer = RBMImputer(BinaryRBM(16, n_iter=20), random_state=0)
    >>> filled = imputer.fit_transform(flowers)
    >>> print(filled.shape, np.isnan(filled).sum())
    (150, 4) 0
    >>> imputer.draw(flowers[:20], 3).shape
    (3, 20, 4)
    """

    least_steps = 2000  #: as in `TableEstimator`
    # Too slow an RBM fills in the mean where a value is missing because of another column.
    defaults = MappingProxyType({"n_components": 30, "learning_rate": 0.05})  #: as in `TableEstimator`

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
        """Learn a table from the beginning.

        Parameters
        ----------
        X
            Table (n_samples, n_features) of numbers, categories or both. NaN, None and NA of pandas
            are missing values.
        y
            Ignored.

        Returns
        -------
        RBMImputer
            The estimator itself.

        Raises
        ------
        InputError
            A parameter is not valid, or a column cannot be used, such as one without any known
            value.
        """
        check_count("sweeps", self.sweeps)
        self._learn(self._describe(*self._begin(X, ("error", "ignore")), "quantile"))
        return self

    def transform(self, X: Any) -> HostArray:
        """Fill in the missing values of a table.

        Parameters
        ----------
        X
            Table (n_samples, n_features), with the columns of `fit`.

        Returns
        -------
        array (n_samples, n_features)
            The table without gaps, float64, or object if there are categories. Known values stay as
            they are.
        """
        return self._filled(X, [self.draws])[0]

    def draw(self, X: Any, n_imputations: int = 5) -> HostArray:
        """Draw several imputations of a table.

        Parameters
        ----------
        X
            As in `transform`.
        n_imputations
            Number of imputations.

        Returns
        -------
        array (n_imputations, n_samples, n_features)
            Tables as `transform` returns them, each with draws of its own.

        Notes
        -----
        All draws come from one fitted RBM. They do not show the uncertainty of its parameters, so
        intervals by the rules of multiple imputation (Rubin 1987) are too narrow.
        """
        return np.stack(self._filled(X, [True] * check_count("n_imputations", n_imputations)))

    def _filled(self, X: Any, draws: Sequence[bool]) -> list[HostArray]:
        """The table with its gaps filled in, once for each of `draws`."""
        table, units = self._units(X)
        missing, generator, found = are_missing(table), check_random_state(self.random_state), []
        for drawn in draws:
            filled = table.astype(np.float64 if self._encoder.is_numeric else object)
            if missing.any():
                values = self.rbm_._imputed(units, self.sweeps, drawn, key_from(generator))
                filled[missing] = self._encoder.decode(values)[missing]
            found.append(filled)
        return found
