"""Names of types that signatures share."""

from __future__ import annotations

import os
from typing import Any, Mapping, Sequence, Tuple, Union

import numpy as np

__all__ = ["Array", "Arrays", "Clamp", "HostArray", "Key", "NDArray", "Path", "SoftmaxGroups", "VisibleUnits"]

# MXNet has no types: whatever comes from it is Any to a type checker.
NDArray = Any  #: an `mx.nd.NDArray`
HostArray = np.ndarray  #: a NumPy array
Array = Any  #: an `mx.nd.NDArray` or a NumPy array; functions of arrays take all of one kind, and return that kind
Arrays = Mapping[str, Any]  #: arrays by name

Path = Union[str, "os.PathLike[str]"]  #: of a file or folder

Key = Union[Sequence[int], np.ndarray]  #: non-negative integers that fix all random numbers of a call
Clamp = Tuple[Any, Any]  #: (mask, values): visible units with mask != 0 hold their value
SoftmaxGroups = Sequence[Tuple[int, int]]  #: (start, stop) of each group of visible units, in order: one unit is on
#: What visible units are: softmax groups (none: all units are binary), or "gaussian"; `gluon_rbm.models.visible_units`.
VisibleUnits = Union[str, SoftmaxGroups]
