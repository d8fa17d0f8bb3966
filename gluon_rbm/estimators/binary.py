"""The binary RBM as an estimator."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Iterable

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from gluon_rbm.backend.arrays import from_host, to_numpy
from gluon_rbm.estimators.common import (
    Matrix,
    RandomSeed,
    Rows,
    Transformer,
    base_rate,
    dense,
    float32,
    key_from,
    mean_image,
)
from gluon_rbm.estimators.persistent import PersistentLearning
from gluon_rbm.likelihood import ais, learning
from gluon_rbm.models import energy
from gluon_rbm.models.energy import Parameters
from gluon_rbm.sampling import gibbs
from gluon_rbm.sampling.chains import initial_visible, sample_chains

if TYPE_CHECKING:
    from gluon_rbm.backend.types import HostArray
    from gluon_rbm.likelihood.estimates import LogPartition
    from gluon_rbm.likelihood.scores import LogLikelihood

__all__ = ["BinaryRBM"]


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
    chains : "persistent", "data" or "tempered", default "persistent"
        PCD-k, CD-k, or parallel tempering; this, and the next three, as in
        `gluon_rbm.likelihood.rules.LearningRule`.
    centering : float, default 0.0
    sparsity_target, sparsity_cost : float, default 0.1 and 0.0
    momentum : float, default 0.0
    weight_decay : float, default 0.0
        lambda in lambda/2 |W|^2, added to the mean loss.
    engine : "auto", "mxnet" or "native", default "auto"
        What runs the chains.

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

    def fit(self, X: Matrix, y: Any = None) -> BinaryRBM:
        """Learn X (n_samples, n_features) anew, in n_iter passes; returns self."""
        self._check_settings()
        X = self._checked(X, reset=True)
        generator = self.random_state_ = check_random_state(self.random_state)
        self._begin_at(X, generator, min(self.batch_size, X.shape[0]))

        at_once = self._can_learn_at_once()

        def learn(batches: Iterable[Rows]) -> None:
            if at_once:
                self._learn_at_once(X, key_from(generator))
            else:
                self._learn((float32(dense(X[rows])) for rows in batches), key_from(generator))

        self._epochs(
            X.shape[0], generator, False, learn, lambda: "pseudo-likelihood = %.2f" % self.score_samples(X).mean()
        )
        self._warn_if_saturated(X)
        return self

    def partial_fit(self, X: Matrix, y: Any = None) -> BinaryRBM:
        """One step with X (n_samples, n_features) as its batch; chains and momentum go on. Returns self."""
        self._check_settings()
        first = not hasattr(self, "components_")
        X, generator = self._checked(X, reset=first), self._continued()
        if first:
            self._begin_at(X, generator, self.batch_size)
        self._learn([float32(dense(X))], key_from(generator))
        return self

    def _begin_at(self, X: Matrix, generator: np.random.RandomState, num_chains: int) -> None:
        self._begin(mean_image(X), X.shape[0], X.dtype, generator, num_chains)

    # --- What a fitted RBM does -----------------------------------------------------------------------------------

    def _features(self, X: Matrix) -> HostArray:
        parameters = self._parameters(X.dtype)
        return self._in_chunks(X, lambda rows: energy.hidden_probability(parameters, rows))

    def free_energy(self, X: Matrix) -> HostArray:
        """F(v) = -a.v - sum_j softplus(b_j + (v W)_j) of each image: float64 (n_samples,), in nats."""
        check_is_fitted(self)
        X = self._checked(X)
        parameters = self._parameters(X.dtype)
        return self._in_chunks(X, lambda rows: energy.free_energy(parameters, rows))

    def score_samples(self, X: Matrix) -> HostArray:
        """The pseudo-likelihood of each image, a stochastic one as in BernoulliRBM: float64 (n_samples,), in nats.

        n_features times log p(v_i | all other v) for one unit i of each image: on average the sum over all units. Which
        unit follows from random_state and the image itself, so that its score does not depend on those beside it; where
        random_state is None, from a new draw in each call.
        """
        check_is_fitted(self)
        X = self._checked(X)
        parameters = self._parameters(np.float64)
        salt = np.array(key_from(check_random_state(self.random_state)), np.int32).tobytes()

        def score(rows: HostArray) -> HostArray:
            rows = rows.astype(np.float64)
            words = (hashlib.blake2b(row.tobytes(), digest_size=8, key=salt).digest() for row in rows)
            units = np.frombuffer(b"".join(words), np.uint64) % np.uint64(rows.shape[1])
            return energy.pseudo_log_likelihood(parameters, rows, units.astype(np.intp))

        return self._in_chunks(X, score)

    def gibbs(self, v: Matrix, sweeps: int = 1) -> HostArray:
        """Visible units after one Gibbs step, or more, from v (n_samples, n_features): bool, of the same shape."""
        check_is_fitted(self)
        X = self._checked(v)
        key, parameters = key_from(self._continued()), self._parameters()
        chains = gibbs.run_chains(parameters, visible=float32(dense(X)), sweeps=sweeps, key=key, engine=self.engine)
        return chains.visible_sample.astype(bool)

    def sample(self, n_samples: int = 1, sweeps: int = 1000, prob: bool = False) -> HostArray:
        """Draw images from nothing: float32 (n_samples, n_features), after so many sweeps from units on at random.

        prob : the probabilities that the units were drawn from, which look smoother, instead of 0 and 1
        """
        check_is_fitted(self)
        key, parameters = key_from(self._continued()), Parameters(*map(from_host, self._parameters()))
        start = initial_visible(parameters, "random", n_samples, [*key, 0])
        chains: Any = sample_chains(parameters, start, sweeps, [*key, 1], engine=self.engine)
        return to_numpy(chains.visible_prob_1 if prob else chains.visible_sample)

    def log_partition(self, X: Matrix | None = None, **settings: Any) -> LogPartition:
        """log Z by annealed importance sampling: an `ais.LogPartition`.

        X : images whose means are the base rate: give the training images. settings : as in `ais.log_partition`;
        1,000 chains along 1,000 distributions, unless others are given.
        """
        check_is_fitted(self)
        settings = {"key": key_from(check_random_state(self.random_state)), "engine": self.engine, **settings}
        if X is not None:
            settings["base_visible_bias"] = base_rate(self._checked(X))
        return ais.log_partition(*self._parameters(), **settings)

    def log_likelihood(self, X: Matrix, log_partition: LogPartition | None = None, **settings: Any) -> LogLikelihood:
        """Mean log-likelihood of X in nats per image, with its standard error over the images: an `ais.LogLikelihood`.

        log_partition : what `log_partition` returned; None: it is estimated, from X and with these settings

        Warns (`ais.LikelihoodWarning`) where log Z is in doubt, and where X is not binary: then it is a grey-pixel
        score.
        """
        check_is_fitted(self)
        X = self._checked(X)
        partition = self.log_partition(X, **settings) if log_partition is None else log_partition
        return self._likelihood(X, -self.free_energy(X), partition)
