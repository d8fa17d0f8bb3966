"""A joint RBM of pixels and a label: it classifies images, and draws images of a chosen class.

The label is a softmax group of visible units: the last `num_classes`, of which exactly one is on.
The parameters are the usual three arrays, with num_visible = num_pixels + num_classes. With parts

    a = (c, d)                W = (W over pixels, U over label units; U_y is the row of class y)
    v = (x, one-hot y)

the free energy of an image x with label y, and the exact posterior of the classes, are

    F(x, y) = -c.x - d_y - sum_j softplus(o_yj),     o_yj = b_j + U_yj + (x W)_j
    p(y | x) = exp(-F(x, y)) / sum_y' exp(-F(x, y'))

In the posterior c.x cancels. The product x W is computed once, because it is the same for all
classes.

Training minimizes one of three objectives, each a mean over images (Larochelle & Bengio,
"Classification using discriminative restricted Boltzmann machines", ICML 2008):

    generative      -log p(x, y)
    discriminative  -log p(y | x)
    hybrid          -log p(y | x) - alpha log p(x, y)

The generative gradient comes from chains, as in any RBM. The discriminative gradient is exact:

    d(-log p(y | x)) / dtheta
        = sum_y' (p(y' | x) - 1[y' = y]) (dd_y'/dtheta + sum_j sigmoid(o_y'j) do_y'j/dtheta)

Images are (batch, num_pixels), values in [0, 1]. Labels are whole numbers below num_classes, from
0. Operands are as in `gluon_rbm.models.energy`.
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
from gluon_rbm.models.energy import native_parameters, native_serves, softplus, visible_operand
from gluon_rbm.models.parameters import Parameters

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
    """Return the softmax group of the label, as `gluon_rbm.sampling.gibbs.run_chains` takes it.

    Parameters
    ----------
    num_visible
        Number of visible units, with those of the label.
    num_classes
        Number of classes; 0: there is no label.

    Returns
    -------
    list
        One pair (start, stop), or none without a label.
    """
    return [(num_visible - num_classes, num_visible)] if num_classes else []


def joint_visible(images: NDArray, labels: Any, num_classes: int) -> NDArray:
    """Return the visible layers of images with their labels.

    Parameters
    ----------
    images
        NDArray (batch, num_pixels).
    labels
        Whole numbers (batch,).
    num_classes
        Number of classes.

    Returns
    -------
    NDArray (batch, num_pixels + num_classes)
        Visible layers, in the dtype of the images.

    Raises
    ------
    InputError
        There is no such class, or there are not as many labels as images.
    """
    labels = checked_classes(labels, num_classes)
    if len(labels) != len(images):
        raise InputError("there are %d images but %d labels; give one label per image" % (len(images), len(labels)))
    labels = mx.nd.array(labels, ctx=images.context, dtype="int32")
    return mx.nd.concat(images, mx.nd.one_hot(labels, num_classes, dtype=np.dtype(images.dtype).name), dim=1)


def clamped(images: NDArray, labels: Any, num_classes: int) -> tuple[NDArray, Clamp]:
    """Return the visible layers of images with their labels, and a clamp that holds the labels.

    Parameters
    ----------
    images, labels, num_classes
        As in `joint_visible`.

    Returns
    -------
    visible : NDArray (batch, num_pixels + num_classes)
        Visible layers.
    clamp : tuple
        Mask and values, as `gluon_rbm.sampling.gibbs.run_chains` takes them.

    Raises
    ------
    InputError
        As in `joint_visible`.
    """
    visible = joint_visible(images, labels, num_classes)
    return visible, (mx.nd.arange(visible.shape[1], ctx=visible.context) >= images.shape[1], visible)


def checked_classes(classes: int | Sequence[int] | Array, num_classes: int) -> HostArray:
    """Check class numbers, and return them as an array.

    Parameters
    ----------
    classes
        One class or several: an integer, a sequence or an array.
    num_classes
        Number of classes of the model.

    Returns
    -------
    int32 array (n,)
        The classes, a NumPy array.

    Raises
    ------
    InputError
        There is no such class, or the model has no labels.
    """
    if not num_classes:
        raise InputError("the model has no labels; train one with --labels")
    values = np.atleast_1d(to_numpy(classes))
    wrong = values[~np.isin(values, np.arange(num_classes))]
    if wrong.size:
        raise InputError("there is no class %s; the model's classes are 0 to %d" % (wrong[0], num_classes - 1))
    return values.astype(np.int32)


# --- The posterior of the classes -----------------------------------------------------------------


def class_log_posterior(parameters: Parameters, images: Array, num_classes: int) -> Array:
    """Return log p(y | x) of every class y.

    Parameters
    ----------
    parameters
        The joint RBM.
    images
        Images, (batch, num_pixels). They may be grey, as in training.
    num_classes
        Number of classes.

    Returns
    -------
    float64 array (batch, num_classes)
        Logarithms, in nats.

    Raises
    ------
    InputError
        Images are of another size, or the model has no labels.
    """
    if not 0 < num_classes < parameters.num_visible:
        raise InputError("the model has no labels; train one with --labels")
    if images.ndim == 2 and images.shape[1] != parameters.num_visible - num_classes:
        raise InputError(
            "images have %d pixels, but the model has %d, and %d classes; use the data set that it was trained on"
            % (images.shape[1], parameters.num_visible - num_classes, num_classes)
        )
    hidden_input = _hidden_input(parameters, _pixels(parameters, images, num_classes), num_classes)
    return restore_kind(_log_softmax(_class_scores(parameters, hidden_input, num_classes)), images)


def hidden_probability(parameters: Parameters, images: Array, num_classes: int) -> Array:
    """Return p(h_j = 1 | x) = sum_y p(y | x) sigmoid(o_yj), where the label is not known.

    Parameters
    ----------
    parameters, images, num_classes
        As in `class_log_posterior`.

    Returns
    -------
    array (batch, num_hidden)
        Probabilities.

    Raises
    ------
    InputError
        Images are of another size.
    """
    hidden_input = _hidden_input(parameters, _pixels(parameters, images, num_classes), num_classes)
    posterior = np.exp(_log_softmax(_class_scores(parameters, hidden_input, num_classes)))
    return restore_kind(_class_means(parameters, hidden_input, posterior)[0], images)


def free_energies(parameters: Parameters, images: Array, num_classes: int) -> Array:
    """Return F(x, y) of every class y; log p(x, y) = -F(x, y) - log Z.

    Parameters
    ----------
    parameters, images, num_classes
        As in `class_log_posterior`.

    Returns
    -------
    float64 array (batch, num_classes)
        Free energies in nats.

    Raises
    ------
    InputError
        Images are of another size.
    """
    pixels = _pixels(parameters, images, num_classes)
    bias = as_operand(parameters.visible_layer_bias)[:-num_classes]
    scores = _class_scores(parameters, _hidden_input(parameters, pixels, num_classes), num_classes)
    return restore_kind(-(scores + (pixels.astype("float64") @ bias.astype("float64"))[:, None]), images)


def classify(parameters: Parameters, images: Array, num_classes: int) -> Array:
    """Return the most probable class of each image.

    Parameters
    ----------
    parameters, images, num_classes
        As in `class_log_posterior`.

    Returns
    -------
    int32 array (batch,)
        Classes.

    Raises
    ------
    InputError
        As in `class_log_posterior`.
    """
    return class_log_posterior(parameters, images, num_classes).argmax(axis=1).astype("int32")


def _pixels(parameters: Parameters, images: Array, num_classes: int) -> Any:
    return visible_operand(images, parameters.num_visible - num_classes, parameters.interaction_weight.dtype)


def _hidden_input(parameters: Parameters, pixels: Any, num_classes: int) -> Any:
    """Return b + x W of the pixels alone: operand (batch, num_hidden)."""
    of_pixels = Parameters(*map(as_operand, parameters))
    visible_bias, hidden_bias, weight = of_pixels
    of_pixels = Parameters(visible_bias[:-num_classes], hidden_bias, weight[:-num_classes])
    if native_serves(weight, pixels):
        return native_learning.hidden_input(**native_parameters(of_pixels), visible=pixels)
    return pixels @ of_pixels.interaction_weight + hidden_bias


def _class_scores(parameters: Parameters, hidden_input: Any, num_classes: int) -> Any:
    """Return -F(x, y) - c.x of every class: float64 operand (batch, num_classes)."""
    weight = as_operand(parameters.interaction_weight)[-num_classes:]
    bias = as_operand(parameters.visible_layer_bias)[-num_classes:].astype("float64")
    if native_serves(weight, hidden_input):
        return native_classes.class_sums(hidden_input, weight) + bias
    # Class by class, so that intermediate results stay in the cache.
    return np.stack([softplus(hidden_input + row).sum(axis=1, dtype="float64") for row in weight], axis=1) + bias


def _class_means(parameters: Parameters, hidden_input: Any, slope: Any) -> tuple[Any, Any]:
    """Sum slope_y sigmoid(o_yj) over classes, and over rows.

    `slope` is (batch, num_classes). The sums are operands (batch, num_hidden) and
    (num_classes, num_hidden).
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
    """How well images are classified. The standard error is over the images."""

    error: float  #: fraction of the images with a wrong class
    standard_error: float  #: of `error`
    log_posterior: float  #: mean of log p(y | x), nats per image
    num_images: int

    @classmethod
    def of(cls, log_posteriors: HostArray, labels: HostArray) -> Classification:
        """Return how well images are classified.

        Parameters
        ----------
        log_posteriors
            Logarithms of p(y | x) of all classes, a NumPy array (n, num_classes).
        labels
            True classes, whole numbers (n,).

        Returns
        -------
        Classification
            The results.
        """
        error, count = float((log_posteriors.argmax(axis=1) != labels).mean()), len(labels)
        standard_error = float(np.sqrt(error * (1 - error) / count))
        return cls(error, standard_error, float(log_posteriors[np.arange(count), labels].mean()), count)


