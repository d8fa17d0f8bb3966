import warnings

import numpy as np
import pytest
from block_checks import LEARNED, MODES, array
from scipy import special

from gluon_rbm.backend.framework import mx
from gluon_rbm.errors import InputError
from gluon_rbm.models.contrastive import ContrastiveFreeEnergy
from gluon_rbm.models.convolutional_rbm import ConvolutionalRBMBlock
from gluon_rbm.models.deep_belief import DeepBeliefNetwork, JointContrastiveFreeEnergy
from gluon_rbm.models.multinary_rbm import MultinaryRBMBlock
from gluon_rbm.models.units import Gaussian, Multinary, NoisyReLU, OffsetSigmoids

SHAPE = (3, 4, 4)


def network_of(generator, ctx=None, dtype="float32", hybrid=None, scale=0.3):
    """Two convolutional RBMs and a dense RBM, with units from 0 to 3."""
    units = {"visible_units": Multinary(3), "hidden_units": Multinary(3)}
    network = DeepBeliefNetwork(
        [
            ConvolutionalRBMBlock(SHAPE, 8, 4, 2, **units),
            ConvolutionalRBMBlock((8, 2, 2), 5, 2, 2, **units),
            MultinaryRBMBlock(5, 4, **units),
        ]
    )
    network.initialize(ctx=ctx)
    network.cast(dtype)
    for parameter in network.collect_params().values():
        parameter.set_data(mx.nd.array(generator.normal(scale=scale, size=parameter.shape), dtype=dtype))
    if hybrid is not None:
        network.hybridize(**hybrid)
    return network


def dense_network(parameters, ctx, dtype="float64"):
    """A stack of binary RBMs with these parameters (a, b, W)."""
    network = DeepBeliefNetwork(
        [MultinaryRBMBlock(*w.shape, visible_units=Multinary(1), hidden_units=Multinary(1)) for _, _, w in parameters]
    )
    network.initialize(ctx=ctx)
    network.cast(dtype)
    for rbm, values in zip(network.rbms, parameters):
        for name, value in zip(LEARNED, values):
            getattr(rbm, name).set_data(mx.nd.array(value, dtype=dtype))
    return network


def images(generator, ctx, count=6, shape=SHAPE):
    return array(generator.integers(0, 4, (count, *shape)), ctx)


def gradients(network, loss):
    with mx.autograd.record():
        value = loss()
    value.backward()
    return {name: parameter.grad().asnumpy() for name, parameter in network.collect_params().items()}


def assert_alike(ours, theirs, rtol=1e-4, atol=1e-4):
    assert ours.keys() == theirs.keys()
    for name in ours:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=rtol, atol=atol, err_msg=name)


# --- Verbs ----------------------------------------------------------------------------------------


def test_up_and_down_apply_the_rbms_in_turn(ctx, generator):
    network, data = network_of(generator, ctx), images(generator, ctx)
    first, second, top = network.rbms
    low = first.mean_hidden(data)
    middle = second.mean_hidden(low)
    high = top.mean_hidden(middle.reshape((6, 5)))
    for depth, layer in ((0, data), (1, low), (2, middle), (3, high), (None, high)):
        np.testing.assert_array_equal(network.up(data, depth).asnumpy(), layer.asnumpy())
    below = second.mean_visible(top.mean_visible(high).reshape((6, 5, 1, 1)))
    restored = first.mean_visible(below)
    np.testing.assert_array_equal(network.down(high).asnumpy(), restored.asnumpy())
    np.testing.assert_array_equal(network.down(low, 1).asnumpy(), first.mean_visible(low).asnumpy())
    np.testing.assert_array_equal(network.down(data, 0).asnumpy(), data.asnumpy())
    np.testing.assert_array_equal(network.reconstruct(data).asnumpy(), restored.asnumpy())
    assert restored.shape == data.shape
    np.testing.assert_allclose(network.transform(data).asnumpy(), high.asnumpy() / 3, rtol=1e-6)
    np.testing.assert_array_equal(network.up(data.flatten()).asnumpy(), high.asnumpy())
    assert DeepBeliefNetwork(network.rbms[:1]).transform(data).shape == (6, 32)


