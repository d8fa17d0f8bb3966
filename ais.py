"""Log partition function and log-likelihood of a binary RBM by annealed importance sampling (AIS).

Neal (Statistics and Computing 11, 2001); Salakhutdinov & Murray (ICML 2008), section 4.1. Chains start as exact samples
of independent pixels with bias a0 (beta = 0, log Z_0 known) and are carried through N intermediate distributions to the
machine itself (beta = 1); on the way each collects

    log w = sum_{n=1}^{N} [ log p*_{beta_n}(v_{n-1}) - log p*_{beta_{n-1}}(v_{n-1}) ],      beta_n = n / N,

and Z = Z_0 E[w]. The estimate of Z is unbiased, that of log Z is too low on average (Jensen), by a lot when the
distributions are few: likelihoods computed with it are optimistic. Everything is in nats, likelihoods per image.
"""

import warnings
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from gluon_rbm import gibbs
from gluon_rbm.energy import Parameters, free_energy, softplus
from gluon_rbm.errors import InputError
from gluon_rbm.framework import from_host, mx, operand

__all__ = [
    "LikelihoodWarning",
    "LogPartition",
    "LogLikelihood",
    "log_partition",
    "smoothed_visible_bias",
    "mean_log_likelihood",
    "estimate_log_likelihood",
]

_ROWS_AT_ONCE = 1000
_STEPS_AT_ONCE = 20  # of the ladder, between two looks at the progress bar
_TRUSTED_DISTRIBUTIONS = 100
_TRUSTED_SHARE, _TRUSTED_CHAINS = 0.1, 10  # an effective sample size below either: a few chains carry the estimate


class LikelihoodWarning(UserWarning):
    """A likelihood that should not be taken at its word."""


class LogPartition(NamedTuple):
    """An estimate of log Z (nats) with its uncertainty."""

    log_z: float  # log of the mean of the chains' importance weights
    low: float  # log_z at minus three standard errors of that mean; -inf when it would be negative
    high: float  # log_z at plus three
    effective_sample_size: float  # (sum w)^2 / sum w^2, out of the number of chains
    log_weights: np.ndarray  # float64 (num_chains,): log Z_0 + log w of every chain
    num_distributions: int

    @property
    def doubt(self):
        """Why the estimate should not be trusted; empty if nothing speaks against it.

        The interval knows only the spread that the chains have seen: an AIS run that missed a mode is confident too.
        """
        reasons = []
        if self.num_distributions < _TRUSTED_DISTRIBUTIONS:
            reasons.append("only %d intermediate distributions" % self.num_distributions)
        if self.effective_sample_size < max(_TRUSTED_SHARE * len(self.log_weights), _TRUSTED_CHAINS):
            reasons.append(
                "effective sample size %.1f of %d chains" % (self.effective_sample_size, len(self.log_weights))
            )
        return " and ".join(reasons)


class LogLikelihood(NamedTuple):
    """Mean log-likelihood over images (nats per image); a grey-pixel score, not a likelihood, unless all are binary."""

    mean: float
    standard_error: float  # over the images; the uncertainty of log Z comes on top
    num_images: int
    binary: bool  # every pixel was 0 or 1


def summarize_log_weights(log_weights, num_distributions):
    """The `LogPartition` of the chains' log-weights, in log space and float64."""
    log_weights = np.asarray(log_weights, np.float64)
    count, largest = len(log_weights), log_weights.max()
    weights = np.exp(log_weights - largest)
    log_z = largest + np.log(weights.mean())
    relative_error = weights.std(ddof=1) / weights.mean() / np.sqrt(count) if count > 1 else np.inf
    low = log_z + np.log1p(-3 * relative_error) if 3 * relative_error < 1 else -np.inf
    return LogPartition(
        float(log_z),
        float(low),
        float(log_z + np.log1p(3 * relative_error)),
        float(weights.sum() ** 2 / (weights**2).sum()),
        log_weights,
        num_distributions,
    )


