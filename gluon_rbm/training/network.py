"""Runs of python -m gluon_rbm train-multinary: the RBMs of a network learn jointly or in turn."""

from __future__ import annotations

import contextlib
import logging
import math
from pathlib import Path
from typing import Any, Iterable, Mapping, Sequence

import numpy as np

from gluon_rbm.backend import logs
from gluon_rbm.backend.array_files import sha256
from gluon_rbm.backend.arrays import from_host
from gluon_rbm.backend.random import seed_mxnet
from gluon_rbm.backend.types import NDArray
from gluon_rbm.data import datasets, splits
from gluon_rbm.data.batches import prepare_batches
from gluon_rbm.data.datasets import DataSet
from gluon_rbm.data.statistics import mean_image
from gluon_rbm.data.transforms import augment
from gluon_rbm.errors import InputError, one_line
from gluon_rbm.models import network_features, networks
from gluon_rbm.models.deep_belief import DeepBeliefNetwork
from gluon_rbm.training import optimization, settings, tensorboard
from gluon_rbm.training.checkpoint import Checkpoint
from gluon_rbm.training.loop import EpochEnd, OnStep
from gluon_rbm.training.network_learner import NetworkLearner
from gluon_rbm.training.network_pictures import NetworkPictures
from gluon_rbm.training.network_settings import NetworkSettings
from gluon_rbm.training.process_group import ProcessGroup
from gluon_rbm.training.run import Plan, carry_out, check_batch_size, open_folder
from gluon_rbm.training.run_folder import default_name
from gluon_rbm.training.state import Lengths, TrainState

__all__ = ["describe", "train"]

_MONITOR_BATCH = 500  # images

# Purposes of random numbers. Each use has its own key (seed, purpose, ...). Pictures use purpose 4.
_WEIGHTS, _SHUFFLE, _SWEEPS = 0, 2, 3

logger = logging.getLogger(__name__)


