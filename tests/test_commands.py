"""Commands of `python -m gluon_rbm` that draw pictures, as a user runs them.

tests/test_report.py tests the command likelihood.
"""

import json
import re

import numpy as np
import pytest
import reference
from PIL import Image

from gluon_rbm import __main__
from gluon_rbm.backend.framework import mx
from gluon_rbm.data import datasets
from gluon_rbm.data.batches import to_visible
from gluon_rbm.evaluation import plots
from gluon_rbm.sampling import diagnostics
from gluon_rbm.training import binary_pictures

NAMES = ("visible_layer_bias", "hidden_layer_bias", "interaction_weight")
DIGITS = ("--dataset", "digits", "--no-cuda")
COMMANDS = ("sample", "reconstruct", "inpaint", "resample", "weights", "score")


def save(rbm, path):
    mx.nd.save(str(path), {name: mx.nd.array(array) for name, array in zip(NAMES, rbm)})
    return str(path)


@pytest.fixture
def rbm(generator):
    """RBM with 8x8 pixels and 5 hidden units. The last hidden unit is always off."""
    a, b, w = reference.random_rbm(64, 5, generator, scale=0.3)
    w[:, 4], b[4] = 0, -20
    return a, b, w


@pytest.fixture
def model(rbm, tmp_path):
    return save(rbm, tmp_path / "rbm.params")


@pytest.fixture
def run(capsys, model, tmp_path):
    """Run a command on the model; return its exit status, its output and its errors."""

    def call(command, *arguments, model=model):
        arguments = [command, model, *DIGITS, "--output", tmp_path / command, "--overwrite", *arguments]
        capsys.readouterr()
        return (__main__.main([str(argument) for argument in arguments]), *capsys.readouterr())

    return call


@pytest.fixture
def results(tmp_path):
    """Read the files of a command: the results in its JSON file, and its arrays."""

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
            assert np.asarray(picture.convert("L")).std() > 10  # the picture is not blank


# --- sample ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", ["zeros", "random", "base", "images"])
def test_sample_from_every_start(run, results, tmp_path, start):
    status, _, errors = run("sample", "--start", start, "--sweeps", 3, "--count", 70)
    assert (status, errors) == (0, "")
    found, arrays = results("sample")
    assert_pictures(tmp_path, "sample.png")
    assert arrays["samples"].shape == arrays["probabilities"].shape == (70, 64)
    assert np.isin(arrays["samples"], (0, 1)).all() and found["pixels_on"] == pytest.approx(arrays["samples"].mean())


@pytest.mark.parametrize(
    "way",
    [
        [],
        ["--anneal"],
        ["--anneal", "0.5"],
        ["--temperatures", "3"],
        pytest.param(["--animate"], marks=pytest.mark.slow),
    ],
)
def test_samples_have_the_distribution_of_the_rbm(run, results, rbm, tmp_path, way):
    """Means of pixels over 4,000 chains equal exact means, by enumeration of the hidden states."""
    status, text, errors = run("sample", "--start", "random", "--sweeps", 60, "--count", 4000, *way)
    assert (status, errors) == (0, "")
    a, b, w = rbm
    hidden = reference.states(5)
    log_weight = hidden @ b + np.logaddexp(0, a + hidden @ w.T).sum(axis=1)
    mean = np.exp(log_weight - reference.log_sum_exp(log_weight)) @ reference.sigmoid(a + hidden @ w.T)
    found, arrays = results("sample")
    error = np.sqrt(mean * (1 - mean) / 4000)
    assert (np.abs(arrays["samples"].mean(axis=0) - mean) < 5.5 * error).all()
    assert ("swap_rates" in found) == ("--temperatures" in way)
    if "--temperatures" in way:
        assert len(found["swap_rates"]) == 2 and "swap rates: %.3f" % found["swap_rates"][0] in text
    if "--animate" in way:
        with Image.open(tmp_path / "sample.gif") as file:
            assert file.n_frames == 61
    else:
        assert not (tmp_path / "sample.gif").exists()


