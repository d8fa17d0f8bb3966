"""Pictures by Matplotlib. Only this module and `logos` import it.

A function draws into the axes that it is given, or into a new figure, and returns the figure.
Images are arrays (n, num_visible) in [0, 1]. NaN stands for a missing pixel, which is drawn blue.
"""

from __future__ import annotations

import html
import io
import math
import os
import re
import tempfile
from typing import IO, TYPE_CHECKING, Any, Iterable, Mapping, Sequence

import numpy as np

from gluon_rbm.evaluation import blank
from gluon_rbm.evaluation.tiles import canvas, strongest_filters

if TYPE_CHECKING:
    from matplotlib.animation import FuncAnimation
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from gluon_rbm.backend.types import HostArray

__all__ = [
    "animation",
    "class_fractions",
    "confusion",
    "curves",
    "figure_of",
    "filters",
    "free_energy_gap",
    "grid",
    "grids",
    "hidden_activity",
    "histograms",
    "learning_curve",
    "letters",
    "panels",
    "roc_curves",
    "save",
    "show",
    "showcase",
    "strip",
    "svg",
    "traces",
    "visible_bias",
]

_MISSING = "cornflowerblue"

Shape = Sequence[int]  # (height, width) or (height, width, 3)
Metrics = Iterable[Mapping[str, Any]]  # rows of metrics.csv


def panels(columns: int, rows: int = 1, width: float = 5.2, height: float = 4.4) -> tuple[Figure, HostArray]:
    """Make an empty figure in the common style.

    Parameters
    ----------
    columns, rows
        Number of columns and rows of axes.
    width, height
        Size of each axes in inches.

    Returns
    -------
    figure : Figure
        The figure.
    axes : array (rows * columns,)
        Its axes, row by row.
    """
    figure = _new_figure(figsize=(width * columns, height * rows), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False).ravel()


def _new_figure(**settings: Any) -> Figure:
    from matplotlib.figure import Figure

    return Figure(**settings)


def _axes(axes: Axes | None, width: float = 6.4, height: float = 4.2) -> Axes:
    return panels(1, 1, width, height)[1][0] if axes is None else axes


def figure_of(axes: Any) -> Figure:
    """Return the figure of axes.

    Parameters
    ----------
    axes
        Axes of Matplotlib.

    Returns
    -------
    Figure
        The figure that the axes are in.
    """
    return axes.figure


def _finish(
    axes: Any, title: str, xlabel: str | None = None, ylabel: str | None = None, legend: str | None = None
) -> Figure:
    """Set title, labels and grid, and a legend at the place `legend`. Return the figure."""
    axes.set_title(title)
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.grid(alpha=0.3)
    if legend:
        axes.legend(loc=legend)
    return axes.figure


# --- Images -----------------------------------------------------------------------------------------------------------


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
    axes = _axes(axes, 4.6, 4.6 * rows * image_shape[0] / (columns * image_shape[1]) + 0.3)
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
    cell = size / max(columns, 8)  # fewer columns with many rows would be too high
    height = cell * rows * image_shape[0] / image_shape[1] + 0.3
    figure, places = panels(len(sets), 1, size, height + (0.4 if title else 0))
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
    columns = min(side, math.isqrt(max(len(originals), 1) - 1) + 1)  # as near to a square as possible
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
    axes = _axes(axes, 0.75 * columns, 0.75 * len(moments[0]) * height / width + 0.8)
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


# --- The parameters ---------------------------------------------------------------------------------------------------


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
    return _draw(_axes(axes, 6.3, height + 0.6), canvas(images, image_shape, rows, columns), title)


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
    axes = _axes(axes, 4.6, 4.2)
    image = np.reshape(bias, image_shape)
    shown = axes.imshow(image if image.ndim == 2 else image.mean(axis=2), cmap="gray", interpolation="nearest")
    axes.figure.colorbar(shown, ax=axes)
    axes.set_title("visible biases")
    axes.set_axis_off()
    return figure_of(axes)


