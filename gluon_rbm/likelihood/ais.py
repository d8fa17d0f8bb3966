"""Log partition function and log-likelihood of a binary RBM by annealed importance sampling (AIS).

Neal (Statistics and Computing 11, 2001); Salakhutdinov & Murray (ICML 2008), section 4.1. Chains start as exact samples
of independent pixels with bias a0 (beta = 0, log Z_0 known) and are carried through N intermediate distributions to the
machine itself (beta = 1); on the way each collects

    log w = sum_{n=1}^{N} [ log p*_{beta_n}(v_{n-1}) - log p*_{beta_{n-1}}(v_{n-1}) ],

and Z = Z_0 E[w]. The estimate of Z is unbiased, that of log Z is too low on average (Jensen), by a lot when the
distributions are few: likelihoods computed with it are optimistic.

Reverse AIS goes the same way back, from samples of the machine to beta = 0: 1 / Z = E[1 / w] / Z_0, and log Z is too
high on average, if the samples are exact (Burda, Grosse & Salakhutdinov, AISTATS 2015; Grosse, Ghahramani & Adams,
arXiv:1511.02543). The two make a bracket. Everything is in nats, likelihoods per image.
"""

import warnings

import numpy as np
from tqdm import tqdm

from gluon_rbm.backend.arrays import as_operand, from_host, to_numpy
from gluon_rbm.backend.framework import mx
from gluon_rbm.backend.random import Noise, draw_key, make_generator
from gluon_rbm.data.statistics import smoothed_visible_bias
from gluon_rbm.errors import InputError
from gluon_rbm.likelihood import annealing, enumeration
from gluon_rbm.likelihood.partition import Bracket, LogPartition, summarize_log_weights, summarize_reverse
from gluon_rbm.likelihood.scores import LogLikelihood, mean_log_likelihood, mean_pseudo_log_likelihood
from gluon_rbm.models.energy import Parameters, are_pixels, softplus
from gluon_rbm.sampling import gibbs

__all__ = [
    "Bracket",
    "LikelihoodWarning",
    "LogPartition",
    "LogLikelihood",
    "bracket",
    "log_partition",
    "reverse_log_partition",
    "smoothed_visible_bias",
    "mean_log_likelihood",
    "mean_pseudo_log_likelihood",
    "warn_of",
]

_MOST_DISTRIBUTIONS = 10**7

# Everything random has a key (key, first chain of the block, purpose) of its own.
_START, _FORWARD, _CARRY_ON, _REVERSE, _PILOT, _RESAMPLE, _EXACT = range(7)


class LikelihoodWarning(UserWarning):
    """A likelihood that should not be taken at its word."""


def log_partition(
    visible_layer_bias,
    hidden_layer_bias,
    interaction_weight,
    num_chains=1000,
    num_distributions=1000,
    burn_in_sweeps=1,
    training_data=None,
    base_visible_bias=None,
    chains_at_once=1000,
    key=None,
    progress=False,
    engine="auto",
    schedule="linear",
    state=None,
):
    """Estimate log Z by AIS: a lower bound on average.

    Parameters
    ----------
    visible_layer_bias, hidden_layer_bias, interaction_weight : NDArray or NumPy array
        (num_visible,), (num_hidden,), (num_visible, num_hidden); AIS runs on their device.
    num_chains, num_distributions, burn_in_sweeps : int >= 1
        Chains; intermediate distributions; Gibbs sweeps at each of them.
    training_data : array (n, num_visible) in [0, 1]
        The base rate a0 is the smoothed bias of its means: what to give unless there is a reason.
    base_visible_bias : array (num_visible,)
        The base rate itself. With neither, it is the model's own visible bias.
    chains_at_once : int
        Chains that run side by side (memory).
    key : sequence of int
        Fixes the noise; by default drawn from MXNet's generator, so that `mx.random.seed` rules it.
    progress : bool
        Show a progress bar where there is a terminal.
    engine : "auto", "mxnet" or "native"
        As in `gluon_rbm.sampling.gibbs.run_chains`.
    schedule : "linear", "three-piece" or "adaptive"
        The ladder of inverse temperatures, as `gluon_rbm.likelihood.annealing` has them.
    state : path
        A file to keep the run in: the same call, repeated after it was killed, goes on from there, with the same
        result. It needs a key.

    Returns a `LogPartition`. Raises InputError for parameters that are not finite or do not fit, for sizes < 1, and for
    a state file that is damaged or another run's.
    """
    arrays = visible_layer_bias, hidden_layer_bias, interaction_weight
    settings = (num_distributions, burn_in_sweeps, training_data, base_visible_bias, chains_at_once)
    return _Annealing(arrays, num_chains, *settings, key, progress, engine, schedule, state).forward()[0]


