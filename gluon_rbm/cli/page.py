"""The command `page`: a run folder as one page of HTML that needs nothing else, finished or not."""

import base64
import io
import itertools
import json
import math
import os

import jinja2
import markupsafe
from PIL import Image

import gluon_rbm
from gluon_rbm.backend import array_files
from gluon_rbm.backend.files import check_writable, write_whole
from gluon_rbm.cli import options, report, train_multinary
from gluon_rbm.cli.arguments import OneLineParser
from gluon_rbm.data import datasets
from gluon_rbm.errors import InputError, one_line
from gluon_rbm.evaluation import plots
from gluon_rbm.likelihood import estimates, learning
from gluon_rbm.models import label_rbm, networks
from gluon_rbm.models.binary_deep_belief import layer_folder
from gluon_rbm.models.files import PARAMETERS, read_arrays, read_model
from gluon_rbm.sampling import gibbs
from gluon_rbm.training.monitoring import LikelihoodMonitor
from gluon_rbm.training.run_folder import ARGUMENTS, read_metrics

__all__ = ["ABOUT", "add_arguments", "run"]

ABOUT = "a run folder as one page of HTML: curves, filters, samples, likelihood reports, arguments"

_ROWS = 10  # of the table of metrics
_CHAINS = 64

_ABOUT_PICTURES = {
    "showcase": "Images of the data, and the machine's own",
    "drawn": "Images that the machine has drawn",
    "samples": "Images that the machine has drawn",
    "chains": "The chains as they are now: the probabilities of their pixels",
    "filters": "The weights of hidden units, as images",
}

# What makes a curve: title, unit, and columns of metrics by their labels.
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
    ("Units on, of the chains", "share", {"visible": "visible_units_on", "hidden": "hidden_units_on"}),
    ("Exchanges of tempered chains", "share", {"mean": "mean_swap_rate", "lowest": "lowest_swap_rate"}),
    ("Time of an epoch", "seconds", {"training": "seconds", "monitoring": "monitor_seconds"}),
)  # fmt: skip


def add_arguments(add):
    add("run", metavar="RUN", help="the folder of a run, of a training script, train-multinary or train-deep")
    add("--output", metavar="FILE", help="where the page goes; by default page.html in the folder")


def run(args):
    """Write the page of a run folder.

    Whatever is there is shown: of a run that is at work, what there is so far. Raises InputError for a folder without a
    run, and for files in it that are not what they should be.
    """
    folder = args.run.rstrip(os.sep) or os.sep
    output = os.path.join(folder, "page.html") if args.output is None else args.output
    layers = [*itertools.takewhile(os.path.isdir, (layer_folder(folder, number) for number in itertools.count(1)))]
    if not layers and not any(os.path.exists(os.path.join(folder, name)) for name in (ARGUMENTS, "metrics.csv")):
        raise InputError("%s holds no run; name the folder that a training run wrote" % folder)
    check_writable(output, "--output")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("gluon_rbm.cli", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    title = os.path.basename(os.path.abspath(folder))
    page = environment.get_template("page.html").render(
        title=title,
        folder=folder,
        version=gluon_rbm.__version__,
        parts=[_part(path) for path in [folder, *layers]],
    )
    with write_whole(output, "--output") as temporary, open(temporary, "wb") as file:
        file.write(page.encode(errors="backslashreplace"))  # names of files may be no text
    print("written: %s" % one_line(output), flush=True)


def _part(folder):
    """What the page says of one folder."""
    arguments, versions = _record(folder)
    metrics = read_metrics(folder)
    if not all("epoch" in row for row in metrics):
        raise InputError("metrics.csv in %s is not what a run writes; move it away" % folder)
    rows = metrics[-_ROWS:]
    columns = list(dict.fromkeys(name for row in metrics for name in row))
    reports = list(_reports(folder))
    return {
        "name": os.path.basename(os.path.abspath(folder)) if arguments or metrics else "The network",
        "about": _about(arguments, metrics),
        "results": _results(metrics),
        "remarks": list(_remarks(arguments, metrics)),
        "pictures": [*_pictures(folder), *_drawn(folder, arguments)],
        "curves": [
            markupsafe.Markup(plots.svg(figure, about, one_line(folder) + about)) for about, figure in _curves(metrics)
        ],
        "columns": columns,
        "rows": [[_number(row.get(name)) for name in columns] for row in rows],
        "reports": reports,
        "verdicts": list(map(_verdict, reports)),
        "given": _given(arguments),
        "facts": _facts(arguments, versions),
    }


# --- Arguments --------------------------------------------------------------------------------------------------------


def _json(path):
    try:
        array_files.check_ordinary(path)
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError, RecursionError) as error:
        raise InputError("%s cannot be read as JSON; move it away" % path) from error