def histograms(
    sets: Mapping[str, HostArray],
    title: str,
    xlabel: str,
    bins: int = 60,
    log: bool = False,
    axes: Axes | None = None,
) -> Figure:
    """Draw histograms over each other, as fractions of each set.

    Parameters
    ----------
    sets
        Values of each set by its name, of any shape.
    title
        As in `grid`.
    xlabel
        Label of the horizontal axis.
    bins
        Number of bins.
    log
        Draw the fractions on a logarithmic scale.
    axes
        As in `grid`.

    Returns
    -------
    Figure
        The figure of the axes.
    """
    axes = _axes(axes)
    values = np.concatenate([np.ravel(values) for values in sets.values()])
    edges = np.histogram_bin_edges(values, bins).tolist()
    for name, values in sets.items():
        weights = np.full(np.size(values), 1 / np.size(values))
        axes.hist(np.ravel(values), edges, weights=weights, alpha=0.5, label=name, log=log)
    return _finish(axes, title, xlabel, "fraction", legend="best" if len(sets) > 1 else None)


def hidden_activity(mean_prob_1: HostArray, dead: HostArray, axes: Axes | None = None) -> Figure:
    """Draw how often each hidden unit is on, in increasing order, and mark dead units.

    Parameters
    ----------
    mean_prob_1
        Mean of p(h_j = 1 | v) over images, (num_hidden,).
    dead
        Bool (num_hidden,), True for units that hardly ever change.
    axes
        As in `grid`.

    Returns
    -------
    Figure
        The figure of the axes.
    """
    axes, order = _axes(axes), np.argsort(mean_prob_1)
    rank = np.arange(len(order))
    axes.plot(rank, mean_prob_1[order], "k.", markersize=4, label="hidden units")
    marked = dead[order]
    axes.plot(rank[marked], mean_prob_1[order][marked], "rx", label="dead: %d of %d" % (dead.sum(), len(dead)))
    axes.set_ylim(-0.03, 1.03)
    return _finish(
        axes, "hidden activity", "hidden units, in order", "mean probability over images", legend="upper left"
    )


# --- Evaluation -------------------------------------------------------------------------------------------------------


def roc_curves(
    curves: Mapping[str, tuple[HostArray, HostArray, float]],
    title: str = "which of the two is the data?",
    axes: Axes | None = None,
) -> Figure:
    """Draw ROC curves.

    Parameters
    ----------
    curves
        False positive rates, true positive rates and area under the curve (AUC), by name.
    title, axes
        As in `grid`.

    Returns
    -------
    Figure
        The figure of the axes.
    """
    axes = _axes(axes, 4.8, 4.6)
    for index, (name, (false_positive_rate, true_positive_rate, auc)) in enumerate(curves.items(), 1):
        colour = "C%d" % index  # the colour of the set in a histogram with the data as its first set
        axes.plot(false_positive_rate, true_positive_rate, colour, label="%s: AUC %.4f" % (name, auc))
    axes.plot([0, 1], [0, 1], "k:", linewidth=1)
    axes.set_aspect("equal")
    return _finish(axes, title, "false positive rate", "true positive rate", legend="lower right")


def class_fractions(distributions: Mapping[str, Any], title: str, axes: Axes | None = None) -> Figure:
    """Draw fractions of classes as bars side by side.

    Parameters
    ----------
    distributions
        Fractions (num_classes,) by name. Their sum is 1.
    title, axes
        As in `grid`.

    Returns
    -------
    Figure
        The figure of the axes.
    """
    axes, width = _axes(axes), 0.8 / len(distributions)
    for index, (name, fractions) in enumerate(distributions.items()):
        axes.bar(np.arange(len(fractions)) + (index + 0.5) * width - 0.4, fractions, width, label=name)
    axes.set_xticks(np.arange(max(map(len, distributions.values()))))
    return _finish(axes, title, "class", "fraction of images", legend="best")


def confusion(counts: HostArray, title: str, names: Sequence[str], axes: Axes | None = None) -> Figure:
    """Draw a confusion matrix.

    Parameters
    ----------
    counts
        Number of images of each class (rows) that the model puts into each class (columns), int
        (num_classes, num_classes).
    title
        As in `grid`.
    names
        Names of the classes.
    axes
        As in `grid`.

    Returns
    -------
    Figure
        The figure of the axes.
    """
    axes = _axes(axes, 6.4, 6.0)
    axes.imshow(np.sqrt(counts), cmap="Blues")  # the square root makes small counts visible
    for (row, column), count in np.ndenumerate(counts):
        if count:
            color = "white" if 2 * np.sqrt(count) > np.sqrt(counts.max()) else "black"
            axes.text(column, row, "%d" % count, ha="center", va="center", color=color, fontsize="small")
    long = max(map(len, names)) > 2
    axes.set_xticks(np.arange(len(counts)))
    axes.set_xticklabels(names, rotation=45 if long else 0, ha="right" if long else "center")
    axes.set_yticks(np.arange(len(counts)))
    axes.set_yticklabels(names)
    figure = _finish(axes, title, "class by the model", "class")
    axes.grid(False)
    return figure


