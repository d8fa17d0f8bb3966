"""Pictures by Matplotlib. Only this package and `logos` import it.

A function draws into the axes that it is given, or into a new figure, and returns the figure.
Images are arrays (n, num_visible) in [0, 1]. NaN stands for a missing pixel, which is drawn blue.
"""

from gluon_rbm.evaluation.plots.charts import (
    class_fractions,
    confusion,
    curves,
    free_energy_gap,
    hidden_activity,
    histograms,
    learning_curve,
    roc_curves,
    traces,
)
from gluon_rbm.evaluation.plots.figures import figure_of, panels, save, show, svg
from gluon_rbm.evaluation.plots.images import animation, filters, grid, grids, letters, showcase, strip, visible_bias

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
