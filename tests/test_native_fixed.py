"""The native engine with weights of 16 bits, with each instruction set of this processor."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import reference
from marks import slow_but
from test_native import CHAIN_COUNTS, DRAWS, assert_distribution, joint_index, ordered

from gluon_rbm.backend import native
from gluon_rbm.backend.native import learning

pytestmark = pytest.mark.skipif(not native.available(), reason="native Gibbs engine " + repr(native.available()))

WORD = 32
_SETS = native.features()["instruction_sets"] if native.available() else [None]


@pytest.fixture(params=slow_but(_SETS, _SETS[-1]))
def instruction_set(request):
    return request.param


def some_parameters(num_visible, num_hidden, generator):
    """W, a, b. Weights are multiples of 2^-10, so float32 adds them exactly. A few are large."""
    weight = generator.integers(-512, 513, size=(num_visible, num_hidden))
    weight[generator.random(weight.shape) < 0.01] *= 8
    biases = (generator.normal(size=size).astype(np.float32) for size in weight.shape)
    return (weight / 1024).astype(np.float32), *biases


def scale_of(weight):
    """The largest sum of magnitudes between a unit and a word of 32 others, over 32750."""
    size, (rows, columns) = np.abs(weight.astype(np.float64)), weight.shape
    largest = max(
        max(size[i : i + WORD].sum(axis=0).max() for i in range(0, rows, WORD)),
        max(size[:, j : j + WORD].sum(axis=1).max() for j in range(0, columns, WORD)),
    )
    return np.float32(largest) / np.float32(32767 - 1 - WORD // 2)


def rounded(weight):
    """The rounded weights that the chains use, float64."""
    scale = scale_of(weight)
    return np.rint(weight / scale).astype(np.float64) * float(scale)


@pytest.mark.parametrize("shape", [(1, 1), (7, 33), (100, 31), (65, 64), (40, 1130), (1130, 40)])
@pytest.mark.parametrize("chains", CHAIN_COUNTS)
def test_the_weights_are_the_rounded_ones(instruction_set, seed, generator, shape, chains):
    w, a, b = some_parameters(*shape, generator)
    hidden = generator.integers(0, 2, size=(chains, shape[1]))
    how = {"key": [seed], "instruction_set": instruction_set, "fixed_point": True}
    visible, _, visible_prob_1, hidden_prob_1 = native.run(w, a, b, hidden=hidden, **how)
    np.testing.assert_allclose(visible_prob_1, reference.sigmoid(a + hidden @ rounded(w).T), rtol=2e-5, atol=1e-7)
    np.testing.assert_allclose(hidden_prob_1, reference.sigmoid(b + visible @ rounded(w)), rtol=2e-5, atol=1e-7)
    grey = generator.random((chains, shape[0])).astype(np.float32)
    for rows in (visible, grey):
        means = learning.hidden_probability(w, a, b, rows, instruction_set=instruction_set, fixed_point=True)
        np.testing.assert_allclose(means, reference.sigmoid(b + rows @ rounded(w)), rtol=1e-4, atol=1e-6)


def test_the_largest_sum_of_a_word_fits_16_bits(instruction_set, seed):
    """All weights are equal and all hidden units on, so a sum is the largest that 16 bits hold."""
    for sign in (1, -1):
        weight = np.full((64, 64), sign * 0.25, np.float32)
        hidden = np.ones((80, 64))
        _, _, prob, _ = native.run(
            weight,
            np.full(64, -16 * sign),
            np.zeros(64),
            hidden=hidden,
            key=[seed],
            fixed_point=True,
            instruction_set=instruction_set,
        )
        expected = reference.sigmoid(64 * rounded(weight)[0, 0] - 16 * sign)
        assert abs(expected - 0.5) < 0.01
        np.testing.assert_allclose(prob, expected, rtol=1e-5)


@pytest.mark.parametrize("sweeps", [1, 3])
def test_the_exact_distribution_is_kept(instruction_set, seed, generator, sweeps):
    a, b, w = reference.random_rbm(4, 3, generator)
    rbm = a, b, rounded(w.astype(np.float32))
    _, hidden = reference.draw_joint(*rbm, DRAWS, generator)
    chains = native.run(
        *ordered((a, b, w)), hidden=hidden, sweeps=sweeps, key=[seed], instruction_set=instruction_set, fixed_point=True
    )
    assert_distribution(joint_index(*chains[:2]), reference.joint(*rbm))


@pytest.mark.parametrize("chains", [5, 80, 300])
def test_results_do_not_depend_on_threads_or_instruction_sets(seed, generator, chains):
    """Sums do not depend on the instruction set. Sigmoids do, in the last bits."""
    w, a, b = some_parameters(300, 200, generator)
    start, how = generator.integers(0, 2, size=(chains, 200)), {"key": [seed], "fixed_point": True}
    expected = native.run(w, a, b, hidden=start, sweeps=5, num_threads=1, **how)
    for threads in (2, 3, None):
        results = native.run(w, a, b, hidden=start, sweeps=5, num_threads=threads, **how)
        assert all((left == right).all() for left, right in zip(results, expected))
    for name in native.features()["instruction_sets"]:
        visible, _, prob, _ = native.run(w, a, b, hidden=start, instruction_set=name, **how)
        np.testing.assert_allclose(prob, reference.sigmoid(a + start @ rounded(w).T), rtol=2e-5, atol=1e-7)


@pytest.mark.parametrize("weight", [20.0, 1e30, np.inf, np.nan])
def test_weights_too_large_for_16_bits_have_32(instruction_set, seed, generator, weight):
    w, a, b = some_parameters(60, 50, generator)
    w[5, 7:40] = weight
    how = {"key": [seed], "hidden": generator.integers(0, 2, size=(40, 50)), "instruction_set": instruction_set}
    with pytest.warns(RuntimeWarning, match="too coarse"):
        results = native.run(w, a, b, fixed_point=True, **how)
    for left, right in zip(results, native.run(w, a, b, **how)):
        np.testing.assert_array_equal(left, right)


def test_weights_of_zero_give_no_warning(seed):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        results = native.run(
            np.zeros((40, 30)), np.zeros(40), np.zeros(30), hidden=np.ones((20, 30)), key=[seed], fixed_point=True
        )
    assert (results[2] == 0.5).all() and (results[3] == 0.5).all()
