"""Terms that change the gradient, and the chains that it comes from, against enumeration."""

import numpy as np
import pytest
import reference

from binary_rbm import BinaryRBMBlock, binary_rbm_symbol
from gluon_rbm.backend.arrays import as_operand
from gluon_rbm.backend.framework import mx
from gluon_rbm.data import datasets
from gluon_rbm.data.batches import to_visible
from gluon_rbm.likelihood import learning
from gluon_rbm.likelihood.rules import LearningRule
from gluon_rbm.training.optimization import rate_factor

LEARNED = ("visible_layer_bias", "hidden_layer_bias", "interaction_weight")
VISIBLE, HIDDEN = learning.SAMPLES


def trained_block(values, ctx, rule, data, k=2, num_chains=0, dtype="float64", **states):
    """A block with these parameters and states after one step, with gradients not applied yet."""
    rbm = BinaryRBMBlock(len(values[1]), k, True, num_visible=len(values[0]), num_chains=num_chains, rule=rule)
    rbm.initialize(mx.init.Normal(), ctx=ctx)
    rbm.cast(dtype)
    rbm(mx.nd.array(data, ctx=ctx, dtype=dtype)) if not num_chains else None
    for name, array in dict(zip(LEARNED, values), **states).items():
        getattr(rbm, name).set_data(mx.nd.array(array, dtype=dtype))
    with mx.autograd.record():
        loss = rbm(mx.nd.array(data, ctx=ctx, dtype=dtype))[0]
    loss.backward()
    mx.nd.waitall()
    return rbm


def value(rbm, name):
    return getattr(rbm, name).data().asnumpy()


def gradients(rbm):
    return [getattr(rbm, name).grad().asnumpy() for name in LEARNED]


# --- Centering ------------------------------------------------------------------------------------


def centered_free_energies(a, b, w, mu, lam, visible):
    """F(v) of each row, by a sum over the hidden states.

    E(v, h) = -(v - mu).a - b.(h - lambda) - (v - mu) W (h - lambda)
    """
    result = []
    for v in visible:
        terms = [(v - mu) @ a + b @ (h - lam) + (v - mu) @ w @ (h - lam) for h in reference.states(len(b))]
        result.append(-reference.log_sum_exp(np.array(terms)))
    return np.array(result)


def test_the_centered_gradient_is_the_gradient_in_the_centered_parameters(ctx, generator):
    """The loss is differentiated numerically with respect to the centered parameters a', b' and W.

    The direction is then converted to a, b and W.
    """
    a, b, w = reference.random_rbm(5, 4, generator)
    mu, lam = generator.random(5), generator.random(4)
    data = generator.random((7, 5))
    states = {"aux_visible_offset": mu, "aux_hidden_offset": lam}
    rbm = trained_block((a, b, w), ctx, LearningRule(centering=1e-300), data, num_chains=6, **states)
    chains = value(rbm, "aux_visible_layer_sample")

    def loss(flat):
        parts = flat[:5], flat[5:9], flat[9:].reshape(5, 4), mu, lam
        return centered_free_energies(*parts, data).mean() - centered_free_energies(*parts, chains).mean()

    centered = np.concatenate([a + w @ lam, b + mu @ w, w.ravel()])
    step = 1e-5
    slope = np.array([(loss(centered + d) - loss(centered - d)) / (2 * step) for d in step * np.eye(len(centered))])
    slope_w = slope[9:].reshape(5, 4)
    # a = a' - W lambda, b = b' - mu W
    expected = slope[:5] - slope_w @ lam, slope[5:9] - mu @ slope_w, slope_w
    for ours, theirs in zip(gradients(rbm), expected):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-8)


