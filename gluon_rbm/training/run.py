"""Any run, from its checkpoint to its pictures: what a kind of run brings is a `Plan`."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import logging
from dataclasses import dataclass
from typing import Any, Callable, Mapping, Sequence

import numpy as np

from gluon_rbm.backend import blas, interruption
from gluon_rbm.backend.framework import mx, versions
from gluon_rbm.errors import InputError, one_line
from gluon_rbm.evaluation import plots
from gluon_rbm.training.callbacks import (
    Measure,
    Monitor,
    Pictures,
    Progress,
    RunFiles,
    TensorBoard,
    report,
    save_picture,
)
from gluon_rbm.training.checkpoint import Checkpoint
from gluon_rbm.training.loop import BeginEpoch, Bounds, EpochEnd, OnStep, Step, fit
from gluon_rbm.training.process_group import ProcessGroup
from gluon_rbm.training.run_folder import RunFolder
from gluon_rbm.training.state import TrainState

__all__ = ["Plan", "carry_out", "check_batch_size", "open_folder"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """What a kind of run brings."""

    step: Step
    begin_epoch: BeginEpoch
    measure: Measure  #: after every --monitor-every epochs
    observe: Callable[[EpochEnd], dict[str, Any]]  #: after every epoch: columns of the metrics that cost nothing
    watched: Pictures  #: what TensorBoard shows of a monitored epoch
    results: Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]  #: what the file of parameters holds
    draw: Callable[[TrainState, Callable[[str, Any], None]], None]  #: the pictures of the end, each given to `save`
    updates: Callable[[Checkpoint], int]  #: which the optimizer has made, of a checkpoint
    limit: float  #: the largest sound value of any array
    remedy: str  #: what helps against larger ones
    remark: str = ""  #: what is said of the run when it begins, after its folder
    adapt: Callable[[TrainState, Checkpoint], None] = lambda state, checkpoint: None  #: before a checkpoint is restored


def check_batch_size(batch_size: int, num_images: int) -> None:
    """InputError if a batch is to hold more images than there are."""
    if batch_size > num_images:
        raise InputError(
            "there are %d training images for a --batch-size of %d; choose a smaller one" % (num_images, batch_size)
        )


def open_folder(
    settings: Any,
    default_name: str,
    arguments: Mapping[str, Any],
    group: ProcessGroup,
    stack: contextlib.ExitStack,
) -> RunFolder | None:
    """The chief's run folder, which `stack` closes; None in another worker.

    Raises
    ------
    InputError
        Where the folder cannot be had, holds another run, or the arguments are not those of the chief.
    """
    folder, resumable = None, settings.resumable()
    if group.is_chief:
        folder = RunFolder(settings.output_dir, default_name, settings.resume)
        stack.enter_context(contextlib.closing(folder))
        folder.write_arguments(arguments, versions(), resumable)
        slow = blas.warning()
        if slow:
            logger.warning("note: %s", slow)
    try:  # what comes over the network may be a stranger's
        theirs = dict(json.loads(group.broadcast(json.dumps(arguments).encode()).decode()))
    except (RecursionError, TypeError, ValueError) as error:
        raise InputError("what worker %d says of its arguments is garbled; start all anew" % group.chief) from error
    for name, value in json.loads(json.dumps(arguments)).items():
        if name not in _WORKERS_OWN and value != theirs.get(name):
            raise InputError(
                "worker %d has --%s %s, worker %d has %s; start all with the same arguments and data"
                % (group.rank, name.replace("_", "-"), value, group.chief, theirs.get(name))
            )
    return folder


# Arguments in which the workers of a run may differ.
_WORKERS_OWN = (
    "dataset",  # its content is compared instead
    "data_dir",
    "data_loader_num_worker",
    "output_dir",
    "resume",
    "tensorboard",
    "cuda",
    "device_id",
    "monitor_every",
)


def carry_out(
    state: TrainState,
    plan: Plan,
    settings: Any,
    folder: RunFolder | None,
    group: ProcessGroup,
    on_step: Sequence[OnStep] = (),
) -> TrainState:
    """Train from where the checkpoint is to the end, and draw the pictures; a signal leaves a checkpoint of all steps.

    folder : None in a worker who is not the chief
    on_step : further callbacks of each step
    """
    if folder is None:
        with interruption.held():
            _restore(state, plan, _told_checkpoint(None, group), group)
            logger.info("worker %d of %d", group.rank, group.num_workers)
            return fit(state, plan.step, plan.begin_epoch, group=group, on_step=on_step)
    files = RunFiles(folder, state.lengths, plan.results)
    with files.told_when_interrupted():
        with interruption.held():
            _resume(state, plan, settings, folder, files, group)
            state = _fit_as_chief(state, plan, settings, folder, files, group, on_step)
        plan.draw(state, functools.partial(save_picture, folder))
        logger.info("Done: %s", one_line(folder.path))
        plots.show(folder.file("showcase.png"), "Showcase")
    return state


def _fit_as_chief(
    state: TrainState,
    plan: Plan,
    settings: Any,
    folder: RunFolder,
    files: RunFiles,
    group: ProcessGroup,
    on_step: Sequence[OnStep],
) -> TrainState:
    on_epoch: list[Any] = [Monitor(settings.monitor_every, plan.measure, plan.observe)]
    with contextlib.ExitStack() as stack:
        if settings.tensorboard:
            on_epoch.append(stack.enter_context(contextlib.closing(TensorBoard(folder, state, plan.watched))))
        progress = stack.enter_context(Progress(state))
        return fit(
            state,
            plan.step,
            plan.begin_epoch,
            group=group,
            bounds=Bounds(plan.limit, plan.remedy, folder.path),
            save=files.save,
            on_step=[*on_step, progress],
            on_epoch=[*on_epoch, files, report],
        )


# --- Resuming ---------------------------------------------------------------------------------------------------------


def _resume(
    state: TrainState, plan: Plan, settings: Any, folder: RunFolder, files: RunFiles, group: ProcessGroup
) -> None:
    """Go on from the checkpoint in the folder, if there is one, and say so."""
    if settings.resume and not folder.resuming:
        logger.info("nothing to resume in %s: training from the beginning", one_line(folder.path))
    checkpoint = _told_checkpoint(folder.load_checkpoint(), group)
    if checkpoint is None:
        logger.info("run folder %s%s", one_line(folder.path), plan.remark)
        return
    try:
        _restore(state, plan, checkpoint, group)
    except InputError:
        raise
    except (LookupError, TypeError, ValueError, mx.MXNetError) as error:
        raise InputError(
            "the checkpoint in %s does not fit (%s); resume with the arguments and data set of the run"
            % (folder.path, str(error).strip().splitlines()[-1])
        ) from error
    files.note(checkpoint)
    logger.info("resuming %s %s", one_line(folder.path), files.saved)


def _told_checkpoint(checkpoint: Checkpoint | None, group: ProcessGroup) -> Checkpoint | None:
    """The chief's checkpoint in every worker."""
    if group.num_workers == 1:
        return checkpoint
    content = group.broadcast(checkpoint.content() if checkpoint else b"")
    return Checkpoint.load(io.BytesIO(content)) if content else None


def _restore(state: TrainState, plan: Plan, checkpoint: Checkpoint | None, group: ProcessGroup) -> None:
    if checkpoint is not None:
        plan.adapt(state, checkpoint)
        state.restore(checkpoint, group.contexts[0], plan.updates(checkpoint))
