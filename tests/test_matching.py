"""Paths of matched means, against enumeration."""

import json

import numpy as np
import pytest
import reference
from training_runs import run as train

import binary_rbm_gluon
from gluon_rbm import __main__
from gluon_rbm.backend.arrays import from_host, to_numpy
from gluon_rbm.likelihood import bennett
from gluon_rbm.models.parameters import Parameters
from gluon_rbm.models.visible_units import mean_visible
from gluon_rbm.sampling import chains, matching


def means_of(values, possible=slice(None)):
    """Exact means of the visible and of the hidden units, over the possible visible states."""
    joint = reference.joint(*values)[possible]
    joint = joint / joint.sum()
    visible, hidden = reference.states(len(values[0]))[possible], reference.states(len(values[1]))
    return joint.sum(axis=1) @ visible, joint.sum(axis=0) @ hidden


def log_odds(means):
    return np.log(means / (1 - means))


def two_modes(num_visible=8, num_hidden=6, strength=4.0):
    """An RBM with all units off or, more often, all units on. Chains hardly ever cross."""
    weight = np.full((num_visible, num_hidden), strength)
    return -weight.sum(axis=1) / 2 + 0.1, -weight.sum(axis=0) / 2, weight


def as_parameters(values, ctx=None):
    arrays = (np.float32(array) for array in values)
    return Parameters(*(array if ctx is None else from_host(array, ctx) for array in arrays))


def test_means_are_the_same_along_the_path(engine, ctx, seed, generator):
    values = two_modes(6, 5, 3.0)
    visible_mean, hidden_mean = means_of(values)
    means = matching.Means(log_odds(visible_mean), hidden_mean)
    path = matching.matched_path(as_parameters(values, ctx), means, 2000, key=[seed], engine=engine)
    assert not to_numpy(path.rbms[0].interaction_weight).any() and len(path.rbms) == len(path.chains) > 1
    for rbm in path.rbms:
        arrays = [to_numpy(array).astype(float) for array in rbm]
        for found, wanted in zip(means_of(arrays), (visible_mean, hidden_mean)):
            # Means of 2,000 chains are noisy, and most RBMs lie between two learned ones.
            assert np.abs(found - wanted).max() < 0.06
    scales = [np.linalg.norm(to_numpy(rbm.interaction_weight)) for rbm in path.rbms]
    assert scales == sorted(scales)


def test_means_of_softmax_groups_are_the_same_along_the_path(seed, generator):
    values = reference.random_rbm(6, 5, generator, scale=1.5)
    groups = ((1, 4),)
    possible = reference.states(6)[:, 1:4].sum(axis=1) == 1
    visible_mean, hidden_mean = means_of(values, possible)
    bias = log_odds(visible_mean)
    bias[1:4] = np.log(visible_mean[1:4])
    np.testing.assert_allclose(mean_visible(bias, groups), visible_mean, rtol=1e-9)
    means = matching.Means(bias, hidden_mean)
    path = matching.matched_path(as_parameters(values), means, 2000, key=[seed], visible_units=groups)
    for rbm in path.rbms:
        found = means_of([array.astype(float) for array in rbm], possible)
        assert np.abs(found[0] - visible_mean).max() < 0.06 and np.abs(found[1] - hidden_mean).max() < 0.06
    assert all((rows[:, 1:4].sum(axis=1) == 1).all() for rows in path.chains)


def test_means_of_data(generator):
    values = reference.random_rbm(4, 3, generator)
    data = np.float32(generator.random((50, 4)) < 0.5)
    found = matching.Means.of(as_parameters(values), np.zeros(4), data)
    np.testing.assert_allclose(found.hidden, reference.sigmoid(values[1] + data @ values[2]).mean(axis=0), rtol=1e-5)
    np.testing.assert_array_equal(found.visible_bias, np.zeros(4))


def test_chains_cross_between_modes(engine, ctx, seed, generator):
    """Plain chains would not leave their mode. Here the shares of both modes become exact."""
    values = two_modes()
    visible_mean, hidden_mean = means_of(values)
    means = matching.Means(log_odds(visible_mean), hidden_mean)
    parameters = as_parameters(values, ctx)
    path = matching.matched_path(parameters, means, 500, key=[seed], engine=engine)
    count = 1000
    found = chains.path_tempering(
        parameters, np.ones((count, 8), np.float32), 300, [seed, 1], path=path, every=300, engine=engine
    )
    (tempered,) = found
    visible = tempered.chains.visible_sample.asnumpy()
    expected = reference.joint(*values).sum(axis=1)
    upper = reference.states(8).sum(axis=1) > 4
    share = expected[upper].sum()
    assert 0.05 < share < 0.95
    # The path repeats its 500 chains for the 1,000 chains. So two of these may depend on each
    # other.
    error = np.sqrt(share * (1 - share) / (count / 2))
    assert abs((visible.sum(axis=1) > 4).mean() - share) < 5 * error


def test_log_z_along_the_path(seed, generator):
    values = two_modes()
    visible_mean, hidden_mean = means_of(values)
    parameters = as_parameters(values)
    path = matching.matched_path(
        parameters, matching.Means(log_odds(visible_mean), hidden_mean), 200, key=[seed], engine="auto"
    )
    found = bennett.log_partition(
        [*path.rbms, parameters], [*path.chains, None], name=path.name, num_chains=200, key=[seed]
    )
    assert not found.warning and found.name == "matched means"
    assert abs(found.log_z - reference.log_z(*values)) < 5 * found.standard_error


@pytest.mark.slow
@pytest.mark.parametrize("labels", [False, True])
def test_commands_with_matched_means(tmp_path, capsys, labels):
    assert train(binary_rbm_gluon, tmp_path / "run", *(["--labels"] if labels else [])) == 0
    where = [str(tmp_path / "run"), "--no-cuda"]
    command = ["sample", *where, "--chains", "matched", "--sweeps", "5", "--count", "6"]
    assert __main__.main([*command, "--output", str(tmp_path / "drawn"), *(["--class", "1"] if labels else [])]) == 0
    record = json.loads((tmp_path / "drawn.json").read_text())
    assert all(0 < rate <= 1 for rate in record["results"]["swap_rates"])
    capsys.readouterr()
    if labels:
        return
    report = ["likelihood", *where, "--path", "matched", "--method", "ais", "--reverse-start", "chains"]
    assert __main__.main([*report, "--distributions", "200", "--json", str(tmp_path / "report.json")]) == 0
    assert "Bennett's ratio along matched means: " in capsys.readouterr().out
    log_z = json.loads((tmp_path / "report.json").read_text())["log_z"]
    assert log_z["path"]["low"] - 0.1 <= log_z["estimate"] <= log_z["path"]["high"] + 0.1
    assert "matched means" in log_z["confirmed_by"]
