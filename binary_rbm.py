"""The binary RBM as an MXNet operator (`BinaryRBM`) and as a Gluon block (`BinaryRBMBlock`).

The operator minimizes the mean negative log-likelihood -log p(v) = F(v) + log Z. Its gradient is a
difference of two means:

    d/dW = <v^T p(h=1|v)>_chains - <v^T p(h=1|v)>_data
    d/da = <v>_chains - <v>_data            d/db = <p(h=1|v)>_chains - <p(h=1|v)>_data

The first mean is over persistent Gibbs chains, after k more sweeps: PCD-k (Tieleman, ICML 2008). A
`gluon_rbm.likelihood.rules.LearningRule` can change the chains and the gradient.
"""

from __future__ import annotations

import itertools
from typing import Any, List, Mapping, NamedTuple, Sequence

import numpy as np

from ais import estimate_log_likelihood
from gluon_rbm.backend.arrays import as_operand, assign, host_view
from gluon_rbm.backend.framework import mx
from gluon_rbm.backend.random import caller_number, draw_key
from gluon_rbm.backend.types import Array, NDArray
from gluon_rbm.errors import InputError, check_count, one_line
from gluon_rbm.likelihood import learning, rules
from gluon_rbm.likelihood.initializers import BinaryStates, initializer
from gluon_rbm.likelihood.rules import LearningRule
from gluon_rbm.models.energy import check_pixels, check_visible, hidden_probability, native_serves
from gluon_rbm.models.files import check_complete, correct_chain_names, read_arrays
from gluon_rbm.models.parameters import Parameters
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

_Arrays = List[NDArray]  # as MXNet passes them to an operator

# --- Operator -------------------------------------------------------------------------------------


class _Settings(NamedTuple):
    """Settings of the operator, a symbol or a block, with values of the right types."""

    num_hidden: int
    k: int
    for_training: bool
    num_chains: int
    engine: str
    rule: LearningRule


def _checked_settings(
    num_hidden: Any, k: Any, for_training: Any, num_chains: Any, engine: str, rule: Mapping[str, Any]
) -> _Settings:
    if for_training not in (True, False):
        raise InputError("for_training is %r; it must be True or False" % (for_training,))
    return _Settings(
        check_count("num_hidden", num_hidden),
        check_count("k", k),
        bool(for_training),
        check_count("num_chains", num_chains, 0),
        gibbs.checked_engine(engine),
        LearningRule.checked(**rule),
    )


