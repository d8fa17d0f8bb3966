"""Random numbers that follow from keys: NumPy's generators, and noise for MXNet's arrays.

A key is a sequence of non-negative integers. The same key gives the same noise, on every device and
in every thread. (MXNet's own generators belong to threads, and start in the same state in each of
them.)
"""

from __future__ import annotations

import functools
import itertools
import threading
from typing import Any, Callable

import numpy as np

from gluon_rbm.backend.arrays import from_host, host_view
from gluon_rbm.backend.framework import mx
from gluon_rbm.backend.types import HostArray, Key, NDArray

__all__ = [
    "KeyedOperators",
    "Noise",
    "caller_number",
    "draw_evenly",
    "draw_key",
    "make_generator",
    "seed_mxnet",
]


def make_generator(key: Key) -> np.random.Generator:
    """Return a NumPy generator (SFC64) for what is drawn on the host.

    Use `Noise` for what is drawn in chains.

    Parameters
    ----------
    key
        Non-negative integers of any size. They determine all that is drawn.

    Returns
    -------
    np.random.Generator
        A new generator.
    """
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence([int(word) for word in key])))


def draw_evenly(weights: HostArray, count: int, generator: np.random.Generator) -> HostArray:
    """Draw indices in proportion to weights, by systematic resampling.

    Index i comes count w_i / sum(w) times, rounded down or up. One random number determines all
    indices, so there is less chance in them than in independent draws.

    Parameters
    ----------
    weights
        Weights w, (n,), at least 0.
    count
        Number of indices.
    generator
        Generator of the random number.

    Returns
    -------
    int64 (count,)
        Indices in increasing order.

    Notes
    -----
    Kitagawa, Journal of Computational and Graphical Statistics 5, 1996.
    """
    wanted = (np.arange(count) + generator.random()) / count * weights.sum()
    return np.minimum(np.searchsorted(np.cumsum(weights), wanted, side="right"), len(weights) - 1)


def seed_mxnet(*key: int) -> None:
    """Seed MXNet's own generators. A run seeds them here only.

    Parameters
    ----------
    *key
        Non-negative integers.
    """
    mx.random.seed(int(np.random.SeedSequence(key).generate_state(1)[0] >> 1))


class Noise:
    """Random numbers that follow from a key, in the shape and on the device of an array.

    Parameters
    ----------
    key
        Non-negative integers of any size.
    """

    def __init__(self, key: Key) -> None:
        # Noise is drawn on the host: SFC64 is three times faster than MXNet's CPU generator, and a
        # CPU and a GPU get the same noise.
        self.key = key

    @functools.cached_property
    def _generator(self) -> np.random.Generator:  # made only if needed, because it takes 15 us
        return make_generator(self.key)

    def bernoulli(self, prob_1: NDArray) -> NDArray:
        """Draw samples in {0, 1} with given probabilities.

        Parameters
        ----------
        prob_1
            Probabilities of a 1.

        Returns
        -------
        NDArray
            Samples, in the shape and dtype and on the device of `prob_1`.
        """
        uniform = self.uniform_like(prob_1)
        return mx.nd.lesser(uniform, prob_1.astype(uniform.dtype, copy=False)).astype(prob_1.dtype, copy=False)

    def uniform_like(self, array: NDArray) -> NDArray:
        """Draw uniform numbers in [0, 1) in the shape and on the device of an array.

        Parameters
        ----------
        array
            The array.

        Returns
        -------
        NDArray
            Numbers: float64 if the array is float64, else float32.
        """
        return self._drawn_like(array, self._generator.random)

    def normal_like(self, array: NDArray) -> NDArray:
        """Draw standard normal numbers in the shape and on the device of an array.

        Parameters
        ----------
        array
            The array.

        Returns
        -------
        NDArray
            As in `uniform_like`.
        """
        return self._drawn_like(array, self._generator.standard_normal)

    @staticmethod
    def _drawn_like(array: NDArray, draw: Callable[..., HostArray]) -> NDArray:
        # float16 noise could be rounded up to 1, so a unit with probability 1 could be off. float32
        # noise is compared exactly with probabilities in float16.
        dtype = np.float64 if array.dtype == np.float64 else np.float32
        drawn = mx.nd.empty(array.shape, dtype=dtype)
        draw(dtype=dtype, out=host_view(drawn))
        return drawn.as_in_context(array.context)

    def one_hot(self, prob_1: NDArray) -> NDArray:
        """Draw one column of each row, column k with probability prob_1[row, k].

        Parameters
        ----------
        prob_1
            Probabilities, (rows, columns).

        Returns
        -------
        NDArray
            Rows in {0, 1} with a single 1 each, in the shape and dtype and on the device of
            `prob_1`.
        """
        # Sums are in float64, and the uniform number is scaled by the actual sum. Otherwise
        # rounding could choose a unit of probability 0.
        cumulative = mx.nd.cumsum(prob_1.astype("float64"), axis=1)
        uniform = from_host(self._generator.random((len(prob_1), 1)), prob_1.context)
        total = cumulative.slice_axis(axis=1, begin=-1, end=None)
        index = mx.nd.broadcast_lesser_equal(cumulative, uniform * total).sum(axis=1)
        return mx.nd.one_hot(index, prob_1.shape[1], dtype=prob_1.dtype)


def draw_key(context: Any = None, F: Any = None) -> Any:
    """Draw a key of four random words from MXNet's generator of the calling thread.

    mx.random.seed determines the words.

    Parameters
    ----------
    context
        The device, an mx.Context; by default the CPU. Not used with mx.sym.
    F
        The module mx.nd (by default) or mx.sym. With mx.sym each execution of the graph draws new
        words.

    Returns
    -------
    NDArray or Symbol
        The words: int32 (4,), in [0, 2^31 - 1).
    """
    place = {} if F is mx.sym else {"ctx": context or mx.cpu()}
    return (F or mx.nd).random.randint(0, 2**31 - 1, shape=(4,), dtype="int32", **place)


class KeyedOperators:
    """The operators of mx.nd, with random numbers that follow from a key.

    It serves as the F of `gluon_rbm.models.units` where MXNet's generators shall not be seeded.

    Parameters
    ----------
    key
        As in `Noise`.
    """

    def __init__(self, key: Key) -> None:
        self.random = Noise(key)

    def __getattr__(self, name: str) -> Any:
        return getattr(mx.nd, name)


# MXNet runs a CustomOp in its own threads, and the generators of these threads ignore
# mx.random.seed. So the noise of a call follows from a key. The graph draws the key: four words
# (input `key`). In a graph without this input, the key has words that are drawn when the operator
# is created, and the number of the call. Both keys include the number of the calling thread,
# because the generators of all threads start in the same state.

_caller = threading.local()
_caller_numbers = itertools.count(1)


def caller_number() -> int:
    """Return a number of the calling thread.

    Returns
    -------
    int
        0 in the main thread; in every other thread a number of its own.
    """
    if threading.current_thread() is threading.main_thread():
        return 0
    if not hasattr(_caller, "number"):
        _caller.number = next(_caller_numbers)
    return _caller.number
