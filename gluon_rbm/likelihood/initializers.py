"""MXNet initializers for the `gluon_rbm.likelihood.learning.states` of chains and running means."""

from __future__ import annotations

from typing import Any

from gluon_rbm.backend.framework import mx
from gluon_rbm.backend.random import Noise, draw_key
from gluon_rbm.backend.types import NDArray
from gluon_rbm.likelihood import snapshots
from gluon_rbm.likelihood.learning import BASE, OFFSETS, SWAP_RATE
from gluon_rbm.models.files import CLASSES

__all__ = ["BinaryStates", "ClassNumbers", "initializer"]


@mx.init.register
class BinaryStates(mx.init.Initializer):
    """Set each unit to 0 or 1 with probability 1/2, the start of a persistent chain."""

    def _init_weight(self, name: str, arr: NDArray) -> None:
        noise = Noise(draw_key().asnumpy())
        arr[:] = noise.bernoulli(mx.nd.full(arr.shape, 0.5, ctx=arr.context))


@mx.init.register
class ClassNumbers(mx.init.Initializer):
    """Set values to 0, 1, 2, ..., the class that each label unit stands for."""

    def _init_weight(self, name: str, arr: NDArray) -> None:
        arr[:] = mx.nd.arange(arr.size, ctx=arr.context)


def initializer(state: str) -> Any:
    """Return the initializer of a state.

    Parameters
    ----------
    state
        Name of one of the `gluon_rbm.likelihood.learning.states`.

    Returns
    -------
    mx.init.Initializer
        Initializer that sets the start value of the state.
    """
    if state == CLASSES:
        return ClassNumbers()
    start = {**dict.fromkeys(OFFSETS, 0.5), **dict.fromkeys(snapshots.NAMES, 0.0), BASE: 0.0, SWAP_RATE: 1.0}
    return mx.init.Constant(start[state]) if state in start else BinaryStates()
