"""The data of a learning step where values of X may be missing (NaN).

The parameter `missing` of `gluon_rbm.estimators.BinaryRBM` says what NaN means:

**"omit"**: A missing value does not exist for its row. Each row has an RBM of the units that it
has, with its own partition function. All these RBMs share their weights (Salakhutdinov, Mnih &
Hinton, ICML 2007). A unit that is held at 0 in the data and in the chain acts as if it were
absent. So does a softmax group if all its units are held at 0.

**"integrate"**: There is one RBM, and missing values are summed out of its likelihood:
log p(v_known) = log sum p(v). The gradient is a mean over p(v, h | v_known) minus a mean over
p(v, h). Chains that hold the known values draw the missing ones. There is one such chain for each
row, and it goes on from step to step, as the persistent chains of the second mean do (Younes
1989; Salakhutdinov & Hinton, AISTATS 2009, for deep Boltzmann machines). Where known values are
grey, the chain holds 0 or 1, drawn from them anew in each step.
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
from gluon_rbm.models.parameters import Parameters
from gluon_rbm.models.visible_units import draw_visible
from gluon_rbm.sampling import gibbs

__all__ = ["MISSING", "DataOf", "Integrated", "check_missing", "check_one_on", "complete", "omitted"]

MISSING = ("error", "omit", "integrate")

#: A function (parameters, rows, key) -> data of a step, float32 (rows, num_visible), and which
#: units are held (bool), or None.
DataOf = Callable[[Parameters, Rows, Key], Tuple[HostArray, Optional[HostArray]]]

_ROWS_AT_ONCE = 1000
_START, _BINARY, _CHAINS = range(10, 13)  # last words of keys; the step itself uses other words


def check_missing(missing: str, X: Matrix, softmax_groups: SoftmaxGroups, chains: str) -> bool:
    """Check that the gaps of X can be learned, and tell whether there are any.

    Parameters
    ----------
    missing
        "error", "omit" or "integrate".
    X
        Data (n_samples, n_features), NumPy or CSR; NaN is missing.
    softmax_groups
        As in `gluon_rbm.sampling.gibbs.run_chains`.
    chains
        As in `gluon_rbm.likelihood.rules.LearningRule`.

    Returns
    -------
    bool
        True if X holds NaN, also where `missing` is "error".

    Raises
    ------
    InputError
        `missing` is unknown. Or X holds NaN, and `missing` is "omit" without chains="data", or a
        softmax group is missing only in part.
    """
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
    """Check that the values of each softmax group add up to 1 in each row where they are known.

    Parameters
    ----------
    X, softmax_groups
        As in `check_missing`.

    Raises
    ------
    InputError
        A sum differs from 1 by more than 0.001.
    """
    for rows in gen_batches(X.shape[0], _ROWS_AT_ONCE) if softmax_groups else ():
        values = dense(X[rows])
        for start, stop in softmax_groups:
            # The comparison is false for NaN.
            wrong = np.flatnonzero(np.abs(values[:, start:stop].sum(axis=1) - 1) > 1e-3)
            if len(wrong):
                raise InputError(
                    "row %d of X has %s in features %d to %d, a softmax group: give 1 for one of them, and 0 for others"
                    % (rows.start + wrong[0], values[wrong[0], start:stop].tolist(), start, stop - 1)
                )


def complete(X: Matrix) -> DataOf:
    """Return the data of steps that learn rows as they are.

    Parameters
    ----------
    X
        Data (n_samples, num_visible) in [0, 1], without NaN.

    Returns
    -------
    DataOf
        Function that gives float32 rows of X, and None for the held units.
    """
    return lambda parameters, rows, key: (float32(dense(X[rows])), None)


def omitted(X: Matrix) -> DataOf:
    """Return the data of steps that learn rows without their missing units.

    Parameters
    ----------
    X
        Data (n_samples, num_visible) in [0, 1]; NaN is missing.

    Returns
    -------
    DataOf
        Function that gives float32 rows of X with 0 for NaN, and which units are missing, bool.
    """

    def data_of(parameters: Parameters, rows: Rows, key: Key) -> tuple[HostArray, HostArray]:
        values = float32(dense(X[rows]))
        missing = np.isnan(values)
        return np.where(missing, np.float32(0), values), missing

    return data_of


class Integrated:
    """Rows with missing values that are drawn given the known ones.

    One chain for each row draws them. It goes on from call to call.

    Parameters
    ----------
    X
        Data (n_samples, num_visible) in [0, 1]; NaN is missing.
    visible_bias
        Bias (num_visible,) of the independent units that missing values are first drawn from.
    sweeps
        Number of Gibbs sweeps in each call.
    softmax_groups
        As in `gluon_rbm.sampling.gibbs.run_chains`.
    key
        Fixes the first draw.
    engine
        As in `gluon_rbm.sampling.gibbs.run_chains`.
    """

    def __init__(
        self, X: Matrix, visible_bias: HostArray, sweeps: int, softmax_groups: SoftmaxGroups, key: Key, engine: str
    ) -> None:
        self._X, self._sweeps, self._groups, self._engine = X, sweeps, softmax_groups, engine
        inputs = np.broadcast_to(visible_bias.astype(np.float32), X.shape)
        self._visible = draw_visible(inputs, softmax_groups, make_generator([*key, _START]))

    def __call__(self, parameters: Parameters, rows: Rows, key: Key) -> tuple[HostArray, None]:
        """Advance the chains of some rows, and return these rows filled in.

        Parameters
        ----------
        parameters
            The RBM, NumPy arrays.
        rows
            A slice or an array of row numbers.
        key
            Fixes the noise.

        Returns
        -------
        values : float32 array (rows, num_visible)
            Known values as they are, and draws of the missing ones, 0 or 1.
        held : None
            No unit is held in the chains of the model.
        """
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
