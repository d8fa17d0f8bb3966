"""A joint RBM of pixels and a label: it classifies, and draws a chosen class.

The label is one more group of visible units, the last `num_classes` of them, of which exactly one is on: a softmax
group. So the parameters are the ordinary three, with num_visible = num_pixels + num_classes; divided into

    a = (c, d),   W = (W over pixels, U over label units; U_y is the row of class y),   v = (x, one-hot y)

the free energy of an image x with label y, and with it the exact posterior of the classes, are

    F(x, y) = -c.x - d_y - sum_j softplus(o_yj),     o_yj = b_j + U_yj + (x W)_j
    p(y | x) = exp(-F(x, y)) / sum_y' exp(-F(x, y'))

in which c.x cancels, and x W is the same for all classes: one product serves them all.

Training minimises one of three objectives, each a mean over images (Larochelle & Bengio, "Classification using
discriminative restricted Boltzmann machines", ICML 2008):

    generative -log p(x, y)        discriminative -log p(y | x)        hybrid -log p(y | x) - alpha log p(x, y)

The generative gradient comes from chains, as that of any RBM. The discriminative one is exact:

    d(-log p(y | x)) / dtheta = sum_y' (p(y' | x) - 1[y' = y]) (dd_y'/dtheta + sum_j sigmoid(o_y'j) do_y'j/dtheta).

Images are NDArrays (batch, num_pixels) in [0, 1], labels whole numbers from 0 to num_classes - 1.
"""

from __future__ import annotations

from typing import Any, Iterable, NamedTuple, Sequence

import numpy as np

from gluon_rbm.backend.arrays import as_operand, host_view, restore_kind, to_numpy
from gluon_rbm.backend.framework import mx
from gluon_rbm.backend.native import classes as native_classes
from gluon_rbm.backend.native import learning as native_learning
from gluon_rbm.backend.types import Array, Clamp, HostArray, NDArray, SoftmaxGroups
from gluon_rbm.errors import InputError
from gluon_rbm.models.energy import Parameters, native_parameters, native_serves, softplus, visible_operand

__all__ = [
    "OBJECTIVES",
    "Classification",
    "checked_classes",
    "class_log_posterior",
    "classify",
    "discriminative_gradients",
    "clamped",
    "evaluate",
    "free_energies",
    "hidden_probability",
    "joint_visible",
    "softmax_groups",
]

OBJECTIVES = ("generative", "discriminative", "hybrid")


def softmax_groups(num_visible: int, num_classes: int) -> SoftmaxGroups:
    """Where the label is among the visible units, as `gibbs.run_chains` takes it: one group; none without a label."""
    return [(num_visible - num_classes, num_visible)] if num_classes else []


def joint_visible(images: NDArray, labels: Any, num_classes: int) -> NDArray:
    """The visible layer of images with their labels: NDArray (batch, num_pixels + num_classes), in the images' dtype.

    images : NDArray (batch, num_pixels). labels : whole numbers (batch,). Raises InputError for a class that does not
    exist, and where labels and images are not as many.
    """
    labels = checked_classes(labels, num_classes)
    if len(labels) != len(images):
        raise InputError("%d images have %d labels; give each image one" % (len(images), len(labels)))
    labels = mx.nd.array(labels, ctx=images.context, dtype="int32")
    return mx.nd.concat(images, mx.nd.one_hot(labels, num_classes, dtype=np.dtype(images.dtype).name), dim=1)


def clamped(images: NDArray, labels: Any, num_classes: int) -> tuple[NDArray, Clamp]:
    """`joint_visible`, and the clamp, as `gibbs.run_chains` takes it, that holds the labels."""
    visible = joint_visible(images, labels, num_classes)
    return visible, (mx.nd.arange(visible.shape[1], ctx=visible.context) >= images.shape[1], visible)


def checked_classes(classes: int | Sequence[int] | Array, num_classes: int) -> HostArray:
    """Classes as NumPy int32 (n,).

    Raises InputError where one does not exist, and where there are no classes at all.
    """
    if not num_classes:
        raise InputError("the model has no labels; train one with --labels")
    values = np.atleast_1d(to_numpy(classes))
    wrong = values[~np.isin(values, np.arange(num_classes))]
    if wrong.size:
        raise InputError("there is no class %s; the model's classes are 0 to %d" % (wrong[0], num_classes - 1))
    return values.astype(np.int32)


