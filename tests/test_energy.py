import ctypes
import errno
import sys

import numpy as np
import pytest
import reference

import gluon_rbm
from gluon_rbm.backend.arrays import to_numpy
from gluon_rbm.backend.framework import mx
from gluon_rbm.errors import InputError
from gluon_rbm.models import energy, label_rbm
from gluon_rbm.models.parameters import Parameters


def parameters(values, ctx=None, dtype="float64"):
    return Parameters(*(mx.nd.array(array, ctx=ctx, dtype=dtype) for array in values))


@pytest.mark.parametrize("dtype, tolerance", [("float32", 2e-6), ("float64", 1e-13)])
def test_free_energy_equals_enumeration(ctx, generator, dtype, tolerance):
    values = reference.random_rbm(5, 4, generator)
    visible = reference.states(5)
    ours = energy.free_energy(parameters(values, ctx, dtype), mx.nd.array(visible, ctx=ctx, dtype=dtype))
    assert ours.dtype == np.float64 and ours.context == ctx
    np.testing.assert_allclose(
        ours.asnumpy(), reference.free_energies(*values, visible), rtol=tolerance, atol=10 * tolerance
    )


@pytest.mark.parametrize("beta_from, beta_to", [(0, 0.3), (0.3, 0.31), (0.5, 1), (1, 0)])
def test_free_energy_difference_equals_enumeration(generator, beta_from, beta_to):
    values, base = reference.random_rbm(5, 4, generator), generator.normal(size=5)
    visible = reference.states(5)
    ours = energy.free_energy_difference(
        parameters(values),
        mx.nd.array(visible, dtype="float64"),
        beta_from,
        beta_to,
        mx.nd.array(base, dtype="float64"),
    )
    expected = reference.free_energies(*values, visible, beta_from, base) - reference.free_energies(
        *values, visible, beta_to, base
    )
    np.testing.assert_allclose(ours.asnumpy(), expected, rtol=1e-11, atol=1e-12)


def test_free_energy_difference_from_zero_to_one_counts_hidden_states(generator):
    values = reference.random_rbm(3, 4, generator)
    ours = energy.free_energy_difference(parameters(values), mx.nd.zeros((1, 3), dtype="float64"), 0, 1)
    expected = np.log1p(np.exp(values[1])).sum() - 4 * np.log(2)
    np.testing.assert_allclose(ours.asnumpy(), [expected], rtol=1e-12, atol=1e-13)


def test_hidden_probability_equals_enumeration(ctx, generator):
    a, b, w = reference.random_rbm(4, 3, generator)
    joint = reference.joint(a, b, w)
    given_visible = joint / joint.sum(axis=1, keepdims=True)
    ours = parameters((a, b, w), ctx)
    hidden = energy.hidden_probability(ours, mx.nd.array(reference.states(4), ctx=ctx, dtype="float64"))
    np.testing.assert_allclose(hidden.asnumpy(), given_visible @ reference.states(3), rtol=1e-12)


def test_softplus_is_exact_over_the_whole_range_of_float32():
    x = np.array([-1e30, -200, -100, -20, -1, 0, 1e-8, 1, 20, 100, 1e5, 1e38], "float32")
    expected = np.logaddexp(0, x.astype("float64"))
    # Below exp(-87) numbers are denormal in float32. A CPU may flush them to 0, so there is an
    # absolute tolerance.
    np.testing.assert_allclose(energy.softplus(x), expected, rtol=2e-7, atol=1e-37)


@pytest.mark.parametrize("shapes", [((4,), (3,), (3, 4)), ((5,), (3,), (4, 3)), ((4,), (3,), (12,))])
def test_shapes_that_do_not_match_are_refused(shapes):
    with pytest.raises(InputError, match="must be .num_visible,."):
        Parameters(*map(mx.nd.zeros, shapes)).checked()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_parameters_that_are_not_finite_are_refused(value):
    arrays = [mx.nd.zeros(4), mx.nd.zeros(3), mx.nd.zeros((4, 3))]
    arrays[1][2] = value
    with pytest.raises(InputError, match="hidden_layer_bias holds values that are not finite"):
        Parameters(*arrays).checked()


