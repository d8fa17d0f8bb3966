import threading

import numpy as np
import pytest
import reference
from marks import slow_but
from scipy import stats

from gluon_rbm.backend import native
from gluon_rbm.backend.arrays import to_numpy
from gluon_rbm.backend.framework import mx
from gluon_rbm.backend.random import Noise, draw_key
from gluon_rbm.errors import InputError
from gluon_rbm.models.parameters import Parameters
from gluon_rbm.sampling import gibbs

DRAWS = 1000000
# A test of a correct sampler fails once in a million runs.
SIGNIFICANCE = 1e-6


def parameters(arrays, ctx=None, dtype="float32"):
    return Parameters(*(mx.nd.array(array, ctx=ctx, dtype=dtype) for array in arrays))


def joint_index(chains):
    visible, hidden = chains.visible_sample.asnumpy(), chains.hidden_sample.asnumpy()
    return reference.state_index(visible) * 2 ** hidden.shape[1] + reference.state_index(hidden)


def assert_distribution(index, probability):
    counts = np.bincount(index, minlength=probability.size)
    assert counts[probability.ravel() == 0].sum() == 0
    statistic, freedom = reference.chi_square(counts, probability.ravel() * len(index))
    assert stats.chi2.sf(statistic, freedom) > SIGNIFICANCE, (statistic, freedom)


@pytest.mark.parametrize("sweeps", [1, 3])
@pytest.mark.parametrize("beta, with_base", [(1, False), (0.6, True), (0.4, False)])
def test_sweeps_keep_the_exact_distribution(ctx, engine, seed, generator, sweeps, beta, with_base):
    arrays = reference.random_rbm(4, 3, generator)
    base = generator.normal(size=4) if with_base else None
    _, hidden = reference.draw_joint(*arrays, DRAWS, generator, beta, base)
    chains = gibbs.run_chains(
        parameters(arrays, ctx),
        hidden=mx.nd.array(hidden, ctx=ctx),
        sweeps=sweeps,
        beta=beta,
        base_visible_bias=None if base is None else mx.nd.array(base, ctx=ctx),
        key=[seed],
        engine=engine,
    )
    assert_distribution(joint_index(chains), reference.joint(*arrays, beta, base))


def test_one_sweep_has_the_exact_transition_probabilities(ctx, engine, seed, generator):
    """From a visible state v they are the sum over h of p(h | v) p(v' | h) p(h' | v')."""
    arrays = reference.random_rbm(3, 3, generator)
    joint = reference.joint(*arrays)
    hidden_given_visible, visible_given_hidden = joint / joint.sum(axis=1, keepdims=True), (joint / joint.sum(axis=0)).T
    start = int(generator.integers(8))
    expected = (hidden_given_visible[start] @ visible_given_hidden)[:, None] * hidden_given_visible
    visible = np.tile(reference.states(3)[start], (DRAWS, 1))
    chains = gibbs.run_chains(parameters(arrays, ctx), visible=mx.nd.array(visible, ctx=ctx), key=[seed], engine=engine)
    assert_distribution(joint_index(chains), expected)


def test_successive_sweeps_and_calls_are_independent_given_the_state(ctx, engine, seed):
    """Without interactions draws are independent: sweeps, keys and layers do not correlate."""
    arrays = (np.zeros(4), np.zeros(4), np.zeros((4, 4)))
    first = gibbs.run_chains(parameters(arrays, ctx), hidden=mx.nd.zeros((DRAWS, 4)), key=[seed, 0], engine=engine)
    second = gibbs.run_chains(
        parameters(arrays, ctx), hidden=first.hidden_sample, sweeps=2, key=[seed, 1], engine=engine
    )
    samples = np.concatenate([layer.asnumpy() for chains in (first, second) for layer in chains[:2]], axis=1)
    correlations = np.corrcoef(samples.T)[np.triu_indices(16, 1)]
    assert np.abs(correlations).max() < 6 / np.sqrt(DRAWS)


