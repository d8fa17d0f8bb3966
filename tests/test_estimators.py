"""The scikit-learn estimators: scikit-learn's own checks, and each method against brute force."""

import io
import pickle
import re
import tracemalloc
import warnings

import joblib
import numpy as np
import pytest
import reference
from marks import slow_but
from scipy import sparse
from sklearn import neural_network
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils.estimator_checks import check_estimator

import ais
from gluon_rbm.backend import native
from gluon_rbm.backend.framework import mx
from gluon_rbm.errors import DivergenceError, InputError
from gluon_rbm.estimators import BinaryRBM, LabelRBMClassifier, MultinaryRBM, PixelRangeWarning
from gluon_rbm.models.parameters import Parameters

KINDS = [BinaryRBM, LabelRBMClassifier, MultinaryRBM]


@pytest.fixture(scope="module")
def digits():
    """Training and test images of digits in [0, 1], and their labels."""
    images, labels = load_digits(return_X_y=True)
    return train_test_split(images / 16, labels, random_state=0, stratify=labels)


def fitted(arrays, kind=BinaryRBM, **settings):
    """An estimator with the parameters of a reference RBM, as after a fit."""
    a, b, w = arrays
    estimator = kind(len(b), n_iter=0, random_state=1, **settings).fit(np.zeros((2, len(a))))
    estimator.intercept_visible_, estimator.intercept_hidden_, estimator.components_ = a, b, np.asfortranarray(w.T)
    return estimator


def theirs(arrays):
    a, b, w = arrays
    rbm = neural_network.BernoulliRBM(len(b), n_iter=0, random_state=1).fit(np.zeros((2, len(a))))
    rbm.intercept_visible_, rbm.intercept_hidden_, rbm.components_ = a, b, w.T
    return rbm


def parameters(estimator):
    return estimator.intercept_visible_, estimator.intercept_hidden_, estimator.components_.T


def assert_same(one, other):
    for left, right in zip(parameters(one), parameters(other)):
        np.testing.assert_array_equal(left, right)


# --- scikit-learn's contract ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", slow_but(KINDS, BinaryRBM))
def test_scikit_learn_finds_nothing_wrong(kind):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its data are not images
        check_estimator(kind())


def test_pixels_out_of_range_are_cut_off_with_a_warning(generator):
    images = generator.random((20, 6))
    wild = np.where(images < 0.3, -1 - images, np.where(images > 0.7, 5 * images, images))
    for make in (np.asarray, sparse.csr_matrix):
        with pytest.warns(PixelRangeWarning, match=r"outside \[0, 1\]"):
            rbm = BinaryRBM(3, random_state=0).fit(make(wild))
        with pytest.warns(PixelRangeWarning):
            features = rbm.transform(make(wild))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert_same(rbm, BinaryRBM(3, random_state=0).fit(make(wild.clip(0, 1))))
            np.testing.assert_array_equal(rbm.transform(make(wild.clip(0, 1))), features)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_infinity_are_refused(bad):
    with pytest.raises(ValueError, match="NaN|infinity"):
        BinaryRBM(3).fit([[0, 1], [bad, 0]])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("make", [np.asarray, sparse.csr_matrix])
def test_missing_values_are_refused_with_a_remedy(kind, make):
    """The error is one line and names a class that fills them in. That class works."""
    images = np.array([[0, 1.0], [np.nan, 0], [1, 1], [0, 1]])
    with pytest.raises(InputError, match="^X holds NaN: fill in .*SimpleImputer does, or leave their rows out(; or|$)"):
        kind(3).fit(make(images), [0, 1, 0, 1])
    pipeline = make_pipeline(SimpleImputer(), kind(3, n_iter=1))
    assert pipeline.fit(make(images), [0, 1, 0, 1])[-1].components_.shape[0] == 3


@pytest.mark.parametrize("code, spins", [(-1.0, True), (-9.0, False)])
def test_a_single_negative_number_is_taken_for_a_code(code, spins, generator):
    """The warning does not advise to scale: scaling would turn the code into a grey pixel."""
    images = (generator.random((20, 5)) < 0.5).astype(float)
    images[3, 2] = images[5, 1] = code
    for make in (np.asarray, sparse.csr_matrix):
        with pytest.warns(PixelRangeWarning, match=r"SimpleImputer\(missing_values=%g\)" % code) as caught:
            rbm = BinaryRBM(3, n_iter=1, random_state=0).fit(make(images))
        assert "scale" not in str(caught[0].message) and ("-1 and 1" in str(caught[0].message)) == spins
        assert_same(rbm, BinaryRBM(3, n_iter=1, random_state=0).fit(images.clip(0, 1)))
    images[4, 4] = 2 * code
    with pytest.warns(PixelRangeWarning, match="MinMaxScaler"):
        BinaryRBM(3, n_iter=1).fit(images)


