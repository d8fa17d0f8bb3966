"""What the classes of a label make of the hidden units' input, in the native engine's own threads, over NumPy arrays.

Given an image x and a class y, the input of hidden unit j is o_yj = b_j + (x W)_j + U_yj (Larochelle & Bengio 2008).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gluon_rbm.backend.native.arguments import call_library, checked_array, new_call, point, threads_for
from gluon_rbm.backend.native.binding import Classes, Gibbs
from gluon_rbm.backend.types import HostArray

__all__ = ["class_means", "class_sums"]

_EXPONENTIALS = 20000  #: that a thread of its own is worth


def class_sums(hidden_input: HostArray, label_weight: HostArray, **how: Any) -> HostArray:
    """sum_j softplus(o_yj): float64 (rows, num_classes).

    Parameters
    ----------
    hidden_input : array (rows, num_hidden)
        b + x W, of the pixels alone.
    label_weight : array (num_classes, num_hidden)
        U.
    how : num_threads and instruction_set, as in `native.run`
    """
    call, classes = _call(hidden_input, label_weight, **how)
    result = np.empty((classes.rows, classes.num_classes))
    point(classes, score=result)
    call_library("class_sums", call, more=classes)
    return result


def class_means(
    hidden_input: HostArray, label_weight: HostArray, slope: HostArray, **how: Any
) -> tuple[HostArray, HostArray]:
    """sum_y slope_y sigmoid(o_yj) of each row, and slope_y sigmoid(o_yj) summed over the rows.

    slope : array (rows, num_classes). Other arguments as of `class_sums`.

    Returns float32 arrays (rows, num_hidden) and (num_classes, num_hidden).
    """
    call, classes = _call(hidden_input, label_weight, **how)
    hidden = np.empty((classes.rows, classes.num_hidden), np.float32)
    label_hidden = np.empty((classes.num_classes, classes.num_hidden), np.float32)
    slope = checked_array("slope", slope, np.float32, (classes.rows, classes.num_classes))
    point(classes, slope=slope, hidden=hidden, label_hidden=label_hidden)
    call_library("class_means", call, more=classes)
    return hidden, label_hidden


def _call(
    hidden_input: HostArray,
    label_weight: HostArray,
    num_threads: int | None = None,
    instruction_set: str | None = None,
) -> tuple[Gibbs, Classes]:
    hidden_input = checked_array("hidden_input", hidden_input, np.float32, (None, None))
    rows, num_hidden = hidden_input.shape
    label_weight = checked_array("label_weight", label_weight, np.float32, (None, num_hidden))
    call = new_call((1, num_hidden), num_threads, instruction_set)
    call.num_threads = call.num_threads or threads_for(rows * label_weight.size / _EXPONENTIALS)
    classes = Classes(rows=rows, num_classes=len(label_weight), num_hidden=num_hidden)
    classes.arrays = []
    point(classes, input=hidden_input, label_weight=label_weight)
    return call, classes
