"""The command `python -m gluon_rbm likelihood` as a user runs it."""

import json
import os
import re
import signal
import stat
import subprocess
import sys

import numpy as np
import pytest
import reference

from gluon_rbm import __main__
from gluon_rbm.backend.framework import mx
from gluon_rbm.data import datasets, splits

BARS = ("--dataset", "bars-and-stripes")


def save(rbm, path):
    names = ("visible_layer_bias", "hidden_layer_bias", "interaction_weight")
    mx.nd.save(str(path), {name: mx.nd.array(array) for name, array in zip(names, rbm)})
    return str(path)


@pytest.fixture
def rbm(generator):
    """An RBM of 4x4 pixels, small enough for enumeration."""
    return reference.random_rbm(16, 4, generator, scale=0.5)


@pytest.fixture
def model(rbm, tmp_path):
    return save(rbm, tmp_path / "rbm.params")


@pytest.fixture
def likelihood(capsys):
    """A function that runs the command. It returns the exit status, the output and the errors."""

    def run(*arguments):
        status = __main__.main(["likelihood", *map(str, arguments)])
        return (status, *capsys.readouterr())

    return run


def log_likelihoods(rbm, images=None):
    images = datasets.load("bars-and-stripes").test_images.reshape((30, 16)) if images is None else images
    return -reference.free_energies(*rbm, images.astype(float)) - exact_log_z(*rbm)


def exact_log_z(a, b, w):
    hidden = reference.states(len(b))
    return reference.log_sum_exp(hidden @ b + np.logaddexp(0, a + hidden @ w.T).sum(axis=1))


AIS = ("--method", "ais", "--distributions", 300, "--chains", 50)


def test_small_rbms_are_enumerated(likelihood, model, rbm, tmp_path):
    file = tmp_path / "report.json"
    status, text, errors = likelihood(model, *BARS, "--json", file, "--pseudo-likelihood", "exact")
    assert (status, errors) == (0, "")
    whole = json.loads(file.read_text())
    assert whole["method"]["name"] == "enumeration" and whole["log_z"]["converged"]
    # The tolerance is that of parameters in float32.
    assert whole["log_z"]["estimate"] == pytest.approx(exact_log_z(*rbm), rel=1e-7)
    exact = log_likelihoods(rbm)
    found = whole["log_likelihood"]
    assert found["kind"] == "log-likelihood"
    assert found["mean"] == found["pessimistic"] == pytest.approx(exact.mean(), rel=1e-5)
    assert found["standard_error"] == pytest.approx(exact.std(ddof=1) / np.sqrt(30), rel=1e-4)
    assert "%.2f +- %.2f nats per image" % (found["mean"], found["standard_error"]) in text
    assert text.rstrip().endswith("exact") and "enumeration" in text
    assert whole["data"]["num_images"] == 30 and whole["versions"]["mxnet"]
    assert whole["pseudo_log_likelihood"]["kind"] == "exact" and whole["pseudo_log_likelihood"]["mean"] < 0


@pytest.mark.parametrize("method", ["enumeration", "ais"])
def test_a_file_of_another_kind_is_refused_as_state_and_kept(likelihood, model, tmp_path, method):
    file = tmp_path / "checkpoint.npz"
    np.savez(file, weights=np.ones(3))
    before = file.read_bytes()
    status, _, errors = likelihood(model, *BARS, "--method", method, "--state", file)
    assert status == 2 and "another kind of file" in errors
    assert file.read_bytes() == before


