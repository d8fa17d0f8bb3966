"""Ratings: an RBM of users, each of whom rated a few of many items; or of items."""

from __future__ import annotations

import warnings
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Sequence

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state, check_scalar, gen_batches
from sklearn.utils.validation import check_is_fitted

from gluon_rbm.backend.arrays import from_host, host_view
from gluon_rbm.backend.framework import mx
from gluon_rbm.errors import DivergenceError, InputError, check_count
from gluon_rbm.estimators.common import RandomSeed, key_from
from gluon_rbm.estimators.rating_data import Ratings, check_once, matrix_of, pairs_of, places_in, scale_of
from gluon_rbm.likelihood import learning, ratings
from gluon_rbm.likelihood.rules import LearningRule
from gluon_rbm.models.energy import Parameters, log_sum_exp
from gluon_rbm.training.optimization import rate_factor

if TYPE_CHECKING:
    from gluon_rbm.backend.types import HostArray, SoftmaxGroups

__all__ = ["RatingRBM"]

_OBJECTIVES, _ROWS = ("pseudo-likelihood", "contrastive"), ("users", "items")
_WRITE = ("write",) * 3
_PSEUDO_COUNT = 5.0  # ratings of the mean item that each item has besides
_ROWS_AT_ONCE, _PAIRS_AT_ONCE = 1000, 10000
_FEWEST_STEPS = 16  # of a pass
_ASTRAY = 1.2  # times as many nats as independent ratings: a few passes from small random weights need not gain any
_HOLD = 0.5  # of the passes, before the learning rate falls


