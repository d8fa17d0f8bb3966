import subprocess
import sys
import threading

import numpy as np
import pytest
import reference

from binary_rbm import BinaryRBMBlock, binary_rbm_symbol, estimate_log_likelihood
from gluon_rbm.backend.framework import mx
from gluon_rbm.backend.random import draw_key
from gluon_rbm.errors import InputError
from gluon_rbm.likelihood.rules import LearningRule
from gluon_rbm.models.files import read_model

pytestmark = pytest.mark.usefixtures("auto_engine")

MODES = {"imperative": None, "hybridized": {}, "static": {"static_alloc": True, "static_shape": True}}
LEARNED = ("visible_layer_bias", "hidden_layer_bias", "interaction_weight")
CHAINS = ("aux_visible_layer_sample", "aux_hidden_layer_sample")


def block(
    arrays=None,
    ctx=None,
    k=2,
    num_hidden=3,
    for_training=True,
    chains=None,
    mode="imperative",
    dtype="float32",
    **kwargs,
):
    """A block with the given parameters, and with the given hidden states of its chains."""
    num_hidden = num_hidden if arrays is None else len(arrays[1])
    rbm = BinaryRBMBlock(num_hidden, k, for_training, **kwargs)
    rbm.initialize(mx.init.Normal(sigma=0.01), ctx=ctx)
    rbm.cast(dtype)
    if MODES[mode] is not None:
        rbm.hybridize(**MODES[mode])
    if arrays is not None:
        for name, array in zip(LEARNED, arrays):
            getattr(rbm, name).set_data(mx.nd.array(array, dtype=dtype))
    if chains is not None:
        rbm.aux_hidden_layer_sample.set_data(mx.nd.array(chains, dtype=dtype))
        rbm.aux_visible_layer_sample.shape = (len(chains), len(arrays[0]))
    return rbm


def step(rbm, data):
    with mx.autograd.record():
        outputs = rbm(data)
    outputs[0].backward()
    return [output.asnumpy() for output in outputs]


def gradients(rbm):
    return [getattr(rbm, name).grad().asnumpy() for name in LEARNED]


def formula(data, chain_visible, a, b, w):
    """The PCD gradient given the last visible samples, by loops over the rows."""
    result = [np.zeros_like(a), np.zeros_like(b), np.zeros_like(w)]
    for rows, sign in ((chain_visible, 1), (data, -1)):
        for v in rows:
            hidden = reference.sigmoid(b + v @ w)
            for total, term in zip(result, (v, hidden, np.outer(v, hidden))):
                total += sign * term / len(rows)
    return result


# --- Gradients and outputs ------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_gradient_equals_the_formula_for_the_final_chains(ctx, generator, mode):
    arrays = reference.random_rbm(5, 4, generator)
    data = generator.random((7, 5))
    rbm = block(arrays, ctx, chains=generator.integers(0, 2, (9, 4)), mode=mode, dtype="float64")
    step(rbm, mx.nd.array(data, ctx=ctx, dtype="float64"))
    expected = formula(data, rbm.aux_visible_layer_sample.data().asnumpy(), *arrays)
    for ours, theirs in zip(gradients(rbm), expected):
        np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-13)


def test_gradient_equals_enumeration_within_the_monte_carlo_error(ctx, seed, generator):
    """The gradient equals the exact gradient within 5.5 standard errors over independent chains.

    Chains that start at exact samples remain exact samples.
    """
    arrays = reference.random_rbm(4, 3, generator)
    num_chains = 100000
    _, hidden = reference.draw_joint(*arrays, num_chains, generator)
    data = generator.integers(0, 2, (6, 4)).astype(float)
    rbm = block(arrays, ctx, k=3, chains=hidden)
    step(rbm, mx.nd.array(data, ctx=ctx))
    probability, visible = reference.joint(*arrays).sum(axis=1), reference.states(4)
    given_visible = reference.sigmoid(arrays[1] + visible @ arrays[2])
    terms = [visible, given_visible, visible[:, :, None] * given_visible[:, None, :]]
    for ours, exact, term in zip(gradients(rbm), reference.gradients(*arrays, data), terms):
        mean = np.tensordot(probability, term, 1)
        standard_error = np.sqrt((np.tensordot(probability, term**2, 1) - mean**2) / num_chains)
        assert (np.abs(ours - exact) < 5.5 * standard_error + 1e-5).all()