def test_the_offsets_follow_the_batches_and_the_gradient_uses_them(ctx, generator):
    values = a, b, w = reference.random_rbm(5, 4, generator)
    data = generator.random((7, 5))
    rbm = trained_block(values, ctx, LearningRule(centering=0.25), data)
    mu, lam = value(rbm, "aux_visible_offset"), value(rbm, "aux_hidden_offset")
    hidden = reference.sigmoid(b + data @ w)
    np.testing.assert_allclose(mu, 0.75 * 0.5 + 0.25 * data.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(lam, 0.75 * 0.5 + 0.25 * hidden.mean(axis=0), rtol=1e-12)
    chains = value(rbm, "aux_visible_layer_sample")
    chain_hidden = reference.sigmoid(b + chains @ w)
    expected = sum(np.outer(v - mu, h - lam) for v, h in zip(chains, chain_hidden)) / 7
    expected = expected - sum(np.outer(v - mu, h - lam) for v, h in zip(data, hidden)) / 7
    np.testing.assert_allclose(gradients(rbm)[2], expected, rtol=1e-10, atol=1e-13)


def test_the_offsets_do_not_change_outside_record(ctx, generator):
    data = generator.random((7, 5))
    rbm = trained_block(reference.random_rbm(5, 4, generator), ctx, LearningRule(centering=0.25), data)
    before = [value(rbm, name) for name in learning.OFFSETS]
    rbm(mx.nd.array(data, ctx=ctx, dtype="float64"))[0].asnumpy()
    for name, array in zip(learning.OFFSETS, before):
        np.testing.assert_array_equal(value(rbm, name), array)


def test_unknown_attributes_are_refused():
    with pytest.raises(ValueError, match="a learning rule has no centring; it has chains"):
        LearningRule.checked(centring=0.1)


# --- Sparsity and weight decay --------------------------------------------------------------------


@pytest.mark.parametrize("centering", [0.0, 1e-300])
def test_costs_add_their_gradients(ctx, generator, centering):
    """The whole loss is differentiated numerically, in plain or in centered parameters."""
    a, b, w = reference.random_rbm(5, 4, generator)
    mu, lam = (generator.random(5), generator.random(4)) if centering else (np.zeros(5), np.zeros(4))
    data, target, cost, decay = generator.random((7, 5)), 0.2, 0.7, 0.3
    rule = LearningRule(centering=centering, sparsity_target=target, sparsity_cost=cost, weight_decay_l1=decay)
    states = {"aux_visible_offset": mu, "aux_hidden_offset": lam} if centering else {}
    rbm = trained_block((a, b, w), ctx, rule, data, num_chains=6, **states)
    chains = value(rbm, VISIBLE)

    def loss(flat):
        a, b, w = flat[:5], flat[5:9], flat[9:].reshape(5, 4)
        activity = reference.sigmoid(b + (data - mu) @ w).mean(axis=0)
        likelihood = [centered_free_energies(a, b, w, mu, lam, rows).mean() for rows in (data, chains)]
        return likelihood[0] - likelihood[1] + cost * ((target - activity) ** 2).sum() + decay * np.abs(w).sum()

    start = np.concatenate([a + w @ lam, b + mu @ w, w.ravel()])
    step = 1e-6
    slope = np.array([(loss(start + d) - loss(start - d)) / (2 * step) for d in step * np.eye(len(start))])
    slope_w = slope[9:].reshape(5, 4)
    expected = slope[:5] - slope_w @ lam, slope[5:9] - mu @ slope_w, slope_w
    for ours, theirs in zip(gradients(rbm), expected):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)


def test_gradients_of_costs_are_added_with_grad_req_add(ctx, generator):
    values = reference.random_rbm(5, 4, generator)
    rule = LearningRule(centering=0.1, sparsity_cost=0.5, weight_decay_l1=0.3)
    data = generator.random((7, 5))
    rbm = trained_block(values, ctx, rule, data)
    once = gradients(rbm)
    targets = [mx.nd.ones(array.shape, ctx=ctx, dtype="float64") for array in once]
    chains = value(rbm, VISIBLE)
    rows = [(v, reference.sigmoid(values[1] + v @ values[2])) for v in (chains, data)]
    operands = [tuple(as_operand(mx.nd.array(x, ctx=ctx, dtype="float64")) for x in pair) for pair in rows]
    kept = {name: getattr(rbm, name).data() for name in learning.OFFSETS}
    weight = as_operand(rbm.interaction_weight.data())
    learning.store_gradients(rule, targets, ["add", "null", "add"], *operands, weight=weight, aux_states=kept)
    for target, how, expected in zip(targets, (1, 0, 1), once):
        np.testing.assert_allclose(target.asnumpy(), 1 + how * expected, rtol=1e-9, atol=1e-12)


