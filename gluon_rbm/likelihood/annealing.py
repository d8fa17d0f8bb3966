"""Chains along a schedule of inverse temperatures: the work behind `gluon_rbm.likelihood.ais`.

A `Run` holds what all chains of one estimate share. Chains go from the base distribution to the RBM
(`forward`) or back (`reverse`), one block of chains after another. They show a progress bar and can
be resumed.
"""

from __future__ import annotations

import dataclasses
from typing import Callable, NamedTuple, Sequence

import numpy as np
from tqdm import tqdm

from gluon_rbm.backend.arrays import to_numpy
from gluon_rbm.backend.framework import mx
from gluon_rbm.backend.random import draw_evenly, draw_key, make_generator
from gluon_rbm.backend.types import Array, HostArray, Key, NDArray, VisibleUnits
from gluon_rbm.data.statistics import smoothed_visible_bias
from gluon_rbm.errors import InputError, check_count
from gluon_rbm.likelihood import enumeration, schedules
from gluon_rbm.likelihood.annealing_settings import AnnealingSettings
from gluon_rbm.likelihood.estimates import LogPartition, summarize_log_weights, summarize_reverse
from gluon_rbm.likelihood.state_file import Progress, StateFile, fingerprint
from gluon_rbm.models.energy import are_pixels
from gluon_rbm.models.parameters import Parameters
from gluon_rbm.models.visible_units import GAUSSIAN, checked_visible_units, log_normalizer, softmax_groups
from gluon_rbm.sampling import gibbs

__all__ = [
    "Run",
    "advance",
    "anneal_chains",
    "checked_start",
    "exact_samples",
    "forward",
    "from_base",
    "inverse_temperatures",
    "prepare",
    "resample",
    "reverse",
]

_STEPS_AT_ONCE = 20  # number of steps between two updates of the progress bar

# Each random part of a run has its own key (key, first chain of the block, purpose).
_START, _FORWARD, _ADVANCE, _REVERSE, _PILOT, _RESAMPLE, _EXACT, _BASE = range(8)


class Run(NamedTuple):
    """What all chains of one estimate share, checked."""

    parameters: Parameters
    num_chains: int
    settings: AnnealingSettings
    base_visible_bias: NDArray
    key: list[int]
    engine: str
    state: StateFile | None
    label: str = ""  #: ends the names of chains: it differs between runs with one state file


def prepare(parameters: Parameters, num_chains: int, settings: AnnealingSettings) -> Run:
    """Make a run.

    Parameters
    ----------
    parameters
        Parameters of the RBM as NDArrays.
    num_chains
        Number of chains.
    settings
        Settings of the run.

    Returns
    -------
    Run
        Checked run.

    Raises
    ------
    InputError
        The parameters, the number of chains or the settings cannot be used.
    """
    parameters.checked()
    check_count("num_chains", num_chains)
    settings.checked()
    visible_units = checked_visible_units(settings.visible_units, parameters.num_visible)
    settings = dataclasses.replace(settings, visible_units=visible_units)
    return Run(
        parameters,
        num_chains,
        settings,
        key=draw_key().asnumpy().tolist() if settings.key is None else list(settings.key),
        engine=gibbs.choose_engine(settings.engine, parameters.interaction_weight),
        base_visible_bias=_base_visible_bias(parameters, settings),
        state=None if settings.state is None else StateFile(settings.state),
    )


def from_base(run: Run, name: str, base_visible_bias: NDArray) -> Run:
    """Make a run like another one, from another base distribution and with its own noise.

    Parameters
    ----------
    run
        Run with all other settings.
    name
        Name of the base distribution.
    base_visible_bias
        Bias of the base distribution, (num_visible,).

    Returns
    -------
    Run
        New run.
    """
    key = [*run.key, 0, _BASE, *name.encode()]
    return run._replace(base_visible_bias=base_visible_bias, key=key, label=" from %s" % name)


def _base_visible_bias(parameters: Parameters, settings: AnnealingSettings) -> NDArray:
    """Bias a0 of the base distribution, an NDArray beside the parameters, or InputError."""
    own, training_data, base_visible_bias = (
        parameters.visible_layer_bias,
        settings.training_data,
        settings.base_visible_bias,
    )
    if base_visible_bias is None and training_data is None:
        return own
    if base_visible_bias is None:
        images = to_numpy(training_data)
        if not images.size or not (settings.visible_units == GAUSSIAN or are_pixels(images)):
            raise InputError("training_data must hold images with pixels in [0, 1], and not be empty")
        mean = np.mean(images, axis=0, dtype=np.float64)
        base_visible_bias = smoothed_visible_bias(mean, len(images), visible_units=settings.visible_units)
    bias: HostArray = to_numpy(base_visible_bias)
    if bias.shape != own.shape or not np.isfinite(bias).all():
        raise InputError(
            "the base rate has shape %s; it must be %d finite numbers, one for each visible unit"
            % (bias.shape, own.shape[0])
        )
    return mx.nd.array(bias, ctx=own.context, dtype=own.dtype)


