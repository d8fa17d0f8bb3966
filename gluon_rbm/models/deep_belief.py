"""Stacks of machines: the hidden layer of each is the visible layer of the next (Hinton, Osindero & Teh 2006).

The losses of all layers are added and trained jointly (Hwang, Hwang & Jo 2020), or one after the other.
"""

import math

from gluon_rbm.backend.framework import mx
from gluon_rbm.errors import InputError
from gluon_rbm.models.rbm_block import ContrastiveFreeEnergy, FeatureBlock, alternate

__all__ = ["DeepBeliefNetwork", "JointContrastiveFreeEnergy"]


class DeepBeliefNetwork(FeatureBlock):
    """A stack of machines; forward(visible) = `transform`.

    Parameters
    ----------
    machines : sequence of `gluon_rbm.models.rbm_block.RBMBlock`, from the images up
        Each takes what the one below has as hidden layer; a dense machine takes a layer of channels flattened.

    Raises InputError where there is none, or one has not as many visible units as the one below has hidden ones, or
    other values of them. A Gaussian visible layer takes any values.
    """

    def __init__(self, machines, **kwargs):
        super().__init__(**kwargs)
        if not machines:
            raise InputError("a stack of no machines is none; give one or more")
        for below, above in zip(machines, machines[1:]):
            if math.prod(below.hidden_shape) != math.prod(above.visible_shape):
                raise InputError(
                    "a machine with visible layer %s does not stand on one with hidden layer %s"
                    % (above.visible_shape, below.hidden_shape)
                )
            if above.visible_units.maximum not in (None, below.hidden_units.maximum):
                raise InputError(
                    "a machine with visible values up to %s does not stand on one with hidden values up to %s"
                    % (above.visible_units.maximum, below.hidden_units.maximum or "infinity")
                )
        self.machines = list(machines)
        for machine in machines:
            self.register_child(machine)

    def up(self, visible, depth=None, sampled=False):
        """Values of the layer above `depth` machines (all), in the shape of its own machine's hidden layer."""
        for machine in self.machines[:depth]:
            visible = _reshaped(visible, machine.visible_shape)
            visible = machine.sample_hidden(visible) if sampled else machine.mean_hidden(visible)
        return visible

    def down(self, hidden, depth=None):
        """Means of the images below a layer above `depth` machines (all)."""
        for machine in self.machines[:depth][::-1]:
            hidden = machine.mean_visible(_reshaped(hidden, machine.hidden_shape))
        return hidden

    def transform(self, visible, sampled=False):
        """Features: the values of the top layer, means or `sampled`, as a share of their maximum, (batch, units)."""
        return self.up(visible, sampled=sampled).flatten() / (self.machines[-1].hidden_units.maximum or 1)

    def reconstruct(self, visible):
        """Up to the top and down again, by means."""
        return self.down(self.up(visible))

    def generate(self, visible, sweeps, sampled=True):
        """Images from the top layer down: `sweeps` sweeps of the top machine, from its own visible values."""
        top = self.machines[-1]
        depth = len(self.machines) - 1
        visible = alternate(top, _reshaped(visible, top.visible_shape), sweeps, sampled)
        return self.down(top.mean_visible(top.mean_hidden(visible)), depth)

    def hybrid_forward(self, F, visible):
        return self.transform(visible)


def _reshaped(values, shape):
    """Each of the batch in that shape."""
    if isinstance(values, mx.nd.NDArray) and math.prod(values.shape[1:]) != math.prod(shape):
        raise InputError("an array has shape %s; without the batch it must be as large as %s" % (values.shape, shape))
    return values.reshape((0, *shape))


class JointContrastiveFreeEnergy(mx.gluon.loss.Loss):
    """The sum over all layers of F(v) - F(v'), v the layer's input from below: (batch,), in nats.

    detach : whether a layer's input is constant in its loss, so that every layer learns as if alone; else its loss also
    teaches the layers below. Raises InputError where that would go through samples (`sampled`), which have no slope.

    Inputs: visible (batch, ...), and optionally the v' of every machine, each (batch, ...) of its visible layer.
    """

    def __init__(self, network, sweeps=1, sampled=False, detach=True, weight=None, batch_axis=0, **kwargs):
        super().__init__(weight, batch_axis, **kwargs)
        if sampled and not detach:
            raise InputError("no loss teaches the layers below through what is sampled; go by means, or detach")
        self.network, self._detach, self._sampled = network, detach, sampled
        self._losses = [ContrastiveFreeEnergy(machine, sweeps, sampled) for machine in network.machines]
        for loss in self._losses:
            self.register_child(loss)

    def hybrid_forward(self, F, visible, *model_visible):
        total = 0
        for number, (machine, loss) in enumerate(zip(self.network.machines, self._losses)):
            visible = _reshaped(visible, machine.visible_shape)
            model = model_visible[number] if model_visible else None
            value, visible = loss.of(F, visible, model, self._detach)
            total = total + value
        return total if self._weight is None else total * self._weight
