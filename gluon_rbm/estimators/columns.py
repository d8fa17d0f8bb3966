"""Kinds of columns of a table: categories, numbers, and numbers in bins, as visible units."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gluon_rbm.backend.types import HostArray
from gluon_rbm.errors import InputError

__all__ = ["Bins", "Category", "Number"]

_FAR_OUT = 3  # interquartile ranges beyond the quartiles


class Category(NamedTuple):
    """A column of categories as a softmax group.

    It has a unit for each value, and with `has_other` one for all other values.
    """

    values: HostArray  #: in order
    has_other: bool = False  #: whether there is a unit for all other values

    @classmethod
    def of(cls, name: str, known: HostArray, values: Any = None, has_other: bool = False) -> Category:
        """Return the category of a column.

        Parameters
        ----------
        name
            What messages call the column.
        known
            Known values of the column, (n,).
        values
            All values in their order; None: the different known ones, sorted.
        has_other
            Whether there is a unit for all other values.

        Returns
        -------
        Category
            The category.

        Raises
        ------
        InputError
            A value is given twice, or text and numbers are mixed.
        """
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
        """Number of units.

        Returns
        -------
        int
            Number of values, and one more with `has_other`.
        """
        return len(self.values) + self.has_other

    def encode(self, name: str, column: HostArray, missing: HostArray, ignore: bool) -> HostArray:
        """Return the units of a column.

        Parameters
        ----------
        name
            What messages call the column.
        column
            Values (rows,).
        missing
            Which values are missing, bool (rows,).
        ignore
            Whether unknown values count as missing.

        Returns
        -------
        float32 (rows, size)
            Units, 0 or 1; NaN where the value is missing.

        Raises
        ------
        InputError
            A value is unknown, and there is no unit for it.
        """
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
        """Return the most probable value of each row, without regard to the unit for other values.

        Parameters
        ----------
        units
            Units or their means, (rows, size).

        Returns
        -------
        array (rows,)
            Values of the category.
        """
        return self.values[units[:, : len(self.values)].argmax(axis=1)]


class Number(NamedTuple):
    """A column of numbers as one unit, from the smallest value (0) to the largest (1)."""

    low: float
    high: float

    @classmethod
    def of(cls, known: HostArray) -> Number:
        """Return the range of a column.

        Parameters
        ----------
        known
            Known numbers of the column, (n,).

        Returns
        -------
        Number
            The range.
        """
        return cls(float(known.min()), float(known.max()))

    size = 1

    def encode(self, column: HostArray, missing: HostArray) -> HostArray:
        """Return the unit of a column; numbers outside the range are clipped.

        Parameters
        ----------
        column
            Numbers (rows,).
        missing
            Which of them are missing, bool (rows,).

        Returns
        -------
        float32 (rows, 1)
            Values in [0, 1]; NaN where the number is missing.
        """
        values = np.where(missing, np.nan, column).astype(np.float64)
        return np.clip((values - self.low) / ((self.high - self.low) or 1), 0, 1).astype(np.float32)[:, None]

    def decode(self, units: HostArray) -> HostArray:
        """Return the numbers of units.

        Parameters
        ----------
        units
            Units or their means, (rows, 1).

        Returns
        -------
        float64 (rows,)
            Numbers in the range.
        """
        return self.low + (self.high - self.low) * units[:, 0].astype(np.float64)


class Bins(NamedTuple):
    """A column of numbers as a softmax group with a unit for each bin."""

    edges: HostArray  #: between bins, (size - 1,); an edge belongs to the bin below it
    means: HostArray  #: the number that each bin stands for, (size,)

    @classmethod
    def quantiles(cls, known: HostArray, num_bins: int) -> Bins:
        """Return bins that hold equal numbers of known values.

        There are fewer bins where many values are the same.

        Parameters
        ----------
        known
            Known numbers of the column, (n,).
        num_bins
            Number of bins.

        Returns
        -------
        Bins
            The bins. Each stands for the mean of its known values.
        """
        edges = np.unique(np.quantile(known, np.linspace(0, 1, num_bins + 1)[1:-1]))
        places = np.searchsorted(edges, known)
        counts = np.bincount(places, minlength=len(edges) + 1)
        occupied = np.flatnonzero(counts)
        sums = np.bincount(places, known, len(counts))
        return cls(edges[occupied[1:] - 1], sums[occupied] / counts[occupied])

    @classmethod
    def uniform(cls, known: HostArray, num_bins: int) -> Bins:
        """Return bins of equal width, and two more for values beyond them.

        With equal widths the probability of a bin is a density. Beyond are values below the
        smallest or above the largest known value, and values that are more than three interquartile
        ranges away from the middle half of the known ones.

        Parameters
        ----------
        known
            Known numbers of the column, (n,).
        num_bins
            Number of bins of equal width.

        Returns
        -------
        Bins
            The bins. Each stands for its middle, and the two others for the outer edges.

        Notes
        -----
        Interquartile ranges: Tukey, Exploratory Data Analysis, 1977.
        """
        lower, upper = np.quantile(known, [0.25, 0.75])
        far = _FAR_OUT * (upper - lower) or np.inf
        edges = np.linspace(max(known.min(), lower - far), min(known.max(), upper + far), num_bins + 1)
        edges[0] = np.nextafter(edges[0], -np.inf)
        return cls(edges, np.r_[edges[0], (edges[1:] + edges[:-1]) / 2, edges[-1]])

    @property
    def size(self) -> int:
        """Number of units.

        Returns
        -------
        int
            Number of bins.
        """
        return len(self.means)

    def encode(self, column: HostArray, missing: HostArray) -> HostArray:
        """Return the units of a column.

        Parameters
        ----------
        column
            Numbers (rows,).
        missing
            Which of them are missing, bool (rows,).

        Returns
        -------
        float32 (rows, size)
            Units, 0 or 1; NaN where the number is missing.
        """
        values = np.where(missing, 0, column).astype(np.float64)
        units = np.eye(self.size, dtype=np.float32)[np.searchsorted(self.edges, values)]
        units[missing] = np.nan
        return units

    def decode(self, units: HostArray) -> HostArray:
        """Return the mean number of each row.

        Parameters
        ----------
        units
            Units or their means, (rows, size).

        Returns
        -------
        float64 (rows,)
            Means of the bins, weighted by the units.
        """
        units = units.astype(np.float64)
        # Probabilities in float32 add up to 1 only within 1e-7.
        return units @ self.means / units.sum(axis=1)
