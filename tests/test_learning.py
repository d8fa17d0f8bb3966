"""What bends the gradient, against brute force; and what it changes in runs of both scripts."""

import csv

import numpy as np
import pytest
import reference
from test_training import SCRIPTS, assert_same, learned, one_line, run

import ais
import binary_rbm_gluon
from binary_rbm import BinaryRBMBlock
from gluon_rbm import datasets, learning, training
from gluon_rbm.framework import mx
from gluon_rbm.learning import LearningRule

LEARNED = ("visible_layer_bias", "hidden_layer_bias", "interaction_weight")


@pytest.fixture(autouse=True)
def short_showcase(monkeypatch):
    monkeypatch.setattr(training, "_SHOWCASE_SWEEPS", 10)


def trained_block(machine, ctx, rule, data, k=2, num_chains=0, dtype="float64", **states):
    """A block with these parameters and states after one step, gradients not yet applied."""
    rbm = BinaryRBMBlock(len(machine[1]), k, True, num_visible=len(machine[0]), num_chains=num_chains, rule=rule)
    rbm.initialize(mx.init.Normal(), ctx=ctx)
    rbm.cast(dtype)
    rbm(mx.nd.array(data, ctx=ctx, dtype=dtype)) if not num_chains else None
    for name, array in dict(zip(LEARNED, machine), **states).items():
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


# --- Centering --------------------------------------------------------------------------------------------------------


def centered_free_energies(a, b, w, mu, lam, visible):
    """F(v) of E(v, h) = -(v - mu).a - b.(h - lambda) - (v - mu) W (h - lambda), by summing over the hidden states."""
    result = []
    for v in visible:
        terms = [(v - mu) @ a + b @ (h - lam) + (v - mu) @ w @ (h - lam) for h in reference.states(len(b))]
        result.append(-reference.log_sum_exp(np.array(terms)))
    return np.array(result)


def test_the_centered_gradient_is_the_gradient_in_the_centered_parameters(ctx, generator):
    """Its loss is differentiated numerically there, and the direction carried back to the normal parameters."""
    a, b, w = reference.random_machine(5, 4, generator)
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
    expected = slope[:5] - slope_w @ lam, slope[5:9] - mu @ slope_w, slope_w  # a = a' - W lambda, b = b' - mu W
    for ours, theirs in zip(gradients(rbm), expected):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-8)


