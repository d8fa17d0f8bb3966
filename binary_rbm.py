"""The binary restricted Boltzmann machine as an MXNet operator (`BinaryRBM`) and as a Gluon block (`BinaryRBMBlock`).

The operator minimises the mean negative log-likelihood -log p(v) = F(v) + log Z. Its gradient is a difference of two
means of -dE/dtheta,

    d/dW = <v^T p(h=1|v)>_chains - <v^T p(h=1|v)>_data     d/da = <v>_chains - <v>_data     d/db likewise with p(h=1|v),

the first over persistent Gibbs chains that k more sweeps have advanced: PCD-k (Tieleman, ICML 2008). A
`gluon_rbm.likelihood.rules.LearningRule` may bend it.
"""

from __future__ import annotations

import itertools
from typing import Any, List, Sequence

import numpy as np

from ais import estimate_log_likelihood
from gluon_rbm.backend.arrays import as_operand, assign, host_view
from gluon_rbm.backend.framework import mx
from gluon_rbm.backend.random import caller_number, draw_key
from gluon_rbm.backend.types import Array, NDArray
from gluon_rbm.errors import InputError, check_count
from gluon_rbm.likelihood import learning, rules
from gluon_rbm.likelihood.initializers import BinaryStates, initializer
from gluon_rbm.likelihood.rules import LearningRule
from gluon_rbm.models.energy import Parameters, check_visible, hidden_probability, native_serves
from gluon_rbm.models.files import correct_chain_names, read_arrays
from gluon_rbm.models.rbm_block import in_dtype_of
from gluon_rbm.sampling import gibbs

__all__ = [
    "BinaryRBMOperator",
    "BinaryRBMProp",
    "BinaryRBMBlock",
    "BinaryStates",
    "binary_rbm_symbol",
    "estimate_log_likelihood",
]

_Arrays = List[NDArray]  # as MXNet hands them to an operator

# --- Operator ---------------------------------------------------------------------------------------------------------


class BinaryRBMOperator(mx.operator.CustomOp):
    """Forward: k Gibbs sweeps. Backward: the gradient above, by matrix products. Made by `BinaryRBMProp`."""

    def __init__(self, k: int, rule: LearningRule, engine: str, caller: int, base_key: list[int] | None) -> None:
        super().__init__()
        self._k = k
        self._rule = rule
        self._engine = engine
        self._caller = caller
        self._base_key = base_key
        self._calls = itertools.count()
        # p(h = 1 | v) of the chains that aux holds: forward knows it, backward needs it.
        self._chain_hidden_prob_1 = None

    def _next_key(self, in_data: _Arrays) -> list[int]:
        if self._base_key is None:
            return [self._caller, *in_data[4].asnumpy().tolist()]
        return [self._caller, *self._base_key, next(self._calls)]

    def _at_hand(self, arrays: Sequence[NDArray]) -> Sequence[Array]:
        """The arrays, as NumPy views of their memory where the native engine computes: it copies nothing then."""
        native = self._engine != "mxnet" and native_serves(*arrays)
        return [host_view(array) for array in arrays] if native else arrays

    def _aux_states(self, aux: Sequence[Array]) -> dict[str, Array]:
        return dict(zip(learning.states(self._rule, 0, 0, 0), aux))

    def forward(self, is_train: bool, req: list[str], in_data: _Arrays, out_data: _Arrays, aux: _Arrays) -> None:
        key = self._next_key(in_data)
        data, *parameters = self._at_hand(in_data[:4])
        parameters, aux_states = Parameters(*parameters), self._aux_states(self._at_hand(aux))
        if is_train and aux:
            visible_prob_1, self._chain_hidden_prob_1 = learning.advance_chains(
                self._rule, parameters, aux_states, data, sweeps=self._k, key=key, engine=self._engine
            )
        else:
            _check_start(data.shape[0], out_data[0].shape[0])
            visible_prob_1 = gibbs.run_chains(
                parameters,
                visible=data,
                sweeps=self._k,
                visible_units=self._rule.visible_units(data.shape[1]),
                key=[*key, 1],
                engine=self._engine,
            ).visible_prob_1
        if is_train and aux:
            hidden_prob_1 = learning.data_probability(self._rule, parameters, aux_states, data)
        else:
            hidden_prob_1 = hidden_probability(parameters, data)
        if is_train:
            learning.update_offsets(self._rule, aux_states, data, hidden_prob_1)
        assign(out_data[0], req[0], as_operand(visible_prob_1))
        assign(out_data[1], req[1], as_operand(hidden_prob_1))

    def backward(
        self, req: list[str], out_grad: _Arrays, in_data: _Arrays, out_data: _Arrays, in_grad: _Arrays, aux: _Arrays
    ) -> None:
        if not aux:
            raise InputError("BinaryRBM has gradients only with for_training=True: without it there are no chains")
        if self._chain_hidden_prob_1 is None:
            raise InputError(
                "BinaryRBM has no gradient of a forward that did not train: use autograd.record() or is_train"
            )
        data, *parameters, hidden_prob_1 = self._at_hand([*in_data[:4], out_data[1]])
        parameters = Parameters(*parameters)
        learning.store_objective_gradients(
            self._rule,
            in_grad[1:4],
            req[1:4],
            parameters,
            data=data,
            hidden_prob_1=hidden_prob_1,
            chain_hidden_prob_1=self._chain_hidden_prob_1,
            aux_states=self._aux_states(self._at_hand(aux)),
        )
        if req[0] != "null":
            learning.store_data_gradient(self._rule, in_grad[0], req[0], parameters, hidden_prob_1)
        if len(in_grad) > 4:
            assign(in_grad[4], req[4], 0)


