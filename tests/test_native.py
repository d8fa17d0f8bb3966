"""The native Gibbs engine, with each instruction set of this processor."""

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import reference
from marks import slow_but
from scipy import stats

from gluon_rbm.backend import native
from gluon_rbm.backend.native import binding
from gluon_rbm.errors import InputError

pytestmark = pytest.mark.skipif(not native.available(), reason="native Gibbs engine " + repr(native.available()))

# An emulated processor is slow, so fewer draws can be set for it.
DRAWS = int(os.environ.get("MXNET_RBM_TEST_DRAWS", "1000000"))
# A test of a true hypothesis fails once in a million runs.
SIGNIFICANCE = 1e-6
HERE = Path(__file__).parent
# Up to 12 chains add rows, 13 and 80 use small tables, and more use large ones. 1,030 make two
# tiles.
CHAIN_COUNTS = [1, 12, 13, 80, 255, 256, 1030]


_SETS = native.features()["instruction_sets"] if native.available() else [None]


@pytest.fixture(params=slow_but(_SETS, _SETS[-1]))  # the last one is the default
def instruction_set(request):
    return request.param


def ordered(rbm):
    """(W, a, b) of the reference's (a, b, W)."""
    a, b, w = rbm
    return w, a, b


def dyadic_rbm(num_visible, num_hidden, generator):
    """An RBM with sums that are exact in float32 in any order."""

    def draw(*shape):
        return generator.integers(-64, 65, size=shape) / 256

    return draw(num_visible, num_hidden), draw(num_visible), draw(num_hidden)


def joint_index(visible, hidden):
    return reference.state_index(visible) * 2 ** hidden.shape[1] + reference.state_index(hidden)


def assert_distribution(index, probability):
    counts = np.bincount(index, minlength=probability.size)
    assert counts[probability.ravel() == 0].sum() == 0
    statistic, freedom = reference.chi_square(counts, probability.ravel() * len(index))
    assert stats.chi2.sf(statistic, freedom) > SIGNIFICANCE, (statistic, freedom)


def in_batches(run, hidden, size):
    """Samples of `run(rows, start)` for `size` rows of `hidden` at a time.

    The branches of the kernel depend on the number of chains.
    """
    parts = [run(hidden[start : start + size], start) for start in range(0, len(hidden), size)]
    return tuple(np.concatenate(layer) for layer in list(zip(*parts))[:2])


@pytest.mark.parametrize("sweeps", [1, 3])
@pytest.mark.parametrize("beta, with_base", [(1, False), (0.6, True), (0.4, False)])
def test_sweeps_keep_the_exact_distribution(instruction_set, seed, generator, sweeps, beta, with_base):
    rbm = reference.random_rbm(4, 3, generator)
    base = generator.normal(size=4) if with_base else None
    _, hidden = reference.draw_joint(*rbm, DRAWS, generator, beta, base)
    chains = native.run(
        *ordered(rbm),
        hidden=hidden,
        sweeps=sweeps,
        beta=beta,
        base=base,
        key=[seed],
        instruction_set=instruction_set,
    )
    assert_distribution(joint_index(*chains[:2]), reference.joint(*rbm, beta, base))


@pytest.mark.parametrize("size", [10, 100])
def test_a_few_chains_at_a_time_keep_the_exact_distribution(instruction_set, seed, generator, size):
    rbm = reference.random_rbm(5, 3, generator)
    _, hidden = reference.draw_joint(*rbm, 1000 * size, generator)
    samples = in_batches(
        lambda rows, start: native.run(
            *ordered(rbm), hidden=rows, key=[seed, start], num_threads=1, instruction_set=instruction_set
        ),
        hidden,
        size,
    )
    assert_distribution(joint_index(*samples), reference.joint(*rbm))


@pytest.mark.parametrize("grey", [False, True])
def test_one_sweep_has_the_exact_transition_probabilities(instruction_set, seed, generator, grey):
    """From one state v, it is the sum over h of p(h | v) p(v' | h) p(h' | v')."""
    a, b, w = rbm = reference.random_rbm(3, 3, generator)
    joint = reference.joint(*rbm)
    hidden_given_visible, visible_given_hidden = joint / joint.sum(axis=1, keepdims=True), (joint / joint.sum(axis=0)).T
    start = generator.random(3).astype(np.float32) if grey else reference.states(3)[generator.integers(8)]
    p = reference.sigmoid(b + start @ w)
    first_hidden = np.where(reference.states(3) == 1, p, 1 - p).prod(axis=1)
    expected = (first_hidden @ visible_given_hidden)[:, None] * hidden_given_visible
    chains = native.run(w, a, b, visible=np.tile(start, (DRAWS, 1)), key=[seed], instruction_set=instruction_set)
    assert_distribution(joint_index(*chains[:2]), expected)


