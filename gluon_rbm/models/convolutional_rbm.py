"""The convolutional RBM: one set of filters for all places of an image (Lee, Grosse, Ranganath & Ng, ICML 2009).

Strided convolution takes the place of pooling, its transpose goes down (Hwang, Hwang & Jo 2020):

    x = b + convolve(v, W)     y = a + transpose of convolve(h, W)     F(v) = -a.v - sum over filters and places of A(x)

with one bias a channel and one a filter. Outside the image v is 0.
"""

from __future__ import annotations

from typing import Any, Sequence

from gluon_rbm.backend.framework import mx
from gluon_rbm.errors import InputError
from gluon_rbm.models.rbm_block import RBMBlock
from gluon_rbm.models.units import Multinary, UnitFamily

__all__ = ["ConvolutionalRBMBlock"]


class ConvolutionalRBMBlock(RBMBlock):
    """Filters over images (batch, channels, height, width); see `gluon_rbm.models.rbm_block.RBMBlock` for its methods.

    Parameters
    ----------
    visible_shape
        (channels, height, width)
    num_filters
        Number of filters, and so of hidden channels.
    kernel, stride
        Side of the filters, and places from one to the next. kernel - stride must be even and not negative: the image
        is padded by half of it on every side, so that hidden is (batch, num_filters, height / stride, width / stride).
    hidden_units, visible_units
        Families of `gluon_rbm.models.units`; by default `Multinary(255)`.
    weight_initializer
        Of `mx.init`; by default normal with standard deviation 0.01.

    Parameters of the block: visible_layer_bias (channels,), hidden_layer_bias (num_filters,), interaction_weight
    (num_filters, channels, kernel, kernel).

    Raises InputError where the stride does not divide the image or the filters do not fit it.
    """

    def __init__(
        self,
        visible_shape: Sequence[int],
        num_filters: int,
        kernel: int = 4,
        stride: int = 2,
        *,
        hidden_units: UnitFamily | None = None,
        visible_units: UnitFamily | None = None,
        weight_initializer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(visible_units or Multinary(), hidden_units or Multinary(), **kwargs)
        if len(visible_shape) != 3:
            raise InputError("images have shape %s; it must be (channels, height, width)" % (tuple(visible_shape),))
        channels, height, width = visible_shape
        if min(channels, height, width, num_filters, stride) < 1:
            raise InputError(
                "%d filters of stride %d on images of %s are none; give 1 or more of everything"
                % (num_filters, stride, tuple(visible_shape))
            )
        if height % stride or width % stride:
            raise InputError(
                "a layer of %d x %d cannot be divided by a stride of %d; use fewer layers, or images of multiples of it"
                % (height, width, stride)
            )
        if kernel < stride or (kernel - stride) % 2:
            raise InputError(
                "filters of side %d do not fit a stride of %d; their side must be that plus 0, 2, 4, ..."
                % (kernel, stride)
            )
        self.visible_shape = tuple(visible_shape)
        self.hidden_shape = num_filters, height // stride, width // stride
        self._window = {"kernel": (kernel,) * 2, "stride": (stride,) * 2, "pad": ((kernel - stride) // 2,) * 2}
        self._make_parameters(
            (channels,),
            (num_filters,),
            (num_filters, channels, kernel, kernel),
            weight_initializer or mx.init.Normal(0.01),
        )

    def _hidden_input(self, F: Any, visible: Any, hidden_layer_bias: Any, interaction_weight: Any) -> Any:
        num_filters = self.hidden_shape[0]
        return F.Convolution(visible, interaction_weight, hidden_layer_bias, num_filter=num_filters, **self._window)

    def _visible_input(self, F: Any, hidden: Any, visible_layer_bias: Any, interaction_weight: Any) -> Any:
        # A copy of the weights: outside training MXNet keeps them in memory as the convolution likes them, and refuses
        # to convolve backwards with what it finds there.
        return F.Deconvolution(
            hidden,
            interaction_weight * 1,
            visible_layer_bias,
            num_filter=self.visible_shape[0],
            no_bias=False,
            **self._window,
        )

    def _weighted(self, F: Any, visible: Any, visible_layer_bias: Any) -> Any:
        _, height, width = self.visible_shape
        return F.dot(F.reshape(visible, (0, -1)), F.repeat(visible_layer_bias, repeats=height * width))
