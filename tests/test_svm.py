"""The command `svm`, as a user runs it."""

import json

import numpy as np
import pytest
from PIL import Image

from gluon_rbm import __main__
from gluon_rbm.backend.framework import mx
from gluon_rbm.data import datasets
from gluon_rbm.evaluation import support_vectors
from gluon_rbm.models import networks

DIGITS = ("--dataset", "digits", "--no-cuda")


@pytest.fixture
def model(seed, tmp_path):
    """An untrained network for digits."""
    description = networks.describe((1, 8, 8), channels=[8], maximum=4)
    network = networks.build(description)
    network.initialize()
    networks.save(str(tmp_path / "rbm.params"), network, description)
    return tmp_path / "rbm.params"


@pytest.fixture
def run(capsys, tmp_path):
    def call(*arguments):
        arguments = ["svm", *map(str, arguments), "--output", str(tmp_path / "svm"), "--overwrite"]
        capsys.readouterr()
        return (__main__.main(arguments), *capsys.readouterr())

    return call


@pytest.fixture
def svms(tmp_path):
    """A function that reads the results: by features and kernel, all results, and the arrays."""

    def read():
        whole = json.loads((tmp_path / "svm.json").read_text())["results"]
        with np.load(tmp_path / "svm.npz", allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        return {(row["features"], row["kernel"]): row for row in whole["machines"]}, whole, arrays

    return read


@pytest.mark.slow
def test_features_beside_pixels_and_an_untrained_network(run, svms, model):
    status, text, errors = run(model, *DIGITS)
    assert (status, errors) == (0, "")
    found, whole, arrays = svms()
    assert list(found) == [(f, k) for f in ("pixels", "untrained", "trained") for k in ("linear", "rbf")]
    for names, row in found.items():
        wrong, pixels = arrays["wrong_%s_%s" % names], arrays["wrong_pixels_%s" % names[1]]
        assert wrong.shape == (360,) and row["error"] == pytest.approx(wrong.mean()) and row["error"] < 0.1
        assert row["num_features"] == (64 if names[0] == "pixels" else 8 * 4 * 4)
        assert "%.2f +- %.2f %%" % (100 * row["error"], 100 * row["standard_error"]) in text
        if names[0] == "pixels":
            assert row["less_than_pixels"] is None
        else:
            assert row["less_than_pixels"] == pytest.approx(pixels.mean() - wrong.mean())
            assert row["wrong_by_pixels_only"] - row["wrong_by_these_only"] == pixels.sum() - wrong.sum()
    assert whole["network"]["description"]["channels"] == [8] and whole["num_train_images"] == 1437


def test_mirrored_images_and_square_roots(run, svms, monkeypatch):
    """Mirrored images are learned, too. Held-out images are not mirrored to choose settings."""
    given, digits = [], datasets.load("digits")

    def evaluate(kernel, train, test, rows, *others):
        given.append((train, test, rows))
        return classifier_evaluate(kernel, train, test, rows, *others)

    classifier_evaluate = support_vectors.evaluate_svm
    monkeypatch.setattr(support_vectors, "evaluate_svm", evaluate)
    arguments = (*DIGITS, "--train-images", 300, "--kernels", "linear")
    for flags in ((), ("--mirror", "--root")):
        assert run(*arguments, *flags)[0] == 0
        _, whole, _ = svms()
        assert (whole["root"], whole["mirror"], whole["num_train_images"]) == (bool(flags), bool(flags), 300)
    (plain, test, rows), (both, root_of_test, more_rows) = given
    turned = plain[0].reshape(-1, *digits.image_shape)[:, :, ::-1].reshape(300, -1)
    np.testing.assert_array_equal(both[0], np.sqrt(np.concatenate([plain[0], turned])))
    np.testing.assert_array_equal(both[1], np.concatenate([plain[1], plain[1]]))
    np.testing.assert_array_equal(root_of_test[0], np.sqrt(test[0]))
    np.testing.assert_array_equal(more_rows[0], np.concatenate([rows[0], rows[0] + 300]))
    np.testing.assert_array_equal(more_rows[1], rows[1])


def test_a_support_vector_machine_for_each_class(run, svms, model):
    arguments = (model, *DIGITS, "--train-images", 300, "--kernels", "rbf", "--no-baselines")
    errors = {}
    for flags in ((), ("--one-vs-rest",)):
        assert run(*arguments, *flags)[0] == 0
        found, whole, _ = svms()
        assert whole["one_vs_rest"] == bool(flags)
        errors[flags] = found["trained", "rbf"]["num_support_vectors"], found["trained", "rbf"]["class_error"]
        assert errors[flags][1] < 0.2
    assert errors[()] != errors["--one-vs-rest",]


def test_flags_that_need_a_network(run, svms, model):
    """A pool that does not divide the layer is refused before anything is learned.

    More components than features are reduced to the number of features.
    """
    status, text, error = run(model, *DIGITS, "--pool", 3)
    assert status == 2 and "choose a pool of 1, 2, 4" in error and error.count("\n") == 1 and "pixels" not in text
    for flags in (("--pool", 2), ("--sampled",), ("--no-baselines",)):
        status, text, error = run(*DIGITS, *flags)
        assert status == 2 and error.count("\n") == 1 and "give its run folder as MODEL" in error
    assert run(model, *DIGITS, "--pool", 4, "--components", 20, "--train-images", 100, "--kernels", "linear")[0] == 0
    found = svms()[0]
    assert [(row["num_features"], row["num_components"]) for row in found.values()] == [(64, 20), (8, 8), (8, 8)]


def test_the_same_seed_gives_the_same_results(run, svms, model):
    arguments = (model, *DIGITS, "--train-images", 300, "--kernels", "linear", "--seed", 3)
    assert run(*arguments)[0] == 0
    first = svms()[2]
    mx.random.seed(5)  # the state of MXNet's generator does not matter
    assert run(*arguments, "--threads", 2, "--batch-size", 77)[0] == 0
    for name, array in svms()[2].items():
        np.testing.assert_array_equal(array, first[name])


def test_pixels_alone_need_no_network(run, svms):
    assert run(*DIGITS, "--kernels", "rbf")[0] == 0
    found, whole, _ = svms()
    assert list(found) == [("pixels", "rbf")] and whole["network"] is None


def test_without_baselines(run, svms, model):
    assert run(model, *DIGITS, "--no-baselines", "--train-images", 400)[0] == 0
    found, whole, _ = svms()
    assert list(found) == [("trained", "linear"), ("trained", "rbf")] and whole["num_train_images"] == 400
    assert all(row["less_than_pixels"] is None for row in found.values())


def folder(root, classes, size=8):
    for name in classes:
        (root / name).mkdir(parents=True)
        for number in range(15):
            Image.new("L", (size, size), number).save(root / name / ("%d.png" % number))
    return "--dataset", "image-folder", "--data-dir", root


def test_unusable_data_is_refused_in_one_line(run, model, tmp_path):
    np.save(tmp_path / "images.npy", np.zeros((20, 8, 8), np.uint8))
    for arguments, expected in [
        (folder(tmp_path / "one", ["only"]), "one class"),
        (("--dataset", tmp_path / "images.npy"), "no labels"),
        (folder(tmp_path / "large", ["a", "b"], size=16), "images of"),
        ((*DIGITS, "--train-images", 5000), "1437 training images"),
        ((*DIGITS, "--train-images", 9, "--image-size", 16, 16), "but the network was trained on"),
    ]:
        status, text, errors = run(model, *arguments)
        assert status == 2 and expected in errors and errors.count("\n") == 1 and text == ""
    assert not (tmp_path / "svm.json").exists()


def test_images_are_resized_to_the_size_of_the_network(run, svms, model, tmp_path):
    images = folder(tmp_path / "large", ["a", "b"], size=16)
    Image.new("L", (11, 9)).save(tmp_path / "large" / "b" / "other.png")
    assert run(model, *images, "--no-cuda", "--image-size", 8, 8, "--kernels", "linear")[0] == 0
    assert svms()[0]["pixels", "linear"]["num_features"] == 64


def test_another_model_is_refused(run, tmp_path):
    mx.nd.save(str(tmp_path / "other.params"), {"interaction_weight": mx.nd.zeros((64, 3))})
    status, _, errors = run(tmp_path / "other.params", *DIGITS)
    assert status == 2 and errors.count("\n") == 1


@pytest.mark.slow
def test_means_over_squares_and_whitened_components(run, svms, model):
    status, _, errors = run(model, *DIGITS, "--pool", 2, "--components", 20, "--kernels", "rbf")
    assert (status, errors) == (0, "")
    found, _, _ = svms()
    assert found["pixels", "rbf"]["num_features"] == 64 and found["trained", "rbf"]["num_features"] == 8 * 2 * 2
    for row in found.values():
        assert 0.5 < row["variance_kept"] < 1 and row["error"] < 0.2
