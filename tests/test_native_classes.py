"""Sums and means over the classes of a label, with each instruction set of this processor."""

import numpy as np
import pytest
from marks import slow_but

from gluon_rbm.backend import native
from gluon_rbm.backend.native import classes, learning
from gluon_rbm.errors import InputError

pytestmark = pytest.mark.skipif(not native.available(), reason="native Gibbs engine " + repr(native.available()))

_SETS = native.features()["instruction_sets"] if native.available() else [None]
SIZES = [(1, 1, 1), (80, 10, 130), (37, 3, 64), (0, 2, 5)]  # rows, classes, hidden units


@pytest.fixture(params=slow_but(_SETS, _SETS[-1]))
def instruction_set(request):
    return request.param


def normal(generator, *shape):
    return generator.normal(0, 3, shape).astype(np.float32)


def of_threads(function, instruction_set):
    """The result of a function, which is the same bit by bit for any number of threads."""
    first, *others = (function(num_threads=number, instruction_set=instruction_set) for number in (1, 2, 3))
    for other in others:
        np.testing.assert_array_equal(other, first)
    return first


@pytest.mark.parametrize("rows, num_classes, num_hidden", SIZES)
def test_against_numpy(instruction_set, generator, rows, num_classes, num_hidden):
    inputs, weight = normal(generator, rows, num_hidden), normal(generator, num_classes, num_hidden)
    slope = normal(generator, rows, num_classes)
    o = inputs[:, None].astype(float) + weight
    sums = of_threads(lambda **how: classes.class_sums(inputs, weight, **how), instruction_set)
    # A summand is softplus(o) - log 2 in float32. Its error is relative to log 2, even if
    # softplus(o) is small.
    np.testing.assert_allclose(sums, np.logaddexp(0, o).sum(axis=2), rtol=1e-6, atol=2e-7 * num_hidden)
    parts = slope[:, :, None] / (1 + np.exp(-o))
    hidden = of_threads(lambda **how: classes.class_means(inputs, weight, slope, **how)[0], instruction_set)
    labels = of_threads(lambda **how: classes.class_means(inputs, weight, slope, **how)[1], instruction_set)
    np.testing.assert_allclose(hidden, parts.sum(axis=1), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(labels, parts.sum(axis=0), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("num_hidden", [1, 100, 130])
def test_rows_with_classes_of_their_own(instruction_set, generator, num_hidden):
    """Results equal those of each group of rows alone, bit by bit. Classes without rows get 0."""
    first = np.repeat([0, 4, 7, 20], [3, 1, 0, 6])
    inputs, weight, slope = (
        normal(generator, 10, num_hidden),
        normal(generator, 30, num_hidden),
        normal(generator, 10, 4),
    )
    groups = first, 4
    sums = of_threads(lambda **how: classes.class_sums(inputs, weight, groups, **how), instruction_set)
    means = classes.class_means(inputs, weight, slope, groups, num_threads=1, instruction_set=instruction_set)
    others = classes.class_means(inputs, weight, slope, groups, num_threads=3, instruction_set=instruction_set)
    for one, other in zip(means, others):
        np.testing.assert_array_equal(one, other)
    expected = np.zeros_like(weight)
    for start in (0, 4, 20):
        rows, own, how = first == start, weight[start : start + 4], {"instruction_set": instruction_set}
        np.testing.assert_array_equal(sums[rows], classes.class_sums(inputs[rows], own, **how))
        hidden, expected[start : start + 4] = classes.class_means(inputs[rows], own, slope[rows], **how)
        np.testing.assert_array_equal(means[0][rows], hidden)
    np.testing.assert_array_equal(means[1], expected)


def test_wrong_classes_of_rows_are_refused():
    inputs, weight, slope = np.zeros((2, 3)), np.zeros((5, 3)), np.zeros((2, 4))
    for first in ([0, 2], [-1, 0]):
        with pytest.raises(InputError, match="first must be at least 0, and leave 4 classes"):
            classes.class_sums(inputs, weight, (np.array(first), 4))
    with pytest.raises(InputError, match="in the order of their first classes"):
        classes.class_means(inputs, weight, slope, (np.array([1, 0]), 4))


def test_the_hidden_input(instruction_set, generator):
    weight, visible_bias, hidden_bias = normal(generator, 70, 40), normal(generator, 70), normal(generator, 40)
    visible = generator.random((20, 70)).astype(np.float32)
    found = of_threads(
        lambda **how: learning.hidden_input(weight, visible_bias, hidden_bias, visible, **how), instruction_set
    )
    np.testing.assert_allclose(found, visible.astype(float) @ weight + hidden_bias, rtol=1e-5, atol=1e-4)


def test_extreme_inputs(instruction_set):
    """A unit that is certainly on counts as 1, a unit that is certainly off as 0. NaN stays NaN."""
    inputs, weight = np.array([[1e4, -1e4, 0], [np.nan, 0, 0]], np.float32), np.zeros((2, 3), np.float32)
    sums = classes.class_sums(inputs, weight, instruction_set=instruction_set)
    np.testing.assert_allclose(sums[0], 1e4 + np.log(2), rtol=1e-6)
    hidden, labels = classes.class_means(inputs, weight, np.ones((2, 2)), instruction_set=instruction_set)
    np.testing.assert_allclose(hidden[0], [2, 0, 1], atol=1e-37)
    assert np.isnan(sums[1]).all() and np.isnan(hidden[1, 0]) and (hidden[1, 1:] == 1).all()
    assert np.isnan(labels[:, 0]).all() and np.isfinite(labels[:, 1:]).all()


@pytest.mark.parametrize(
    "name, shapes",
    [
        ("label_weight", ((4, 3), (2, 4), (4, 2))),
        ("slope", ((4, 3), (2, 3), (3, 2))),
        ("hidden_input", ((4,), (2, 4), (4, 2))),
    ],
)
def test_wrong_shapes_are_refused(name, shapes):
    with pytest.raises(InputError, match="^%s has shape" % name):
        classes.class_means(*(np.zeros(shape, np.float32) for shape in shapes))
