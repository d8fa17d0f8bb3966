"""The CUDA engine of `gluon_rbm.sampling.gibbs`: MXNet's arrays on a GPU, and own kernels."""

from __future__ import annotations

from typing import Any, Sequence

import numpy as np

from gluon_rbm.backend import cuda
from gluon_rbm.backend.arrays import to_numpy
from gluon_rbm.backend.cuda import mxnet_device
from gluon_rbm.backend.types import Array, Clamp, HostArray, Key, NDArray, VisibleUnits
from gluon_rbm.models.parameters import Parameters
from gluon_rbm.models.visible_units import softmax_groups
from gluon_rbm.sampling.conditions import Chains, Conditions

__all__ = ["anneal", "reason_against", "redraw_non_binary", "run"]


def reason_against(array: NDArray) -> str | None:
    """Say why the CUDA engine cannot be used with an array.

    Parameters
    ----------
    array
        An array that the engine is to use, such as the interaction weights.

    Returns
    -------
    str or None
        The reason in one line; None if the engine is available and can use the array.
    """
    if isinstance(array, np.ndarray) or array.context.device_type != "gpu":
        return "it needs a GPU, and the RBM is on the CPU"
    if array.dtype != np.float32:
        return "it serves float32, not %s" % np.dtype(array.dtype).name
    if array.ndim == 2 and not cuda.fits(*array.shape, has_groups=True):
        return "a chain of %d visible and %d hidden units does not fit into the memory of a thread block" % array.shape
    return mxnet_device.reason_against(array.context)


def redraw_non_binary(sample: NDArray, key: Key) -> NDArray:
    """Replace every entry of a sample that is neither 0 nor 1 by a fair coin.

    Parameters
    ----------
    sample
        Float32 NDArray on a GPU.
    key
        Non-negative integers that fix the coins.

    Returns
    -------
    NDArray
        The new sample.
    """
    return cuda.redraw_non_binary(mxnet_device.device_of(sample.context), sample, key)


def run(
    parameters: Parameters,
    visible: NDArray | None,
    hidden: NDArray | None,
    conditions: Conditions,
    *,
    sweeps: int,
    key: Key,
) -> Chains:
    """Run block Gibbs chains on a GPU.

    Parameters
    ----------
    parameters, visible, hidden, conditions, sweeps, key
        As in `mxnet_engine.run`, with float32 arrays on a GPU.

    Returns
    -------
    Chains
        States after the last sweep.
    """
    arrays = cuda.run(
        mxnet_device.device_of(parameters.interaction_weight.context),
        **_arrays(parameters),
        visible=visible,
        hidden=hidden,
        sweeps=sweeps,
        beta=conditions.beta,
        base=conditions.base_visible_bias,
        clamp=conditions.clamp,
        groups=softmax_groups(conditions.visible_units),
        key=key,
    )
    return Chains(*arrays)


def anneal(
    parameters: Parameters,
    visible: Array,
    betas: Sequence[float],
    *,
    sweeps: int,
    first_sweep: int,
    finish: bool,
    base: Array | None,
    clamp: Clamp | None,
    visible_units: VisibleUnits,
    key: Key,
) -> tuple[Array, HostArray]:
    """Run the inner loop of annealed importance sampling on a GPU.

    Parameters
    ----------
    parameters
        Parameters of the RBM, float32 NDArrays on a GPU.
    visible, betas, sweeps, first_sweep, finish, base, clamp, visible_units, key
        As in `gluon_rbm.backend.native.anneal`.

    Returns
    -------
    visible : NDArray (chains, num_visible)
        Samples after the last beta.
    log_weights : float64 NumPy array (chains,)
        Logarithms of the importance weights, in nats.
    """
    samples, log_weights = cuda.anneal(
        mxnet_device.device_of(parameters.interaction_weight.context),
        **_arrays(parameters),
        key=key,
        visible=visible,
        betas=betas,
        sweeps=sweeps,
        base=base,
        clamp=clamp,
        groups=softmax_groups(visible_units),
        first_sweep=first_sweep,
        finish=finish,
    )
    return samples, to_numpy(log_weights)


def _arrays(parameters: Parameters) -> dict[str, Any]:
    return {
        "weight": parameters.interaction_weight,
        "visible_bias": parameters.visible_layer_bias,
        "hidden_bias": parameters.hidden_layer_bias,
    }
