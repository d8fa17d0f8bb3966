"""Gaussian visible units: sweeps and likelihood against the exact mixture of normal distributions.

Given h, v is normal with mean a + W h and variance 1, and p(h) = exp(b.h + |a + W h|^2 / 2) / Z. At
an inverse temperature beta with base rate a0, the parameters are (1 - beta) a0 + beta a, beta b and
beta W.
"""

import numpy as np
import pytest
import reference
from scipy import stats

from gluon_rbm.backend import native
from gluon_rbm.backend.framework import mx
from gluon_rbm.errors import InputError
from gluon_rbm.likelihood import ais, enumeration, learning
from gluon_rbm.likelihood.rules import LearningRule
from gluon_rbm.models.energy import free_energy, hidden_probability
from gluon_rbm.models.parameters import Parameters
from gluon_rbm.models.visible_units import GAUSSIAN
from gluon_rbm.sampling import gibbs

DRAWS = 200000
SIGNIFICANCE = 1e-6


def parameters(rbm, ctx=None, dtype="float32"):
    return Parameters(*(mx.nd.array(array, ctx=ctx, dtype=dtype) for array in rbm))


class Exact:
    """An RBM by enumeration of its hidden states, in float64."""

    def __init__(self, a, b, w, beta=1.0, base=None):
        base = np.zeros_like(a) if base is None else base
        self.states = reference.states(len(b))
        self.centres = (1 - beta) * base + beta * (a + self.states @ w.T)
        scores = beta * self.states @ b + np.square(self.centres).sum(axis=1) / 2
        self.log_z = reference.log_sum_exp(scores)
        self.weights = np.exp(scores - self.log_z)

    def draw(self, count, generator):
        """Draw v and h."""
        rows = generator.choice(len(self.weights), count, p=self.weights)
        return self.centres[rows] + generator.normal(size=(count, self.centres.shape[1])), self.states[rows]

    def log_density(self, visible):
        """log p(v) from the mixture, without free energies."""
        normal = stats.norm.logpdf(visible[:, None] - self.centres).sum(axis=2)
        return np.array([reference.log_sum_exp(row) for row in np.log(self.weights) + normal])


def small(generator, num_visible=5, num_hidden=3):
    return tuple(0.7 * array for array in reference.random_rbm(num_visible, num_hidden, generator))


def assert_hidden(hidden, weights):
    counts = np.bincount(reference.state_index(hidden), minlength=len(weights))
    statistic, freedom = reference.chi_square(counts, weights * len(hidden))
    assert stats.chi2.sf(statistic, freedom) > SIGNIFICANCE, (statistic, freedom)


def assert_normal(numbers, deviation=1.0):
    """Check that columns are independent, and normal with mean 0 and this standard deviation."""
    for column in numbers.T:
        assert stats.kstest(column / deviation, "norm").pvalue > SIGNIFICANCE
    correlations = np.corrcoef(numbers.T)[np.triu_indices(numbers.shape[1], 1)]
    assert np.abs(correlations).max() < 6 / np.sqrt(len(numbers))


def host(chains):
    return [layer.asnumpy().astype(np.float64) for layer in chains]


# --- Sweeps ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("sweeps", [1, 3])
@pytest.mark.parametrize("beta, with_base", [(1, False), (0.6, True), (0.0, True)])
def test_sweeps_keep_the_exact_distribution(ctx, engine, seed, generator, sweeps, beta, with_base):
    rbm = small(generator)
    base = generator.normal(size=5) if with_base else None
    exact = Exact(*rbm, beta, base)
    _, hidden = exact.draw(DRAWS, generator)
    chains = gibbs.run_chains(
        parameters(rbm, ctx),
        hidden=mx.nd.array(hidden, ctx=ctx),
        sweeps=sweeps,
        beta=beta,
        base_visible_bias=None if base is None else mx.nd.array(base, ctx=ctx),
        visible_units=GAUSSIAN,
        key=[seed],
        engine=engine,
    )
    visible, hidden, mean, probability = host(chains)
    assert_hidden(hidden, exact.weights)
    assert_normal(visible - exact.centres[reference.state_index(hidden)])  # given h
    assert_normal(visible - mean)  # given the previous hidden layer
    a, b, w = rbm
    np.testing.assert_allclose(probability, reference.sigmoid(beta * (b + visible @ w)), atol=2e-5)