def smoothed_visible_bias(mean, num_images, pseudo_count=1.0):
    """Bias of independent pixels with the data's means: log(p / (1 - p)), p = (n mean + c/2) / (n + c); (num_visible,).

    mean is an array (num_visible,) in [0, 1] over n = num_images. The pseudo count c keeps the bias of pixels that are
    always off finite.
    """
    probability = (num_images * np.asarray(mean, np.float64) + pseudo_count / 2) / (num_images + pseudo_count)
    return np.log(probability) - np.log1p(-probability)


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
):
    """Estimate log Z by AIS.

    Parameters
    ----------
    visible_layer_bias, hidden_layer_bias, interaction_weight : NDArray or NumPy array
        (num_visible,), (num_hidden,), (num_visible, num_hidden); AIS runs on their device.
    num_chains, num_distributions, burn_in_sweeps : int >= 1
        Chains; intermediate distributions, linear in beta; Gibbs sweeps at each of them.
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
        As in `gluon_rbm.gibbs.run_chains`.

    Returns a `LogPartition`. Raises InputError for parameters that are not finite or do not fit, and for sizes < 1.
    """
    parameters = _parameters(visible_layer_bias, hidden_layer_bias, interaction_weight).checked()
    for name, value in (
        ("num_chains", num_chains),
        ("num_distributions", num_distributions),
        ("burn_in_sweeps", burn_in_sweeps),
        ("chains_at_once", chains_at_once),
    ):
        if value < 1:
            raise InputError("%s is %s; it must be at least 1" % (name, value))
    key = gibbs.draw_key().asnumpy().tolist() if key is None else list(key)
    base = _base_visible_bias(parameters, training_data, base_visible_bias)
    log_weights = []
    with tqdm(
        total=-(-num_chains // chains_at_once) * num_distributions,
        desc="AIS",
        unit="distribution",
        leave=False,
        disable=None if progress else True,
    ) as bar:
        for start in range(0, num_chains, chains_at_once):
            count = min(chains_at_once, num_chains - start)
            chain_key = [*key, start]
            log_weights.append(
                _anneal(parameters, base, count, num_distributions, burn_in_sweeps, chain_key, engine, bar)
            )
    log_z_0 = float(softplus(operand(base.astype("float64"))).sum()) + parameters.num_hidden * np.log(2)
    return summarize_log_weights(log_z_0 + np.concatenate(log_weights), num_distributions)


def _parameters(*arrays):
    """`Parameters`, of NumPy arrays too, in their dtype."""
    return Parameters(*(a if isinstance(a, mx.nd.NDArray) else from_host(np.asarray(a)) for a in arrays))


def _base_visible_bias(parameters, training_data, base_visible_bias):
    own = parameters.visible_layer_bias
    if base_visible_bias is None and training_data is None:
        return own
    if base_visible_bias is None:
        if isinstance(training_data, mx.nd.NDArray):
            training_data = training_data.asnumpy()
        if len(training_data) == 0 or not (np.min(training_data) >= 0 and np.max(training_data) <= 1):
            raise InputError("training_data must hold images with pixels in [0, 1], and not be empty")
        base_visible_bias = smoothed_visible_bias(np.mean(training_data, axis=0, dtype=np.float64), len(training_data))
    if isinstance(base_visible_bias, mx.nd.NDArray):
        base_visible_bias = base_visible_bias.asnumpy()
    if np.shape(base_visible_bias) != own.shape or not np.isfinite(base_visible_bias).all():
        raise InputError(
            "the base rate has shape %s; it must be %d finite numbers, one for each visible unit"
            % (np.shape(base_visible_bias), own.shape[0])
        )
    return mx.nd.array(base_visible_bias, ctx=own.context, dtype=own.dtype)


def _anneal(parameters, base, num_chains, num_distributions, burn_in_sweeps, key, engine, bar):
    """Log-weights, without log Z_0, of chains that go from beta = 0 to 1: float64 (num_chains,)."""
    betas = [step / num_distributions for step in range(num_distributions + 1)]
    visible = gibbs.Noise([*key, 0]).bernoulli(
        mx.nd.sigmoid(base).expand_dims(0).broadcast_to((num_chains, parameters.num_visible))
    )
    log_weights = np.zeros(num_chains)
    for start in range(0, num_distributions, _STEPS_AT_ONCE):
        stop = min(start + _STEPS_AT_ONCE, num_distributions)
        visible, grown = gibbs.anneal(
            parameters, visible, betas, start, stop, burn_in_sweeps, base, key=[*key, 1], engine=engine
        )
        log_weights += grown
        bar.update(stop - start)
    return log_weights


def mean_log_likelihood(parameters, data, log_z):
    """Mean of log p(v) = -F(v) - log Z over the images in data: a `LogLikelihood`.

    data is an array (n, ...), a `gluon.data.DataLoader`, an `mx.io.DataIter` (its padding is left out) or any iterable
    of batches; pixels in [0, 1], flattened to num_visible. Raises InputError if it is empty, of another width, or holds
    pixels that are NaN or outside [0, 1].
    """
    log_probabilities, binary = [], True
    for batch in _batches(data):
        batch = batch.as_in_context(parameters.visible_layer_bias.context).astype(parameters.visible_layer_bias.dtype)
        binary = _check_pixels(batch, parameters.num_visible) and binary
        log_probabilities.append(-free_energy(parameters, batch).asnumpy() - log_z)
    if not log_probabilities:
        raise InputError("there is no image to compute the log-likelihood of; a DataIter may need reset()")
    values = np.concatenate(log_probabilities)
    standard_error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.inf
    return LogLikelihood(float(values.mean()), float(standard_error), len(values), binary)


def _check_pixels(batch, num_visible):
    """Whether all pixels are 0 or 1; InputError if they cannot be pixels of this model."""
    if batch.shape[1] != num_visible:
        raise InputError(
            "images have %d pixels, the model %d visible units; use the data set that the model was trained on"
            % (batch.shape[1], num_visible)
        )
    pixels = operand(batch)
    if pixels.size and not (pixels.min() >= 0 and pixels.max() <= 1):  # false for NaN
        raise InputError("pixels must lie in [0, 1] and not be NaN; scale the images first")
    return bool((pixels * (1 - pixels) == 0).all())


def _batches(data):
    """Batches of data as NDArrays (rows, num_visible)."""
    if isinstance(data, (np.ndarray, mx.nd.NDArray)):
        data = [data[start : start + _ROWS_AT_ONCE] for start in range(0, len(data), _ROWS_AT_ONCE)]
    elif isinstance(data, mx.io.DataIter):
        data.reset()
    for batch in data:
        if isinstance(batch, mx.io.DataBatch):
            images = batch.data[0]
            batch = images[: images.shape[0] - (batch.pad or 0)]
        elif isinstance(batch, (list, tuple)):
            batch = batch[0]
        batch = batch if isinstance(batch, mx.nd.NDArray) else mx.nd.array(batch, dtype="float32")
        yield batch.reshape((batch.shape[0], -1))


def estimate_log_likelihood(
    visible_layer_bias,
    hidden_layer_bias,
    interaction_weight,
    ais_batch_size,
    ais_num_batch,
    ais_intermediate_steps,
    ais_burn_in_steps,
    data,
    ctx=None,
    base_visible_bias=None,
    key=None,
    engine="auto",
):
    """Mean log-likelihood of data and log Z, both in nats: (log_likelihood, log_z), floats.

    AIS with ais_num_batch x ais_batch_size chains, ais_intermediate_steps distributions and ais_burn_in_steps sweeps at
    each; the base rate is the model's own visible bias unless another is given. data as in `mean_log_likelihood`.
    Warns (LikelihoodWarning) when the estimate is not to be trusted and when pixels are not binary: then the value is a
    grey-pixel score. Raises InputError as `log_partition` and `mean_log_likelihood` do.
    """
    parameters = _parameters(visible_layer_bias, hidden_layer_bias, interaction_weight)
    parameters = parameters if ctx is None else parameters.as_in_context(ctx)
    partition = log_partition(
        *parameters,
        num_chains=ais_batch_size * ais_num_batch,
        num_distributions=ais_intermediate_steps,
        burn_in_sweeps=ais_burn_in_steps,
        base_visible_bias=base_visible_bias,
        chains_at_once=ais_batch_size,
        key=key,
        engine=engine,
    )
    likelihood = mean_log_likelihood(parameters, data, partition.log_z)
    if partition.doubt:
        warnings.warn(
            "log Z is not to be trusted (%s): the log-likelihood is probably optimistic" % partition.doubt,
            LikelihoodWarning,
            stacklevel=2,
        )
    if not likelihood.binary:
        warnings.warn(
            "pixels are not binary: the value is a grey-pixel score, not a log-likelihood",
            LikelihoodWarning,
            stacklevel=2,
        )
    return likelihood.mean, partition.log_z
