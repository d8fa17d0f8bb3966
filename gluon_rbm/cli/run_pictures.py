"""Pictures of a run: those in its folder, others from its parameters, and curves of its metrics."""

from __future__ import annotations

import base64
import io
import math
import os
from typing import TYPE_CHECKING, Any, Iterator, Mapping

from gluon_rbm.backend.arrays import to_numpy
from gluon_rbm.cli.run_summary import Metrics, files_with_suffix, likelihood_kind
from gluon_rbm.errors import InputError
from gluon_rbm.evaluation import plots
from gluon_rbm.likelihood import learning
from gluon_rbm.models.files import PARAMETERS, read_arrays, read_model
from gluon_rbm.sampling import gibbs
from gluon_rbm.training.run_records import image_shape_of, softmax_groups_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["curves", "drawn_pictures", "saved_pictures"]

_CHAINS = 64

_CAPTIONS = {
    "showcase": "Images of the data set, and images drawn by the model",
    "drawn": "Images drawn by the model",
    "samples": "Images drawn by the model",
    "chains": "Current states of the chains: pixel probabilities",
    "filters": "Weights of the hidden units, as images",
}

# Each curve: title, unit, and label -> column of the metrics.
_PARTS = ("train", "held_out", "test")
_CURVES = (
    ("Images classified wrongly", "%", {p.replace("_", "-"): p + "_error_percent" for p in _PARTS}),
    ("Log-posterior of the class", "nats per image", {p.replace("_", "-"): p + "_log_posterior" for p in _PARTS}),
    ("Reconstruction error", "mean squared error of a pixel",
     {p.replace("_", "-"): p + "_reconstruction_error" for p in _PARTS}),
    ("Loss F(v) - F(v')", "nats per image", {"train": "train_loss"}),
    ("log Z by AIS, within three standard errors", "nats",
     {"estimate": "log_z", "low": "log_z_low", "high": "log_z_high"}),
    ("Effective sample size of AIS", "chains", {"chains": "effective_sample_size"}),
    ("Units that are on in the chains", "fraction", {"visible": "visible_units_on", "hidden": "hidden_units_on"}),
    ("Swap rate of tempered chains", "fraction", {"mean": "mean_swap_rate", "lowest": "lowest_swap_rate"}),
    ("Time of an epoch", "seconds", {"training": "seconds", "monitoring": "monitor_seconds"}),
)  # fmt: skip


def curves(metrics: Metrics) -> Iterator[tuple[str, Figure]]:
    """Plot the metrics by epoch, if they were measured more than once.

    Parameters
    ----------
    metrics
        The rows of metrics.csv.

    Yields
    ------
    caption : str
        What the curve shows.
    figure : Figure
        The curve.
    """
    kind = likelihood_kind(metrics)
    likelihood = {part.replace("_", "-"): part + "_log_likelihood" for part in _PARTS}
    for title, unit, columns in ((kind.capitalize(), "nats per image", likelihood), *_CURVES):
        if max(sum(column in row for row in metrics) for column in columns.values()) > 1:
            yield title + ", by epoch", plots.curves(metrics, columns, title, unit)


def saved_pictures(folder: str) -> Iterator[dict[str, Any]]:
    """Read the pictures of a run folder, except the learning curve, which `curves` plots.

    Parameters
    ----------
    folder
        The run folder.

    Yields
    ------
    dict
        The source, width, height and caption of an HTML image.

    Raises
    ------
    InputError
        A picture is damaged.
    """
    order = list(_CAPTIONS)
    names = [name[: -len(".png")] for name in files_with_suffix(folder, ".png")]
    for name in sorted(names, key=lambda name: (order.index(name) if name in order else len(order), name)):
        if name != "learning-curve":
            path = os.path.join(folder, name + ".png")
            with open(path, "rb") as file:
                yield _picture(name, file.read(), path)


def drawn_pictures(folder: str, arguments: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Draw the pictures that an unfinished run lacks, from the parameters of its last whole epoch.

    Parameters
    ----------
    folder
        The run folder.
    arguments
        The recorded arguments of the run.

    Yields
    ------
    dict
        As in `saved_pictures`.
    """
    if not os.path.exists(os.path.join(folder, PARAMETERS)) or "num_epoch" not in arguments:
        return
    for name, draw in (("filters", _draw_filters), ("chains", _draw_chains)):
        at_the_end = "filters" if name == "filters" else "showcase"
        if not os.path.exists(os.path.join(folder, at_the_end + ".png")):
            figure = draw(folder, arguments)
            if figure is not None:
                content = io.BytesIO()
                plots.save(figure, content)
                yield _picture(name, content.getvalue(), folder)


def _picture(name: str, content: bytes, path: str) -> dict[str, Any]:
    """Return the source, width, height and caption of an HTML image."""
    from PIL import Image

    try:
        # PNG only: Pillow starts programs to read some other formats.
        with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
            width, height = image.size
            image.verify()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        # Pillow raises all of these errors.
        raise InputError("%s is damaged; move it away" % path) from error
    return {
        "source": "data:image/png;base64," + base64.b64encode(content).decode(),
        "width": width,
        "height": height,
        "caption": _CAPTIONS.get(name, name),
    }


def _draw_filters(folder: str, arguments: Mapping[str, Any]) -> Figure:
    if "network" in arguments:
        from gluon_rbm.models import network_features, networks

        return plots.filters(*network_features.filters(*networks.read(folder)))
    parameters, num_classes = read_model(folder)
    shape = image_shape_of(arguments, parameters.num_visible - num_classes)
    return plots.filters(to_numpy(parameters.interaction_weight)[: math.prod(shape)], shape)


def _draw_chains(folder: str, arguments: Mapping[str, Any]) -> Figure | None:
    if "network" in arguments or learning.SAMPLES[1] not in read_arrays(os.path.join(folder, PARAMETERS)):
        return None
    parameters, num_classes = read_model(folder)
    shape = image_shape_of(arguments, parameters.num_visible - num_classes)
    hidden = read_arrays(os.path.join(folder, PARAMETERS))[learning.SAMPLES[1]][:_CHAINS]
    groups = softmax_groups_of(arguments, parameters.num_visible, num_classes)
    pixels = to_numpy(gibbs.run_chains(parameters, hidden=hidden, visible_units=groups).visible_prob_1)
    return plots.grid(pixels[:, : math.prod(shape)], shape, "chains")
