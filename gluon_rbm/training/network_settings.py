"""Settings and presets of python -m gluon_rbm train-multinary."""

from __future__ import annotations

from dataclasses import dataclass

from gluon_rbm.errors import InputError
from gluon_rbm.models.units import HIDDEN_UNITS, VISIBLE_UNITS
from gluon_rbm.training import optimization, settings
from gluon_rbm.training.settings import setting

__all__ = ["PRESETS", "NetworkSettings"]

_CHANNELS = [64, 128]

# Generators of Hwang, Hwang & Jo (2020). For every size of images, the last convolutional RBM has
# 256 channels of 4 x 4 units.
_GENERATOR = {"dataset": "image-folder", "dense": [1000, 500, 200, 100], "learning_rate": 0.003}

# Features for a classifier: one layer of wide filters with sparse units. Experiments:
# docs/multinary.md.
_SPARSE = {
    "initial_deviation": 0.1,
    "initial_hidden_bias": -5.0,
    "learning_rate": 0.003,
    "learning_rate_schedule": "linear",
    "num_epoch": 6,
}

# Name -> defaults of other settings.
PRESETS = {
    "mnist": {**_SPARSE, "dataset": "mnist", "channels": [64], "kernel": 10},
    "cifar10": {**_SPARSE, "dataset": "cifar10", "channels": [128], "kernel": 8},
    "celeba-64": {**_GENERATOR, "image_size": [64, 64], "channels": [64, 128, 256, 256]},
    "celeba-128": {**_GENERATOR, "image_size": [128, 128], "channels": [64, 128, 256, 256, 256]},
    # Features for a classifier, so without dense RBMs.
    "caltech-101": {**_GENERATOR, "image_size": [128, 128], "channels": [64, 128, 256, 256, 256], "dense": []},
}


