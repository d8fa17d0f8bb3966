"""Softmax groups of visible units: all results against enumeration of all states."""

import numpy as np
import pytest
import reference
from marks import slow_but
from test_gibbs import assert_distribution, joint_index

from gluon_rbm.backend import native
from gluon_rbm.backend.framework import mx
from gluon_rbm.backend.native import learning as native_learning
from gluon_rbm.backend.types import SoftmaxGroups
from gluon_rbm.errors import InputError
from gluon_rbm.likelihood import ais, enumeration, learning
from gluon_rbm.likelihood.rules import LearningRule
from gluon_rbm.models import visible_units as softmax
from gluon_rbm.models.energy import pseudo_log_likelihood
from gluon_rbm.models.parameters import Parameters
from gluon_rbm.sampling import gibbs

DRAWS = 100000
# Groups of 7 visible units: groups only, groups of one size and of several sizes, and single units
# before, between and after the groups.
GROUPS: dict[str, SoftmaxGroups] = {
    "all": [(0, 2), (2, 7)],
    "between": [(1, 3), (4, 6)],
    "of one unit": [(0, 1), (1, 4), (4, 7)],
    "alike": [(0, 3), (3, 6)],
}


@pytest.fixture(params=GROUPS)
def groups(request):
    return GROUPS[request.param]


@pytest.fixture
def rbm(generator):
    return reference.random_rbm(7, 3, generator)


def parameters(rbm, ctx=None, dtype="float32"):
    return Parameters(*(mx.nd.array(array, ctx=ctx, dtype=dtype) for array in rbm))


def possible(groups):
    states = reference.states(7)
    return np.all([np.ones(len(states)), *(states[:, start:stop].sum(axis=1) == 1 for start, stop in groups)], axis=0)


def exact_log_z(rbm, groups):
    return reference.log_z(*rbm) + np.log(reference.joint(*rbm).sum(axis=1)[possible(groups)].sum())


@pytest.mark.parametrize("beta", slow_but([0.6, 1.0], 0.6))
def test_sweeps_leave_the_exact_distribution_alone(ctx, engine, seed, generator, rbm, groups, beta):
    base = generator.normal(size=7)
    joint = reference.given(reference.joint(*rbm, beta, base), groups=groups)
    hidden = reference.draw(joint, DRAWS, generator)[1]
    chains = gibbs.run_chains(
        parameters(rbm, ctx),
        hidden=mx.nd.array(hidden, ctx=ctx),
        sweeps=2,
        beta=beta,
        base_visible_bias=mx.nd.array(base, ctx=ctx),
        visible_units=groups,
        key=[seed],
        engine=engine,
    )
    assert_distribution(joint_index(chains), joint)
    for start, stop in groups:
        np.testing.assert_allclose(chains.visible_prob_1.asnumpy()[:, start:stop].sum(axis=1), 1, rtol=1e-5)