def test_beta_of_each_chain_equals_one_beta_for_all(ctx, seed, generator):
    arrays = parameters(reference.random_rbm(6, 5, generator), ctx, "float64")
    base = mx.nd.array(generator.normal(size=6), ctx=ctx, dtype="float64")
    hidden = mx.nd.array(generator.integers(0, 2, size=(7, 5)), ctx=ctx, dtype="float64")
    betas = mx.nd.full(7, 0.37, ctx=ctx, dtype="float64")
    one = gibbs.run_chains(arrays, hidden=hidden, sweeps=4, beta=0.37, base_visible_bias=base, key=[seed])
    each = gibbs.run_chains(arrays, hidden=hidden, sweeps=4, beta=betas, base_visible_bias=base, key=[seed])
    for left, right in zip(one, each):
        np.testing.assert_allclose(left.asnumpy(), right.asnumpy(), rtol=1e-12)


@pytest.mark.parametrize("start", ["visible", "hidden"])
def test_the_number_of_sweeps_in_one_native_call_does_not_matter(ctx, engine, seed, generator, start, monkeypatch):
    arrays = parameters(reference.random_rbm(6, 5, generator), ctx)
    layer = mx.nd.ones((4, 6 if start == "visible" else 5), ctx=ctx)
    clamp = mx.nd.array([1, 0, 0, 0, 0, 1], ctx=ctx), mx.nd.array([1, 0, 0, 0, 0, 0], ctx=ctx)
    whole, parts = [], []
    for at_once, found in ((100, whole), (4, parts)):
        monkeypatch.setattr(gibbs, "NATIVE_SWEEPS", at_once)
        found += gibbs.run_chains(arrays, **{start: layer}, sweeps=13, clamp=clamp, key=[seed], engine=engine)
    for array, expected in zip(parts, whole):
        np.testing.assert_array_equal(array.asnumpy(), expected.asnumpy())


def test_different_betas_side_by_side(ctx, engine, seed, generator):
    arrays = reference.random_rbm(3, 3, generator)
    betas = np.repeat([0.2, 1.0], DRAWS)
    hidden = np.concatenate([reference.draw_joint(*arrays, DRAWS, generator, beta)[1] for beta in (0.2, 1.0)])
    chains = gibbs.run_chains(
        parameters(arrays, ctx),
        hidden=mx.nd.array(hidden),
        sweeps=2,
        beta=mx.nd.array(betas),
        key=[seed],
        engine=engine,
    )
    index = joint_index(chains)
    assert_distribution(index[:DRAWS], reference.joint(*arrays, 0.2))
    assert_distribution(index[DRAWS:], reference.joint(*arrays, 1.0))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_results_have_the_dtype_device_and_meaning_of_the_parameters(ctx, engine, seed, generator, dtype):
    if (engine, dtype) == ("native", "float64"):
        pytest.skip("the native engine computes in float32")
    arrays = reference.random_rbm(6, 5, generator)
    visible = mx.nd.array(generator.random((9, 6)), ctx=ctx, dtype=dtype)  # grey
    chains = gibbs.run_chains(parameters(arrays, ctx, dtype), visible=visible, sweeps=20, key=[seed], engine=engine)
    shapes = [(9, 6), (9, 5), (9, 6), (9, 5)]
    for array, shape in zip(chains, shapes):
        assert array.shape == shape and array.dtype == np.dtype(dtype) and array.context == ctx
    for sample in chains[:2]:
        assert np.isin(sample.asnumpy(), (0, 1)).all()
    expected = reference.sigmoid(arrays[1] + chains.visible_sample.asnumpy() @ arrays[2])
    np.testing.assert_allclose(chains.hidden_prob_1.asnumpy(), expected, rtol=1e-5)


