"""Measure the time and the peak memory of one training run, without a comparison.

    python benchmarks/training.py gluon --dataset mnist --no-cuda --num-epoch 2
    python benchmarks/training.py module --no-cuda --output-dir run  # writes run/measured.json

The figures are the time of the whole run, of an epoch and of monitoring, the share of data loading,
and peak memory. The documented run (`gluon --no-cuda`, 130 epochs of MNIST) takes about 45 minutes
on two cores.

The first argument names the API. All others go to `binary_rbm_gluon.py` or `binary_rbm_module.py`,
which runs in its own process. Loading is the time of one pass through the training batches without
other work.
"""

import csv
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import ROOT

# isort: split
from gluon_rbm.cli import options
from gluon_rbm.data import datasets
from gluon_rbm.data.batches import iterate_batches


def _loading_seconds(args):
    data = datasets.load(args.dataset, args.data_dir)
    started = time.perf_counter()
    for batch in iterate_batches(
        data.train_images, data.maximum, args.batch_size, key=[args.seed], binarize=args.binarize,
        num_workers=args.data_loader_num_worker,
    ):  # fmt: skip
        assert batch.ndim == 2
    return time.perf_counter() - started


def train(script, argv, folder):
    """Run a training script; return the rows of its `metrics.csv`, its seconds and its peak MB."""
    started = time.perf_counter()
    subprocess.run([sys.executable, str(ROOT / script), *argv, "--output-dir", str(folder)], check=True)
    whole = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    with open(Path(folder) / "metrics.csv") as file:
        return list(csv.DictReader(file)), whole, peak


def _measure(script, argv, folder):
    rows, whole, peak = train(script, argv, folder)
    epoch = statistics.median(float(row["seconds"]) for row in rows)
    monitor = statistics.median(float(row["monitor_seconds"]) for row in rows if row["monitor_seconds"])
    loading = statistics.median(_loading_seconds(options.parse(argv, script)) for _ in range(3))
    return {
        "minutes, from the command to its last picture": round(whole / 60, 2),
        "seconds an epoch (median)": round(epoch, 2),
        "seconds of monitoring an epoch (median)": round(monitor, 2),
        "loading, percent of an epoch": round(100 * loading / epoch, 2),
        "peak memory in MB": round(peak),
    }


def main(argv=None):
    """Run the benchmark."""
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] not in ("gluon", "module"):
        sys.exit("training.py: the first argument must be gluon or module")
    script, argv = "binary_rbm_%s.py" % argv[0], argv[1:]
    with tempfile.TemporaryDirectory() as temporary:
        kept = options.parse(argv, script).output_dir
        measured = _measure(script, argv, kept or os.path.join(temporary, "run"))
        if kept:
            (Path(kept) / "measured.json").write_text(json.dumps(measured, indent=2) + "\n")
    for name, value in measured.items():
        print("%s: %s" % (name, value))


if __name__ == "__main__":
    main()
