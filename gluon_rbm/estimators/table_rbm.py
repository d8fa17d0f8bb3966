"""What an imputer and a detector of outliers share: a table of numbers and categories, and an RBM of its units."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Sequence

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from gluon_rbm.errors import InputError, check_count
from gluon_rbm.estimators.binary import BinaryRBM
from gluon_rbm.estimators.common import RandomSeed, validate_data
from gluon_rbm.estimators.tables import TableEncoder, are_missing, check_unknown, column_names

if TYPE_CHECKING:
    from gluon_rbm.backend.types import HostArray

__all__ = ["TableEstimator", "rbm_of_table"]

_CATEGORICAL = re.compile("category|Categorical|Enum|bool|Boolean")  # dtypes in frames of pandas and Polars


def rbm_of_table(**settings: Any) -> BinaryRBM:
    """What learns the units of a table, unless another is given; settings : other parameters of `BinaryRBM`."""
    defaults: dict[str, Any] = {
        "n_components": 100,
        "learning_rate": 0.02,
        "batch_size": 50,
        "n_iter": 60,
        "k": 2,
        "chains": "data",
        "momentum": 0.9,
        "centering": 0.01,
        "initial_visible_bias": "data",
        "shuffle": True,
    }
    return BinaryRBM(**{**defaults, **settings})


class TableEstimator(BaseEstimator):
    """A table and an RBM of its units; a subclass has the parameters that this reads.

    Attributes: rbm_, a `BinaryRBM`; n_features_in_, feature_names_in_.
    """

    if TYPE_CHECKING:  # what a subclass has
        estimator: BinaryRBM | None
        categorical_features: Any
        num_bins: int | None
        handle_unknown: str
        random_state: RandomSeed
        n_features_in_: int

    def _begin(self, X: Any, strategy: str, unknown: Sequence[str]) -> HostArray:
        """What columns X has: it, checked. strategy : as of `TableEncoder`; unknown : what handle_unknown may be."""
        check_unknown(self.handle_unknown, unknown)
        if not isinstance(self.estimator, (BinaryRBM, type(None))):
            raise InputError("estimator is %r; it must be a BinaryRBM, or None" % self.estimator)
        table = self._table(X, reset=True)
        if self.num_bins is not None:
            check_count("num_bins", self.num_bins, 2)
        self._encoder = TableEncoder(
            table,
            self._categorical(table, list(getattr(X, "dtypes", ()))),
            column_names(self),
            num_bins=self.num_bins,
            strategy=strategy,
            handle_unknown=self.handle_unknown,
        )
        return table

    def _learn(self, units: HostArray) -> None:
        """Learn rows of units by a clone of the estimator."""
        estimator: Any = clone(self.estimator or rbm_of_table())
        estimator.set_params(softmax_groups=self._encoder.softmax_groups, missing="integrate")
        if self.random_state is not None:
            estimator.set_params(random_state=check_random_state(self.random_state).randint(2**31 - 1))
        self.rbm_ = estimator.fit(units)

    def _table(self, X: Any, reset: bool = False) -> HostArray:
        table = np.asarray(validate_data(self, X, dtype=None, ensure_all_finite="allow-nan", reset=reset))
        if table.dtype.kind in "Mm":
            raise InputError("X holds dates or times; make numbers of them, such as days since one of them")
        return table.astype(np.float64) if table.dtype.kind in "biu" else table

    def _units(self, X: Any) -> tuple[HostArray, HostArray]:
        """X, checked, and its units."""
        check_is_fitted(self)
        table = self._table(X)
        return table, self._encoder.encode(table)

    def _categorical(self, table: HostArray, dtypes: list[Any]) -> HostArray:
        """Which columns are categories: bool. dtypes : of the columns of a frame."""
        chosen, count = self.categorical_features, table.shape[1]
        if chosen is None:
            found = [_holds_categories(table[:, column]) for column in range(count)]
            return np.array(found, bool) | [
                _CATEGORICAL.match(str(dtype)) is not None for dtype in dtypes or [""] * count
            ]
        chosen = np.atleast_1d(np.asarray(chosen))
        if chosen.dtype == bool:
            if chosen.shape != (count,):
                raise InputError("categorical_features is of %d columns; X has %d" % (chosen.size, count))
            return chosen
        names = getattr(self, "feature_names_in_", np.arange(count)).tolist()
        unknown = [name for name in chosen.tolist() if name not in names and not _is_place(name, count)]
        if unknown:
            raise InputError("categorical_features names %r, and there is no such column" % unknown[0])
        found = np.zeros(count, bool)
        found[[name if _is_place(name, count) else names.index(name) for name in chosen.tolist()]] = True
        return found

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.string = True
        return tags

    def _more_tags(self) -> dict[str, Any]:  # scikit-learn < 1.6
        return {"allow_nan": True}


def _holds_categories(column: HostArray) -> bool:
    """Whether a column holds text, or nothing but True and False."""
    if column.dtype.kind != "O":
        return column.dtype.kind in "US"
    known = column[~are_missing(column)]
    return any(isinstance(value, str) for value in known) or (
        len(known) > 0 and all(isinstance(value, (bool, np.bool_)) for value in known)
    )


def _is_place(name: Any, count: int) -> bool:
    return isinstance(name, int) and 0 <= name < count