def _check_start(batch: int, num_chains: int) -> None:
    if batch != num_chains:
        raise InputError(
            "outside training the chains start at the data, so its batch must be num_chains = %d, not %d; "
            "with for_training=False any batch will do" % (num_chains, batch)
        )


@mx.operator.register("BinaryRBM")
class BinaryRBMProp(mx.operator.CustomOpProp):
    """Operator `BinaryRBM`.

    Attributes
    ----------
    num_hidden, k, for_training, engine
        As in `BinaryRBMBlock`.
    num_chains : int, default 0
        Number of persistent chains; 0: as many as the batch the graph is bound with.
    keyed : bool, default False
        Take a fifth input `key`, int32 (4,), that fixes the noise (see `gluon_rbm.backend.random.draw_key`). Without
        it the key is drawn from MXNet's generator when the operator is created: seed before you bind.
    **rule
        The fields of a `gluon_rbm.likelihood.rules.LearningRule`.

    Inputs: `data` (batch, num_visible) in [0, 1], `visible_layer_bias` (num_visible,), `hidden_layer_bias`
    (num_hidden,), `interaction_weight` (num_visible, num_hidden). Auxiliary states, for training only:
    `aux_visible_layer_sample` (num_chains, num_visible), `aux_hidden_layer_sample` (num_chains, num_hidden), and what
    the rule needs (`gluon_rbm.likelihood.learning.states`). (MXNet's executors do not make their readers wait: wait for
    an output before you look at them.)

    Outputs: `visible_layer_prob_1`, the probabilities that the visible units are 1 after k sweeps, of the persistent
    chains when training, (num_chains, num_visible), and of chains started at the data when not, (batch, num_visible);
    `hidden_layer_prob_1`, the probabilities that the hidden units are 1 given the data, (batch, num_hidden).

    All in the dtype and on the device of the data. The gradient is that of the mean negative log-likelihood (nats);
    gradients of the outputs are not asked for.
    """

    def __init__(
        self,
        num_hidden: str,
        k: str,
        for_training: str,
        num_chains: str = "0",
        keyed: str = "False",
        engine: str = "auto",
        **rule: str,
    ) -> None:
        super().__init__(need_top_grad=False)
        self.num_hidden = check_count("num_hidden", num_hidden)
        self.k = check_count("k", k)
        self.for_training = for_training in ("True", "true", "1")
        self.num_chains = check_count("num_chains", num_chains, 0)
        self.engine = gibbs.checked_engine(engine)
        self.keyed = keyed in ("True", "true", "1")
        self.rule = LearningRule.checked(**rule)

    def list_arguments(self) -> list[str]:
        return ["data", "visible_layer_bias", "hidden_layer_bias", "interaction_weight"] + ["key"] * self.keyed

    def list_outputs(self) -> list[str]:
        return ["visible_layer_prob_1", "hidden_layer_prob_1"]

    def list_auxiliary_states(self) -> list[str]:
        return list(self._states(0, 0))

    def _states(self, num_chains: int, num_visible: int) -> dict[str, tuple[int, ...]]:
        return learning.states(self.rule, num_chains, num_visible, self.num_hidden) if self.for_training else {}

    def infer_shape(self, in_shape: list[Any]) -> tuple[list[Any], ...]:
        if len(in_shape[0]) != 2:
            raise InputError("data has shape %s; it must be (batch, num_visible)" % (tuple(in_shape[0]),))
        batch, num_visible = in_shape[0]
        num_chains = (self.num_chains or batch) if self.for_training else batch
        inputs = [in_shape[0], (num_visible,), (self.num_hidden,), (num_visible, self.num_hidden)]
        outputs = [(num_chains, num_visible), (batch, self.num_hidden)]
        return inputs + [(4,)] * self.keyed, outputs, list(self._states(num_chains, num_visible).values())

    def infer_type(self, in_type: list[Any]) -> tuple[list[Any], ...]:
        dtype = in_type[0]
        key_type = [np.int32] * self.keyed
        return [dtype] * 4 + key_type, [dtype] * 2, [dtype] * len(self.list_auxiliary_states())

    def create_operator(self, ctx: str, in_shapes: list[Any], in_dtypes: list[Any]) -> BinaryRBMOperator:
        # Called in the thread of the caller, which the operator itself will not see.
        base_key = None if self.keyed else draw_key().asnumpy().tolist()
        return BinaryRBMOperator(self.k, self.rule, self.engine, caller_number(), base_key)


