"""Dense RBMs with units that are sums of binary copies, against enumeration of all states."""

import itertools

import numpy as np
import pytest
import reference
from block_checks import LEARNED, MODES, array, gradients
from scipy import special, stats

from binary_rbm import BinaryRBMBlock
from gluon_rbm.backend.framework import mx
from gluon_rbm.errors import InputError
from gluon_rbm.models.contrastive import ContrastiveFreeEnergy
from gluon_rbm.models.multinary_rbm import MultinaryRBMBlock
from gluon_rbm.models.parameters import Parameters
from gluon_rbm.models.rbm_block import alternate
from gluon_rbm.models.units import Gaussian, Multinary, NoisyReLU, OffsetSigmoids

# Visible and hidden units; an RBM has 2 of each.
RBMS = {
    "N=1": (Multinary(1), Multinary(1)),
    "N=2": (Multinary(2, slope=1), Multinary(2, slope=1)),
    "N=3": (Multinary(3, slope=1), Multinary(3, slope=1)),
    "N=2, k=1/2": (Multinary(2, slope=1), Multinary(2)),
    "N=2, k=1/2, visible": (Multinary(2), Multinary(1)),
    "offsets": (Multinary(3, slope=1), OffsetSigmoids([0.5, 1.5, -1.0])),
    "visible offsets": (OffsetSigmoids([0.3, -1.0]), Multinary(3, slope=1)),
}


def rbm_of(parameters, units, ctx=None, dtype="float32", mode="imperative"):
    a, b, w = parameters
    rbm = MultinaryRBMBlock(len(a), len(b), visible_units=units[0], hidden_units=units[1])
    rbm.initialize(ctx=ctx)
    rbm.cast(dtype)
    for name, values in zip(LEARNED, parameters):
        getattr(rbm, name).set_data(mx.nd.array(values, dtype=dtype))
    if MODES[mode] is not None:
        rbm.hybridize(**MODES[mode])
    return rbm


# --- Exact values: sums over the states of all copies ---------------------------------------------


class Layer:
    """A layer of 2 units. Each is a sum of binary copies s_n with offsets o_n.

    `states` holds the values of the units, a row for each state of all copies, and `cost` holds
    sum_n o_n s_n of each row. `values` holds each pair of values once, and `log_measure` the log of
    the sum of exp(-cost) over its rows.
    """

    def __init__(self, units, num_units=2):
        offsets = getattr(units, "offsets", None) or [0.0] * round(units.maximum / units.slope)
        copies = reference.states(num_units * len(offsets)).reshape((-1, num_units, len(offsets)))
        self.states = units.slope * copies.sum(axis=2)
        self.cost = (copies * offsets).sum(axis=(1, 2))
        self.values = units.slope * np.array(list(itertools.product(range(len(offsets) + 1), repeat=num_units)))
        self.index = [np.flatnonzero((self.states == value).all(axis=1)) for value in self.values]
        self.log_measure = np.array([special.logsumexp(-self.cost[index]) for index in self.index])


def joint_of(parameters, visible, hidden):
    """p(v, h) of each pair of values, with the copies of both layers summed out."""
    a, b, w = parameters
    score = (visible.values @ a + visible.log_measure)[:, None] + hidden.values @ b + hidden.log_measure
    score = score + visible.values @ w @ hidden.values.T
    return np.exp(score - special.logsumexp(score))


def free_energies(parameters, hidden, data):
    """F(v) of each row, by a sum over all states of the copies of the hidden units."""
    a, b, w = parameters
    return -(data @ a) - special.logsumexp(hidden.states @ b - hidden.cost + data @ w @ hidden.states.T, axis=1)


def differences(function, parameters, step=1e-5):
    """Central differences of function(a, b, w) with respect to each entry."""
    result = []
    for which, parameter in enumerate(parameters):
        slope = np.empty(parameter.shape)
        for place in np.ndindex(parameter.shape):
            ends = []
            for shift in (step, -step):
                moved = [one.copy() for one in parameters]
                moved[which][place] += shift
                ends.append(function(*moved))
            slope[place] = (ends[0] - ends[1]) / (2 * step)
        result.append(slope)
    return result


