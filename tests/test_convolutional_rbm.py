import itertools

import numpy as np
import pytest
from block_checks import LEARNED, MODES, array, gradients

from gluon_rbm.backend.framework import mx
from gluon_rbm.errors import InputError
from gluon_rbm.models.contrastive import ContrastiveFreeEnergy
from gluon_rbm.models.convolutional_rbm import ConvolutionalRBMBlock
from gluon_rbm.models.multinary_rbm import MultinaryRBMBlock
from gluon_rbm.models.rbm_block import alternate
from gluon_rbm.models.units import Gaussian, Multinary

# kernel, stride, and the shape of the images
WINDOWS = [
    (4, 2, (3, 8, 6)),
    (3, 1, (2, 4, 5)),
    (2, 2, (1, 4, 4)),
    (5, 1, (1, 3, 4)),
    (1, 1, (2, 3, 3)),
    (6, 2, (1, 4, 6)),
    (5, 3, (2, 6, 3)),
    (4, 4, (3, 4, 8)),
]
UNITS = {
    "N=1": (Multinary(1), Multinary(1)),
    "N=3": (Multinary(3), Multinary(3)),
    "Gaussian": (Gaussian(), Multinary(2, slope=1)),
}


def random_parameters(shape, num_filters, kernel, generator):
    return (
        generator.normal(size=shape[0]),
        generator.normal(size=num_filters),
        generator.normal(scale=0.5, size=(num_filters, shape[0], kernel, kernel)),
    )


def rbm_of(parameters, shape, kernel, stride, units=UNITS["N=1"], ctx=None, dtype="float32"):
    rbm = ConvolutionalRBMBlock(
        shape, len(parameters[1]), kernel, stride, visible_units=units[0], hidden_units=units[1]
    )
    rbm.initialize(ctx=ctx)
    rbm.cast(dtype)
    for name, values in zip(LEARNED, parameters):
        getattr(rbm, name).set_data(mx.nd.array(values, dtype=dtype))
    return rbm


def taps(shape, num_filters, kernel, stride):
    """Yield flat indices (pixel, hidden unit, weight) for each weight that joins the two units."""
    channels, height, width = shape
    pad = (kernel - stride) // 2
    hidden_shape = num_filters, height // stride, width // stride
    for f, i, j in np.ndindex(hidden_shape):
        for c, p, q in itertools.product(range(channels), range(kernel), range(kernel)):
            y, x = i * stride - pad + p, j * stride - pad + q
            if 0 <= y < height and 0 <= x < width:
                yield (
                    np.ravel_multi_index((c, y, x), shape),
                    np.ravel_multi_index((f, i, j), hidden_shape),
                    np.ravel_multi_index((f, c, p, q), (num_filters, channels, kernel, kernel)),
                )


class Dense:
    """The dense RBM that equals a convolutional RBM.

    `shared` turns gradients of the dense RBM into those of the parameters that places share.
    """

    def __init__(self, parameters, shape, kernel, stride, units, ctx):
        a, b, w = parameters
        self.shapes = [parameter.shape for parameter in parameters]
        self.pixels, self.places = shape[1] * shape[2], shape[1] * shape[2] // stride**2
        self.index = np.array(list(taps(shape, len(b), kernel, stride))).T
        matrix = np.zeros((len(a) * self.pixels, len(b) * self.places))
        matrix[self.index[0], self.index[1]] = w.ravel()[self.index[2]]
        self.rbm = MultinaryRBMBlock(*matrix.shape, visible_units=units[0], hidden_units=units[1])
        self.rbm.initialize(ctx=ctx)
        for name, values in zip(LEARNED, (np.repeat(a, self.pixels), np.repeat(b, self.places), matrix)):
            getattr(self.rbm, name).set_data(mx.nd.array(values))

    def shared(self, slopes):
        a, b, w = (slope.astype("float64") for slope in slopes)
        filters = np.bincount(self.index[2], w[self.index[0], self.index[1]], minlength=np.prod(self.shapes[2]))
        return a.reshape((-1, self.pixels)).sum(axis=1), b.reshape((-1, self.places)).sum(axis=1), filters


@pytest.fixture(params=WINDOWS, ids=str)
def window(request):
    return request.param


def visible_values(units, shape, count, generator):
    maximum = units.maximum
    values = generator.integers(0, maximum + 1, (count, *shape)) if maximum else generator.normal(size=(count, *shape))
    return values.astype("float64")


