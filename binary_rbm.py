"""The binary restricted Boltzmann machine as an MXNet operator (`BinaryRBM`) and as a Gluon block (`BinaryRBMBlock`).

The operator minimises the mean negative log-likelihood -log p(v) = F(v) + log Z. Its gradient is a difference of two
means of -dE/dtheta,

    d/dW = <v^T p(h=1|v)>_chains - <v^T p(h=1|v)>_data     d/da = <v>_chains - <v>_data     d/db likewise with p(h=1|v),

the first over persistent Gibbs chains that k more sweeps have carried on: PCD-k (Tieleman, ICML 2008). A
`gluon_rbm.likelihood.learning.LearningRule` may bend it.
"""

import functools
import itertools

import numpy as np

from ais import estimate_log_likelihood
from gluon_rbm.backend.arrays import as_operand, assign, host_view
from gluon_rbm.backend.framework import mx
from gluon_rbm.backend.random import caller_number, draw_key
from gluon_rbm.errors import InputError
from gluon_rbm.likelihood import learning
from gluon_rbm.likelihood.learning import BinaryStates, LearningRule
from gluon_rbm.models import label_rbm
from gluon_rbm.models.energy import Parameters, are_pixels, hidden_probability
from gluon_rbm.models.files import read_arrays
from gluon_rbm.sampling import gibbs

__all__ = [
    "BinaryRBMOperator",
    "BinaryRBMProp",
    "BinaryRBMBlock",
    "BinaryStates",
    "binary_rbm_symbol",
    "estimate_log_likelihood",
]


# --- Operator ---------------------------------------------------------------------------------------------------------


class BinaryRBMOperator(mx.operator.CustomOp):
    """Forward: k Gibbs sweeps. Backward: the gradient above, by matrix products. Made by `BinaryRBMProp`."""

    def __init__(self, k, rule, engine, caller, base_key):
        super().__init__()
        self._k = k
        self._rule = rule
        self._engine = engine
        self._caller = caller
        self._base_key = base_key
        self._calls = itertools.count()
        # p(h = 1 | v) of the chains that aux holds: forward knows it, backward needs it.
        self._chain_hidden_prob_1 = None

    def _next_key(self, in_data):
        words = in_data[4].asnumpy().tolist() if len(in_data) > 4 else [*self._base_key, next(self._calls)]
        return [self._caller, *words]

    def _kept(self, aux):
        return dict(zip(learning.states(self._rule, 0, 0, 0), aux))

    def forward(self, is_train, req, in_data, out_data, aux):
        data, parameters, key = in_data[0], Parameters(*in_data[1:4]), self._next_key(in_data)
        kept = self._kept(aux)
        if is_train and aux:
            visible_prob_1, self._chain_hidden_prob_1 = learning.advance_chains(
                self._rule, parameters, kept, data, self._k, key, self._engine
            )
        else:
            _check_start(data.shape[0], out_data[0].shape[0])
            visible_prob_1 = gibbs.run_chains(
                parameters,
                visible=data,
                sweeps=self._k,
                softmax_group=label_rbm.softmax_group(data.shape[1], self._rule.num_classes),
                key=[*key, 1],
                engine=self._engine,
            ).visible_prob_1
        hidden_prob_1 = hidden_probability(parameters, data)
        if is_train:
            learning.update_offsets(self._rule, kept, data, hidden_prob_1)
        assign(out_data[0], req[0], as_operand(visible_prob_1))
        assign(out_data[1], req[1], as_operand(hidden_prob_1))

    def backward(self, req, out_grad, in_data, out_data, in_grad, aux):
        if not aux:
            raise InputError("BinaryRBM has gradients only with for_training=True: without it there are no chains")
        if self._chain_hidden_prob_1 is None:
            raise InputError(
                "BinaryRBM has no gradient of a forward that did not train: use autograd.record() or is_train"
            )
        parameters, data, hidden_prob_1 = Parameters(*in_data[1:4]), in_data[0], out_data[1]
        learning.store_objective_gradients(
            self._rule,
            in_grad[1:4],
            req[1:4],
            parameters,
            data,
            hidden_prob_1,
            self._chain_hidden_prob_1,
            self._kept(aux),
        )
        if req[0] != "null":
            if self._rule.objective != "generative":
                raise InputError("only the generative objective has a gradient with respect to the data")
            assign(in_grad[0], req[0], _data_gradient(map(as_operand, parameters), as_operand(hidden_prob_1)))
        if len(in_grad) > 4:
            assign(in_grad[4], req[4], 0)


