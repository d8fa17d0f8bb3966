"""`python -m gluon_rbm COMMAND`: what one does with a trained machine."""

import argparse
import importlib
import sys

if __name__ == "__main__":
    from gluon_rbm.backend import interruption

    interruption.quiet()

from gluon_rbm.cli.arguments import OneLineParser

_PROG = "python -m gluon_rbm"

_COMMANDS = (
    "sample",
    "reconstruct",
    "recall",
    "resample",
    "weights",
    "score",
    "classify",
    "likelihood",
    "frechet",
    "svm",
    "page",
    "exercise",
    "train-deep",
    "train-multinary",
    "doctor",
    "convert",
)


def _module(name):
    return importlib.import_module("gluon_rbm.cli." + name.replace("-", "_"))


def main(argv=None):
    """Run a command; returns its exit status (0; 1: `doctor` found a fault; 2: bad input; 130, 143: interrupted)."""
    argv = sys.argv[1:] if argv is None else argv
    parser = OneLineParser(prog=_PROG, description="Restricted Boltzmann machines: what one does with a trained one")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    # Only what is asked for is imported: `doctor` is to run where MXNet does not.
    asked = [name for name in _COMMANDS if name in argv[:1]] or _COMMANDS
    try:
        modules = {name: _module(name) for name in asked}
    except ImportError as error:  # what is missing, and how to install it
        parser.exit(2, "%s: error: %s\n" % (_PROG, error))
    for name, module in modules.items():
        about, formatter = module.ABOUT, argparse.ArgumentDefaultsHelpFormatter
        commands.add_parser(name, help=about, description=about, formatter_class=formatter)
        module.add_arguments(commands.choices[name].add_argument)
    args, others = parser.parse_known_args(argv)
    module = modules[args.command]
    if getattr(args, "preset", None) and hasattr(module, "PRESETS"):
        commands.choices[args.command].set_defaults(**module.PRESETS[args.preset])
        args, others = parser.parse_known_args(argv)
    args.others = others
    if others and not hasattr(module, "TAKES_OTHERS"):
        parser.error("unrecognized arguments: " + " ".join(others))
    if args.command == "doctor":
        return module.run(args)
    from gluon_rbm.cli.command import exit_status

    return exit_status("%s %s" % (_PROG, args.command), lambda: module.run(args))


if __name__ == "__main__":
    sys.exit(main())