def test_sample_needs_no_data(run, model, tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "load", None)
    assert run("sample", "--sweeps", 2)[0] == 0


def test_sample_has_a_classifier(run, results):
    status, text, _ = run("sample", "--start", "images", "--sweeps", 1, "--classifier")
    found = results("sample")[0]
    assert status == 0 and sum(found["class_shares"]) == pytest.approx(1) and found["judge"]["accuracy"] > 0.95
    assert "\nclasses %.3f" % found["class_shares"][0] in text
    # The output says what is classified, and by which classifier.
    assert found["classified"] == "probabilities" and found["judge"]["kind"] == "pca-svm"
    assert "pixel probabilities, by a support vector machine on 50 principal components, trained on 1437" in text
    assert "%.1f %% of 360 test images right" % (100 * found["judge"]["accuracy"]) in text


def test_blank_images_are_reported_with_advice(run, results, figures, tmp_path):
    """One RBM draws nearly only the empty image. Another one draws other images."""
    for bias, blank in ((-9.0, True), (0.0, False)):
        model = save((np.full(64, bias), np.zeros(2), np.zeros((64, 2))), tmp_path / "some.params")
        for command in (["sample"], ["resample"]):
            status, text, _ = run(*command, "--sweeps", 4, "--count", 20, "--overwrite", model=model)
            assert status == 0
            assert ("of 20 drawn images are blank" in text and "--chains persistent" in text) == blank
            if command == ["sample"]:
                assert (figures[-1]._suptitle is not None) == blank
                assert (results("sample")[0]["blank_images"] > 15) == blank


@pytest.fixture
def joint_model(tmp_path):
    """RBM with 64 pixels and 10 label units.

    Each class has its own hidden unit. The unit of class k turns on the pixels of row k % 8.
    """
    weight = np.zeros((74, 10))
    for k in range(10):
        weight[8 * (k % 8) : 8 * (k % 8) + 8, k], weight[64 + k, k] = 20, 30
    arrays = dict(zip(NAMES, (np.r_[np.full(64, -10), np.zeros(10)], np.full(10, -15), weight)))
    arrays["aux_label_classes"] = np.arange(10)
    mx.nd.save(str(tmp_path / "joint.params"), {name: mx.nd.array(array) for name, array in arrays.items()})
    return tmp_path / "joint.params"


def test_sample_of_a_chosen_class(run, joint_model, tmp_path):
    arguments = ["--class", 3, 5, "--count", 9, "--sweeps", 3]
    for more in ([], ["--anneal"], ["--temperatures", 2], ["--judge"]):
        whole = run("sample", *arguments, *more, model=joint_model)
        assert whole[0] == 0, whole
        found = json.loads((tmp_path / "sample.json").read_text())["results"]
        with np.load(tmp_path / "sample.npz") as archive:
            rows = archive["samples"].reshape((9, 8, 8)).mean(axis=2) > 0.5
        asked = [3, 5, 3, 5, 3, 5, 3, 5, 3]
        assert all(row[k] for row, k in zip(rows, asked))
        # Chains at high temperature turn on other rows, too, and keep them.
        if not more or more == ["--judge"]:
            assert (rows.sum(axis=1) == 1).all()
    assert 0 <= found["as_asked"]["share"] <= 1 and "have the requested class" in whole[1]


@pytest.fixture
def figures(monkeypatch):
    """List of the figures that commands save, in order."""
    saved, save_figure = [], plots.save
    monkeypatch.setattr(plots, "save", lambda figure, path: (saved.append(figure), save_figure(figure, path)))
    return saved


