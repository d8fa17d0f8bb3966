"""Log partition function and log-likelihood of a binary RBM by annealed importance sampling (AIS).

Neal (Statistics and Computing 11, 2001); Salakhutdinov & Murray (ICML 2008), section 4.1. Chains start as exact samples
of independent pixels with bias a0 (beta = 0, log Z_0 known) and are carried through N intermediate distributions to the
RBM itself (beta = 1); on the way each collects

    log w = sum_{n=1}^{N} [ log p*_{beta_n}(v_{n-1}) - log p*_{beta_{n-1}}(v_{n-1}) ],

and Z = Z_0 E[w]. The estimate of Z is unbiased, that of log Z is too low on average (Jensen), by a lot when the
distributions are few: likelihoods computed with it are optimistic.

Reverse AIS goes the same way back, from samples of the RBM to beta = 0: 1 / Z = E[1 / w] / Z_0, and log Z is too
high on average, if the samples are exact (Burda, Grosse & Salakhutdinov, AISTATS 2015; Grosse, Ghahramani & Adams,
arXiv:1511.02543). The two make a bracket. Everything is in nats, likelihoods per image.
"""

from __future__ import annotations

import dataclasses
import os
import warnings
from typing import Any, Callable, NamedTuple

import numpy as np
from tqdm import tqdm

from gluon_rbm.backend.arrays import as_operand, to_numpy
from gluon_rbm.backend.framework import mx
from gluon_rbm.backend.random import Noise, draw_key, make_generator
from gluon_rbm.backend.types import Array, HostArray, Key, NDArray
from gluon_rbm.data.statistics import smoothed_visible_bias
from gluon_rbm.errors import InputError
from gluon_rbm.likelihood import enumeration, schedules
from gluon_rbm.likelihood.estimates import Bracket, LogPartition, summarize_log_weights, summarize_reverse
from gluon_rbm.likelihood.scores import LogLikelihood, mean_log_likelihood, mean_pseudo_log_likelihood
from gluon_rbm.likelihood.state_file import Progress, StateFile, fingerprint
from gluon_rbm.models.energy import Parameters, are_pixels, softplus
from gluon_rbm.sampling import gibbs

__all__ = [
    "AnnealingSettings",
    "Bracket",
    "LikelihoodWarning",
    "LogPartition",
    "LogLikelihood",
    "anneal_chains",
    "bracket",
    "log_partition",
    "reverse_log_partition",
    "smoothed_visible_bias",
    "mean_log_likelihood",
    "mean_pseudo_log_likelihood",
    "warn_of",
]

_MOST_DISTRIBUTIONS = 10**7
_STEPS_AT_ONCE = 20  # between two looks at the progress bar

# Everything random has a key (key, first chain of the block, purpose) of its own.
_START, _FORWARD, _ADVANCE, _REVERSE, _PILOT, _RESAMPLE, _EXACT = range(7)


class LikelihoodWarning(UserWarning):
    """A likelihood that should not be taken at its word."""


