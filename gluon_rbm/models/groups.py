"""Softmax groups: visible units of which exactly one is on. A category with K values is a group of K units.

The visible layer has any number of groups, of any sizes, beside units that are drawn alone. Given their inputs x, a
unit that is alone is on with probability sigmoid(x_i), and of a group G unit k with probability
exp(x_k) / sum_{i in G} exp(x_i). So what a visible layer sums to is

    log sum_v exp(x.v) = sum_{i alone} softplus(x_i) + sum_G log sum_{i in G} exp(x_i).

Groups are given as a sequence of (start, stop), in order and apart. Arrays are NumPy's.
"""

from __future__ import annotations

from typing import Iterator

import numpy as np

from gluon_rbm.backend.arrays import to_numpy
from gluon_rbm.backend.types import Clamp, HostArray, SoftmaxGroups
from gluon_rbm.errors import InputError
from gluon_rbm.models.energy import Parameters, softplus

__all__ = [
    "checked_groups",
    "draw_visible",
    "grouped_units",
    "log_normalizer",
    "mean_visible",
    "runs",
    "zero_sum_gauge",
]


def checked_groups(
    softmax_groups: SoftmaxGroups, num_visible: int, clamp: Clamp | None = None
) -> tuple[tuple[int, int], ...]:
    """The groups as pairs of integers.

    Raises InputError unless they are apart and in order, and a clamp, as `gibbs.run_chains` takes it, suits them: it
    holds all units of a group, one at 1 or none, or it holds none of them.
    """
    groups = tuple((int(start), int(stop)) for start, stop in softmax_groups)
    ends = (0, *(stop for _, stop in groups))
    for (start, stop), end in zip(groups, ends):
        if not end <= start < stop <= num_visible:
            raise InputError(
                "a softmax group is units %s to %s of %d visible units; give (start, stop), %d <= start < stop <= %d"
                % (start, stop, num_visible, end, num_visible)
            )
    if clamp is not None and groups:
        _check_clamp(groups, clamp)
    return groups


def _check_clamp(groups: SoftmaxGroups, clamp: Clamp) -> None:
    mask, values = np.broadcast_arrays(*(np.atleast_2d(to_numpy(array)) for array in clamp))
    held, values = mask != 0, np.where(mask != 0, values, 0)
    bounds = np.array(groups)
    num_held, num_on, num_grey = (
        np.diff(np.pad(counted.cumsum(axis=1), ((0, 0), (1, 0)))[:, bounds], axis=2)[..., 0]
        for counted in (held, values == 1, values * (values - 1) != 0)
    )
    whole = (num_held == 0) | (num_held == bounds[:, 1] - bounds[:, 0])
    if not (whole & (num_on <= 1) & (num_grey == 0)).all():
        raise InputError(
            "a clamp holds all units of a softmax group, one at 1 and the others at 0, or all at 0 (there is no such "
            "group); or it holds none of them"
        )


def zero_sum_gauge(parameters: Parameters, groups: SoftmaxGroups) -> Parameters:
    """The same RBM with weights and biases of sum zero over each group: NumPy arrays.

    As one unit of a group G is on, W_kj - w_j for k in G and b_j + w_j are the same RBM as W and b, whatever w is; a
    constant less in a_k changes nothing but Z.
    """
    visible, hidden, weight = (np.array(to_numpy(array)) for array in parameters)
    for start, stop in groups:
        mean = weight[start:stop].mean(axis=0)
        weight[start:stop] -= mean
        hidden += mean
        visible[start:stop] -= visible[start:stop].mean()
    return Parameters(visible, hidden, weight)


def runs(groups: SoftmaxGroups) -> Iterator[tuple[slice, int]]:
    """The groups, those of one size that follow each other together: (units, size of each)."""
    first = 0
    for number, (start, stop) in enumerate(groups):
        size = stop - start
        if number + 1 == len(groups) or tuple(groups[number + 1]) != (stop, stop + size):
            yield slice(groups[first][0], stop), size
            first = number + 1


def grouped_units(groups: SoftmaxGroups, num_visible: int) -> tuple[HostArray, HostArray, HostArray]:
    """Which visible units are in a group, bool (num_visible,); where, among those, each group starts; its size."""
    bounds = np.array(groups, np.int64).reshape(-1, 2)
    sizes = bounds[:, 1] - bounds[:, 0]
    changes = np.zeros(num_visible + 1, np.int64)
    changes[bounds[:, 0]] += 1
    changes[bounds[:, 1]] -= 1
    return changes[:-1].cumsum() > 0, np.cumsum(sizes) - sizes, sizes


def log_normalizer(inputs: HostArray, groups: SoftmaxGroups) -> HostArray:
    """log sum_v exp(inputs.v) over all states of the visible layer: (rows,), of inputs (rows, num_visible)."""
    grouped, starts, _ = grouped_units(groups, inputs.shape[-1])
    alone = inputs[..., ~grouped] if len(starts) else inputs
    total = softplus(alone).sum(axis=-1)
    if len(starts):
        total = total + np.logaddexp.reduceat(inputs[..., grouped], starts, axis=-1).sum(axis=-1)
    return total


def mean_visible(inputs: HostArray, groups: SoftmaxGroups) -> HostArray:
    """How often each visible unit is on given these inputs (num_visible,): sigmoid, and softmax in a group."""
    means = 1 / (1 + np.exp(-inputs))
    for start, stop in groups:
        odds = np.exp(inputs[start:stop] - inputs[start:stop].max())
        means[start:stop] = odds / odds.sum()
    return means


def draw_visible(inputs: HostArray, groups: SoftmaxGroups, generator: np.random.Generator) -> HostArray:
    """A visible layer given its inputs (rows, num_visible): in {0, 1}, of their shape and dtype.

    In a group the unit with the largest x_i - log(-log u_i) is on, u_i being uniform (Gumbel's maximum).
    """
    uniform = generator.random(inputs.shape)
    with np.errstate(over="ignore"):
        visible = (uniform < 1 / (1 + np.exp(-inputs))).astype(inputs.dtype)
    grouped, starts, sizes = grouped_units(groups, inputs.shape[1])
    if len(starts):
        with np.errstate(divide="ignore"):
            scores = inputs[:, grouped] - np.log(-np.log(uniform[:, grouped]))
        largest = np.maximum.reduceat(scores, starts, axis=1).repeat(sizes, axis=1)
        visible[:, grouped] = scores == largest
    return visible
