"""Tables as text: CSV files of numbers and categories, with gaps."""

from __future__ import annotations

import csv
import logging
import os
import re
from typing import TYPE_CHECKING, Any, Callable, NamedTuple, Sequence

import numpy as np

from gluon_rbm.backend.array_files import check_ordinary
from gluon_rbm.backend.files import write_whole
from gluon_rbm.cli.arguments import above_zero, at_least, path
from gluon_rbm.errors import InputError

if TYPE_CHECKING:
    from argparse import Namespace

    from gluon_rbm.backend.types import HostArray
    from gluon_rbm.cli.inputs import AddArgument
    from gluon_rbm.estimators.binary import BinaryRBM

logger = logging.getLogger(__name__)

__all__ = [
    "Table",
    "add_columns",
    "add_rbm",
    "add_table",
    "check_columns",
    "is_number",
    "rbm_from",
    "read_table",
    "write_table",
]

_MISSING = ("", "na", "nan", "?")  # in lower case
_DELIMITERS = ",;\t|"
_LARGEST = 1e100


class Table(NamedTuple):
    """A table, and what its columns are called."""

    names: list[str]
    values: HostArray  #: objects: float, text, or None where a value is missing
    texts: list[list[str]]  #: as they were read
    lines: list[int]  #: of the file, where rows end
    delimiter: str

    @classmethod
    def of(
        cls, names: list[str], texts: list[list[str]], lines: list[int], delimiter: str, categorical: Sequence[str]
    ) -> Table:
        """Of what was read; columns that are named `categorical` hold text, though all of it may be numbers."""
        values = np.empty((len(texts), len(names)), object)
        for column, name in enumerate(names):
            values[:, column] = _parsed([row[column].strip() for row in texts], as_text=name in categorical)
        return cls(names, values, texts, lines, delimiter)

    def like(self, other: Table) -> Table:
        """The same rows with the columns in the order of another table, and its categories as text."""
        places = [self.names.index(name) for name in other.names]
        texts = [[row[place] for place in places] for row in self.texts]
        return Table.of(other.names, texts, self.lines, self.delimiter, other.categories)

    @property
    def categories(self) -> list[str]:
        """The columns that hold text, and so are categories, by name."""
        return [
            name for name, column in zip(self.names, self.values.T) if any(isinstance(value, str) for value in column)
        ]

    def tell_kinds(self) -> None:
        """Log which columns are taken as what, and warn of those that are next to numbers."""
        categories = self.categories
        numbers = [name for name in self.names if name not in categories]
        for kind, names in (("categories", categories), ("numbers", numbers)):
            if names:
                logger.info("%s: %s", kind, ", ".join(names))
        for name in categories:
            texts = [row[self.names.index(name)].strip() for row in self.texts]
            others = [row for row, text in enumerate(texts) if not (is_missing(text) or is_number(text))]
            if len(others) < len(texts) / 10 and others:
                advice = "%s holds numbers and %r (line %d), and is a column of categories; mend it if it should not be"
                logger.warning(advice, name, texts[others[0]], self.lines[others[0]])


def add_columns(add: AddArgument) -> None:
    """Add which columns are categories, and how numbers become units."""
    add(
        "--categorical",
        nargs="+",
        default=[],
        metavar="COLUMN",
        help="columns of numbers that are categories, by name or number from 1 on; those of text are always",
    )
    add(
        "--bins",
        type=_bins,
        default=10,
        metavar="N",
        help="make a group of N bins of each number (default %(default)s), or with 0 one unit, as a pixel is",
    )


def _bins(text: str) -> int | None:
    return None if text == "0" else at_least(2, int)(text)


def add_rbm(add: AddArgument, passes: str) -> None:
    """Add what the RBM is like; passes : how many it makes by default."""
    add("--num-hidden", type=at_least(1, int), default=100, help="number of hidden units")
    add(
        "--num-epoch",
        type=at_least(0, int),
        help="passes through the table (default: %s)" % passes,
    )
    add("--k", type=at_least(1, int), default=2, help="Gibbs sweeps in each step")
    add("--batch-size", type=at_least(1, int), default=50, help="rows of a step")
    add("--learning-rate", type=above_zero, default=0.02, help="on the mean gradient of a batch")
    add("--seed", type=at_least(0, int), default=0, help="everything random follows from it")


