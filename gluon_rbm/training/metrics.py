"""Free energy and pseudo-log-likelihood as mx.metric.EvalMetric, for MXNet's training loops.

An EvalMetric receives labels and outputs, but not the images or the parameters. So the operator
`BinaryRBMScores` adds the scores of each image to the outputs. The metrics are means of scores:

    module = mx.mod.Module(metrics.with_scores(binary_rbm_symbol(...)), label_names=["images"], context=[...])
    module.fit(
        mx.io.NDArrayIter(images, images, batch_size=80, shuffle=True, label_name="images"),
        eval_metric=["free_energy", "pseudo_log_likelihood"],
        optimizer_params={"learning_rate": 0.1, "rescale_grad": 1 / (number_of_devices * 80)},
        num_epoch=130,
    )

    metric = mx.metric.create(["free_energy", "pseudo_log_likelihood"])
    metric.update_dict({}, metrics.scores(rbm.rbm_parameters, batch))    # with Gluon

Module.fit needs labels, so it receives the images to score as labels. Every device has its own
chains. MXNet adds the mean gradients of the devices, so rescale_grad contains the number of
devices. At the end of an epoch, Module.fit sets the chains of all devices to their mean. Units that
differ between devices are then drawn again, with probability 1/2.

The free energy of the training images alone means little: it falls when all free energies fall. The
gap between the free energies of training and held-out images indicates overfitting.
"""

from __future__ import annotations

from typing import Any, Sequence

import numpy as np

from gluon_rbm.backend.arrays import as_operand, assign, from_host
from gluon_rbm.backend.framework import mx
from gluon_rbm.backend.random import draw_key, make_generator
from gluon_rbm.backend.types import NDArray
from gluon_rbm.models import energy
from gluon_rbm.models.parameters import Parameters

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
    """Implementation of the operator that `BinaryRBMScoresProp` describes."""

    def forward(self, is_train: bool, req: Any, in_data: Any, out_data: Any, aux: Any) -> None:
        """Compute the scores.

        Parameters
        ----------
        is_train, req, in_data, out_data, aux
            As in mx.operator.CustomOp.forward.
        """
        visible, parameters = in_data[0], Parameters(*in_data[1:4])
        assign(out_data[0], req[0], as_operand(energy.free_energy(parameters, visible)))
        assign(out_data[1], req[1], as_operand(_pseudo_log_likelihood(parameters, visible, in_data[4])))

    def backward(self, req: Any, out_grad: Any, in_data: Any, out_data: Any, in_grad: Any, aux: Any) -> None:
        """Set all gradients to 0.

        Parameters
        ----------
        req, out_grad, in_data, out_data, in_grad, aux
            As in mx.operator.CustomOp.backward.
        """
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
    """Operator BinaryRBMScores: scores of images, without a gradient.

    Inputs: data (batch, num_visible); the parameters as in `binary_rbm.BinaryRBMProp`; and key,
    int32 (4,), which fixes the unit that the pseudo-log-likelihood of each row is estimated from.

    Outputs, (batch,), in nats per image: free_energy, F(v); and pseudo_log_likelihood, an unbiased
    estimate of sum_i log p(v_i | all other v) from one unit
    (`gluon_rbm.models.energy.pseudo_log_likelihood`), or NaN if a pixel is not 0 or 1.
    """

    def __init__(self) -> None:
        super().__init__(need_top_grad=False)

    def list_arguments(self) -> list[str]:
        """Return the names of the inputs.

        Returns
        -------
        list of str
            "data", the names of the parameters, "key".
        """
        return ["data", *Parameters._fields, "key"]

    def list_outputs(self) -> list[str]:
        """Return the names of the outputs.

        Returns
        -------
        list of str
            "free_energy" and "pseudo_log_likelihood".
        """
        return list(_NAMES)

    def infer_shape(self, in_shape: Any) -> Any:
        """Return all shapes, as mx.operator.CustomOpProp.infer_shape does.

        Parameters
        ----------
        in_shape
            Known shapes of the inputs: that of data, and of hidden_layer_bias or the weight.

        Returns
        -------
        tuple
            Shapes of the inputs, of the outputs, and of the auxiliary states (none).
        """
        batch, num_visible = in_shape[0]
        num_hidden = in_shape[2][0] if in_shape[2] else in_shape[3][1]
        inputs = [in_shape[0], (num_visible,), (num_hidden,), (num_visible, num_hidden), (4,)]
        return inputs, [(batch,)] * 2, []

    def infer_type(self, in_type: Any) -> Any:
        """Return all dtypes, as mx.operator.CustomOpProp.infer_type does.

        Parameters
        ----------
        in_type
            Dtypes of the inputs. Only that of data counts.

        Returns
        -------
        tuple
            Dtypes of the inputs, of the outputs, and of the auxiliary states (none).
        """
        return [in_type[0]] * 4 + [np.int32], [in_type[0]] * 2, []

    def create_operator(self, ctx: Any, in_shapes: Any, in_dtypes: Any) -> BinaryRBMScores:
        """Make the operator.

        Parameters
        ----------
        ctx, in_shapes, in_dtypes
            As in mx.operator.CustomOpProp.create_operator; not used.

        Returns
        -------
        BinaryRBMScores
            The operator.
        """
        return BinaryRBMScores()


