"""Pictures of images, filters and biases; letters as images."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Mapping, Sequence

import numpy as np

from gluon_rbm.evaluation import blank
from gluon_rbm.evaluation.plots.figures import axes_or_new, figure_of, new_figure, panels
from gluon_rbm.evaluation.tiles import canvas, strongest_filters

if TYPE_CHECKING:
    from matplotlib.animation import FuncAnimation
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from gluon_rbm.backend.types import HostArray

__all__ = ["animation", "filters", "grid", "grids", "letters", "showcase", "strip", "visible_bias"]

_MISSING = "cornflowerblue"

Shape = Sequence[int]  # (height, width) or (height, width, 3)


def _draw(axes: Any, picture: HostArray, title: str) -> Figure:
    import matplotlib

    greys = matplotlib.colormaps["gray"].with_extremes(bad=_MISSING)
    axes.imshow(picture, cmap=greys, vmin=0, vmax=1, interpolation="nearest")
    axes.set_title(title)
    axes.set_axis_off()
    return axes.figure


def grid(
    images: HostArray,
    image_shape: Shape,
    title: str,
    columns: int = 8,
    axes: Axes | None = None,
    row_labels: Sequence[str] = (),
) -> Figure:
    """Draw images in rows.

    Parameters
    ----------
    images
        Images (n, num_visible) in [0, 1].
    image_shape
        (height, width) or (height, width, 3) of an image.
    title
        Title of the picture.
    columns
        Number of images in a row.
    axes
        Axes to draw into. By default, those of a new figure.
    row_labels
        Text beside each row.

    Returns
    -------
    Figure
        The figure of the axes.
    """
    rows = -(-len(images) // columns)
    axes = axes_or_new(axes, 4.6, 4.6 * rows * image_shape[0] / (columns * image_shape[1]) + 0.3)
    _draw(axes, canvas(images, image_shape, rows, columns), title)
    if row_labels:
        axes.set_axis_on()
        axes.set_frame_on(False)
        axes.set_xticks([])
        axes.set_yticks(np.arange(rows) * (image_shape[0] + 1) + (image_shape[0] - 1) / 2, row_labels, parse_math=False)
        axes.tick_params(left=False)
    return figure_of(axes)


def grids(
    sets: Mapping[str, HostArray],
    image_shape: Shape,
    columns: int = 8,
    size: float = 4.2,
    *,
    title: str = "",
    row_labels: Sequence[str] = (),
) -> Figure:
    """Draw sets of images side by side, each as by `grid`.

    Parameters
    ----------
    sets
        Images of each grid by its title.
    image_shape, columns
        As in `grid`.
    size
        Width of each grid in inches.
    title
        Title of the whole figure.
    row_labels
        As in `grid`, for each grid.

    Returns
    -------
    Figure
        A new figure.
    """
    rows = max(-(-len(images) // columns) for images in sets.values())
    cell = size / max(columns, 8)  # a figure of few columns and many rows would be too high
    height = cell * rows * image_shape[0] / image_shape[1] + 0.3
    beside = 0.12 * max(map(len, row_labels), default=0)  # inches of the labels, so that titles keep their room
    figure, places = panels(len(sets), 1, size + beside, height + (0.4 if title else 0))
    for axes, (name, images) in zip(places, sets.items()):
        grid(images, image_shape, name, columns, axes, row_labels)
    if title:
        figure.suptitle(title, parse_math=False)
    return figure


def showcase(originals: HostArray, samples: HostArray, image_shape: Shape, sweeps: int, side: int = 15) -> Figure:
    """Draw training images on the left, and images drawn by the RBM on the right.

    Parameters
    ----------
    originals
        Training images (n, num_visible) in [0, 1].
    samples
        Pixel probabilities of drawn images, (n, num_visible).
    image_shape
        As in `grid`.
    sweeps
        Number of Gibbs sweeps, for the title.
    side
        Number of images in a row, at most.

    Returns
    -------
    Figure
        A new figure. Its title tells if half of the samples or more are blank.
    """
    title = "probabilities after %d Gibbs sweeps" % sweeps
    sets = {"training images": originals, title: samples}
    # As near to a square as possible.
    columns = min(side, math.isqrt(max(len(originals), 1) - 1) + 1)
    return grids(sets, image_shape, columns, size=6, title=blank.note(samples))


def strip(
    moments: Sequence[HostArray], image_shape: Shape, names: Sequence[Any], title: str, axes: Axes | None = None
) -> Figure:
    """Draw the course of chains: a row for each chain, a column for each moment.

    Parameters
    ----------
    moments
        Images of the chains at each moment, (num_chains, num_visible).
    image_shape
        As in `grid`.
    names
        Number of Gibbs sweeps at each moment.
    title, axes
        As in `grid`.

    Returns
    -------
    Figure
        The figure of the axes.
    """
    images = np.stack(moments, axis=1).reshape((-1, moments[0].shape[1]))
    columns, height, width = len(moments), image_shape[0] + 1, image_shape[1] + 1
    axes = axes_or_new(axes, 0.75 * columns, 0.75 * len(moments[0]) * height / width + 0.8)
    _draw(axes, canvas(images, image_shape, len(moments[0]), columns), title)
    axes.set_axis_on()
    axes.set_xticks(np.arange(columns) * width + image_shape[1] / 2, names, fontsize=8)
    axes.set_yticks([])
    axes.set_xlabel("Gibbs sweeps")
    return figure_of(axes)


def animation(
    moments: Sequence[HostArray],
    image_shape: Shape,
    names: Sequence[Any],
    title: str,
    columns: int = 8,
    frames_a_second: float = 10,
    row_labels: Sequence[str] = (),
) -> FuncAnimation:
    """Make a moving picture of chains.

    Parameters
    ----------
    moments
        Images of the chains in each frame, (num_chains, num_visible).
    image_shape
        As in `grid`.
    names
        Number of sweeps of each frame, for its title.
    title, columns
        As in `grid`.
    frames_a_second
        Frames per second.
    row_labels
        As in `grid`.

    Returns
    -------
    FuncAnimation
        An animation of Matplotlib. `save` writes it as GIF.
    """
    from matplotlib.animation import FuncAnimation

    rows = -(-len(moments[0]) // columns)
    figure = grid(moments[0], image_shape, title, columns, row_labels=row_labels)
    axes: Any = figure.axes[0]

    def show_frame(index: int) -> None:
        axes.images[0].set_data(canvas(moments[index], image_shape, rows, columns))
        axes.set_title("%s: sweep %s" % (title, names[index]))

    return FuncAnimation(figure, show_frame, frames=len(moments), interval=1000 / frames_a_second)


def filters(interaction_weight: HostArray, image_shape: Shape, side: int = 10, axes: Axes | None = None) -> Figure:
    """Draw the weights of hidden units as images. The title gives the scale.

    Parameters
    ----------
    interaction_weight
        Weights W, (num_visible, num_hidden).
    image_shape
        As in `grid`.
    side
        Number of images in a row, at most. Up to side * side units are drawn, those with the
        largest norm first, as by `tiles.strongest_filters`.
    axes
        As in `grid`.

    Returns
    -------
    Figure
        The figure of the axes.
    """
    images, limit = strongest_filters(interaction_weight, side * side)
    columns = min(side, len(images))
    rows = -(-len(images) // columns)
    height = 6.3 * rows * image_shape[0] / (columns * image_shape[1])
    title = "weights of %d of %d hidden units, the strongest first\n" % (len(images), interaction_weight.shape[1])
    title += "grey: 0, black: %.2g and below, white: %+.2g and above" % (-limit, limit)
    return _draw(axes_or_new(axes, 6.3, height + 0.6), canvas(images, image_shape, rows, columns), title)


def visible_bias(bias: HostArray, image_shape: Shape, axes: Axes | None = None) -> Figure:
    """Draw the visible biases as an image with its scale.

    Parameters
    ----------
    bias
        Visible biases, (num_visible,). In colour, their mean over the colours is drawn.
    image_shape, axes
        As in `grid`.

    Returns
    -------
    Figure
        The figure of the axes.
    """
    axes = axes_or_new(axes, 4.6, 4.2)
    image = np.reshape(bias, image_shape)
    shown = axes.imshow(image if image.ndim == 2 else image.mean(axis=2), cmap="gray", interpolation="nearest")
    axes.figure.colorbar(shown, ax=axes)
    axes.set_title("visible biases")
    axes.set_axis_off()
    return figure_of(axes)


def letters(image_shape: Shape) -> HostArray:
    """Draw the letters A to Z and a to z, white on black, in six typefaces of Matplotlib.

    As with the digits of MNIST, a letter fills a box of 5/7 of the image's size in its centre.

    Parameters
    ----------
    image_shape
        As in `grid`.

    Returns
    -------
    float32 (312, num_visible)
        Images in [0, 1].
    """
    figure = new_figure(figsize=(1, 1), dpi=100, facecolor="black")
    text = figure.text(0.5, 0.5, "", color="white", ha="center", va="center", fontsize=50)
    images = []
    for family in ("DejaVu Sans", "DejaVu Serif", "DejaVu Sans Mono"):
        for weight in ("normal", "bold"):
            text.set(fontfamily=family, fontweight=weight)
            for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz":
                text.set_text(letter)
                images.append(_boxed(_ink(figure), image_shape))
    return np.stack(images)


def _ink(figure: Figure) -> HostArray:
    """Return the drawing in a black figure, without margins: uint8 (height, width)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    agg = FigureCanvasAgg(figure)
    agg.draw()
    grey = np.asarray(agg.buffer_rgba())[..., 0]
    rows, columns = np.flatnonzero(grey.any(axis=1)), np.flatnonzero(grey.any(axis=0))
    return grey[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _boxed(ink: HostArray, image_shape: Shape) -> HostArray:
    """Place a drawing in the centre of an image, float32 (num_visible,)."""
    from PIL import Image

    # Since Pillow 9.1 the name is in Resampling.
    lanczos: Any = getattr(getattr(Image, "Resampling", Image), "LANCZOS")  # noqa: B009
    scale = 5 / 7 * min(image_shape[:2]) / max(ink.shape)
    height, width = (max(1, round(side * scale)) for side in ink.shape)
    top, left = (image_shape[0] - height) // 2, (image_shape[1] - width) // 2
    image = np.zeros(image_shape, np.float32)
    small = np.asarray(Image.fromarray(ink).resize((width, height), lanczos), np.float32) / 255
    image[top : top + height, left : left + width] = small if image.ndim == 2 else small[..., None]
    return image.reshape(-1)