# --- The posterior of the classes -------------------------------------------------------------------------------------


def class_log_posterior(parameters: Parameters, images: Array, num_classes: int) -> Array:
    """log p(y | x) of every class: float64 (batch, num_classes), in nats. Raises InputError for images of another size.

    Images may be grey, as in training.
    """
    if not 0 < num_classes < parameters.num_visible:
        raise InputError("the model has no labels; train one with --labels")
    if images.ndim == 2 and images.shape[1] != parameters.num_visible - num_classes:
        raise InputError(
            "images have %d pixels, the model %d and %d classes; use the data set that it was trained on"
            % (images.shape[1], parameters.num_visible - num_classes, num_classes)
        )
    hidden_input = _hidden_input(parameters, _pixels(parameters, images, num_classes), num_classes)
    return restore_kind(_log_softmax(_class_scores(parameters, hidden_input, num_classes)), images)


def hidden_probability(parameters: Parameters, images: Array, num_classes: int) -> Array:
    """p(h_j = 1 | x) = sum_y p(y | x) sigmoid(o_yj), where no label is given: (batch, num_hidden)."""
    hidden_input = _hidden_input(parameters, _pixels(parameters, images, num_classes), num_classes)
    posterior = np.exp(_log_softmax(_class_scores(parameters, hidden_input, num_classes)))
    return restore_kind(_class_means(parameters, hidden_input, posterior)[0], images)


def free_energies(parameters: Parameters, images: Array, num_classes: int) -> Array:
    """F(x, y) of every class: float64 (batch, num_classes), in nats; log p(x, y) = -F(x, y) - log Z."""
    pixels = _pixels(parameters, images, num_classes)
    bias = as_operand(parameters.visible_layer_bias)[:-num_classes]
    scores = _class_scores(parameters, _hidden_input(parameters, pixels, num_classes), num_classes)
    return restore_kind(-(scores + (pixels.astype("float64") @ bias.astype("float64"))[:, None]), images)


def classify(parameters: Parameters, images: Array, num_classes: int) -> Array:
    """The most probable class of each image: int32 (batch,). Raises InputError as `class_log_posterior`."""
    return class_log_posterior(parameters, images, num_classes).argmax(axis=1).astype("int32")


def _pixels(parameters: Parameters, images: Array, num_classes: int) -> Any:
    return visible_operand(images, parameters.num_visible - num_classes, parameters.interaction_weight.dtype)


def _hidden_input(parameters: Parameters, pixels: Any, num_classes: int) -> Any:
    """b + x W of the pixels alone, an `operand` (batch, num_hidden)."""
    of_pixels = Parameters(*map(as_operand, parameters))
    visible_bias, hidden_bias, weight = of_pixels
    of_pixels = Parameters(visible_bias[:-num_classes], hidden_bias, weight[:-num_classes])
    if native_serves(weight, pixels):
        return native_learning.hidden_input(**native_parameters(of_pixels), visible=pixels)
    return pixels @ of_pixels.interaction_weight + hidden_bias


def _class_scores(parameters: Parameters, hidden_input: Any, num_classes: int) -> Any:
    """-F(x, y) - c.x of every class, an `operand`, float64 (batch, num_classes)."""
    weight = as_operand(parameters.interaction_weight)[-num_classes:]
    bias = as_operand(parameters.visible_layer_bias)[-num_classes:].astype("float64")
    if native_serves(weight, hidden_input):
        return native_classes.class_sums(hidden_input, weight) + bias
    # Class by class: what is between stays in a cache.
    return np.stack([softplus(hidden_input + row).sum(axis=1, dtype="float64") for row in weight], axis=1) + bias