@pytest.fixture(params=RBMS)
def units(request):
    return RBMS[request.param]


# --- Values and gradients -------------------------------------------------------------------------


def test_free_energy_and_base_measure_give_the_marginal(ctx, generator, units):
    parameters = reference.random_rbm(2, 2, generator)
    visible, hidden = map(Layer, units)
    rbm = rbm_of(parameters, units, ctx)
    ours = -rbm.free_energy(array(visible.values, ctx)).asnumpy().astype("float64")
    np.testing.assert_allclose(-ours, free_energies(parameters, hidden, visible.values), rtol=1e-5, atol=1e-4)
    ours += units[0].log_base_measure(visible.values).sum(axis=1)
    marginal = joint_of(parameters, visible, hidden).sum(axis=1)
    np.testing.assert_allclose(np.exp(ours - special.logsumexp(ours)), marginal, rtol=2e-4)


@pytest.mark.parametrize("mode", MODES)
def test_means_and_variances(ctx, generator, units, mode):
    parameters = reference.random_rbm(2, 2, generator)
    visible, hidden = map(Layer, units)
    rbm = rbm_of(parameters, units, ctx, mode=mode)
    joint = joint_of(parameters, visible, hidden)
    given_visible = joint / joint.sum(axis=1, keepdims=True)
    given_hidden = (joint / joint.sum(axis=0)).T
    data, top = array(visible.values, ctx), array(hidden.values, ctx)
    mean = given_visible @ hidden.values
    np.testing.assert_allclose(rbm(data).asnumpy(), mean, rtol=1e-5)
    np.testing.assert_allclose(rbm.mean_hidden(data).asnumpy(), mean, rtol=1e-5)
    np.testing.assert_allclose(
        units[1].variance(mx.nd, rbm.hidden_input(data)).asnumpy(),
        given_visible @ hidden.values**2 - mean**2,
        rtol=1e-4,
        atol=1e-6,
    )
    np.testing.assert_allclose(rbm.mean_visible(top).asnumpy(), given_hidden @ visible.values, rtol=1e-5)


def test_samples_of_either_layer(ctx, generator, units):
    parameters = reference.random_rbm(2, 2, generator)
    visible, hidden = map(Layer, units)
    rbm, joint, count = rbm_of(parameters, units, ctx), joint_of(parameters, visible, hidden), 10000
    row, column = generator.integers(joint.shape[0]), generator.integers(joint.shape[1])
    drawn_hidden = rbm.sample_hidden(array(np.tile(visible.values[row], (count, 1)), ctx)).asnumpy()
    drawn_visible = rbm.sample_visible(array(np.tile(hidden.values[column], (count, 1)), ctx)).asnumpy()
    reference.assert_drawn_from(place(drawn_hidden, hidden, units[1]), joint[row] / joint[row].sum())
    reference.assert_drawn_from(place(drawn_visible, visible, units[0]), joint[:, column] / joint[:, column].sum())


def place(drawn, layer, units):
    """Row of `layer.values` that equals each sample."""
    whole = drawn / units.slope
    assert (whole == whole.round()).all()
    base = round(layer.values.max() / units.slope) + 1
    return (whole @ (base ** np.arange(drawn.shape[1])[::-1])).astype(int)