@pytest.mark.parametrize("count", [1, 10, 64, 305])
def test_each_drawn_class_has_a_labelled_row(run, joint_model, figures, tmp_path, count):
    arguments = ["--class", *range(9, -1, -1), "--count", count, "--sweeps", 2]
    assert run("sample", *arguments, model=joint_model)[0] == 0
    figure = figures[-1]
    rows, columns = min(count, 10), {1: 8, 10: 1, 64: 6, 305: 10}[count]
    with np.load(tmp_path / "sample.npz") as archive:
        samples = archive["samples"].reshape((-1, 8, 8))
    for axes in figure.axes:
        assert "after 2 sweeps" in axes.get_title()
        labels = [label.get_text() for label in axes.get_yticklabels()]
        shape = np.shape(axes.images[0].get_array())
        assert shape == (9 * rows - 1, 9 * columns - 1)
        if count > 1:
            assert labels == [str(number) for number in range(9, 9 - rows, -1)]
    if count > 1:
        assert figure._suptitle.get_text() == "drawn as the class beside each row"
        shown = np.asarray(figure.axes[0].images[0].get_array())
        for row, column in ((0, 0), (rows - 1, columns - 1)):
            tile = shown[9 * row : 9 * row + 8, 9 * column : 9 * column + 8]
            # Samples have the ten classes in turn.
            np.testing.assert_array_equal(tile, samples[row + 10 * column])


def test_classes_are_chosen_by_name_or_number(run, joint_model, figures, tmp_path, monkeypatch):
    """A run on a folder of images records the names of classes. Drawing loads no data."""
    names = ["airplane", "2", *"abcdefg", "truck $1"]
    record = {"labels": True, "class_names": names, "image_shape": [4, 16]}
    (tmp_path / "arguments.json").write_text(json.dumps({"arguments": record}))
    joint_model.rename(tmp_path / "rbm.params")
    monkeypatch.setattr(datasets, "load", None)
    by_name = ["--class", "airplane", "truck $1", "2", "--count", 6, "--sweeps", 3]
    for model in (tmp_path, tmp_path / "rbm.params"):
        assert run("sample", *by_name, model=model)[0] == 0
        figure = figures[-1]
        assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["airplane", "truck $1", "2"]
        # Images have 4x16 pixels, not 8x8.
        assert np.shape(figure.axes[0].images[0].get_array()) == (3 * 5 - 1, 2 * 17 - 1)
        with np.load(tmp_path / "sample.npz") as archive:
            samples = archive["samples"]
        assert run("sample", "--class", 0, 9, "2", *by_name[4:], model=model)[0] == 0
        with np.load(tmp_path / "sample.npz") as archive:
            # 0 and 9 are numbers of classes, and "2" is a name.
            np.testing.assert_array_equal(archive["samples"], samples)
    status, _, errors = run("sample", "--class", "airplan", model=tmp_path)
    assert status == 2 and "no class airplan; the model's classes are airplane, 2, a, " in errors
    assert "(or 0 to 9)" in errors


def test_models_with_labels_in_other_commands(run, joint_model, tmp_path):
    assert run("sample", "--sweeps", 2, model=joint_model)[0] == 0
    assert run("weights", model=joint_model)[0] == 0
    for command in ("reconstruct", "inpaint", "resample", "score"):
        status, _, errors = run(command, model=joint_model)
        assert status == 2 and "has labels, which this command does not support" in errors


def test_classify_equals_the_posterior(run, joint_model, tmp_path):
    status, text, errors = run("classify", model=joint_model)
    assert (status, errors) == (0, "")
    assert_pictures(tmp_path, "classify.png")
    found = json.loads((tmp_path / "classify.json").read_text())["results"]
    with np.load(tmp_path / "classify.npz") as archive:
        log_posterior, labels = archive["log_posterior"], archive["labels"]
    data = datasets.load("digits")
    arrays = mx.nd.load(str(joint_model))
    a, b, w = (arrays[name].asnumpy().astype(float) for name in NAMES)
    images = np.repeat(to_visible(data.test_images, data.maximum).reshape((-1, 64)), 10, axis=0)
    joint = np.hstack([images, np.tile(np.eye(10), (len(labels), 1))])
    exact = (joint @ a + np.logaddexp(0, b + joint @ w).sum(axis=1)).reshape((-1, 10))  # -F(x, y)
    exact -= np.logaddexp.reduce(exact, axis=1, keepdims=True)
    np.testing.assert_allclose(log_posterior, exact, atol=1e-4)
    np.testing.assert_array_equal(labels, data.test_labels)
    # Not from `exact`: rounding could decide otherwise if two classes are tied.
    wrong = (log_posterior.argmax(axis=1) != labels).mean()
    assert found["error"] == pytest.approx(wrong) and ("error %.4f" % wrong) in text
    assert np.sum(found["confusion"]) == found["num_images"] == len(labels)
    assert np.trace(found["confusion"]) == round((1 - wrong) * len(labels))