def rbm_from(args: Namespace, num_rows: int, least_steps: int) -> BinaryRBM:
    """The estimator that is asked for, as `rbm_of_table` makes it."""
    from gluon_rbm.estimators.table_rbm import rbm_of_table

    passes = {} if args.num_epoch is None else {"n_iter": args.num_epoch}
    return rbm_of_table(
        num_rows,
        least_steps,
        **passes,
        n_components=args.num_hidden,
        k=args.k,
        batch_size=args.batch_size,
        learning_rate=args.learning_rate,
    )


def read_table(
    file_path: str, categorical: Sequence[str] = (), has_names: Callable[[list[str]], bool] = lambda first: True
) -> Table:
    """Read a CSV file whose first line names the columns, or has_names(its fields) says that it does not.

    The delimiter is a comma, semicolon, tab or bar, whichever the first line has most. A column of which every value is
    a number holds floats, unless it is among `categorical`. Empty fields, NA, NaN and ? are missing.

    Raises
    ------
    InputError
        The file cannot be read, has no rows, rows of several lengths, or two columns of one name; or there is no such
        column.
    """
    texts, lines, delimiter = _read(file_path)
    if has_names(texts[0]):
        names, texts, lines = [name.strip() for name in texts[0]], texts[1:], lines[1:]
    else:
        names = ["%d" % number for number in range(1, len(texts[0]) + 1)]
    if not texts:
        raise InputError("%s has no rows below its first line, which names the columns" % file_path)
    for line, row in zip(lines, texts):
        if len(row) != len(names):
            raise InputError("%s: line %d has %d fields, the first %d" % (file_path, line, len(row), len(names)))
    twice = [name for number, name in enumerate(names) if name in names[:number]]
    if twice:
        raise InputError("%s has two columns %s; rename one" % (file_path, twice[0]))
    chosen = [names[_place(column, names, file_path)] for column in categorical]
    return Table.of(names, texts, lines, delimiter, chosen)


def check_columns(table: Table, file_path: str) -> None:
    """InputError for a column of which nothing can be learned."""
    for name, column in zip(table.names, table.values.T):
        if all(value is None for value in column):
            raise InputError("%s: column %s has no value in any row; leave it out" % (file_path, name))


def _read(file_path: str) -> tuple[list[list[str]], list[int], str]:
    """Fields, the lines that they end in, and the delimiter. A blank line is a row where there is one column."""
    rows: list[list[str]] = []
    lines: list[int] = []
    try:
        check_ordinary(os.path.expanduser(file_path))
        with open(os.path.expanduser(file_path), newline="", encoding="utf-8-sig") as file:
            first = file.readline()
            delimiter = max(_DELIMITERS, key=re.sub('"[^"]*"', "", first).count)
            file.seek(0)
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            for row in reader:
                if row or (rows and len(rows[0]) == 1):
                    rows.append(row or [""])
                    lines.append(reader.line_num)
    except csv.Error as error:
        after = lines[-1] if lines else 0
        raise InputError("%s: line %d is no row (%s); look at its quotes" % (file_path, after + 1, error)) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no text in UTF-8, or no table"
        raise InputError("%s cannot be read (%s); give the path of a CSV file" % (file_path, reason)) from error
    if not rows:
        raise InputError("%s is empty" % file_path)
    return rows, lines, delimiter


def _place(column: str, names: list[str], file_path: str) -> int:
    if column in names:
        return names.index(column)
    if column.isdecimal() and 1 <= int(column) <= len(names):
        return int(column) - 1
    raise InputError("%s has no column %s; its columns are %s" % (file_path, column, ", ".join(names)))


def _parsed(texts: list[str], as_text: bool) -> list[Any]:
    known = [text for text in texts if not is_missing(text)]
    kind: Callable[[str], Any] = str if as_text or not all(map(is_number, known)) else float
    return [None if is_missing(text) else kind(text) for text in texts]


def is_missing(text: str) -> bool:
    """Whether a field stands for a value that is missing."""
    return text.lower() in _MISSING


def is_number(text: str) -> bool:
    """Whether a field is a number, of a size that one can compute with."""
    try:
        return abs(float(text)) <= _LARGEST
    except ValueError:
        return False


def write_table(file_path: str, names: Sequence[str], rows: Sequence[Sequence[str]], delimiter: str) -> None:
    """Write a CSV file, whole or not at all."""
    with write_whole(file_path, "--output") as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=delimiter, lineterminator="\n").writerows([names, *rows])


def add_table(add: AddArgument, text: str) -> None:
    """Add the path of a table."""
    add("table", type=path, metavar="TABLE", help=text)