def _record(folder):
    """Arguments and versions of a run; of what is not there, none."""
    path = os.path.join(folder, ARGUMENTS)
    if not os.path.exists(path):
        return {}, {}
    try:
        record = _json(path)
        return dict(record["arguments"]), dict(record.get("versions", {}))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError("%s is not what a run writes; move it away" % path) from error


def _defaults(arguments):
    if "network" in arguments:
        parser = OneLineParser()
        train_multinary.add_arguments(parser.add_argument)
        return vars(parser.parse_args([]))
    return vars(options.parse([], ""))


def _given(arguments):
    """The flags of a run that differ from their defaults."""
    defaults = _defaults(arguments) if arguments else {}
    return [
        ("--" + name.replace("_", "-"), _said(value))
        for name, value in sorted(arguments.items())
        if name in defaults and value != defaults[name] and name not in ("cuda", "cuda_asked", "resume", "num_classes")
    ]


def _facts(arguments, versions):
    """What else belongs to a run's record."""
    names = {"seed": "seed", "device": "device", "engine": "engine", "data_sha256": "SHA-256 of the training images"}
    facts = [(meaning, _said(arguments[name])) for name, meaning in names.items() if name in arguments]
    return facts + [(name, _said(value)) for name, value in sorted(versions.items())]


def _said(value):
    if isinstance(value, list) and not any(isinstance(part, (list, dict)) for part in value):
        return " ".join(map(str, value)) or "none"
    return value if isinstance(value, str) else json.dumps(value)


def _about(arguments, metrics):
    """What the run is, in a sentence."""
    if not arguments:
        return "" if metrics else "A deep belief network: one machine upon the other, from the images up."
    if "network" in arguments:
        sizes = "channels %s, dense %s" % tuple(_said(arguments.get(name)) for name in ("channels", "dense"))
        machine = "A network of machines trained by backpropagation (%s)" % sizes
    else:
        machine = "A binary RBM with %s hidden units" % _said(arguments.get("num_hidden"))
        machine += " and labels" if arguments.get("labels") else ""
    asked = arguments.get("num_epoch")
    return "%s, on %s: %d of %s epochs." % (machine, _said(arguments.get("dataset")), len(metrics), _said(asked))


# --- Numbers ----------------------------------------------------------------------------------------------------------


def _number(value):
    return "" if value is None else "%.6g" % value


def _likelihood_kind(metrics):
    return LikelihoodMonitor.curve(metrics)[1].partition(" (")[0]


def _results(metrics):
    """The last scores, in a line each."""
    kinds = (
        ("log_likelihood", "standard_error", _likelihood_kind(metrics), "nats per image"),
        ("error_percent", "standard_error_percent", "images classified wrongly", "%"),
        ("reconstruction_error", None, "reconstruction error", "mean squared error of a pixel"),
    )
    lines = []
    for column, error, kind, unit in kinds:
        for part in ("test", "held_out", "train"):
            rows = [row for row in metrics if "%s_%s" % (part, column) in row]
            if rows:
                row, name = rows[-1], part.replace("_", "-")
                uncertainty = row.get("%s_%s" % (part, error))
                said = "%.4g" % row["%s_%s" % (part, column)]
                if uncertainty is not None:
                    said = "%.2f ± %.2f" % (row["%s_%s" % (part, column)], uncertainty)
                lines.append("%s, %s images: %s %s (epoch %d)" % (kind, name, said, unit, row["epoch"]))
    return lines


def _remarks(arguments, metrics):
    """What a reader should know before believing the numbers."""
    scored = [row for row in metrics if "log_z" in row]
    if not scored:
        return
    if _likelihood_kind(metrics) == "grey-pixel score":
        yield "Pixels are grey: -F(v) - log Z is a score to compare runs by, not the logarithm of a probability."
    try:
        num_chains = arguments["ais_batch_size"] * arguments["ais_num_batch"]
        warning = estimates.reasons_for_warning(
            arguments["ais_intermediate_steps"], num_chains, scored[-1]["effective_sample_size"]
        )
    except (KeyError, TypeError):
        return
    if warning:
        yield (
            "Optimistic: log Z comes from %s, which makes log-likelihoods too high on average; "
            "python -m gluon_rbm likelihood gives a bracket." % warning
        )


