"""What all RBMs that train by backpropagation share: their methods, the loop that samples, and the loss.

With units of the families in `gluon_rbm.models.units`, f their mean and A its integral, and the total inputs
x = b + v W of the hidden and y = a + h W^T of the visible units,

    F(v) = -a.v - sum_j A(x_j)        log p(v) = -F(v) + sum_i log m(v_i) - log Z

where m is the base measure of the visible units (1 for binary ones). A subclass says what v W and h W^T are.
"""

from __future__ import annotations

import warnings
from typing import Any, Sequence

import numpy as np

from gluon_rbm.backend.framework import mx
from gluon_rbm.backend.random import KeyedOperators
from gluon_rbm.backend.types import HostArray, NDArray
from gluon_rbm.errors import InputError
from gluon_rbm.models.units import UnitFamily, times

__all__ = ["ContrastiveFreeEnergy", "FeatureBlock", "RBMBlock", "alternate", "in_dtype_of"]


def _operators(x: Any) -> Any:
    """F: `mx.sym` beside a symbol, else `mx.nd`."""
    return mx.sym if isinstance(x, mx.sym.Symbol) else mx.nd


def in_dtype_of(parameter: Any, x: Any) -> Any:
    """An array, such as images of 8 bits, in the dtype of a Gluon parameter; anything else as it is."""
    return x.astype(np.dtype(parameter.dtype), copy=False) if isinstance(x, mx.nd.NDArray) else x


class FeatureBlock(mx.gluon.HybridBlock):
    """A block whose forward leaves some parameters to its other methods and to its loss."""

    def _build_cache(self, *args: Any) -> None:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Parameter .* is not used by any computation")
            return super()._build_cache(*args)