def inverse_temperatures(run: Run) -> HostArray:
    """Inverse temperatures of a run from 0 to 1.

    Parameters
    ----------
    run
        Run whose schedule is computed; "adaptive" makes a pilot run.

    Returns
    -------
    float64 (num_distributions + 1,)
        Inverse temperatures.
    """
    settings = run.settings
    if settings.schedule == "adaptive":
        pilot = _base_samples(run, 0, min(run.num_chains, settings.chains_at_once), _PILOT)
        key = [*run.key, 0, _PILOT]
        return schedules.adaptive(
            settings.num_distributions,
            run.parameters,
            pilot,
            run.base_visible_bias,
            key,
            run.engine,
            settings.visible_units,
        )
    schedule = {"linear": schedules.linear, "three-piece": schedules.three_piece}[settings.schedule]
    return schedule(settings.num_distributions)


def _base_samples(run: Run, first: int, count: int, purpose: int) -> NDArray:
    """Exact samples at beta = 0, NDArray (count, num_visible), by one sweep from any state."""
    bias = run.parameters.hidden_layer_bias
    return gibbs.run_chains(
        run.parameters,
        hidden=mx.nd.zeros((count, run.parameters.num_hidden), ctx=bias.context, dtype=bias.dtype),
        beta=0,
        base_visible_bias=run.base_visible_bias,
        visible_units=run.settings.visible_units,
        key=[*run.key, first, purpose],
        engine=run.engine,
    ).visible_sample


def _log_z_0(run: Run) -> float:
    """Log Z of the base distribution: that of the visible layer alone plus num_hidden log 2."""
    base = to_numpy(run.base_visible_bias).astype(np.float64)
    return float(log_normalizer(base, run.settings.visible_units)) + run.parameters.num_hidden * np.log(2)


# --- Forward and reverse --------------------------------------------------------------------------


def forward(run: Run, betas: HostArray) -> tuple[LogPartition, HostArray]:
    """Estimate log Z by forward AIS.

    Parameters
    ----------
    run
        Run of the chains.
    betas
        Inverse temperatures from 0 to 1.

    Returns
    -------
    estimate : LogPartition
        Estimate of log Z in nats.
    visible : NumPy array (num_chains, num_visible)
        Samples at the last beta below 1.
    """
    visible, log_weights = _anneal_all(
        run,
        "forward AIS",
        _FORWARD,
        lambda first, count: _base_samples(run, first, count, _START),
        betas,
        run.settings.burn_in_sweeps,
    )
    return summarize_log_weights(_log_z_0(run) + log_weights, run.settings.num_distributions), visible


def reverse(run: Run, betas: HostArray, visible: HostArray) -> LogPartition:
    """Estimate log Z by reverse AIS.

    Parameters
    ----------
    run, betas
        As in `forward`.
    visible
        Samples of the RBM, NumPy array (num_chains, num_visible).

    Returns
    -------
    LogPartition
        Estimate of log Z in nats.
    """
    sweeps = run.settings.burn_in_sweeps
    log_weights = _anneal_all(run, "reverse AIS", _REVERSE, _rows_of(run, visible), betas[::-1], sweeps)[1]
    return summarize_reverse(_log_z_0(run) - log_weights, run.settings.num_distributions)


def exact_samples(run: Run) -> HostArray:
    """Draw independent samples of an RBM that can be enumerated.

    Parameters
    ----------
    run
        Run of the chains.

    Returns
    -------
    float32 NumPy array (num_chains, num_visible)
        Samples.

    Raises
    ------
    InputError
        The RBM is too large to enumerate.
    """
    key = [*run.key, 0, _EXACT]
    return enumeration.draw_visible(run.parameters, run.num_chains, key, run.settings.visible_units)


def checked_start(run: Run, visible: Array) -> HostArray:
    """Return samples that reverse AIS may start at, after a check.

    Parameters
    ----------
    run
        Run of the chains.
    visible
        Samples (num_chains, num_visible).

    Returns
    -------
    NumPy array (num_chains, num_visible)
        These samples.

    Raises
    ------
    InputError
        They have another shape, or values that the visible units cannot take.
    """
    visible, visible_units = to_numpy(visible), run.settings.visible_units
    shape = (run.num_chains, run.parameters.num_visible)
    if visible_units == GAUSSIAN:
        if visible.shape != shape or not np.isfinite(visible).all():
            raise InputError("reverse AIS starts at finite samples of shape %s, not of %s" % (shape, visible.shape))
        return visible
    if visible.shape != shape or not np.isin(visible, (0, 1)).all():
        raise InputError("reverse AIS starts at binary samples of shape %s, not at these %s" % (shape, visible.shape))
    if any((visible[:, start:stop].sum(axis=1) != 1).any() for start, stop in softmax_groups(visible_units)):
        raise InputError("reverse AIS starts at samples with exactly one unit of each softmax group on, not at these")
    return visible


