"""The CUDA engine of `gluon_rbm.sampling.gibbs`: the C engine's chains, on a GPU, in float32.

Functions take a `Device` (see `launch`), so that the same code runs on a GPU and, in tests, on a
CPU.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Sequence

import numpy as np

from gluon_rbm.backend.cuda.launch import SHARED_BYTES, Device, geometry, padded, shared_bytes
from gluon_rbm.backend.native.arguments import broadcast_clamp, key_words
from gluon_rbm.backend.types import Clamp, Key
from gluon_rbm.errors import InputError

__all__ = ["PRODUCTS_FROM", "Device", "anneal", "fits", "redraw_non_binary", "run"]

#: From this many chains on, matrix products are faster: they read all weights once for all chains.
#: With fewer chains, each chain reads and adds only the rows of weights of its units that are on.
#: The number is an estimate (benchmarks/cuda_model.py).
PRODUCTS_FROM = 512

_SWEEPS = 100  # sweeps in one launch: some drivers stop a launch that takes seconds
_BLOCKS, _THREADS = 256, 256  # for kernels that do not use one thread block for each chain


def fits(num_visible: int, num_hidden: int, has_groups: bool = False) -> bool:
    """Return whether the shared memory of a thread block can hold a chain.

    Parameters
    ----------
    num_visible, num_hidden
        Number of units of each layer.
    has_groups
        Whether there are softmax groups of visible units.

    Returns
    -------
    bool
        True if it can.
    """
    return shared_bytes(num_visible, num_hidden, geometry(num_visible, num_hidden), has_groups) <= SHARED_BYTES


def run(
    device: Device,
    weight: Any,
    visible_bias: Any,
    hidden_bias: Any,
    *,
    key: Key,
    visible: Any = None,
    hidden: Any = None,
    sweeps: int = 1,
    beta: Any = 1.0,
    base: Any = None,
    clamp: Clamp | None = None,
    groups: Sequence[tuple[int, int]] = (),
    first_sweep: int = 0,
    products: bool | None = None,
) -> tuple[Any, Any, Any, Any]:
    """Run block Gibbs chains of binary units, as `gluon_rbm.backend.native.run` does.

    Parameters
    ----------
    device
        Where the kernels run. Arrays are the device's, or NumPy's.
    weight, visible_bias, hidden_bias, key, visible, hidden, sweeps, beta, base, clamp
        As in `gluon_rbm.backend.native.run`. Whether a hidden start is 0 or 1 is not checked,
        because a check would wait for the device.
    groups
        Softmax groups of visible units, (start, stop).
    first_sweep
        As in `gluon_rbm.backend.native.run`.
    products
        True: sum weights by matrix products, in a launch for each layer of each sweep. False: do up
        to 100 sweeps in one launch. None: take the faster way. Products serve no groups, and no
        visible start that is clamped.

    Returns
    -------
    visible, hidden : float32 arrays of the device (chains, num_visible), (chains, num_hidden)
        The samples.
    visible_probability, hidden_probability : float32 arrays of the device, in the same shapes
        Probabilities that the samples were drawn from.

    Raises
    ------
    InputError
        A chain does not fit into the shared memory of a thread block, or clamped units are not 0 or
        1.
    """
    rbm = _pack(device, weight, visible_bias, hidden_bias, base)
    start = device.array(visible if hidden is None else hidden, np.float32, copy=True)
    chains = start.shape[0]
    shapes = (chains, rbm.num_visible), (chains, rbm.num_hidden)
    states = [start, device.empty(shapes[1], np.float32)]
    if hidden is not None:
        states = [device.empty(shapes[0], np.float32), start]
    probabilities = [device.empty(shape, np.float32) for shape in shapes]
    betas = device.array(beta if getattr(beta, "ndim", 0) else [float(beta)], np.float32)
    start_visible, per_chain = int(hidden is None), int(betas.shape[0] > 1)
    if not chains:
        return (*states, *probabilities)
    conditions, words = _conditions(device, clamp, groups), _signed(key_words(key))
    if products is None:
        products = chains >= PRODUCTS_FROM and not len(groups) and not (start_visible and clamp)
    if not products:
        for done in range(0, sweeps, _SWEEPS):
            numbers = [
                min(_SWEEPS, sweeps - done),
                first_sweep + done,
                *words,
                int(start_visible and not done),
                per_chain,
            ]
            _launch(device, "run", rbm, chains, numbers, conditions, betas, [*states, *probabilities])
        return (*states, *probabilities)

    def draw(layer: int, sweep: int) -> None:
        product = device.product(states[1 - layer], rbm.arrays[layer])
        numbers = [chains, *rbm.shape, layer, sweep, *words, per_chain, conditions.numbers[1]]
        arrays = [rbm.arrays[2], product, betas, *conditions.clamp, states[layer], probabilities[layer]]
        device.launch("draw", [*numbers, *arrays], -(-chains * padded(rbm.shape[layer]) // (4 * _THREADS)), _THREADS, 0)

    if start_visible:
        draw(1, first_sweep)
    for sweep in range(first_sweep + 1, first_sweep + sweeps + 1):
        draw(0, sweep)
        draw(1, sweep)
    return (*states, *probabilities)


def redraw_non_binary(device: Device, values: Any, key: Key) -> Any:
    """Copy values, and replace each that is neither 0 nor 1 (NaN, too) by a fair coin.

    Parameters
    ----------
    device
        As in `run`.
    values
        An array of the device, or NumPy's.
    key
        Integers that determine the coins.

    Returns
    -------
    float32 array of the device
        The copy.
    """
    values = device.array(values, np.float32, copy=True)
    device.launch("redraw", [int(np.prod(values.shape)), *_signed(key_words(key)), values], _BLOCKS, _THREADS, 0)
    return values


def anneal(
    device: Device,
    weight: Any,
    visible_bias: Any,
    hidden_bias: Any,
    *,
    key: Key,
    visible: Any,
    betas: Any,
    sweeps: int = 1,
    base: Any = None,
    clamp: Clamp | None = None,
    groups: Sequence[tuple[int, int]] = (),
    first_sweep: int = 0,
    finish: bool = True,
) -> tuple[Any, Any]:
    """Run the inner loop of annealed importance sampling.

    It does the same as `gluon_rbm.backend.native.anneal`.

    Parameters
    ----------
    device
        As in `run`.
    weight, visible_bias, hidden_bias, key, visible, betas, sweeps, base, clamp
        As in `gluon_rbm.backend.native.anneal`.
    groups
        As in `run`.
    first_sweep, finish
        As in `gluon_rbm.backend.native.anneal`.

    Returns
    -------
    visible : float32 array of the device (chains, num_visible)
        The samples.
    log_weight : float64 array of the device (chains,)
        Logs of the chains' importance weights, in nats.

    Raises
    ------
    InputError
        As in `run`.
    """
    rbm = _pack(device, weight, visible_bias, hidden_bias, base)
    visible = device.array(visible, np.float32, copy=True)
    chains = visible.shape[0]
    log_weight = device.array(np.zeros(chains), np.float64)
    betas = device.array(betas, np.float64)
    if chains:
        conditions = _conditions(device, clamp, groups)
        numbers = [sweeps, first_sweep, *_signed(key_words(key)), betas.shape[0], int(finish)]
        _launch(device, "anneal", rbm, chains, numbers, conditions, betas, [visible, log_weight])
    return visible, log_weight


class _RBM(NamedTuple):
    """Parameters in the form that the kernels take."""

    num_visible: int
    num_hidden: int
    arrays: tuple[Any, Any, Any]  #: weights to visible units, weights to hidden units, biases

    @property
    def shape(self) -> tuple[int, int]:
        """Number of units of each layer."""
        return self.num_visible, self.num_hidden


def _pack(device: Device, weight: Any, visible_bias: Any, hidden_bias: Any, base: Any) -> _RBM:
    num_visible, num_hidden = weight.shape
    shapes = (
        (num_hidden, padded(num_visible)),
        (num_visible, padded(num_hidden)),
        (padded(num_hidden) + 2 * padded(num_visible),),
    )
    arrays = tuple(device.empty(shape, np.float32) for shape in shapes)
    given = [device.array(array, np.float32) for array in (weight, visible_bias, hidden_bias)]
    given.append(device.array(np.zeros(1) if base is None else base, np.float32))
    numbers = [num_visible, num_hidden, int(base is not None)]
    device.launch("pack", [*numbers, *given, *arrays], _BLOCKS, _THREADS, 0)
    return _RBM(num_visible, num_hidden, arrays)  # type: ignore[arg-type]


class _Conditions(NamedTuple):
    """Softmax groups and a clamp, as the numbers and arrays of a launch."""

    numbers: list[int]
    groups: Any
    clamp: list[Any]


def _conditions(device: Device, clamp: Clamp | None, groups: Sequence[tuple[int, int]]) -> _Conditions:
    # MXNet has no empty array: without groups, the pair (0, 0) is passed.
    pairs = device.array(np.reshape(groups if len(groups) else (0, 0), (-1, 2)), np.int32)
    if clamp is None:
        nothing = [device.array(np.zeros(1), np.uint8), device.array(np.zeros(1), np.float32)]
        return _Conditions([len(groups), -1], pairs, nothing)
    mask, values = (np.asarray(device.to_host(array)) for array in clamp)
    mask, values = broadcast_clamp(mask, values)
    held = [device.array(mask, np.uint8), device.array(values, np.float32)]
    return _Conditions([len(groups), int(mask.ndim == 2)], pairs, held)


def _launch(
    device: Device,
    kernel: str,
    rbm: _RBM,
    chains: int,
    numbers: list[int],
    conditions: _Conditions,
    betas: Any,
    results: list[Any],
) -> None:
    """Start a kernel with a thread block for each chain."""
    threads = geometry(rbm.num_visible, rbm.num_hidden)
    memory = shared_bytes(rbm.num_visible, rbm.num_hidden, threads, conditions.numbers[0] > 0)
    if memory > SHARED_BYTES:
        raise InputError(
            "the CUDA engine cannot hold %d visible and %d hidden units in %d bytes of shared memory; choose --engine"
            " mxnet or auto" % (rbm.num_visible, rbm.num_hidden, SHARED_BYTES)
        )
    arrays = [*rbm.arrays, conditions.groups, betas, *conditions.clamp, *results]
    device.launch(kernel, [*rbm.shape, *numbers, *conditions.numbers, *arrays], chains, threads, memory)


def _signed(words: Any) -> list[int]:
    """Return words of 32 bits as C's int."""
    return np.asarray(words, np.uint32).view(np.int32).tolist()
