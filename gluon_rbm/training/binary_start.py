"""Start of a run of a binary RBM: images, parameters and chains."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from gluon_rbm.backend.array_files import sha256, total_memory
from gluon_rbm.backend.framework import mx
from gluon_rbm.backend.random import Noise, make_generator
from gluon_rbm.backend.types import NDArray
from gluon_rbm.data import datasets, splits
from gluon_rbm.data.batches import to_visible
from gluon_rbm.data.datasets import DataSet
from gluon_rbm.data.statistics import base_visible_bias, mean_image
from gluon_rbm.errors import InputError
from gluon_rbm.likelihood import learning, snapshots
from gluon_rbm.models.binary_deep_belief import BinaryDeepBeliefNetwork
from gluon_rbm.models.energy import hidden_probability
from gluon_rbm.models.files import CLASSES, read_model
from gluon_rbm.models.parameters import Parameters
from gluon_rbm.training.binary_settings import BinarySettings
from gluon_rbm.training.run import check_batch_size

__all__ = ["PURPOSES", "Images", "check_sizes", "initial_arrays", "load_images"]


class PURPOSES:
    """Purposes of random numbers. Each use has its own key (seed, purpose, ...)."""

    WEIGHTS, CHAINS, SHUFFLE, SWEEPS, AIS, PIXELS, SHOWCASE, WATCHED = range(8)


# Copies of the snapshots: in training, in a checkpoint, and while it is written.
_COPIES = 3


@dataclass(frozen=True)
class Images:
    """Images of a run."""

    data: DataSet  #: training and test images, without the held-out images
    held_out: np.ndarray  #: images that are held out of training
    image_shape: tuple[int, ...]  #: shape of an image, without label units
    digest: str  #: SHA-256 of the training images as read, and of the layers below

    @property
    def size(self) -> str:
        """Size of an image, in words.

        Returns
        -------
        str
            Such as "28 x 28 pixels" or "12 x 12 pixels in colour".
        """
        size = "%d x %d" % self.image_shape[:2]
        if self.data.alphabet:
            return "%s places and letters" % size
        return "%s pixels%s" % (size, " in colour" if len(self.image_shape) == 3 else "")

    @property
    def pixels(self) -> slice:
        """Visible units that are pixels. The others are label units.

        Returns
        -------
        slice
            Places among the visible units.
        """
        return slice(math.prod(self.image_shape))


def load_images(settings: BinarySettings, context: Any) -> tuple[Images, int]:
    """Load the images of a run.

    Parameters
    ----------
    settings
        Settings of the run.
    context
        Device for the layers below.

    Returns
    -------
    images : Images
        The images, with label units if the settings ask for them. On layers below: their hidden
        probabilities.
    num_classes : int
        Number of label units; 0 without labels.

    Raises
    ------
    InputError
        The images cannot be read, lack labels, or do not fit the layers below.
    """
    data, num_classes = datasets.load(settings.dataset, settings.data_dir, image_size=settings.image_size), 0
    image_shape = data.image_shape
    if settings.labels:
        num_classes, data = data.num_classes, splits.with_label_units(data)
    below = BinaryDeepBeliefNetwork.load(settings.below, context) if settings.below else None
    # The digest does not cover hidden probabilities, because their rounding depends on the number
    # of threads.
    digest = sha256([data.train_images, *(below.arrays() if below else [])])
    if below:
        image_shape, data = below.hidden_shape, below.hidden_data(data, num_classes)
    data, held_out = splits.hold_out(data, settings.held_out)
    return Images(data, held_out, image_shape, digest), num_classes


def check_sizes(settings: BinarySettings, data: DataSet, num_shards: int) -> None:
    """Check the sizes of arrays, batches and shards.

    Parameters
    ----------
    settings
        Settings of the run.
    data
        Data set to learn.
    num_shards
        Number of devices of all workers.

    Raises
    ------
    InputError
        An array would have 2^31 elements or more, which MXNet cannot count. Or the snapshots do
        not fit in memory or there are several shards for them. Or a batch has more images than
        there are, or the shards cannot divide batches and chains evenly.
    """
    num_chains = settings.chains_in_all * settings.rule.replicas
    rows = max(settings.batch_size, num_chains, settings.ais_batch_size)
    units = max(data.num_visible, settings.num_hidden)
    num_models = settings.num_snapshots if settings.chains == "trajectory" else 1
    if max(rows * units, num_models * data.num_visible * settings.num_hidden) >= 2**31:
        raise InputError(
            "an array would have 2^31 elements or more; choose a smaller --num-hidden, --batch-size, --num-chains, "
            "--num-snapshots or --ais-batch-size"
        )
    if settings.chains == "trajectory":
        _check_snapshots(settings, data, num_shards)
    check_batch_size(settings.batch_size, len(data.train_images))
    for flag, number in (("batch-size", settings.batch_size), ("num-chains", settings.num_chains)):
        if number % num_shards:
            raise InputError(
                "--%s %d cannot be divided evenly among the %d devices of all workers; choose a multiple of %d"
                % (flag, number, num_shards, num_shards)
            )


def _check_snapshots(settings: BinarySettings, data: DataSet, num_shards: int) -> None:
    if num_shards > 1:
        raise InputError("--chains trajectory runs on one device only; leave out --num-devices and other workers")
    numbers = data.num_visible * (settings.num_hidden + settings.chains_in_all) * settings.num_snapshots
    if 4 * numbers * _COPIES > total_memory():
        raise InputError(
            "%d snapshots would take %.1f GB, including checkpoints; choose a smaller --num-snapshots or --num-hidden"
            % (settings.num_snapshots, 4 * numbers * _COPIES / 1e9)
        )


def initial_arrays(settings: BinarySettings, data: DataSet, context: Any) -> dict[str, NDArray]:
    """Return parameters and auxiliary states before the first step.

    Parameters
    ----------
    settings
        Settings of the run.
    data
        Data set to learn.
    context
        Device of the arrays.

    Returns
    -------
    dict
        Name, as in `binary_rbm.BinaryRBMBlock` -> NDArray, float32.

    Raises
    ------
    InputError
        The RBM to start from cannot be read, or its sizes differ.
    """
    is_given = settings.initial_parameters is not None and not settings.resume
    arrays = (_given_parameters if is_given else _initial_parameters)(settings, data)
    shape = settings.chains_in_all, data.num_visible, settings.num_hidden
    arrays.update({name: np.ones(shape) for name, shape in learning.states(settings.rule, *shape).items()})
    starts = (
        _at_the_data(settings, data, arrays, len(arrays[learning.SAMPLES[0]]))
        if is_given
        else [arrays[name] / 2 for name in learning.SAMPLES]
    )
    if settings.centering:
        hidden_mean = starts[1].mean(axis=0) if is_given else 1 / (1 + np.exp(-arrays["hidden_layer_bias"]))
        arrays.update(
            zip(learning.OFFSETS, (mean_image(data.train_images, data.maximum, data.train_weights), hidden_mean))
        )
    if settings.chains == "tempered":
        arrays[learning.BASE] = _data_bias(data, settings.num_classes)
    for name in snapshots.NAMES:
        if name in arrays:
            arrays[name][:] = 0
    if settings.num_classes:
        arrays[CLASSES] = np.arange(settings.num_classes)
    placed = {name: mx.nd.array(array, ctx=context, dtype="float32") for name, array in arrays.items()}
    noise = Noise([settings.seed, PURPOSES.CHAINS])
    for name, start in zip(learning.SAMPLES, starts):
        placed[name] = noise.bernoulli(mx.nd.array(start, ctx=context, dtype="float32"))
    return placed


def _given_parameters(settings: BinarySettings, data: DataSet) -> dict[str, np.ndarray]:
    """Return the parameters of another RBM. Label units that it lacks get weights of 0."""
    given, num_classes = read_model(str(settings.initial_parameters))
    bias, hidden_bias, weight = (array.asnumpy() for array in given)
    if settings.num_classes and not num_classes:
        bias = np.concatenate([bias, _data_bias(data, settings.num_classes)[-settings.num_classes :]])
        weight = np.concatenate([weight, np.zeros((settings.num_classes, given.num_hidden))])
        num_classes = settings.num_classes
    if weight.shape != (data.num_visible, settings.num_hidden) or num_classes != settings.num_classes:
        raise InputError(
            "%s has %d pixels, %d classes and %d hidden units, but this run has %d, %d and %d; "
            "choose --num-hidden and --labels to match"
            % (
                settings.initial_parameters,
                *(given.num_visible - num_classes, num_classes, given.num_hidden),
                *(data.num_visible - settings.num_classes, settings.num_classes, settings.num_hidden),
            )
        )
    return dict(zip(Parameters._fields, (bias, hidden_bias, weight)))


def _at_the_data(
    settings: BinarySettings, data: DataSet, arrays: dict[str, np.ndarray], num_chains: int
) -> list[np.ndarray]:
    """Return probabilities of both layers at the first training images, repeated for all chains."""
    images = data.train_images[np.arange(num_chains) % len(data.train_images)]
    visible = to_visible(images, data.maximum)
    parameters = Parameters(*(np.float32(arrays[name]) for name in Parameters._fields))
    return [visible, hidden_probability(parameters, visible)]


def _initial_parameters(settings: BinarySettings, data: DataSet) -> dict[str, np.ndarray]:
    num_visible, num_hidden = data.num_visible, settings.num_hidden
    generator, shape = make_generator([settings.seed, PURPOSES.WEIGHTS]), (num_visible, num_hidden)
    if settings.initial_weights == "uniform":
        weights = generator.uniform(-0.01, 0.01, shape)
    else:
        weights = generator.normal(scale=0.01, size=shape)
    visible_bias = np.zeros(num_visible)
    if settings.initial_visible_bias == "data":
        visible_bias = _data_bias(data, settings.num_classes)
    elif settings.initial_visible_bias == "uniform":
        visible_bias = generator.uniform(-0.01, 0.01, num_visible)
    hidden_bias = np.full(num_hidden, settings.initial_hidden_bias)
    return {
        "visible_layer_bias": visible_bias,
        "hidden_layer_bias": hidden_bias,
        "interaction_weight": weights,
    }


def _data_bias(data: DataSet, num_classes: int) -> np.ndarray:
    """Return smoothed log-odds of the mean training image; for label units, log-probabilities."""
    bias = base_visible_bias(data)
    label = bias[len(bias) - num_classes :]
    label -= np.logaddexp(0, label)
    return bias
