"""The commands of `python -m gluon_rbm` with pictures, as a user runs them. (likelihood: tests/test_report.py.)"""

import json
import re

import numpy as np
import pytest
import reference
from PIL import Image

from gluon_rbm import __main__, datasets
from gluon_rbm.framework import mx

NAMES = ("visible_layer_bias", "hidden_layer_bias", "interaction_weight")
DIGITS = ("--dataset", "digits", "--no-cuda")
COMMANDS = ("reconstruct", "weights", "score")


def save(machine, path):
    mx.nd.save(str(path), {name: mx.nd.array(array) for name, array in zip(NAMES, machine)})
    return str(path)


@pytest.fixture
def machine(generator):
    """Of 8x8 pixels and 5 hidden units, the last of which never changes."""
    a, b, w = reference.random_machine(64, 5, generator, scale=0.3)
    w[:, 4], b[4] = 0, -20
    return a, b, w


@pytest.fixture
def model(machine, tmp_path):
    return save(machine, tmp_path / "rbm.params")


@pytest.fixture
def run(capsys, model, tmp_path):
    """Run a command on the model: its exit status, what it printed, its errors."""

    def call(command, *arguments, model=model):
        arguments = [command, model, *DIGITS, "--output", tmp_path / command, *arguments]
        capsys.readouterr()
        return (__main__.main([str(argument) for argument in arguments]), *capsys.readouterr())

    return call


@pytest.fixture
def results(tmp_path):
    """What a command wrote: the results of its JSON, and its arrays."""

    def read(command):
        whole = json.loads((tmp_path / (command + ".json")).read_text())
        assert whole["model"]["num_visible"] == 64 and whole["versions"]["mxnet"] and whole["arguments"]["seed"] == 0
        with np.load(tmp_path / (command + ".npz"), allow_pickle=False) as archive:
            return whole["results"], {name: archive[name] for name in archive.files}

    return read


def all_test_images():
    return datasets.load("digits").test_images.reshape((-1, 64)) / 16


def assert_pictures(folder, *names):
    for name in names:
        with Image.open(folder / name) as picture:
            assert picture.width > 300 and picture.height > 150
            assert np.asarray(picture.convert("L")).std() > 10  # something is drawn


# --- reconstruct ------------------------------------------------------------------------------------------------------


def test_reconstruct_goes_up_and_down_once(run, results, machine, tmp_path):
    status, text, errors = run("reconstruct", "--count", 300)
    assert (status, errors) == (0, "")
    found, arrays = results("reconstruct")
    assert_pictures(tmp_path, "reconstruct.png")
    images, samples, probabilities = arrays["images"], arrays["samples"], arrays["probabilities"]
    assert images.shape == samples.shape == probabilities.shape == (300, 64)
    known = {row.tobytes() for row in all_test_images().astype(np.float32)}
    assert {row.tobytes() for row in images} <= known and np.isin(samples, (0, 1)).all()
    assert found["mean_squared_error"] == pytest.approx(np.square(images - probabilities).mean(), rel=1e-5)
    cross_entropy = -(images * np.log(probabilities) + (1 - images) * np.log1p(-probabilities)).sum(axis=1).mean()
    assert found["cross_entropy"] == pytest.approx(cross_entropy, rel=1e-4)
    assert "%.2f nats per image" % found["cross_entropy"] in text
    # Given p(h | v), the mean of p(v | h) over h is known by enumeration of the 2^5 hidden states.
    a, b, w = machine
    hidden = reference.states(5)
    active = reference.sigmoid(b + images @ w)[:, None]
    weights = (active * hidden + (1 - active) * (1 - hidden)).prod(axis=2)
    given = reference.sigmoid(a + hidden @ w.T)
    expected, square = weights @ given, weights @ given**2
    error = np.sqrt((square - expected**2).sum(axis=0)) / len(images)
    assert (np.abs((probabilities - expected).mean(axis=0)) < 5 * error + 1e-6).all()


def test_the_same_seed_gives_the_same_result(run, results):
    first, second = ((run("reconstruct"), results("reconstruct")[1])[1] for _ in range(2))
    assert all((first[name] == second[name]).all() for name in first)
    assert run("reconstruct", "--seed", 1)[0] == 0


# --- weights ----------------------------------------------------------------------------------------------------------


