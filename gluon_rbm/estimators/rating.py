"""Ratings of items by users: an RBM that is shared by all users, or by all items."""

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
from gluon_rbm.models.energy import log_sum_exp
from gluon_rbm.models.parameters import Parameters
from gluon_rbm.training.optimization import rate_factor

if TYPE_CHECKING:
    from gluon_rbm.backend.types import HostArray, SoftmaxGroups

__all__ = ["RatingRBM"]

_OBJECTIVES, _ROWS = ("pseudo-likelihood", "contrastive"), ("users", "items")
_WRITE = ("write",) * 3
_PSEUDO_COUNT = 5.0  # number of ratings, distributed like all ratings, added to each item
_ROWS_AT_ONCE, _PAIRS_AT_ONCE = 1000, 10000
_FEWEST_STEPS = 16  # fewest steps in a pass over the data
# Training failed if the loss is more than this times the nats of independent ratings. It is not 1,
# because after a few passes there may be no gain yet.
_ASTRAY = 1.2
_HOLD = 0.5  # fraction of all steps before the learning rate falls


class RatingRBM(RegressorMixin, BaseEstimator):
    """An RBM of ratings (Salakhutdinov, Mnih & Hinton, ICML 2007).

    With by="users", each user has an RBM of the items that this user rated, and all users share
    their weights. An item is a softmax group of visible units, with a unit for each value of the
    scale. Items that a user did not rate do not exist in the user's RBM. The distribution of the
    rating of another item q is exact, given the ratings V of the user:

        p(v_q = r | V) = s_r / sum_r' s_r'
        s_r = exp(a_qr) prod_j (1 + exp(b_j + sum_{i rated} W_{i v_i j} + W_qrj))

    With by="items", users and items change places.

    Parameters
    ----------
    n_components
        Number of hidden units.
    by
        What has an RBM. "users": each user; "items": each item, with a group for each user who
        rated it. Predictions by items are better where items have more ratings than users (Georgiev
        & Nakov, ICML 2013).
    objective
        "pseudo-likelihood": maximise the mean of sum_i log p(v_i | others) by its exact gradient;
        these are the distributions that predictions use. "contrastive": learn by contrastive
        divergence, as the paper does.
    learning_rate
        Rate on the mean gradient over the rows of a batch. It falls to 0 in the second half of
        training.
    optimizer
        Name of an optimizer of MXNet.
    batch_size
        Users (or items) in a step, at most a sixteenth of all of them.
    n_iter
        Number of passes through all users (or items).
    k
        Gibbs sweeps of contrastive divergence.
    weight_decay
        The mean loss has the term lambda/2 |W|^2; this is lambda.
    ordinal
        Whether weights are proportional to the rating: W_irj = s_r U_ij, where s_r is evenly spaced
        from -1 to 1. Similar ratings then have similar effects, and with five ratings there are a
        fifth as many weights to learn.
    conditional
        Whether the RBM also learns from which items a user rated, whatever the ratings (section 4
        of the paper). Each item then has one more binary unit, which is always as in the data. By
        items, these units say who rated an item. Pairs in `shown` count as rated.
    scale
        The ratings that there are; None: the different ratings in X.
    random_state
        Integer, generator or None. An integer gives the same RBM every time.
    verbose
        If above 0, print the negative log pseudo-likelihood per rating after each pass.
    engine
        As in `BinaryRBM`, for contrastive divergence.

    Attributes
    ----------
    users_
        The users, sorted.
    items_
        The items, sorted.
    scale_
        The ratings that there are, sorted, float64.
    parameters_
        The RBM of all units as a `gluon_rbm.models.parameters.Parameters`, float32.
    softmax_groups_
        Where the groups are among the visible units.
    n_features_in_
        2, for user and item.

    Notes
    -----
    With by="items", an unknown item is predicted as an item without ratings, and for an unknown
    user the prediction is the distribution of all ratings. With by="users" it is the other way
    round: an unknown user is predicted as a user without ratings, and for an unknown item the
    prediction is the distribution of all ratings.

    Examples
    --------
    >>> from gluon_rbm.estimators import RatingRBM
    >>> pairs = [(user, item) for user in range(20) for item in range(10) if (user + 3 * item) % 7]
    >>> ratings = [5 if user % 2 == item % 2 else 2 for user, item in pairs]  # two tastes
    >>> model = RatingRBM(4, learning_rate=0.05, n_iter=20, random_state=0).fit(pairs, ratings)
    >>> model.predict([(0, 0), (7, 0)]).round().tolist()
    [5.0, 2.0]
    >>> len(model.recommend(0, n=1))
    1
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

    # --- Learning ---------------------------------------------------------------------------------

    def fit(self, X: Any, y: Any = None, shown: Any = None) -> RatingRBM:
        """Learn ratings from the beginning.

        Parameters
        ----------
        X
            Rows of user, item and rating, (n, 3); or of user and item, (n, 2); or a sparse matrix
            (users, items). The stored entries of a sparse matrix are ratings.
        y
            Ratings (n,), where X is (n, 2).
        shown
            With `conditional`, pairs (m, 2) of user and item that are known to be rated, but not
            how. Pairs with an unknown user or item are ignored.

        Returns
        -------
        RatingRBM
            The estimator itself.

        Raises
        ------
        InputError
            A parameter or a rating is not valid, or a pair comes twice.
        DivergenceError
            Parameters are no longer finite. It is an InputError.

        Warns
        -----
        sklearn.exceptions.ConvergenceWarning
            After training by pseudo-likelihood, ratings are less probable than by the frequencies
            of each item (or user) alone: the negative log-probability is more than 1.2 times as
            large.
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
                measured = "" if np.isnan(loss) else ", -log pseudo-likelihood = %.4f" % (loss / self._rated.nnz)
                print("[RatingRBM] Iteration %d%s" % (iteration, measured))
        if loss > _ASTRAY * independent:
            warnings.warn(
                "training went astray: ratings are less probable than by how often each %s has them; lower "
                "learning_rate" % ("user" if self.by == "items" else "item"),
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
        """Number of units in groups; the units of `conditional` follow them."""
        return len(self._column_names) * len(self.scale_)

    @property
    def _steps(self) -> HostArray:
        """s_r of ordinal ratings, float32 from -1 to 1."""
        return np.linspace(-1, 1, len(self.scale_), dtype=np.float32)

    @property
    def softmax_groups_(self) -> SoftmaxGroups:
        """Where the groups of items (or users) are among the visible units.

        Returns
        -------
        tuple of (start, stop)
            A group for each item, or with by="items" for each user.
        """
        size = len(self.scale_)
        return tuple((start, start + size) for start in range(0, self._num_grouped, size))

    def _initial(self, generator: np.random.RandomState) -> list[Any]:
        """NDArrays a, b, U or W, and with `conditional` D, before training.

        Visible biases follow the frequencies of ratings of each item (or user), weights are small.
        """
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
        """Log-probability of all ratings by the initial biases alone, in nats."""
        entries = self._rated.tocoo()
        bias = host_view(self._learned[0]).reshape(-1, len(self.scale_))
        return float(bias[entries.col, entries.data - 1].sum(dtype=np.float64))

    def _expanded(self) -> Parameters:
        """a, b and W of all units; those of `conditional` come last."""
        visible_bias, hidden_bias, weight, *shown = map(host_view, self._learned)
        if self.ordinal:
            weight = (weight[:, None] * self._steps[:, None]).reshape(-1, weight.shape[1])
        if shown:
            visible_bias = np.concatenate([visible_bias, np.zeros(len(shown[0]), np.float32)])
            weight = np.concatenate([weight, shown[0]])
        return Parameters(visible_bias, hidden_bias, weight)

    def _contracted(self, gradients: Parameters) -> list[HostArray]:
        """Gradients of the learned arrays from those of all units."""
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
        """The units of some rows that are on, sparse (rows, units)."""
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
        """The visible layer of some rows, float32 (rows, units), and which units are held, bool."""
        size, rated = len(self.scale_), self._rated[rows].toarray()
        held = np.repeat(rated == 0, size, axis=1)
        if self.conditional:
            held = np.concatenate([held, np.ones(rated.shape, bool)], axis=1)
        return self._units(rows).toarray(), held

    # --- Predicting -------------------------------------------------------------------------------

    def predict(self, X: Any) -> HostArray:
        """Return the expected rating of each pair of user and item.

        It is given the other ratings of the user, or with by="items" the other ratings of the item.

        Parameters
        ----------
        X
            Rows that begin with user and item, (n, 2) or (n, 3). A third column is ignored.

        Returns
        -------
        float64 (n,)
            Means of the distributions of `predict_proba`.
        """
        return self.predict_proba(X) @ self.scale_

    def predict_proba(self, X: Any) -> HostArray:
        """Return the distribution of the rating of each pair of user and item.

        Parameters
        ----------
        X
            As in `predict`.

        Returns
        -------
        float64 (n, n_ratings)
            Probabilities of the ratings in `scale_`.
        """
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
        inputs[-1] = self.parameters_.hidden_layer_bias  # the last row serves all unknown rows
        in_order = np.flatnonzero(columns >= 0)
        # Sorted by column, so that the weights of a column stay in the cache.
        in_order = in_order[np.argsort(columns[in_order], kind="stable")]
        for start in range(0, len(in_order), _PAIRS_AT_ONCE):
            pairs = in_order[start : start + _PAIRS_AT_ONCE]
            probability[pairs] = self._of_pairs(rows[pairs], columns[pairs], inputs)
        return probability

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Return R^2 of the expected ratings, which is 1 at best.

        Parameters
        ----------
        X, y
            As in `fit`.
        sample_weight
            Weights (n,) of the ratings, or None.

        Returns
        -------
        float
            Coefficient of determination.
        """
        data = Ratings.of(X, y)
        pairs = np.empty((len(data.ratings), 2), object)
        pairs[:, 0], pairs[:, 1] = data.users, data.items
        return float(super().score(pairs, data.ratings, sample_weight))

    def recommend(self, user: Any, n: int = 10) -> list[tuple[Any, float]]:
        """Return the items with the largest expected ratings that a user has not rated.

        Parameters
        ----------
        user
            A user; an unknown one has rated nothing.
        n
            Number of items.

        Returns
        -------
        list of tuple
            Pairs of item and expected rating, the largest first.
        """
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
        """p(rating | others) of columns for rows (-1: unknown row), float64 (n, n_ratings)."""
        size = len(self.scale_)
        others, first = inputs[rows], columns * size
        own = np.asarray(self._rated[rows, columns]).ravel() * (rows >= 0)
        rated = np.flatnonzero(own)
        # A prediction does not use the rating that it predicts.
        others[rated] -= self.parameters_.interaction_weight[first[rated] + own[rated] - 1]
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
