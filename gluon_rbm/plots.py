"""Pictures: the only module that imports Matplotlib. Every function returns a `Figure`."""

import os

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

__all__ = ["filters", "learning_curve", "save", "show", "showcase"]


def _grid(images, rows, columns, image_shape):
    """Images side by side with a gap of one pixel: float (height, width[, 3]) in [0, 1]; missing ones are grey."""
    height, width = image_shape[:2]
    canvas = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1) + tuple(image_shape[2:]), 0.5)
    for index, image in enumerate(images[: rows * columns]):
        top, left = index // columns * (height + 1), index % columns * (width + 1)
        canvas[top : top + height, left : left + width] = np.reshape(image, image_shape)
    return canvas


def _draw_grid(axes, images, rows, columns, image_shape, title):
    axes.imshow(_grid(images, rows, columns, image_shape), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_title(title)
    axes.set_axis_off()


def showcase(originals, samples, image_shape, sweeps, side=15):
    """Training images on the left, the machine's own on the right.

    originals, samples : (side * side, num_visible) in [0, 1]; samples are shown as probabilities.
    """
    figure = Figure(figsize=(12, 6.3), layout="constrained")
    left, right = figure.subplots(1, 2)
    _draw_grid(left, originals, side, side, image_shape, "training images")
    _draw_grid(right, samples, side, side, image_shape, "samples after %d Gibbs sweeps" % sweeps)
    return figure


def filters(interaction_weight, image_shape, side=10):
    """The weights of up to side * side hidden units as images; one scale for all, grey is zero.

    interaction_weight : (num_visible, num_hidden). The strongest units (norm of the weights) come first.
    """
    order = np.argsort(-np.linalg.norm(interaction_weight, axis=0), kind="stable")[: side * side]
    columns = min(side, len(order))
    rows = -(-len(order) // columns)
    limit = np.abs(interaction_weight[:, order]).max() or 1.0
    figure = Figure(figsize=(6.3, 6.3 * rows / columns + 0.4), layout="constrained")
    _draw_grid(
        figure.subplots(),
        0.5 + interaction_weight[:, order].T / (2 * limit),
        rows,
        columns,
        image_shape,
        "weights of %d of %d hidden units (black %.2g, white %+.2g)"
        % (len(order), interaction_weight.shape[1], -limit, limit),
    )
    return figure


def learning_curve(metrics, column, meaning):
    """A score of training and test images, and of held-out ones where there are such, by epoch.

    metrics : rows with epoch, and train_<column> and so on (rows without are passed over).
    meaning : what the values are, for the axis.
    """
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for name, style in (("train", "o-"), ("held_out", "d--"), ("test", "s--")):
        rows = [row for row in metrics if "%s_%s" % (name, column) in row]
        if not rows:
            continue
        axes.plot(
            [row["epoch"] for row in rows],
            [row["%s_%s" % (name, column)] for row in rows],
            style,
            markersize=3,
            label=name.replace("_", "-"),
        )
    axes.set_title("learning curve")
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel(meaning)
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def save(figure, path):
    """Write the figure as PNG."""
    figure.savefig(path, format="png", dpi=120)


def show(path, title):
    """Show a saved picture in a window, where there is a display."""
    if os.name == "posix" and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or os.uname().sysname == "Darwin"
    ):
        return
    import matplotlib.pyplot as pyplot  # here, because it chooses a backend

    if pyplot.get_backend().lower() in ("agg", "pdf", "svg", "ps", "cairo", "template"):
        return
    pyplot.figure(num=title, figsize=(12, 6.3))
    pyplot.imshow(pyplot.imread(path))
    pyplot.axis("off")
    pyplot.show()