def test_the_key_alone_fixes_the_noise(ctx, engine, seed, generator):
    arrays = parameters(reference.random_rbm(20, 20, generator, scale=0.1), ctx)
    hidden = mx.nd.zeros((50, 20), ctx=ctx)

    def run(*key):
        return gibbs.run_chains(arrays, hidden=hidden, sweeps=3, key=key, engine=engine).visible_sample.asnumpy()

    mx.random.seed(seed)
    expected_next = mx.nd.random.uniform(shape=(3,)).asnumpy()
    mx.random.seed(seed)
    first = run(seed, 1)
    # MXNet's global generator has not advanced.
    np.testing.assert_array_equal(mx.nd.random.uniform(shape=(3,)).asnumpy(), expected_next)
    np.testing.assert_array_equal(run(seed, 1), first)
    assert not np.array_equal(run(seed, 2), first)
    assert not np.array_equal(run(seed + 1, 1), first)

    in_thread = []
    thread = threading.Thread(target=lambda: in_thread.append(run(seed, 1)))
    thread.start()
    thread.join()
    np.testing.assert_array_equal(in_thread[0], first)


def test_probabilities_0_and_1_are_certain(ctx, seed):
    sample = Noise([seed]).bernoulli(mx.nd.array([0.0, 1.0] * 50000, ctx=ctx))
    np.testing.assert_array_equal(sample.asnumpy(), [0.0, 1.0] * 50000)


def test_drawn_keys_follow_mxnets_seed(seed):
    mx.random.seed(seed)
    first = [draw_key().asnumpy().tolist() for _ in range(2)]
    mx.random.seed(seed)
    assert [draw_key().asnumpy().tolist() for _ in range(2)] == first
    assert first[0] != first[1]


def test_only_entries_that_are_not_binary_are_redrawn(ctx, seed):
    sample = mx.nd.array([[0, 1, 0.5, np.nan], [1, 0, -1, np.inf]] * 500, ctx=ctx)
    redrawn = gibbs.redraw_non_binary(sample, Noise([seed])).asnumpy()
    np.testing.assert_array_equal(redrawn[:, :2], [[0, 1], [1, 0]] * 500)
    assert np.isin(redrawn, (0, 1)).all()
    assert abs(redrawn[:, 2:].mean() - 0.5) < 5 * 0.5 / np.sqrt(2000)


@pytest.mark.parametrize("per_chain", [False, True])
def test_clamped_chains_reach_the_exact_conditional_distribution(ctx, engine, seed, generator, per_chain):
    """The chains start with p(v, h | clamped units), by enumeration, and must keep it."""
    arrays = reference.random_rbm(4, 3, generator)
    mask, values = np.array([1, 0, 0, 1]), np.array([1, 0, 0, 0])
    joint = reference.joint(*arrays) * (reference.states(4)[:, [0, 3]] == [1, 0]).all(axis=1)[:, None]
    joint /= joint.sum()
    index = generator.choice(joint.size, size=DRAWS, p=joint.ravel())
    hidden = reference.states(3)[index % 8]
    clamp = [np.tile(part, (DRAWS, 1)) if per_chain else part for part in (mask, values)]
    chains = gibbs.run_chains(
        parameters(arrays, ctx), hidden=mx.nd.array(hidden, ctx=ctx), sweeps=2, key=[seed], engine=engine,
        clamp=[mx.nd.array(part, ctx=ctx) for part in clamp],
    )  # fmt: skip
    np.testing.assert_array_equal(chains.visible_sample.asnumpy()[:, [0, 3]], np.tile([1, 0], (DRAWS, 1)))
    np.testing.assert_array_equal(chains.visible_prob_1.asnumpy()[:, [0, 3]], np.tile([1, 0], (DRAWS, 1)))
    assert_distribution(joint_index(chains), joint)


def test_a_visible_start_is_clamped_before_the_first_sweep(ctx, engine, seed):
    """Units that are pinned to each other keep the clamped values, not the values of the start."""
    pinned = (np.full(3, -30.0), np.full(3, -30.0), 60 * np.eye(3))
    clamp = [mx.nd.array(part, ctx=ctx) for part in ([1, 0, 0], [1, 0, 0])]
    chains = gibbs.run_chains(
        parameters(pinned, ctx), visible=mx.nd.zeros((5, 3), ctx=ctx), sweeps=3, clamp=clamp, key=[seed], engine=engine
    )
    for sample in chains[:2]:
        np.testing.assert_array_equal(sample.asnumpy(), np.tile([1, 0, 0], (5, 1)))