def test_the_offsets_follow_the_batches_and_are_what_the_gradient_uses(ctx, generator):
    machine = a, b, w = reference.random_machine(5, 4, generator)
    data = generator.random((7, 5))
    rbm = trained_block(machine, ctx, LearningRule(centering=0.25), data)
    mu, lam = value(rbm, "aux_visible_offset"), value(rbm, "aux_hidden_offset")
    hidden = reference.sigmoid(b + data @ w)
    np.testing.assert_allclose(mu, 0.75 * 0.5 + 0.25 * data.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(lam, 0.75 * 0.5 + 0.25 * hidden.mean(axis=0), rtol=1e-12)
    chains = value(rbm, "aux_visible_layer_sample")
    chain_hidden = reference.sigmoid(b + chains @ w)
    expected = sum(np.outer(v - mu, h - lam) for v, h in zip(chains, chain_hidden)) / 7
    expected = expected - sum(np.outer(v - mu, h - lam) for v, h in zip(data, hidden)) / 7
    np.testing.assert_allclose(gradients(rbm)[2], expected, rtol=1e-10, atol=1e-13)


def test_outside_record_the_offsets_stay(ctx, generator):
    data = generator.random((7, 5))
    rbm = trained_block(reference.random_machine(5, 4, generator), ctx, LearningRule(centering=0.25), data)
    before = [value(rbm, name) for name in learning.OFFSETS]
    rbm(mx.nd.array(data, ctx=ctx, dtype="float64"))[0].asnumpy()
    for name, array in zip(learning.OFFSETS, before):
        np.testing.assert_array_equal(value(rbm, name), array)


@pytest.mark.parametrize("rate", [-0.1, 1.5, float("nan")])
def test_rates_of_centering_that_cannot_be(rate):
    with pytest.raises(ValueError, match="centering is .*; it must be a rate"):
        BinaryRBMBlock(3, 1, True, rule=LearningRule(centering=rate))


def test_attributes_that_no_rule_has():
    with pytest.raises(ValueError, match="a learning rule has no centring; it has centering"):
        LearningRule.checked(centring=0.1)


# --- Schedules, averages ----------------------------------------------------------------------------------------------


def test_the_rate_holds_and_then_falls_linearly_to_zero():
    factors = [learning.rate_factor("linear", 0.25, progress) for progress in (0, 0.2, 0.25, 0.625, 0.999999)]
    np.testing.assert_allclose(factors, [1, 1, 1, 0.5, 0], atol=2e-6)
    assert learning.rate_factor("constant", 0.25, 0.9) == 1


def test_an_average_goes_on_where_it_was(generator):
    steps = generator.random((7, 3)).astype("float32")
    average = learning.ParameterAverage()
    for step in steps[:3]:
        average.add({"x": mx.nd.array(step)})
    other = learning.ParameterAverage()
    other.restore(average.state(), mx.cpu())
    for step in steps[3:]:
        average.add({"x": mx.nd.array(step)})
        other.add({"x": mx.nd.array(step)})
    np.testing.assert_allclose(average.parameters()["x"], steps.mean(axis=0), rtol=1e-6)
    np.testing.assert_array_equal(average.parameters()["x"], other.parameters()["x"])


# --- Runs -------------------------------------------------------------------------------------------------------------

OPTIONS = ["--centering", "0.05", "--learning-rate-schedule", "linear", "--hold", "0.2", "--average", "0.5"]
OPTIONS += ["--held-out", "7", "--ais-base-rate", "data", "--binarize", "sample", "--learning-rate", "2"]
OPTIONS += ["--num-epoch", "4"]


def whole(folder):
    """Everything a checkpoint holds, but times."""
    checkpoint = training.RunFolder(str(folder), "", True)
    checkpoint.close()
    checkpoint = checkpoint.load_checkpoint()
    metrics = [{name: item for name, item in row.items() if "seconds" not in name} for row in checkpoint.metrics]
    return (
        metrics,
        {**checkpoint.arrays, **{"optimizer " + k: v for k, v in checkpoint.optimizer_state.items()}},
        (checkpoint.average),
    )


def assert_same_runs(left, right):
    (metrics, *arrays), (other_metrics, *other_arrays) = whole(left), whole(right)
    assert metrics == other_metrics
    for ours, theirs in zip(arrays, other_arrays):
        assert sorted(ours) == sorted(theirs)
        for name in ours:
            np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)


@pytest.fixture
def interrupted(monkeypatch):
    """A run that is interrupted after its second epoch, and then resumed."""

    def interrupt_and_resume(script, then, folder, *arguments):
        with monkeypatch.context() as patch:
            train = training._Run._train_epoch

            def stop(self, bar):
                if self.epoch == 2:
                    raise KeyboardInterrupt
                train(self, bar)

            patch.setattr(training._Run, "_train_epoch", stop)
            assert run(script, folder, *arguments) == 130
        assert run(then, folder, *arguments, "--resume") == 0

    return interrupt_and_resume


def test_both_apis_resumed_or_not_learn_the_same_with_all_options(tmp_path, interrupted):
    gluon, module = SCRIPTS["gluon"], SCRIPTS["module"]
    assert run(gluon, tmp_path / "gluon", *OPTIONS) == 0
    assert run(module, tmp_path / "module", *OPTIONS) == 0
    interrupted(gluon, module, tmp_path / "parts", *OPTIONS)
    for other in ("module", "parts"):
        assert_same_runs(tmp_path / "gluon", tmp_path / other)
        for name, array in learned(tmp_path / "gluon").items():
            np.testing.assert_array_equal(array, learned(tmp_path / other)[name], err_msg=name)


def test_options_that_are_off_change_nothing(tmp_path):
    assert run(binary_rbm_gluon, tmp_path / "plain", "--num-epoch", "2") == 0
    off = ["--centering", "0", "--learning-rate-schedule", "constant", "--average", "0", "--held-out", "0"]
    assert run(binary_rbm_gluon, tmp_path / "off", "--num-epoch", "2", *off) == 0
    assert_same(tmp_path / "plain", tmp_path / "off")


