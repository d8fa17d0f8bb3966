"""Sums over the classes of a label, in the native engine's own threads, over NumPy arrays.

Given an image x and a class y, the input of hidden unit j is o_yj = b_j + (x W)_j + U_yj
(Larochelle & Bengio 2008).
"""

from __future__ import annotations

from typing import Any, Tuple

import numpy as np

from gluon_rbm.backend.native.arguments import call_library, checked_array, new_call, point, threads_for
from gluon_rbm.backend.native.binding import Classes, Gibbs
from gluon_rbm.backend.types import HostArray
from gluon_rbm.errors import InputError

__all__ = ["class_means", "class_sums"]

Groups = Tuple[HostArray, int]

_EXPONENTIALS = 20000  #: this much work is worth one more thread


def class_sums(hidden_input: HostArray, label_weight: HostArray, groups: Groups | None = None, **how: Any) -> HostArray:
    """Return sum_j softplus(o_yj) of each row and class.

    Parameters
    ----------
    hidden_input
        Input b + x W of the pixels alone, (rows, num_hidden).
    label_weight
        Weights U of the label, (num_classes, num_hidden).
    groups
        (first, num_classes) if rows have classes of their own: each row has num_classes of them,
        from its number in `first` on, int (rows,). None: each row has all classes.
    **how
        The options num_threads and instruction_set, as in `native.run`.

    Returns
    -------
    float64 (rows, num_classes)
        The sums.

    Raises
    ------
    InputError
        The library is not there, or an argument does not suit it.
    """
    call, classes = _call(hidden_input, label_weight, groups, **how)
    result = np.empty((classes.rows, classes.num_classes))
    point(classes, score=result)
    call_library("class_sums", call, more=classes)
    return result


def class_means(
    hidden_input: HostArray, label_weight: HostArray, slope: HostArray, groups: Groups | None = None, **how: Any
) -> tuple[HostArray, HostArray]:
    """Sum slope_y sigmoid(o_yj) over the classes of each row, and over the rows.

    Parameters
    ----------
    hidden_input, label_weight
        As in `class_sums`.
    slope
        Factors of the sigmoids, (rows, num_classes).
    groups
        As in `class_sums`, but `first` must not decrease from row to row.
    **how
        As in `class_sums`.

    Returns
    -------
    hidden : float32 (rows, num_hidden)
        Sums over the classes of each row.
    label_hidden : float32, in the shape of `label_weight`
        Sums over the rows for each class; 0 for classes that no row has.

    Raises
    ------
    InputError
        As in `class_sums`, or the rows are not in the order of their first classes.
    """
    call, classes = _call(hidden_input, label_weight, groups, **how)
    if groups is not None and (np.diff(groups[0]) < 0).any():
        raise InputError("rows must be in the order of their first classes")
    hidden = np.empty((classes.rows, classes.num_hidden), np.float32)
    label_hidden = np.zeros(np.shape(label_weight), np.float32)
    slope = checked_array("slope", slope, np.float32, (classes.rows, classes.num_classes))
    point(classes, slope=slope, hidden=hidden, label_hidden=label_hidden)
    call_library("class_means", call, more=classes)
    return hidden, label_hidden


def _call(
    hidden_input: HostArray,
    label_weight: HostArray,
    groups: Groups | None,
    num_threads: int | None = None,
    instruction_set: str | None = None,
) -> tuple[Gibbs, Classes]:
    hidden_input = checked_array("hidden_input", hidden_input, np.float32, (None, None))
    rows, num_hidden = hidden_input.shape
    label_weight = checked_array("label_weight", label_weight, np.float32, (None, num_hidden))
    call = new_call((1, num_hidden), num_threads, instruction_set)
    num_classes, first = len(label_weight), None
    if groups is not None:
        first, num_classes = checked_array("first", groups[0], np.int64, (rows,)), groups[1]
        if rows and not 0 <= first.min() <= first.max() <= len(label_weight) - num_classes:
            raise InputError("first must be at least 0, and leave %d classes" % num_classes)
    call.num_threads = call.num_threads or threads_for(rows * num_classes * num_hidden / _EXPONENTIALS)
    classes = Classes(rows=rows, num_classes=num_classes, num_hidden=num_hidden)
    classes.arrays = []
    point(classes, first=first)
    point(classes, input=hidden_input, label_weight=label_weight)
    return call, classes
