"""`train-gaussian`: standardization, whitening, runs, and the commands that use a run."""

import csv
import json
import math
import re

import numpy as np
import pytest
from scipy import stats
from sklearn.datasets import load_digits

from gluon_rbm.__main__ import main
from gluon_rbm.backend.random import make_generator
from gluon_rbm.data.datasets import load as load_dataset
from gluon_rbm.data.standardization import Standardization
from gluon_rbm.errors import InputError
from gluon_rbm.likelihood import enumeration
from gluon_rbm.models.gaussian_rbm import score
from gluon_rbm.models.image_features import read_gaussian
from gluon_rbm.models.visible_units import GAUSSIAN
from gluon_rbm.training import gaussian
from gluon_rbm.training.gaussian_learner import initial_arrays
from gluon_rbm.training.gaussian_settings import GaussianSettings

SMALL = ["--no-cuda", "--dataset", "digits", "--num-hidden", "8", "--batch-size", "200", "--sample-sweeps", "20"]


@pytest.fixture
def digits():
    return (load_digits().images).astype(np.uint8)


def train(folder, *flags):
    assert main(["train-gaussian", *SMALL, "--output-dir", str(folder), *flags]) == 0


def metrics(folder):
    with open(folder / "metrics.csv", newline="") as file:
        return [{name: value for name, value in row.items() if value} for row in csv.DictReader(file)]


# --- Standardization ------------------------------------------------------------------------------


