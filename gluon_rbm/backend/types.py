"""Names of types that signatures share."""

from __future__ import annotations

import os
from typing import Any, Mapping, Sequence, Tuple, Union

import numpy as np

__all__ = ["Array", "Arrays", "Clamp", "HostArray", "Key", "NDArray", "Path", "SoftmaxGroups", "VisibleUnits"]

# MXNet declares no types, so a type checker sees its objects as Any.
NDArray = Any  #: an mx.nd.NDArray
HostArray = np.ndarray  #: a NumPy array
#: An mx.nd.NDArray or a NumPy array. A function takes arrays of one kind, and returns that kind.
Array = Any
Arrays = Mapping[str, Any]  #: arrays by name

Path = Union[str, "os.PathLike[str]"]  #: path of a file or folder

#: Non-negative integers that determine all random numbers of a call.
Key = Union[Sequence[int], np.ndarray]
Clamp = Tuple[Any, Any]  #: (mask, values): visible units with mask != 0 hold their value
#: (start, stop) of each group of visible units, in order. Exactly one unit of a group is on.
SoftmaxGroups = Sequence[Tuple[int, int]]
#: The kind of the visible units: softmax groups (none: all units are binary), or "gaussian". See
#: `gluon_rbm.models.visible_units`.
VisibleUnits = Union[str, SoftmaxGroups]