@dataclasses.dataclass(frozen=True)
class AnnealingSettings:
    """Settings that `log_partition`, `reverse_log_partition` and `bracket` take as keyword arguments.

    Parameters
    ----------
    num_distributions : int >= 1
        Intermediate distributions.
    burn_in_sweeps : int >= 1
        Gibbs sweeps at each of them.
    training_data : array (n, num_visible) in [0, 1]
        The base rate a0 is the smoothed bias of its means: what to give unless there is a reason.
    base_visible_bias : array (num_visible,)
        The base rate itself. With neither, it is the model's own visible bias.
    chains_at_once : int >= 1
        Chains that run side by side (memory).
    key : sequence of int
        Fixes the noise; by default drawn from MXNet's generator, so that `mx.random.seed` rules it.
    progress : bool
        Show a progress bar where there is a terminal.
    engine : "auto", "mxnet" or "native"
        As in `gluon_rbm.sampling.gibbs.run_chains`.
    schedule : "linear", "three-piece" or "adaptive"
        The inverse temperatures, as `gluon_rbm.likelihood.schedules` has them.
    state : path
        A file to keep the run in: the same call, repeated after it was killed, goes on from there, with the same
        result. It needs a key.
    """

    num_distributions: int = 1000
    burn_in_sweeps: int = 1
    training_data: Array | None = None
    base_visible_bias: Array | None = None
    chains_at_once: int = 1000
    key: Key | None = None
    progress: bool = False
    engine: str = "auto"
    schedule: str = "linear"
    state: str | os.PathLike[str] | None = None

    def checked(self) -> AnnealingSettings:
        """These settings, or InputError for sizes or a schedule that cannot be, and for a state without a key."""
        for name in ("num_distributions", "burn_in_sweeps", "chains_at_once"):
            _check_positive(name, getattr(self, name))
        if self.num_distributions > _MOST_DISTRIBUTIONS:  # the schedule is kept in memory
            raise InputError(
                "num_distributions is %d; it may be %d at most" % (self.num_distributions, _MOST_DISTRIBUTIONS)
            )
        if self.state is not None and self.key is None:
            raise InputError("a run that is kept in a state file needs a key, so that it can be repeated")
        if self.schedule not in schedules.SCHEDULES:
            choices = ", ".join(schedules.SCHEDULES)
            raise InputError("schedule %r does not exist; choose %s" % (self.schedule, choices))
        return self


def log_partition(
    visible_layer_bias: Array,
    hidden_layer_bias: Array,
    interaction_weight: Array,
    *,
    num_chains: int = 1000,
    **settings: Any,
) -> LogPartition:
    """Estimate log Z by AIS: a lower bound on average.

    Parameters
    ----------
    visible_layer_bias, hidden_layer_bias, interaction_weight : NDArray or NumPy array
        (num_visible,), (num_hidden,), (num_visible, num_hidden); AIS runs on their device.
    num_chains : int >= 1
    settings
        As in `AnnealingSettings`.

    Returns a `LogPartition`. Raises InputError for parameters that are not finite or do not fit, for sizes < 1, and for
    a state file that is damaged or another run's.
    """
    parameters = Parameters.from_arrays(visible_layer_bias, hidden_layer_bias, interaction_weight)
    run = _prepare(parameters, num_chains, AnnealingSettings(**settings))
    return _forward(run, _schedule(run))[0]


def reverse_log_partition(
    visible_layer_bias: Array,
    hidden_layer_bias: Array,
    interaction_weight: Array,
    visible: Array,
    **settings: Any,
) -> LogPartition:
    """Estimate log Z by reverse AIS from visible: an upper bound on average, if they are exact samples of the RBM.

    visible : array (num_chains, num_visible) in {0, 1}
    settings : as in `AnnealingSettings`

    Returns a `LogPartition`. Raises InputError as `log_partition` does, and for a start that is not binary or of
    another width.
    """
    parameters = Parameters.from_arrays(visible_layer_bias, hidden_layer_bias, interaction_weight)
    run = _prepare(parameters, len(visible), AnnealingSettings(**settings))
    return _reverse(run, _schedule(run), _checked_start(run, visible))