def test_derivative_of_the_mean_free_energy(ctx, generator, units):
    parameters = reference.random_rbm(2, 2, generator)
    visible, hidden = map(Layer, units)
    data = generator.choice(visible.values, 7)
    rbm = rbm_of(parameters, units, ctx)
    ours = gradients(rbm, lambda: rbm.free_energy(array(data, ctx)).mean())
    exact = differences(lambda *moved: free_energies(moved, hidden, data).mean(), parameters)
    for one, other in zip(ours, exact):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_the_likelihood_gradient_is_a_difference_of_free_energy_gradients(ctx, generator, units):
    """The gradient of the mean of -log p is <dF>_data - <dF>_model."""
    parameters = reference.random_rbm(2, 2, generator, scale=0.7)
    visible, hidden = map(Layer, units)
    rows = generator.integers(len(visible.values), size=6)
    rbm = rbm_of(parameters, units, ctx)
    weight = joint_of(parameters, visible, hidden).sum(axis=1)

    def loss():
        model = rbm.free_energy(array(visible.values, ctx)) * array(weight, ctx)
        return rbm.free_energy(array(visible.values[rows], ctx)).mean() - model.sum()

    exact = differences(lambda *moved: -np.log(joint_of(moved, visible, hidden).sum(axis=1)[rows]).mean(), parameters)
    for one, other in zip(gradients(rbm, loss), exact):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("sweeps", [1, 3])
def test_alternate_keeps_the_distribution_of_exact_draws(ctx, generator, units, sweeps):
    parameters = reference.random_rbm(2, 2, generator)
    visible, hidden = map(Layer, units)
    marginal = joint_of(parameters, visible, hidden).sum(axis=1)
    start = visible.values[generator.choice(len(marginal), 20000, p=marginal)]
    carried = alternate(rbm_of(parameters, units, ctx), array(start, ctx), sweeps).asnumpy()
    assert (carried != start).any()
    reference.assert_drawn_from(place(carried, visible, units[0]), marginal)


def test_reconstruction_by_means(ctx, generator):
    """E[v'] = f(a + f(b + v W) W^T), applied once and twice."""
    a, b, w = reference.random_rbm(4, 3, generator, scale=0.5)
    rbm = rbm_of((a, b, w), (Multinary(3), Multinary(2, slope=1)), ctx)
    data = generator.integers(0, 4, (5, 4)).astype("float64")
    expected = data
    for sweeps in (1, 2):
        expected = 3 * special.expit((a + 2 * special.expit(b + expected @ w) @ w.T) / 3)
        np.testing.assert_allclose(rbm.reconstruct(array(data, ctx), sweeps).asnumpy(), expected, rtol=1e-5)


# --- Gaussian visible units -----------------------------------------------------------------------


def mixture(parameters):
    """Weights and centers a + h W^T of the mixture that an RBM is.

    Its visible units are Gaussian, and its hidden units are binary.
    """
    a, b, w = parameters
    hidden = reference.states(len(b))
    centers = a + hidden @ w.T
    score = hidden @ b + (centers**2).sum(axis=1) / 2
    return np.exp(score - special.logsumexp(score)), centers


def test_gaussian_visible_units_make_a_mixture_of_normal_densities(ctx, generator):
    parameters = reference.random_rbm(2, 3, generator)
    units = Gaussian(), Multinary(1)
    rbm = rbm_of(parameters, units, ctx, "float64")
    weights, centers = mixture(parameters)
    data = generator.normal(size=(9, 2))
    distance = ((data[:, None] - centers) ** 2).sum(axis=2)
    density = weights @ np.exp(-distance.T / 2) / (2 * np.pi)
    log_z = special.logsumexp(reference.states(3) @ parameters[1] + (centers**2).sum(axis=1) / 2)
    ours = -rbm.free_energy(array(data, ctx, "float64")).asnumpy() + Gaussian().log_base_measure(data).sum(axis=1)
    np.testing.assert_allclose(ours - log_z, np.log(density), rtol=1e-7, atol=1e-8)


def test_gaussian_visible_units_keep_their_distribution(ctx, generator):
    parameters = reference.random_rbm(1, 2, generator)
    weights, centers = mixture(parameters)
    start = centers[generator.choice(4, 20000, p=weights)] + generator.normal(size=(20000, 1))
    rbm = rbm_of(parameters, (Gaussian(), Multinary(1)), ctx)
    carried = alternate(rbm, array(start, ctx), 2).asnumpy()[:, 0]
    assert stats.kstest(carried, lambda v: stats.norm.cdf(v[:, None] - centers[:, 0]) @ weights).pvalue > 1e-6