@pytest.mark.parametrize("kind", KINDS)
def test_duplicate_entries_of_a_sparse_matrix_are_added_first(kind):
    """0.7 + 0.7 = 1.4 is cut off at 1, and 1.5 - 1 = 0.5. The given matrix does not change."""
    columns, values = np.array([0, 0, 1, 1, 0, 1]), np.array([0.7, 0.7, 1.5, -1.0, 0.2, 0.3])
    doubled = sparse.csr_matrix((values.copy(), columns, [0, 2, 4, 6]), shape=(3, 2))
    dense = np.array([[1, 0], [0, 0.5], [0.2, 0.3]])
    with pytest.warns(PixelRangeWarning):
        rbm = kind(3, n_iter=2, random_state=0).fit(doubled, [0, 1, 0])
    assert_same(rbm, kind(3, n_iter=2, random_state=0).fit(dense, [0, 1, 0]))
    with pytest.warns(PixelRangeWarning):
        np.testing.assert_array_equal(rbm.transform(doubled), rbm.transform(dense))
    np.testing.assert_array_equal(doubled.data, values)


@pytest.mark.parametrize("kind", KINDS)
def test_methods_before_fit_are_refused(kind):
    for name in ("transform", "free_energy", "gibbs", "score_samples", "predict", "predict_proba", "sample"):
        if hasattr(kind, name):
            with pytest.raises(NotFittedError):
                getattr(kind(), name)(np.zeros((2, 3)))


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"n_components": 0}, "n_components"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"chains": "none"}, "chains is none"),
        ({"engine": "coal"}, "engine 'coal'"),
        ({"k": 0}, "k == 0"),
        ({"momentum": -1.0}, "momentum"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        BinaryRBM(**settings).fit(np.zeros((4, 3)))


def test_bad_settings_of_multinary_rbms_are_refused():
    for settings, message in (
        ({"optimizer": "none"}, "optimizer is 'none'"),
        ({"maximum": 0}, "a whole number of at least 1"),
        ({"slope": -1.0}, "slope"),
    ):
        with pytest.raises(InputError, match=message):
            MultinaryRBM(**settings).fit(np.zeros((4, 3)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -1.0, "many"])
def test_bad_numbers_of_all_settings_are_refused(kind, value):
    """The error comes before anything is learned, in one line that names the setting."""
    settings = [name for name, default in kind().get_params().items() if isinstance(default, (int, float))]
    for name in {*settings, *({"slope"} if kind is MultinaryRBM else ())} - {"verbose"}:
        if (name, value) == ("initial_hidden_bias", -1.0):
            continue  # this setting may be below 0
        estimator = kind(2).set_params(**{name: value})
        for learn in (estimator.fit, estimator.partial_fit):
            with pytest.raises((ValueError, TypeError), match=name) as caught:
                learn(np.eye(4), [0, 1, 0, 1])
            assert not isinstance(caught.value, DivergenceError) and "\n" not in str(caught.value)
        assert not hasattr(estimator, "components_")


@pytest.mark.parametrize("kind", KINDS)
def test_divergence_that_stays_finite_gives_a_warning(kind, digits):
    images, _, labels, _ = digits
    with pytest.warns(ConvergenceWarning, match="20 of 20 hidden units are on, or off, .* lower learning_rate"):
        kind(20, learning_rate=1e3, n_iter=1, random_state=0).fit(images, labels)


@pytest.mark.parametrize("kind", KINDS)
def test_good_learning_gives_no_warning(kind, digits):
    images, _, labels, _ = digits
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kind(50, batch_size=50, random_state=0).fit(images, labels)
        kind(20, n_iter=0, random_state=0).fit(images, labels)


def test_saturated_units_of_wide_sparse_input_need_centering():
    """Of thousands of pixels, one in a hundred is on.

    All of them together push a hidden unit the same way. With offsets they do not.
    """
    wide = sparse.random(300, 20136, 0.01, "csr", random_state=0)
    wide.data[:] = 1
    with pytest.warns(ConvergenceWarning, match="centering=0.01"):
        BinaryRBM(20, learning_rate=0.3, n_iter=5, random_state=0).fit(wide)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        BinaryRBM(20, learning_rate=0.3, n_iter=5, random_state=0, centering=0.01).fit(wide)


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_may_be_larger_than_all_images(kind, digits):
    images, _, labels, _ = digits
    rbm = kind(5, batch_size=10**9, n_iter=2, random_state=0).fit(images[:40], labels[:40])
    assert_same(rbm, kind(5, batch_size=40, n_iter=2, random_state=0).fit(images[:40], labels[:40]))
    if kind is not MultinaryRBM:  # MultinaryRBM has no chains
        rest = {"classes": range(10)} if kind is LabelRBMClassifier else {}
        with pytest.raises(InputError, match="batch_size is 1000000000, and as many chains do not fit"):
            kind(5, batch_size=10**9).partial_fit(images[:40], labels[:40], **rest)


def test_features_take_no_more_than_their_own_memory(generator):
    """Apart from the features, one chunk takes memory. To join chunks would double it."""
    images = (generator.random((20000, 8)) < 0.5).astype(np.float32)
    rbm = BinaryRBM(256, n_iter=0, random_state=0).fit(images)
    tracemalloc.start()
    features = rbm.transform(images)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.5 * features.nbytes


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("number", [0, -1, 2.5, np.nan, "many", None])
def test_bad_numbers_of_sweeps_and_samples_are_refused(kind, number, digits):
    images, _, labels, _ = digits
    rbm = kind(3, n_iter=0, random_state=0).fit(images, labels)
    some = [labels[:2]] if kind is LabelRBMClassifier else [2]
    for call in (lambda: rbm.gibbs(images[:2], sweeps=number), lambda: rbm.sample(*some, sweeps=number)):
        with pytest.raises(InputError, match="the number of Gibbs sweeps is .* at least 1$"):
            call()
    with pytest.raises(InputError, match="is .*at least 1$"):
        rbm.sample([] if kind is LabelRBMClassifier else number, sweeps=1)
    if kind is LabelRBMClassifier:
        with pytest.raises(ValueError, match="inconsistent numbers of samples"):
            rbm.free_energy(images, labels[:3])


@pytest.mark.parametrize("kind", [BinaryRBM, LabelRBMClassifier])
def test_bad_parameters_are_refused(kind):
    a, b, w = np.zeros(6), np.zeros(4), np.zeros((6, 4))
    rest = [["one", "other"]] if kind is LabelRBMClassifier else []
    for parameters, message in (
        ((a[:5], b, w), "have shapes"),
        ((a, b, w.T), "have shapes"),
        ((a, b, w[0]), "have shapes"),
        ((a + np.nan, b, w), "visible_layer_bias holds values that are not finite"),
        ((a, b, w + np.inf), "interaction_weight holds values that are not finite"),
        ((a, b.astype(int), w), "hidden_layer_bias holds int64 numbers"),
        ((a, b[:0], w[:, :0]), "6 visible and 0 hidden units"),
    ):
        with pytest.raises(InputError, match=message) as caught:
            kind.of(Parameters(*parameters), *rest)
        assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="momentum"):
        kind.of(Parameters(a, b, w), *rest, momentum=np.nan)


