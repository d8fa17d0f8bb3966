"""`python -m gluon_rbm COMMAND`: commands for trained RBMs."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Sequence

if __name__ == "__main__":
    from gluon_rbm.backend import blas, interruption, streams

    interruption.quiet()
    streams.prepare()
    blas.choose_kernels()

from gluon_rbm.backend import logs
from gluon_rbm.cli.arguments import DefaultsFormatter, OneLineParser
from gluon_rbm.errors import InputError, did_you_mean

_PROG = "python -m gluon_rbm"

_COMMANDS = (
    "sample",
    "reconstruct",
    "inpaint",
    "resample",
    "weights",
    "score",
    "classify",
    "likelihood",
    "frechet",
    "svm",
    "impute",
    "outliers",
    "recommend",
    "html-report",
    "exercise",
    "train-deep",
    "train-gaussian",
    "train-multinary",
    "doctor",
    "convert",
)
_OLD_NAMES = {"recall": "inpaint", "page": "html-report"}  # these still work


def _command_module(name: str) -> ModuleType:
    return importlib.import_module("gluon_rbm.cli." + name.replace("-", "_"))


def _import_commands(argv: Sequence[str]) -> dict[str, ModuleType]:
    """Return name -> module of the command that is asked for; of all commands if there is no such
    command.

    Only one module is imported, because `doctor` must run where MXNet does not.
    """
    first = argv[0] if argv else ""
    asked = _OLD_NAMES.get(first, first)
    return {name: _command_module(name) for name in ([asked] if asked in _COMMANDS else _COMMANDS)}


def _add_commands(parser: OneLineParser, modules: dict[str, ModuleType]) -> dict[str, OneLineParser]:
    """Add a parser for each name, old or new, of each command; return name -> parser."""
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, module in modules.items():
        old_names = [old for old, new in _OLD_NAMES.items() if new == name]
        remark = " (formerly: %s)" % ", ".join(old_names) if old_names else ""
        for called in (name, *old_names):
            # The list of commands shows the new name only.
            shown = {"help": module.ABOUT + remark} if called == name else {}
            description = module.ABOUT + remark
            own = commands.add_parser(called, description=description, formatter_class=DefaultsFormatter, **shown)
            module.add_arguments(own.add_argument)
    return commands.choices


def _check_command(parser: OneLineParser, first: str) -> None:
    """Exit with one line if the first argument is neither a command nor a call for help."""
    if first in (*_COMMANDS, *_OLD_NAMES, "-h", "--help"):
        return
    if first.startswith("-"):
        parser.error("%s stands where a command is needed; its flags come after it" % first)
    parser.error("; ".join(filter(None, ["there is no command %r" % first, did_you_mean(first, _COMMANDS)])))


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    argv
        Arguments; by default those of the process.

    Returns
    -------
    int
        Exit status. 0: success. 1: `doctor` found a fault. 2: bad input, or an error of the system
        or of MXNet. 3: training diverged. 130: Ctrl-C. 143: SIGTERM. 141: nobody reads the output.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = OneLineParser(prog=_PROG, description="Restricted Boltzmann machines: train, draw, measure")
    _check_command(parser, argv[0] if argv else "--help")
    try:
        modules = _import_commands(argv)
    except ImportError as error:  # the message says what is missing, and how to install it
        parser.exit(2, "%s: error: %s\n" % (_PROG, error))
    parsers = _add_commands(parser, modules)
    args, others = parser.parse_known_args(argv)
    command = str(args.command)
    module, prog = modules[_OLD_NAMES.get(command, command)], "%s %s" % (_PROG, command)
    if getattr(args, "resume", False):  # the run folder records how the run was started
        at = argv.index(command) + 1
        try:
            argv[at:] = module.completed(argv[at:], prog)
        except InputError as error:
            parser.exit(error.exit_status, "%s: error: %s\n" % (prog, error))
        args, others = parser.parse_known_args(argv)
    if getattr(args, "preset", None) and hasattr(module, "PRESETS"):
        parsers[command].set_defaults(**module.PRESETS[args.preset])
        args, others = parser.parse_known_args(argv)
    args.others = others
    if others and not hasattr(module, "TAKES_OTHERS"):
        parsers[command].refuse(others)
    if command == "doctor":
        try:
            return module.run(args)
        except OSError as error:
            return logs.report_system_error(prog, error)
    from gluon_rbm.cli.command import exit_status

    return exit_status(prog, lambda: module.run(args))


if __name__ == "__main__":
    sys.exit(main())