def test_grey_clamps_are_held(ctx, seed, generator):
    arrays = parameters(reference.random_rbm(4, 3, generator), ctx)
    clamp = [mx.nd.array(part, ctx=ctx) for part in ([1, 0, 0, 0], [0.25, 0, 0, 0])]
    chains = gibbs.run_chains(arrays, visible=mx.nd.zeros((5, 4), ctx=ctx), sweeps=3, clamp=clamp, key=[seed])
    np.testing.assert_array_equal(chains.visible_sample.asnumpy()[:, 0], 0.25)


@pytest.mark.skipif(not native.available(), reason="the native engine is %s" % native.available())
def test_values_that_are_not_clamped_do_not_choose_the_engine(seed, generator):
    """Values that are not held may be grey or NaN; the native engine still serves."""
    arrays = parameters(reference.random_rbm(4, 3, generator))
    clamp = [mx.nd.array(part) for part in ([1, 0, 0, 0], [1, 0.5, np.nan, 0])]
    settings = dict(visible=mx.nd.zeros((50, 4)), sweeps=3, clamp=clamp, key=[seed])
    for left, right in zip(*(gibbs.run_chains(arrays, engine=name, **settings) for name in ("auto", "native"))):
        np.testing.assert_array_equal(left.asnumpy(), right.asnumpy())


@pytest.mark.parametrize("beta", [np.nan, -0.5, np.inf, [1.0, 0.5], [1.0, np.nan, 0.5], [[1.0], [0.5], [0.0]]])
def test_bad_inverse_temperatures_are_refused(engine, generator, beta):
    arrays = parameters(reference.random_rbm(4, 3, generator))
    beta = mx.nd.array(beta) if isinstance(beta, list) else beta
    with pytest.raises(InputError, match="beta must be a finite number of at least 0"):
        gibbs.run_chains(arrays, visible=mx.nd.zeros((3, 4)), beta=beta, engine=engine)


# --- Softmax groups -------------------------------------------------------------------------------

GROUP, GROUP_DRAWS = (1, 4), 200000
CLAMPS = {
    "nothing": None,
    "pixels": (np.array([1, 0, 0, 0, 1]), np.array([1, 0, 0, 0, 0])),
    "label": (np.array([0, 1, 1, 1, 0]), np.array([0, 0, 1, 0, 0])),
}


@pytest.mark.parametrize("betas", slow_but([(1.0,), (0.6,), (0.3, 1.0)], (0.6,)), ids=str)
@pytest.mark.parametrize("clamped", CLAMPS)
def test_a_softmax_group_is_exact(ctx, engine, seed, generator, clamped, betas):
    """Two sweeps keep the distribution. One sweep has the exact transition probabilities.

    With two betas, each chain has its own.
    """
    arrays, base, clamp = reference.random_rbm(5, 3, generator), generator.normal(size=5), CLAMPS[clamped]
    mask, values = clamp or (None, None)
    joints = [
        reference.given(reference.joint(*arrays, b, base), groups=[GROUP], mask=mask, values=values) for b in betas
    ]
    settings = dict(
        beta=betas[0] if len(betas) == 1 else mx.nd.array(np.repeat(betas, GROUP_DRAWS), ctx=ctx),
        base_visible_bias=mx.nd.array(base, ctx=ctx),
        clamp=clamp and [mx.nd.array(part, ctx=ctx) for part in clamp],
        visible_units=[GROUP],
        key=[seed],
        engine=engine,
    )

    def run(hidden, sweeps):
        return gibbs.run_chains(parameters(arrays, ctx), hidden=mx.nd.array(hidden, ctx=ctx), sweeps=sweeps, **settings)

    exact = np.concatenate([reference.draw(joint, GROUP_DRAWS, generator)[1] for joint in joints])
    index = joint_index(run(exact, 2)).reshape(len(betas), GROUP_DRAWS)
    start = int(generator.integers(8))
    chains = run(np.tile(reference.states(3)[start], (len(exact), 1)), 1)
    moved = joint_index(chains).reshape(len(betas), GROUP_DRAWS)
    for number, joint in enumerate(joints):
        assert_distribution(index[number], joint)
        marginal = joint.sum(axis=1, keepdims=True)
        expected = joint[:, [start]] / joint[:, start].sum() * joint / np.where(marginal, marginal, 1)
        assert_distribution(moved[number], expected)
        probability = chains.visible_prob_1.asnumpy()[number * GROUP_DRAWS]
        np.testing.assert_allclose(
            probability, joint[:, start] @ reference.states(5) / joint[:, start].sum(), atol=1e-5
        )


