"""The scikit-learn face: restricted Boltzmann machines as estimators, for pipelines, grid searches and joblib.

`BinaryRBM` takes the place of `sklearn.neural_network.BernoulliRBM`; `LabelRBMClassifier` classifies by the joint RBM
of pixels and a label; `MultinaryRBM` has units of more values than two. X is (images, pixels) in [0, 1], dense or CSR,
in float32 or float64; values outside are cut off there, with a `PixelRangeWarning`. Fitted RBMs are NumPy arrays,
and all is computed on the CPU.
"""

from gluon_rbm.estimators.binary import BinaryRBM
from gluon_rbm.estimators.common import PixelRangeWarning
from gluon_rbm.estimators.label import LabelRBMClassifier
from gluon_rbm.estimators.multinary import MultinaryRBM

__all__ = ["BinaryRBM", "LabelRBMClassifier", "MultinaryRBM", "PixelRangeWarning"]