# --- inpaint --------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", [[], ["--annealed"], ["--drop", "left", "--share", "0.25"], ["--drop", "random"]])
def test_inpaint_keeps_known_pixels(run, results, tmp_path, way):
    status, text, errors = run("inpaint", "--sweeps", 10, *way)
    assert (status, errors) == (0, "")
    found, arrays = results("inpaint")
    assert_pictures(tmp_path, "inpaint.png")
    missing = np.isnan(arrays["given"])
    share = 0.25 if "--share" in way else 0.5
    assert missing.mean() == found["share_missing"] == share and (missing == missing[0]).all()
    for name in ("visible_sample", "visible_prob_1", "visible_mean"):
        np.testing.assert_array_equal(arrays[name][~missing], arrays["original"][~missing])
    error = np.square(arrays["visible_mean"] - arrays["original"])[missing].mean()
    assert found["mean_squared_error"]["visible_mean"] == pytest.approx(error, rel=1e-5)
    mean = datasets.load("digits").train_images.reshape((-1, 64)).mean(axis=0) / 16
    error = np.square(mean - arrays["original"])[missing].mean()
    assert found["mean_squared_error"]["data_mean"] == pytest.approx(error, rel=1e-5)
    assert "%.4f" % error in text


def test_inpaint_with_a_given_mask(run, results, tmp_path):
    mask = np.ones((8, 8))
    mask[2, 3:5] = 0
    np.save(tmp_path / "mask.npy", mask)
    assert run("inpaint", "--mask", tmp_path / "mask.npy", "--sweeps", 2)[0] == 0
    missing = np.isnan(results("inpaint")[1]["given"])
    assert (missing == (mask.ravel() == 0)).all()


def test_inpaint_of_given_images(run, results, tmp_path, generator):
    images = generator.integers(0, 2, (5, 8, 8)).astype(float)
    images[1, 4:] = images[3, :, 0] = np.nan
    np.save(tmp_path / "mine.npy", images)
    assert run("inpaint", "--images", tmp_path / "mine.npy", "--sweeps", 3)[0] == 0
    found, arrays = results("inpaint")
    assert "mean_squared_error" not in found and found["num_images"] == 5
    known = ~np.isnan(images.reshape((5, 64)))
    np.testing.assert_array_equal(arrays["visible_prob_1"][known], images.reshape((5, 64))[known])
    assert np.isfinite(arrays["visible_prob_1"]).all()


def test_inpaint_drops_nan_and_masked_pixels(run, results, tmp_path):
    images, mask = np.zeros((3, 64)), np.ones(64)
    images[:, 0], mask[5] = np.nan, 0
    np.save(tmp_path / "mine.npy", images)
    np.save(tmp_path / "mask.npy", mask)
    arguments = ["--images", tmp_path / "mine.npy", "--mask", tmp_path / "mask.npy", "--sweeps", 2]
    assert run("inpaint", *arguments)[0] == 0
    assert (np.flatnonzero(np.isnan(results("inpaint")[1]["given"][0])) == [0, 5]).all()


def test_the_former_command_recall_gives_the_results_of_inpaint(run, results, tmp_path, capsys, model, monkeypatch):
    assert run("inpaint", "--sweeps", 2)[0] == 0
    monkeypatch.chdir(tmp_path)
    assert __main__.main(["recall", model, *DIGITS, "--sweeps", "2"]) == 0
    assert "written: recall.png, recall.json, recall.npz" in capsys.readouterr().out
    new, old = results("inpaint"), results("recall")
    assert new[0] == old[0]
    for name in new[1]:
        np.testing.assert_array_equal(new[1][name], old[1][name], err_msg=name)
    assert __main__.main(["recall", "/nowhere"]) == 2
    assert capsys.readouterr().err.startswith("python -m gluon_rbm recall: error: ")


