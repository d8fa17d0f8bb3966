"""The classic deep belief network: its class, and training with --below and train-deep."""

import json

import numpy as np
import pytest
import reference
from PIL import Image
from scipy import stats

import binary_rbm_gluon
from gluon_rbm import __main__
from gluon_rbm.backend.framework import mx
from gluon_rbm.data import datasets, splits
from gluon_rbm.errors import InputError
from gluon_rbm.models import binary_deep_belief
from gluon_rbm.models.binary_deep_belief import BinaryDeepBeliefNetwork
from gluon_rbm.models.files import read_parameters
from gluon_rbm.models.parameters import Parameters
from gluon_rbm.sampling.deep_belief import generate
from gluon_rbm.training import binary_pictures

DRAWS = 50000
SIGNIFICANCE = 1e-6  # a test of a true hypothesis fails once in a million runs


def network(rbms, ctx=None, dtype="float32"):
    return BinaryDeepBeliefNetwork(
        [Parameters(*(mx.nd.array(array, ctx=ctx, dtype=dtype) for array in rbm)) for rbm in rbms]
    )


def assert_distribution(samples, probability):
    """Compare samples in {0, 1} with the probability of each state in a chi-square test."""
    counts = np.bincount(reference.state_index(samples.asnumpy()), minlength=len(probability))
    statistic, freedom = reference.chi_square(counts, probability * len(samples))
    assert stats.chi2.sf(statistic, freedom) > SIGNIFICANCE, (statistic, freedom)


def given_hidden(rbm):
    """p(v | h) of each pair of states, by enumeration: (2^H, 2^V)."""
    joint = reference.joint(*rbm).T
    return joint / joint.sum(axis=1, keepdims=True)


def visible_distribution(rbms):
    """p(v) of each visible state of the lowest layer.

    It follows from p(v) of the top RBM, by enumeration, and p(v | h) of each RBM below.
    """
    probability = reference.joint(*rbms[-1]).sum(axis=1)
    for rbm in rbms[-2::-1]:
        probability = probability @ given_hidden(rbm)
    return probability


# --- Drawing --------------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [(4, 3), (4, 3, 3), (3, 4, 2, 3)])
def test_images_have_the_exact_distribution(ctx, engine, seed, generator, sizes):
    rbms = [reference.random_rbm(*pair, generator) for pair in zip(sizes, sizes[1:])]
    drawn = generate(network(rbms, ctx), DRAWS, 60, [seed], engine=engine)
    assert_distribution(drawn.visible_sample, visible_distribution(rbms))


def test_the_top_rbm_keeps_its_distribution_and_layers_below_are_drawn_exactly(ctx, engine, seed, generator):
    """One sweep starts at exact samples of the top RBM's visible layer. Nothing must converge."""
    bottom, top = reference.random_rbm(4, 3, generator, 2.0), reference.random_rbm(3, 3, generator, 2.0)
    # The bottom layer copies images upwards almost surely, so the top RBM starts at these images.
    copy = -20.0 * np.ones(3), -20.0 * np.ones(3), 40.0 * np.eye(3)
    start, _ = reference.draw(reference.joint(*top), DRAWS, generator)
    drawn = generate(network([copy, top], ctx), DRAWS, 1, [seed], images=start, engine=engine)
    assert_distribution(drawn.visible_sample, visible_distribution([top]))
    # The top RBM has the same visible state in each chain, so only p(v | h) of the bottom is drawn.
    state = reference.states(3)[int(generator.integers(8))]
    fixed = 40 * state - 20, np.zeros(2), np.zeros((3, 2))
    drawn = generate(network([bottom, fixed], ctx), DRAWS, 1, [seed], engine=engine)
    assert_distribution(drawn.visible_sample, given_hidden(bottom)[reference.state_index(state[None])[0]])


def test_probabilities_belong_to_the_samples(ctx, engine, seed, generator):
    rbms = [reference.random_rbm(5, 3, generator), reference.random_rbm(3, 4, generator)]
    drawn = generate(network(rbms, ctx), DRAWS, 3, [seed], engine=engine)
    samples, probabilities = (array.asnumpy().astype(np.float64) for array in drawn)
    error = np.sqrt((probabilities * (1 - probabilities)).sum(axis=0))
    assert (np.abs((samples - probabilities).sum(axis=0)) < 5.5 * error).all()


