"""The command html-report: show a run folder as one self-contained page of HTML."""

from __future__ import annotations

import itertools
import logging
import os
from argparse import Namespace
from typing import TYPE_CHECKING, Any

from gluon_rbm.backend.files import check_writable, write_whole
from gluon_rbm.backend.version import __version__
from gluon_rbm.cli import run_pictures, run_summary
from gluon_rbm.cli.arguments import path
from gluon_rbm.cli.inputs import AddArgument
from gluon_rbm.cli.results import add_overwrite, check_target
from gluon_rbm.errors import InputError, one_line
from gluon_rbm.evaluation import plots
from gluon_rbm.models.binary_deep_belief import layer_folder
from gluon_rbm.models.files import PARAMETERS
from gluon_rbm.training.run_records import ARGUMENTS, METRICS, read_metrics

if TYPE_CHECKING:
    import jinja2

__all__ = ["ABOUT", "add_arguments", "run"]

logger = logging.getLogger(__name__)

ABOUT = "show a run folder as one HTML page: curves, filters, samples, likelihood reports, arguments"

_EPOCHS = 6  # columns of the table of metrics: more do not fit on the page


def add_arguments(add: AddArgument) -> None:
    """Add the arguments of the command.

    Parameters
    ----------
    add
        The method add_argument of a parser.
    """
    add("run", type=path, metavar="RUN", help="run folder of a training script, train-multinary or train-deep")
    add(
        "--output",
        type=path,
        metavar="FILE",
        help="output file; by default page.html in the run folder, which is overwritten",
    )
    add_overwrite(add)


def run(args: Namespace) -> None:
    """Write the page of a run folder.

    The page shows all that is in the folder. The run need not be finished.

    Parameters
    ----------
    args
        The parsed arguments.

    Raises
    ------
    InputError
        The folder holds no run, or a file in it cannot be read or shown.
    """
    folder = args.run.rstrip(os.sep) or os.sep
    is_own = args.output is None  # the run's own page, which is replaced without --overwrite
    output = os.path.join(folder, "page.html") if is_own else args.output
    try:
        os.listdir(folder)
    except OSError as error:
        raise InputError("%s cannot be read (%s); give a run folder" % (folder, error.strerror)) from error
    layers = [*itertools.takewhile(os.path.isdir, (layer_folder(folder, number) for number in itertools.count(1)))]
    if not layers and not any(os.path.exists(os.path.join(folder, name)) for name in (ARGUMENTS, METRICS)):
        raise InputError("%s is not a run folder; give a folder that a training wrote" % folder)
    if is_own:
        check_writable(output, "--output")
    else:
        check_target(args, output, "--output")
    page = _template().render(
        title=os.path.basename(os.path.abspath(folder)),
        folder=folder,
        version=__version__,
        sections=[_section(part) for part in [folder, *layers]],
    )
    with write_whole(output, "--output") as temporary, open(temporary, "wb") as file:
        # The name of a file may not be valid Unicode.
        file.write(page.encode(errors="backslashreplace"))
    logger.info("written: %s", one_line(output))


def _template() -> jinja2.Template:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("gluon_rbm.cli", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    return environment.get_template("html_report.html")


def _title(column: str, metrics: run_summary.Metrics) -> str:
    """Return a column of metrics.csv in words."""
    return column.replace("log_likelihood", run_summary.likelihood_kind(metrics)).replace("_", " ")


def _section(folder: str) -> dict[str, Any]:
    """Return the content of the page's section on one folder."""
    import markupsafe

    for name in ("", METRICS, PARAMETERS):
        run_summary.check_inside(os.path.join(folder, name))
    arguments, versions = run_summary.read_record(folder)
    metrics = read_metrics(folder)
    last = metrics[-_EPOCHS:]
    names = [name for name in dict.fromkeys(name for row in metrics for name in row) if name != "epoch"]
    reports = list(run_summary.likelihood_reports(folder))
    return {
        "name": os.path.basename(os.path.abspath(folder)) if arguments or metrics else "The network",
        "description": run_summary.describe(arguments, metrics),
        "scores": run_summary.last_scores(metrics),
        "remarks": list(run_summary.remarks(arguments, metrics)),
        "pictures": [*run_pictures.saved_pictures(folder), *run_pictures.drawn_pictures(folder, arguments)],
        "curves": [
            markupsafe.Markup(plots.svg(figure, caption, one_line(folder) + caption))
            for caption, figure in run_pictures.curves(metrics)
        ],
        "epochs": [run_summary.number_text(row["epoch"]) for row in last],
        "rows": [(_title(name, metrics), [run_summary.number_text(row.get(name)) for row in last]) for name in names],
        "reports": reports,
        "verdicts": list(map(run_summary.report_verdict, reports)),
        "arguments": run_summary.given_arguments(arguments),
        "facts": run_summary.environment_facts(arguments, versions),
    }
