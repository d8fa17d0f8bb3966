"""Sequence logos: stacks of letters with heights that show their weights.

Schneider & Stephens, Nucleic Acids Research 18, 1990.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from gluon_rbm.data.sequences import NUCLEOTIDES, PROTEINS
from gluon_rbm.evaluation import plots

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from gluon_rbm.backend.types import HostArray

__all__ = ["sequence_logo", "weight_logos"]

_LEAST_SHARE = 0.02  # share of the highest column; lower letters are unreadable, so not drawn
_COLOURS = {  # amino acids by the properties of their side chains; nucleotides in the usual colours
    PROTEINS: {
        "DE": "tab:red", "KRH": "tab:blue", "AVLIMFWP": "black", "STNQCYG": "tab:green", "-": "grey",
    },
    NUCLEOTIDES: {"A": "tab:green", "C": "tab:blue", "G": "tab:orange", "T": "tab:red", "-": "grey"},
}  # fmt: skip


def sequence_logo(heights: HostArray, alphabet: str, axes: Axes, title: str = "") -> Figure:
    """Draw a sequence logo.

    Each place has a stack of letters above zero, and one of letters with negative heights below
    zero. The higher a letter, the farther it is from zero. A grey block stands for a gap.

    Parameters
    ----------
    heights
        Height of each letter at each place, (length, letters).
    alphabet
        Letters of proteins or of nucleotides, as in `sequences.Alignment`.
    axes
        Axes to draw into.
    title
        Title of the axes.

    Returns
    -------
    Figure
        The figure of the axes.
    """
    from matplotlib.font_manager import FontProperties
    from matplotlib.patches import PathPatch
    from matplotlib.textpath import TextPath
    from matplotlib.transforms import Affine2D

    font = FontProperties(family="DejaVu Sans Mono", weight="bold")  # I has serifs in this font
    outlines = {letter: TextPath((0, 0), letter, size=1, prop=font) for letter in alphabet}
    colours = {letter: colour for group, colour in _COLOURS[alphabet].items() for letter in group}
    top, bottom = np.clip(heights, 0, None).sum(axis=1).max(), np.clip(heights, None, 0).sum(axis=1).min()
    least = _LEAST_SHARE * max(top, -bottom, 1e-12)
    for place, column in enumerate(heights):
        for sign in (1, -1):
            base = 0.0
            for number in np.argsort(np.abs(column), kind="stable"):
                height = abs(column[number])
                if sign * column[number] < least:
                    continue
                box = outlines[alphabet[number]].get_extents()
                low = base if sign > 0 else base - height
                moved = (
                    Affine2D()
                    .translate(-box.x0, -box.y0)
                    .scale(0.9 / box.width, height / max(box.height, 0.1))
                    .translate(place + 0.55, low)
                )
                path = outlines[alphabet[number]].transformed(moved)
                axes.add_patch(PathPatch(path, facecolor=colours[alphabet[number]], linewidth=0))
                base += sign * height
    axes.set_xlim(0.5, len(heights) + 0.5)
    axes.set_ylim(1.05 * min(bottom, -least), 1.05 * max(top, least))
    axes.axhline(0, color="black", linewidth=0.5)
    axes.set_title(title, fontsize="medium")
    axes.spines[["top", "right"]].set_visible(False)
    return plots.figure_of(axes)


def weight_logos(weight: HostArray, shape: Any, alphabet: str, count: int) -> Figure:
    """Draw logos of the hidden units with the largest weights.

    The height of a letter is the weight between the hidden unit and the visible unit of the letter.

    Parameters
    ----------
    weight
        Weights (length * letters, num_hidden), with zero sum over the letters of each place.
    shape
        (length, letters).
    alphabet
        As in `sequence_logo`.
    count
        Number of hidden units to draw, at most. Those with the largest norm come first.

    Returns
    -------
    Figure
        A new figure with a logo per unit.
    """
    norms = np.linalg.norm(weight, axis=0)
    strongest = np.argsort(-norms, kind="stable")[:count]
    columns = 2 if len(strongest) > 1 else 1
    rows = math.ceil(len(strongest) / columns)
    figure, panels = plots.panels(columns, rows, width=max(5.0, 0.16 * shape[0]), height=1.7)
    for axes, unit in zip(panels, strongest):
        sequence_logo(weight[:, unit].reshape(shape), alphabet, axes, "hidden unit %d, norm %.1f" % (unit, norms[unit]))
    for axes in panels[len(strongest) :]:
        axes.set_axis_off()
    return figure