def _check_start(batch, num_chains):
    if batch != num_chains:
        raise InputError(
            "outside training the chains start at the data, so its batch must be num_chains = %d, not %d; "
            "with for_training=False any batch will do" % (num_chains, batch)
        )


def _data_gradient(parameters, hidden_prob_1):
    """d/dv of the mean of F(v): -(a + W p(h=1|v)) / batch."""
    visible_layer_bias, _, interaction_weight = parameters
    return -(hidden_prob_1 @ interaction_weight.T + visible_layer_bias) / hidden_prob_1.shape[0]


def _at_least(lowest, name, value):
    number = int(value)
    if number < lowest:
        raise InputError("%s is %s; it must be at least %d" % (name, value, lowest))
    return number


_natural, _positive = functools.partial(_at_least, 0), functools.partial(_at_least, 1)


@mx.operator.register("BinaryRBM")
class BinaryRBMProp(mx.operator.CustomOpProp):
    """Operator `BinaryRBM`.

    Attributes
    ----------
    num_hidden : int
    k : int
        Gibbs sweeps in each call.
    for_training : bool
        Keep persistent chains, and have a gradient.
    num_chains : int, default 0
        Number of persistent chains; 0: as many as the batch the graph is bound with.
    keyed : bool, default False
        Take a fifth input `key`, int32 (4,), that fixes the noise (see `gluon_rbm.backend.random.draw_key`). Without it the key
        is drawn from MXNet's generator when the operator is created: seed before you bind.
    engine : "auto", "mxnet" or "native", default "auto"
        What runs the chains (see `gluon_rbm.sampling.gibbs.run_chains`).
    **rule
        The fields of a `gluon_rbm.likelihood.learning.LearningRule`.

    Inputs: `data` (batch, num_visible) in [0, 1], `visible_layer_bias` (num_visible,), `hidden_layer_bias`
    (num_hidden,), `interaction_weight` (num_visible, num_hidden). Auxiliary states, for training only:
    `aux_visible_layer_sample` (num_chains, num_visible), `aux_hidden_layer_sample` (num_chains, num_hidden), and what
    the rule needs (`gluon_rbm.likelihood.learning.states`). (MXNet's executors do not make their readers wait: wait for an output
    before you look at them.)

    Outputs: `visible_layer_prob_1`, the probabilities that the visible units are 1 after k sweeps, of the persistent
    chains when training, (num_chains, num_visible), and of chains started at the data when not, (batch, num_visible);
    `hidden_layer_prob_1`, the probabilities that the hidden units are 1 given the data, (batch, num_hidden).

    All in the dtype and on the device of the data. The gradient is that of the mean negative log-likelihood (nats);
    gradients of the outputs are not asked for.
    """

    def __init__(self, num_hidden, k, for_training, num_chains="0", keyed="False", engine="auto", **rule):
        super().__init__(need_top_grad=False)
        self.num_hidden = _positive("num_hidden", num_hidden)
        self.k = _positive("k", k)
        self.for_training = for_training in ("True", "true", "1")
        self.num_chains = _natural("num_chains", num_chains)
        self.engine = gibbs.checked_engine(engine)
        self.keyed = keyed in ("True", "true", "1")
        self.rule = LearningRule.checked(**rule)

    def list_arguments(self):
        return ["data", "visible_layer_bias", "hidden_layer_bias", "interaction_weight"] + ["key"] * self.keyed

    def list_outputs(self):
        return ["visible_layer_prob_1", "hidden_layer_prob_1"]

    def list_auxiliary_states(self):
        return list(self._states(0, 0))

    def _states(self, num_chains, num_visible):
        return learning.states(self.rule, num_chains, num_visible, self.num_hidden) if self.for_training else {}

    def infer_shape(self, in_shape):
        if len(in_shape[0]) != 2:
            raise InputError("data has shape %s; it must be (batch, num_visible)" % (tuple(in_shape[0]),))
        batch, num_visible = in_shape[0]
        num_chains = (self.num_chains or batch) if self.for_training else batch
        inputs = [in_shape[0], (num_visible,), (self.num_hidden,), (num_visible, self.num_hidden)]
        outputs = [(num_chains, num_visible), (batch, self.num_hidden)]
        return inputs + [(4,)] * self.keyed, outputs, list(self._states(num_chains, num_visible).values())

    def infer_type(self, in_type):
        dtype = in_type[0]
        key_type = [np.int32] * self.keyed
        return [dtype] * 4 + key_type, [dtype] * 2, [dtype] * len(self.list_auxiliary_states())

    def create_operator(self, ctx, in_shapes, in_dtypes):
        # Called in the thread of the caller, which the operator itself will not see.
        base_key = None if self.keyed else draw_key().asnumpy().tolist()
        return BinaryRBMOperator(self.k, self.rule, self.engine, caller_number(), base_key)


