"""Training settings in both scripts: schedules, averages, optimizers, held-out images, presets."""

import csv
import re

import numpy as np
import pytest
import reference
from marks import slow_but
from training_runs import LEARNED, SCRIPTS, assert_same, learned, one_line, run, run_interrupted

import ais
import binary_rbm_gluon
from gluon_rbm.backend.framework import mx
from gluon_rbm.cli import options
from gluon_rbm.data import datasets
from gluon_rbm.data.batches import iterate_batches, to_visible
from gluon_rbm.training import binary, monitors, optimization, run_folder
from gluon_rbm.training.binary_settings import PRESETS
from gluon_rbm.training.checkpoint import Checkpoint
from gluon_rbm.training.learners import GluonLearner

pytestmark = pytest.mark.usefixtures("short_showcase")


# --- Schedules, averages --------------------------------------------------------------------------


def test_the_rate_holds_and_then_falls_linearly_to_zero():
    factors = [optimization.rate_factor("linear", 0.25, progress) for progress in (0, 0.2, 0.25, 0.625, 0.999999)]
    np.testing.assert_allclose(factors, [1, 1, 1, 0.5, 0], atol=2e-6)
    assert optimization.rate_factor("constant", 0.25, 0.9) == 1


def test_a_restored_average_continues(generator):
    steps = generator.random((7, 3)).astype("float32")
    average = optimization.ParameterAverage()
    for step in steps[:3]:
        average.add({"x": mx.nd.array(step)})
    other = optimization.ParameterAverage()
    other.restore(average.state(), mx.cpu())
    for step in steps[3:]:
        average.add({"x": mx.nd.array(step)})
        other.add({"x": mx.nd.array(step)})
    np.testing.assert_allclose(average.arrays["x"].asnumpy(), steps.mean(axis=0), rtol=1e-6)
    np.testing.assert_array_equal(average.arrays["x"].asnumpy(), other.arrays["x"].asnumpy())


# --- Runs -----------------------------------------------------------------------------------------

OPTIONS = {
    "centered": """--centering 0.05 --learning-rate-schedule linear --hold 0.2 --average 0.5 --held-out 7
        --ais-base-rate data --binarize sample --learning-rate 2 --num-epoch 4 --initial-visible-bias data""",
    "tempered": """--chains tempered --num-temperatures 3 --num-chains 5 --sparsity-cost 0.5 --sparsity-target 0.2
        --weight-decay-l1 0.01 --weight-decay 0.01 --initial-hidden-bias -1 --initial-momentum-epochs 3 --momentum 0.8
        --centering --num-epoch 4 --learning-rate 2""",
    "trajectory": """--chains trajectory --num-snapshots 3 --num-epoch 5 --learning-rate 8 --momentum 0.9
        --initial-visible-bias uniform""",
    "eased": "--momentum 0 --initial-momentum-epochs 2 --num-epoch 4",
    "cd": """--chains data --num-chains 11 --num-epoch 5 --held-out 5 --early-stopping 2 --optimizer adam
        --learning-rate 0.05""",
}


def whole(folder):
    """Everything that a checkpoint holds, without the times."""
    folder = run_folder.RunFolder(str(folder), "", True)
    folder.close()
    checkpoint = folder.load_checkpoint()
    metrics = [{name: item for name, item in row.items() if "seconds" not in name} for row in checkpoint.metrics]
    return metrics, checkpoint.arrays, checkpoint.optimizer_state, checkpoint.average, checkpoint.best


def assert_same_runs(left, right):
    (metrics, *arrays), (other_metrics, *other_arrays) = whole(left), whole(right)
    assert metrics == other_metrics
    for ours, theirs in zip(arrays, other_arrays):
        assert sorted(ours) == sorted(theirs)
        for name in ours:
            np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)


def interrupt_and_resume(api, then, folder, *arguments):
    """Interrupt a run in the second step of its third epoch, and resume it with the API `then`."""
    second = lambda state: (state.epoch, state.step) == (2, 1)  # noqa: E731
    assert run_interrupted(api, folder, *arguments, when=second) == 143
    assert Checkpoint.load(folder / "checkpoint.npz").steps == 2
    assert run(SCRIPTS[then], folder, *arguments, "--resume") == 0