def test_some_chains_may_have_their_label_clamped(ctx, engine, seed, generator):
    # Parameters are small, so each unit of the group is on in some of 1,000 chains.
    arrays = parameters(reference.random_rbm(5, 3, generator, scale=0.3), ctx)
    mask, values = np.zeros((2000, 5)), np.full((2000, 5), 0.0)
    mask[::2, slice(*GROUP)], values[::2, 3] = 1, 1
    visible = gibbs.run_chains(
        arrays, hidden=mx.nd.zeros((2000, 3), ctx=ctx), sweeps=5, visible_units=[GROUP], key=[seed], engine=engine,
        clamp=[mx.nd.array(part, ctx=ctx) for part in (mask, values)],
    ).visible_sample.asnumpy()  # fmt: skip
    np.testing.assert_array_equal(visible[::2, slice(*GROUP)], np.tile([0, 0, 1], (1000, 1)))
    np.testing.assert_array_equal(visible[:, slice(*GROUP)].sum(axis=1), 1)
    assert (visible[1::2, slice(*GROUP)].mean(axis=0) > 0).all()


def test_units_with_probability_0_stay_off(ctx, engine, seed):
    """This includes the ends of the group, where rounding errors could add probability."""
    bias = np.array([-200.0, 0.3, 0.1, -200.0, -200.0])
    arrays = parameters((bias, np.zeros(2), np.zeros((5, 2))), ctx)
    visible = gibbs.run_chains(
        arrays, hidden=mx.nd.zeros((GROUP_DRAWS, 2), ctx=ctx), visible_units=[(0, 5)], key=[seed], engine=engine
    ).visible_sample.asnumpy()
    p = 1 / (1 + np.exp(-0.2))
    np.testing.assert_array_equal(visible[:, [0, 3, 4]], 0)
    assert abs(visible[:, 1].mean(dtype=float) - p) < 6 * np.sqrt(p * (1 - p) / GROUP_DRAWS)


@pytest.mark.parametrize("group", [(-1, 2), (3, 3), (3, 6), (4, 2)])
def test_bad_groups_are_refused(group):
    arrays = Parameters(mx.nd.zeros(5), mx.nd.zeros(3), mx.nd.zeros((5, 3)))
    with pytest.raises(InputError, match="of 5 visible units is"):
        gibbs.run_chains(arrays, hidden=mx.nd.zeros((1, 3)), visible_units=[group])


@pytest.mark.parametrize(
    "mask, values", [([0, 1, 0, 0, 0], [0, 1, 0, 0, 0]), ([0, 1, 1, 1, 0], [0, 0.5, 0.5, 0, 0]), ([1] * 5, [1] * 5)]
)
def test_clamps_of_a_part_of_a_group_are_refused(ctx, mask, values):
    arrays = parameters((np.zeros(5), np.zeros(3), np.zeros((5, 3))), ctx)
    clamp = [mx.nd.array(part, ctx=ctx) for part in (mask, values)]
    with pytest.raises(InputError, match="one at 1 and the others at 0"):
        gibbs.run_chains(arrays, hidden=mx.nd.zeros((1, 3), ctx=ctx), clamp=clamp, visible_units=[GROUP])


# --- Engines --------------------------------------------------------------------------------------


