"""Transformers for pipelines of scikit-learn: a common scale for all features, and kernels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.metrics.pairwise import pairwise_kernels

if TYPE_CHECKING:
    from gluon_rbm.backend.types import HostArray

__all__ = ["CommonScale", "KernelOfTrainingRows"]


class CommonScale(TransformerMixin, BaseEstimator):
    """Centre each feature, and divide all features by one number.

    Parameters
    ----------
    total
        Divide by the root of the sum of the features' variances. Then the mean squared distance
        from the centre is 1. Otherwise, divide by the root of the mean of the variances.

    Attributes
    ----------
    mean_
        Means of the features, (num_features,).
    scale_
        The divisor, a number. If no feature varies, the root is replaced by 1 (with `total`, by
        the root of the number of features).
    """

    def __init__(self, total: bool = False) -> None:
        self.total = total

    def fit(self, features: HostArray, labels: Any = None) -> CommonScale:
        """Learn the means and the scale.

        Parameters
        ----------
        features
            Features (n, num_features), float.
        labels
            Not used.

        Returns
        -------
        CommonScale
            The fitted transformer itself.
        """
        self.mean_ = features.mean(axis=0)
        self.scale_ = (features - self.mean_).std() or 1
        if self.total:
            self.scale_ = self.scale_ * np.sqrt(features.shape[1]).astype(features.dtype)
        return self

    def transform(self, features: HostArray) -> HostArray:
        """Bring features to the common scale.

        Parameters
        ----------
        features
            Features (n, num_features).

        Returns
        -------
        array (n, num_features)
            Scaled features, in their dtype.
        """
        return (features - self.mean_) / self.scale_


class KernelOfTrainingRows(TransformerMixin, BaseEstimator):
    """Replace features by their kernel with each training row.

    The kernel is computed by one matrix product. This is several times as fast as libsvm, which
    computes it row by row, and one kernel serves the support vector machines of all classes.

    Parameters
    ----------
    kernel
        "linear" or "rbf".
    gamma
        Factor in the exponent of the "rbf" kernel. By default, 1 / num_features.

    Attributes
    ----------
    rows_
        The training rows, (num_training, num_features).
    """

    def __init__(self, kernel: str = "rbf", gamma: float | None = None) -> None:
        self.kernel = kernel
        self.gamma = gamma

    def fit(self, features: HostArray, labels: Any = None) -> KernelOfTrainingRows:
        """Store the training rows.

        Parameters
        ----------
        features
            Features (num_training, num_features).
        labels
            Not used.

        Returns
        -------
        KernelOfTrainingRows
            The fitted transformer itself.
        """
        self.rows_ = features
        return self

    def transform(self, features: HostArray) -> HostArray:
        """Compute the kernel of features with the training rows.

        Parameters
        ----------
        features
            Features x, (n, num_features).

        Returns
        -------
        float64 (n, num_training)
            Kernel k(x, y) with each training row y.
        """
        settings: dict[str, Any] = {} if self.gamma is None else {"gamma": self.gamma}
        return pairwise_kernels(np.asarray(features, np.float64), self.rows_, self.kernel, **settings)
