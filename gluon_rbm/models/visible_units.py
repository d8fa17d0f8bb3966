"""What visible units are: binary, in softmax groups, or Gaussian. All else of an RBM is the same for any of them.

**Binary and grouped.** The visible layer has any number of softmax groups, of any sizes, of each of which exactly one
unit is on (a category with K values is a group of K units), beside units that are drawn alone. Given their inputs x, a
unit that is alone is on with probability sigmoid(x_i), and of a group G unit k with probability
exp(x_k) / sum_{i in G} exp(x_i). So what a visible layer sums to is

    log sum_v exp(x.v) = sum_{i alone} softplus(x_i) + sum_G log sum_{i in G} exp(x_i).

Groups are given as a sequence of (start, stop), in order and apart; the empty one stands for binary units alone.

**Gaussian.** Units are real; given their inputs they are normal, with means x and variance 1 (Welling, Rosen-Zvi &
Hinton, NIPS 2004). Sums over states become integrals with the standard normal density m(v), so that

    log int m(v) exp(x.v) dv = |x|^2 / 2,        log p(v) = log m(v) - F(v) - log Z

with the free energy F of binary units, unchanged. Other variances are those of data that are scaled
(`gluon_rbm.models.gaussian_rbm`).

Arrays are NumPy's.
"""

from __future__ import annotations

from typing import Iterator

import numpy as np

from gluon_rbm.backend.arrays import to_numpy
from gluon_rbm.backend.types import Clamp, HostArray, SoftmaxGroups, VisibleUnits
from gluon_rbm.errors import InputError
from gluon_rbm.models.energy import Parameters, softplus

__all__ = [
    "GAUSSIAN",
    "checked_visible_units",
    "draw_visible",
    "grouped_units",
    "log_normalizer",
    "mean_visible",
    "runs",
    "softmax_groups",
    "zero_sum_gauge",
]


GAUSSIAN = "gaussian"


def checked_visible_units(visible_units: VisibleUnits, num_visible: int, clamp: Clamp | None = None) -> VisibleUnits:
    """GAUSSIAN, or the groups as pairs of integers.

    Raises InputError for other words, and unless groups are apart and in order, and a clamp, as `gibbs.run_chains`
    takes it, suits them: it holds all units of a group, one at 1 or none, or it holds none of them.
    """
    if isinstance(visible_units, str):
        if visible_units != GAUSSIAN:
            raise InputError('visible units are %r; they must be "gaussian" or softmax groups' % visible_units)
        return GAUSSIAN
    groups = tuple((int(start), int(stop)) for start, stop in visible_units)
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


def softmax_groups(visible_units: VisibleUnits) -> SoftmaxGroups:
    """The softmax groups; of Gaussian units there are none."""
    return () if isinstance(visible_units, str) else visible_units


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


def log_normalizer(inputs: HostArray, visible_units: VisibleUnits) -> HostArray:
    """log sum_v exp(inputs.v) over all states of the visible layer: (rows,), of inputs (rows, num_visible)."""
    if visible_units == GAUSSIAN:
        return np.square(inputs).sum(axis=-1) / 2
    groups = softmax_groups(visible_units)
    grouped, starts, _ = grouped_units(groups, inputs.shape[-1])
    alone = inputs[..., ~grouped] if len(starts) else inputs
    total = softplus(alone).sum(axis=-1)
    if len(starts):
        total = total + np.logaddexp.reduceat(inputs[..., grouped], starts, axis=-1).sum(axis=-1)
    return total


def mean_visible(inputs: HostArray, visible_units: VisibleUnits) -> HostArray:
    """The mean of each visible unit given these inputs (num_visible,): how often it is on, or of Gaussian ones x."""
    if visible_units == GAUSSIAN:
        return inputs
    means = 1 / (1 + np.exp(-inputs))
    for start, stop in softmax_groups(visible_units):
        odds = np.exp(inputs[start:stop] - inputs[start:stop].max())
        means[start:stop] = odds / odds.sum()
    return means


def draw_visible(inputs: HostArray, visible_units: VisibleUnits, generator: np.random.Generator) -> HostArray:
    """A visible layer given its inputs (rows, num_visible), of their shape and dtype.

    In a group the unit with the largest x_i - log(-log u_i) is on, u_i being uniform (Gumbel's maximum).
    """
    if visible_units == GAUSSIAN:
        return inputs + generator.standard_normal(inputs.shape).astype(inputs.dtype)
    groups = softmax_groups(visible_units)
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