@logs.unheard_lines_allowed()
def train(given: NetworkSettings, on_step: Sequence[OnStep] = ()) -> None:
    """Train a network, and write its run folder.

    Parameters
    ----------
    given
        Settings of the run, with lists for channels and dense.
    on_step
        Further callbacks for each step.

    Raises
    ------
    InputError
        Settings, data, device, run folder or checkpoint cannot be used.
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
        data = _load(given)
        digest = sha256([data.train_images])
        data, held_out = splits.hold_out(data, given.held_out)
        check_batch_size(given.batch_size, len(data.train_images))
        if given.random_crop >= min(data.image_shape[:2]):
            raise InputError("--random-crop %d is too large for the images; choose a smaller one" % given.random_crop)
        training = _Training(given, data, held_out, group.contexts[0])
        arguments = {
            **settings.record(given),
            "device": group.contexts[0].device_type,  # noise and rounding depend on it
            "data_sha256": digest,
            "network": training.description,
        }
        folder = open_folder(given, default_name("multinary", given.dataset), arguments, group, stack)
        state = training.init()
        carry_out(state, training.plan(state), given, folder, group, on_step)


def _load(given: NetworkSettings) -> DataSet:
    skipped: list[Path] | None = None if given.strict else []
    data = datasets.load(given.dataset, given.data_dir, image_size=given.image_size, skipped=skipped)
    for path in skipped or ():
        logger.info("skipping %s, which cannot be read as an image", one_line(path))
    if skipped:
        logger.info("%d images skipped; with --strict, the run stops at the first one", len(skipped))
    # This comparison stops at the first image that differs.
    if all(np.array_equal(image, data.train_images[0]) for image in data.train_images):
        raise InputError("all training images are the same; there is nothing to learn")
    return data


def describe(given: NetworkSettings, data: DataSet) -> dict[str, Any]:
    """Describe the network that the settings ask for.

    Parameters
    ----------
    given
        Settings of the run, with lists for channels and dense.
    data
        Images to learn.

    Returns
    -------
    dict
        What `gluon_rbm.models.networks.describe` returns.

    Raises
    ------
    InputError
        The visible units are Gaussian, and all pixels have about the same value.
    """
    height, width, *colours = data.image_shape
    names = ("channels", "dense", "kernel", "stride", "maximum", "slope")
    chosen = {name: getattr(given, name) for name in names}
    if given.visible_units == "gaussian":
        mean = float(mean_image(data.train_images, data.maximum).mean())
        square = sum(float(np.square(image / data.maximum).mean()) for image in data.train_images)
        deviation = max(square / len(data.train_images) - mean**2, 0.0) ** 0.5
        if not deviation > 1e-4:
            raise InputError("all pixels of the training images have the same value; there is nothing to learn")
        chosen.update(mean=mean, deviation=deviation)
    return networks.describe(
        (*(colours or [1]), height, width),
        visible_units=given.visible_units,
        hidden_units=given.hidden_units,
        quantized=given.quantized,
        initial_deviation=given.initial_deviation,
        initial_hidden_bias=given.initial_hidden_bias,
        **chosen,
    )


def _check_sizes(network: DeepBeliefNetwork, batch_size: int) -> None:
    """Raise InputError if a batch or a weight array has 2^31 elements: MXNet counts in 31 bits."""
    largest = max(
        size
        for rbm in network.rbms
        for size in (
            batch_size * int(np.prod(rbm.visible_shape, dtype=float)),
            batch_size * int(np.prod(rbm.hidden_shape, dtype=float)),
            int(np.prod(rbm.interaction_weight.shape, dtype=float)),
        )
    )
    if largest >= 2**31:
        raise InputError("an array would have 2^31 elements or more; choose fewer units or a smaller --batch-size")


class _Training:
    """The network of a run, its images, and the functions that a `Plan` needs."""

    def __init__(self, given: NetworkSettings, data: DataSet, held_out: np.ndarray, context: Any) -> None:
        self._given, self._data, self._held_out, self._context = given, data, held_out, context
        self.description = describe(given, data)
        self._network = networks.build(self.description)
        _check_sizes(self._network, max(given.batch_size, _MONITOR_BATCH))
        self._values(data.train_images[:1])  # refuses wrong pixels before a folder is made

    def init(self) -> TrainState:
        """Return the state before the first step."""
        seed_mxnet(self._given.seed, _WEIGHTS)
        networks.initialize(self._network, self.description, self._context)
        epochs = self._given.num_epoch * (len(self._network.rbms) if self._given.greedy else 1)
        steps = -(-len(self._data.train_images) // self._given.batch_size)
        return TrainState(self._learner(0), Lengths(epochs, steps))

    def plan(self, state: TrainState) -> Plan:
        """Return the plan of the run."""
        rbms = self._network.rbms
        pictures = NetworkPictures(
            self._given, self._network, self.description, self._data, self._watched_images, self._host_values
        )

        def depth_of(state: TrainState) -> int:
            """Return the number of RBMs that have learned."""
            trained = self._trained(state.epoch - 1)
            return len(rbms) if trained is None else trained + 1

        return Plan(
            step=self._step,
            begin_epoch=self._begin_epoch,
            measure=lambda state, end: self._measure(state, end, depth_of(state)),
            observe=self._observe,
            watched=lambda state, checkpoint: pictures.watched(depth_of(state)),
            results=self._results,
            draw=lambda state, save: pictures.draw_all(state, depth_of(state), save),
            updates=self._updates(state.lengths.steps),
            # No unit can use inputs of this size, and training would soon overflow float32.
            limit=1e6 * max(1 / units.slope for rbm in rbms for units in (rbm.visible_units, rbm.hidden_units)),
            remedy="lower --learning-rate or --weight-decay",
            adapt=self._adapt,
        )

    @property
    def _watched_images(self) -> np.ndarray:
        # If there are held-out images, choices depend on them. Test images are then used only at
        # the end.
        return self._held_out if self._given.held_out else self._data.test_images

    def _host_values(self, images: np.ndarray) -> NDArray:
        return from_host(self._values(images), self._context)

    def _values(self, images: np.ndarray) -> np.ndarray:
        return network_features.to_values(images, self.description, self._data.maximum)

    # --- Steps ------------------------------------------------------------------------------------

    def _trained(self, epoch: int) -> int | None:
        """Return the number of the RBM that learns in an epoch, from 0; None: all RBMs learn."""
        return epoch // self._given.num_epoch if self._given.greedy else None

    def _learner(self, epoch: int) -> NetworkLearner:
        first = self._host_values(self._data.train_images[: self._given.batch_size])
        return NetworkLearner(self._given, self._network, self._trained(epoch), first)

    def _begin_epoch(self, state: TrainState) -> Iterable[Sequence[NDArray]]:
        given, is_first = self._given, state.step == 0
        if is_first and state.epoch and self._trained(state.epoch) != self._trained(state.epoch - 1):
            state.learner = self._learner(state.epoch)

        def prepare(images: np.ndarray, generator: Any) -> np.ndarray:
            return self._values(augment(images, generator, given.random_crop, given.mirror))

        batches = prepare_batches(
            self._data.train_images,
            given.batch_size,
            prepare,
            key=[given.seed, _SHUFFLE, state.epoch + 1],
            num_workers=given.data_loader_num_worker,
            skip=state.step,
        )
        return ([from_host(batch, self._context)] for batch in batches)

    def _step(self, state: TrainState, batches: Sequence[NDArray]) -> tuple[TrainState, NDArray]:
        given = self._given
        optimization.set_pace(state.optimizer, given, state.epoch, state.progress)
        # Each step has a seed, because a resumed epoch does not repeat earlier draws.
        if given.sampled:
            seed_mxnet(given.seed, _SWEEPS, state.epoch + 1, state.step)
        loss = state.learner.steps(batches)
        state.losses.append(loss.sum())
        return state, loss

    # --- Resuming ---------------------------------------------------------------------------------

    @staticmethod
    def _epoch_of(checkpoint: Checkpoint) -> int:
        """Return the epoch, from 0, in which the checkpoint's learner was trained."""
        return checkpoint.epoch if checkpoint.steps else checkpoint.epoch - 1

    def _adapt(self, state: TrainState, checkpoint: Checkpoint) -> None:
        state.learner = self._learner(self._epoch_of(checkpoint))

    def _updates(self, steps: int) -> Any:
        def updates(checkpoint: Checkpoint) -> int:
            first = (self._trained(self._epoch_of(checkpoint)) or 0) * self._given.num_epoch
            return (checkpoint.epoch - first) * steps + checkpoint.steps

        return updates

    # --- Metrics ----------------------------------------------------------------------------------

    def _mean_loss(self, end: EpochEnd) -> float:
        """Return the mean loss of the training images, each with the parameters at its step."""
        # Python adds in float64, because float32 may not hold the sum.
        losses = end.checkpoint.partial["losses"].ravel().tolist()
        return sum(losses) / len(self._data.train_images)

    def _observe(self, end: EpochEnd) -> dict[str, Any]:
        loss = self._mean_loss(end)
        return {"train_loss": round(loss, 5) if math.isfinite(loss) else None}

    def _measure(self, state: TrainState, end: EpochEnd, depth: int) -> tuple[dict[str, Any], str]:
        images = {"held_out" if self._given.held_out else "test": self._watched_images}
        if state.is_over:
            images["test"] = self._data.test_images
        errors = {name: self._reconstruction_error(rows, depth) for name, rows in images.items()}
        said = ", ".join("%s reconstruction error %.5f" % (n.replace("_", "-"), e) for n, e in errors.items())
        row = {name + "_reconstruction_error": round(error, 7) for name, error in errors.items()}
        return row, "Epoch %d completed with loss %.3f, %s" % (end.number, self._mean_loss(end), said)

    def _reconstruction_error(self, images: np.ndarray, depth: int) -> float:
        """Return the mean squared error of a pixel, with values in [0, 1]."""
        total = 0.0
        for start in range(0, len(images), _MONITOR_BATCH):
            values = self._values(images[start : start + _MONITOR_BATCH])
            found = self._network.down(self._network.up(from_host(values, self._context), depth), depth)
            error = network_features.to_images(found, self.description) - network_features.to_images(
                values, self.description
            )
            total += float(np.square(error).sum(dtype="float64"))
        return total / (len(images) * self._data.num_visible)

    def _results(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: array.asnumpy() for name, array in networks.arrays(self._network, self.description).items()}
