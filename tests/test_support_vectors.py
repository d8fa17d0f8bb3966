"""Support vector machines by pairs of classes, against scikit-learn's own."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.svm import SVC
from sklearn.utils.multiclass import _ovr_decision_function

from gluon_rbm.errors import InputError
from gluon_rbm.evaluation import support_vectors
from gluon_rbm.evaluation.support_vectors import SupportVectorMachine


@pytest.fixture
def digits(generator):
    images, labels = load_digits(return_X_y=True)
    order = generator.permutation(len(labels))
    return images[order[:600]], labels[order[:600]], images[order[600:]], labels[order[600:]]


def total_variance(features):
    return features.var(axis=0).sum()


@pytest.mark.parametrize("kernel", support_vectors.KERNELS)
@pytest.mark.parametrize("num_classes", [2, 3, 10])
def test_it_is_the_machine_of_scikit_learn(digits, kernel, num_classes):
    """float64 and a tight tolerance of libsvm's: decision values to 1e-6, and all classes alike, ties or not."""
    features, labels, test, _ = digits
    features, labels = features[labels < num_classes], labels[labels < num_classes]
    ours = SupportVectorMachine(kernel, C=3, gamma=0.7, tol=1e-9).fit(features, labels)
    # On the same scale: libsvm keeps kernels in float32, whose rounding is another one for features on another.
    mean, deviation = features.mean(axis=0), np.sqrt(total_variance(features))
    scaled, test_scaled = (features - mean) / deviation, (test - mean) / deviation
    theirs = SVC(kernel=kernel, C=3, gamma=0.7, tol=1e-9, decision_function_shape="ovo").fit(scaled, labels)
    values = theirs.decision_function(test_scaled)
    values = values[:, None] if num_classes == 2 else -values  # with two classes only, theirs is that of the second
    np.testing.assert_allclose(ours.decision_function(test), values, atol=1e-6)
    if num_classes > 2:
        theirs.set_params(decision_function_shape="ovr", break_ties=True)
    assert (ours.predict(test) == theirs.predict(test_scaled)).all()
    assert ours.num_support_vectors_ == len(theirs.support_)


def test_ties_are_broken_by_confidence(generator):
    """Three classes around a centre: in the triangle between the three lines each machine votes for another class.

    By the same decision values, not those of an `SVC` fitted here: where no support vector lies on the margin, the
    optimum leaves an interval of intercepts, and libsvm takes one of it by the last bits of its kernel.
    """
    angles = 2 * np.pi * np.repeat(np.arange(3), 20) / 3
    features = np.stack([np.cos(angles), np.sin(angles)], axis=1) + generator.normal(scale=0.5, size=(60, 2))
    labels = np.repeat([7, 2, 5], 20)  # any numbers, in any order
    machine = SupportVectorMachine("linear", C=1).fit(features, labels)
    at_origin, *along = machine.decision_function(np.array([[0, 0], [1, 0], [0, 1]]))
    lines = np.transpose(along - at_origin)
    corners = [np.linalg.solve(lines[pair], -at_origin[pair]) for pair in ([0, 1], [0, 2], [1, 2])]
    test = np.concatenate([generator.dirichlet(np.ones(3), 500) @ corners, generator.normal(size=(500, 2))])
    values = machine.decision_function(test)  # of the pairs (0, 1), (0, 2), (1, 2)
    inside = values[:500] > 0
    assert (inside == [False, True, False]).all() or (inside == [True, False, True]).all()
    expected = np.argmax(_ovr_decision_function(values > 0, values, 3), axis=1)  # what SVC and OneVsOneClassifier do
    np.testing.assert_array_equal(machine.predict(test), machine.classes_[expected])


def test_single_precision_and_threads_change_little(digits):
    features, labels, test, test_labels = digits
    double = SupportVectorMachine(C=10, gamma=1).fit(features, labels)
    single = SupportVectorMachine(C=10, gamma=1, n_jobs=2).fit(features.astype("float32"), labels)
    assert single.support_vectors_.dtype == np.float32
    # libsvm stops within 1e-3 of the optimum, both ways
    np.testing.assert_allclose(single.decision_function(test), double.decision_function(test), atol=5e-3)
    assert single.score(test, test_labels) > 0.97
    again = SupportVectorMachine(C=10, gamma=1).fit(features.astype("float32"), labels)
    np.testing.assert_array_equal(again.decision_function(test), single.decision_function(test))


