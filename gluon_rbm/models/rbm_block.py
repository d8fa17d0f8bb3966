"""What all RBMs trained by backpropagation share: methods, the sampling loop and the loss.

The units belong to families of `gluon_rbm.models.units`, with mean f and integral A. The total
inputs are x = b + v W of the hidden and y = a + h W^T of the visible units. Then

    F(v) = -a.v - sum_j A(x_j)        log p(v) = -F(v) + sum_i log m(v_i) - log Z

where m is the base measure of the visible units (1 for binary units). A subclass defines the
products v W and h W^T.
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

__all__ = ["FeatureBlock", "RBMBlock", "alternate", "in_dtype_of"]


def _operators(x: Any) -> Any:
    """Return F: mx.sym for a symbol, else mx.nd."""
    return mx.sym if isinstance(x, mx.sym.Symbol) else mx.nd


def in_dtype_of(parameter: Any, x: Any) -> Any:
    """Return an NDArray in the dtype of a Gluon parameter.

    Parameters
    ----------
    parameter
        The Gluon parameter.
    x
        NDArray, such as images of 8 bits; anything else is returned as it is.

    Returns
    -------
    NDArray
        `x` in this dtype; not a copy where it has it already.
    """
    return x.astype(np.dtype(parameter.dtype), copy=False) if isinstance(x, mx.nd.NDArray) else x


class FeatureBlock(mx.gluon.HybridBlock):
    """A Gluon block with parameters that only its other methods or its loss use.

    Its forward leaves them out, and Gluon's warning about this is silenced.
    """

    def _build_cache(self, *args: Any) -> None:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Parameter .* is not used by any computation")
            return super()._build_cache(*args)


class RBMBlock(FeatureBlock):
    """An RBM of two families of units, as a Gluon block to train by backpropagation.

        F(v) = -a.v - sum_j A(x_j)        x = b + v W        y = a + h W^T

    The forward returns E[h | v]. Every method takes NDArrays or symbols: visible layers
    (batch, *visible_shape) and hidden layers (batch, *hidden_shape), with values from 0 to the
    `maximum` of their units. An NDArray of another shape raises an InputError. NDArrays may have
    any dtype, such as uint8. Results are computed on their device, in the dtype of the parameters.

    A subclass makes the parameters (_make_parameters), sets `visible_shape` and `hidden_shape`, and
    defines the products v W, h W^T and a.v (_hidden_input, _visible_input, _weighted).

    Parameters
    ----------
    visible_units, hidden_units
        Families of `gluon_rbm.models.units`.
    **kwargs
        Settings of Gluon's HybridBlock, such as prefix.

    Attributes
    ----------
    visible_shape
        Shape of the visible layer of one image.
    hidden_shape
        Shape of the hidden layer of one image.
    visible_layer_bias
        Gluon parameter a.
    hidden_layer_bias
        Gluon parameter b.
    interaction_weight
        Gluon parameter W.
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
        # In x = b + v W the weights are multiplied by values up to N. For the same effect, a bias
        # must be as large as these values. So it learns faster, by the factor 1 / slope.
        def bias(name: str, shape: Sequence[int], units: UnitFamily) -> Any:
            return self.params.get(name, shape=shape, init="zeros", wd_mult=0.0, lr_mult=1 / units.slope)

        with self.name_scope():
            self.visible_layer_bias = bias("visible_layer_bias", visible_bias_shape, self.visible_units)
            self.hidden_layer_bias = bias("hidden_layer_bias", hidden_bias_shape, self.hidden_units)
            self.interaction_weight = self.params.get("interaction_weight", shape=weight_shape, init=initializer)

    def as_visible(self, x: Any) -> Any:
        """Return a visible layer in the dtype of the parameters.

        Parameters
        ----------
        x
            NDArray (batch, *visible_shape), or a symbol.

        Returns
        -------
        NDArray or symbol
            The layer; a symbol as it is.

        Raises
        ------
        InputError
            The array has another shape.
        """
        return self._layer(x, self.visible_shape)

    def _layer(self, x: Any, shape: tuple[int, ...]) -> Any:
        if isinstance(x, mx.nd.NDArray) and x.shape[1:] != shape:
            raise InputError("an array has shape %s; without the batch axis, it must be %s" % (x.shape, shape))
        return in_dtype_of(self.interaction_weight, x)

    def forward(self, x: Any, *args: Any) -> Any:
        """Return E[h | v].

        Parameters
        ----------
        x
            Visible layer v, as in `as_visible`.
        *args
            Further inputs of Gluon's HybridBlock.

        Returns
        -------
        NDArray or symbol (batch, *hidden_shape)
            Means of the hidden units.
        """
        return super().forward(self.as_visible(x), *args)

    def _with(self, x: Any, shape: tuple[int, ...], constant: bool = False) -> tuple[Any, ...]:
        """Return F, x and the parameters: symbols, or NDArrays on the device of x.

        x is (batch, *shape). If `constant`, all of them are constants for autograd.
        """
        F, parameters = _operators(x), (self.visible_layer_bias, self.hidden_layer_bias, self.interaction_weight)
        if F is mx.sym:
            values = x, *(parameter.var() for parameter in parameters)
        else:
            values = self._layer(x, shape), *(parameter.data(x.context) for parameter in parameters)
        return (F, *(map(F.BlockGrad, values) if constant else values))

    def _hidden_input(self, F: Any, visible: Any, hidden_layer_bias: Any, interaction_weight: Any) -> Any:
        """Return b + v W."""
        raise NotImplementedError

    def _visible_input(self, F: Any, hidden: Any, visible_layer_bias: Any, interaction_weight: Any) -> Any:
        """Return a + h W^T."""
        raise NotImplementedError

    def _weighted(self, F: Any, visible: Any, visible_layer_bias: Any) -> Any:
        """Return a.v of each image: (batch,)."""
        raise NotImplementedError

    def hidden_input(self, visible: Any, scale: float = 1, constant: bool = False) -> Any:
        """Return the total input x = b + v W of the hidden units, times a factor.

        Parameters
        ----------
        visible
            NDArray (batch, *visible_shape), or a symbol.
        scale
            The factor.
        constant
            Whether `visible` and the parameters are constants for autograd.

        Returns
        -------
        NDArray or symbol (batch, *hidden_shape)
            `scale` times x.
        """
        F, visible, _, bias, weight = self._with(visible, self.visible_shape, constant)
        return self._hidden_input(F, visible, times(scale, bias), times(scale, weight))

    def visible_input(self, hidden: Any, scale: float = 1, constant: bool = False) -> Any:
        """Return the total input y = a + h W^T of the visible units, times a factor.

        Parameters
        ----------
        hidden
            NDArray (batch, *hidden_shape), or a symbol.
        scale
            The factor.
        constant
            Whether `hidden` and the parameters are constants for autograd.

        Returns
        -------
        NDArray or symbol (batch, *visible_shape)
            `scale` times y.
        """
        F, hidden, bias, _, weight = self._with(hidden, self.hidden_shape, constant)
        return self._visible_input(F, hidden, times(scale, bias), times(scale, weight))

    def free_energy(self, visible: Any) -> Any:
        """Return the free energy F(v) = -a.v - sum_j A(x_j).

        Parameters
        ----------
        visible
            As in `hidden_input`.

        Returns
        -------
        NDArray or symbol (batch,)
            Free energies in nats.
        """
        return self._free_energy(visible, self.hidden_input(visible, self.hidden_units.slope))

    def double_free_energy(self, visible: NDArray) -> HostArray:
        """Return the free energy of an NDArray, computed in float64.

        At N = 255 a free energy may be 10^8 nats, and float32 keeps only seven digits of it. Use
        this method where differences of single nats matter.

        Parameters
        ----------
        visible
            NDArray (batch, *visible_shape).

        Returns
        -------
        float64 array (batch,)
            Free energies in nats, a NumPy array.
        """
        visible = self.as_visible(visible)
        parameters = self.visible_layer_bias, self.hidden_layer_bias, self.interaction_weight
        arrays = visible, *(parameter.data(visible.context) for parameter in parameters)
        v, a, b, w = (array.astype("float64") for array in arrays)
        slope = self.hidden_units.slope
        x = self._hidden_input(mx.nd, v, times(slope, b), times(slope, w))
        return (-self._weighted(mx.nd, v, a) - self.hidden_units.standard.total(mx.nd, x)).asnumpy()

    def _free_energy(self, visible: Any, scaled_input: Any) -> Any:
        """Return F(v), given k x."""
        F, visible, bias, _, _ = self._with(visible, self.visible_shape)
        return -self._weighted(F, visible, bias) - self.hidden_units.standard.total(F, scaled_input)

    def mean_hidden(self, visible: Any, constant: bool = False) -> Any:
        """Return E[h | v] = f(x).

        Parameters
        ----------
        visible, constant
            As in `hidden_input`.

        Returns
        -------
        NDArray or symbol (batch, *hidden_shape)
            Means.
        """
        x = self.hidden_input(visible, self.hidden_units.slope, constant)
        return self.hidden_units.standard.mean(_operators(visible), x)

    def sample_hidden(self, visible: Any, constant: bool = False, operators: Any = None) -> Any:
        """Draw h given v.

        Parameters
        ----------
        visible, constant
            As in `hidden_input`.
        operators
            `gluon_rbm.backend.random.KeyedOperators`, which draws; None for MXNet's own generator.

        Returns
        -------
        NDArray or symbol (batch, *hidden_shape)
            Samples.
        """
        x = self.hidden_input(visible, self.hidden_units.slope, constant)
        return self.hidden_units.standard.sample(operators or _operators(visible), x)

    def mean_visible(self, hidden: Any, constant: bool = False) -> Any:
        """Return E[v | h] = f(y).

        Parameters
        ----------
        hidden, constant
            As in `visible_input`.

        Returns
        -------
        NDArray or symbol (batch, *visible_shape)
            Means.
        """
        y = self.visible_input(hidden, self.visible_units.slope, constant)
        return self.visible_units.standard.mean(_operators(hidden), y)

    def sample_visible(self, hidden: Any, constant: bool = False, operators: Any = None) -> Any:
        """Draw v given h.

        Parameters
        ----------
        hidden, constant
            As in `visible_input`.
        operators
            As in `sample_hidden`.

        Returns
        -------
        NDArray or symbol (batch, *visible_shape)
            Samples.
        """
        y = self.visible_input(hidden, self.visible_units.slope, constant)
        return self.visible_units.standard.sample(operators or _operators(hidden), y)

    def reconstruct(self, visible: Any, sweeps: int = 1, sampled: bool = False) -> Any:
        """Reconstruct images by sweeps v -> h -> v.

        With means, a sweep is E[v'] = f(a + f(b + v W) W^T).

        Parameters
        ----------
        visible
            As in `hidden_input`.
        sweeps
            Number of sweeps.
        sampled
            Draw every layer, as chains do, instead of taking its means.

        Returns
        -------
        NDArray or symbol (batch, *visible_shape)
            Visible values after the last sweep, constant for autograd.
        """
        return alternate(self, visible, sweeps, sampled)

    def hybrid_forward(self, F: Any, visible: Any, **parameters: Any) -> Any:
        """Return E[h | v].

        Parameters
        ----------
        F
            Operators that Gluon passes; not used.
        visible
            As in `hidden_input`.
        **parameters
            Parameters that Gluon passes; not used.

        Returns
        -------
        NDArray or symbol (batch, *hidden_shape)
            Means of the hidden units.
        """
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
    """Run sweeps v -> h -> v of an RBM. All RBMs that are not binary sample by this loop.

    Parameters
    ----------
    rbm
        The RBM.
    visible
        NDArray or symbol (batch, *rbm.visible_shape).
    sweeps
        Number of sweeps.
    sampled
        Draw every layer given the other (block Gibbs sampling), instead of taking its means.
    hidden
        Hidden layer of the first sweep, where it is known already.
    operators
        As in `RBMBlock.sample_hidden`.

    Returns
    -------
    NDArray or symbol (batch, *rbm.visible_shape)
        Visible values after the last sweep, constant for autograd.
    """
    how, settings = ("sample", {"operators": operators}) if sampled else ("mean", {})
    up, down = (getattr(rbm, "%s_%s" % (how, layer)) for layer in ("hidden", "visible"))
    for _ in range(sweeps):
        hidden = up(visible, constant=True, **settings) if hidden is None else hidden
        visible, hidden = down(hidden, constant=True, **settings), None
    return visible
