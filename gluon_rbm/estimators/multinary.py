"""The multinary RBM (`gluon_rbm.models.multinary_rbm`), trained by the contrastive free energy, as an estimator."""

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from gluon_rbm.backend.arrays import from_host
from gluon_rbm.backend.framework import mx
from gluon_rbm.backend.random import KeyedOperators, make_generator
from gluon_rbm.errors import DivergenceError, InputError
from gluon_rbm.estimators.common import Transformer, dense, float32, key_from
from gluon_rbm.likelihood import ais
from gluon_rbm.models.multinary_rbm import MultinaryRBMBlock as Machine
from gluon_rbm.models.multinary_rbm import binary_parameters
from gluon_rbm.models.rbm_block import ContrastiveFreeEnergy, alternate
from gluon_rbm.models.units import Multinary
from gluon_rbm.training import optimization

__all__ = ["MultinaryRBM"]

_NAMES = ("visible_layer_bias", "hidden_layer_bias", "interaction_weight")


class MultinaryRBM(Transformer):
    """An RBM whose units have values from 0 to N, trained by means (CD-k) through F(v) - F(v').

    X is in [0, 1]: v = N x. Features, samples and the like are in [0, 1], too.

    Parameters
    ----------
    n_components : int, default 256
        Hidden units.
    maximum : int, default 255
        N, of all units.
    slope : float or None, default None
        k in f(x) = N sigma(k x); None: 1 / N. See `gluon_rbm.models.units.Multinary`.
    learning_rate, optimizer, momentum, weight_decay : default 0.003, "adam", 0.9 and 0.0
        The optimizer is MXNet's of that name; momentum where it has one.
    batch_size, n_iter : int, default 128 and 10
        Images come in a new order in each pass.
    verbose : int, default 0
        Print the mean squared error of reconstructions after each pass.
    random_state : int, RandomState or None, default None
    k : int, default 1
        Sweeps from v to v'.
    initial_deviation, initial_hidden_bias : float, default 0.01 and 0.0
        Of the weights before training the standard deviation; of the hidden biases slope times what they are before it:
        below 0, most units are off at first.

    Attributes: components_ (n_components, n_features), intercept_visible_ and intercept_hidden_ on the scale of v and
    h, in the dtype of X; n_features_in_, feature_names_in_.
    """

    def __init__(
        self,
        n_components=256,
        *,
        maximum=255,
        slope=None,
        learning_rate=0.003,
        optimizer="adam",
        momentum=0.9,
        weight_decay=0.0,
        batch_size=128,
        n_iter=10,
        verbose=0,
        random_state=None,
        k=1,
        initial_deviation=0.01,
        initial_hidden_bias=0.0,
    ):
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
    def _units(self):
        return Multinary(self.maximum, self.slope)

    def fit(self, X, y=None):
        """Learn X (n_samples, n_features) anew, in n_iter passes; returns self."""
        self._check_settings()
        X = self._checked(X, reset=True)
        generator = self.random_state_ = check_random_state(self.random_state)
        self._begin(X, generator)
        learner = _Learner(self)

        def learn(batches):
            learner.learn(float32(dense(X[rows])) for rows in batches)
            self._take(learner)

        self._epochs(X.shape[0], generator, True, learn, lambda: "reconstruction error = %.5f" % self._error(X))
        return self

    def partial_fit(self, X, y=None):
        """One step with X (n_samples, n_features) as its batch; the optimizer goes on. Returns self."""
        self._check_settings()
        first = not hasattr(self, "components_")
        X = self._checked(X, reset=first)
        if first:
            self._begin(X, self._continued())
        learner = _Learner(self)
        learner.learn([float32(dense(X))])
        self._take(learner)
        return self

    def _check_settings(self):
        super()._check_settings()
        if self.optimizer not in optimization.OPTIMIZERS:
            raise InputError("optimizer is %r; choose one of %s" % (self.optimizer, ", ".join(optimization.OPTIMIZERS)))

    def _begin(self, X, generator):
        shape, bias = (self.n_components, X.shape[1]), self.initial_hidden_bias / self._units.slope
        self.components_ = np.asarray(generator.normal(0, self.initial_deviation, shape), X.dtype, order="F")
        self.intercept_visible_ = np.zeros(X.shape[1], X.dtype)
        self.intercept_hidden_ = np.full(self.n_components, bias, X.dtype)
        self._optimizer_state, self._updates = {}, 0

    def _arrays(self, dtype):
        arrays = self.intercept_visible_, self.intercept_hidden_, self.components_.T
        return [np.ascontiguousarray(array, dtype) for array in arrays]

    def _machine(self, dtype):
        """The fitted machine, with its parameters in that dtype."""
        arrays = self._arrays(dtype)
        machine = Machine(
            *arrays[2].shape,
            hidden_units=self._units,
            visible_units=self._units,
            weight_initializer=mx.init.Zero(),
        )
        machine.initialize(ctx=mx.cpu())
        machine.cast(np.dtype(dtype).name)
        for name, array in zip(_NAMES, arrays):
            getattr(machine, name).set_data(from_host(array))
        return machine

    def _take(self, learner):
        visible_bias, hidden_bias, weight = (array.asnumpy() for array in learner.arrays().values())
        if not all(np.isfinite(array).all() for array in (visible_bias, hidden_bias, weight)):
            raise DivergenceError("training diverged: parameters are not finite; lower learning_rate")
        dtype = self.components_.dtype
        self.components_ = weight.astype(dtype, copy=False).T
        self.intercept_visible_ = visible_bias.astype(dtype, copy=False)
        self.intercept_hidden_ = hidden_bias.astype(dtype, copy=False)
        self._optimizer_state, self._updates = optimization.optimizer_state(learner), learner.updates

    # --- What a fitted machine does -----------------------------------------------------------------------------------

    def _of(self, X, function, dtype=None):
        """function(machine, values) of all rows of X: NumPy."""
        machine = self._machine(dtype or X.dtype)

        def part(rows):
            return function(machine, from_host(self.maximum * rows.astype(dtype or X.dtype))).asnumpy()

        return self._in_parts(X, part)

    def _error(self, X):
        return np.square(self._of(X, lambda machine, v: (machine.reconstruct(v) - v) / self.maximum)).mean()

    def transform(self, X):
        """E[h | v] / N of each image: (n_samples, n_components), in the dtype of X."""
        check_is_fitted(self)
        return self._of(self._checked(X), lambda machine, v: machine.mean_hidden(v) / self.maximum)

    def free_energy(self, X):
        """F(v) = -a.v - sum_j A(b_j + (v W)_j) of each image: float64 (n_samples,), in nats."""
        check_is_fitted(self)
        return self._of(self._checked(X), lambda machine, v: machine.free_energy(v), np.float64)

    def score_samples(self, X):
        """log p(v) + log Z = -F(v) + sum_i log m(v_i) of each image: float64 (n_samples,), in nats.

        m(v_i) is the number of ways in which N / k binary units add up to v_i. Images of one machine compare by it.
        """
        check_is_fitted(self)
        X = self._checked(X)
        ways = self._in_parts(X, lambda rows: self._units.log_base_measure(self.maximum * rows).sum(axis=1))
        return ways - self._of(X, lambda machine, v: machine.free_energy(v), np.float64)

    def gibbs(self, v, sweeps=1):
        """Values after one Gibbs step, or more, from v (n_samples, n_features): in [0, 1], in the dtype of v."""
        check_is_fitted(self)
        X = dense(self._checked(v))
        return self._carried_on(X, sweeps, key_from(self._continued()))

    def sample(self, n_samples=1, sweeps=1000):
        """Draw images from nothing: float32 (n_samples, n_features) in [0, 1], by sweeps from values at random."""
        check_is_fitted(self)
        key = key_from(self._continued())
        start = make_generator([*key, 1])
        return self._carried_on(start.random((n_samples, self.n_features_in_), np.float32), sweeps, [*key, 0])

    def _carried_on(self, start, sweeps, key):
        machine, visible = self._machine(start.dtype), from_host(self.maximum * start)
        return alternate(machine, visible, sweeps, operators=KeyedOperators(key)).asnumpy() / start.dtype.type(
            self.maximum
        )

    def log_partition(self, **settings):
        """log Z by annealed importance sampling of the equal binary machine: an `ais.LogPartition`.

        settings : as in `ais.log_partition`. Raises InputError where N / k binary units in place of each are too many,
        as they are by default: choose a slope of 1, say, and a small N.
        """
        check_is_fitted(self)
        parameters = binary_parameters(*self._arrays(np.float32), self._units, self._units)
        settings = {"key": key_from(check_random_state(self.random_state)), **settings}
        return ais.log_partition(*parameters, **settings)

    def log_likelihood(self, X, log_partition=None, **settings):
        """Mean log-likelihood of X in nats per image, with its standard error over the images: an `ais.LogLikelihood`.

        log_partition, settings and warnings as in `BinaryRBM.log_likelihood`; `binary` says that units have all values.
        """
        check_is_fitted(self)
        X = self._checked(X)
        partition = self.log_partition(**settings) if log_partition is None else log_partition
        return self._likelihood(X, self.score_samples(X), partition, self._units.copies)


