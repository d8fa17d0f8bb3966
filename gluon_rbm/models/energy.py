"""Energy, free energy and conditional probabilities of the binary RBM.

    E(v, h) = -a.v - b.h - v W h
    F(v)    = -a.v - sum_j softplus(b_j + (v W)_j)            log p(v) = -F(v) - log Z

At an inverse temperature beta, above a base rate a0 (Salakhutdinov & Murray 2008, section 4.1):

    E_beta(v, h) = -((1 - beta) a0 + beta a).v - beta (b.h + v W h)

so that beta = 0 is independent pixels with bias a0 and beta = 1 is the RBM itself. All arrays are MXNet
NDArrays on one device; visible is (batch, num_visible), hidden (batch, num_hidden).
"""

from __future__ import annotations

from typing import Any, ContextManager, NamedTuple

import numpy as np

from gluon_rbm.backend import native
from gluon_rbm.backend.arrays import as_host, as_operand, from_host, host_view, on_cpu, restore_kind
from gluon_rbm.backend.framework import mx
from gluon_rbm.backend.native import learning as native_learning
from gluon_rbm.backend.types import Array, HostArray, NDArray, SoftmaxGroups
from gluon_rbm.errors import InputError

__all__ = [
    "Parameters",
    "are_pixels",
    "check_visible",
    "visible_bias_at",
    "hidden_probability",
    "free_energy",
    "free_energy_difference",
    "log_sum_exp",
    "native_parameters",
    "native_serves",
    "pseudo_log_likelihood",
    "softplus",
    "visible_operand",
]


class Parameters(NamedTuple):
    """The three learned arrays of a binary RBM, E(v, h) = -a.v - b.h - v W h.

    Parameters
    ----------
    visible_layer_bias : array (num_visible,)
        a, of the pixels.
    hidden_layer_bias : array (num_hidden,)
        b, of the hidden units.
    interaction_weight : array (num_visible, num_hidden)
        W. A column is the filter of a hidden unit.

    All are NDArrays on one device, or all are NumPy arrays. `gluon_rbm.models.files.read_model` reads them from a run
    folder, and `BinaryRBMBlock.rbm_parameters` has those of a block.

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
        """Of the three arrays in their order, NDArrays or NumPy's: all as NDArrays, in their dtype."""
        return cls(*(a if isinstance(a, mx.nd.NDArray) else from_host(np.asarray(a)) for a in arrays))

    @property
    def num_visible(self) -> int:
        return self.interaction_weight.shape[0]

    @property
    def num_hidden(self) -> int:
        return self.interaction_weight.shape[1]

    def as_in_context(self, context: Any) -> Parameters:
        """The same parameters on another device."""
        return Parameters(*(array.as_in_context(context) for array in self))

    def checked(self) -> Parameters:
        """These parameters, or InputError if shapes do not belong together, or values are no floats or not finite.

        Arrays are NDArrays, or NumPy's.
        """
        shapes = tuple(array.shape for array in self)
        if len(shapes[2]) != 2 or shapes[0] != (shapes[2][0],) or shapes[1] != (shapes[2][1],):
            raise InputError(
                "visible_layer_bias, hidden_layer_bias and interaction_weight have shapes %s, %s and %s; they must be "
                "(num_visible,), (num_hidden,) and (num_visible, num_hidden)" % shapes
            )
        if 0 in shapes[2]:
            raise InputError("an RBM of %d visible and %d hidden units is none; give 1 or more of each" % shapes[2])
        for name, array in zip(self._fields, self):
            if not np.issubdtype(array.dtype, np.floating):
                raise InputError("%s holds %s numbers; save floats" % (name, np.dtype(array.dtype)))
            if not _all_finite(array):
                raise InputError("%s holds values that are not finite; train again with a lower learning rate" % name)
        return self


def _all_finite(array: Array) -> bool:
    if isinstance(array, np.ndarray):
        return bool(np.isfinite(array).all())
    # MXNet's own `isfinite` fails by chance: it calls "inf" out of range where errno is still ERANGE, as NumPy
    # leaves it after an underflow.
    return bool((array * 0 == 0).min().asscalar())


def are_pixels(values: Any) -> bool:
    """Whether all values, an `operand` of any shape, lie in [0, 1]; NaN does not."""
    return not values.size or bool(values.min() >= 0 and values.max() <= 1)