@pytest.mark.parametrize("classes", [[], ["a", "a"], list("abcdef"), [["a", "b"]], "a"])
def test_bad_classes_are_refused(classes):
    with pytest.raises(InputError, match="classes are .* all different"):
        LabelRBMClassifier.of(Parameters(np.zeros(6), np.zeros(4), np.zeros((6, 4))), classes)


def test_images_of_8_bits_are_learned_from(generator):
    """Values 0 and 1 are used as they are. Larger values are cut off with a warning."""
    images = (generator.random((30, 6)) < 0.5).astype(np.uint8)
    for kind in KINDS:
        one, other = (kind(3, n_iter=2, random_state=0).fit(x, images[:, 0]) for x in (images, images.astype(float)))
        assert_same(one, other)
        np.testing.assert_array_equal(one.transform(images), other.transform(images.astype(float)))
    with pytest.warns(PixelRangeWarning, match="MinMaxScaler"):
        BinaryRBM(3, n_iter=1).fit(255 * images)


def test_divergence_is_an_error():
    with pytest.raises(DivergenceError, match="lower learning_rate"), np.errstate(all="ignore"):
        BinaryRBM(5, momentum=3.0, n_iter=30, random_state=0).fit(np.eye(40))


@pytest.mark.slow
def test_a_grid_search_over_a_pipeline_in_two_processes(digits):
    images, _, labels, _ = digits
    images = 16 * images  # the scaler undoes this
    pipeline = Pipeline(
        [
            ("scale", MinMaxScaler()),
            ("rbm", BinaryRBM(60, random_state=0)),
            ("classify", LogisticRegression(max_iter=300)),
        ]
    )
    search = GridSearchCV(pipeline, {"rbm__learning_rate": [1e-6, 0.3]}, cv=2, n_jobs=2, error_score="raise")
    with warnings.catch_warnings():
        # The regression may not converge, and a fold may have pixels beyond the scaler's range.
        warnings.simplefilter("ignore")
        search.fit(images[:600], labels[:600])
    assert search.best_params_ == {"rbm__learning_rate": 0.3}
    assert search.best_score_ > 0.6  # each half has 300 images


