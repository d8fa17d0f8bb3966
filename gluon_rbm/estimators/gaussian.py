"""The Gaussian-Bernoulli RBM as an estimator."""

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
    """X holds features with only one value, from which nothing can be learned."""


class GaussianRBM(Transformer, PersistentLearning):
    """A Gaussian-Bernoulli RBM: real-valued features and binary hidden units.

    Each feature has a variance of its own.

        x = mean_ + scale_ sigma u,    sigma^2 = exp(log_variance_)
        p(u | h) = N(intercept_visible_ + h components_, 1)
        p(h = 1 | x) = sigmoid(intercept_hidden_ + components_ u)

    Parameters
    ----------
    n_components
        Number of hidden units.
    learning_rate
        Rate on the mean gradient of a batch.
    batch_size
        Rows in a step, and number of chains. In `fit` there are no more chains than rows.
    n_iter
        Number of passes through X.
    verbose
        If above 0, print the mean of `score_samples` after each pass.
    random_state, k, chains, centering, sparsity_target, sparsity_cost, momentum, weight_decay
        As in `BinaryRBM`; "noise" chains start from standard normal numbers.
    langevin_steps
        Langevin steps that move the features in each sweep; 0: features are drawn anew.
    langevin_step_size
        Size of these steps, above 0 and below 4.
    standardize
        Whether to bring each feature to mean 0 and standard deviation 1 first, by `mean_` and
        `scale_`. If not, these are 0 and 1, and X should be of about this size itself.
    learn_variances
        Whether to learn sigma; if not, sigma is 1 for all features.
    least_variance
        Lower limit of the learned variances, in units of the standardized feature. For a feature
        with only one value, the density would otherwise have no maximum.
    engine
        As in `BinaryRBM`.
    shuffle
        Whether each pass takes X in a new order; if not, in its own.

    Attributes
    ----------
    components_
        Weights (n_components, n_features) in units of sigma.
    intercept_hidden_
        Hidden biases (n_components,).
    intercept_visible_
        Visible biases (n_features,) in units of sigma.
    log_variance_
        log sigma^2 of the standardized features, (n_features,).
    mean_
        Mean of each feature, (n_features,).
    scale_
        Standard deviation of each feature, (n_features,); 1 for a feature with only one value.
    gaussian_parameters_
        The RBM of the standardized features as a
        `gluon_rbm.models.gaussian_rbm.GaussianParameters`.
    n_features_in_
        Number of features in `fit`.
    feature_names_in_
        Names of the features, if X has names that are all text.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from gluon_rbm.estimators import GaussianRBM
    >>> flowers = load_iris().data
    >>> rbm = GaussianRBM(8, n_iter=50, random_state=0).fit(flowers)
    >>> rbm.transform(flowers).shape
    (150, 8)
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

    # --- Learning ---------------------------------------------------------------------------------

    def fit(self, X: Matrix, y: Any = None) -> GaussianRBM:
        """Learn X from the beginning, in `n_iter` passes.

        Parameters
        ----------
        X
            Data (n_samples, n_features), dense or CSR.
        y
            Ignored.

        Returns
        -------
        GaussianRBM
            The estimator itself.

        Raises
        ------
        ValueError
            X is not valid; the message is scikit-learn's.
        InputError
            A parameter is not valid, or X holds NaN. It is a ValueError.
        DivergenceError
            Parameters are no longer finite, or a variance is 10^6 or more. It is an InputError.

        Warns
        -----
        ConstantFeatureWarning
            A feature of X has only one value.
        sklearn.exceptions.ConvergenceWarning
            After training, more than a quarter of the hidden units do not depend on the row.
        """
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
        """Make one step with X as its batch.

        Chains and momentum go on from the call before. The first call fixes `mean_` and `scale_`,
        so its batch should be large enough for both.

        Parameters
        ----------
        X, y
            As in `fit`.

        Returns
        -------
        GaussianRBM
            The estimator itself.
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
        """Make a step for each batch of rows."""
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

    # --- What a fitted RBM does -------------------------------------------------------------------

    @property
    def gaussian_parameters_(self) -> GaussianParameters:
        """The fitted RBM of the standardized features, for `gluon_rbm.models.gaussian_rbm`.

        Returns
        -------
        GaussianParameters
            A `gluon_rbm.models.gaussian_rbm.GaussianParameters` of float32 NumPy arrays.
        """
        return GaussianParameters(*self._parameters(), self.log_variance_)

    def _features(self, X: Matrix) -> HostArray:
        parameters = self.gaussian_parameters_
        scaled = parameters.scaled

        def means(rows: HostArray) -> HostArray:
            return energy.hidden_probability(scaled, parameters.scale(self._standardized(rows)))

        return self._in_chunks(X, means).astype(X.dtype, copy=False)

    def score_samples(self, X: Matrix) -> HostArray:
        """Return log p(x) + log Z of each row.

        It compares rows under the same RBM. `log_likelihood` subtracts log Z.

        Parameters
        ----------
        X
            Data (n_samples, n_features).

        Returns
        -------
        float64 (n_samples,)
            Scores in nats, of densities in the units of X.
        """
        check_is_fitted(self)
        X, parameters = self._checked(X), self.gaussian_parameters_
        scores = self._in_chunks(X, lambda rows: score(parameters, self._standardized(rows)))
        return scores - np.log(self.scale_).sum()

    def gibbs(self, X: Matrix, sweeps: int = 1) -> HostArray:
        """Run Gibbs sweeps from given rows.

        Parameters
        ----------
        X
            Data (n_samples, n_features).
        sweeps
            Number of Gibbs sweeps.

        Returns
        -------
        float32 (n_samples, n_features)
            Rows after the last sweep.
        """
        check_is_fitted(self)
        parameters = self.gaussian_parameters_
        start = parameters.scale(self._standardized(self._checked(X)))
        return self._run(sweeps, visible=start)

    def sample(self, n_samples: int = 1, sweeps: int = 1000, mean: bool = False) -> HostArray:
        """Draw rows by Gibbs chains that start from fair coins for the hidden units.

        Parameters
        ----------
        n_samples
            Number of rows, each from a chain of its own.
        sweeps
            Number of Gibbs sweeps.
        mean
            Whether to return the means given the hidden units, which look smoother, instead of
            draws.

        Returns
        -------
        float32 (n_samples, n_features)
            Rows in the units of X.
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
        """Estimate log Z by annealed importance sampling.

        Parameters
        ----------
        X
            Rows with the means of the base rate; give the training rows. None: the base rate is the
            visible bias of the RBM.
        **settings
            As in `ais.log_partition`: by default 1,000 chains along 1,000 distributions.

        Returns
        -------
        LogPartition
            Estimate in nats, an `ais.LogPartition`.
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
        """Return the mean of log p(x) over rows of X.

        It is the logarithm of a density in the units of X and may be above 0. It grows by log c for
        each feature that is given in units c times as large.

        Parameters
        ----------
        X
            Data (n_samples, n_features).
        log_partition
            What `log_partition` returned; None: it is estimated, with the means of X.
        **settings
            As in `log_partition`, where it is estimated.

        Returns
        -------
        LogLikelihood
            Mean in nats per row and its standard error over the rows, an `ais.LogLikelihood`.

        Warns
        -----
        ais.LikelihoodWarning
            log Z is in doubt.
        """
        check_is_fitted(self)
        partition = self.log_partition(X, **settings) if log_partition is None else log_partition
        values = self.score_samples(X) - partition.log_z
        likelihood = LogLikelihood.of(values, binary=False)._replace(is_density=True)
        ais.warn_of(partition, likelihood)
        return likelihood


def _mean_square(X: Matrix, mean: HostArray) -> HostArray:
    """<(x - mean)^2> of each feature, float64 (n_features,); 0 where it is only rounding error."""
    total = np.zeros(X.shape[1])
    for rows in gen_batches(X.shape[0], 1000):
        total += np.square(dense(X[rows]) - mean).sum(axis=0)
    total[total <= np.square(10 * np.finfo(X.dtype).eps * mean) * X.shape[0]] = 0
    return total / X.shape[0]