def evaluate(parameters: Parameters, batches: Iterable[HostArray], num_classes: int) -> Classification:
    """Return how well a joint RBM classifies labelled images.

    Parameters
    ----------
    parameters
        The joint RBM, of NDArrays.
    batches
        Visible layers with their labels: arrays (rows, num_pixels + num_classes).
    num_classes
        Number of classes.

    Returns
    -------
    Classification
        The results.

    Raises
    ------
    InputError
        Images are of another size, or there is none.
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


# --- Gradient -------------------------------------------------------------------------------------


def discriminative_gradients(parameters: Parameters, visible: Array, num_classes: int) -> tuple[Any, Any, Any]:
    """Return the gradients of the mean of -log p(y | x).

    Parameters
    ----------
    parameters
        The joint RBM.
    visible
        Visible layers, images with their labels: (batch, num_visible).
    num_classes
        Number of classes.

    Returns
    -------
    visible_bias : operand (num_visible,)
        Gradient with respect to a; it is 0 for the pixels.
    hidden_bias : operand (num_hidden,)
        Gradient with respect to b.
    weight : operand (num_visible, num_hidden)
        Gradient with respect to W.
    """
    rows = as_operand(visible)
    pixels, label = rows[:, :-num_classes], rows[:, -num_classes:]
    hidden_input = _hidden_input(parameters, pixels, num_classes)
    posterior = np.exp(_log_softmax(_class_scores(parameters, hidden_input, num_classes)))
    # Derivative of the loss with respect to the score of each class.
    slope = ((posterior - label) / len(rows)).astype(rows.dtype)
    hidden_slope, label_weight = _class_means(parameters, hidden_input, slope)
    visible_bias = np.concatenate([np.zeros_like(rows[0, :-num_classes]), slope.sum(axis=0)])
    weight = np.concatenate([_product(parameters, pixels, hidden_slope), label_weight])
    return visible_bias, hidden_slope.sum(axis=0), weight


def _product(parameters: Parameters, pixels: Any, hidden: Any) -> Any:
    """Return x^T hidden, (num_pixels, num_hidden).

    The native engine computes it as a gradient without chains.
    """
    if not native_serves(pixels, hidden):
        return pixels.T @ hidden
    weight = host_view(parameters.interaction_weight)[: pixels.shape[1]]
    product = np.empty_like(weight)
    nothing = np.zeros((1, len(weight)), np.float32), np.zeros((1, hidden.shape[1]), np.float32)
    targets, how, rows = (product,) * 3, ("null", "null", "write"), (pixels, hidden)
    native_learning.store_gradient(targets, how, rows, nothing, weight=weight, factor=len(pixels))
    return product
