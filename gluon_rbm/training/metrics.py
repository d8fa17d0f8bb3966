"""What MXNet's own training loops can watch: `mx.metric.EvalMetric`s of free energy and pseudo-log-likelihood.

An `EvalMetric` sees labels and outputs, and neither holds the images or the parameters. So the operator
`BinaryRBMScores` puts the scores of each image among the outputs, and the metrics are means of them:

    module = mx.mod.Module(metrics.with_scores(binary_rbm_symbol(...)), label_names=["images"], context=[...])
    module.fit(
        mx.io.NDArrayIter(images, images, batch_size=80, shuffle=True, label_name="images"),
        eval_metric=["free_energy", "pseudo_log_likelihood"],
        optimizer_params={"learning_rate": 0.1, "rescale_grad": 1 / (number_of_devices * 80)},
        num_epoch=130,
    )

    metric = mx.metric.create(["free_energy", "pseudo_log_likelihood"])
    metric.update_dict({}, metrics.scores(rbm.rbm_parameters, batch))    # with Gluon

(`fit` wants labels: what is scored is given as such.) Every device has chains of its own; of several, MXNet adds the
mean gradients, hence that divisor. At the end of an epoch `fit` gives all devices the mean of their chains; entries in
which they differ are then drawn anew, by fair coins.

(The free energy of the data alone says nothing: it falls when all free energies do. Its gap to that of held-out images
tells of overfitting.)
"""

from __future__ import annotations

from typing import Any, Sequence

import numpy as np

from gluon_rbm.backend.arrays import as_operand, assign, from_host
from gluon_rbm.backend.framework import mx
from gluon_rbm.backend.random import draw_key, make_generator
from gluon_rbm.backend.types import NDArray
from gluon_rbm.models import energy
from gluon_rbm.models.energy import Parameters

__all__ = [
    "BinaryRBMScores",
    "BinaryRBMScoresProp",
    "FreeEnergy",
    "PseudoLogLikelihood",
    "scores",
    "with_scores",
]

_NAMES = ("free_energy", "pseudo_log_likelihood")


class BinaryRBMScores(mx.operator.CustomOp):
    """Made by `BinaryRBMScoresProp`."""

    def forward(self, is_train: bool, req: Any, in_data: Any, out_data: Any, aux: Any) -> None:
        visible, parameters = in_data[0], Parameters(*in_data[1:4])
        assign(out_data[0], req[0], as_operand(energy.free_energy(parameters, visible)))
        assign(out_data[1], req[1], as_operand(_pseudo_log_likelihood(parameters, visible, in_data[4])))

    def backward(self, req: Any, out_grad: Any, in_data: Any, out_data: Any, in_grad: Any, aux: Any) -> None:
        for target, how in zip(in_grad, req):
            assign(target, how, 0)


def _pseudo_log_likelihood(parameters: Parameters, visible: NDArray, key: NDArray) -> NDArray:
    values = visible.asnumpy()
    generator = make_generator(key.asnumpy())
    units = generator.integers(values.shape[1], size=len(values))
    result = energy.pseudo_log_likelihood(parameters, visible, units).asnumpy()
    result[((values != 0) & (values != 1)).any(axis=1)] = np.nan
    return from_host(result.astype(values.dtype), visible.context)


@mx.operator.register("BinaryRBMScores")
class BinaryRBMScoresProp(mx.operator.CustomOpProp):
    """Operator `BinaryRBMScores`: scores of images. It has no gradient.

    Inputs: `data` (batch, num_visible), the parameters as in `binary_rbm.BinaryRBMProp`, and `key`, int32 (4,), which
    says whose unit's term is taken in each row.

    Outputs, (batch,), nats per image: `free_energy` F(v); `pseudo_log_likelihood`, an unbiased estimate of
    sum_i log p(v_i | all other v) from one unit (`energy.pseudo_log_likelihood`), NaN where pixels are not 0 or 1.
    """

    def __init__(self) -> None:
        super().__init__(need_top_grad=False)

    def list_arguments(self) -> list[str]:
        return ["data", *Parameters._fields, "key"]

    def list_outputs(self) -> list[str]:
        return list(_NAMES)

    def infer_shape(self, in_shape: Any) -> Any:
        batch, num_visible = in_shape[0]
        num_hidden = in_shape[2][0] if in_shape[2] else in_shape[3][1]
        inputs = [in_shape[0], (num_visible,), (num_hidden,), (num_visible, num_hidden), (4,)]
        return inputs, [(batch,)] * 2, []

    def infer_type(self, in_type: Any) -> Any:
        return [in_type[0]] * 4 + [np.int32], [in_type[0]] * 2, []

    def create_operator(self, ctx: Any, in_shapes: Any, in_dtypes: Any) -> BinaryRBMScores:
        return BinaryRBMScores()


def scores(parameters: Parameters, visible: NDArray) -> dict[str, NDArray]:
    """Scores of images, NDArray (batch, num_visible), as the metrics take them: name -> NDArray (batch,)."""
    arrays = mx.nd.Custom(visible, *parameters, draw_key(visible.context), op_type="BinaryRBMScores")
    return {name + "_output": array for name, array in zip(_NAMES, arrays)}


def with_scores(symbol: Any) -> Any:
    """A symbol of `binary_rbm.binary_rbm_symbol` with a label, `images`, and their scores as two more outputs."""
    inputs = symbol.get_internals()
    inputs = [inputs[name] for name in Parameters._fields]
    arrays = mx.sym.Custom(mx.sym.var("images"), *inputs, draw_key(F=mx.sym), op_type="BinaryRBMScores", name="scores")
    return mx.sym.Group([symbol, *(mx.sym.BlockGrad(array, name=name) for name, array in zip(_NAMES, arrays))])


class _MeanOfScores(mx.metric.EvalMetric):
    def __init__(self, name: str, output_names: list[str] | None = None, label_names: list[str] | None = None) -> None:
        super().__init__(name, output_names or [name + "_output"], label_names or [], has_global_stats=True)

    def update(self, labels: Any, preds: Sequence[NDArray]) -> None:
        """preds : list of NDArray (batch,), scores of one batch or of several; labels are not looked at"""
        for array in preds:
            total = float(array.asnumpy().sum(dtype="float64"))
            self.sum_metric += total
            self.global_sum_metric += total
            self.num_inst += array.size
            self.global_num_inst += array.size


@mx.metric.register
@mx.metric.alias("free_energy")
class FreeEnergy(_MeanOfScores):
    """Mean of F(v) over the images since the last reset, in nats per image."""

    def __init__(self, name: str = "free_energy", **kwargs: Any) -> None:
        super().__init__(name, **kwargs)


@mx.metric.register
@mx.metric.alias("pseudo_log_likelihood")
class PseudoLogLikelihood(_MeanOfScores):
    """Mean pseudo-log-likelihood of the images since the last reset, in nats per image: each image's from one unit."""

    def __init__(self, name: str = "pseudo_log_likelihood", **kwargs: Any) -> None:
        super().__init__(name, **kwargs)
