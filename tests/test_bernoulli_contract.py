"""`BinaryRBM` does what programs for scikit-learn's `BernoulliRBM` rely on.

Each test runs with both classes.
"""

import re
import warnings

import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import BernoulliRBM

from gluon_rbm.estimators import BinaryRBM, PixelRangeWarning

BOTH = pytest.mark.parametrize("kind", [BinaryRBM, BernoulliRBM])
# In scikit-learn < 1.7, BernoulliRBM takes no sparse arrays, and its tags name only matrices.
FORMATS = [sparse.csr_matrix, sparse.csc_matrix, sparse.coo_matrix, sparse.lil_matrix]


@pytest.fixture
def images():
    """Digits in [0, 1]. A test that changes them fails."""
    pixels = load_digits().data / 16
    before = pixels.copy()
    yield pixels
    np.testing.assert_array_equal(pixels, before)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def learned(rbm, how, X):
    """Return the RBM after `fit` or `partial_fit`. BernoulliRBM.partial_fit returns None."""
    getattr(rbm, how)(X)
    return rbm


def assert_alike(one, other, tolerance):
    for name in ("components_", "intercept_hidden_", "intercept_visible_"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=0, atol=tolerance)


@BOTH
@pytest.mark.parametrize("partially", [False, True], ids=["fit", "partial_fit"])
def test_both_classes_learn_digits_equally_well(kind, partially, images):
    """After seven passes the log pseudo-likelihood is -21 nats. Independent pixels have -27."""
    rbm = kind(64, batch_size=10, n_iter=7, learning_rate=0.1, random_state=3)
    if partially:
        for _ in range(7):
            for start in range(0, len(images), 10):
                rbm.partial_fit(images[start : start + 10])
    else:
        assert rbm.fit(images) is rbm
    scores = rbm.score_samples(images)
    assert scores.shape == (len(images),)
    assert abs(scores.mean() + 21) < 5 * scores.std() / np.sqrt(len(scores)) + 1


@BOTH
def test_features_are_probabilities_given_the_image(kind, images):
    rbm = kind(12, n_iter=3, batch_size=20, random_state=0).fit(images[:200])
    expected = sigmoid(images @ rbm.components_.T + rbm.intercept_hidden_)
    np.testing.assert_allclose(rbm.transform(images), expected, rtol=1e-10)
    np.testing.assert_array_equal(rbm.transform(images), rbm.transform(images))


@BOTH
@pytest.mark.parametrize("make", FORMATS)
@pytest.mark.parametrize("how", ["fit", "partial_fit"])
def test_sparse_images_give_the_same_rbm_as_dense_images(kind, make, how, images):
    """There are fewer images than a batch has, or more."""
    for count in (4, 100):
        dense, thin = (
            learned(kind(16, batch_size=10, n_iter=3, random_state=9), how, X)
            for X in (images[:count], make(images[:count]))
        )
        assert_alike(dense, thin, 1e-6)
        np.testing.assert_allclose(thin.transform(make(images)), dense.transform(images), atol=1e-5)
        np.testing.assert_allclose(thin.score_samples(make(images)), dense.score_samples(images), atol=1e-4)


@BOTH
def test_the_mean_of_one_step_of_gibbs_sampling_is_exact(kind, seed):
    """E[v'] = sum_h p(h | v) p(v' = 1 | h), within five standard errors of 20,000 steps."""
    rbm = kind(1, n_iter=0, random_state=seed).fit(np.zeros((2, 3)))
    rbm.components_ = np.array([[2.0, -1.0, 0.5]])
    rbm.intercept_hidden_, rbm.intercept_visible_ = np.array([-0.5]), np.array([0.3, 0.1, -1.0])
    image = np.array([1.0, 0.0, 1.0])
    on = sigmoid(image @ rbm.components_.T + rbm.intercept_hidden_)
    expected = (1 - on) * sigmoid(rbm.intercept_visible_) + on * sigmoid(rbm.intercept_visible_ + rbm.components_[0])
    drawn = rbm.gibbs(np.tile(image, (20000, 1)))
    error = np.sqrt(expected * (1 - expected) / len(drawn))
    assert (np.abs(drawn.mean(axis=0) - expected) < 5 * error).all()


