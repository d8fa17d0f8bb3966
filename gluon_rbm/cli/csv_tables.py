"""CSV files: tables of numbers and categories, with missing values."""

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
    "is_missing",
    "is_number",
    "rbm_from",
    "read_table",
    "write_table",
]

_MISSING = ("", "na", "nan", "?")  # in lower case
_DELIMITERS = ",;\t|"
_LARGEST = 1e100


class Table(NamedTuple):
    """A table, as numbers and text, and as it was read."""

    names: list[str]  #: the names of the columns
    values: HostArray  #: array of objects (rows, columns): float, text, or None for a missing value
    texts: list[list[str]]  #: the fields of each row, as they were read
    lines: list[int]  #: number of the line where each row ends
    delimiter: str

    @classmethod
    def of(
        cls, names: list[str], texts: list[list[str]], lines: list[int], delimiter: str, categorical: Sequence[str]
    ) -> Table:
        """Make a table of the fields of a file.

        Parameters
        ----------
        names, texts, lines, delimiter
            The fields of the table.
        categorical
            Names of columns to hold as text even if all their values are numbers.

        Returns
        -------
        Table
            The table.
        """
        values = np.empty((len(texts), len(names)), object)
        for column, name in enumerate(names):
            values[:, column] = _parsed([row[column].strip() for row in texts], as_text=name in categorical)
        return cls(names, values, texts, lines, delimiter)

    def like(self, other: Table) -> Table:
        """Return these rows with the columns of another table.

        Parameters
        ----------
        other
            A table with columns of the same names.

        Returns
        -------
        Table
            The rows, with columns in the order of `other`. Its columns of text are text here, too.
        """
        places = [self.names.index(name) for name in other.names]
        texts = [[row[place] for place in places] for row in self.texts]
        return Table.of(other.names, texts, self.lines, self.delimiter, other.categories)

    @property
    def categories(self) -> list[str]:
        """Names of the columns that hold text, and so are categories.

        Returns
        -------
        list of str
            The names, in the order of the table.
        """
        return [
            name for name, column in zip(self.names, self.values.T) if any(isinstance(value, str) for value in column)
        ]

    def tell_kinds(self) -> None:
        """Log which columns are categories and which are numbers.

        Warn of a column of categories if less than a tenth of its values are not numbers, or if a
        value looks like a number with a decimal comma.
        """
        categories = self.categories
        numbers = [name for name in self.names if name not in categories]
        for kind, names in (("categories", categories), ("numbers", numbers)):
            if names:
                logger.info("%s: %s", kind, ", ".join(names))
        for name in categories:
            texts = [row[self.names.index(name)].strip() for row in self.texts]
            others = [row for row, text in enumerate(texts) if not (is_missing(text) or is_number(text))]
            if len(others) < len(texts) / 10 and others:
                advice = (
                    "warning: column %s holds numbers and %r (line %d), so it is read as categories; correct the "
                    "value if the column should be numeric"
                )
                logger.warning(advice, name, texts[others[0]], self.lines[others[0]])
                continue
            decimal = [row for row in others if re.fullmatch(r"[+-]?\d+,\d+", texts[row])]
            if decimal:
                advice = (
                    "warning: column %s holds %r (line %d), so it is read as categories; write a point if this is a "
                    "number"
                )
                logger.warning(advice, name, texts[decimal[0]], self.lines[decimal[0]])


def add_columns(add: AddArgument) -> None:
    """Add the flags that say which columns are categories, and how numbers become units.

    Parameters
    ----------
    add
        The method add_argument of a parser.
    """
    add(
        "--categorical",
        nargs="+",
        default=[],
        metavar="COLUMN",
        help="numeric columns to treat as categories, by name or by number from 1; text columns always are",
    )
    add(
        "--bins",
        type=_bins,
        default=10,
        metavar="N",
        help="number of bins for each numeric column; 0: no bins, one unit for each column, like a pixel",
    )


def _bins(text: str) -> int | None:
    return None if text == "0" else at_least(2, int)(text)


def add_rbm(add: AddArgument, passes: str, num_hidden: int = 100, learning_rate: float = 0.02) -> None:
    """Add the flags of the RBM and its training.

    Parameters
    ----------
    add
        As in `add_columns`.
    passes
        The default number of passes through the table, for the help text.
    num_hidden, learning_rate
        Defaults of these flags.
    """
    add("--num-hidden", type=at_least(1, int), default=num_hidden, help="number of hidden units")
    add(
        "--num-epoch",
        type=at_least(0, int),
        help="number of passes through the table (default: %s)" % passes,
    )
    add("--k", type=at_least(1, int), default=2, help="Gibbs sweeps per training step")
    add("--batch-size", type=at_least(1, int), default=50, help="rows per batch")
    rate_text = "learning rate, on the mean gradient of a batch"
    add("--learning-rate", type=above_zero, default=learning_rate, help=rate_text)
    add("--seed", type=at_least(0, int), default=0, help="random seed; the same seed gives the same result")


