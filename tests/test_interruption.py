"""Ctrl-C and SIGTERM: what they raise and when, and what they leave of a training, a script and a command."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import binary_rbm_gluon
import binary_rbm_module
from gluon_rbm import __main__
from gluon_rbm.backend import interruption
from gluon_rbm.backend.framework import mx
from gluon_rbm.cli.command import exit_status
from gluon_rbm.training import binary_training
from gluon_rbm.training.run_folder import Checkpoint, read_metrics

ROOT = Path(__main__.__file__).parents[1]
SIGNALS = {signal.SIGINT: 130, signal.SIGTERM: 143}


@pytest.fixture(params=SIGNALS, ids=lambda number: number.name)
def number(request, monkeypatch):
    """A signal that is not ignored, as Ctrl-C is in the background of a shell."""
    before = signal.signal(request.param, signal.default_int_handler)
    yield request.param
    signal.signal(request.param, before)


def send(number):
    os.kill(os.getpid(), number)


# --- When it raises ---------------------------------------------------------------------------------------------------


def test_handlers_are_put_back(number):
    before = [signal.getsignal(one) for one in SIGNALS]
    with pytest.raises(interruption.Interrupted) as caught, interruption.handled():
        assert signal.getsignal(number) not in before
        send(number)
        pytest.fail("it did not raise")
    assert caught.value.exit_status == SIGNALS[number] and str(caught.value) == "interrupted"
    assert [signal.getsignal(one) for one in SIGNALS] == before and not interruption.pending()


def test_the_second_signal_is_left_to_the_system(number):
    with interruption.handled(), pytest.raises(interruption.Interrupted):
        try:
            send(number)
        finally:
            assert [signal.getsignal(one) for one in SIGNALS] == [signal.SIG_DFL] * 2


def test_what_is_held_becomes_whole(number):
    done = []
    with interruption.handled(), pytest.raises(interruption.Interrupted), interruption.held():
        send(number)
        done.append(interruption.pending())
    assert done == [True]


def test_what_is_allowed_may_be_left(number):
    done = []
    with interruption.handled(), pytest.raises(interruption.Interrupted), interruption.held():
        with pytest.raises(interruption.Interrupted), interruption.allowed():
            send(number)
            done.append("never")
        done.append("whole")
    assert done == ["whole"]


def test_a_signal_that_came_before_is_raised_where_that_is_allowed(number):
    with interruption.handled(), pytest.raises(interruption.Interrupted), interruption.held():
        send(number)
        with interruption.allowed():
            pytest.fail("it did not raise")


def test_a_signal_that_python_swallowed_is_not_lost(number):
    """As it does in a `__del__`."""
    with interruption.handled(), pytest.raises(interruption.Interrupted), interruption.held():
        with interruption.allowed(), contextlib.suppress(interruption.Interrupted):
            send(number)
        pytest.fail("it was lost")


def test_ignored_signals_stay_ignored(number):
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with interruption.handled():
            send(number)
            assert signal.getsignal(number) == signal.SIG_IGN and not interruption.pending()
    finally:
        signal.signal(number, before)


def test_nothing_is_handled_in_other_threads():
    before, found = signal.getsignal(signal.SIGTERM), []

    def work():
        with interruption.handled(), interruption.held():
            found.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [before]


def test_commands_end_with_one_line(number, capsys):
    assert exit_status("prog", lambda: send(number)) == SIGNALS[number]
    assert capsys.readouterr().err == "prog: interrupted\n"


# --- Trainings --------------------------------------------------------------------------------------------------------
# (With every optimizer: tests/test_optimization.py; of networks: tests/test_train_multinary.py.)

SMALL = ["--dataset", "bars-and-stripes", "--no-cuda", "--num-hidden", "6", "--k", "2", "--batch-size", "8"]
SMALL += ["--num-epoch", "3", "--held-out", "2", "--early-stopping", "3", "--average", "0.7"]
SCRIPTS = {"gluon": binary_rbm_gluon, "module": binary_rbm_module}


def run(script, folder, *arguments):
    return SCRIPTS[script].main([*SMALL, "--output-dir", str(folder), *arguments])


def results(folder):
    arrays = mx.nd.load(str(folder / "rbm.params"))
    rows = read_metrics(folder)
    return (
        {name: array.asnumpy().tobytes() for name, array in arrays.items()},
        [{name: value for name, value in row.items() if "seconds" not in name} for row in rows],
    )


@pytest.fixture(autouse=True)
def short_showcase(monkeypatch):
    monkeypatch.setattr(binary_training, "_SHOWCASE_SWEEPS", 10)


@pytest.mark.parametrize("script, number", [("gluon", signal.SIGINT), ("module", signal.SIGTERM)], indirect=["number"])
@pytest.mark.parametrize(
    "place, epoch, steps, said",
    [
        ("_after_step", 0, 1, "in epoch 1 after 1 of 4 steps; --resume goes on from there"),
        ("_after_step", 1, 4, "in epoch 2 after 4 of 4 steps; --resume goes on from there"),
        ("_monitor", 1, 4, "in epoch 2 after 4 of 4 steps; --resume goes on from there"),
        ("_save", 1, 0, "after epoch 2; --resume goes on from there"),
        ("_make_pictures", 2, 0, "after epoch 3; --resume goes on from there"),
    ],
)
def test_a_training_goes_on_from_where_it_was_interrupted(
    tmp_path, monkeypatch, capsys, number, script, place, epoch, steps, said
):
    assert run(script, tmp_path / "whole") == 0
    capsys.readouterr()
    with monkeypatch.context() as patch:
        original = getattr(binary_training._Run, place)

        def interrupt(self, *arguments):
            if place == "_after_step":
                here = self.epoch == epoch and self._steps == steps - 1
            else:
                here = self.epoch == epoch + 1 or (place == "_make_pictures")
            if here:
                send(number)
            return original(self, *arguments)

        patch.setattr(binary_training._Run, place, interrupt)
        assert run(script, tmp_path / "parts") == SIGNALS[number]
    assert capsys.readouterr().err == "binary_rbm_%s.py: interrupted %s\n" % (script, said)
    assert Checkpoint.load(tmp_path / "parts" / "checkpoint.npz").steps == steps
    assert run(script, tmp_path / "parts", "--resume") == 0
    assert results(tmp_path / "parts") == results(tmp_path / "whole")


def test_a_training_that_had_not_begun(tmp_path, monkeypatch, capsys, number):
    restore = binary_training._Run._restore

    def interrupt(self):
        send(number)
        restore(self)

    with monkeypatch.context() as patch:
        patch.setattr(binary_training._Run, "_restore", interrupt)
        assert run("gluon", tmp_path / "run") == SIGNALS[number]
    assert "interrupted before anything was saved" in capsys.readouterr().err
    assert os.listdir(tmp_path / "run") == ["arguments.json"]
    assert run("gluon", tmp_path / "run") == 0


def test_what_diverged_is_not_saved(tmp_path, monkeypatch, capsys):
    after_step = binary_training._Run._after_step

    def interrupt(self, result, progress):
        after_step(self, result, progress)
        self.learner.arrays()["interaction_weight"][:] = np.nan
        send(signal.SIGTERM)

    monkeypatch.setattr(binary_training._Run, "_after_step", interrupt)
    assert run("gluon", tmp_path / "run") == 3
    assert "diverged in epoch 1" in capsys.readouterr().err
    assert not (tmp_path / "run" / "checkpoint.npz").exists()


def test_each_layer_of_a_deep_network_goes_on(tmp_path, monkeypatch, capsys):
    arguments = ["train-deep", "--layers", "6", "4", "--count", "4", "--sweeps", "5", *SMALL[:3], *SMALL[5:11]]
    assert __main__.main([*arguments, "--output-dir", str(tmp_path / "whole")]) == 0
    after_step = binary_training._Run._after_step

    def interrupt(self, result, progress):
        after_step(self, result, progress)
        if self.args.below and self.epoch == 1:
            send(signal.SIGTERM)

    arguments += ["--output-dir", str(tmp_path / "parts"), "--resume"]
    with monkeypatch.context() as patch:
        patch.setattr(binary_training._Run, "_after_step", interrupt)
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            __main__.main(arguments)
        assert stop.value.code == 143
        (line,) = capsys.readouterr().err.splitlines()
        assert line.endswith("interrupted in epoch 2 after 1 of 4 steps; --resume goes on from there")
    assert __main__.main(arguments) == 0
    for layer in ("layer-1", "layer-2"):
        assert results(tmp_path / "parts" / layer) == results(tmp_path / "whole" / layer)


# --- Processes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [["binary_rbm_gluon.py"], ["binary_rbm_module.py"], ["-m", "gluon_rbm", "sample"]])
def test_ctrl_c_while_a_script_is_imported(command):
    """Held up at its first import of ours, it is killed silently."""
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    script = ROOT / command[-1]
    if script.suffix == ".py" and not script.exists():
        pytest.skip("the scripts are not beside the package")
    process = subprocess.Popen(
        [sys.executable, "-X", "importtime", *command],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    said = []
    for line in process.stderr:
        said.append(line)
        if line.endswith(" numpy\n"):  # MXNet follows
            process.send_signal(signal.SIGINT)
            break
    output, rest = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT
    assert "Traceback" not in rest and not output
