"""What all runs share, from the checkpoint to the pictures. Each kind of run supplies a `Plan`."""

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
    """What a kind of run supplies."""

    step: Step  #: makes the steps
    begin_epoch: BeginEpoch  #: returns the batches of an epoch
    measure: Measure  #: called after every --monitor-every epochs, and after the last
    #: returns columns of the metrics that take little time, after every epoch
    observe: Callable[[EpochEnd], dict[str, Any]]
    watched: Pictures  #: returns the pictures of a monitored epoch, for TensorBoard
    #: returns the content of rbm.params
    results: Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]
    #: draws the final pictures, and passes each to its second argument (name, picture)
    draw: Callable[[TrainState, Callable[[str, Any], None]], None]
    updates: Callable[[Checkpoint], int]  #: returns the number of updates before a checkpoint
    limit: float  #: absolute values of all arrays must stay below it
    remedy: str  #: advice for the message about larger values
    remark: str = ""  #: end of the log line that names a new run folder
    #: called before a checkpoint is restored
    adapt: Callable[[TrainState, Checkpoint], None] = lambda state, checkpoint: None


def check_batch_size(batch_size: int, num_images: int) -> None:
    """Check that there are enough images for a batch.

    Parameters
    ----------
    batch_size
        Images in a batch.
    num_images
        Number of training images.

    Raises
    ------
    InputError
        A batch would hold more images than there are.
    """
    if batch_size > num_images:
        raise InputError(
            "--batch-size %d is larger than the number of training images, %d; choose a smaller one"
            % (batch_size, num_images)
        )


def open_folder(
    settings: Any,
    default_name: str,
    arguments: Mapping[str, Any],
    group: ProcessGroup,
    stack: contextlib.ExitStack,
) -> RunFolder | None:
    """Open the run folder, and compare the arguments of all workers.

    Parameters
    ----------
    settings
        Settings of the run.
    default_name
        Start of the folder's name, where `settings` has none.
    arguments
        Content of arguments.json.
    group
        Workers of the run.
    stack
        Closes the folder at its end.

    Returns
    -------
    RunFolder or None
        The folder in the chief; None in the other workers.

    Raises
    ------
    InputError
        The folder cannot be opened or holds another run, or a worker's arguments differ from the
        chief's.
    """
    folder, resumable = None, settings.resumable()
    if group.is_chief:
        folder = RunFolder(settings.output_dir, default_name, settings.resume)
        stack.enter_context(contextlib.closing(folder))
        folder.write_arguments(arguments, versions(), resumable)
        slow = blas.warning()
        if slow:
            logger.warning("note: %s", slow)
    try:  # the message comes over the network, perhaps from another program
        theirs = dict(json.loads(group.broadcast(json.dumps(arguments).encode()).decode()))
    except (RecursionError, TypeError, ValueError) as error:
        raise InputError("the arguments of worker %d cannot be read; restart all workers" % group.chief) from error
    for name, value in json.loads(json.dumps(arguments)).items():
        if name not in _WORKERS_OWN and value != theirs.get(name):
            raise InputError(
                "worker %d has --%s %s, but worker %d has %s; start all workers with the same arguments and data"
                % (group.rank, name.replace("_", "-"), value, group.chief, theirs.get(name))
            )
    return folder


# Arguments that may differ between the workers of a run.
_WORKERS_OWN = (
    "dataset",  # the content is compared instead
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
    """Train from the checkpoint, or from the start, to the end, and draw the pictures.

    A signal while it trains leaves a checkpoint of all steps so far.

    Parameters
    ----------
    state
        State before the first step.
    plan
        What this kind of run supplies.
    settings
        Settings of the run.
    folder
        Run folder; None in a worker that is not the chief.
    group
        Workers and devices of the run.
    on_step
        Further callbacks for each step.

    Returns
    -------
    TrainState
        The state at the end.

    Raises
    ------
    InputError
        The checkpoint cannot be read, or is of another run; or a file cannot be written.
    DivergenceError
        Training has diverged.
    Interrupted
        A signal arrives.
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


# --- Resuming -------------------------------------------------------------------------------------


def _resume(
    state: TrainState, plan: Plan, settings: Any, folder: RunFolder, files: RunFiles, group: ProcessGroup
) -> None:
    """Restore the checkpoint in the folder, if there is one, and log it."""
    if settings.resume and not folder.resuming:
        logger.info("nothing to resume in %s; training starts from the beginning", one_line(folder.path))
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
            "the checkpoint in %s does not match this run (%s); resume with the arguments and data set of that run"
            % (folder.path, str(error).strip().splitlines()[-1])
        ) from error
    files.note(checkpoint)
    logger.info("resuming %s %s", one_line(folder.path), files.saved)


def _told_checkpoint(checkpoint: Checkpoint | None, group: ProcessGroup) -> Checkpoint | None:
    """Return the chief's checkpoint, in every worker."""
    if group.num_workers == 1:
        return checkpoint
    content = group.broadcast(checkpoint.content() if checkpoint else b"")
    return Checkpoint.load(io.BytesIO(content)) if content else None


def _restore(state: TrainState, plan: Plan, checkpoint: Checkpoint | None, group: ProcessGroup) -> None:
    if checkpoint is not None:
        plan.adapt(state, checkpoint)
        state.restore(checkpoint, group.contexts[0], plan.updates(checkpoint))
