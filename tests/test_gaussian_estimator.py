"""The Gaussian-Bernoulli RBM with variances: its gradient by enumeration, and the estimator."""

import io
import os
import tarfile
import warnings
from pathlib import Path

import joblib
import numpy as np
import pytest
from marks import slow_but
from scipy import sparse, stats
from scipy.io import loadmat
from sklearn.datasets import load_digits, load_iris
from sklearn.utils.estimator_checks import check_estimator
from test_gaussian_units import DRAWS, SIGNIFICANCE, Exact, small

from gluon_rbm.errors import DivergenceError, InputError
from gluon_rbm.estimators import ConstantFeatureWarning, GaussianRBM
from gluon_rbm.likelihood import gaussian_learning, learning
from gluon_rbm.likelihood.rules import LearningRule
from gluon_rbm.models.gaussian_rbm import GaussianParameters, check_variances
from gluon_rbm.models.visible_units import GAUSSIAN

SEEDS = range(20)


def log_density(arrays, data):
    """log p(v) of each row, from the mixture."""
    *scaled, log_variance = arrays
    return Exact(*scaled).log_density(data * np.exp(-log_variance / 2)) - log_variance.sum() / 2


def arrays_of(rbm):
    return [np.float64(array) for array in rbm.gaussian_parameters_]


def olivetti():
    archive = Path(os.environ.get("MXNET_RBM_DATA") or "none") / "olivetti.tar.xz"
    if not archive.exists():
        pytest.skip("MXNET_RBM_DATA names no folder with olivetti.tar.xz")
    with tarfile.open(archive) as files:
        member = next(one for one in files if one.name.endswith("olivettifaces.mat"))
        faces = loadmat(io.BytesIO(files.extractfile(member).read()))["faces"]
    return faces.T.reshape(-1, 64, 64)[:, ::2, ::2].reshape(-1, 1024).astype(np.float32)


DATA = {"digits": lambda: load_digits().data, "iris": lambda: load_iris().data, "olivetti": olivetti}


@pytest.mark.parametrize("centering", [0.0, 0.5])
def test_the_gradient_equals_that_of_the_exact_likelihood(auto_engine, seed, generator, centering):
    """The chains are exact draws. Centered gradients are first converted to plain gradients."""
    arrays = [*small(generator), generator.normal(size=5)]
    exact, data = Exact(*arrays[:3]), 1.5 * generator.normal(size=(40, 5))
    rule = LearningRule(visible_layer=GAUSSIAN, centering=centering)
    aux = {name: np.zeros(shape, np.float32) for name, shape in learning.states(rule, DRAWS, 5, 3).items()}
    aux[learning.SAMPLES[1]][:] = exact.draw(DRAWS, generator)[1]
    parameters = GaussianParameters(*(array.astype(np.float32) for array in arrays))
    targets = [np.zeros_like(array) for array in parameters]
    how = {"aux_states": aux, "sweeps": 1, "key": [seed], "engine": auto_engine}
    how.update(data=data.astype(np.float32), mean_square=np.square(data).mean(axis=0).astype(np.float32))
    gaussian_learning.store_step_gradients(rule, targets, parameters, **how)
    if centering:
        mu, lam = (aux[name] for name in learning.OFFSETS)
        assert np.abs(mu).max() > 0.01 and np.abs(lam).max() > 0.01
        visible, hidden = targets[0] + targets[2] @ lam, targets[1] + mu @ targets[2]
        targets[:3] = visible, hidden, targets[2] + np.outer(mu, hidden) + np.outer(visible, lam)
    error = 6 * (1 + np.square(exact.centres).max()) / np.sqrt(DRAWS)
    for number, (target, array) in enumerate(zip(targets, arrays)):
        for index in np.ndindex(array.shape):
            losses = []
            for step in (1e-4, -1e-4):
                moved = [np.array(one) for one in arrays]
                moved[number][index] += step
                losses.append(-log_density(moved, data).mean())
            assert target[index] == pytest.approx((losses[0] - losses[1]) / 2e-4, abs=error), (number, index)


# --- The estimator --------------------------------------------------------------------------------


def test_scikit_learn_finds_nothing_wrong():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some features of its data are constant
        check_estimator(GaussianRBM())


@pytest.mark.parametrize("name", slow_but(list(DATA), "iris"))
def test_learning_does_not_diverge(name):
    """With default settings and any seed, parameters and samples stay in a sensible range."""
    data = DATA[name]()
    for seed in SEEDS:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConstantFeatureWarning)
            rbm = GaussianRBM(64, random_state=seed).fit(data)
        assert all(np.isfinite(array).all() for array in rbm.gaussian_parameters_), seed
        assert np.abs(rbm.components_).max() < 10 and rbm.log_variance_.max() < 1, seed
        samples = rbm.sample(100, sweeps=200)
        beyond = np.abs(samples - data.mean(axis=0)) > 10 * (data.std(axis=0) + 1)
        assert np.isfinite(samples).all() and beyond.mean() < 0.01, seed