@pytest.mark.parametrize("options", slow_but(OPTIONS, "centered"))
def test_both_apis_resumed_or_not_learn_the_same(tmp_path, options):
    gluon, module, arguments = SCRIPTS["gluon"], SCRIPTS["module"], OPTIONS[options].split()
    assert run(gluon, tmp_path / "gluon", *arguments) == 0
    assert run(module, tmp_path / "module", *arguments) == 0
    interrupt_and_resume("gluon", "module", tmp_path / "parts", *arguments)
    for other in ("module", "parts"):
        assert_same_runs(tmp_path / "gluon", tmp_path / other)
        for name, array in learned(tmp_path / "gluon").items():
            np.testing.assert_array_equal(array, learned(tmp_path / other)[name], err_msg=name)


@pytest.mark.parametrize("optimizer", slow_but(optimization.OPTIMIZERS, "sgd", "adam"))
def test_every_optimizer_does_the_same_in_both_apis_resumed_or_not(tmp_path, optimizer):
    arguments = ["--optimizer", optimizer, "--num-epoch", "3", "--monitor-every", "3", "--learning-rate", "0.05"]
    assert run(SCRIPTS["gluon"], tmp_path / "whole", *arguments) == 0
    interrupt_and_resume("module", "gluon", tmp_path / "parts", *arguments)
    assert_same_runs(tmp_path / "whole", tmp_path / "parts")


def test_options_that_are_off_change_nothing(tmp_path):
    assert run(binary_rbm_gluon, tmp_path / "plain", "--num-epoch", "2") == 0
    off = ["--centering", "0", "--learning-rate-schedule", "constant", "--average", "0", "--held-out", "0"]
    assert run(binary_rbm_gluon, tmp_path / "off", "--num-epoch", "2", *off) == 0
    assert_same(tmp_path / "plain", tmp_path / "off")


