"""Time an epoch of `gluon_rbm.estimators.BinaryRBM.fit` against scikit-learn's BernoulliRBM.

    python benchmarks/estimators.py [--threads N] [--clock cpu] [--data-dir DIR] [--json FILE]

The benchmark takes two minutes.

Both estimators use k = 1 and the same settings. Each runs in its own process; they take turns, for
several rounds. A ratio is the median of BernoulliRBM over the median of BinaryRBM. The smallest and
the largest ratio of a single round stand in brackets. The last columns show how well both have
learned: the mean pseudo-likelihood of the images after the three epochs of a round, in nats.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

from common import Bystanders, in_turn, median

# isort: split
from gluon_rbm.data import datasets
from gluon_rbm.data.batches import to_visible

_EPOCHS = 3
# Data set, number of images, n_components, batch_size.
_CASES = (
    ("digits", 1437, 100, 10),
    ("digits", 1437, 256, 10),
    ("digits", 1437, 256, 100),
    ("mnist", 10000, 256, 10),
    ("mnist", 10000, 256, 100),
    ("mnist", 10000, 500, 80),
)
_COLUMNS = ("data", "hidden", "batch", "X", "ours, s", "BernoulliRBM, s", "ratio", "ours, nats", "BernoulliRBM, nats")


def fit(estimator, dataset, data_dir, count, num_hidden, batch_size, dtype, clock):
    """Run one side: return the seconds of an epoch, and as "nats" the mean pseudo-likelihood."""
    from sklearn.neural_network import BernoulliRBM

    from gluon_rbm.estimators import BinaryRBM

    data = datasets.load(dataset, data_dir)
    images = to_visible(data.train_images[:count], data.maximum).astype(dtype)
    kind = {"BinaryRBM": BinaryRBM, "BernoulliRBM": BernoulliRBM}[estimator]
    now = {"wall": time.perf_counter, "cpu": time.process_time}[clock]

    def seconds(images, n_iter):
        rbm = kind(num_hidden, batch_size=batch_size, n_iter=n_iter, learning_rate=0.05, random_state=0)
        start = now()
        rbm.fit(images)
        return (now() - start) / n_iter, rbm

    seconds(images[: 2 * batch_size], 1)  # warms up
    time_of_one, rbm = seconds(images, _EPOCHS)
    return {"epoch": [time_of_one], "nats": [float(rbm.score_samples(images).mean())]}


def epoch(**settings):
    """Run one side of `compare.py`: return the seconds only."""
    return {"call": fit(**settings)["epoch"]}


def main(argv=None):
    """Run the benchmark."""
    args = _parse(argv)
    # The processes of the sides read these.
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = str(args.threads)
    bystanders, report = Bystanders(), []
    print("| %s |\n|%s" % (" | ".join(_COLUMNS), " --- |" * len(_COLUMNS)))
    for dataset, count, num_hidden, batch_size in _CASES:
        for dtype in ("float32", "float64"):
            common = dict(dataset=dataset, data_dir=args.data_dir, count=count, num_hidden=num_hidden)
            common.update(batch_size=batch_size, dtype=dtype, clock=args.clock)
            sides = {kind: ("estimators.fit", {"estimator": kind, **common}) for kind in ("BinaryRBM", "BernoulliRBM")}
            measured = in_turn(sides, args.rounds)
            ours, theirs = measured["BinaryRBM"], measured["BernoulliRBM"]
            by_round = [median([other], "epoch") / median([mine], "epoch") for mine, other in zip(ours, theirs)]
            seconds = [median(side, "epoch") for side in (ours, theirs)]
            nats = [median(side, "nats") for side in (ours, theirs)]
            ratio = "**%.1fx** (%.1fx to %.1fx)" % (seconds[1] / seconds[0], min(by_round), max(by_round))
            row = ("%s, %d" % (dataset, count), num_hidden, batch_size, dtype)
            print("| %s | %s | %s | %s | %.3f | %.3f | %s | %.1f | %.1f |" % (*row, *seconds, ratio, *nats), flush=True)
            report.append({"case": row, "seconds": seconds, "by_round": by_round, "nats": nats})
    print(
        "\n%d threads, %s clock, %d rounds; other programs used %.0f %% of the processors."
        % (args.threads, args.clock, args.rounds, 100 * bystanders.share())
    )
    if args.json:
        Path(args.json).write_text(json.dumps(report, indent=2) + "\n")
    return 0


def _parse(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--rounds", type=int, default=3, help="default %(default)s")
    add("--threads", type=int, default=os.cpu_count(), help="threads of each side; default %(default)s")
    add(
        "--clock",
        choices=("wall", "cpu"),
        default="wall",
        help="cpu: processor time, for one thread on a busy computer",
    )
    add("--data-dir", help="folder of MNIST")
    add("--json", help="also write the figures to this file")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