def test_it_learns_what_features_have_in_common(seed):
    """Two clusters are learned. The exact likelihood, in the units of the data, shows it."""
    generator = np.random.default_rng(seed)
    sign = np.where(generator.random((2000, 1)) < 0.5, 1, -1)
    data = [100.0, -3.0] + [20.0, 0.5] * (sign + 0.3 * generator.normal(size=(2000, 2)))
    # Only tempered chains often cross from one cluster to the other.
    settings = dict(n_iter=100, learning_rate=0.05, k=3, chains="tempered")
    rbm = GaussianRBM(4, random_state=seed, **settings).fit(data)
    independent = stats.norm.logpdf(data, data.mean(axis=0), data.std(axis=0)).sum(axis=1).mean()
    standardized = (data - rbm.mean_) / rbm.scale_
    exact = log_density(arrays_of(rbm), standardized) - np.log(rbm.scale_).sum()
    assert exact.mean() > independent + 1
    partition = rbm.log_partition(data)
    np.testing.assert_allclose(rbm.score_samples(data) - partition.log_z, exact, atol=0.05)
    likelihood = rbm.log_likelihood(data, partition)
    assert likelihood.mean == pytest.approx(exact.mean(), abs=0.05) and likelihood.is_density
    samples = rbm.sample(1000, sweeps=500)
    assert np.sign(samples[:, 0] - 100) @ np.sign(samples[:, 1] + 3) > 900


def test_samples_have_the_exact_density(seed, generator):
    """Samples are compared along one direction, in the units of the data."""
    rbm = GaussianRBM(3, n_iter=0, random_state=seed).fit(generator.normal(5, 2, (50, 4)))
    rbm.components_, rbm.log_variance_ = generator.normal(size=(3, 4)), np.float32(generator.normal(size=4))
    a, b, w, log_variance = arrays_of(rbm)
    exact, direction = Exact(a, b, w), generator.normal(size=4)
    weight = direction * rbm.scale_ * np.exp(log_variance / 2)
    centres, length = exact.centres @ weight + direction @ rbm.mean_, np.linalg.norm(weight)

    def cumulative(x):
        return stats.norm.cdf((np.asarray(x)[:, None] - centres) / length) @ exact.weights

    for samples in (rbm.sample(20000, sweeps=200), rbm.gibbs(rbm.sample(20000, sweeps=200), sweeps=2)):
        assert stats.kstest(samples.astype(np.float64) @ direction, cumulative).pvalue > SIGNIFICANCE
    means = rbm.sample(20000, sweeps=200, mean=True) @ direction
    assert means.std() < samples.astype(np.float64).dot(direction).std()


def test_the_same_seed_gives_the_same_rbm_of_any_kind_of_matrix():
    data = load_iris().data
    fits = [
        GaussianRBM(5, random_state=3).fit(rows) for rows in (data, sparse.csr_matrix(data), np.asfortranarray(data))
    ]
    for rbm in fits[1:]:
        np.testing.assert_allclose(rbm.components_, fits[0].components_, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(rbm.transform(data), fits[0].transform(data), atol=1e-5)
    assert (GaussianRBM(5, random_state=4).fit(data).components_ != fits[0].components_).any()


def test_an_estimator_is_saved_and_loaded(tmp_path):
    data = load_iris().data
    rbm = GaussianRBM(5, random_state=0).fit(data)
    joblib.dump(rbm, tmp_path / "rbm.joblib")
    loaded = joblib.load(tmp_path / "rbm.joblib")
    np.testing.assert_array_equal(loaded.transform(data), rbm.transform(data))
    np.testing.assert_array_equal(loaded.partial_fit(data).components_, rbm.partial_fit(data).components_)


def test_constant_features_are_reported(generator):
    data = generator.normal(size=(30, 4))
    data[:, 2] = 1e6 + 0.1
    with pytest.warns(ConstantFeatureWarning, match="1 features of one value .the first is feature 2."):
        rbm = GaussianRBM(3, random_state=0).fit(data)
    assert rbm.scale_[2] == 1 and np.isfinite(rbm.score_samples(data)).all()


def test_values_of_any_scale(generator):
    data = generator.normal(size=(200, 3)) * [1e-12, 1.0, 1e12] + [0, 5, 1e13]
    rbm = GaussianRBM(3, random_state=0).fit(data)
    np.testing.assert_allclose(rbm.sample(5000, sweeps=50).std(axis=0) / data.std(axis=0), 1, atol=0.2)


@pytest.mark.parametrize(
    "match, settings",
    [
        ("least_variance is 1", {"least_variance": 1.0}),
        ("langevin_step_size is 4", {"langevin_step_size": 4.0}),
        ("chains is fast", {"chains": "fast"}),
        ("leave langevin_steps out", {"chains": "tempered", "langevin_steps": 3}),
    ],
)
def test_bad_settings_are_refused(match, settings):
    with pytest.raises(InputError, match=match):
        GaussianRBM(3, **settings).fit(load_iris().data)


def test_nan_and_infinity_are_refused():
    with pytest.raises(InputError, match="X holds NaN: fill in"):
        GaussianRBM(3).fit([[0, 1], [np.nan, 0]])
    with pytest.raises(ValueError, match="infinity"):
        GaussianRBM(3).fit([[0, 1], [np.inf, 0]])


def test_a_variance_that_explodes_names_its_unit():
    check_variances(np.array([0.0, -5.0]))
    for value in (50.0, np.nan, np.inf):
        with pytest.raises(DivergenceError, match="variance of visible unit 1 is"):
            check_variances(np.array([0.0, value]))


def test_langevin_steps_learn_equally_well():
    data = load_iris().data
    settings = dict(n_iter=100, learning_rate=0.05, k=5, random_state=0)
    scores = []
    for steps in (0, 10):
        rbm = GaussianRBM(8, langevin_steps=steps, langevin_step_size=0.1, **settings).fit(data)
        scores.append(rbm.log_likelihood(data, rbm.log_partition(data)).mean)
    assert scores[1] == pytest.approx(scores[0], abs=1)
