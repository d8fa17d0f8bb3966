"""Settings and presets of python -m gluon_rbm train-multinary."""

from __future__ import annotations

from dataclasses import dataclass

from gluon_rbm.errors import InputError
from gluon_rbm.models.units import HIDDEN_UNITS, VISIBLE_UNITS
from gluon_rbm.training import optimization, settings
from gluon_rbm.training.settings import setting

__all__ = ["PRESETS", "NetworkSettings"]

_CHANNELS = [64, 128]

# Generators of Hwang, Hwang & Jo (2020). The last convolutional RBM has 256 channels of 4 x 4 units
# for every image size.
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

    preset: str | None = settings.preset(tuple(PRESETS), "a network and its recipe: defaults of other flags")
    seed: int = settings.seed()
    output_dir: str | None = settings.output_dir()
    resume: bool = settings.resume()
    tensorboard: bool = settings.tensorboard()
    num_epoch: int = setting(10, "number of epochs; of each RBM in turn with greedy training", number="count")
    monitor_every: int = setting(
        1, "epochs between two looks at the reconstruction error", number="count", resumable=True
    )
    sample_sweeps: int = setting(
        1,
        "samples of the picture: sweeps of the top RBM, from normal values with the images' covariance",
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
        "mirror so many pixels outwards at the edges of a training image, and crop anywhere in it, at every use",
        number="natural",
        metavar="PIXELS",
    )
    mirror: bool = settings.mirror()
    strict: bool = setting(False, "stop at an image that cannot be read, instead of leaving it out", resumable=True)
    held_out: int = settings.held_out()
    data_loader_num_worker: int = settings.data_loader_num_worker()

    channels: list[int] | None = setting(
        None, "filters of each convolutional RBM; without --dense: 64 128", number="count", nargs="*"
    )
    dense: list[int] | None = setting(None, "hidden units of each dense RBM on top of them", number="count", nargs="*")
    kernel: int = setting(4, "side of the filters", number="count")
    stride: int = setting(2, "places from one filter to the next", number="count")
    maximum: int = setting(255, "the largest value of multinary units; 1: binary ones", number="count", metavar="N")
    slope: float | None = setting(None, "k in f(x) = N sigma(k x); by default 1 / N", number="positive", metavar="K")
    visible_units: str = setting("multinary", "units of the images", choices=VISIBLE_UNITS)
    quantized: bool = setting(
        False, "round pixels to whole values from 0 to N; with N = 1: black and white", aliases=("--whole",)
    )
    hidden_units: str = setting("multinary", "units of all other layers", choices=HIDDEN_UNITS)

    initial_deviation: float = setting(0.01, "standard deviation that weights start with", number="positive")
    initial_hidden_bias: float = setting(
        0.0, "hidden biases start at B / k: below 0, most units are off at first", number="finite", metavar="B"
    )
    batch_size: int = setting(128, "batch size", number="count")
    optimizer: str = setting("adam", "MXNet's optimizer of that name", choices=optimization.OPTIMIZERS)
    learning_rate: float = setting(0.003, "learning rate on the mean loss of a batch", number="amount")
    momentum: float = setting(0.9, "momentum, of optimizers that have one", number="fraction")
    learning_rate_schedule: str = settings.learning_rate_schedule()
    hold: float = settings.hold()
    weight_decay: float = setting(0.0, "lambda in lambda/2 |W|^2, added to the mean loss", number="amount")
    k: int = setting(1, "sweeps from v to v' in the loss F(v) - F(v')", number="count")
    chains: str = setting(
        "data", "v' starts at the data (CD-k), or goes on from step to step (PCD-k)", choices=("data", "persistent")
    )
    sampled: bool = setting(
        False,
        "draw the units on the way to v', or go by means",
        switches={"--sampled": (True, "draw the units on the way to v'"), "--means": (False, "go to v' by means")},
    )
    training: str = setting(
        "joint",
        "add the losses of all RBMs, or train one after the other, from the images up",
        choices=("joint", "greedy"),
    )
    detach: bool = setting(
        True,
        "whether an RBM's loss teaches that RBM alone",
        switches={
            "--detach": (True, "an RBM's loss teaches that RBM alone"),
            "--no-detach": (False, "it teaches those below, too"),
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
            raise InputError("persistent chains are drawn, they do not go by means: give --sampled")
        if self.quantized and self.visible_units == "gaussian":
            raise InputError("--quantized rounds pixels to whole values, which Gaussian visible units do not have")
        if self.greedy and self.learning_rate_schedule != "constant":
            raise InputError("--training greedy keeps the learning rate: leave --learning-rate-schedule out")
        if self.greedy and not self.detach:
            raise InputError("--no-detach lets all RBMs learn from all losses: it needs --training joint")
        return self

    def resumable(self) -> list[str]:
        """Return the names of the settings that a resumed run may change.

        Returns
        -------
        list of str
            Names, with num_epoch if the result does not depend on it; also "network", an entry of
            arguments.json.
        """
        # The other arguments and the data determine the network. Its recorded description may
        # differ, because earlier versions use other words.
        names = [*settings.resumable(self), "network"]
        return names if self.greedy or self.learning_rate_schedule != "constant" else [*names, "num_epoch"]
