"""The RBM of real-valued features as an estimator."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any, Iterable

import numpy as np
from sklearn.utils import check_random_state, gen_batches
from sklearn.utils.validation import check_is_fitted

from gluon_rbm.errors import InputError
from gluon_rbm.estimators.common import Matrix, RandomSeed, Rows, Transformer, dense, key_from, mean_image
from gluon_rbm.estimators.persistent import PersistentLearning
from gluon_rbm.likelihood import ais, rules
from gluon_rbm.likelihood.gaussian_learning import store_step_gradients
from gluon_rbm.likelihood.scores import LogLikelihood
from gluon_rbm.models import energy
from gluon_rbm.models.gaussian_rbm import GaussianParameters, check_variances, score
from gluon_rbm.models.visible_units import GAUSSIAN
from gluon_rbm.sampling import gibbs

if TYPE_CHECKING:
    from gluon_rbm.backend.types import HostArray
    from gluon_rbm.likelihood.estimates import LogPartition

__all__ = ["ConstantFeatureWarning", "GaussianRBM"]


class ConstantFeatureWarning(UserWarning):
    """X holds features of one value, of which nothing can be learned."""


class GaussianRBM(Transformer, PersistentLearning):
    """A Gaussian-Bernoulli RBM: real-valued features with variances of their own, and binary hidden units.

        x = mean_ + scale_ sigma u,    sigma^2 = exp(log_variance_)
        p(u | h) = N(intercept_visible_ + h components_, 1)
        p(h = 1 | x) = sigmoid(intercept_hidden_ + components_ u)

    Parameters
    ----------
    n_components : int, default 256
        Hidden units.
    learning_rate : float, default 0.01
        On the mean gradient of a batch.
    batch_size : int, default 100
        Rows of a step; also the number of chains (`fit` has no more of them than rows).
    n_iter : int, default 10
        Passes through X.
    verbose : int, default 0
        Print the mean of `score_samples` after each pass.
    random_state : int, RandomState or None, default None
        Everything random follows from it; a number gives the same RBM every time.
    k : int, default 1
        Gibbs sweeps in each step.
    chains : "persistent", "data", "noise", "tempered" or "trajectory", default "persistent"
        As in `gluon_rbm.likelihood.rules.LearningRule`; so are the next, and the Langevin steps.
    centering : float, default 0.01
    sparsity_target, sparsity_cost : float, default 0.1 and 0.0
    momentum : float, default 0.0
    weight_decay : float, default 0.0
        lambda in lambda/2 |W|^2, added to the mean loss.
    langevin_steps : int, default 0
        Langevin steps that move the features in each sweep; 0: they are drawn anew.
    langevin_step_size : float, default 0.5
    standardize : bool, default True
        Bring each feature to mean 0 and standard deviation 1 before all else; mean_ and scale_ say how. (False: they
        are 0 and 1, and X should be of that order of size.)
    learn_variances : bool, default True
        False: sigma is 1 for all features.
    least_variance : float, default 1e-3
        Learned variances stay above it, in units of the standardized feature: the density of a feature of one value has
        no highest likelihood.
    engine : "auto", "mxnet" or "native", default "auto"
        What runs the chains.
    shuffle : bool, default True
        Take X in a new order in each pass.

    Attributes: components_ (n_components, n_features), intercept_hidden_ (n_components,), intercept_visible_,
    log_variance_, mean_ and scale_ (n_features,); n_features_in_, feature_names_in_.

    Raises ValueError in scikit-learn's words for bad input, and `gluon_rbm.errors.InputError`, which is one, for
    settings that cannot be, and where training diverges (DivergenceError). `fit` warns of features of one value
    (`ConstantFeatureWarning`), which keep a scale of 1, and of hidden units that training left of no use.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> flowers = load_iris().data
    >>> rbm = GaussianRBM(8, n_iter=50, random_state=0).fit(flowers)
    >>> rbm.sample(2, sweeps=100).shape
    (2, 4)
    """

    _is_bounded = False  # X may hold any number

    def __init__(
        self,
        n_components: int = 256,
        *,
        learning_rate: float = 0.01,
        batch_size: int = 100,
        n_iter: int = 10,
        verbose: int = 0,
        random_state: RandomSeed = None,
        k: int = 1,
        chains: str = "persistent",
        centering: float = 0.01,
        sparsity_target: float = 0.1,
        sparsity_cost: float = 0.0,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        langevin_steps: int = 0,
        langevin_step_size: float = 0.5,
        standardize: bool = True,
        learn_variances: bool = True,
        least_variance: float = 1e-3,
        engine: str = "auto",
        shuffle: bool = True,
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
        self.langevin_steps = langevin_steps
        self.langevin_step_size = langevin_step_size
        self.standardize = standardize
        self.learn_variances = learn_variances
        self.least_variance = least_variance
        self.engine = engine
        self.shuffle = shuffle

    def _rule(self) -> rules.LearningRule:
        names = ("chains", "centering", "sparsity_target", "sparsity_cost", "langevin_steps", "langevin_step_size")
        return rules.LearningRule.checked(visible_layer=GAUSSIAN, **{name: getattr(self, name) for name in names})

    def _check_settings(self) -> None:
        super()._check_settings()
        self._rule()
        if not 0 < self.least_variance < 1:
            raise InputError("least_variance is %s; it must be above 0 and below 1" % self.least_variance)

    # --- Learning -------------------------------------------------------------------------------------------------

    def fit(self, X: Matrix, y: Any = None) -> GaussianRBM:
        """Learn X (n_samples, n_features) anew, in n_iter passes; returns self."""
        self._check_settings()
        X = self._checked(X, reset=True)
        generator = self.random_state_ = check_random_state(self.random_state)
        self._begin_at(X, generator, min(self.batch_size, X.shape[0]))

        def learn(batches: Iterable[Rows]) -> None:
            self._learn_rows(X, batches, key_from(generator))

        self._epochs(X.shape[0], generator, self.shuffle, learn, lambda: "score = %.2f" % self.score_samples(X).mean())
        self._warn_if_saturated(X)
        return self

    def partial_fit(self, X: Matrix, y: Any = None) -> GaussianRBM:
        """One step with X (n_samples, n_features) as its batch; chains and momentum go on. Returns self.

        The first call fixes mean_ and scale_: its batch should be large enough for both.
        """
        self._check_settings()
        first = not hasattr(self, "components_")
        X, generator = self._checked(X, reset=first), self._continued()
        if first:
            self._begin_at(X, generator, self.batch_size)
        self._learn_rows(X, [slice(None)], key_from(generator))
        return self

    def _begin_at(self, X: Matrix, generator: np.random.RandomState, num_chains: int) -> None:
        num_features = X.shape[1]
        self.mean_, self.scale_ = np.zeros(num_features), np.ones(num_features)
        if self.standardize:
            self.mean_ = mean_image(X)
            self.scale_ = np.sqrt(_mean_square(X, self.mean_))
            constant = np.flatnonzero(self.scale_ == 0)
            if len(constant):
                self.scale_[constant] = 1
                warnings.warn(
                    "X has %d features of one value (the first is feature %d); nothing can be learned of them: leave "
                    "them out" % (len(constant), constant[0]),
                    ConstantFeatureWarning,
                    stacklevel=3,
                )
        self._mean_square = (_mean_square(X, self.mean_) / np.square(self.scale_)).astype(np.float32)
        self.log_variance_ = np.zeros(num_features, np.float32)
        self._begin(np.zeros(num_features), X.shape[0], X.dtype, generator, num_chains)

    def _learn_rows(self, X: Matrix, batches: Iterable[Rows], key: list[int]) -> None:
        """A step for each batch of rows."""
        rule, scaled = self._rule(), self._parameters()
        self._check_states(rule)
        parameters = GaussianParameters(*scaled, self.log_variance_)
        learned = parameters if self.learn_variances else scaled
        gradients = [np.empty_like(array) for array in learned]
        least = np.float32(math.log(self.least_variance))
        for number, rows in enumerate(batches):
            store_step_gradients(
                rule,
                gradients,
                parameters,
                data=self._standardized(X[rows]),
                mean_square=self._mean_square,
                aux_states=self._aux_states,
                sweeps=self.k,
                key=[*key, number],
                engine=self.engine,
            )
            if self.learn_variances:
                self.log_variance_ -= np.float32(self.learning_rate) * gradients[3]
                np.maximum(self.log_variance_, least, out=self.log_variance_)
            self._descend(scaled, gradients[:3])
        check_variances(self.log_variance_)
        self._take(scaled)

    def _standardized(self, rows: Matrix) -> HostArray:
        return ((dense(rows) - self.mean_) / self.scale_).astype(np.float32)

    # --- What a fitted RBM does -----------------------------------------------------------------------------------

    @property
    def gaussian_parameters_(self) -> GaussianParameters:
        """The fitted RBM of standardized features, float32: what `gluon_rbm.models.gaussian_rbm` takes."""
        return GaussianParameters(*self._parameters(), self.log_variance_)

    def _features(self, X: Matrix) -> HostArray:
        parameters = self.gaussian_parameters_
        scaled = parameters.scaled

        def means(rows: HostArray) -> HostArray:
            return energy.hidden_probability(scaled, parameters.scale(self._standardized(rows)))

        return self._in_chunks(X, means).astype(X.dtype, copy=False)

    def score_samples(self, X: Matrix) -> HostArray:
        """log p(x) + log Z of each row, in the units of X: float64 (n_samples,), in nats.

        It compares rows under one RBM; `log_likelihood` takes log Z off.
        """
        check_is_fitted(self)
        X, parameters = self._checked(X), self.gaussian_parameters_
        scores = self._in_chunks(X, lambda rows: score(parameters, self._standardized(rows)))
        return scores - np.log(self.scale_).sum()

    def gibbs(self, X: Matrix, sweeps: int = 1) -> HostArray:
        """Rows after one Gibbs sweep, or more, from X: float32 (n_samples, n_features)."""
        check_is_fitted(self)
        parameters = self.gaussian_parameters_
        start = parameters.scale(self._standardized(self._checked(X)))
        return self._run(sweeps, visible=start)

    def sample(self, n_samples: int = 1, sweeps: int = 1000, mean: bool = False) -> HostArray:
        """Draw rows from nothing: float32 (n_samples, n_features), after so many sweeps from hidden units at coins.

        mean : the means given the hidden units, which look smoother, instead of the draws
        """
        check_is_fitted(self)
        coins = self._continued().randint(2, size=(n_samples, self.n_components)).astype(np.float32)
        return self._run(sweeps, mean, hidden=coins)

    def _run(self, sweeps: int, mean: bool = False, **start: Any) -> HostArray:
        parameters, key = self.gaussian_parameters_, key_from(self._continued())
        settings: Any = {"sweeps": sweeps, "visible_units": GAUSSIAN, "key": key, "engine": self.engine}
        chains = gibbs.run_chains(parameters.scaled, **settings, **start)
        standardized = parameters.unscale(chains.visible_prob_1 if mean else chains.visible_sample)
        return (self.mean_ + self.scale_ * standardized).astype(np.float32)

    def log_partition(self, X: Matrix | None = None, **settings: Any) -> LogPartition:
        """log Z by annealed importance sampling: an `ais.LogPartition`.

        X : rows whose means are the base rate: give the training rows. settings : as in `ais.log_partition`; 1,000
        chains along 1,000 distributions, unless others are given.
        """
        check_is_fitted(self)
        parameters = self.gaussian_parameters_
        settings = {
            "key": key_from(check_random_state(self.random_state)),
            "engine": self.engine,
            "visible_units": GAUSSIAN,
            **settings,
        }
        if X is not None:
            mean = (mean_image(self._checked(X)) - self.mean_) / self.scale_
            settings["base_visible_bias"] = parameters.scale(mean[None])[0]
        return ais.log_partition(*parameters.scaled, **settings)

    def log_likelihood(self, X: Matrix, log_partition: LogPartition | None = None, **settings: Any) -> LogLikelihood:
        """Mean of log p(x) over rows of X, in the units of X, nats per row, with its standard error over the rows.

        A density: it may be above 0, and grows by log c for each feature whose unit is c times as large.

        log_partition : what `log_partition` returned; None: it is estimated, from X and with these settings

        Warns (`ais.LikelihoodWarning`) where log Z is in doubt.
        """
        check_is_fitted(self)
        partition = self.log_partition(X, **settings) if log_partition is None else log_partition
        values = self.score_samples(X) - partition.log_z
        likelihood = LogLikelihood.of(values, binary=True)._replace(is_density=True)
        ais.warn_of(partition, likelihood)
        return likelihood


def _mean_square(X: Matrix, mean: HostArray) -> HostArray:
    """<(x - mean)^2> of each feature: float64 (n_features,); 0 where it is no more than rounding."""
    total = np.zeros(X.shape[1])
    for rows in gen_batches(X.shape[0], 1000):
        total += np.square(dense(X[rows]) - mean).sum(axis=0)
    total[total <= np.square(10 * np.finfo(X.dtype).eps * mean) * X.shape[0]] = 0
    return total / X.shape[0]
