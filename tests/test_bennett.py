"""Log Z along paths of RBMs, compared with enumeration."""

import json

import numpy as np
import pytest
import reference
from training_runs import run as train

import ais
import binary_rbm_gluon
from gluon_rbm import __main__
from gluon_rbm.backend.arrays import from_host
from gluon_rbm.errors import InputError
from gluon_rbm.likelihood import bennett
from gluon_rbm.likelihood.estimates import Bracket, PathPartition, summarize_log_weights
from gluon_rbm.models.files import read_parameters
from gluon_rbm.models.parameters import Parameters
from gluon_rbm.sampling import trajectory


def as_parameters(values, ctx=None):
    arrays = (np.float32(array) for array in values)
    return Parameters(*(array if ctx is None else from_host(array, ctx) for array in arrays))


def estimate(values, key, ctx=None, **settings):
    last = as_parameters(values, ctx)
    first = trajectory.independent_units(last, np.zeros(len(values[0])))
    return bennett.log_partition([first, last], key=key, name="scaled", **settings)


def test_log_z_of_independent_units_is_exact(seed, generator):
    a, b, w = reference.random_rbm(4, 3, generator)
    values = a, b, 0 * w
    assert bennett.exact_log_z(as_parameters(values)) == pytest.approx(reference.log_z(*values), abs=1e-6)
    groups = ((1, 3),)
    states = reference.states(4)
    energies = states @ a + np.logaddexp(0, b).sum()
    possible = states[:, 1:3].sum(axis=1) == 1
    exact = reference.log_sum_exp(energies[possible])
    assert bennett.exact_log_z(as_parameters(values), groups) == pytest.approx(exact, abs=1e-6)
    with pytest.raises(InputError, match="must have no weights"):
        bennett.exact_log_z(as_parameters((a, b, w)))


def test_the_ratio_solves_its_equation(seed, generator):
    """The difference x of free energies is normal under s and under t, so the ratio is known."""
    # Under s, x has this mean. Under t, the mean is larger by the variance.
    mean, deviation = 3.0, 1.5
    expected = mean + deviation**2 / 2  # log Z_t - log Z_s
    lower = generator.normal(mean, deviation, 100000)
    upper = generator.normal(mean + deviation**2, deviation, 100000)
    assert bennett.log_ratio(lower, upper) == pytest.approx(expected, abs=0.03)
    jackknife = bennett._ratio_and_jackknife(np.stack([lower, upper]).reshape(2, 100, 1000).swapaxes(0, 1))
    few = np.stack([lower, upper])[:, :200].reshape(2, 10, 20).swapaxes(0, 1)  # (times, 2, ladders)
    ratio, without = bennett._ratio_and_jackknife(few)
    for ladder in range(20):
        rest = np.delete(few, ladder, axis=2)
        assert without[ladder] == pytest.approx(bennett.log_ratio(rest[:, 0], rest[:, 1]), abs=2e-3)
    assert jackknife[0] == pytest.approx(expected, abs=0.03)


def test_log_z_equals_enumeration(engine, ctx, seed, generator):
    values = reference.random_rbm(6, 4, generator, scale=2)
    found = estimate(values, [seed], ctx, sweeps=60, engine=engine)
    assert found.standard_error < 0.1 and not found.warning
    assert abs(found.log_z - reference.log_z(*values)) < 5 * found.standard_error


def test_softmax_groups(engine, ctx, seed, generator):
    values = reference.random_rbm(6, 4, generator, scale=2)
    groups = ((2, 5),)
    energies = reference.energies(*values)
    possible = reference.states(6)[:, 2:5].sum(axis=1) == 1
    found = estimate(values, [seed], ctx, sweeps=60, engine=engine, visible_units=groups)
    exact = reference.log_sum_exp(-energies[possible].ravel())
    assert abs(found.log_z - exact) < 5 * found.standard_error


@pytest.mark.slow
@pytest.mark.parametrize("scale", [1.5, 4])
def test_three_sigma_intervals_cover_the_truth(seed, scale):
    """Intervals cover the exact log Z of at least 190 of 200 RBMs.

    If an interval covers with a probability of 99.7 %, fewer than 190 hardly ever occur.
    """
    covered, scores = 0, []
    for number in range(200):
        values = reference.random_rbm(6, 4, np.random.default_rng([seed, number]), scale=scale)
        found = estimate(values, [seed, number], num_chains=20, sweeps=40)
        exact = reference.log_z(*values)
        covered += found.low <= exact <= found.high
        scores.append((found.log_z - exact) / found.standard_error)
    assert covered >= 190
    assert 0.8 < np.std(scores) < 1.3  # standard errors are neither too small nor too large


