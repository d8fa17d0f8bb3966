"""Tables as visible units: columns of numbers and of categories, with gaps.

A column becomes units of the visible layer: a category a softmax group, a unit for each value; a number one unit
between its least and its largest value, or, with `num_bins`, a group of as many bins. NaN, None and pandas' NA are
missing.
"""

from __future__ import annotations

from typing import Any, Iterable, NamedTuple, Sequence

import numpy as np

from gluon_rbm.backend.types import HostArray, SoftmaxGroups
from gluon_rbm.errors import InputError

__all__ = ["TableEncoder", "are_missing", "as_objects", "check_unknown", "column_names"]

_FAR_OUT = 3  # interquartile ranges
_LARGEST = 1e100  # of numbers, whose squares and differences are to be finite


def are_missing(values: HostArray) -> HostArray:
    """Which values are NaN, None or pandas' NA: bool, of the same shape."""
    if values.dtype.kind == "f":
        return np.isnan(values)
    if values.dtype.kind != "O":
        return np.zeros(values.shape, bool)
    flat = [value is None or type(value).__name__ in ("NAType", "NaTType") or value != value for value in values.flat]
    return np.array(flat, bool).reshape(values.shape)


def as_objects(X: Any) -> Any:
    """X; a frame of pandas with other columns than plain numbers as one of objects, which scikit-learn leaves alone."""
    dtypes = list(getattr(X, "dtypes", ()))
    plain = all(isinstance(dtype, np.dtype) and dtype.kind in "iuf" for dtype in dtypes)
    return X if plain or not hasattr(X, "astype") else X.astype(object)


def column_names(estimator: Any) -> list[str]:
    """What the columns of a checked X are called in messages."""
    names = getattr(estimator, "feature_names_in_", range(estimator.n_features_in_))
    return ["column %r" % name if isinstance(name, str) else "column %d" % name for name in names]


def check_unknown(handle_unknown: str, choices: Sequence[str]) -> None:
    """InputError if the parameter is none of the choices."""
    if handle_unknown not in choices:
        raise InputError("handle_unknown is %r; it must be one of %s" % (handle_unknown, ", ".join(choices)))


class Category(NamedTuple):
    """A column of categories: a softmax group, a unit for each value, and one for all others if asked for."""

    values: HostArray  #: in order
    has_other: bool = False

    @classmethod
    def of(cls, name: str, known: HostArray, values: Any = None, has_other: bool = False) -> Category:
        """The categories of the known values, in order; or those given, in theirs."""
        if values is not None:
            values = np.asarray(values)
            if values.ndim != 1 or len(set(values.tolist())) != len(values):
                raise InputError("%s has categories %s; give each of them once" % (name, values.tolist()))
            return cls(values, has_other)
        try:
            return cls(np.unique(known), has_other)
        except TypeError:
            raise InputError("%s mixes text and numbers; give it one type" % name) from None

    @property
    def size(self) -> int:
        return len(self.values) + self.has_other

    def encode(self, name: str, column: HostArray, missing: HostArray, ignore: bool) -> HostArray:
        place_of = {value: place for place, value in enumerate(self.values.tolist())}
        other = len(self.values) if self.has_other else -1
        places = np.full(len(column), -1)
        places[~missing] = [place_of.get(value, other) for value in column[~missing].tolist()]
        unknown = np.flatnonzero((places < 0) & ~missing)
        if len(unknown) and not ignore:
            raise InputError(
                "%s holds %r, which is none of its categories; handle_unknown='ignore' takes it for missing"
                % (name, column[unknown[0]])
            )
        units = np.eye(self.size, dtype=np.float32)[places]
        units[places < 0] = np.nan
        return units

    def decode(self, units: HostArray) -> HostArray:
        return self.values[units[:, : len(self.values)].argmax(axis=1)]


class Number(NamedTuple):
    """A column of numbers: one unit, from the least value (0) to the largest (1)."""

    low: float
    high: float

    @classmethod
    def of(cls, known: HostArray) -> Number:
        return cls(float(known.min()), float(known.max()))

    size = 1

    def encode(self, column: HostArray, missing: HostArray) -> HostArray:
        values = np.where(missing, np.nan, column).astype(np.float64)
        return np.clip((values - self.low) / ((self.high - self.low) or 1), 0, 1).astype(np.float32)[:, None]

    def decode(self, units: HostArray) -> HostArray:
        return self.low + (self.high - self.low) * units[:, 0].astype(np.float64)