# --- Symbol -----------------------------------------------------------------------------------------------------------


def binary_rbm_symbol(
    num_hidden: int,
    k: int,
    for_training: bool,
    num_chains: int = 0,
    *,
    data: Any = None,
    name: str = "rbm",
    engine: str = "auto",
    rule: LearningRule = rules.PLAIN,
) -> Any:
    """The RBM as a symbol for the Module API, with the parameter names of `BinaryRBMBlock`.

    Arguments as `BinaryRBMBlock`; `data` is a symbol (batch, num_visible), by default a variable of that name. Biases
    start at 0 and chains at random binary states, whatever initializer the module uses for the weights; weight decay
    does not touch the biases. The noise follows mx.random.seed.
    """
    data = mx.sym.var("data") if data is None else data
    inputs = [
        mx.sym.var("visible_layer_bias", init=mx.init.Zero(), wd_mult=0.0),
        mx.sym.var("hidden_layer_bias", init=mx.init.Zero(), wd_mult=0.0),
        mx.sym.var("interaction_weight"),
        draw_key(F=mx.sym),
    ]
    if for_training:
        inputs += [mx.sym.var(state, init=initializer(state)) for state in learning.states(rule, 0, 0, 0)]
    settings = dict(num_hidden=num_hidden, k=k, for_training=for_training, num_chains=num_chains, engine=engine)
    return mx.sym.Custom(data, *inputs, op_type="BinaryRBM", keyed=True, name=name, **settings, **rule._asdict())


# --- Gluon ------------------------------------------------------------------------------------------------------------