def test_weights_and_dead_units(run, results, machine, tmp_path):
    status, text, errors = run("weights")
    assert (status, errors) == (0, "")
    found, arrays = results("weights")
    assert_pictures(tmp_path, "weights.png", "weights.units.png")
    assert found["dead_units"] == [4] and "1 of 5 hidden units are dead" in text
    probability = reference.sigmoid(machine[1] + all_test_images() @ machine[2])
    np.testing.assert_allclose(arrays["hidden_mean"], probability.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(arrays["hidden_standard_deviation"], probability.std(axis=0), atol=1e-5)
    assert found["interaction_weight"]["highest"] == pytest.approx(machine[2].max(), rel=1e-6)


# --- score ------------------------------------------------------------------------------------------------------------


def test_score_compares_free_energies(run, results, machine, tmp_path):
    status, text, errors = run("score", "--against", "bars-and-stripes", "--resize")
    assert (status, errors) == (0, "")
    found, arrays = results("score")
    assert_pictures(tmp_path, "score.png")
    assert list(found["auc"]) == ["uniform noise", "shuffled pixels", "letters", "bars-and-stripes"]
    energies = reference.free_energies(*machine, all_test_images())
    np.testing.assert_allclose(np.sort(arrays["set_0"]), np.sort(energies), rtol=1e-5)
    for index, (name, auc) in enumerate(found["auc"].items(), 1):
        own, others = arrays["set_0"][:, None], arrays["set_%d" % index]
        assert auc == pytest.approx(((own < others) + (own == others) / 2).mean())
        assert re.search(r"%s +free energy .* AUC %.4f" % (name, auc), text)
    assert [found["free_energy"][name]["num_images"] for name in ("letters", "training images")] == [312, 1437]
    train = datasets.load("digits").train_images.reshape((-1, 64)) / 16
    gap = energies.mean() - reference.free_energies(*machine, train).mean()
    assert found["gap"]["mean"] == pytest.approx(gap, abs=1e-4)


def test_score_of_pixels_that_are_drawn(run, results):
    assert run("score", "--binarize", "threshold", "--count", 50)[0] == 0
    found = results("score")[0]["free_energy"]["digits, test"]
    assert found["num_images"] == 50 and found["standard_error"] > 0


def test_the_gap_of_a_run_by_epoch(run, machine, tmp_path):
    from gluon_rbm.commands import score
    from gluon_rbm.run_folder import read_metrics

    save(machine, tmp_path / "rbm.params")
    columns = "epoch,train_log_likelihood,train_standard_error,test_log_likelihood,test_standard_error"
    (tmp_path / "metrics.csv").write_text(columns + "\n1,-5,0.3,-6,0.4\n2,,,,\n3,-4,0.3,-6.5,0.4\n")
    assert score._gap_by_epoch(read_metrics(tmp_path)) == [(1, 1, 0.5), (3, 2.5, 0.5)]
    assert run("score", model=tmp_path)[0] == 0
    (tmp_path / "metrics.csv").write_text("epoch\nfirst\n")
    status, _, errors = run("score", model=tmp_path)
    assert status == 2 and "metrics.csv in" in errors


# --- What cannot be used ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--output", "/nowhere/picture"], "choose another --output"),
        (["--dataset", "bars-and-stripes"], "images of bars-and-stripes have 16 pixels, the model 64 visible units"),
        (["--dataset", "nothing"], "unknown data set 'nothing'"),
        (["--part", "held-out"], "of which digits has 1437"),
    ],
)
def test_what_no_command_can_use(run, tmp_path, command, arguments, message):
    if command == "sample":
        arguments = [*arguments, "--start", "images"]
    (tmp_path / (command + ".png")).write_text("an earlier picture")
    status, text, errors = run(command, *arguments)
    assert status == 2 and text == ""
    assert errors.startswith("python -m gluon_rbm %s: error: " % command) and errors.count("\n") == 1
    assert re.search(message, errors)
    assert (tmp_path / (command + ".png")).read_text() == "an earlier picture"
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted([command + ".png", "rbm.params"])


@pytest.mark.parametrize("command", COMMANDS)
def test_no_model(run, command):
    status, _, errors = run(command, model="/nowhere")
    assert status == 2 and "/nowhere cannot be read" in errors and errors.count("\n") == 1


@pytest.mark.parametrize(
    "command, arguments, message",
    [
        ("reconstruct", ["--count", "361"], "digits has 360 images in part test"),
        ("score", ["--against", "/nowhere"], "/nowhere cannot be read as an image"),
        ("score", ["--against", "bars-and-stripes"], r"shape \(4, 4\) where \(8, 8\) is needed; give --resize"),
        ("score", ["--against", "EMPTY"], "holds no images"),
    ],
)
def test_what_a_command_cannot_use(run, tmp_path, command, arguments, message):
    (tmp_path / "empty").mkdir()
    status, text, errors = run(command, *(tmp_path / "empty" if part == "EMPTY" else part for part in arguments))
    assert status == 2 and text == "" and errors.count("\n") == 1
    assert re.search(message, errors)
    assert not (tmp_path / (command + ".png")).exists()


@pytest.mark.parametrize("command", COMMANDS)
def test_help(command, capsys):
    with pytest.raises(SystemExit) as caught:
        __main__.main([command, "--help"])
    assert caught.value.code == 0 and "--seed" in capsys.readouterr().out
