"""A run folder in words: its model, last scores, warnings, arguments, and likelihood reports."""

from __future__ import annotations

import contextlib
import json
import os
from typing import Any, Iterator, Mapping, Sequence

from gluon_rbm.backend import array_files
from gluon_rbm.cli import options, report_text, train_multinary
from gluon_rbm.cli.arguments import OneLineParser
from gluon_rbm.errors import InputError
from gluon_rbm.likelihood import estimates
from gluon_rbm.training import optimization
from gluon_rbm.training.monitors import LikelihoodMonitor
from gluon_rbm.training.run_records import ARGUMENTS

__all__ = [
    "Metrics",
    "check_inside",
    "describe",
    "environment_facts",
    "files_with_suffix",
    "given_arguments",
    "last_scores",
    "likelihood_kind",
    "likelihood_reports",
    "number_text",
    "read_record",
    "remarks",
    "report_verdict",
]

Metrics = Sequence[Mapping[str, Any]]  #: the rows of metrics.csv
Rows = Sequence["tuple[str, str]"]


# --- Arguments ------------------------------------------------------------------------------------


def _read_json(path: str) -> Any:
    try:
        check_inside(path)
        array_files.check_ordinary(path, array_files.LARGEST_TEXT)
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except InputError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise InputError("%s cannot be read as JSON; move it away" % path) from error