@dataclass(frozen=True)
class NetworkSettings:
    """All settings of train-multinary, in the order of the help text."""

    preset: str | None = settings.preset(tuple(PRESETS), "network and recipe: sets defaults of other flags")
    seed: int = settings.seed()
    output_dir: str | None = settings.output_dir()
    resume: bool = settings.resume()
    tensorboard: bool = settings.tensorboard()
    num_epoch: int = setting(10, "number of epochs; with --training greedy: of each RBM in turn", number="count")
    monitor_every: int = setting(
        1, "number of epochs between measurements of the reconstruction error", number="count", resumable=True
    )
    sample_sweeps: int = setting(
        1,
        "number of sweeps of the top RBM for the samples in the picture, which start from normal values with the "
        "covariance of the images",
        number="natural",
        resumable=True,
    )
    cuda: bool | None = settings.cuda()
    device_id: int = settings.device_id()

    dataset: str = settings.dataset()
    data_dir: str | None = settings.data_dir()
    image_size: list[int] | None = settings.image_size()
    random_crop: int = setting(
        0,
        "pad each training image by PIXELS mirrored pixels at every edge, and crop it at a random place, at each use",
        number="natural",
        metavar="PIXELS",
    )
    mirror: bool = settings.mirror()
    strict: bool = setting(False, "stop at an image that cannot be read, instead of skipping it", resumable=True)
    held_out: int = settings.held_out()
    data_loader_num_worker: int = settings.data_loader_num_worker()

    channels: list[int] | None = setting(
        None,
        "number of filters of each convolutional RBM; by default 64 128, or none with --dense",
        number="count",
        nargs="*",
    )
    dense: list[int] | None = setting(
        None, "number of hidden units of each dense RBM, on top of the convolutional RBMs", number="count", nargs="*"
    )
    kernel: int = setting(4, "height and width of the filters", number="count")
    stride: int = setting(2, "stride of the filters", number="count")
    maximum: int = setting(255, "largest value of multinary units; 1: binary units", number="count", metavar="N")
    slope: float | None = setting(
        None, "k in the activation function f(x) = N sigma(k x); by default 1 / N", number="positive", metavar="K"
    )
    visible_units: str = setting("multinary", "kind of units for the images", choices=VISIBLE_UNITS)
    quantized: bool = setting(
        False, "round pixels to integers from 0 to N; with N = 1: black and white", aliases=("--whole",)
    )
    hidden_units: str = setting("multinary", "kind of units in all other layers", choices=HIDDEN_UNITS)

    initial_deviation: float = setting(0.01, "standard deviation of the initial weights", number="positive")
    initial_hidden_bias: float = setting(
        0.0,
        "initial hidden biases are B / k; with B below 0, most units are off at first",
        number="finite",
        metavar="B",
    )
    batch_size: int = setting(128, "batch size", number="count")
    optimizer: str = setting("adam", "MXNet optimizer", choices=optimization.OPTIMIZERS)
    learning_rate: float = setting(0.003, "learning rate for the mean loss of a batch", number="amount")
    momentum: float = setting(0.9, "momentum, for optimizers that have one", number="fraction")
    learning_rate_schedule: str = settings.learning_rate_schedule()
    hold: float = settings.hold()
    weight_decay: float = setting(0.0, "L2 penalty: lambda in lambda/2 |W|^2, added to the mean loss", number="amount")
    k: int = setting(1, "number of Gibbs sweeps from v to v' in the loss F(v) - F(v')", number="count")
    chains: str = setting(
        "data",
        "data: v' starts at the data (CD-k); persistent: it continues from step to step (PCD-k)",
        choices=("data", "persistent"),
    )
    sampled: bool = setting(
        False,
        "sample the units on the way to v', or use their means",
        switches={
            "--sampled": (True, "sample the units on the way to v'"),
            "--means": (False, "use the means of the units on the way to v'"),
        },
    )
    training: str = setting(
        "joint",
        "joint: add the losses of all RBMs; greedy: train one RBM after the other, from the images up",
        choices=("joint", "greedy"),
    )
    detach: bool = setting(
        True,
        "whether an RBM's loss changes only that RBM",
        switches={
            "--detach": (True, "an RBM's loss changes only that RBM"),
            "--no-detach": (False, "an RBM's loss also changes the RBMs below it"),
        },
    )

    @property
    def greedy(self) -> bool:
        """Whether the RBMs learn one after the other.

        Returns
        -------
        bool
            True with --training greedy.
        """
        return self.training == "greedy"

    @property
    def layers(self) -> dict[str, list[int]]:
        """Sizes of the hidden layers.

        Returns
        -------
        dict
            "channels" -> channels of each convolutional RBM; "dense" -> hidden units of each dense
            RBM. By default, there are two convolutional RBMs and no dense one.
        """
        if self.channels is None and self.dense is None:
            return {"channels": list(_CHANNELS), "dense": []}
        return {"channels": list(self.channels or []), "dense": list(self.dense or [])}

    def checked(self) -> NetworkSettings:
        """Check that the settings are consistent.

        Returns
        -------
        NetworkSettings
            These settings.

        Raises
        ------
        InputError
            Settings contradict each other.
        """
        if self.chains == "persistent" and not self.sampled:
            raise InputError("--chains persistent needs sampled units; give --sampled")
        if self.quantized and self.visible_units == "gaussian":
            raise InputError("--quantized is for multinary visible units; leave it out with --visible-units gaussian")
        if self.greedy and self.learning_rate_schedule != "constant":
            raise InputError("--training greedy has a constant learning rate; leave out --learning-rate-schedule")
        if self.greedy and not self.detach:
            raise InputError("--no-detach needs --training joint")
        return self

    def resumable(self) -> list[str]:
        """Return the names of the settings that a resumed run may change.

        Returns
        -------
        list of str
            Names, with num_epoch if the result does not depend on it; also "network", an entry of
            arguments.json.
        """
        # The other arguments and the data determine the network. Its recorded description may still
        # differ, because earlier versions use other words.
        names = [*settings.resumable(self), "network"]
        return names if self.greedy or self.learning_rate_schedule != "constant" else [*names, "num_epoch"]
