"""Outliers: rows that are improbable under an RBM of the others."""

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
    """Tell rows that do not belong to the others by their free energy under an RBM.

    score_samples is -F(v) = log p(v) + log Z, of what is known of a row where it has gaps. A row is an outlier where
    its score is below `offset_`, which one of two parameters sets.

    Parameters
    ----------
    estimator : BinaryRBM or None, default None
        What learns the columns' units, which are in [0, 1]; its parameters missing and softmax_groups are set here.
        None: 100 hidden units, 60 passes of CD-2.
    contamination : float in (0, 0.5], default 0.1
        offset_ is this quantile of the scores of the rows that were learned. New rows have lower scores than these, the
        fewer rows were learned the more so: to judge new ones, give false_alarm_rate.
    false_alarm_rate : float in (0, 1) or None, default None
        In place of contamination: of new rows that belong to the others so many are called outliers, at most, on
        average over what is held out. The RBM learns a part of X; of the n scores of the rest, offset_ is the one of
        rank floor(rate (n + 1)) (a split conformal threshold: Vovk, Gammerman & Shafer 2005; Bates et al., Annals of
        Statistics 51, 2023).
    validation_fraction : float in (0, 1), default 0.3
        That rest.
    categorical_features
        As in `RBMImputer`.
    num_bins : int or None, default 10
        Numbers are a group of so many bins of one width, and two for what is beyond all that was learned. None: one
        binary unit, as a pixel; what is beyond the least and the largest value that were learned is cut off.
    handle_unknown : "other", "error" or "ignore", default "other"
        A category that was not learned is like a value beyond: each column has a unit for such; or it is refused; or it
        counts as missing.
    random_state : int, RandomState or None, default None

    Attributes: rbm_, the fitted `BinaryRBM`; offset_; n_features_in_, feature_names_in_.
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
        """Learn a table X (n_samples, n_features) anew, and where outliers begin; returns self."""
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
        # Bins and categories, too, are of the rows that are learned: else the held-out ones would be known better.
        self._learn(self._describe(table[order[count:]], dtypes, "uniform"))
        held_out = np.sort(self._scores(self._encoder.encode(table[order[:count]])))
        self.offset_ = float(held_out[rank - 1])
        return self

    def _scores(self, units: HostArray) -> HostArray:
        return -self.rbm_.free_energy(units)

    def score_samples(self, X: Any) -> HostArray:
        """-F(v) of each row: float64 (n_samples,), in nats. The lower, the less it belongs to the others."""
        return self._scores(self._units(X)[1])

    def decision_function(self, X: Any) -> HostArray:
        """score_samples(X) - offset_: negative for outliers."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> HostArray:
        """-1 for outliers, 1 for others: int (n_samples,)."""
        return np.where(self.decision_function(X) < 0, -1, 1)