@pytest.mark.parametrize("with_base, groups", [(True, []), (False, []), (True, [GROUP]), (True, [(0, 2), (2, 5)])])
def test_annealing_is_unbiased_and_may_be_done_in_parts(ctx, engine, seed, generator, with_base, groups):
    """The mean of the weights w is the exact Z / Z_0 within five standard errors."""
    arrays = reference.random_rbm(5, 4, generator, scale=0.7)
    base = generator.normal(size=5) if with_base else None
    betas = np.linspace(0, 1, 11) ** 2
    first, last = reference.joint(*arrays, 0.0, base), reference.joint(*arrays)
    visible, _ = reference.draw(reference.given(first, groups=groups), 20000, generator)
    possible = np.ones(32, bool)
    for group in groups:
        possible &= reference.states(5)[:, slice(*group)].sum(axis=1) == 1
    log_ratio = reference.log_z(*arrays) - reference.log_z(*arrays, 0.0, base)
    log_ratio += np.log(last.sum(axis=1).sum(where=possible) / first.sum(axis=1).sum(where=possible))
    nd_base = None if base is None else mx.nd.array(base, ctx=ctx)

    def anneal(*stops):
        samples, total, start = mx.nd.array(visible, ctx=ctx), 0, 0
        for stop in stops:
            samples, grown = gibbs.anneal_with_weights(
                parameters(arrays, ctx),
                samples,
                betas,
                start,
                stop,
                sweeps=2,
                base_visible_bias=nd_base,
                visible_units=groups,
                key=[seed],
                engine=engine,
            )
            total, start = total + grown, stop
        return samples.asnumpy(), total

    samples, log_weights = anneal(10)
    assert log_weights.dtype == np.float64
    ratio = np.exp(log_weights - log_ratio)
    assert abs(ratio.mean() - 1) < 5 * ratio.std(ddof=1) / np.sqrt(len(ratio))
    for stops in ((3, 10), (1, 2, 10)):
        again, in_parts = anneal(*stops)
        np.testing.assert_array_equal(again, samples)
        np.testing.assert_allclose(in_parts, log_weights, rtol=1e-12, atol=1e-12)


@pytest.mark.skipif(not native.available(), reason="the native engine is %s" % native.available())
def test_both_engines_weigh_the_same_samples_the_same(seed, generator):
    """One step from beta 0.3 to 1 draws no noise."""
    arrays = parameters(reference.random_rbm(50, 40, generator, scale=0.3))
    visible = mx.nd.array(generator.integers(0, 2, (30, 50)))
    base = mx.nd.array(generator.normal(size=50))
    settings = dict(betas=[0.3, 1.0], base_visible_bias=base, key=[seed])
    results = [gibbs.anneal_with_weights(arrays, visible, engine=engine, **settings)[1] for engine in gibbs.ENGINES[:3]]
    np.testing.assert_allclose(results[1], results[2], rtol=1e-5, atol=1e-4)
    np.testing.assert_array_equal(results[0], results[2])  # auto is native here


def test_choice_of_the_engine(monkeypatch):
    weight = mx.nd.zeros((3, 2))
    with pytest.raises(InputError, match="engine 'fast' does not exist"):
        gibbs.choose_engine("fast", weight)
    assert gibbs.choose_engine("mxnet", weight) == "mxnet"
    assert gibbs.choose_engine("auto", weight.astype("float64")) == "mxnet"
    with pytest.raises(InputError, match="it serves float32 on a CPU, not float64"):
        gibbs.choose_engine("native", weight.astype("float64"))
    monkeypatch.setattr(native, "available", lambda: native.Availability("it is not built"))
    assert gibbs.choose_engine("auto", weight) == "mxnet"
    with pytest.raises(InputError, match="cannot be used: it is not built; choose --engine mxnet or auto"):
        gibbs.choose_engine("native", weight)


