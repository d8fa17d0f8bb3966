"""What a step learns of rows of X, some of whose values may be missing (NaN).

Two meanings, the parameter `missing` of `gluon_rbm.estimators.BinaryRBM`:

**"omit"**: what is missing does not exist for its row. Each row has an RBM of the units that it has, with a partition
function of its own; all of them share their weights (Salakhutdinov, Mnih & Hinton, ICML 2007). A unit that is held at 0
in the data and in the chain, and a softmax group whose units all are, is as if it were not there.

**"integrate"**: one RBM, of whose likelihood what is missing is summed out: log p(v_known) = log sum p(v). Its gradient
is a mean over p(v, h | v_known) less one over p(v, h), so that chains which hold what is known draw the rest. They go
on from step to step, one for each row, as the persistent chains of the other mean do (Younes 1989; Salakhutdinov &
Hinton, AISTATS 2009, for the deep relatives). Grey values that are known are held at 0 or 1, drawn anew in each step.
"""

from __future__ import annotations

from typing import Callable, Optional, Tuple

import numpy as np
from sklearn.utils import gen_batches

from gluon_rbm.backend.random import make_generator
from gluon_rbm.backend.types import HostArray, Key, SoftmaxGroups
from gluon_rbm.errors import InputError
from gluon_rbm.estimators.common import Matrix, Rows, dense, float32, has_gaps
from gluon_rbm.likelihood.missing import check_gaps
from gluon_rbm.models.energy import Parameters
from gluon_rbm.models.visible_units import draw_visible
from gluon_rbm.sampling import gibbs

__all__ = ["MISSING", "DataOf", "Integrated", "check_missing", "check_one_on", "complete", "omitted"]

MISSING = ("error", "omit", "integrate")

#: (parameters, rows, key) -> what a step learns: float32 (rows, num_visible), and which of it is held, or None
DataOf = Callable[[Parameters, Rows, Key], Tuple[HostArray, Optional[HostArray]]]

_ROWS_AT_ONCE = 1000
_START, _BINARY, _CHAINS = range(10, 13)  # beside the step's own


def check_missing(missing: str, X: Matrix, softmax_groups: SoftmaxGroups, chains: str) -> bool:
    """Whether X holds NaN. Raises InputError where it may not, or where it cannot be learned."""
    if missing not in MISSING:
        raise InputError("missing is %r; it must be one of %s" % (missing, ", ".join(MISSING)))
    if not has_gaps(X):
        return False
    if missing == "omit" and chains != "data":
        raise InputError("missing='omit' needs chains='data': each row has an RBM, and a chain, of its own")
    if softmax_groups:
        check_gaps(dense(X), softmax_groups)
    return True


def check_one_on(X: Matrix, softmax_groups: SoftmaxGroups) -> None:
    """InputError unless the values of each group of features add up to 1 in each row, where they are known."""
    for rows in gen_batches(X.shape[0], _ROWS_AT_ONCE) if softmax_groups else ():
        values = dense(X[rows])
        for start, stop in softmax_groups:
            wrong = np.flatnonzero(np.abs(values[:, start:stop].sum(axis=1) - 1) > 1e-3)  # NaN is not
            if len(wrong):
                raise InputError(
                    "row %d of X has %s in features %d to %d, a softmax group: give 1 for one of them, and 0 for others"
                    % (rows.start + wrong[0], values[wrong[0], start:stop].tolist(), start, stop - 1)
                )


def complete(X: Matrix) -> DataOf:
    """Rows as they are."""
    return lambda parameters, rows, key: (float32(dense(X[rows])), None)


def omitted(X: Matrix) -> DataOf:
    """Rows without the units that are missing: they are 0, and held."""

    def data_of(parameters: Parameters, rows: Rows, key: Key) -> tuple[HostArray, HostArray]:
        values = float32(dense(X[rows]))
        missing = np.isnan(values)
        return np.where(missing, np.float32(0), values), missing

    return data_of


class Integrated:
    """Rows whose missing values are drawn given the known ones, by chains that go on from call to call.

    Parameters
    ----------
    X : matrix (rows, num_visible) in [0, 1], NaN where a value is missing
    visible_bias : array (num_visible,)
        Of the independent units that missing values are at first drawn from.
    sweeps : int
        Of each call.
    """

    def __init__(
        self, X: Matrix, visible_bias: HostArray, sweeps: int, softmax_groups: SoftmaxGroups, key: Key, engine: str
    ) -> None:
        self._X, self._sweeps, self._groups, self._engine = X, sweeps, softmax_groups, engine
        inputs = np.broadcast_to(visible_bias.astype(np.float32), X.shape)
        self._visible = draw_visible(inputs, softmax_groups, make_generator([*key, _START]))

    def __call__(self, parameters: Parameters, rows: Rows, key: Key) -> tuple[HostArray, None]:
        values = float32(dense(self._X[rows]))
        known = ~np.isnan(values)
        gaps = np.flatnonzero(~known.all(axis=1))
        if not len(gaps):
            return values, None
        places = np.arange(len(self._visible))[rows][gaps]
        held = np.where(known, values, 0)[gaps]
        if not gibbs.is_binary(held):
            held = (make_generator([*key, _BINARY]).random(held.shape) < held).astype(np.float32)
        chains = gibbs.run_chains(
            parameters,
            visible=self._visible[places],
            sweeps=self._sweeps,
            clamp=(known[gaps], held),
            visible_units=self._groups,
            key=[*key, _CHAINS],
            engine=self._engine,
        )
        self._visible[places] = chains.visible_sample
        values[gaps] = np.where(known[gaps], values[gaps], chains.visible_sample)
        return values, None