def test_given_chains_are_the_start(seed, generator):
    """The RBM has two distant modes. Chains that move along the path find only one.

    The given chains contain both.
    """
    weight = np.full((8, 6), 4.0)
    values = -weight.sum(axis=1) / 2 + 0.05, -weight.sum(axis=0) / 2, weight
    rbms = [[scale * array for array in values] for scale in (0, 0.1, 0.2, 0.4, 1)]
    chains = [np.float32(reference.draw_joint(*one, 200, generator)[0]) for one in rbms]
    found = bennett.log_partition(
        list(map(as_parameters, rbms)), chains, num_chains=200, sweeps=50, key=[seed], name="a path"
    )
    assert abs(found.log_z - reference.log_z(*values)) < 5 * found.standard_error
    assert len(found.swap_rates) >= 4 and found.num_chains == 200 and found.sweeps == 50


def test_neighbours_on_the_path_exchange_states(seed, generator):
    values = reference.random_rbm(12, 10, generator, scale=4)
    last = as_parameters(values)
    first = trajectory.independent_units(last, np.zeros(12))
    start = (generator.random((100, 12)) < 0.5).astype(np.float32)
    path, states = trajectory.fill([first, last], [start, None], key=[seed])
    assert len(path) == len(states) > 3
    np.testing.assert_array_equal(path[-1].interaction_weight, last.interaction_weight)
    scales = [float(np.linalg.norm(rbm.interaction_weight)) for rbm in path]
    assert scales[0] == 0 and scales == sorted(scales)
    assert estimate(values, [seed], sweeps=100).swap_rates.min() > 0.1


def test_rbms_that_differ_too_much_are_refused(seed, generator, monkeypatch):
    monkeypatch.setattr(trajectory, "_MOST_RBMS", 3)
    last = as_parameters(reference.random_rbm(12, 10, generator, scale=6))
    first = trajectory.independent_units(last, np.zeros(12))
    with pytest.raises(InputError, match="more than 3 RBMs would lie on the path"):
        trajectory.fill([first, last], [np.float32(generator.random((50, 12)) < 0.5), None], key=[seed])


# --- Comparison with a bracket --------------------------------------------------------------------


def partition(log_z, **changed):
    found = dict(low=log_z - 0.2, high=log_z + 0.2, standard_error=0.06, swap_rates=np.array([0.4, 0.5]))
    return PathPartition(log_z, **{**found, "num_chains": 100, "sweeps": 100, "name": "a path", **changed})


def bracket(path):
    side = summarize_log_weights(10 + np.linspace(-0.3, 0.3, 100), 1000)
    return Bracket(side, side, "chains", mixture=side._replace(log_z=5.0, low=4.0, high=6.0), path=path)


def test_an_estimate_along_a_path_confirms_or_contradicts_a_bracket():
    log_z = bracket(None).log_z
    assert "no other estimate confirms" in bracket(None).warning
    assert bracket(partition(log_z + 0.3)).warning == ""
    assert bracket(partition(log_z + 0.3)).confirmations == {"a path": pytest.approx(0.3)}
    assert "a path finds at least" in bracket(partition(log_z + 5)).warning


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"swap_rates": np.array([0.4, 0.01])}, "RBMs 1 and 2 of the path make 1.0 % of their exchanges"),
        ({"num_chains": 9}, "only 9 chains"),
        ({"high": 12.0}, "nats wide"),
        ({"high": np.inf, "low": -np.inf}, "nats wide"),
    ],
)
def test_an_estimate_with_a_warning_confirms_nothing(changed, message):
    path = partition(bracket(None).log_z, **changed)
    assert message in path.warning
    assert bracket(path).confirmations == {}


@pytest.mark.slow
def test_a_run_estimates_log_z_along_its_trajectory(tmp_path, capsys):
    arguments = ["--chains", "trajectory", "--num-snapshots", "4", "--learning-rate", "5", "--num-epoch", "2"]
    assert train(binary_rbm_gluon, tmp_path / "run", *arguments) == 0
    assert ", along the trajectory " in capsys.readouterr().out
    rows = [row.split(",") for row in (tmp_path / "run" / "metrics.csv").read_text().splitlines()]
    row = dict(zip(rows[0], rows[-1]))
    assert float(row["trajectory_low"]) <= float(row["trajectory_log_z"]) <= float(row["trajectory_high"])
    command = ["likelihood", str(tmp_path / "run"), "--no-cuda", "--binarize", "sample", "--method", "ais"]
    command += [
        "--path",
        "trajectory",
        "--distributions",
        "200",
        "--reverse-start",
        "chains",
        "--json",
        str(tmp_path / "report.json"),
    ]
    assert __main__.main(command) == 0
    assert "Bennett's ratio along the trajectory: " in capsys.readouterr().out
    path = json.loads((tmp_path / "report.json").read_text())["log_z"]["path"]
    exact = ais.bracket(*read_parameters(tmp_path / "run"), num_distributions=200)
    assert path["low"] - 0.1 <= exact.log_z <= path["high"] + 0.1
