"""Kinds of visible units: binary, in softmax groups, or Gaussian. The rest of an RBM is the same.

**Binary units and groups**: a visible layer has binary units and any number of softmax groups, of
any sizes. Exactly one unit of a group is on: a category with K values is a group of K units. Given
its input x_i, a binary unit is on with probability sigmoid(x_i). Given the inputs of a group G,
unit k is on with probability exp(x_k) / sum_{i in G} exp(x_i). So the sum over states is

    log sum_v exp(x.v) = sum_{i binary} softplus(x_i) + sum_G log sum_{i in G} exp(x_i).

Groups are a sequence of pairs (start, stop), in order and without overlap. If the sequence is
empty, all units are binary.

**Gaussian units** are real. Given their inputs x they are normal, with means x and variance 1
(Welling, Rosen-Zvi & Hinton, NIPS 2004). Sums over states become integrals with the standard normal
density m(v):

    log int m(v) exp(x.v) dv = |x|^2 / 2,        log p(v) = log m(v) - F(v) - log Z

The free energy F is that of binary units. For other variances the data are scaled
(`gluon_rbm.models.gaussian_rbm`).

Arrays are NumPy arrays.
"""

from __future__ import annotations

from typing import Iterator

import numpy as np

from gluon_rbm.backend.arrays import to_numpy
from gluon_rbm.backend.types import Clamp, HostArray, SoftmaxGroups, VisibleUnits
from gluon_rbm.errors import InputError
from gluon_rbm.models.energy import softplus
from gluon_rbm.models.parameters import Parameters

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
    """Check a description of visible units, and return it.

    A clamp must hold all units of a softmax group, one at 1 or none, or it must hold none of them.

    Parameters
    ----------
    visible_units
        `GAUSSIAN`, or the softmax groups as pairs (start, stop).
    num_visible
        Number of visible units.
    clamp
        As in `gluon_rbm.sampling.gibbs.run_chains`; None: units are not clamped.

    Returns
    -------
    str or tuple
        `GAUSSIAN`, or the groups as pairs of integers.

    Raises
    ------
    InputError
        It is another word, groups overlap or are not in order, or the clamp does not suit them.
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
                "a softmax group of %d visible units is (%s, %s); it must be (start, stop), %d <= start < stop <= %d"
                % (num_visible, start, stop, end, num_visible)
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
            "a clamp must hold all units of a softmax group or none; all at 0 (no such group), or one at 1 and the "
            "others at 0"
        )


def zero_sum_gauge(parameters: Parameters, groups: SoftmaxGroups) -> Parameters:
    """Return the same RBM with weights and visible biases that sum to zero over each group.

    Exactly one unit of a group G is on. So for any w the RBM stays the same if w_j is subtracted
    from W_kj for each k in G, and added to b_j. Subtracting a constant from a_k for each k in G
    changes nothing but Z.

    Parameters
    ----------
    parameters
        The RBM.
    groups
        Its softmax groups.

    Returns
    -------
    Parameters
        NumPy arrays.
    """
    visible, hidden, weight = (np.array(to_numpy(array)) for array in parameters)
    for start, stop in groups:
        mean = weight[start:stop].mean(axis=0)
        weight[start:stop] -= mean
        hidden += mean
        visible[start:stop] -= visible[start:stop].mean()
    return Parameters(visible, hidden, weight)


def softmax_groups(visible_units: VisibleUnits) -> SoftmaxGroups:
    """Return the softmax groups of visible units.

    Parameters
    ----------
    visible_units
        `GAUSSIAN`, or softmax groups.

    Returns
    -------
    sequence of (start, stop)
        The groups; empty for Gaussian units.
    """
    return () if isinstance(visible_units, str) else visible_units


def runs(groups: SoftmaxGroups) -> Iterator[tuple[slice, int]]:
    """Iterate over the groups, joining adjacent groups of the same size.

    Parameters
    ----------
    groups
        Softmax groups.

    Yields
    ------
    units : slice
        Visible units of the joined groups.
    size : int
        Size of each of these groups.
    """
    first = 0
    for number, (start, stop) in enumerate(groups):
        size = stop - start
        if number + 1 == len(groups) or tuple(groups[number + 1]) != (stop, stop + size):
            yield slice(groups[first][0], stop), size
            first = number + 1


def grouped_units(groups: SoftmaxGroups, num_visible: int) -> tuple[HostArray, HostArray, HostArray]:
    """Return which visible units are in a group, and where the groups lie among these units.

    Parameters
    ----------
    groups
        Softmax groups.
    num_visible
        Number of visible units.

    Returns
    -------
    grouped : bool array (num_visible,)
        Whether each unit is in a group.
    starts : int64 array (number of groups,)
        Where each group starts, counting only the units that are in a group.
    sizes : int64 array (number of groups,)
        Size of each group.
    """
    bounds = np.array(groups, np.int64).reshape(-1, 2)
    sizes = bounds[:, 1] - bounds[:, 0]
    changes = np.zeros(num_visible + 1, np.int64)
    changes[bounds[:, 0]] += 1
    changes[bounds[:, 1]] -= 1
    return changes[:-1].cumsum() > 0, np.cumsum(sizes) - sizes, sizes


def log_normalizer(inputs: HostArray, visible_units: VisibleUnits) -> HostArray:
    """Return log sum_v exp(x.v) over all states of the visible layer.

    For Gaussian units it is log int m(v) exp(x.v) dv.

    Parameters
    ----------
    inputs
        Total inputs x, (rows, num_visible).
    visible_units
        `GAUSSIAN`, or softmax groups.

    Returns
    -------
    array (rows,)
        Logarithms.
    """
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
    """Return the mean of each visible unit given its input.

    Parameters
    ----------
    inputs
        Total inputs x, (num_visible,).
    visible_units
        `GAUSSIAN`, or softmax groups.

    Returns
    -------
    array (num_visible,)
        Probabilities that the units are on; of Gaussian units the inputs themselves.
    """
    if visible_units == GAUSSIAN:
        return inputs
    means = 1 / (1 + np.exp(-inputs))
    for start, stop in softmax_groups(visible_units):
        odds = np.exp(inputs[start:stop] - inputs[start:stop].max())
        means[start:stop] = odds / odds.sum()
    return means


def draw_visible(inputs: HostArray, visible_units: VisibleUnits, generator: np.random.Generator) -> HostArray:
    """Draw a visible layer given its inputs.

    In a group the unit with the largest x_i - log(-log u_i) is on, where the u_i are uniform (the
    Gumbel-max trick).

    Parameters
    ----------
    inputs
        Total inputs x, (rows, num_visible).
    visible_units
        `GAUSSIAN`, or softmax groups.
    generator
        Source of the random numbers.

    Returns
    -------
    array (rows, num_visible)
        Values, in the dtype of `inputs`.
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
