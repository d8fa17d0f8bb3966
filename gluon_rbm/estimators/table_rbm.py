"""Base of the imputer and the outlier detector: a table, and an RBM of its units."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Mapping, Sequence

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import check_is_fitted

from gluon_rbm.errors import InputError, check_count
from gluon_rbm.estimators.binary import BinaryRBM
from gluon_rbm.estimators.common import RandomSeed, seed_from, validate_data
from gluon_rbm.estimators.tables import TableEncoder, are_missing, as_objects, check_unknown, column_names

if TYPE_CHECKING:
    from gluon_rbm.backend.types import HostArray

__all__ = ["TableEstimator", "rbm_of_table"]

_PASSES = 60
_CATEGORICAL = re.compile("category|Categorical|Enum|bool|Boolean")  # dtypes of pandas and Polars


def rbm_of_table(num_rows: int, least_steps: int, **settings: Any) -> BinaryRBM:
    """Return the default RBM for the units of a table.

    It makes at least 60 passes and at least `least_steps` steps: with few rows, a pass has few
    steps.

    Parameters
    ----------
    num_rows
        Number of rows of the table.
    least_steps
        Fewest steps of training.
    **settings
        Parameters of `BinaryRBM` that override the defaults.

    Returns
    -------
    BinaryRBM
        An estimator that is not fitted yet.
    """
    batch_size = settings.get("batch_size", 50)
    defaults: dict[str, Any] = {
        "n_components": 100,
        "learning_rate": 0.02,
        "batch_size": batch_size,
        "n_iter": max(_PASSES, -(-least_steps * batch_size // max(num_rows, batch_size))),
        "k": 2,
        "chains": "data",
        "momentum": 0.9,
        "centering": 0.01,
        "initial_visible_bias": "data",
        "shuffle": True,
    }
    return BinaryRBM(**{**defaults, **settings})


class TableEstimator(BaseEstimator):
    """Base of the estimators that learn a table by an RBM of its units.

    A subclass has the parameters that this class reads.

    Attributes
    ----------
    rbm_
        The fitted `BinaryRBM`.
    n_features_in_
        Number of columns in `fit`.
    feature_names_in_
        Names of the columns, if X has names that are all text.
    """

    least_steps = 0  #: fewest steps of the RBM if no estimator is given
    defaults: Mapping[str, Any] = MappingProxyType({})  #: parameters of that RBM, as in `rbm_of_table`

    if TYPE_CHECKING:  # attributes of a subclass
        estimator: BinaryRBM | None
        categorical_features: Any
        num_bins: int | None
        handle_unknown: str
        random_state: RandomSeed
        n_features_in_: int

    def _begin(self, X: Any, unknown: Sequence[str]) -> tuple[HostArray, list[Any]]:
        """X after all checks, and the dtypes of a data frame.

        unknown : choices of `handle_unknown`
        """
        check_unknown(self.handle_unknown, unknown)
        if not isinstance(self.estimator, (BinaryRBM, type(None))):
            raise InputError("estimator is %r; it must be a BinaryRBM, or None" % self.estimator)
        if self.num_bins is not None:
            check_count("num_bins", self.num_bins, 2)
        return self._table(X, reset=True), list(getattr(X, "dtypes", ()))

    def _describe(self, table: HostArray, dtypes: list[Any], strategy: str) -> HostArray:
        """Make the encoder of a table, and return the units of the table.

        strategy : as in `TableEncoder`
        """
        self._encoder = TableEncoder(
            table,
            self._categorical(table, dtypes),
            column_names(self),
            num_bins=self.num_bins,
            strategy=strategy,
            handle_unknown=self.handle_unknown,
        )
        return self._encoder.encode(table)

    def _learn(self, units: HostArray) -> None:
        """Fit a clone of the estimator to rows of units."""
        estimator: Any = clone(self.estimator or rbm_of_table(len(units), self.least_steps, **self.defaults))
        estimator.set_params(softmax_groups=self._encoder.softmax_groups, missing="integrate")
        if self.random_state is not None:
            estimator.set_params(random_state=seed_from(self.random_state))
        self.rbm_ = estimator.fit(units)

    def _table(self, X: Any, reset: bool = False) -> HostArray:
        table = np.asarray(validate_data(self, as_objects(X), dtype=None, ensure_all_finite="allow-nan", reset=reset))
        if table.dtype.kind in "Mm":
            raise InputError("X holds dates or times; make numbers of them, such as days since one of them")
        return table.astype(np.float64) if table.dtype.kind in "biu" else table

    def _units(self, X: Any) -> tuple[HostArray, HostArray]:
        """X after all checks, and its units."""
        check_is_fitted(self)
        table = self._table(X)
        return table, self._encoder.encode(table)

    def _categorical(self, table: HostArray, dtypes: list[Any]) -> HostArray:
        """Which columns are categories, bool (columns,).

        dtypes : of the columns of a data frame
        """
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
        return {"X_types": ["2darray", "string"], "allow_nan": True}


def _holds_categories(column: HostArray) -> bool:
    """Whether a column holds text, or only True and False."""
    if column.dtype.kind != "O":
        return column.dtype.kind in "US"
    known = column[~are_missing(column)]
    return any(isinstance(value, str) for value in known) or (
        len(known) > 0 and all(isinstance(value, (bool, np.bool_)) for value in known)
    )


def _is_place(name: Any, count: int) -> bool:
    return isinstance(name, int) and 0 <= name < count
