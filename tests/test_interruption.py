"""Ctrl-C and SIGTERM: what they raise and when, and how training, scripts and commands end."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from gluon_rbm import __main__
from gluon_rbm.backend import interruption, native
from gluon_rbm.backend.framework import mx
from gluon_rbm.cli import train_binary
from gluon_rbm.cli.command import exit_status
from gluon_rbm.training import binary, binary_pictures, monitors
from gluon_rbm.training.checkpoint import Checkpoint
from gluon_rbm.training.run_folder import RunFolder
from gluon_rbm.training.run_records import read_metrics

ROOT = Path(__main__.__file__).parents[1]
SIGNALS = {signal.SIGINT: 130, signal.SIGTERM: 143}


@pytest.fixture(params=SIGNALS, ids=lambda number: number.name)
def number(request, monkeypatch):
    """A signal that is not ignored. (In the background of a shell Ctrl-C is ignored.)"""
    before = signal.signal(request.param, signal.default_int_handler)
    yield request.param
    signal.signal(request.param, before)


def send(number):
    os.kill(os.getpid(), number)


# --- When signals raise ---------------------------------------------------------------------------


def test_handlers_are_put_back(number):
    before = [signal.getsignal(one) for one in SIGNALS]
    with pytest.raises(interruption.Interrupted) as caught, interruption.handled():
        assert signal.getsignal(number) not in before
        send(number)
        pytest.fail("it did not raise")
    assert caught.value.exit_status == SIGNALS[number] and str(caught.value) == "interrupted"
    assert [signal.getsignal(one) for one in SIGNALS] == before and not interruption.pending()


def test_the_second_signal_is_left_to_the_system(number):
    # In the background of a shell, signals may be ignored.
    ignored = [signal.getsignal(one) == signal.SIG_IGN for one in SIGNALS]
    with interruption.handled(), pytest.raises(interruption.Interrupted):
        try:
            send(number)
        finally:
            expected = [signal.SIG_IGN if one else signal.SIG_DFL for one in ignored]
            assert [signal.getsignal(one) for one in SIGNALS] == expected


def test_a_held_block_runs_to_its_end(number):
    done = []
    with interruption.handled(), pytest.raises(interruption.Interrupted), interruption.held():
        send(number)
        done.append(interruption.pending())
    assert done == [True]


def test_an_allowed_block_can_be_interrupted(number):
    done = []
    with interruption.handled(), pytest.raises(interruption.Interrupted), interruption.held():
        with pytest.raises(interruption.Interrupted), interruption.allowed():
            send(number)
            done.append("never")
        done.append("whole")
    assert done == ["whole"]


def test_an_earlier_signal_is_raised_in_an_allowed_block(number):
    with interruption.handled(), pytest.raises(interruption.Interrupted), interruption.held():
        send(number)
        with interruption.allowed():
            pytest.fail("it did not raise")


def test_a_signal_that_python_swallowed_is_not_lost(number):
    """Python ignores exceptions in a `__del__`, for example."""
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


# --- Training -------------------------------------------------------------------------------------
# tests/test_optimization.py has all optimizers, tests/test_train_multinary.py has networks.

SMALL = ["--dataset", "bars-and-stripes", "--no-cuda", "--num-hidden", "6", "--k", "2", "--batch-size", "8"]
SMALL += ["--num-epoch", "3", "--held-out", "2", "--early-stopping", "3", "--average", "0.7"]
SMALL += ["--ais-batch-size", "20", "--ais-num-batch", "2", "--ais-burn-in-steps", "1"]


def run(script, folder, *arguments, on_step=()):
    given = [*SMALL, "--output-dir", str(folder), *arguments]
    return train_binary.main(given, "binary_rbm_%s.py" % script, script, on_step)


def results(folder):
    arrays = mx.nd.load(str(folder / "rbm.params"))
    rows = read_metrics(folder)
    return (
        {name: array.asnumpy().tobytes() for name, array in arrays.items()},
        [{name: value for name, value in row.items() if "seconds" not in name} for row in rows],
    )


@pytest.fixture(autouse=True)
def short_showcase(monkeypatch):
    monkeypatch.setattr(binary_pictures, "SHOWCASE_SWEEPS", 10)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """What each script learns in a run without interruption."""
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(binary_pictures, "SHOWCASE_SWEEPS", 10)
        for script in ("gluon", "module"):
            folder = tmp_path_factory.mktemp("uninterrupted") / script
            assert run(script, folder) == 0
            found[script] = results(folder)
    return found


def interrupting(function, number, when):
    """Return the function, which first sends a signal to the process if when(*arguments) holds."""

    def interrupt(*arguments, **settings):
        if when(*arguments):
            send(number)
        return function(*arguments, **settings)

    return interrupt


PLACES = {
    "monitoring": (monitors.LikelihoodMonitor, "begin", lambda monitor, number, *arguments: number == 2),
    "saving": (RunFolder, "save_checkpoint", lambda folder, checkpoint: checkpoint.epoch == 2),
    "drawing": (binary_pictures.BinaryPictures, "draw_all", lambda *arguments: True),
}


@pytest.mark.parametrize("script, number", [("gluon", signal.SIGINT), ("module", signal.SIGTERM)], indirect=["number"])
@pytest.mark.parametrize(
    "place, epoch, steps, said",
    [
        ("step", 0, 1, "in epoch 1 after 1 of 4 steps"),
        ("step", 1, 4, "in epoch 2 after 4 of 4 steps"),
        ("monitoring", 1, 4, "in epoch 2 after 4 of 4 steps"),
        ("saving", 1, 0, "after epoch 2"),
        ("drawing", 2, 0, "after epoch 3"),
    ],
)
def test_a_training_goes_on_from_where_it_was_interrupted(
    tmp_path, monkeypatch, capsys, uninterrupted, number, script, place, epoch, steps, said
):
    capsys.readouterr()
    with monkeypatch.context() as patch:
        on_step = []
        if place == "step":
            here = (epoch, steps - 1)
            on_step = [lambda state, output: send(number) if (state.epoch, state.step) == here else None]
        else:
            owner, name, when = PLACES[place]
            patch.setattr(owner, name, interrupting(getattr(owner, name), number, when))
        assert run(script, tmp_path / "parts", on_step=on_step) == SIGNALS[number]
    said += "; --resume --output-dir %s continues from there" % (tmp_path / "parts")
    assert capsys.readouterr().err == "binary_rbm_%s.py: interrupted %s\n" % (script, said)
    assert Checkpoint.load(tmp_path / "parts" / "checkpoint.npz").steps == steps
    assert run(script, tmp_path / "parts", "--resume") == 0
    assert results(tmp_path / "parts") == uninterrupted[script]


def test_a_training_that_had_not_begun(tmp_path, monkeypatch, capsys, number):
    with monkeypatch.context() as patch:
        load = interrupting(RunFolder.load_checkpoint, number, lambda folder: True)
        patch.setattr(RunFolder, "load_checkpoint", load)
        assert run("gluon", tmp_path / "run") == SIGNALS[number]
    assert "interrupted before anything was saved" in capsys.readouterr().err
    assert sorted(os.listdir(tmp_path / "run")) == [".lock", "arguments.json"]
    assert run("gluon", tmp_path / "run") == 0


def test_diverged_parameters_are_not_saved(tmp_path, capsys):
    def interrupt(state, output):
        state.learner.arrays()["interaction_weight"][:] = np.nan
        send(signal.SIGTERM)

    assert run("gluon", tmp_path / "run", on_step=[interrupt]) == 3
    assert "diverged in epoch 1" in capsys.readouterr().err
    assert not (tmp_path / "run" / "checkpoint.npz").exists()


@pytest.mark.slow
def test_each_layer_of_a_deep_network_goes_on(tmp_path, monkeypatch, capsys):
    arguments = ["train-deep", "--layers", "6", "4", "--count", "4", "--sweeps", "5", *SMALL[:3], *SMALL[5:11]]
    assert __main__.main([*arguments, "--output-dir", str(tmp_path / "whole")]) == 0

    def train(settings, api, on_step, train=binary.train):
        def interrupt(state, output):
            if settings.below and state.epoch == 1:
                send(signal.SIGTERM)

        train(settings, api, [interrupt])

    arguments += ["--output-dir", str(tmp_path / "parts"), "--resume"]
    with monkeypatch.context() as patch:
        patch.setattr(binary, "train", train)
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            __main__.main(arguments)
        assert stop.value.code == 143
        (line,) = capsys.readouterr().err.splitlines()
        layer = tmp_path / "parts" / "layer-2"
        said = "interrupted in epoch 2 after 1 of 4 steps; --resume --output-dir %s continues from there"
        assert line.endswith(said % layer)
    assert __main__.main(arguments) == 0
    for layer in ("layer-1", "layer-2"):
        assert results(tmp_path / "parts" / layer) == results(tmp_path / "whole" / layer)


# --- Processes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [["binary_rbm_gluon.py"], ["binary_rbm_module.py"], ["-m", "gluon_rbm", "sample"]])
def test_ctrl_c_while_a_script_is_imported(command):
    """After the import of NumPy, the signal ends the process without a traceback."""
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


# --- A long call -------------------------------------------------------------------------

LONG_CALL = """
import signal
import numpy as np
from gluon_rbm.backend import interruption, native
for number in (signal.SIGINT, signal.SIGTERM):  # it may be ignored here, as in the background of a shell
    signal.signal(number, signal.default_int_handler)
