"""Classifiers of features and of images: `gluon_rbm.evaluation.classifier`."""

import numpy as np
import pytest
from marks import slow_but
from sklearn.datasets import load_digits
from sklearn.multiclass import OneVsRestClassifier
from sklearn.svm import SVC

from gluon_rbm.data import datasets
from gluon_rbm.data.batches import to_visible
from gluon_rbm.errors import InputError
from gluon_rbm.evaluation import classifier, support_vectors
from gluon_rbm.evaluation.scaling import CommonScale


@pytest.fixture(scope="module")
def digits():
    return datasets.load("digits")


@pytest.fixture(scope="module")
def trained(digits):
    return classifier.train_independent_classifier(digits)


@pytest.fixture
def features(generator):
    """Digits in random order: 600 images and labels to learn from, and all others."""
    images, labels = load_digits(return_X_y=True)
    order = generator.permutation(len(labels))
    images, labels = images[order], labels[order]
    return (images[:600], labels[:600]), (images[600:], labels[600:])


# --- Classifiers of images ------------------------------------------------------------------------


def test_the_classifier_of_images_knows_digits(trained, digits):
    # Measured: 97 %. No random numbers are drawn, so only another scikit-learn could change this.
    assert trained.accuracy > 0.95 and trained.num_classes == 10
    assert (trained.num_training_images, trained.num_test_images) == (1437, 360)
    test = to_visible(digits.test_images, digits.maximum)
    assert (trained.classes(test) == digits.test_labels).mean() == trained.accuracy


def test_fractions_count_classes(trained, digits):
    threes = to_visible(digits.train_images[digits.train_labels == 3], digits.maximum)
    fractions = trained.class_fractions(threes)
    assert fractions.shape == (10,) and fractions.sum() == pytest.approx(1) and fractions[3] > 0.98
    fraction, error = trained.fraction_as_asked(threes, 3)
    assert fraction == fractions[3] and error == pytest.approx(np.sqrt(fraction * (1 - fraction) / len(threes)))
    assert trained.fraction_as_asked(threes, np.full(len(threes), 4))[0] == fractions[4]


def test_training_again_gives_the_same_classifier(digits):
    few, again = (classifier.train_independent_classifier(digits, 200) for _ in range(2))
    test = to_visible(digits.test_images, digits.maximum)
    assert few.num_training_images == 200
    np.testing.assert_array_equal(few.classes(test), again.classes(test))


def test_images_without_labels_are_refused(tmp_path):
    np.save(tmp_path / "images.npy", np.zeros((20, 4, 4)))
    with pytest.raises(InputError, match="have no labels"):
        classifier.train_independent_classifier(datasets.load(str(tmp_path / "images.npy")))


# --- Classifiers of features ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", slow_but(classifier.KINDS, "pca-svm", "linear-svm", "logistic"))
def test_each_kind_classifies_digits_and_is_reproducible(features, kind):
    (train, labels), (test, test_labels) = features
    first, second = (classifier.train_classifier(train, labels, kind, seed=3).predict(test) for _ in range(2))
    assert (first == test_labels).mean() > 0.85
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("kind", classifier.KINDS)
def test_one_class_is_refused(features, kind):
    (train, labels), _ = features
    with pytest.raises(InputError, match="one class"):
        classifier.train_classifier(train[labels == 3], labels[labels == 3], kind)


def test_an_unknown_kind_is_refused(features):
    (train, labels), _ = features
    with pytest.raises(InputError, match="no classifier 'svm'; choose one of pca-svm, linear-svm, rbf-svm, logistic"):
        classifier.train_classifier(train, labels, "svm")


@pytest.mark.parametrize("total", [False, True])
def test_the_common_scale(generator, total):
    rows = (5 + generator.normal(size=(300, 4)) * [1, 2, 3, 4]).astype(np.float32)
    scaled = CommonScale(total).fit_transform(rows)
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-5)
    variance = scaled.var(axis=0)
    assert (variance.sum() if total else variance.mean()) == pytest.approx(1, rel=1e-4)
    np.testing.assert_allclose(variance / variance[0], rows.var(axis=0) / rows[:, 0].var(), rtol=1e-4)


def test_constant_features_are_accepted(features):
    (_, labels), _ = features
    same = np.ones((600, 3), np.float32)
    assert np.isfinite(CommonScale().fit_transform(same)).all()
    assert len(classifier.train_classifier(same, labels, "rbf-svm").predict(same)) == 600


# --- Support vector machines ----------------------------------------------------------------------