@BOTH
def test_each_call_of_gibbs_draws_new_samples(kind, images):
    rbm = kind(40, batch_size=40, n_iter=5, random_state=1).fit(images)
    first, second = rbm.gibbs(images), rbm.gibbs(images)
    assert first.shape == images.shape and np.isin(first, (0, 1)).all()
    assert (first != second).any(axis=1).mean() > 0.99


@BOTH
@pytest.mark.parametrize("make", [np.asarray, *FORMATS])
def test_one_pixel_is_learned_from_two_images(kind, make):
    """The seed is a generator, and all images are one batch."""
    X = make([[0.0], [1.0]])
    runs = [kind(2, batch_size=2, n_iter=30, random_state=np.random.RandomState(5)).fit(X) for _ in range(2)]
    assert_alike(*runs, 0)
    assert runs[0].components_.shape == (2, 1) and np.isin(runs[0].gibbs(X), (0, 1)).all()


@BOTH
def test_pseudo_likelihoods_are_not_cut_off(kind):
    """Log pseudo-likelihoods far below 0 are returned as they are, for sparse images, too.

    Pixels that are large numbers raise no error.
    """
    X = np.repeat([[0.0], [1.0]], 1000, axis=1)
    with warnings.catch_warnings():
        # Hidden units may be on, or off, for both images.
        warnings.simplefilter("ignore", ConvergenceWarning)
        rbm = kind(10, batch_size=2, n_iter=10, random_state=7).fit(X)
    scores = rbm.score_samples(X)
    assert (scores < -300).all()
    np.testing.assert_allclose(rbm.score_samples(sparse.lil_matrix(X)), scores, rtol=1e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PixelRangeWarning)
        scores = rbm.score_samples([np.arange(1000.0) * 100])
    assert np.size(scores) == 1
    # scikit-learn 1.3, the newest for Python 3.8, returns a number for one image.
    if kind is BinaryRBM:
        assert scores.shape == (1,)


@BOTH
@pytest.mark.parametrize("make", [np.asarray, sparse.csc_matrix])
def test_a_line_is_printed_for_each_pass(kind, make, capsys):
    for verbose in (True, 10):
        kind(2, batch_size=2, n_iter=3, random_state=0, verbose=verbose).fit(make([[0.0], [1.0]]))
        lines = capsys.readouterr().out.splitlines()
        for number, line in enumerate(lines, 1):
            pattern = r"\[%s\] Iteration %d, pseudo-likelihood = -?\d+\.\d+, time = \d+\.\d+s" % (kind.__name__, number)
            assert re.fullmatch(pattern, line)
        assert len(lines) == 3
    kind(2, n_iter=3).fit(make([[0.0], [1.0]]))
    assert capsys.readouterr().out == ""


@BOTH
@pytest.mark.parametrize("given, returned", [("float32", "float32"), ("float64", "float64"), ("int64", "float64")])
def test_features_have_the_precision_of_the_images(kind, given, returned, images):
    X = (images[:50] > 0.5).astype(given)
    assert kind(5, n_iter=2, random_state=0).fit_transform(X).dtype == returned


@BOTH
def test_both_precisions_learn_the_same(kind, images):
    low, high = (kind(16, batch_size=5, n_iter=3, random_state=2).fit(images[:100].astype(d)) for d in ("f4", "f8"))
    assert_alike(low, high, 1e-5)
    np.testing.assert_allclose(low.transform(images.astype("f4")), high.transform(images), rtol=1e-4)
    np.testing.assert_array_equal(low.h_samples_, high.h_samples_)


@BOTH
@pytest.mark.parametrize("how", ["fit", "partial_fit"])
def test_features_are_named_after_the_class(kind, how, images):
    rbm = learned(kind(3, n_iter=1), how, images[:20])
    assert list(rbm.get_feature_names_out()) == ["%s%d" % (kind.__name__.lower(), number) for number in range(3)]
