"""Restricted Boltzmann machines (RBMs) as scikit-learn estimators, for pipelines and grid searches.

`BinaryRBM` takes the place of `sklearn.neural_network.BernoulliRBM`. `LabelRBMClassifier` is a
joint RBM of pixels and a label that classifies. `MultinaryRBM` has units with more than two values.
For these three, X is (images, pixels) in [0, 1], dense or CSR, in float32 or float64. Values
outside are clipped, with a `PixelRangeWarning`. `GaussianRBM` is for real numbers.

Tables have estimators of their own: `CategoricalRBM` for categories, `RatingRBM` for ratings of
items by users, `RBMImputer` for missing values, and `RBMOutlierDetector` for outliers.

A fitted RBM consists of NumPy arrays. All is computed on the CPU. joblib can store estimators.
"""

from gluon_rbm.estimators.binary import BinaryRBM
from gluon_rbm.estimators.categorical import CategoricalRBM
from gluon_rbm.estimators.common import PixelRangeWarning
from gluon_rbm.estimators.gaussian import ConstantFeatureWarning, GaussianRBM
from gluon_rbm.estimators.imputer import RBMImputer
from gluon_rbm.estimators.label import LabelRBMClassifier
from gluon_rbm.estimators.multinary import MultinaryRBM
from gluon_rbm.estimators.outliers import RBMOutlierDetector
from gluon_rbm.estimators.rating import RatingRBM

__all__ = [
    "BinaryRBM",
    "CategoricalRBM",
    "ConstantFeatureWarning",
    "GaussianRBM",
    "LabelRBMClassifier",
    "MultinaryRBM",
    "PixelRangeWarning",
    "RBMImputer",
    "RBMOutlierDetector",
    "RatingRBM",
]