def test_up_by_samples(ctx, generator):
    """Values of a layer with N = 3, k = 1/3 are drawn in steps of 1/3, with the mean of the layer.

    The layer above is drawn given them.
    """
    network = network_of(generator, ctx)
    data = array(np.tile(images(generator, ctx, 1).asnumpy(), (4000, 1, 1, 1)), ctx)
    drawn = network.up(data, 1, sampled=True)
    values, mean = drawn.asnumpy().astype("float64"), network.up(data[:1], 1).asnumpy()[0]
    np.testing.assert_allclose(3 * values, (3 * values).round(), atol=1e-5)
    variance = mean * (1 - mean / 3) / 3
    assert (np.abs(values.mean(axis=0) - mean) < 5 * np.sqrt(variance / 4000) + 1e-4 * variance).all()
    assert network.up(data, sampled=True).shape == (4000, 4)


def test_generate_runs_the_top_rbm_and_goes_down_once(ctx, generator):
    network = network_of(generator, ctx)
    start = array(generator.integers(0, 4, (5, 5)), ctx)
    for sampled in (False, True):
        key = int(generator.integers(2**31))
        mx.random.seed(key)
        drawn = network.generate(start, 3, sampled=sampled)
        mx.random.seed(key)
        top = network.rbms[-1]
        carried = top.reconstruct(start, 3, sampled=sampled)
        expected = network.down(top.mean_visible(top.mean_hidden(carried)), 2)
        assert drawn.shape == (5, *SHAPE) and drawn.context == ctx
        np.testing.assert_array_equal(drawn.asnumpy(), expected.asnumpy())
    assert DeepBeliefNetwork(network.rbms[:1]).generate(images(generator, ctx), 1).shape == (6, *SHAPE)


@pytest.mark.parametrize("mode", MODES)
def test_features_and_gradients_stay_the_same_in_each_round(ctx, generator, mode):
    network, data = network_of(generator, ctx), images(generator, ctx)
    features, restored = network.transform(data).asnumpy(), network.reconstruct(data).asnumpy()
    loss = JointContrastiveFreeEnergy(network)
    slopes = None
    for round_ in range(4):
        if round_ == 1 and MODES[mode] is not None:
            network.hybridize(**MODES[mode])
            loss.hybridize(**MODES[mode])
        np.testing.assert_allclose(network(data).asnumpy(), features, rtol=1e-5)
        np.testing.assert_allclose(network.reconstruct(data).asnumpy(), restored, rtol=1e-4)
        now = gradients(network, lambda: loss(data))
        slopes = slopes or now
        assert_alike(now, slopes)


def test_parameters_are_saved_and_loaded(ctx, generator, tmp_path):
    network, other, data = network_of(generator, ctx), network_of(generator, ctx), images(generator, ctx)
    features = network(data).asnumpy()
    assert (other(data).asnumpy() != features).any()
    network.save_parameters(str(tmp_path / "network.params"))
    other.load_parameters(str(tmp_path / "network.params"), ctx=ctx)
    np.testing.assert_allclose(other(data).asnumpy(), features, rtol=1e-6)
    # A joint loss refers to each RBM twice, and lists its parameters once.
    assert JointContrastiveFreeEnergy(network).collect_params().keys() == network.collect_params().keys()


