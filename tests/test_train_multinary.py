"""`python -m gluon_rbm train-multinary` as a user runs it."""

import functools
import json
import os
import signal
from argparse import Namespace

import numpy as np
import pytest
from marks import slow_but
from PIL import Image

from gluon_rbm import __main__
from gluon_rbm.backend.arrays import from_host
from gluon_rbm.backend.framework import mx
from gluon_rbm.data import datasets, transforms
from gluon_rbm.errors import InputError
from gluon_rbm.models import network_features, networks, units
from gluon_rbm.training import network as network_training
from gluon_rbm.training.network_learner import NetworkLearner
from gluon_rbm.training.network_pictures import normal_like
from gluon_rbm.training.run_folder import RunFolder
from gluon_rbm.training.run_records import read_metrics

SMALL = ["--dataset", "digits", "--no-cuda", "--channels", "3", "--dense", "5", "--learning-rate", "0.01"]
# 437 images are learned; the last batch holds 37 of them.
SMALL += ["--held-out", "1000", "--sample-sweeps", "2", "--batch-size", "100"]


def run(folder, *arguments, small=SMALL):
    return __main__.main(["train-multinary", *small, "--output-dir", str(folder), *map(str, arguments)])


def learned(folder):
    return {name: array.asnumpy() for name, array in mx.nd.load(os.path.join(str(folder), "rbm.params")).items()}


def assert_same(left, right):
    left, right = learned(left), learned(right)
    assert sorted(left) == sorted(right) and len(left) == 7
    for name in left:
        np.testing.assert_array_equal(left[name], right[name], err_msg=name)


def assert_refused(capsys, folder, arguments, said, small=SMALL):
    assert run(folder, *arguments, small=small) == 2
    error = capsys.readouterr().err.strip()
    assert said in error and len(error.splitlines()) == 1, error


def write_images(folder, generator, count, shape=(8, 8, 3)):
    folder.mkdir(parents=True)
    for index in range(count):
        Image.fromarray(generator.integers(0, 256, shape, np.uint8)).save(folder / ("%02d.png" % index))
    return folder


# --- A run ----------------------------------------------------------------------------------------


def test_what_a_run_leaves(tmp_path, capsys):
    assert run(tmp_path / "run", "--num-epoch", 3) == 0
    said = capsys.readouterr().out
    assert said.count("held-out reconstruction error") == 3 and said.count(", test reconstruction error") == 1
    for name in ("learning-curve.png", "filters.png", "showcase.png"):
        assert np.asarray(Image.open(tmp_path / "run" / name)).std() > 10
    rows = read_metrics(tmp_path / "run")
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert all(np.isfinite(row["train_loss"]) and row["seconds"] > 0 for row in rows)
    errors = [row["held_out_reconstruction_error"] for row in rows]
    assert errors[2] < errors[0] < 0.25
    assert abs(rows[2]["test_reconstruction_error"] - errors[2]) < 0.02
    record = json.loads((tmp_path / "run" / "arguments.json").read_text())["arguments"]
    network, description = networks.read(tmp_path / "run")
    assert record["network"] == description and description["image_shape"] == [1, 8, 8]
    images = datasets.load("digits").test_images[:20]
    assert network_features.features(network, description, images, maximum=16).std() > 0


@pytest.mark.parametrize("arguments", [(), ("--training", "greedy"), ("--chains", "persistent", "--sampled")])
@pytest.mark.parametrize("colour", slow_but([False, True], True))
def test_networks_of_dense_rbms_only(tmp_path, generator, arguments, colour):
    np.save(tmp_path / "images.npy", generator.integers(0, 256, (20, 4, 6, 3)[: 3 + colour], np.uint8))
    small = ["--dataset", tmp_path / "images.npy", "--no-cuda", "--dense", 5, 3, "--batch-size", 7, "--num-epoch", 1]
    assert run(tmp_path / "run", *arguments, small=map(str, small)) == 0
    network, description = networks.read(tmp_path / "run")
    assert [rbm.hidden_shape for rbm in network.rbms] == [(5,), (3,)]
    assert description["image_shape"] == [3 if colour else 1, 4, 6]
    for name in ("filters.png", "showcase.png"):
        assert Image.open(tmp_path / "run" / name).size[0] > 100


def test_the_reconstruction_error_is_a_mean_over_pixels(tmp_path):
    assert run(tmp_path / "run", "--num-epoch", 1) == 0
    network, description = networks.read(tmp_path / "run")
    images = datasets.load("digits").test_images
    found = network.reconstruct(from_host(network_features.to_values(images, description, 16))).asnumpy() / 255
    expected = np.square(found[:, 0] - images / 16).mean()
    assert abs(read_metrics(tmp_path / "run")[-1]["test_reconstruction_error"] - expected) < 1e-5


