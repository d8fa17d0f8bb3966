"""Time support vector machines with a kernel from matrix products against scikit-learn's `SVC`.

    python benchmarks/svm.py [--data-dir FOLDER] [--train-images 10000] [--components 400]
                             [--rounds 3]

The data are whitened principal components of MNIST's pixels; C = 10 and gamma = 1. There are three
sides, and the command `svm` uses all of them. `SVC` computes the kernel row by row. The second side
computes the kernel of all images at once. The third computes the kernel of two classes at once,
pair by pair. Each learns from the first training images, and classifies as many test images. The
exit status is 1 if they classify any test image differently.
"""

import argparse
import statistics
import sys
import time

import numpy as np
from common import ROOT, Bystanders

sys.path.insert(0, str(ROOT))

# isort: split
from gluon_rbm.cli import svm
from gluon_rbm.data import datasets
from gluon_rbm.data.batches import to_visible
from gluon_rbm.evaluation import support_vectors

_SETTINGS = {"C": 10.0, "gamma": 1.0}
# Number of rows of the kernel at once.
_SIDES = {"rows of the kernel (SVC)": 0, "the kernel at once": 10**9, "of pairs of classes": None}


def main(argv=None):
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir")
    for name, default in (("train-images", 10000), ("components", 400), ("rounds", 3)):
        parser.add_argument("--" + name, type=int, default=default)
    args = parser.parse_args(argv)
    data = datasets.load("mnist", args.data_dir)
    train, test = (to_visible(images[: args.train_images], 255) for images in (data.train_images, data.test_images))
    labels, test_labels = data.train_labels[: len(train)], data.test_labels[: len(test)]
    train, test, _ = svm._whitened(train, test, args.components, 0)
    times, found, bystanders = {side: [] for side in _SIDES}, {}, Bystanders()
    for _ in range(args.rounds):
        for side, rows in _SIDES.items():
            support_vectors._ROWS = len(labels) - 1 if rows is None else rows
            start = time.perf_counter()
            found[side] = support_vectors._svm("rbf", _SETTINGS, labels, False).fit(train, labels).predict(test)
            times[side].append(time.perf_counter() - start)
    medians = {side: statistics.median(seconds) for side, seconds in times.items()}
    first = next(iter(_SIDES))
    for side, seconds in medians.items():
        error = 100 * np.mean(found[side] != test_labels)
        print("%-26s %7.1f s  %5.2fx  error %.2f %%" % (side, seconds, medians[first] / seconds, error))
    print("other programs used %.0f %% of the processors" % (100 * bystanders.share()))
    return int(any((found[side] != found[first]).any() for side in _SIDES))


if __name__ == "__main__":
    sys.exit(main())