def test_pseudo_log_likelihood_equals_the_conditionals(ctx, generator):
    values, visible = reference.random_rbm(5, 4, generator), reference.states(5)
    probability = reference.joint(*values).sum(axis=1)
    expected = np.zeros(32)
    for unit in range(5):
        flipped = visible.copy()
        flipped[:, unit] = 1 - flipped[:, unit]
        expected += np.log(probability / (probability + probability[reference.state_index(flipped)]))
    ours, images = parameters(values, ctx), mx.nd.array(visible, ctx=ctx, dtype="float64")
    exact = energy.pseudo_log_likelihood(ours, images)
    assert exact.dtype == np.float64 and exact.context == ctx
    np.testing.assert_allclose(exact.asnumpy(), expected, rtol=1e-11)
    # With one unit per row, the mean over all units is the exact value.
    single = [energy.pseudo_log_likelihood(ours, images, np.full(32, unit)).asnumpy() for unit in range(5)]
    np.testing.assert_allclose(np.mean(single, axis=0), expected, rtol=1e-11)
    mixed = generator.integers(5, size=32)
    np.testing.assert_allclose(
        energy.pseudo_log_likelihood(ours, images, mixed).asnumpy(), np.array(single)[mixed, np.arange(32)], rtol=1e-12
    )


OF_ONE_LAYER = {
    "free_energy": energy.free_energy,
    "free_energy_difference": lambda rbm, visible: energy.free_energy_difference(rbm, visible, 0.2, 0.7),
    "hidden_probability": energy.hidden_probability,
    "pseudo_log_likelihood": energy.pseudo_log_likelihood,
    "class_log_posterior": lambda rbm, visible: label_rbm.class_log_posterior(rbm, visible[:, :3], 2),
    "hidden_probability of pixels": lambda rbm, visible: label_rbm.hidden_probability(rbm, visible[:, :3], 2),
    "free_energies": lambda rbm, visible: label_rbm.free_energies(rbm, visible[:, :3], 2),
}


@pytest.mark.parametrize("name", OF_ONE_LAYER)
@pytest.mark.parametrize("on_host", [True, False])
def test_integers_and_booleans_give_the_results_of_floats(generator, name, on_host):
    """In uint8, 1 - 2 v would be 255 for v = 1."""
    values = [array.astype("float32") for array in reference.random_rbm(5, 4, generator)]
    rbm = Parameters(*values) if on_host else parameters(values, dtype="float32")
    visible = reference.states(5)

    def of(dtype):
        rows = visible.astype(dtype)
        return to_numpy(OF_ONE_LAYER[name](rbm, rows if on_host else mx.nd.array(rows, dtype=dtype)))

    for dtype in ("uint8", "int32", "int64", *(["bool"] if on_host else [])):
        assert of(dtype).dtype == of("float32").dtype
        np.testing.assert_array_equal(of(dtype), of("float32"))


@pytest.mark.parametrize("shape", [(3, 4), (3, 6), (5,), (1, 3, 5)])
@pytest.mark.parametrize("on_host", [True, False])
def test_visible_units_of_another_width_are_refused(generator, shape, on_host):
    values = reference.random_rbm(5, 4, generator)
    rbm = Parameters(*values) if on_host else parameters(values)
    visible = np.ones(shape) if on_host else mx.nd.ones(shape, dtype="float64")
    for name in ("free_energy", "free_energy_difference", "hidden_probability", "pseudo_log_likelihood"):
        with pytest.raises(InputError, match=r"they must be \(batch, 5\)"):
            OF_ONE_LAYER[name](rbm, visible)
    for function in (label_rbm.class_log_posterior, label_rbm.hidden_probability, label_rbm.free_energies):
        with pytest.raises(InputError, match=r"they must be \(batch, 3\)|images have \d pixels, but the model has 3"):
            function(rbm, visible, 2)


@pytest.mark.parametrize("sizes", [(5, 0), (0, 4), (0, 0)])
def test_an_rbm_without_units_is_refused(sizes):
    values = np.zeros(sizes[0]), np.zeros(sizes[1]), np.zeros(sizes)
    with pytest.raises(InputError, match="give 1 or more of each"):
        Parameters(*values).checked()


@pytest.mark.skipif(sys.platform != "linux", reason="errno is found where glibc keeps it")
def test_finite_parameters_are_accepted_after_an_underflow(generator):
    """MXNet reads "inf" with `strtod` and checks errno. NumPy sets it to ERANGE in an underflow."""
    location = ctypes.CDLL(None).__errno_location
    location.restype = ctypes.POINTER(ctypes.c_int)
    found = parameters(reference.random_rbm(3, 2, generator))
    location()[0] = errno.ERANGE
    assert found.checked() is found


def test_parameters_of_gluon_are_refused():
    block = gluon_rbm.BinaryRBMBlock(3, 1, for_training=False, num_visible=5)
    block.initialize()
    names = ("visible_layer_bias", "hidden_layer_bias", "interaction_weight")
    with pytest.raises(InputError, match=r"a Parameter is no array of numbers; .*\*rbm.rbm_parameters"):
        Parameters.from_arrays(*(getattr(block, name) for name in names))
    assert Parameters.from_arrays(*block.rbm_parameters).num_hidden == 3