def test_a_sparsity_target_is_reached(ctx, generator):
    data = mx.nd.array(generator.integers(0, 2, (50, 6)), ctx=ctx)
    rbm = BinaryRBMBlock(4, 1, True, rule=LearningRule(sparsity_target=0.1, sparsity_cost=100.0))
    rbm.initialize(mx.init.Normal(sigma=0.01), ctx=ctx)
    trainer = None
    for _ in range(300):
        with mx.autograd.record():
            loss, hidden_prob_1 = rbm(data)
        loss.backward()
        trainer = trainer or mx.gluon.Trainer(rbm.collect_params(), "sgd", {"learning_rate": 0.1})
        trainer.step(1)
    np.testing.assert_allclose(hidden_prob_1.asnumpy().mean(axis=0), 0.1, atol=0.02)


# --- Chains ---------------------------------------------------------------------------------------


def test_chains_of_contrastive_divergence_start_at_the_data(ctx, generator):
    """Strong weights tie each hidden unit to a visible unit, so a chain cannot leave its start."""
    pinned = (np.full(4, -20.0), np.full(4, -20.0), 40 * np.eye(4))
    rbm = None
    for rows in (5, 3, 9):  # chain i starts at image i modulo the batch size
        data = generator.integers(0, 2, (rows, 4)).astype(float)
        if rbm is None:
            rbm = trained_block(pinned, ctx, LearningRule(chains="data"), data, num_chains=7)
        else:
            with mx.autograd.record():
                loss = rbm(mx.nd.array(data, ctx=ctx, dtype="float64"))[0]
            loss.backward()
        for name in learning.SAMPLES:
            np.testing.assert_array_equal(value(rbm, name), data[np.arange(7) % rows])


def test_contrastive_divergence_is_k_sweeps_from_the_data(ctx, seed, generator):
    a, b, w = reference.random_rbm(4, 3, generator)
    start, rows = generator.random(4), 50000
    rbm = trained_block((a, b, w), ctx, LearningRule(chains="data"), np.tile(start, (rows, 1)), k=1, dtype="float32")
    given_start = reference.sigmoid(b + start @ w)
    hidden = reference.states(3)
    weight = (given_start**hidden * (1 - given_start) ** (1 - hidden)).prod(axis=1)
    mean = weight @ reference.sigmoid(a + hidden @ w.T)
    ours = value(rbm, VISIBLE).mean(axis=0, dtype=float)
    assert (np.abs(ours - mean) < 5 * np.sqrt(mean * (1 - mean) / rows)).all()
    expected = ours - start
    np.testing.assert_allclose(gradients(rbm)[0], expected, rtol=1e-4, atol=1e-5)