@pytest.mark.parametrize(
    "arguments",
    slow_but(
        [
            ["--sampled"],
            ["--sampled", "--chains", "persistent", "--k", 2],
            ["--training", "greedy"],
            ["--training", "greedy", "--sampled", "--chains", "persistent"],
            ["--no-detach", "--hidden-units", "relu"],
            ["--visible-units", "gaussian", "--maximum", 1, "--optimizer", "sgd", "--learning-rate", "0.001"],
            ["--random-crop", 1, "--mirror", "--learning-rate-schedule", "linear", "--weight-decay", 0.1],
        ],
        ["--training", "greedy"],
    ),
    ids=lambda arguments: " ".join(map(str, arguments)),
)
def test_a_resumed_run_ends_as_an_uninterrupted_one(tmp_path, monkeypatch, arguments):
    """The run stops in its second epoch; greedy training also in the first epoch of the second RBM.

    The number of workers changes, too. The result is the same.
    """
    assert run(tmp_path / "whole", "--num-epoch", 2, *arguments) == 0

    def stop_in(number):
        def stop(state, output):
            if state.epoch + 1 == number and state.step == 2:  # in the third of five steps
                os.kill(os.getpid(), signal.SIGTERM)

        return stop

    for number in (2, 3):
        with monkeypatch.context() as patch:
            patch.setattr(
                network_training, "train", functools.partial(network_training.train, on_step=[stop_in(number)])
            )
            status = run(tmp_path / "parts", "--num-epoch", 2, "--resume", "--data-loader-num-worker", 0, *arguments)
            assert status == (143 if number == 2 or "greedy" in arguments else 0)
    assert run(tmp_path / "parts", "--num-epoch", 2, "--resume", *arguments) == 0
    assert_same(tmp_path / "whole", tmp_path / "parts")
    whole, parts = (
        [{name: value for name, value in row.items() if "seconds" not in name} for row in read_metrics(tmp_path / run)]
        for run in ("whole", "parts")
    )
    assert whole == parts


def test_greedy_training_leaves_the_rbms_below_alone(tmp_path, monkeypatch):
    seen = []
    save = RunFolder.save_checkpoint

    def record(self, checkpoint):
        save(self, checkpoint)
        seen.append(dict(checkpoint.arrays))

    monkeypatch.setattr(RunFolder, "save_checkpoint", record)
    assert run(tmp_path / "run", "--num-epoch", 1, "--training", "greedy") == 0
    first, second = seen
    changed = [name for name in first if not np.array_equal(first[name], second[name])]
    assert sorted(changed) == ["1.hidden_layer_bias", "1.interaction_weight", "1.visible_layer_bias"]
    assert np.all(first["1.hidden_layer_bias"] == 0) and np.any(first["0.hidden_layer_bias"] != 0)


def test_joint_and_greedy_training_of_the_first_rbm_are_the_same(tmp_path):
    """With --detach an RBM learns as if it were alone, so both runs learn the same first RBM."""
    assert run(tmp_path / "joint", "--num-epoch", 1) == 0
    assert run(tmp_path / "greedy", "--num-epoch", 1, "--training", "greedy") == 0
    joint, greedy = learned(tmp_path / "joint"), learned(tmp_path / "greedy")
    for name in ("0.visible_layer_bias", "0.hidden_layer_bias", "0.interaction_weight"):
        np.testing.assert_allclose(joint[name], greedy[name], rtol=1e-3, atol=1e-3 * np.abs(joint[name]).max())


def descent(**settings):
    defaults = dict(k=1, sampled=False, detach=True, chains="data", optimizer="sgd", momentum=0.0, batch_size=6)
    return Namespace(**{**defaults, "weight_decay": 0.0, **settings})