class Bins(NamedTuple):
    """A column of numbers: a softmax group, a unit for each bin."""

    edges: HostArray  #: between bins; a bin has its upper one
    means: HostArray  #: of the values of each bin

    @classmethod
    def quantiles(cls, known: HostArray, num_bins: int) -> Bins:
        """Bins of as many of the known values each; fewer of them, where many values are the same."""
        edges = np.unique(np.quantile(known, np.linspace(0, 1, num_bins + 1)[1:-1]))
        places = np.searchsorted(edges, known)
        counts = np.bincount(places, minlength=len(edges) + 1)
        occupied = np.flatnonzero(counts)
        sums = np.bincount(places, known, len(counts))
        return cls(edges[occupied[1:] - 1], sums[occupied] / counts[occupied])

    @classmethod
    def uniform(cls, known: HostArray, num_bins: int) -> Bins:
        """Bins of one width, so that a bin's probability is a density, and two for what is beyond.

        That is less than the least known value or more than the largest, or far out: more than three interquartile
        ranges from the middle half of them (Tukey, Exploratory Data Analysis, 1977).
        """
        lower, upper = np.quantile(known, [0.25, 0.75])
        far = _FAR_OUT * (upper - lower) or np.inf
        edges = np.linspace(max(known.min(), lower - far), min(known.max(), upper + far), num_bins + 1)
        edges[0] = np.nextafter(edges[0], -np.inf)
        return cls(edges, np.r_[edges[0], (edges[1:] + edges[:-1]) / 2, edges[-1]])

    @property
    def size(self) -> int:
        return len(self.means)

    def encode(self, column: HostArray, missing: HostArray) -> HostArray:
        values = np.where(missing, 0, column).astype(np.float64)
        units = np.eye(self.size, dtype=np.float32)[np.searchsorted(self.edges, values)]
        units[missing] = np.nan
        return units

    def decode(self, units: HostArray) -> HostArray:
        units = units.astype(np.float64)
        return units @ self.means / units.sum(axis=1)  # probabilities in float32 add up to 1 within 1e-7


class TableEncoder:
    """What columns a table has, and how they become visible units.

    Parameters
    ----------
    table : array (rows, columns)
        What categories and ranges are taken from.
    categorical : which columns are categories, bool (columns,)
    names : what columns are called in messages
    categories : "auto", or a sequence of the values of each column
        (Those of columns that are numbers are ignored.)
    num_bins : int, or None
        Numbers are one unit each; or groups of that many bins.
    strategy : "quantile" or "uniform"
        Bins of as many values, or of one width, as in `sklearn.preprocessing.KBinsDiscretizer`; these with two more,
        for what is below and above all values of the table.
    handle_unknown : "error", "ignore" or "other"
        A category that was not there is refused; or it counts as missing; or each column has a unit for such, which is
        off in all rows of the table.

    Raises InputError for a column without values, and for text in a column of numbers.
    """

    def __init__(
        self,
        table: HostArray,
        categorical: Sequence[bool] | HostArray,
        names: Iterable[str],
        categories: Any = "auto",
        num_bins: int | None = None,
        strategy: str = "quantile",
        handle_unknown: str = "error",
    ) -> None:
        self._names, self._ignore, missing = list(names), handle_unknown == "ignore", are_missing(table)
        self.columns: list[Category | Number | Bins] = []
        for number, name in enumerate(self._names):
            known = table[~missing[:, number], number]
            if not len(known):
                raise InputError("%s has no value in any row; leave it out" % name)
            if categorical[number]:
                values = None if isinstance(categories, str) else categories[number]
                self.columns.append(Category.of(name, known, values, handle_unknown == "other"))
            elif num_bins is None:
                self.columns.append(Number.of(self._numbers(name, known)))
            else:
                bins_of = Bins.quantiles if strategy == "quantile" else Bins.uniform
                self.columns.append(bins_of(self._numbers(name, known), num_bins))
        self._stops = np.cumsum([column.size for column in self.columns])

    @property
    def is_numeric(self) -> bool:
        """Whether no column is a category."""
        return not any(isinstance(column, Category) for column in self.columns)

    @property
    def softmax_groups(self) -> SoftmaxGroups:
        """Where the columns that are groups are among the visible units."""
        return tuple(
            (int(stop) - column.size, int(stop))
            for column, stop in zip(self.columns, self._stops)
            if not isinstance(column, Number)
        )

    @staticmethod
    def _numbers(name: str, values: HostArray) -> HostArray:
        try:
            numbers = values.astype(np.float64)
        except (TypeError, ValueError):
            other = next(value for value in values.tolist() if not _is_number(value))
            raise InputError(
                "%s holds %r, which is no number; mend it, or name the column among the categorical ones"
                % (name, other)
            ) from None
        if (np.abs(numbers) > _LARGEST).any():
            raise InputError("%s holds numbers beyond %g; scale it, or mend them" % (name, _LARGEST))
        return numbers

    def encode(self, table: HostArray) -> HostArray:
        """The visible units of a table: float32 (rows, num_visible), NaN where a value is missing."""
        blocks, missing = [], are_missing(table)
        for number, (name, column) in enumerate(zip(self._names, self.columns)):
            gaps, values = missing[:, number], table[:, number]
            if isinstance(column, Category):
                blocks.append(column.encode(name, values, gaps, self._ignore))
            else:
                numbers = np.zeros(len(values))
                numbers[~gaps] = self._numbers(name, values[~gaps])
                blocks.append(column.encode(numbers, gaps))
        return np.concatenate(blocks, axis=1)

    def decode(self, units: HostArray) -> HostArray:
        """A table of visible units, or of their means: of categories the most probable ones; float64, or objects."""
        blocks = np.split(units, self._stops[:-1], axis=1)
        columns = [column.decode(block) for column, block in zip(self.columns, blocks)]
        table = np.empty((len(units), len(columns)), np.float64 if self.is_numeric else object)
        for number, column in enumerate(columns):
            table[:, number] = column
        return table


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True
