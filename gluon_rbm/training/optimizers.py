"""MXNet's optimizers, as a run names them."""

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
    """MXNet's SGD. Where the native engine can make the step, it takes a tenth of the time."""

    def update(self, index: int, weight: NDArray, grad: NDArray, state: NDArray | None) -> None:
        """Make a step for one array, as mx.optimizer.SGD.update does.

        Parameters
        ----------
        index
            Index of the parameter.
        weight, grad
            Parameter, which changes in place, and its gradient.
        state
            Momentum of the parameter, or None without momentum.
        """
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

    update_multi_precision = update  # the two are the same for float32


def make_optimizer(args: Any, **settings: Any) -> Any:
    """Make the optimizer of a run.

    The gradient is a mean over the batch already. Both APIs divide it by the batch size once more,
    so the documented rate 0.1 acts as 0.1 / 80. MXNet adds `wd` after this division. Therefore the
    default of `wd` is the weight decay divided by the batch size.

    Parameters
    ----------
    args
        Settings of the run.
    **settings
        Arguments of the optimizer. They override `learning_rate` and `wd` of `args`.

    Returns
    -------
    mx.optimizer.Optimizer
        The optimizer that `args` names; `NativeSGD` for "sgd".
    """
    kind = NativeSGD if args.optimizer == "sgd" else mx.optimizer.Optimizer.opt_registry[args.optimizer]
    if has_momentum(args.optimizer):
        settings["momentum"] = args.momentum
    settings = {"learning_rate": args.learning_rate, "wd": args.weight_decay / args.batch_size, **settings}
    optimizer = kind(**settings)
    # One operator for three arrays takes twice as long as three operators.
    optimizer.aggregate_num = 0
    return optimizer
