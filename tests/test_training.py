"""The two scripts as a user runs them."""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import reference
from marks import slow_but
from training_runs import SCRIPTS, SMALL, assert_same, assert_same_arrays, learned, one_line, run

import ais
import binary_rbm_gluon
from gluon_rbm.backend import native
from gluon_rbm.backend.files import write_whole
from gluon_rbm.backend.framework import mx
from gluon_rbm.cli import options
from gluon_rbm.data import datasets
from gluon_rbm.data.batches import to_visible
from gluon_rbm.training import binary_pictures, run_folder
from gluon_rbm.training.binary_settings import DOCUMENTED
from gluon_rbm.training.binary_start import initial_arrays
from gluon_rbm.training.checkpoint import Checkpoint
from gluon_rbm.training.learners import LEARNERS, DataParallelLearner

pytestmark = pytest.mark.usefixtures("short_showcase")


@pytest.fixture(params=slow_but(list(SCRIPTS), "gluon"))
def script(request):
    return SCRIPTS[request.param]


# --- What is documented ---------------------------------------------------------------------------

FLAGS = {
    "--num-hidden": (500, "number of hidden units"),
    "--k": (30, "number of Gibbs sampling steps used in the PCD algorithm"),
    "--batch-size": (80, "batch size"),
    "--num-epoch": (130, "number of epochs"),
    "--learning-rate": (0.1, "learning rate for stochastic gradient descent"),
    "--momentum": (0.3, "momentum for the stochastic gradient descent"),
    "--ais-batch-size": (100, "batch size for AIS to estimate the log-likelihood"),
    "--ais-num-batch": (10, "number of batches for AIS to estimate the log-likelihood"),
    "--ais-intermediate-steps": (
        10,
        "number of intermediate distributions for AIS to estimate the log-likelihood",
    ),
    "--ais-burn-in-steps": (
        10,
        "number of burn in steps for each intermediate distributions of AIS to estimate the log-likelihood",
    ),
    "--cuda": (True, "train on GPU with CUDA"),
    "--device-id": (0, "GPU device id"),
    "--data-loader-num-worker": (4, "number of multithreading workers for the data loader"),
}