@pytest.mark.parametrize("start", ["exact", pytest.param("chains", marks=pytest.mark.slow)])
@pytest.mark.parametrize("schedule", ["linear", "adaptive"])
def test_the_bracket_in_text_and_json(likelihood, model, rbm, tmp_path, start, schedule):
    file, settings = tmp_path / "report.json", ("--schedule", schedule, "--reverse-start", start)
    status, text, errors = likelihood(model, *BARS, *AIS, *settings, "--json", file)
    assert (status, errors) == (0, "")
    whole = json.loads(file.read_text())
    method, log_z, found = whole["method"], whole["log_z"], whole["log_likelihood"]
    assert (method["schedule"], method["reverse_start"], method["base_rate"]) == (schedule, start, "data")
    for side in ("forward", "reverse"):
        # With 50 chains of 300 distributions, log Z errs by less than 0.02 nats for such RBMs.
        assert log_z[side]["estimate"] == pytest.approx(exact_log_z(*rbm), abs=0.1)
        counts = log_z["mixture"] if start == "chains" else log_z[side]
        assert log_z["low"] <= counts["low"] < counts["high"] <= log_z["high"]
        assert 25 < log_z[side]["effective_sample_size"] <= 50
    assert found["mean"] == pytest.approx(log_likelihoods(rbm).mean(), abs=0.1)
    assert found["mean"] - found["pessimistic"] == pytest.approx(log_z["high"] - log_z["estimate"])
    counts = "importance sampling" if start == "chains" else "forward and reverse AIS"
    assert log_z["converged"] and "converged: the interval of log Z by %s is" % counts in text
    assert bool(log_z.get("confirmed_by")) == (start == "chains")
    assert ("an estimate, not a bound" in text) == (start == "chains")
    assert whole["pseudo_log_likelihood"]["kind"] == "stochastic"


def test_a_start_from_the_images_is_called_a_diagnostic(likelihood, model):
    status, text, _ = likelihood(model, *BARS, *AIS, "--reverse-start", "data")
    assert status == 0 and "from the images: a diagnostic" in text and "NOT CONVERGED" in text


def test_forward_alone(likelihood, model, tmp_path):
    file = tmp_path / "report.json"
    status, text, _ = likelihood(model, *BARS, *AIS, "--no-reverse", "--json", file)
    assert status == 0 and "not checked: forward AIS alone" in text and "reverse" not in text
    assert json.loads(file.read_text())["log_z"]["converged"] is None


def test_too_few_chains_for_an_interval(likelihood, model):
    status, text, _ = likelihood(model, *BARS, *AIS, "--chains", 1)
    assert status == 0 and "unbounded at worst: with log Z unbounded, the upper end of its interval" in text
    assert "NOT CONVERGED: forward: only 1 chains, too few for an interval" in text


