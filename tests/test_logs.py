"""Messages of the command lines. The package alone prints nothing."""

import io
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tqdm
from marks import slow_but

from gluon_rbm.backend import logs
from gluon_rbm.training.run_records import read_metrics

LOGGER = logging.getLogger("gluon_rbm.test")


@pytest.fixture(autouse=True)
def restored():
    """Restore the package's logger after a test."""
    logger = logging.getLogger("gluon_rbm")
    before = logger.level, logger.propagate, logger.handlers[:]
    yield
    logger.level, logger.propagate, logger.handlers[:] = before
    logger.setLevel(before[0])  # clears the cached levels of the loggers below it


def test_messages_are_bare_lines_and_warnings_go_to_standard_error(capsys):
    logs.configure()
    logs.configure()  # a second call does not repeat the lines
    LOGGER.debug("not said")
    LOGGER.info("%d images", 3)
    LOGGER.warning("a warning")
    LOGGER.error("an error")
    assert capsys.readouterr() == ("3 images\n", "a warning\nan error\n")


def test_messages_go_to_the_current_standard_output(monkeypatch):
    logs.configure()
    for _ in range(2):
        monkeypatch.setattr(sys, "stdout", io.StringIO())
        LOGGER.info("here")
        assert sys.stdout.getvalue() == "here\n"


def test_a_line_is_not_broken_by_a_progress_bar(capsys):
    logs.configure()
    with tqdm.tqdm(total=2, file=sys.stderr) as bar:
        bar.update()
        LOGGER.info("between")
    out, errors = capsys.readouterr()
    assert out == "between\n"
    assert "between" not in errors


def test_a_closed_pipe_is_an_error_as_with_print(monkeypatch):
    class Closed(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    logs.configure()
    monkeypatch.setattr(sys, "stdout", Closed())
    with pytest.raises(BrokenPipeError):
        LOGGER.info("to nobody")


def test_the_package_alone_prints_nothing():
    code = (
        "import logging, sys; from gluon_rbm.backend import logs; logging.getLogger('gluon_rbm.x').error('unheard');"
        "assert not {'mxnet', 'tqdm'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


# --- Streams that are closed, full, without a reader, or limited to ASCII -------------------------

FULL = "/dev/full"
RUN = [
    "binary_rbm_gluon.py", "--dataset", "digits", "--no-cuda", "--num-hidden", "4", "--k", "1", "--batch-size", "500",
    "--num-epoch", "2", "--monitor-every", "2", "--ais-batch-size", "2", "--ais-num-batch", "2", "--ais-burn-in-steps",
    "1",
]  # fmt: skip
ROOT = Path(__file__).parents[1]


def shell(tmp_path, command, redirection, **environment):
    """Exit status and standard error of a command with a redirection by the shell."""
    path = os.pathsep.join([str(ROOT), *(path for path in sys.path if path)])
    done = subprocess.run(
        ["bash", "-c", '"$@" %s; exit ${PIPESTATUS[0]}' % redirection, "bash", sys.executable, *map(str, command)],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=tmp_path, timeout=300,
        env={**os.environ, "PYTHONPATH": path, "MPLBACKEND": "Agg", **environment},
    )  # fmt: skip
    return done.returncode, done.stderr


SAY = """
import sys
from gluon_rbm.backend import streams
streams.prepare()
from gluon_rbm.cli.command import exit_status
from gluon_rbm.backend import logs
import contextlib, logging, os
def work():
    with logs.unheard_lines_allowed() if sys.argv[1] == "run" else contextlib.nullcontext():
        for _ in range(20):
            logging.getLogger("gluon_rbm.x").info("a line with an \\xe9 and a \\U0001f600")
    os.mkdir("done")
sys.exit(exit_status("say", work))
"""
ONE_LINE = "say: error: standard output: No space left on device\n"
ON = "standard output: No space left on device; it goes on without its lines\n"


CASES = [
    (">&-", (0, ""), (0, "")),
    (">&- 2>&-", (0, ""), (0, "")),
    ("> /dev/full", (0, ON), (2, ONE_LINE)),
    ("> /dev/full 2>&1", (0, ""), (2, "")),
    ("| head -n 0", (0, ""), (141, "")),
    ("| cat", (0, ""), (0, "")),
]


@pytest.mark.skipif(not os.path.exists(FULL), reason="there is no /dev/full")
@pytest.mark.parametrize("case", slow_but(CASES, CASES[0], CASES[2]))
@pytest.mark.parametrize("kind", ["run", "command"])
def test_a_run_goes_on_without_its_lines_but_a_command_ends(tmp_path, kind, case):
    redirection, of_run, of_command = case
    found = shell(tmp_path, ["-c", SAY, kind], redirection, PYTHONIOENCODING="ascii")
    assert found == (of_run if kind == "run" else of_command)
    assert (tmp_path / "done").exists() == (found[0] == 0)


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists(FULL), reason="there is no /dev/full")
@pytest.mark.parametrize("redirection", [">&-", ">&- 2>&-", "> /dev/full", "| head -n 1"])
def test_a_script_with_unusable_standard_output(tmp_path, redirection):
    """No file takes the place of a closed standard output, so MXNet prints into no file."""
    folder = tmp_path / "r\xe9sum\xe9"
    command = [ROOT / RUN[0], *RUN[1:], "--output-dir", folder]
    status, errors = shell(tmp_path, command, redirection, PYTHONIOENCODING="ascii")
    assert status == 0 and "Traceback" not in errors and errors.count("\n") <= 1
    assert len(read_metrics(str(folder))) == 2 and (folder / "showcase.png").exists()
    for command in (["likelihood", folder, "--dataset", "digits"], ["doctor"]):
        status, errors = shell(tmp_path, ["-m", "gluon_rbm", *command], redirection, LC_ALL="C", PYTHONUTF8="0")
        expected = {">&-": {0}, ">&- 2>&-": {0}, "> /dev/full": {2}, "| head -n 1": {0, 141}}[redirection]
        assert status in expected and "Traceback" not in errors and errors.count("\n") == (status == 2)


def test_no_file_takes_the_place_of_a_closed_stream(tmp_path):
    code = "from gluon_rbm.backend import streams; streams.prepare(); import os, sys; print('x'); sys.stdout.flush();" \
           "print(open('kept', 'w').fileno(), file=sys.stderr)"  # fmt: skip
    status, errors = shell(tmp_path, ["-c", code], ">&-")
    assert status == 0 and int(errors) > 2 and (tmp_path / "kept").read_text() == ""
