"""Measure how the cost of a training step grows with the batch, the hidden units and k.

    python benchmarks/scaling.py [--parts batch hidden k]

Steps of this package are compared with each other. The benchmark takes about a minute on two cores.

The usual step has 784 visible units, 500 hidden units, a batch of 80 images and k = 30. Each table
changes one of the last three. All sizes take turns, with initial weights, for several rounds. An
exponent e says that the cost grows like size^e from the line before. In the last line it is from
the first size to the last.
"""

import argparse
import math
import sys

from common import initial_parameters, median, read_images, settle
from sides import time_steps

# isort: split
from binary_rbm import BinaryRBMBlock
from gluon_rbm.backend.framework import mx
from gluon_rbm.sampling import gibbs

NUM_VISIBLE = 784
USUAL = {"batch": 80, "hidden": 500, "k": 30}
SIZES = {
    "batch": (10, 30, 100, 300, 1000),
    "hidden": (100, 250, 500, 1000, 2000, 4000),
    "k": (1, 3, 10, 30, 100),
}


def measure(batch, hidden, k, steps, engine):
    """Time the steps of an RBM of one size."""
    model = settle(initial_parameters(NUM_VISIBLE, hidden), read_images(batch, NUM_VISIBLE))
    return time_steps(mx, BinaryRBMBlock, model, k, steps, engine=engine)


def exponent(before, after):
    """Return the slope between two pairs (size, seconds) on logarithmic scales."""
    return math.log(after[1] / before[1]) / math.log(after[0] / before[0])


def print_table(part, points):
    """Print the table of pairs (size, seconds)."""
    print("| %s | ms a step | exponent |\n| --- | --- | --- |" % part)
    for number, point in enumerate(points):
        local = "%.2f" % exponent(points[number - 1], point) if number else ""
        print("| %d | %.2f | %s |" % (point[0], 1e3 * point[1], local))
    print("| %d to %d | | %.2f |\n" % (points[0][0], points[-1][0], exponent(points[0], points[-1])), flush=True)


def main(argv=None):
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=SIZES, default=list(SIZES), help="default: all of them")
    parser.add_argument("--rounds", type=int, default=3, help="default %(default)s")
    parser.add_argument("--steps", type=int, default=10, help="steps in each round; default %(default)s")
    parser.add_argument("--engine", choices=gibbs.ENGINES, default="auto", help="default %(default)s")
    args = parser.parse_args(argv)
    for part in args.parts:
        measured = {size: [] for size in SIZES[part]}
        for _ in range(args.rounds):
            for size in SIZES[part]:
                measured[size].append(measure(**{**USUAL, part: size}, steps=args.steps, engine=args.engine))
        print_table(part, [(size, median(times)) for size, times in measured.items()])
    return 0


if __name__ == "__main__":
    sys.exit(main())