def resample(run: Run, forward: LogPartition, visible: HostArray) -> HostArray:
    """Resample the chains of a forward run by their weights: approximate samples of the RBM.

    Parameters
    ----------
    run
        Run of the chains.
    forward, visible
        Results of the function `forward`.

    Returns
    -------
    NumPy array (num_chains, num_visible)
        Resampled states.
    """
    weights = np.exp(forward.log_weights - forward.log_weights.max())
    return visible[draw_evenly(weights, run.num_chains, make_generator([*run.key, 0, _RESAMPLE]))]


def advance(run: Run, visible: HostArray, sweeps: int | None) -> HostArray:
    """Advance chains at beta = 1.

    Parameters
    ----------
    run
        Run of the chains.
    visible
        Visible states, NumPy array (num_chains, num_visible).
    sweeps
        Number of sweeps; None means as many as the forward run makes.

    Returns
    -------
    NumPy array (num_chains, num_visible)
        Visible states after the sweeps.
    """
    if sweeps is None:
        sweeps = run.settings.num_distributions * run.settings.burn_in_sweeps
    # The schedule stays at beta = 1. Each step but the last makes one sweep.
    return _anneal_all(run, "chains at beta 1", _ADVANCE, _rows_of(run, visible), np.ones(sweeps + 2), 1)[0]


def _rows_of(run: Run, visible: HostArray) -> Callable[[int, int], NDArray]:
    """Function (first, count) -> these samples, as an NDArray beside the parameters."""
    weight = run.parameters.interaction_weight
    return lambda first, count: mx.nd.array(visible[first : first + count], ctx=weight.context, dtype=weight.dtype)


# --- The way along a schedule ---------------------------------------------------------------------


def _anneal_all(
    run: Run, name: str, purpose: int, start: Callable[[int, int], NDArray], betas: HostArray, sweeps: int
) -> tuple[HostArray, HostArray]:
    """Anneal all chains of a run, block by block; return visible samples and log-weights, NumPy."""
    chains_at_once, blocks = run.settings.chains_at_once, []
    for first in range(0, run.num_chains, chains_at_once):
        visible = start(first, min(chains_at_once, run.num_chains - first))
        no_bar = None if run.settings.progress else True
        with tqdm(total=len(betas) - 1, desc=name + run.label, unit="step", leave=False, disable=no_bar) as bar:
            blocks.append(
                anneal_chains(
                    run.parameters,
                    visible,
                    betas,
                    sweeps=sweeps,
                    base_visible_bias=run.base_visible_bias,
                    visible_units=run.settings.visible_units,
                    key=[*run.key, first, purpose],
                    engine=run.engine,
                    bar=bar,
                    state=run.state,
                    name="%s%s-%d" % (name, run.label, first),
                )
            )
    samples, log_weights = zip(*blocks)
    return np.concatenate([block.asnumpy() for block in samples]), np.concatenate(log_weights)


def anneal_chains(
    parameters: Parameters,
    visible: NDArray,
    betas: HostArray | Sequence[float],
    *,
    sweeps: int,
    base_visible_bias: NDArray | None,
    visible_units: VisibleUnits = (),
    key: Key,
    engine: str,
    bar: tqdm,
    state: StateFile | None = None,
    name: str = "",
) -> tuple[NDArray, HostArray]:
    """Anneal chains along a schedule in short sections, which can be resumed.

    Parameters
    ----------
    parameters, visible
        As in `gluon_rbm.sampling.gibbs.anneal_with_weights`.
    betas
        Inverse temperatures of the whole schedule, up or down.
    sweeps, base_visible_bias, visible_units, key, engine
        As in `gluon_rbm.sampling.gibbs.anneal_with_weights`.
    bar
        Progress bar that counts the steps.
    state
        File that keeps the progress, if any. Chains that it has are resumed, with the same result
        bit for bit.
    name
        Name of the chains in this file.

    Returns
    -------
    visible : NDArray (chains, num_visible)
        Visible samples.
    log_weights : float64 NumPy array (chains,)
        Log-weights in nats.
    """
    schedule = [float(beta) for beta in betas]  # MXNet accepts no NumPy scalar as the left operand
    last, meaning = len(schedule) - 1, ""
    progress = Progress(0, visible, np.zeros(visible.shape[0]))
    if state is not None:
        meaning = fingerprint(*parameters, visible, schedule, sweeps, base_visible_bias, visible_units, key, engine)
        progress = state.resume(name, meaning, progress)
        bar.update(progress.step)
    while progress.step < last:
        step, stop = progress.step, min(progress.step + _STEPS_AT_ONCE, last)
        visible, increments = gibbs.anneal_with_weights(
            parameters,
            progress.visible,
            schedule,
            step,
            stop,
            sweeps=sweeps,
            base_visible_bias=base_visible_bias,
            visible_units=visible_units,
            key=key,
            engine=engine,
        )
        bar.update(stop - step)
        progress = Progress(stop, visible, progress.log_weights + increments)
        if state is not None:
            state.keep(name, meaning, progress, done=stop == last)
    return progress.visible, progress.log_weights
