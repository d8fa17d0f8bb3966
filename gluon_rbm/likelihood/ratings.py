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
from sklearn.utils import gen_batches

from gluon_rbm.backend.native import classes as native_classes
from gluon_rbm.backend.types import HostArray
from gluon_rbm.models.energy import Parameters, log_sum_exp, native_serves, softplus

_ROWS_AT_ONCE = 1000

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

    def first_units(self) -> HostArray:
        """The first unit of each entry's group: int (n,), in order."""
        return self.units - self.units % self.group_size


def hidden_inputs(parameters: Parameters, units: Any) -> HostArray:
    """x = b + v W of rows, sparse (rows, num_visible): float32 (rows, num_hidden)."""
    return np.asarray(units @ parameters.interaction_weight) + parameters.hidden_layer_bias


def group_scores(parameters: Parameters, others: HostArray, first: HostArray, size: int) -> HostArray:
    """a_k + sum_j softplus(x_j + W_kj) for the units k of each row's group: float64 (rows, size).

    others : x of each row without that group, (rows, num_hidden); first : the first of the group's units, int (rows,)
    """
    weight, units = parameters.interaction_weight, first[:, None] + np.arange(size)
    if native_serves(others, weight):
        sums = native_classes.class_sums(others, weight, (first, size))
    else:
        sums = np.empty(units.shape)
        for rows in gen_batches(len(units), _ROWS_AT_ONCE):
            sums[rows] = softplus(others[rows, None] + weight[units[rows]]).sum(axis=2, dtype=np.float64)
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
    first, size = entries.first_units(), entries.group_size
    scores = group_scores(parameters, others, first, size)
    scores -= log_sum_exp(scores)[:, None]
    places = np.arange(len(scores)), entries.units - first
    log_likelihood = float(scores[places].sum())
    slope = np.exp(scores)  # p(v_g = k | others), less 1 for what is on
    slope[places] -= 1
    units = (first[:, None] + np.arange(size)).ravel()
    visible = np.bincount(units, slope.ravel(), entries.num_visible).astype(weight.dtype)
    hidden, direct = _means(others, weight, slope.astype(np.float32), first)
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


def _means(others: HostArray, weight: HostArray, slope: HostArray, first: HostArray) -> tuple[HostArray, HostArray]:
    """sum_k slope_k sigmoid(x + W_k) of each row, and slope_k sigmoid(x + W_k) summed over rows, for each unit k."""
    if native_serves(others, weight):
        return native_classes.class_means(others, weight, slope, (first, slope.shape[1]))
    hidden, direct, units = np.empty_like(others), np.zeros_like(weight), first[:, None] + np.arange(slope.shape[1])
    for rows in gen_batches(len(units), _ROWS_AT_ONCE):
        with np.errstate(over="ignore"):
            parts = slope[rows, :, None] / (1 + np.exp(-(others[rows, None] + weight[units[rows]])))
        hidden[rows] = parts.sum(axis=1)
        np.add.at(direct, units[rows], parts)
    return hidden, direct