def test_standardized_pixels(digits):
    pixels = digits.reshape(-1, 64) / 16
    found = Standardization.of(digits, 16)
    features = found.features(pixels)
    deviations = pixels.std(axis=0)
    varying, noise = deviations > 0, 1 / 16 / math.sqrt(12)
    np.testing.assert_allclose(features.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(features.std(axis=0)[deviations > noise], 1, atol=1e-4)
    assert (features[:, ~varying] == 0).all() and (features.std(axis=0)[varying] < 1 + 1e-4).all()
    np.testing.assert_allclose(found.pixels(features), pixels, atol=1e-5)
    expected = -np.log(np.where(varying, np.maximum(deviations, noise), 1)).sum()
    np.testing.assert_allclose(found.log_density(pixels), expected)


def test_whitened_directions(digits):
    pixels = digits.reshape(-1, 64) / 16
    found = Standardization.of(digits, 16, 20)
    features = found.features(pixels)
    np.testing.assert_allclose(np.cov(features.T, bias=True), np.eye(20), atol=1e-4)
    assert np.square(found.pixels(features) - pixels).sum(axis=1).mean() == pytest.approx(44 * found.residual[0])
    again = Standardization.from_arrays(found.arrays())
    np.testing.assert_allclose(again.features(pixels), features, atol=1e-4)


def test_standard_normal_features_are_a_normal_distribution_of_pixels(digits):
    """It is the distribution of probabilistic principal component analysis."""
    pixels = digits.reshape(-1, 64) / 16
    found = Standardization.of(digits, 16, 20)
    covariance = (found.basis * (np.square(found.scale) - found.residual)) @ found.basis.T
    covariance += found.residual * np.eye(64)
    expected = stats.multivariate_normal(found.mean, covariance).logpdf(pixels[:50])
    features = stats.norm.logpdf(found.features(pixels[:50])).sum(axis=1)
    np.testing.assert_allclose(features + found.log_density(pixels[:50]), expected, rtol=1e-5)


def test_a_pixel_that_hardly_varies_is_scaled_by_the_noise():
    """Its scale is the standard deviation of the uniform noise that is added for the density."""
    images = np.random.default_rng(0).integers(0, 17, (1000, 1, 3)).astype(np.uint8)
    images[:, 0, 1] = 0
    images[7, 0, 1] = 1  # in one image of a thousand
    found = Standardization.of(images, 16)
    assert found.scale[1] == pytest.approx(1 / 16 / math.sqrt(12))
    np.testing.assert_allclose(found.scale[[0, 2]], images[:, 0, [0, 2]].std(axis=0) / 16)


@pytest.mark.parametrize(
    "match, images, directions",
    [
        ("are the same", np.full((10, 4, 4), 7, np.uint8), 0),
        (
            "--whiten is 16; it must be below the number of training images",
            np.arange(160, dtype=np.uint8).reshape(10, 4, 4),
            16,
        ),
        (
            "vary in at most 1 directions",
            np.arange(20, dtype=np.uint8)[:, None, None] * np.ones((1, 3, 3), np.uint8),
            1,
        ),
        ("vary in only 1 directions", np.arange(20, dtype=np.uint8)[:, None, None] * np.ones((1, 3, 3), np.uint8), 4),
    ],
)
def test_unusable_images_are_refused(match, images, directions):
    with pytest.raises(InputError, match=match):
        Standardization.of(images, 255, directions)


# --- Runs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("whiten", ["0", "20"])
def test_a_run_and_its_files(tmp_path, whiten):
    run = tmp_path / "run"
    train(run, "--num-epoch", "3", "--whiten", whiten, "--learning-rate", "0.1")
    for name in ("arguments.json", "checkpoint.npz", "rbm.params", "learning-curve.png", "filters.png", "showcase.png"):
        assert (run / name).stat().st_size > 0, name
    rows = metrics(run)
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    parameters, (standardization, _) = read_gaussian(run)
    # The bits per pixel of 17 grey levels, with log Z by enumeration.
    log_z = enumeration.log_partition(parameters.scaled, visible_units=GAUSSIAN)
    assert float(rows[-1]["log_z"]) == pytest.approx(log_z, abs=0.1)
    arguments = json.loads((run / "arguments.json").read_text())["arguments"]
    assert arguments["image_shape"] == [8, 8] and arguments["whiten"] == int(whiten)
    # The same noise as in the run. It matters because some pixels hardly vary.
    generator = make_generator([0, gaussian._DEQUANTIZE])
    images = load_dataset("digits").train_images.reshape(-1, 64)
    pixels = (images + generator.random(images.shape) - 0.5) / 16
    density = score(parameters, standardization.features(pixels)) - log_z + standardization.log_density(pixels)
    bits = (np.log(16) - density.mean() / 64) / np.log(2)
    assert float(rows[-1]["train_bits_per_dimension"]) == pytest.approx(bits, abs=0.02)


def test_a_resumed_run_ends_as_an_uninterrupted_one(tmp_path):
    flags = ["--whiten", "10", "--langevin-steps", "3", "--momentum", "0.5"]
    train(tmp_path / "whole", "--num-epoch", "4", *flags)
    train(tmp_path / "parts", "--num-epoch", "2", *flags)
    assert main(["train-gaussian", "--resume", "--output-dir", str(tmp_path / "parts"), "--num-epoch", "4"]) == 0
    for whole, parts in zip(read_gaussian(tmp_path / "whole")[0], read_gaussian(tmp_path / "parts")[0]):
        np.testing.assert_array_equal(whole.asnumpy(), parts.asnumpy())


def test_variances_may_be_fixed(tmp_path):
    train(tmp_path / "run", "--num-epoch", "1", "--no-learn-variances")
    assert (read_gaussian(tmp_path / "run")[0].visible_log_variance.asnumpy() == 0).all()


def test_training_lowers_the_bits(tmp_path):
    schedule = ["--learning-rate", "0.1", "--learning-rate-schedule", "linear", "--monitor-every", "1"]
    train(tmp_path / "run", "--num-epoch", "60", "--num-hidden", "50", *schedule)
    first, *_, last = metrics(tmp_path / "run")
    assert float(first["mean_deviation"]) > 0.9 and float(last["mean_deviation"]) < 0.9
    assert float(last["test_bits_per_dimension"]) < float(first["test_bits_per_dimension"]) - 0.2


def test_sample_draws_from_a_run(tmp_path):
    train(tmp_path / "run", "--num-epoch", "1")
    target = tmp_path / "drawn"
    command = ["sample", str(tmp_path / "run"), "--count", "20", "--sweeps", "10", "--output", str(target)]
    assert main(command) == 0
    with np.load(tmp_path / "drawn.npz") as arrays:
        assert arrays["samples"].shape == arrays["means"].shape == (20, 64)
        assert arrays["samples"].min() >= 0 and arrays["samples"].max() <= 1
        assert arrays["samples"].std() > arrays["means"].std()
    assert json.loads((tmp_path / "drawn.json").read_text())["results"]["num_images"] == 20


def test_the_likelihood_of_a_run(tmp_path, capsys):
    """Enumeration and AIS agree. The run itself used other noise, and the first images only."""
    train(tmp_path / "run", "--num-epoch", "3", "--learning-rate", "0.1", "--whiten", "20")
    found = {}
    for method in ("enumeration", "ais"):
        file = tmp_path / (method + ".json")
        command = ["likelihood", str(tmp_path / "run"), "--method", method, "--json", str(file)]
        assert main([*command, "--distributions", "1000", "--reverse-start", "chains"]) == 0
        found[method] = json.loads(file.read_text())
    exact, annealed = (found[method]["log_z"] for method in ("enumeration", "ais"))
    assert annealed["converged"] and annealed["low"] <= exact["estimate"] <= annealed["high"]
    bits = [float(report["log_likelihood"]["bits_per_dimension"]) for report in found.values()]
    assert bits[0] == pytest.approx(bits[1], abs=0.01)
    assert bits[0] == pytest.approx(float(metrics(tmp_path / "run")[-1]["test_bits_per_dimension"]), abs=0.05)
    out = capsys.readouterr().out
    assert "log density " in out and "bits per dimension" in out and "with uniform noise" in out


@pytest.mark.parametrize("flags", [["--path", "matched"], ["--binarize", "sample"], ["--reverse-start", "data"]])
def test_likelihood_refuses_flags_for_binary_models(tmp_path, capsys, flags):
    train(tmp_path / "run", "--num-epoch", "1")
    assert main(["likelihood", str(tmp_path / "run"), *flags]) == 2
    assert "is for binary models" in capsys.readouterr().err


# --- On a network ---------------------------------------------------------------------------------


@pytest.fixture
def network(tmp_path):
    flags = ["--dataset", "digits", "--channels", "6", "--kernel", "4", "--dense", "12", "--num-epoch", "2"]
    folder = tmp_path / "network"
    assert main(["train-multinary", "--no-cuda", *flags, "--output-dir", str(folder)]) == 0
    return folder


@pytest.mark.parametrize("depth", [1, 2])
def test_an_rbm_on_a_network(tmp_path, network, digits, depth, capsys):
    """The RBM learns codes of the network. The network turns the RBM's samples into images."""
    run = tmp_path / "run"
    train(run, "--num-epoch", "2", "--network", str(network), "--depth", str(depth), "--whiten", "2", "--mirror")
    assert "completed with log density: " in capsys.readouterr().out
    parameters, features = read_gaussian(run)
    assert features.num_pixels == 64 and parameters.scaled.num_visible == 2
    codes = features.code.of(digits[:20], 16)
    assert codes.shape == (20, [96, 12][depth - 1]) and 0 <= codes.min() and codes.max() <= 1
    within = features.standardization.pixels(features.features(codes, 1)).clip(0, 1)
    np.testing.assert_allclose(features.images(features.features(codes, 1)), features.code.images(within), atol=1e-5)
    assert main(["sample", str(run), "--count", "9", "--sweeps", "3", "--output", str(tmp_path / "drawn")]) == 0
    with np.load(tmp_path / "drawn.npz") as arrays:
        assert arrays["samples"].shape == (9, 64) and 0 <= arrays["samples"].min() <= arrays["samples"].max() <= 1
    assert main(["likelihood", str(run)]) == 2
    assert "a density of codes but not of images" in capsys.readouterr().err


def test_unusable_networks_are_refused(tmp_path, network, capsys):
    for flags, line in (
        (["--depth", "2"], "--depth has no effect without --network; give both"),
        (["--network", str(network), "--depth", "3"], "the network has 2 RBMs; choose 1 to 2 of them"),
        (["--network", str(tmp_path / "none")], "cannot be read"),
        (
            ["--network", str(network), "--dataset", "bars-and-stripes", "--batch-size", "10"],
            "but the network was trained on",
        ),
    ):
        assert main(["train-gaussian", *SMALL, "--output-dir", str(tmp_path / "run"), *flags]) == 2
        error = capsys.readouterr().err
        assert line in error and error.count("\n") == 1
        assert not (tmp_path / "run").exists()


# --- Starts ---------------------------------------------------------------------------------------


def test_weights_that_point_to_images(digits):
    """They are as long as normally distributed weights. The visible biases keep the mean at 0."""
    features = Standardization.of(digits, 16, 20).features(digits.reshape(-1, 64) / 16)
    settings = GaussianSettings(
        num_hidden=30, initial_weights="images", initial_deviation=0.3, initial_hidden_bias=-2.0, initial_variance=0.25
    )
    arrays = initial_arrays(settings, features, np.random.default_rng(0))
    weight, scaled = arrays["interaction_weight"], 2 * features
    np.testing.assert_allclose(np.linalg.norm(weight, axis=0), 0.3 * 20**0.5, rtol=1e-5)
    np.testing.assert_allclose(
        weight[:, 0] @ features[0], np.linalg.norm(weight[:, 0]) * np.linalg.norm(features[0]), rtol=1e-4
    )
    hidden = 1 / (1 + np.exp(2 - scaled @ weight))
    np.testing.assert_allclose(arrays["visible_layer_bias"] + weight @ hidden.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(arrays["visible_log_variance"], np.log(0.25), rtol=1e-6)


# --- What sample refuses --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "flags, line",
    [
        (["--anneal"], "--anneal is for binary models"),
        (["--class", "3"], "--class is for binary models"),
        (["--temperatures", "5"], "--temperatures is for binary models"),
        (["--start", "zeros"], "--start is for binary models"),
    ],
)
def test_sample_refuses_flags_for_binary_models(tmp_path, capsys, flags, line):
    train(tmp_path / "run", "--num-epoch", "1")
    assert main(["sample", str(tmp_path / "run"), *flags]) == 2
    assert line in capsys.readouterr().err


def test_commands_for_binary_models_refuse_a_gaussian_rbm(tmp_path, capsys):
    train(tmp_path / "run", "--num-epoch", "1")
    for command in ("reconstruct", "score", "weights"):
        assert main([command, str(tmp_path / "run")]) == 2
        assert "is a Gaussian RBM; give a binary one" in capsys.readouterr().err


@pytest.mark.parametrize(
    "flags, line",
    [
        (["--least-variance", "2"], "--least-variance is 2.0; it must be below 1"),
        (
            ["--langevin-steps", "2", "--langevin-step-size", "5"],
            "--langevin-step-size is 5.0; it must be below 4",
        ),
        (["--langevin-step-size", "1"], "--langevin-step-size has no effect without --langevin-steps"),
        (["--no-learn-variances", "--least-variance", "0.5"], "leave out --no-learn-variances"),
        (["--batch-size", "100000"], "choose a smaller one"),
        (["--whiten", "64"], "--whiten is 64; it must be below the number of training images"),
    ],
)
def test_invalid_settings_are_refused(tmp_path, capsys, flags, line):
    assert main(["train-gaussian", *SMALL, "--output-dir", str(tmp_path / "run"), *flags]) == 2
    error = capsys.readouterr().err
    assert line in error and error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_settings_check_their_learning_rule():
    with pytest.raises(InputError, match="centering is 2.0; it must be a rate"):
        GaussianSettings(centering=2.0).checked()


def test_too_large_steps_diverge_in_one_line(tmp_path, capsys):
    flags = ["--num-epoch", "20", "--learning-rate", "100", "--output-dir", str(tmp_path / "run")]
    assert main(["train-gaussian", *SMALL, *flags]) == 3
    (line,) = capsys.readouterr().err.splitlines()  # and no warning from NumPy
    assert re.search(r"training diverged in epoch 1: visible_\w+\[\d+\] is (nan|-?inf|-?\d)", line)