def test_the_former_flag_judge_means_classifier(run, results):
    assert run("sample", "--start", "images", "--sweeps", 1, "--judge")[0] == 0
    assert results("sample")[0]["judge"]["accuracy"] > 0.95


def test_help_lists_the_new_names(capsys):
    for argv, listed in (["--help"], "inpaint "), (["recall", "--help"], "formerly: recall"):
        with pytest.raises(SystemExit) as caught:
            __main__.main(argv)
        text = capsys.readouterr().out
        assert caught.value.code == 0 and listed in text
    with pytest.raises(SystemExit):
        __main__.main(["--help"])
    lines = capsys.readouterr().out.splitlines()
    names = [line.split()[0] for line in lines if line.startswith("    ") and line[4] != " "]
    assert {"inpaint", "html-report"} < set(names) and not {"recall", "page"} & set(names)


# --- resample -------------------------------------------------------------------------------------


def test_resample_counts_classes_and_diagnoses_the_chains(run, results, rbm, tmp_path):
    status, text, errors = run("resample", "--sweeps", 2, 60, "--count", 100)
    assert (status, errors) == (0, "")
    found, arrays = results("resample")
    assert_pictures(tmp_path, "resample.png", "resample.chains.png")
    assert list(found["class_shares"]) == ["images", "after 2 sweeps", "after 60 sweeps"]
    assert all(sum(shares) == pytest.approx(1) for shares in found["class_shares"].values())
    assert found["as_at_the_start"]["images"] == 1 and found["judge"]["num_training_images"] == 1437
    assert arrays["free_energy"].shape == arrays["pixels_on"].shape == (100, 60)
    np.testing.assert_allclose(
        arrays["free_energy"][:, -1], reference.free_energies(*rbm, arrays["samples"]), rtol=1e-4, atol=1e-3
    )
    np.testing.assert_array_equal(arrays["pixels_on"][:, -1], arrays["samples"].sum(axis=1))
    for name, series in (("free_energy", arrays["free_energy"]), ("pixels_on", arrays["pixels_on"])):
        diagnosis = diagnostics.diagnose(series)._asdict()
        diagnosis["doubt"] = diagnosis.pop("warning")  # the name in JSON
        assert found["diagnostics"][name] == pytest.approx(diagnosis)
    assert arrays["classes"].shape == (100, 60)
    expected = diagnostics.autocorrelation_time_of_classes(arrays["classes"])
    in_json = expected if np.isfinite(expected) else None  # None if classes hardly change
    assert found["class_autocorrelation_time"] == pytest.approx(in_json)
    in_words = "unknown" if in_json is None else "%.4g" % in_json
    assert f"autocorrelation time of the class: {in_words} sweeps" in text


def test_chains_that_are_too_short_are_reported(run, tmp_path):
    """The RBM has two modes, all pixels off and all on, and no chain leaves its mode."""
    model = save((np.full(64, -20.0), np.array([-640.0]), np.full((64, 1), 40.0)), tmp_path / "modes.params")
    status, text, _ = run("resample", "--sweeps", 8, "--count", 4, model=model)
    assert status == 0 and "TOO SHORT TO TRUST" in text and "give more --sweeps" in text


# --- reconstruct ----------------------------------------------------------------------------------


def test_reconstruct_draws_each_layer_once(run, results, rbm, tmp_path):
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
    # The mean of p(v | h) over p(h | v) is known by enumeration of the 2^5 hidden states.
    a, b, w = rbm
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


# --- weights --------------------------------------------------------------------------------------