with interruption.handled(), interruption.held():  # as in a step of a training
    print("it begins", flush=True)
    native.run(np.zeros((9, 9)), np.zeros(9), np.zeros(9), key=[0], hidden=np.zeros((99, 9)), sweeps=2**32 - 1)
"""


@pytest.mark.skipif(not native.available(), reason="the native engine is not there")
@pytest.mark.parametrize("first", SIGNALS)
@pytest.mark.parametrize("second", SIGNALS)
def test_the_second_signal_ends_a_call_that_does_not_return(first, second):
    """The call takes hours, and Python acts on no signal before it returns."""
    command = [sys.executable, "-c", LONG_CALL]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "it begins\n"
            process.send_signal(first)
            for _ in range(600):  # two equal signals in quick succession count as one
                process.send_signal(second)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(0.1)
                    break
        finally:
            process.kill()
        assert process.returncode in (128 + first, 128 + second, -first, -second)


def test_signals_of_a_child_process_do_not_count_for_its_parent(number):
    """Ctrl-C also reaches the workers of a data loader, for example."""
    with interruption.handled(), interruption.held():
        child = os.fork()
        if child == 0:
            for _ in range(3):
                os.kill(os.getpid(), number)
                signal.signal(number, interruption._receive)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert not interruption.pending()
