"""Stacks of RBMs: the hidden layer of each is the visible layer of the next.

Hinton, Osindero & Teh 2006. The losses of all layers are added and trained jointly (Hwang, Hwang &
Jo 2020), or the layers are trained one after the other.
"""

from __future__ import annotations

import math
from typing import Any, Sequence

from gluon_rbm.backend.framework import mx
from gluon_rbm.errors import InputError
from gluon_rbm.models.contrastive import ContrastiveFreeEnergy
from gluon_rbm.models.rbm_block import FeatureBlock, RBMBlock, alternate

__all__ = ["DeepBeliefNetwork", "JointContrastiveFreeEnergy"]


class DeepBeliefNetwork(FeatureBlock):
    """A stack of RBMs. Its forward is `transform`.

    All methods take NDArrays or symbols.

    Parameters
    ----------
    rbms
        RBMs from the images up. The visible layer of each is the hidden layer of the RBM below; a
        dense RBM takes layers with channels flattened.
    **kwargs
        Settings of Gluon's HybridBlock, such as prefix.

    Raises
    ------
    InputError
        There is no RBM, or the units of two adjacent layers differ in number or in largest value. A
        Gaussian visible layer takes any values.

    Examples
    --------
    >>> from gluon_rbm import MultinaryRBMBlock
    >>> network = DeepBeliefNetwork([MultinaryRBMBlock(784, 500), MultinaryRBMBlock(500, 100)])
    >>> network.initialize()
    >>> images = mx.nd.ones((10, 784), dtype="uint8")  # from 0 to 255
    >>> network(images).shape  # means of the top layer, as fractions of 255
    (10, 100)
    """

    def __init__(self, rbms: Sequence[RBMBlock], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not rbms:
            raise InputError("a deep belief network needs at least one RBM")
        for below, above in zip(rbms, rbms[1:]):
            if math.prod(below.hidden_shape) != math.prod(above.visible_shape):
                raise InputError(
                    "an RBM with visible layer %s does not fit onto one with hidden layer %s; give layers of the "
                    "same shape" % (above.visible_shape, below.hidden_shape)
                )
            if above.visible_units.maximum not in (None, below.hidden_units.maximum):
                raise InputError(
                    "an RBM with visible values up to %s does not fit onto one with hidden values up to %s; give "
                    "layers of the same range" % (above.visible_units.maximum, below.hidden_units.maximum or "infinity")
                )
        self.rbms = list(rbms)
        for rbm in rbms:
            self.register_child(rbm)

    def __repr__(self) -> str:
        return "DeepBeliefNetwork(from the images up:%s)" % "".join("\n  %r" % rbm for rbm in self.rbms)

    def as_visible(self, visible: Any) -> Any:
        """Return images in the shape and dtype of the lowest RBM.

        Parameters
        ----------
        visible
            NDArray or symbol (batch, ...).

        Returns
        -------
        NDArray or symbol (batch, *visible_shape)
            The images.

        Raises
        ------
        InputError
            The images of an array are of another size.
        """
        return self.rbms[0].as_visible(_reshaped(visible, self.rbms[0].visible_shape))

    def forward(self, visible: Any, *args: Any) -> Any:
        """Return the features of images, as `transform` does.

        Parameters
        ----------
        visible
            As in `as_visible`.
        *args
            Further inputs of Gluon's HybridBlock.

        Returns
        -------
        NDArray or symbol (batch, number of top units)
            Features.
        """
        return super().forward(self.as_visible(visible), *args)

    def up(self, visible: Any, depth: int | None = None, sampled: bool = False) -> Any:
        """Return the values of a hidden layer, computed from the images up.

        Parameters
        ----------
        visible
            As in `as_visible`.
        depth
            How many RBMs to go up; None: all.
        sampled
            Draw every layer, instead of taking its means.

        Returns
        -------
        NDArray or symbol (batch, *hidden_shape)
            Values of the hidden layer of the last of these RBMs.
        """
        for rbm in self.rbms[:depth]:
            visible = _reshaped(visible, rbm.visible_shape)
            visible = rbm.sample_hidden(visible) if sampled else rbm.mean_hidden(visible)
        return visible

    def down(self, hidden: Any, depth: int | None = None) -> Any:
        """Return the means of the images below a hidden layer.

        Parameters
        ----------
        hidden
            Values of the hidden layer above `depth` RBMs, (batch, ...).
        depth
            How many RBMs to go down; None: all.

        Returns
        -------
        NDArray or symbol (batch, *visible_shape)
            Means of the images.
        """
        for rbm in self.rbms[:depth][::-1]:
            hidden = rbm.mean_visible(_reshaped(hidden, rbm.hidden_shape))
        return hidden

    def transform(self, visible: Any, sampled: bool = False) -> Any:
        """Return features: the values of the top layer, as fractions of their maximum.

        Parameters
        ----------
        visible, sampled
            As in `up`.

        Returns
        -------
        NDArray or symbol (batch, number of top units)
            Features; values themselves where they have no maximum.
        """
        return self.up(visible, sampled=sampled).flatten() / (self.rbms[-1].hidden_units.maximum or 1)

    def reconstruct(self, visible: Any) -> Any:
        """Reconstruct images by means up to the top layer and down again.

        Parameters
        ----------
        visible
            As in `as_visible`.

        Returns
        -------
        NDArray or symbol (batch, *visible_shape)
            Means of the images.
        """
        return self.down(self.up(visible))

    def generate(self, visible: Any, sweeps: int, sampled: bool = True) -> Any:
        """Generate images: run chains of the top RBM, and go down from its hidden layer by means.

        Parameters
        ----------
        visible
            Visible values of the top RBM at the start of the chains, (batch, ...).
        sweeps
            Number of sweeps of the chains.
        sampled
            Draw the layers of the chains, instead of taking their means.

        Returns
        -------
        NDArray or symbol (batch, *visible_shape)
            Means of the images.
        """
        top = self.rbms[-1]
        depth = len(self.rbms) - 1
        visible = alternate(top, _reshaped(visible, top.visible_shape), sweeps, sampled)
        return self.down(top.mean_visible(top.mean_hidden(visible)), depth)

    def hybrid_forward(self, F: Any, visible: Any) -> Any:
        """Return the features of images, as `transform` does.

        Parameters
        ----------
        F
            Operators that Gluon passes; not used.
        visible
            As in `as_visible`.

        Returns
        -------
        NDArray or symbol (batch, number of top units)
            Features.
        """
        return self.transform(visible)


def _reshaped(values: Any, shape: tuple[int, ...]) -> Any:
    """Give each image of a batch a shape."""
    if isinstance(values, mx.nd.NDArray) and math.prod(values.shape[1:]) != math.prod(shape):
        raise InputError(
            "an array has shape %s; without the batch axis, its size must be that of %s" % (values.shape, shape)
        )
    return values.reshape((0, *shape))


class JointContrastiveFreeEnergy(mx.gluon.loss.Loss):
    """Loss of each image: the sum over all layers of F(v) - F(v'), in nats.

    v is the input of a layer from below. v' is as in
    `gluon_rbm.models.contrastive.ContrastiveFreeEnergy`. A call takes images (batch, ...) and,
    optionally, the v' of every RBM from the images up. The result is (batch,).

    Parameters
    ----------
    network
        The stack that learns.
    sweeps, sampled
        As in `gluon_rbm.models.contrastive.ContrastiveFreeEnergy`.
    detach
        Whether the input of a layer is constant in its loss. Then every layer learns as if alone;
        otherwise its loss also teaches the layers below.
    weight, batch_axis, **kwargs
        As in `gluon_rbm.models.contrastive.ContrastiveFreeEnergy`.

    Raises
    ------
    InputError
        `sampled` is given without `detach`: no gradient passes through samples to the layers below.
    """

    def __init__(
        self,
        network: DeepBeliefNetwork,
        sweeps: int = 1,
        sampled: bool = False,
        detach: bool = True,
        *,
        weight: float | None = None,
        batch_axis: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(weight, batch_axis, **kwargs)
        if sampled and not detach:
            raise InputError("gradients do not pass through sampled units to the layers below; use means, or detach")
        self.network, self._detach, self._sampled = network, detach, sampled
        self._losses = [ContrastiveFreeEnergy(rbm, sweeps, sampled) for rbm in network.rbms]
        for loss in self._losses:
            self.register_child(loss)

    def forward(self, visible: Any, *model_visible: Any) -> Any:
        """Return the loss of each image.

        Parameters
        ----------
        visible
            Images, as in `DeepBeliefNetwork.as_visible`.
        *model_visible
            Optionally, v' of every RBM, as in `gluon_rbm.models.rbm_block.RBMBlock.as_visible`.

        Returns
        -------
        NDArray or symbol (batch,)
            Losses in nats.
        """
        layers = [rbm.as_visible(values) for rbm, values in zip(self.network.rbms, model_visible)]
        return super().forward(self.network.as_visible(visible), *layers)

    def hybrid_forward(self, F: Any, visible: Any, *model_visible: Any) -> Any:
        """Return the loss of each image.

        Parameters
        ----------
        F
            Operators: mx.nd or mx.sym.
        visible, *model_visible
            As in `forward`.

        Returns
        -------
        NDArray or symbol (batch,)
            Losses in nats.
        """
        total = 0
        for number, (rbm, loss) in enumerate(zip(self.network.rbms, self._losses)):
            visible = _reshaped(visible, rbm.visible_shape)
            model = model_visible[number] if model_visible else None
            value, visible = loss.of(F, visible, model, self._detach)
            total = total + value
        return total if self._weight is None else total * self._weight