def test_a_group_that_is_held_at_zeros_is_missing(ctx, engine, seed, generator, rbm):
    """In rows that hold a group at zeros, the chain is one of the RBM without the group's units."""
    groups = GROUPS["between"]
    mask = np.zeros((DRAWS, 7))
    mask[: DRAWS // 2, 4:6] = 1
    chains = gibbs.run_chains(
        parameters(rbm, ctx),
        hidden=mx.nd.array(generator.integers(0, 2, (DRAWS, 3)), ctx=ctx),
        sweeps=30,
        clamp=(mx.nd.array(mask, ctx=ctx), mx.nd.zeros((DRAWS, 7), ctx=ctx)),
        visible_units=groups,
        key=[seed],
        engine=engine,
    )
    index = joint_index(chains)
    held = {"mask": mask[0], "values": np.zeros(7)}
    for rows, more in ((slice(DRAWS // 2), held), (slice(DRAWS // 2, None), {})):
        assert_distribution(index[rows], reference.given(reference.joint(*rbm), groups=groups, **more))


@pytest.mark.parametrize("shape", [(7, 3), (7, 9)])  # enumeration runs over the smaller layer
def test_enumeration(generator, seed, groups, shape):
    rbm = reference.random_rbm(*shape, generator)
    wanted = exact_log_z(rbm, groups)
    assert enumeration.log_partition(parameters(rbm, dtype="float64"), visible_units=groups) == pytest.approx(wanted)
    samples = enumeration.draw_visible(parameters(rbm, dtype="float64"), DRAWS, [seed], groups)
    expected = reference.given(reference.joint(*rbm), groups=groups).sum(axis=1)
    assert_distribution(reference.state_index(samples), expected)


def test_the_log_normalizer_of_the_visible_layer(generator, groups):
    inputs = generator.normal(0, 3, (5, 7))
    states = reference.states(7)[possible(groups)]
    np.testing.assert_allclose(softmax.log_normalizer(inputs, groups), np.log(np.exp(inputs @ states.T).sum(axis=1)))


def test_draws_given_inputs(seed, generator, groups):
    inputs = generator.normal(size=7)
    states = reference.states(7)
    weights = np.exp(states @ inputs) * possible(groups)
    drawn = softmax.draw_visible(np.tile(inputs, (DRAWS, 1)), groups, generator)
    assert_distribution(reference.state_index(drawn), weights / weights.sum())


def test_annealing_both_ways(ctx, engine, seed, rbm, groups):
    """The intervals of forward and reverse AIS, from a base rate with groups, contain log Z."""
    given = [array.asnumpy() for array in parameters(rbm)]
    settings = dict(num_chains=2000, num_distributions=50, visible_units=groups, key=[seed], engine=engine)
    found, wanted = ais.bracket(*given, base_visible_bias=np.full(7, 0.3), **settings), exact_log_z(rbm, groups)
    assert found.reverse_start == "exact"
    for estimate in (found.forward, found.reverse):  # intervals of three standard errors
        assert estimate.low - 0.01 < wanted < estimate.high + 0.01, (seed, estimate, wanted)


def test_checks_of_annealing_with_groups(seed, rbm, groups):
    """If reverse AIS starts from chains, importance sampling and other base rates check it."""
    given = [array.asnumpy() for array in parameters(rbm)]
    found = ais.bracket(*given, reverse_start="chains", num_distributions=100, visible_units=groups, key=[seed])
    wanted = exact_log_z(rbm, groups)
    for estimate in (found.forward, found.reverse, found.mixture, *(check.estimate for check in found.bases)):
        assert abs(estimate.log_z - wanted) < 0.1, (seed, estimate, wanted)


def test_pseudo_likelihood(generator, rbm, groups):
    states = reference.states(7)[possible(groups)]
    log_p = np.log(reference.joint(*rbm).sum(axis=1)[possible(groups)])
    variables = [*groups, *((i, i + 1) for i in range(7) if not any(start <= i < stop for start, stop in groups))]
    expected = np.zeros(len(states))
    for start, stop in variables:
        others = np.delete(states, np.s_[start:stop], axis=1)
        alike = (others[:, None] == others).all(axis=2)
        expected += log_p - np.log(alike @ np.exp(log_p))
    exact = pseudo_log_likelihood(parameters(rbm, dtype="float64"), mx.nd.array(states, dtype="float64"), None, groups)
    np.testing.assert_allclose(exact.asnumpy(), expected, rtol=1e-6)
    terms = [
        pseudo_log_likelihood(
            parameters(rbm, dtype="float64"),
            mx.nd.array(states, dtype="float64"),
            np.full(len(states), unit),
            groups,
        ).asnumpy()
        for unit in range(7)
    ]
    np.testing.assert_allclose(np.mean(terms, axis=0), expected, rtol=1e-6)


@pytest.mark.parametrize("wrong", [[(0, 2), (1, 3)], [(3, 5), (0, 2)], [(2, 2)], [(5, 8)], [(-1, 1)]])
def test_invalid_groups_are_refused(wrong):
    with pytest.raises(InputError, match="a softmax group of "):
        softmax.checked_visible_units(wrong, 7)


def test_reverse_annealing_refuses_impossible_starts(rbm, groups):
    given = [array.asnumpy() for array in parameters(rbm)]
    with pytest.raises(InputError, match="exactly one unit of each softmax group"):
        ais.bracket(*given, reverse_start=np.ones((10, 7)), num_chains=10, visible_units=[(0, 3)], key=[1])


@pytest.mark.parametrize("engine", ["native", "mxnet"])
def test_the_gradient_where_values_are_missing(seed, generator, rbm, engine):
    """CD with many sweeps against enumeration. For each row the RBM lacks the missing units."""
    if engine == "native" and not native.available():
        pytest.skip(repr(native.available()))
    groups, rows = [(0, 3), (3, 6)], 20000
    missing = np.zeros((3, 7), bool)
    missing[1, 3:6] = missing[2, 6] = True
    a, b, w = rbm
    states = reference.states(7)
    images = states[generator.choice(np.flatnonzero(possible(groups)), 3)] * ~missing
    expected = np.zeros((7, 3))
    for image, without in zip(images, missing):
        joint = reference.given(reference.joint(*rbm), groups=groups, mask=without, values=np.zeros(7))
        hidden = reference.sigmoid(b + states @ w)
        expected += (joint.sum(axis=1)[:, None] * states).T @ hidden / 3
        expected -= np.outer(image, reference.sigmoid(b + image @ w)) / 3
    data = images.repeat(rows, axis=0).astype(np.float32)
    gradients = [np.empty_like(array, np.float32) for array in rbm]
    learning.store_step_gradients(
        LearningRule(chains="data", softmax_groups=groups),
        gradients,
        ("write",) * 3,
        Parameters(*(array.astype(np.float32) for array in rbm)),
        data=data,
        aux_states={name: np.zeros((3 * rows, size), np.float32) for name, size in zip(learning.SAMPLES, (7, 3))},
        sweeps=50,
        key=[seed],
        engine=engine,
        held=missing.repeat(rows, axis=0),
    )
    assert np.abs(gradients[2] - expected).max() < 6 / np.sqrt(3 * rows), seed


def test_many_steps_in_one_call_keep_groups_whole(seed, generator):
    """`native.learning.learn`: samples have one unit on per group, and all parameters change."""
    if not native.available():
        pytest.skip(repr(native.available()))
    groups = [(0, 5), (30, 35), (40, 70)]
    weight, visible_bias, hidden_bias = (
        generator.normal(0, 0.3, shape).astype(np.float32) for shape in ((70, 20), 70, 20)
    )
    data = softmax.draw_visible(np.zeros((40, 70)), groups, generator).astype(np.float32)
    samples = [generator.integers(0, 2, (20, size)).astype(np.float32) for size in (70, 20)]
    given = [array.copy() for array in (weight, visible_bias, hidden_bias)]
    native_learning.learn(*given, data, samples, batch_size=20, sweeps=2, visible_units=groups, key=[seed], rate=0.1)
    for start, stop in groups:
        np.testing.assert_array_equal(samples[0][:, start:stop].sum(axis=1), 1)
    assert all(not np.array_equal(one, other) for one, other in zip(given, (weight, visible_bias, hidden_bias)))


@pytest.mark.parametrize("text", ["[(0, 2), (3, 5)]", ((0, 2), (3, 5)), [[0, 2], [3, 5]]])
def test_a_learning_rule_with_groups(text):
    rule = LearningRule.checked(softmax_groups=text, num_classes=2)
    assert rule.softmax_groups == ((0, 2), (3, 5))
    assert tuple(rule.visible_units(10)) == ((0, 2), (3, 5), (8, 10))
    with pytest.raises(InputError, match="softmax_groups is nothing"):
        LearningRule.checked(softmax_groups="nothing")
