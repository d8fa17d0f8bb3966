"""Help texts, and the error line for a wrong command."""

import pytest
from training_runs import SCRIPTS, one_line

from gluon_rbm import __main__

COMMANDS = __main__._COMMANDS


def text_of(main, *arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main([*arguments, "--help"])
    assert stop.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_no_empty_defaults(command, capsys):
    text = " ".join(text_of(__main__.main, command, capsys=capsys).split())
    for nothing in ("None", "True", "False", "[]", "==SUPPRESS=="):
        assert "(default: %s)" % nothing not in text
    assert "--whole" not in text


def test_help_of_the_scripts(capsys):
    text = text_of(SCRIPTS["gluon"].main, capsys=capsys)
    assert "(default: None)" not in text and "number of hidden units (default: 500)" in text


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["smaple"], "there is no command 'smaple'; did you mean sample?"),
        (["nothing-like-it"], "there is no command 'nothing-like-it' (see --help)"),
        (["--foo"], "--foo stands where a command is needed"),
        (["sample", ""], "argument MODEL: must not be empty"),
        (["train-deep", "--nosuch"], "python -m gluon_rbm train-deep: error: unrecognized arguments: --nosuch"),
        (["sample", "run", "--coutn=3"], "unrecognized arguments: --coutn=3; did you mean --count?"),
    ],
)
def test_unknown_commands_are_refused(arguments, said, capsys):
    with pytest.raises(SystemExit) as stop:
        __main__.main(arguments)
    error = one_line(capsys)
    assert stop.value.code == 2 and said in error and "recall" not in error


@pytest.mark.parametrize(
    "arguments, flag",
    [
        (["frechet", "--drawn", "x.npz", "--json"], "--json"),
        (["frechet", "--drawn"], "--drawn"),
        (["frechet", "--drawn", "x.npz", "--network"], "--network"),
        (["likelihood", "run", "--json"], "--json"),
        (["likelihood", "run", "--state"], "--state"),
        (["recommend", "x.csv", "--user", "1", "--json"], "--json"),
        (["outliers", "x.csv", "--output"], "--output"),
        (["impute", "x.csv", "--output"], "--output"),
        (["inpaint", "run", "--mask"], "--mask"),
        (["inpaint", "run", "--images"], "--images"),
        (["score", "run", "--against"], "--against"),
        (["svm"], "MODEL"),
        (["html-report"], "RUN"),
        (["html-report", "run", "--output"], "--output"),
        (["convert", "run"], "TARGET"),
        (["convert", "", "x.npz"], "SOURCE"),
        (["exercise", "--output-dir"], "--output-dir"),
        (["train-deep", "--output-dir"], "--output-dir"),
        (["doctor", "--data-dir"], "--data-dir"),
    ],
)
def test_empty_paths_are_refused(arguments, flag, capsys):
    """An unset variable of a shell gives an empty path."""
    with pytest.raises(SystemExit) as stop:
        __main__.main(arguments if "" in arguments else [*arguments, ""])
    assert stop.value.code == 2 and "argument %s: must not be empty" % flag in one_line(capsys)


def test_errors_name_the_command_that_was_given(tmp_path, capsys):
    flags = ["--dataset", "digits", "--no-cuda", "--output-dir", str(tmp_path / "x")]
    with pytest.raises(SystemExit) as stop:
        __main__.main(["train-deep", *flags, "--layers", "3", "--batch-size", "99999"])
    assert stop.value.code == 2
    assert one_line(capsys).startswith(
        "python -m gluon_rbm train-deep: error: --batch-size 99999 is larger than the number of training images, 1437"
    )


def test_a_file_of_another_format_leads_to_convert(tmp_path, capsys):
    (tmp_path / "theirs.npz").write_bytes(b"PK")
    assert __main__.main(["sample", str(tmp_path / "theirs.npz")]) == 2
    assert "`python -m gluon_rbm convert` reads other formats" in one_line(capsys)
