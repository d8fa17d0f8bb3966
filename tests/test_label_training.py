"""Training with labels by both scripts, as a user runs them."""

import csv
import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pytest
import reference
from marks import slow_but
from training_runs import SCRIPTS, assert_same_arrays, learned, one_line

import ais
import binary_rbm_gluon
from gluon_rbm.backend.framework import mx
from gluon_rbm.cli import options
from gluon_rbm.data import datasets, downloads, splits
from gluon_rbm.data.batches import BINARIZE, iterate_batches, to_visible
from gluon_rbm.errors import InputError
from gluon_rbm.likelihood import learning
from gluon_rbm.models import label_rbm
from gluon_rbm.models.files import CLASSES, read_model
from gluon_rbm.training import monitors
from gluon_rbm.training.binary_start import initial_arrays

SMALL = ["--dataset", "bars-and-stripes", "--no-cuda", "--labels", "--num-hidden", "6", "--k", "2", "--batch-size", "8"]
pytestmark = pytest.mark.usefixtures("short_showcase")


def run(name, folder, *arguments):
    return SCRIPTS[name].main([*SMALL, "--output-dir", str(folder), *arguments])


def metrics(folder):
    with open(folder / "metrics.csv") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("objective", slow_but(label_rbm.OBJECTIVES, "hybrid"))
def test_both_apis_and_resumed_runs_give_the_same(tmp_path, objective):
    """30 images in batches of 8: the last batch is short."""
    arguments = ["--objective", objective, "--binarize", "sample", "--held-out", "6"]
    arguments += [] if objective == "discriminative" else ["--centering", "--sparsity-cost", "0.1"]
    assert run("gluon", tmp_path / "gluon", "--num-epoch", "3", *arguments) == 0
    assert run("module", tmp_path / "parts", "--num-epoch", "1", *arguments) == 0
    assert run("module", tmp_path / "parts", "--num-epoch", "3", "--resume", *arguments) == 0
    assert_same_arrays(tmp_path / "gluon", tmp_path / "parts")
    scores = [
        [{name: value for name, value in row.items() if "seconds" not in name} for row in metrics(tmp_path / name)]
        for name in ("gluon", "parts")
    ]
    # Only the last rows agree: the first part also measured the test images in its last epoch.
    last = scores[1].pop()
    assert scores[0].pop() == last and len(scores[0]) == 2
    chains = learned(tmp_path / "gluon")[learning.SAMPLES[0]][:, 16:]
    assert objective == "discriminative" or (chains.sum(axis=1) == 1).all()


def test_tempered_chains_have_one_label_at_every_temperature(tmp_path):
    arguments = [
        "--chains",
        "tempered",
        "--num-temperatures",
        "3",
        "--num-epoch",
        "1",
        "--initial-visible-bias",
        "data",
    ]
    assert run("gluon", tmp_path / "run", *arguments) == 0
    chains = learned(tmp_path / "run")[learning.SAMPLES[0]]
    assert chains.shape == (24, 18) and (chains[:, 16:].sum(axis=1) == 1).all()


def test_files_and_messages_of_a_run_with_labels(tmp_path, capsys):
    assert run("gluon", tmp_path / "run", "--num-epoch", "2", "--initial-visible-bias", "data") == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Epoch ")]
    model, num_classes = read_model(tmp_path / "run")
    assert (num_classes, model.num_visible) == (2, 18)
    assert learned(tmp_path / "run")[CLASSES].tolist() == [0, 1]
    arguments = json.loads((tmp_path / "run" / "arguments.json").read_text())["arguments"]
    assert arguments["num_classes"] == 2 and arguments["image_shape"] == [4, 4] and arguments["labels"] is True
    data = datasets.load("bars-and-stripes")
    images = mx.nd.array(to_visible(data.test_images, data.maximum))
    error = 100 * (label_rbm.classify(model, images, 2).asnumpy() != data.test_labels).mean()
    rows = metrics(tmp_path / "run")
    for name in ("test", "train"):  # the same images
        assert float(rows[-1][name + "_error_percent"]) == pytest.approx(error)
        share = error / 100
        assert float(rows[-1][name + "_standard_error_percent"]) == pytest.approx(
            100 * np.sqrt(share * (1 - share) / 30)
        )
    assert lines[1].startswith(
        "Epoch 2 completed with test error %.2f %% and train error %.2f %%; log p(" % (error, error)
    )
    assert not any("log_likelihood" in name for name in rows[-1])
    assert {path.name for path in (tmp_path / "run").glob("*.png")} == {
        "filters.png",
        "learning-curve.png",
        "showcase.png",
    }


