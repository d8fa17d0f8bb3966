"""Tables of numbers and categories, with gaps, as visible units.

Each column becomes units of the visible layer. A category is a softmax group with a unit for each
value. A number is one unit that goes from the smallest value to the largest, or, with `num_bins`, a
softmax group with a unit for each bin. NaN, None and NA of pandas are missing values.
"""

from __future__ import annotations

from typing import Any, Iterable, Sequence

import numpy as np

from gluon_rbm.backend.types import HostArray, SoftmaxGroups
from gluon_rbm.errors import InputError
from gluon_rbm.estimators.columns import Bins, Category, Number

__all__ = ["TableEncoder", "are_missing", "as_objects", "check_unknown", "column_names"]

_LARGEST = 1e100  # largest number allowed, so that its square is finite


def are_missing(values: HostArray) -> HostArray:
    """Tell which values are NaN, None or NA of pandas.

    Parameters
    ----------
    values
        NumPy array of any shape and dtype.

    Returns
    -------
    bool array
        True for a missing value, in the shape of `values`.
    """
    if values.dtype.kind == "f":
        return np.isnan(values)
    if values.dtype.kind != "O":
        return np.zeros(values.shape, bool)
    flat = [value is None or type(value).__name__ in ("NAType", "NaTType") or value != value for value in values.flat]
    return np.array(flat, bool).reshape(values.shape)


def as_objects(X: Any) -> Any:
    """Return a pandas frame as one of objects unless its columns are plain numbers.

    scikit-learn leaves objects as they are.

    Parameters
    ----------
    X
        A table of any kind.

    Returns
    -------
    object
        The frame of objects, or X itself.
    """
    dtypes = list(getattr(X, "dtypes", ()))
    plain = all(isinstance(dtype, np.dtype) and dtype.kind in "iuf" for dtype in dtypes)
    return X if plain or not hasattr(X, "astype") else X.astype(object)


def column_names(estimator: Any) -> list[str]:
    """Return what messages call the columns of a checked X.

    Parameters
    ----------
    estimator
        Estimator with n_features_in_ and perhaps feature_names_in_.

    Returns
    -------
    list of str
        A text such as "column 2" for each column.
    """
    names = getattr(estimator, "feature_names_in_", range(estimator.n_features_in_))
    return ["column %r" % name if isinstance(name, str) else "column %d" % name for name in names]


def check_unknown(handle_unknown: str, choices: Sequence[str]) -> None:
    """Check the parameter `handle_unknown`.

    Parameters
    ----------
    handle_unknown
        Value of the parameter.
    choices
        Values that are allowed.

    Raises
    ------
    InputError
        The value is not one of the choices.
    """
    if handle_unknown not in choices:
        raise InputError("handle_unknown is %r; it must be one of %s" % (handle_unknown, ", ".join(choices)))


class TableEncoder:
    """The columns of a table, and how they become visible units.

    Parameters
    ----------
    table
        Array (rows, columns) from which categories and ranges are taken.
    categorical
        Which columns are categories, bool (columns,).
    names
        What messages call the columns.
    categories
        "auto", or the values of each column. Those of columns of numbers are ignored.
    num_bins
        Number of bins of each number; None: each number is one unit.
    strategy
        "quantile": bins hold equal numbers of values; "uniform": bins have equal widths, and there
        are two more bins for values below and above all values of the table. Both are as in
        `sklearn.preprocessing.KBinsDiscretizer` but for these two.
    handle_unknown
        What happens to a category that the table does not hold. "error": it is refused; "ignore":
        it counts as missing; "other": each column has a unit for such categories, which is off in
        all rows of the table.

    Attributes
    ----------
    columns
        A `Category`, `Number` or `Bins` for each column.

    Raises
    ------
    InputError
        A column has no known value, or a column of numbers holds text.
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
        """Whether no column is a category.

        Returns
        -------
        bool
            True if all columns are numbers.
        """
        return not any(isinstance(column, Category) for column in self.columns)

    @property
    def softmax_groups(self) -> SoftmaxGroups:
        """The softmax groups of the visible units.

        Returns
        -------
        tuple of (start, stop)
            A group for each category and each number with bins, in order.
        """
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
        """Return the visible units of a table.

        Parameters
        ----------
        table
            Array (rows, columns).

        Returns
        -------
        float32 (rows, num_visible)
            Units in [0, 1]; NaN where the value is missing.

        Raises
        ------
        InputError
            A category is unknown and refused, or a column of numbers holds text.
        """
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
        """Return the table of visible units or of their means.

        Parameters
        ----------
        units
            Units or their means, (rows, num_visible).

        Returns
        -------
        array (rows, columns)
            Numbers and most probable categories, float64, or object if there are categories.
        """
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
