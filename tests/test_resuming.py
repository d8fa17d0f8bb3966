"""`--resume` without other flags: a run takes its settings from its own record."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from training_runs import SCRIPTS, SMALL, assert_same_arrays, one_line

from gluon_rbm import __main__
from gluon_rbm.cli import options, recorded
from gluon_rbm.training import binary_pictures, settings
from gluon_rbm.training.binary_settings import PRESETS, BinarySettings
from gluon_rbm.training.network_settings import NetworkSettings
from gluon_rbm.training.run_folder import newest_run
from gluon_rbm.training.run_records import read_arguments, read_metrics

NETWORK = ["train-multinary", "--dataset", "digits", "--no-cuda", "--channels", "3", "--kernel", "2", "--seed", "4"]
DEEP = ["train-deep", "--dataset", "digits", "--no-cuda", "--layers", "5", "4", "--k", "1", "--batch-size", "200"]
DEEP += ["--ais-batch-size", "20", "--ais-num-batch", "1", "--ais-burn-in-steps", "1"]


@pytest.fixture(autouse=True)
def short_showcase(monkeypatch, tmp_path):
    monkeypatch.setattr(binary_pictures, "SHOWCASE_SWEEPS", 5)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("api", SCRIPTS)
def test_a_run_needs_no_other_flag_to_resume(api, tmp_path):
    main = SCRIPTS[api].main
    given = [*SMALL, "--centering", "--seed", "3", "--preset", "exercise", "--optimizer", "adam", "--no-cuda"]
    assert main([*given, "--num-epoch", "3", "--output-dir", "whole"]) == 0
    assert main([*given, "--num-epoch", "2", "--output-dir", "parts"]) == 0
    assert main(["--output-dir", "parts", "--resume"]) == 0  # nothing is left to do
    assert len(read_metrics("parts")) == 2
    assert main(["--resume", "--output-dir", "parts", "--num-epoch", "3"]) == 0
    assert_same_arrays(tmp_path / "whole", tmp_path / "parts")
    whole, parts = read_arguments("whole"), read_arguments("parts")
    of_each_call = {"output_dir": None, "resume": None, "cuda": None}
    assert {**whole, **of_each_call} == {**parts, **of_each_call}


def test_a_network_needs_no_other_flag_to_resume(tmp_path):
    assert __main__.main([*NETWORK, "--num-epoch", "2", "--output-dir", "whole"]) == 0
    assert __main__.main([*NETWORK, "--num-epoch", "1", "--output-dir", "parts"]) == 0
    assert __main__.main(["train-multinary", "--output-dir", "parts", "--resume", "--num-epoch", "2"]) == 0
    assert_same_arrays(tmp_path / "whole", tmp_path / "parts")


def test_a_deep_network_needs_no_other_flag_to_resume(tmp_path, capsys):
    assert __main__.main([*DEEP, "--num-epoch", "1", "--classify"]) == 0
    record = json.loads((tmp_path / "deep" / "deep.json").read_text())
    before = (tmp_path / "deep" / "samples.npz").read_bytes()
    os.remove(tmp_path / "deep" / "samples.npz")  # as if the run had stopped here
    for path in (tmp_path / "deep" / "layer-2").iterdir():
        if path.name != "arguments.json":
            path.unlink()
    assert __main__.main(["train-deep", "--resume"]) == 0
    assert (tmp_path / "deep" / "samples.npz").read_bytes() == before
    again = json.loads((tmp_path / "deep" / "deep.json").read_text())
    assert again["results"] == record["results"] and again["arguments"]["layers"] == [5, 4]
    capsys.readouterr()
    for flags, said in ((["--layers", "5"], "--layers [5, 4], not [5]"), (["--k", "2"], "--k 1, not 2")):
        assert __main__.main(["train-deep", "--resume", *flags]) == 2
        assert said in one_line(capsys)
    assert __main__.main(["train-deep", "--layers", "3"]) == 2
    assert "continue it with --resume" in one_line(capsys)


def test_the_newest_run_is_resumed(tmp_path, capsys):
    main = SCRIPTS["gluon"].main
    for flags in (["--num-hidden", "3"], ["--num-hidden", "4"], ["--dataset", "digits", "--batch-size", "500"]):
        assert main([*SMALL, "--num-epoch", "1", *flags]) == 0
    capsys.readouterr()
    assert main(["--resume"]) == 0
    assert "resuming runs/gluon-digits-1 after epoch 1" in capsys.readouterr().out
    assert main(["--resume", "--dataset", "bars-and-stripes", "--num-epoch", "2"]) == 0
    assert "resuming runs/gluon-bars-and-stripes-2 after epoch 1" in capsys.readouterr().out
    # The run with the newest checkpoint.
    assert newest_run("gluon") == os.path.join("runs", "gluon-bars-and-stripes-2")
    assert newest_run("module") is None and newest_run("gluon", "mnist") is None


def test_given_flags_agree_or_are_refused(tmp_path, capsys):
    main = SCRIPTS["gluon"].main
    assert main([*SMALL, "--num-epoch", "1", "--output-dir", "run"]) == 0
    assert main(["--output-dir", "run", "--resume", "--k", "2", "--monitor-every", "7"]) == 0
    capsys.readouterr()
    assert main(["--output-dir", "run", "--resume", "--preset", "best"]) == 2
    assert "has --preset None, not best" in one_line(capsys)


def test_a_folder_that_holds_no_run(tmp_path, capsys):
    main = SCRIPTS["gluon"].main
    assert main(["--output-dir", "nope", "--resume"]) == 2
    assert "nope has no run to resume; give another --output-dir" in one_line(capsys)
    assert not (tmp_path / "nope").exists()
    # A queue may give --resume from the first start on.
    assert main([*SMALL, "--num-epoch", "1", "--output-dir", "new", "--resume"]) == 0

    # A run that is killed in its first epoch leaves arguments.json alone.
    for file in (tmp_path / "new").iterdir():
        if file.name != "arguments.json":
            file.unlink()
    capsys.readouterr()
    assert main(["--output-dir", "new", "--resume"]) == 0
    assert "nothing to resume in new; training starts from the beginning" in capsys.readouterr().out


def test_no_run_to_resume(tmp_path, capsys):
    for main, kind in ((SCRIPTS["gluon"].main, "gluon"), (SCRIPTS["module"].main, "module")):
        assert main([*SMALL, "--resume"]) == 2
        assert "runs/ has no %s run to resume" % kind in one_line(capsys)
    assert not (tmp_path / "runs").exists()


def test_fewer_epochs_than_were_learned(tmp_path, capsys):
    main = SCRIPTS["gluon"].main
    assert main([*SMALL, "--num-epoch", "3", "--output-dir", "run"]) == 0
    before = (tmp_path / "run" / "arguments.json").read_bytes()
    capsys.readouterr()
    assert main(["--output-dir", "run", "--resume", "--num-epoch", "2"]) == 2
    assert "the run in run has already trained for 3 epochs; give --num-epoch 3 or more" in one_line(capsys)
    assert (tmp_path / "run" / "arguments.json").read_bytes() == before
    assert main(["--output-dir", "run", "--resume", "--num-epoch", "3"]) == 0


def test_a_run_of_another_kind(tmp_path, capsys):
    binary, multinary = [
        str(Path(__file__).parents[1] / "docs" / "reference-runs" / name) for name in ("gluon-mnist", "multinary-mnist")
    ]
    assert SCRIPTS["gluon"].main(["--resume", "--output-dir", multinary]) == 2
    assert "is a run of python -m gluon_rbm train-multinary; resume it with that" in one_line(capsys)
    with pytest.raises(SystemExit, match="2"):
        __main__.main(["train-multinary", "--resume", "--output-dir", binary])
    assert "is a run of binary_rbm_gluon.py or binary_rbm_module.py; resume it" in one_line(capsys)


def test_foreign_pictures_are_not_overwritten(tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "filters.png").write_text("mine")
    assert SCRIPTS["gluon"].main([*SMALL, "--num-epoch", "1", "--output-dir", "mine"]) == 2
    assert "mine already holds filters.png, which would be overwritten" in one_line(capsys)
    assert (tmp_path / "mine" / "filters.png").read_text() == "mine"


def test_a_folder_named_like_an_unfinished_file_stays(tmp_path):
    (tmp_path / "run" / ".rbm.params.x.part").mkdir(parents=True)
    (tmp_path / "run" / ".metrics.csv.y.part").write_text("torn")
    assert SCRIPTS["gluon"].main([*SMALL, "--num-epoch", "1", "--output-dir", "run"]) == 0
    assert sorted(name for name in os.listdir("run") if name.endswith(".part")) == [".rbm.params.x.part"]


def test_a_data_set_that_has_moved(tmp_path, capsys, generator):
    main, own = SCRIPTS["gluon"].main, ["--batch-size", "2", "--num-hidden", "3", "--k", "1", "--no-cuda"]
    own += ["--ais-batch-size", "5", "--ais-num-batch", "1", "--num-epoch", "1"]
    (tmp_path / "images").mkdir()
    for name in range(5):
        pixels = generator.integers(0, 256, (4, 4)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / ("%d.png" % name))
    assert main([*own, "--dataset", "image-folder", "--data-dir", "images", "--output-dir", "one"]) == 0
    (tmp_path / "images").rename(tmp_path / "moved")
    capsys.readouterr()
    assert main(["--output-dir", "one", "--resume"]) == 2
    assert (
        "one was trained on image-folder in images, which is no longer a folder; give the folder with --data-dir"
        in one_line(capsys)
    )
    assert main(["--output-dir", "one", "--resume", "--data-dir", "moved"]) == 0
    assert main(["--output-dir", "one", "--resume"]) == 0  # it recorded the new place

    np.save("images.npy", generator.random((20, 4)).astype("float32"))
    assert main([*own, "--dataset", "images.npy", "--output-dir", "two"]) == 0
    os.rename("images.npy", "moved.npy")
    capsys.readouterr()
    assert main(["--output-dir", "two", "--resume"]) == 2
    assert "two was trained on images.npy, which no longer exists; give its path with --dataset" in one_line(capsys)
    assert main(["--output-dir", "two", "--resume", "--dataset", "moved.npy"]) == 0


@pytest.mark.parametrize("broken", ["{", "[]", '{"arguments": 3}', '{"arguments": {"k": "many"}}'])
def test_an_invalid_record_is_refused(tmp_path, capsys, broken):
    assert SCRIPTS["gluon"].main([*SMALL, "--num-epoch", "1", "--output-dir", "run"]) == 0
    (tmp_path / "run" / "arguments.json").write_text(broken)
    capsys.readouterr()
    try:
        status = SCRIPTS["gluon"].main(["--output-dir", "run", "--resume"])
    except SystemExit as stop:
        status = stop.code
    assert status == 2 and os.path.join("run", "arguments.json") in one_line(capsys)


def test_flags_mean_what_was_recorded():
    """The flags made from a record give the same record, for the defaults and for every preset."""
    for name in (None, *PRESETS):
        given = options.parse(["--preset", name] if name else [], "x")
        record = {**json.loads(json.dumps(settings.record(given))), "device": "gpu"}
        again = options.parse(recorded.flags_of(BinarySettings, record), "x")
        assert settings.record(again) == settings.record(given)
    flags = recorded.flags_of(NetworkSettings, {"channels": [3, 4], "dense": [], "detach": False, "whole": True})
    assert flags == ["--channels", "3", "4", "--quantized", "--no-detach"]