def _curves(metrics):
    """Figures, and what each shows; of what was measured once there is no curve."""
    kind = _likelihood_kind(metrics)
    likelihood = {part.replace("_", "-"): part + "_log_likelihood" for part in _PARTS}
    for title, unit, columns in ((kind.capitalize(), "nats per image", likelihood), *_CURVES):
        if max(sum(column in row for row in metrics) for column in columns.values()) > 1:
            yield title + ", by epoch", plots.curves(metrics, columns, title, unit)


# --- Pictures and reports ---------------------------------------------------------------------------------------------


def _pictures(folder):
    """The pictures of the folder, but for the curves, which the page draws itself."""
    order = list(_ABOUT_PICTURES)
    names = [name[: -len(".png")] for name in _files(folder, ".png")]
    for name in sorted(names, key=lambda name: (order.index(name) if name in order else len(order), name)):
        if name != "learning-curve":
            with open(os.path.join(folder, name + ".png"), "rb") as file:
                yield _picture(name, file.read(), os.path.join(folder, name + ".png"))


def _files(folder, suffix):
    return [name for name in os.listdir(folder) if name.endswith(suffix) and os.path.isfile(os.path.join(folder, name))]


def _picture(name, content, path):
    try:
        with Image.open(io.BytesIO(content)) as image:
            width, height = image.size
            image.verify()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # Pillow raises them all
        raise InputError("%s is no whole picture; move it away" % path) from error
    return {
        "source": "data:image/png;base64," + base64.b64encode(content).decode(),
        "width": width,
        "height": height,
        "about": _ABOUT_PICTURES.get(name, name),
    }


def _drawn(folder, arguments):
    """Pictures that a run makes at its end, as far as they are not there: of the parameters of its last whole epoch."""
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


def _draw_filters(folder, arguments):
    if "network" in arguments:
        return plots.filters(*networks.filters(*networks.read(folder)))
    parameters, num_classes = read_model(folder)
    shape = _image_shape(arguments, parameters.num_visible - num_classes)
    return plots.filters(parameters.interaction_weight.asnumpy()[: math.prod(shape)], shape)


def _draw_chains(folder, arguments):
    if "network" in arguments or learning.SAMPLES[1] not in read_arrays(os.path.join(folder, PARAMETERS)):
        return None
    parameters, num_classes = read_model(folder)
    shape = _image_shape(arguments, parameters.num_visible - num_classes)
    hidden = read_arrays(os.path.join(folder, PARAMETERS))[learning.SAMPLES[1]][:_CHAINS]
    group = label_rbm.softmax_group(parameters.num_visible, num_classes)
    pixels = gibbs.run_chains(parameters, hidden=hidden, softmax_group=group).visible_prob_1.asnumpy()
    return plots.grid(pixels[:, : math.prod(shape)], shape, "chains")


def _image_shape(arguments, num_pixels):
    """Of the run's record, where there is one."""
    shape = arguments.get("image_shape")
    whole = isinstance(shape, list) and len(shape) in (2, 3) and all(type(side) is int for side in shape)
    if whole and min(shape) > 0 and math.prod(shape) == num_pixels:
        return tuple(shape)
    return datasets.guess_shape(num_pixels)


def _reports(folder):
    """The likelihood reports of the folder: (name of the file, rows)."""
    for name in sorted(_files(folder, ".json")):
        if name == ARGUMENTS:
            continue
        path = os.path.join(folder, name)
        content = _json(path)
        if isinstance(content, dict) and {"method", "log_z", "log_likelihood"} <= set(content):
            try:
                yield name, _joined(report.as_rows(content))
            except (KeyError, TypeError, ValueError) as error:
                raise InputError("%s is no whole likelihood report; move it away" % path) from error


def _verdict(named_rows):
    """A report in a line."""
    name, rows = named_rows
    said = dict(rows)
    kind = next(kind for kind in ("log-likelihood", "grey-pixel score") if kind in said)
    score, verdict = said[kind].partition("; ")[0], said["verdict"].partition(":")[0]
    return "%s by %s: %s; %s" % (kind, name, score, verdict)


def _joined(rows):
    """Rows without a name belong to the one before."""
    joined = []
    for name, said in rows:
        if name or not joined:
            joined.append((name, said))
        else:
            joined[-1] = (joined[-1][0], "%s; %s" % (joined[-1][1], said))
    return joined