# --- The loss -------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_chains", [8, 5])
@pytest.mark.parametrize("mode", MODES)
def test_the_loss_and_the_operator_have_the_same_gradient(ctx, auto_engine, generator, mode, num_chains):
    """The operator and the contrastive free energy both use p(h = 1 | v') in the negative phase."""
    parameters = reference.random_rbm(6, 4, generator)
    data = array(generator.random((8, 6)), ctx)
    operator = BinaryRBMBlock(4, k=2, for_training=True, num_chains=num_chains)
    operator.initialize(mx.init.Normal(0.01), ctx=ctx)
    for name, values in zip(LEARNED, parameters):
        getattr(operator, name).set_data(array(values, None))
    with mx.autograd.record():
        output = operator(data)[0]
    output.backward()
    rbm = rbm_of(parameters, (Multinary(1), Multinary(1)), ctx)
    loss = ContrastiveFreeEnergy(rbm)
    if MODES[mode] is not None:
        loss.hybridize(**MODES[mode])
    chains = operator.aux_visible_layer_sample.data()
    ours = gradients(rbm, lambda: loss(data, chains).mean())
    for name, one in zip(LEARNED, ours):
        np.testing.assert_allclose(one, getattr(operator, name).grad().asnumpy(), rtol=1e-5, atol=2e-6, err_msg=name)


@pytest.mark.parametrize("sampled", [False, True], ids=["means", "sampled"])
@pytest.mark.parametrize("mode", MODES)
def test_the_gradient_treats_the_reconstruction_as_constant(ctx, generator, mode, sampled):
    """The gradient of the loss is the gradient of F(v) - F(v') with a constant v'."""
    units = Multinary(3), Multinary(3, slope=1)
    parameters = reference.random_rbm(5, 4, generator, scale=0.3)
    rbm = rbm_of(parameters, units, ctx)
    loss = ContrastiveFreeEnergy(rbm, sweeps=2, sampled=sampled)
    if MODES[mode] is not None:
        loss.hybridize(**MODES[mode])
    data = array(generator.integers(0, 4, (6, 5)), ctx)
    data.attach_grad()
    key = int(generator.integers(2**31))
    mx.random.seed(key)
    ours = gradients(rbm, lambda: loss(data))
    slope = data.grad.asnumpy()
    mx.random.seed(key)
    model = rbm.reconstruct(data, sweeps=2, sampled=sampled)
    exact = gradients(rbm, lambda: rbm.free_energy(data) - rbm.free_energy(model))
    for one, other in zip(ours, exact):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)
    # With respect to the data it is the gradient of F(v) alone, -(a + E[h|v] W^T).
    a, _, w = parameters
    np.testing.assert_allclose(slope, -(a + rbm.mean_hidden(data).asnumpy() @ w.T), rtol=1e-4, atol=1e-5)