class RatingRBM(RegressorMixin, BaseEstimator):
    """A restricted Boltzmann machine of ratings (Salakhutdinov, Mnih & Hinton, ICML 2007).

    An item is a softmax group of the visible units, a unit for each value of the scale. Items that a user did not rate
    are not there: each user has an RBM, of the items rated, and all of them share their weights. Of an item that is
    asked for, the distribution of ratings is exact given the user's ratings of others:

        p(v_q = r | V) = exp(a_qr) prod_j (1 + exp(b_j + sum_{i rated} W_{i v_i j} + W_qrj)) / (the same, over r)

    Parameters
    ----------
    n_components : int, default 100
        Hidden units.
    by : "users" or "items", default "items"
        What has an RBM: a user, as above; or an item, of the users who rated it, whose predictions are better where
        items have more ratings than users (Georgiev & Nakov, ICML 2013).
    objective : "pseudo-likelihood" or "contrastive", default "pseudo-likelihood"
        Maximise the mean of sum_i log p(v_i | others) by its exact gradient, which is what is asked for later; or learn
        by contrastive divergence, as the paper does.
    learning_rate : float, default 0.005
        On the mean gradient over the rows of a batch; falls to 0 over the second half.
    optimizer : str, default "adam"
        MXNet's of that name.
    batch_size : int, default 80
        Users (or items) of a step, and at most a sixteenth of all of them.
    n_iter : int, default 25
        Passes through them.
    k : int, default 1
        Gibbs sweeps of contrastive divergence.
    weight_decay : float, default 0.001
        lambda in lambda/2 |W|^2, added to the mean loss.
    ordinal : bool, default True
        Weights are proportional to the rating, W_irj = s_r U_ij with s_r evenly spaced from -1 to 1: a fifth of the
        numbers to learn, and ratings that are close to each other mean the same.
    conditional : bool, default False
        Which items a user rated tells of the user, too, whatever the ratings: a binary unit for each item that is
        always as in the data (section 4 of the paper; by items, who rated an item). Items of `shown` count as rated.
    scale : sequence of float, or None
        The ratings that there are; None: those that X holds.
    random_state : int, RandomState or None, default None
    verbose : int, default 0
    engine : "auto", "mxnet" or "native", default "auto"

    Attributes: users_, items_ and scale_, in order; parameters_, the RBM as `energy.Parameters`.

    A user without ratings, or an unknown one, is predicted from none; an unknown item gets the distribution of all
    ratings.
    """

    def __init__(
        self,
        n_components: int = 100,
        *,
        by: str = "items",
        objective: str = "pseudo-likelihood",
        learning_rate: float = 0.005,
        optimizer: str = "adam",
        batch_size: int = 80,
        n_iter: int = 25,
        k: int = 1,
        weight_decay: float = 0.001,
        ordinal: bool = True,
        conditional: bool = False,
        scale: Sequence[float] | None = None,
        random_state: RandomSeed = None,
        verbose: int = 0,
        engine: str = "auto",
    ) -> None:
        self.n_components = n_components
        self.by = by
        self.objective = objective
        self.learning_rate = learning_rate
        self.optimizer = optimizer
        self.batch_size = batch_size
        self.n_iter = n_iter
        self.k = k
        self.weight_decay = weight_decay
        self.ordinal = ordinal
        self.conditional = conditional
        self.scale = scale
        self.random_state = random_state
        self.verbose = verbose
        self.engine = engine

    # --- Learning ---------------------------------------------------------------------------------------------------

    def fit(self, X: Any, y: Any = None, shown: Any = None) -> RatingRBM:
        """Learn ratings anew; returns self.

        Parameters
        ----------
        X : array-like (n, 3) of user, item and rating; or (n, 2) of user and item; or a sparse matrix (users, items)
            Of a sparse matrix, entries that are stored are ratings.
        y : array-like (n,), or None
            The ratings, where X has none.
        shown : array-like (m, 2) of user and item, or None
            With `conditional`, items of which is known that the user rated them, but not how.
        """
        self._check_settings()
        data = Ratings.of(X, y)
        users, items, given = data
        self.users_, user = np.unique(users, return_inverse=True)
        self.items_, item = np.unique(items, return_inverse=True)
        check_once(data, user, item)
        self.scale_ = scale_of(given, self.scale)
        row, column = (user, item) if self.by == "users" else (item, user)
        shape = len(self._row_names), len(self._column_names)
        self._rated = matrix_of(row, column, np.searchsorted(self.scale_, given), shape)
        self._shown = (self._rated != 0) + self._located(shown)
        self.n_features_in_ = 2
        generator = check_random_state(self.random_state)
        self._learned = self._initial(generator)
        optimizer = mx.optimizer.create(self.optimizer, learning_rate=self.learning_rate)
        update = mx.optimizer.get_updater(optimizer)
        batch_size = min(self.batch_size, -(-shape[0] // _FEWEST_STEPS))
        steps = self.n_iter * -(-shape[0] // batch_size)
        done, loss = 0, 0.0
        independent = -self._log_frequencies()
        self._take()
        for iteration in range(1, self.n_iter + 1):
            order, key, loss = generator.permutation(shape[0]), key_from(generator), 0.0
            for number, batch in enumerate(gen_batches(len(order), batch_size)):
                optimizer.set_learning_rate(self.learning_rate * rate_factor("linear", _HOLD, done / steps))
                loss += self._step(order[batch], update, [*key, number]) * len(order[batch])
                done += 1
            self._take()
            if self.verbose:
                name = "-log pseudo-likelihood" if self.objective == _OBJECTIVES[0] else "-log p(ratings), lower bound"
                print("[RatingRBM] Iteration %d, %s = %.4f" % (iteration, name, loss / self._rated.nnz))
        if loss > _ASTRAY * independent:
            warnings.warn(
                "training went astray: ratings are less probable than by how often each item has them; lower "
                "learning_rate",
                ConvergenceWarning,
                stacklevel=2,
            )
        return self

    def _check_settings(self) -> None:
        for name, lowest in (("n_components", 1), ("batch_size", 1), ("k", 1), ("n_iter", 0)):
            check_scalar(getattr(self, name), name, Integral, min_val=lowest)
        check_scalar(self.learning_rate, "learning_rate", Real, min_val=0, include_boundaries="neither")
        check_scalar(self.weight_decay, "weight_decay", Real, min_val=0)
        for name, choices in (("by", _ROWS), ("objective", _OBJECTIVES)):
            if getattr(self, name) not in choices:
                raise InputError("%s is %r; it must be one of %s" % (name, getattr(self, name), ", ".join(choices)))

    @property
    def _row_names(self) -> HostArray:
        return self.users_ if self.by == "users" else self.items_

    @property
    def _column_names(self) -> HostArray:
        return self.items_ if self.by == "users" else self.users_

    @property
    def _num_grouped(self) -> int:
        """Units in groups, which come before those of `conditional`."""
        return len(self._column_names) * len(self.scale_)

    @property
    def _steps(self) -> HostArray:
        """s_r of ordinal ratings: float32, from -1 to 1."""
        return np.linspace(-1, 1, len(self.scale_), dtype=np.float32)

    @property
    def softmax_groups_(self) -> SoftmaxGroups:
        """Where the items (or users) are among the visible units."""
        size = len(self.scale_)
        return tuple((start, start + size) for start in range(0, self._num_grouped, size))

    def _initial(self, generator: np.random.RandomState) -> list[Any]:
        """Biases from how often each item has each rating, small weights: NDArrays a, b, U or W, and D."""
        size, count = len(self.scale_), len(self._column_names)
        counts = np.zeros((count, size))
        entries = self._rated.tocoo()
        np.add.at(counts, (entries.col, entries.data - 1), 1)
        overall = counts.sum(axis=0) + 1e-3
        counts += _PSEUDO_COUNT * overall / overall.sum()
        bias = np.log(counts / counts.sum(axis=1, keepdims=True))
        shape = (count, self.n_components) if self.ordinal else (count * size, self.n_components)
        arrays = [bias.ravel(), np.zeros(self.n_components), generator.normal(0, 0.01, shape)]
        if self.conditional:
            arrays.append(np.zeros((count, self.n_components)))
        return [from_host(array.astype(np.float32)) for array in arrays]

    def _log_frequencies(self) -> float:
        """The sum of the log-probabilities of all ratings by the initial biases alone."""
        entries = self._rated.tocoo()
        bias = host_view(self._learned[0]).reshape(-1, len(self.scale_))
        return float(bias[entries.col, entries.data - 1].sum(dtype=np.float64))

    def _expanded(self) -> Parameters:
        """a, b and W of all units, those of `conditional` the last."""
        visible_bias, hidden_bias, weight, *shown = map(host_view, self._learned)
        if self.ordinal:
            weight = (weight[:, None] * self._steps[:, None]).reshape(-1, weight.shape[1])
        if shown:
            visible_bias = np.concatenate([visible_bias, np.zeros(len(shown[0]), np.float32)])
            weight = np.concatenate([weight, shown[0]])
        return Parameters(visible_bias, hidden_bias, weight)

    def _contracted(self, gradients: Parameters) -> list[HostArray]:
        """Gradients of the arrays that are learned, of those of all units."""
        count = self._num_grouped
        weight, shown = gradients.interaction_weight[:count], gradients.interaction_weight[count:]
        if self.ordinal:
            weight = np.einsum("r,irj->ij", self._steps, weight.reshape(-1, len(self.scale_), weight.shape[1]))
        return [gradients.visible_layer_bias[:count], gradients.hidden_layer_bias, weight, shown]

    def _take(self) -> None:
        self.parameters_ = Parameters(*(np.array(array) for array in self._expanded()))
        if not all(np.isfinite(array).all() for array in self.parameters_):
            raise DivergenceError("training diverged: parameters are not finite; lower learning_rate")

    def _units(self, rows: HostArray) -> Any:
        """What is on of some rows: sparse (rows, units)."""
        rated = self._rated[rows]
        columns = rated.indices * len(self.scale_) + rated.data - 1
        units = sparse.csr_matrix(
            (np.ones(len(columns), np.float32), columns, rated.indptr), (len(rows), self._num_grouped)
        )
        return sparse.hstack([units, self._shown[rows].astype(np.float32)], "csr") if self.conditional else units

    def _step(self, rows: HostArray, update: Any, key: list[int]) -> float:
        parameters = self._expanded()
        if self.objective == "contrastive":
            loss, gradients = np.nan, self._contrastive(parameters, rows, key)
        else:
            units = self._units(rows)
            context = None
            if self.conditional:
                context = units.copy()
                context.data[context.indices < self._num_grouped] = 0
            entries = ratings.Entries.of(units, len(self.scale_), self._num_grouped)
            inputs = ratings.hidden_inputs(parameters, units)
            loss, gradients = ratings.pseudo_likelihood_gradients(parameters, entries, inputs, context)
        for index, (array, gradient) in enumerate(zip(self._learned, self._contracted(gradients))):
            if index >= 2 and self.weight_decay:
                gradient = gradient + np.float32(self.weight_decay) * host_view(array)
            update(index, from_host(np.ascontiguousarray(gradient, np.float32)), array)
        return loss

    def _contrastive(self, parameters: Parameters, rows: HostArray, key: list[int]) -> Parameters:
        data, held = self._dense(rows)
        gradients = Parameters(*(np.empty_like(array) for array in parameters))
        aux_states: dict[str, Any] = dict(
            zip(learning.SAMPLES, (data.copy(), np.zeros((len(rows), self.n_components), np.float32)))
        )
        learning.store_step_gradients(
            LearningRule(chains="data", softmax_groups=self.softmax_groups_),
            gradients,
            _WRITE,
            parameters,
            data=data,
            aux_states=aux_states,
            sweeps=self.k,
            key=key,
            engine=self.engine,
            held=held,
        )
        return gradients

    def _dense(self, rows: HostArray) -> tuple[HostArray, HostArray]:
        """The visible layer of some rows, float32 (rows, units), and the units of it that are held, bool."""
        size, rated = len(self.scale_), self._rated[rows].toarray()
        held = np.repeat(rated == 0, size, axis=1)
        if self.conditional:
            held = np.concatenate([held, np.ones(rated.shape, bool)], axis=1)
        return self._units(rows).toarray(), held

    # --- Predicting -------------------------------------------------------------------------------------------------

    def predict(self, X: Any) -> HostArray:
        """The expected rating of each pair of user and item, given the user's other ratings: float64 (n,).

        X : array-like (n, 2) or (n, 3), whose third column is ignored.
        """
        return self.predict_proba(X) @ self.scale_

    def predict_proba(self, X: Any) -> HostArray:
        """The distribution of the rating over scale_, of each pair of user and item: float64 (n, len(scale_))."""
        check_is_fitted(self)
        users, items = pairs_of(X)
        user, item = places_in(self.users_, users), places_in(self.items_, items)
        rows, columns = (user, item) if self.by == "users" else (item, user)
        probability = np.tile(self._overall(), (len(users), 1))
        known = np.unique(rows[rows >= 0])
        inputs = np.empty((len(self._row_names) + 1, self.n_components), np.float32)
        for first in range(0, len(known), _ROWS_AT_ONCE):
            some = known[first : first + _ROWS_AT_ONCE]
            inputs[some] = ratings.hidden_inputs(self.parameters_, self._units(some))
        inputs[-1] = self.parameters_.hidden_layer_bias  # of those that nothing is known of
        in_order = np.flatnonzero(columns >= 0)
        in_order = in_order[np.argsort(columns[in_order], kind="stable")]  # weights of a column are at hand then
        for start in range(0, len(in_order), _PAIRS_AT_ONCE):
            pairs = in_order[start : start + _PAIRS_AT_ONCE]
            probability[pairs] = self._of_pairs(rows[pairs], columns[pairs], inputs)
        return probability

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """R^2 of expected ratings, which is 1 at best; X : as in `fit`, with or without the ratings."""
        data = Ratings.of(X, y)
        pairs = np.empty((len(data.ratings), 2), object)
        pairs[:, 0], pairs[:, 1] = data.users, data.items
        return float(super().score(pairs, data.ratings, sample_weight))

    def recommend(self, user: Any, n: int = 10) -> list[tuple[Any, float]]:
        """The n items of the largest expected rating that the user has not rated: (item, expected rating)."""
        check_is_fitted(self)
        check_count("n", n)
        place = places_in(self.users_, np.array([user]))[0]
        by_user = self._rated if self.by == "users" else self._rated.T.tocsr()
        rated = by_user[place].indices if place >= 0 else []
        others = np.setdiff1d(np.arange(len(self.items_)), rated)
        pairs = np.empty((len(others), 2), object)
        pairs[:, 0], pairs[:, 1] = user, self.items_[others]
        expected = self.predict(pairs)
        best = np.argsort(-expected, kind="stable")[:n]
        return [(self.items_[others[number]], float(expected[number])) for number in best]

    def _of_pairs(self, rows: HostArray, columns: HostArray, inputs: HostArray) -> HostArray:
        """p(rating | others) of items for users (or of users for items), row -1 unknown: float64 (n, len(scale_))."""
        size = len(self.scale_)
        others, first = inputs[rows], columns * size
        own = np.asarray(self._rated[rows, columns]).ravel() * (rows >= 0)
        rated = np.flatnonzero(own)
        others[rated] -= self.parameters_.interaction_weight[first[rated] + own[rated] - 1]  # without its own rating
        scores = ratings.group_scores(self.parameters_, others, first, size)
        return np.exp(scores - log_sum_exp(scores)[:, None])

    def _overall(self) -> HostArray:
        counts = np.bincount(self._rated.data - 1, minlength=len(self.scale_))
        return counts / counts.sum()

    def _located(self, shown: Any) -> Any:
        """Pairs of known users and items as a sparse matrix of booleans."""
        shape = self._rated.shape
        if shown is None:
            return sparse.csr_matrix(shape, dtype=bool)
        users, items = pairs_of(shown)
        user, item = places_in(self.users_, users), places_in(self.items_, items)
        both = (user >= 0) & (item >= 0)
        row, column = (user, item) if self.by == "users" else (item, user)
        return sparse.csr_matrix((np.ones(both.sum(), bool), (row[both], column[both])), shape)
