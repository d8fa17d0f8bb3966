"""The binary RBM as an estimator; its learning, on NumPy arrays, serves the classifier, too.

A step is the operator's own (`gluon_rbm.likelihood.learning`), without a graph around it: chains advance, the gradient
of the mean loss is stored, and plain gradient descent follows. It is computed in float32, whatever the dtype of X.
"""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Any, Iterable

import numpy as np
from sklearn.utils import check_random_state, gen_batches
from sklearn.utils.validation import check_is_fitted

from gluon_rbm.backend.arrays import from_host, to_numpy
from gluon_rbm.backend.native import learning as native_learning
from gluon_rbm.data.statistics import smoothed_visible_bias
from gluon_rbm.errors import DivergenceError, InputError
from gluon_rbm.estimators.common import (
    Estimator,
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
from gluon_rbm.likelihood import ais, learning, rules
from gluon_rbm.models import energy
from gluon_rbm.models.energy import Parameters
from gluon_rbm.models.files import CLASSES
from gluon_rbm.sampling import gibbs
from gluon_rbm.sampling.chains import initial_visible, sample_chains

if TYPE_CHECKING:
    from gluon_rbm.backend.types import HostArray
    from gluon_rbm.likelihood.estimates import LogPartition
    from gluon_rbm.likelihood.scores import LogLikelihood

__all__ = ["BinaryRBM", "PersistentLearning"]

_WRITE = ("write",) * 3
_PRODUCTS_AT_ONCE = 2 * 10**9  # a tenth of a second or so
_MOST_STATES = 2**31  # values of all chains: 8 GB


class PersistentLearning(Estimator):
    """Learning by `gluon_rbm.likelihood.learning`; a subclass has the parameters of `BinaryRBM` that this reads.

    Attributes: components_, intercept_visible_ and intercept_hidden_ as in BernoulliRBM, of all visible units.
    """

    _initial_deviation = 0.01  # of the weights, as in BernoulliRBM

    if TYPE_CHECKING:  # what a subclass has
        n_components: int
        learning_rate: float
        k: int
        momentum: float
        weight_decay: float
        engine: str
        components_: HostArray

    def _rule(self) -> rules.LearningRule:
        names = ("chains", "centering", "sparsity_target", "sparsity_cost")
        return rules.LearningRule.checked(**{name: getattr(self, name) for name in names})

    def _parameters(self, dtype: Any = np.float32) -> Parameters:
        """The fitted RBM as `energy.Parameters` of NumPy arrays: the attributes' own, where the dtype is theirs."""
        arrays = self.intercept_visible_, self.intercept_hidden_, self.components_.T
        return Parameters(*(np.ascontiguousarray(array, dtype) for array in arrays))

    @property
    def parameters_(self) -> Parameters:
        """The fitted RBM as `energy.Parameters` of NumPy arrays, float32: what `gluon_rbm.models.interchange` takes."""
        return self._parameters()

    def _adopt(self, parameters: Parameters) -> None:
        """Become the RBM of these `energy.Parameters`, of NumPy arrays; chains start anew."""
        self._check_settings()
        arrays = (np.array(array, np.float32, order="C") for array in parameters)
        self.intercept_visible_, self.intercept_hidden_, weight = arrays
        self.components_ = weight.T
        mean = 1 / (1 + np.exp(-self.intercept_visible_.astype(np.float64)))
        self._start_chains(mean, 1, self._continued(), self.batch_size)

    def _begin(
        self, mean: HostArray, num_rows: int, dtype: Any, generator: np.random.RandomState, num_chains: int
    ) -> None:
        """Start anew: initial parameters as BernoulliRBM has them, chains from fair coins.

        mean : of the visible units over num_rows images
        """
        num_visible = len(mean)
        shape = (self.n_components, num_visible)
        self.components_ = np.asarray(generator.normal(0, self._initial_deviation, shape), dtype, order="F")
        self.intercept_visible_ = np.zeros(num_visible, dtype)
        self.intercept_hidden_ = np.zeros(self.n_components, dtype)
        self._start_chains(mean, num_rows, generator, num_chains)

    def _start_chains(self, mean: HostArray, num_rows: int, generator: np.random.RandomState, num_chains: int) -> None:
        num_hidden, num_visible = self.components_.shape
        states: Any = learning.states(self._rule(), num_chains, num_visible, num_hidden)
        if sum(map(math.prod, states.values())) > _MOST_STATES:
            raise InputError(
                "batch_size is %d, and as many chains do not fit into memory; give as many as images of a batch"
                % num_chains
            )
        self._aux_states = {name: np.ones(shape, np.float32) for name, shape in states.items()}
        for name in learning.SAMPLES:
            self._aux_states[name] = generator.randint(2, size=states[name]).astype(np.float32)
        self._velocity = [np.zeros_like(array) for array in self._parameters()]
        fixed = {
            learning.OFFSETS[0]: mean,
            learning.OFFSETS[1]: 0.5,
            learning.BASE: smoothed_visible_bias(mean, num_rows),
            CLASSES: np.arange(states.get(CLASSES, (0,))[0]),
        }
        for name in self._aux_states.keys() & fixed.keys():
            self._aux_states[name][:] = fixed[name]

    def _learn(self, batches: Iterable[HostArray], key: list[int]) -> None:
        """A step for each batch, float32 (rows, num_visible)."""
        rule, parameters, aux_states = self._rule(), self._parameters(), self._aux_states
        if set(learning.states(rule, 0, 0, 0)) != set(aux_states):
            raise InputError("chains and centering cannot change from call to call of partial_fit; fit anew")
        gradients = [np.empty_like(array) for array in parameters]
        for number, batch in enumerate(batches):
            learning.store_step_gradients(
                rule,
                gradients,
                _WRITE,
                parameters,
                data=batch,
                aux_states=aux_states,
                sweeps=self.k,
                key=[*key, number],
                engine=self.engine,
            )
            self._descend(parameters, gradients)
        self._take(parameters)

    def _learn_at_once(self, X: Matrix, key: list[int]) -> None:
        """Plain PCD over X in the native engine, a step for each batch_size rows; few calls serve all of them."""
        rule, parameters = self._rule(), self._parameters()
        visible, hidden, weight = self._velocity if self.momentum else [None] * 3
        chains = [self._aux_states[name] for name in learning.SAMPLES]
        products = math.prod(parameters.interaction_weight.shape) * self.batch_size * (self.k + 1)
        size = self.batch_size * max(1, _PRODUCTS_AT_ONCE // products)  # Python hears of Ctrl-C between calls
        for number, rows in enumerate(gen_batches(X.shape[0], size)):
            native_learning.learn(
                **energy.native_parameters(parameters),
                data=float32(dense(X[rows])),
                chains=chains,
                velocities=(weight, visible, hidden),
                batch_size=self.batch_size,
                sweeps=self.k,
                from_data=rule.chains == "data",
                key=[*key, number],
                rate=self.learning_rate,
                momentum=self.momentum,
                weight_decay=self.weight_decay,
                sparsity_target=rule.sparsity_target,
                sparsity_cost=rule.sparsity_cost,
                fixed_point=rule.has_fixed_point(len(chains[0])),
            )
        self._take(parameters)

    def _can_learn_at_once(self) -> bool:
        weight = self._parameters().interaction_weight
        return self._rule().is_plain and gibbs.choose_engine(self.engine, weight) == "native"

    def _take(self, parameters: Parameters) -> None:
        """Have these parameters, unless they are not finite."""
        if not all(np.isfinite(array).all() for array in parameters):
            raise DivergenceError("training diverged: parameters are not finite; lower learning_rate or momentum")
        dtype = self.components_.dtype
        self.components_ = parameters.interaction_weight.astype(dtype, copy=False).T
        self.intercept_visible_ = parameters.visible_layer_bias.astype(dtype, copy=False)
        self.intercept_hidden_ = parameters.hidden_layer_bias.astype(dtype, copy=False)

    def _descend(self, parameters: Parameters, gradients: list[HostArray]) -> None:
        """v <- momentum v - rate (g + decay W), then W <- W + v; the gradients may be used up."""
        if energy.native_serves(*parameters):
            for index, (array, gradient, velocity) in enumerate(zip(parameters, gradients, self._velocity)):
                native_learning.descend(
                    array,
                    gradient,
                    velocity if self.momentum else None,
                    rate=self.learning_rate,
                    momentum=self.momentum,
                    weight_decay=self.weight_decay if index == 2 else 0.0,
                )
            return
        if self.weight_decay:
            gradients[2] += np.float32(self.weight_decay) * parameters.interaction_weight
        for index, (array, gradient) in enumerate(zip(parameters, gradients)):
            gradient *= np.float32(self.learning_rate)
            if self.momentum:
                velocity = self._velocity[index]
                velocity *= np.float32(self.momentum)
                velocity -= gradient
                array += velocity
            else:
                array -= gradient


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
