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

from gluon_rbm.backend.arrays import as_operand, restore_kind, to_numpy
from gluon_rbm.backend.framework import mx
from gluon_rbm.backend.types import Array, Clamp, HostArray, NDArray, SoftmaxGroup
from gluon_rbm.errors import InputError
from gluon_rbm.models.energy import Parameters, softplus, visible_operand

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
    "softmax_group",
]

OBJECTIVES = ("generative", "discriminative", "hybrid")


def softmax_group(num_visible: int, num_classes: int) -> SoftmaxGroup | None:
    """Where the label is among the visible units: (start, stop), as `gibbs.run_chains` takes it, or None: no label."""
    return (num_visible - num_classes, num_visible) if num_classes else None


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
    scores, _ = _class_scores(parameters, _pixels(parameters, images, num_classes), num_classes)
    return restore_kind(_log_softmax(scores), images)


def hidden_probability(parameters: Parameters, images: Array, num_classes: int) -> Array:
    """p(h_j = 1 | x) = sum_y p(y | x) sigmoid(o_yj), where no label is given: (batch, num_hidden)."""
    scores, hidden = _class_scores(parameters, _pixels(parameters, images, num_classes), num_classes, with_hidden=True)
    posterior = np.exp(_log_softmax(scores)).astype(hidden[0].dtype)
    return restore_kind(sum(posterior[:, y : y + 1] * hidden[y] for y in range(num_classes)), images)


def free_energies(parameters: Parameters, images: Array, num_classes: int) -> Array:
    """F(x, y) of every class: float64 (batch, num_classes), in nats; log p(x, y) = -F(x, y) - log Z."""
    pixels = _pixels(parameters, images, num_classes)
    bias = as_operand(parameters.visible_layer_bias)[:-num_classes]
    scores, _ = _class_scores(parameters, pixels, num_classes)
    return restore_kind(-(scores + (pixels.astype("float64") @ bias.astype("float64"))[:, None]), images)


def classify(parameters: Parameters, images: Array, num_classes: int) -> Array:
    """The most probable class of each image: int32 (batch,). Raises InputError as `class_log_posterior`."""
    return class_log_posterior(parameters, images, num_classes).argmax(axis=1).astype("int32")


def _pixels(parameters: Parameters, images: Array, num_classes: int) -> Any:
    return visible_operand(images, parameters.num_visible - num_classes, parameters.interaction_weight.dtype)


def _class_scores(
    parameters: Parameters, pixels: Any, num_classes: int, with_hidden: bool = False
) -> tuple[Any, list[Any]]:
    """-F(x, y) - c.x of every class, float64 (batch, num_classes); and, if asked for, p(h=1|x, y), class by class.

    All are `operand`s; pixels (batch, num_pixels).
    """
    visible_bias, hidden_bias, weight = map(as_operand, parameters)
    from_pixels = pixels @ weight[:-num_classes] + hidden_bias
    scores, hidden = [], []
    for label_weight in weight[-num_classes:]:  # class by class: what is between stays in a cache
        o = from_pixels + label_weight
        gain = softplus(o)
        scores.append(gain.sum(axis=1, dtype="float64"))
        if with_hidden:
            hidden.append(np.exp(o - gain))  # the sigmoid of o
    return np.stack(scores, axis=1) + visible_bias[-num_classes:].astype("float64"), hidden


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
    scores, hidden = _class_scores(parameters, pixels, num_classes, with_hidden=True)
    # d loss / d score of each class
    slope = ((np.exp(_log_softmax(scores)) - label) / len(rows)).astype(rows.dtype)
    hidden_slope: Any = sum(slope[:, y : y + 1] * hidden[y] for y in range(num_classes))
    label_weight = np.stack([slope[:, y] @ hidden[y] for y in range(num_classes)])
    visible_bias = np.concatenate([np.zeros_like(rows[0, :-num_classes]), slope.sum(axis=0)])
    return visible_bias, hidden_slope.sum(axis=0), np.concatenate([pixels.T @ hidden_slope, label_weight])