class RBMBlock(FeatureBlock):
    """A restricted Boltzmann machine of two families of units, as a block to train by backpropagation.

        F(v) = -a.v - sum_j A(x_j)        x = b + v W        y = a + h W^T

    Its forward is E[h | v]. Every method takes arrays or symbols: visible (batch, *visible_shape), hidden
    (batch, *hidden_shape), with values from 0 to the `maximum` of their units. An array of another shape is an
    InputError. Arrays may have any dtype, such as images of 8 bits; what is computed is on their own device, in the
    dtype of the parameters.

    A subclass makes the parameters (`_make_parameters`), sets `visible_shape` and `hidden_shape`, and says what the
    products v W, h W^T and a.v are (`_hidden_input`, `_visible_input`, `_weighted`).

    Parameters
    ----------
    visible_units, hidden_units
        Families of `gluon_rbm.models.units`.

    Attributes
    ----------
    visible_shape, hidden_shape
        Of the layers of one image.
    visible_layer_bias, hidden_layer_bias, interaction_weight
        The parameters a, b and W.
    """

    visible_shape: tuple[int, ...]
    hidden_shape: tuple[int, ...]

    def __init__(self, visible_units: UnitFamily, hidden_units: UnitFamily, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.visible_units, self.hidden_units = visible_units, hidden_units

    def __repr__(self) -> str:
        layers = ((self.visible_shape, self.visible_units), (self.hidden_shape, self.hidden_units))
        visible, hidden = ("%s %r" % ("x".join(map(str, shape)), units) for shape, units in layers)
        return "%s(visible units: %s, hidden units: %s)" % (type(self).__name__, visible, hidden)

    def _make_parameters(
        self,
        visible_bias_shape: Sequence[int],
        hidden_bias_shape: Sequence[int],
        weight_shape: Sequence[int],
        initializer: Any,
    ) -> None:
        # Beside a bias, x counts the values of all inputs: it must be as large as they are, and learn as fast.
        def bias(name: str, shape: Sequence[int], units: UnitFamily) -> Any:
            return self.params.get(name, shape=shape, init="zeros", wd_mult=0.0, lr_mult=1 / units.slope)

        with self.name_scope():
            self.visible_layer_bias = bias("visible_layer_bias", visible_bias_shape, self.visible_units)
            self.hidden_layer_bias = bias("hidden_layer_bias", hidden_bias_shape, self.hidden_units)
            self.interaction_weight = self.params.get("interaction_weight", shape=weight_shape, init=initializer)

    def as_visible(self, x: Any) -> Any:
        """An array in the dtype of the parameters, or a symbol; InputError unless it is (batch, *visible_shape)."""
        return self._layer(x, self.visible_shape)

    def _layer(self, x: Any, shape: tuple[int, ...]) -> Any:
        if isinstance(x, mx.nd.NDArray) and x.shape[1:] != shape:
            raise InputError("an array has shape %s; without the batch it must be %s" % (x.shape, shape))
        return in_dtype_of(self.interaction_weight, x)

    def forward(self, x: Any, *args: Any) -> Any:
        return super().forward(self.as_visible(x), *args)

    def _with(self, x: Any, shape: tuple[int, ...], constant: bool = False) -> tuple[Any, ...]:
        """F, x (batch, *shape) and the parameters, `constant` or not: symbols, or arrays on the device of x."""
        F, parameters = _operators(x), (self.visible_layer_bias, self.hidden_layer_bias, self.interaction_weight)
        if F is mx.sym:
            values = x, *(parameter.var() for parameter in parameters)
        else:
            values = self._layer(x, shape), *(parameter.data(x.context) for parameter in parameters)
        return (F, *(map(F.BlockGrad, values) if constant else values))

    def _hidden_input(self, F: Any, visible: Any, hidden_layer_bias: Any, interaction_weight: Any) -> Any:
        """b + v W."""
        raise NotImplementedError

    def _visible_input(self, F: Any, hidden: Any, visible_layer_bias: Any, interaction_weight: Any) -> Any:
        """a + h W^T."""
        raise NotImplementedError

    def _weighted(self, F: Any, visible: Any, visible_layer_bias: Any) -> Any:
        """a.v of each image: (batch,)."""
        raise NotImplementedError

    def hidden_input(self, visible: Any, scale: float = 1, constant: bool = False) -> Any:
        """x = b + v W, times `scale`; constant : for autograd."""
        F, visible, _, bias, weight = self._with(visible, self.visible_shape, constant)
        return self._hidden_input(F, visible, times(scale, bias), times(scale, weight))

    def visible_input(self, hidden: Any, scale: float = 1, constant: bool = False) -> Any:
        """y = a + h W^T, times `scale`; constant : for autograd."""
        F, hidden, bias, _, weight = self._with(hidden, self.hidden_shape, constant)
        return self._visible_input(F, hidden, times(scale, bias), times(scale, weight))

    def free_energy(self, visible: Any) -> Any:
        """F(v) = -a.v - sum_j A(x_j): (batch,), in nats."""
        return self._free_energy(visible, self.hidden_input(visible, self.hidden_units.slope))

    def double_free_energy(self, visible: NDArray) -> HostArray:
        """The same of an NDArray, computed in float64: NumPy (batch,).

        At N = 255 a free energy may be 10^8 nats, of which float32 keeps seven digits: differences of single nats need
        this.
        """
        visible = self.as_visible(visible)
        parameters = self.visible_layer_bias, self.hidden_layer_bias, self.interaction_weight
        arrays = visible, *(parameter.data(visible.context) for parameter in parameters)
        v, a, b, w = (array.astype("float64") for array in arrays)
        slope = self.hidden_units.slope
        x = self._hidden_input(mx.nd, v, times(slope, b), times(slope, w))
        return (-self._weighted(mx.nd, v, a) - self.hidden_units.standard.total(mx.nd, x)).asnumpy()

    def _free_energy(self, visible: Any, scaled_input: Any) -> Any:
        """The same where k x is known already."""
        F, visible, bias, _, _ = self._with(visible, self.visible_shape)
        return -self._weighted(F, visible, bias) - self.hidden_units.standard.total(F, scaled_input)

    def mean_hidden(self, visible: Any, constant: bool = False) -> Any:
        """E[h | v] = f(x); constant : for autograd."""
        x = self.hidden_input(visible, self.hidden_units.slope, constant)
        return self.hidden_units.standard.mean(_operators(visible), x)

    def sample_hidden(self, visible: Any, constant: bool = False, operators: Any = None) -> Any:
        """A sample of h given v; constant : for autograd; operators : `KeyedOperators`, or None for MXNet's noise."""
        x = self.hidden_input(visible, self.hidden_units.slope, constant)
        return self.hidden_units.standard.sample(operators or _operators(visible), x)

    def mean_visible(self, hidden: Any, constant: bool = False) -> Any:
        """E[v | h] = f(y); constant : for autograd."""
        y = self.visible_input(hidden, self.visible_units.slope, constant)
        return self.visible_units.standard.mean(_operators(hidden), y)

    def sample_visible(self, hidden: Any, constant: bool = False, operators: Any = None) -> Any:
        """A sample of v given h; the rest as in `sample_hidden`."""
        y = self.visible_input(hidden, self.visible_units.slope, constant)
        return self.visible_units.standard.sample(operators or _operators(hidden), y)

    def reconstruct(self, visible: Any, sweeps: int = 1, sampled: bool = False) -> Any:
        """v -> h -> v, `sweeps` times: by means, E[v'] = f(a + f(b + v W) W^T), or `sampled`, as chains go."""
        return alternate(self, visible, sweeps, sampled)

    def hybrid_forward(self, F: Any, visible: Any, **parameters: Any) -> Any:
        return self.mean_hidden(visible)


def alternate(
    rbm: RBMBlock,
    visible: Any,
    sweeps: int,
    sampled: bool = True,
    *,
    hidden: Any = None,
    operators: KeyedOperators | None = None,
) -> Any:
    """Carry visible values through sweeps v -> h -> v of an RBM: the one loop of all RBMs that are not binary.

    Parameters
    ----------
    rbm
        The RBM.
    visible
        Array or symbol (batch, *rbm.visible_shape).
    sweeps
        How many.
    sampled
        Draw every layer given the other (block Gibbs sampling), or hand on its means.
    hidden
        h of the first sweep, where it is known already.
    operators
        What draws; None for MXNet's own generator.

    Returns
    -------
    The visible values after the last sweep, in their shape. All is constant for autograd.
    """
    how, settings = ("sample", {"operators": operators}) if sampled else ("mean", {})
    up, down = (getattr(rbm, "%s_%s" % (how, layer)) for layer in ("hidden", "visible"))
    for _ in range(sweeps):
        hidden = up(visible, constant=True, **settings) if hidden is None else hidden
        visible, hidden = down(hidden, constant=True, **settings), None
    return visible


class ContrastiveFreeEnergy(mx.gluon.loss.Loss):
    """L = F(v) - F(v') of each image: (batch,), in nats, where v' is constant.

    Its derivative is <d/dtheta F> over the data less that over v': contrastive divergence, CD-k, where v' is the data
    after k sweeps (Hinton 2002), and PCD-k where it is persistent chains (Tieleman 2008), which are handed in. (Hwang,
    Hwang & Jo 2020, with their sign turned: this is what one minimises.)

    Parameters
    ----------
    rbm
        The RBM that learns.
    sweeps
        k.
    sampled
        Whether v' is drawn, or goes by means.
    weight, batch_axis
        As of any loss of Gluon's.

    Inputs: visible (batch, ...), and optionally model_visible, the v' to take: any number of them, whose mean F(v')
    every image is compared with. (Once hybridized, always with or always without it.)
    """

    def __init__(
        self,
        rbm: RBMBlock,
        sweeps: int = 1,
        sampled: bool = False,
        weight: float | None = None,
        batch_axis: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(weight, batch_axis, **kwargs)
        self.rbm, self._sweeps, self._sampled = rbm, sweeps, sampled

    def forward(self, visible: Any, *model_visible: Any) -> Any:
        return super().forward(*map(self.rbm.as_visible, (visible, *model_visible)))

    def hybrid_forward(self, F: Any, visible: Any, model_visible: Any = None) -> Any:
        return self.of(F, visible, model_visible)[0]

    def of(self, F: Any, visible: Any, model_visible: Any = None, detach: bool = True) -> tuple[Any, Any]:
        """The loss, and h of the images, means or samples, from which v' goes on; detach : h is constant for autograd.

        What is constant is so from x on: MXNet would compute derivatives of 0 all the way from h to x.
        """
        rbm, units = self.rbm, self.rbm.hidden_units
        x = rbm.hidden_input(visible, units.slope)
        how = units.standard.sample if self._sampled else units.standard.mean
        hidden = how(F, F.BlockGrad(x) if detach else x)
        if model_visible is None:
            model_visible = alternate(rbm, visible, self._sweeps, self._sampled, hidden=hidden)
            model = rbm.free_energy(model_visible)
        else:
            model = F.mean(rbm.free_energy(F.BlockGrad(model_visible)), keepdims=True)
        loss = F.broadcast_sub(rbm._free_energy(visible, x), model)
        return loss if self._weight is None else loss * self._weight, hidden