@pytest.mark.parametrize("flag", FLAGS)
def test_documented_flags_defaults_and_help(flag, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")  # no line is wrapped
    default, help_text = FLAGS[flag]
    value = getattr(options.parse([], "binary_rbm_gluon.py"), flag[2:].replace("-", "_"))
    assert value == default and type(value) is type(default)
    with pytest.raises(SystemExit) as stop:
        binary_rbm_gluon.main(["--help"])
    assert stop.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert re.search(re.escape(flag) + r"\b[^-]* " + re.escape(help_text), text)


def test_cuda_and_no_cuda():
    parse = lambda *argv: options.parse(argv, "x")  # noqa: E731
    assert (parse().cuda, parse().cuda_asked) == (True, None)
    assert (parse("--cuda").cuda, parse("--cuda").cuda_asked) == (True, True)
    assert (parse("--no-cuda").cuda, parse("--no-cuda").cuda_asked) == (False, False)


def test_other_defaults():
    added = vars(options.parse([], "x").added())
    assert added == {
        "dataset": "mnist", "data_dir": None, "image_size": None, "below": [], "seed": 0, "output_dir": None,
        "resume": False, "tensorboard": False, "binarize": "none",
        "monitor_every": 1, "engine": "auto", "initial_visible_bias": "zero", "weight_decay": 0.0,
        "initial_weights": "normal",
        "centering": 0.0, "learning_rate_schedule": "constant", "hold": 0.3, "average": 0.0, "held_out": 0,
        "ais_base_rate": "model", "chains": "persistent", "num_chains": 0, "num_temperatures": 10, "num_snapshots": 15,
        "preset": None,
        "sparsity_target": 0.1, "sparsity_cost": 0.0, "weight_decay_l1": 0.0, "weight_bits": 32,
        "initial_hidden_bias": 0.0, "initial_parameters": None,
        "optimizer": "sgd", "initial_momentum": 0.5, "initial_momentum_epochs": 0,
        "early_stopping": 0, "labels": False, "objective": "generative", "generative_weight": 0.01, "num_devices": 1,
        "kv_store": "device",
    }  # fmt: skip


def test_what_a_run_prints(script, tmp_path, capsys):
    assert run(script, tmp_path / "run", "--num-epoch", "3", "--monitor-every", "2") == 0
    lines = capsys.readouterr().out.splitlines()
    names = re.findall(r"(\w+)=", lines[0])
    assert lines[0].startswith("Namespace(") and sorted(names) == sorted(DOCUMENTED)
    assert lines[1].startswith("Namespace(") and "seed=0" in lines[1]
    epochs = [line for line in lines if line.startswith("Epoch ")]
    number = r"-?\d+\.\d+"
    assert len(epochs) == 2  # the first epoch is not monitored
    for index, line in ((1, epochs[0]), (2, epochs[1])):  # the last epoch is always monitored
        pattern = "Epoch %d completed with test log-likelihood %s and train log-likelihood %s;" % (
            index + 1,
            number,
            number,
        )
        assert re.match(pattern, line)
        assert "optimistic: only 10 intermediate distributions" in line
        assert "grey-pixel" not in line  # bars and stripes are binary


def test_a_worker_without_the_others_is_told(script, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DMLC_ROLE", "worker")
    assert run(script, tmp_path / "run") == 0
    assert "they need --kv-store dist_sync" in capsys.readouterr().err


def test_what_a_run_leaves(script, tmp_path):
    assert run(script, tmp_path / "run", "--num-epoch", "2", "--seed", "5") == 0
    folder = tmp_path / "run"
    assert sorted(os.listdir(folder)) == [
        ".lock", "arguments.json", "checkpoint.npz", "filters.png", "learning-curve.png", "metrics.csv", "rbm.params",
        "showcase.png",
    ]  # fmt: skip
    record = json.loads((folder / "arguments.json").read_text())
    assert record["arguments"]["seed"] == 5 and record["arguments"]["num_hidden"] == 6
    assert {"python", "numpy", "mxnet"} <= set(record["versions"])
    with open(folder / "metrics.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert all(float(row["test_log_likelihood"]) < 0 < float(row["test_standard_error"]) for row in rows)
    assert all(float(row["seconds"]) > 0 < float(row["monitor_seconds"]) for row in rows)
    chains = learned(folder)
    for layer in ("visible", "hidden"):
        on = chains["aux_%s_layer_sample" % layer].mean()
        assert float(rows[-1][layer + "_units_on"]) == pytest.approx(on, abs=1e-5)
    for name in ("filters", "learning-curve", "showcase"):
        assert (folder / (name + ".png")).read_bytes().startswith(b"\x89PNG")
    shapes = {name: array.shape for name, array in learned(folder).items()}
    assert shapes == {
        "visible_layer_bias": (16,), "hidden_layer_bias": (6,), "interaction_weight": (16, 6),
        "aux_visible_layer_sample": (8, 16), "aux_hidden_layer_sample": (8, 6),
    }  # fmt: skip


def test_the_whole_showcase(tmp_path, monkeypatch):
    monkeypatch.setattr(binary_pictures, "SHOWCASE_SWEEPS", 3000)
    pictures = {}
    original = binary_pictures.plots.showcase

    def remember(originals, samples, image_shape, sweeps, side):
        pictures.update(originals=originals, samples=samples, sweeps=sweeps, side=side)
        return original(originals, samples, image_shape, sweeps, side)

    monkeypatch.setattr(binary_pictures.plots, "showcase", remember)
    assert run(binary_rbm_gluon, tmp_path / "run", "--num-epoch", "1") == 0
    assert pictures["sweeps"] == 3000 and pictures["side"] == 15
    # No image occurs twice.
    assert pictures["originals"].shape == pictures["samples"].shape == (30, 16)
    possible = {row.tobytes() for row in datasets.load("bars-and-stripes").train_images.reshape((-1, 16)).astype("f4")}
    assert {row.tobytes() for row in pictures["originals"]} == possible
    assert (pictures["samples"] > 0).all() and (pictures["samples"] < 1).all()


# --- The same seed, the same result ---------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skipif(not native.available(), reason="native Gibbs engine " + repr(native.available()))
@pytest.mark.parametrize(
    "threads, flags", [("2", []), ("3", ["--centering", "--momentum", "0.5", "--sparsity-cost", "0.1"])]
)
def test_the_parameters_do_not_depend_on_the_number_of_threads(tmp_path, threads, flags):
    """784 visible and 300 hidden units, enough work for two threads."""
    root = Path(__file__).parents[1]
    command = [sys.executable, str(root / "binary_rbm_gluon.py"), "--dataset", "digits", "--image-size", "28", "28"]
    command += [
        "--no-cuda",
        "--num-hidden",
        "300",
        "--k",
        "2",
        "--num-epoch",
        "2",
        "--seed",
        "1",
        "--monitor-every",
        "9",
    ]
    command += ["--learning-rate", "8", "--ais-batch-size", "10", "--ais-num-batch", "1", *flags]
    for number in ("1", threads):
        environment = {**os.environ, "PYTHONPATH": str(root), "MPLBACKEND": "Agg", "OMP_NUM_THREADS": number}
        folder = str(tmp_path / number)
        subprocess.run(
            [*command, "--output-dir", folder], env=environment, check=True, capture_output=True, timeout=300
        )
    assert_same_arrays(tmp_path / "1", tmp_path / threads)


def test_the_same_command_gives_the_same_parameters_in_both_apis(tmp_path):
    """30 images in batches of 8: the last batch is short."""
    for name, script, seed in (("a", "gluon", 1), ("b", "gluon", 1), ("c", "module", 1), ("d", "gluon", 2)):
        assert run(SCRIPTS[script], tmp_path / name, "--num-epoch", "2", "--seed", str(seed)) == 0
    assert_same(tmp_path / "a", tmp_path / "b")
    assert_same(tmp_path / "a", tmp_path / "c")
    with pytest.raises(AssertionError):
        assert_same(tmp_path / "a", tmp_path / "d")


@pytest.mark.parametrize("binarize", slow_but(["none", "sample", "threshold"], "sample"))
def test_options_mean_the_same_in_both_apis(tmp_path, binarize):
    arguments = ["--dataset", "digits", "--num-epoch", "1", "--binarize", binarize, "--weight-decay", "0.1"]
    arguments += ["--initial-visible-bias", "data", "--learning-rate", "2", "--data-loader-num-worker", "0"]
    for name, script in SCRIPTS.items():
        assert run(script, tmp_path / name, *arguments) == 0
    assert_same(tmp_path / "gluon", tmp_path / "module")


@pytest.mark.parametrize(
    "first, then",
    [
        pytest.param("gluon", "gluon", marks=pytest.mark.slow),
        pytest.param("module", "module", marks=pytest.mark.slow),
        ("gluon", "module"),
    ],
)
def test_a_resumed_run_ends_as_an_uninterrupted_one(tmp_path, capsys, first, then):
    assert run(SCRIPTS[first], tmp_path / "whole", "--num-epoch", "4") == 0
    assert run(SCRIPTS[first], tmp_path / "parts", "--num-epoch", "2") == 0
    assert run(SCRIPTS[then], tmp_path / "parts", "--num-epoch", "4", "--resume") == 0
    assert "after epoch 2" in capsys.readouterr().out
    assert_same(tmp_path / "whole", tmp_path / "parts")

    def scores(folder):
        with open(folder / "metrics.csv") as file:
            rows = list(csv.DictReader(file))
        return [{name: value for name, value in row.items() if "seconds" not in name} for row in rows]

    assert scores(tmp_path / "whole") == scores(tmp_path / "parts")


def test_resume_without_a_run_starts_one(tmp_path, capsys):
    assert run(binary_rbm_gluon, tmp_path / "run", "--num-epoch", "1", "--resume") == 0
    assert "nothing to resume" in capsys.readouterr().out


@pytest.mark.slow
def test_default_folders_are_numbered_and_the_last_one_is_resumed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for arguments in (
        ["--num-epoch", "1"],
        ["--num-epoch", "1", "--seed", "2"],
        ["--num-epoch", "2", "--seed", "2", "--resume"],
    ):
        assert binary_rbm_gluon.main(SMALL + arguments) == 0
    assert sorted(os.listdir("runs")) == ["gluon-bars-and-stripes-1", "gluon-bars-and-stripes-2"]
    assert len((tmp_path / "runs" / "gluon-bars-and-stripes-2" / "metrics.csv").read_text().splitlines()) == 3


# --- What the flags mean --------------------------------------------------------------------------


def test_one_step_is_the_documented_update(script, tmp_path, monkeypatch):
    """A step is rate / batch size * (mean gradient + lambda W), so the default acts as 0.1 / 80."""
    args = options.parse([*SMALL, "--learning-rate", "3", "--momentum", "0", "--weight-decay", "0.5"], "x")
    data = datasets.load("bars-and-stripes")
    arrays = initial_arrays(args, data, mx.cpu())
    arrays["visible_layer_bias"][:] = 0.5
    before = {name: array.asnumpy() for name, array in arrays.items()}
    learner = LEARNERS["gluon" if script is binary_rbm_gluon else "module"](args, arrays, mx.cpu())
    batch = to_visible(data.train_images[:8], data.maximum)
    learner.backward(mx.nd.array(batch))
    learner.update()
    mx.nd.waitall()
    after = {name: array.asnumpy() for name, array in learner.arrays().items()}
    a, b, w = (before[name] for name in ("visible_layer_bias", "hidden_layer_bias", "interaction_weight"))
    chain = after["aux_visible_layer_sample"]
    hidden, chain_hidden = reference.sigmoid(b + batch @ w), reference.sigmoid(b + chain @ w)
    gradient = (chain.T @ chain_hidden - batch.T @ hidden) / 8
    np.testing.assert_allclose(after["interaction_weight"], w - 3 / 8 * (gradient + 0.5 * w), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(
        after["visible_layer_bias"], a - 3 / 8 * (chain.mean(axis=0) - batch.mean(axis=0)), rtol=1e-5
    )


def test_a_uniform_start():
    data = datasets.load("digits")
    args = options.parse(["--preset", "exercise", "--num-hidden", "50"], "x")
    arrays = {name: array.asnumpy() for name, array in initial_arrays(args, data, mx.cpu()).items()}
    assert (arrays["hidden_layer_bias"] == 0).all()
    for name in ("interaction_weight", "visible_layer_bias"):
        values = arrays[name].ravel()
        assert np.abs(values).max() <= 0.01
        # If x is uniform within +-0.01, |x| has mean 0.005 and standard deviation 0.01 / sqrt(12).
        assert abs(np.abs(values).mean() - 0.005) < 5 * 0.01 / np.sqrt(12 * values.size)
        assert abs(values.mean()) < 5 * 0.02 / np.sqrt(12 * values.size)


def test_initial_visible_bias_of_the_data():
    data = datasets.load("digits")
    args = options.parse(["--initial-visible-bias", "data"], "x")
    bias = initial_arrays(args, data, mx.cpu())["visible_layer_bias"].asnumpy()
    mean = data.train_images.reshape((len(data.train_images), -1)).mean(axis=0) / 16
    np.testing.assert_allclose(bias, ais.smoothed_visible_bias(mean, len(data.train_images)), rtol=1e-5)


@pytest.mark.slow
def test_a_run_learns(tmp_path):
    """The exact mean log-likelihood of bars and stripes, by enumeration of 2^6 hidden states."""
    arguments = ["--num-epoch", "300", "--learning-rate", "2", "--monitor-every", "300", "--k", "5"]
    assert run(binary_rbm_gluon, tmp_path / "run", *arguments) == 0
    arrays = learned(tmp_path / "run")
    a, b, w = (arrays[name].astype(float) for name in ("visible_layer_bias", "hidden_layer_bias", "interaction_weight"))
    hidden = reference.states(6)
    log_z = reference.log_sum_exp(hidden @ b + np.logaddexp(0, a + hidden @ w.T).sum(axis=1))
    visible = to_visible(datasets.load("bars-and-stripes").train_images, 1)
    log_likelihood = (visible @ a + np.logaddexp(0, b + visible @ w).sum(axis=1)).mean() - log_z
    independent_pixels = 16 * np.log(0.5)
    assert independent_pixels + 3 < log_likelihood < -np.log(30)


@pytest.mark.skipif("MXNET_RBM_DATA" not in os.environ, reason="set MXNET_RBM_DATA to a folder that holds mnist/")
def test_real_mnist(script, tmp_path):
    arguments = ["--no-cuda", "--num-epoch", "1", "--num-hidden", "20", "--k", "1", "--ais-num-batch", "1"]
    assert script.main([*arguments, "--output-dir", str(tmp_path / "run")]) == 0
    with open(tmp_path / "run" / "metrics.csv") as file:
        row = next(csv.DictReader(file))
    # An RBM of zeros scores 784 log(1/2) = -543.
    assert -450 < float(row["test_log_likelihood"]) < -100 and row["binary_pixels"] == "0"
    assert learned(tmp_path / "run")["interaction_weight"].shape == (784, 20)


# --- Bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--k", "0"], "argument --k: it must be a whole number of at least 1 and below 2^31, not 0"),
        (["--num-hidden", "-5"], "--num-hidden"),
        (["--k", "5000000000"], "below 2^31"),
        (["--batch-size", "0"], "--batch-size"),
        (["--num-epoch", "many"], "invalid int value: 'many'"),
        (["--learning-rate", "nan"], "--learning-rate"),
        (["--learning-rate", "1e39"], "--learning-rate"),
        (["--momentum", "-1"], "--momentum"),
        (["--ais-batch-size", "0"], "--ais-batch-size"),
        (["--ais-num-batch", "0"], "--ais-num-batch"),
        (["--ais-intermediate-steps", "0"], "--ais-intermediate-steps"),
        (["--ais-burn-in-steps", "0"], "--ais-burn-in-steps"),
        (["--device-id", "-1"], "--device-id"),
        (["--seed", "-1"], "--seed"),
        (["--monitor-every", "0"], "--monitor-every"),
        (["--weight-decay", "-0.1"], "--weight-decay"),
        (["--binarize", "always"], "invalid choice: 'always'"),
        (["--no-such-flag"], "unrecognized arguments: --no-such-flag"),
        (["--num-hiden", "5"], "unrecognized arguments: --num-hiden 5; did you mean --num-hidden?"),
    ],
)
def test_invalid_arguments_are_refused(script, capsys, arguments, message):
    with pytest.raises(SystemExit) as stop:
        script.main(arguments)
    assert stop.value.code == 2
    error = one_line(capsys)
    assert message in error and "--help" in error


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--dataset", "no-such-set"], "no-such-set"),
        (["--dataset", "image-folder"], "data-dir"),
        (["--batch-size", "31"], "--batch-size 31 is larger than the number of training images, 30; choose a smaller"),
        (["--held-out", "25"], "--batch-size 8 is larger than the number of training images, 5"),
    ],
)
def test_unusable_data_sets_are_refused(script, tmp_path, capsys, arguments, message):
    assert run(script, tmp_path / "run", *arguments) == 2
    assert message in one_line(capsys)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("value", [np.nan, 1.5])