def test_a_run_without_labels_has_no_classes(tmp_path):
    arguments = json.dumps(vars(options.parse([], "x")), sort_keys=True)
    assert '"num_classes": 0' in arguments and '"labels": false' in arguments and '"generative"' in arguments
    without = [part for part in SMALL if part != "--labels"]
    small_ais = ["--ais-batch-size", "20", "--ais-num-batch", "2", "--ais-burn-in-steps", "1"]
    assert binary_rbm_gluon.main([*without, *small_ais, "--num-epoch", "1", "--output-dir", str(tmp_path / "run")]) == 0
    assert sorted(learned(tmp_path / "run")) == sorted([*learning.SAMPLES, *read_model(tmp_path / "run")[0]._fields])
    assert read_model(tmp_path / "run")[1] == 0
    assert "test_log_likelihood" in metrics(tmp_path / "run")[0]


@pytest.mark.slow
@pytest.mark.parametrize("objective", label_rbm.OBJECTIVES)
def test_digits_are_learned(tmp_path, objective):
    """Guesses are wrong for 90 % of the images. Each objective is below 15 % after 15 epochs."""
    arguments = ["--dataset", "digits", "--num-hidden", "60", "--k", "1", "--batch-size", "10", "--num-epoch", "15"]
    arguments += ["--momentum", "0", "--monitor-every", "15", "--objective", objective]
    arguments += ["--learning-rate", "3", "--learning-rate-schedule", "linear"]
    assert run("gluon", tmp_path / "run", *arguments) == 0
    assert float(metrics(tmp_path / "run")[-1]["test_error_percent"]) < 15


def test_early_stopping_follows_the_held_out_error(tmp_path, monkeypatch):
    """The held-out errors are made up, and the second one is the best.

    Two epochs without a better error end the run.
    """
    errors, parameters = iter([0.3, 0.1, 0.2, 0.1]), []
    measure = monitors.ClassificationMonitor.score

    def invent(self, part, images, current, log_z):
        if part != 1:
            return measure(self, part, images, current, log_z)
        parameters.append(current["interaction_weight"].asnumpy())
        return label_rbm.Classification(next(errors), 0.1, -1.0, 7)

    monkeypatch.setattr(monitors.ClassificationMonitor, "score", invent)
    arguments = ["--num-epoch", "9", "--held-out", "7", "--early-stopping", "2", "--learning-rate", "2"]
    for again in ([], ["--resume"]):  # resuming a stopped run learns no more
        assert run("gluon", tmp_path / "run", *arguments, *again) == 0
    assert len(parameters) == 4
    np.testing.assert_array_equal(learned(tmp_path / "run")["interaction_weight"], parameters[1])
    assert [bool(row["test_error_percent"]) for row in metrics(tmp_path / "run")] == [False, True, False, False]


# --- The data -------------------------------------------------------------------------------------


@pytest.mark.parametrize("binarize", BINARIZE)
@pytest.mark.parametrize("num_workers", [0, 3])
def test_labels_stay_with_their_images(seed, binarize, num_workers):
    data = splits.with_label_units(datasets.load("digits"))
    assert data.train_images.dtype == np.uint8 and data.train_images.shape == (1437, 74)
    plain = datasets.load("digits")
    key = [seed]
    order = iterate_batches(np.arange(1437)[:, None], 1, 50, key=key, num_workers=num_workers)
    batches = iterate_batches(data.train_images, data.maximum, 50, key=key, binarize=binarize, num_workers=num_workers)
    for batch, rows in zip(batches, order):
        rows = rows[:, 0].astype(int)
        np.testing.assert_array_equal(batch[:, 64:], np.eye(10)[plain.train_labels[rows]])
        if binarize == "none":
            np.testing.assert_array_equal(batch[:, :64], to_visible(plain.train_images[rows], 16))


def test_number_of_classes(tmp_path):
    assert [datasets.load(name).num_classes for name in ("digits", "bars-and-stripes")] == [10, 2]
    np.save(tmp_path / "images.npy", np.zeros((9, 4)))
    data = datasets.load(str(tmp_path / "images.npy"))
    assert data.num_classes == 0
    with pytest.raises(InputError, match="has no labels; choose a data set with"):
        splits.with_label_units(data)


