"""Commands find out from a run's own record which images it learned."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from training_runs import SCRIPTS, one_line

from gluon_rbm import __main__
from gluon_rbm.cli import recorded
from gluon_rbm.data import datasets, downloads
from gluon_rbm.training import binary_pictures
from gluon_rbm.training.run_records import read_arguments

FLAGS = ["--no-cuda", "--num-hidden", "6", "--k", "1", "--batch-size", "100", "--num-epoch", "1"]
FLAGS += ["--ais-batch-size", "20", "--ais-num-batch", "1", "--ais-burn-in-steps", "1"]
SHORT = {"sample": ["--start", "images", "--sweeps", "2"], "inpaint": ["--sweeps", "2"], "resample": ["--sweeps", "4"]}
COMMANDS = ("sample", "reconstruct", "inpaint", "resample", "weights", "score", "likelihood")


@pytest.fixture(autouse=True)
def no_downloads(monkeypatch, tmp_path):
    def fail(*arguments):
        raise AssertionError("a download began")

    monkeypatch.setattr(downloads, "_download", fail)
    monkeypatch.setattr(binary_pictures, "SHOWCASE_SWEEPS", 5)
    monkeypatch.delenv("MXNET_RBM_DATA", raising=False)
    monkeypatch.setenv("MXNET_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def digits_run(tmp_path_factory):
    """A run on digits with --binarize sample."""
    folder = tmp_path_factory.mktemp("digits") / "run"
    sweeps, binary_pictures.SHOWCASE_SWEEPS = binary_pictures.SHOWCASE_SWEEPS, 5
    flags = [*FLAGS, "--dataset", "digits", "--binarize", "sample", "--output-dir", str(folder)]
    assert SCRIPTS["gluon"].main(flags) == 0
    binary_pictures.SHOWCASE_SWEEPS = sweeps
    return folder


@pytest.fixture
def run(digits_run, tmp_path):
    return shutil.copytree(digits_run, tmp_path / "run")


@pytest.mark.parametrize("command, name", [*((command, "") for command in COMMANDS), ("weights", "rbm.params")])
def test_commands_know_the_data_set(run, command, name, capsys):
    assert __main__.main([command, str(run / name), "--no-cuda", *SHORT.get(command, [])]) == 0
    assert capsys.readouterr().err == ""


def test_the_binarization_comes_from_the_run(run, capsys):
    command = ["likelihood", str(run), "--no-cuda"]
    assert __main__.main([*command, "--json", "own.json"]) == 0
    assert __main__.main([*command, "--json", "other.json", "--binarize", "threshold"]) == 0
    assert "was trained with --binarize sample, but threshold is used here" in one_line(capsys)
    found = [json.loads(Path(name).read_text())["data"] for name in ("own.json", "other.json")]
    assert [(one["data_set"], one["binarize"]) for one in found] == [("digits", "sample"), ("digits", "threshold")]


def test_other_images_give_a_warning_or_an_error(run, capsys, generator):
    np.save("other.npy", generator.random((700, 8, 8), dtype=np.float32))
    assert __main__.main(["reconstruct", str(run), "--no-cuda", "--dataset", "other.npy"]) == 0
    assert "was trained on images of digits, but other images are used here: other.npy" in one_line(capsys)
    # The sizes differ, which is noticed without a download.
    assert __main__.main(["reconstruct", str(run), "--dataset", "mnist"]) == 2
    assert "images of mnist have 784 pixels, but the model has 64 visible units" in one_line(capsys)


def test_a_model_without_a_run(run, capsys, tmp_path):
    (tmp_path / "alone").mkdir()
    shutil.copy(run / "rbm.params", tmp_path / "alone")
    assert __main__.main(["reconstruct", str(tmp_path / "alone" / "rbm.params")]) == 2
    assert "no record of its training; give the data set with --dataset" in one_line(capsys)
    assert __main__.main(["reconstruct", str(tmp_path / "alone" / "rbm.params"), "--dataset", "digits"]) == 0


def write_pictures(folder, generator, sizes):
    folder.mkdir()
    for number, size in enumerate(sizes):
        Image.fromarray(generator.integers(0, 256, size).astype(np.uint8)).save(folder / ("%d.png" % number))


def test_the_folder_and_the_image_size_come_from_the_run(tmp_path, generator, capsys):
    """The images have several sizes and are resized to one. Later the folder moves."""
    write_pictures(tmp_path / "images", generator, [(8, 8), (6, 9), (12, 5), (7, 7), (20, 20)])
    flags = ["--dataset", "image-folder", "--data-dir", "images", "--image-size", "4", "6", "--batch-size", "2"]
    assert SCRIPTS["gluon"].main([*FLAGS, *flags, "--output-dir", "run"]) == 0
    assert read_arguments("run")["image_shape"] == [4, 6]
    assert __main__.main(["reconstruct", "run", "--count", "1"]) == 0
    (tmp_path / "images").rename(tmp_path / "moved")
    capsys.readouterr()
    assert __main__.main(["reconstruct", "run", "--count", "1"]) == 2
    assert "run was trained on image-folder in images, which is no longer a folder" in one_line(capsys)
    assert __main__.main(["reconstruct", "run", "--count", "1", "--data-dir", "moved"]) == 0
    assert capsys.readouterr().err == ""


def test_a_published_data_set_whose_folder_has_moved(run, capsys, monkeypatch):
    """It is found elsewhere, or downloaded if --dataset names it. Otherwise one line says so."""
    record = json.loads((run / "arguments.json").read_text())
    record["arguments"].update(dataset="mnist", data_dir="/nosuch")
    (run / "arguments.json").write_text(json.dumps(record))
    loaded, read_digits = [], datasets._digits
    monkeypatch.setattr(datasets, "known_shape", lambda *arguments: None)
    monkeypatch.setattr(datasets, "load", lambda *arguments, **more: loaded.append(arguments) or read_digits())
    assert __main__.main(["reconstruct", str(run)]) == 2
    error = one_line(capsys)
    assert "was trained on mnist in /nosuch, which is no longer a folder; give the folder with --data-dir" in error
    assert "or give --dataset mnist to download it" in error and not loaded
    assert __main__.main(["reconstruct", str(run), "--dataset", "mnist"]) == 0
    monkeypatch.setattr(downloads, "located", lambda *arguments: {"a file": "its place"})
    assert __main__.main(["reconstruct", str(run)]) == 0
    assert loaded == 2 * [("mnist", None)]


def test_labels_and_layers(tmp_path, capsys):
    assert SCRIPTS["gluon"].main([*FLAGS, "--dataset", "digits", "--labels", "--output-dir", "joint"]) == 0
    below = ["--dataset", "digits", "--output-dir"]
    assert SCRIPTS["gluon"].main([*FLAGS, *below, "lower"]) == 0
    assert SCRIPTS["gluon"].main([*FLAGS, *below, "upper", "--below", "lower"]) == 0
    capsys.readouterr()
    assert __main__.main(["classify", "joint"]) == 0
    assert capsys.readouterr().err == ""
    assert __main__.main(["reconstruct", "upper"]) == 2
    assert "was trained on the hidden probabilities of the layer below" in one_line(capsys)


def test_svm_reads_the_record_of_a_network(tmp_path, capsys):
    network = ["--dataset", "digits", "--no-cuda", "--channels", "3", "--kernel", "2", "--num-epoch", "1"]
    assert __main__.main(["train-multinary", *network, "--image-size", "6", "6", "--output-dir", "net"]) == 0
    capsys.readouterr()
    assert __main__.main(["svm", "net", "--no-baselines", "--kernels", "linear", "--train-images", "60"]) == 0
    assert "digits: 60 training images" in capsys.readouterr().out
    assert recorded.Learned.of("net/rbm.params").arguments["image_size"] == [6, 6]


@pytest.mark.parametrize(
    "mistyped, meant", [("minst", "mnist"), ("digit", "digits"), ("FashionMNIST", "fashion-mnist")]
)
def test_a_mistyped_data_set_gets_a_suggestion(mistyped, meant, capsys):
    assert SCRIPTS["gluon"].main([*FLAGS, "--dataset", mistyped]) == 2
    assert "unknown data set %r (did you mean %s?)" % (mistyped, meant) in one_line(capsys)


@pytest.mark.parametrize(
    "flags, said",
    [
        (["--data-dir", "/nosuch"], "digits is not read from a folder; leave out --data-dir /nosuch"),
        (["--data-dir", ""], "argument --data-dir: must not be empty"),
        (["--output-dir", ""], "argument --output-dir: must not be empty"),
        (["--dataset", ""], "argument --dataset: must not be empty"),
        (["--momentum", "2"], "argument --momentum: it must be a number of at least 0 and below 1, not 2"),
        (["--learning-rate", "1e300"], "it must be a number of at least 0 and below 3.4e+38, not 1e300"),
        (["--dataset", "image-folder"], "image-folder needs a folder of images; give it with --data-dir"),
        (["--dataset", "image-folder", "--data-dir", "/nosuch"], "/nosuch is not a folder; give the folder of images"),
    ],
)
def test_invalid_flags_are_refused(flags, said, capsys, tmp_path):
    try:
        status = SCRIPTS["gluon"].main([*FLAGS, "--dataset", "digits", *flags])
    except SystemExit as stop:
        status = stop.code
    assert status == 2 and said in one_line(capsys) and not (tmp_path / "runs").exists()


def test_frechet_checks_its_arguments_first(run, capsys, monkeypatch):
    assert __main__.main(["sample", str(run), "--sweeps", "2", "--output", str(run / "drawn")]) == 0
    assert __main__.main(["frechet", "--drawn", str(run / "drawn.npz")]) == 0
    assert "trained on digits" in capsys.readouterr().out
    monkeypatch.setattr(datasets, "load", None)
    for flags, said in ((["nosuch"], "there is no nosuch"), ([str(run), "--network", "nosuch"], "nosuch")):
        assert __main__.main(["frechet", "--drawn", *flags]) == 2
        assert said in one_line(capsys)


@pytest.mark.parametrize("broken", ["{", '{"arguments": 3}', '{"arguments": {"dataset": 5}}'])
def test_an_invalid_record_is_refused(run, broken, capsys):
    (run / "arguments.json").write_text(broken)
    assert __main__.main(["reconstruct", str(run)]) == 2
    one_line(capsys)


def test_num_devices_on_a_cpu_is_explained(capsys):
    flags = ["--dataset", "bars-and-stripes", "--batch-size", "8", "--num-devices", "2"]
    assert SCRIPTS["gluon"].main([*FLAGS, *flags]) == 0
    assert "--num-devices 2 on a CPU: each batch is computed in that many parts" in capsys.readouterr().out