def scores(parameters: Parameters, visible: NDArray) -> dict[str, NDArray]:
    """Compute the scores of images, in the form that the metrics take.

    Parameters
    ----------
    parameters
        Parameters of the RBM, NDArrays.
    visible
        Images, (batch, num_visible).

    Returns
    -------
    dict
        "free_energy_output" and "pseudo_log_likelihood_output" -> NDArray (batch,), in nats per
        image.
    """
    arrays = mx.nd.Custom(visible, *parameters, draw_key(visible.context), op_type="BinaryRBMScores")
    return {name + "_output": array for name, array in zip(_NAMES, arrays)}


def with_scores(symbol: Any) -> Any:
    """Add the scores of images to the outputs of an RBM's symbol.

    Parameters
    ----------
    symbol
        Symbol that `binary_rbm.binary_rbm_symbol` returned.

    Returns
    -------
    mx.sym.Symbol
        The symbol with two more outputs, the scores. The images to score are a new input, named
        "images": give them as the label.
    """
    inputs = symbol.get_internals()
    inputs = [inputs[name] for name in Parameters._fields]
    arrays = mx.sym.Custom(mx.sym.var("images"), *inputs, draw_key(F=mx.sym), op_type="BinaryRBMScores", name="scores")
    return mx.sym.Group([symbol, *(mx.sym.BlockGrad(array, name=name) for name, array in zip(_NAMES, arrays))])


class _MeanOfScores(mx.metric.EvalMetric):
    def __init__(self, name: str, output_names: list[str] | None = None, label_names: list[str] | None = None) -> None:
        super().__init__(name, output_names or [name + "_output"], label_names or [], has_global_stats=True)

    def update(self, labels: Any, preds: Sequence[NDArray]) -> None:
        """Add scores `preds`, a list of NDArray (batch,). The labels are not used."""
        for array in preds:
            total = float(array.asnumpy().sum(dtype="float64"))
            self.sum_metric += total
            self.global_sum_metric += total
            self.num_inst += array.size
            self.global_num_inst += array.size


@mx.metric.register
@mx.metric.alias("free_energy")
class FreeEnergy(_MeanOfScores):
    """Mean of F(v) over the images since the last reset, in nats per image.

    Parameters
    ----------
    name
        Name of the metric.
    **kwargs
        Further arguments: the lists output_names and label_names, as in mx.metric.EvalMetric.
    """

    def __init__(self, name: str = "free_energy", **kwargs: Any) -> None:
        super().__init__(name, **kwargs)


@mx.metric.register
@mx.metric.alias("pseudo_log_likelihood")
class PseudoLogLikelihood(_MeanOfScores):
    """Mean pseudo-log-likelihood of the images since the last reset, in nats per image.

    The pseudo-log-likelihood of each image is an estimate from one unit.

    Parameters
    ----------
    name, **kwargs
        As in `FreeEnergy`.
    """

    def __init__(self, name: str = "pseudo_log_likelihood", **kwargs: Any) -> None:
        super().__init__(name, **kwargs)
