"""The command outliers: find the rows of a table that are unlike the others."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

import numpy as np

from gluon_rbm.cli.arguments import number, path, positive_share
from gluon_rbm.cli.csv_tables import (
    Table,
    add_columns,
    add_rbm,
    add_table,
    check_columns,
    is_number,
    rbm_from,
    read_table,
    write_table,
)
from gluon_rbm.cli.results import add_overwrite, check_target
from gluon_rbm.errors import InputError

if TYPE_CHECKING:
    from argparse import Namespace

    from gluon_rbm.cli.inputs import AddArgument

__all__ = ["ABOUT", "add_arguments", "run"]

logger = logging.getLogger(__name__)

ABOUT = "find the rows of a table (CSV) that are unlike the others"

_ADDED = ("rbm_line", "rbm_score", "rbm_outlier")
_CONTAMINATION = 0.1
_contamination = number(float, lambda value: 0 < value <= 0.5, "a number above 0 and at most 0.5")


def add_arguments(add: AddArgument) -> None:
    """Add the arguments of the command.

    Parameters
    ----------
    add
        The method add_argument of a parser.
    """
    add_table(add, "CSV file with the column names in its first line; the RBM learns its rows")
    add(
        "--new",
        type=path,
        metavar="TABLE",
        help="CSV file of rows to score, with the same columns; by default the rows of TABLE",
    )
    add(
        "--output",
        type=path,
        metavar="FILE",
        help="output file: the rows with three more columns; by default TABLE-outliers.csv",
    )
    add("--contamination", type=_contamination, help="share of outliers among the rows of TABLE (default: 0.1)")
    add(
        "--false-alarm-rate",
        type=positive_share,
        metavar="RATE",
        help="instead of --contamination: share of normal new rows that may be called outliers; three tenths of TABLE "
        "are held out to set the threshold",
    )
    add_columns(add)
    add_rbm(add, "60")
    add_overwrite(add)


def run(args: Namespace) -> None:
    """Learn the table, and write rows with their scores, the most unusual first.

    Parameters
    ----------
    args
        The parsed arguments.
    """
    if args.contamination is not None and args.false_alarm_rate is not None:
        raise InputError("--contamination and --false-alarm-rate cannot be combined; give one of them")
    judged = args.new or args.table
    stem, ending = os.path.splitext(judged)
    output = args.output or stem + "-outliers" + ending
    table = read_table(args.table, args.categorical)
    check_target(args, output, "--output", [args.table, args.new])
    check_columns(table, args.table)
    added = [name for name in table.names if name in _ADDED]
    if added:
        raise InputError(
            "%s has a column %s, so it is a result of outliers; give the original table" % (args.table, added[0])
        )
    table.tell_kinds()
    new = _read_new(args.new, table, args.table) if args.new else table
    from gluon_rbm.estimators import RBMOutlierDetector

    detector = RBMOutlierDetector(
        rbm_from(args, len(table.values), RBMOutlierDetector.least_steps),
        contamination=args.contamination or _CONTAMINATION,
        false_alarm_rate=args.false_alarm_rate,
        num_bins=args.bins,
        random_state=args.seed,
    ).fit(table.values)
    scores = detector.decision_function(new.values)
    order = np.argsort(scores, kind="stable")
    rows = [[*new.texts[row], "%d" % new.lines[row], "%.4f" % scores[row], "%d" % (scores[row] < 0)] for row in order]
    write_table(output, [*new.names, *_ADDED], rows, new.delimiter)
    logger.info("%d of %d rows are outliers (score below 0)", (scores < 0).sum(), len(scores))
    logger.info("written: %s", output)


def _read_new(file_path: str, table: Table, learned: str) -> Table:
    """Read rows with the columns of `table`, in its order; `learned` is the path of `table`."""
    new = read_table(file_path)
    for name in [*new.names, *table.names]:
        if name not in new.names or name not in table.names:
            raise InputError(
                "%s and %s have different columns: only one has %s; give tables with the same columns"
                % (learned, file_path, name)
            )
    new = new.like(table)
    for column, name in enumerate(new.names):
        text = [
            row for row, value in enumerate(new.values[:, column]) if isinstance(value, str) and not is_number(value)
        ]
        if text and name not in table.categories:
            raise InputError(
                "%s: line %d has %r in column %s, which holds numbers (up to 1e100) in %s; correct the value"
                % (file_path, new.lines[text[0]], new.values[text[0], column], name, learned)
            )
    return new
