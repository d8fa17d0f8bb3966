"""Exchanges of states between RBMs along a training (snapshots), against enumeration."""

import numpy as np
import pytest
import reference
from training_runs import one_line
from training_runs import run as train

import ais
import binary_rbm_gluon
from gluon_rbm import __main__
from gluon_rbm.backend.arrays import from_host
from gluon_rbm.backend.framework import mx
from gluon_rbm.errors import InputError
from gluon_rbm.likelihood import learning, snapshots
from gluon_rbm.likelihood.rules import LearningRule
from gluon_rbm.models.parameters import Parameters
from gluon_rbm.sampling import chains, trajectory

COUNT = 20000


def path(generator, num_visible=3, num_hidden=2):
    """Three RBMs, from independent units to a random RBM: arrays in float64."""
    a, b, w = reference.random_rbm(num_visible, num_hidden, generator, scale=1.5)
    start, middle = generator.normal(size=num_visible), generator.normal(size=num_visible)
    return [(start, b, 0 * w), (middle, b / 2, w / 2), (a, b, w)]


def marginals(rbms):
    return [reference.joint(*values).sum(axis=1) for values in rbms]


def drawn(probabilities, generator, num_visible=3):
    """COUNT exact samples of each distribution: rows of 0 and 1."""
    numbers = [generator.choice(len(p), size=COUNT, p=p) for p in probabilities]
    return [reference.states(num_visible)[number].astype(np.float32) for number in numbers]


def number_of(states):
    return (np.asarray(states, int) @ (1 << np.arange(states.shape[1])[::-1])).astype(int)


def as_parameters(values):
    return Parameters(*(array.astype(np.float32) for array in values))


def test_swaps_keep_all_distributions_and_have_the_right_rates(seed, generator):
    rbms = path(generator)
    probabilities = marginals(rbms)
    found = np.full(2, np.nan)
    for key in range(20):  # until the coin has chosen both pairs
        before = drawn(probabilities, generator)
        exchange = trajectory.swap_neighbours([as_parameters(m) for m in rbms], before, key=[seed, key])
        states, rates = exchange.states, exchange.rates()
        assert list(np.flatnonzero(~np.isnan(rates))) == exchange.pairs
        found = np.where(np.isnan(rates), found, rates)
        after = [number_of(state) for state in states]
        assert any((one != number_of(other)).any() for one, other in zip(after, before))
        for number, probability in zip(after, probabilities):
            reference.assert_drawn_from(number, probability)
        for left, right in ((0, 1), (1, 2), (0, 2)):  # the snapshots stay independent of each other
            both = after[left] * len(probabilities[0]) + after[right]
            reference.assert_drawn_from(both, np.outer(probabilities[left], probabilities[right]).ravel())
        if not np.isnan(found).any():
            break
    energies = [reference.free_energies(*values, reference.states(3)) for values in rbms]
    for pair in range(2):
        difference = energies[pair] - energies[pair + 1]
        accepted = np.minimum(1, np.exp(difference[:, None] - difference[None, :]))
        left, right = probabilities[pair : pair + 2]
        mean = left @ accepted @ right
        assert abs(found[pair] - mean) < 5 * np.sqrt((left @ accepted**2 @ right - mean**2) / COUNT)


def test_chains_forget_their_start(engine, ctx, seed, generator):
    """All chains start in one state and reach the distributions of their snapshots.

    Only exchanges move the chains of the last snapshot.
    """
    rbms = path(generator)
    arrays = [Parameters(*(from_host(array, ctx) for array in as_parameters(values))) for values in rbms]
    visible = [from_host(np.ones((COUNT, 3), np.float32), ctx) for _ in rbms]
    how = {"turns": {0: 1, 1: 1}, "pairs": [0, 1], "engine": engine}
    for step in range(500):  # some RBMs rarely exchange states
        visible = trajectory.advance(arrays, visible, key=[seed, step], **how).states
    for state, probability in zip(visible, marginals(rbms)):
        reference.assert_drawn_from(number_of(state.asnumpy()), probability)


def test_softmax_groups_stay_whole(engine, ctx, seed, generator):
    rbms = path(generator)
    groups = ((1, 3),)
    arrays = [Parameters(*(from_host(array, ctx) for array in as_parameters(values))) for values in rbms]
    visible = [from_host(np.tile(np.float32([0, 0, 1]), (COUNT, 1)), ctx) for _ in rbms]
    how = {"visible_units": groups, "pairs": [0, 1], "engine": engine}
    for step in range(200):
        visible = trajectory.advance(arrays, visible, key=[seed, step], **how).states
    for state, values in zip(visible, rbms):
        probability = reference.given(reference.joint(*values), groups=groups).sum(axis=1)
        reference.assert_drawn_from(number_of(state.asnumpy()), probability)


# --- Snapshots in training ------------------------------------------------------------------------


