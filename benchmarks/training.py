"""Measure a whole training run: seconds an epoch, the share of data loading in it, and peak memory.

    python benchmarks/training.py --dataset mnist --no-cuda --num-epoch 2

All arguments go to `binary_rbm_gluon.py`, which runs in a process of its own. Loading is the time to go once through
the training batches with nothing else to do.
"""

import csv
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import ROOT  # first: it puts the checkout on the path

# isort: split
from gluon_rbm import datasets, options


def _loading_seconds(args):
    data = datasets.load(args.dataset, args.data_dir)
    started = time.perf_counter()
    for batch in datasets.batches(
        data.train_images, data.maximum, args.batch_size, key=[args.seed], binarize=args.binarize,
        num_workers=args.data_loader_num_worker,
    ):  # fmt: skip
        assert batch.ndim == 2
    return time.perf_counter() - started


def train(argv):
    """Seconds of each epoch, as the run reports them, and the run's peak memory in MB."""
    with tempfile.TemporaryDirectory() as folder:
        run = str(Path(folder) / "run")
        subprocess.run([sys.executable, str(ROOT / "binary_rbm_gluon.py"), *argv, "--output-dir", run], check=True)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        with open(Path(run) / "metrics.csv") as file:
            return [float(row["seconds"]) for row in csv.DictReader(file)], peak


def main(argv=None):
    argv = sys.argv[1:] if argv is None else argv
    args = options.parse(argv, "binary_rbm_gluon.py")
    epochs, peak = train(argv)
    epoch, loading = statistics.median(epochs), statistics.median(_loading_seconds(args) for _ in range(3))
    print("seconds an epoch (median): %.2f" % epoch)
    print("loading an epoch: %.2f s, %.1f %% of it" % (loading, 100 * loading / epoch))
    print("peak memory: %.0f MB" % peak)


if __name__ == "__main__":
    main()
