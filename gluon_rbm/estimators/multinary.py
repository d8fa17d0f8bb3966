"""The multinary RBM (`gluon_rbm.models.multinary_rbm`) as an estimator.

It learns by `gluon_rbm.models.contrastive.ContrastiveFreeEnergy`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Iterable, cast

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from gluon_rbm.backend.arrays import from_host, to_numpy
from gluon_rbm.backend.framework import mx
from gluon_rbm.backend.random import KeyedOperators, make_generator
from gluon_rbm.errors import DivergenceError, InputError, check_count
from gluon_rbm.estimators.common import Matrix, RandomSeed, Rows, Transformer, dense, float32, key_from
from gluon_rbm.likelihood import ais
from gluon_rbm.models.contrastive import ContrastiveFreeEnergy
from gluon_rbm.models.multinary_rbm import MultinaryRBMBlock, binary_parameters
from gluon_rbm.models.rbm_block import alternate
from gluon_rbm.models.units import Multinary
from gluon_rbm.training import optimization, optimizers

if TYPE_CHECKING:
    from gluon_rbm.backend.types import HostArray, NDArray
    from gluon_rbm.likelihood.estimates import LogPartition
    from gluon_rbm.likelihood.scores import LogLikelihood

__all__ = ["MultinaryRBM"]

_NAMES = ("visible_layer_bias", "hidden_layer_bias", "interaction_weight")


class MultinaryRBM(Transformer):
    """An RBM with units that have values from 0 to N.

    It learns by CD-k with means: it minimises F(v) - F(v'), where v' is v after k sweeps of means.
    X, features and samples are in [0, 1]: v = N x.

    Parameters
    ----------
    n_components
        Number of hidden units.
    maximum
        N, the largest value of visible and hidden units.
    slope
        Slope k of the mean of a unit, f(x) = N sigma(k x); None: 1 / N. See
        `gluon_rbm.models.units.Multinary`.
    learning_rate
        Rate of the optimizer, on the mean gradient of a batch.
    optimizer
        Name of an optimizer of MXNet, such as "adam" or "sgd".
    momentum
        Momentum of the optimizer, if it has one.
    weight_decay
        Weight decay of the optimizer, its parameter wd.
    batch_size
        Images in a step.
    n_iter
        Number of passes through X, each in a new order.
    verbose
        If above 0, print the mean squared error of reconstructions after each pass.
    random_state
        As in `BinaryRBM`.
    k
        Number of sweeps from v to v'.
    initial_deviation
        Standard deviation of the weights before training.
    initial_hidden_bias
        Slope times the hidden biases before training. Below 0, most units are off at first.

    Attributes
    ----------
    components_
        Weights (n_components, n_features), for v and h from 0 to N, in the dtype of X.
    intercept_visible_
        Visible biases (n_features,), likewise.
    intercept_hidden_
        Hidden biases (n_components,), likewise.
    n_features_in_
        Number of features in `fit`.
    feature_names_in_
        Names of the features, if X has names that are all text.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from gluon_rbm.estimators import MultinaryRBM
    >>> images = load_digits().data[:200] / 16
    >>> rbm = MultinaryRBM(16, maximum=16, n_iter=3, random_state=0).fit(images)
    >>> rbm.transform(images).shape
    (200, 16)
    >>> rbm.sample(2, sweeps=10).shape
    (2, 64)
    """

    def __init__(
        self,
        n_components: int = 256,
        *,
        maximum: int = 255,
        slope: float | None = None,
        learning_rate: float = 0.003,
        optimizer: str = "adam",
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        batch_size: int = 128,
        n_iter: int = 10,
        verbose: int = 0,
        random_state: RandomSeed = None,
        k: int = 1,
        initial_deviation: float = 0.01,
        initial_hidden_bias: float = 0.0,
    ) -> None:
        self.n_components = n_components
        self.maximum = maximum
        self.slope = slope
        self.learning_rate = learning_rate
        self.optimizer = optimizer
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.n_iter = n_iter
        self.verbose = verbose
        self.random_state = random_state
        self.k = k
        self.initial_deviation = initial_deviation
        self.initial_hidden_bias = initial_hidden_bias

    @property
    def _units(self) -> Multinary:
        return Multinary(self.maximum, self.slope)

    def fit(self, X: Matrix, y: Any = None) -> MultinaryRBM:
        """Learn X from the beginning, in `n_iter` passes.

        Parameters
        ----------
        X
            Images (n_samples, n_features) in [0, 1], dense or CSR.
        y
            Ignored.

        Returns
        -------
        MultinaryRBM
            The estimator itself.

        Raises
        ------
        ValueError, InputError, DivergenceError
            As in `BinaryRBM.fit`.

        Warns
        -----
        PixelRangeWarning, sklearn.exceptions.ConvergenceWarning
            As in `BinaryRBM.fit`.
        """
        self._check_settings()
        X = self._checked(X, reset=True)
        generator = self.random_state_ = check_random_state(self.random_state)
        self._begin(X, generator)
        learner = _Learner(self)

        def learn(batches: Iterable[Rows]) -> None:
            learner.learn(float32(dense(X[rows])) for rows in batches)
            self._take(learner)

        self._epochs(X.shape[0], generator, True, learn, lambda: "reconstruction error = %.5f" % self._error(X))
        self._warn_if_saturated(X)
        return self

    def partial_fit(self, X: Matrix, y: Any = None) -> MultinaryRBM:
        """Make one step with X as its batch.

        The optimizer goes on from the call before.

        Parameters
        ----------
        X, y
            As in `fit`.

        Returns
        -------
        MultinaryRBM
            The estimator itself.
        """
        self._check_settings()
        first = not hasattr(self, "components_")
        X = self._checked(X, reset=first)
        if first:
            self._begin(X, self._continued())
        learner = _Learner(self)
        learner.learn([float32(dense(X))])
        self._take(learner)
        return self

    def _check_settings(self) -> None:
        super()._check_settings()
        Multinary(self.maximum, self.slope)  # raises an error if one of them is wrong
        if self.optimizer not in optimization.OPTIMIZERS:
            raise InputError("optimizer is %r; choose one of %s" % (self.optimizer, ", ".join(optimization.OPTIMIZERS)))

    def _begin(self, X: Matrix, generator: np.random.RandomState) -> None:
        shape, bias = (self.n_components, X.shape[1]), self.initial_hidden_bias / self._units.slope
        self.components_ = np.asarray(generator.normal(0, self.initial_deviation, shape), X.dtype, order="F")
        self.intercept_visible_ = np.zeros(X.shape[1], X.dtype)
        self.intercept_hidden_ = np.full(self.n_components, bias, X.dtype)
        self._optimizer_state, self._updates = {}, 0

    def _arrays(self, dtype: Any) -> tuple[HostArray, HostArray, HostArray]:
        return (
            np.ascontiguousarray(self.intercept_visible_, dtype),
            np.ascontiguousarray(self.intercept_hidden_, dtype),
            np.ascontiguousarray(self.components_.T, dtype),
        )

    def _block(self, dtype: Any) -> MultinaryRBMBlock:
        """The fitted RBM as a block with parameters in that dtype."""
        arrays = self._arrays(dtype)
        num_visible, num_hidden = arrays[2].shape
        units = {"hidden_units": self._units, "visible_units": self._units}
        block = MultinaryRBMBlock(num_visible, num_hidden, **units, weight_initializer=mx.init.Zero())
        block.initialize(ctx=mx.cpu())
        block.cast(np.dtype(dtype).name)
        for name, array in zip(_NAMES, arrays):
            getattr(block, name).set_data(from_host(array))
        return block

    def _take(self, learner: _Learner) -> None:
        visible_bias, hidden_bias, weight = (to_numpy(array) for array in learner.arrays().values())
        if not all(np.isfinite(array).all() for array in (visible_bias, hidden_bias, weight)):
            raise DivergenceError("training diverged: parameters are not finite; lower learning_rate")
        dtype = self.components_.dtype
        self.components_ = weight.astype(dtype, copy=False).T
        self.intercept_visible_ = visible_bias.astype(dtype, copy=False)
        self.intercept_hidden_ = hidden_bias.astype(dtype, copy=False)
        self._optimizer_state, self._updates = optimization.optimizer_state(cast(Any, learner)), learner.updates

    # --- What a fitted RBM does -------------------------------------------------------------------

    def _of(self, X: Matrix, function: Callable[[MultinaryRBMBlock, NDArray], NDArray], dtype: Any = None) -> HostArray:
        """function(block, N x) of all rows x of X, as a NumPy array."""
        block = self._block(dtype or X.dtype)

        def of_rows(rows: HostArray) -> HostArray:
            return to_numpy(function(block, from_host(self.maximum * rows.astype(dtype or X.dtype))))

        return self._in_chunks(X, of_rows)

    def _error(self, X: Matrix) -> float:
        return np.square(self._of(X, lambda block, v: (block.reconstruct(v) - v) / self.maximum)).mean()

    def _features(self, X: Matrix) -> HostArray:
        return self._of(X, lambda block, v: block.mean_hidden(v) / self.maximum)

    def free_energy(self, X: Matrix) -> HostArray:
        """Return the free energy of each image.

            F(v) = -a.v - sum_j A(b_j + (v W)_j)

        Parameters
        ----------
        X
            Images (n_samples, n_features) in [0, 1].

        Returns
        -------
        float64 (n_samples,)
            Free energies in nats.
        """
        check_is_fitted(self)
        return self._of(self._checked(X), lambda block, v: block.free_energy(v), np.float64)

    def score_samples(self, X: Matrix) -> HostArray:
        """Return log p(v) + log Z = -F(v) + sum_i log m(v_i) of each image.

        m(v_i) is the number of ways in which N / k binary units add up to v_i. The score compares
        images under the same RBM.

        Parameters
        ----------
        X
            Images (n_samples, n_features) in [0, 1].

        Returns
        -------
        float64 (n_samples,)
            Scores in nats.
        """
        check_is_fitted(self)
        X = self._checked(X)
        ways = self._in_chunks(X, lambda rows: self._units.log_base_measure(self.maximum * rows).sum(axis=1))
        return ways - self._of(X, lambda block, v: block.free_energy(v), np.float64)

    def gibbs(self, v: Matrix, sweeps: int = 1) -> HostArray:
        """Run Gibbs sweeps from given values.

        Parameters
        ----------
        v
            Images (n_samples, n_features) in [0, 1].
        sweeps
            Number of Gibbs sweeps.

        Returns
        -------
        array (n_samples, n_features)
            Values in [0, 1] after the last sweep, in the dtype of `v`.
        """
        check_is_fitted(self)
        X = dense(self._checked(v))
        return self._alternate(X, sweeps, key_from(self._continued()))

    def sample(self, n_samples: int = 1, sweeps: int = 1000) -> HostArray:
        """Draw images by Gibbs chains that start from uniform random values.

        Parameters
        ----------
        n_samples
            Number of images, each from a chain of its own.
        sweeps
            Number of Gibbs sweeps.

        Returns
        -------
        float32 (n_samples, n_features)
            Values in [0, 1].
        """
        check_is_fitted(self)
        n_samples, key = check_count("n_samples", n_samples), key_from(self._continued())
        start = make_generator([*key, 1])
        return self._alternate(start.random((n_samples, self.n_features_in_), np.float32), sweeps, [*key, 0])

    def _alternate(self, start: HostArray, sweeps: int, key: list[int]) -> HostArray:
        sweeps = check_count("the number of Gibbs sweeps", sweeps)
        block, visible = self._block(start.dtype), from_host(self.maximum * start)
        values = to_numpy(alternate(block, visible, sweeps, operators=KeyedOperators(key)))
        return values / start.dtype.type(self.maximum)

    def log_partition(self, **settings: Any) -> LogPartition:
        """Estimate log Z by annealed importance sampling of the equivalent binary RBM.

        That RBM has N / k binary units in place of each unit.

        Parameters
        ----------
        **settings
            As in `ais.log_partition`.

        Returns
        -------
        LogPartition
            Estimate in nats, an `ais.LogPartition`.

        Raises
        ------
        InputError
            N / k is not whole, or the binary RBM is too large. It is too large by default: choose a
            slope of 1, for example, and a small N.
        """
        check_is_fitted(self)
        parameters = binary_parameters(*self._arrays(np.float32), self._units, self._units)
        settings = {"key": key_from(check_random_state(self.random_state)), **settings}
        return ais.log_partition(*parameters, **settings)

    def log_likelihood(self, X: Matrix, log_partition: LogPartition | None = None, **settings: Any) -> LogLikelihood:
        """Return the mean log-likelihood of X.

        Parameters
        ----------
        X
            Images (n_samples, n_features) in [0, 1].
        log_partition, **settings
            As in `BinaryRBM.log_likelihood`.

        Returns
        -------
        LogLikelihood
            Mean in nats per image and its standard error over the images, an `ais.LogLikelihood`.
            Its field `binary` says whether all values are ones that the units can have.

        Warns
        -----
        ais.LikelihoodWarning
            log Z is in doubt, or the units cannot have all values of X.
        """
        check_is_fitted(self)
        X = self._checked(X)
        partition = self.log_partition(**settings) if log_partition is None else log_partition
        return self._likelihood(X, self.score_samples(X), partition, self._units.copies)


class _Learner:
    """The block, the loss and the `gluon.Trainer` of an estimator, which go on from its last state.

    `gluon_rbm.training.optimization` reads `updater`, `parameter_names` and `arrays`.
    """

    def __init__(self, estimator: MultinaryRBM) -> None:
        self._block, self._maximum = estimator._block(np.float32), np.float32(estimator.maximum)
        self._loss = ContrastiveFreeEnergy(self._block, estimator.k)
        self._loss.hybridize()
        optimizer = optimizers.make_optimizer(estimator, wd=estimator.weight_decay)
        parameters = [getattr(self._block, name) for name in _NAMES]
        self._trainer = mx.gluon.Trainer(parameters, optimizer, kvstore=None)
        self.updater = self._trainer._updaters[0]  # pickle is the only public way to its state
        self.parameter_names, self.updates = dict(enumerate(_NAMES)), estimator._updates
        if self.updates:
            optimization.restore_optimizer(cast(Any, self), estimator._optimizer_state, self.updates)

    def arrays(self) -> dict[str, NDArray]:
        return {name: getattr(self._block, name).data() for name in _NAMES}

    def learn(self, batches: Iterable[HostArray]) -> None:
        for batch in batches:
            with mx.autograd.record():
                loss = self._loss(from_host(self._maximum * batch))
            loss.backward()
            self._trainer.step(len(batch))
            self.updates += 1
