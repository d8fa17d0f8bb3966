"""Runs of python -m gluon_rbm train-gaussian: Gaussian-Bernoulli RBMs of grey or colour images."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import replace
from typing import Any, Iterable, Mapping, Sequence

import numpy as np

from gluon_rbm.backend import logs
from gluon_rbm.backend.array_files import sha256
from gluon_rbm.backend.arrays import from_host, to_numpy
from gluon_rbm.backend.random import make_generator
from gluon_rbm.backend.types import HostArray, NDArray
from gluon_rbm.data import datasets, splits
from gluon_rbm.data.batches import prepare_batches
from gluon_rbm.data.datasets import DataSet
from gluon_rbm.data.standardization import Standardization
from gluon_rbm.data.transforms import augment
from gluon_rbm.errors import InputError
from gluon_rbm.evaluation import plots
from gluon_rbm.evaluation.tiles import strongest_filters
from gluon_rbm.likelihood import ais, densities
from gluon_rbm.models import networks
from gluon_rbm.models.gaussian_rbm import LOG_VARIANCE, GaussianParameters, check_variances
from gluon_rbm.models.image_features import Code, ImageFeatures
from gluon_rbm.models.visible_units import GAUSSIAN
from gluon_rbm.sampling import gibbs
from gluon_rbm.sampling.gaussian_images import draw_images
from gluon_rbm.training import optimization, settings, tensorboard
from gluon_rbm.training.gaussian_learner import GaussianLearner, initial_arrays
from gluon_rbm.training.gaussian_settings import GaussianSettings
from gluon_rbm.training.loop import EpochEnd, OnStep
from gluon_rbm.training.process_group import ProcessGroup
from gluon_rbm.training.run import Plan, carry_out, check_batch_size, open_folder
from gluon_rbm.training.run_folder import default_name
from gluon_rbm.training.state import Lengths, TrainState

__all__ = ["train"]

_SIDE = 10  # rows and columns of images in the showcase
_WATCHED = 64  # filters and samples for TensorBoard
_CHAINS, _DISTRIBUTIONS = 100, 1000  # for the estimates of log Z
_IMAGES = 2000  # images for the mean density
_LOOKED_AT = 5000  # fewest images that the initial parameters depend on

# Purposes of random numbers. Each use has its own key (seed, purpose, ...).
_WEIGHTS, _SHUFFLE, _SWEEPS, _SHOWCASE, _AIS, _DEQUANTIZE = range(6)

logger = logging.getLogger(__name__)


@logs.unheard_lines_allowed()
def train(given: GaussianSettings, on_step: Sequence[OnStep] = ()) -> None:
    """Train a Gaussian-Bernoulli RBM, and write its run folder.

    Parameters
    ----------
    given
        Settings of the run.
    on_step
        Further callbacks for each step.

    Raises
    ------
    InputError
        Settings, data, network, device, run folder or checkpoint cannot be used.
    DivergenceError
        Training has diverged.
    Interrupted
        A signal arrives.
    """
    given = given.checked()
    tensorboard.check(given.tensorboard)
    with ProcessGroup("device", given.cuda, given.device_id) as group, contextlib.ExitStack() as stack:
        if group.note:
            logger.info("%s", group.note)
        data = datasets.load(given.dataset, given.data_dir, image_size=given.image_size)
        digest = sha256([data.train_images])
        data, held_out = splits.hold_out(data, given.held_out)
        check_batch_size(given.batch_size, len(data.train_images))
        code = _code(given, group.contexts[0])
        training = _Training(given, data, held_out, code, group.contexts[0])
        arguments = {
            **settings.record(training.given),
            "device": group.contexts[0].device_type,
            "data_sha256": digest,
            "image_shape": list(data.image_shape),
        }
        folder = open_folder(training.given, default_name("gaussian", given.dataset), arguments, group, stack)
        state = training.init()
        carry_out(state, training.plan(state), training.given, folder, group, on_step)


def _code(given: GaussianSettings, context: Any) -> Code | None:
    """Return the code that the RBM learns, or None without a network below it."""
    if given.network is None:
        return None
    network, description = networks.read(given.network, context)
    return Code(*networks.lower_part(network, description, given.depth or len(network.rbms)))


def _coded(data: DataSet, held_out: HostArray, code: Code, mirror: bool) -> tuple[DataSet, HostArray]:
    """Return the data set and the held-out images as codes; `mirror` adds mirrored images."""
    turned = [data.train_images[:, :, ::-1]] if mirror else []
    train = np.concatenate([code.of(images, data.maximum) for images in (data.train_images, *turned)])
    test, left_out = (code.of(images, data.maximum) for images in (data.test_images, held_out))
    return replace(data, train_images=train, test_images=test, train_labels=None, test_labels=None, maximum=1), left_out


class _Training:
    """The images of a run, and the functions that a `Plan` needs."""

    def __init__(
        self, given: GaussianSettings, data: DataSet, held_out: np.ndarray, code: Code | None, context: Any
    ) -> None:
        self._image_shape = data.image_shape
        if code:
            data, held_out = _coded(data, held_out, code, given.mirror)
        self._data, self._held_out, self._context = data, held_out, context
        try:
            self._standardization = Standardization.of(data.train_images, data.maximum, given.whiten)
        except InputError as error:
            if code is None:
                raise
            reason = "the network's features of the images hardly vary (%s)" % error
            raise InputError(reason + "; train the network longer, or choose a smaller --depth") from error
        self._transform = ImageFeatures(self._standardization, code)
        generator = make_generator([given.seed, _WEIGHTS])
        some = generator.permutation(len(data.train_images))[: max(_LOOKED_AT, given.num_hidden)]
        features = self._transform.features(data.train_images[np.sort(some)], data.maximum)
        arrays = initial_arrays(given, generator.permutation(features), generator)
        self._learner = GaussianLearner(given, arrays, context)
        engine = gibbs.choose_engine(given.engine, self._learner.parameters.interaction_weight)
        self.given = replace(given, engine=engine)  # recorded, because the noise depends on it

    def init(self) -> TrainState:
        """Return the state before the first step."""
        return TrainState(
            self._learner, Lengths(self.given.num_epoch, -(-len(self._data.train_images) // self.given.batch_size))
        )

    def plan(self, state: TrainState) -> Plan:
        """Return the plan of the run."""

        def results(arrays: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
            found = {name: array.asnumpy() for name, array in state.result().items()}
            return {**arrays, **found, **self._transform.arrays()}

        return Plan(
            step=self._step,
            begin_epoch=self._begin_epoch,
            measure=self._measure,
            observe=self._observe,
            watched=lambda state, checkpoint: self._watched(state),
            results=results,
            draw=self._draw,
            updates=lambda checkpoint: checkpoint.epoch * state.lengths.steps + checkpoint.steps,
            limit=1e6,
            remedy="lower --learning-rate or --momentum",
            remark=", %s engine, %d features" % (self.given.engine, self._standardization.num_features),
        )

    # --- Steps ------------------------------------------------------------------------------------

    def _begin_epoch(self, state: TrainState) -> Iterable[Sequence[tuple[NDArray, list[int]]]]:
        given, epoch = self.given, state.epoch + 1

        def prepare(images: HostArray, generator: Any) -> HostArray:
            turned = augment(images, generator, mirror=given.mirror and not given.network)
            return self._transform.features(turned, self._data.maximum)

        batches = prepare_batches(
            self._data.train_images,
            given.batch_size,
            prepare,
            key=[given.seed, _SHUFFLE, epoch],
            num_workers=given.data_loader_num_worker,
            skip=state.step,
        )
        for number, batch in enumerate(batches, state.step):
            yield [(from_host(batch, self._context), [given.seed, _SWEEPS, epoch, number])]

    def _step(self, state: TrainState, batches: Sequence[tuple[NDArray, list[int]]]) -> tuple[TrainState, NDArray]:
        optimization.set_pace(state.optimizer, self.given, state.epoch, state.progress)
        output = state.learner.steps(batches)
        if state.progress >= 1 - self.given.average:
            state.average.add(state.learned())
        return state, output

    def _parameters(self, state: TrainState) -> GaussianParameters:
        """Return the parameters that are monitored."""
        return GaussianParameters(**{LOG_VARIANCE: state.learner.arrays()[LOG_VARIANCE], **state.current()})

    # --- Metrics ----------------------------------------------------------------------------------

    def _observe(self, end: EpochEnd) -> dict[str, Any]:
        log_variance = end.checkpoint.arrays[LOG_VARIANCE]
        check_variances(log_variance)
        deviation = np.exp(0.5 * log_variance)
        return {
            "least_deviation": round(float(deviation.min()), 5),
            "mean_deviation": round(float(deviation.mean()), 5),
        }

    def _measure(self, state: TrainState, end: EpochEnd) -> tuple[dict[str, Any], str]:
        parameters = self._parameters(state)
        partition = ais.log_partition(
            *parameters.scaled,
            num_chains=_CHAINS,
            num_distributions=_DISTRIBUTIONS,
            base_visible_bias=np.zeros(self._standardization.num_features),  # features have mean 0
            visible_units=GAUSSIAN,
            key=[self.given.seed, _AIS, end.number],
            engine=self.given.engine,
        )
        images = {"held_out" if self.given.held_out else "test": self._watched_images, "train": self._data.train_images}
        row: dict[str, Any] = {"log_z": partition.log_z}
        said = []
        for name, rows in images.items():
            value = self._value(parameters, rows[:_IMAGES], partition.log_z)
            row["%s_%s" % (name, self._quantity)] = value
            said.append("%s %.4f" % (name.replace("_", "-"), value))
        warning = " (%s)" % partition.warning if partition.warning else ""
        what = self._quantity.replace("_", " ")
        return row, "Epoch %d completed with %s: %s%s" % (end.number, what, ", ".join(said), warning)

    @property
    def _quantity(self) -> str:
        """Name of the metric: bits per dimension, or a code's log-density, in nats per image."""
        return "log_density" if self._transform.code else "bits_per_dimension"

    @property
    def _watched_images(self) -> np.ndarray:
        return self._held_out if self.given.held_out else self._data.test_images

    def _value(self, parameters: GaussianParameters, rows: HostArray, log_z: float) -> float:
        is_code, maximum = self._transform.code is not None, self._data.maximum
        values = rows if is_code else densities.dequantized(rows, maximum, [self.given.seed, _DEQUANTIZE])
        found = densities.unnormalized_log_densities(parameters, self._standardization, values).mean() - log_z
        return float(found if is_code else densities.bits_per_dimension(found, values.shape[1], maximum))

    # --- Pictures ---------------------------------------------------------------------------------

    def _samples(self, state: TrainState, count: int) -> dict[str, HostArray]:
        """Draw images with chains that start at coin flips: samples and means, pixels in [0, 1]."""
        key = [self.given.seed, _SHOWCASE]
        drawn, means = draw_images(
            self._parameters(state),
            self._transform,
            count,
            self.given.sample_sweeps,
            start_key=key,
            key=key,
            engine=self.given.engine,
        )
        return {"drawn": drawn, "means": means}

    def _filters(self, state: TrainState) -> HostArray:
        """Return what each hidden unit adds to the pixels: (num_pixels, num_hidden)."""
        parameters = self._parameters(state)
        weight = to_numpy(parameters.unscale(parameters.interaction_weight.T))
        return (self._transform.images(weight) - self._transform.images(0 * weight[:1])).T

    def _watched(self, state: TrainState) -> dict[str, tuple[np.ndarray, tuple[int, ...]]]:
        shape = self._image_shape
        return {
            "filters": (strongest_filters(self._filters(state), _WATCHED)[0], shape),
            "samples": (self._samples(state, _WATCHED)["drawn"], shape),
        }

    def _draw(self, state: TrainState, save: Any) -> None:
        unit = " (nats per image)" if self._transform.code else ""
        curve = plots.learning_curve(state.metrics, self._quantity, self._quantity.replace("_", " ") + unit)
        save("learning-curve.png", curve)
        save("filters.png", plots.filters(self._filters(state), self._image_shape))
        title = "after %d sweeps from fair coins" % self.given.sample_sweeps
        save("showcase.png", plots.grids(self._samples(state, _SIDE**2), self._image_shape, _SIDE, title=title))