def read_record(folder: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read arguments.json of a run.

    Parameters
    ----------
    folder
        The run folder.

    Returns
    -------
    arguments : dict
        The recorded arguments; empty if nothing is recorded.
    versions : dict
        The recorded versions of software; empty if none are recorded.

    Raises
    ------
    InputError
        The file is not one that a run writes.
    """
    path = os.path.join(folder, ARGUMENTS)
    if not os.path.exists(path):
        return {}, {}
    record = _read_json(path)
    try:
        return dict(record["arguments"]), dict(record.get("versions", {}))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError("%s was not written by a training; move it away" % path) from error


def _default_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    if "network" in arguments:
        parser = OneLineParser()
        train_multinary.add_arguments(parser.add_argument)
        return vars(parser.parse_args([]))
    return vars(options.parse([], ""))


def given_arguments(arguments: Mapping[str, Any]) -> Rows:
    """Return the flags of a run that differ from their defaults.

    Parameters
    ----------
    arguments
        The recorded arguments.

    Returns
    -------
    list of (flag, value)
        The flags with their values as text, in alphabetical order.
    """
    defaults = _default_arguments(arguments) if arguments else {}
    # `environment_facts` has the device and the engine.
    others = ("cuda", "cuda_asked", "engine", "resume", "num_classes")
    return [
        ("--" + name.replace("_", "-"), _text(value))
        for name, value in sorted(arguments.items())
        if name in defaults and value != defaults[name] and name not in others
    ]


def environment_facts(arguments: Mapping[str, Any], versions: Mapping[str, Any]) -> Rows:
    """Return what else a run recorded: seed, device, engine, digest of the data, versions.

    Parameters
    ----------
    arguments, versions
        As returned by `read_record`.

    Returns
    -------
    list of (name, value)
        The facts as text. If a run of a binary RBM has a learning rate on the mean gradient of a
        batch, it is the first fact.
    """
    names = {"seed": "seed", "device": "device", "engine": "engine", "data_sha256": "SHA-256 of the training images"}
    facts = [(meaning, _text(arguments[name])) for name, meaning in names.items() if name in arguments]
    if arguments and "network" not in arguments:
        facts = [("learning rate on the mean gradient of a batch", rate) for rate in _effective_rate(arguments)] + facts
    return facts + [(name, _text(value)) for name, value in sorted(versions.items())]


def _effective_rate(arguments: Mapping[str, Any]) -> Iterator[str]:
    """Yield --learning-rate / --batch-size, the rate on a batch's mean gradient.

    Yield nothing if the optimizer has no such rate.
    """
    if optimization.follows_gradient(arguments.get("optimizer")):
        with contextlib.suppress(KeyError, TypeError, ZeroDivisionError):
            rate, batch_size = arguments["learning_rate"], arguments["batch_size"]
            yield "%g (%g / %g)" % (rate / batch_size, rate, batch_size)


def _text(value: Any) -> str:
    if isinstance(value, list) and not any(isinstance(item, (list, dict)) for item in value):
        return " ".join(map(str, value)) or "none"
    return value if isinstance(value, str) else json.dumps(value)


def describe(arguments: Mapping[str, Any], metrics: Metrics) -> str:
    """Describe a run in a sentence.

    Parameters
    ----------
    arguments
        The recorded arguments.
    metrics
        The rows of metrics.csv.

    Returns
    -------
    str
        The model, the data set and the number of epochs; empty if there are only metrics.
    """
    if not arguments:
        return "" if metrics else "A deep belief network: a stack of RBMs, from the images up."
    if "network" in arguments:
        sizes = "channels %s, dense %s" % tuple(_text(arguments.get(name)) for name in ("channels", "dense"))
        model = "A network of RBMs trained by backpropagation (%s)" % sizes
    else:
        model = "A binary RBM with %s hidden units" % _text(arguments.get("num_hidden"))
        model += " and labels" if arguments.get("labels") else ""
    asked = arguments.get("num_epoch")
    return "%s, on %s: %d of %s epochs." % (model, _text(arguments.get("dataset")), len(metrics), _text(asked))


# --- Numbers --------------------------------------------------------------------------------------


def number_text(value: float | None) -> str:
    """Format a number with six digits.

    Parameters
    ----------
    value
        The number, or None.

    Returns
    -------
    str
        The text; empty for None.
    """
    return "" if value is None else "%.6g" % value


def likelihood_kind(metrics: Metrics) -> str:
    """Return the kind of the log-likelihoods in metrics.csv.

    Parameters
    ----------
    metrics
        The rows of metrics.csv.

    Returns
    -------
    str
        "log-likelihood" if the pixels are binary, else "grey-pixel score".
    """
    return LikelihoodMonitor.curve(metrics)[1].partition(" (")[0]


_NOT_USABLE = (
    "%s, %s images: not usable (%.2f, epoch %d), as log Z depends on a few chains; "
    "python -m gluon_rbm likelihood gives a better value"
)


def last_scores(metrics: Metrics) -> list[str]:
    """Return the last score of each kind and part of the images, in one line each.

    Parameters
    ----------
    metrics
        The rows of metrics.csv.

    Returns
    -------
    list of str
        The lines.
    """
    kinds = (
        ("log_likelihood", "standard_error", likelihood_kind(metrics), "nats per image"),
        ("error_percent", "standard_error_percent", "images classified wrongly", "%"),
        ("reconstruction_error", None, "reconstruction error", "mean squared error of a pixel"),
    )
    lines = []
    for column, error, kind, unit in kinds:
        for part in ("test", "held_out", "train"):
            rows = [row for row in metrics if "%s_%s" % (part, column) in row]
            if rows:
                row, name = rows[-1], part.replace("_", "-")
                value, uncertainty = (row.get("%s_%s" % (part, figure)) for figure in (column, error))
                score = "%.4g" % value if uncertainty is None else "%.2f ± %.2f" % (value, uncertainty)
                text = "%s, %s images: %s %s (epoch %d)" % (kind, name, score, unit, row["epoch"])
                if column == "log_likelihood" and row.get("log_z_usable") == 0:
                    text = _NOT_USABLE % (kind, name, value, row["epoch"])
                lines.append(text)
    return lines


def remarks(arguments: Mapping[str, Any], metrics: Metrics) -> Iterator[str]:
    """Warn of reasons not to trust the log-likelihoods.

    Parameters
    ----------
    arguments
        The recorded arguments.
    metrics
        The rows of metrics.csv.

    Yields
    ------
    str
        A warning.
    """
    scored = [row for row in metrics if "log_z" in row]
    if not scored:
        return
    if likelihood_kind(metrics) == "grey-pixel score":
        yield "Pixels are grey: -F(v) - log Z is a score to compare runs by, not the logarithm of a probability."
    elif any(value and value > 0 for name, value in scored[-1].items() if name.endswith("_log_likelihood")):
        yield "A mean log-likelihood of binary images above zero is impossible: log Z is too low."
    try:
        num_chains = arguments["ais_batch_size"] * arguments["ais_num_batch"]
        warning = estimates.reasons_for_warning(
            arguments["ais_intermediate_steps"], num_chains, scored[-1]["effective_sample_size"]
        )
    except (ArithmeticError, KeyError, TypeError):
        return
    if warning:
        yield (
            "Optimistic: log Z comes from %s, which makes log-likelihoods too high on average; "
            "python -m gluon_rbm likelihood gives a bracket." % warning
        )


# --- Likelihood reports ---------------------------------------------------------------------------


def files_with_suffix(folder: str, suffix: str) -> list[str]:
    """Return the names of a folder's ordinary files with a suffix, without links out of the folder.

    Parameters
    ----------
    folder
        The folder.
    suffix
        The end of the names.

    Returns
    -------
    list of str
        The names.
    """
    paths = {name: os.path.join(folder, name) for name in os.listdir(folder) if name.endswith(suffix)}
    return [name for name, path in paths.items() if os.path.isfile(path) and _is_inside(path)]


def _is_inside(path: str) -> bool:
    """Whether a path leads to a place in its own folder, and is not a link out of it."""
    folder = os.path.realpath(os.path.dirname(os.path.abspath(path)))
    return os.path.commonpath([folder, os.path.realpath(path)]) == folder


def check_inside(path: str) -> None:
    """Check that a path is not a link out of its folder.

    Others may read the page, so that it must show only what the run wrote.

    Parameters
    ----------
    path
        A file or folder.

    Raises
    ------
    InputError
        The path is such a link.
    """
    if not _is_inside(path):
        raise InputError("%s is a link to another folder; replace it by a copy, or move it away" % path)


def likelihood_reports(folder: str) -> Iterator[tuple[str, Rows]]:
    """Read the likelihood reports in a folder.

    Parameters
    ----------
    folder
        The folder.

    Yields
    ------
    name : str
        The name of the file.
    rows : list of (name, text)
        As in `gluon_rbm.cli.report_text.as_rows`, with continued rows joined.

    Raises
    ------
    InputError
        A report is incomplete.
    """
    for name in sorted(files_with_suffix(folder, ".json")):
        if name == ARGUMENTS:
            continue
        path = os.path.join(folder, name)
        content = _read_json(path)
        if isinstance(content, dict) and {"method", "log_z", "log_likelihood"} <= set(content):
            try:
                yield name, _joined(report_text.as_rows(content))
            except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
                raise InputError("%s is an incomplete likelihood report; move it away" % path) from error


def report_verdict(named_rows: tuple[str, Rows]) -> str:
    """Summarize a likelihood report in a line.

    Parameters
    ----------
    named_rows
        The name and rows of the report, from `likelihood_reports`.

    Returns
    -------
    str
        The score, and whether log Z converged.
    """
    name, rows = named_rows
    values = dict(rows)
    kind = next(kind for kind in ("log-likelihood", "grey-pixel score") if kind in values)
    score, verdict = values[kind].partition("; ")[0], values["verdict"].partition(":")[0]
    return "%s by %s: %s; %s" % (kind, name, score, verdict)


def _joined(rows: Rows) -> Rows:
    """Join each row without a name to the row before it."""
    joined: list[tuple[str, str]] = []
    for name, value in rows:
        if name or not joined:
            joined.append((name, value))
        else:
            joined[-1] = (joined[-1][0], "%s; %s" % (joined[-1][1], value))
    return joined
