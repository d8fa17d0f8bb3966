"""The scikit-learn face: restricted Boltzmann machines as estimators, for pipelines, grid searches and joblib.

`BinaryRBM` takes the place of `sklearn.neural_network.BernoulliRBM`; `LabelRBMClassifier` classifies by the joint RBM
of pixels and a label; `MultinaryRBM` has units of more values than two. X is (images, pixels) in [0, 1], dense or CSR,
in float32 or float64; values outside are cut off there, with a `PixelRangeWarning`. Tables have estimators of their
own: `CategoricalRBM` of categories, `RatingRBM` of ratings of items by users, `RBMImputer` for missing values and
`RBMOutlierDetector`. `GaussianRBM` is for real numbers. Fitted RBMs are NumPy arrays, and all is computed on the CPU.
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