def check_visible(visible: NDArray, num_visible: int) -> None:
    """InputError unless an NDArray is (batch, num_visible) in [0, 1]; num_visible 0 stands for any width.

    Values are looked at on a CPU only: a GPU would have to wait for it.
    """
    if visible.context.device_type == "cpu" and not are_pixels(host_view(visible)):
        raise InputError("data holds values that are NaN or outside [0, 1]; scale the images first")
    if visible.ndim != 2:
        raise InputError("data has shape %s; BinaryRBMBlock takes (batch, num_visible): flatten it" % (visible.shape,))
    if num_visible not in (0, visible.shape[1]):
        raise InputError(
            "data has %d visible units, the model %d; use the data set that the model was trained on"
            % (visible.shape[1], num_visible)
        )


def visible_operand(visible: Array, num_visible: int, dtype: Any = np.float32) -> Any:
    """A visible layer as an `operand` of floats: itself, or in that dtype where it holds integers or booleans.

    Raises InputError unless it is (batch, num_visible).
    """
    if visible.ndim != 2 or visible.shape[1] != num_visible:
        raise InputError(
            "visible units have shape %s; they must be (batch, %d), a row for each image" % (visible.shape, num_visible)
        )
    operand = as_operand(visible)
    return operand if np.issubdtype(operand.dtype, np.floating) else operand.astype(dtype)


def visible_bias_at(parameters: Parameters, beta: float, base_visible_bias: Array | None = None) -> Array:
    """Bias of the visible layer at inverse temperature beta: (1 - beta) a0 + beta a; a0 = 0 if not given."""
    bias = beta * parameters.visible_layer_bias
    return bias if base_visible_bias is None else bias + (1 - beta) * base_visible_bias


def native_serves(*arrays: Array) -> bool:
    """Whether the native engine is there and can compute with these arrays: all of them float32, on a CPU."""
    return all(array.dtype == np.float32 and on_cpu(array) for array in arrays) and bool(native.available())


def native_parameters(parameters: Parameters) -> dict[str, Any]:
    """The parameters as the functions of the native engine take them."""
    visible_bias, hidden_bias, weight = map(as_host, parameters)
    return {"weight": weight, "visible_bias": visible_bias, "hidden_bias": hidden_bias}


def hidden_probability(parameters: Parameters, visible: Array, fixed_point: bool = False) -> Array:
    """p(h_j = 1 | v) = sigmoid(b_j + (v W)_j): (batch, num_hidden). fixed_point : as of `gibbs.run_chains`."""
    rows = _rows(parameters, visible)
    if native_serves(rows, parameters.interaction_weight):
        arrays = native_parameters(parameters)
        return restore_kind(
            native_learning.hidden_probability(**arrays, visible=rows, fixed_point=fixed_point), visible
        )
    with _quiet():
        return restore_kind(1 / (1 + np.exp(-_hidden_input(parameters, rows))), visible)


def free_energy(parameters: Parameters, visible: Array) -> Array:
    """F(v) = -a.v - sum_j softplus(b_j + (v W)_j): (batch,) float64, in nats.

    visible may be grey (values in [0, 1]); then -F is a score, not a log-probability.
    """
    rows = _rows(parameters, visible)
    if native_serves(rows, parameters.interaction_weight):
        return restore_kind(native_learning.free_energy(**native_parameters(parameters), visible=rows), visible)
    with _quiet():
        hidden_part = softplus(_hidden_input(parameters, rows)).sum(axis=1, dtype="float64")
        return restore_kind(-(_weighted_sum(rows, parameters.visible_layer_bias) + hidden_part), visible)


def free_energy_difference(
    parameters: Parameters, visible: Array, beta_from: float, beta_to: float, base_visible_bias: Array | None = None
) -> Array:
    """F_{beta_from}(v) - F_{beta_to}(v) = log p*_{beta_to}(v) - log p*_{beta_from}(v): (batch,) float64, in nats.

    One matrix product serves both temperatures, and the units' differences are taken before they are summed, so that
    ten thousand small steps do not lose what they add up to.
    """
    bias_step = visible_bias_at(parameters, beta_to, base_visible_bias) - visible_bias_at(
        parameters, beta_from, base_visible_bias
    )
    rows = _rows(parameters, visible)
    with _quiet():
        x = _hidden_input(parameters, rows)
        hidden_part = (softplus(beta_to * x) - softplus(beta_from * x)).sum(axis=1, dtype="float64")
        return restore_kind(_weighted_sum(rows, bias_step) + hidden_part, visible)


