"""The binary RBM as an estimator."""

from __future__ import annotations

import hashlib
import itertools
from typing import TYPE_CHECKING, Any, Iterable

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from gluon_rbm.backend.arrays import from_host, to_numpy
from gluon_rbm.errors import InputError
from gluon_rbm.estimators.common import (
    Matrix,
    RandomSeed,
    Rows,
    Transformer,
    base_rate,
    dense,
    float32,
    has_gaps,
    key_from,
    mean_image,
)
from gluon_rbm.estimators.gaps import DataOf, Integrated, check_missing, check_one_on, complete, omitted
from gluon_rbm.estimators.persistent import PersistentLearning
from gluon_rbm.likelihood import ais, learning
from gluon_rbm.likelihood.missing import check_gaps, marginal_free_energy
from gluon_rbm.models import energy
from gluon_rbm.models.energy import Parameters
from gluon_rbm.models.visible_units import checked_visible_units
from gluon_rbm.sampling import gibbs
from gluon_rbm.sampling.chains import initial_visible, sample_chains
from gluon_rbm.sampling.inpainting import Inpainted, inpaint

if TYPE_CHECKING:
    from gluon_rbm.backend.types import HostArray, SoftmaxGroups
    from gluon_rbm.likelihood.estimates import LogPartition
    from gluon_rbm.likelihood.scores import LogLikelihood

__all__ = ["BinaryRBM"]

_STARTS = ("zeros", "data")
_SWEEPS_OF_GAPS = 100  # of chains that hold what is known of a row


