"""Mean scores of images under a binary RBM with their standard errors, in nats per image."""

from __future__ import annotations

from typing import Any, Callable, Iterable, Iterator, NamedTuple

import numpy as np

from gluon_rbm.backend.arrays import as_operand, to_numpy
from gluon_rbm.backend.framework import mx
from gluon_rbm.backend.random import make_generator
from gluon_rbm.backend.types import Array, HostArray, Key, NDArray, SoftmaxGroups
from gluon_rbm.errors import InputError
from gluon_rbm.models.energy import are_pixels, free_energy, pseudo_log_likelihood
from gluon_rbm.models.parameters import Parameters

__all__ = ["LogLikelihood", "mean_log_likelihood", "mean_pseudo_log_likelihood", "score_kind"]

_ROWS_AT_ONCE = 1000


def score_kind(binary: bool) -> str:
    """Return what -F(v) - log Z is called.

    Parameters
    ----------
    binary
        Whether every pixel is 0 or 1, or the model is one of real values.

    Returns
    -------
    str
        "log-likelihood" if `binary`, else "grey-pixel score".
    """
    return "log-likelihood" if binary else "grey-pixel score"


class LogLikelihood(NamedTuple):
    """Mean log-likelihood over images, in nats per image.

    It is a likelihood only if all pixels are binary; otherwise it is a grey-pixel score. For real
    values (`is_density`) it is a mean log density.
    """

    mean: float
    standard_error: float  #: standard error over images, without the uncertainty of log Z
    num_images: int
    binary: bool  #: whether every pixel is 0 or 1
    is_density: bool = False  #: whether values are real; the mean may then be above 0

    @property
    def warning(self) -> str:
        """Reason why the value cannot be a mean log-likelihood.

        Returns
        -------
        str
            Reason; empty if there is none.
        """
        if not self.binary and not self.is_density:
            return "pixels are not binary: the value is a grey-pixel score, not a log-likelihood"
        if self.mean > 0 and not self.is_density:
            return "a mean log-likelihood above zero is impossible: log Z is too low by %.2f nats at least" % self.mean
        return ""

    @classmethod
    def of(cls, values: HostArray, binary: bool, weights: HostArray | None = None) -> LogLikelihood:
        """Summarize the values of all images.

        Parameters
        ----------
        values
            Log-likelihoods of the images, NumPy (n,), in nats.
        binary
            Whether all pixels are 0 or 1.
        weights
            Weights of the images, (n,); by default all count alike.

        Returns
        -------
        LogLikelihood
            Mean and standard error over images.
        """
        if weights is None:
            standard_error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.inf
            return cls(float(values.mean()), float(standard_error), len(values), binary)
        mean = weights @ values / weights.sum()
        squares = np.square(weights * (values - mean)).sum() * len(values) / max(len(values) - 1, 1)
        standard_error = np.sqrt(squares) / weights.sum() if len(values) > 1 else np.inf
        return cls(float(mean), float(standard_error), len(values), binary)


def mean_log_likelihood(
    parameters: Parameters, data: Array | Iterable[Any], log_z: float, weights: HostArray | None = None
) -> LogLikelihood:
    """Mean of log p(v) = -F(v) - log Z over images.

    Parameters
    ----------
    parameters
        Parameters of the RBM, NDArrays or NumPy arrays.
    data
        Images: an array (n, ...), a `gluon.data.DataLoader`, an `mx.io.DataIter` (its padding is
        left out), or an iterable of batches. Pixels lie in [0, 1]; images are flattened.
    log_z
        Log Z in nats.
    weights
        Weights of the images, (n,); by default all count alike.

    Returns
    -------
    LogLikelihood
        Mean and standard error in nats per image.

    Raises
    ------
    InputError
        There are no images, they have another width, a pixel is NaN or outside [0, 1], or a score
        is not finite.
    """
    parameters = Parameters.from_arrays(*parameters)
    return _mean(parameters, data, lambda batch, binary: -free_energy(parameters, batch).asnumpy() - log_z, weights)


def mean_pseudo_log_likelihood(
    parameters: Parameters,
    data: Array | Iterable[Any],
    key: Key | None = None,
    softmax_groups: SoftmaxGroups = (),
    weights: HostArray | None = None,
) -> LogLikelihood:
    """Mean over images of the pseudo-log-likelihood sum_i log p(v_i | all other v), without log Z.

    Parameters
    ----------
    parameters
        Parameters of the RBM, NDArrays or NumPy arrays.
    data
        As in `mean_log_likelihood`, with pixels that are 0 or 1.
    key
        By default the sum is over all pixels, and takes num_visible times as long as a
        likelihood. With a key (integers that fix the noise) it is num_visible times the term of
        one random pixel of each image: the same on average, with more noise.
    softmax_groups
        Groups of visible units as in `gluon_rbm.sampling.gibbs.run_chains`.
    weights
        As in `mean_log_likelihood`.

    Returns
    -------
    LogLikelihood
        Mean and standard error in nats per image.

    Raises
    ------
    InputError
        As in `mean_log_likelihood`, or a pixel is not 0 or 1.
    """
    parameters = Parameters.from_arrays(*parameters)
    generator = None if key is None else make_generator(key)

    def score(batch: NDArray, binary: bool) -> HostArray:
        if not binary:
            raise InputError("a pseudo-likelihood is of binary pixels only; draw them, or cut them at 0.5, first")
        units = None if generator is None else generator.integers(parameters.num_visible, size=len(batch))
        return to_numpy(pseudo_log_likelihood(parameters, batch, units, softmax_groups))

    return _mean(parameters, data, score, weights)


def _mean(
    parameters: Parameters,
    data: Array | Iterable[Any],
    score: Callable[[NDArray, bool], HostArray],
    weights: HostArray | None = None,
) -> LogLikelihood:
    """Summarize score(batch, whether it is binary) -> NumPy (rows,) over all images."""
    scores, all_binary, bias = [], True, parameters.visible_layer_bias
    for batch in _batches(data):
        batch = batch.as_in_context(bias.context).astype(bias.dtype)
        binary = _check_pixels(batch, parameters.num_visible)
        scores.append(score(batch, binary))
        all_binary = all_binary and binary
    if not scores:
        raise InputError("there is no image to compute the log-likelihood of; a DataIter may need reset()")
    values = np.concatenate(scores)
    if not np.isfinite(values).all():
        raise InputError(
            "a score is not finite, as the parameters are too large; train again with a lower learning rate"
        )
    return LogLikelihood.of(values, all_binary, weights)


def _check_pixels(batch: NDArray, num_visible: int) -> bool:
    """Whether all pixels are 0 or 1; InputError if they cannot be pixels of this RBM."""
    if batch.shape[1] != num_visible:
        raise InputError(
            "images have %d pixels, the model %d visible units; use the data set that the model was trained on"
            % (batch.shape[1], num_visible)
        )
    pixels = as_operand(batch)
    if not are_pixels(pixels):
        raise InputError("pixels must lie in [0, 1] and not be NaN; scale the images first")
    return bool((pixels * (1 - pixels) == 0).all())


def _batches(data: Any) -> Iterator[NDArray]:
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
