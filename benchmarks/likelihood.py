"""Measure the errors of AIS estimates of log Z against the exact log Z of a small RBM.

    python benchmarks/likelihood.py

The RBM has 4 hidden units. It is trained on 2x2 bars and stripes along the exact gradient. A run
has 100 chains. The base rate is the mean of the data, 1/2 for each pixel. Figures are root mean
square errors over all runs, in nats, for each schedule and number of distributions.
"""

import argparse
import sys

import numpy as np
from common import ROOT

sys.path.insert(0, str(ROOT / "tests"))

import reference  # noqa: E402

import ais  # noqa: E402
from gluon_rbm.likelihood import estimates, schedules  # noqa: E402


def _parse(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("runs", 50), ("chains", 100), ("seed", 0)):
        parser.add_argument("--" + name, type=int, default=default, help="default %(default)s")
    return parser.parse_args(argv)


def root_mean_square_errors(rbm, schedule, num_distributions, args):
    """Return the errors of forward AIS, of reverse AIS from exact samples, and of their middle."""
    count = args.runs * args.chains
    found = ais.bracket(
        *rbm,
        num_chains=count,
        chains_at_once=count,
        num_distributions=num_distributions,
        base_visible_bias=np.zeros(4),
        schedule=schedule,
        reverse_start="exact",
        key=[args.seed],
    )
    summaries = (estimates.summarize_log_weights, estimates.summarize_reverse)
    sides = np.array(
        [
            [summarize(run, num_distributions).log_z for run in side.log_weights.reshape(args.runs, args.chains)]
            for summarize, side in zip(summaries, found)
        ]
    )
    found = np.vstack([sides, sides.mean(axis=0)])
    return np.sqrt(((found - reference.log_z(*rbm)) ** 2).mean(axis=1))


def main(argv=None):
    """Run the benchmark."""
    args = _parse(argv)
    rbm = reference.bars_and_stripes_rbm(np.random.default_rng(1))
    print("2x2 bars and stripes, 4 hidden units: error of %d runs of %d chains, nats" % (args.runs, args.chains))
    for num_distributions in (100, 1000, 10000):
        for schedule in schedules.SCHEDULES:
            errors = root_mean_square_errors(rbm, schedule, num_distributions, args)
            print(
                "| %5d | %-11s | forward %.4f | reverse %.4f | middle %.4f |" % (num_distributions, schedule, *errors),
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