def traces(values: HostArray, title: str, ylabel: str, every: int = 1, axes: Axes | None = None) -> Figure:
    """Draw values along chains, a line for each chain.

    Parameters
    ----------
    values
        Values (num_chains, num_records).
    title
        As in `grid`.
    ylabel
        Label of the vertical axis.
    every
        Number of Gibbs sweeps from one record to the next.
    axes
        As in `grid`.

    Returns
    -------
    Figure
        The figure of the axes.
    """
    axes = _axes(axes)
    axes.plot(every * np.arange(1, values.shape[1] + 1), values.T, linewidth=0.6)
    return _finish(axes, title, "Gibbs sweeps", ylabel)


# --- Training ---------------------------------------------------------------------------------------------------------


def learning_curve(metrics: Metrics, column: str, meaning: str, axes: Axes | None = None) -> Figure:
    """Draw a score of training, held-out and test images by epoch.

    Around log-likelihoods, the interval of log Z is shaded. Hollow points have an unusable estimate
    of log Z: too few chains contribute to it.

    Parameters
    ----------
    metrics
        Rows with the epoch and the scores: train_, held_out_ and test_ followed by `column`. Rows
        without a score are passed over.
    column
        Name of the score.
    meaning
        Label of the vertical axis.
    axes
        As in `grid`.

    Returns
    -------
    Figure
        The figure of the axes.
    """
    parts = {name.replace("_", "-"): "%s_%s" % (name, column) for name in ("train", "held_out", "test")}
    return curves(metrics, parts, "learning curve", meaning, axes)


def curves(metrics: Metrics, columns: Mapping[str, str], title: str, ylabel: str, axes: Axes | None = None) -> Figure:
    """Draw columns of metrics by epoch.

    Parameters
    ----------
    metrics
        Rows with the epoch and other columns.
    columns
        Names of up to three columns by their labels. Columns that no row has are left out.
    title
        As in `grid`.
    ylabel
        Label of the vertical axis.
    axes
        As in `grid`.

    Returns
    -------
    Figure
        The figure of the axes.
    """
    axes, notes = _axes(axes, 7, 4.5), set()
    for (label, column), style in zip(columns.items(), ("o-", "d--", "s--")):
        rows = [row for row in metrics if column in row]
        if rows:
            epochs, values = zip(*((row["epoch"], row[column]) for row in rows))
            (line,) = axes.plot(epochs, values, style, markersize=3, label=label)
            if column.endswith("_log_likelihood"):
                notes |= _draw_uncertainty(line, rows, np.array(epochs), np.array(values))
    _whole_epochs(axes)
    title = "\n".join([title, *sorted(notes, reverse=True)])
    return _finish(axes, title, "epoch", ylabel, legend="best" if axes.lines and len(columns) > 1 else None)


