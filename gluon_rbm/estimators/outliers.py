"""Outliers: rows that are improbable under an RBM that learned from the other rows."""

from __future__ import annotations

import math
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import OutlierMixin
from sklearn.utils import check_random_state, check_scalar

from gluon_rbm.errors import InputError
from gluon_rbm.estimators.common import RandomSeed
from gluon_rbm.estimators.table_rbm import TableEstimator

if TYPE_CHECKING:
    from gluon_rbm.backend.types import HostArray
    from gluon_rbm.estimators.binary import BinaryRBM

__all__ = ["RBMOutlierDetector"]


class RBMOutlierDetector(OutlierMixin, TableEstimator):
    """Detect rows that do not belong to the others by their free energy under an RBM.

    The score of a row is -F(v) = log p(v) + log Z. For a row with gaps it is that of the known
    values. A row is an outlier if its score is below `offset_`. Either `contamination` or
    `false_alarm_rate` sets this threshold.

    Parameters
    ----------
    estimator
        The `BinaryRBM` that learns the units of the columns, which are in [0, 1]. Its parameters
        missing and softmax_groups are set here. None: 100 hidden units and 60 passes of CD-2.
    contamination
        Fraction in (0, 0.5]. `offset_` is this quantile of the scores of the rows in `fit`. New
        rows have lower scores than these, the more so the fewer rows were learned. To judge new
        rows, give `false_alarm_rate`.
    false_alarm_rate
        Fraction in (0, 1) that is used in place of `contamination`; or None. On average over the
        choice of held-out rows, at most this fraction of new rows that belong to the others is
        called outliers. The RBM learns a part of X. Of the n scores of the held-out rest, `offset_`
        is the one of rank floor(rate (n + 1)), counted from the lowest.
    validation_fraction
        Fraction of X in (0, 1) that is held out for `false_alarm_rate`.
    categorical_features
        As in `RBMImputer`.
    num_bins
        Number of bins of equal width. A number becomes a softmax group with a unit for each bin,
        and two more for values beyond them: outside of the learned range, or more than three
        interquartile ranges from the middle half of the learned values. None: it is one binary
        unit, as a pixel is, and values beyond the smallest and the largest learned ones are
        clipped.
    handle_unknown
        What happens to a category that `fit` has not seen. "other": each column has a unit for such
        categories; "error": it is refused; "ignore": it counts as missing.
    random_state
        Integer, generator or None. An integer gives the same result every time.

    Attributes
    ----------
    rbm_
        The fitted `BinaryRBM`.
    offset_
        Threshold of the scores, in nats.
    n_features_in_
        Number of columns in `fit`.
    feature_names_in_
        Names of the columns, if X has names that are all text.

    Notes
    -----
    The threshold by `false_alarm_rate` is that of split conformal prediction (Vovk, Gammerman &
    Shafer 2005; Bates et al., Annals of Statistics 51, 2023).

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from gluon_rbm.estimators import BinaryRBM, RBMOutlierDetector
    >>> flowers = load_iris().data
    >>> rbm = BinaryRBM(16, n_iter=20)
    >>> detector = RBMOutlierDetector(rbm, false_alarm_rate=0.1, random_state=0).fit(flowers)
    >>> detector.predict(np.array([[100.0, -100.0, 100.0, -100.0]])).tolist()
    [-1]
    """

    def __init__(
        self,
        estimator: BinaryRBM | None = None,
        *,
        contamination: float = 0.1,
        false_alarm_rate: float | None = None,
        validation_fraction: float = 0.3,
        categorical_features: Any = None,
        num_bins: int | None = 10,
        handle_unknown: str = "other",
        random_state: RandomSeed = None,
    ) -> None:
        self.estimator = estimator
        self.contamination = contamination
        self.false_alarm_rate = false_alarm_rate
        self.validation_fraction = validation_fraction
        self.categorical_features = categorical_features
        self.num_bins = num_bins
        self.handle_unknown = handle_unknown
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> RBMOutlierDetector:
        """Learn a table from the beginning, and set the threshold.

        Parameters
        ----------
        X
            Table (n_samples, n_features) of numbers, categories or both, with or without gaps.
        y
            Ignored.

        Returns
        -------
        RBMOutlierDetector
            The estimator itself.

        Raises
        ------
        InputError
            There are too few rows for the false alarm rate, a parameter is not valid, or a column
            cannot be used.
        """
        check_scalar(self.contamination, "contamination", Real, min_val=0, max_val=0.5, include_boundaries="right")
        table, dtypes = self._begin(X, ("other", "error", "ignore"))
        if self.false_alarm_rate is None:
            units = self._describe(table, dtypes, "uniform")
            self._learn(units)
            self.offset_ = float(np.percentile(self._scores(units), 100 * self.contamination))
            return self
        rate, fraction = self.false_alarm_rate, self.validation_fraction
        for name, value in (("false_alarm_rate", rate), ("validation_fraction", fraction)):
            check_scalar(value, name, Real, min_val=0, max_val=1, include_boundaries="neither")
        order = check_random_state(self.random_state).permutation(len(table))
        count = int(fraction * len(table))
        rank = math.floor(rate * (count + 1))
        if not 1 <= rank <= count < len(table):
            raise InputError(
                "a false alarm rate of %g needs %d held-out rows or more; %d of %d are (a fraction of %g): ask for a "
                "larger rate, or give more rows" % (rate, math.ceil(1 / rate) - 1, count, len(table), fraction)
            )
        # Bins and categories come from the learned rows only. Otherwise held-out rows would fit
        # them better than new rows do.
        self._learn(self._describe(table[order[count:]], dtypes, "uniform"))
        held_out = np.sort(self._scores(self._encoder.encode(table[order[:count]])))
        self.offset_ = float(held_out[rank - 1])
        return self

    def _scores(self, units: HostArray) -> HostArray:
        return -self.rbm_.free_energy(units)

    def score_samples(self, X: Any) -> HostArray:
        """Return -F(v) of each row.

        The lower it is, the less a row belongs to the others.

        Parameters
        ----------
        X
            Table (n_samples, n_features), with the columns of `fit`.

        Returns
        -------
        float64 (n_samples,)
            Scores in nats.
        """
        return self._scores(self._units(X)[1])

    def decision_function(self, X: Any) -> HostArray:
        """Return `score_samples` minus `offset_`.

        Parameters
        ----------
        X
            As in `score_samples`.

        Returns
        -------
        float64 (n_samples,)
            Differences in nats, negative for outliers.
        """
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> HostArray:
        """Tell which rows are outliers.

        Parameters
        ----------
        X
            As in `score_samples`.

        Returns
        -------
        int (n_samples,)
            -1 for outliers, 1 for other rows.
        """
        return np.where(self.decision_function(X) < 0, -1, 1)
