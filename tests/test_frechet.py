"""The Frechet distance, and the command `frechet`."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from scipy import linalg, stats

from gluon_rbm import __main__
from gluon_rbm.backend.framework import mx
from gluon_rbm.data import datasets
from gluon_rbm.data.batches import to_visible
from gluon_rbm.errors import InputError
from gluon_rbm.evaluation import frechet


def by_the_formula(first, second):
    """The formula with its matrix square root, for covariances of full rank."""
    root = linalg.sqrtm(np.cov(first.T) @ np.cov(second.T))
    shift = first.mean(axis=0) - second.mean(axis=0)
    return shift @ shift + np.trace(np.cov(first.T) + np.cov(second.T) - 2 * root.real)


def rows(generator, count=200, width=7):
    return generator.normal(size=(count, width)) @ generator.normal(size=(width, width)) + generator.normal(size=width)


# --- The distance ---------------------------------------------------------------------------------


def test_equal_sets_have_distance_0(generator):
    first = rows(generator)
    scale = np.square(first).sum(axis=1).mean()
    assert 0 <= frechet.distance(first, first) < 1e-12 * scale
    assert 0 <= frechet.distance(first, generator.permutation(first)) < 1e-12 * scale


def test_a_shift_counts_as_its_square(generator):
    first, shift = rows(generator), generator.normal(size=7)
    assert frechet.distance(first, first + shift) == pytest.approx(shift @ shift, rel=1e-9)


def test_a_scaled_set(generator):
    """If C_2 = s^2 C_1 and the means are equal, then d^2 = (1 - s)^2 tr C_1."""
    first = rows(generator)
    first -= first.mean(axis=0)
    expected = (1 - 3.0) ** 2 * np.trace(np.cov(first.T))
    assert frechet.distance(first, 3.0 * first) == pytest.approx(expected, rel=1e-10)


def test_diagonal_normals(generator):
    """If covariances are exactly diagonal, d^2 = |m_1 - m_2|^2 + sum (s_1 - s_2)^2."""
    white = rows(generator)
    white = np.linalg.qr(white - white.mean(axis=0))[0] * np.sqrt(len(white) - 1)
    (mean_1, mean_2), (deviation_1, deviation_2) = generator.normal(size=(2, 7)), generator.random((2, 7)) + 0.1
    expected = np.square(mean_1 - mean_2).sum() + np.square(deviation_1 - deviation_2).sum()
    found = frechet.distance(mean_1 + deviation_1 * white, mean_2 + deviation_2 * generator.permutation(white))
    assert found == pytest.approx(expected, rel=1e-9)


def test_the_distance_equals_the_formula(generator):
    first, second = rows(generator), rows(generator, 150)
    assert frechet.distance(first, second) == pytest.approx(by_the_formula(first, second), rel=1e-7)
    assert frechet.distance(first, second) == pytest.approx(frechet.distance(second, first), rel=1e-10)
    # Features in float32 are summed in float64.
    single = first.astype(np.float32), second.astype(np.float32)
    assert frechet.distance(*single) == frechet.distance(*(array.astype(np.float64) for array in single))


def test_rotations_change_nothing(generator):
    first, second = rows(generator), rows(generator)
    rotation = stats.ortho_group.rvs(7, random_state=generator)
    assert frechet.distance(first @ rotation, second @ rotation) == pytest.approx(
        frechet.distance(first, second), rel=1e-9
    )


def test_covariances_without_full_rank(generator):
    """There may be fewer images than features, or constant features.

    The distance is then that in the space that the features span.
    """
    first, second = rows(generator, 5, 3), rows(generator, 4, 3)
    # `place` maps into 50 dimensions, and keeps lengths.
    place = np.linalg.qr(generator.normal(size=(50, 3)))[0].T
    assert frechet.distance(first @ place, second @ place) == pytest.approx(frechet.distance(first, second), rel=1e-9)
    constant = np.ones((6, 4))
    assert frechet.distance(constant, 3 * constant) == pytest.approx(16)
    # Covariances in orthogonal spaces do not overlap.
    one, other = np.zeros((10, 4)), np.zeros((10, 4))
    one[:, 0], other[:, 2] = generator.normal(size=(2, 10))
    expected = (
        one.var(ddof=1, axis=0).sum() + other.var(ddof=1, axis=0).sum() + (one.mean(0) ** 2 + other.mean(0) ** 2).sum()
    )
    assert frechet.distance(one, other) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize(
    "first, second, message",
    [
        (np.ones((1, 3)), np.ones((5, 3)), r"shape \(1, 3\); give \(n, d\), of at least 2 images"),
        (np.ones((5, 3)), np.ones(3), r"shape \(3,\)"),
        (np.ones((5, 0)), np.ones((5, 0)), "shape"),
        (np.ones((5, 3)), np.ones((5, 4)), "3 and of 4 numbers"),
        (np.ones((5, 3)), np.full((5, 3), np.nan), "NaN or infinite"),
        (np.full((5, 3), np.inf), np.ones((5, 3)), "NaN or infinite"),
    ],
)
def test_bad_features_are_refused(first, second, message):
    with pytest.raises(InputError, match=message):
        frechet.distance(first, second)


@pytest.mark.slow
def test_the_standard_error_equals_that_of_repetitions(generator):
    """The scatter over 300 pairs of samples equals the root of the mean squared jackknife error."""
    deviations, estimates, errors = np.array([1.0, 2.0, 0.5]), [], []
    for _ in range(300):
        first, second = generator.normal(size=(200, 3)), 1 + deviations * generator.normal(size=(200, 3))
        estimates.append(frechet.distance(first, second))
        errors.append(frechet.standard_error(first, second))
    # The scatter of 300 estimates is known to 4 %, and the mean of the errors (20 groups each) to
    # 2 %. The tolerance is five standard errors.
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(np.std(estimates), rel=5 * np.hypot(0.041, 0.02))
    assert frechet.standard_error(first[:3], second) is None


def test_compare(generator):
    """Drawn images as good as real images are at the floor, within standard errors.

    The floor falls with the number of images.
    """
    mixing = generator.normal(size=(6, 6))
    real, drawn = (generator.normal(size=(count, 6)) @ mixing for count in (4000, 3000))
    found = frechet.compare(real, drawn, [1])
    assert found.num_images == 2000 and frechet.compare(real, drawn[:50], [1]).num_images == 50
    tolerance = 6 * np.hypot(found.standard_error, found.floor_standard_error)
    assert abs(found.distance - found.floor) < tolerance
    assert frechet.compare(real, drawn[:50], [1]).floor > 5 * found.floor > 0
    assert frechet.compare(real, drawn + 1, [1]).distance == pytest.approx(6, abs=1.5)
    assert frechet.compare(real, drawn, [1]) == found != frechet.compare(real, drawn, [2])


# --- Networks -------------------------------------------------------------------------------------


def test_features_of_any_network(generator, monkeypatch):
    monkeypatch.setattr(frechet, "_ROWS_AT_ONCE", 4)
    images = generator.random((10, 2 * 3 * 3)).astype(np.float32)
    found = frechet.features(lambda planes: planes[:, 1], images, (2, 3, 3))  # of channel 1
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, images.reshape((10, 2, 3, 3))[..., 1].reshape(10, 6))
    grey = frechet.features(lambda planes: planes.asnumpy(), images, (6, 3))
    np.testing.assert_array_equal(grey, images)


@pytest.fixture
def exported(tmp_path):
    """A small convolutional network, exported as users do, and its path."""
    network = mx.gluon.nn.HybridSequential()
    network.add(mx.gluon.nn.Conv2D(3, 3, activation="relu"), mx.gluon.nn.GlobalAvgPool2D())
    network.initialize(mx.init.Normal(1))
    network.hybridize()
    network(mx.nd.zeros((1, 1, 8, 8)))
    network.export(str(tmp_path / "net"))
    return network, str(tmp_path / "net")


def test_a_network_from_files(exported, generator, tmp_path):
    network, path = exported
    images = generator.random((5, 64)).astype(np.float32)
    expected = network(mx.nd.array(images.reshape((5, 1, 8, 8)))).asnumpy().reshape(5, 3)
    np.testing.assert_allclose(frechet.features(frechet.load_network(path), images, (8, 8)), expected, rtol=1e-5)
    with pytest.raises(InputError, match="no network can be read from .*nothing-symbol.json"):
        frechet.load_network(str(tmp_path / "nothing"))
    (tmp_path / "net-symbol.json").write_text("{}")
    with pytest.raises(InputError, match="no network can be read"):
        frechet.load_network(path)


@pytest.fixture(scope="module")
def digits():
    return datasets.load("digits")


@pytest.fixture(scope="module")
def perceptron(digits):
    return frechet.train_network(digits, seed=0)


def test_a_network_needs_labels_of_two_classes():
    digits = datasets.load("digits")
    for labels, said in ((None, "no labels"), (np.zeros_like(digits.train_labels), "one class")):
        with pytest.raises(InputError, match=said):
            frechet.train_network(replace(digits, train_labels=labels), seed=0)


@pytest.mark.slow
def test_the_default_network(digits, perceptron):
    """It recognises digits. Its last layer classifies by its features. A seed fixes it."""
    assert perceptron.accuracy > 0.85
    images = to_visible(digits.test_images, 16)
    found = frechet.features(perceptron, images, (8, 8))
    assert found.shape == (360, 64)
    scores = found @ perceptron.classifier.coefs_[-1] + perceptron.classifier.intercepts_[-1]
    np.testing.assert_array_equal(scores.argmax(axis=1), perceptron.classifier.predict(images))
    again, other = (frechet.train_network(digits, seed, 200) for seed in (1, 2))
    np.testing.assert_array_equal(
        again.classifier.coefs_[0], frechet.train_network(digits, 1, 200).classifier.coefs_[0]
    )
    assert (again.classifier.coefs_[0] != other.classifier.coefs_[0]).any()


@pytest.mark.slow
def test_worse_images_are_farther(digits, perceptron, generator):
    """Real images, real images with noise, and noise alone differ by more than standard errors."""
    real, other = (to_visible(images, 16) for images in (digits.train_images[:720], digits.train_images[720:]))
    noise = generator.random(other.shape)
    drawn = [(1 - share) * other + share * noise for share in (0, 0.5, 1)]
    see = lambda images: frechet.features(perceptron, images, (8, 8))  # noqa: E731
    found = [frechet.compare(see(real), see(images), [0]) for images in drawn]
    for nearer, farther in zip(found, found[1:]):
        assert nearer.distance + 3 * nearer.standard_error < farther.distance - 3 * farther.standard_error


# --- The command ----------------------------------------------------------------------------------


@pytest.fixture
def run(capsys):
    def call(*arguments):
        capsys.readouterr()
        try:
            status = __main__.main(["frechet", "--dataset", "digits", "--no-cuda", *map(str, arguments)])
        except SystemExit as stop:
            status = stop.code
        return (status, *capsys.readouterr())

    return call


@pytest.mark.slow
def test_the_command(run, digits, generator, tmp_path):
    images = to_visible(digits.test_images, 16)[:100]
    np.savez(tmp_path / "drawn.npz", samples=1 - images, probabilities=images)
    status, text, errors = run("--drawn", tmp_path / "drawn.npz", "--part", "train", "--json", tmp_path / "found.json")
    assert (status, errors) == (0, "") and text.count("\n") == 1
    assert re.match(
        r"Frechet distance \(features: 64 units of a perceptron trained on digits, accuracy 9\d\.\d+ %\) of 100", text
    )
    whole = json.loads((tmp_path / "found.json").read_text())
    found = whole["results"]
    assert found["num_images"] == 100 and found["num_features"] == 64 and whole["arguments"]["array"] == "probabilities"
    assert 0 < found["floor"] < found["distance"]  # other people wrote the test images
    status, text, _ = run(
        "--drawn", tmp_path / "drawn.npz", "--array", "samples", "--json", tmp_path / "negatives.json"
    )
    negatives = json.loads((tmp_path / "negatives.json").read_text())["results"]
    assert status == 0 and negatives["distance"] > 3 * found["distance"]


def test_the_command_with_a_network_and_a_folder(run, digits, exported, tmp_path):
    from PIL import Image

    (tmp_path / "drawn").mkdir()
    for index, image in enumerate(digits.test_images[:30]):
        Image.fromarray((image.astype(float) * 255 / 16).round().astype(np.uint8)).save(
            tmp_path / "drawn" / f"{index:02}.png"
        )
    status, text, errors = run("--drawn", tmp_path / "drawn", "--network", exported[1])
    assert (status, errors) == (0, "") and text.startswith("Frechet distance (features: %s) of 30" % exported[1])


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "--drawn"),
        (["--drawn", "nothing.npz"], "there is no nothing.npz"),
        (["--drawn", "drawn.npz", "--array", "x"], "holds no array x; it has probabilities"),
        (["--drawn", "drawn.npz", "--network", "nothing"], "no network can be read"),
        (["--drawn", "drawn.npz", "--json", "no/folder/x.json"], "choose another --json"),
        (["--drawn", "small.npy"], "shape"),
        (["--drawn", "one.npy"], "at least 2 images"),
        (["--drawn", "drawn.npz", "--dataset", "unlabelled.npy"], "give one by --network"),
    ],
)
def test_bad_input(run, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    np.savez("drawn.npz", probabilities=np.zeros((5, 64)))
    np.save("small.npy", np.zeros((5, 60)))
    np.save("one.npy", np.zeros((1, 64)))
    np.save("unlabelled.npy", np.zeros((20, 8, 8)))
    status, text, errors = run(*arguments)
    assert status == 2 and message in errors and errors.count("\n") == 1 and text == ""
