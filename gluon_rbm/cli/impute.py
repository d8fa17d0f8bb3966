"""The command impute: fill in the missing values of a table."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from gluon_rbm.cli.arguments import at_least, path
from gluon_rbm.cli.csv_tables import (
    Table,
    add_columns,
    add_rbm,
    add_table,
    check_columns,
    rbm_from,
    read_table,
    write_table,
)
from gluon_rbm.cli.results import add_overwrite, check_target

if TYPE_CHECKING:
    from argparse import Namespace

    from gluon_rbm.backend.types import HostArray
    from gluon_rbm.cli.inputs import AddArgument

__all__ = ["ABOUT", "add_arguments", "run"]

logger = logging.getLogger(__name__)

ABOUT = "fill in the missing values of a table (CSV)"


def add_arguments(add: AddArgument) -> None:
    """Add the arguments of the command.

    Parameters
    ----------
    add
        The method add_argument of a parser.
    """
    add_table(add, "CSV file with the column names in its first line; empty fields, NA, NaN and ? are missing values")
    add("--output", type=path, metavar="FILE", help="output file; by default TABLE-imputed.csv next to TABLE")
    add("--sweeps", type=at_least(1, int), default=100, help="Gibbs sweeps, with known values held fixed")
    add("--draws", action="store_true", help="fill in random draws instead of means and most probable categories")
    add(
        "--imputations",
        type=at_least(1, int),
        default=1,
        metavar="N",
        help="write N tables with different random draws, FILE-1.csv to FILE-N.csv",
    )
    add_columns(add)
    add_rbm(add, "60, or as many as 2,000 steps take", num_hidden=30, learning_rate=0.05)  # as RBMImputer.defaults
    add_overwrite(add)


def run(args: Namespace) -> None:
    """Learn a table with missing values, fill them in, and write the table.

    Known values stay as they are written in the file.

    Parameters
    ----------
    args
        The parsed arguments.
    """
    stem, ending = os.path.splitext(args.table)
    output = args.output or stem + "-imputed" + ending
    paths = [output]
    if args.imputations > 1:
        stem, ending = os.path.splitext(output)
        paths = ["%s-%d%s" % (stem, number, ending) for number in range(1, args.imputations + 1)]
    table = read_table(args.table, args.categorical)
    for target in paths:
        check_target(args, target, "--output", [args.table])
    check_columns(table, args.table)
    table.tell_kinds()
    from gluon_rbm.estimators import RBMImputer
    from gluon_rbm.estimators.tables import are_missing

    imputer = RBMImputer(
        rbm_from(args, len(table.values), RBMImputer.least_steps),
        num_bins=args.bins,
        sweeps=args.sweeps,
        random_state=args.seed,
    )
    missing = are_missing(table.values)
    if not missing.any():
        filled = [table.values] * len(paths)
    elif args.draws or args.imputations > 1:
        filled = imputer.fit(table.values).draw(table.values, len(paths))
    else:
        filled = [imputer.fit(table.values).transform(table.values)]
    for target, values in zip(paths, filled):
        write_table(target, table.names, _texts(table, values, missing), table.delimiter)
    logger.info("%d of %d values were missing", missing.sum(), missing.size)
    logger.info("written: %s", ", ".join(paths))


def _texts(table: Table, values: HostArray, missing: HostArray) -> list[list[str]]:
    """Return the rows as text: known values as they were read, others as they were filled in.

    A number is filled in with one decimal more than the known values of its column have.
    """
    known = [
        [text.strip() for text, gap in zip(column, gaps) if not gap]
        for column, gaps in zip(zip(*table.texts), missing.T)
    ]
    forms = ["%.10g" if any("e" in text.lower() for text in texts) else "%%.%df" % _decimals(texts) for texts in known]
    return [
        [
            (form % value if isinstance(value, float) else str(value)) if gap else text
            for form, value, gap, text in zip(forms, row, gaps, texts)
        ]
        for row, gaps, texts in zip(values.tolist(), missing.tolist(), table.texts)
    ]


def _decimals(texts: list[str]) -> int:
    return 1 + max((len(text.partition(".")[2]) for text in texts), default=0)