def test_weights_and_dead_units(run, results, rbm, tmp_path):
    status, text, errors = run("weights")
    assert (status, errors) == (0, "")
    found, arrays = results("weights")
    assert_pictures(tmp_path, "weights.png", "weights.units.png")
    assert found["dead_units"] == [4] and "1 of 5 hidden units are dead" in text
    probability = reference.sigmoid(rbm[1] + all_test_images() @ rbm[2])
    np.testing.assert_allclose(arrays["hidden_mean"], probability.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(arrays["hidden_standard_deviation"], probability.std(axis=0), atol=1e-5)
    assert found["interaction_weight"]["highest"] == pytest.approx(rbm[2].max(), rel=1e-6)


# --- score ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_score_compares_free_energies(run, results, rbm, tmp_path):
    status, text, errors = run("score", "--against", "bars-and-stripes", "--resize")
    assert (status, errors) == (0, "")
    found, arrays = results("score")
    assert_pictures(tmp_path, "score.png")
    assert list(found["auc"]) == ["uniform noise", "shuffled pixels", "letters", "bars-and-stripes"]
    energies = reference.free_energies(*rbm, all_test_images())
    np.testing.assert_allclose(np.sort(arrays["set_0"]), np.sort(energies), rtol=1e-5, atol=1e-5)
    for index, (name, auc) in enumerate(found["auc"].items(), 1):
        own, others = arrays["set_0"][:, None], arrays["set_%d" % index]
        assert auc == pytest.approx(((own < others) + (own == others) / 2).mean())
        assert re.search(r"%s +free energy .* AUC %.4f" % (name, auc), text)
    assert [found["free_energy"][name]["num_images"] for name in ("letters", "training images")] == [312, 1437]
    train = datasets.load("digits").train_images.reshape((-1, 64)) / 16
    gap = energies.mean() - reference.free_energies(*rbm, train).mean()
    assert found["gap"]["mean"] == pytest.approx(gap, abs=1e-4)


def test_score_of_a_single_image(run, results, tmp_path):
    # Two training images and one test image.
    np.save(tmp_path / "one.npy", np.zeros((3, 64), np.float32))
    assert run("score", "--dataset", tmp_path / "one.npy")[0] == 0
    name = "test minus training images, computed here"
    assert results("score")[0]["gap"] == {"name": name, "mean": 0, "standard_error": None}


@pytest.mark.slow
def test_score_of_thresholded_pixels(run, results):
    assert run("score", "--binarize", "threshold", "--count", 50)[0] == 0
    found = results("score")[0]["free_energy"]["digits, test"]
    assert found["num_images"] == 50 and found["standard_error"] > 0


@pytest.mark.slow
def test_the_gap_of_a_run_by_epoch(run, results, figures, rbm, tmp_path):
    from gluon_rbm.cli import score
    from gluon_rbm.training.run_records import read_metrics

    save(rbm, tmp_path / "rbm.params")
    columns = "epoch,train_log_likelihood,train_standard_error,test_log_likelihood,test_standard_error"
    (tmp_path / "metrics.csv").write_text(columns + "\n1,-5,0.3,-6,0.4\n2,,,,\n3,-4,0.3,-6.5,0.4\n")
    assert score._gap_by_epoch(read_metrics(tmp_path)) == ("test", [(1, 1, 0.5), (3, 2.5, 0.5)])
    for part in ("test", "train"):
        status, text, _ = run("score", "--part", part, model=tmp_path)
        assert status == 0
        # The printed gap equals the plotted one, and has a name.
        name = "test minus training images, as the run monitored them, epoch 3 (metrics.csv)"
        assert results("score")[0]["gap"] == {"name": name, "mean": 2.5, "standard_error": 0.5}
        assert "free-energy gap, %s: 2.50 +- 0.50 nats per image" % name in text
        (line, *_) = figures[-1].axes[2].lines
        assert line.get_xydata().tolist() == [[1, 1], [3, 2.5]]
        assert figures[-1].axes[2].get_ylabel() == "F(test) - F(training) (nats per image)"
    (tmp_path / "metrics.csv").write_text("epoch\nfirst\n")
    status, _, errors = run("score", model=tmp_path)
    assert status == 2 and "metrics.csv in" in errors


def test_held_out_images_of_the_run_are_no_training_images(run, results, model, rbm, tmp_path):
    record = {"arguments": {"dataset": "digits", "held_out": 100}}
    (tmp_path / "arguments.json").write_text(json.dumps(record))
    for part in ("test", "train"):
        assert run("score", "--part", part, "--count", "20")[0] == 0
        found, arrays = results("score")
        assert found["free_energy"]["training images"]["num_images"] == 1337
        train = datasets.load("digits").train_images[:1337].reshape((-1, 64)) / 16
        energies = np.sort(reference.free_energies(*rbm, train))  # images come in random order
        np.testing.assert_allclose(np.sort(arrays["set_4"]), energies, rtol=1e-5, atol=1e-5)
    assert run("score", "--part", "held-out")[0] == 0
    held_out = datasets.load("digits").train_images[1337:].reshape((-1, 64)) / 16
    energies = np.sort(reference.free_energies(*rbm, held_out))
    np.testing.assert_allclose(np.sort(results("score")[1]["set_0"]), energies, rtol=1e-5, atol=1e-5)
    # The run held out no images of this data set.
    np.save(tmp_path / "other.npy", np.zeros((3, 64), np.float32))
    assert run("score", "--dataset", tmp_path / "other.npy")[0] == 0
    assert results("score")[0]["free_energy"]["training images"]["num_images"] == 2


# --- exercise -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_exercise_makes_every_picture(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(binary_pictures, "SHOWCASE_SWEEPS", 10)
    folder = tmp_path / "exercise"
    arguments = ["exercise", *DIGITS, "--hidden", 3, 4, "--num-epoch", 2, "--sweeps", 4, 20, "--output-dir", folder]
    arguments = [str(argument) for argument in arguments]
    assert __main__.main(arguments) == 0
    report = json.loads((folder / "exercise.json").read_text())
    for num_hidden in (3, 4):
        run = folder / ("hidden-%d" % num_hidden)
        recorded = json.loads((run / "arguments.json").read_text())["arguments"]
        expected = {"num_hidden": num_hidden, "k": 1, "batch_size": 64, "learning_rate": 6.4, "momentum": 0.0}
        expected.update(binarize="sample", chains="data", initial_weights="uniform", initial_visible_bias="uniform")
        assert {name: recorded[name] for name in expected} == expected
        assert_pictures(run, *(name + ".png" for name in COMMANDS), "weights.units.png", "resample.chains.png")
        assert report[str(num_hidden)]["seconds_an_epoch"] > 0 and report[str(num_hidden)]["last_epoch"]["epoch"] == 2
    text, before = capsys.readouterr().out, (run / "rbm.params").read_bytes()
    # The learning rate is the homework's, for the mean gradient of a batch.
    assert "3 hidden units: CD-1, batches of 64, learning rate 0.1 on the mean gradient of a batch" in text
    assert "native engine, learning rate 0.1 on the mean gradient of a batch (6.4 / 64)" in text or "mxnet" in text
    table = report["4"]["table"]
    found = {name: json.loads((run / (name + ".json")).read_text())["results"] for name in COMMANDS}
    assert table["mean squared error of a reconstructed pixel"] == found["reconstruct"]["mean_squared_error"]
    assert table["AUC against letters"] == found["score"]["auc"]["letters"]
    as_before = found["resample"]["as_at_the_start"]["after 20 sweeps"]
    assert table["classes after 20 sweeps that are as at the start"] == "%.0f %%" % (100 * as_before)
    assert all("    %s: " % name in text for name in table)
    assert "4 hidden units: %.2f s per epoch" % report["4"]["seconds_an_epoch"] in text
    assert __main__.main(arguments) == 0  # trained RBMs are not trained again
    assert (run / "rbm.params").read_bytes() == before


def test_wrong_arguments_of_the_exercise_are_refused(tmp_path, capsys):
    np.save(tmp_path / "images.npy", np.zeros((20, 4, 4)))
    arguments = [
        "exercise",
        "--no-cuda",
        "--dataset",
        str(tmp_path / "images.npy"),
        "--output-dir",
        str(tmp_path / "x"),
    ]
    assert __main__.main(arguments) == 2
    assert "have no labels" in capsys.readouterr().err and not (tmp_path / "x").exists()
    with pytest.raises(SystemExit) as caught:  # the training script prints the error
        __main__.main(["exercise", *DIGITS, "--output-dir", "/proc/nowhere"])
    assert caught.value.code == 2 and capsys.readouterr().err.count("\n") == 1


# --- Bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--output", "/nowhere/picture"], "choose another --output"),
        (["--output", "/tmp/"], "--output '/tmp/' is not a file name"),
        (["--output", ""], "--output '' is not a file name"),
        (
            ["--dataset", "bars-and-stripes"],
            "images of bars-and-stripes have 16 pixels, but the model has 64 visible units",
        ),
        (["--dataset", "nothing"], "unknown data set 'nothing'"),
        (["--part", "held-out"], "but digits has 1437"),
    ],
)
def test_wrong_arguments_of_all_commands_are_refused(run, tmp_path, command, arguments, message):
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
def test_a_missing_model_is_refused(run, command):
    status, _, errors = run(command, model="/nowhere")
    assert status == 2 and "/nowhere cannot be read" in errors and errors.count("\n") == 1