def reverse_log_partition(visible_layer_bias, hidden_layer_bias, interaction_weight, visible, **settings):
    """Estimate log Z by reverse AIS from visible: an upper bound on average, if they are exact samples of the machine.

    visible : array (num_chains, num_visible) in {0, 1}
    settings : the rest as in `log_partition`, but num_chains

    Returns a `LogPartition`. Raises InputError as `log_partition` does, and for a start that is not binary or of
    another width.
    """
    arrays = visible_layer_bias, hidden_layer_bias, interaction_weight
    return _Annealing(arrays, len(visible), **settings).reverse(visible)


def bracket(
    visible_layer_bias,
    hidden_layer_bias,
    interaction_weight,
    num_chains=1000,
    reverse_start="auto",
    sweeps_at_the_top=None,
    **settings,
):
    """Estimate log Z by forward AIS and by reverse AIS, along the same ladder.

    Parameters
    ----------
    reverse_start : "auto", "exact", "chains", or array (num_chains, num_visible) in {0, 1}
        Where reverse AIS starts: at exact samples of a machine that can be enumerated; at chains, namely those of the
        forward run, drawn anew by their weights and then carried on at beta = 1; or at given samples. Auto takes exact
        samples where the smaller layer has at most 20 units, else chains.
    sweeps_at_the_top : int >= 1
        Sweeps at beta = 1 before chains start; as many as the forward run took, unless given.
    num_chains, settings : the rest as in `log_partition`

    Returns a `Bracket`. Raises InputError as the two estimates do.
    """
    run = _Annealing((visible_layer_bias, hidden_layer_bias, interaction_weight), num_chains, **settings)
    if sweeps_at_the_top is not None and sweeps_at_the_top < 1:
        raise InputError("sweeps_at_the_top is %s; it must be at least 1" % sweeps_at_the_top)
    if isinstance(reverse_start, str) and reverse_start == "auto":
        quick = enumeration.can_enumerate(run.parameters, enumeration.QUICK_UNITS)
        reverse_start = "exact" if quick else "chains"
    start, kind = (reverse_start, reverse_start) if isinstance(reverse_start, str) else (reverse_start, "given")
    if kind not in ("exact", "chains", "given"):
        raise InputError("reverse_start %r does not exist; choose auto, exact, chains or give samples" % kind)
    if kind == "exact":
        start = enumeration.draw_visible(run.parameters, num_chains, [*run.key, 0, _EXACT])
    elif kind == "given":
        start = run.checked_start(start)
    forward, visible = run.forward()
    if kind == "chains":
        start = run.carry_on(forward, visible, sweeps_at_the_top)
    return Bracket(forward, run.reverse(start), kind)