# --- Losses ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampled", [False, True], ids=["means", "sampled"])
@pytest.mark.parametrize("mode", MODES)
def test_detached_joint_gradients_equal_greedy_gradients(ctx, generator, mode, sampled):
    network, data = network_of(generator, ctx), images(generator, ctx)
    loss = JointContrastiveFreeEnergy(network, sweeps=2, sampled=sampled)
    if MODES[mode] is not None:
        loss.hybridize(**MODES[mode])
    key = int(generator.integers(2**31))
    mx.random.seed(key)
    ours = gradients(network, lambda: loss(data).mean())
    mx.random.seed(key)
    value, greedy, inputs = 0, {}, data
    for rbm in network.rbms:
        alone = ContrastiveFreeEnergy(rbm, sweeps=2, sampled=sampled)
        inputs, hidden = inputs.reshape((-1, *rbm.visible_shape)), []

        def mean_loss(alone=alone, inputs=inputs, hidden=hidden):
            losses, values = alone.of(mx.nd, inputs)
            hidden.append(values.detach())
            return losses.mean()

        greedy.update(gradients(rbm, mean_loss))
        value = value + (0 if sampled else alone(inputs))
        (inputs,) = hidden
    assert_alike(ours, greedy)
    if not sampled:
        np.testing.assert_allclose(loss(data).asnumpy(), value.asnumpy(), rtol=1e-4, atol=1e-3)


def total_loss(parameters, data, reconstructions):
    """Sum over layers of the mean of F(v) - F(v'), in plain NumPy.

    v' is given; v holds the means of the layer below.
    """
    total, visible = 0.0, data
    for (a, b, w), model in zip(parameters, reconstructions):
        for sign, v in ((1, visible), (-1, model)):
            total += sign * (-(v @ a) - np.logaddexp(0, b + v @ w).sum(axis=1)).mean()
        visible = special.expit(b + visible @ w)
    return total


@pytest.mark.parametrize("mode", MODES)
def test_joint_gradients_reach_the_layers_below_unless_detached(ctx, generator, mode):
    """Compare with central differences of the total loss; v' of every layer is constant in it."""
    sizes = (5, 4, 3, 2)
    parameters = [
        [generator.normal(size=shape) for shape in (below, above, (below, above))]
        for below, above in zip(sizes, sizes[1:])
    ]
    data = generator.random((4, 5))
    reconstructions, visible = [], data
    for a, b, w in parameters:
        hidden = special.expit(b + visible @ w)
        reconstructions.append(special.expit(a + hidden @ w.T))
        visible = hidden
    network = dense_network(parameters, ctx)
    slopes = {}
    for detach in (False, True):
        loss = JointContrastiveFreeEnergy(network, detach=detach)
        if MODES[mode] is not None:
            loss.hybridize(**MODES[mode])
        x = array(data, ctx, "float64")
        value = loss(x).mean().asscalar()
        assert value == pytest.approx(total_loss(parameters, data, reconstructions), abs=1e-6)
        slopes[detach] = gradients(network, lambda loss=loss, x=x: loss(x).mean())
    for rbm, values in zip(network.rbms, parameters):
        for name, value in zip(LEARNED, values):
            exact = np.empty(value.shape)
            for place in np.ndindex(value.shape):
                ends = []
                for shift in (1e-5, -1e-5):
                    value[place] += shift
                    ends.append(total_loss(parameters, data, reconstructions))
                    value[place] -= shift
                exact[place] = (ends[0] - ends[1]) / 2e-5
            key = getattr(rbm, name).name
            np.testing.assert_allclose(slopes[False][key], exact, rtol=1e-5, atol=1e-8)
            reaches_below = rbm is not network.rbms[-1] and name != "visible_layer_bias"
            assert (np.abs(slopes[True][key] - exact).max() > 1e-4) == reaches_below


@pytest.mark.parametrize("detach", [True, False], ids=["detached", "joined"])
@pytest.mark.parametrize("mode", MODES)
def test_joint_training_lowers_the_reconstruction_error(ctx, generator, mode, detach):
    network = network_of(generator, ctx, scale=0.05)
    data = array(np.repeat([np.zeros(SHAPE), np.full(SHAPE, 3.0)], 4, axis=0), ctx)
    loss = JointContrastiveFreeEnergy(network, detach=detach)
    if MODES[mode] is not None:
        loss.hybridize(**MODES[mode])
    trainer = mx.gluon.Trainer(network.collect_params(), "adam", {"learning_rate": 0.03})

    def error():
        return (network.rbms[0].reconstruct(data) - data).square().mean().asscalar()

    before = error()
    for _ in range(40):
        with mx.autograd.record():
            value = loss(data)
        value.backward()
        trainer.step(len(data))  # raises if the loss leaves out a parameter
    assert np.isfinite(value.asnumpy()).all() and error() < 0.3 * before