def test_errors():
    arrays = Parameters(mx.nd.zeros(3), mx.nd.zeros(2), mx.nd.zeros((3, 2)))
    with pytest.raises(InputError, match="exactly one"):
        gibbs.run_chains(arrays)
    with pytest.raises(InputError, match="exactly one"):
        gibbs.run_chains(arrays, visible=mx.nd.zeros((1, 3)), hidden=mx.nd.zeros((1, 2)))
    with pytest.raises(InputError, match="at least 1"):
        gibbs.run_chains(arrays, visible=mx.nd.zeros((1, 3)), sweeps=0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numpy_arrays_in_numpy_arrays_out(auto_engine, seed, generator, dtype):
    arrays = Parameters(*(array.astype(dtype) for array in reference.random_rbm(6, 5, generator)))
    visible = generator.integers(0, 2, (9, 6)).astype(dtype)
    settings = [
        {
            "visible": visible,
            "sweeps": 3,
            "beta": generator.random(9).astype(dtype),
            "base_visible_bias": arrays.visible_layer_bias,
        },
        {"hidden": generator.integers(0, 2, (9, 5)).astype(dtype), "visible_units": [(1, 4)]},
        {"visible": visible, "clamp": (np.arange(6) < 2, visible)},
        {"visible": visible, "clamp": (np.arange(6) < 2, visible / 2)},  # grey, for MXNet's engine
    ]
    for given in settings:
        found = gibbs.run_chains(arrays, key=[seed], **given)
        as_nd = {name: ndarrays(value, dtype) for name, value in given.items()}
        expected = gibbs.run_chains(Parameters(*ndarrays(tuple(arrays), dtype)), key=[seed], **as_nd)
        for one, other in zip(found, expected):
            assert isinstance(one, np.ndarray) and one.dtype == dtype
            np.testing.assert_array_equal(one, other.asnumpy())


def ndarrays(value, dtype):
    if isinstance(value, tuple):
        return tuple(ndarrays(part, dtype) for part in value)
    return mx.nd.array(value, dtype=dtype) if isinstance(value, np.ndarray) else value


def test_numpy_states_that_are_not_binary_are_drawn_anew(seed):
    sample = np.array([[0, 1, np.nan, 0.3, -2, 1]] * 5000, np.float32)
    redrawn = gibbs.redraw_non_binary(sample, Noise([seed]))
    assert isinstance(redrawn, np.ndarray) and np.isin(redrawn, (0, 1)).all()
    np.testing.assert_array_equal(redrawn[:, [0, 1, 5]], sample[:, [0, 1, 5]])
    assert np.abs(redrawn[:, 2:5].mean(axis=0) - 0.5).max() < 6 * 0.5 / np.sqrt(5000)


@pytest.mark.parametrize("on_host", [True, False])
def test_starts_of_another_width_or_dtype(engine, ctx, generator, on_host):
    if on_host and ctx != mx.cpu():
        pytest.skip("NumPy's arrays are on the host")
    arrays = [array.astype(np.float32) for array in reference.random_rbm(5, 3, generator)]

    def array(values, dtype="float32"):
        return np.asarray(values, dtype) if on_host else mx.nd.array(values, ctx=ctx, dtype=dtype)

    rbm, visible, hidden = Parameters(*map(array, arrays)), np.eye(5), np.eye(3)
    for layer, start in (("visible", visible), ("hidden", hidden)):
        chains = [
            gibbs.run_chains(rbm, **{layer: array(start, dtype)}, key=[1], engine=engine)
            for dtype in ("float32", "uint8", "int32", "float64")
        ]
        for other in chains[1:]:
            np.testing.assert_array_equal(to_numpy(other.visible_prob_1), to_numpy(chains[0].visible_prob_1))
        for shape in ((4, 6), (5,), (2, 2, 5)):
            with pytest.raises(InputError, match="the start of the %s layer has shape" % layer):
                gibbs.run_chains(rbm, **{layer: array(np.ones(shape))}, engine=engine)
    for wrong in (
        {"base_visible_bias": array(np.ones(4))},
        {"clamp": (array(np.ones(4)), array(np.ones(5)))},
        {"clamp": (array(np.ones(5)), array(np.ones((4, 5))))},
    ):
        with pytest.raises(InputError, match=r"must have shape \(5,\)"):
            gibbs.run_chains(rbm, visible=array(visible), engine=engine, **wrong)