class BinaryRBM(Transformer, PersistentLearning):
    """A binary RBM, in place of `sklearn.neural_network.BernoulliRBM`: its parameters, attributes, methods, and more.

        p(v, h) = exp(intercept_visible_.v + intercept_hidden_.h + h components_ v) / Z

    Parameters
    ----------
    n_components : int, default 256
        Hidden units.
    learning_rate : float, default 0.1
        On the mean gradient of a batch (the scripts divide by the batch size once more).
    batch_size : int, default 10
        Images of a step; also the number of chains (`fit` has no more of them than images).
    n_iter : int, default 10
        Passes through X, which is taken in its order.
    verbose : int, default 0
        Print the mean of `score_samples` after each pass.
    random_state : int, RandomState or None, default None
        Everything random follows from it; a number gives the same RBM every time.
    k : int, default 1
        Gibbs sweeps in each step.
    chains : "persistent", "data", "noise", "tempered" or "trajectory", default "persistent"
        PCD-k, CD-k, or parallel tempering; this, and the next three, as in
        `gluon_rbm.likelihood.rules.LearningRule`.
    centering : float, default 0.0
    sparsity_target, sparsity_cost : float, default 0.1 and 0.0
    momentum : float, default 0.0
    weight_decay : float, default 0.0
        lambda in lambda/2 |W|^2, added to the mean loss.
    engine : "auto", "mxnet" or "native", default "auto"
        What runs the chains.
    softmax_groups : sequence of (start, stop), default ()
        Groups of features of each of which exactly one is 1: the values of a category
        (`gluon_rbm.models.visible_units`).
    missing : "error", "omit" or "integrate", default "error"
        What NaN means in X. "omit": a feature that does not exist for its row; "integrate": a value that exists and is
        not known, which is summed out (`gluon_rbm.estimators.gaps`).
    initial_visible_bias : "zeros" or "data", default "zeros"
        Biases before training: as BernoulliRBM's, or those of independent features with the means of X.
    shuffle : bool, default False
        Take X in a new order in each pass.

    Attributes: components_ (n_components, n_features), intercept_hidden_ (n_components,) and intercept_visible_
    (n_features,) in the dtype of X; h_samples_ (chains, n_components), their states; n_features_in_,
    feature_names_in_.

    X may be grey, as elsewhere here. Raises ValueError in scikit-learn's words for bad input, and
    `gluon_rbm.errors.InputError`, which is one, for settings that cannot be. `fit` warns
    (`sklearn.exceptions.ConvergenceWarning`) where training left hidden units that do not depend on the image.
    """

    def __init__(
        self,
        n_components: int = 256,
        *,
        learning_rate: float = 0.1,
        batch_size: int = 10,
        n_iter: int = 10,
        verbose: int = 0,
        random_state: RandomSeed = None,
        k: int = 1,
        chains: str = "persistent",
        centering: float = 0.0,
        sparsity_target: float = 0.1,
        sparsity_cost: float = 0.0,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        engine: str = "auto",
        softmax_groups: SoftmaxGroups = (),
        missing: str = "error",
        initial_visible_bias: str = "zeros",
        shuffle: bool = False,
    ) -> None:
        self.n_components = n_components
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.n_iter = n_iter
        self.verbose = verbose
        self.random_state = random_state
        self.k = k
        self.chains = chains
        self.centering = centering
        self.sparsity_target = sparsity_target
        self.sparsity_cost = sparsity_cost
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.engine = engine
        self.softmax_groups = softmax_groups
        self.missing = missing
        self.initial_visible_bias = initial_visible_bias
        self.shuffle = shuffle

    @classmethod
    def of(cls, parameters: Parameters, **settings: Any) -> BinaryRBM:
        """An estimator with these `energy.Parameters`, such as `run_folder.read_parameters` reads of a run.

        settings : parameters of the estimator. What it learns from now on starts with new chains. Raises InputError for
        parameters whose shapes do not belong together, or that are not finite.
        """
        parameters = Parameters(*map(to_numpy, parameters)).checked()
        estimator = cls(parameters.num_hidden, **settings)
        estimator._adopt(parameters)
        estimator.n_features_in_ = parameters.num_visible
        return estimator

    @property
    def h_samples_(self) -> HostArray:
        """The chains' hidden units, 0 or 1: float32 (chains, n_components)."""
        return self._aux_states[learning.SAMPLES[1]]

    def _check_settings(self) -> None:
        super()._check_settings()
        self._rule()

    def fit(self, X: Matrix, y: Any = None) -> BinaryRBM:
        """Learn X (n_samples, n_features) anew, in n_iter passes; returns self."""
        self._check_settings()
        X = self._checked(X, reset=True)
        generator = self.random_state_ = check_random_state(self.random_state)
        self._begin_at(X, generator, min(self.batch_size, X.shape[0]))
        data_of = self._data_of(X, generator)
        at_once = data_of is None and not self.shuffle and self._can_learn_at_once()

        def learn(batches: Iterable[Rows]) -> None:
            if at_once:
                self._learn_at_once(X, key_from(generator))
            else:
                self._learn(batches, data_of or complete(X), key_from(generator))

        def score() -> str:
            return "pseudo-likelihood = %.2f" % self.score_samples(X).mean()

        self._epochs(X.shape[0], generator, self.shuffle, learn, score)
        self._warn_if_saturated(X)
        return self

    def partial_fit(self, X: Matrix, y: Any = None) -> BinaryRBM:
        """One step with X (n_samples, n_features) as its batch; chains and momentum go on. Returns self."""
        self._check_settings()
        first = not hasattr(self, "components_")
        X, generator = self._checked(X, reset=first), self._continued()
        if first:
            self._begin_at(X, generator, self.batch_size)
        self._learn([slice(None)], self._data_of(X, generator) or complete(X), key_from(generator))
        return self

    def _begin_at(self, X: Matrix, generator: np.random.RandomState, num_chains: int) -> None:
        checked_visible_units(self.softmax_groups, X.shape[1])
        self._begin(mean_image(X), X.shape[0], X.dtype, generator, num_chains)
        if self.initial_visible_bias not in _STARTS:
            raise InputError(
                "initial_visible_bias is %r; it must be one of %s" % (self.initial_visible_bias, ", ".join(_STARTS))
            )
        if self.initial_visible_bias == "data":
            self.intercept_visible_ = base_rate(X, self.softmax_groups).astype(X.dtype)

    def _data_of(self, X: Matrix, generator: np.random.RandomState) -> DataOf | None:
        """What a step learns of some rows where X has gaps; None where it has none."""
        check_one_on(X, self.softmax_groups)
        if not check_missing(self.missing, X, self.softmax_groups, self.chains):
            return None
        if self.missing == "omit":
            return omitted(X)
        return Integrated(
            X, base_rate(X, self.softmax_groups), self.k, self.softmax_groups, key_from(generator), self.engine
        )

    # --- What a fitted RBM does -----------------------------------------------------------------------------------

    def _features(self, X: Matrix) -> HostArray:
        parameters = self._parameters(X.dtype)
        if not self._has_gaps(X):
            return self._in_chunks(X, lambda rows: energy.hidden_probability(parameters, rows))
        if self.missing == "omit":
            return self._in_chunks(X, lambda rows: energy.hidden_probability(parameters, np.nan_to_num(rows)))
        key, chunks = key_from(check_random_state(self.random_state)), itertools.count()
        return self._in_chunks(X, lambda rows: self._filled(rows, [*key, next(chunks)]).hidden_mean.astype(X.dtype))

    def _has_gaps(self, X: Matrix) -> bool:
        return check_missing(self.missing, X, self.softmax_groups, "data")

    def _filled(self, rows: HostArray, key: list[int], sweeps: int = _SWEEPS_OF_GAPS) -> Inpainted:
        """Rows whose missing values are filled in given the known ones, whatever `missing` is."""
        groups = self.softmax_groups
        return inpaint(self._parameters(), rows, sweeps, key, visible_units=groups, engine=self.engine)

    def impute(self, X: Matrix, sweeps: int = _SWEEPS_OF_GAPS, draws: bool = False) -> HostArray:
        """X with missing values (NaN) filled in by chains that hold the known ones: float32 (n_samples, n_features).

        Values are means of p(v = 1 | h) over the second half of the sweeps, which have the least squared error; or
        with draws the samples of the last sweep, 0 or 1. What is known comes back as it is.
        """
        check_is_fitted(self)
        return self._imputed(X, sweeps, draws, key_from(self._continued()))

    def _imputed(self, X: Matrix, sweeps: int, draws: bool, key: list[int]) -> HostArray:
        X, chunks = self._checked(X, gaps=True), itertools.count()
        check_gaps(X, self.softmax_groups)

        def fill(rows: HostArray) -> HostArray:
            missing, number = np.isnan(rows), next(chunks)
            gaps = missing.any(axis=1)
            if not gaps.any():
                return rows
            filled = self._filled(rows[gaps], [*key, number], sweeps)
            rows = rows.copy()
            rows[missing] = (filled.visible_sample if draws else filled.visible_mean)[missing[gaps]]
            return rows

        return self._in_chunks(X, fill).astype(np.float32, copy=False)

    def free_energy(self, X: Matrix, **settings: Any) -> HostArray:
        """F(v) = -a.v - sum_j softplus(b_j + (v W)_j) of each image: float64 (n_samples,), in nats.

        Of an image with gaps F of what is known: with missing="omit" of the RBM without the other units, which compares
        within the same gaps only; with missing="integrate" -log sum exp(-F) over the missing values, by annealed
        importance sampling (settings: num_chains and num_distributions of `likelihood.missing.marginal_free_energy`).
        """
        check_is_fitted(self)
        X = self._checked(X)
        parameters = self._parameters(X.dtype)
        if not self._has_gaps(X):
            return self._in_chunks(X, lambda rows: energy.free_energy(parameters, rows))
        if self.missing == "omit":
            return self._in_chunks(X, lambda rows: energy.free_energy(parameters, np.nan_to_num(rows)))
        return self._marginal_free_energy(X, **settings)

    def _marginal_free_energy(self, X: Matrix, **settings: Any) -> HostArray:
        key, chunks = key_from(check_random_state(self.random_state)), itertools.count()
        settings = {"softmax_groups": self.softmax_groups, "engine": self.engine, **settings}
        parameters = self._parameters()
        return self._in_chunks(
            X, lambda rows: marginal_free_energy(parameters, rows, key=[*key, next(chunks)], **settings)
        )

    def score_samples(self, X: Matrix) -> HostArray:
        """The pseudo-likelihood of each image, a stochastic one as in BernoulliRBM: float64 (n_samples,), in nats.

        n_features times log p(v_i | all other v) for one unit i of each image: on average the sum over all units. Which
        unit follows from random_state and the image itself, so that its score does not depend on those beside it; where
        random_state is None, from a new draw in each call. A softmax group counts as one v_i.

        Of an image with gaps, one of the known units is taken, given the other known ones, and the factor is their
        number; with missing="integrate" p(v_i | others) is a ratio of sums over the missing values, as `free_energy`
        estimates them.
        """
        check_is_fitted(self)
        X = self._checked(X)
        parameters, integrate = self._parameters(np.float64), self._has_gaps(X) and self.missing == "integrate"
        salt = np.array(key_from(check_random_state(self.random_state)), np.int32).tobytes()

        def score(rows: HostArray) -> HostArray:
            rows = rows.astype(np.float64)
            words = (hashlib.blake2b(row.tobytes(), digest_size=8, key=salt).digest() for row in rows)
            known = ~np.isnan(rows)
            count = np.maximum(known.sum(axis=1), 1)
            places = np.frombuffer(b"".join(words), np.uint64) % count.astype(np.uint64)
            # The unit of that place among the known ones.
            units = (known.cumsum(axis=1) > places[:, None].astype(np.intp)).argmax(axis=1)
            filled = np.nan_to_num(rows)
            scores = energy.pseudo_log_likelihood(parameters, filled, units, self.softmax_groups)
            scores = np.where(known.any(axis=1), scores, 0)
            gaps = np.flatnonzero(known.any(axis=1) & ~known.all(axis=1)) if integrate else ()
            for row in gaps:
                scores[row] = rows.shape[1] * self._log_conditional(rows[row], units[row])
            return scores * count / rows.shape[1]

        return self._in_chunks(X, score)

    def _log_conditional(self, row: HostArray, unit: int) -> float:
        """log p(v_i | other known v) of a row with gaps; of a group, over its size."""
        start, stop, values, weights = unit, unit + 1, np.array([[0.0], [1.0]]), np.array([1 - row[unit], row[unit]])
        for first, last in self.softmax_groups:
            if first <= unit < last:
                start, stop, values, weights = first, last, np.eye(last - first), row[first:last]
        rows = np.tile(row, (len(values), 1))
        rows[:, start:stop] = values
        scores = -self._marginal_free_energy(rows)
        return float(weights @ scores - np.logaddexp.reduce(scores)) / (stop - start)

    def gibbs(self, v: Matrix, sweeps: int = 1) -> HostArray:
        """Visible units after one Gibbs step, or more, from v (n_samples, n_features): bool, of the same shape."""
        check_is_fitted(self)
        X = self._checked(v, gaps=False)
        chains = gibbs.run_chains(
            self._parameters(),
            visible=float32(dense(X)),
            sweeps=sweeps,
            visible_units=self.softmax_groups,
            key=key_from(self._continued()),
            engine=self.engine,
        )
        return chains.visible_sample.astype(bool)

    def sample(self, n_samples: int = 1, sweeps: int = 1000, prob: bool = False) -> HostArray:
        """Draw images from nothing: float32 (n_samples, n_features), after so many sweeps from units on at random.

        prob : the probabilities that the units were drawn from, which look smoother, instead of 0 and 1
        """
        check_is_fitted(self)
        key, parameters = key_from(self._continued()), Parameters(*map(from_host, self._parameters()))
        start = initial_visible(parameters, "random", n_samples, [*key, 0])
        settings: Any = {"visible_units": self.softmax_groups, "engine": self.engine}
        chains = sample_chains(parameters, start, sweeps, [*key, 1], **settings)
        return to_numpy(chains.visible_prob_1 if prob else chains.visible_sample)

    def log_partition(self, X: Matrix | None = None, **settings: Any) -> LogPartition:
        """log Z by annealed importance sampling: an `ais.LogPartition`.

        X : images whose means are the base rate: give the training images. settings : as in `ais.log_partition`;
        1,000 chains along 1,000 distributions, unless others are given.
        """
        check_is_fitted(self)
        settings = {
            "key": key_from(check_random_state(self.random_state)),
            "engine": self.engine,
            "visible_units": self.softmax_groups,
            **settings,
        }
        if X is not None:
            settings["base_visible_bias"] = base_rate(self._checked(X), self.softmax_groups)
        return ais.log_partition(*self._parameters(), **settings)

    def log_likelihood(self, X: Matrix, log_partition: LogPartition | None = None, **settings: Any) -> LogLikelihood:
        """Mean log-likelihood of X in nats per image, with its standard error over the images: an `ais.LogLikelihood`.

        log_partition : what `log_partition` returned; None: it is estimated, from X and with these settings

        Warns (`ais.LikelihoodWarning`) where log Z is in doubt, and where X is not binary: then it is a grey-pixel
        score.
        """
        check_is_fitted(self)
        X = self._checked(X)
        if self.missing == "omit" and has_gaps(X):
            raise InputError("with missing='omit' each row has a log Z of its own; log_likelihood needs 'integrate'")
        partition = self.log_partition(X, **settings) if log_partition is None else log_partition
        return self._likelihood(X, -self.free_energy(X), partition)
