"""Means, gradients and steps of the native engine, with each instruction set of this processor."""

import threading

import numpy as np
import pytest
from marks import slow_but

from gluon_rbm.backend import native
from gluon_rbm.backend.native import learning
from gluon_rbm.errors import InputError

pytestmark = pytest.mark.skipif(not native.available(), reason="native Gibbs engine " + repr(native.available()))

_SETS = native.features()["instruction_sets"] if native.available() else [None]
THREADS = (1, 2, 3)
# Visible units, hidden units, chains, images. Sums over 1,100 rows come in three lists.
SIZES = [(6, 5, 4, 3), (70, 130, 1100, 37), (100, 64, 20, 30), (33, 1, 1, 1)]


@pytest.fixture(params=slow_but(_SETS, _SETS[-1]))
def instruction_set(request):
    return request.param


@pytest.fixture(params=SIZES)
def sizes(request):
    return request.param


def parameters_of(num_visible, num_hidden, generator, scale=0.3):
    """W, a, b."""
    shapes = (num_visible, num_hidden), num_visible, num_hidden
    return [generator.normal(0, scale, shape).astype(np.float32) for shape in shapes]


def states(generator, *shape):
    return generator.integers(0, 2, shape).astype(np.float32)


def images(generator, grey, *shape):
    rows = generator.random(shape).astype(np.float32) if grey else states(generator, *shape)
    rows[rows < 0.3] = 0
    return rows


def same_bits(results):
    first, *others = results
    return all(
        np.asarray(one).tobytes() == np.asarray(other).tobytes() for found in others for one, other in zip(first, found)
    )