def rbm_from(args: Namespace, num_rows: int, least_steps: int) -> BinaryRBM:
    """Make the estimator of the arguments.

    Parameters
    ----------
    args
        The parsed arguments of `add_rbm`.
    num_rows
        The number of rows of the table.
    least_steps
        Without --num-epoch, there are at least 60 passes, and enough for so many steps.

    Returns
    -------
    BinaryRBM
        The estimator, from `gluon_rbm.estimators.table_rbm.rbm_of_table`.
    """
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
    """Read a CSV file.

    The delimiter is the most frequent of comma, semicolon, tab and bar in the first line.
    A column becomes floats if all its values are numbers. Empty fields, NA, NaN and ? are missing.

    Parameters
    ----------
    file_path
        The path of the file.
    categorical
        Columns to hold as text even if all their values are numbers: names, or numbers from 1 on.
    has_names
        From the fields of the first line to whether they are the names of the columns. Otherwise
        the line is a row, and the names are "1", "2" and so on.

    Returns
    -------
    Table
        The table.

    Raises
    ------
    InputError
        The file cannot be read or has no rows, its rows have different lengths, two columns have
        one name, or there is no such column as `categorical` says.
    """
    texts, lines, delimiter = _read(file_path)
    if has_names(texts[0]):
        names, texts, lines = [name.strip() for name in texts[0]], texts[1:], lines[1:]
    else:
        names = ["%d" % number for number in range(1, len(texts[0]) + 1)]
    if not texts:
        raise InputError("%s has no rows below its first line, the column names" % file_path)
    for line, row in zip(lines, texts):
        if len(row) != len(names):
            raise InputError(
                "%s: line %d has %d fields, but the first line has %d" % (file_path, line, len(row), len(names))
            )
    twice = [name for number, name in enumerate(names) if name in names[:number]]
    if twice:
        raise InputError("%s has two columns named %s; rename one" % (file_path, twice[0]))
    chosen = [names[_place(column, names, file_path)] for column in categorical]
    return Table.of(names, texts, lines, delimiter, chosen)


def check_columns(table: Table, file_path: str) -> None:
    """Check that each column has a value.

    Parameters
    ----------
    table
        The table.
    file_path
        The path of its file, for the message.

    Raises
    ------
    InputError
        All values of a column are missing, so that nothing can be learned from it.
    """
    for name, column in zip(table.names, table.values.T):
        if all(value is None for value in column):
            raise InputError("%s: column %s has no values; remove it" % (file_path, name))


def _read(file_path: str) -> tuple[list[list[str]], list[int], str]:
    """Return the fields of the rows, the line that each row ends in, and the delimiter.

    In a file of one column a blank line is a row.
    """
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
        raise InputError("%s: line %d cannot be read (%s); check its quotes" % (file_path, after + 1, error)) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a table in UTF-8"
        raise InputError("%s cannot be read (%s); give the path of a CSV file" % (file_path, reason)) from error
    if not rows:
        raise InputError("%s is empty; give a CSV file with rows" % file_path)
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
    """Whether a field stands for a missing value.

    Parameters
    ----------
    text
        The field, without spaces around it.

    Returns
    -------
    bool
        True if it does.
    """
    return text.lower() in _MISSING


def is_number(text: str) -> bool:
    """Whether a field is a number between -1e100 and 1e100.

    Parameters
    ----------
    text
        The field.

    Returns
    -------
    bool
        True if it is.
    """
    try:
        return "_" not in text and abs(float(text)) <= _LARGEST  # Python reads 1_000 as a number
    except ValueError:
        return False


def write_table(file_path: str, names: Sequence[str], rows: Sequence[Sequence[str]], delimiter: str) -> None:
    """Write a CSV file, whole or not at all.

    Parameters
    ----------
    file_path
        The path of the file, from --output.
    names
        The names of the columns.
    rows
        The fields of each row.
    delimiter
        The delimiter.
    """
    with write_whole(file_path, "--output") as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=delimiter, lineterminator="\n").writerows([names, *rows])


def add_table(add: AddArgument, text: str) -> None:
    """Add the argument TABLE, the path of a table.

    Parameters
    ----------
    add
        As in `add_columns`.
    text
        The help text.
    """
    add("table", type=path, metavar="TABLE", help=text)
