"""Rows that have a few of many softmax groups each (ratings): exact conditionals, and the gradient of their likelihood.

A row r has groups g in G_r, of each of which unit k_g is on; others are not there. With x_j = b_j + sum_g W_{k_g j}

    p(v_g = k | the row's other groups) = softmax_k(a_k + sum_j softplus(x_j - W_{k_g j} + W_{k j})),   k in g

(Salakhutdinov, Mnih & Hinton, ICML 2007, section 3). The sum of log p(v_g | others) over a row is its log
pseudo-likelihood (Besag 1975), whose gradient is exact, too. A row costs as much as its groups have units, however many
there are in all. Arrays are NumPy's; groups are of one size K, group g is the units g K, ..., g K + K - 1.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from gluon_rbm.backend.native import classes as native_classes
from gluon_rbm.backend.types import HostArray
from gluon_rbm.models.energy import Parameters, native_serves, softplus

__all__ = ["Entries", "group_scores", "hidden_inputs", "pseudo_likelihood_gradients"]


class Entries(NamedTuple):
    """What is on of some rows, sorted by group."""

    rows: HostArray  #: int (n,)
    units: HostArray  #: int (n,)
    num_rows: int
    group_size: int
    num_visible: int

    @classmethod
    def of(cls, units: Any, group_size: int, num_grouped: int) -> Entries:
        """Of a sparse matrix (rows, num_visible) of ones; the first num_grouped units are in groups."""
        rows = np.repeat(np.arange(units.shape[0]), np.diff(units.indptr))
        grouped = np.flatnonzero(units.indices < num_grouped)
        order = grouped[np.argsort(units.indices[grouped] // group_size, kind="stable")]
        return cls(rows[order], units.indices[order], units.shape[0], group_size, units.shape[1])

    def by_unit(self) -> Any:
        """Sparse (num_visible, n): which entries belong to a unit."""
        return sparse.csr_matrix(
            (np.ones(len(self.units), np.float32), (self.units, np.arange(len(self.units)))),
            (self.num_visible, len(self.units)),
        )

    def by_row(self) -> Any:
        """Sparse (num_rows, n): which entries belong to a row."""
        return sparse.csr_matrix(
            (np.ones(len(self.rows), np.float32), (self.rows, np.arange(len(self.rows)))),
            (self.num_rows, len(self.rows)),
        )

    def groups(self) -> list[tuple[int, slice]]:
        """(first unit of a group, its entries), of groups that any row has."""
        groups = self.units // self.group_size
        starts = np.flatnonzero(np.diff(groups, prepend=-1))
        stops = np.append(starts[1:], len(groups))
        return [(int(groups[start]) * self.group_size, slice(start, stop)) for start, stop in zip(starts, stops)]


def hidden_inputs(parameters: Parameters, units: Any) -> HostArray:
    """x = b + v W of rows, sparse (rows, num_visible): float32 (rows, num_hidden)."""
    return np.asarray(units @ parameters.interaction_weight) + parameters.hidden_layer_bias


def group_scores(parameters: Parameters, others: HostArray, units: slice) -> HostArray:
    """a_k + sum_j softplus(x_j + W_kj) for the units k of a group: float64 (rows, units).

    others : x of each row without that group, (rows, num_hidden)
    """
    weight = parameters.interaction_weight[units]
    if native_serves(others, weight):
        sums = native_classes.class_sums(others, weight)
    else:
        sums = softplus(others[:, None] + weight).sum(axis=2, dtype=np.float64)
    return sums + parameters.visible_layer_bias[units]


def pseudo_likelihood_gradients(
    parameters: Parameters, entries: Entries, inputs: HostArray, context: Any = None
) -> tuple[float, Parameters]:
    """The mean over rows of the negative log pseudo-likelihood, in nats, and its gradients.

    inputs : `hidden_inputs` of the rows
    context : sparse (rows, num_visible), or None
        Units beside the groups that the rows have, and which are not modelled, but conditioned on.
    """
    weight = parameters.interaction_weight
    others = inputs[entries.rows] - weight[entries.units]
    slope = np.empty((len(others), entries.group_size), np.float32)  # p(v_g = k | others), less 1 for what is on
    hidden, direct = np.empty_like(others), np.zeros_like(weight)
    visible, log_likelihood = np.zeros_like(parameters.visible_layer_bias), 0.0
    for first, some in entries.groups():
        units = slice(first, first + entries.group_size)
        scores = group_scores(parameters, others[some], units)
        scores -= scores.max(axis=1, keepdims=True)
        probability = np.exp(scores)
        total = probability.sum(axis=1, keepdims=True)
        probability /= total
        places = np.arange(len(scores)), entries.units[some] - first
        log_likelihood += float((scores[places] - np.log(total[:, 0])).sum())
        probability[places] -= 1
        slope[some] = probability
        visible[units] = probability.sum(axis=0)
        hidden[some], direct[units] = _means(others[some], weight[units], slope[some])
    # Of a row's entries each moves the inputs of all others.
    of_rows = entries.by_row() @ hidden
    by_unit = entries.by_unit()
    direct += by_unit @ (of_rows[entries.rows] - hidden)
    if context is not None:
        direct += context.T @ of_rows
    factor = np.float32(1 / entries.num_rows)
    return -log_likelihood / entries.num_rows, Parameters(
        visible * factor, of_rows.sum(axis=0) * factor, direct * factor
    )


def _means(others: HostArray, weight: HostArray, slope: HostArray) -> tuple[HostArray, HostArray]:
    """sum_k slope_k sigmoid(x + W_k) of each row, and slope_k sigmoid(x + W_k) summed over rows."""
    if native_serves(others, weight):
        return native_classes.class_means(others, weight, slope)
    with np.errstate(over="ignore"):
        parts = slope[:, :, None] / (1 + np.exp(-(others[:, None] + weight)))
    return parts.sum(axis=1), parts.sum(axis=0)