@pytest.mark.parametrize("per_chain", [False, True])
def test_clamped_units_stay_and_the_others_follow(ctx, engine, seed, generator, per_chain):
    a, b, w = small(generator)
    mask, values = np.array([1, 0, 0, 1, 0]), generator.normal(size=5)
    free = mask == 0
    # Clamped units add to the hidden biases.
    exact = Exact(a[free], b + values[~free] @ w[~free], w[free])
    _, hidden = exact.draw(DRAWS, generator)
    clamp = [np.tile(array, (DRAWS, 1)) if per_chain else array for array in (mask, values)]
    chains = gibbs.run_chains(
        parameters((a, b, w), ctx),
        hidden=mx.nd.array(hidden, ctx=ctx),
        sweeps=2,
        clamp=tuple(mx.nd.array(array, ctx=ctx) for array in clamp),
        visible_units=GAUSSIAN,
        key=[seed],
        engine=engine,
    )
    visible, hidden, mean, _ = host(chains)
    held = np.tile(values[~free].astype(np.float32), (DRAWS, 1))
    np.testing.assert_array_equal(visible[:, ~free], held)
    np.testing.assert_array_equal(mean[:, ~free], held)
    assert_hidden(hidden, exact.weights)
    assert_normal(visible[:, free] - exact.centres[reference.state_index(hidden)])


@pytest.mark.parametrize("steps, step_size", [(10, 0.1), (1, 0.5), (3, 3.0)])
def test_one_draw_equals_all_langevin_steps(ctx, engine, seed, generator, steps, step_size):
    """All chains start at one visible state. The hidden units are certain."""
    a, start = generator.normal(size=(2, 6))
    w, b = generator.normal(size=(6, 2)), np.array([60.0, -60.0])
    mean = a + w[:, 0]
    expected, variance = start, 0.0
    for _ in range(steps):
        expected = expected - step_size / 2 * (expected - mean)
        variance = (1 - step_size / 2) ** 2 * variance + step_size
    visible, *_ = host(
        gibbs.run_chains(
            parameters((a, b, w), ctx),
            visible=mx.nd.array(np.tile(start, (DRAWS, 1)), ctx=ctx),
            langevin=gibbs.Langevin(steps, step_size),
            visible_units=GAUSSIAN,
            key=[seed],
            engine=engine,
        )
    )
    assert_normal(visible - expected, np.sqrt(variance))


def test_many_langevin_steps_have_the_documented_variance(ctx, engine, seed):
    rbm = np.zeros(5), np.zeros(3), np.zeros((5, 3))
    chains = gibbs.run_chains(
        parameters(rbm, ctx),
        visible=mx.nd.zeros((DRAWS, 5), ctx=ctx),
        sweeps=120,  # more than one call of the native engine
        langevin=gibbs.Langevin(10, 0.5),
        visible_units=GAUSSIAN,
        key=[seed],
        engine=engine,
    )
    assert_normal(host(chains)[0], np.sqrt(1 / (1 - 0.5 / 4)))


def test_normal_numbers_of_every_instruction_set(seed, engine):
    """Check the distribution of a whole block, pairs of numbers with one radius, and the tails."""
    if engine != "native":
        pytest.skip("of the native engine")
    found = []
    for name in native.features()["instruction_sets"]:
        w, a, b = np.zeros((37, 3)), np.zeros(37), np.zeros(3)
        visible = native.run(
            w, a, b, hidden=np.zeros((DRAWS, 3)), key=[seed], visible_units=GAUSSIAN, instruction_set=name
        )[0].astype(np.float64)
        found.append(visible)
        np.testing.assert_allclose(visible, found[0], atol=3e-6)
    assert_normal(found[0])
    count = found[0].size
    for bound in (3, 4, 4.5):
        beyond, probability = (np.abs(found[0]) > bound).sum(), 2 * stats.norm.sf(bound)
        assert abs(beyond - count * probability) < 6 * np.sqrt(count * probability)
    # Both numbers come from one pair of random words.
    radii = np.square(found[0][:, :5]) + np.square(found[0][:, 16:21])
    assert stats.kstest(radii.ravel() / 2, "expon").pvalue > SIGNIFICANCE