def test_tempered_chains_keep_their_distributions(ctx, seed, generator):
    """Chains start at exact draws at each temperature. They stay exact after swaps and sweeps."""
    values, base = reference.random_rbm(4, 3, generator), generator.normal(size=4)
    rule, count = LearningRule(chains="tempered", num_temperatures=4), 20000
    betas = np.linspace(1, 0, 4)
    probabilities, index = reference.draw_replicas(values, betas, base, count, generator)
    visible, hidden = reference.states(4)[index.ravel() // 8], reference.states(3)[index.ravel() % 8]
    states = {VISIBLE: visible, HIDDEN: hidden, learning.BASE: base}
    rbm = trained_block(values, ctx, rule, np.zeros((2, 4)), k=2, num_chains=count, dtype="float32", **states)
    after = 8 * reference.state_index(value(rbm, VISIBLE)) + reference.state_index(value(rbm, HIDDEN))
    for replica, probability in zip(after.reshape(4, count), probabilities):
        reference.assert_drawn_from(replica, probability)
    assert (after != index.ravel()).mean() > 0.3
    expected = reference.gradients(*values, np.zeros((2, 4)))  # the RBM learns from beta = 1 only
    for ours, exact in zip(gradients(rbm), expected):
        np.testing.assert_allclose(ours, exact, atol=5 * 0.5 / np.sqrt(count))
    assert rbm.num_chains == count


@pytest.mark.slow
def test_tempered_chains_cross_between_modes_but_persistent_ones_do_not(ctx, seed, generator):
    """Two modes are far apart. All chains start in the less probable one."""
    a, b, w = np.full(6, -8.9), np.full(6, -9.0), np.full((6, 6), 3.0)  # all off, or all on
    probability = reference.joint(a, b, w).sum(axis=1)
    assert probability[0] + probability[-1] > 0.8 and 0.2 < probability[-1] < 0.8
    on = {}
    for chains in ("persistent", "tempered"):
        rule = LearningRule(chains=chains, num_temperatures=12)
        states = {name: np.zeros((500 * rule.replicas, 6)) for name in learning.SAMPLES}
        rbm = trained_block((a, b, w), ctx, rule, np.zeros((2, 6)), k=1, num_chains=500, dtype="float32", **states)
        seen = []
        for step in range(400):
            with mx.autograd.record():
                rbm(mx.nd.zeros((2, 6), ctx=ctx))
            if step >= 200:
                seen.append(value(rbm, VISIBLE)[:500].min(axis=1).mean())
        on[chains] = np.mean(seen)
    assert on["persistent"] < 0.5 * probability[-1]
    assert on["tempered"] == pytest.approx(probability[-1], abs=0.05)


def test_the_swap_rate_is_a_running_mean(ctx, seed, generator):
    values, count = reference.random_rbm(3, 2, generator), 5000
    rule = LearningRule(chains="tempered", num_temperatures=3)
    betas, base = np.linspace(1, 0, 3), np.zeros(3)
    slopes = reference.uphill_slopes(*values, base)
    probabilities, index = reference.draw_replicas(values, betas, base, count, generator)
    states = {VISIBLE: reference.states(3)[index.ravel() // 4], HIDDEN: reference.states(2)[index.ravel() % 4]}
    states[learning.SWAP_RATE] = np.array([0.2, 0.9])
    rbm = trained_block(values, ctx, rule, np.zeros((2, 3)), num_chains=count, **states)
    for pair in (0, 1):
        accepted = np.minimum(1, np.exp(0.5 * (slopes[:, None] - slopes[None, :])))
        mean = probabilities[pair] @ accepted @ probabilities[pair + 1]
        expected = states[learning.SWAP_RATE][pair] * 0.99 + 0.01 * mean
        assert value(rbm, learning.SWAP_RATE)[pair] == pytest.approx(expected, abs=0.01 * 5 * 0.5 / np.sqrt(count))


@pytest.mark.slow
def test_bars_and_stripes_are_learned_nearly_perfectly(seed):
    """The exact mean log-likelihood comes from enumeration of 2^12 hidden states.

    No distribution gives 30 patterns a larger mean than -log 30.
    """
    patterns = to_visible(datasets.load("bars-and-stripes").train_images, 1)
    best, steps = -np.log(30), 1000
    rule = LearningRule(chains="tempered", num_temperatures=5, centering=0.01)
    rbm = BinaryRBMBlock(12, 2, True, num_visible=16, num_chains=50, rule=rule)
    rbm.initialize(mx.init.Normal(sigma=0.01))
    rbm.hybridize()
    trainer = mx.gluon.Trainer(rbm.collect_params(), "sgd", {"learning_rate": 1.0})
    batch = mx.nd.array(patterns)
    for step in range(steps):
        with mx.autograd.record():
            loss = rbm(batch)[0]
        loss.backward()
        trainer.set_learning_rate(rate_factor("linear", 0.3, step / steps))
        trainer.step(1)
    a, b, w = (array.asnumpy().astype(float) for array in rbm.rbm_parameters)
    hidden = reference.states(12)
    log_z = reference.log_sum_exp(hidden @ b + np.logaddexp(0, a + hidden @ w.T).sum(axis=1))
    log_likelihood = (patterns @ a + np.logaddexp(0, b + patterns @ w).sum(axis=1)).mean() - log_z
    assert best - 0.4 < log_likelihood < best, log_likelihood - best


# --- Saved states ---------------------------------------------------------------------------------

EVERYTHING = LearningRule("tempered", 3, 0.05, 0.1, 0.2, 0.01)


def one_step(rbm, data, seed):
    mx.random.seed(seed)
    with mx.autograd.record():
        visible_prob_1 = rbm(data)[0]
    visible_prob_1.backward()
    return [visible_prob_1.asnumpy(), *gradients(rbm)]


def test_states_of_a_rule_are_saved_and_loaded(ctx, seed, generator, tmp_path):
    data, path = mx.nd.array(generator.random((6, 5)), ctx=ctx), str(tmp_path / "rbm.params")
    first, second = (BinaryRBMBlock(4, 2, True, num_chains=7, rule=EVERYTHING) for _ in range(2))
    first.initialize(mx.init.Normal(sigma=0.01), ctx=ctx)
    assert one_step(first, data, seed)[0].shape == (7, 5)
    first.save_parameters(path)
    assert sorted(mx.nd.load(path)) == sorted([*LEARNED, *learning.states(EVERYTHING, 7, 5, 4)])
    second.load_parameters(path, ctx=ctx)
    second.hybridize()
    for ours, theirs in zip(*(one_step(rbm, data, seed) for rbm in (first, second))):
        np.testing.assert_array_equal(ours, theirs)
    for name, shape in learning.states(EVERYTHING, 7, 5, 4).items():
        assert value(first, name).shape == shape
        np.testing.assert_array_equal(value(first, name), value(second, name))
    without = BinaryRBMBlock(4, 2, False)
    without.load_parameters(path, ctx=ctx)
    np.testing.assert_array_equal(value(without, LEARNED[2]), value(first, LEARNED[2]))


def test_the_symbol_and_the_block_start_with_the_same_states(ctx, generator):
    module = mx.mod.Module(
        binary_rbm_symbol(4, 2, True, num_chains=7, rule=EVERYTHING), ["data"], label_names=None, context=ctx
    )
    module.bind([("data", (6, 5))])
    module.init_params(mx.init.Normal(sigma=0.01))
    rbm = BinaryRBMBlock(4, 2, True, num_chains=7, num_visible=5, rule=EVERYTHING)
    rbm.initialize(ctx=ctx)
    states = module.get_params()[1]
    assert sorted(states) == sorted(learning.states(EVERYTHING, 7, 5, 4))
    for name, array in states.items():
        assert array.shape == value(rbm, name).shape
        if name in learning.SAMPLES:
            assert set(array.asnumpy().ravel()) == {0.0, 1.0}
        else:
            np.testing.assert_array_equal(array.asnumpy(), value(rbm, name))


@pytest.mark.parametrize(
    "attribute, bad, message",
    [
        ("chains", "loose", "one of persistent, data, noise, tempered, trajectory"),
        ("num_temperatures", 1, "at least 2"),
        ("num_snapshots", 1, "at least 2"),
        ("num_temperatures", 2.5, "a whole number"),
        ("centering", "much", "a number"),
        ("centering", None, "a number"),
        ("centering", 1.5, "a rate in"),
        ("centering", float("nan"), "a rate in"),
        ("sparsity_target", -0.1, "a probability in"),
        ("sparsity_cost", float("inf"), "finite and at least 0"),
        ("weight_decay_l1", -1.0, "finite and at least 0"),
    ],
)
def test_attributes_out_of_range_are_refused(attribute, bad, message):
    with pytest.raises(ValueError, match="%s is %s; it must be %s" % (attribute, bad, message)):
        BinaryRBMBlock(3, 1, True, rule=LearningRule(**{attribute: bad}))