def _whole_epochs(axes: Any) -> None:
    """Place the ticks of the horizontal axis at whole numbers."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _draw_uncertainty(line: Any, rows: Metrics, epochs: HostArray, values: HostArray) -> set[str]:
    """Shade three standard errors of log Z, and draw unusable points hollow.

    An unbounded end of the interval is not drawn. Return notes for the title.
    """
    color, log_z = line.get_color(), {name: _column(rows, name) for name in ("log_z", "log_z_low", "log_z_high")}
    ends = [values + log_z["log_z"] - log_z[name] for name in ("log_z_high", "log_z_low")]
    low, high = (np.where(np.isfinite(end), end, values) for end in ends)
    line.axes.fill_between(epochs, low, high, color=color, alpha=0.2, linewidth=0)
    hollow = _column(rows, "log_z_usable") == 0
    line.axes.plot(epochs[hollow], values[hollow], "o", markersize=5, markerfacecolor="white", markeredgecolor=color)
    notes = {"hollow: not usable, as a few chains carry log Z"} if hollow.any() else set()
    return notes | ({"shaded: three standard errors of log Z"} if np.isfinite(ends).any() else set())


def _column(rows: Metrics, name: str) -> HostArray:
    """Return a column of metrics, with NaN where a row has no number."""
    return np.array([np.nan if row.get(name) is None else row[name] for row in rows], float)


def free_energy_gap(
    epochs: Sequence[float],
    gaps: Sequence[float],
    standard_errors: Sequence[float],
    name: str = "other",
    axes: Axes | None = None,
) -> Figure:
    """Draw the free-energy gap, which reveals overfitting, by epoch.

    The gap is the mean free energy F of other images, minus the mean F of training images.

    Parameters
    ----------
    epochs
        Epochs.
    gaps
        Gap at each epoch, in nats per image.
    standard_errors
        Standard errors of the gaps. One is shaded on each side.
    name
        Name of the other images.
    axes
        As in `grid`.

    Returns
    -------
    Figure
        The figure of the axes.
    """
    axes, middle, error = _axes(axes), np.array(gaps), np.array(standard_errors)
    axes.plot(epochs, middle, "o-", markersize=3)
    axes.fill_between(epochs, middle - error, middle + error, alpha=0.3, label="standard error")
    axes.axhline(0, color="k", linewidth=1)
    _whole_epochs(axes)
    return _finish(axes, "overfitting: free-energy gap", "epoch", "F(%s) - F(training) (nats per image)" % name, "best")


# --- Files and windows ------------------------------------------------------------------------------------------------


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
    figure = _new_figure(figsize=(1, 1), dpi=100, facecolor="black")
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

    lanczos: Any = getattr(getattr(Image, "Resampling", Image), "LANCZOS")  # noqa: B009 (in Resampling since Pillow 9.1)
    scale = 5 / 7 * min(image_shape[:2]) / max(ink.shape)
    height, width = (max(1, round(side * scale)) for side in ink.shape)
    top, left = (image_shape[0] - height) // 2, (image_shape[1] - width) // 2
    image = np.zeros(image_shape, np.float32)
    small = np.asarray(Image.fromarray(ink).resize((width, height), lanczos), np.float32) / 255
    image[top : top + height, left : left + width] = small if image.ndim == 2 else small[..., None]
    return image.reshape(-1)


def save(figure: Figure | FuncAnimation, path: str | IO[bytes]) -> None:
    """Write a figure as PNG, or an animation as GIF.

    Parameters
    ----------
    figure
        The figure or animation.
    path
        Path of the file. For a figure, also an open binary file.
    """
    from matplotlib.animation import FuncAnimation

    if isinstance(figure, FuncAnimation):
        interval: float = figure._interval  # pyright: ignore[reportAttributeAccessIssue] (there is no public way)
        with tempfile.TemporaryDirectory() as folder:  # Pillow needs a name that ends in .gif
            whole = os.path.join(folder, "whole.gif")
            figure.save(whole, writer="pillow", fps=round(1000 / interval), dpi=72)
            with open(whole, "rb") as source, open(str(path), "wb") as target:
                target.write(source.read())
        return
    figure.savefig(path, format="png", dpi=120)


def svg(figure: Figure, caption: str, name: str) -> str:
    """Convert a figure to SVG, for a page of HTML with any number of figures.

    The figure takes the colour and the font of the page.

    Parameters
    ----------
    figure
        The figure. Frames of its legends are removed.
    caption
        Description of the figure for readers who cannot see it.
    name
        Name of the figure, unique in the page.

    Returns
    -------
    str
        The SVG element.
    """
    for axes in figure.axes:
        legend = axes.get_legend()
        if legend:
            legend.set_frame_on(False)
    import matplotlib

    text = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):  # ids that no other figure has
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(text, format="svg", transparent=True, metadata=nothing)
    picture = text.getvalue()
    match = re.search(r'<svg[^>]*?(viewBox="[^"]*")[^>]*>(.*)', picture, re.DOTALL)
    assert match is not None  # Matplotlib always writes this element
    size, content = match.groups()
    content = re.sub(r'<g id="[^"]*"', "<g", content)  # these ids are the same in all figures
    start = '<svg role="img" aria-label="%s" %s>' % (html.escape(caption), size)
    return start + content.replace("#000000", "currentColor")


def show(path: str, title: str) -> None:
    """Show a saved picture in a window, if there is a display.

    Parameters
    ----------
    path
        Path of the picture.
    title
        Title of the window.
    """
    if os.name == "posix" and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or os.uname().sysname == "Darwin"
    ):
        return
    import matplotlib.pyplot as pyplot  # imported here, because it chooses a backend

    if pyplot.get_backend().lower() in ("agg", "pdf", "svg", "ps", "cairo", "template"):
        return
    pyplot.figure(num=title, figsize=(12, 6.3))
    pyplot.imshow(pyplot.imread(path))
    pyplot.axis("off")
    pyplot.show()
