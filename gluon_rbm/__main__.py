"""`python -m gluon_rbm COMMAND`: what one does with a trained machine."""

import argparse
import sys

from gluon_rbm.arguments import OneLineParser
from gluon_rbm.command import exit_status
from gluon_rbm.commands import (
    classify,
    exercise,
    frechet,
    likelihood,
    recall,
    reconstruct,
    resample,
    sample,
    score,
    train_deep,
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
    "frechet": frechet,
    "exercise": exercise,
    "train-deep": train_deep,
}


def main(argv=None):
    """Run a command; returns its exit status (0; 2: unusable input; 130: interrupted)."""
    parser = OneLineParser(prog=_PROG, description="Restricted Boltzmann machines: what one does with a trained one")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, module in _COMMANDS.items():
        about, formatter = module.ABOUT, argparse.ArgumentDefaultsHelpFormatter
        module.add_arguments(
            commands.add_parser(name, help=about, description=about, formatter_class=formatter).add_argument
        )
    args, args.others = parser.parse_known_args(argv)
    if args.others and not hasattr(_COMMANDS[args.command], "TAKES_OTHERS"):
        parser.error("unrecognized arguments: " + " ".join(args.others))
    return exit_status("%s %s" % (_PROG, args.command), lambda: _COMMANDS[args.command].run(args))


if __name__ == "__main__":
    sys.exit(main())