def started(rule, ctx, num_chains=200, num_visible=3, num_hidden=2):
    shapes = learning.states(rule, num_chains, num_visible, num_hidden)
    return {name: from_host(np.zeros(shape, np.float32), ctx) for name, shape in shapes.items()}


def advanced(rule, aux_states, values, ctx, key, engine):
    parameters = Parameters(*(from_host(array, ctx) for array in as_parameters(values)))
    data = from_host(np.zeros((5, 3), np.float32), ctx)
    learning.advance_chains(rule, parameters, aux_states, data, sweeps=1, key=key, engine=engine)


def test_snapshots_are_taken_where_exchanges_become_rare(engine, ctx, seed, generator):
    rule = LearningRule(chains="trajectory", num_snapshots=4)
    aux_states = started(rule, ctx)
    values = reference.random_rbm(3, 2, generator)
    advanced(rule, aux_states, values, ctx, [seed], engine)
    (first,), _ = snapshots.of_states(aux_states)
    np.testing.assert_array_equal(first.interaction_weight.asnumpy(), 0)
    np.testing.assert_allclose(first.visible_layer_bias.asnumpy(), values[0], rtol=1e-6)
    numbers = []
    moved = values[0] + np.outer(4 * np.sin(np.arange(400) / 20), [1, -1, 1])
    for step, bias in enumerate(moved):  # the RBM changes in each step
        advanced(rule, aux_states, (bias, *values[1:]), ctx, [seed, step], engine)
        found, _ = snapshots.of_states(aux_states)
        numbers.append(len(found))
        assert found[0].visible_layer_bias.asnumpy() == pytest.approx(values[0], rel=1e-6)
    assert numbers == sorted(numbers) and numbers[-1] == 4
    biases = [found.visible_layer_bias.asnumpy() for found in snapshots.of_states(aux_states)[0]]
    times = [int(np.abs(moved - bias).sum(axis=1).argmin()) for bias in biases]
    assert times == sorted(times) and len(set(times)) == 4  # in the order of the training


def test_training_is_at_equilibrium(engine, ctx, seed, generator):
    """The RBM has two modes, and plain chains do not leave a mode.

    These chains are in each mode as often as enumeration says.
    """
    num_visible, num_hidden = 6, 4
    weight = np.full((num_visible, num_hidden), 3.0)
    values = -weight.sum(axis=1) / 2 + 0.1, -weight.sum(axis=0) / 2, weight
    rule = LearningRule(chains="trajectory", num_snapshots=12)
    aux_states = started(rule, ctx, 1000, num_visible, num_hidden)
    scales = np.linspace(0, 1, 300)
    for step, scale in enumerate([*scales, *np.ones(200)]):
        parameters = Parameters(*(from_host(np.float32(scale * array), ctx) for array in values))
        data = from_host(np.zeros((5, num_visible), np.float32), ctx)
        learning.advance_chains(rule, parameters, aux_states, data, sweeps=1, key=[seed, step], engine=engine)
    visible = aux_states[learning.SAMPLES[0]].asnumpy()
    expected = reference.joint(*values).sum(axis=1)
    upper = reference.states(num_visible).sum(axis=1) > num_visible / 2
    share, found = expected[upper].sum(), (visible.sum(axis=1) > num_visible / 2).mean()
    assert 0.05 < share < 0.95
    assert abs(found - share) < 5 * np.sqrt(share * (1 - share) / len(visible))


# --- After training -------------------------------------------------------------------------------


def test_tempered_samples_are_exact(engine, ctx, seed, generator):
    rbms = path(generator)
    *earlier, last = [Parameters(*(from_host(array, ctx) for array in as_parameters(values))) for values in rbms]
    starts = [np.zeros((7, 3), np.float32) for _ in earlier]
    found = chains.path_tempering(
        last,
        np.ones((COUNT, 3), np.float32),
        100,
        [seed],
        path=trajectory.Path("earlier", earlier, starts),
        every=100,
        engine=engine,
    )
    (tempered,) = found
    joint = reference.joint(*rbms[-1])
    visible, hidden = (number_of(layer.asnumpy()) for layer in tempered.chains[:2])
    reference.assert_drawn_from(visible * joint.shape[1] + hidden, joint.ravel())
    assert ((tempered.swap_rates > 0) & (tempered.swap_rates <= 1)).all()


@pytest.fixture
def run(tmp_path):
    arguments = ["--chains", "trajectory", "--num-snapshots", "3", "--learning-rate", "5", "--monitor-every", "130"]
    assert train(binary_rbm_gluon, tmp_path / "run", *arguments) == 0
    return tmp_path / "run"


def test_a_run_is_sampled_by_its_trajectory(run, tmp_path, capsys):
    arguments = ["sample", str(run), "--chains", "trajectory", "--sweeps", "20", "--count", "12", "--no-cuda"]
    assert __main__.main([*arguments, "--output", str(tmp_path / "found")]) == 0
    assert np.load(tmp_path / "found.npz")["samples"].shape == (12, 16)
    assert "swap rates: " in capsys.readouterr().out
    assert __main__.main([*arguments, "--animate"]) == 2
    assert "--animate, --chains trajectory cannot be combined" in one_line(capsys)


