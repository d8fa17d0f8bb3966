"""The multinary RBM: visible and hidden units with values from 0 to N (Hwang, Hwang & Jo 2020).

    F(v) = -a.v - sum_j A(x_j)     x = b + v W     E[h] = f(x)     E[v'] = f(a + f(b + v W) W^T)

With N = 1 it is the binary RBM. Gaussian visible units make it one for real-valued data.

A unit of slope k is k times the sum of M = N / k binary units, where M is whole. So the machine is a binary RBM with M
units in place of each, and has its Z: what AIS can estimate.
"""

import numpy as np

from gluon_rbm.backend.framework import mx
from gluon_rbm.errors import InputError
from gluon_rbm.models.energy import Parameters
from gluon_rbm.models.rbm_block import RBMBlock
from gluon_rbm.models.units import Multinary

__all__ = ["MultinaryRBMBlock", "binary_parameters"]

_MOST_WEIGHTS = 2**26


class MultinaryRBMBlock(RBMBlock):
    """A dense machine; see `gluon_rbm.models.rbm_block.RBMBlock` for its verbs.

    Parameters
    ----------
    num_visible, num_hidden : int
    hidden_units, visible_units : a family of `gluon_rbm.models.units`
        By default `Multinary(255)`, for images of 8 bits and hidden units of as many values.
    weight_initializer : mx.init.Initializer, optional
        By default normal with standard deviation 0.01.

    Parameters of the block: visible_layer_bias (num_visible,), hidden_layer_bias (num_hidden,), interaction_weight
    (num_visible, num_hidden). visible is (batch, num_visible), hidden (batch, num_hidden).
    """

    def __init__(
        self, num_visible, num_hidden, hidden_units=None, visible_units=None, weight_initializer=None, **kwargs
    ):
        super().__init__(visible_units or Multinary(), hidden_units or Multinary(), **kwargs)
        if min(num_visible, num_hidden) < 1:
            raise InputError(
                "a machine of %d visible and %d hidden units is none; give 1 or more of each"
                % (num_visible, num_hidden)
            )
        self.num_visible, self.num_hidden = num_visible, num_hidden
        self._make_parameters(
            (num_visible,), (num_hidden,), (num_visible, num_hidden), weight_initializer or mx.init.Normal(0.01)
        )

    @property
    def hidden_shape(self):
        return (self.num_hidden,)

    @property
    def visible_shape(self):
        return (self.num_visible,)

    def _hidden_input(self, F, visible, hidden_layer_bias, interaction_weight):
        return F.broadcast_add(F.dot(visible, interaction_weight), F.expand_dims(hidden_layer_bias, 0))

    def _visible_input(self, F, hidden, visible_layer_bias, interaction_weight):
        return F.FullyConnected(hidden, interaction_weight, visible_layer_bias, num_hidden=self.num_visible)

    def _weighted(self, F, visible, visible_layer_bias):
        return F.dot(visible, visible_layer_bias)


def binary_parameters(visible_layer_bias, hidden_layer_bias, interaction_weight, visible_units, hidden_units):
    """The `energy.Parameters` of the binary RBM of M = N / k units in place of each: NumPy arrays, the same log Z.

    visible_layer_bias, hidden_layer_bias, interaction_weight : NumPy arrays of a `MultinaryRBM`
    visible_units, hidden_units : its families, both `Multinary`

    Raises InputError where an M is not whole, or there would be more than 2^26 weights.
    """
    copies = [round(units.copies) for units in (visible_units, hidden_units)]
    if [units.copies for units in (visible_units, hidden_units)] != copies:
        raise InputError("multinary units whose N / k is not whole are no sums of binary ones; choose another slope")
    if interaction_weight.size * copies[0] * copies[1] > _MOST_WEIGHTS:
        raise InputError(
            "the equal binary machine would have %d x %d units for each pair of these, which is too many; choose a "
            "smaller N, or a larger slope" % tuple(copies)
        )
    visible_slope, hidden_slope = visible_units.slope, hidden_units.slope
    weight = visible_slope * hidden_slope * interaction_weight
    return Parameters(
        np.repeat(visible_slope * visible_layer_bias, copies[0]),
        np.repeat(hidden_slope * hidden_layer_bias, copies[1]),
        np.repeat(np.repeat(weight, copies[0], axis=0), copies[1], axis=1),
    )