def test_averaged_parameters_are_what_is_saved_and_monitored(tmp_path, monkeypatch):
    """With --average 0.5 the mean is over the last 8 of 16 steps (4 epochs of 4 steps)."""
    seen = []
    add = optimization.ParameterAverage.add

    def spy(self, parameters):
        seen.append({name: array.asnumpy() for name, array in parameters.items()})
        add(self, parameters)

    monkeypatch.setattr(optimization.ParameterAverage, "add", spy)
    arguments = ["--average", "0.5", "--num-epoch", "4", "--learning-rate", "2"]
    assert run(binary_rbm_gluon, tmp_path / "run", *arguments) == 0
    assert len(seen) == 8
    saved, (metrics, last, *_) = learned(tmp_path / "run"), whole(tmp_path / "run")
    for name in LEARNED:
        np.testing.assert_allclose(saved[name], np.mean([step[name] for step in seen], axis=0), rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(last["interaction_weight"], seen[-1]["interaction_weight"])
    images = to_visible(datasets.load("bars-and-stripes").test_images, 1)
    free_energies = reference.free_energies(*(saved[name].astype(float) for name in LEARNED), images)
    score = -free_energies.mean() - metrics[-1]["log_z"]
    assert metrics[-1]["test_log_likelihood"] == pytest.approx(score, abs=1e-5)


def test_held_out_images_are_not_learned_and_test_images_seen_once(tmp_path, monkeypatch):
    trained = []

    def spy(images, *arguments, **settings):
        trained.append(images)
        return iterate_batches(images, *arguments, **settings)

    for module in (binary, monitors):
        monkeypatch.setattr(module, "iterate_batches", spy)
    assert run(binary_rbm_gluon, tmp_path / "run", "--num-epoch", "3", "--held-out", "7") == 0
    images = datasets.load("bars-and-stripes").train_images
    shown = [len(part) for part in trained]
    # In each epoch 23 images are learned. Then the 7 held-out and the 23 training images are
    # monitored, and at the end the 30 test images.
    assert shown == [23, 7, 23] * 2 + [23, 7, 23, 30]
    np.testing.assert_array_equal(trained[0], images[:-7])
    np.testing.assert_array_equal(trained[1], images[-7:])
    with open(tmp_path / "run" / "metrics.csv") as file:
        rows = list(csv.DictReader(file))
    assert all(row["held_out_log_likelihood"] for row in rows)
    assert [bool(row["test_log_likelihood"]) for row in rows] == [False, False, True]


def test_holding_out_all_images_is_refused(tmp_path, capsys):
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
def test_invalid_shares_are_refused(capsys, flag, text):
    with pytest.raises(SystemExit) as stop:
        binary_rbm_gluon.main([flag, text])
    assert stop.value.code == 2
    assert flag in one_line(capsys)


def test_ais_from_the_means_of_the_training_images(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        monitors.ais,
        "log_partition",
        lambda *arguments, log_partition=ais.log_partition, **settings: (
            seen.append(settings["base_visible_bias"]),
            log_partition(*arguments, **settings),
        )[1],
    )
    for base in ("model", "data"):
        assert run(binary_rbm_gluon, tmp_path / base, "--num-epoch", "1", "--ais-base-rate", base) == 0
    images = to_visible(datasets.load("bars-and-stripes").train_images, 1)
    assert seen[0] is None
    np.testing.assert_allclose(seen[1], ais.smoothed_visible_bias(images.mean(axis=0), 30))


# --- Momentum, early stopping, presets ------------------------------------------------------------


def test_momentum_in_the_first_epochs(tmp_path, monkeypatch):
    seen = []
    steps = GluonLearner.steps

    def spy(self, batches):
        seen.extend([self.updater.optimizer.momentum] * len(batches))
        return steps(self, batches)

    monkeypatch.setattr(GluonLearner, "steps", spy)
    arguments = ["--num-epoch", "3", "--momentum", "0.9", "--initial-momentum-epochs", "2"]
    assert run(binary_rbm_gluon, tmp_path / "run", *arguments) == 0
    assert seen == [0.5] * 8 + [0.9] * 4


def test_early_stopping_waits_for_its_patience_and_can_be_restored():
    def feed(stopping, scores):
        for score in scores:
            assert not stopping.over
            stopping.note(score, 100 + score, {"x": mx.nd.array([score])})
        return stopping

    scores = [-9, -7, -8, -7, -6, -6.5]
    whole_one = feed(optimization.EarlyStopping(3), scores)
    other = optimization.EarlyStopping(3)
    other.restore(feed(optimization.EarlyStopping(3), scores[:4]).state(), mx.cpu())
    feed(other, scores[4:])
    for stopping in (whole_one, other):
        assert (stopping.best, stopping.log_z, stopping.worse) == (-6, 94, 1)
        assert stopping.arrays["x"].asscalar() == -6
        assert feed(stopping, [-7, -8]).over and stopping.best == -6
    never = feed(optimization.EarlyStopping(0), scores)
    assert not never.over and not never.arrays and not never.state()


def test_early_stopping_keeps_the_best_parameters(tmp_path, monkeypatch, capsys):
    """The held-out scores are invented: the second is the best, and two worse ones end the run."""
    scores, parameters = iter([-9.0, -7.0, -8.0, -7.5]), []
    measure = monitors.LikelihoodMonitor.score

    def invent(self, part, images, current, log_z):
        if part != 1:
            return measure(self, part, images, current, log_z)
        parameters.append(current["interaction_weight"].asnumpy())
        return ais.LogLikelihood(next(scores), 0.1, 7, True)

    monkeypatch.setattr(monitors.LikelihoodMonitor, "score", invent)
    arguments = ["--num-epoch", "9", "--held-out", "7", "--early-stopping", "2", "--learning-rate", "2"]
    for again in ([], ["--resume"]):  # a stopped run does not continue
        assert run(binary_rbm_gluon, tmp_path / "run", *arguments, *again) == 0
    printed = capsys.readouterr().out
    assert (
        len(parameters) == 4 and "resuming" in printed and re.search(r"test log-likelihood -\S+ after epoch 2", printed)
    )
    saved, (metrics, last, *_) = learned(tmp_path / "run"), whole(tmp_path / "run")
    np.testing.assert_array_equal(saved["interaction_weight"], parameters[1])
    np.testing.assert_array_equal(last["interaction_weight"], parameters[3])
    assert ["test_log_likelihood" in row for row in metrics] == [False, True, False, False]
    images = to_visible(datasets.load("bars-and-stripes").test_images, 1)
    free_energies = reference.free_energies(*(saved[name].astype(float) for name in LEARNED), images)
    expected = -free_energies.mean() - metrics[1]["log_z"]
    assert metrics[1]["test_log_likelihood"] == pytest.approx(expected, abs=1e-5)


def test_tempered_runs_report_their_swaps(tmp_path):
    assert run(binary_rbm_gluon, tmp_path / "run", *OPTIONS["tempered"].split()) == 0
    row, arrays = whole(tmp_path / "run")[0][-1], whole(tmp_path / "run")[1]
    assert arrays["aux_visible_layer_sample"].shape == (15, 16)
    assert 0 < row["lowest_swap_rate"] <= row["mean_swap_rate"] <= 1
    assert row["visible_units_on"] == pytest.approx(arrays["aux_visible_layer_sample"][:5].mean(), abs=1e-5)
    np.testing.assert_allclose(row["mean_swap_rate"], arrays["aux_swap_rate"].mean(), atol=1e-5)


def test_trajectory_runs_report_their_swaps(tmp_path):
    assert run(binary_rbm_gluon, tmp_path / "run", *OPTIONS["trajectory"].split()) == 0
    row, arrays = whole(tmp_path / "run")[0][-1], whole(tmp_path / "run")[1]
    assert 1 <= row["snapshots"] <= 3 and row["snapshots"] == arrays["aux_num_snapshots"][0]
    rates = arrays["aux_snapshot_swap_rate"][: row["snapshots"]]
    assert 0 < row["lowest_swap_rate"] <= row["mean_swap_rate"] <= 1
    np.testing.assert_allclose(row["mean_swap_rate"], rates.mean(), atol=1e-5)
    np.testing.assert_array_equal(arrays["aux_snapshot_interaction_weight"][0], 0)


def test_a_preset_is_a_set_of_defaults():
    for name, settings in PRESETS.items():
        args = options.parse(["--preset", name, "--learning-rate", "0.25"], "x")
        assert vars(args) == {**vars(options.parse([], "x")), **settings, "preset": name, "learning_rate": 0.25}
        given = options.parse(options_of(settings), "x")
        assert vars(given) == {**vars(args), "preset": None, "learning_rate": settings["learning_rate"]}


def options_of(settings):
    """The command line that gives these settings."""
    flags = {"--" + name.replace("_", "-"): item for name, item in settings.items()}
    return [part for flag, item in flags.items() for part in ([flag] if item is True else [flag, str(item)])]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--early-stopping", "2"], "give --held-out"),
        (["--optimizer", "adam", "--initial-momentum-epochs", "2"], "adam has no momentum"),
        (["--optimizer", "nadam"], "invalid choice: 'nadam'"),
        (["--preset", "worst"], "invalid choice: 'worst'"),
        (["--initial-momentum", "0"], "it must be a number above 0 and below 1"),
        (["--initial-hidden-bias", "nan"], "it must be a number between"),
        (["--num-temperatures", "1"], "at least 2"),
        (["--chains", "loose"], "invalid choice: 'loose'"),
        (["--num-chains", "-1"], "at least 0"),
        (["--sparsity-cost", "-1"], "--sparsity-cost"),
        (["--sparsity-target", "1.5"], "--sparsity-target"),
        (["--weight-decay-l1", "inf"], "--weight-decay-l1"),
    ],
)
def test_invalid_arguments_are_refused(capsys, arguments, message):
    with pytest.raises(SystemExit) as stop:
        binary_rbm_gluon.main(arguments)
    assert stop.value.code == 2
    assert message in one_line(capsys)
