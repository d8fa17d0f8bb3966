"""The optimizers of MXNet's that a run asks for by name."""

from __future__ import annotations

from typing import Any

from gluon_rbm.backend.arrays import host_view, writable_view
from gluon_rbm.backend.framework import mx
from gluon_rbm.backend.native import learning as native_learning
from gluon_rbm.backend.types import NDArray
from gluon_rbm.models.energy import native_serves
from gluon_rbm.training.optimization import has_momentum

__all__ = ["NativeSGD", "make_optimizer"]


class NativeSGD(mx.optimizer.SGD):
    """MXNet's SGD, whose step the native engine makes where it can: in a tenth of the time."""

    def update(self, index: int, weight: NDArray, grad: NDArray, state: NDArray | None) -> None:
        """Step along a gradient: as `mx.optimizer.SGD.update`, of one array."""
        arrays = (weight, grad) if state is None else (weight, grad, state)
        if self.clip_gradient or weight.stype != "default" or not native_serves(*arrays):
            super().update(index, weight, grad, state)
            return
        self._update_count(index)
        native_learning.descend(
            writable_view(weight),
            host_view(grad),
            None if state is None else writable_view(state),
            rate=self._get_lr(index),
            momentum=self.momentum,
            weight_decay=self._get_wd(index),
            rescale=self.rescale_grad,
        )

    update_multi_precision = update  # of float32 that is the same


def make_optimizer(args: Any, **settings: Any) -> Any:
    """The `mx.optimizer.Optimizer` of a run.

    The gradient is a mean over the batch already, and both APIs divide it by the batch size once more: the documented
    rate 0.1 is an effective 0.1 / 80. MXNet adds `wd` after that division, so lambda is divided here; `settings`, which
    come first, may say otherwise.
    """
    kind = NativeSGD if args.optimizer == "sgd" else mx.optimizer.Optimizer.opt_registry[args.optimizer]
    if has_momentum(args.optimizer):
        settings["momentum"] = args.momentum
    settings = {"learning_rate": args.learning_rate, "wd": args.weight_decay / args.batch_size, **settings}
    optimizer = kind(**settings)
    optimizer.aggregate_num = 0  # three arrays in one operator take twice as long as one by one
    return optimizer
