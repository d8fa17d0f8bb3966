"""Ratings as users give them, and as sparse matrices."""

from __future__ import annotations

from typing import Any, NamedTuple, Sequence

import numpy as np
from scipy import sparse

from gluon_rbm.backend.types import HostArray
from gluon_rbm.errors import InputError
from gluon_rbm.estimators.tables import are_missing

__all__ = ["Ratings", "check_once", "matrix_of", "pairs_of", "places_in", "scale_of"]


class Ratings(NamedTuple):
    """Users, items and ratings."""

    users: HostArray  #: names or numbers, (n,)
    items: HostArray  #: names or numbers, (n,)
    ratings: HostArray  #: the rating of each pair, float64 (n,)

    @classmethod
    def of(cls, X: Any, y: Any) -> Ratings:
        """Return the ratings of any of the accepted forms.

        Parameters
        ----------
        X, y
            As in `RatingRBM.fit`.

        Returns
        -------
        Ratings
            The ratings as three arrays.

        Raises
        ------
        InputError
            The shapes do not fit, there is no rating, a user or item is missing, or a rating is not
            a finite number.
        """
        if sparse.issparse(X):
            entries = X.tocoo()
            users, items, ratings = entries.row, entries.col, entries.data
        else:
            table = _table(X)
            if table.ndim != 2 or table.shape[1] != (3 if y is None else 2):
                raise InputError(
                    "ratings have shape %s; give rows of (user, item, rating), or of (user, item) and the ratings as y"
                    % (table.shape,)
                )
            users, items = _ids(table[:, 0]), _ids(table[:, 1])
            ratings = table[:, 2] if y is None else np.asarray(y)
        try:
            ratings = np.asarray(ratings, np.float64)
        except (TypeError, ValueError):
            raise InputError("ratings must be numbers") from None
        if ratings.shape != users.shape:
            raise InputError("there are %d pairs of user and item, and %d ratings" % (len(users), ratings.size))
        if not len(ratings):
            raise InputError("there is no rating to learn from")
        for what, values in (("user", users), ("item", items)):
            if are_missing(values).any():
                raise InputError("row %d has no %s; leave it out" % (are_missing(values).argmax(), what))
        if not np.isfinite(ratings).all():
            row = int(np.argmin(np.isfinite(ratings)))
            raise InputError("the rating in row %d is %s; leave out what is not rated" % (row, ratings[row]))
        return cls(users, items, ratings)


def pairs_of(X: Any) -> tuple[HostArray, HostArray]:
    """Return the users and items of rows that begin with them.

    Parameters
    ----------
    X
        Rows (n, 2) or more columns.

    Returns
    -------
    users : array (n,)
        First column.
    items : array (n,)
        Second column.

    Raises
    ------
    InputError
        X has another shape.
    """
    table = _table(X)
    if table.ndim != 2 or table.shape[1] < 2:
        raise InputError("X has shape %s; give rows of (user, item)" % (table.shape,))
    return _ids(table[:, 0]), _ids(table[:, 1])


def _table(X: Any) -> HostArray:
    if isinstance(X, np.ndarray):
        return X
    if hasattr(X, "to_numpy"):  # a frame of pandas
        return X.to_numpy()
    rows = list(X)
    if any(np.isscalar(row) for row in rows):
        return np.asarray(rows)
    table = np.empty((len(rows), len(rows[0]) if rows else 0), object)
    for number, row in enumerate(rows):
        if len(row) != table.shape[1]:
            raise InputError("row %d has %d values, the first %d" % (number, len(row), table.shape[1]))
        table[number] = list(row)
    return table


def _ids(column: HostArray) -> HostArray:
    """A column of names; numbers if all are, so that 7 and 7.0 are the same."""
    if column.dtype != object:
        return column
    values = np.array(column.tolist())
    return values if values.ndim == 1 else column


def scale_of(ratings: HostArray, scale: Sequence[float] | None) -> HostArray:
    """Return the scale of ratings, sorted.

    Parameters
    ----------
    ratings
        Ratings, float64 (n,).
    scale
        The ratings that there are; None: those in `ratings`.

    Returns
    -------
    float64 (n_ratings,)
        The scale.

    Raises
    ------
    InputError
        A rating is not on the given scale. Or no scale is given, and there are more than 1,000
        ratings, or -1 seems to stand for missing ones.
    """
    found = np.unique(ratings)
    if scale is None:
        if found[0] == -1 and len(found) > 1 and found[1] >= 0:
            raise InputError(
                "ratings hold -1: if it stands for missing ones, leave these out; if it is a rating, give the scale"
            )
        if len(found) > 1000:
            raise InputError("there are %d different ratings; round them, as to half stars" % len(found))
        return found
    given = np.unique(np.asarray(scale, np.float64))
    others = np.setdiff1d(found, given)
    if len(others):
        raise InputError("ratings hold %g, which is not on the scale %s" % (others[0], given.tolist()))
    return given


def check_once(given: Ratings, user: HostArray, item: HostArray) -> None:
    """Check that no pair of user and item comes twice.

    Parameters
    ----------
    given
        The ratings.
    user, item
        Number of the user and of the item of each rating, int (n,).

    Raises
    ------
    InputError
        A pair comes twice.
    """
    flat = user.astype(np.int64) * (int(item.max()) + 1) + item
    order = np.argsort(flat, kind="stable")
    again = order[1:][np.diff(flat[order]) == 0]
    if len(again):
        second = again.min()
        raise InputError(
            "user %s rated item %s twice; keep one of the ratings" % (given.users[second], given.items[second])
        )


def matrix_of(rows: HostArray, columns: HostArray, values: HostArray, shape: tuple[int, int]) -> Any:
    """Return a sparse matrix of 1 + values.

    Parameters
    ----------
    rows, columns, values
        Entries, int (n,).
    shape
        Shape of the matrix.

    Returns
    -------
    CSR matrix
        Entries in int16.
    """
    return sparse.coo_matrix((values.astype(np.int16) + 1, (rows, columns)), shape).tocsr()


def places_in(known: HostArray, wanted: HostArray) -> HostArray:
    """Return the place of each name in a sorted array.

    Parameters
    ----------
    known
        Names in order.
    wanted
        Names to look up, (n,).

    Returns
    -------
    int (n,)
        Places; -1 where a name is not in `known`.
    """
    try:
        places = np.searchsorted(known, wanted)
    except TypeError:  # text is wanted among numbers, or the other way round
        return np.full(len(wanted), -1)
    places[places == len(known)] = 0
    return np.where(known[places] == wanted, places, -1)
