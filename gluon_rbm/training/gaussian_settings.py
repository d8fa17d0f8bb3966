"""Settings and presets of python -m gluon_rbm train-gaussian."""

from __future__ import annotations

from dataclasses import dataclass

from gluon_rbm.errors import InputError
from gluon_rbm.likelihood.rules import LearningRule
from gluon_rbm.models.visible_units import GAUSSIAN
from gluon_rbm.training import optimization, settings
from gluon_rbm.training.settings import setting

__all__ = ["PRESETS", "GaussianSettings"]

# Whitened faces. The hidden units are sparse. At first, their weights are vectors from the mean
# image to training images. So many units that all of them can be on at once make chains diverge:
# with weights of length w, H hidden units, V visible units and hidden bias b, H w^2 / V must stay
# well below 6 |b|.
# Experiments: docs/colour.md.
_FACES: dict[str, object] = {
    "dataset": "image-folder",
    "num_hidden": 2000,
    "initial_weights": "images",
    "initial_hidden_bias": -4.0,
    "initial_variance": 0.4,
    "k": 5,
    "num_chains": 500,
    "batch_size": 200,
    "learning_rate": 0.003,
    "learning_rate_schedule": "linear",
    "hold": 0.5,
    "average": 0.1,
    "num_epoch": 150,
    "monitor_every": 25,
    "mirror": True,
}

# Name -> defaults of other settings.
PRESETS: dict[str, dict[str, object]] = {
    "faces-32": {**_FACES, "image_size": [32, 32], "whiten": 300, "initial_deviation": 0.084},
    "faces-64": {**_FACES, "image_size": [64, 64], "whiten": 400, "initial_deviation": 0.084},
}


@dataclass(frozen=True)
class GaussianSettings:
    """All settings of train-gaussian, in the order of the help text."""

    preset: str | None = settings.preset(tuple(PRESETS), "recipe: sets defaults of other flags")
    seed: int = settings.seed()
    output_dir: str | None = settings.output_dir()
    resume: bool = settings.resume()
    tensorboard: bool = settings.tensorboard()
    num_epoch: int = setting(10, "number of epochs", number="count")
    monitor_every: int = setting(
        1, "number of epochs between estimates of the log-likelihood", number="count", resumable=True
    )
    sample_sweeps: int = setting(
        1000,
        "number of sweeps for the samples in the pictures, which start from random hidden units",
        number="count",
        resumable=True,
    )
    cuda: bool | None = settings.cuda()
    device_id: int = settings.device_id()
    engine: str = settings.engine()

    dataset: str = settings.dataset()
    data_dir: str | None = settings.data_dir()
    image_size: list[int] | None = settings.image_size()
    mirror: bool = settings.mirror()
    held_out: int = settings.held_out()
    data_loader_num_worker: int = settings.data_loader_num_worker()
    whiten: int = setting(
        0,
        "learn the first N principal components, whitened, instead of pixels; 0: pixels",
        number="natural",
        metavar="N",
    )

    network: str | None = setting(
        None,
        "run of train-multinary; learn the top-layer features of its network, and draw images through the network",
        metavar="RUN",
    )
    depth: int = setting(0, "number of RBMs of that network to use, from the images up; 0: all", number="natural")

    num_hidden: int = setting(500, "number of hidden units", number="count")
    learn_variances: bool = setting(
        True,
        "whether variances are learned",
        switches={
            "--learn-variances": (True, "learn the variance of each visible unit"),
            "--no-learn-variances": (False, "keep all variances at 1, in standardized units"),
        },
    )
    least_variance: float = setting(1e-3, "lower bound of the learned variances", number="positive")
    initial_weights: str = setting(
        "normal",
        "initial weights: normal: random normal numbers; images: those of each hidden unit point from the mean to a "
        "training image",
        choices=("normal", "images"),
    )
    initial_deviation: float = setting(0.01, "root mean square of the initial weights", number="positive")
    initial_hidden_bias: float = setting(
        0.0, "initial value of the hidden biases; below 0, most units are off at first", number="finite"
    )
    initial_variance: float = setting(1.0, "initial variance of the visible units", number="positive")
    k: int = setting(1, "number of Gibbs sweeps per step", number="count")
    chains: str = setting(
        "persistent",
        "persistent: chains continue from step to step (PCD-k); data: they start at the data (CD-k); noise: they start "
        "from noise",
        choices=("persistent", "data", "noise"),
    )
    num_chains: int = setting(0, "number of chains; 0: the batch size", number="natural")
    langevin_steps: int = setting(
        0, "number of Langevin steps that update the visible units in a sweep; 0: draw them exactly", number="natural"
    )
    langevin_step_size: float = setting(0.5, "size of a Langevin step, below 4", number="positive")
    centering: float = setting(
        0.01, "rate of the running means that center the gradient; 0: no centering", number="fraction"
    )
    batch_size: int = setting(100, "batch size", number="count")
    optimizer: str = setting("sgd", "MXNet optimizer", choices=optimization.OPTIMIZERS)
    learning_rate: float = setting(0.01, "learning rate for the mean gradient of a batch", number="amount")
    momentum: float = setting(0.0, "momentum, for optimizers that have one", number="fraction")
    learning_rate_schedule: str = settings.learning_rate_schedule()
    hold: float = settings.hold()
    weight_decay: float = setting(0.0, "L2 penalty: lambda in lambda/2 |W|^2, added to the mean loss", number="amount")
    average: float = setting(
        0.0,
        "the result is the mean of the parameters over this last fraction of the run; 0: the last parameters",
        number="fraction",
    )

    @property
    def rule(self) -> LearningRule:
        """How the RBM learns from its chains.

        Returns
        -------
        LearningRule
            The rule that these settings describe.
        """
        names = ("chains", "centering", "langevin_steps", "langevin_step_size")
        return LearningRule.checked(visible_layer=GAUSSIAN, **{name: getattr(self, name) for name in names})

    def checked(self) -> GaussianSettings:
        """Check the settings.

        Returns
        -------
        GaussianSettings
            These settings.

        Raises
        ------
        InputError
            A value is not valid, or settings contradict each other.
        """
        if self.langevin_step_size >= 4:
            raise InputError("--langevin-step-size is %s; it must be below 4" % self.langevin_step_size)
        if not self.langevin_steps and self.langevin_step_size != type(self).langevin_step_size:
            raise InputError("--langevin-step-size has no effect without --langevin-steps; give both")
        if not self.learn_variances and self.least_variance != type(self).least_variance:
            raise InputError("--least-variance applies to learned variances only; leave out --no-learn-variances")
        _ = self.rule  # the rule checks its own settings
        if self.least_variance >= 1:
            raise InputError("--least-variance is %s; it must be below 1" % self.least_variance)
        if self.depth and not self.network:
            raise InputError("--depth has no effect without --network; give both")
        return self

    def resumable(self) -> list[str]:
        """Return the names of the settings that a resumed run may change.

        Returns
        -------
        list of str
            Names, with num_epoch if the result does not depend on it.
        """
        constant = self.learning_rate_schedule == "constant" and not self.average
        return [*settings.resumable(self), *(["num_epoch"] if constant else [])]