def bracket(
    visible_layer_bias: Array,
    hidden_layer_bias: Array,
    interaction_weight: Array,
    *,
    num_chains: int = 1000,
    reverse_start: str | Array = "auto",
    sweeps_at_the_top: int | None = None,
    **settings: Any,
) -> Bracket:
    """Estimate log Z by forward AIS and by reverse AIS, along the same schedule.

    Parameters
    ----------
    reverse_start : "auto", "exact", "chains", or array (num_chains, num_visible) in {0, 1}
        Where reverse AIS starts: at exact samples of an RBM that can be enumerated; at chains, namely those of the
        forward run, drawn anew by their weights and then advanced at beta = 1; or at given samples. Auto takes exact
        samples where the smaller layer has at most 20 units, else chains.
    sweeps_at_the_top : int >= 1
        Sweeps at beta = 1 before chains start; as many as the forward run took, unless given.
    num_chains : as in `log_partition`
    settings
        As in `AnnealingSettings`.

    Returns a `Bracket`. Raises InputError as the two estimates do.
    """
    parameters = Parameters.from_arrays(visible_layer_bias, hidden_layer_bias, interaction_weight)
    run = _prepare(parameters, num_chains, AnnealingSettings(**settings))
    if sweeps_at_the_top is not None:
        _check_positive("sweeps_at_the_top", sweeps_at_the_top)
    kind = _kind_of_start(run.parameters, reverse_start)
    # Before the forward run, so that a start that cannot be is refused at once.
    start = None
    if kind == "exact":
        start = enumeration.draw_visible(run.parameters, num_chains, [*run.key, 0, _EXACT])
    elif kind == "given":
        start = _checked_start(run, reverse_start)
    betas = _schedule(run)
    forward, visible = _forward(run, betas)
    if start is None:
        start = _advance(run, _resample(run, forward, visible), sweeps_at_the_top)
    return Bracket(forward, _reverse(run, betas, start), kind)


def _kind_of_start(parameters: Parameters, reverse_start: str | Array) -> str:
    """ "exact", "chains" or "given"."""
    if not isinstance(reverse_start, str):
        return "given"
    if reverse_start == "auto":
        return "exact" if enumeration.can_enumerate(parameters, enumeration.QUICK_UNITS) else "chains"
    if reverse_start not in ("exact", "chains"):
        raise InputError("reverse_start %r does not exist; choose auto, exact, chains or give samples" % reverse_start)
    return reverse_start


# --- A run ------------------------------------------------------------------------------------------------------------


class _Run(NamedTuple):
    """What all chains of one estimate share, checked."""

    parameters: Parameters
    num_chains: int
    settings: AnnealingSettings
    base_visible_bias: NDArray
    key: list[int]
    engine: str
    state: StateFile | None


def _prepare(parameters: Parameters, num_chains: int, settings: AnnealingSettings) -> _Run:
    parameters.checked()
    _check_positive("num_chains", num_chains)
    settings.checked()
    return _Run(
        parameters,
        num_chains,
        settings,
        key=draw_key().asnumpy().tolist() if settings.key is None else list(settings.key),
        engine=gibbs.choose_engine(settings.engine, parameters.interaction_weight),
        base_visible_bias=_base_visible_bias(parameters, settings.training_data, settings.base_visible_bias),
        state=None if settings.state is None else StateFile(settings.state),
    )


def _check_positive(name: str, value: int) -> None:
    if value < 1:
        raise InputError("%s is %s; it must be at least 1" % (name, value))


def _base_visible_bias(parameters: Parameters, training_data: Array | None, base_visible_bias: Array | None) -> NDArray:
    """The bias a0 of the base rate, an NDArray beside the parameters, or InputError."""
    own = parameters.visible_layer_bias
    if base_visible_bias is None and training_data is None:
        return own
    if base_visible_bias is None:
        images = to_numpy(training_data)
        if not images.size or not are_pixels(images):
            raise InputError("training_data must hold images with pixels in [0, 1], and not be empty")
        base_visible_bias = smoothed_visible_bias(np.mean(images, axis=0, dtype=np.float64), len(images))
    base_visible_bias = to_numpy(base_visible_bias)
    if np.shape(base_visible_bias) != own.shape or not np.isfinite(base_visible_bias).all():
        raise InputError(
            "the base rate has shape %s; it must be %d finite numbers, one for each visible unit"
            % (np.shape(base_visible_bias), own.shape[0])
        )
    return mx.nd.array(base_visible_bias, ctx=own.context, dtype=own.dtype)