# This program runs the command and waits once its state is on disk. The state is written when
# forward AIS is done, after a third of the work.
STANDS_STILL = """
import os, sys, time
from gluon_rbm import __main__
from gluon_rbm.likelihood.state_file import StateFile
keep = StateFile.keep

def keep_and_stop(self, *arguments, **done):
    keep(self, *arguments, **done)
    if os.path.exists(self.path):
        print("it is on disk", flush=True)
        time.sleep(1000)

StateFile.keep = keep_and_stop
sys.exit(__main__.main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_a_killed_run_continues_to_the_same_result(likelihood, model, tmp_path):
    arguments = [model, *BARS, *AIS, "--reverse-start", "chains", "--distributions", 600, "--chains", 10]
    state, reports = tmp_path / "state", [tmp_path / "one.json", tmp_path / "other.json"]
    command = [sys.executable, "-c", STANDS_STILL, "likelihood", *map(str, arguments), "--state", str(state)]
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(path for path in sys.path if path))
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert any(line == "it is on disk\n" for line in process.stdout)
        finally:
            process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL and state.exists()
    assert likelihood(*arguments, "--state", state, "--json", reports[0])[0] == 0
    # The state is no longer needed, so its file is removed.
    assert sorted(file.name for file in tmp_path.iterdir()) == ["one.json", "rbm.params"]
    assert likelihood(*arguments, "--json", reports[1])[0] == 0
    assert reports[0].read_text() == reports[1].read_text()


def test_the_last_training_images_are_held_out(likelihood, monkeypatch, generator, tmp_path):
    monkeypatch.setattr(splits, "_HELD_OUT", 30)
    rbm, file = reference.random_rbm(64, 3, generator, scale=0.1), tmp_path / "report.json"
    digits = ("--dataset", "digits", "--binarize", "threshold", "--part", "held-out")
    assert likelihood(save(rbm, tmp_path / "rbm.params"), *digits, "--json", file)[0] == 0
    images = datasets.load("digits").train_images[-30:].reshape((30, 64)) / 16 >= 0.5
    found = json.loads(file.read_text())["log_likelihood"]["mean"]
    assert found == pytest.approx(log_likelihoods(rbm, images).mean(), rel=1e-5)


def test_the_setting_of_the_original_example_is_not_converged(likelihood, model):
    original = (
        "--method",
        "ais",
        "--no-reverse",
        "--distributions",
        10,
        "--chains",
        1000,
        "--sweeps",
        10,
        "--base-rate",
        "model",
    )
    status, text, _ = likelihood(model, *BARS, *original)
    assert status == 0
    assert "NOT CONVERGED: only 10 intermediate distributions" in text and "own visible bias" in text


def test_grey_pixels_give_a_score_and_drawn_pixels_follow_their_seed(likelihood, generator, tmp_path):
    model = save(reference.random_rbm(64, 3, generator, scale=0.1), tmp_path / "rbm.params")
    file = tmp_path / "report.json"

    def score(*arguments):
        status, text, _ = likelihood(model, "--dataset", "digits", "--json", file, "--overwrite", *arguments)
        assert status == 0
        return text, json.loads(file.read_text())["log_likelihood"]

    text, grey = score()
    assert grey["kind"] == "grey-pixel score" and "not the logarithm of a probability" in text
    text, drawn = score("--binarize", "sample", "--binarize-seed", 3)
    assert drawn["kind"] == "log-likelihood" and "drawn from their grey values, seed 3" in text
    assert score("--binarize", "sample", "--binarize-seed", 3)[1] == drawn
    assert score("--binarize", "sample", "--binarize-seed", 4)[1] != drawn
    assert score("--binarize", "threshold")[1]["kind"] == "log-likelihood"


def write_binarization(kind, folder, images):
    path = folder / ("fixed." + kind)
    if kind == "npy":
        np.save(path, images)
    else:
        path.write_text("".join(" ".join("%d" % pixel for pixel in image.ravel()) + "\n" for image in images))
    return path


@pytest.mark.parametrize("kind", ["npy", "amat"])
def test_a_fixed_binarization(likelihood, model, rbm, generator, tmp_path, kind):
    images = generator.integers(0, 2, (30, 4, 4))
    file, fixed = tmp_path / "report.json", write_binarization(kind, tmp_path, images)
    status, text, _ = likelihood(model, *BARS, "--binarize", fixed, "--json", file)
    assert status == 0 and "from the file %s" % fixed in text
    expected = log_likelihoods(rbm, images.reshape((30, 16))).mean()
    assert json.loads(file.read_text())["log_likelihood"]["mean"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    "images, message",
    [
        (np.zeros((29, 16)), r"shape \(29, 16\), but 30 images of 16 pixels are needed"),
        (np.zeros((30, 17)), r"shape \(30, 17\)"),
        (np.zeros(480), r"shape \(480,\)"),
        (np.full((30, 16), 0.5), "values other than 0 and 1"),
        (np.full((30, 16), np.nan), "values other than 0 and 1"),
        (np.ones((30, 16), complex), "values other than 0 and 1"),
    ],
)
def test_a_fixed_binarization_that_does_not_fit_is_refused(likelihood, model, tmp_path, images, message):
    status, _, errors = likelihood(model, *BARS, "--binarize", write_binarization("npy", tmp_path, images))
    assert status == 2 and re.search(message, errors) and errors.count("\n") == 1


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["/nowhere", *BARS], "/nowhere cannot be read .No such file or directory.; give a run folder"),
        ([__file__, *BARS], "not whole, or another kind of file"),
        (["MODEL", "--dataset", "digits"], "images of digits have 64 pixels, but the model has 16 visible units"),
        (["MODEL", *BARS, "--part", "held-out"], "but bars-and-stripes has 30"),
        (
            ["MODEL", *BARS, "--binarize", "twice"],
            "twice is not a file of binary images; give one, or binarize by none,",
        ),
        (["MODEL", *BARS, "--binarize", __file__], "not a file of binary images"),
        (["MODEL", *BARS, *AIS, "--state", "/nowhere/state"], "choose another --state"),
        (["MODEL", *BARS, *AIS, "--state", __file__], "is not a whole state file; choose another --state"),
        (["MODEL", *BARS, "--json", "/nowhere/report.json"], "choose another --json"),
        (["MODEL", *BARS, "--json", "/"], "it is a folder"),
        (["MODEL", *BARS, "--json", "MODEL"], "is also MODEL or --state; choose another --json"),
        (["MODEL", *BARS, *AIS, "--json", "same", "--state", "same"], "is also MODEL or --state"),
    ],
)
def test_unusable_arguments_are_refused(likelihood, model, arguments, message):
    status, text, errors = likelihood(*(model if argument == "MODEL" else argument for argument in arguments))
    assert status == 2 and "log Z" not in text
    assert errors.startswith("python -m gluon_rbm likelihood: error: ") and errors.count("\n") == 1
    assert re.search(message, errors)


def test_a_device_is_not_replaced(likelihood, model, tmp_path):
    os.mkfifo(tmp_path / "pipe")  # it stands for a device, which only root can make
    status, _, errors = likelihood(model, *BARS, "--json", tmp_path / "pipe")
    assert status == 2 and "it is no ordinary file; choose another --json" in errors.replace(")", "")
    assert stat.S_ISFIFO(os.stat(tmp_path / "pipe").st_mode)


def test_grey_images_cannot_start_reverse_ais(likelihood, generator, tmp_path):
    model = save(reference.random_rbm(64, 3, generator, scale=0.1), tmp_path / "rbm.params")
    status, _, errors = likelihood(model, "--dataset", "digits", *AIS, "--reverse-start", "data")
    assert status == 2 and "needs binary images" in errors


def test_parameters_that_are_not_finite(likelihood, rbm, tmp_path):
    rbm[2][3, 1] = np.nan
    status, _, errors = likelihood(save(rbm, tmp_path / "rbm.params"), *BARS)
    assert status == 2 and "interaction_weight holds values that are not finite" in errors


@pytest.mark.parametrize("arguments", [(), AIS])
def test_parameters_that_are_too_large_to_add_up(likelihood, tmp_path, arguments):
    model = save([np.full(16, 3e38), np.full(4, 3e38), np.full((16, 4), 3e38)], tmp_path / "rbm.params")
    status, text, errors = likelihood(model, *BARS, *arguments)
    assert status == 2 and not text and "a score is not finite" in errors and errors.count("\n") == 1


def test_parameters_that_are_not_floats(likelihood, tmp_path):
    names = ("visible_layer_bias", "hidden_layer_bias", "interaction_weight")
    arrays = [mx.nd.ones(shape, dtype="int32") for shape in ((16,), (4,), (16, 4))]
    mx.nd.save(str(tmp_path / "rbm.params"), dict(zip(names, arrays)))
    status, _, errors = likelihood(tmp_path / "rbm.params", *BARS)
    assert status == 2 and "visible_layer_bias holds int32 numbers; save floats" in errors


@pytest.mark.parametrize("arguments", [[], ["likelihood"], ["likelihood", "m", "--chains", "0"], ["what"]])
def test_arguments_that_do_not_parse(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        __main__.main(arguments)
    assert caught.value.code == 2 and capsys.readouterr().err.count("\n") == 1
