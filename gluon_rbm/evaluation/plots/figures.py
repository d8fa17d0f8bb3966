"""Figures of Matplotlib: how they are made, written and shown."""

from __future__ import annotations

import html
import io
import os
import re
import tempfile
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.animation import FuncAnimation
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from gluon_rbm.backend.types import HostArray

__all__ = ["axes_or_new", "figure_of", "finish", "new_figure", "panels", "save", "show", "svg"]


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
    figure = new_figure(figsize=(width * columns, height * rows), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False).ravel()


def new_figure(**settings: Any) -> Figure:
    """Make a figure that no window shows.

    Parameters
    ----------
    **settings
        Settings of Matplotlib's Figure.

    Returns
    -------
    Figure
        The figure, without axes.
    """
    from matplotlib.figure import Figure

    return Figure(**settings)


def axes_or_new(axes: Axes | None, width: float = 6.4, height: float = 4.2) -> Axes:
    """Return the axes to draw into.

    Parameters
    ----------
    axes
        Axes that the caller was given; None: those of a new figure.
    width, height
        Size of a new figure in inches.

    Returns
    -------
    Axes
        The axes.
    """
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


def finish(
    axes: Any, title: str, xlabel: str | None = None, ylabel: str | None = None, legend: str | None = None
) -> Figure:
    """Set title, labels, grid and legend.

    Parameters
    ----------
    axes
        Axes with a drawing.
    title, xlabel, ylabel
        Texts; None: no text.
    legend
        Place of the legend, in Matplotlib's words; None: no legend.

    Returns
    -------
    Figure
        The figure of the axes.
    """
    axes.set_title(title)
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.grid(alpha=0.3)
    if legend:
        axes.legend(loc=legend)
    return axes.figure


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
        # There is no public way to read the interval.
        interval: float = figure._interval  # pyright: ignore[reportAttributeAccessIssue]
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
    # The salt makes the ids in this figure differ from the ids in other figures.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
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
