"""Runs that start with the parameters of another RBM."""

import shutil

import numpy as np
import pytest
from training_runs import LEARNED, SCRIPTS, SMALL, assert_same_arrays, learned, one_line, run

import binary_rbm_gluon
from gluon_rbm.backend.framework import mx
from gluon_rbm.cli import options
from gluon_rbm.data import datasets
from gluon_rbm.likelihood import learning
from gluon_rbm.training.binary_start import initial_arrays

# Parameters that do not move show where the run started.
SHORT = ("--num-epoch", "1", "--learning-rate", "1e-30", "--momentum", "0")


def begun(folder, earlier, *arguments):
    """The arrays of a run that starts from the folder `earlier` and does not move."""
    assert run(binary_rbm_gluon, folder, "--initial-parameters", str(earlier), *SHORT, *arguments) == 0
    return learned(folder)


@pytest.fixture
def earlier(tmp_path):
    assert run(binary_rbm_gluon, tmp_path / "earlier", "--num-epoch", "3", "--learning-rate", "4") == 0
    return tmp_path / "earlier"


@pytest.mark.parametrize("name", ["earlier", "earlier/rbm.params"])
def test_a_run_starts_there(tmp_path, earlier, name):
    before, found = learned(earlier), begun(tmp_path / "run", tmp_path / name, "--initial-visible-bias", "data")
    for one in LEARNED:
        np.testing.assert_array_equal(found[one], before[one])


def test_chains_and_offsets_start_at_the_data(earlier):
    arguments = [*SMALL, "--initial-parameters", str(earlier), "--centering", "--num-chains", "4000"]
    data = datasets.load("bars-and-stripes")
    args = options.parse(arguments, "x")
    found = {name: array.asnumpy() for name, array in initial_arrays(args, data, mx.cpu()).items()}
    rows = data.train_images.reshape(len(data.train_images), -1)[np.arange(4000) % len(data.train_images)]
    np.testing.assert_array_equal(found[learning.SAMPLES[0]], rows)
    bias, weight = (learned(earlier)[name] for name in LEARNED[1:])
    probability = 1 / (1 + np.exp(-(bias + rows @ weight)))
    np.testing.assert_allclose(found[learning.OFFSETS[1]], probability.mean(axis=0), rtol=1e-5)
    share, spread = found[learning.SAMPLES[1]].mean(axis=0), np.sqrt(probability * (1 - probability)).mean(axis=0)
    assert (np.abs(share - probability.mean(axis=0)) < 6 * spread / np.sqrt(4000)).all()


def test_label_units_are_added_at_weights_of_0(tmp_path, earlier):
    before, found = learned(earlier), begun(tmp_path / "run", earlier, "--labels")
    np.testing.assert_array_equal(found["interaction_weight"][:16], before["interaction_weight"])
    of_labels = found["interaction_weight"][16:]
    assert of_labels.shape == (2, 6) and np.abs(of_labels).max() < 1e-30
    np.testing.assert_array_equal(found["visible_layer_bias"][:16], before["visible_layer_bias"])
    np.testing.assert_allclose(np.exp(found["visible_layer_bias"][16:]).sum(), 1, rtol=1e-5)
    with_labels = begun(tmp_path / "again", tmp_path / "run", "--labels")
    np.testing.assert_allclose(with_labels["interaction_weight"], found["interaction_weight"], atol=1e-30)


def test_both_apis_agree_and_a_resumed_run_does_not_read_the_folder(tmp_path, earlier):
    arguments = ["--initial-parameters", str(earlier), "--centering"]
    for api, script in SCRIPTS.items():
        assert run(script, tmp_path / api, *arguments, "--num-epoch", "2") == 0
    assert_same_arrays(tmp_path / "gluon", tmp_path / "module")
    assert run(binary_rbm_gluon, tmp_path / "parts", *arguments, "--num-epoch", "1") == 0
    shutil.rmtree(earlier)
    assert run(binary_rbm_gluon, tmp_path / "parts", *arguments, "--num-epoch", "2", "--resume") == 0
    assert_same_arrays(tmp_path / "gluon", tmp_path / "parts")


@pytest.mark.parametrize(
    "arguments, message",
    [
        (
            ["--num-hidden", "5"],
            "16 pixels, 0 classes and 6 hidden units, but this run has 16, 0 and 5; choose --num-hidden",
        ),
        (["--dataset", "digits"], "16 pixels, 0 classes and 6 hidden units, but this run has 64, 0 and 6"),
        (["--initial-parameters", "none"], "none cannot be read"),
    ],
)
def test_parameters_that_do_not_fit(tmp_path, earlier, capsys, arguments, message):
    capsys.readouterr()
    assert run(binary_rbm_gluon, tmp_path / "run", "--initial-parameters", str(earlier), *arguments) == 2
    assert message in one_line(capsys)
    assert not (tmp_path / "run").exists()


def test_parameters_with_labels_need_a_run_with_labels(tmp_path, earlier, capsys):
    begun(tmp_path / "labels", earlier, "--labels")
    capsys.readouterr()
    assert run(binary_rbm_gluon, tmp_path / "run", "--initial-parameters", str(tmp_path / "labels")) == 2
    assert "16 pixels, 2 classes and 6 hidden units, but this run has 16, 0 and 6" in one_line(capsys)
