"""The lines of the command lines, and the silence of the library."""

import io
import logging
import subprocess
import sys

import pytest
import tqdm

from gluon_rbm.backend import logs

LOGGER = logging.getLogger("gluon_rbm.test")


@pytest.fixture(autouse=True)
def restored():
    """Leaves the package's logger as it was."""
    logger = logging.getLogger("gluon_rbm")
    before = logger.level, logger.propagate, logger.handlers[:]
    yield
    logger.level, logger.propagate, logger.handlers[:] = before
    logger.setLevel(before[0])  # clears what loggers below it remember


def test_messages_are_bare_lines_and_warnings_go_to_standard_error(capsys):
    logs.configure()
    logs.configure()  # each line once
    LOGGER.debug("not said")
    LOGGER.info("%d images", 3)
    LOGGER.warning("a warning")
    LOGGER.error("an error")
    assert capsys.readouterr() == ("3 images\n", "a warning\nan error\n")


def test_the_stream_is_the_one_of_the_moment(monkeypatch):
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


def test_the_library_alone_says_nothing():
    code = (
        "import logging, sys; from gluon_rbm.backend import logs; logging.getLogger('gluon_rbm.x').error('unheard');"
        "assert not {'mxnet', 'tqdm'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