def pseudo_log_likelihood(
    parameters: Parameters, visible: Array, units: HostArray | None = None, softmax_groups: SoftmaxGroups = ()
) -> Array:
    """sum_i log p(v_i | all other v) = -sum_i softplus(F(v) - F(v with unit i flipped)): (batch,) float64, in nats.

    A softmax group is one v_i, whose log p is that of a softmax of -F over its values. visible is (batch, num_visible)
    in {0, 1}. The exact sum takes num_visible times as long as a free energy. With units, an int array (batch,), it is
    num_visible times the term of that one unit in each row (of a group: over its size): unbiased where the units are
    drawn uniformly. (Besag, The Statistician 24, 1975.)
    """
    v = _rows(parameters, visible)
    x = _hidden_input(parameters, v)
    weight, bias = (
        as_operand(parameters.interaction_weight),
        as_operand(parameters.visible_layer_bias).astype("float64"),
    )

    def term(rows: Any, unit: Any) -> Any:
        flip = 1 - 2 * v[rows, unit]
        grown = softplus(x + flip.reshape((-1, 1)) * weight[unit]) - softplus(x)  # before it is summed, as above
        return -softplus(flip * bias[unit] + grown.sum(axis=1, dtype="float64"))

    def group_term(rows: Any, start: int, stop: int) -> Any:
        others = x[rows] - v[rows, start:stop] @ weight[start:stop]
        scores = np.stack(
            [
                bias[unit] + (softplus(others + weight[unit]) - softplus(others)).sum(axis=1, dtype="float64")
                for unit in range(start, stop)
            ],
            axis=1,
        )
        return (scores * v[rows, start:stop]).sum(axis=1) - log_sum_exp(scores)

    with _quiet():
        if units is not None:
            terms = parameters.num_visible * term(np.arange(len(units)), units)
            for start, stop in softmax_groups:
                rows = np.flatnonzero((units >= start) & (units < stop))
                terms[rows] = parameters.num_visible / (stop - start) * group_term(rows, start, stop)
            return restore_kind(terms, visible)
        alone = set(range(parameters.num_visible)).difference(*(range(*group) for group in softmax_groups))
        terms = [term(slice(None), unit) for unit in sorted(alone)]
        return restore_kind(sum(terms + [group_term(slice(None), *group) for group in softmax_groups]), visible)


def softplus(x: Any) -> Any:
    """log(1 + exp(x)) of an `operand`, without overflow, to the relative precision of its dtype.

    (MXNet's own `softrelu` is off by 2e-6 for negative x in float32: over 500 units and 10,000 distributions that is a
    bias one can see. And its `exp` and `log1p` take thirty times as long as NumPy's, which are vector code.)
    """
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def log_sum_exp(x: HostArray) -> HostArray:
    """log sum exp of a NumPy array along its last axis, without overflow."""
    largest = np.maximum(x.max(axis=-1, keepdims=True), np.finfo(x.dtype).min)  # all may be -inf
    with np.errstate(divide="ignore"):
        return largest[..., 0] + np.log(np.exp(x - largest).sum(axis=-1))


def _quiet() -> ContextManager[None]:
    """What is not finite is the caller's to judge."""
    return np.errstate(all="ignore")


def _rows(parameters: Parameters, visible: Array) -> Any:
    return visible_operand(visible, parameters.num_visible, parameters.interaction_weight.dtype)


def _hidden_input(parameters: Parameters, rows: Any) -> Any:
    """Total input of the hidden units, b + v W, as an `operand`: (batch, num_hidden)."""
    with _quiet():
        return rows @ as_operand(parameters.interaction_weight) + as_operand(parameters.hidden_layer_bias)


def _weighted_sum(rows: Any, weight: Array) -> Any:
    """v.weight of each row, in float64, as an `operand`."""
    return rows.astype("float64") @ as_operand(weight).astype("float64")