def test_invalid_pixels_are_refused(script, tmp_path, capsys, value):
    images = np.zeros((20, 4), "float32")
    images[3, 2] = value
    np.save(tmp_path / "images.npy", images)
    assert run(script, tmp_path / "run", "--dataset", str(tmp_path / "images.npy")) == 2
    assert "images.npy" in one_line(capsys)


@pytest.mark.skipif(mx.runtime.Features().is_enabled("CUDA"), reason="this MXNet has CUDA")
def test_asking_for_an_unavailable_gpu_is_refused(script, tmp_path, capsys):
    assert run(script, tmp_path / "run", "--cuda") == 2
    assert "cannot use the GPU: " in one_line(capsys)


@pytest.mark.skipif(mx.runtime.Features().is_enabled("CUDA"), reason="this MXNet has CUDA")
def test_without_a_flag_the_cpu_is_used_and_one_line_says_so(script, tmp_path, capsys):
    arguments = [argument for argument in SMALL if argument != "--no-cuda"]
    assert script.main([*arguments, "--output-dir", str(tmp_path / "run"), "--num-epoch", "1"]) == 0
    assert "CPU" in capsys.readouterr().out.splitlines()[2]


def test_a_folder_that_cannot_be_written(script, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    assert run(script, tmp_path / "file" / "run") == 2
    assert "choose another --output-dir" in one_line(capsys)


def test_a_folder_that_holds_a_run_is_left_alone(script, tmp_path, capsys):
    assert run(script, tmp_path / "run", "--num-epoch", "1") == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    assert run(script, tmp_path / "run", "--num-epoch", "1") == 2
    assert "--resume" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before


@pytest.mark.parametrize("arguments", [["--num-hidden", "7"], ["--seed", "3"], ["--k", "3"], ["--dataset", "digits"]])
def test_resuming_with_other_arguments(script, tmp_path, capsys, arguments):
    assert run(script, tmp_path / "run", "--num-epoch", "1") == 0
    capsys.readouterr()
    assert run(script, tmp_path / "run", "--num-epoch", "2", "--resume", *arguments) == 2
    assert arguments[0] in one_line(capsys)


def test_resuming_with_another_content_of_the_same_file(script, tmp_path, capsys, generator):
    for attempt, status in ((1, 0), (2, 2)):
        np.save(tmp_path / "images.npy", generator.random((20, 4)).astype("float32"))
        arguments = ["--dataset", str(tmp_path / "images.npy"), "--num-epoch", str(attempt), "--resume"]
        assert run(script, tmp_path / "run", *arguments) == status
    assert "other data" in capsys.readouterr().err


@pytest.mark.parametrize("lost", ["rbm.params", "metrics.csv", "arguments.json"])
def test_resuming_restores_what_the_checkpoint_holds(script, tmp_path, lost):
    assert run(script, tmp_path / "run", "--num-epoch", "1") == 0
    before = (tmp_path / "run" / lost).read_text() if lost != "rbm.params" else learned(tmp_path / "run")
    (tmp_path / "run" / lost).unlink()
    assert run(script, tmp_path / "run", "--num-epoch", "1", "--resume") == 0
    if lost == "metrics.csv":
        assert (tmp_path / "run" / lost).read_text() == before
    elif lost == "rbm.params":
        for name, array in learned(tmp_path / "run").items():
            np.testing.assert_array_equal(array, before[name])
    else:
        assert json.loads((tmp_path / "run" / lost).read_text())["arguments"]["num_hidden"] == 6


def test_an_error_inside_mxnet_is_one_line(script, tmp_path, capsys, monkeypatch):
    def fail(*arguments, **options):
        raise mx.MXNetError("Traceback\nCheck failed: something")

    monkeypatch.setattr(DataParallelLearner, "steps", fail)
    assert run(script, tmp_path / "run", "--num-epoch", "1") == 2
    assert "MXNet failed (Check failed: something)" in one_line(capsys)


def test_empty_folders_are_not_resumed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert binary_rbm_gluon.main([*SMALL, "--num-epoch", "1"]) == 0
    (tmp_path / "runs" / "gluon-bars-and-stripes-2").mkdir()
    assert binary_rbm_gluon.main([*SMALL, "--num-epoch", "2", "--resume"]) == 0
    assert os.listdir(tmp_path / "runs" / "gluon-bars-and-stripes-2") == []


@pytest.mark.parametrize("resume", [[], ["--resume"]])
def test_results_without_a_checkpoint_are_left_alone(script, tmp_path, capsys, resume):
    assert run(script, tmp_path / "run", "--num-epoch", "1") == 0
    (tmp_path / "run" / "checkpoint.npz").unlink()
    kept = (tmp_path / "run" / "rbm.params").read_bytes()
    capsys.readouterr()
    assert run(script, tmp_path / "run", "--num-epoch", "1", "--seed", "7", *resume) == 2
    advice = "has no checkpoint.npz to resume from" if resume else "already holds a run: continue it with --resume"
    assert advice in one_line(capsys)
    assert (tmp_path / "run" / "rbm.params").read_bytes() == kept


def test_a_folder_that_is_refused_stays_as_it_is(script, tmp_path, capsys):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "rbm.params").write_bytes(b"somebody's")
    assert run(script, tmp_path / "run", "--num-epoch", "1") == 2
    assert "already holds a run" in one_line(capsys)
    assert os.listdir(tmp_path / "run") == ["rbm.params"]


