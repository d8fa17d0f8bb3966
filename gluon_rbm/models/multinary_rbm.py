"""The multinary RBM: visible and hidden units with values from 0 to N (Hwang, Hwang & Jo 2020).

    F(v) = -a.v - sum_j A(x_j)     x = b + v W     E[h] = f(x)     E[v'] = f(a + f(b + v W) W^T)

With N = 1 it is the binary RBM. With Gaussian visible units it models real-valued data.

A unit of slope k is k times the sum of M = N / k binary units, if M is whole. So the RBM is a
binary RBM with M units in place of each unit, and has the same Z, which AIS can estimate.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gluon_rbm.backend.framework import mx
from gluon_rbm.backend.types import HostArray
from gluon_rbm.errors import InputError
from gluon_rbm.models.parameters import Parameters
from gluon_rbm.models.rbm_block import RBMBlock
from gluon_rbm.models.units import Multinary, UnitFamily

__all__ = ["MultinaryRBMBlock", "binary_parameters"]

_MOST_WEIGHTS = 2**26


class MultinaryRBMBlock(RBMBlock):
    """A dense RBM; see `gluon_rbm.models.rbm_block.RBMBlock` for its methods.

    A visible layer is (batch, num_visible), a hidden layer (batch, num_hidden). The parameters of
    the block are visible_layer_bias (num_visible,), hidden_layer_bias (num_hidden,) and
    interaction_weight (num_visible, num_hidden).

    Parameters
    ----------
    num_visible, num_hidden
        Numbers of units.
    hidden_units, visible_units
        Families of `gluon_rbm.models.units`. The default `Multinary(255)` suits images of 8 bits,
        and gives hidden units as many values.
    weight_initializer
        Initializer of MXNet; by default normal with standard deviation 0.01.
    **kwargs
        As in `gluon_rbm.models.rbm_block.RBMBlock`.

    Raises
    ------
    InputError
        A layer has no units.

    Examples
    --------
    >>> rbm = MultinaryRBMBlock(num_visible=784, num_hidden=500)
    >>> rbm.initialize()
    >>> images = mx.nd.ones((10, 784), dtype="uint8")  # from 0 to 255
    >>> rbm(images).shape  # means of the hidden units
    (10, 500)
    >>> rbm.reconstruct(images).shape
    (10, 784)
    """

    def __init__(
        self,
        num_visible: int,
        num_hidden: int,
        *,
        hidden_units: UnitFamily | None = None,
        visible_units: UnitFamily | None = None,
        weight_initializer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(visible_units or Multinary(), hidden_units or Multinary(), **kwargs)
        if min(num_visible, num_hidden) < 1:
            raise InputError(
                "an RBM cannot have %d visible and %d hidden units; give 1 or more of each" % (num_visible, num_hidden)
            )
        self.num_visible, self.num_hidden = num_visible, num_hidden
        self.visible_shape, self.hidden_shape = (num_visible,), (num_hidden,)
        self._make_parameters(
            (num_visible,), (num_hidden,), (num_visible, num_hidden), weight_initializer or mx.init.Normal(0.01)
        )

    def _hidden_input(self, F: Any, visible: Any, hidden_layer_bias: Any, interaction_weight: Any) -> Any:
        return F.broadcast_add(F.dot(visible, interaction_weight), F.expand_dims(hidden_layer_bias, 0))

    def _visible_input(self, F: Any, hidden: Any, visible_layer_bias: Any, interaction_weight: Any) -> Any:
        return F.FullyConnected(hidden, interaction_weight, visible_layer_bias, num_hidden=self.num_visible)

    def _weighted(self, F: Any, visible: Any, visible_layer_bias: Any) -> Any:
        return F.dot(visible, visible_layer_bias)


def binary_parameters(
    visible_layer_bias: HostArray,
    hidden_layer_bias: HostArray,
    interaction_weight: HostArray,
    visible_units: Multinary,
    hidden_units: Multinary,
) -> Parameters:
    """Return the binary RBM that equals a multinary RBM: M = N / k units in place of each unit.

    Both have the same log Z.

    Parameters
    ----------
    visible_layer_bias, hidden_layer_bias, interaction_weight
        Parameters of a `MultinaryRBMBlock`, as NumPy arrays (num_visible,), (num_hidden,) and
        (num_visible, num_hidden).
    visible_units, hidden_units
        Families of its units.

    Returns
    -------
    Parameters
        NumPy arrays.

    Raises
    ------
    InputError
        An M is not whole, or there would be more than 2^26 weights.
    """
    copies = [round(units.copies) for units in (visible_units, hidden_units)]
    if [units.copies for units in (visible_units, hidden_units)] != copies:
        raise InputError("multinary units are sums of binary units only if N / k is whole; choose another slope")
    if interaction_weight.size * copies[0] * copies[1] > _MOST_WEIGHTS:
        raise InputError(
            "the equal binary RBM would have %d x %d weights for each weight, which is too many; choose a smaller "
            "N, or a larger slope" % tuple(copies)
        )
    visible_slope, hidden_slope = visible_units.slope, hidden_units.slope
    weight = visible_slope * hidden_slope * interaction_weight
    return Parameters(
        np.repeat(visible_slope * visible_layer_bias, copies[0]),
        np.repeat(hidden_slope * hidden_layer_bias, copies[1]),
        np.repeat(np.repeat(weight, copies[0], axis=0), copies[1], axis=1),
    )
