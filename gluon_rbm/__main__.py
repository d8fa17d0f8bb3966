"""`python -m gluon_rbm COMMAND`: what one does with a trained machine."""

import argparse
import sys

from gluon_rbm.arguments import OneLineParser
from gluon_rbm.command import exit_status
from gluon_rbm.commands import (
    classify,
    exercise,
    likelihood,
    recall,
    reconstruct,
    resample,
    sample,
    score,
    train_multinary,
    weights,
)

_PROG = "python -m gluon_rbm"

_COMMANDS = {
    "sample": sample,
    "reconstruct": reconstruct,
    "recall": recall,
    "resample": resample,
    "weights": weights,
    "score": score,
    "classify": classify,
    "likelihood": likelihood,
    "exercise": exercise,
    "train-multinary": train_multinary,
}


def main(argv=None):
    """Run a command; returns its exit status (0; 2: unusable input; 130: interrupted)."""
    parser = OneLineParser(prog=_PROG, description="Restricted Boltzmann machines: what one does with a trained one")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, module in _COMMANDS.items():
        about, formatter = module.ABOUT, argparse.ArgumentDefaultsHelpFormatter
        commands.add_parser(name, help=about, description=about, formatter_class=formatter)
        module.add_arguments(commands.choices[name].add_argument)
    args = parser.parse_args(argv)
    if getattr(args, "preset", None):
        commands.choices[args.command].set_defaults(**_COMMANDS[args.command].PRESETS[args.preset])
        args = parser.parse_args(argv)
    module = _COMMANDS[args.command]
    interrupted = getattr(module, "INTERRUPTED", "interrupted")
    return exit_status("%s %s" % (_PROG, args.command), lambda: module.run(args), interrupted)


if __name__ == "__main__":
    sys.exit(main())