@pytest.mark.parametrize("at_once", [15000, 200, 10], ids=["all-rows", "pairs", "no-rows"])
@pytest.mark.parametrize("kernel, one_vs_rest", [("linear", False), ("rbf", False), ("rbf", True)])
def test_settings_are_chosen_on_held_out_rows(features, generator, monkeypatch, kernel, one_vs_rest, at_once):
    """C and gamma are chosen on held-out rows, then a support vector machine learns from all rows.

    scikit-learn's `SVC` on rows scaled by hand gives the same results. With `at_once`, the kernel
    of all rows, of the rows of two classes, or of no rows is computed at once.
    """
    monkeypatch.setattr(support_vectors, "_ROWS", at_once)
    train, test = features
    rows = support_vectors.split_held_out(train[1], generator)
    found = support_vectors.evaluate_svm(kernel, train, test, rows, one_vs_rest=one_vs_rest)

    counts = []

    def fitted(settings, images, labels):
        mean, scale = images.mean(axis=0), np.sqrt(images.var(axis=0).sum())
        svm = SVC(kernel=kernel, break_ties=not one_vs_rest, **settings)
        svm = OneVsRestClassifier(svm) if one_vs_rest else svm
        svm.fit((images - mean) / scale, labels)
        counts.append(sum(len(each.support_) for each in (svm.estimators_ if one_vs_rest else [svm])))
        return lambda others: svm.predict((others - mean) / scale)

    fit, held_out = rows
    for settings, trial in zip(support_vectors.GRIDS[kernel], found.trials):
        predict = fitted(settings, train[0][fit], train[1][fit])
        error = (predict(train[0][held_out]) != train[1][held_out]).mean()
        assert trial == {**settings, "error": pytest.approx(error)}
    best = min(found.trials, key=lambda trial: trial["error"])
    assert {**found.settings, "error": best["error"]} == best
    predict = fitted(found.settings, *train)
    np.testing.assert_array_equal(found.wrong, predict(test[0]) != test[1])
    error = found.wrong.mean()
    assert found.error == pytest.approx(error) and error < 0.06
    assert found.standard_error == pytest.approx(np.sqrt(error * (1 - error) / len(test[1])))
    shares = np.bincount(test[1], found.wrong) / np.bincount(test[1])
    assert found.class_error == pytest.approx(shares.mean())
    assert found.num_support_vectors == counts[-1]
    assert 0 < found.num_support_vectors <= 600 * (10 if one_vs_rest else 1)


def test_settings_beyond_the_edges():
    """The next value continues the ratio of the two outermost values.

    If the best setting is inside the grid, there is no next value.
    """

    def trials(best):
        grid = [{"C": cost, "gamma": gamma} for cost in (2.0, 10.0, 50.0) for gamma in (1.0, 2.0, 4.0)]
        return [{**settings, "error": 0.1 if settings == best else 0.2} for settings in grid]

    assert support_vectors._beyond(trials({"C": 10.0, "gamma": 2.0})) == []
    assert support_vectors._beyond(trials({"C": 50.0, "gamma": 2.0})) == [{"C": 250.0, "gamma": 2.0}]
    corner = support_vectors._beyond(trials({"C": 2.0, "gamma": 4.0}))
    assert corner == [{"C": 0.4, "gamma": 4.0}, {"C": 2.0, "gamma": 8.0}]


def test_the_search_goes_on_beyond_an_edge(features, generator, monkeypatch):
    """The search starts with gammas that are far too small and finds a good one."""
    monkeypatch.setitem(support_vectors.GRIDS, "rbf", [{"C": 10.0, "gamma": gamma} for gamma in (1e-4, 1e-3)])
    train, test = features
    found = support_vectors.evaluate_svm("rbf", train, test, support_vectors.split_held_out(train[1], generator))
    tried = [trial["gamma"] for trial in found.trials]
    np.testing.assert_allclose(tried[:4], [1e-4, 1e-3, 1e-2, 1e-1])
    assert found.settings["gamma"] > 1e-3 and found.error < 0.1


def test_test_images_do_not_affect_the_settings(features, generator):
    train, test = features
    rows = support_vectors.split_held_out(train[1], generator)
    honest, other = (
        support_vectors.evaluate_svm("rbf", train, (test[0], labels), rows) for labels in (test[1], np.roll(test[1], 1))
    )
    assert (honest.settings, honest.trials) == (other.settings, other.trials) and honest.error < other.error


def test_threads_change_nothing(features, generator):
    train, test = features
    rows = support_vectors.split_held_out(train[1], generator)
    one, two = (support_vectors.evaluate_svm("rbf", train, test, rows, num_threads) for num_threads in (1, 2))
    assert one.trials == two.trials
    np.testing.assert_array_equal(one.wrong, two.wrong)


def test_a_fifth_is_held_out_and_never_more_than_ten_thousand(generator):
    for count, expected in ((100, (80, 20)), (30000, (10000, 6000)), (60000, (10000, 10000))):
        fit, held_out = support_vectors.split_held_out(generator.integers(0, 2, count), generator)
        assert (len(fit), len(held_out)) == expected
        assert len(np.unique(np.concatenate([fit, held_out]))) == sum(expected)


def test_the_standard_error_of_a_difference_is_paired(generator):
    """With McNemar's counts b and c, the standard error is sqrt(b + c - (b - c)^2 / n) / n."""
    ours, theirs = generator.random((2, 1000)) < [[0.1], [0.2]]
    b, c = (ours & ~theirs).sum(), (theirs & ~ours).sum()
    difference, error = support_vectors.mean_and_error(ours.astype(int) - theirs)
    assert difference == pytest.approx((b - c) / 1000)
    assert error == pytest.approx(np.sqrt(b + c - (b - c) ** 2 / 1000) / 1000)


@pytest.mark.parametrize("count", [4, 6])
def test_too_few_images_to_hold_some_out_are_refused(count, seed):
    labels = np.zeros(count, int)
    # Of 6 images, the only one with label 1 is held out.
    labels[np.random.default_rng(seed).permutation(count)[0]] = 1
    with pytest.raises(InputError, match="too few"):
        support_vectors.split_held_out(labels, np.random.default_rng(seed))