def test_one_step_is_gradient_descent_on_the_mean_loss(ctx, generator):
    """A binary dense RBM, computed by hand: CD-1 with means, and decay of the weights only."""
    rate, decay = 0.1, 0.2
    images = generator.random((6, 2, 2)).astype("float32")
    description = networks.describe((1, 2, 2), dense=[3], maximum=1)
    built = networks.build(description)
    built.initialize(mx.init.Normal(0.5), ctx=ctx, force_reinit=True)
    args = descent(learning_rate=rate, weight_decay=decay)
    values = from_host(network_features.to_values(images, description), ctx)
    learner = NetworkLearner(args, built, None, values)
    a, b, w = (learner.arrays()["0." + n].asnumpy() for n in networks.Parameters._fields)
    learner.step(values)

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    v = images.reshape(6, 4)
    h = sigmoid(b + v @ w)
    model_v = sigmoid(a + h @ w.T)
    model_h = sigmoid(b + model_v @ w)
    expected = {
        "visible_layer_bias": a + rate * (v - model_v).mean(axis=0),
        "hidden_layer_bias": b + rate * (h - model_h).mean(axis=0),
        "interaction_weight": w + rate * ((v.T @ h - model_v.T @ model_h) / 6 - decay * w),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(learner.arrays()["0." + name].asnumpy(), value, rtol=1e-4, atol=1e-6)


def test_persistent_chains_continue_and_are_used_by_the_loss(ctx, generator, seed):
    """The gradient of a short batch uses as many chains as the batch has images."""
    images = generator.integers(0, 2, (6, 4, 4)).astype("float32")
    description = networks.describe((1, 4, 4), channels=[2], dense=[3], maximum=1)
    built = networks.build(description)
    built.initialize(mx.init.Normal(0.5), ctx=ctx, force_reinit=True)
    args = descent(learning_rate=0.1, sampled=True, chains="persistent", k=2)
    values = from_host(network_features.to_values(images, description), ctx)
    learner = NetworkLearner(args, built, None, values)
    np.testing.assert_array_equal(learner.arrays()["chains.0"].asnumpy(), values.asnumpy())
    for count in (6, 4):
        before = {name: array.asnumpy() for name, array in learner.arrays().items()}
        learner.step(values[:count])
        after = {name: array.asnumpy() for name, array in learner.arrays().items()}
        model = after["chains.0"]
        assert model.shape == (6, 1, 4, 4) and set(np.unique(model)) <= {0, 1}
        assert (model != before["chains.0"]).any(axis=(1, 2, 3)).sum() >= 5
        assert after["chains.1"].shape == (6, 8)
        expected = 0.1 * (images[:count].sum() - model[:count].sum()) / count
        found = after["0.visible_layer_bias"] - before["0.visible_layer_bias"]
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_presets_are_defaults(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(network_training, "train", seen.append)
    start = ["train-multinary", "--dense", "7", "--preset", "celeba-64", "--learning-rate", "0.5"]
    assert __main__.main(start) == 0
    (args,) = seen
    assert (args.dense, args.channels, args.image_size) == ([7], [64, 128, 256, 256], [64, 64])
    assert (args.dataset, args.learning_rate) == ("image-folder", 0.5)


# --- Images ---------------------------------------------------------------------------------------

FOLDER = ["--dataset", "image-folder", "--no-cuda", "--channels", "4", "--batch-size", "4", "--sample-sweeps", "1"]


def test_a_folder_of_colour_images_of_different_sizes(tmp_path, generator, capsys):
    write_images(tmp_path / "images", generator, 15)
    write_images(tmp_path / "large", generator, 5, (12, 20, 3))
    for index, path in enumerate(sorted((tmp_path / "large").iterdir())):
        path.rename(tmp_path / "images" / ("large%d.png" % index))
    (tmp_path / "images" / "00.png").write_bytes(b"no image")  # the first image, a test image
    (tmp_path / "images" / "03.png").write_bytes((tmp_path / "images" / "02.png").read_bytes()[:60])
    arguments = ["--data-dir", tmp_path / "images", "--num-epoch", 1, "--random-crop", 2, "--mirror"]
    size = ["--image-size", 8, 12]
    assert run(tmp_path / "run", *arguments, *size, small=FOLDER) == 0
    said = capsys.readouterr().out
    assert "2 images skipped" in said and "00.png" in said and "03.png" in said
    assert networks.read(tmp_path / "run")[1]["image_shape"] == [3, 8, 12]
    assert_refused(capsys, tmp_path / "strict", [*arguments, *size, "--strict"], "00.png cannot be read", small=FOLDER)
    assert_refused(capsys, tmp_path / "sizes", arguments, "20 x 12 pixels, but the first image has 8 x 8", FOLDER)


def test_images_are_resized_and_cropped_around_their_middle():
    image = np.zeros((20, 60, 3), np.uint8)
    image[:, 20:40] = 200  # the middle square of full height
    whole = transforms.resize_and_crop(image, (10, 30))
    assert np.all(whole[:, [*range(7), *range(23, 30)]] == 0) and np.all(whole[:, 13:17] == 200)
    # The proportions stay the same, so nothing is cropped.
    np.testing.assert_array_equal(transforms.resize(image, (10, 30)), whole)
    np.testing.assert_array_equal(transforms.resize_and_crop(image, (10, 10)), whole[:, 10:20])
    assert transforms.resize_and_crop(image[..., 0], (40, 30)).shape == (40, 30)
    assert transforms.resize_and_crop(image, (20, 60)) is image


@pytest.mark.parametrize("shape", [(200, 7, 9, 3), (200, 7, 9)])
def test_crops_and_mirrors_are_drawn_by_the_generator_alone(shape, seed):
    images = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)

    def vary(**how):
        return transforms.augment(images, np.random.default_rng(seed + 1), **how)

    assert vary() is images
    np.testing.assert_array_equal(vary(padding=2, mirror=True), vary(padding=2, mirror=True))
    turned = (vary(mirror=True) != images).reshape(200, -1).any(axis=1)
    np.testing.assert_array_equal(vary(mirror=True)[turned], images[turned, :, ::-1])
    assert 60 <= turned.sum() <= 140  # 5.6 standard errors
    cropped = vary(padding=1)
    padded = np.pad(images, [(0, 0), (1, 1), (1, 1)] + [(0, 0)] * (len(shape) - 3), mode="reflect")
    places = [(padded[:, top : top + 7, left : left + 9] == cropped) for top in range(3) for left in range(3)]
    places = np.array([place.reshape(200, -1).all(axis=1) for place in places])
    assert places.any(axis=0).all()
    # 200 draws miss one of the 9 places with probability 5e-10.
    assert places.sum(axis=1).min() > 0


def test_only_images_of_bytes_can_be_resized(tmp_path, generator, capsys):
    np.save(tmp_path / "bytes.npy", generator.integers(0, 256, (20, 6, 6, 3), np.uint8))
    np.save(tmp_path / "floats.npy", generator.random((20, 6, 6)))
    size = ["--image-size", 8, 8, "--num-epoch", 1]
    assert run(tmp_path / "run", "--dataset", tmp_path / "bytes.npy", *size, small=FOLDER) == 0
    assert networks.read(tmp_path / "run")[1]["image_shape"] == [3, 8, 8]
    assert_refused(capsys, tmp_path / "f", ["--dataset", tmp_path / "floats.npy", *size], "are not bytes", FOLDER)
    for name in ("digits", "bars-and-stripes"):  # their largest values are not 255
        data = datasets.load(name, image_size=(11, 13))
        for images in (data.train_images, data.test_images):
            assert images.shape[1:] == (11, 13) and images.max() == data.maximum and images.dtype == np.uint8


# --- Bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--channels", 3, 3, 3, 3], "RBM 4 of the network: a layer of 1 x 1 is not divisible by the stride, 2"),
        (["--channels", 3, "--stride", 3, "--kernel", 3], "not divisible by the stride, 3"),
        (["--visible-units", "gaussian", "--quantized"], "--quantized is for multinary visible units"),
        (["--batch-size", 438], "--batch-size 438 is larger than the number of training images, 437"),
        (["--held-out", 1437], "cannot be held out"),
        (["--chains", "persistent"], "give --sampled"),
        (["--training", "greedy", "--no-detach"], "needs --training joint"),
        (["--training", "greedy", "--learning-rate-schedule", "linear"], "leave out --learning-rate-schedule"),
        (["--random-crop", 8], "too large for the images"),
        (["--dense", 2**31 - 1], "2^31 elements or more"),
        (["--dataset", "digit"], "unknown data set"),
        (["--channels", "--dense"], "give --channels, --dense or both"),
    ],
)
def test_invalid_arguments_are_refused(tmp_path, capsys, arguments, said):
    assert_refused(capsys, tmp_path / "run", arguments, said)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--maximum", 0], "at least 1"),
        (["--slope", 0], "above 0"),
        (["--preset", "mnits"], "invalid choice"),
        (["--channels", -1], "at least 1"),
    ],
)
def test_arguments_that_do_not_parse(tmp_path, capsys, arguments, said):
    with pytest.raises(SystemExit) as stopped:
        run(tmp_path / "run", *arguments)
    error = capsys.readouterr().err.strip()
    assert stopped.value.code == 2 and said in error and len(error.splitlines()) == 1