@pytest.mark.parametrize("num_chains", [1, 7, 300])
@pytest.mark.parametrize("num_visible, num_hidden", [(1, 1), (31, 33), (700, 40)])
def test_both_engines_compute_the_same_means(seed, generator, engine, num_chains, num_visible, num_hidden):
    if engine != "native":
        pytest.skip("of the native engine")
    a, b, w = reference.random_rbm(num_visible, num_hidden, generator, 0.3)
    visible = generator.normal(size=(num_chains, num_visible))
    for name in native.features()["instruction_sets"]:
        for threads in (1, 3):
            samples, hidden, mean, probability = native.run(
                w, a, b, visible=visible, key=[seed], visible_units=GAUSSIAN, instruction_set=name, num_threads=threads
            )
            np.testing.assert_allclose(probability, reference.sigmoid(b + samples @ w), atol=3e-5)
            first = hidden if name == "plain" and threads == 1 else first  # noqa: F821
            assert (hidden != first).mean() < 1e-3  # rounding may flip a unit
    found = hidden_probability(parameters((a, b, w)), mx.nd.array(visible)).asnumpy()
    np.testing.assert_allclose(found, reference.sigmoid(b + visible @ w), atol=3e-5)


def test_a_fixed_key_fixes_the_chains(ctx, engine, seed, generator):
    rbm = parameters(small(generator), ctx)
    start = mx.nd.array(generator.normal(size=(20, 5)), ctx=ctx)

    def run(key):
        return host(gibbs.run_chains(rbm, visible=start, visible_units=GAUSSIAN, key=key, engine=engine))[0]

    np.testing.assert_array_equal(run([seed]), run([seed]))
    assert (run([seed]) != run([seed, 1])).all()


@pytest.mark.parametrize(
    "match, given",
    [
        ("visible units are 'normal'", {"visible_units": "normal"}),
        ("leave langevin out", {"langevin": gibbs.Langevin()}),
        ("leave langevin out", {"langevin": gibbs.Langevin(), "visible_units": GAUSSIAN, "hidden": np.zeros((2, 3))}),
        ("below 4", {"langevin": gibbs.Langevin(3, 4.0), "visible_units": GAUSSIAN}),
        ("must be at least 1", {"langevin": gibbs.Langevin(0), "visible_units": GAUSSIAN}),
    ],
)
def test_bad_arguments_are_refused(generator, match, given):
    start = {} if "hidden" in given else {"visible": np.zeros((2, 5))}
    with pytest.raises(InputError, match=match):
        gibbs.run_chains(Parameters(*small(generator)), **start, **given)


# --- Likelihood -----------------------------------------------------------------------------------


def test_the_density_equals_that_of_the_mixture(ctx, auto_engine, seed, generator):
    rbm = small(generator)
    exact, given = Exact(*rbm), parameters(rbm, ctx, "float64")
    visible, _ = exact.draw(50, generator)
    log_z = enumeration.log_partition(given, visible_units=GAUSSIAN)
    assert log_z == pytest.approx(exact.log_z)
    energies = free_energy(given, mx.nd.array(visible, ctx=ctx, dtype="float64")).asnumpy()
    base = stats.norm.logpdf(visible).sum(axis=1)
    np.testing.assert_allclose(base - energies - log_z, exact.log_density(visible), atol=1e-6)


def test_exact_samples(seed, generator):
    rbm = small(generator)
    exact = Exact(*rbm)
    visible = enumeration.draw_visible(parameters(rbm), DRAWS, [seed], GAUSSIAN).astype(np.float64)
    direction = generator.normal(size=5)
    centres, length = exact.centres @ direction, np.linalg.norm(direction)

    def cumulative(x):
        return stats.norm.cdf((np.asarray(x)[:, None] - centres) / length) @ exact.weights

    assert stats.kstest(visible @ direction, cumulative).pvalue > SIGNIFICANCE


def test_only_the_hidden_layer_is_enumerated(generator):
    few_visible = parameters(small(generator, 3, 30))
    assert enumeration.can_enumerate(few_visible) and not enumeration.can_enumerate(few_visible, GAUSSIAN)
    with pytest.raises(InputError, match="the hidden layer has 30 units"):
        enumeration.log_partition(few_visible, visible_units=GAUSSIAN)


