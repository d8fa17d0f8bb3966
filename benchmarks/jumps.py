"""Count how often chains of an RBM jump between two digits: tempering against plain Gibbs sampling.

    python benchmarks/jumps.py --train runs/mnist-01      # learn MNIST's 0 and 1, then count
    python benchmarks/jumps.py --model runs/mnist-01      # count only

Training uses `--chains trajectory`. Tempered chains run along matched means, and along the
trajectory if the run has one. A chain jumps when it shows the other digit. A logistic regression,
learned from real images, says which digit a chain shows; while it is less than 90 % sure, the chain
keeps its digit. Jumps are given per chain in 10,000 sweeps. A sweep along a path is one sweep of
every RBM of the path and an exchange between all neighbours.
"""

import argparse
import shlex
import sys
import tempfile
from pathlib import Path

import numpy as np
from common import ROOT  # noqa: F401

import binary_rbm_gluon
from gluon_rbm import load_dataset
from gluon_rbm.backend.arrays import to_numpy
from gluon_rbm.data.batches import iterate_batches
from gluon_rbm.data.statistics import smoothed_visible_bias
from gluon_rbm.errors import InputError
from gluon_rbm.evaluation.classifier import train_classifier
from gluon_rbm.likelihood import snapshots
from gluon_rbm.models.files import read_parameters
from gluon_rbm.sampling import matching
from gluon_rbm.sampling.chains import path_tempering, sample_chains

_SURE = 0.9
_TRAINING = shlex.split(
    """--no-cuda --num-hidden 200 --k 10 --chains trajectory --batch-size 500 --learning-rate 10 --momentum 0
--learning-rate-schedule linear --average 0.2 --binarize sample --initial-visible-bias data --centering --num-epoch 100
--monitor-every 50 --ais-base-rate data --ais-intermediate-steps 1000 --ais-burn-in-steps 1 --ais-num-batch 1"""
)


def _parse(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--train", metavar="RUN", help="learn into this new run folder, then count")
    which.add_argument("--model", metavar="RUN", help="count for this run folder")
    for name, default in (("chains", 100), ("sweeps", 10000), ("path-sweeps", 1000)):
        parser.add_argument("--" + name, type=int, default=default, help="default %(default)s")
    return parser.parse_args(argv)


def _two_digits():
    """Return the images of zeros and ones, their labels, and the largest pixel value."""
    data = load_dataset("mnist")
    chosen = data.train_labels < 2
    return data.train_images[chosen], data.train_labels[chosen], data.maximum


def _train(folder, images):
    with tempfile.TemporaryDirectory() as place:
        np.save(Path(place) / "two.npy", images)
        return binary_rbm_gluon.main([*_TRAINING, "--dataset", str(Path(place) / "two.npy"), "--output-dir", folder])


def _count(chains, classifier, first, sweeps):
    """Return the jumps per chain in 10,000 sweeps, and the share of ones at the end.

    chains yields the states after each sweep; first has the digits that the chains show at the
    start.
    """
    digit, jumps = first.copy(), 0
    for state in chains:
        sure = classifier.predict_proba(to_numpy(state.visible_prob_1))[:, 1]
        now = np.where(sure > _SURE, 1, np.where(sure < 1 - _SURE, 0, digit))
        jumps += (now != digit).sum()
        digit = now
    return jumps / len(first) / sweeps * 10000, digit.mean()


def main(argv=None):
    """Run the benchmark."""
    args = _parse(argv)
    images, labels, maximum = _two_digits()
    if args.train and _train(args.train, images):
        return 1
    parameters = read_parameters(args.train or args.model)
    rows = np.concatenate(list(iterate_batches(images, maximum, 1000, key=[0], binarize="sample")))
    classifier = train_classifier(images.reshape(len(images), -1)[:5000] / maximum, labels[:5000], "logistic")
    start = rows[: args.chains]
    first = classifier.predict(start)
    bias = smoothed_visible_bias(rows.mean(axis=0), len(rows))
    means = matching.Means.of(parameters, bias, rows[:10000])
    paths = [matching.matched_path(parameters, means, 200, key=[1])]
    try:
        paths.append(snapshots.read(args.train or args.model))
    except InputError as error:
        print("no trajectory: %s" % error)
    plain = sample_chains(parameters, start, args.sweeps, [2], every=1)
    found, ones = _count(plain, classifier, first, args.sweeps)
    print("plain Gibbs sampling: %.2f jumps in 10,000 sweeps; ones at the end: %.2f" % (found, ones), flush=True)
    for path in paths:
        tempered = path_tempering(parameters, start, args.path_sweeps, [3], path=path, every=1)
        jumps, ones = _count((one.chains for one in tempered), classifier, first, args.path_sweeps)
        size = len(path.rbms) + 1
        print(
            "along %s, %d RBMs: %.2f jumps in 10,000 sweeps, %.0f times as many; %.2f in 10,000 sweeps of one RBM; "
            "ones at the end: %.2f" % (path.name, size, jumps, jumps / max(found, 1e-9), jumps / size, ones),
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