def test_folders_without_a_readable_image(tmp_path, capsys, generator):
    (tmp_path / "none").mkdir()
    assert_refused(capsys, tmp_path / "run", ["--data-dir", tmp_path / "none"], "holds no images", FOLDER)
    for path in write_images(tmp_path / "bad", generator, 3).iterdir():
        path.write_bytes(b"no image")
    assert_refused(capsys, tmp_path / "run", ["--data-dir", tmp_path / "bad"], "nor can any other", FOLDER)
    write_images(tmp_path / "half" / "train", generator, 5)
    write_images(tmp_path / "half" / "test", generator, 1)
    (tmp_path / "half" / "test" / "00.png").write_bytes(b"")
    assert_refused(capsys, tmp_path / "run", ["--data-dir", tmp_path / "half"], "no test image", FOLDER)


def test_a_run_of_an_earlier_version_is_resumed(tmp_path):
    """Its record calls `quantized` by an earlier name, `whole`."""
    assert run(tmp_path / "run", "--num-epoch", 1) == 0
    record = json.loads((tmp_path / "run" / "arguments.json").read_text())
    for names in (record["arguments"], record["arguments"]["network"]):
        names["whole"] = names.pop("quantized")
    (tmp_path / "run" / "arguments.json").write_text(json.dumps(record))
    assert run(tmp_path / "run", "--num-epoch", 2, "--resume") == 0
    assert len(read_metrics(tmp_path / "run")) == 2