# --- Comparison with a dense RBM ------------------------------------------------------------------


@pytest.mark.parametrize("units", UNITS.values(), ids=UNITS)
def test_a_convolutional_rbm_equals_the_dense_rbm_of_its_filters(ctx, generator, window, units):
    kernel, stride, shape = window
    parameters = random_parameters(shape, 4, kernel, generator)
    rbm = rbm_of(parameters, shape, kernel, stride, units, ctx)
    dense = Dense(parameters, shape, kernel, stride, units, ctx)
    visible = array(visible_values(units[0], shape, 3, generator), ctx)
    hidden = rbm.mean_hidden(visible)
    assert hidden.shape == (3, 4, shape[1] // stride, shape[2] // stride) == (3, *rbm.hidden_shape)
    pairs = [
        (hidden, dense.rbm.mean_hidden(visible.flatten())),
        (rbm.mean_visible(hidden), dense.rbm.mean_visible(hidden.flatten())),
        (rbm.free_energy(visible), dense.rbm.free_energy(visible.flatten())),
        (rbm.reconstruct(visible, 2), dense.rbm.reconstruct(visible.flatten(), 2)),
        (rbm.hidden_input(visible), dense.rbm.hidden_input(visible.flatten())),
        (rbm.visible_input(hidden), dense.rbm.visible_input(hidden.flatten())),
    ]
    for ours, theirs in pairs:
        ours, theirs = ours.asnumpy(), theirs.asnumpy()
        np.testing.assert_allclose(ours.reshape(theirs.shape), theirs, rtol=1e-4, atol=1e-4)
    chains = array(visible_values(units[0], shape, 5, generator), ctx)
    ours = gradients(rbm, lambda: ContrastiveFreeEnergy(rbm)(visible, chains))
    theirs = gradients(dense.rbm, lambda: ContrastiveFreeEnergy(dense.rbm)(visible.flatten(), chains.flatten()))
    for one, other in zip(ours, dense.shared(theirs)):
        np.testing.assert_allclose(one.ravel(), other, rtol=1e-3, atol=1e-3)


def test_down_is_the_transpose_of_up(ctx, generator, window):
    """<v W, h> = <v, h W^T>."""
    kernel, stride, shape = window
    a, b, w = random_parameters(shape, 4, kernel, generator)
    rbm = rbm_of((0 * a, 0 * b, w), shape, kernel, stride, ctx=ctx)
    visible = array(generator.normal(size=(3, *shape)), ctx)
    hidden = array(generator.normal(size=(3, *rbm.hidden_shape)), ctx)
    up = (rbm.hidden_input(visible) * hidden).sum(axis=0, exclude=True)
    down = (rbm.visible_input(hidden) * visible).sum(axis=0, exclude=True)
    assert rbm.visible_input(hidden).shape == visible.shape
    np.testing.assert_allclose(up.asnumpy(), down.asnumpy(), rtol=1e-4, atol=1e-4)


def test_chains_agree_with_the_dense_rbm(ctx, generator):
    """Means over 4,000 chains of each RBM agree within five standard errors.

    Chains of both RBMs start at the same states.
    """
    shape, units = (1, 2, 4), (Multinary(2, slope=1), Multinary(2, slope=1))
    parameters = random_parameters(shape, 2, 4, generator)
    rbm, dense = rbm_of(parameters, shape, 4, 2, units, ctx), Dense(parameters, shape, 4, 2, units, ctx)
    start = array(visible_values(units[0], (4000, *shape), 1, generator)[0], ctx)
    one = alternate(rbm, start, 3).asnumpy().reshape((4000, -1)).astype("float64")
    other = alternate(dense.rbm, start.flatten(), 3).asnumpy().astype("float64")
    assert np.isin(one, (0, 1, 2)).all()
    for moment in (lambda v: v, lambda v: v**2, lambda v: v[:, :-1] * v[:, 1:]):
        x, y = moment(one), moment(other)
        error = np.sqrt((x.var(axis=0) + y.var(axis=0)) / 4000)
        assert (np.abs(x.mean(axis=0) - y.mean(axis=0)) < 5 * error + 1e-3).all()


@pytest.mark.parametrize("shape", [(3, 16, 16), (16, 8, 8)])
@pytest.mark.parametrize("mode", MODES)
def test_training_and_prediction_in_turn_change_nothing(ctx, generator, mode, shape):
    """Training steps and predictions in turn change neither results nor parameters.

    Outside training, MXNet may reorder weights in memory for its convolution. It does so mainly
    with multiples of 8 and 16 channels.
    """
    parameters = random_parameters(shape, 16, 4, generator)
    fresh = [rbm_of(parameters, shape, 4, 2, ctx=ctx) for _ in range(2)]
    visible = array(generator.random((3, *shape)), ctx)
    reconstructed = fresh[0].reconstruct(visible).asnumpy()
    chains = array(generator.random((3, *shape)), ctx)
    slopes = gradients(fresh[1], lambda: ContrastiveFreeEnergy(fresh[1])(visible, chains))
    rbm = rbm_of(parameters, shape, 4, 2, ctx=ctx)
    hidden = rbm(visible).asnumpy()
    loss = ContrastiveFreeEnergy(rbm)
    for round_ in range(4):
        if round_ == 1 and MODES[mode] is not None:
            rbm.hybridize(**MODES[mode])
            loss.hybridize(**MODES[mode])
        np.testing.assert_allclose(rbm(visible).asnumpy(), hidden, rtol=1e-4)
        np.testing.assert_allclose(rbm.reconstruct(visible).asnumpy(), reconstructed, rtol=1e-4, atol=1e-5)
        loss(visible, chains).asnumpy()  # outside training
        for ours, expected in zip(gradients(rbm, lambda: loss(visible, chains)), slopes):
            np.testing.assert_allclose(ours, expected, rtol=1e-3, atol=1e-3)
        for name, values in zip(LEARNED, parameters):
            np.testing.assert_allclose(getattr(rbm, name).data().asnumpy(), values, rtol=1e-6)


def test_parameters_are_kept_in_files(ctx, generator, tmp_path):
    shape = (3, 8, 8)
    rbm = rbm_of(random_parameters(shape, 16, 4, generator), shape, 4, 2, ctx=ctx)
    visible = array(generator.random((2, *shape)), ctx)
    features = rbm(visible).asnumpy()  # MXNet may now have reordered the weights in memory
    rbm.save_parameters(str(tmp_path / "rbm.params"))
    other = ConvolutionalRBMBlock(shape, 16, visible_units=Multinary(1), hidden_units=Multinary(1))
    other.load_parameters(str(tmp_path / "rbm.params"), ctx=ctx)
    np.testing.assert_allclose(other(visible).asnumpy(), features, rtol=1e-6)
    np.testing.assert_allclose(
        other.reconstruct(visible).asnumpy(), rbm.reconstruct(visible).asnumpy(), rtol=1e-5, atol=1e-6
    )


# --- Bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "shape, num_filters, kernel, stride, said",
    [
        ((1, 7, 8), 4, 4, 2, "use fewer layers"),
        ((1, 8, 9), 4, 4, 2, "use fewer layers"),
        ((1, 8, 8), 4, 1, 2, "plus 0, 2, 4"),
        ((1, 8, 8), 4, 5, 2, "plus 0, 2, 4"),
        ((0, 8, 8), 4, 4, 2, "1 or more"),
        ((1, 8, 8), 0, 4, 2, "1 or more"),
        ((1, 8, 8), 4, 4, 0, "1 or more"),
        ((8, 8), 4, 4, 2, "channels, height, width"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(shape, num_filters, kernel, stride, said):
    with pytest.raises(InputError, match=said):
        ConvolutionalRBMBlock(shape, num_filters, kernel, stride)


def test_images_of_other_channels_or_sizes_are_refused(ctx):
    rbm = ConvolutionalRBMBlock((3, 8, 8), 4)
    rbm.initialize(ctx=ctx)
    for shape in ((2, 1, 8, 8), (2, 3, 8, 6), (2, 192), (3, 8, 8)):
        for verb in ("free_energy", "mean_hidden", "sample_hidden", "reconstruct"):
            with pytest.raises(InputError, match=r"without the batch axis, it must be \(3, 8, 8\)"):
                getattr(rbm, verb)(mx.nd.zeros(shape, ctx=ctx))
    for verb in ("mean_visible", "sample_visible"):
        with pytest.raises(InputError, match=r"\(4, 4, 4\)"):
            getattr(rbm, verb)(mx.nd.zeros((2, 4, 4, 3), ctx=ctx))
