"""`python -m gluon_rbm COMMAND`: what one does with a trained machine."""

import argparse
import sys

if __name__ == "__main__":
    from gluon_rbm import interruption

    interruption.quiet()

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
    svm,
    train_deep,
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
    "frechet": frechet,
    "svm": svm,
    "exercise": exercise,
    "train-deep": train_deep,
    "train-multinary": train_multinary,
}


def main(argv=None):
    """Run a command; returns its exit status (0; 2: unusable input; 130, 143: interrupted)."""
    parser = OneLineParser(prog=_PROG, description="Restricted Boltzmann machines: what one does with a trained one")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, module in _COMMANDS.items():
        about, formatter = module.ABOUT, argparse.ArgumentDefaultsHelpFormatter
        commands.add_parser(name, help=about, description=about, formatter_class=formatter)
        module.add_arguments(commands.choices[name].add_argument)
    args, others = parser.parse_known_args(argv)
    module = _COMMANDS[args.command]
    if getattr(args, "preset", None) and hasattr(module, "PRESETS"):
        commands.choices[args.command].set_defaults(**module.PRESETS[args.preset])
        args, others = parser.parse_known_args(argv)
    args.others = others
    if others and not hasattr(module, "TAKES_OTHERS"):
        parser.error("unrecognized arguments: " + " ".join(others))
    return exit_status("%s %s" % (_PROG, args.command), lambda: module.run(args))


if __name__ == "__main__":
    sys.exit(main())
