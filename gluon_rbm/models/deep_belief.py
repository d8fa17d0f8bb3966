"""Stacks of RBMs: the hidden layer of each is the visible layer of the next (Hinton, Osindero & Teh 2006).

The losses of all layers are added and trained jointly (Hwang, Hwang & Jo 2020), or one after the other.
"""

from __future__ import annotations

import math
from typing import Any, Sequence

from gluon_rbm.backend.framework import mx
from gluon_rbm.errors import InputError
from gluon_rbm.models.rbm_block import ContrastiveFreeEnergy, FeatureBlock, RBMBlock, alternate

__all__ = ["DeepBeliefNetwork", "JointContrastiveFreeEnergy"]


class DeepBeliefNetwork(FeatureBlock):
    """A stack of RBMs; its forward is `transform`.

    Parameters
    ----------
    rbms
        From the images up. Each takes what the one below has as hidden layer; a dense one takes a layer of channels
        flattened.

    Raises
    ------
    InputError
        There is no RBM; or one has not as many visible units as the one below has hidden ones, or other values of them.
        A Gaussian visible layer takes any values.
    """

    def __init__(self, rbms: Sequence[RBMBlock], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not rbms:
            raise InputError("at least one RBM is required; give one or more")
        for below, above in zip(rbms, rbms[1:]):
            if math.prod(below.hidden_shape) != math.prod(above.visible_shape):
                raise InputError(
                    "an RBM with visible layer %s does not stand on one with hidden layer %s"
                    % (above.visible_shape, below.hidden_shape)
                )
            if above.visible_units.maximum not in (None, below.hidden_units.maximum):
                raise InputError(
                    "an RBM with visible values up to %s does not stand on one with hidden values up to %s"
                    % (above.visible_units.maximum, below.hidden_units.maximum or "infinity")
                )
        self.rbms = list(rbms)
        for rbm in rbms:
            self.register_child(rbm)

    def __repr__(self) -> str:
        return "DeepBeliefNetwork(from the images up:%s)" % "".join("\n  %r" % rbm for rbm in self.rbms)

    def as_visible(self, visible: Any) -> Any:
        """Images in the shape and dtype of the lowest RBM; InputError for an array that is not so large."""
        return self.rbms[0].as_visible(_reshaped(visible, self.rbms[0].visible_shape))

    def forward(self, visible: Any, *args: Any) -> Any:
        return super().forward(self.as_visible(visible), *args)

    def up(self, visible: Any, depth: int | None = None, sampled: bool = False) -> Any:
        """Values of the layer above `depth` RBMs (all), in the shape of the hidden layer of the last of them."""
        for rbm in self.rbms[:depth]:
            visible = _reshaped(visible, rbm.visible_shape)
            visible = rbm.sample_hidden(visible) if sampled else rbm.mean_hidden(visible)
        return visible

    def down(self, hidden: Any, depth: int | None = None) -> Any:
        """Means of the images below a layer above `depth` RBMs (all)."""
        for rbm in self.rbms[:depth][::-1]:
            hidden = rbm.mean_visible(_reshaped(hidden, rbm.hidden_shape))
        return hidden

    def transform(self, visible: Any, sampled: bool = False) -> Any:
        """Features: the values of the top layer, means or `sampled`, as a fraction of their maximum, (batch, units)."""
        return self.up(visible, sampled=sampled).flatten() / (self.rbms[-1].hidden_units.maximum or 1)

    def reconstruct(self, visible: Any) -> Any:
        """Up to the top and down again, by means."""
        return self.down(self.up(visible))

    def generate(self, visible: Any, sweeps: int, sampled: bool = True) -> Any:
        """Images from the top layer down: `sweeps` sweeps of the top RBM, from its own visible values."""
        top = self.rbms[-1]
        depth = len(self.rbms) - 1
        visible = alternate(top, _reshaped(visible, top.visible_shape), sweeps, sampled)
        return self.down(top.mean_visible(top.mean_hidden(visible)), depth)

    def hybrid_forward(self, F: Any, visible: Any) -> Any:
        return self.transform(visible)


def _reshaped(values: Any, shape: tuple[int, ...]) -> Any:
    """Each of the batch in that shape."""
    if isinstance(values, mx.nd.NDArray) and math.prod(values.shape[1:]) != math.prod(shape):
        raise InputError("an array has shape %s; without the batch it must be as large as %s" % (values.shape, shape))
    return values.reshape((0, *shape))


class JointContrastiveFreeEnergy(mx.gluon.loss.Loss):
    """The sum over all layers of F(v) - F(v'), v the layer's input from below: (batch,), in nats.

    Parameters
    ----------
    network
        The stack that learns.
    sweeps, sampled, weight, batch_axis
        As of `ContrastiveFreeEnergy`.
    detach
        Whether a layer's input is constant in its loss, so that every layer learns as if alone; else its loss also
        teaches the layers below.

    Inputs: visible (batch, ...), and optionally the v' of every RBM, each (batch, ...) of its visible layer.

    Raises
    ------
    InputError
        The loss would teach layers below through samples (`sampled`), which have no slope.
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
            raise InputError("no loss teaches the layers below through what is sampled; go by means, or detach")
        self.network, self._detach, self._sampled = network, detach, sampled
        self._losses = [ContrastiveFreeEnergy(rbm, sweeps, sampled) for rbm in network.rbms]
        for loss in self._losses:
            self.register_child(loss)

    def forward(self, visible: Any, *model_visible: Any) -> Any:
        layers = [rbm.as_visible(values) for rbm, values in zip(self.network.rbms, model_visible)]
        return super().forward(self.network.as_visible(visible), *layers)

    def hybrid_forward(self, F: Any, visible: Any, *model_visible: Any) -> Any:
        total = 0
        for number, (rbm, loss) in enumerate(zip(self.network.rbms, self._losses)):
            visible = _reshaped(visible, rbm.visible_shape)
            model = model_visible[number] if model_visible else None
            value, visible = loss.of(F, visible, model, self._detach)
            total = total + value
        return total if self._weight is None else total * self._weight
