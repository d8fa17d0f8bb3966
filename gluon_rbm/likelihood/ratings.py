"""Rows that have a few of many softmax groups (ratings): conditionals and likelihood gradients.

A row r has groups g in G_r. In each of them one unit k_g is on; the row has no other groups. With
x_j = b_j + sum_g W_{k_g j}

    p(v_g = k | the row's other groups)
        = softmax_k(a_k + sum_j softplus(x_j - W_{k_g j} + W_{k j})),   k in g

(Salakhutdinov, Mnih & Hinton, ICML 2007, section 3). The sum of log p(v_g | others) over the groups
of a row is the row's log pseudo-likelihood (Besag 1975). It has an exact gradient, too. The cost of
a row depends only on the number of units in its own groups. Arrays are NumPy's. All groups have the
same size K, and group g has the units g K, ..., g K + K - 1.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy import sparse
from sklearn.utils import gen_batches

from gluon_rbm.backend.native import classes as native_classes
from gluon_rbm.backend.types import HostArray
from gluon_rbm.models.energy import log_sum_exp, native_serves, softplus
from gluon_rbm.models.parameters import Parameters

_ROWS_AT_ONCE = 1000

__all__ = ["Entries", "group_scores", "hidden_inputs", "pseudo_likelihood_gradients"]


class Entries(NamedTuple):
    """The units of some rows that are on, sorted by group."""

    rows: HostArray  #: int (n,)
    units: HostArray  #: int (n,), sorted by group
    num_rows: int
    group_size: int
    num_visible: int

    @classmethod
    def of(cls, units: Any, group_size: int, num_grouped: int) -> Entries:
        """Entries of a sparse matrix.

        Parameters
        ----------
        units
            Sparse matrix (rows, num_visible) of ones.
        group_size
            Units of a group, K.
        num_grouped
            Number of units in groups; these are the first ones.

        Returns
        -------
        Entries
            Entries of the grouped units.
        """
        rows = np.repeat(np.arange(units.shape[0]), np.diff(units.indptr))
        grouped = np.flatnonzero(units.indices < num_grouped)
        order = grouped[np.argsort(units.indices[grouped] // group_size, kind="stable")]
        return cls(rows[order], units.indices[order], units.shape[0], group_size, units.shape[1])

    def by_unit(self) -> Any:
        """Matrix of entries by unit; its product with values of entries sums them for each unit.

        Returns
        -------
        sparse float32 (num_visible, n)
            Matrix with 1 where an entry belongs to a unit.
        """
        return sparse.csr_matrix(
            (np.ones(len(self.units), np.float32), (self.units, np.arange(len(self.units)))),
            (self.num_visible, len(self.units)),
        )

    def by_row(self) -> Any:
        """Matrix of entries by row; its product with values of entries sums them for each row.

        Returns
        -------
        sparse float32 (num_rows, n)
            Matrix with 1 where an entry belongs to a row.
        """
        return sparse.csr_matrix(
            (np.ones(len(self.rows), np.float32), (self.rows, np.arange(len(self.rows)))),
            (self.num_rows, len(self.rows)),
        )

    def first_units(self) -> HostArray:
        """First unit of each entry's group.

        Returns
        -------
        int (n,)
            Indices of units, in the order of the entries.
        """
        return self.units - self.units % self.group_size


def hidden_inputs(parameters: Parameters, units: Any) -> HostArray:
    """Inputs x = b + v W of the hidden units.

    Parameters
    ----------
    parameters
        Parameters of the RBM.
    units
        Sparse rows v, (rows, num_visible).

    Returns
    -------
    float32 (rows, num_hidden)
        Hidden inputs.
    """
    return np.asarray(units @ parameters.interaction_weight) + parameters.hidden_layer_bias


def group_scores(parameters: Parameters, others: HostArray, first: HostArray, size: int) -> HostArray:
    """Scores a_k + sum_j softplus(x_j + W_kj) of the units k of each row's group.

    Parameters
    ----------
    parameters
        Parameters of the RBM.
    others
        Hidden inputs x of each row without that group, (rows, num_hidden).
    first
        First unit of each row's group, int (rows,).
    size
        Number of units of a group.

    Returns
    -------
    float64 (rows, size)
        Scores, that is log-probabilities up to a constant for each row.
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
    """Negative log pseudo-likelihood, a mean over rows, and its gradients.

    Parameters
    ----------
    parameters
        Parameters of the RBM.
    entries
        Units of the rows that are on.
    inputs
        Hidden inputs of the rows, as of `hidden_inputs`.
    context
        Sparse matrix (rows, num_visible) of other units that are on, if any. They are not modelled;
        the row is conditioned on them.

    Returns
    -------
    loss : float
        Mean negative log pseudo-likelihood, in nats per row.
    gradients : Parameters
        Gradients of the loss with respect to the parameters.
    """
    weight = parameters.interaction_weight
    others = inputs[entries.rows] - weight[entries.units]
    first, size = entries.first_units(), entries.group_size
    scores = group_scores(parameters, others, first, size)
    scores -= log_sum_exp(scores)[:, None]
    places = np.arange(len(scores)), entries.units - first
    log_likelihood = float(scores[places].sum())
    slope = np.exp(scores)  # p(v_g = k | others), minus 1 for the unit that is on
    slope[places] -= 1
    units = (first[:, None] + np.arange(size)).ravel()
    visible = np.bincount(units, slope.ravel(), entries.num_visible).astype(weight.dtype)
    hidden, direct = _means(others, weight, slope.astype(np.float32), first)
    # Each entry of a row changes the inputs of the row's other entries.
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
    """Sums of slope_k sigmoid(x + W_k): over k for each row, and over rows for each unit k."""
    if native_serves(others, weight):
        return native_classes.class_means(others, weight, slope, (first, slope.shape[1]))
    hidden, direct, units = np.empty_like(others), np.zeros_like(weight), first[:, None] + np.arange(slope.shape[1])
    for rows in gen_batches(len(units), _ROWS_AT_ONCE):
        with np.errstate(over="ignore"):
            parts = slope[rows, :, None] / (1 + np.exp(-(others[rows, None] + weight[units[rows]])))
        hidden[rows] = parts.sum(axis=1)
        np.add.at(direct, units[rows], parts)
    return hidden, direct
