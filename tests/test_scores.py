import numpy as np
import pytest
import reference

from gluon_rbm.backend.framework import mx
from gluon_rbm.errors import InputError
from gluon_rbm.likelihood import scores
from gluon_rbm.models.energy import pseudo_log_likelihood
from gluon_rbm.models.parameters import Parameters


def parameters(rbm, dtype="float32"):
    return Parameters(*(mx.nd.array(array, dtype=dtype) for array in rbm))


def test_the_stochastic_pseudo_likelihood_is_the_exact_one_on_average(seed, generator):
    rbm = parameters(reference.random_rbm(6, 5, generator, scale=0.5))
    images = generator.integers(0, 2, (50, 6))
    exact = scores.mean_pseudo_log_likelihood(rbm, images)
    values = pseudo_log_likelihood(rbm, mx.nd.array(images)).asnumpy()
    assert exact.mean == pytest.approx(values.mean(), rel=1e-12) and exact.num_images == 50 and exact.binary
    assert exact.standard_error == pytest.approx(values.std(ddof=1) / np.sqrt(50), rel=1e-12)
    many = np.repeat(images, 2000, axis=0)
    drawn = scores.mean_pseudo_log_likelihood(rbm, many, key=[seed])
    assert abs(drawn.mean - exact.mean) < 5 * drawn.standard_error
    assert scores.mean_pseudo_log_likelihood(rbm, many, key=[seed]) == drawn
    assert scores.mean_pseudo_log_likelihood(rbm, many, key=[seed, 1]) != drawn


def test_scores_do_not_change_if_units_are_permuted_or_flipped(generator):
    a, b, w = rbm = reference.random_rbm(6, 5, generator)
    images = generator.integers(0, 2, (20, 6)).astype(float)
    rows, columns, flipped = generator.permutation(6), generator.permutation(5), generator.integers(0, 2, 6)
    others = [
        ((a[rows], b[columns], w[rows][:, columns]), images[:, rows]),
        (reference.flip_visible(rbm, flipped)[0], np.abs(images - flipped)),
    ]
    for function in (exact_mean_log_likelihood, scores.mean_pseudo_log_likelihood):
        expected = function(parameters(rbm, "float64"), images).mean
        for other, its_images in others:
            assert function(parameters(other, "float64"), its_images).mean == pytest.approx(expected, rel=1e-11)


def exact_mean_log_likelihood(rbm, images):
    log_z = reference.log_z(*(array.asnumpy() for array in rbm))
    return scores.mean_log_likelihood(rbm, images, log_z)


def test_grey_pixels_have_no_pseudo_likelihood(generator):
    with pytest.raises(InputError, match="of binary pixels only; draw them"):
        scores.mean_pseudo_log_likelihood(parameters(reference.random_rbm(3, 2, generator)), np.full((4, 3), 0.5), [0])
