"""Energy, free energy and conditional probabilities of the binary RBM.

    E(v, h) = -a.v - b.h - v W h
    F(v)    = -a.v - sum_j softplus(b_j + (v W)_j)            log p(v) = -F(v) - log Z

At an inverse temperature beta, above a base rate a0 (Salakhutdinov & Murray 2008, section 4.1):

    E_beta(v, h) = -((1 - beta) a0 + beta a).v - beta (b.h + v W h)

At beta = 0 the pixels are independent with bias a0. At beta = 1 this is the RBM itself.

Arrays are NDArrays on one device, or all are NumPy arrays; results are of the same kind. `visible`
is (batch, num_visible), `hidden` (batch, num_hidden). An operand is an array with the operators of
NumPy, as `gluon_rbm.backend.arrays.as_operand` makes it.
"""

from __future__ import annotations

from typing import Any, ContextManager

import numpy as np

from gluon_rbm.backend import native
from gluon_rbm.backend.arrays import as_host, as_operand, host_view, on_cpu, restore_kind
from gluon_rbm.backend.native import learning as native_learning
from gluon_rbm.backend.types import Array, HostArray, NDArray, SoftmaxGroups
from gluon_rbm.errors import InputError
from gluon_rbm.models.parameters import Parameters

__all__ = [
    "are_pixels",
    "check_pixels",
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


def are_pixels(values: Any) -> bool:
    """Return whether all values lie in [0, 1].

    Parameters
    ----------
    values
        Operand of any shape. NaN does not lie in [0, 1].

    Returns
    -------
    bool
        True also where there are no values.
    """
    return not values.size or bool(values.min() >= 0 and values.max() <= 1)


def check_pixels(visible: HostArray) -> None:
    """Raise an error unless all values are in [0, 1].

    Parameters
    ----------
    visible
        Values, NumPy.

    Raises
    ------
    InputError
        A value is NaN or outside [0, 1].
    """
    if not are_pixels(visible):
        raise InputError("data holds values that are NaN or outside [0, 1]; scale the images first")


def check_visible(visible: NDArray, num_visible: int) -> None:
    """Raise an error unless an NDArray is a batch of visible layers.

    The values are checked only on a CPU: a GPU would have to wait for the check.

    Parameters
    ----------
    visible
        NDArray (batch, num_visible), values in [0, 1].
    num_visible
        Number of visible units; 0 allows any number.

    Raises
    ------
    InputError
        The array has another shape, or holds values that are NaN or outside [0, 1].
    """
    if visible.context.device_type == "cpu":
        check_pixels(host_view(visible))
    if visible.ndim != 2:
        raise InputError("data has shape %s; BinaryRBMBlock takes (batch, num_visible): flatten it" % (visible.shape,))
    if num_visible not in (0, visible.shape[1]):
        raise InputError(
            "data has %d visible units, but the model has %d; use the data set that the model was trained on"
            % (visible.shape[1], num_visible)
        )


def visible_operand(visible: Array, num_visible: int, dtype: Any = np.float32) -> Any:
    """Return a visible layer as an operand of floats.

    Parameters
    ----------
    visible
        Array (batch, num_visible).
    num_visible
        Number of visible units that the layer must have.
    dtype
        Dtype for a layer of integers or booleans. Floats keep their dtype.

    Returns
    -------
    operand (batch, num_visible)
        The layer; floats are not copied.

    Raises
    ------
    InputError
        The layer has another shape.
    """
    if visible.ndim != 2 or visible.shape[1] != num_visible:
        raise InputError(
            "visible units have shape %s; they must be (batch, %d), one row per image" % (visible.shape, num_visible)
        )
    operand = as_operand(visible)
    return operand if np.issubdtype(operand.dtype, np.floating) else operand.astype(dtype)


def visible_bias_at(parameters: Parameters, beta: float, base_visible_bias: Array | None = None) -> Array:
    """Return the visible bias (1 - beta) a0 + beta a at an inverse temperature.

    Parameters
    ----------
    parameters
        The RBM.
    beta
        Inverse temperature.
    base_visible_bias
        Base rate a0, (num_visible,); None stands for zeros.

    Returns
    -------
    array (num_visible,)
        The bias.
    """
    bias = beta * parameters.visible_layer_bias
    return bias if base_visible_bias is None else bias + (1 - beta) * base_visible_bias


def native_serves(*arrays: Array) -> bool:
    """Return whether the native engine can compute with these arrays.

    Parameters
    ----------
    *arrays
        NDArrays or NumPy arrays.

    Returns
    -------
    bool
        True if the engine is available and all arrays are float32 on a CPU.
    """
    return all(array.dtype == np.float32 and on_cpu(array) for array in arrays) and bool(native.available())


def native_parameters(parameters: Parameters) -> dict[str, Any]:
    """Return the parameters as keyword arguments of the native engine's functions.

    Parameters
    ----------
    parameters
        The RBM, on a CPU.

    Returns
    -------
    dict
        NumPy arrays weight, visible_bias and hidden_bias, which share the memory of the RBM.
    """
    visible_bias, hidden_bias, weight = map(as_host, parameters)
    return {"weight": weight, "visible_bias": visible_bias, "hidden_bias": hidden_bias}


def hidden_probability(parameters: Parameters, visible: Array, fixed_point: bool = False) -> Array:
    """Return p(h_j = 1 | v) = sigmoid(b_j + (v W)_j).

    Parameters
    ----------
    parameters
        The RBM.
    visible
        Visible layers, (batch, num_visible).
    fixed_point
        As in `gluon_rbm.sampling.gibbs.run_chains`.

    Returns
    -------
    array (batch, num_hidden)
        Probabilities.

    Raises
    ------
    InputError
        `visible` has another shape.
    """
    rows = _rows(parameters, visible)
    if native_serves(rows, parameters.interaction_weight):
        arrays = native_parameters(parameters)
        return restore_kind(
            native_learning.hidden_probability(**arrays, visible=rows, fixed_point=fixed_point), visible
        )
    with _quiet():
        return restore_kind(1 / (1 + np.exp(-_hidden_input(parameters, rows))), visible)


def free_energy(parameters: Parameters, visible: Array) -> Array:
    """Return the free energy F(v) = -a.v - sum_j softplus(b_j + (v W)_j) of each row.

    `visible` may be grey (values in [0, 1]). Then -F is a score, not a log-probability.

    Parameters
    ----------
    parameters, visible
        As in `hidden_probability`.

    Returns
    -------
    float64 array (batch,)
        Free energies in nats, an array of the kind of `visible` (NumPy's, or an NDArray).

    Raises
    ------
    InputError
        As in `hidden_probability`.

    Examples
    --------
    >>> parameters = Parameters(np.zeros(3), np.zeros(2), np.zeros((3, 2)))
    >>> free_energy(parameters, np.array([[0, 1, 1], [1, 0, 0]])).round(3)
    array([-1.386, -1.386])
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
    """Return F_{beta_from}(v) - F_{beta_to}(v) of each row.

    This is log p*_{beta_to}(v) - log p*_{beta_from}(v), where p* is not normalized. One matrix
    product serves both temperatures. Each hidden unit's difference is taken before the sum over
    units, so that rounding does not swallow the small differences of ten thousand steps.

    Parameters
    ----------
    parameters, visible
        As in `hidden_probability`.
    beta_from, beta_to
        Inverse temperatures.
    base_visible_bias
        As in `visible_bias_at`.

    Returns
    -------
    float64 array (batch,)
        Differences in nats.

    Raises
    ------
    InputError
        As in `hidden_probability`.
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
    """Return sum_i log p(v_i | all other v) of each row.

        log p(v_i | all other v) = -softplus(F(v) - F(v with unit i flipped))

    A softmax group counts as one v_i: its log p is the log-softmax of -F over the group's values.
    The exact sum takes num_visible times as long as a free energy. With `units` the result is an
    estimate from one unit in each row: num_visible times its term, or num_visible / size times the
    term of its group. This is unbiased if the units are drawn uniformly.

    Parameters
    ----------
    parameters
        The RBM.
    visible
        Visible layers, (batch, num_visible), values 0 or 1.
    units
        One unit for each row, int (batch,); None computes the exact sum.
    softmax_groups
        Pairs (start, stop) of visible units. Exactly one unit of each group is on.

    Returns
    -------
    float64 array (batch,)
        Pseudo-log-likelihoods in nats.

    Raises
    ------
    InputError
        As in `hidden_probability`.

    Notes
    -----
    Besag, The Statistician 24, 1975.

    Examples
    --------
    >>> parameters = Parameters(np.zeros(3), np.zeros(2), np.zeros((3, 2)))
    >>> pseudo_log_likelihood(parameters, np.array([[0, 1, 1]])).round(3)  # 3 log(1/2)
    array([-2.079])
    """
    v = _rows(parameters, visible)
    x = _hidden_input(parameters, v)
    weight, bias = (
        as_operand(parameters.interaction_weight),
        as_operand(parameters.visible_layer_bias).astype("float64"),
    )

    def term(rows: Any, unit: Any) -> Any:
        flip = 1 - 2 * v[rows, unit]
        # Subtract before the sum, which is more exact.
        grown = softplus(x + flip.reshape((-1, 1)) * weight[unit]) - softplus(x)
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
    """Return log(1 + exp(x)), without overflow, to the relative precision of the dtype.

    Parameters
    ----------
    x
        Operand of any shape.

    Returns
    -------
    operand
        The values, in the shape and dtype of `x`.

    Notes
    -----
    MXNet's softrelu is off by 2e-6 for negative x in float32. Summed over 500 units and 10,000
    distributions, this error is a visible bias. MXNet's exp and log1p take thirty times as long as
    NumPy's, which are vectorized.
    """
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def log_sum_exp(x: HostArray) -> HostArray:
    """Return log sum exp of an array along its last axis, without overflow.

    Parameters
    ----------
    x
        NumPy array of floats; values may be -inf.

    Returns
    -------
    array
        The sums, in the shape of `x` without its last axis.
    """
    # The maximum is finite even if all are -inf.
    largest = np.maximum(x.max(axis=-1, keepdims=True), np.finfo(x.dtype).min)
    with np.errstate(divide="ignore"):
        return largest[..., 0] + np.log(np.exp(x - largest).sum(axis=-1))


def _quiet() -> ContextManager[None]:
    """Silence NumPy's warnings: the caller judges results that are not finite."""
    return np.errstate(all="ignore")


def _rows(parameters: Parameters, visible: Array) -> Any:
    return visible_operand(visible, parameters.num_visible, parameters.interaction_weight.dtype)


def _hidden_input(parameters: Parameters, rows: Any) -> Any:
    """Return the total input of the hidden units, b + v W: operand (batch, num_hidden)."""
    with _quiet():
        return rows @ as_operand(parameters.interaction_weight) + as_operand(parameters.hidden_layer_bias)


def _weighted_sum(rows: Any, weight: Array) -> Any:
    """Return v.weight of each row: operand (batch,), float64."""
    return rows.astype("float64") @ as_operand(weight).astype("float64")