def test_a_checkpoint_of_another_run(script, tmp_path, capsys):
    assert run(script, tmp_path / "run", "--num-epoch", "1") == 0
    assert run(script, tmp_path / "other", "--num-epoch", "1", "--num-hidden", "3") == 0
    (tmp_path / "run" / "checkpoint.npz").write_bytes((tmp_path / "other" / "checkpoint.npz").read_bytes())
    capsys.readouterr()
    assert run(script, tmp_path / "run", "--num-epoch", "2", "--resume") == 2
    assert "the checkpoint is from another run: its array" in one_line(capsys)


def test_two_runs_in_one_folder(script, tmp_path, capsys):
    folder = run_folder.RunFolder(str(tmp_path / "run"), "x", False)
    assert run(script, tmp_path / "run", "--num-epoch", "1") == 2
    assert "another run is using" in one_line(capsys)
    folder.close()
    assert run(script, tmp_path / "run", "--num-epoch", "1") == 0


def test_only_our_own_unfinished_files_are_removed(tmp_path):
    ours, others = [".rbm.params.x1.part", ".checkpoint.npz.ab.part"], [".x.part", "rbm.params.part", ".mine.part"]
    for name in [*ours, *others]:
        (tmp_path / name).write_text("x")
    run_folder.RunFolder(str(tmp_path), "x", False).close()
    assert sorted(os.listdir(tmp_path)) == sorted([".lock", *others])