# --- Symbol -----------------------------------------------------------------------------------------------------------


def binary_rbm_symbol(
    num_hidden, k, for_training, num_chains=0, data=None, name="rbm", engine="auto", rule=learning.PLAIN
):
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
        inputs += [mx.sym.var(state, init=learning.initializer(state)) for state in learning.states(rule, 0, 0, 0)]
    return mx.sym.Custom(
        data,
        *inputs,
        num_hidden=num_hidden,
        k=k,
        for_training=for_training,
        num_chains=num_chains,
        engine=engine,
        keyed=True,
        op_type="BinaryRBM",
        name=name,
        **rule._asdict(),
    )


# What the original's Module script calls the chains' visible and hidden samples.
_MISNAMED = {
    "aux_hidden_layer_sample": "aux_visible_layer_sample",
    "aux_hidden_layer_prob_1": "aux_hidden_layer_sample",
}


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
    rule : gluon_rbm.likelihood.learning.LearningRule
        What bends the gradient; by default nothing.

    Inputs: data (batch, num_visible) in [0, 1].

    Outputs: visible_layer_prob_1, the probabilities of the visible units after k sweeps, (num_chains, num_visible) of
    the persistent chains inside `autograd.record()`, else (batch, num_visible), where a block made for training takes
    batches of num_chains only; hidden_layer_prob_1 = p(h = 1 | data),
    (batch, num_hidden). Call `backward()` on either one of them: the gradient is that of the mean negative
    log-likelihood in nats, whatever the output's own gradient.

    The chains, and what the rule keeps, are parameters that are not trained (`grad_req="null"`):
    `gluon.Trainer(rbm.collect_params(), ...)` leaves them alone, `save_parameters` keeps them. Weight decay leaves the
    biases alone.
    """

    def __init__(
        self, num_hidden, k, for_training, num_visible=0, num_chains=0, engine="auto", rule=learning.PLAIN, **kwargs
    ):
        super().__init__(**kwargs)
        self.num_hidden = _positive("num_hidden", num_hidden)
        self.k = _positive("k", k)
        self.for_training = bool(for_training)
        self.engine = gibbs.checked_engine(engine)
        self.rule = LearningRule.checked(**rule._asdict())
        num_visible, num_chains = _natural("num_visible", num_visible), _natural("num_chains", num_chains)
        with self.name_scope():
            self.visible_layer_bias = self.params.get(
                "visible_layer_bias", shape=(num_visible,), init="zeros", wd_mult=0.0, allow_deferred_init=True
            )
            self.hidden_layer_bias = self.params.get(
                "hidden_layer_bias", shape=(num_hidden,), init="zeros", wd_mult=0.0, allow_deferred_init=True
            )
            self.interaction_weight = self.params.get(
                "interaction_weight", shape=(num_visible, num_hidden), allow_deferred_init=True
            )
            for name, shape in self._states(num_chains, num_visible).items():
                state = self.params.get(
                    name,
                    shape=shape,
                    init=learning.initializer(name),
                    grad_req="null",
                    differentiable=False,
                    allow_deferred_init=True,
                )
                setattr(self, name, state)

    def _states(self, num_chains, num_visible):
        return learning.states(self.rule, num_chains, num_visible, self.num_hidden) if self.for_training else {}

    @property
    def num_chains(self):
        """Number of persistent chains; 0: not known before the first batch, or none."""
        return self.aux_hidden_layer_sample.shape[0] // self.rule.replicas if self.for_training else 0

    def forward(self, data, *args):
        if isinstance(data, mx.nd.NDArray):
            self._fix_shapes(data)
            if self.for_training and not mx.autograd.is_training():
                _check_start(data.shape[0], self.num_chains)
        return super().forward(data, *args)

    def _fix_shapes(self, data):
        """Let the first batch say what is not known yet, before a graph is made of it."""
        if data.context.device_type == "cpu" and not are_pixels(host_view(data)):  # a GPU would have to wait for it
            raise InputError("data holds values that are NaN or outside [0, 1]; scale the images first")
        if data.ndim != 2:
            raise InputError("data has shape %s; BinaryRBMBlock takes (batch, num_visible): flatten it" % (data.shape,))
        batch, num_visible = data.shape
        if self.interaction_weight.shape[0] not in (0, num_visible):
            raise InputError(
                "data has %d visible units, the model %d; use the data set that the model was trained on"
                % (num_visible, self.interaction_weight.shape[0])
            )
        if 0 in self.interaction_weight.shape or 0 in self.visible_layer_bias.shape:
            self.visible_layer_bias.shape = (num_visible,)
            self.interaction_weight.shape = (num_visible, self.num_hidden)
        for name, shape in self._states(self.num_chains or batch, num_visible).items():
            state = getattr(self, name)
            if 0 in state.shape:
                state.shape = shape

    def infer_shape(self, data, *args):
        if isinstance(data, mx.nd.NDArray):
            self._fix_shapes(data)
        else:
            super().infer_shape(data, *args)

    def hybrid_forward(self, F, data, visible_layer_bias, hidden_layer_bias, interaction_weight, **states):
        key = draw_key(getattr(data, "context", None), F)
        return F.Custom(
            data,
            visible_layer_bias,
            hidden_layer_bias,
            interaction_weight,
            key,
            *(states[name] for name in self._states(0, 0)),
            num_hidden=self.num_hidden,
            k=self.k,
            for_training=self.for_training,
            num_chains=self.num_chains,
            engine=self.engine,
            keyed=True,
            op_type="BinaryRBM",
            **self.rule._asdict(),
        )

    def load_parameters(self, filename, ctx=None, allow_missing=False, ignore_extra=False, **casting):
        """As `gluon.Block.load_parameters`; without training, chains in the file are passed over.

        What the original's Module script wrote loads, too, although it has wrong names for the chains. Raises
        InputError for a file that is torn, changed, not finite, or not of this block.
        """
        ignore_extra = ignore_extra or not self.for_training
        stored = read_arrays(filename)  # in any case, as MXNet trusts what it reads
        try:
            if "aux_hidden_layer_prob_1" in stored:
                arrays = {self.prefix + _MISNAMED.get(name, name): array for name, array in stored.items()}
                self.collect_params().load_dict(arrays, ctx, allow_missing, ignore_extra, filename=filename, **casting)
            else:
                super().load_parameters(filename, ctx, allow_missing, ignore_extra, **casting)
        except (AssertionError, ValueError) as error:  # Gluon's
            raise InputError("%s holds no parameters of this block: %s" % (filename, error)) from error

    @property
    def rbm_parameters(self):
        """The three learned arrays as `gluon_rbm.models.energy.Parameters`."""
        return Parameters(*(getattr(self, name).data() for name in Parameters._fields))
