"""Random numbers that follow from keys: NumPy's generators, and noise for MXNet's arrays.

A key is a sequence of non-negative integers. The same key gives the same noise, on every device, in every thread.
(MXNet's own generators belong to threads, and start alike in each of them.)
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
    """NumPy's generator (SFC64) of what is drawn on the host; `Noise` is for chains.

    Parameters
    ----------
    key
        Non-negative integers of any size, which fix all that is drawn.
    """
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence([int(word) for word in key])))


def draw_evenly(weights: HostArray, count: int, generator: np.random.Generator) -> HostArray:
    """`count` indices, in order: index i comes round(count w_i / sum w) times or so, and no luck is added.

    weights : (n,), at least 0. (Systematic resampling; Kitagawa, Journal of Computational and Graphical Statistics 5,
    1996.)
    """
    wanted = (np.arange(count) + generator.random()) / count * weights.sum()
    return np.minimum(np.searchsorted(np.cumsum(weights), wanted, side="right"), len(weights) - 1)


def seed_mxnet(*key: int) -> None:
    """Seed MXNet's generators with a sequence of non-negative integers: the one place of a run that does."""
    mx.random.seed(int(np.random.SeedSequence(key).generate_state(1)[0] >> 1))


class Noise:
    """Random numbers that follow from a key, in the shape and on the device of an array.

    Parameters
    ----------
    key
        Non-negative integers of any size.
    """

    def __init__(self, key: Key) -> None:
        # Drawn on the host: SFC64 is three times faster than MXNet's CPU generator, and CPU and GPU get the same noise.
        self.key = key

    @functools.cached_property
    def _generator(self) -> np.random.Generator:  # made when it is needed: that takes 15 us
        return make_generator(self.key)

    def bernoulli(self, prob_1: NDArray) -> NDArray:
        """A sample in {0, 1} of each probability, in its shape, dtype and device."""
        uniform = self.uniform_like(prob_1)
        return mx.nd.lesser(uniform, prob_1.astype(uniform.dtype, copy=False)).astype(prob_1.dtype, copy=False)

    def uniform_like(self, array: NDArray) -> NDArray:
        """Numbers in [0, 1), in the shape and on the device of an NDArray; float64 as that, else float32."""
        return self._drawn_like(array, self._generator.random)

    def normal_like(self, array: NDArray) -> NDArray:
        """Standard normal numbers; the rest as in `uniform_like`."""
        return self._drawn_like(array, self._generator.standard_normal)

    @staticmethod
    def _drawn_like(array: NDArray, draw: Callable[..., HostArray]) -> NDArray:
        # float16 noise would round up to 1 and make certain units fail; float32 noise is compared with it exactly.
        dtype = np.float64 if array.dtype == np.float64 else np.float32
        drawn = mx.nd.empty(array.shape, dtype=dtype)
        draw(dtype=dtype, out=host_view(drawn))
        return drawn.as_in_context(array.context)

    def one_hot(self, prob_1: NDArray) -> NDArray:
        """Rows in {0, 1} with a single 1 each, in column k with probability prob_1[row, k]: in the shape of prob_1."""
        # In float64, and against the sum that there is: else rounding might choose a unit of probability 0.
        cumulative = mx.nd.cumsum(prob_1.astype("float64"), axis=1)
        uniform = from_host(self._generator.random((len(prob_1), 1)), prob_1.context)
        total = cumulative.slice_axis(axis=1, begin=-1, end=None)
        index = mx.nd.broadcast_lesser_equal(cumulative, uniform * total).sum(axis=1)
        return mx.nd.one_hot(index, prob_1.shape[1], dtype=prob_1.dtype)


def draw_key(context: Any = None, F: Any = None) -> Any:
    """Four random words, int32 (4,), from MXNet's generator of the calling thread: `mx.random.seed` rules them.

    F is mx.nd, by default, or mx.sym: then they are drawn in the graph, anew in every execution.
    """
    place = {} if F is mx.sym else {"ctx": context or mx.cpu()}
    return (F or mx.nd).random.randint(0, 2**31 - 1, shape=(4,), dtype="int32", **place)


class KeyedOperators:
    """`mx.nd`, but what is drawn follows from a key.

    It is the F of `gluon_rbm.models.units` where MXNet's generators are not to be seeded.
    """

    def __init__(self, key: Key) -> None:
        self.random = Noise(key)

    def __getattr__(self, name: str) -> Any:
        return getattr(mx.nd, name)


# MXNet runs a CustomOp on threads of its own, whose generators ignore mx.random.seed. So the noise of a call follows
# from a key: four words drawn in the graph (input `key`), or, for a graph without that input, words drawn when the
# operator is created together with a count of its calls; and in both cases from the thread that made the call, because
# the generators of any two threads start alike.

_caller = threading.local()
_caller_numbers = itertools.count(1)


def caller_number() -> int:
    """0 in the main thread, in every other thread a number of its own."""
    if threading.current_thread() is threading.main_thread():
        return 0
    if not hasattr(_caller, "number"):
        _caller.number = next(_caller_numbers)
    return _caller.number