@pytest.mark.parametrize("kind", KINDS)
def test_a_loaded_copy_learns_on_like_the_original(kind, tmp_path, digits):
    images, _, labels, _ = digits
    original = kind(10, momentum=0.5, random_state=3)
    rest = {"classes": np.arange(10)} if kind is LabelRBMClassifier else {}
    original.partial_fit(images[:50], labels[:50], **rest)
    joblib.dump(original, tmp_path / "rbm.joblib")
    copy = joblib.load(tmp_path / "rbm.joblib")
    assert clone(copy).get_params() == original.get_params() and not hasattr(clone(copy), "components_")
    for estimator in (original, copy):
        before = estimator.components_.copy()
        estimator.partial_fit(images[50:90], labels[50:90]).partial_fit(images[90:], labels[90:])
        assert (estimator.components_ != before).any()
    assert_same(original, copy)
    assert not any(isinstance(value, mx.nd.NDArray) for value in vars(original).values())


def test_pandas_frames(digits):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed (pip install '.[test]')")
    frame = pandas.DataFrame(digits[0][:30]).add_prefix("pixel")
    rbm = BinaryRBM(4, n_iter=1, random_state=0).set_output(transform="pandas").fit(frame)
    assert list(rbm.feature_names_in_) == list(frame.columns)
    features = rbm.transform(frame)
    assert list(features.columns) == list(rbm.get_feature_names_out()) == ["binaryrbm%d" % i for i in range(4)]
    with pytest.raises(ValueError, match="feature names"):
        rbm.transform(frame.rename(columns={"pixel0": "other"}))
    classifier = LabelRBMClassifier(4, n_iter=1, random_state=0).fit(frame, pandas.Series(digits[2][:30]))
    assert classifier.predict(frame).shape == (30,)


