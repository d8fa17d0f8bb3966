"""A transformer for scikit-learn's pipelines that keeps the ratios of the features' variances."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

if TYPE_CHECKING:
    from gluon_rbm.backend.types import HostArray

__all__ = ["CommonScale"]


class CommonScale(TransformerMixin, BaseEstimator):
    """Centres each feature and divides all of them by one number.

    Parameters
    ----------
    total : bool
        Divide by the root of the sum of the features' variances: the mean squared distance from the centre is then 1.
        Otherwise divide by the root of the mean of their variances.

    Attributes
    ----------
    mean_ : (num_features,)
    scale_ : number, 1 where no feature varies
    """

    def __init__(self, total: bool = False) -> None:
        self.total = total

    def fit(self, features: HostArray, labels: Any = None) -> CommonScale:
        """Learn the mean and the scale of features (n, num_features)."""
        self.mean_ = features.mean(axis=0)
        self.scale_ = (features - self.mean_).std() or 1
        if self.total:
            self.scale_ = self.scale_ * np.sqrt(features.shape[1]).astype(features.dtype)
        return self

    def transform(self, features: HostArray) -> HostArray:
        """Features (n, num_features) on the common scale, in their dtype."""
        return (features - self.mean_) / self.scale_
