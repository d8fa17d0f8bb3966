"""The parameters of a binary RBM, a, b and W."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gluon_rbm.backend.arrays import from_host
from gluon_rbm.backend.framework import mx
from gluon_rbm.backend.types import Array
from gluon_rbm.errors import InputError

__all__ = ["Parameters"]


class Parameters(NamedTuple):
    """The three learned arrays of a binary RBM, E(v, h) = -a.v - b.h - v W h.

    All three are NDArrays on one device, or all are NumPy arrays.
    `gluon_rbm.models.files.read_model` reads them from a run folder, and
    `binary_rbm.BinaryRBMBlock.rbm_parameters` returns those of a block.

    Attributes
    ----------
    visible_layer_bias
        Biases a of the pixels, (num_visible,).
    hidden_layer_bias
        Biases b of the hidden units, (num_hidden,).
    interaction_weight
        Weights W, (num_visible, num_hidden). A column is the filter of a hidden unit.

    Examples
    --------
    >>> parameters = Parameters(np.zeros(784), np.zeros(500), np.zeros((784, 500)))
    >>> parameters
    Parameters(784 visible, 500 hidden units; float64, NumPy)
    >>> parameters.interaction_weight.shape
    (784, 500)
    """

    visible_layer_bias: Array
    hidden_layer_bias: Array
    interaction_weight: Array

    def __repr__(self) -> str:
        shapes = [getattr(array, "shape", None) for array in self]
        units = "shapes %s, %s, %s" % tuple(shapes)
        if shapes[2] is not None and len(shapes[2]) == 2 and shapes[:2] == [shapes[2][:1], shapes[2][1:]]:
            units = "%d visible, %d hidden units" % shapes[2]
        weight = self.interaction_weight
        where = getattr(weight, "context", "NumPy" if isinstance(weight, np.ndarray) else type(weight).__name__)
        dtype = getattr(weight, "dtype", None)
        return "Parameters(%s; %s%s)" % (units, "" if dtype is None else "%s, " % np.dtype(dtype), where)

    @classmethod
    def from_arrays(cls, *arrays: Array) -> Parameters:
        """Return parameters whose arrays are all NDArrays.

        Parameters
        ----------
        *arrays
            The arrays a, b and W, in this order: NDArrays or NumPy arrays.

        Returns
        -------
        Parameters
            NDArrays as they are; NumPy arrays as copies on the CPU. Each keeps its dtype.

        Raises
        ------
        InputError
            Something else was given, such as a parameter of Gluon.
        """
        for array in arrays:
            if not isinstance(array, mx.nd.NDArray) and np.asarray(array).dtype == object:
                raise InputError(
                    "a %s is no array of numbers; give NumPy arrays or NDArrays (of a block: *rbm.rbm_parameters)"
                    % type(array).__name__
                )
        return cls(*(a if isinstance(a, mx.nd.NDArray) else from_host(np.asarray(a)) for a in arrays))

    @property
    def num_visible(self) -> int:
        """Number of visible units.

        Returns
        -------
        int
            Rows of the weights.
        """
        return self.interaction_weight.shape[0]

    @property
    def num_hidden(self) -> int:
        """Number of hidden units.

        Returns
        -------
        int
            Columns of the weights.
        """
        return self.interaction_weight.shape[1]

    def as_in_context(self, context: Any) -> Parameters:
        """Return parameters of NDArrays on a device.

        Parameters
        ----------
        context
            The device, an mx.Context.

        Returns
        -------
        Parameters
            Copies; arrays that are on the device already are not copied.
        """
        return Parameters(*(array.as_in_context(context) for array in self))

    def checked(self) -> Parameters:
        """Check these parameters, of NDArrays or NumPy arrays, and return them.

        Returns
        -------
        Parameters
            These parameters.

        Raises
        ------
        InputError
            Shapes do not belong together, a layer has no units, or values are not finite floats.
        """
        shapes = tuple(array.shape for array in self)
        if len(shapes[2]) != 2 or shapes[0] != (shapes[2][0],) or shapes[1] != (shapes[2][1],):
            raise InputError(
                "visible_layer_bias, hidden_layer_bias and interaction_weight have shapes %s, %s and %s; they must be "
                "(num_visible,), (num_hidden,) and (num_visible, num_hidden)" % shapes
            )
        if 0 in shapes[2]:
            raise InputError("an RBM cannot have %d visible and %d hidden units; give 1 or more of each" % shapes[2])
        for name, array in zip(self._fields, self):
            if not np.issubdtype(array.dtype, np.floating):
                raise InputError("%s holds %s numbers; save floats" % (name, np.dtype(array.dtype)))
            if not _all_finite(array):
                raise InputError("%s holds values that are not finite; train again with a lower learning rate" % name)
        return self


def _all_finite(array: Array) -> bool:
    if isinstance(array, np.ndarray):
        return bool(np.isfinite(array).all())
    # MXNet's isfinite fails at random. It rejects "inf" as out of range if errno is still ERANGE,
    # and NumPy leaves this value there after an underflow.
    return bool((array * 0 == 0).min().asscalar())
