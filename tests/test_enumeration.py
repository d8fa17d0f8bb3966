import numpy as np
import pytest
import reference
from marks import slow_but
from scipy import stats

import ais
from gluon_rbm.backend.framework import mx
from gluon_rbm.errors import InputError
from gluon_rbm.likelihood import enumeration
from gluon_rbm.models.parameters import Parameters

SIGNIFICANCE = 1e-6
SIZES = [(1, 1), (6, 3), (3, 6), (5, 5), (8, 2)]


def parameters(rbm, dtype="float64"):
    return Parameters(*(mx.nd.array(array, dtype=dtype) for array in rbm))


@pytest.fixture(params=[2**16, 64, 1], ids="entries={}".format)
def entries_at_once(request, monkeypatch):
    """All states in one chunk, in several chunks, and one by one."""
    monkeypatch.setattr(enumeration, "_ENTRIES_AT_ONCE", request.param)


@pytest.mark.usefixtures("entries_at_once")
@pytest.mark.parametrize("size", SIZES)
def test_log_z_equals_the_sum_over_both_layers(generator, size):
    for scale in (0.1, 1, 5):
        rbm = reference.random_rbm(*size, generator, scale)
        assert enumeration.log_partition(parameters(rbm)) == pytest.approx(reference.log_z(*rbm), rel=1e-12)


@pytest.mark.parametrize("size", slow_but([(20, 30), (784, 13), (17, 500)], (784, 13)))
def test_log_z_of_independent_units(generator, size):
    """Without interactions log Z is a sum over units. So it is known for large RBMs, too."""
    a, b = generator.normal(size=size[0]), generator.normal(size=size[1])
    exact = np.logaddexp(0, a).sum() + np.logaddexp(0, b).sum()
    rbm = parameters((a, b, np.zeros(size)))
    assert enumeration.log_partition(rbm) == pytest.approx(exact, rel=1e-12)
    assert enumeration.can_enumerate(rbm) and enumeration.is_quick(rbm)


@pytest.mark.parametrize(
    "size, can, quick",
    [((784, 20), True, True), ((25, 25), True, True), ((21, 784), True, False), ((26, 26), False, False)],
)
def test_what_can_be_enumerated_and_what_is_quick(size, can, quick):
    rbm = parameters((np.zeros(size[0]), np.zeros(size[1]), np.zeros(size)))
    assert (enumeration.can_enumerate(rbm), enumeration.is_quick(rbm)) == (can, quick)


def test_log_z_does_not_depend_on_the_order_of_units_or_the_coding(generator):
    a, b, w = rbm = reference.random_rbm(9, 8, generator)
    log_z = enumeration.log_partition(parameters(rbm))
    rows, columns = generator.permutation(9), generator.permutation(8)
    permuted = (a[rows], b[columns], w[rows][:, columns])
    assert enumeration.log_partition(parameters(permuted)) == pytest.approx(log_z, rel=1e-12)
    assert enumeration.log_partition(parameters((b, a, w.T))) == pytest.approx(log_z, rel=1e-12)
    flipped, constant = reference.flip_visible(rbm, generator.integers(0, 2, 9))
    assert enumeration.log_partition(parameters(flipped)) + constant == pytest.approx(log_z, rel=1e-12)


def test_no_overflow_at_any_scale_of_the_weights(generator):
    for scale in (1e-8, 1e3, 1e8):
        rbm = reference.random_rbm(6, 5, generator, scale)
        assert enumeration.log_partition(parameters(rbm)) == pytest.approx(reference.log_z(*rbm), rel=1e-12)


@pytest.mark.usefixtures("entries_at_once")
@pytest.mark.parametrize("size", [(6, 3), (4, 5)])
def test_samples_have_the_exact_distribution(seed, generator, size):
    rbm, count = reference.random_rbm(*size, generator), 100000
    visible = enumeration.draw_visible(parameters(rbm), count, [seed])
    assert visible.dtype == np.float32 and visible.shape == (count, size[0])
    probability = reference.joint(*rbm).sum(axis=1)
    counts = np.bincount(reference.state_index(visible), minlength=len(probability))
    statistic, freedom = reference.chi_square(counts, probability * count)
    assert stats.chi2.sf(statistic, freedom) > SIGNIFICANCE
    np.testing.assert_array_equal(visible[:9], enumeration.draw_visible(parameters(rbm), count, [seed])[:9])


def test_rbms_that_are_too_large_are_refused():
    rbm = parameters((np.zeros(26), np.zeros(27), np.zeros((26, 27))))
    assert not enumeration.can_enumerate(rbm)
    for function in (enumeration.log_partition, lambda m: enumeration.draw_visible(m, 1, [0])):
        with pytest.raises(InputError, match="smaller layer has 26 units, and enumeration ends at 25; estimate .* AIS"):
            function(rbm)


def test_numpy_parameters_and_plain_tuples(generator):
    """The attribute `parameters_` of an estimator holds NumPy arrays."""
    rbm = reference.random_rbm(5, 3, generator)
    exact = enumeration.log_partition(parameters(rbm))
    assert enumeration.log_partition(Parameters(*rbm)) == enumeration.log_partition(rbm) == pytest.approx(exact)
    images = generator.integers(0, 2, (4, 5)).astype("float32")
    found = ais.mean_log_likelihood(rbm, images, exact)
    assert found.mean == pytest.approx(-reference.free_energies(*rbm, images).mean() - exact, abs=1e-5)
