"""The command `python -m gluon_rbm likelihood` as a user runs it."""

import json
import re

import numpy as np
import pytest
import reference

from gluon_rbm import __main__, datasets
from gluon_rbm.framework import mx

BARS = ("--dataset", "bars-and-stripes")


def save(machine, path):
    names = ("visible_layer_bias", "hidden_layer_bias", "interaction_weight")
    mx.nd.save(str(path), {name: mx.nd.array(array) for name, array in zip(names, machine)})
    return str(path)


@pytest.fixture
def machine(generator):
    """Of 4x4 pixels, known by enumeration."""
    return reference.random_machine(16, 4, generator, scale=0.5)


@pytest.fixture
def model(machine, tmp_path):
    return save(machine, tmp_path / "rbm.params")


@pytest.fixture
def likelihood(capsys):
    """Run the command: its exit status, what it printed, and its errors."""

    def run(*arguments):
        status = __main__.main(["likelihood", *map(str, arguments)])
        return (status, *capsys.readouterr())

    return run


def exact_log_z(a, b, w):
    hidden = reference.states(len(b))
    return reference.log_sum_exp(hidden @ b + np.logaddexp(0, a + hidden @ w.T).sum(axis=1))


def test_the_report_in_text_and_json(likelihood, model, machine, tmp_path):
    file = tmp_path / "report.json"
    status, text, errors = likelihood(model, *BARS, "--distributions", 300, "--chains", 50, "--json", file)
    assert (status, errors) == (0, "")
    report = json.loads(file.read_text())
    log_z = report["log_z"]["forward"]
    # 50 chains of 300 distributions: the error of log Z is below 0.02 nats for such machines.
    assert log_z["estimate"] == pytest.approx(exact_log_z(*machine), abs=0.1)
    assert log_z["low"] < log_z["estimate"] < log_z["high"] and 10 < log_z["effective_sample_size"] <= 50
    images = datasets.load("bars-and-stripes").test_images.reshape((30, 16)).astype(float)
    exact = -reference.free_energies(*machine, images) - exact_log_z(*machine)
    found = report["log_likelihood"]
    assert found["mean"] == pytest.approx(exact.mean(), abs=0.1)
    assert found["standard_error"] == pytest.approx(exact.std(ddof=1) / np.sqrt(30), rel=1e-4)
    assert found["pessimistic"] < found["mean"] < found["optimistic"] and found["kind"] == "log-likelihood"
    assert report["converged"] and "nothing speaks against it" in text
    assert "%.2f +- %.2f nats per image" % (found["mean"], found["standard_error"]) in text
    assert report["data"]["num_images"] == 30 and report["versions"]["mxnet"]


def test_the_documented_originals_setting_is_not_converged(likelihood, model):
    original = ("--distributions", 10, "--chains", 1000, "--sweeps", 10, "--base-rate", "model")
    status, text, _ = likelihood(model, *BARS, *original)
    assert status == 0
    assert "NOT CONVERGED: only 10 intermediate distributions" in text and "own visible bias" in text


def test_grey_pixels_are_a_score_and_drawn_ones_follow_their_seed(likelihood, generator, tmp_path):
    model = save(reference.random_machine(64, 3, generator, scale=0.1), tmp_path / "rbm.params")
    file = tmp_path / "report.json"

    def report(*arguments):
        fast = ("--dataset", "digits", "--distributions", 5, "--chains", 3, "--json", file)
        status, text, _ = likelihood(model, *fast, *arguments)
        assert status == 0
        return text, json.loads(file.read_text())["log_likelihood"]

    text, grey = report()
    assert grey["kind"] == "grey-pixel score" and "not the logarithm of a probability" in text
    text, drawn = report("--binarize", "sample", "--binarize-seed", 3)
    assert drawn["kind"] == "log-likelihood" and "drawn from their grey values (seed 3)" in text
    assert report("--binarize", "sample", "--binarize-seed", 3)[1] == drawn
    assert report("--binarize", "sample", "--binarize-seed", 4)[1] != drawn
    assert report("--binarize", "threshold")[1]["kind"] == "log-likelihood"


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["/nowhere", *BARS], "/nowhere cannot be read .No such file or directory.; name a run folder"),
        ([__file__, *BARS], "not whole, or another kind of file"),
        (["MODEL", "--dataset", "digits"], "images of digits have 64 pixels, the model 16 visible units"),
        (["MODEL", *BARS, "--part", "held-out"], "of which bars-and-stripes has 30"),
        (["MODEL", *BARS, "--binarize", "twice"], "unknown way to binarize 'twice'"),
        (["MODEL", *BARS, "--json", "/nowhere/report.json"], "choose another --json"),
        (["MODEL", *BARS, "--json", "/"], "it is a folder"),
    ],
)
def test_what_cannot_be_used(likelihood, model, arguments, message):
    status, text, errors = likelihood(*(model if argument == "MODEL" else argument for argument in arguments))
    assert status == 2 and "log Z" not in text
    assert errors.startswith("python -m gluon_rbm likelihood: error: ") and errors.count("\n") == 1
    assert re.search(message, errors)


def test_parameters_that_are_not_finite(likelihood, machine, tmp_path):
    machine[2][3, 1] = np.nan
    status, _, errors = likelihood(save(machine, tmp_path / "rbm.params"), *BARS)
    assert status == 2 and "interaction_weight holds values that are not finite" in errors


@pytest.mark.parametrize("arguments", [[], ["likelihood"], ["likelihood", "m", "--chains", "0"], ["what"]])
def test_arguments_that_do_not_parse(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        __main__.main(arguments)
    assert caught.value.code == 2 and capsys.readouterr().err.count("\n") == 1