@pytest.mark.parametrize(
    "command, arguments, message",
    [
        ("reconstruct", ["--count", "361"], "digits has 360 images in part test"),
        ("sample", ["--class", "3"], "the model has no labels"),
        ("classify", [], "has no labels; train a model with --labels"),
        ("sample", ["--anneal", "--temperatures", "3"], "--anneal, --temperatures cannot be combined"),
        ("sample", ["--start", "base", "--dataset", "bars-and-stripes"], "have 16 pixels"),
        ("inpaint", ["--share", "0"], "no pixel is missing"),
        ("inpaint", ["--mask", "/nowhere"], "/nowhere cannot be read as an array"),
        ("inpaint", ["--mask", "MASK"], r"has the shape \(4, 4\), but images have \(8, 8\)"),
        ("inpaint", ["--mask", "GREY"], "has values other than 0 and 1"),
        ("inpaint", ["--images", "EMPTY"], "holds no images"),
        ("inpaint", ["--images", "MASK"], r"shape \(4, 4\)"),
        ("resample", ["--sweeps", "10", "5"], "--sweeps 10 5 must increase"),
        ("resample", ["--sweeps", "3"], "3 sweeps are too few"),
        ("resample", ["--count", "400"], "digits has 360 images"),
        ("score", ["--against", "/nowhere"], "there is no /nowhere"),
        ("score", ["--against", "bars-and-stripes"], r"shape \(4, 4\), but \(8, 8\) is needed; give --resize"),
        ("score", ["--against", "EMPTY"], "holds no images"),
    ],
)
def test_wrong_arguments_of_one_command_are_refused(run, tmp_path, command, arguments, message):
    files = {"EMPTY": tmp_path / "empty", "MASK": tmp_path / "mask.npy", "GREY": tmp_path / "grey.npy"}
    files["EMPTY"].mkdir()
    np.save(files["MASK"], np.ones((4, 4)))
    np.save(files["GREY"], np.full((8, 8), 0.5))
    status, text, errors = run(command, *(files.get(part, part) for part in arguments))
    assert status == 2 and text == "" and errors.count("\n") == 1
    assert re.search(message, errors)
    assert not (tmp_path / (command + ".png")).exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["sample", "--sweeps", "0"],
        ["sample", "--start", "ones"],
        ["sample", "--anneal", "2"],
        ["inpaint", "--share", "1.5"],
        ["resample", "--count", "1"],
    ],
)
def test_arguments_that_do_not_parse_are_refused(run, arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        run(*arguments)
    assert caught.value.code == 2 and capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("command", [*COMMANDS, "exercise"])
def test_help(command, capsys):
    with pytest.raises(SystemExit) as caught:
        __main__.main([command, "--help"])
    assert caught.value.code == 0 and "--seed" in capsys.readouterr().out