def test_the_gradient_treats_given_samples_as_constant(ctx, generator):
    rbm = rbm_of(reference.random_rbm(5, 4, generator), (Multinary(1), Multinary(1)), ctx)
    loss, data = ContrastiveFreeEnergy(rbm), array(generator.random((6, 5)), ctx)
    model = rbm.reconstruct(data)
    exact = gradients(rbm, lambda: loss(data, model))
    ours = gradients(rbm, lambda: loss(data, rbm.mean_visible(rbm.mean_hidden(data))))
    for one, other in zip(ours, exact):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_the_loss_has_a_value_for_each_image(ctx, generator, mode):
    rbm = rbm_of(reference.random_rbm(5, 4, generator, scale=0.3), (Multinary(3), Multinary(3)), ctx)
    data, chains = (array(generator.integers(0, 4, (rows, 5)), ctx) for rows in (6, 9))
    energy, reconstructed = rbm.free_energy(data), rbm.free_energy(rbm.reconstruct(data))
    loss, half = ContrastiveFreeEnergy(rbm), ContrastiveFreeEnergy(rbm, weight=0.5)
    for one in (loss, half):
        if MODES[mode] is not None:
            one.hybridize(**MODES[mode])
    expected = (energy - reconstructed).asnumpy()
    assert expected.shape == (6,)
    np.testing.assert_allclose(loss(data).asnumpy(), expected, atol=1e-4)
    np.testing.assert_allclose(half(data).asnumpy(), expected / 2, atol=1e-4)
    if mode == "imperative":  # a hybridized block keeps the arguments of its first call
        expected = (energy - rbm.free_energy(chains).mean()).asnumpy()
        np.testing.assert_allclose(loss(data, chains).asnumpy(), expected, atol=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "units",
    [
        (Multinary(3), Multinary(3)),
        (Multinary(255), Multinary(255)),
        (Multinary(1), OffsetSigmoids([0, 1])),
        (Gaussian(), NoisyReLU()),
    ],
)
def test_the_loss_falls_on_a_fixed_batch(ctx, generator, units, dtype):
    """F of the data falls below F of other images, and reconstructions get better."""
    rbm = MultinaryRBMBlock(12, 6, visible_units=units[0], hidden_units=units[1])
    rbm.initialize(ctx=ctx)
    rbm.cast(dtype)
    loss = ContrastiveFreeEnergy(rbm)
    loss.hybridize(static_alloc=True)
    trainer = mx.gluon.Trainer(loss.collect_params(), "adam", {"learning_rate": 0.04})
    low, high = (0, units[0].maximum) if units[0].maximum else (-1, 1)
    data = array(np.repeat([np.full(12, low), np.full(12, high)], 4, axis=0), ctx, dtype)
    others = array(generator.uniform(low, high, (8, 12)), ctx, dtype)

    def measured():
        energies = [rbm.free_energy(images).mean().asscalar() for images in (data, others)]
        return (rbm.reconstruct(data) - data).square().mean().asscalar(), energies[0] - energies[1]

    before = measured()
    for _ in range(100):
        with mx.autograd.record():
            value = loss(data)
        value.backward()
        trainer.step(len(data))
    after = measured()
    assert after[0] < 0.5 * before[0] and after[1] < before[1] - 1


@pytest.mark.parametrize("maximum", [3, 255])
def test_values_from_0_to_n_act_as_values_from_0_to_1(ctx, generator, maximum):
    """The slope is k = 1 / N, and the biases are N times as large.

    Then E[h] is N times as large, and F and dF/dW are N^2 times as large.
    """
    a, b, w = reference.random_rbm(6, 4, generator)
    data = generator.integers(0, maximum + 1, (5, 6)).astype("float64")
    whole = rbm_of((maximum * a, maximum * b, w), (Multinary(maximum), Multinary(maximum)), ctx, "float64")
    share = rbm_of((a, b, w), (Multinary(1), Multinary(1)), ctx, "float64")
    whole_data, share_data = array(data, ctx, "float64"), array(data / maximum, ctx, "float64")
    pairs = [
        (whole.mean_hidden(whole_data), share.mean_hidden(share_data), maximum),
        (whole.reconstruct(whole_data), share.reconstruct(share_data), maximum),
        (whole.free_energy(whole_data), share.free_energy(share_data), maximum**2),
    ]
    slopes = [
        gradients(rbm, lambda rbm=rbm, x=x: ContrastiveFreeEnergy(rbm)(x))
        for rbm, x in ((whole, whole_data), (share, share_data))
    ]
    for ours, theirs, factor in pairs:
        np.testing.assert_allclose(ours.asnumpy(), factor * theirs.asnumpy(), rtol=1e-7)
    for ours, theirs, factor in zip(*slopes, (maximum, maximum, maximum**2)):
        np.testing.assert_allclose(ours, factor * theirs, rtol=1e-7, atol=1e-9 * factor)
    # The size of Adam's steps does not depend on the size of the gradient. So biases that are N
    # times as large must make steps that are N times as large.
    for rbm, x in ((whole, whole_data), (share, share_data)):
        trainer = mx.gluon.Trainer(rbm.collect_params(), "adam", {"learning_rate": 0.03, "epsilon": 1e-14})
        for _ in range(10):
            gradients(rbm, lambda rbm=rbm, x=x: ContrastiveFreeEnergy(rbm)(x))
            trainer.step(len(data))
    for name, factor in zip(LEARNED, (maximum, maximum, 1)):
        ours, theirs = (getattr(rbm, name).data().asnumpy() for rbm in (whole, share))
        np.testing.assert_allclose(ours, factor * theirs, rtol=1e-4, atol=1e-6 * factor)


