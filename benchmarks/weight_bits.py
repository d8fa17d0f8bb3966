"""Measure the likelihood after training with 16-bit weights in the chains, against 32 bits.

    python benchmarks/weight_bits.py --record FILE [--recipe documented best] [--seeds 8]
                                     [--data-dir DIR]

A pair of runs takes four minutes of one processor. By default there are 16 pairs.

A pair is two runs of `binary_rbm_gluon.py` that differ only in `--weight-bits`. The last line of a
run's metrics.csv has the log-likelihood of the test images, by AIS with 1,000 distributions and 200
chains. There are as many runs at once as processors, with one thread each; results do not depend on
the number of threads. The benchmark prints the mean difference and its 95 % interval (Student's t).
FILE records finished runs, so the command can be stopped and repeated.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Mapping

import numpy as np
from scipy import stats

ROOT = Path(__file__).resolve().parent.parent
AIS = "--ais-base-rate data --ais-batch-size 200 --ais-num-batch 1 --ais-intermediate-steps 1000 --ais-burn-in-steps 1"
RECIPES = {"documented": "", "best": "--preset best"}
EPOCHS = {"documented": 8, "best": 20}
NAME = "%s, %d epochs, seed %d, %d bits"


def log_likelihood(recipe: str, epochs: int, seed: int, bits: int, data_dir: str | None) -> float:
    """Train, and return the log-likelihood of the test images in nats per image."""
    with tempfile.TemporaryDirectory() as folder:
        flags = "%s %s --no-cuda --num-epoch %d --monitor-every %d" % (RECIPES[recipe], AIS, epochs, epochs)
        command = [sys.executable, str(ROOT / "binary_rbm_gluon.py"), *flags.split(), "--seed", str(seed)]
        command += ["--weight-bits", str(bits), "--output-dir", folder]
        command += ["--data-dir", data_dir] if data_dir else []
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
        with (Path(folder) / "metrics.csv").open(newline="") as file:
            return float(list(csv.DictReader(file))[-1]["test_log_likelihood"])


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", type=Path, required=True)
    parser.add_argument("--recipe", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--data-dir")
    args = parser.parse_args()
    seeds, done = range(1, args.seeds + 1), json.loads(args.record.read_text()) if args.record.exists() else {}
    wanted = [(recipe, EPOCHS[recipe], seed, bits) for seed in seeds for recipe in args.recipe for bits in (16, 32)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        running = {
            pool.submit(log_likelihood, *run, args.data_dir): NAME % run for run in wanted if NAME % run not in done
        }
        for run in as_completed(running):
            done[running[run]] = run.result()
            args.record.write_text(json.dumps(done, indent=2) + "\n")
    for recipe in args.recipe:
        print(
            summary(
                recipe,
                {
                    bits: np.array([done[NAME % (recipe, EPOCHS[recipe], seed, bits)] for seed in seeds])
                    for bits in (16, 32)
                },
            )
        )


def summary(recipe: str, found: Mapping[int, np.ndarray]) -> str:
    """Return a line of text on the pairs of a recipe.

    found : bits -> log-likelihoods, in the order of the seeds
    """
    differences = found[16] - found[32]
    half = stats.t.ppf(0.975, len(differences) - 1) * stats.sem(differences)
    return (
        "%s: 16 bits less 32 bits, %d pairs: %+.3f nats, 95 %% interval %+.3f to %+.3f; 32 bits alone %.2f +- %.2f"
        % (
            recipe,
            len(differences),
            differences.mean(),
            differences.mean() - half,
            differences.mean() + half,
            found[32].mean(),
            found[32].std(ddof=1),
        )
    )


if __name__ == "__main__":
    main()