def _schedule(run: _Run) -> HostArray:
    """The inverse temperatures from 0 to 1: float64 (num_distributions + 1,)."""
    settings = run.settings
    if settings.schedule == "adaptive":
        pilot = _base_samples(run, 0, min(run.num_chains, settings.chains_at_once), _PILOT)
        key = [*run.key, 0, _PILOT]
        return schedules.adaptive(
            settings.num_distributions, run.parameters, pilot, run.base_visible_bias, key, run.engine
        )
    schedule = {"linear": schedules.linear, "three-piece": schedules.three_piece}[settings.schedule]
    return schedule(settings.num_distributions)


def _base_samples(run: _Run, first: int, count: int, purpose: int) -> NDArray:
    """Exact samples at beta = 0: NDArray (count, num_visible)."""
    probability = mx.nd.sigmoid(run.base_visible_bias).expand_dims(0)
    return Noise([*run.key, first, purpose]).bernoulli(probability.broadcast_to((count, run.parameters.num_visible)))


def _log_z_0(run: _Run) -> float:
    """log Z of the base rate: sum_i softplus(a0_i) + num_hidden log 2."""
    base = as_operand(run.base_visible_bias.astype("float64"))
    return float(softplus(base).sum()) + run.parameters.num_hidden * np.log(2)


# --- Forward and reverse ----------------------------------------------------------------------------------------------


def _forward(run: _Run, betas: HostArray) -> tuple[LogPartition, HostArray]:
    """The estimate, and the visible samples before their last step, (num_chains, num_visible)."""
    visible, log_weights = _anneal_all(
        run,
        "forward AIS",
        _FORWARD,
        lambda first, count: _base_samples(run, first, count, _START),
        betas,
        run.settings.burn_in_sweeps,
    )
    return summarize_log_weights(_log_z_0(run) + log_weights, run.settings.num_distributions), visible


def _reverse(run: _Run, betas: HostArray, visible: HostArray) -> LogPartition:
    """The estimate from samples of the RBM."""
    sweeps = run.settings.burn_in_sweeps
    log_weights = _anneal_all(run, "reverse AIS", _REVERSE, _rows_of(run, visible), betas[::-1], sweeps)[1]
    return summarize_reverse(_log_z_0(run) - log_weights, run.settings.num_distributions)


def _checked_start(run: _Run, visible: Array) -> HostArray:
    """Samples that reverse AIS may start from: NumPy (num_chains, num_visible) in {0, 1}, or InputError."""
    visible = to_numpy(visible)
    shape = (run.num_chains, run.parameters.num_visible)
    if visible.shape != shape or not np.isin(visible, (0, 1)).all():
        raise InputError("reverse AIS starts at binary samples of shape %s, not at these %s" % (shape, visible.shape))
    return visible


def _resample(run: _Run, forward: LogPartition, visible: HostArray) -> HostArray:
    """The visible samples of the forward run, drawn anew by their weights: samples of the RBM, nearly."""
    # Evenly spaced draws: a sample of weight w comes round(w) times or so, and no luck is added.
    weights = np.exp(forward.log_weights - forward.log_weights.max())
    offset = make_generator([*run.key, 0, _RESAMPLE]).random()
    wanted = (np.arange(run.num_chains) + offset) / run.num_chains * weights.sum()
    chosen = np.minimum(np.searchsorted(np.cumsum(weights), wanted, side="right"), run.num_chains - 1)
    return visible[chosen]


def _advance(run: _Run, visible: HostArray, sweeps: int | None) -> HostArray:
    """Visible samples after so many sweeps at beta = 1; None: as many as the forward run took."""
    if sweeps is None:
        sweeps = run.settings.num_distributions * run.settings.burn_in_sweeps
    # A schedule that stays at beta = 1, with a sweep at each step but the last.
    return _anneal_all(run, "chains at beta 1", _ADVANCE, _rows_of(run, visible), np.ones(sweeps + 2), 1)[0]


