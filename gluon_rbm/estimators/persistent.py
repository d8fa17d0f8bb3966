"""Learning of the estimators with binary hidden units, on NumPy arrays.

A step is the same as that of the Gluon operator (`gluon_rbm.likelihood.learning`), but without a
graph around it. The chains advance, the gradient of the mean loss is stored, and gradient descent
follows. All is computed in float32, whatever the dtype of X.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Iterable

import numpy as np
from sklearn.utils import gen_batches

from gluon_rbm.backend.native import learning as native_learning
from gluon_rbm.data.statistics import smoothed_visible_bias
from gluon_rbm.errors import DivergenceError, InputError
from gluon_rbm.estimators.common import (
    Estimator,
    Matrix,
    Rows,
    dense,
    float32,
)
from gluon_rbm.estimators.gaps import DataOf
from gluon_rbm.likelihood import learning, rules, snapshots
from gluon_rbm.models import energy
from gluon_rbm.models.files import CLASSES
from gluon_rbm.models.parameters import Parameters
from gluon_rbm.sampling import gibbs

if TYPE_CHECKING:
    from gluon_rbm.backend.types import HostArray

__all__ = ["PersistentLearning"]

_WRITE = ("write",) * 3
_PRODUCTS_AT_ONCE = 2 * 10**9  # multiplications in a native call: about 0.1 s
_MOST_STATES = 2**31  # numbers in the states of all chains: 8 GB


class PersistentLearning(Estimator):
    """Base of the estimators that learn by `gluon_rbm.likelihood.learning`.

    A subclass has the parameters of `BinaryRBM` that this class reads.

    Attributes
    ----------
    components_
        Weights (n_components, num_visible), as in BernoulliRBM.
    intercept_visible_
        Biases (num_visible,) of all visible units.
    intercept_hidden_
        Biases (n_components,) of the hidden units.
    """

    _initial_deviation = 0.01  # of the weights, as in BernoulliRBM

    if TYPE_CHECKING:  # attributes of a subclass
        n_components: int
        learning_rate: float
        k: int
        momentum: float
        weight_decay: float
        engine: str
        components_: HostArray

    def _rule(self) -> rules.LearningRule:
        names = ("chains", "centering", "sparsity_target", "sparsity_cost", "softmax_groups")
        return rules.LearningRule.checked(**{name: getattr(self, name) for name in names})

    def _parameters(self, dtype: Any = np.float32) -> Parameters:
        """The fitted RBM as NumPy arrays: the attributes themselves where dtype and order fit."""
        arrays = self.intercept_visible_, self.intercept_hidden_, self.components_.T
        return Parameters(*(np.ascontiguousarray(array, dtype) for array in arrays))

    @property
    def parameters_(self) -> Parameters:
        """The fitted RBM in float32, for functions such as those of `gluon_rbm.models.interchange`.

        Returns
        -------
        Parameters
            A `gluon_rbm.models.parameters.Parameters` of NumPy arrays.
        """
        return self._parameters()

    def _adopt(self, parameters: Parameters) -> None:
        """Take over the parameters of an RBM, NumPy arrays; chains start anew."""
        self._check_settings()
        arrays = (np.array(array, np.float32, order="C") for array in parameters)
        self.intercept_visible_, self.intercept_hidden_, weight = arrays
        self.components_ = weight.T
        mean = 1 / (1 + np.exp(-self.intercept_visible_.astype(np.float64)))
        self._start_chains(mean, 1, self._continued(), self.batch_size)

    def _begin(
        self, mean: HostArray, num_rows: int, dtype: Any, generator: np.random.RandomState, num_chains: int
    ) -> None:
        """Start anew: initial parameters as in BernoulliRBM, chains from fair coins.

        mean : of each visible unit over `num_rows` rows
        """
        num_visible = len(mean)
        shape = (self.n_components, num_visible)
        self.components_ = np.asarray(generator.normal(0, self._initial_deviation, shape), dtype, order="F")
        self.intercept_visible_ = np.zeros(num_visible, dtype)
        self.intercept_hidden_ = np.zeros(self.n_components, dtype)
        self._start_chains(mean, num_rows, generator, num_chains)

    def _start_chains(self, mean: HostArray, num_rows: int, generator: np.random.RandomState, num_chains: int) -> None:
        num_hidden, num_visible = self.components_.shape
        rule = self._rule()
        groups = rule.visible_units(num_visible)
        states: Any = learning.states(rule, num_chains, num_visible, num_hidden)
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
            learning.BASE: smoothed_visible_bias(mean, num_rows, visible_units=groups),
            CLASSES: np.arange(states.get(CLASSES, (0,))[0]),
            **dict.fromkeys(snapshots.NAMES, 0),
        }
        for name in self._aux_states.keys() & fixed.keys():
            self._aux_states[name][:] = fixed[name]

    def _check_states(self, rule: rules.LearningRule) -> None:
        if set(learning.states(rule, 0, 0, 0)) != set(self._aux_states):
            raise InputError("chains and centering cannot change from call to call of partial_fit; fit anew")

    def _learn(self, batches: Iterable[Rows], data_of: DataOf, key: list[int]) -> None:
        """Make a step for each batch of rows."""
        rule, parameters, aux_states = self._rule(), self._parameters(), self._aux_states
        self._check_states(rule)
        gradients = [np.empty_like(array) for array in parameters]
        for number, rows in enumerate(batches):
            data, held = data_of(parameters, rows, [*key, number])
            learning.store_step_gradients(
                rule,
                gradients,
                _WRITE,
                parameters,
                data=data,
                aux_states=aux_states,
                sweeps=self.k,
                key=[*key, number],
                engine=self.engine,
                held=held,
            )
            self._descend(parameters, gradients)
        self._take(parameters)

    def _learn_at_once(self, X: Matrix, key: list[int]) -> None:
        """Make plain PCD or CD steps over X in the native engine, a few calls for many batches."""
        rule, parameters = self._rule(), self._parameters()
        visible, hidden, weight = self._velocity if self.momentum else [None] * 3
        chains = [self._aux_states[name] for name in learning.SAMPLES]
        products = math.prod(parameters.interaction_weight.shape) * self.batch_size * (self.k + 1)
        # Python notices Ctrl-C only between calls.
        size = self.batch_size * max(1, _PRODUCTS_AT_ONCE // products)
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
                visible_units=rule.visible_units(X.shape[1]),
                fixed_point=rule.has_fixed_point(len(chains[0])),
            )
        self._take(parameters)

    def _can_learn_at_once(self) -> bool:
        weight = self._parameters().interaction_weight
        return self._rule().is_plain and gibbs.choose_engine(self.engine, weight) == "native"

    def _take(self, parameters: Parameters) -> None:
        """Set the attributes to these parameters, unless they are not finite."""
        if not all(np.isfinite(array).all() for array in parameters):
            raise DivergenceError("training diverged: parameters are not finite; lower learning_rate or momentum")
        dtype = self.components_.dtype
        self.components_ = parameters.interaction_weight.astype(dtype, copy=False).T
        self.intercept_visible_ = parameters.visible_layer_bias.astype(dtype, copy=False)
        self.intercept_hidden_ = parameters.hidden_layer_bias.astype(dtype, copy=False)

    def _descend(self, parameters: Parameters, gradients: list[HostArray]) -> None:
        """v <- momentum v - rate (g + decay W), then W <- W + v; may overwrite the gradients."""
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