def test_scale_and_shift_of_features_change_nothing(digits):
    features, labels, test, _ = digits
    plain = SupportVectorMachine(tol=1e-9).fit(features, labels).decision_function(test)
    moved = SupportVectorMachine(tol=1e-9).fit(255 * features - 40, labels).decision_function(255 * test - 40)
    np.testing.assert_allclose(moved, plain, atol=1e-6)


def test_machines_fitted_together_are_those_fitted_alone(digits):
    features, labels, test, _ = digits
    settings = [{"kernel": "linear", "C": 1}, {"C": 2, "gamma": 0.5}, {"C": 10, "gamma": 2}]
    together = [SupportVectorMachine(**setting) for setting in settings]
    support_vectors.fit_together(together, features, labels)
    for machine, setting in zip(together, settings):
        alone = SupportVectorMachine(**setting).fit(features, labels)
        np.testing.assert_array_equal(machine.decision_function(test), alone.decision_function(test))


def test_evaluation_of_pixels(digits, generator):
    features, labels, test, test_labels = digits
    found = support_vectors.evaluate(["linear", "rbf"], features, labels, test, test_labels, generator)
    for kernel, evaluation in found.items():
        assert len(evaluation.trials) == len(support_vectors.GRIDS[kernel])
        best = min(evaluation.trials, key=lambda trial: trial["error"])
        assert {**evaluation.settings, "error": best["error"]} == best
        machine = SupportVectorMachine(kernel, **evaluation.settings).fit(features, labels)
        assert (evaluation.wrong == (machine.predict(test) != test_labels)).all()
        assert evaluation.num_support_vectors == machine.num_support_vectors_
        error = evaluation.wrong.mean()
        assert evaluation.error == pytest.approx(error) and error < 0.06
        assert evaluation.standard_error == pytest.approx(np.sqrt(error * (1 - error) / len(test)))


def test_test_images_are_not_looked_at_to_choose(digits):
    features, labels, test, test_labels = digits
    honest, other = (
        support_vectors.evaluate(["rbf"], features, labels, test, given, np.random.default_rng(1))["rbf"]
        for given in (test_labels, np.roll(test_labels, 1))
    )
    assert (honest.settings, honest.trials) == (other.settings, other.trials) and honest.error < other.error


def test_standard_error_of_a_difference_is_the_paired_one(generator):
    """That of McNemar's counts b and c: sqrt(b + c - (b - c)^2 / n) / n."""
    ours, theirs = generator.random((2, 1000)) < [[0.1], [0.2]]
    b, c = (ours & ~theirs).sum(), (theirs & ~ours).sum()
    difference, error = support_vectors.mean_and_error(ours.astype(int) - theirs)
    assert difference == pytest.approx((b - c) / 1000)
    assert error == pytest.approx(np.sqrt(b + c - (b - c) ** 2 / 1000) / 1000)


def test_constant_features_do_no_harm(digits):
    features, labels, test, _ = digits
    machine = SupportVectorMachine().fit(np.ones((600, 3)), labels)
    assert np.isfinite(machine.decision_function(np.ones((4, 3)))).all()


@pytest.mark.parametrize("count", [4, 6])
def test_too_few_to_hold_some_out_are_refused(count, seed):
    labels = np.zeros(count, int)
    labels[np.random.default_rng(seed).permutation(count)[0]] = 1  # of 6 images it is the one that is held out
    with pytest.raises(InputError, match="too few"):
        support_vectors.evaluate(["linear"], np.eye(count), labels, None, None, np.random.default_rng(seed))


def test_one_class_is_refused(digits):
    features, labels, *_ = digits
    with pytest.raises(InputError, match="one class"):
        SupportVectorMachine().fit(features[labels == 3], labels[labels == 3])
