"""Runs of binary_rbm_gluon.py and binary_rbm_module.py: state, step, metrics and pictures.

`train` opens the run folder, loads the images, makes state and step, and calls
`gluon_rbm.training.run.carry_out`.

To follow binary_rbm_gluon.py, read this module, then `gluon_rbm.training.loop.fit`, then
`make_step` below, then `gluon_rbm.training.learners.GluonLearner`, then the operator in
`binary_rbm`.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
from dataclasses import replace
from typing import Any, Iterable, Mapping, Sequence

import numpy as np

from gluon_rbm.backend import logs
from gluon_rbm.backend.random import draw_key, seed_mxnet
from gluon_rbm.backend.types import NDArray
from gluon_rbm.data.batches import iterate_batches
from gluon_rbm.data.statistics import base_visible_bias
from gluon_rbm.likelihood import learning, snapshots
from gluon_rbm.sampling import gibbs
from gluon_rbm.training import monitoring, monitors, optimization, settings, tensorboard
from gluon_rbm.training.binary_pictures import BinaryPictures
from gluon_rbm.training.binary_settings import BinarySettings
from gluon_rbm.training.binary_start import PURPOSES, Images, check_sizes, initial_arrays, load_images
from gluon_rbm.training.learners import LEARNERS, DataParallelLearner
from gluon_rbm.training.loop import EpochEnd, OnStep, Step
from gluon_rbm.training.optimization import EarlyStopping
from gluon_rbm.training.process_group import ProcessGroup
from gluon_rbm.training.run import Plan, carry_out, open_folder
from gluon_rbm.training.run_folder import default_name, has_checkpoint
from gluon_rbm.training.state import Lengths, TrainState

__all__ = ["make_step", "steps_at_once", "train"]

logger = logging.getLogger(__name__)

_MOST_STEPS_AT_ONCE = 64
# Products of a weight and a unit in one call. They take at most a tenth of a second.
_PRODUCTS_AT_ONCE = 4 * 10**9


@logs.unheard_lines_allowed()
def train(given: BinarySettings, api: str, on_step: Sequence[OnStep] = ()) -> None:
    """Train a binary RBM, and write its run folder.

    Parameters
    ----------
    given
        Settings of the run.
    api
        MXNet's API that learns: "gluon" or "module".
    on_step
        Further callbacks for each step.

    Raises
    ------
    InputError
        Settings, data, devices, run folder or checkpoint cannot be used, or workers disagree.
    DivergenceError
        Training has diverged.
    Interrupted
        A signal arrives.
    """
    asked_for = given  # the settings as the user gave them, for the messages
    asked = given.kv_store, given.cuda_asked, given.device_id, given.num_devices
    with ProcessGroup(*asked) as group, contextlib.ExitStack() as stack:
        group.choose_chief(given.resume and has_checkpoint(given.output_dir))
        tensorboard.check(given.tensorboard)
        images, num_classes = load_images(given, group.contexts[0])
        given = replace(given, num_classes=num_classes, softmax_groups=images.data.softmax_groups)
        check_sizes(given, images.data, group.num_shards)
        arrays = initial_arrays(given, images.data, group.contexts[0])
        # The engine is recorded, because the noise depends on it. It is chosen before the folder is
        # made, because it may not be available.
        given = replace(given, engine=gibbs.choose_engine(given.engine, arrays["interaction_weight"]))
        if given.weight_bits == 16 and not (
            given.engine == "native" and given.rule.has_fixed_point(given.chains_in_all)
        ):
            logger.info("--weight-bits 16 has no effect: it needs the native engine and at least 13 chains")
        if group.is_chief:
            _say_settings(asked_for, group)
        folder = open_folder(given, default_name(api, given.dataset), _arguments(given, images, group), group, stack)
        state = _init(given, api, images, arrays, group)
        at_once = 1 if on_step else steps_at_once(given, images.data.num_visible, group.num_shards)
        carry_out(state, _plan(given, images, group, state, at_once), given, folder, group, on_step)


def _say_settings(given: BinarySettings, group: ProcessGroup) -> None:
    logger.info("%s", given.documented())
    logger.info("%s", given.added())
    if group.note:
        logger.info("%s", group.note)
    if "DMLC_ROLE" in os.environ and given.kv_store != "dist_sync":
        logger.warning("note: DMLC_ROLE is set, but this run has no other workers: they need --kv-store dist_sync")
    if given.num_devices > 1 and group.contexts[0].device_type == "cpu":
        logger.info("--num-devices %d on a CPU: each batch is computed in that many parts", given.num_devices)


def _arguments(given: BinarySettings, images: Images, group: ProcessGroup) -> dict[str, Any]:
    """Return the content of arguments.json."""
    return {
        **settings.record(given),
        "device": group.contexts[0].device_type,  # noise and rounding depend on it
        "data_sha256": images.digest,
        "image_shape": list(images.image_shape),
        "class_names": list(images.data.class_names or []) if given.labels else [],
        "alphabet": images.data.alphabet,
        "num_workers": group.num_workers,
    }


def _init(
    given: BinarySettings, api: str, images: Images, arrays: Mapping[str, NDArray], group: ProcessGroup
) -> TrainState:
    """Return the state before the first step."""

    def make(arrays: Mapping[str, NDArray], context: Any) -> Any:
        return LEARNERS[api](given, arrays, context, group.num_shards)

    learner = DataParallelLearner(make, arrays, group, given.rule)
    lengths = Lengths(given.num_epoch, -(-len(images.data.train_images) // given.batch_size))
    return TrainState(learner, lengths, best=EarlyStopping(given.early_stopping))


def steps_at_once(given: BinarySettings, num_visible: int, num_shards: int) -> int:
    """Return the number of steps to make in one call of the learner.

    They take about a tenth of a second, because Ctrl-C waits for them.

    Parameters
    ----------
    given
        Settings of the run.
    num_visible
        Number of visible units.
    num_shards
        Number of devices of all workers.

    Returns
    -------
    int
        Number of steps. 1 if work is needed between steps, or if several at once are not faster.
    """
    constant = given.learning_rate_schedule == "constant" and not given.average
    if num_shards > 1 or not constant or given.engine != "native" or not given.rule.is_plain:
        return 1
    products = num_visible * given.num_hidden * (given.batch_size * 2 + given.chains_in_all * given.k)
    return max(1, min(_MOST_STEPS_AT_ONCE, _PRODUCTS_AT_ONCE // products))


def _plan(given: BinarySettings, images: Images, group: ProcessGroup, state: TrainState, at_once: int) -> Plan:
    monitor, pictures = _make_monitor(given, images), BinaryPictures(given, images, group.contexts[0])

    def begin_epoch(state: TrainState) -> Iterable[Sequence[Any]]:
        # The noise of an epoch depends only on the seed and on the number of the epoch. Each step
        # draws a key on each device. So the keys of the steps that are already done are drawn here.
        seed_mxnet(given.seed, PURPOSES.SWEEPS, state.epoch + 1, *group.seed_words)
        for context in state.step * group.contexts:
            draw_key(context)
        batches = iterate_batches(
            images.data.train_images,
            images.data.maximum,
            given.batch_size,
            key=[given.seed, PURPOSES.SHUFFLE, state.epoch + 1],
            weights=images.data.train_weights,
            binarize=given.binarize,
            num_workers=given.data_loader_num_worker,
            skip=state.step,
        )
        return iter(lambda: [group.scatter(batch) for batch in itertools.islice(batches, at_once)], [])

    def results(arrays: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        return {**arrays, **{name: array.asnumpy() for name, array in state.result().items()}}

    return Plan(
        step=make_step(given, average=group.is_chief),
        begin_epoch=begin_epoch,
        measure=monitoring.Measurement(monitor, _watched_images(given, images), images.data.test_images),
        observe=lambda end: _observe(given, end),
        watched=pictures.watched,
        results=results,
        draw=lambda state, save: pictures.draw_all(state, monitor, save),
        updates=lambda checkpoint: checkpoint.epoch * state.lengths.steps + checkpoint.steps,
        # No unit can use inputs of this size, and training would soon overflow float32.
        limit=1e6,
        remedy="lower --learning-rate, --momentum or --weight-decay",
        remark=", %d training images of %s, %s engine%s"
        % (len(images.data.train_images), images.size, given.engine, optimization.rate_remark(given)),
    )


def make_step(given: BinarySettings, average: bool = True) -> Step:
    """Make the step function of a run.

    A step sets learning rate and momentum, advances the chains, follows the gradient, and updates
    the averaged parameters.

    Parameters
    ----------
    given
        Settings of the run.
    average
        Whether this worker averages parameters, if the settings ask for it.

    Returns
    -------
    callable
        A `gluon_rbm.training.loop.Step`.
    """

    def step(state: TrainState, batches: Sequence[Sequence[NDArray]]) -> tuple[TrainState, NDArray]:
        optimization.set_pace(state.optimizer, given, state.epoch, state.progress)
        output = state.learner.steps(batches)
        if average and state.progress >= 1 - given.average:
            state.average.add(state.learned())
        return state, output

    return step


# --- Metrics --------------------------------------------------------------------------------------


def _observe(given: BinarySettings, end: EpochEnd) -> dict[str, Any]:
    """Return the columns that every epoch has: fractions of units that are on, and swap rates."""
    row: dict[str, Any] = {}
    arrays = end.checkpoint.arrays
    if given.rule.generative_factor:  # the time for sampling may depend on how many units are on
        for name in learning.SAMPLES:
            chains = arrays[name][: given.chains_in_all]
            row[name.split("_")[1] + "_units_on"] = round(chains.mean(dtype="float64"), 5)
    rates = arrays.get(learning.SWAP_RATE)
    if snapshots.NUMBER in arrays:
        row["snapshots"] = int(arrays[snapshots.NUMBER][0])
        rates = arrays[snapshots.RATES][: row["snapshots"]]
    if rates is not None:
        row["lowest_swap_rate"] = round(float(rates.min()), 5)
        row["mean_swap_rate"] = round(float(rates.mean()), 5)
    return row


def _watched_images(given: BinarySettings, images: Images) -> dict[str, np.ndarray]:
    """Return the images to monitor. Early stopping uses the first entry."""
    # With held-out images, the test images are scored only once.
    first = {"held-out": images.held_out} if given.held_out else {"test": images.data.test_images}
    return {**first, "train": images.data.train_images}


def _make_monitor(given: BinarySettings, images: Images) -> monitors.ImageMonitor:
    if given.labels:
        return monitors.ClassificationMonitor(given, images.data.maximum)
    return monitors.LikelihoodMonitor(
        given,
        images.data.maximum,
        base_visible_bias(images.data) if given.ais_base_rate == "data" else None,
        ais_key=[given.seed, PURPOSES.AIS],
        pixels_key=[given.seed, PURPOSES.PIXELS],
        weights=_weights(given, images),
    )


def _weights(given: BinarySettings, images: Images) -> dict[int, np.ndarray]:
    """Return the weights of images: section -> weights. Sections of monitored images begin at 1."""
    data = images.data
    if data.train_weights is None or data.test_weights is None:
        return {}
    first = np.ones(len(images.held_out)) if given.held_out else data.test_weights
    return {1: first, 2: data.train_weights, monitoring.TEST: data.test_weights}
