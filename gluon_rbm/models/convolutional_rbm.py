"""The convolutional RBM: the same filters at all places of an image.

Lee, Grosse, Ranganath & Ng, ICML 2009. Strided convolution takes the place of pooling, and the
transposed convolution goes down (Hwang, Hwang & Jo 2020):

    x = b + convolve(v, W)     y = a + transpose of convolve(h, W)
    F(v) = -a.v - sum over filters and places of A(x)

There is one bias for each channel, and one for each filter. Outside the image v is 0.
"""

from __future__ import annotations

from typing import Any, Sequence

from gluon_rbm.backend.framework import mx
from gluon_rbm.errors import InputError
from gluon_rbm.models.rbm_block import RBMBlock
from gluon_rbm.models.units import Multinary, UnitFamily

__all__ = ["ConvolutionalRBMBlock"]


class ConvolutionalRBMBlock(RBMBlock):
    """Filters over images; see `gluon_rbm.models.rbm_block.RBMBlock` for its methods.

    A visible layer is (batch, channels, height, width). A hidden layer is
    (batch, num_filters, height / stride, width / stride). The parameters of the block are
    visible_layer_bias (channels,), hidden_layer_bias (num_filters,) and interaction_weight
    (num_filters, channels, kernel, kernel).

    Parameters
    ----------
    visible_shape
        Shape (channels, height, width) of an image.
    num_filters
        Number of filters, which is the number of hidden channels.
    kernel, stride
        Side of the filters, and distance between neighbouring places, in pixels. kernel - stride
        must be even and not negative: the image is padded by half of it on every side.
    hidden_units, visible_units
        Families of `gluon_rbm.models.units`; by default `Multinary(255)`.
    weight_initializer
        Initializer of MXNet; by default normal with standard deviation 0.01.
    **kwargs
        As in `gluon_rbm.models.rbm_block.RBMBlock`.

    Raises
    ------
    InputError
        A number is below 1, the stride does not divide the image, or the filters do not fit the
        stride.

    Examples
    --------
    >>> rbm = ConvolutionalRBMBlock((1, 28, 28), num_filters=16)
    >>> rbm.initialize()
    >>> images = mx.nd.ones((10, 1, 28, 28), dtype="uint8")  # from 0 to 255
    >>> rbm(images).shape  # means of the hidden units
    (10, 16, 14, 14)
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
                "%d filters of stride %d on images of shape %s are impossible; give 1 or more of each"
                % (num_filters, stride, tuple(visible_shape))
            )
        if height % stride or width % stride:
            raise InputError(
                "a layer of %d x %d is not divisible by the stride, %d; use fewer layers, or images of another size"
                % (height, width, stride)
            )
        if kernel < stride or (kernel - stride) % 2:
            raise InputError(
                "filters of size %d do not fit a stride of %d; their size must be the stride plus 0, 2, 4, ..."
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
        # A copy of the weights: outside training MXNet keeps them in a memory layout for
        # convolution, and its deconvolution rejects this layout.
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