def _class_means(parameters: Parameters, hidden_input: Any, slope: Any) -> tuple[Any, Any]:
    """slope_y sigmoid(o_yj) of every row summed over classes, (batch, num_hidden), and over rows: `operand`s.

    slope : (batch, num_classes)
    """
    weight = as_operand(parameters.interaction_weight)[-slope.shape[1] :]
    slope = slope.astype(hidden_input.dtype)
    if native_serves(weight, hidden_input):
        return native_classes.class_means(hidden_input, weight, slope)
    hidden, of_labels = np.zeros_like(hidden_input), []
    for row, column in zip(weight, slope.T):
        o = hidden_input + row
        part = column[:, None] * np.exp(o - softplus(o))  # the sigmoid of o
        hidden += part
        of_labels.append(part.sum(axis=0))
    return hidden, np.stack(of_labels)


def _log_softmax(scores: Any) -> Any:
    shifted = scores - scores.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


class Classification(NamedTuple):
    """How well images are classified; standard errors are over the images."""

    error: float  #: fraction of the images whose most probable class is not theirs
    standard_error: float
    log_posterior: float  #: mean of log p(y | x), nats per image
    num_images: int

    @classmethod
    def of(cls, log_posteriors: HostArray, labels: HostArray) -> Classification:
        """Of the log-posteriors of all classes, NumPy (n, num_classes), and the true ones, whole numbers (n,)."""
        error, count = float((log_posteriors.argmax(axis=1) != labels).mean()), len(labels)
        standard_error = float(np.sqrt(error * (1 - error) / count))
        return cls(error, standard_error, float(log_posteriors[np.arange(count), labels].mean()), count)


def evaluate(parameters: Parameters, batches: Iterable[HostArray], num_classes: int) -> Classification:
    """The `Classification` of labelled images.

    batches : iterable of visible layers with their labels, arrays (rows, num_pixels + num_classes)

    Raises InputError for images of another size, and where there is none.
    """
    labels, log_posteriors = [], []
    bias = parameters.visible_layer_bias
    for batch in batches:
        images = mx.nd.array(batch[:, :-num_classes], ctx=bias.context, dtype=bias.dtype)
        labels.append(np.argmax(batch[:, -num_classes:], axis=1))
        log_posteriors.append(class_log_posterior(parameters, images, num_classes).asnumpy())
    if not labels:
        raise InputError("there is no image to classify")
    return Classification.of(np.concatenate(log_posteriors), np.concatenate(labels))


# --- Gradient ---------------------------------------------------------------------------------------------------------


def discriminative_gradients(parameters: Parameters, visible: Array, num_classes: int) -> tuple[Any, Any, Any]:
    """Gradients of the mean of -log p(y | x) with respect to a, b and W: `operand`s. Those of the pixels' biases are 0.

    parameters : energy.Parameters. visible : NDArray (batch, num_visible), images with their labels.
    """
    rows = as_operand(visible)
    pixels, label = rows[:, :-num_classes], rows[:, -num_classes:]
    hidden_input = _hidden_input(parameters, pixels, num_classes)
    posterior = np.exp(_log_softmax(_class_scores(parameters, hidden_input, num_classes)))
    slope = ((posterior - label) / len(rows)).astype(rows.dtype)  # d loss / d score of each class
    hidden_slope, label_weight = _class_means(parameters, hidden_input, slope)
    visible_bias = np.concatenate([np.zeros_like(rows[0, :-num_classes]), slope.sum(axis=0)])
    weight = np.concatenate([_product(parameters, pixels, hidden_slope), label_weight])
    return visible_bias, hidden_slope.sum(axis=0), weight


def _product(parameters: Parameters, pixels: Any, hidden: Any) -> Any:
    """x^T hidden, (num_pixels, num_hidden): in the native engine a gradient without chains."""
    if not native_serves(pixels, hidden):
        return pixels.T @ hidden
    weight = host_view(parameters.interaction_weight)[: pixels.shape[1]]
    product = np.empty_like(weight)
    nothing = np.zeros((1, len(weight)), np.float32), np.zeros((1, hidden.shape[1]), np.float32)
    targets, how, rows = (product,) * 3, ("null", "null", "write"), (pixels, hidden)
    native_learning.store_gradient(targets, how, rows, nothing, weight=weight, factor=len(pixels))
    return product