@pytest.mark.parametrize("grey", [False, True])
def test_means_and_free_energies(instruction_set, sizes, generator, grey):
    num_visible, num_hidden, _, rows = sizes
    w, a, b = parameters_of(num_visible, num_hidden, generator)
    data = images(generator, grey, rows, num_visible)
    results = []
    for num_threads in THREADS:
        how = {"num_threads": num_threads, "instruction_set": instruction_set}
        results.append(
            [function(w, a, b, data, **how) for function in (learning.hidden_probability, learning.free_energy)]
        )
    assert same_bits(results)
    total = b + data.astype(float) @ w
    np.testing.assert_allclose(results[0][0], 1 / (1 + np.exp(-total)), rtol=1e-5)
    expected = -data.astype(float) @ a - np.logaddexp(0, total).sum(axis=1)
    np.testing.assert_allclose(results[0][1], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_weight_that_is_not_finite_shows_in_its_unit_only(instruction_set, generator, value):
    w, a, b = parameters_of(40, 40, generator)
    w[3, 35] = value
    data = np.ones((3, 40), np.float32)
    mean = learning.hidden_probability(w, a, b, data, instruction_set=instruction_set)
    energy = learning.free_energy(w, a, b, data, instruction_set=instruction_set)
    others = np.arange(40) != 35
    assert np.isfinite(mean[:, others]).all() and not np.isfinite(energy).any()
    assert (np.isnan(mean[:, 35]) if np.isnan(value) else mean[:, 35] == 1).all()


@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("cost", [0.0, 0.7])
@pytest.mark.parametrize("how", [("write",) * 3, ("add",) * 3, ("null", "write", "add"), ("add", "null", "null")])
def test_the_gradient(instruction_set, sizes, generator, centered, cost, how):
    num_visible, num_hidden, num_chains, rows = sizes
    w, _, _ = parameters_of(num_visible, num_hidden, generator)
    chains = states(generator, num_chains, num_visible), generator.random((num_chains, num_hidden)).astype(np.float32)
    data = images(generator, True, rows, num_visible), generator.random((rows, num_hidden)).astype(np.float32)
    offsets = [generator.random(size).astype(np.float32) for size in w.shape] if centered else ()
    factor, target, l1 = 0.3, 0.2, cost / 10
    before = [generator.normal(size=shape).astype(np.float32) for shape in (num_visible, num_hidden, w.shape)]
    results = []
    for num_threads in THREADS:
        found = [array.copy() for array in before]
        learning.store_gradient(
            found,
            how,
            chains,
            data,
            weight=w,
            offsets=offsets,
            factor=factor,
            sparsity_target=target,
            sparsity_cost=cost,
            weight_decay_l1=l1,
            num_threads=num_threads,
            instruction_set=instruction_set,
        )
        results.append(found)
    assert same_bits(results)
    (v, h), (x, p) = ([array.astype(float) for array in rows] for rows in (chains, data))
    p = p + 2 * cost / factor * (target - p.mean(axis=0)) * p * (1 - p)
    mu, lam = offsets or (0.0, 0.0)
    weight = factor * ((v - mu).T @ (h - lam) / len(v) - (x - mu).T @ (p - lam) / len(x)) + l1 * np.sign(w)
    visible, hidden = (factor * (left.mean(axis=0) - right.mean(axis=0)) for left, right in ((v, x), (h, p)))
    if centered:
        visible, hidden = visible - weight @ lam, hidden - mu @ weight
    for old, new, one, expected in zip(before, results[0], how, (visible, hidden, weight)):
        expected = {"write": expected, "add": old + expected, "null": old}[one]
        np.testing.assert_allclose(new, expected, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_a_step_along_the_gradient(instruction_set, generator, momentum):
    x, g, velocity = (generator.normal(size=(300, 700)).astype(np.float32) for _ in range(3))
    expected = momentum * velocity.astype(float) - 0.1 * (0.25 * g + 0.01 * x)
    results = []
    for num_threads in THREADS:
        found, moving = x.copy(), velocity.copy() if momentum else None
        how = {"num_threads": num_threads, "instruction_set": instruction_set}
        learning.descend(found, g, moving, rate=0.1, momentum=momentum, weight_decay=0.01, rescale=0.25, **how)
        results.append([found] if moving is None else [found, moving])
    assert same_bits(results)
    np.testing.assert_allclose(results[0][0], x + expected, rtol=1e-5, atol=1e-6)
    if momentum:
        np.testing.assert_allclose(results[0][1], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("momentum", [0.0, 0.5])
@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("fixed_point", [False, True])
@pytest.mark.parametrize("from_data", [False, True])
def test_learn_agrees_with_its_steps(instruction_set, generator, momentum, grey, fixed_point, from_data):
    """One call gives the same bits as a call for each operation, for any number of threads.

    The last batch is short.
    """
    rows, batch_size, num_chains, shape = 95, 30, 20, (100, 70)
    start, data = parameters_of(*shape, generator, 0.1), images(generator, grey, rows, shape[0])
    samples = [states(generator, num_chains, size) for size in shape]
    zeros = [np.zeros_like(array) for array in start]
    costs = {"sparsity_cost": 0.3, "sparsity_target": 0.2}
    results = []
    for num_threads in THREADS:
        parameters, chains, velocities = ([array.copy() for array in arrays] for arrays in (start, samples, zeros))
        learning.learn(
            *parameters,
            data,
            chains,
            velocities if momentum else [None] * 3,
            batch_size=batch_size,
            sweeps=2,
            from_data=from_data,
            key=[7],
            rate=0.3,
            momentum=momentum,
            weight_decay=0.01,
            rescale=0.5,
            fixed_point=fixed_point,
            num_threads=num_threads,
            instruction_set=instruction_set,
            **costs,
        )
        results.append([*parameters, *chains, *velocities])
    w, a, b = (array.copy() for array in start)
    (visible, hidden), moving = samples, [array.copy() for array in zeros]
    how = {"instruction_set": instruction_set}
    for number, first in enumerate(range(0, rows, batch_size)):
        batch = data[first : first + batch_size]
        begin = {"hidden": hidden, "first_sweep": 2 * number}
        if from_data:
            begin = {"visible": batch[np.arange(num_chains) % len(batch)], "first_sweep": 3 * number}
        visible, hidden, _, chain_mean = native.run(w, a, b, key=[7], sweeps=2, fixed_point=fixed_point, **begin, **how)
        mean = learning.hidden_probability(w, a, b, batch, fixed_point=fixed_point, **how)
        gradients = [np.empty_like(array) for array in (a, b, w)]
        rows_of = (visible, chain_mean), (batch, mean)
        learning.store_gradient(gradients, ("write",) * 3, *rows_of, weight=w, **costs, **how)
        for array, gradient, velocity, decay in zip(
            (a, b, w), gradients, (moving[1], moving[2], moving[0]), (0, 0, 0.01)
        ):
            velocity = velocity if momentum else None
            pace = {"rate": 0.3, "momentum": momentum, "weight_decay": decay, "rescale": 0.5}
            learning.descend(array, gradient, velocity, **pace, **how)
    assert same_bits([*results, [w, a, b, visible, hidden, *moving]])
    assert (w != start[0]).any()


@pytest.mark.parametrize("from_data", [False, True])
def test_steps_in_one_call_agree_with_several_calls(generator, from_data):
    start, data = parameters_of(100, 70, generator, 0.1), images(generator, True, 95, 100)
    samples, results = [states(generator, 20, size) for size in (100, 70)], []
    pace = {"batch_size": 30, "sweeps": 2, "from_data": from_data, "rate": 0.3}
    for steps in ([4], [1, 3], [1, 1, 1, 1]):
        parameters, chains, first = [array.copy() for array in start], [array.copy() for array in samples], 0
        for count in steps:
            keys = [[7, number] for number in range(first, first + count)]
            learning.learn(*parameters, data[30 * first : 30 * (first + count)], chains, keys=keys, **pace)
            first += count
        results.append([*parameters, *chains])
    assert same_bits(results)
    with pytest.raises(InputError, match="there are 3 keys for 4 steps"):
        learning.learn(*start, data, samples, keys=[[1]] * 3, **pace)


def test_wrong_arrays_are_refused(generator):
    w, a, b = parameters_of(6, 5, generator)
    rows, samples = states(generator, 3, 6), [states(generator, 4, 6), states(generator, 4, 5)]
    how = {"batch_size": 3, "sweeps": 1, "key": [0], "rate": 0.1}
    with pytest.raises(InputError, match="visible has shape"):
        learning.hidden_probability(w, a, b, rows[:, :5])
    with pytest.raises(InputError, match="data has shape"):
        learning.learn(w, a, b, rows[:, :5], samples, **how)
    with pytest.raises(InputError, match="a hidden sample must be binary"):
        learning.learn(w, a, b, rows, [samples[0], samples[1] + 0.5], **how)
    with pytest.raises(InputError, match="an array has shape"):
        learning.learn(w, a, b[:4].copy(), rows, samples, **how)
    with pytest.raises(InputError, match="visible must be a float32 array in C order"):
        learning.learn(w, a, b, rows, [samples[0].astype(float), samples[1]], **how)
    with pytest.raises(InputError, match="weight's velocity: an array has shape"):
        learning.learn(w, a, b, rows, samples, [a.copy(), a.copy(), b.copy()], **how)
    with pytest.raises(InputError, match="hidden_gradient: an array has shape"):
        learning.store_gradient([a, b[:4].copy(), w], ("write",) * 3, samples, samples, weight=w)
    with pytest.raises(InputError, match="batch_size is 0"):
        learning.learn(w, a, b, rows, samples, **{**how, "batch_size": 0})
    with pytest.raises(InputError, match="gradient has shape"):
        learning.descend(a, a[:2], rate=0.1)
    with pytest.raises(InputError, match="are not as many"):
        learning.store_gradient([a, b, w], ("write",) * 3, (rows, samples[1]), (rows, samples[1][:3]), weight=w)


def test_written_arrays_must_not_share_memory(generator):
    """Otherwise threads would read values that other threads have already written."""
    memory = generator.normal(size=200).astype(np.float32)
    before = memory.copy()
    # Arrays may lie side by side in memory.
    w, a, b = memory[:30].reshape(6, 5), memory[30:36], memory[36:41]
    rows, samples = states(generator, 4, 6), [states(generator, 4, 6), states(generator, 4, 5)]
    moving = [memory[50:80].reshape(6, 5), memory[80:86], memory[86:91]]
    how = {"batch_size": 3, "sweeps": 1, "key": [0], "rate": 0.1, "momentum": 0.5}
    for arrays in [
        (w, memory[29:35], b, rows, samples, moving),
        (w, a, b, rows, samples, [w, *moving[1:]]),
        (w, a, b, rows, samples, [moving[0], moving[1], memory[85:90]]),
        (w, a, b, samples[0], samples, moving),
        (w, a, b, rows, [memory[20:44].reshape(4, 6), samples[1]], moving),
        (w, a, b, memory[:24].reshape(4, 6), samples, moving),
    ]:
        with pytest.raises(InputError, match="shares memory with another array"):
            learning.learn(*arrays, **how)
    for targets, chains in [
        ((a, b, w), samples),
        ((a, memory[34:39], moving[0]), samples),
        ((samples[0][0], b, moving[0]), samples),
        ((a, samples[1][0], moving[0]), samples),
    ]:
        with pytest.raises(InputError, match="shares memory with another array"):
            learning.store_gradient(targets, ("write",) * 3, chains, samples, weight=w)
    for arrays in [(a, memory[31:37]), (a, a), (a, b[:5], memory[33:38]), (w, moving[0], memory[60:90].reshape(6, 5))]:
        with pytest.raises(InputError, match="shares memory|has shape"):
            learning.descend(*arrays, rate=0.1)
    np.testing.assert_array_equal(memory, before)
    # The samples are only read, so they may be given twice.
    learning.store_gradient(moving[1:] + moving[:1], ("write",) * 3, samples, samples, weight=w)
    learning.learn(w, a, b, rows, samples, moving, **how)
    learning.descend(w, moving[0], rate=0.1)


@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38])
def test_weights_that_overflow_leave_binary_samples(instruction_set, generator, value):
    """The learned parameters are not finite then. The caller must notice that."""
    w, a, b = (array * np.float32(value) for array in parameters_of(40, 35, generator))
    samples, data = [states(generator, 20, size) for size in w.shape], images(generator, True, 30, 40)
    results = []
    for num_threads in THREADS:
        found = [array.copy() for array in (w, a, b, *samples)]
        learning.learn(*found[:3], data, found[3:], batch_size=7, sweeps=2, key=[1], rate=0.1, num_threads=num_threads,
                       instruction_set=instruction_set)  # fmt: skip
        results.append(found)
        assert all(np.isin(sample, (0, 1)).all() for sample in found[3:])
    assert same_bits(results)


def test_calls_side_by_side(generator):
    """One call gets the pool of threads, and the others compute alone. The results are the same."""
    w, a, b = parameters_of(200, 150, generator)
    hidden = states(generator, 90, 150)
    expected, found = native.run(w, a, b, key=[1], hidden=hidden, sweeps=20, num_threads=1), {}

    def run(number):
        found[number] = native.run(w, a, b, key=[1], hidden=hidden, sweeps=20, num_threads=2)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert same_bits([expected, *found.values()]) and len(found) == 4