@pytest.mark.parametrize("with_base", [False, True])
def test_annealed_importance_sampling_finds_the_partition_function(ctx, engine, seed, generator, with_base):
    rbm = small(generator, 6, 4)
    settings = dict(num_distributions=1000, visible_units=GAUSSIAN, key=[seed], engine=engine)
    if with_base:
        settings["training_data"] = generator.normal(size=(100, 6))
    given = parameters(rbm, ctx)
    found = ais.log_partition(*given, num_chains=500, **settings)
    log_z = Exact(*rbm).log_z
    ratios = np.exp(found.log_weights - log_z)
    assert abs(ratios.mean() - 1) < 5 * ratios.std() / np.sqrt(len(ratios))
    for start in ("exact", "chains"):
        bracket = ais.bracket(*given, num_chains=500, reverse_start=start, **settings)
        assert bracket.forward.low - 0.05 < log_z < bracket.reverse.high + 0.05, bracket
        assert not bracket.warning


def test_the_gradient_equals_that_of_the_exact_likelihood(ctx, engine, seed, generator):
    """The chains are exact draws, and each component is right within 6 standard errors."""
    rbm = small(generator)
    exact, data = Exact(*rbm), generator.normal(size=(40, 5))
    rule = LearningRule(visible_layer=GAUSSIAN)
    aux = {name: np.zeros(shape, np.float32) for name, shape in learning.states(rule, DRAWS, 5, 3).items()}
    aux[learning.SAMPLES[1]][:] = exact.draw(DRAWS, generator)[1]
    aux = {name: mx.nd.array(array, ctx=ctx) for name, array in aux.items()}
    given = parameters(rbm, ctx)
    targets = [mx.nd.zeros_like(array) for array in given]
    rows = mx.nd.array(data, ctx=ctx)
    learning.store_step_gradients(
        rule, targets, ("write",) * 3, given, data=rows, aux_states=aux, sweeps=1, key=[seed], engine=engine
    )
    for number, (target, array) in enumerate(zip(targets, rbm)):
        numeric = np.empty_like(array)
        for index in np.ndindex(array.shape):
            losses = []
            for step in (1e-4, -1e-4):
                moved = [np.array(one) for one in rbm]
                moved[number][index] += step
                losses.append(-Exact(*moved).log_density(data).mean())
            numeric[index] = (losses[0] - losses[1]) / 2e-4
        error = 6 * np.sqrt(1 + np.square(exact.centres).max()) / np.sqrt(DRAWS)
        np.testing.assert_allclose(target.asnumpy(), numeric, atol=error)


@pytest.mark.parametrize("chains", ["persistent", "data", "noise", "tempered", "trajectory"])
@pytest.mark.parametrize("langevin_steps", [0, 10])
def test_every_kind_of_chain_learns(engine, seed, generator, chains, langevin_steps):
    """Learning raises the exact likelihood of data from a mixture."""
    if chains == "tempered" and langevin_steps:
        with pytest.raises(InputError, match="leave langevin_steps out"):
            LearningRule.checked(visible_layer=GAUSSIAN, chains=chains, langevin_steps=langevin_steps)
        return
    rule = LearningRule.checked(
        visible_layer=GAUSSIAN, chains=chains, langevin_steps=langevin_steps, langevin_step_size=0.2
    )
    data = generator.normal(size=(200, 4)) + np.where(generator.random((200, 1)) < 0.5, 2.0, -2.0)
    rbm = [np.zeros(4), np.zeros(3), 0.1 * generator.normal(size=(4, 3))]
    given = Parameters(*(array.astype(np.float32) for array in rbm))
    aux = {name: np.zeros(shape, np.float32) for name, shape in learning.states(rule, 200, 4, 3).items()}
    before = Exact(*map(np.float64, given)).log_density(data).mean()
    gradients = [np.empty_like(array) for array in given]
    for step in range(200):
        learning.store_step_gradients(
            rule,
            gradients,
            ("write",) * 3,
            given,
            data=data.astype(np.float32),
            aux_states=aux,
            sweeps=5,
            key=[seed, step],
            engine=engine,
        )
        for array, gradient in zip(given, gradients):
            array -= np.float32(0.05) * gradient
    assert Exact(*map(np.float64, given)).log_density(data).mean() > before + 1
