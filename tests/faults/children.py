"""Child processes that the faults hit, and small trainings that run in them.

A child is a fork of this process, which has imported everything and has not run MXNet.
"""

import contextlib
import ctypes
import io
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import NamedTuple

import binary_rbm_gluon
import binary_rbm_module
from gluon_rbm import __main__
from gluon_rbm.backend import array_files
from gluon_rbm.cli import (
    train_multinary,  # noqa: F401  (imported before anything forks)
)
from gluon_rbm.models.files import PARAMETERS
from gluon_rbm.training import binary_pictures, run_records
from gluon_rbm.training.checkpoint import Checkpoint

SECONDS = 300  # a child that takes longer hangs

# Epochs of 4 steps.
SHORT_EPOCHS = ["--dataset", "bars-and-stripes", "--num-epoch", "20", "--monitor-every", "5"]
LONG_EPOCHS = ["--dataset", "digits", "--num-epoch", "3", "--monitor-every", "2"]  # of 180 steps
_COMMON = ["--no-cuda", "--batch-size", "8", "--resume"]
_BINARY = [*_COMMON, "--num-hidden", "6", "--k", "2", "--ais-batch-size", "20"]
_NETWORK = ["train-multinary", *_COMMON, "--dense", "6", "--maximum", "1", "--sampled"]
TRAININGS = {
    "binary_rbm_gluon.py": lambda arguments: binary_rbm_gluon.main([*_BINARY, *arguments]),
    "binary_rbm_module.py": lambda arguments: binary_rbm_module.main([*_BINARY, *arguments]),
    "train-multinary": lambda arguments: __main__.main([*_NETWORK, *arguments]),
}
binary_pictures.SHOWCASE_SWEEPS = 10


class Failure(Exception):
    """What must happen did not happen."""


def check(truth, *said):
    if not truth:
        raise Failure("; ".join(str(part).strip() for part in said))


class Ended(NamedTuple):
    """How a child ended: its status, and what it wrote to stdout and stderr.

    The status is the exit status, or the negative number of the signal that killed the child.
    """

    status: int
    said: str
    errors: str

    def line(self):
        """The error, a single line. Another number of lines is a Failure."""
        lines = self.errors.splitlines()
        check(len(lines) == 1 and lines[0].isprintable(), "not one line:", self.errors or "nothing")
        return lines[0]


class Child:
    """A fork that calls `action()` and exits with the status that it returns."""

    def __init__(self, action):
        sys.stdout.flush()
        self._files = [tempfile.TemporaryFile("w+", errors="backslashreplace") for _ in range(2)]  # noqa: SIM115
        self.pid = os.fork()
        if not self.pid:
            self._live(action)

    def _live(self, action):
        status = 99
        try:
            for number, file in enumerate(self._files, 1):
                os.dup2(file.fileno(), number)
            sys.stdout, sys.stderr = (io.TextIOWrapper(os.fdopen(n, "wb", 0), write_through=True) for n in (1, 2))
            # This process may ignore SIGINT.
            signal.signal(signal.SIGINT, signal.default_int_handler)
            status = action() or 0
        except SystemExit as stop:
            status = stop.code
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)

    def kill(self, number):
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def end(self, seconds=SECONDS):
        """Wait for the end of the child. A child that hangs is killed, and is a Failure."""
        until = time.monotonic() + seconds
        while True:
            pid, code = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                break
            if time.monotonic() > until:
                self.kill(signal.SIGKILL)
                os.waitpid(self.pid, 0)
                raise Failure("it hung")
            time.sleep(0.005)
        texts = []
        for file in self._files:
            file.seek(0)
            texts.append(file.read())
            file.close()
        return Ended(-os.WTERMSIG(code) if os.WIFSIGNALED(code) else os.WEXITSTATUS(code), *texts)


def run(action, seconds=SECONDS):
    return Child(action).end(seconds)


@contextlib.contextmanager
def scratch():
    folder = tempfile.mkdtemp(prefix="faults-")
    try:
        yield Path(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Training:
    """A kind of training, with the result and the duration of a run without a fault."""

    def __init__(self, name, folder, arguments=SHORT_EPOCHS):
        self.name, self._folder, self._arguments, self._number = name, folder, arguments, 0
        started = time.monotonic()
        ended = self.go_on(folder / "whole")
        check(ended.status == 0, ended.errors)
        self.seconds = time.monotonic() - started
        self._expected = results(folder / "whole")

    def new_folder(self):
        self._number += 1
        return self._folder / str(self._number)

    def begin(self, folder, prepare=lambda: None):
        """A Child that starts or resumes the run in `folder`, after `prepare()`."""

        def action():
            prepare()
            return TRAININGS[self.name]([*self._arguments, "--output-dir", str(folder)])

        return Child(action)

    def go_on(self, folder, prepare=lambda: None):
        return self.begin(folder, prepare).end()

    def check_whole(self, folder, goes_on=True):
        """Resume the run if `goes_on`. The result must be that of the run without a fault."""
        if goes_on:
            ended = self.go_on(folder)
            check(ended.status == 0, "it does not go on:", ended.status, ended.errors)
        check(results(folder) == self._expected, "another result in", folder)
        left = [name for name in os.listdir(folder) if name.endswith(".part")]
        check(not left, "left behind:", left)


def results(folder):
    """The bytes of the parameter file, which end with their hash, and the metrics without times."""
    rows = run_records.read_metrics(folder)
    rows = [{name: value for name, value in row.items() if "seconds" not in name} for row in rows]
    return (folder / PARAMETERS).read_bytes(), rows


def check_readable(folder):
    """Check that the files of a run folder are whole, as far as there are any."""
    if (folder / PARAMETERS).exists():
        array_files.load(folder / PARAMETERS)
    if (folder / "checkpoint.npz").exists():
        Checkpoint.load(folder / "checkpoint.npz")
    run_records.read_metrics(folder)


class _CapabilityHeader(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


def drop_rights():
    """Drop root's capabilities. Modes of files then hold for root, too."""
    header, nothing = _CapabilityHeader(0x20080522, 0), (ctypes.c_uint32 * 6)()
    if ctypes.CDLL(None, use_errno=True).capset(ctypes.byref(header), ctypes.byref(nothing)):
        raise OSError(ctypes.get_errno(), "capset")