def test_greedy_training_of_one_layer_leaves_the_others_alone(ctx, generator):
    network, data = network_of(generator, ctx), images(generator, ctx)
    before = {name: parameter.data().asnumpy() for name, parameter in network.collect_params().items()}
    rbm = network.rbms[1]
    loss = ContrastiveFreeEnergy(rbm)
    trainer = mx.gluon.Trainer(rbm.collect_params(), "adam", {"learning_rate": 0.03})
    with mx.autograd.record():
        value = loss(network.up(data, 1))
    value.backward()
    trainer.step(len(data))
    for name, parameter in network.collect_params().items():
        changed = (parameter.data().asnumpy() != before[name]).any()
        assert changed == (name in rbm.collect_params())


@pytest.mark.parametrize("mode", MODES)
def test_there_is_no_warning(ctx, generator, mode):
    """Features do not use the visible biases. MXNet would warn of that in a hybridized block."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        network = network_of(generator, ctx, hybrid=MODES[mode])
        data = images(generator, ctx)
        loss = JointContrastiveFreeEnergy(network)
        if MODES[mode] is not None:
            loss.hybridize(**MODES[mode])
        assert network(data).shape == (6, 4) and network.rbms[0](data).shape == (6, 8, 2, 2)
        assert loss(data).shape == (6,)
        loss.collect_params()


# --- Bad input ------------------------------------------------------------------------------------


def test_stacks_that_do_not_fit_are_refused():
    binary, more = Multinary(1), Multinary(3)
    with pytest.raises(InputError, match="at least one RBM"):
        DeepBeliefNetwork([])
    with pytest.raises(InputError, match="does not fit onto one with hidden layer"):
        DeepBeliefNetwork([ConvolutionalRBMBlock((1, 4, 4), 2), MultinaryRBMBlock(9, 2)])
    with pytest.raises(InputError, match="values up to 1 .* hidden values up to 3"):
        DeepBeliefNetwork([MultinaryRBMBlock(4, 3, hidden_units=more), MultinaryRBMBlock(3, 2, visible_units=binary)])
    with pytest.raises(InputError, match="up to infinity"):
        DeepBeliefNetwork([MultinaryRBMBlock(4, 3, hidden_units=NoisyReLU()), MultinaryRBMBlock(3, 2)])
    DeepBeliefNetwork(
        [MultinaryRBMBlock(4, 3, hidden_units=NoisyReLU()), MultinaryRBMBlock(3, 2, visible_units=Gaussian())]
    )
    copies = OffsetSigmoids([0, 1, 2])
    DeepBeliefNetwork([MultinaryRBMBlock(4, 3, hidden_units=copies), MultinaryRBMBlock(3, 2, visible_units=more)])


def test_arrays_of_other_sizes_are_refused(ctx, generator):
    network = network_of(generator, ctx)
    wrong = mx.nd.zeros((2, 3, 4, 6), ctx=ctx)
    for verb in (network, network.transform, network.reconstruct, JointContrastiveFreeEnergy(network)):
        with pytest.raises(InputError, match=r"its size must be that of \(3, 4, 4\)"):
            verb(wrong)
    with pytest.raises(InputError, match=r"its size must be that of \(5,\)"):
        network.generate(mx.nd.zeros((2, 4), ctx=ctx), 1)


def test_gradients_through_samples_are_refused(ctx, generator):
    with pytest.raises(InputError, match="sampled"):
        JointContrastiveFreeEnergy(network_of(generator, ctx), sampled=True, detach=False)
