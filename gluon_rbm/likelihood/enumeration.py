"""Exact log Z and independent samples of small RBMs, by enumeration of the smaller layer's states.

Let s be the smaller layer and l the larger one. Summing over the states of l gives

    log Z = log sum_s exp(g(s)),    g(s) = bias_s.s + sum_l softplus(bias_l + (W s)_l),

with at most 2^25 terms. All values are float64 NumPy arrays on the host.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from gluon_rbm.backend.arrays import to_numpy
from gluon_rbm.backend.random import make_generator
from gluon_rbm.backend.types import HostArray, Key, VisibleUnits
from gluon_rbm.errors import InputError
from gluon_rbm.models.energy import log_sum_exp
from gluon_rbm.models.parameters import Parameters
from gluon_rbm.models.visible_units import GAUSSIAN, log_normalizer, softmax_groups
from gluon_rbm.models.visible_units import draw_visible as draw_visible_layer

__all__ = ["MAX_UNITS", "can_enumerate", "draw_visible", "is_quick", "log_partition"]

MAX_UNITS = 25
_QUICK_ENTRIES = 2**20 * 800  # most inputs of the larger layer: about ten seconds
_ENTRIES_AT_ONCE = 2**16  # inputs of the larger layer at a time: 512 KiB fit into a cache


def can_enumerate(parameters: Parameters, visible_units: VisibleUnits = ()) -> bool:
    """Whether the layer to enumerate has at most 25 units.

    This is the smaller layer or, with Gaussian visible units, the hidden layer.

    Parameters
    ----------
    parameters
        Parameters of the RBM.
    visible_units
        As in `gluon_rbm.sampling.gibbs.run_chains`.

    Returns
    -------
    bool
        True if `log_partition` and `draw_visible` can be used.
    """
    return _sizes(parameters, visible_units)[0] <= MAX_UNITS


def is_quick(parameters: Parameters, visible_units: VisibleUnits = ()) -> bool:
    """Whether enumeration takes at most about ten seconds.

    Parameters
    ----------
    parameters, visible_units
        As in `can_enumerate`.

    Returns
    -------
    bool
        True for at most 20 units beside 800, 24 beside 50, or 25 beside 25.
    """
    small, large = _sizes(parameters, visible_units)
    return small <= MAX_UNITS and 2**small * large <= _QUICK_ENTRIES


def log_partition(parameters: Parameters, progress: bool = False, visible_units: VisibleUnits = ()) -> float:
    """Compute log Z exactly.

    The time doubles with each unit of the smaller layer. With 784 units in the other layer, 20
    units take ten seconds and 25 units take five minutes.

    Parameters
    ----------
    parameters
        Parameters of the RBM, NDArrays or NumPy arrays.
    progress
        Whether to show a progress bar on a terminal.
    visible_units
        As in `can_enumerate`.

    Returns
    -------
    float
        Log Z in nats, exact up to the rounding of float64.

    Raises
    ------
    InputError
        The smaller layer has more than 25 units.
    """
    return float(log_sum_exp(_chunk_sums(_Layers.of(parameters, visible_units), progress)))


def draw_visible(parameters: Parameters, count: int, key: Key, visible_units: VisibleUnits = ()) -> HostArray:
    """Draw independent samples of p(v).

    Parameters
    ----------
    parameters
        Parameters of the RBM, NDArrays or NumPy arrays.
    count
        Number of samples.
    key
        Integers that fix the noise.
    visible_units
        As in `can_enumerate`.

    Returns
    -------
    float32 NumPy array (count, num_visible)
        Samples, 0 or 1; real numbers for Gaussian visible units.

    Raises
    ------
    InputError
        As in `log_partition`.
    """
    generator = make_generator(key)
    layers = _Layers.of(parameters, visible_units)
    chunks = _choose(_chunk_sums(layers), count, generator)
    small = np.empty((count, len(layers.small_bias)))
    # Each state is drawn within its chunk, so no list of all states is needed.
    for chunk in np.unique(chunks):
        rows = np.flatnonzero(chunks == chunk)
        small[rows] = layers.states(chunk)[_choose(layers.log_weights(chunk), len(rows), generator)]
    if layers.visible_is_small:
        return small.astype(np.float32)
    inputs = layers.large_bias + small @ layers.weight
    return draw_visible_layer(inputs, layers.visible_units, generator).astype(np.float32)


def _sizes(parameters: Parameters, visible_units: VisibleUnits) -> tuple[int, int]:
    """Size of the layer that is enumerated, and size of the other layer."""
    sizes = parameters.num_hidden, parameters.num_visible
    return sizes if visible_units == GAUSSIAN else (min(sizes), max(sizes))


class _Layers(NamedTuple):
    """The RBM with its smaller layer first, and the states of this layer in chunks.

    A chunk holds all states of the last t units, for one state of the units before them. With
    Gaussian visible units the hidden layer takes the place of the smaller one.
    """

    small_bias: HostArray  # (small,)
    large_bias: HostArray  # (large,)
    weight: HostArray  # (small, large)
    visible_is_small: bool
    table: HostArray  # (2^t, t): all states of the last t units
    visible_units: VisibleUnits  # of the visible layer

    @classmethod
    def of(cls, parameters: Parameters, visible_units: VisibleUnits) -> _Layers:
        parameters = Parameters(*parameters)
        visible_bias, hidden_bias, weight = (to_numpy(array).astype(np.float64) for array in parameters)
        visible_is_small = visible_units != GAUSSIAN and parameters.num_visible <= parameters.num_hidden
        small, large = _sizes(parameters, visible_units)
        if small > MAX_UNITS:
            raise InputError(
                "the %s layer has %d units, and enumeration ends at %d; estimate log Z by AIS"
                % ("hidden" if visible_units == GAUSSIAN else "smaller", small, MAX_UNITS)
            )
        last = min(small, max(0, int(np.log2(_ENTRIES_AT_ONCE / max(large, 1)))))
        table = _bits(np.arange(2**last), last)
        if visible_is_small:
            return cls(visible_bias, hidden_bias, weight, True, table, visible_units)
        return cls(hidden_bias, visible_bias, weight.T, False, table, visible_units)

    @property
    def num_chunks(self) -> int:
        return 2 ** (len(self.small_bias) - self.table.shape[1])

    def states(self, chunk: int) -> HostArray:
        first = _bits(np.array([chunk]), len(self.small_bias) - self.table.shape[1])
        return np.hstack([np.repeat(first, len(self.table), axis=0), self.table])

    def log_weights(self, chunk: int) -> HostArray:
        """g(s) of the states in a chunk."""
        states = self.states(chunk)
        inputs = self.large_bias + states @ self.weight
        if not self.visible_is_small and len(self.visible_units):
            return states @ self.small_bias + log_normalizer(inputs, self.visible_units)
        log_weights = states @ self.small_bias + _sum_softplus(inputs)
        for start, stop in softmax_groups(self.visible_units):
            log_weights[states[:, start:stop].sum(axis=1) != 1] = -np.inf
        return log_weights


def _sum_softplus(x: HostArray) -> HostArray:
    """sum_l log(1 + exp(x_l)) of each row.

    One logarithm serves 1,000 factors. Each is at most 2, so their product does not overflow.
    """
    factors = 1 + np.exp(-np.abs(x))
    logarithms = (np.log(factors[:, first : first + 1000].prod(axis=1)) for first in range(0, x.shape[1], 1000))
    return np.maximum(x, 0).sum(axis=1) + sum(logarithms)


def _bits(numbers: HostArray, width: int) -> HostArray:
    """Binary digits of the numbers: float64 (len(numbers), width)."""
    return ((numbers[:, None] >> np.arange(width)[::-1]) & 1).astype(np.float64)


def _chunk_sums(layers: _Layers, progress: bool = False) -> HostArray:
    """log sum exp of g over each chunk."""
    chunks = tqdm(range(layers.num_chunks), "enumeration", leave=False, disable=None if progress else True)
    return np.array([log_sum_exp(layers.log_weights(chunk)) for chunk in chunks])


def _choose(log_weights: HostArray, count: int, generator: np.random.Generator) -> HostArray:
    """Draw `count` indices, each with probability proportional to exp(log_weights)."""
    cumulative = np.cumsum(np.exp(log_weights - log_weights.max()))
    # The minimum keeps indices in range: a uniform number just below 1 may round up to the total.
    return np.minimum(
        np.searchsorted(cumulative, generator.random(count) * cumulative[-1], side="right"), len(cumulative) - 1
    )
