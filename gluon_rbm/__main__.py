"""`python -m gluon_rbm COMMAND`: what one does with a trained machine."""

import argparse
import sys

from gluon_rbm import datasets, gibbs, report
from gluon_rbm.command import OneLineParser, at_least, exit_status

_PROG = "python -m gluon_rbm"


def main(argv=None):
    """Run a command; returns its exit status (0; 2: unusable input; 130: interrupted)."""
    args = _parser().parse_args(argv)
    return exit_status("%s %s" % (_PROG, args.command), lambda: args.run(args))


def _parser():
    parser = OneLineParser(prog=_PROG, description="Restricted Boltzmann machines: what to do with a trained one")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_likelihood(commands)
    return parser


def _add_likelihood(commands):
    about = "how probable images are to a model, and how far that can be trusted"
    parser = commands.add_parser(
        "likelihood", help=about, description=about, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.set_defaults(run=report.run)
    count, natural = at_least(1, int), at_least(0, int)
    add = parser.add_argument
    add("model", metavar="MODEL", help="a run folder, or a file rbm.params")
    add("--dataset", default="mnist", help="%s, or a .npy file of images in [0, 1]" % ", ".join(datasets.NAMES))
    add("--data-dir", help="folder of the data set; else $MXNET_RBM_DATA, else $MXNET_HOME/datasets, else downloaded")
    add(
        "--part",
        choices=report.PARTS,
        default="test",
        help="which images; held-out: the last 10,000 training images, to choose recipes on",
    )
    add(
        "--binarize",
        default="none",
        metavar="HOW",
        help="none leaves pixels grey, sample draws them from their grey values, threshold cuts them at 0.5",
    )
    add("--binarize-seed", type=natural, default=0, help="what the drawn pixels follow from")
    add("--distributions", type=count, default=10000, help="intermediate distributions of AIS")
    add("--chains", type=count, default=100, help="chains of AIS")
    add("--sweeps", type=count, default=1, help="Gibbs sweeps at each distribution")
    add(
        "--base-rate",
        choices=report.BASE_RATES,
        default="data",
        help="where AIS starts: at the means of the training images, or at the model's own visible bias",
    )
    add("--seed", type=natural, default=0, help="what the chains' noise follows from")
    add("--engine", choices=gibbs.ENGINES, default="auto", help="what runs the chains")
    add("--cuda", action="store_true", default=None, help="compute on the GPU")
    add("--no-cuda", action="store_false", dest="cuda", default=None, help="compute on the CPU")
    add("--device-id", type=natural, default=0, help="GPU device id")
    add("--json", metavar="FILE", help="write the report there, too")


if __name__ == "__main__":
    sys.exit(main())