class _Annealing:
    """What the climbs of one estimate share; see `log_partition`."""

    def __init__(
        self,
        arrays,
        num_chains,
        num_distributions=1000,
        burn_in_sweeps=1,
        training_data=None,
        base_visible_bias=None,
        chains_at_once=1000,
        key=None,
        progress=False,
        engine="auto",
        schedule="linear",
        state=None,
    ):
        self.parameters = as_parameters(*arrays).checked()
        for name, value in (
            ("num_chains", num_chains),
            ("num_distributions", num_distributions),
            ("burn_in_sweeps", burn_in_sweeps),
            ("chains_at_once", chains_at_once),
        ):
            if value < 1:
                raise InputError("%s is %s; it must be at least 1" % (name, value))
        if num_distributions > _MOST_DISTRIBUTIONS:  # the ladder is kept in memory
            raise InputError("num_distributions is %d; it may be %d at most" % (num_distributions, _MOST_DISTRIBUTIONS))
        if state is not None and key is None:
            raise InputError("a run that is kept in a state file needs a key, so that it can be repeated")
        self.num_chains, self.num_distributions, self.sweeps = num_chains, num_distributions, burn_in_sweeps
        self.chains_at_once, self.no_bar = chains_at_once, None if progress else True
        self.key = draw_key().asnumpy().tolist() if key is None else list(key)
        self.engine = gibbs.choose_engine(engine, self.parameters.interaction_weight)
        self.base = _base_visible_bias(self.parameters, training_data, base_visible_bias)
        self.state = None if state is None else annealing.State(state)
        self.betas = self._ladder(schedule)
        base = as_operand(self.base.astype("float64"))
        self.log_z_0 = float(softplus(base).sum()) + self.parameters.num_hidden * np.log(2)

    def _ladder(self, schedule):
        if schedule not in annealing.SCHEDULES:
            raise InputError("schedule %r does not exist; choose %s" % (schedule, ", ".join(annealing.SCHEDULES)))
        if schedule == "adaptive":
            pilot = self._bottom(0, min(self.num_chains, self.chains_at_once), _PILOT)
            key = [*self.key, 0, _PILOT]
            return annealing.adaptive(self.num_distributions, self.parameters, pilot, self.base, key, self.engine)
        ladders = {"linear": annealing.linear, "three-piece": annealing.three_piece}
        return ladders[schedule](self.num_distributions)

    def _bottom(self, first, count, purpose=_START):
        """Exact samples at beta = 0."""
        probability = mx.nd.sigmoid(self.base).expand_dims(0)
        return Noise([*self.key, first, purpose]).bernoulli(
            probability.broadcast_to((count, self.parameters.num_visible))
        )

    def forward(self):
        """`LogPartition`, and the visible samples at the top, before their last step: NumPy."""
        visible, grown = self._climb("forward AIS", _FORWARD, self._bottom, self.betas, self.sweeps)
        return summarize_log_weights(self.log_z_0 + grown, self.num_distributions), visible

    def carry_on(self, forward, visible, sweeps):
        """Samples of the machine, nearly: those of the forward run, drawn by their weights and then carried on."""
        # Evenly spaced draws: a sample of weight w comes round(w) times or so, and no luck is added.
        weights = np.exp(forward.log_weights - forward.log_weights.max())
        luck = make_generator([*self.key, 0, _RESAMPLE]).random()
        wanted = (np.arange(self.num_chains) + luck) / self.num_chains * weights.sum()
        chosen = np.minimum(np.searchsorted(np.cumsum(weights), wanted, side="right"), self.num_chains - 1)
        sweeps = self.num_distributions * self.sweeps if sweeps is None else sweeps
        # A ladder that stays at beta = 1, with a sweep at each step but the last.
        return self._climb("chains at beta 1", _CARRY_ON, self._slices(visible[chosen]), np.ones(sweeps + 2), 1)[0]

    def reverse(self, visible):
        """`LogPartition`, from samples of the machine."""
        begin = self._slices(self.checked_start(visible))
        grown = self._climb("reverse AIS", _REVERSE, begin, self.betas[::-1], self.sweeps)[1]
        return summarize_reverse(self.log_z_0 - grown, self.num_distributions)

    def checked_start(self, visible):
        visible = to_numpy(visible)
        shape = (self.num_chains, self.parameters.num_visible)
        if visible.shape != shape or not np.isin(visible, (0, 1)).all():
            raise InputError(
                "reverse AIS starts at binary samples of shape %s, not at these %s" % (shape, visible.shape)
            )
        return visible

    def _slices(self, visible):
        weight = self.parameters.interaction_weight
        return lambda first, count: mx.nd.array(visible[first : first + count], ctx=weight.context, dtype=weight.dtype)

    def _climb(self, name, purpose, begin, betas, sweeps):
        """All chains along betas, block by block: visible samples and log-weights, NumPy."""
        blocks = []
        for first in range(0, self.num_chains, self.chains_at_once):
            visible = begin(first, min(self.chains_at_once, self.num_chains - first))
            key, kept = [*self.key, first, purpose], (self.state, "%s-%d" % (name, first))
            with tqdm(total=len(betas) - 1, desc=name, unit="step", leave=False, disable=self.no_bar) as bar:
                blocks.append(
                    annealing.anneal_chains(
                        self.parameters, visible, betas, sweeps, self.base, key, self.engine, bar, *kept
                    )
                )
        visible, grown = zip(*blocks)
        return np.concatenate([part.asnumpy() for part in visible]), np.concatenate(grown)


def as_parameters(*arrays):
    """`Parameters`, of NumPy arrays too, in their dtype."""
    return Parameters(*(a if isinstance(a, mx.nd.NDArray) else from_host(np.asarray(a)) for a in arrays))


def _base_visible_bias(parameters, training_data, base_visible_bias):
    own = parameters.visible_layer_bias
    if base_visible_bias is None and training_data is None:
        return own
    if base_visible_bias is None:
        training_data = to_numpy(training_data)
        if not training_data.size or not are_pixels(training_data):
            raise InputError("training_data must hold images with pixels in [0, 1], and not be empty")
        base_visible_bias = smoothed_visible_bias(np.mean(training_data, axis=0, dtype=np.float64), len(training_data))
    base_visible_bias = to_numpy(base_visible_bias)
    if np.shape(base_visible_bias) != own.shape or not np.isfinite(base_visible_bias).all():
        raise InputError(
            "the base rate has shape %s; it must be %d finite numbers, one for each visible unit"
            % (np.shape(base_visible_bias), own.shape[0])
        )
    return mx.nd.array(base_visible_bias, ctx=own.context, dtype=own.dtype)


def warn_of(partition, likelihood, stacklevel=3):
    """Warn (LikelihoodWarning), by default in the name of the caller's caller, of what is in doubt."""
    if partition.doubt:
        warnings.warn(
            "log Z is not to be trusted (%s): the log-likelihood is probably optimistic" % partition.doubt,
            LikelihoodWarning,
            stacklevel=stacklevel,
        )
    if not likelihood.binary:
        warnings.warn(
            "pixels are not binary: the value is a grey-pixel score, not a log-likelihood",
            LikelihoodWarning,
            stacklevel=stacklevel,
        )