def test_resuming_with_other_images_or_another_network(tmp_path, capsys, generator):
    write_images(tmp_path / "colour", generator, 12)
    write_images(tmp_path / "grey", generator, 12, (8, 8))
    assert run(tmp_path / "run", "--data-dir", tmp_path / "colour", "--num-epoch", 1, small=FOLDER) == 0
    before = (tmp_path / "run" / "rbm.params").read_bytes()
    again = ["--resume", "--data-dir"]
    assert_refused(capsys, tmp_path / "run", [*again, tmp_path / "grey"], "was trained on other data", FOLDER)
    other = [*again, tmp_path / "colour", "--channels", 5]
    assert_refused(capsys, tmp_path / "run", other, "has --channels [4], not [5]", FOLDER)
    assert_refused(capsys, tmp_path / "run", ["--data-dir", tmp_path / "colour"], "already holds a run", FOLDER)
    assert (tmp_path / "run" / "rbm.params").read_bytes() == before


@pytest.mark.parametrize("units", ["multinary", "gaussian"])
def test_equal_images_are_refused(units, tmp_path, capsys):
    np.save(tmp_path / "grey.npy", np.full((20, 4, 4), 0.5))
    arguments = ["--dataset", tmp_path / "grey.npy", "--visible-units", units]
    assert_refused(capsys, tmp_path / "run", arguments, "are the same", FOLDER)


def test_nearly_equal_images_are_refused_for_gaussian_units(tmp_path, capsys, generator):
    np.save(tmp_path / "grey.npy", 0.5 + 1e-6 * generator.random((20, 4, 4)))
    arguments = ["--dataset", tmp_path / "grey.npy", "--visible-units", "gaussian"]
    assert_refused(capsys, tmp_path / "run", arguments, "have the same value", FOLDER)


def test_a_run_that_diverges_writes_no_parameters(tmp_path, capsys):
    arguments = ["--optimizer", "sgd", "--momentum", 0]
    assert run(tmp_path / "wild", "--num-epoch", 1, *arguments, "--learning-rate", 1e30) == 3
    assert "training diverged in epoch 1: " in capsys.readouterr().err
    assert not (tmp_path / "wild" / "rbm.params").exists()


def test_values_outside_the_maximum_are_refused(tmp_path):
    data = datasets.load("digits")
    description = networks.describe((1, 8, 8), dense=[2])
    with pytest.raises(InputError, match="scale them to 0 to 8"):
        network_features.to_values(data.train_images, description, maximum=8)


def test_samples_start_with_the_mean_and_covariance_of_images(generator):
    mixing = generator.standard_normal((3, 3))
    values = mx.nd.array(5 + generator.standard_normal((500, 3)) @ mixing)
    drawn = normal_like(values, 20000, units.Gaussian(), generator)
    rows = values.asnumpy()
    covariance = np.cov(rows.T, bias=True)
    # The bounds are 6 standard errors of means and of covariances of 20,000 normal numbers.
    deviations = np.sqrt(np.diag(covariance))
    assert (np.abs(drawn.mean(axis=0) - rows.mean(axis=0)) < 6 * deviations / np.sqrt(20000)).all()
    assert (np.abs(np.cov(drawn.T) - covariance) < 6 * np.outer(deviations, deviations) * np.sqrt(2 / 20000)).all()
    wide = mx.nd.array(3 + 3 * generator.standard_normal((500, 3)))
    cut = normal_like(wide, 1000, units.Multinary(6), generator)
    assert cut.min() == 0 and cut.max() == 6
    assert drawn.dtype == cut.dtype == np.float32  # whatever NumPy's promotion rules
