"""Restricted Boltzmann machines (RBMs) on Apache MXNet.

An RBM is a model of binary images. It learns without labels, draws new images like the training
images, fills in missing pixels, and gives the probability of an image. Train an RBM from the
command line, and use it here:

    python binary_rbm_gluon.py --dataset digits          # writes the run folder runs/gluon-digits-1
    python -m gluon_rbm --help                           # commands: sample, score, inpaint, ...

    >>> import gluon_rbm, numpy as np
    >>> parameters, num_classes = gluon_rbm.load_model("runs/gluon-digits-1")
    >>> start = np.zeros((10, 64))
    >>> chains = gluon_rbm.simulated_annealing(parameters, start, sweeps=1000, key=[0])
    >>> images = chains.visible_prob_1.asnumpy()  # (10, 64), probabilities of pixels

Or use the interface of scikit-learn, in one process:

    >>> rbm = gluon_rbm.BinaryRBM(n_components=100).fit(images)
    >>> features = rbm.transform(images)

Contents (`help(gluon_rbm.NAME)` describes each name):

    Gluon blocks         BinaryRBMBlock, MultinaryRBMBlock, ConvolutionalRBMBlock, DeepBeliefNetwork
    estimators           BinaryRBM, LabelRBMClassifier, MultinaryRBM, GaussianRBM;
                         for tables CategoricalRBM, RatingRBM, RBMImputer, RBMOutlierDetector
    files and data       load_model, load_dataset, Parameters, BinaryDeepBeliefNetwork
    sampling             sample_chains, simulated_annealing, parallel_tempering, draw_classes,
                         inpaint, run_chains
    scores               free_energy, pseudo_log_likelihood, log_partition
    for the blocks       LearningRule; units: Multinary, OffsetSigmoids, NoisyReLU, Gaussian
    other names          choose_context (CPU or GPU), InputError, DivergenceError

The documentation begins with README.md and docs/index.md. A name is imported from its module when
it is first used: importing this package imports neither NumPy nor MXNet. It installs the hook that
makes a plain `import mxnet` work with current NumPy (see `gluon_rbm.backend.import_hook`).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from gluon_rbm.backend import import_hook
from gluon_rbm.backend.version import __version__ as __version__

__all__ = [
    # Gluon blocks and networks
    "BinaryRBMBlock",
    "MultinaryRBMBlock",
    "ConvolutionalRBMBlock",
    "DeepBeliefNetwork",
    "BinaryDeepBeliefNetwork",
    # Families of units, for the blocks
    "Multinary",
    "OffsetSigmoids",
    "NoisyReLU",
    "Gaussian",
    # Estimators with the interface of scikit-learn
    "BinaryRBM",
    "LabelRBMClassifier",
    "MultinaryRBM",
    "GaussianRBM",
    "CategoricalRBM",
    "RatingRBM",
    "RBMImputer",
    "RBMOutlierDetector",
    # Parameters, and rules to learn them
    "Parameters",
    "LearningRule",
    # Files
    "load_model",
    "load_dataset",
    # Sampling
    "run_chains",
    "sample_chains",
    "simulated_annealing",
    "parallel_tempering",
    "draw_classes",
    "inpaint",
    # Scores
    "free_energy",
    "pseudo_log_likelihood",
    "log_partition",
    # Devices and errors
    "choose_context",
    "InputError",
    "DivergenceError",
]

if TYPE_CHECKING:
    from binary_rbm import BinaryRBMBlock
    from gluon_rbm.backend.devices import choose_context
    from gluon_rbm.data.datasets import load as load_dataset
    from gluon_rbm.errors import DivergenceError, InputError
    from gluon_rbm.estimators import (
        BinaryRBM,
        CategoricalRBM,
        GaussianRBM,
        LabelRBMClassifier,
        MultinaryRBM,
        RatingRBM,
        RBMImputer,
        RBMOutlierDetector,
    )
    from gluon_rbm.likelihood.ais import log_partition
    from gluon_rbm.likelihood.rules import LearningRule
    from gluon_rbm.models.binary_deep_belief import BinaryDeepBeliefNetwork
    from gluon_rbm.models.convolutional_rbm import ConvolutionalRBMBlock
    from gluon_rbm.models.deep_belief import DeepBeliefNetwork
    from gluon_rbm.models.energy import free_energy, pseudo_log_likelihood
    from gluon_rbm.models.files import read_model as load_model
    from gluon_rbm.models.multinary_rbm import MultinaryRBMBlock
    from gluon_rbm.models.parameters import Parameters
    from gluon_rbm.models.units import Gaussian, Multinary, NoisyReLU, OffsetSigmoids
    from gluon_rbm.sampling.chains import parallel_tempering, sample_chains, simulated_annealing
    from gluon_rbm.sampling.classes import draw_classes
    from gluon_rbm.sampling.gibbs import run_chains
    from gluon_rbm.sampling.inpainting import inpaint

# The same at run time: name -> full name. (The module `binary_rbm` lies beside this package.)
_EXPORTS = {
    "BinaryRBMBlock": "binary_rbm.BinaryRBMBlock",
    "MultinaryRBMBlock": "gluon_rbm.models.multinary_rbm.MultinaryRBMBlock",
    "ConvolutionalRBMBlock": "gluon_rbm.models.convolutional_rbm.ConvolutionalRBMBlock",
    "DeepBeliefNetwork": "gluon_rbm.models.deep_belief.DeepBeliefNetwork",
    "BinaryDeepBeliefNetwork": "gluon_rbm.models.binary_deep_belief.BinaryDeepBeliefNetwork",
    "Multinary": "gluon_rbm.models.units.Multinary",
    "OffsetSigmoids": "gluon_rbm.models.units.OffsetSigmoids",
    "NoisyReLU": "gluon_rbm.models.units.NoisyReLU",
    "Gaussian": "gluon_rbm.models.units.Gaussian",
    "BinaryRBM": "gluon_rbm.estimators.BinaryRBM",
    "LabelRBMClassifier": "gluon_rbm.estimators.LabelRBMClassifier",
    "MultinaryRBM": "gluon_rbm.estimators.MultinaryRBM",
    "GaussianRBM": "gluon_rbm.estimators.GaussianRBM",
    "CategoricalRBM": "gluon_rbm.estimators.CategoricalRBM",
    "RatingRBM": "gluon_rbm.estimators.RatingRBM",
    "RBMImputer": "gluon_rbm.estimators.RBMImputer",
    "RBMOutlierDetector": "gluon_rbm.estimators.RBMOutlierDetector",
    "Parameters": "gluon_rbm.models.parameters.Parameters",
    "LearningRule": "gluon_rbm.likelihood.rules.LearningRule",
    "load_model": "gluon_rbm.models.files.read_model",
    "load_dataset": "gluon_rbm.data.datasets.load",
    "run_chains": "gluon_rbm.sampling.gibbs.run_chains",
    "sample_chains": "gluon_rbm.sampling.chains.sample_chains",
    "simulated_annealing": "gluon_rbm.sampling.chains.simulated_annealing",
    "parallel_tempering": "gluon_rbm.sampling.chains.parallel_tempering",
    "draw_classes": "gluon_rbm.sampling.classes.draw_classes",
    "inpaint": "gluon_rbm.sampling.inpainting.inpaint",
    "free_energy": "gluon_rbm.models.energy.free_energy",
    "pseudo_log_likelihood": "gluon_rbm.models.energy.pseudo_log_likelihood",
    "log_partition": "gluon_rbm.likelihood.ais.log_partition",
    "choose_context": "gluon_rbm.backend.devices.choose_context",
    "InputError": "gluon_rbm.errors.InputError",
    "DivergenceError": "gluon_rbm.errors.DivergenceError",
}

import_hook.install()


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, attribute = _EXPORTS[name].rpartition(".")
    globals()[name] = found = getattr(importlib.import_module(module), attribute)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