def test_a_seed_fixes_the_rbm_and_global_generators_do_not_advance(digits):
    images, _, labels, _ = digits
    mx.random.seed(11)
    expected = mx.nd.random.uniform(shape=3).asnumpy()
    mx.random.seed(11)
    numpy_state = pickle.dumps(np.random.get_state())
    for kind in KINDS:
        one, other, third = (kind(8, n_iter=1, random_state=seed).fit(images[:60], labels[:60]) for seed in (5, 5, 6))
        assert_same(one, other)
        assert (one.components_ != third.components_).any()
        argument = [labels[:4]] if kind is LabelRBMClassifier else [4, 10]
        drawn = one.sample(*argument)
        np.testing.assert_array_equal(drawn, other.sample(*argument))
        assert (drawn != one.sample(*argument)).any()  # the next call draws other samples
    assert pickle.dumps(np.random.get_state()) == numpy_state
    np.testing.assert_array_equal(mx.nd.random.uniform(shape=3).asnumpy(), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_sparse_and_dense_and_both_precisions_learn_the_same(kind, digits):
    images, _, labels, _ = digits
    images, labels = images[:130].astype(np.float32), labels[:130]  # exact in both precisions
    rbms = [
        kind(7, n_iter=2, random_state=0).fit(make(images), labels)
        for make in (np.asarray, sparse.csr_matrix, lambda x: x.astype(np.float64), np.asfortranarray)
    ]
    for other in rbms[1:]:
        assert_same(rbms[0], other)
    dtypes = [arrays.components_.dtype for arrays in rbms]
    assert dtypes == [np.float32, np.float32, np.float64, np.float32]
    for method in ("transform", "score_samples", "free_energy", "predict_proba"):
        if hasattr(kind, method):
            dense, thin = (getattr(rbms[0], method)(x) for x in (images, sparse.csr_matrix(images)))
            np.testing.assert_array_equal(dense, thin)


# --- BinaryRBM in place of BernoulliRBM -----------------------------------------------------------


def test_initial_parameters_equal_those_of_bernoulli_rbm(digits):
    ours, other = (
        kind(9, n_iter=0, random_state=4).fit(digits[0]) for kind in (BinaryRBM, neural_network.BernoulliRBM)
    )
    np.testing.assert_array_equal(ours.components_, other.components_)
    for name in ("intercept_visible_", "intercept_hidden_"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(other, name))
    assert ours.h_samples_.shape == other.h_samples_.shape
    assert ours.get_params().items() >= other.get_params().items()


def test_features_equal_those_of_bernoulli_rbm_and_free_energies_enumeration(generator):
    arrays = reference.random_rbm(6, 4, generator)
    grey = generator.random((50, 6))
    np.testing.assert_allclose(fitted(arrays).transform(grey), theirs(arrays).transform(grey), rtol=1e-12)
    visible = reference.states(6)
    expected = reference.free_energies(*arrays, visible)
    # Some free energies are sums near 0, so there is an absolute tolerance.
    np.testing.assert_allclose(fitted(arrays).free_energy(visible), expected, rtol=1e-12, atol=1e-13)


@pytest.mark.slow
def test_mean_pseudo_likelihood_equals_bernoulli_rbm_and_enumeration(generator):
    arrays = reference.random_rbm(5, 3, generator)
    ours, other, visible = fitted(arrays), theirs(arrays), reference.states(5)
    terms = np.empty((32, 5))  # 5 log p(v_i | all other v)
    for unit in range(5):
        flipped = visible.copy()
        flipped[:, unit] = 1 - flipped[:, unit]
        gap = reference.free_energies(*arrays, visible) - reference.free_energies(*arrays, flipped)
        terms[:, unit] = -5 * np.logaddexp(0, gap)
    scores = []
    for rbm in (ours, other):
        rounds = np.array([rbm.set_params(random_state=i).score_samples(visible) for i in range(2000)])
        distance = np.abs(rounds[:, :, None] - terms).min(axis=2)
        assert distance.max() < 1e-9
        error = rounds.std(axis=0) / np.sqrt(len(rounds))
        assert (np.abs(rounds.mean(axis=0) - terms.mean(axis=1)) < 6 * error + 1e-9).all()
        scores.append(rounds.mean())
    shuffled = generator.permutation(32)  # the score of a row does not depend on the other rows
    np.testing.assert_array_equal(ours.score_samples(visible[shuffled]), ours.score_samples(visible)[shuffled])
    assert scores[0] == pytest.approx(scores[1], abs=0.1)


@pytest.mark.slow
def test_a_teacher_is_recovered(engine, seed, generator):
    w = np.array([[3, 0], [3, 0], [-3, 3], [0, 3], [0, -3]], float)
    teacher = -w.sum(axis=1) / 2, -w.sum(axis=0) / 2, w  # every unit is on half of the time
    sample, _ = reference.draw_joint(*teacher, 20000, generator)
    target = reference.joint(*teacher).sum(axis=1)
    rbm = BinaryRBM(6, batch_size=500, k=2, random_state=seed, engine=engine)
    for rate in (1.0, 1.0, 1.0, 1.0, 1.0, 0.3, 0.1):
        rbm.set_params(learning_rate=rate)
        for _ in range(4):
            for start in range(0, len(sample), 500):
                rbm.partial_fit(sample[start : start + 500])
    learned = reference.joint(*parameters(rbm)).sum(axis=1)
    divergence = np.sum(target * np.log(target / learned))
    # The last number is the divergence of an RBM with independent units.
    assert divergence < 0.03 < 0.4 < np.sum(target * np.log(target * 32)), divergence


@pytest.mark.parametrize(
    "settings", [{"chains": "data"}, {"chains": "tempered"}, {"chains": "trajectory"}, {"centering": 0.01}]
)
def test_other_rules_learn_too(settings, engine, digits):
    images = digits[0][:500]
    rbm = BinaryRBM(20, batch_size=50, n_iter=15, random_state=0, engine=engine, **settings)
    untrained = clone(rbm).set_params(n_iter=0).fit(images).score_samples(images).mean()
    assert rbm.fit(images).score_samples(images).mean() > untrained + 10
    with pytest.raises(InputError, match="fit anew"):
        rbm.set_params(centering=0.0 if rbm.centering else 0.1).partial_fit(images)


def test_verbose_prints_the_same_as_bernoulli_rbm(capsys, digits):
    for kind in (BinaryRBM, neural_network.BernoulliRBM):
        kind(4, n_iter=2, verbose=1, random_state=0).fit(digits[0][:40])
        lines = capsys.readouterr().out.splitlines()
        pattern = r"\[%s\] Iteration \d, pseudo-likelihood = -\d+\.\d\d, time = \d\.\d\ds" % kind.__name__
        assert len(lines) == 2 and all(re.fullmatch(pattern, line) for line in lines)


def test_samples_have_the_enumerated_distribution(engine, generator, seed):
    arrays = reference.random_rbm(4, 3, generator, scale=0.7)
    probability = reference.joint(*arrays).sum(axis=1)
    rbm = fitted(arrays, engine=engine).set_params(random_state=seed)
    start, _ = reference.draw_joint(*arrays, 50000, generator)
    for samples in (rbm.sample(50000, sweeps=100), rbm.gibbs(start), rbm.gibbs(start, sweeps=3)):
        reference.assert_drawn_from(reference.state_index(samples), probability)
    assert rbm.gibbs(start).dtype == bool
    grey = rbm.sample(10, sweeps=10, prob=True)
    assert ((grey > 0) & (grey < 1)).all()


def test_the_likelihood_equals_enumeration(engine, generator, seed):
    arrays = reference.random_rbm(6, 4, generator)
    rbm = fitted(arrays, engine=engine).set_params(random_state=seed)
    sample, _ = reference.draw_joint(*arrays, 300, generator)
    exact = -reference.free_energies(*arrays, sample) - reference.log_z(*arrays)
    partition = rbm.log_partition(sample, num_distributions=200)
    # `low` and `high` are three standard errors away; 0.02 extends them to five.
    assert partition.low - 0.02 < reference.log_z(*arrays) < partition.high + 0.02
    likelihood = rbm.log_likelihood(sample, partition)
    assert likelihood.mean == pytest.approx(exact.mean() + reference.log_z(*arrays) - partition.log_z, abs=1e-5)
    assert likelihood.standard_error == pytest.approx(exact.std(ddof=1) / np.sqrt(300), rel=1e-4)
    assert (likelihood.num_images, likelihood.binary) == (300, True)
    with pytest.warns(ais.LikelihoodWarning, match="only 10 intermediate"):
        rbm.log_likelihood(sample, num_distributions=10)
    with pytest.warns(ais.LikelihoodWarning, match="grey-pixel"):
        assert not rbm.log_likelihood(sparse.csr_matrix(sample / 2), partition).binary


# --- LabelRBMClassifier ---------------------------------------------------------------------------


def test_class_probabilities_equal_enumeration(generator):
    arrays = a, b, w = reference.random_rbm(7, 4, generator)  # four pixels, three classes
    images = reference.states(4)
    joint = np.array(
        [-reference.free_energies(*arrays, np.hstack([images, np.tile(one, (16, 1))])) for one in np.eye(3)]
    ).T
    expected = np.exp(joint - np.logaddexp.reduce(joint, axis=1, keepdims=True))
    classifier = LabelRBMClassifier(4, n_iter=0, random_state=0).fit(images[:3], ["c", "a", "b"])
    classifier.intercept_visible_, classifier.intercept_hidden_, classifier.components_ = a, b, w.T
    assert list(classifier.classes_) == ["a", "b", "c"]
    np.testing.assert_allclose(classifier.predict_proba(images), expected, rtol=1e-10)
    np.testing.assert_allclose(classifier.predict_log_proba(images), np.log(expected), rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(classifier.predict(images), np.array(["a", "b", "c"])[expected.argmax(axis=1)])


@pytest.mark.slow
def test_a_joint_rbm_equals_enumeration_with_one_label_unit_on(generator, engine, seed):
    a, b, w = arrays = reference.random_rbm(6, 3, generator, scale=0.7)  # four pixels, two classes
    joint = reference.joint(*arrays)
    # p(x, y): a row for each state of the pixels, a column for each class.
    probability = reference.given(joint, groups=[(4, 6)]).sum(axis=1).reshape(16, 4)[:, [2, 1]]
    log_z = reference.log_z(*arrays) + np.log(joint.reshape(16, 4, 8)[:, [2, 1]].sum())
    classifier = LabelRBMClassifier.of(Parameters(*arrays), ["first", "second"], random_state=seed, engine=engine)
    pixels, labels = reference.states(4), np.array(["first", "second"])
    marginal = np.log(probability.sum(axis=1))
    np.testing.assert_allclose(classifier.score_samples(pixels) - log_z, marginal, atol=1e-5)
    for number, label in enumerate(labels):
        scores = -classifier.free_energy(pixels, [label] * 16) - log_z
        np.testing.assert_allclose(scores, np.log(probability[:, number]), atol=1e-5)
    posterior = probability / probability.sum(axis=1, keepdims=True)
    hidden = [reference.sigmoid(b + pixels @ w[:4] + w[4 + y]) for y in (0, 1)]
    expected = posterior[:, :1] * hidden[0] + posterior[:, 1:] * hidden[1]
    np.testing.assert_allclose(classifier.transform(pixels), expected, rtol=1e-5)
    partition = classifier.log_partition(pixels, num_chains=500, num_distributions=200)
    assert partition.low - 0.02 < log_z < partition.high + 0.02
    likelihood = classifier.log_likelihood(pixels, np.repeat("second", 16), partition)
    assert likelihood.mean == pytest.approx(np.log(probability[:, 1]).mean() + log_z - partition.log_z, abs=1e-5)
    start = pixels[generator.choice(16, 40000, p=probability.sum(axis=1))]
    for samples in (classifier.gibbs(start), classifier.gibbs(start, sweeps=3)):
        reference.assert_drawn_from(reference.state_index(samples), probability.sum(axis=1))
    drawn = classifier.sample(np.repeat(labels, 20000), sweeps=30)
    for number in (0, 1):
        given = probability[:, number] / probability[:, number].sum()
        reference.assert_drawn_from(reference.state_index(drawn[20000 * number :][:20000]), given)


def test_momentum_and_weight_decay_follow_their_formula(generator):
    """The discriminative gradient is exact, so differences of the loss predict each step."""
    images, numbers = generator.random((6, 4)), np.array([0, 1, 2, 2, 1, 0])
    settings = {"objective": "discriminative", "momentum": 0.7, "weight_decay": 0.1, "learning_rate": 0.2}
    classifier = LabelRBMClassifier(3, random_state=0, **settings)
    arrays, velocity = None, [0, 0, 0]
    for _ in range(4):
        classifier.partial_fit(images, numbers, classes=range(3))
        if arrays is not None:
            for index, gradient in enumerate(loss_gradients(arrays, images, numbers)):
                gradient += (0.1 * arrays[2]) if index == 2 else 0
                velocity[index] = 0.7 * velocity[index] - 0.2 * gradient
                np.testing.assert_allclose(parameters(classifier)[index], arrays[index] + velocity[index], atol=2e-6)
        else:
            start = LabelRBMClassifier(3, n_iter=0, random_state=0).fit(images, numbers)
            velocity = [now - then for now, then in zip(parameters(classifier), parameters(start))]
        arrays = [array.copy() for array in parameters(classifier)]


def loss_gradients(arrays, images, numbers, step=1e-5):
    """Gradients of the mean of -log p(y | x), by central differences."""

    def loss(arrays):
        scores = np.array(
            [-reference.free_energies(*arrays, np.hstack([images, np.tile(one, (6, 1))])) for one in np.eye(3)]
        ).T
        return np.mean(np.logaddexp.reduce(scores, axis=1) - scores[np.arange(6), numbers])

    gradients = []
    for index, array in enumerate(arrays):
        gradient = np.zeros_like(array)
        for place in np.ndindex(array.shape):
            values = []
            for sign in (1, -1):
                moved = [other.copy() for other in arrays]
                moved[index][place] += sign * step
                values.append(loss(moved))
            gradient[place] = (values[0] - values[1]) / (2 * step)
        gradients.append(gradient)
    return gradients


@pytest.mark.parametrize("objective", slow_but(["hybrid", "discriminative", "generative"], "discriminative"))
def test_digits_are_classified_and_drawn(objective, digits):
    train, test, train_labels, test_labels = digits
    names = np.array(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"])
    settings = {"batch_size": 20, "n_iter": 20}
    if objective == "generative":
        settings = dict(learning_rate=0.1, momentum=0.0, centering=0.01, batch_size=50, n_iter=30, k=5)
    classifier = LabelRBMClassifier(100, objective=objective, random_state=0, **settings)
    classifier.fit(train, names[train_labels])
    # Accuracies over seeds: 0.96 to 0.98; generative 0.88. Of the images that the generative RBM
    # draws, 0.64 to 0.84 belong to the requested class.
    assert classifier.score(test, names[test_labels]) > (0.83 if objective == "generative" else 0.94)
    assert set(classifier.predict(test)) == set(names)
    drawn = classifier.sample(np.repeat(names, 5), sweeps=200)
    assert drawn.shape == (50, 64) and np.isin(drawn, (0, 1)).all()
    if objective == "generative":
        assert classifier.score(classifier.sample(np.repeat(names, 5), 200, prob=True), np.repeat(names, 5)) > 0.4


def test_unknown_classes_are_refused(digits):
    images, _, labels, _ = digits
    classifier = LabelRBMClassifier(5, n_iter=1, random_state=0)
    with pytest.raises(ValueError, match="classes must be passed"):
        classifier.partial_fit(images, labels)
    with pytest.raises(ValueError, match="there is no class 7"):
        classifier.partial_fit(images, labels * 0 + 7, classes=[1, 2])
    classifier.partial_fit(images[labels < 5], labels[labels < 5], classes=range(10))
    assert classifier.predict_proba(images).shape == (len(images), 10)
    with pytest.raises(ValueError, match="there is no class 'x'"):
        classifier.sample(["x"])
    with pytest.raises(ValueError, match="an earlier call"):
        classifier.partial_fit(images, labels, classes=range(11))
    with pytest.raises(InputError, match="of no effect"):
        LabelRBMClassifier(objective="discriminative", centering=0.1).fit(images, labels)


# --- MultinaryRBM ---------------------------------------------------------------------------------


def test_with_maximum_1_it_equals_the_binary_rbm(generator):
    arrays = reference.random_rbm(5, 3, generator)
    binary, multinary, grey = fitted(arrays), fitted(arrays, MultinaryRBM, maximum=1), generator.random((20, 5))
    np.testing.assert_allclose(multinary.transform(grey), binary.transform(grey), rtol=1e-10)
    np.testing.assert_allclose(multinary.free_energy(grey), binary.free_energy(grey), rtol=1e-10, atol=1e-13)


def test_units_of_several_values_equal_enumerated_copies_of_binary_units(generator, seed):
    """Two visible and two hidden units with values 0, 1, 2 equal four of each with values 0, 1."""
    a, b, w = reference.random_rbm(2, 2, generator, scale=0.5)
    rbm = fitted((a, b, w), MultinaryRBM, maximum=2, slope=1.0).set_params(random_state=seed)
    copies = (np.repeat(a, 2), np.repeat(b, 2), np.repeat(np.repeat(w, 2, axis=0), 2, axis=1))
    probability = np.zeros((3, 3))
    for state, share in zip(reference.states(4), reference.joint(*copies).sum(axis=1)):
        probability[int(state[:2].sum()), int(state[2:].sum())] += share
    values = np.array([(i, j) for i in range(3) for j in range(3)]) / 2
    scores = rbm.score_samples(values)
    np.testing.assert_allclose(scores - reference.log_z(*copies), np.log(probability.ravel()), rtol=1e-8, atol=1e-8)
    partition = rbm.log_partition(num_distributions=200)
    assert partition.low - 0.02 < reference.log_z(*copies) < partition.high + 0.02
    likelihood = rbm.log_likelihood(values, partition)
    assert likelihood.mean == pytest.approx(scores.mean() - partition.log_z) and likelihood.binary
    start = values[generator.choice(9, 40000, p=probability.ravel())]
    for samples in (rbm.gibbs(start), rbm.sample(40000, sweeps=60)):
        index = (6 * samples[:, 0] + 2 * samples[:, 1]).round().astype(int)
        reference.assert_drawn_from(index, probability.ravel())


def test_a_likelihood_of_too_many_values_is_refused(digits):
    rbm = MultinaryRBM(100, n_iter=0, random_state=0).fit(digits[0])
    with pytest.raises(InputError, match="65025 x 65025 weights"):
        rbm.log_partition()


@pytest.mark.parametrize("maximum", [1, 255])
def test_digits_are_reconstructed(maximum, digits, capsys):
    rbm = MultinaryRBM(60, maximum=maximum, n_iter=12, random_state=0, learning_rate=0.01, verbose=1).fit(digits[0])
    errors = [float(line.split("error = ")[1].split(",")[0]) for line in capsys.readouterr().out.splitlines()]
    assert len(errors) == 12 and errors[-1] < 0.05 < 0.07 < errors[0]
    features = rbm.transform(digits[1])
    assert features.shape == (len(digits[1]), 60) and 0 <= features.min() < features.max() <= 1


# --- Only NumPy arrays ----------------------------------------------------------------------------


def test_the_native_engine_serves_where_it_is_built(digits):
    """The native engine and MXNet's operators draw different noise."""
    first, second = (BinaryRBM(5, n_iter=1, random_state=0, engine=e).fit(digits[0]) for e in ("auto", "mxnet"))
    assert (first.components_ != second.components_).any() == bool(native.available())


def test_a_pickle_holds_only_numpy_arrays(digits):
    names = set()

    class Reader(pickle.Unpickler):
        def find_class(self, module, name):
            names.add(module.partition(".")[0])
            return super().find_class(module, name)

    rbm = BinaryRBM(5, n_iter=1, random_state=0).fit(digits[0][:50])
    Reader(io.BytesIO(pickle.dumps(rbm))).load()
    assert names <= {"gluon_rbm", "numpy", "builtins", "_codecs", "copyreg"}