class _Learner:
    """The machine of an estimator, its loss and its `gluon.Trainer`, which goes on where the estimator's was.

    `updater`, `parameter_names` and `arrays` are what `gluon_rbm.training.optimization` asks for.
    """

    def __init__(self, estimator):
        self._machine, self._maximum = estimator._machine(np.float32), np.float32(estimator.maximum)
        self._loss = ContrastiveFreeEnergy(self._machine, estimator.k)
        self._loss.hybridize()
        optimizer = optimization.make_optimizer(estimator, wd=estimator.weight_decay)
        parameters = [getattr(self._machine, name) for name in _NAMES]
        self._trainer = mx.gluon.Trainer(parameters, optimizer, kvstore=None)
        self.updater = self._trainer._updaters[0]  # there is no public way to a trainer's state but pickle
        self.parameter_names, self.updates = dict(enumerate(_NAMES)), estimator._updates
        if self.updates:
            optimization.restore_optimizer(self, estimator._optimizer_state, self.updates)

    def arrays(self):
        return {name: getattr(self._machine, name).data() for name in _NAMES}

    def learn(self, batches):
        for batch in batches:
            with mx.autograd.record():
                loss = self._loss(from_host(self._maximum * batch))
            loss.backward()
            self._trainer.step(len(batch))
            self.updates += 1