# --- Bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [(0, 3), (3, 0), (-1, 2)])
def test_an_rbm_without_units_is_refused(sizes):
    with pytest.raises(InputError, match="1 or more"):
        MultinaryRBMBlock(*sizes)


def test_arrays_of_other_shapes_are_refused(ctx):
    rbm = MultinaryRBMBlock(4, 3)
    rbm.initialize(ctx=ctx)
    for verb in ("free_energy", "mean_hidden", "sample_hidden", "reconstruct", "mean_visible", "sample_visible"):
        for shape in ((2, 5), (4,), (2, 2, 2)):
            with pytest.raises(InputError, match="without the batch axis, it must be"):
                getattr(rbm, verb)(mx.nd.zeros(shape, ctx=ctx))


@pytest.mark.parametrize("hybridized", [False, True])
def test_images_may_have_any_dtype(ctx, generator, hybridized):
    """The block, its methods and its loss take images of any dtype. They refuse another width."""
    rbm = MultinaryRBMBlock(4, 3)
    rbm.initialize(ctx=ctx)
    loss = ContrastiveFreeEnergy(rbm)
    if hybridized:
        rbm.hybridize()
        loss.hybridize()
    pixels = generator.integers(256, size=(6, 4))
    outputs = []
    for dtype in ("float32", "uint8", "int32", "float64"):
        images = mx.nd.array(pixels, ctx=ctx, dtype=dtype)
        with mx.autograd.record():
            value = loss(images)
        value.backward()
        gradient = rbm.interaction_weight.grad(ctx).asnumpy()
        methods = (rbm.free_energy(images), rbm.reconstruct(images), rbm(images))
        outputs.append([value.asnumpy(), gradient, *(array.asnumpy() for array in methods)])
        for one, other in zip(outputs[-1], outputs[0]):
            assert one.dtype == np.float32
            np.testing.assert_array_equal(one, other)
    for call in (rbm, loss):
        with pytest.raises(InputError, match="without the batch axis, it must be"):
            call(mx.nd.zeros((6, 5), ctx=ctx))


def test_free_energies_in_float64(generator):
    """With N = 255 float32 is wrong by more than a nat, and float64 is not."""
    rbm = MultinaryRBMBlock(300, 2000)
    rbm.initialize(mx.init.Normal(0.05))
    rbm.hidden_layer_bias.set_data(array(generator.normal(scale=500, size=2000), mx.cpu()))
    values = generator.integers(0, 256, (8, 300)).astype("float32")
    a, b, w = (getattr(rbm, name).data().asnumpy().astype("float64") for name in Parameters._fields)
    kx = (b + values.astype("float64") @ w) / 255
    exact = -values @ a - 255**2 * np.logaddexp(0, kx).sum(axis=1)
    np.testing.assert_allclose(rbm.double_free_energy(array(values, mx.cpu())), exact, atol=0.05)
    assert np.abs(rbm.free_energy(array(values, mx.cpu())).asnumpy() - exact).max() > 1