class BinaryRBMBlock(mx.gluon.HybridBlock):
    """A binary RBM trained by PCD-k.

        p(v, h) = exp(a.v + b.h + v W h) / Z

    Parameters
    ----------
    num_hidden : int
    k : int
        Gibbs sweeps in each call.
    for_training : bool
        Keep persistent chains, and have a gradient. False: chains start at the data.
    num_visible : int, default 0
        0: known from the first batch.
    num_chains : int, default 0
        Number of persistent chains; 0: the size of the first batch (give it when this block is inside a hybridized one
        and a later batch may be shorter).
    engine : "auto", "mxnet" or "native", default "auto"
        What runs the chains: the native engine on a CPU in float32 where it is built, else MXNet's operators.
    rule : gluon_rbm.likelihood.rules.LearningRule
        What bends the gradient; by default nothing.

    Inputs: data (batch, num_visible) in [0, 1], of any dtype.

    Outputs: visible_layer_prob_1, the probabilities of the visible units after k sweeps, (num_chains, num_visible) of
    the persistent chains inside `autograd.record()`, else (batch, num_visible), where a block made for training takes
    batches of num_chains only; hidden_layer_prob_1 = p(h = 1 | data),
    (batch, num_hidden). Call `backward()` on either one of them: the gradient is that of the mean negative
    log-likelihood in nats, whatever the output's own gradient.

    The gradient is a mean over the batch already. `trainer.step(1)` follows it at the learning rate as it is given;
    `trainer.step(batch_size)`, as the original example has it, divides by the batch size a second time, so that its
    rate of 0.1 with batches of 80 acts as 0.00125.

    The chains, and the states that the rule needs, are parameters that are not trained (`grad_req="null"`):
    `gluon.Trainer(rbm.collect_params(), ...)` leaves them alone, `save_parameters` keeps them. Weight decay leaves the
    biases alone.

    Examples
    --------
    >>> rbm = BinaryRBMBlock(num_hidden=500, k=30, for_training=True)
    >>> rbm.initialize(mx.init.Normal(sigma=0.01))
    >>> batch = mx.nd.random.uniform(shape=(80, 784))  # images in [0, 1], a row each
    >>> output = rbm(batch)  # the first batch says how many pixels there are
    >>> trainer = mx.gluon.Trainer(rbm.collect_params(), "sgd", {"learning_rate": 0.1 / 80})
    >>> with mx.autograd.record():
    ...     visible_prob_1, hidden_prob_1 = rbm(batch)
    >>> visible_prob_1.backward()
    >>> trainer.step(1)  # the gradient is a mean over the batch already
    >>> print(rbm)
    BinaryRBMBlock(784 visible, 500 hidden units, PCD-30 with 80 chains, for training)
    """

    def __init__(
        self,
        num_hidden: int,
        k: int,
        for_training: bool,
        num_visible: int = 0,
        num_chains: int = 0,
        *,
        engine: str = "auto",
        rule: LearningRule = rules.PLAIN,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_hidden = check_count("num_hidden", num_hidden)
        self.k = check_count("k", k)
        self.for_training = bool(for_training)
        self.engine = gibbs.checked_engine(engine)
        self.rule = LearningRule.checked(**rule._asdict())
        num_visible = check_count("num_visible", num_visible, 0)
        num_chains = check_count("num_chains", num_chains, 0)
        with self.name_scope():
            bias = dict(init="zeros", wd_mult=0.0, allow_deferred_init=True)
            self.visible_layer_bias = self.params.get("visible_layer_bias", shape=(num_visible,), **bias)
            self.hidden_layer_bias = self.params.get("hidden_layer_bias", shape=(num_hidden,), **bias)
            self.interaction_weight = self.params.get(
                "interaction_weight", shape=(num_visible, num_hidden), allow_deferred_init=True
            )
            for name, shape in self._states(num_chains, num_visible).items():
                state = self.params.get(
                    name,
                    shape=shape,
                    init=initializer(name),
                    grad_req="null",
                    differentiable=False,
                    allow_deferred_init=True,
                )
                setattr(self, name, state)

    def _states(self, num_chains: int, num_visible: int) -> dict[str, tuple[int, ...]]:
        return learning.states(self.rule, num_chains, num_visible, self.num_hidden) if self.for_training else {}

    def __repr__(self) -> str:
        num_visible, num_chains = self.interaction_weight.shape[0], self.num_chains
        units = "%s visible, %d hidden units" % (num_visible or "as the first batch has", self.num_hidden)
        if not self.for_training:
            return "BinaryRBMBlock(%s, %d Gibbs sweeps a call, not for training)" % (units, self.k)
        how = {
            "persistent": "PCD-%d",
            "data": "CD-%d",
            "noise": "%d sweeps from noise a step",
            "tempered": "PCD-%d by parallel tempering",
            "trajectory": "PCD-%d by parallel trajectory tempering",
        }[self.rule.chains]
        chains = " with %d chains" % num_chains if num_chains else ""
        return "BinaryRBMBlock(%s, %s%s, for training)" % (units, how % self.k, chains)

    @property
    def num_chains(self) -> int:
        """Number of persistent chains; 0: not known before the first batch, or none."""
        return self.aux_hidden_layer_sample.shape[0] // self.rule.replicas if self.for_training else 0

    def forward(self, data: Any, *args: Any) -> Any:
        if isinstance(data, mx.nd.NDArray):
            self._fix_shapes(data)
            if self.for_training and not mx.autograd.is_training():
                _check_start(data.shape[0], self.num_chains)
            data = in_dtype_of(self.interaction_weight, data)
        return super().forward(data, *args)

    def _fix_shapes(self, data: NDArray) -> None:
        """Let the first batch say what is not known yet, before a graph is made of it."""
        check_visible(data, self.interaction_weight.shape[0])
        batch, num_visible = data.shape
        learned = {"visible_layer_bias": (num_visible,), "interaction_weight": (num_visible, self.num_hidden)}
        states = self._states(self.num_chains or batch, num_visible)
        for name, shape in {**learned, **states}.items():
            parameter = getattr(self, name)
            if 0 in parameter.shape:
                parameter.shape = shape

    def infer_shape(self, data: Any, *args: Any) -> None:
        if isinstance(data, mx.nd.NDArray):
            self._fix_shapes(data)
        else:
            super().infer_shape(data, *args)

    def hybrid_forward(
        self,
        F: Any,
        data: Any,
        visible_layer_bias: Any,
        hidden_layer_bias: Any,
        interaction_weight: Any,
        **states: Any,
    ) -> Any:
        key = draw_key(getattr(data, "context", None), F)
        inputs = [data, visible_layer_bias, hidden_layer_bias, interaction_weight, key]
        inputs += [states[name] for name in self._states(0, 0)]
        names = ("num_hidden", "k", "for_training", "num_chains", "engine")
        settings = {name: getattr(self, name) for name in names}
        return F.Custom(*inputs, op_type="BinaryRBM", keyed=True, **settings, **self.rule._asdict())

    def load_parameters(
        self, filename: str, ctx: Any = None, allow_missing: bool = False, ignore_extra: bool = False, **casting: Any
    ) -> None:
        """As `gluon.Block.load_parameters`; without training, chains in the file are passed over.

        What the original's Module script wrote loads, too, although it has wrong names for the chains. Raises
        InputError for a file that is torn, changed, not finite, or not of this block. Floats of another size than the
        block's are converted, unless `cast_dtype=False` is given.
        """
        casting.setdefault("cast_dtype", True)
        ignore_extra = ignore_extra or not self.for_training
        corrected = correct_chain_names(read_arrays(filename))  # read in any case, as MXNet trusts what it reads
        try:
            if corrected is None:
                super().load_parameters(filename, ctx, allow_missing, ignore_extra, **casting)
            else:
                arrays = {self.prefix + name: array for name, array in corrected.items()}
                self.collect_params().load_dict(arrays, ctx, allow_missing, ignore_extra, filename=filename, **casting)
        except (AssertionError, ValueError) as error:  # Gluon's
            raise InputError("%s holds no parameters of this block: %s" % (filename, error)) from error

    @property
    def rbm_parameters(self) -> Parameters:
        """The three learned arrays as `gluon_rbm.models.energy.Parameters`."""
        return Parameters(*(getattr(self, name).data() for name in Parameters._fields))