def test_a_full_disk(script, tmp_path, capsys, monkeypatch):
    assert run(script, tmp_path / "run", "--num-epoch", "1") == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    capsys.readouterr()

    def fail(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(run_folder.array_files, "save", fail)
    assert run(script, tmp_path / "run", "--num-epoch", "2", "--resume") == 2
    assert "cannot write" in one_line(capsys)
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}["rbm.params"] == before["rbm.params"]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--num-hidden", "2000000000"], "2^31 elements"),
        (["--ais-batch-size", "1000000000"], "2^31 elements"),
        (["--batch-size", "2000000000"], "2^31 elements"),
    ],
)
def test_sizes_beyond_mxnet(script, tmp_path, capsys, arguments, message):
    assert run(script, tmp_path / "run", *arguments) == 2
    assert message in one_line(capsys)


def test_an_unavailable_engine_is_refused(script, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(native, "available", lambda: native.Availability("it is not built"))
    assert run(script, tmp_path / "run", "--engine", "native") == 2
    assert "it is not built; choose --engine mxnet or auto" in one_line(capsys)
    # "auto" takes MXNet's engine instead.
    assert run(script, tmp_path / "run", "--engine", "auto", "--num-epoch", "1") == 0


def torn(content):
    return content[: len(content) // 2]


def flipped(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize("damage", [torn, flipped, lambda content: b"", lambda content: b"not an archive"])
def test_a_damaged_checkpoint(script, tmp_path, capsys, damage):
    assert run(script, tmp_path / "run", "--num-epoch", "1") == 0
    capsys.readouterr()
    path = tmp_path / "run" / "checkpoint.npz"
    path.write_bytes(damage(path.read_bytes()))
    before = (tmp_path / "run" / "rbm.params").read_bytes()
    assert run(script, tmp_path / "run", "--num-epoch", "2", "--resume") == 2
    said = one_line(capsys)
    assert "not a complete checkpoint" in said and "rbm.params is intact: keep it" in said and "delete" not in said
    assert (tmp_path / "run" / "rbm.params").read_bytes() == before


def test_a_checkpoint_of_another_shape(script, tmp_path, capsys):
    assert run(script, tmp_path / "run", "--num-epoch", "1") == 0
    capsys.readouterr()
    path = tmp_path / "run" / "checkpoint.npz"
    checkpoint = Checkpoint.load(path)
    checkpoint.arrays["interaction_weight"] = np.zeros((16, 9), "float32")
    checkpoint.save(path)
    assert run(script, tmp_path / "run", "--num-epoch", "2", "--resume") == 2
    assert "(16, 9)" in one_line(capsys)


def test_a_checkpoint_with_another_optimizers_state(script, tmp_path, capsys):
    assert run(script, tmp_path / "run", "--num-epoch", "1") == 0
    capsys.readouterr()
    path = tmp_path / "run" / "checkpoint.npz"
    checkpoint = Checkpoint.load(path)
    checkpoint.optimizer_state["interaction_weight"] = np.zeros((3, 3), "float32")
    checkpoint.save(path)
    assert run(script, tmp_path / "run", "--num-epoch", "2", "--resume") == 2
    assert "does not match this run" in one_line(capsys)


def test_divergence_keeps_the_saved_parameters(script, tmp_path, capsys):
    assert run(script, tmp_path / "run", "--num-epoch", "1") == 0
    kept = (tmp_path / "run" / "rbm.params").read_bytes()
    checkpoint = Checkpoint.load(tmp_path / "run" / "checkpoint.npz")
    checkpoint.optimizer_state["interaction_weight"][:] = 3e38
    checkpoint.save(tmp_path / "run" / "checkpoint.npz")
    capsys.readouterr()
    assert run(script, tmp_path / "run", "--num-epoch", "2", "--resume") == 3
    error = one_line(capsys)
    assert "diverged in epoch 2" in error and "--learning-rate" in error
    assert (tmp_path / "run" / "rbm.params").read_bytes() == kept


def test_a_large_weight_decay_diverges(script, tmp_path, capsys):
    assert run(script, tmp_path / "run", "--num-epoch", "20", "--weight-decay", "1e3") == 3
    assert "diverged in epoch" in one_line(capsys)


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(KeyError), write_whole(str(path)) as temporary:
        with open(temporary, "w") as file:
            file.write("half")
        raise KeyError
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["file"]
