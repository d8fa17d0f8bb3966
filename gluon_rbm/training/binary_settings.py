"""Settings and presets of binary_rbm_gluon.py and binary_rbm_module.py."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from gluon_rbm.backend.types import SoftmaxGroups
from gluon_rbm.data.batches import BINARIZE
from gluon_rbm.likelihood import rules
from gluon_rbm.models import label_rbm
from gluon_rbm.training import optimization, settings
from gluon_rbm.training.process_group import KV_STORES
from gluon_rbm.training.settings import setting

__all__ = ["DOCUMENTED", "PRESETS", "BinarySettings"]

# Settings that all presets with centered PCD share.
_CENTERED_PCD = {
    "num_hidden": 500,
    "binarize": "sample",
    "batch_size": 100,
    "centering": 0.01,
    "initial_visible_bias": "data",
    "learning_rate": 24.0,
    "momentum": 0.0,
    "weight_decay": 1e-4,
    "learning_rate_schedule": "linear",
    "hold": 0.3,
    "average": 0.2,
}

# Name -> defaults of other settings. Experiments behind them: docs/learning.md.
PRESETS = {
    "best": {
        **_CENTERED_PCD,
        "k": 10,
        "num_epoch": 300,
        # The test images are scored only once.
        "monitor_every": 300,
        "ais_base_rate": "data",
        "ais_batch_size": 200,
        "ais_num_batch": 1,
        "ais_intermediate_steps": 10000,
        "ais_burn_in_steps": 1,
    },
    # The RBM learns pixels and labels together. It draws images of a chosen class, and classifies.
    "labels": {
        **_CENTERED_PCD,
        "labels": True,
        "objective": "hybrid",
        "generative_weight": 1.0,
        "k": 5,
        "num_epoch": 20,
        "monitor_every": 10,
    },
    # Draws images of a chosen class in 25 sweeps from noise. Such an RBM is out of equilibrium, and
    # does nothing else well.
    "noise": {
        **_CENTERED_PCD,
        "labels": True,
        "chains": "noise",
        "k": 25,
        "learning_rate": 200.0,
        "weight_bits": 16,
        "num_epoch": 12,
        "monitor_every": 12,
    },
    # An exercise for students, with a learning rate of 0.1 for the mean over 64 images. The rate
    # here is 64 times as large, because the optimizer divides by 64 once more.
    "exercise": {
        "binarize": "sample",
        "batch_size": 64,
        "k": 1,
        "chains": "data",
        "learning_rate": 6.4,
        "momentum": 0.0,
        "initial_weights": "uniform",
        "initial_visible_bias": "uniform",
        "num_epoch": 10,
    },
}

# Flags of the original example. Do not change their names, defaults and help texts.
DOCUMENTED = (
    "num_hidden",
    "k",
    "batch_size",
    "num_epoch",
    "learning_rate",
    "momentum",
    "ais_batch_size",
    "ais_num_batch",
    "ais_intermediate_steps",
    "ais_burn_in_steps",
    "cuda",
    "device_id",
    "data_loader_num_worker",
)

_NEW, _LEARNING = "beyond the original", "learning beyond the original"
_RULE = rules.PLAIN


@dataclass(frozen=True)
class BinarySettings:
    """Settings of binary_rbm_gluon.py and binary_rbm_module.py, in the order of the help text."""

    num_hidden: int = setting(500, "number of hidden units", number="count")
    k: int = setting(30, "number of Gibbs sampling steps used in the PCD algorithm", number="count")
    batch_size: int = setting(80, "batch size", number="count")
    num_epoch: int = setting(130, "number of epochs", number="count", resumable=True)
    # The gradient is a mean over the batch. As in the original, the optimizer divides by the batch
    # size once more.
    learning_rate: float = setting(0.1, "learning rate for stochastic gradient descent", number="amount")
    momentum: float = setting(0.3, "momentum for the stochastic gradient descent", number="fraction")
    ais_batch_size: int = setting(
        100, "batch size for AIS to estimate the log-likelihood", number="count", resumable=True
    )
    ais_num_batch: int = setting(
        10, "number of batches for AIS to estimate the log-likelihood", number="count", resumable=True
    )
    ais_intermediate_steps: int = setting(
        10,
        "number of intermediate distributions for AIS to estimate the log-likelihood",
        number="count",
        resumable=True,
    )
    ais_burn_in_steps: int = setting(
        10,
        "number of burn in steps for each intermediate distributions of AIS to estimate the log-likelihood",
        number="count",
        resumable=True,
    )
    cuda: bool = setting(
        True,
        "train on GPU with CUDA, or on CPU",
        resumable=True,
        switches={"--cuda": (True, "train on GPU with CUDA"), "--no-cuda": (False, "train on CPU")},
    )
    device_id: int = setting(0, "GPU device id", number="natural", resumable=True)
    data_loader_num_worker: int = setting(
        4, "number of multithreading workers for the data loader", number="natural", resumable=True
    )

    dataset: str = settings.dataset(_NEW)
    data_dir: str | None = settings.data_dir(_NEW)
    image_size: list[int] | None = settings.image_size(_NEW)
    # Resumable, because a resumed run compares the content of the layers, not their paths.
    below: list[str] = setting(
        [],
        "trained RBMs below this one, from the images up (run folders or rbm.params files); this RBM learns the hidden "
        "probabilities of the last one",
        group=_NEW,
        resumable=True,
        nargs="+",
        metavar="MODEL",
    )
    seed: int = settings.seed(_NEW)
    output_dir: str | None = settings.output_dir(_NEW)
    resume: bool = settings.resume(_NEW)
    tensorboard: bool = settings.tensorboard(_NEW)
    engine: str = settings.engine(_NEW)
    # Resumable: any number of devices can continue the run, because they divide the same batches
    # and chains. Only the noise differs.
    num_devices: int = setting(
        1,
        "divide each batch among N GPUs, from --device-id on, or into N parts on the CPU",
        number="count",
        group=_NEW,
        resumable=True,
        metavar="N",
    )
    kv_store: str = setting(
        "device",
        "where gradients are added: local: on the CPU; device: on the devices; dist_sync: on MXNet's parameter server, "
        "for several workers, which DMLC_* variables describe (see docs/distributed.md)",
        group=_NEW,
        resumable=True,
        choices=KV_STORES,
    )
    binarize: str = setting(
        "none",
        "none: pixels stay grey; sample: each pixel is drawn as 0 or 1 at each use; threshold: 1 from 0.5 on, else 0",
        group=_NEW,
        choices=BINARIZE,
    )
    monitor_every: int = setting(
        1,
        "number of epochs between estimates of the log-likelihood (with --labels: of the error)",
        number="count",
        group=_NEW,
        resumable=True,
    )
    initial_visible_bias: str = setting(
        "zero",
        "initial visible biases: zero; data: log-odds of the mean training image; uniform: random within 0.01 of zero",
        group=_NEW,
        choices=("zero", "data", "uniform"),
    )
    initial_weights: str = setting(
        "normal",
        "initial weights: normal: with a standard deviation of 0.01; uniform: random within 0.01 of zero",
        group=_NEW,
        choices=("normal", "uniform"),
    )
    weight_decay: float = setting(
        0.0,
        "L2 penalty: lambda in lambda/2 |W|^2, added to the mean loss; biases have no penalty",
        number="amount",
        group=_NEW,
    )
    held_out: int = settings.held_out(_NEW)
    early_stopping: int = setting(
        0,
        "stop when N estimates in a row of the held-out log-likelihood (with --labels: error) have not improved on the "
        "best one, and keep the best parameters; 0: never",
        number="natural",
        group=_NEW,
        metavar="N",
    )
    ais_base_rate: str = setting(
        "model",
        "AIS starts from independent pixels: model: with the RBM's visible biases; data: with the means of the "
        "training images",
        group=_NEW,
        resumable=True,
        choices=("model", "data"),
    )

    preset: str | None = settings.preset(
        tuple(PRESETS), "recipe: sets defaults of other flags (see docs/learning.md)", _LEARNING
    )
    chains: str = setting(
        _RULE.chains,
        "persistent: chains continue from step to step (PCD); data: they start at the data (CD); noise: they start "
        "from noise; tempered: parallel tempering; trajectory: they exchange states with chains of earlier snapshots",
        group=_LEARNING,
        choices=rules.CHAINS,
    )
    num_chains: int = setting(0, "number of chains; 0: the batch size", number="natural", group=_LEARNING)
    num_temperatures: int = setting(
        _RULE.num_temperatures,
        "with --chains tempered: number of replicas of each chain, including itself",
        number="at least 2",
        group=_LEARNING,
    )
    num_snapshots: int = setting(
        _RULE.num_snapshots,
        "with --chains trajectory: maximum number of snapshots",
        number="at least 2",
        group=_LEARNING,
    )
    centering: float = setting(
        _RULE.centering,
        "rate of the running means that center the gradient; 0.01 if no RATE is given; 0: no centering",
        number="fraction",
        group=_LEARNING,
        nargs="?",
        const=0.01,
        metavar="RATE",
    )
    sparsity_target: float = setting(
        _RULE.sparsity_target,
        "p in the sparsity penalty c sum (p - q)^2, added to the mean loss; q: mean probability of a hidden unit over "
        "the batch",
        number="fraction",
        group=_LEARNING,
    )
    sparsity_cost: float = setting(
        _RULE.sparsity_cost, "c in the sparsity penalty; 0: no penalty", number="amount", group=_LEARNING
    )
    weight_decay_l1: float = setting(
        _RULE.weight_decay_l1,
        "L1 penalty: lambda in lambda |W|, added to the mean loss",
        number="amount",
        group=_LEARNING,
    )
    labels: bool = setting(False, "learn images and labels together: a joint RBM, which can classify", group=_LEARNING)
    objective: str = setting(
        _RULE.objective,
        "loss with --labels: generative: -log p(pixels, label); discriminative: -log p(label | pixels); hybrid: "
        "discriminative + ALPHA generative",
        group=_LEARNING,
        choices=label_rbm.OBJECTIVES,
    )
    generative_weight: float = setting(
        _RULE.generative_weight, "ALPHA in the hybrid objective", number="positive", group=_LEARNING, metavar="ALPHA"
    )
    weight_bits: int = setting(
        _RULE.weight_bits,
        "bits per weight when the C code runs the chains: 16: rounded weights, up to twice as fast; 32: exact",
        group=_LEARNING,
        choices=rules.WEIGHT_BITS,
        number="count",
    )
    initial_parameters: str | None = setting(
        None,
        "start with the parameters of a trained RBM (run folder or rbm.params file), and with chains at the data; the "
        "other --initial-* flags for parameters have no effect; label units that it lacks start with weights of 0",
        number="path",
        group=_LEARNING,
        metavar="MODEL",
    )
    initial_hidden_bias: float = setting(0.0, "initial value of the hidden biases", number="finite", group=_LEARNING)
    optimizer: str = setting("sgd", "MXNet optimizer", group=_LEARNING, choices=optimization.OPTIMIZERS)
    initial_momentum: float = setting(
        0.5, "momentum during the first --initial-momentum-epochs epochs", number="positive fraction", group=_LEARNING
    )
    initial_momentum_epochs: int = setting(
        0, "number of epochs with --initial-momentum, before --momentum applies", number="natural", group=_LEARNING
    )
    learning_rate_schedule: str = settings.learning_rate_schedule(_LEARNING)
    hold: float = settings.hold(_LEARNING)
    average: float = setting(
        0.0,
        "the result is the mean of the parameters over this last fraction of the run; 0: the last parameters",
        number="fraction",
        group=_LEARNING,
        metavar="FRACTION",
    )

    # True for --cuda, False for --no-cuda, None without either. With an explicit --cuda, there is
    # no fallback to the CPU.
    cuda_asked: bool | None = setting(None, None, recorded=False)
    # number of classes, from the labels of the data set; 0 without labels
    num_classes: int = setting(0, None)
    softmax_groups: SoftmaxGroups = setting((), None, recorded=False)  # from the data set

    @property
    def rule(self) -> rules.LearningRule:
        """How the RBM learns from its chains.

        Returns
        -------
        LearningRule
            The rule that these settings describe.
        """
        # Settings have no visible_layer: it is always binary.
        names = vars(self).keys() & set(rules.LearningRule._fields)
        return rules.LearningRule.checked(**{name: getattr(self, name) for name in names})

    @property
    def chains_in_all(self) -> int:
        """Number of chains on all devices and workers together.

        Returns
        -------
        int
            `num_chains`, or the batch size if it is 0.
        """
        return self.num_chains or self.batch_size

    def resumable(self) -> list[str]:
        """Return the names of the settings that a resumed run may change.

        Number of epochs and monitoring are among them only if the result does not depend on them.

        Returns
        -------
        list of str
            Names, also of entries in arguments.json that are not settings.
        """
        bound = []
        if self.learning_rate_schedule != "constant" or self.average or self.early_stopping:
            bound += ["num_epoch"]
        names = settings.resumable(self)
        if self.early_stopping:
            bound += [name for name in names if name.startswith(("ais_", "monitor_"))]
        return [*(name for name in names if name not in bound), "num_workers", "class_names"]

    def documented(self) -> argparse.Namespace:
        """Return the settings of the original example, which it prints as a Namespace.

        Returns
        -------
        argparse.Namespace
            The settings in `DOCUMENTED`.
        """
        return argparse.Namespace(**{name: getattr(self, name) for name in DOCUMENTED})

    def added(self) -> argparse.Namespace:
        """Return the other settings that have a flag.

        Returns
        -------
        argparse.Namespace
            The settings that are not in `DOCUMENTED`.
        """
        names = [
            name for name in vars(self) if name not in (*DOCUMENTED, "cuda_asked", "num_classes", "softmax_groups")
        ]
        return argparse.Namespace(**{name: getattr(self, name) for name in names})
