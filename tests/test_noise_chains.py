"""Chains that start from noise in each step and make exactly k sweeps, against enumeration."""

import json

import numpy as np
import pytest
import reference
from training_runs import run as train

import binary_rbm_gluon
from gluon_rbm import __main__
from gluon_rbm.backend.arrays import from_host
from gluon_rbm.likelihood import learning
from gluon_rbm.likelihood.rules import LearningRule
from gluon_rbm.models.parameters import Parameters

COUNT = 20000


def after_sweeps(rbm, sweeps, possible):
    """p(v) of chains that never leave the possible states.

    At the start each of these states has the same probability.
    """
    joint = reference.joint(*rbm) * possible[:, None]
    of_hidden = joint / joint.sum(axis=0)  # p(v | h) among the possible states
    full = reference.joint(*rbm)
    hidden_given_visible = full / full.sum(axis=1, keepdims=True)
    probability = possible / possible.sum()
    for _ in range(sweeps):
        probability = of_hidden @ (probability @ hidden_given_visible)
    return probability


def advanced(rule, rbm, data, ctx, seed, engine, sweeps=2):
    shapes = learning.states(rule, COUNT, len(rbm[0]), len(rbm[1]))
    aux_states = {name: from_host(np.full(shape, 0.5, np.float32), ctx) for name, shape in shapes.items()}
    parameters = Parameters(*(from_host(np.float32(array), ctx) for array in rbm))
    rows = from_host(np.float32(data), ctx)
    learning.advance_chains(rule, parameters, aux_states, rows, sweeps=sweeps, key=[seed], engine=engine)
    return aux_states[learning.SAMPLES[0]].asnumpy()


def test_chains_are_k_sweeps_away_from_fair_coins(engine, ctx, seed, generator):
    a, b, w = reference.random_rbm(4, 3, generator, scale=0.5)
    rbm = a - 4.5, b - 4.5, w + 3  # two modes, all units off or all on: two sweeps hardly cross
    visible = advanced(LearningRule(chains="noise"), rbm, np.zeros((5, 4)), ctx, seed, engine)
    exact = after_sweeps(rbm, 2, np.ones(16, bool))
    assert np.abs(exact - reference.joint(*rbm).sum(axis=1)).max() > 1e-3  # not at equilibrium
    reference.assert_drawn_from(reference.state_index(visible), exact)


def test_chains_hold_the_labels_of_the_batch(engine, ctx, seed, generator):
    rbm = reference.random_rbm(5, 3, generator, scale=2)
    labels = np.eye(2)[[0, 1, 1]]
    data = np.hstack([np.zeros((3, 3)), labels])
    visible = advanced(LearningRule(chains="noise", num_classes=2), rbm, data, ctx, seed, engine)
    np.testing.assert_array_equal(visible[:, 3:], labels[np.arange(COUNT) % 3])
    states = reference.states(5)
    for number in (0, 1):
        possible = (states[:, 3:] == np.eye(2)[number]).all(axis=1)
        rows = visible[visible[:, 3 + number] == 1]
        reference.assert_drawn_from(reference.state_index(rows), after_sweeps(rbm, 2, possible))


def test_groups_start_with_one_unit_on(engine, ctx, seed, generator):
    rbm = reference.random_rbm(4, 3, generator, scale=2)
    rule = LearningRule(chains="noise", softmax_groups=((1, 4),))
    visible = advanced(rule, rbm, np.zeros((5, 4)), ctx, seed, engine, sweeps=1)
    possible = reference.states(4)[:, 1:].sum(axis=1) == 1
    reference.assert_drawn_from(reference.state_index(visible), after_sweeps(rbm, 1, possible))


@pytest.mark.parametrize("labels", [(), ("--labels",)])
def test_sample_makes_as_many_sweeps_as_training(tmp_path, labels):
    arguments = ["--chains", "noise", "--k", "3", *labels]
    assert train(binary_rbm_gluon, tmp_path / "run", *arguments) == 0
    command = ["sample", str(tmp_path / "run"), "--no-cuda", "--count", "7", "--output", str(tmp_path / "drawn")]
    assert __main__.main([*command, *(["--class", "1"] if labels else [])]) == 0
    record = json.loads((tmp_path / "drawn.json").read_text())
    assert (record["arguments"]["start"], record["arguments"]["sweeps"]) == ("random", 3)