def test_label_biases_of_the_data():
    """Without weights p(y) = softmax(d). It is the smoothed share of each class."""
    plain = datasets.load("bars-and-stripes")
    args = options.parse(["--initial-visible-bias", "data", "--labels"], "x")
    args = dataclasses.replace(args, num_classes=plain.num_classes)
    bias = initial_arrays(args, splits.with_label_units(plain), mx.cpu())["visible_layer_bias"].asnumpy()
    images = to_visible(plain.train_images, 1)
    np.testing.assert_allclose(bias[:16], ais.smoothed_visible_bias(images.mean(axis=0), 30), rtol=1e-6)
    smoothed = reference.sigmoid(ais.smoothed_visible_bias(np.array([16, 14]) / 30, 30))
    np.testing.assert_allclose(np.exp(bias[16:]), smoothed, rtol=1e-6)
    np.testing.assert_allclose(np.exp(bias[16:]).sum(), 1, rtol=1e-6)


# --- Bad input ------------------------------------------------------------------------------------


def test_data_without_labels_are_refused(tmp_path, capsys):
    np.save(tmp_path / "images.npy", np.zeros((9, 4)))
    assert run("gluon", tmp_path / "run", "--dataset", str(tmp_path / "images.npy")) == 2
    assert "has no labels; choose a data set with labels, or leave out --labels" in one_line(capsys)
    assert not (tmp_path / "run").exists()


def test_settings_without_effect_are_refused(tmp_path, capsys):
    assert run("gluon", tmp_path / "run", "--objective", "discriminative", "--centering") == 2
    assert "centering is of no effect where the objective is discriminative" in one_line(capsys)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--objective", "hybrid"], "--objective hybrid needs labels: give --labels"),
        (["--labels", "--objective", "both"], "--objective"),
        (["--labels", "--generative-weight", "0"], "--generative-weight"),
    ],
)
def test_flags_that_make_no_sense_are_refused(capsys, arguments, message):
    with pytest.raises(SystemExit) as stop:
        binary_rbm_gluon.main(arguments)
    assert stop.value.code == 2 and message in one_line(capsys)


def test_a_run_without_labels_cannot_go_on_with_labels(tmp_path, capsys):
    without = [part for part in SMALL if part != "--labels"]
    small_ais = ["--ais-batch-size", "20", "--ais-num-batch", "2", "--ais-burn-in-steps", "1"]
    assert binary_rbm_gluon.main([*without, *small_ais, "--num-epoch", "1", "--output-dir", str(tmp_path / "run")]) == 0
    capsys.readouterr()
    assert run("gluon", tmp_path / "run", "--num-epoch", "2", "--resume") == 2
    assert "it cannot change; leave the flag out" in one_line(capsys)


def test_missing_files_are_an_error(tmp_path, capsys, monkeypatch):
    """Files of labels are looked for and downloaded with the images. Here no server answers."""
    files = [file._replace(mirrors=("http://127.0.0.1:9/",)) for file in downloads.SOURCES["mnist"]]
    monkeypatch.setitem(downloads.SOURCES, "mnist", files)
    monkeypatch.setenv("MXNET_RBM_DATA", "")
    monkeypatch.setenv("MXNET_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert run("gluon", tmp_path / "run", "--dataset", "mnist") == 2
    assert "127.0.0.1:9" in one_line(capsys)


# --- The published models -------------------------------------------------------------------------

PUBLISHED = Path(__file__).parents[1] / "docs" / "reference-runs"


@pytest.mark.skipif("MXNET_RBM_DATA" not in os.environ, reason="set MXNET_RBM_DATA to a folder that holds mnist/")
@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the tests stand alone, without docs/")
@pytest.mark.parametrize("name, published", [("discriminative", 157), ("hybrid", 204)])
def test_the_published_models_make_the_published_errors(name, published):
    parameters, num_classes = read_model(PUBLISHED / (name + "-mnist"))
    data = datasets.load("mnist")
    images = mx.nd.array(to_visible(data.test_images, data.maximum))
    wrong = (label_rbm.classify(parameters, images, num_classes).asnumpy() != data.test_labels).sum()
    assert abs(wrong - published) <= 1  # another BLAS may decide a near tie differently
