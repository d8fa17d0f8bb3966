"""Curves, histograms and tables: of training, of hidden units, of classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Iterable, Mapping, Sequence

import numpy as np

from gluon_rbm.evaluation.plots.figures import axes_or_new, finish

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from gluon_rbm.backend.types import HostArray

__all__ = [
    "class_fractions",
    "confusion",
    "curves",
    "free_energy_gap",
    "hidden_activity",
    "histograms",
    "learning_curve",
    "roc_curves",
    "traces",
]

Metrics = Iterable[Mapping[str, Any]]  # rows of metrics.csv


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
    axes = axes_or_new(axes)
    values = np.concatenate([np.ravel(values) for values in sets.values()])
    edges = np.histogram_bin_edges(values, bins).tolist()
    for name, values in sets.items():
        weights = np.full(np.size(values), 1 / np.size(values))
        axes.hist(np.ravel(values), edges, weights=weights, alpha=0.5, label=name, log=log)
    return finish(axes, title, xlabel, "fraction", legend="best" if len(sets) > 1 else None)


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
    axes, order = axes_or_new(axes), np.argsort(mean_prob_1)
    rank = np.arange(len(order))
    axes.plot(rank, mean_prob_1[order], "k.", markersize=4, label="hidden units")
    marked = dead[order]
    axes.plot(rank[marked], mean_prob_1[order][marked], "rx", label="dead: %d of %d" % (dead.sum(), len(dead)))
    axes.set_ylim(-0.03, 1.03)
    return finish(
        axes, "hidden activity", "hidden units, in order", "mean probability over images", legend="upper left"
    )


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
    axes = axes_or_new(axes, 4.8, 4.6)
    for index, (name, (false_positive_rate, true_positive_rate, auc)) in enumerate(curves.items(), 1):
        # A histogram that starts with the data gives this set the same colour.
        colour = "C%d" % index
        axes.plot(false_positive_rate, true_positive_rate, colour, label="%s: AUC %.4f" % (name, auc))
    axes.plot([0, 1], [0, 1], "k:", linewidth=1)
    axes.set_aspect("equal")
    return finish(axes, title, "false positive rate", "true positive rate", legend="lower right")


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
    axes, width = axes_or_new(axes), 0.8 / len(distributions)
    for index, (name, fractions) in enumerate(distributions.items()):
        axes.bar(np.arange(len(fractions)) + (index + 0.5) * width - 0.4, fractions, width, label=name)
    axes.set_xticks(np.arange(max(map(len, distributions.values()))))
    return finish(axes, title, "class", "fraction of images", legend="best")


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
    axes = axes_or_new(axes, 6.4, 6.0)
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
    figure = finish(axes, title, "class by the model", "class")
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
    axes = axes_or_new(axes)
    axes.plot(every * np.arange(1, values.shape[1] + 1), values.T, linewidth=0.6)
    return finish(axes, title, "Gibbs sweeps", ylabel)


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
    axes, notes = axes_or_new(axes, 7, 4.5), set()
    for (label, column), style in zip(columns.items(), ("o-", "d--", "s--")):
        rows = [row for row in metrics if column in row]
        if rows:
            epochs, values = zip(*((row["epoch"], row[column]) for row in rows))
            (line,) = axes.plot(epochs, values, style, markersize=3, label=label)
            if column.endswith("_log_likelihood"):
                notes |= _draw_uncertainty(line, rows, np.array(epochs), np.array(values))
    _whole_epochs(axes)
    title = "\n".join([title, *sorted(notes, reverse=True)])
    return finish(axes, title, "epoch", ylabel, legend="best" if axes.lines and len(columns) > 1 else None)


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
    axes, middle, error = axes_or_new(axes), np.array(gaps), np.array(standard_errors)
    axes.plot(epochs, middle, "o-", markersize=3)
    axes.fill_between(epochs, middle - error, middle + error, alpha=0.3, label="standard error")
    axes.axhline(0, color="k", linewidth=1)
    _whole_epochs(axes)
    return finish(axes, "overfitting: free-energy gap", "epoch", "F(%s) - F(training) (nats per image)" % name, "best")