@pytest.mark.parametrize("mode", MODES)
def test_outputs_in_training_are_exact_given_the_chains(ctx, generator, mode):
    a, b, w = reference.random_rbm(5, 4, generator)
    data, chains = generator.random((7, 5)), generator.integers(0, 2, (7, 4))
    rbm = block((a, b, w), ctx, k=1, chains=chains, mode=mode)
    visible_prob_1, hidden_prob_1 = step(rbm, mx.nd.array(data, ctx=ctx))
    np.testing.assert_allclose(visible_prob_1, reference.sigmoid(a + chains @ w.T), rtol=1e-5)
    np.testing.assert_allclose(hidden_prob_1, reference.sigmoid(b + data @ w), rtol=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_without_training_chains_start_at_the_data(ctx, generator, mode):
    a, b, w = reference.random_rbm(4, 3, generator)
    start, rows = generator.random(4), 50000
    rbm = block((a, b, w), ctx, k=1, for_training=False, mode=mode)
    visible_prob_1, hidden_prob_1 = (out.asnumpy() for out in rbm(mx.nd.array(np.tile(start, (rows, 1)), ctx=ctx)))
    given_start = reference.sigmoid(b + start @ w)
    np.testing.assert_allclose(hidden_prob_1, np.tile(given_start, (rows, 1)), rtol=1e-5)
    hidden = reference.states(3)
    weight = (given_start**hidden * (1 - given_start) ** (1 - hidden)).prod(axis=1)
    possible = reference.sigmoid(a + hidden @ w.T)
    mean = weight @ possible
    standard_error = np.sqrt((weight @ possible**2 - mean**2) / rows)
    assert (np.abs(visible_prob_1.mean(axis=0, dtype=float) - mean) < 5.5 * standard_error + 1e-6).all()


def test_outside_record_a_training_block_starts_at_the_data(ctx, generator):
    arrays = reference.random_rbm(4, 3, generator)
    rbm = block(arrays, ctx, k=1)
    data = mx.nd.array(generator.integers(0, 2, (5, 4)), ctx=ctx)
    step(rbm, data)
    chains = [getattr(rbm, name).data().asnumpy() for name in CHAINS]
    visible_prob_1 = rbm(data)[0].asnumpy()
    assert visible_prob_1.shape == (5, 4)
    for name, before in zip(CHAINS, chains):
        np.testing.assert_array_equal(getattr(rbm, name).data().asnumpy(), before)
    with pytest.raises(ValueError, match="num_chains = 5, not 2"):
        rbm(data[:2])


@pytest.mark.parametrize("mode", MODES)
def test_chains_persist(ctx, generator, mode):
    """Large weights tie each hidden unit to one visible unit, so a chain cannot leave its state."""
    pinned = (np.full(4, -20.0), np.full(4, -20.0), 40 * np.eye(4))
    chains = generator.integers(0, 2, (6, 4))
    rbm = block(pinned, ctx, k=3, chains=chains, mode=mode)
    data = mx.nd.array(1 - chains[:4], ctx=ctx)
    for _ in range(3):
        step(rbm, data)
        for name in CHAINS:
            np.testing.assert_array_equal(getattr(rbm, name).data().asnumpy(), chains)


def test_gradient_with_respect_to_the_data_is_that_of_the_free_energy(ctx, generator):
    a, b, w = reference.random_rbm(5, 4, generator)
    data = mx.nd.array(generator.random((3, 5)), ctx=ctx, dtype="float64")
    data.attach_grad()
    rbm = block((a, b, w), ctx, dtype="float64")
    step(rbm, data)
    expected = -(a + reference.sigmoid(b + data.asnumpy() @ w) @ w.T) / 3
    np.testing.assert_allclose(data.grad.asnumpy(), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.slow
def test_a_teacher_is_recovered(ctx, generator):
    # This RBM can be learned in seconds.
    teacher = reference.random_rbm(5, 3, np.random.default_rng(1), scale=1.5)
    sample, _ = reference.draw_joint(*teacher, 20000, generator)
    target = reference.joint(*teacher).sum(axis=1)
    rbm = block(ctx=ctx, k=5, num_hidden=6, num_chains=500)
    trainer = None
    for rate in [1.0] * 800 + [0.2] * 400:
        batch = mx.nd.array(sample[generator.integers(0, len(sample), 500)], ctx=ctx)
        with mx.autograd.record():
            loss = rbm(batch)[0]
        loss.backward()
        trainer = trainer or mx.gluon.Trainer(rbm.collect_params(), "sgd", {"momentum": 0.5})
        trainer.set_learning_rate(rate * 0.3)
        trainer.step(1)
    learned = [array.asnumpy().astype(float) for array in rbm.rbm_parameters]

    def divergence(arrays):
        return float(target @ np.log(target / reference.joint(*arrays).sum(axis=1)))

    untrained = (np.zeros(5), np.zeros(1), np.zeros((5, 1)))
    # The best fit to n = 20,000 images has an expected divergence of (2^5 - 1) / (2 n) = 0.0008
    # nats. The noise of PCD with 500 chains adds to it.
    assert divergence(learned) < 0.01 < 1 < divergence(untrained), (divergence(learned), divergence(untrained))


# --- MXNet's conventions --------------------------------------------------------------------------


@pytest.mark.parametrize("grad_req", ["write", "add", "null"])
def test_gradient_requests_of_the_operator(ctx, seed, generator, grad_req):
    arrays = reference.random_rbm(4, 3, generator)
    names = ["data", *LEARNED, "key"]
    symbol = mx.sym.Custom(
        *map(mx.sym.var, names),
        num_hidden=3,
        k=2,
        for_training=True,
        num_chains=5,
        keyed=True,
        op_type="BinaryRBM",
        name="rbm",
    )
    data, chains = generator.random((6, 4)), generator.integers(0, 2, (5, 3))
    values = dict(zip(names, (data, *arrays, [1, 2, 3, seed])))
    arguments = {
        name: mx.nd.array(value, ctx=ctx, dtype="int32" if name == "key" else "float64")
        for name, value in values.items()
    }
    before = {
        name: mx.nd.array(generator.random(arguments[name].shape), ctx=ctx, dtype="float64") for name in names[:4]
    }
    buffers = {name: array.copy() for name, array in before.items()}
    states = {
        "rbm_" + CHAINS[0]: mx.nd.zeros((5, 4), ctx=ctx, dtype="float64"),
        "rbm_" + CHAINS[1]: mx.nd.array(chains, ctx=ctx, dtype="float64"),
    }
    requests = {name: "null" if name == "key" else grad_req for name in names}
    executor = symbol.bind(ctx, arguments, args_grad=buffers, grad_req=requests, aux_states=states)
    executor.forward(is_train=True)
    executor.backward()
    mx.nd.waitall()  # the states of an executor can be read while its CustomOp still runs
    exact = formula(data, states["rbm_" + CHAINS[0]].asnumpy(), *arrays)
    for name, gradient in zip(LEARNED, exact):
        old = before[name].asnumpy()
        expected = {"write": gradient, "add": old + gradient, "null": old}[grad_req]
        np.testing.assert_allclose(buffers[name].asnumpy(), expected, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("mode", MODES)
def test_gluon_grad_req_add(ctx, seed, generator, mode):
    arrays = reference.random_rbm(5, 4, generator)
    data = mx.nd.array(generator.random((6, 5)), ctx=ctx)
    rbm = block(arrays, ctx, mode=mode)
    rbm(data)  # the first call fixes the shapes
    rbm.collect_params().setattr("grad_req", "add")
    for name in CHAINS:
        getattr(rbm, name).grad_req = "null"
    expected = 0
    for _ in range(2):
        step(rbm, data)
        expected = expected + formula(data.asnumpy(), rbm.aux_visible_layer_sample.data().asnumpy(), *arrays)[2]
    np.testing.assert_allclose(rbm.interaction_weight.grad().asnumpy(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_a_short_last_batch(ctx, generator, mode):
    arrays = reference.random_rbm(5, 4, generator)
    rbm = block(arrays, ctx, mode=mode)
    for rows in (8, 3, 8):
        data = generator.random((rows, 5))
        visible_prob_1, hidden_prob_1 = step(rbm, mx.nd.array(data, ctx=ctx))
        assert visible_prob_1.shape == (8, 5) and hidden_prob_1.shape == (rows, 4) and rbm.num_chains == 8
        expected = formula(data, rbm.aux_visible_layer_sample.data().asnumpy(), *arrays)
        for ours, theirs in zip(gradients(rbm), expected):
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_trainer_over_all_parameters_trains_only_the_learned_ones(ctx, seed, generator, mode):
    rbm = block(ctx=ctx, mode=mode)
    data = mx.nd.array(generator.random((6, 5)), ctx=ctx)
    rbm(data)
    for name in LEARNED[:2]:
        getattr(rbm, name).set_data(mx.nd.ones_like(getattr(rbm, name).data()))
    trainer = mx.gluon.Trainer(rbm.collect_params(), "sgd", {"learning_rate": 0.5, "wd": 0.1})
    before = {name: getattr(rbm, name).data().asnumpy() for name in LEARNED}
    step(rbm, data)
    chains = [getattr(rbm, name).data().asnumpy() for name in CHAINS]
    trainer.step(1)
    for name, gradient in zip(LEARNED, gradients(rbm)):
        decay = 0.1 * before[name] if name == "interaction_weight" else 0  # the biases do not decay
        np.testing.assert_allclose(
            getattr(rbm, name).data().asnumpy(), before[name] - 0.5 * (gradient + decay), rtol=1e-5, atol=1e-7
        )
    for name, before_step in zip(CHAINS, chains):
        np.testing.assert_array_equal(getattr(rbm, name).data().asnumpy(), before_step)
        assert getattr(rbm, name).grad_req == "null"


def test_outputs_and_parameters_have_the_dtype_and_device_of_the_data(ctx, generator):
    rbm = block(ctx=ctx, dtype="float64")
    with mx.autograd.record():
        outputs = rbm(mx.nd.array(generator.random((6, 5)), ctx=ctx, dtype="float64"))
    outputs[0].backward()
    for array in [*outputs, *(getattr(rbm, name).data() for name in LEARNED + CHAINS)]:
        assert array.dtype == np.float64 and array.context == ctx


def test_a_block_inside_a_hybridized_network(ctx, generator):
    network = mx.gluon.nn.HybridSequential()
    network.add(mx.gluon.nn.Flatten(), BinaryRBMBlock(3, 2, True, num_chains=4))
    network.initialize(ctx=ctx)
    network.hybridize()
    for rows in (4, 2):
        step(network, mx.nd.array(generator.random((rows, 1, 5)), ctx=ctx))
        assert network[1].aux_hidden_layer_sample.data().shape == (4, 3)


# --- Chains and randomness ------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_chains_start_binary_and_stored_states_that_are_not_binary_are_redrawn(ctx, generator, mode):
    rbm = block(ctx=ctx, mode=mode, num_hidden=50)
    data = mx.nd.array(generator.random((40, 30)), ctx=ctx)
    rbm(data)
    for name in CHAINS:
        states = getattr(rbm, name).data().asnumpy()
        assert np.isin(states, (0, 1)).all() and 0.3 < states.mean() < 0.7
    for rubbish in (0.3, np.nan):
        for name in CHAINS:
            getattr(rbm, name).set_data(mx.nd.full(getattr(rbm, name).shape, rubbish))
        outputs = step(rbm, data)
        assert all(np.isfinite(output).all() for output in outputs)
        assert np.isin(rbm.aux_hidden_layer_sample.data().asnumpy(), (0, 1)).all()


def module(arrays, rows, ctx, num_chains=0, k=2):
    symbol = binary_rbm_symbol(len(arrays[1]), k, for_training=True, num_chains=num_chains)
    result = mx.mod.Module(symbol, data_names=["data"], label_names=None, context=ctx)
    result.bind(data_shapes=[("data", (rows, len(arrays[0])))])
    result.init_params(mx.init.Normal(0.01))
    result.set_params({name: mx.nd.array(array) for name, array in zip(LEARNED, arrays)}, result.get_params()[1])
    return result


def test_the_same_seed_gives_the_same_numbers_in_every_api(ctx, seed, generator):
    """Three steps give the same visible probabilities in each API. The last batch is short.

    The APIs are imperative, hybridized and static blocks, and Module.
    """
    arrays = reference.random_rbm(20, 10, generator, scale=0.1)
    chains = generator.integers(0, 2, (8, 10))
    batches = [mx.nd.array(generator.random((rows, 20)), ctx=ctx) for rows in (8, 8, 5)]
    results = {}
    for mode in MODES:
        rbm = block(arrays, ctx, chains=chains, mode=mode)
        rbm(batches[0])
        trainer = mx.gluon.Trainer(rbm.collect_params(), "sgd", {"learning_rate": 0.5, "momentum": 0.3})
        for again in range(2):  # the second time, the same block is seeded again
            for name, array in zip(LEARNED + CHAINS[1:], (*arrays, chains)):
                getattr(rbm, name).set_data(mx.nd.array(array))
            mx.random.seed(seed)
            trajectory = []
            for batch in batches:
                trajectory += [step(rbm, batch)[0]]
                if not again:
                    trainer.step(8)
            results[mode, again] = trajectory
    rbm = module(arrays, 8, ctx, num_chains=8)
    learned, states = rbm.get_params()
    states[CHAINS[1]] = mx.nd.array(chains)
    rbm.set_params(learned, states)
    rbm.init_optimizer(kvstore=None, optimizer_params={"learning_rate": 0.5, "momentum": 0.3, "rescale_grad": 1 / 8})
    mx.random.seed(seed)
    results["module", 0] = []
    for batch in batches:
        rbm.forward(mx.io.DataBatch([batch]), is_train=True)
        rbm.backward()
        results["module", 0] += [rbm.get_outputs()[0].asnumpy()]
        rbm.update()
    for (name, again), trajectory in results.items():
        for ours, expected in zip(trajectory, results["imperative", again]):
            np.testing.assert_array_equal(ours, expected, err_msg=name)


def fresh_noise(rbm, data, calls):
    """Visible probabilities of many calls. MXNet may run them at the same time."""
    return [output.asnumpy() for output in [rbm(data)[0] for _ in range(calls)]]


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_no_two_of_hundreds_of_concurrent_calls_share_noise(ctx, seed, generator, mode):
    rbm = block(reference.random_rbm(40, 30, generator, scale=0.5), ctx, k=1, for_training=False, mode=mode)
    data = mx.nd.array(generator.random((4, 40)), ctx=ctx)
    mx.random.seed(seed)
    first = fresh_noise(rbm, data, 300)
    assert len({output.tobytes() for output in first}) == 300
    mx.random.seed(seed)
    for ours, again in zip(first, fresh_noise(rbm, data, 300)):
        np.testing.assert_array_equal(ours, again)


@pytest.mark.slow
def test_calls_in_different_threads_do_not_share_noise(ctx, seed, generator):
    """MXNet's generators start in the same state in each thread, but the noise differs."""
    rbm = block(reference.random_rbm(40, 30, generator, scale=0.5), ctx, k=1, for_training=False)
    data = mx.nd.array(generator.random((4, 40)), ctx=ctx)
    results = [fresh_noise(rbm, data, 30)]
    threads = [threading.Thread(target=lambda: results.append(fresh_noise(rbm, data, 30))) for _ in range(7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({output.tobytes() for outputs in results for output in outputs}) == 8 * 30


FORK = """
import os
if not os.fork():
    os._exit(0)
os._exit(os.wait()[1])
"""


@pytest.mark.slow
@pytest.mark.parametrize("end", ["", FORK], ids=["ends", "forks"])
def test_a_program_may_end_or_fork_while_operators_run(end):
    """A program ends, or forks, while operators in Python still run.

    Without `gluon_rbm.backend.shutdown`, the operators would wait for the interpreter forever, and
    MXNet would wait for the operators.
    """
    program = """
from binary_rbm import BinaryRBMBlock
from gluon_rbm.backend.framework import mx
rbm = BinaryRBMBlock(500, 50, for_training=False)
rbm.initialize()
for _ in range(3):
    rbm(mx.nd.ones((80, 784)))
"""
    program += end
    assert subprocess.run([sys.executable, "-c", program], timeout=120).returncode == 0


@pytest.mark.slow
def test_the_operator_without_a_key_input(ctx, seed, generator):
    """Graphs of the original example have four inputs. The operator draws a key when created."""
    arrays = reference.random_rbm(40, 30, generator, scale=0.5)
    arguments = [mx.nd.array(array, ctx=ctx) for array in (generator.random((4, 40)), *arrays)]

    def imperative():
        mx.random.seed(seed)
        outputs = [
            mx.nd.Custom(*arguments, num_hidden=30, k=1, for_training=False, op_type="BinaryRBM")[0] for _ in range(100)
        ]
        return [output.asnumpy() for output in outputs]

    def bound():
        symbol = mx.sym.Custom(
            *map(mx.sym.var, ("data", *LEARNED)), num_hidden=30, k=1, for_training=False, op_type="BinaryRBM"
        )
        mx.random.seed(seed)
        executor = symbol.bind(ctx, dict(zip(symbol.list_arguments(), arguments)))
        return [executor.forward()[0].asnumpy() for _ in range(100)]

    for run in (imperative, bound):
        first, second = run(), run()
        assert len({output.tobytes() for output in first}) == 100
        assert [output.tobytes() for output in first] == [output.tobytes() for output in second]


# --- Files ----------------------------------------------------------------------------------------


# Names in files that the original's scripts wrote. Its Module script saves wrong names for the
# samples of the visible and the hidden layer.
BY_GLUON = (*LEARNED, *CHAINS)
BY_MODULE = (*("arg:" + name for name in LEARNED), "aux:aux_hidden_layer_sample", "aux:aux_hidden_layer_prob_1")
BY_PREFIX = tuple("rbm_" + name for name in BY_GLUON)


@pytest.mark.parametrize("names", [BY_GLUON, BY_MODULE, BY_PREFIX], ids=["gluon", "module", "collect_params"])
def test_parameter_files_of_the_original_load(ctx, generator, tmp_path, names):
    arrays, path = reference.random_rbm(5, 4, generator), str(tmp_path / "original.params")
    chains = [generator.integers(0, 2, shape).astype("float32") for shape in ((6, 5), (6, 4))]
    mx.nd.save(path, dict(zip(names, map(mx.nd.array, [*arrays, *chains]))))
    for for_training in (True, False):
        if names == BY_PREFIX:  # as `rbm.collect_params().save(path)` writes it
            rbm = BinaryRBMBlock(4, 2, for_training, prefix="rbm_")
            rbm.collect_params().load(path, ctx=ctx, ignore_extra=not for_training)
        else:
            rbm = BinaryRBMBlock(4, 2, for_training)
            rbm.load_parameters(path, ctx=ctx)
        for ours, expected in zip(rbm.rbm_parameters, arrays):
            np.testing.assert_array_equal(ours.asnumpy(), expected.astype("float32"))
        assert rbm.num_chains == (6 if for_training else 0)
        if for_training:
            for name, expected in zip(CHAINS, chains):
                np.testing.assert_array_equal(getattr(rbm, name).data(ctx).asnumpy(), expected)
        rbm(mx.nd.array(generator.random((6, 5)), ctx=ctx))[0].asnumpy()


@pytest.mark.parametrize("mode", MODES)
def test_saved_parameters_have_the_originals_names_and_continue_the_chains(ctx, seed, generator, tmp_path, mode):
    path = str(tmp_path / "rbm.params")
    rbm = block(reference.random_rbm(5, 4, generator), ctx, mode=mode)
    data = mx.nd.array(generator.random((6, 5)), ctx=ctx)
    step(rbm, data)
    rbm.save_parameters(path)
    assert sorted(mx.nd.load(path)) == sorted(LEARNED + CHAINS)
    other = BinaryRBMBlock(4, 2, True)
    other.load_parameters(path, ctx=ctx)
    outputs = []
    for each in (rbm, other):
        mx.random.seed(seed)
        outputs.append(step(each, data)[0])
    np.testing.assert_array_equal(*outputs)


def test_module_checkpoint_and_symbol_json(ctx, seed, generator, tmp_path):
    arrays = reference.random_rbm(5, 4, generator)
    data = mx.nd.array(generator.random((6, 5)), ctx=ctx)
    trained = module(arrays, 6, ctx)
    trained.init_optimizer(kvstore=None, optimizer_params={"learning_rate": 0.0})
    trained.forward(mx.io.DataBatch([data]), is_train=True)
    trained.backward()
    # A module takes over changed states only after an update. It does not wait for the CustomOp
    # that changes them.
    trained.update()
    mx.nd.waitall()
    prefix = str(tmp_path / "rbm")
    trained.save_checkpoint(prefix, 1)
    loaded = mx.mod.Module.load(prefix, 1, data_names=["data"], label_names=None, context=ctx)
    loaded.bind(data_shapes=[("data", (6, 5))])
    outputs = []
    for each in (trained, loaded):
        mx.random.seed(seed)
        each.forward(mx.io.DataBatch([data]), is_train=True)
        outputs.append(each.get_outputs()[0].asnumpy())
    np.testing.assert_array_equal(*outputs)
    rbm = BinaryRBMBlock(4, 2, True)  # Gluon reads the file that Module wrote
    rbm.load_parameters(prefix + "-0001.params", ctx=ctx)
    for ours, expected in zip(rbm.rbm_parameters, arrays):
        np.testing.assert_array_equal(ours.asnumpy(), expected.astype("float32"))


def test_an_exported_block_runs(ctx, seed, generator, tmp_path):
    rbm = block(reference.random_rbm(5, 4, generator), ctx, for_training=False, mode="hybridized")
    data = mx.nd.array(generator.random((6, 5)), ctx=ctx)
    mx.random.seed(seed)
    expected = rbm(data)[0].asnumpy()
    rbm.export(str(tmp_path / "rbm"))
    loaded = mx.gluon.SymbolBlock.imports(
        str(tmp_path / "rbm-symbol.json"), ["data"], str(tmp_path / "rbm-0000.params"), ctx
    )
    mx.random.seed(seed)
    np.testing.assert_array_equal(loaded(data)[0].asnumpy(), expected)


def test_parameters_can_be_shared_as_in_the_original(ctx, generator):
    rbm = BinaryRBMBlock(4, 2, True, prefix="rbm_")
    rbm.initialize(mx.init.Normal(sigma=0.01), ctx=ctx)
    rbm(mx.nd.array(generator.random((6, 5)), ctx=ctx))
    shared = BinaryRBMBlock(4, 7, False, params=rbm.collect_params("^(?!.*_aux_.*).*$"))
    assert shared(mx.nd.array(generator.random((3, 5)), ctx=ctx))[0].shape == (3, 5)
    assert shared.interaction_weight is rbm.interaction_weight


# --- Wrong input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments, message", [((0, 1), "num_hidden is 0"), ((3, 0), "k is 0"), ((-2, 1), "num_hidden is -2")]
)
def test_sizes_below_one_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        BinaryRBMBlock(*arguments, for_training=True)


@pytest.mark.parametrize("size", ["num_chains", "num_visible"])
def test_negative_sizes_are_refused(size):
    with pytest.raises(ValueError, match=size + " is -3; it must be at least 0"):
        BinaryRBMBlock(3, 1, for_training=True, **{size: -3})


def test_float16_on_a_cpu_is_refused():
    rbm = BinaryRBMBlock(3, 1, for_training=False)
    rbm.initialize()
    rbm.cast("float16")
    with pytest.raises(ValueError, match="float16 needs a GPU"):
        rbm(mx.nd.zeros((2, 4), dtype="float16"))


def test_images_that_are_not_flat_are_refused(ctx):
    with pytest.raises(ValueError, match="flatten it"):
        block(ctx=ctx)(mx.nd.zeros((6, 1, 2, 2), ctx=ctx))


def test_data_of_another_width_than_the_model_are_refused(ctx, generator):
    rbm = block(reference.random_rbm(5, 4, generator), ctx)
    with pytest.raises(ValueError, match="6 visible units, but the model has 5"):
        rbm(mx.nd.zeros((6, 6), ctx=ctx))


@pytest.mark.parametrize("hybridized", [False, True])
@pytest.mark.parametrize("dtype", ["uint8", "int32", "float64"])
def test_data_of_another_dtype_are_not_scaled(ctx, generator, dtype, hybridized):
    arrays, pixels = reference.random_rbm(5, 4, generator), generator.integers(2, size=(6, 5))
    gradients = []
    for kind in ("float32", dtype):
        rbm = block(arrays, ctx)
        if hybridized:
            rbm.hybridize()
        mx.random.seed(3)
        step(rbm, mx.nd.array(pixels, ctx=ctx, dtype=kind))
        gradients.append(rbm.interaction_weight.grad(ctx).asnumpy())
    np.testing.assert_array_equal(*gradients)
    if dtype == "uint8" and ctx == mx.cpu():
        with pytest.raises(ValueError, match="scale the images first"):
            rbm(mx.nd.array(255 * pixels, ctx=ctx, dtype=dtype))


@pytest.mark.parametrize("value", [np.nan, -0.1, 255])
def test_wrong_pixels_are_refused(ctx, generator, value):
    if ctx != mx.cpu():
        pytest.skip("checked on a CPU only: a GPU would have to wait for it")
    rbm = block(reference.random_rbm(5, 4, generator), ctx)
    with pytest.raises(ValueError, match="NaN or outside"):
        rbm(mx.nd.full((6, 5), value, ctx=ctx))


def test_parameters_without_chains_load_into_a_block_for_training(tmp_path, generator):
    """Chains start anew. Names may have a prefix, as in files of `collect_params().save`."""
    given = block(reference.random_rbm(5, 4, generator), for_training=False)
    given(mx.nd.zeros((1, 5)))
    given.save_parameters(str(tmp_path / "plain.params"))
    given.collect_params().save(str(tmp_path / "prefix.params"))
    for name in ("plain", "prefix"):
        path = str(tmp_path / (name + ".params"))
        assert read_model(path)[0].num_visible == 5
        rbm = BinaryRBMBlock(4, 1, True, num_chains=7)
        rbm.load_parameters(path)
        assert step(rbm, mx.nd.zeros((3, 5)))[0].shape == (7, 5)
        for learned in LEARNED:
            np.testing.assert_array_equal(
                getattr(rbm, learned).data().asnumpy(), getattr(given, learned).data().asnumpy()
            )
    with pytest.raises(InputError, match=r"cannot be loaded into this block: .*expected \(6,\)"):
        BinaryRBMBlock(6, 1, True).load_parameters(path)


def test_states_that_a_block_does_not_have_are_ignored(tmp_path, generator):
    centered = block(reference.random_rbm(5, 4, generator), rule=LearningRule.checked(centering=0.1))
    step(centered, mx.nd.zeros((3, 5)))
    centered.save_parameters(str(tmp_path / "rbm.params"))
    plain = BinaryRBMBlock(4, 1, True)
    plain.load_parameters(str(tmp_path / "rbm.params"))
    assert plain.num_chains == 3


@pytest.mark.parametrize("change", [{"k": 0}, {"num_hidden": -1}, {"for_training": "yes"}, {"num_chains": -3}])
def test_a_symbol_refuses_bad_settings(change):
    """In the operator they would end the process."""
    with pytest.raises(InputError, match=next(iter(change))):
        binary_rbm_symbol(**{"num_hidden": 4, "k": 1, "for_training": True, **change})
    with pytest.raises(InputError, match="engine"):
        binary_rbm_symbol(4, 1, True, engine="gpu")


def test_settings_become_whole_numbers():
    rbm = BinaryRBMBlock(4.0, 2.0, 1, num_chains=3.0)
    assert [type(value) for value in (rbm.num_hidden, rbm.k, rbm.for_training)] == [int, int, bool]


@pytest.mark.parametrize("value", [np.nan, 16])
def test_a_module_refuses_pixels_outside_0_to_1(value, engine, capfd):
    if engine != "native":
        pytest.skip("only the native engine checks values within the operator")
    module = mx.mod.Module(binary_rbm_symbol(4, 1, True), label_names=None)
    module.bind([("data", (6, 5))])
    module.init_params()
    module.forward(mx.io.DataBatch([mx.nd.full((6, 5), value)]), is_train=True)
    with pytest.raises(mx.MXNetError):
        module.get_outputs()[0].asnumpy()
    assert "scale the images first" in capfd.readouterr().out


def test_an_engine_that_cannot_be_used_is_named_in_one_line(generator):
    rbm = block(reference.random_rbm(5, 4, generator), mx.cpu(), engine="cuda")
    with pytest.raises(InputError, match="^the cuda engine cannot be used: it needs a GPU.*auto$"):
        rbm(mx.nd.zeros((6, 5)))


def test_no_gradient_without_training(ctx, generator):
    rbm = block(reference.random_rbm(5, 4, generator), ctx, for_training=False)
    with pytest.raises(mx.MXNetError):
        step(rbm, mx.nd.zeros((6, 5), ctx=ctx))
        rbm.interaction_weight.grad().asnumpy()


def test_estimate_log_likelihood_is_importable_from_binary_rbm():
    import ais

    assert estimate_log_likelihood is ais.estimate_log_likelihood


def test_drawn_keys_differ():
    assert len({tuple(draw_key().asnumpy()) for _ in range(100)}) == 100


def test_a_forward_that_does_not_train_has_no_gradient(ctx, generator):
    rbm = block(reference.random_rbm(5, 4, generator), ctx)
    data = mx.nd.array(generator.random((rbm.num_chains or 6, 5)), ctx=ctx)
    with mx.autograd.record(train_mode=False):
        visible_prob_1, _ = rbm(data)
    visible_prob_1.backward()
    with pytest.raises(mx.MXNetError):
        rbm.interaction_weight.grad(ctx).asnumpy()