def test_averaged_parameters_are_what_is_saved_and_monitored(tmp_path, monkeypatch):
    """Half of 4 epochs of 4 steps: the mean over the last 8 steps."""
    seen = []
    add = learning.ParameterAverage.add

    def spy(self, parameters):
        seen.append({name: array.asnumpy() for name, array in parameters.items()})
        add(self, parameters)

    monkeypatch.setattr(learning.ParameterAverage, "add", spy)
    arguments = ["--average", "0.5", "--num-epoch", "4", "--learning-rate", "2"]
    assert run(binary_rbm_gluon, tmp_path / "run", *arguments) == 0
    assert len(seen) == 8
    saved = learned(tmp_path / "run")
    for name in LEARNED:
        np.testing.assert_allclose(saved[name], np.mean([step[name] for step in seen], axis=0), rtol=1e-4, atol=1e-6)
    last = whole(tmp_path / "run")[1]
    np.testing.assert_array_equal(last["interaction_weight"], seen[-1]["interaction_weight"])
    images = datasets.to_visible(datasets.load("bars-and-stripes").test_images, 1)
    row = whole(tmp_path / "run")[0][-1]
    score = -reference.free_energies(*(saved[name].astype(float) for name in LEARNED), images).mean() - row["log_z"]
    assert row["test_log_likelihood"] == pytest.approx(score, abs=1e-5)


def test_held_out_images_are_not_learned_and_the_test_images_looked_at_once(tmp_path, monkeypatch):
    trained = []
    batches = datasets.batches

    def spy(images, *arguments, **settings):
        trained.append(images)
        return batches(images, *arguments, **settings)

    monkeypatch.setattr(datasets, "batches", spy)
    assert run(binary_rbm_gluon, tmp_path / "run", "--num-epoch", "3", "--held-out", "7") == 0
    images = datasets.load("bars-and-stripes").train_images
    shown = [len(part) for part in trained]
    assert shown == [23, 7, 23] * 2 + [23, 7, 23, 30]  # learned; held out and training images monitored
    np.testing.assert_array_equal(trained[0], images[:-7])
    np.testing.assert_array_equal(trained[1], images[-7:])
    with open(tmp_path / "run" / "metrics.csv") as file:
        rows = list(csv.DictReader(file))
    assert all(row["held_out_log_likelihood"] for row in rows)
    assert [bool(row["test_log_likelihood"]) for row in rows] == [False, False, True]


def test_holding_everything_out(tmp_path, capsys):
    assert run(binary_rbm_gluon, tmp_path / "run", "--held-out", "30") == 2
    assert "hold out fewer" in one_line(capsys)


def test_a_schedule_fixes_the_length_of_a_run(tmp_path, capsys):
    arguments = ["--learning-rate-schedule", "linear"]
    assert run(binary_rbm_gluon, tmp_path / "run", "--num-epoch", "1", *arguments) == 0
    capsys.readouterr()
    assert run(binary_rbm_gluon, tmp_path / "run", "--num-epoch", "2", "--resume", *arguments) == 2
    assert "--num-epoch 1, not 2" in one_line(capsys)


@pytest.mark.parametrize("flag", ["--centering", "--hold", "--average"])
@pytest.mark.parametrize("text", ["1", "-0.1", "nan", "half"])
def test_shares_that_cannot_be(capsys, flag, text):
    with pytest.raises(SystemExit) as stop:
        binary_rbm_gluon.main([flag, text])
    assert stop.value.code == 2
    assert flag in one_line(capsys)


def test_ais_from_the_means_of_the_training_images(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        training.ais,
        "log_partition",
        lambda *arguments, log_partition=ais.log_partition, **settings: (
            seen.append(settings["base_visible_bias"]),
            log_partition(*arguments, **settings),
        )[1],
    )
    for base in ("model", "data"):
        assert run(binary_rbm_gluon, tmp_path / base, "--num-epoch", "1", "--ais-base-rate", base) == 0
    images = datasets.to_visible(datasets.load("bars-and-stripes").train_images, 1)
    assert seen[0] is None
    np.testing.assert_allclose(seen[1], ais.smoothed_visible_bias(images.mean(axis=0), 30))