class BinaryRBMOperator(mx.operator.CustomOp):
    """The operator of `BinaryRBMProp`: forward runs k Gibbs sweeps, backward stores the gradient.

    Parameters
    ----------
    k
        Gibbs sweeps in each call.
    rule
        The learning rule.
    engine
        As in `BinaryRBMBlock`.
    caller
        Number of the caller's thread, a part of every key.
    base_key
        Words that fix the noise, along with a count of the calls; None: the input key does.
    """

    def __init__(self, k: int, rule: LearningRule, engine: str, caller: int, base_key: list[int] | None) -> None:
        super().__init__()
        self._k = k
        self._rule = rule
        self._engine = engine
        self._caller = caller
        self._base_key = base_key
        self._calls = itertools.count()
        # p(h = 1 | v) of the chains in aux: forward computes it, backward needs it.
        self._chain_hidden_prob_1 = None

    def _next_key(self, in_data: _Arrays) -> list[int]:
        if self._base_key is None:
            return [self._caller, *in_data[4].asnumpy().tolist()]
        return [self._caller, *self._base_key, next(self._calls)]

    def _at_hand(self, arrays: Sequence[NDArray]) -> Sequence[Array]:
        """Return the arrays; if the native engine computes, as NumPy views, which saves copies."""
        native = self._engine != "mxnet" and native_serves(*arrays)
        return [host_view(array) for array in arrays] if native else arrays

    def _aux_states(self, aux: Sequence[Array]) -> dict[str, Array]:
        return dict(zip(learning.states(self._rule, 0, 0, 0), aux))

    def forward(self, is_train: bool, req: list[str], in_data: _Arrays, out_data: _Arrays, aux: _Arrays) -> None:
        """Run the chains, and compute the outputs.

        The arguments are those of MXNet's CustomOp.

        Parameters
        ----------
        is_train
            Advance the persistent chains in `aux`. Otherwise, or without them, chains start at the
            data.
        req
            What to do with each output: "write", "inplace", "add" or "null".
        in_data, out_data, aux
            Inputs, outputs and auxiliary states, as in `BinaryRBMProp`.

        Raises
        ------
        InputError
            Chains start at the data, and the batch is not of num_chains images. Or the native
            engine is given data that are NaN or outside [0, 1].
        """
        key = self._next_key(in_data)
        data, *parameters = self._at_hand(in_data[:4])
        if isinstance(data, np.ndarray):  # a block checks its data; a Module or an exported block does not
            check_pixels(data)
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
        """Compute the gradients of the mean loss.

        The arguments are those of MXNet's CustomOp.

        Parameters
        ----------
        req
            What to do with each gradient, as in `forward`.
        out_grad
            Gradients of the outputs; not used.
        in_data, out_data
            As in `forward`.
        in_grad
            Gradients with respect to the inputs, to be stored.
        aux
            As in `forward`.

        Raises
        ------
        InputError
            There are no persistent chains, or the last forward did not train.
        """
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
    """The operator `BinaryRBM`: its settings, inputs and outputs.

    Inputs: data (batch, num_visible) in [0, 1], visible_layer_bias (num_visible,),
    hidden_layer_bias (num_hidden,), interaction_weight (num_visible, num_hidden).

    Auxiliary states, for training only: aux_visible_layer_sample (rows, num_visible),
    aux_hidden_layer_sample (rows, num_hidden), and what the rule needs
    (`gluon_rbm.likelihood.learning.states`). There is a row for each chain, or for each replica of
    it if chains are tempered. Wait for an output before you read the states, because MXNet's
    executors do not make readers wait.

    Output visible_layer_prob_1: the probabilities that visible units are 1 after k sweeps. When
    training they are those of the persistent chains, (num_chains, num_visible). Otherwise they are
    those of chains that start at the data, (batch, num_visible).

    Output hidden_layer_prob_1: the probabilities that hidden units are 1 given the data,
    (batch, num_hidden).

    All arrays have the dtype of the data, and are on its device. The gradient is that of the mean
    negative log-likelihood in nats. The operator does not use gradients of the outputs.

    Parameters
    ----------
    num_hidden, k, for_training
        As in `BinaryRBMBlock`; all settings may be texts, as MXNet passes them.
    num_chains
        Number of persistent chains; 0: the batch size with which the graph is bound.
    keyed
        Take a fifth input, key, int32 (4,), that fixes the noise (see
        `gluon_rbm.backend.random.draw_key`). Otherwise the key is drawn from MXNet's generator when
        the operator is created: seed before you bind.
    engine
        As in `BinaryRBMBlock`.
    **rule
        Fields of a `gluon_rbm.likelihood.rules.LearningRule`.

    Raises
    ------
    InputError
        A setting cannot be used.
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
        is_true = ("True", "true", "1")  # how MXNet passes True
        settings = _checked_settings(num_hidden, k, for_training in is_true, num_chains, engine, rule)
        self.num_hidden, self.k, self.for_training, self.num_chains, self.engine, self.rule = settings
        self.keyed = keyed in is_true

    def list_arguments(self) -> list[str]:
        """Return the names of the inputs.

        Returns
        -------
        list
            Four names, and key if the operator is keyed.
        """
        return ["data", "visible_layer_bias", "hidden_layer_bias", "interaction_weight"] + ["key"] * self.keyed

    def list_outputs(self) -> list[str]:
        """Return the names of the outputs.

        Returns
        -------
        list
            Two names.
        """
        return ["visible_layer_prob_1", "hidden_layer_prob_1"]

    def list_auxiliary_states(self) -> list[str]:
        """Return the names of the auxiliary states.

        Returns
        -------
        list
            Names, as in `gluon_rbm.likelihood.learning.states`; none unless for training.
        """
        return list(self._states(0, 0))

    def _states(self, num_chains: int, num_visible: int) -> dict[str, tuple[int, ...]]:
        return learning.states(self.rule, num_chains, num_visible, self.num_hidden) if self.for_training else {}

    def infer_shape(self, in_shape: list[Any]) -> tuple[list[Any], ...]:
        """Return the shapes of all arrays, given the shape of the data.

        Parameters
        ----------
        in_shape
            Shapes of the inputs; only that of the data is used.

        Returns
        -------
        inputs : list
            Shapes of the inputs.
        outputs : list
            Shapes of the outputs.
        auxiliary_states : list
            Shapes of the auxiliary states.

        Raises
        ------
        InputError
            The data are not (batch, num_visible).
        """
        if len(in_shape[0]) != 2:
            raise InputError("data has shape %s; it must be (batch, num_visible)" % (tuple(in_shape[0]),))
        batch, num_visible = in_shape[0]
        num_chains = (self.num_chains or batch) if self.for_training else batch
        inputs = [in_shape[0], (num_visible,), (self.num_hidden,), (num_visible, self.num_hidden)]
        outputs = [(num_chains, num_visible), (batch, self.num_hidden)]
        return inputs + [(4,)] * self.keyed, outputs, list(self._states(num_chains, num_visible).values())

    def infer_type(self, in_type: list[Any]) -> tuple[list[Any], ...]:
        """Return the dtypes of all arrays: the dtype of the data, and int32 for the key.

        Parameters
        ----------
        in_type
            Dtypes of the inputs; only that of the data is used.

        Returns
        -------
        inputs : list
            Dtypes of the inputs.
        outputs : list
            Dtypes of the outputs.
        auxiliary_states : list
            Dtypes of the auxiliary states.
        """
        dtype = in_type[0]
        key_type = [np.int32] * self.keyed
        return [dtype] * 4 + key_type, [dtype] * 2, [dtype] * len(self.list_auxiliary_states())

    def create_operator(self, ctx: str, in_shapes: list[Any], in_dtypes: list[Any]) -> BinaryRBMOperator:
        """Create the operator.

        Parameters
        ----------
        ctx
            Device, as MXNet passes it; not used.
        in_shapes, in_dtypes
            Shapes and dtypes of the inputs; not used.

        Returns
        -------
        BinaryRBMOperator
            The operator, with a new key unless it is keyed.
        """
        # MXNet calls this in the caller's thread, but runs the operator in a thread of its own.
        base_key = None if self.keyed else draw_key().asnumpy().tolist()
        return BinaryRBMOperator(self.k, self.rule, self.engine, caller_number(), base_key)


# --- Symbol ---------------------------------------------------------------------------------------


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
    """Return the RBM as a symbol for the Module API, with the parameter names of `BinaryRBMBlock`.

    Biases start at 0 and chains at random binary states, whichever initializer the module uses for
    the weights. Weight decay leaves the biases alone. mx.random.seed fixes the noise.

    Parameters
    ----------
    num_hidden, k, for_training, num_chains
        As in `BinaryRBMBlock`.
    data
        Symbol (batch, num_visible); by default a variable with the name data.
    name
        Name of the symbol.
    engine, rule
        As in `BinaryRBMBlock`.

    Returns
    -------
    Symbol
        The operator `BinaryRBM`, with the outputs of `BinaryRBMProp`.

    Raises
    ------
    InputError
        A setting cannot be used.
    """
    # MXNet ends the process if the operator refuses a setting, so they are checked here.
    checked = _checked_settings(num_hidden, k, for_training, num_chains, engine, rule._asdict())
    data = mx.sym.var("data") if data is None else data
    inputs = [
        mx.sym.var("visible_layer_bias", init=mx.init.Zero(), wd_mult=0.0),
        mx.sym.var("hidden_layer_bias", init=mx.init.Zero(), wd_mult=0.0),
        mx.sym.var("interaction_weight"),
        draw_key(F=mx.sym),
    ]
    if checked.for_training:
        inputs += [mx.sym.var(state, init=initializer(state)) for state in learning.states(checked.rule, 0, 0, 0)]
    settings = checked._asdict()
    settings.update(settings.pop("rule")._asdict())
    return mx.sym.Custom(data, *inputs, op_type="BinaryRBM", keyed=True, name=name, **settings)


def _is_initialized(parameter: Any) -> bool:
    """Whether a parameter of Gluon has a value, or gets one as soon as its shape is known."""
    try:
        return bool(parameter.list_ctx())
    except RuntimeError:
        return False


# --- Gluon ----------------------------------------------------------------------------------------


class BinaryRBMBlock(mx.gluon.HybridBlock):
    """A binary RBM trained by PCD-k, as a Gluon block.

        p(v, h) = exp(a.v + b.h + v W h) / Z

    A call takes data (batch, num_visible), an NDArray of any dtype, and returns two arrays. Values
    that are NaN or outside [0, 1] are refused, and float16 where there is no GPU.

    The first, visible_layer_prob_1, has the probabilities of the visible units after k sweeps.
    Inside autograd.record() the sweeps advance the persistent chains: (num_chains, num_visible).
    Outside it the chains start at the data: (batch, num_visible). Then a block made for training
    takes only batches of exactly num_chains images.

    The second, hidden_layer_prob_1, is p(h = 1 | data), (batch, num_hidden).

    Call backward() on either array. The gradient is that of the mean negative log-likelihood in
    nats, whatever the gradient of the array is.

    The gradient is a mean over the batch already, and trainer.step(1) uses the learning rate as it
    is. The original example calls trainer.step(batch_size), which divides by the batch size a
    second time: its rate of 0.1 with batches of 80 acts as 0.00125.

    The chains, and the states that the rule needs, are parameters with grad_req="null". So a
    gluon.Trainer of all parameters does not train them, and save_parameters saves them. Weight
    decay leaves the biases alone.

    Parameters
    ----------
    num_hidden
        Number of hidden units.
    k
        Gibbs sweeps in each call.
    for_training
        Keep persistent chains, and have a gradient. Otherwise chains start at the data.
    num_visible
        Number of visible units; 0: that of the first batch.
    num_chains
        Number of persistent chains; 0: the size of the first batch. Give it if the block is inside
        a hybridized block and a later batch may be shorter.
    engine
        What runs the chains: "mxnet", "native", "cuda" or "auto". Auto takes the native engine on
        a CPU, and the CUDA engine on a GPU, in float32 if it is there; else MXNet's operators.
    rule
        Which chains there are, and what changes the gradient; by default plain PCD.
    **kwargs
        Settings of Gluon's HybridBlock, such as prefix.

    Raises
    ------
    InputError
        A setting cannot be used.

    Examples
    --------
    >>> rbm = BinaryRBMBlock(num_hidden=500, k=30, for_training=True)
    >>> rbm.initialize(mx.init.Normal(sigma=0.01))
    >>> batch = mx.nd.random.uniform(shape=(80, 784))  # images in [0, 1], a row each
    >>> output = rbm(batch)  # the first batch tells the number of pixels
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
        settings = _checked_settings(num_hidden, k, for_training, num_chains, engine, rule._asdict())
        self.num_hidden, self.k, self.for_training, num_chains, self.engine, self.rule = settings
        num_visible = check_count("num_visible", num_visible, 0)
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
        """Number of persistent chains.

        Returns
        -------
        int
            The number; 0 before the first batch if it is not known, and without training.
        """
        return self.aux_hidden_layer_sample.shape[0] // self.rule.replicas if self.for_training else 0

    def forward(self, data: Any, *args: Any) -> Any:
        """Compute both outputs.

        Parameters
        ----------
        data
            NDArray or symbol (batch, num_visible), values in [0, 1].
        *args
            Further inputs of Gluon's HybridBlock.

        Returns
        -------
        visible_layer_prob_1 : NDArray or symbol (num_chains or batch, num_visible)
            Probabilities of the visible units after k sweeps.
        hidden_layer_prob_1 : NDArray or symbol (batch, num_hidden)
            Probabilities p(h = 1 | data).

        Raises
        ------
        InputError
            The data have another shape, or hold values that are NaN or outside [0, 1]. Or outside
            training the batch of a block made for training is not of num_chains images. Or the
            engine cannot be used on this device.
        """
        if isinstance(data, mx.nd.NDArray):
            self._fix_shapes(data)
            if self.for_training and not mx.autograd.is_training():
                _check_start(data.shape[0], self.num_chains)
            data = in_dtype_of(self.interaction_weight, data)
            if self.engine != "auto":  # MXNet would add a traceback to what an operator raises
                gibbs.choose_engine(self.engine, data)
        return super().forward(data, *args)

    def _fix_shapes(self, data: NDArray) -> None:
        """Take unknown shapes from the first batch, before a graph is made of it."""
        check_visible(data, self.interaction_weight.shape[0])
        batch, num_visible = data.shape
        learned = {"visible_layer_bias": (num_visible,), "interaction_weight": (num_visible, self.num_hidden)}
        states = self._states(self.num_chains or batch, num_visible)
        for name, shape in {**learned, **states}.items():
            parameter = getattr(self, name)
            if 0 in parameter.shape:
                parameter.shape = shape

    def infer_shape(self, data: Any, *args: Any) -> None:
        """Take unknown shapes from the first batch.

        Parameters
        ----------
        data
            As in `forward`.
        *args
            Further inputs of Gluon's HybridBlock.
        """
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
        """Call the operator `BinaryRBM` with a key of its own.

        Parameters
        ----------
        F
            Operators: mx.nd or mx.sym.
        data
            As in `forward`.
        visible_layer_bias, hidden_layer_bias, interaction_weight
            Parameters a, b and W, as Gluon passes them.
        **states
            Chains and other states, by name, as Gluon passes them.

        Returns
        -------
        NDArrays or symbol
            Both outputs of `forward`.
        """
        key = draw_key(getattr(data, "context", None), F)
        inputs = [data, visible_layer_bias, hidden_layer_bias, interaction_weight, key]
        inputs += [states[name] for name in self._states(0, 0)]
        names = ("num_hidden", "k", "for_training", "num_chains", "engine")
        settings = {name: getattr(self, name) for name in names}
        return F.Custom(*inputs, op_type="BinaryRBM", keyed=True, **settings, **self.rule._asdict())

    def load_parameters(
        self, filename: str, ctx: Any = None, allow_missing: bool = False, ignore_extra: bool = False, **casting: Any
    ) -> None:
        """Load parameters from a file, as Gluon's Block does.

        A block ignores chains and other states in the file that it does not have. Those that it
        has, but the file has not, start anew. Files that the original's Module script wrote can be
        loaded, too, although they have wrong names for the chains. So can files whose names have a
        prefix. Floats of another size than the block's are converted, unless cast_dtype=False is
        given.

        Parameters
        ----------
        filename
            The file.
        ctx
            Device or devices of the parameters.
        allow_missing
            Allow a file without some of the parameters.
        ignore_extra
            Ignore parameters in the file that the block does not have.
        **casting
            Settings cast_dtype (by default True) and dtype_source of Gluon's load_parameters.

        Raises
        ------
        InputError
            The file is torn, changed, not finite, or not of this block.
        """
        casting.setdefault("cast_dtype", True)
        arrays = correct_chain_names(read_arrays(filename))  # MXNet would trust what it reads
        states = self._states(0, 0)
        arrays = {name: array for name, array in arrays.items() if name in states or not name.startswith("aux_")}
        if not allow_missing:
            check_complete(arrays, filename)
        for name in states:
            if name not in arrays and not _is_initialized(self.params.get(name)):
                self.params.get(name).initialize(ctx=ctx)
        arrays = {self.prefix + name: array for name, array in arrays.items()}
        try:
            self.collect_params().load_dict(arrays, ctx, True, ignore_extra, filename=filename, **casting)
        except (AssertionError, ValueError) as error:  # Gluon's
            raise InputError("%s cannot be loaded into this block: %s" % (filename, one_line(str(error)))) from error

    @property
    def rbm_parameters(self) -> Parameters:
        """The three learned arrays.

        Returns
        -------
        Parameters
            NDArrays, on the device of the block.
        """
        return Parameters(*(getattr(self, name).data() for name in Parameters._fields))
