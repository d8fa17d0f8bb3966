"""What the classes of a label make of the hidden units' input, in the native engine's own threads, over NumPy arrays.

Given an image x and a class y, the input of hidden unit j is o_yj = b_j + (x W)_j + U_yj (Larochelle & Bengio 2008).
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

_EXPONENTIALS = 20000  #: that a thread of its own is worth


def class_sums(hidden_input: HostArray, label_weight: HostArray, groups: Groups | None = None, **how: Any) -> HostArray:
    """sum_j softplus(o_yj): float64 (rows, num_classes).

    Parameters
    ----------
    hidden_input : array (rows, num_hidden)
        b + x W, of the pixels alone.
    label_weight : array (num_classes, num_hidden)
        U.
    groups : (first, num_classes), or None
        Rows have classes of their own, each row that many of them from its number in `first` on, int (rows,).
    how : num_threads and instruction_set, as in `native.run`
    """
    call, classes = _call(hidden_input, label_weight, groups, **how)
    result = np.empty((classes.rows, classes.num_classes))
    point(classes, score=result)
    call_library("class_sums", call, more=classes)
    return result


def class_means(
    hidden_input: HostArray, label_weight: HostArray, slope: HostArray, groups: Groups | None = None, **how: Any
) -> tuple[HostArray, HostArray]:
    """sum_y slope_y sigmoid(o_yj) of each row, and slope_y sigmoid(o_yj) summed over the rows.

    slope : array (rows, num_classes). Other arguments as of `class_sums`; `first` does not fall.

    Returns float32 arrays (rows, num_hidden) and one in the shape of label_weight, 0 for classes that no row has.
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