def test_different_betas_side_by_side(instruction_set, seed, generator):
    rbm = reference.random_rbm(3, 3, generator)
    base = generator.normal(size=3)
    betas = (0.0, 0.2, 1.0)
    hidden = np.stack([reference.draw_joint(*rbm, DRAWS, generator, beta, base)[1] for beta in betas], axis=1)
    chains = native.run(
        *ordered(rbm),
        hidden=hidden.reshape(-1, 3),
        sweeps=2,
        beta=np.tile(betas, DRAWS),
        base=base,
        key=[seed],
        instruction_set=instruction_set,
    )
    index = joint_index(*chains[:2])
    for i, beta in enumerate(betas):
        assert_distribution(index[i::3], reference.joint(*rbm, beta, base))


@pytest.mark.slow
@pytest.mark.parametrize("start, per_chain", [("visible", False), ("hidden", True)])
def test_clamped_units_hold_and_the_others_have_their_distribution(instruction_set, seed, generator, start, per_chain):
    a, b, w = rbm = reference.random_rbm(4, 3, generator)
    mask = np.array([True, False, False, True])
    values = [np.array([1, 0.5, np.nan, 0]), np.array([0, 7, 0, 0])] if per_chain else [np.array([1, 0.5, np.nan, 0])]
    clamp = (mask, np.tile(values, (DRAWS // len(values), 1)) if per_chain else values[0])
    starts = {"visible": generator.integers(0, 2, size=(DRAWS, 4)), "hidden": generator.integers(0, 2, size=(DRAWS, 3))}
    visible, hidden, visible_probability, _ = native.run(
        w, a, b, **{start: starts[start]}, sweeps=60, beta=0.7, clamp=clamp, key=[seed], instruction_set=instruction_set
    )
    states, joint = reference.states(4), reference.joint(*rbm, 0.7)
    for i, value in enumerate(values):
        rows = slice(i, None, len(values))
        assert (visible[rows][:, mask] == value[mask]).all()
        assert (visible_probability[rows][:, mask] == value[mask]).all()
        conditional = joint * (states[:, mask] == value[mask]).all(axis=1, keepdims=True)
        assert_distribution(joint_index(visible[rows], hidden[rows]), conditional / conditional.sum())


def test_successive_sweeps_and_calls_are_independent_given_the_state(instruction_set, seed):
    """Without interactions all draws are independent.

    Chains, units, sweeps, keys and layers do not correlate.
    """
    chains = DRAWS // 5
    rbm = (np.zeros((40, 40)), np.zeros(40), np.zeros(40))
    first = native.run(*rbm, hidden=np.zeros((chains, 40)), key=[seed, 0], instruction_set=instruction_set)
    second = native.run(*rbm, hidden=first[1], sweeps=2, key=[seed, 1], instruction_set=instruction_set)
    samples = np.concatenate([layer for chains in (first, second) for layer in chains[:2]], axis=1)
    correlations = np.corrcoef(samples.T)[np.triu_indices(160, 1)]
    assert np.abs(correlations).max() < 7 / np.sqrt(chains)
    shifted = np.corrcoef(samples[:-1].T, samples[1:].T)[:160, 160:]
    assert np.abs(shifted).max() < 7 / np.sqrt(chains)


@pytest.mark.parametrize("chains", CHAIN_COUNTS)
@pytest.mark.parametrize("shape", [(1, 1), (7, 33), (100, 31), (65, 64), (32, 130)])
def test_probabilities_against_numpy(instruction_set, seed, generator, chains, shape):
    w, a, b = generator.normal(size=shape), generator.normal(size=shape[0]), generator.normal(size=shape[1])
    base, beta = generator.normal(size=shape[0]), generator.random(chains)
    hidden = generator.integers(0, 2, size=(chains, shape[1]))
    options = dict(beta=beta, base=base, key=[seed], instruction_set=instruction_set)
    column = beta[:, None]
    for _ in range(2):
        visible, sample, visible_probability, hidden_probability = native.run(w, a, b, hidden=hidden, **options)
        expected = reference.sigmoid((1 - column) * base + column * (a + hidden @ w.T))
        np.testing.assert_allclose(visible_probability, expected, atol=1e-5)
        np.testing.assert_allclose(hidden_probability, reference.sigmoid(column * (b + visible @ w)), atol=1e-5)
        assert np.isin(visible, (0, 1)).all() and np.isin(sample, (0, 1)).all()
        hidden = sample
    grey = generator.random((chains, shape[0]))
    assert np.isin(native.run(w, a, b, visible=grey, key=[seed], instruction_set=instruction_set)[1], (0, 1)).all()


def test_results_do_not_depend_on_threads_or_other_chains(instruction_set, seed, generator):
    rbm = dyadic_rbm(150, 70, generator)
    hidden = generator.integers(0, 2, size=(1100, 70))

    def run(chains, threads):
        return native.run(
            *rbm, hidden=hidden[:chains], sweeps=4, key=[seed], num_threads=threads, instruction_set=instruction_set
        )

    expected = run(1100, 1)
    for chains in (1, 5, 13, 300, 1100):
        for threads in (1, 2, 3, 7):
            for left, right in zip(run(chains, threads), expected):
                np.testing.assert_array_equal(left, right[:chains])


@pytest.mark.parametrize("chains", [5, 80, 300])
def test_results_are_bit_identical_for_any_number_of_threads(instruction_set, seed, generator, chains):
    rbm = ordered(reference.random_rbm(300, 200, generator, scale=0.1))
    hidden = generator.integers(0, 2, size=(chains, 200))
    visible = generator.random((chains, 300))
    for start in ({"hidden": hidden}, {"visible": visible}):
        expected = native.run(*rbm, **start, sweeps=10, key=[seed], num_threads=1, instruction_set=instruction_set)
        for threads in (2, 3, None):
            results = native.run(
                *rbm, **start, sweeps=10, key=[seed], num_threads=threads, instruction_set=instruction_set
            )
            for left, right in zip(results, expected):
                np.testing.assert_array_equal(left, right)
    binary = (visible < 0.5).astype(np.float32)
    expected = native.anneal(
        *rbm, visible=binary, betas=np.linspace(0, 1, 9), key=[seed], num_threads=1, instruction_set=instruction_set
    )
    for threads in (2, 3):
        results = native.anneal(
            *rbm,
            visible=binary,
            betas=np.linspace(0, 1, 9),
            key=[seed],
            num_threads=threads,
            instruction_set=instruction_set,
        )
        for left, right in zip(results, expected):
            np.testing.assert_array_equal(left, right)


def test_the_key_alone_fixes_the_noise_and_sweeps_continue(instruction_set, seed, generator):
    rbm = dyadic_rbm(40, 30, generator)
    hidden = generator.integers(0, 2, size=(50, 30))

    def run(*key, start=hidden, **options):
        return native.run(*rbm, hidden=start, key=key, instruction_set=instruction_set, **options)

    first = run(seed, 1, sweeps=5)
    assert not np.array_equal(run(seed, 2, sweeps=5)[0], first[0])
    assert not np.array_equal(run(seed + 1, 1, sweeps=5)[0], first[0])
    in_parts = run(seed, 1, start=run(seed, 1, sweeps=2)[1], sweeps=3, first_sweep=2)
    for left, right in zip(in_parts, first):
        np.testing.assert_array_equal(left, right)
    in_thread = []
    thread = threading.Thread(target=lambda: in_thread.append(run(seed, 1, sweeps=5)))
    thread.start()
    thread.join()
    np.testing.assert_array_equal(in_thread[0][0], first[0])


def test_certain_units_are_certain(instruction_set, seed):
    for big in (200.0, 1e30, np.inf):
        a = np.tile([-big, big], 20)
        visible, _, probability, _ = native.run(
            np.zeros((40, 3)), a, np.zeros(3), hidden=np.zeros((50000, 3)), key=[seed], instruction_set=instruction_set
        )
        np.testing.assert_array_equal(visible, np.tile([0.0, 1.0], (50000, 20)))
        np.testing.assert_allclose(probability, visible, atol=1e-30)


@pytest.mark.parametrize("threads", [1, 2])
def test_subnormal_probabilities_are_zero(instruction_set, seed, threads):
    smallest = np.float32(np.finfo(np.float32).tiny)
    bias = -np.linspace(80, 95, 64)  # exp of half of them is below the smallest normal number
    _, _, probability, _ = native.run(
        np.zeros((64, 3)), bias, np.zeros(3), hidden=np.zeros((500, 3)), key=[seed], instruction_set=instruction_set,
        num_threads=threads,
    )  # fmt: skip
    assert ((probability == 0) | (probability >= smallest)).all() and (probability == 0).any() and probability.any()
    assert smallest / 2 > 0  # Python still computes with subnormal numbers


def test_rare_units_have_the_right_frequency(instruction_set, seed):
    p = np.array([1e-4, 1e-3, 0.01, 0.3, 0.9, 0.999, 0.9999])
    a = np.log(p / (1 - p))
    visible, _, _, _ = native.run(
        np.zeros((7, 1)), a, np.zeros(1), hidden=np.zeros((1000000, 1)), key=[seed], instruction_set=instruction_set
    )
    assert (np.abs(visible.mean(axis=0, dtype=float) - p) < 6 * np.sqrt(p * (1 - p) / 1e6)).all()


@pytest.mark.parametrize("chains", [1, 12, 80, 1030])
@pytest.mark.parametrize("group", [(0, 5), (28, 67), (66, 70)])
def test_a_softmax_group_may_have_any_place(instruction_set, seed, generator, chains, group):
    """It may cross the edges of words. Threads and clamps of other units change no samples."""
    w, a, b = dyadic_rbm(70, 40, generator)
    base, beta, hidden = generator.normal(size=70), generator.random(chains), generator.integers(0, 2, (chains, 40))

    def run(threads, **options):
        return native.run(
            w, a, b, hidden=hidden, beta=beta, base=base, key=[seed], num_threads=threads, visible_units=[group],
            instruction_set=instruction_set, **options,
        )  # fmt: skip

    visible, _, probability, _ = expected = run(1)
    inputs = (1 - beta[:, None]) * base + beta[:, None] * (a + hidden @ w.T)
    softmax = np.exp(inputs[:, slice(*group)])
    wanted = reference.sigmoid(inputs)
    wanted[:, slice(*group)] = softmax / softmax.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(probability, wanted, atol=1e-5)
    np.testing.assert_array_equal(visible[:, slice(*group)].sum(axis=1), 1)
    for threads in (2, 3):
        for left, right in zip(run(threads), expected):
            np.testing.assert_array_equal(left, right)
    mask = np.zeros(70)
    mask[generator.permutation(70)[:30]] = 1
    mask[slice(*group)] = 0
    np.testing.assert_array_equal(run(1, clamp=(mask, mask))[0][:, mask == 0], visible[:, mask == 0])
    mask[slice(*group)], values = 1, np.ones(70)
    values[slice(*group)] = np.arange(group[1] - group[0]) == 2
    for part in run(1, clamp=(mask, values))[::2]:
        np.testing.assert_array_equal(part[:, mask == 1], np.tile(values[mask == 1], (chains, 1)))


def test_frequencies_in_a_softmax_group(instruction_set, seed, generator):
    a = generator.normal(size=40)
    visible = native.run(
        np.zeros((40, 1)), a, np.zeros(1), hidden=np.zeros((DRAWS, 1)), key=[seed], visible_units=[(25, 36)],
        instruction_set=instruction_set,
    )[0]  # fmt: skip
    softmax = np.exp(a[25:36]) / np.exp(a[25:36]).sum()
    assert_distribution(visible[:, 25:36].argmax(axis=1), softmax)
    # The group does not correlate with the units beside it.
    correlations = np.corrcoef(visible[:, :25].T, visible[:, 25:36].T)[:25, 25:]
    assert np.abs(correlations).max() < 7 / np.sqrt(DRAWS)


def philox(key, counter, rounds=10):
    """Philox4x32 of Salmon et al. (2011), with Python's integers."""
    word = 2**32 - 1
    for round in range(rounds):
        product0, product1 = counter[0] * 0xD2511F53, counter[2] * 0xCD9E8D57
        key0, key1 = (key[0] + round * 0x9E3779B9) & word, (key[1] + round * 0xBB67AE85) & word
        counter = (
            (product1 >> 32) ^ counter[1] ^ key0,
            product1 & word,
            (product0 >> 32) ^ counter[3] ^ key1,
            product0 & word,
        )
    return counter


@pytest.mark.parametrize(
    "counter, key, answer",
    [  # from the authors' test vectors
        ([0] * 4, [0] * 2, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            [0xA4093822, 0x299F31D0],
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox(instruction_set, counter, key, answer):
    assert philox(key, counter) == answer
    words = np.empty(32, np.uint32)
    block, q = divmod(counter[0], 8)
    code = binding.library().mxnet_rbm_gibbs_noise(
        binding.ctypes.c_int64(native.INSTRUCTION_SETS.index(instruction_set)),
        (binding.ctypes.c_uint32 * 2)(*key),
        *map(binding.ctypes.c_uint32, (block, *counter[1:])),
        words.ctypes.data_as(binding.ctypes.c_void_p),
    )
    assert code == 0
    assert tuple(words[[2 * q, 2 * q + 1, 16 + 2 * q, 17 + 2 * q]]) == answer
    expected = [philox(key, [8 * block + q, *counter[1:]]) for q in range(8)]
    np.testing.assert_array_equal(
        words, np.concatenate([np.ravel([e[:2] for e in expected]), np.ravel([e[2:] for e in expected])])
    )


@pytest.mark.parametrize("betas", [[0, 1], [0.5, 0.5001], [0, 1e-5], [1, 0], [0.3, 0.3], [0, 30]])
@pytest.mark.parametrize("chains", [3, 40, 300])
def test_log_weights_of_one_step(instruction_set, seed, generator, betas, chains):
    a, b, w = reference.random_rbm(90, 70, generator)
    w, b, base = w.astype(np.float32), b.astype(np.float32), generator.normal(size=90).astype(np.float32)
    a = a.astype(np.float32)
    visible = generator.integers(0, 2, size=(chains, 90))
    start = generator.normal(size=chains)
    same, log_weight = native.anneal(
        w, a, b, visible=visible, betas=betas, base=base, log_weight=start, key=[seed], instruction_set=instruction_set
    )
    np.testing.assert_array_equal(same, visible)
    x = b.astype(float) + visible @ w.astype(float)
    parts = (
        (betas[1] - betas[0]) * (visible @ (a.astype(float) - base)),
        (np.logaddexp(0, betas[1] * x) - np.logaddexp(0, betas[0] * x)).sum(axis=1),
    )
    # The input of a unit is a sum in float32, with an error of about 1e-5.
    np.testing.assert_allclose(log_weight, start + sum(parts), rtol=1e-6, atol=abs(betas[1] - betas[0]) * 2e-4 + 1e-14)


def test_many_small_steps_add_up(instruction_set, seed, generator):
    """The visible layer cannot move, so 10,000 steps add up to the whole difference: no bias."""
    a, b, w = np.full(50, 1e4), generator.normal(size=40), generator.normal(size=(50, 40)) / 4
    visible, log_weight = native.anneal(
        w,
        a,
        b,
        visible=np.ones((20, 50)),
        betas=np.linspace(0, 1, 10001),
        base=a,
        key=[seed],
        instruction_set=instruction_set,
    )
    assert (visible == 1).all()
    x = b.astype(np.float32).astype(float) + w.astype(np.float32).astype(float).sum(axis=0)
    expected = (np.logaddexp(0, x) - np.log(2)).sum()
    np.testing.assert_allclose(log_weight, expected, atol=1e-4)


@pytest.mark.parametrize("sweeps", [1, 2])
def test_annealing_estimates_log_z(instruction_set, seed, generator, sweeps):
    """E[w] = Z / Z_0, even for a schedule of 6 inverse temperatures."""
    a, b, w = rbm = reference.random_rbm(5, 4, generator)
    base = generator.normal(size=5)
    visible = (generator.random((DRAWS, 5)) < reference.sigmoid(base)).astype(float)
    betas = np.linspace(0, 1, 6)
    _, log_weight = native.anneal(
        w, a, b, visible=visible, betas=betas, base=base, sweeps=sweeps, key=[seed], instruction_set=instruction_set
    )
    importance_weight = np.exp(log_weight)
    exact = np.exp(reference.log_z(*rbm) - np.logaddexp(0, base).sum() - 4 * np.log(2))
    assert abs(importance_weight.mean() - exact) < 5 * importance_weight.std() / np.sqrt(DRAWS)


def test_annealing_in_parts(instruction_set, seed, generator):
    rbm = ordered(reference.random_rbm(40, 30, generator, scale=0.3))
    visible, betas = generator.integers(0, 2, size=(60, 40)), np.linspace(0, 1, 12)
    options = dict(key=[seed], sweeps=2, instruction_set=instruction_set)
    expected = native.anneal(*rbm, visible=visible, betas=betas, **options)
    state = native.anneal(*rbm, visible=visible, betas=betas[:6], finish=False, **options)
    state = native.anneal(*rbm, visible=state[0], log_weight=state[1], betas=betas[5:], first_sweep=10, **options)
    for left, right in zip(state, expected):
        np.testing.assert_array_equal(left, right)


def test_chains_that_are_annealed_without_steps_keep_the_distribution(instruction_set, seed, generator):
    rbm = reference.random_rbm(4, 3, generator)
    visible, _ = reference.draw_joint(*rbm, DRAWS, generator, 0.8)
    final, log_weight = native.anneal(
        *ordered(rbm),
        visible=visible,
        betas=[0.8, 0.8, 0.8],
        finish=False,
        key=[seed],
        instruction_set=instruction_set,
    )
    assert (log_weight == 0).all()
    assert_distribution(reference.state_index(final), reference.joint(*rbm, 0.8).sum(axis=1))


@pytest.mark.parametrize("shape", [(0, 3, 2), (4, 0, 2), (4, 3, 0), (0, 0, 0), (300, 0, 0)])
def test_sizes_of_zero(instruction_set, seed, shape):
    chains, num_visible, num_hidden = shape
    rbm = (np.zeros((num_visible, num_hidden)), np.zeros(num_visible), np.zeros(num_hidden))
    for beta in (1.0, np.ones(chains)):
        for start in ({"visible": np.zeros((chains, num_visible))}, {"hidden": np.zeros((chains, num_hidden))}):
            results = native.run(
                *rbm,
                **start,
                beta=beta,
                sweeps=3,
                key=[seed],
                instruction_set=instruction_set,
                clamp=(np.ones(num_visible), np.ones(num_visible)),
            )
            assert [r.shape for r in results] == [(chains, num_visible), (chains, num_hidden)] * 2
            assert (results[0] == 1).all()
    visible, log_weight = native.anneal(
        *rbm,
        visible=np.zeros((chains, num_visible)),
        betas=[0, 0.5, 1],
        key=[seed],
        instruction_set=instruction_set,
    )
    assert visible.shape == (chains, num_visible) and (log_weight == 0).all() and log_weight.shape == (chains,)


def test_wrong_arguments_are_refused(monkeypatch):
    rbm = w, a, b = np.zeros((3, 2)), np.zeros(3), np.zeros(2)
    hidden = np.zeros((4, 2))
    for message, options in [
        ("exactly one", {}),
        ("exactly one", {"visible": np.zeros((4, 3)), "hidden": hidden}),
        ("start has shape", {"hidden": np.zeros((4, 3))}),
        ("start has shape", {"visible": np.zeros(3)}),
        ("sweeps is 0", {"hidden": hidden, "sweeps": 0}),
        ("first_sweep is -1", {"hidden": hidden, "first_sweep": -1}),
        ("too large", {"hidden": hidden, "sweeps": 2, "first_sweep": 2**32 - 2}),
        ("num_threads", {"hidden": hidden, "num_threads": -3}),
        ("beta has shape", {"hidden": hidden, "beta": [1.0, 2.0]}),
        ("base has shape", {"hidden": hidden, "base": np.zeros(4)}),
        ("binary", {"hidden": hidden + 0.5}),
        ("binary", {"hidden": hidden + np.nan}),
        ("clamp's mask", {"hidden": hidden, "clamp": (np.zeros(2), np.zeros(3))}),
        ("clamp's values", {"hidden": hidden, "clamp": (np.zeros(3), np.zeros((3, 3)))}),
        ("held at 0 or 1", {"hidden": hidden, "clamp": (np.ones(3), np.full(3, 0.5))}),
        ("instruction set", {"hidden": hidden, "instruction_set": "mmx"}),
    ]:
        with pytest.raises(InputError, match=message):
            native.run(*rbm, key=[1], **options)
    for message, arrays in [("visible_bias", (w, b, b)), ("hidden_bias", (w, a, a)), ("weight", (a, a, b))]:
        with pytest.raises(InputError, match=message):
            native.run(*arrays, hidden=hidden, key=[1])
    for message, visible, betas in [
        ("two inverse", np.zeros((4, 3)), [1]),
        ("negative", np.zeros((4, 3)), [-1, 0]),
        ("finite", np.zeros((4, 3)), [0, np.inf]),
        ("binary", np.full((4, 3), 0.5), [0, 1]),
        ("visible has shape", hidden, [0, 1]),
    ]:
        with pytest.raises(InputError, match=message):
            native.anneal(*rbm, visible=visible, betas=betas, key=[1])
    with monkeypatch.context() as patch:
        patch.setattr(binding, "load", lambda: (None, "it is not built"))
        assert not native.available() and "not built" in repr(native.available())
        with pytest.raises(InputError, match="not built"):
            native.run(*rbm, hidden=hidden, key=[1])


@pytest.mark.parametrize(
    "sizes",
    [
        {"num_visible": 2**31 - 1, "num_hidden": 2**31 - 1, "chains": 1},
        {"num_visible": 2**62},
        {"num_hidden": -1},
        {"chains": 2**33},
        {"chains": -(2**63)},
        {"sweeps": 2**63 - 1},
        {"first_sweep": 2**32},
        {"num_betas": 0},
        {"num_betas": 2**40},
        {"num_groups": -1},
        {"num_groups": 2},
        {"num_groups": 1, "groups": (-1, 1)},
        {"num_groups": 1, "groups": (0, 2)},
        {"num_groups": 1, "groups": (1, 1)},
    ],
)
def test_the_library_refuses_sizes_out_of_range(sizes):
    given = dict(dict(chains=1, num_visible=1, num_hidden=1, sweeps=1, num_betas=2), **sizes)
    groups = np.array(given.pop("groups", (0, 1)), np.int64)
    call = binding.Gibbs(**given)
    call.groups = groups.ctypes.data
    loaded = binding.library()
    for function in (loaded.mxnet_rbm_gibbs_run, loaded.mxnet_rbm_gibbs_anneal):
        code = function(binding.ctypes.byref(call))
        with pytest.raises((InputError, MemoryError)):
            binding.check(code, "")


def swapped(fields):
    """Exchange two fields of one type."""
    fields[17:19] = fields[18], fields[17]


def retyped(fields):
    """Make a pointer to float64 a pointer to float32, which has the same size."""
    fields[21] = (fields[21][0], binding._ConstFloat32s)


def writable(fields):
    fields[17] = (fields[17][0], binding._Float32s)


def shortened(fields):
    del fields[-1]


def lengthened(fields):
    fields.append(("more", binding._Int64))


@pytest.mark.parametrize(
    "change, difference",
    [
        (swapped, "it has const float32 * weight: bytes 136 to 144 where const float32 * visible_bias: bytes 136 to"),
        (retyped, "it has const float64 * beta: bytes 168 to 176 where const float32 * beta"),
        (writable, "it has const float32 * weight: bytes 136 to 144 where float32 * weight"),
        (shortened, "it has float64 * log_weight: bytes 256 to 264 where nothing is expected"),
        (lengthened, "it has nothing where int64 more: bytes 264 to 272 is expected"),
    ],
)
def test_a_library_with_other_fields_is_refused(monkeypatch, change, difference):
    fields = list(binding.Gibbs._fields_)
    change(fields)
    changed = type("_Gibbs", (binding.ctypes.Structure,), {"_fields_": fields})
    monkeypatch.setitem(binding._STRUCTURES, "gibbs", changed)
    loaded, reason = binding.load.__wrapped__()
    assert loaded is None and reason.startswith(native.path() + " is of another version (" + difference)


@pytest.mark.parametrize("name", sorted(binding._STRUCTURES))
def test_every_structure_is_compared(monkeypatch, name):
    fields = [*binding._STRUCTURES[name]._fields_, ("more", binding._Int64)]
    changed = type(name, (binding.ctypes.Structure,), {"_fields_": fields})
    monkeypatch.setitem(binding._STRUCTURES, name, changed)
    loaded, reason = binding.load.__wrapped__()
    assert loaded is None and "it has nothing where int64 more" in reason


def test_a_library_of_another_version_is_refused(monkeypatch):
    monkeypatch.setattr(binding, "ABI_VERSION", binding.ABI_VERSION + 1)
    loaded, reason = binding.load.__wrapped__()
    assert loaded is None and reason.endswith("is of another version; install the distribution again")


@pytest.mark.parametrize("content", [b"no library", None])
def test_a_file_without_the_library_is_refused(monkeypatch, tmp_path, content):
    """The second file is a library, but another one."""
    file = Path(importlib.util.find_spec("_ctypes").origin)
    if content:
        file = tmp_path / "_mxnet_rbm_native.so"
        file.write_bytes(content)
    monkeypatch.setattr(binding, "path", lambda: str(file))
    loaded, reason = binding.load.__wrapped__()
    assert loaded is None and reason.startswith("%s cannot be loaded: " % file) and "\n" not in reason


def test_inputs_may_share_memory(seed, generator):
    memory = generator.integers(0, 2, 100).astype(np.float32)
    arrays = memory[:40].reshape(8, 5), memory[30:38], memory[36:41], memory[10:58].reshape(6, 8)
    before = memory.copy()
    for function, options in ((native.run, {"sweeps": 2}), (native.anneal, {"betas": [0, 0.5, 1]})):
        shared, apart = (
            function(*own[:3], visible=own[3], base=own[1], key=[seed], **options)
            for own in (arrays, [array.copy() for array in arrays])
        )
        for left, right in zip(shared, apart):
            np.testing.assert_array_equal(left, right)
    np.testing.assert_array_equal(memory, before)


def test_inputs_are_left_alone(seed, generator):
    rbm = ordered(reference.random_rbm(6, 5, generator))
    arrays = [np.asarray(array, np.float32) for array in (*rbm, generator.integers(0, 2, (9, 6)))]
    before = [array.copy() for array in arrays]
    native.run(*arrays[:3], visible=arrays[3], sweeps=2, key=[seed])
    native.anneal(*arrays[:3], visible=arrays[3], betas=[0, 0.5, 1], key=[seed])
    for left, right in zip(arrays, before):
        np.testing.assert_array_equal(left, right)


def misaligned(array):
    """A copy that begins at an odd address."""
    memory = np.empty(array.nbytes + 8, np.uint8)
    start = 1 - memory.ctypes.data % 2
    copy = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    assert copy.ctypes.data % 2 == 1 and copy.flags.c_contiguous and not copy.flags.aligned
    return copy


def test_misaligned_arrays_never_reach_the_library(seed, generator, monkeypatch):
    """C must not read a number at an address that is not a multiple of its size.

    This fails on some processors. Most of them tolerate it.
    """
    pointed = {}

    def spy(call, **arrays):
        pointed.update((name, array) for name, array in arrays.items() if array is not None)
        return point(call, **arrays)

    point = native.point
    monkeypatch.setattr(native, "point", spy)
    rbm = ordered(tuple(array.astype(np.float32) for array in reference.random_rbm(5, 3, generator)))
    visible, base = generator.integers(2, size=(6, 5)).astype(np.float32), np.zeros(5, np.float32)
    mask, values = np.array([1, 0, 0, 0, 1], np.float32), np.tile(np.float32(1), (6, 5))
    betas, log_weight = np.linspace(0, 1, 6), np.zeros(6)
    for change in (np.array, misaligned):
        pointed.clear()
        arrays = [change(array) for array in rbm]
        clamp = change(np.tile(mask, (6, 1))), change(values)
        drawn = native.run(
            *arrays, visible=change(visible), base=change(base), beta=change(betas), clamp=clamp, key=[1]
        )
        hidden = native.run(*arrays, hidden=change(drawn[1]), key=[1])
        annealed = native.anneal(
            *arrays, visible=change(visible), betas=change(betas), log_weight=change(log_weight), key=[2]
        )
        results = [*drawn, *hidden, *annealed]
        if change is np.array:
            expected = results
        assert {"weight", "clamp_value", "beta", "log_weight"} <= set(pointed)
        assert all(array.flags.aligned and array.flags.c_contiguous for array in pointed.values())
        for one, other in zip(results, expected):
            np.testing.assert_array_equal(one, other)


def test_parameters_that_are_not_finite_do_no_harm(instruction_set, seed):
    for value in (np.nan, np.inf, -np.inf, 3e38, -3e38):
        rbm = (np.full((40, 35), value), np.full(40, value), np.full(35, value))
        for chains in (2, 80, 300):
            options = dict(visible=np.ones((chains, 40)), key=[seed], instruction_set=instruction_set)
            results = native.run(*rbm, sweeps=2, visible_units=[(5, 35), (36, 39)], **options)
            assert np.isin(results[0], (0, 1)).all() and (results[0][:, 5:35].sum(axis=1) == 1).all()
            native.anneal(*rbm, betas=[0, 1, 2], **options)


COUNT = """
import threading, numpy as np
from gluon_rbm.backend import native
generator = np.random.default_rng(0)
w, a, b = (generator.normal(size=shape).astype(np.float32) for shape in ((200, 150), 200, 150))
hidden = generator.integers(0, 2, (90, 150))
def run(threads, **options):
    return native.run(w, a, b, key=[1], hidden=hidden, sweeps=9, num_threads=threads, **options)[0]
expected = run(1)
"""

FORK = """
import os, sys
from gluon_rbm.backend.native import learning
def step():
    arrays = [array.copy() for array in (w, a, b)]
    samples = [np.zeros((90, 200), np.float32), hidden.astype(np.float32)]
    learning.learn(*arrays, expected, samples, batch_size=30, sweeps=2, key=[2], rate=0.1, num_threads=3)
    return arrays
learned = step()
def right():
    return all((run(n) == expected).all() for n in (3, 2)) and all(map(np.array_equal, step(), learned))
def family(depth):
    child = os.fork()
    if not child:
        os._exit(not (right() and (not depth or family(depth - 1))))
    return right() and os.waitpid(child, 0)[1] == 0
going, busy = True, []
def compute():
    while going:
        busy.append((run(3) == expected).all())
threads = [threading.Thread(target=compute) for _ in range(2)]
assert right() and family(1)
for thread in threads:
    thread.start()
assert all([family(1) for _ in range(10)])
going = False
for thread in threads:
    thread.join()
assert all(busy)
"""


def run_script(script, *python, **environment):
    """Run a script in a new Python process, and return its output."""
    path = os.pathsep.join(path for path in sys.path if path)
    command = [*(python or [sys.executable]), "-c", script]
    environment = dict(os.environ, PYTHONPATH=path, **environment)
    result = subprocess.run(command, env=environment, timeout=300, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-4000:]
    return result.stdout


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_forked_processes_start_threads_of_their_own():
    """Children of children do so, too, and the parent goes on.

    Other Python threads use the engine while a process forks.
    """
    run_script(COUNT + FORK)


def test_numbers_of_threads(monkeypatch):
    for number in (0, -1):
        with pytest.raises(InputError, match="num_threads is %d; it must be at least 1" % number):
            native.run(np.zeros((3, 2)), np.zeros(3), np.zeros(2), hidden=np.zeros((4, 2)), key=[1], num_threads=number)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    processors = binding.default_num_threads()
    assert processors == len(os.sched_getaffinity(0))
    for text, number in {"0": processors, "-3": processors, "": processors, "many": processors, "²": processors,
                         "3": 3, " 4,2": 4, "1000": 1000}.items():  # fmt: skip
        monkeypatch.setenv("OMP_NUM_THREADS", text)
        assert native.features()["threads"] == number


@pytest.mark.parametrize("number", ["0", "1000"])
def test_any_number_of_threads_gives_the_same_samples(number):
    """The engine runs in a new process, because its threads remain."""
    run_script(COUNT + "assert all((run(n) == expected).all() for n in (1000, None))", OMP_NUM_THREADS=number)


@pytest.mark.skipif(not shutil.which("qemu-x86_64"), reason="qemu-x86_64 is not installed")
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the processor is not x86-64")
def test_a_processor_without_avx():
    """The plain kernel is used. Python and the library itself refuse the others."""
    script = (
        COUNT
        + """
from gluon_rbm.backend.native import binding
from gluon_rbm.errors import InputError
assert native.features()["instruction_sets"] == ["plain"]
call = binding.Gibbs(chains=1, num_visible=1, num_hidden=1, sweeps=1, num_betas=1, instruction_set=1)
assert binding.library().mxnet_rbm_gibbs_run(binding.ctypes.byref(call)) == binding._BAD_ARGUMENT
try:
    run(1, instruction_set="avx2")
except InputError as error:
    print(error)
print(run(2).sum())
"""
    )
    lines = run_script(script, "qemu-x86_64", "-cpu", "Nehalem", os.path.realpath(sys.executable)).splitlines()
    assert lines[0] == "instruction set 'avx2' is not one of those here, plain"
    expected = run_script(COUNT + "print(run(2, instruction_set='plain').sum())")
    assert lines[1:] == expected.splitlines()


@pytest.mark.slow
@pytest.mark.parametrize("sanitizers, library", [("address,undefined", "libasan.so"), ("thread", "libtsan.so")])
def test_fuzz_under_sanitizers(seed, tmp_path, sanitizers, library):
    """Random sizes, threads and clamps."""
    compiler = os.environ.get("CC", "gcc")
    try:
        runtime = subprocess.run(
            [compiler, "-print-file-name=" + library], check=True, capture_output=True, text=True
        ).stdout
        subprocess.run(
            [
                compiler,
                "-std=gnu11",
                "-O1",
                "-g",
                "-pthread",
                "-fPIC",
                "-shared",
                "-fsanitize=" + sanitizers,
                "-fno-sanitize-recover=undefined",
                str(Path(native.__file__).parent / "gibbs.c"),
                "-o",
                str(tmp_path / "_mxnet_rbm_native.so"),
                "-lm",
            ],
            check=True,
            capture_output=True,
            text=True,
        )
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip("no compiler with sanitizers: %s" % error)
    result = subprocess.run(
        [sys.executable, str(HERE / "fuzz_native.py"), str(seed), "10"],
        timeout=300,
        capture_output=True,
        text=True,
        env=dict(
            os.environ,
            LD_PRELOAD=runtime.strip(),
            ASAN_OPTIONS="detect_leaks=0",
            PYTHONPATH=os.pathsep.join([str(tmp_path)] + [path for path in sys.path if path]),
        ),
    )
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-4000:]
    print(result.stdout)