def _rows_of(run: _Run, visible: HostArray) -> Callable[[int, int], NDArray]:
    """(first, count) -> so many of the samples, an NDArray beside the parameters."""
    weight = run.parameters.interaction_weight
    return lambda first, count: mx.nd.array(visible[first : first + count], ctx=weight.context, dtype=weight.dtype)


# --- The way along a schedule -----------------------------------------------------------------------------------------


def _anneal_all(
    run: _Run, name: str, purpose: int, start: Callable[[int, int], NDArray], betas: HostArray, sweeps: int
) -> tuple[HostArray, HostArray]:
    """Anneal all chains of a run, block by block: visible samples and log-weights, NumPy."""
    chains_at_once, blocks = run.settings.chains_at_once, []
    for first in range(0, run.num_chains, chains_at_once):
        visible = start(first, min(chains_at_once, run.num_chains - first))
        no_bar = None if run.settings.progress else True
        with tqdm(total=len(betas) - 1, desc=name, unit="step", leave=False, disable=no_bar) as bar:
            blocks.append(
                anneal_chains(
                    run.parameters,
                    visible,
                    betas,
                    sweeps=sweeps,
                    base_visible_bias=run.base_visible_bias,
                    key=[*run.key, first, purpose],
                    engine=run.engine,
                    bar=bar,
                    state=run.state,
                    name="%s-%d" % (name, first),
                )
            )
    samples, log_weights = zip(*blocks)
    return np.concatenate([block.asnumpy() for block in samples]), np.concatenate(log_weights)


def anneal_chains(
    parameters: Parameters,
    visible: NDArray,
    betas: HostArray,
    *,
    sweeps: int,
    base_visible_bias: NDArray | None,
    key: Key,
    engine: str,
    bar: tqdm,
    state: StateFile | None = None,
    name: str = "",
) -> tuple[NDArray, HostArray]:
    """As `gibbs.anneal_with_weights` from the first to the last of betas, up or down, in sections that may be resumed.

    Parameters
    ----------
    bar : tqdm
        Told of each step.
    state : StateFile or None
        Keeps the progress under `name`, and takes it up again where a run that was killed had kept it: with the same
        result, bit for bit.

    Returns the visible samples, NDArray (chains, num_visible), and the log-weights, float64 (chains,), NumPy, in nats.
    """
    betas = [float(beta) for beta in betas]  # MXNet takes no NumPy scalar from the left
    last, meaning = len(betas) - 1, ""
    progress = Progress(0, visible, np.zeros(visible.shape[0]))
    if state is not None:
        meaning = fingerprint(*parameters, visible, betas, sweeps, base_visible_bias, key, engine)
        progress = state.resume(name, meaning, progress)
        bar.update(progress.step)
    while progress.step < last:
        step, stop = progress.step, min(progress.step + _STEPS_AT_ONCE, last)
        visible, increments = gibbs.anneal_with_weights(
            parameters, progress.visible, betas, step, stop, sweeps, base_visible_bias, key=key, engine=engine
        )
        bar.update(stop - step)
        progress = Progress(stop, visible, progress.log_weights + increments)
        if state is not None:
            state.keep(name, meaning, progress, done=stop == last)
    return progress.visible, progress.log_weights


# --- Warnings ---------------------------------------------------------------------------------------------------------


def warn_of(partition: LogPartition | Bracket, likelihood: LogLikelihood, stacklevel: int = 3) -> None:
    """Warn (LikelihoodWarning), by default in the name of the caller's caller, of what not to trust."""
    if partition.warning:
        warnings.warn(
            "log Z is not to be trusted (%s): the log-likelihood is probably optimistic" % partition.warning,
            LikelihoodWarning,
            stacklevel=stacklevel,
        )
    if not likelihood.binary:
        warnings.warn(
            "pixels are not binary: the value is a grey-pixel score, not a log-likelihood",
            LikelihoodWarning,
            stacklevel=stacklevel,
        )
