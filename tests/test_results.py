"""Results of commands go beside the model or into a given file, and never replace other results."""

import json
import os
import shutil

import numpy as np
import pytest
import reference

from gluon_rbm import __main__
from gluon_rbm.backend.framework import mx

NAMES = ("visible_layer_bias", "hidden_layer_bias", "interaction_weight")
SHORT = {"inpaint": ["--sweeps", "2"], "resample": ["--sweeps", "4"], "sample": ["--sweeps", "2"]}


@pytest.fixture
def folder(tmp_path, generator, monkeypatch):
    """A folder with a model of 64 pixels, and an empty current folder."""
    (tmp_path / "run").mkdir()
    (tmp_path / "here").mkdir()
    arrays = zip(NAMES, reference.random_rbm(64, 3, generator, scale=0.1))
    mx.nd.save(str(tmp_path / "run" / "rbm.params"), {name: mx.nd.array(array) for name, array in arrays})
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "run"


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("command", ["sample", "reconstruct", "inpaint", "resample", "weights", "score"])
def test_results_lie_beside_the_model_under_a_new_name(folder, command):
    given = ["--dataset", "digits", "--no-cuda", *SHORT.get(command, [])]
    assert __main__.main([command, str(folder), *given]) == 0
    first = files(folder)
    assert {command + ".json", command + ".npz", command + ".png"} < set(first)
    assert __main__.main([command, str(folder / "rbm.params"), *given, "--seed", "3"]) == 0
    second = files(folder)
    assert {name: second[name] for name in first} == first  # the first results are still there
    assert {name.replace(command, command + "-2") for name in first} - {"rbm.params"} < set(second)
    assert json.loads(second[command + "-2.json"])["arguments"]["seed"] == 3
    assert os.listdir(os.curdir) == []
    assert __main__.main([command, str(folder), *given, "--seed", "4", "--overwrite"]) == 0
    assert set(files(folder)) == set(second)
    assert json.loads(files(folder)[command + ".json"])["arguments"]["seed"] == 4


def test_a_copy_of_a_run_is_left_alone(folder):
    """A folder with arguments.json and no checkpoint: results go into the current folder."""
    (folder / "arguments.json").write_text('{"arguments": {"dataset": "digits"}}')
    before = files(folder)
    assert __main__.main(["reconstruct", str(folder), "--no-cuda"]) == 0
    assert files(folder) == before
    assert sorted(os.listdir(os.curdir)) == ["reconstruct.json", "reconstruct.npz", "reconstruct.png"]
    (folder / "checkpoint.npz").touch()
    assert __main__.main(["reconstruct", str(folder), "--no-cuda"]) == 0
    assert "reconstruct.png" in files(folder)


def chosen(folder, target):
    """The arguments of each command that can write into the file `target`, by its name."""
    np.savez(folder / "drawn.npz", probabilities=np.random.default_rng(0).random((20, 64)))
    shutil.copy(folder / "rbm.params", folder / "other.params")
    model, of_digits = str(folder), ["--dataset", "digits", "--no-cuda"]
    (folder / "metrics.csv").write_text("epoch,seconds\n1,2.0\n")
    return {
        "weights": ["weights", model, *of_digits, "--output", target[: -len(".json")]],
        "likelihood": ["likelihood", model, *of_digits, "--json", target],
        "frechet": ["frechet", "--drawn", str(folder / "drawn.npz"), *of_digits, "--json", target],
        "html-report": ["html-report", model, "--output", target],
        "convert": ["convert", model, target],
    }


@pytest.mark.parametrize("command", ["weights", "likelihood", "frechet", "html-report", "convert"])
def test_an_existing_file_is_overwritten_only_if_asked(folder, tmp_path, command, capsys):
    target = tmp_path / "here" / "kept.json"
    target.write_text("of old")
    arguments = chosen(folder, str(target))[command]
    assert __main__.main(arguments) == 2
    error = capsys.readouterr().err
    assert "kept.json already exists; choose another" in error and "or give --overwrite" in error
    assert error.count("\n") == 1 and target.read_text() == "of old" and os.listdir(os.curdir) == ["kept.json"]
    assert __main__.main([*arguments, "--overwrite"]) == 0
    assert target.read_bytes() != b"of old"


def test_the_page_of_a_run_is_replaced(folder):
    (folder / "metrics.csv").write_text("epoch,seconds\n1,2.0\n")
    for _ in range(2):
        assert __main__.main(["html-report", str(folder)]) == 0
    assert "page.html" in files(folder) and "page-2.html" not in files(folder)