def test_a_low_swap_rate_gives_a_warning(run, tmp_path, capsys):
    """All weights are 40 times as large as those that the chains come from."""
    path = run / "rbm.params"
    arrays = mx.nd.load(str(path))
    for name in arrays:
        if name.endswith("interaction_weight"):
            arrays[name] = arrays[name] * 40
    mx.nd.save(str(path), arrays)
    command = ["sample", str(run), "--chains", "trajectory", "--sweeps", "20", "--count", "12", "--no-cuda"]
    assert __main__.main([*command, "--output", str(tmp_path / "found")]) == 0
    assert "warning: a swap rate is below" in "".join(capsys.readouterr())


def test_a_path_needs_reverse_annealing(run, capsys):
    assert __main__.main(["likelihood", str(run), "--path", "trajectory", "--no-reverse", "--no-cuda"]) == 2
    assert "--path trajectory checks the bracket, which --no-reverse leaves out" in one_line(capsys)


def test_invalid_snapshots_are_refused(run, tmp_path):
    arrays = {name: array.asnumpy() for name, array in mx.nd.load(str(run / "rbm.params")).items()}
    (name,) = [name for name in arrays if name.endswith(snapshots.NUMBER)]
    (weight,) = [name for name in arrays if name.endswith(snapshots.PARAMETERS[2])]
    for message, changed in (
        ("do not belong together", {name: np.float32([9])}),
        ("do not belong together", {name: np.float32([1.5])}),
        ("has weights", {weight: arrays[weight] + np.float32(1)}),
        ("do not belong together", {name.replace("num_snapshots", "snapshot_swap_rate"): np.zeros(2, np.float32)}),
        ("holds no snapshots of its training", {name: None}),
    ):
        path = tmp_path / "changed.params"
        both = {**arrays, **changed}
        mx.nd.save(str(path), {key: mx.nd.array(array) for key, array in both.items() if array is not None})
        with pytest.raises(InputError, match=message):
            snapshots.read(path)


def test_a_trajectory_runs_on_one_device_only(tmp_path, capsys):
    assert train(binary_rbm_gluon, tmp_path / "run", "--chains", "trajectory", "--num-devices", "2") == 2
    assert "--chains trajectory runs on one device only" in capsys.readouterr().err


def test_the_path_is_repaired(seed, generator):
    """Between snapshots that rarely exchange states, their mean becomes a snapshot.

    The RBM replaces the last snapshot if the two have never exchanged states often.
    """
    rule = LearningRule(chains="trajectory", num_snapshots=6)
    aux_states = started(rule, None, num_visible=8, num_hidden=5)
    values = reference.random_rbm(8, 5, generator, scale=0.1)
    far = values[0] + 6 * np.sign(generator.normal(size=8)), *values[1:]

    def go(values, number):
        parameters = Parameters(*(from_host(array) for array in as_parameters(values)))
        data = from_host(np.zeros((5, 8), np.float32))
        how = {"sweeps": 1, "key": [seed, number], "engine": "auto"}
        learning.advance_chains(rule, parameters, aux_states, data, **how)

    for step in range(30):  # the RBM jumps in each step, so no snapshot exchanges often with it
        go((values[0] + (6 + step) * (-1) ** np.arange(8), *values[1:]), step)
    held, _ = snapshots.of_states(aux_states)
    assert len(held) <= 6
    for step in range(400):  # the RBM stays, and a path to it forms
        go(far, 100 + step)
    rbms, states = snapshots.of_states(aux_states)
    rates = aux_states[snapshots.RATES].asnumpy()[: len(rbms)]
    assert 2 < len(rbms) <= 6 and rates[-1] >= 0.3
    biases = [rbm.visible_layer_bias.asnumpy() for rbm in rbms]
    assert np.abs(biases[-1] - far[0]).max() < 1e-5
    assert all(set(np.unique(rows.asnumpy())) <= {0, 1} for rows in states)


def test_a_path_to_an_rbm_of_another_size_is_refused():
    path = trajectory.Path("the trajectory", [rbm(5, 3)], [np.zeros((2, 5), np.float32)])
    for sizes in ((4, 3), (5, 4)):
        with pytest.raises(InputError, match="^the trajectory leads to an RBM of size 5 x 3, .* %d x %d" % sizes):
            next(chains.path_tempering(rbm(*sizes), np.zeros((2, sizes[0]), np.float32), 1, [0], path=path))
        with pytest.raises(InputError, match="size 5 x 3"):
            ais.bracket(*rbm(*sizes), path=path, num_chains=2, num_distributions=2)


def rbm(num_visible, num_hidden):
    """An RBM whose weights and biases are 0."""
    shapes = (num_visible,), (num_hidden,), (num_visible, num_hidden)
    return Parameters(*(np.zeros(shape, np.float32) for shape in shapes))