def test_the_key_fixes_what_is_drawn(engine, seed, generator):
    stack = network([reference.random_rbm(20, 15, generator), reference.random_rbm(15, 10, generator)])
    first, again, other = (
        generate(stack, 8, 5, [seed, word], engine=engine).visible_sample.asnumpy() for word in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


# --- Up and down ----------------------------------------------------------------------------------


@pytest.fixture
def rbms(generator):
    return [reference.random_rbm(*pair, generator, 0.5) for pair in [(6, 5), (5, 4), (4, 8)]]


def test_transform_and_reconstruct_use_probabilities(ctx, rbms, generator):
    stack, images = network(rbms, ctx, "float64"), generator.random((7, 6))
    visible = mx.nd.array(images, ctx=ctx, dtype="float64")
    up = [images]
    for _, b, w in rbms:
        up.append(reference.sigmoid(b + up[-1] @ w))
    for depth in range(1, 4):
        np.testing.assert_allclose(stack.transform(visible, depth).asnumpy(), up[depth], rtol=1e-12)
    np.testing.assert_allclose(stack.transform(visible).asnumpy(), up[-1], rtol=1e-12)
    down = up[-1]
    for a, _, w in rbms[::-1]:
        down = reference.sigmoid(a + down @ w.T)
    np.testing.assert_allclose(stack.reconstruct(visible).asnumpy(), down, rtol=1e-12)


def test_features_go_through_many_images_in_batches(rbms, generator, monkeypatch):
    monkeypatch.setattr(binary_deep_belief, "_ROWS_AT_ONCE", 4)
    stack, bytes_ = network(rbms), generator.integers(0, 256, size=(10, 2, 3), dtype=np.uint8)
    whole = stack.transform(mx.nd.array(bytes_.reshape(10, 6) / 255)).asnumpy()
    np.testing.assert_allclose(stack.features(bytes_, 255), whole, rtol=1e-5)


def test_filters_are_products_of_weights(rbms):
    expected = rbms[0][2] @ rbms[1][2] @ rbms[2][2]
    np.testing.assert_allclose(network(rbms).filters(), expected, rtol=1e-5, atol=1e-6)


def test_hidden_data(rbms, generator):
    images, labels = generator.integers(0, 17, size=(12, 2, 3), dtype=np.uint8), np.arange(12) % 3
    data = datasets.DataSet("x", images[:8], labels[:8], images[8:], labels[8:], 16)
    stack = network(rbms)
    hidden = stack.hidden_data(data)
    assert (hidden.image_shape, hidden.maximum, hidden.train_labels.tolist()) == ((2, 4), 1, labels[:8].tolist())
    np.testing.assert_array_equal(hidden.test_images.reshape(4, 8), stack.features(images[8:], 16))
    joined = stack.hidden_data(splits.with_label_units(data), num_classes=3)
    np.testing.assert_array_equal(joined.train_images[:, :8], hidden.train_images.reshape(8, 8))
    np.testing.assert_array_equal(joined.train_images[:, 8:], np.eye(3)[labels[:8]])
    with pytest.raises(InputError, match="have 6 pixels, but the lowest layer has 5 visible units"):
        network(rbms[1:]).hidden_data(data)


# --- Files and bad input --------------------------------------------------------------------------


def test_save_and_load(rbms, tmp_path):
    network(rbms).save(tmp_path / "stack")
    again = BinaryDeepBeliefNetwork.load(tmp_path / "stack")
    assert (again.num_visible, again.num_hidden) == (6, 8)
    for left, right in zip(again.arrays(), network(rbms).arrays()):
        np.testing.assert_array_equal(left, right)
    two = BinaryDeepBeliefNetwork.load([tmp_path / "stack" / "layer-1", tmp_path / "stack" / "layer-2" / "rbm.params"])
    assert len(two.layers) == 2 and read_parameters(tmp_path / "stack" / "layer-3").num_hidden == 8


def test_wrong_layers_are_refused(rbms, tmp_path):
    with pytest.raises(InputError, match="at least one layer"):
        network([])
    with pytest.raises(InputError, match="layer 2 has 4 visible units, but the layer below has 5 hidden units"):
        network([rbms[0], rbms[2]])
    with pytest.raises(InputError, match="has no folder layer-1"):
        BinaryDeepBeliefNetwork.load(str(tmp_path))
    labelled = {**network(rbms[:1]).layers[0]._asdict(), "aux_label_classes": mx.nd.arange(2)}
    mx.nd.save(str(tmp_path / "rbm.params"), labelled)
    with pytest.raises(InputError, match="label units"):
        BinaryDeepBeliefNetwork.load([tmp_path])


# --- Training -------------------------------------------------------------------------------------

SMALL = ["--dataset", "digits", "--no-cuda", "--k", "1", "--batch-size", "200", "--learning-rate", "20"]
SMALL += ["--monitor-every", "100", "--ais-batch-size", "20", "--ais-num-batch", "1", "--ais-burn-in-steps", "1"]


@pytest.fixture(autouse=True)
def short_showcase(monkeypatch):
    monkeypatch.setattr(binary_pictures, "SHOWCASE_SWEEPS", 5)


def train(folder, *arguments):
    return binary_rbm_gluon.main([*SMALL, "--output-dir", str(folder), *map(str, arguments)])


def train_deep(folder, *arguments):
    """Run the command and return its exit status, also if it raises SystemExit."""
    arguments = ["--layers", 9, 6, "--output-dir", folder, "--sweeps", 5, *arguments]
    try:
        return __main__.main(["train-deep", *SMALL, *map(str, arguments)])
    except SystemExit as stop:
        return stop.code


def contents(folder):
    return {name: array.asnumpy() for name, array in mx.nd.load(str(folder / "rbm.params")).items()}


def assert_same(left, right):
    left, right = contents(left), contents(right)
    for name, array in left.items():
        np.testing.assert_array_equal(array, right[name], err_msg=name)


def test_a_layer_learns_the_hidden_probabilities_below(tmp_path, capsys):
    """A run with --below equals, bit for bit, a run on a file of the probabilities below."""
    assert train(tmp_path / "below", "--num-hidden", 6, "--num-epoch", 2) == 0
    data = BinaryDeepBeliefNetwork.load([tmp_path / "below"]).hidden_data(datasets.load("digits"))
    # In array files each tenth image is a test image.
    rows = np.zeros((1437 + 160, 2, 3), np.float32)
    is_test = np.arange(len(rows)) % 10 == 0
    rows[~is_test], rows[is_test] = data.train_images, data.test_images[:160]
    np.save(tmp_path / "hidden.npy", rows)
    settings = ["--num-hidden", 4, "--num-epoch", 2]
    assert train(tmp_path / "upper", "--below", tmp_path / "below", *settings) == 0
    assert train(tmp_path / "array", "--dataset", tmp_path / "hidden.npy", *settings) == 0
    assert_same(tmp_path / "upper", tmp_path / "array")


@pytest.mark.slow
def test_resuming_upon_another_layer_is_refused(tmp_path, capsys):
    for name, seed in (("one", 1), ("two", 2)):
        assert train(tmp_path / name, "--num-hidden", 6, "--num-epoch", 1, "--seed", seed) == 0
    upper = ["--num-hidden", 4, "--resume", "--num-epoch"]
    assert train(tmp_path / "upper", "--below", tmp_path / "one", *upper, 1) == 0
    (tmp_path / "one").rename(tmp_path / "moved")
    assert train(tmp_path / "upper", "--below", tmp_path / "moved", *upper, 2) == 0
    assert train(tmp_path / "upper", "--below", tmp_path / "two", *upper, 3) == 2
    assert "was trained on other data" in capsys.readouterr().err


def test_a_layer_with_labels_at_the_top(tmp_path):
    assert train(tmp_path / "below", "--num-hidden", 12, "--num-epoch", 1) == 0
    assert train(tmp_path / "top", "--below", tmp_path / "below", "--labels", "--num-hidden", 5, "--num-epoch", 1) == 0
    assert read_parameters(tmp_path / "top").num_visible == 12 + 10


@pytest.mark.slow
def test_train_deep(tmp_path, capsys):
    """train-deep writes its files, and --resume trains only what is missing, bit for bit."""
    whole = tmp_path / "whole"
    assert train_deep(whole, "--num-epoch", 2, "--count", 70) == 0
    report = json.loads((whole / "deep.json").read_text())
    assert report["results"]["mean_squared_error"] > 0 and report["arguments"]["layers"] == [9, 6]
    stack = BinaryDeepBeliefNetwork.load(whole)
    with np.load(whole / "samples.npz") as archive:
        assert archive["samples"].shape == archive["probabilities"].shape == (70, 64)
        expected = generate(stack, 70, 5, [0, 2]).visible_prob_1.asnumpy()
        np.testing.assert_array_equal(archive["probabilities"], expected)
    for name in ("samples.png", "filters.png"):
        with Image.open(whole / name) as picture:
            assert np.asarray(picture.convert("L")).std() > 10  # the picture is not blank
    seeds = [
        json.loads((whole / name / "arguments.json").read_text())["arguments"]["seed"]
        for name in ("layer-1", "layer-2")
    ]
    assert len({0, *seeds}) == 3  # each layer has its own seed

    parts = tmp_path / "parts"
    assert train(parts / "layer-1", "--num-hidden", 9, "--num-epoch", 1, "--seed", seeds[0]) == 0
    assert train_deep(parts, "--num-epoch", 2) == 2  # refused without --resume
    assert "continue it with --resume" in capsys.readouterr().err
    assert train_deep(parts, "--num-epoch", 2, "--resume") == 0
    for name in ("layer-1", "layer-2"):
        assert_same(whole / name, parts / name)


@pytest.mark.slow
def test_features_improve_a_classifier(tmp_path):
    """Logistic regression makes fewer errors on learned features than on those of random weights.

    The features are learned from all training images, without labels. The regression learns from
    the labels of 100 images. The test makes twelve choices of these images, and the difference is
    more than three standard errors.
    """
    from sklearn.linear_model import LogisticRegression

    recipe = ["--layers", 200, 200, "--batch-size", 50, "--num-epoch", 40, "--learning-rate", 20, "--chains", "data"]
    recipe += ["--binarize", "sample", "--centering", "--initial-visible-bias", "data", "--data-loader-num-worker", 0]
    assert train_deep(tmp_path, *recipe) == 0
    data, trained = datasets.load("digits"), BinaryDeepBeliefNetwork.load(tmp_path)
    images, labels = (
        np.concatenate([data.train_images, data.test_images]),
        np.append(data.train_labels, data.test_labels),
    )
    generator = np.random.default_rng(1)
    untrained = network([(np.zeros(v), np.zeros(200), generator.normal(scale=0.01, size=(v, 200))) for v in (64, 200)])
    mistakes = {stack: np.full((12, len(images)), np.nan) for stack in (trained, untrained)}
    seen = {stack: stack.features(images, data.maximum) for stack in mistakes}
    for number in range(12):
        order = np.random.default_rng(number).permutation(len(images))
        known, others = order[:100], order[100:]
        for stack, wrong in mistakes.items():
            features = seen[stack] - seen[stack][known].mean(axis=0)
            features /= features[known].std()
            classifier = LogisticRegression(max_iter=500).fit(features[known], labels[known])
            wrong[number, others] = classifier.predict(features[others]) != labels[others]
    saved = np.nanmean(mistakes[untrained] - mistakes[trained], axis=0)
    saved = saved[np.isfinite(saved)]
    print("wrong: %.4f, untrained %.4f" % tuple(np.nanmean(wrong) for wrong in mistakes.values()))
    assert saved.mean() > 3 * saved.std() / np.sqrt(len(saved))


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--nonsense"], "unrecognized arguments: --nonsense"),
        (["--labels"], "takes neither --labels nor --below"),
        (["--layers", "0"], "at least 1"),
        (["--k", "0"], "at least 1"),
        (["--dataset", "bars-and-strips"], "unknown data set"),
    ],
)
def test_train_deep_refuses_wrong_arguments(tmp_path, capsys, arguments, message):
    status, errors = train_deep(tmp_path / "deep", *arguments), capsys.readouterr().err
    assert status == 2 and message in errors and errors.count("\n") == 1
    assert not (tmp_path / "deep").exists()


def test_classify_needs_labels(tmp_path, capsys):
    np.save(tmp_path / "images.npy", np.zeros((20, 4, 4)))
    assert train_deep(tmp_path / "deep", "--dataset", tmp_path / "images.npy", "--classify") == 2
    assert "have no labels; leave --classify out" in capsys.readouterr().err and not (tmp_path / "deep").exists()
    (tmp_path / "pictures" / "only").mkdir(parents=True)
    for number in range(20):
        Image.new("L", (4, 4), number).save(tmp_path / "pictures" / "only" / ("%d.png" % number))
    images = "--dataset", "image-folder", "--data-dir", tmp_path / "pictures"
    assert train_deep(tmp_path / "deep", *images, "--classify") == 2
    assert "one class; leave --classify out" in capsys.readouterr().err and not (tmp_path / "deep").exists()


def test_other_commands_take_no_unknown_flags(capsys):
    with pytest.raises(SystemExit) as stop:
        __main__.main(["weights", "model", "--nonsense"])
    assert stop.value.code == 2 and "unrecognized arguments: --nonsense" in capsys.readouterr().err
