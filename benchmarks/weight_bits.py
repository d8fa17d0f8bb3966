"""What weights of 16 bits in the chains do to the likelihood after training: pairs of runs over seeds.

    python benchmarks/weight_bits.py --record FILE [--recipe documented best] [--seeds 8] [--data-dir DIR]

Each pair is two runs of `binary_rbm_gluon.py` that differ in `--weight-bits` alone; the last line of their metrics.csv
holds the log-likelihood of the test images, by AIS from 1,000 distributions and 200 chains. The difference's mean and
95 % interval (Student's t) are printed. FILE keeps what is done, so that the command may be stopped and given again.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from scipy import stats

ROOT = Path(__file__).resolve().parent.parent
AIS = "--ais-base-rate data --ais-batch-size 200 --ais-num-batch 1 --ais-intermediate-steps 1000 --ais-burn-in-steps 1"
RECIPES = {"documented": "", "best": "--preset best"}
EPOCHS = {"documented": 8, "best": 20}


def log_likelihood(recipe: str, epochs: int, seed: int, bits: int, data_dir: str | None) -> float:
    """Of the test images after a run, nats per image."""
    with tempfile.TemporaryDirectory() as folder:
        flags = "%s %s --no-cuda --num-epoch %d --monitor-every %d" % (RECIPES[recipe], AIS, epochs, epochs)
        command = [sys.executable, str(ROOT / "binary_rbm_gluon.py"), *flags.split(), "--seed", str(seed)]
        command += ["--weight-bits", str(bits), "--output-dir", folder]
        command += ["--data-dir", data_dir] if data_dir else []
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        with (Path(folder) / "metrics.csv").open(newline="") as file:
            return float(list(csv.DictReader(file))[-1]["test_log_likelihood"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", type=Path, required=True)
    parser.add_argument("--recipe", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--data-dir")
    args = parser.parse_args()
    done = json.loads(args.record.read_text()) if args.record.exists() else {}
    for seed in range(1, args.seeds + 1):
        for recipe in args.recipe:
            for bits in (16, 32):
                name = "%s, %d epochs, seed %d, %d bits" % (recipe, EPOCHS[recipe], seed, bits)
                if name not in done:
                    done[name] = log_likelihood(recipe, EPOCHS[recipe], seed, bits, args.data_dir)
                    args.record.write_text(json.dumps(done, indent=2) + "\n")
    for recipe in args.recipe:
        of_recipe = "%s, %d epochs, seed %%d, %%d bits" % (recipe, EPOCHS[recipe])
        seeds = range(1, args.seeds + 1)
        differences = np.array([done[of_recipe % (seed, 16)] - done[of_recipe % (seed, 32)] for seed in seeds])
        half = stats.t.ppf(0.975, len(differences) - 1) * stats.sem(differences)
        print(
            "%s: 16 bits less 32 bits, %d pairs: %+.3f nats, 95 %% interval %+.3f to %+.3f; 32 bits alone %.2f +- %.2f"
            % (
                recipe,
                len(differences),
                differences.mean(),
                differences.mean() - half,
                differences.mean() + half,
                np.mean([done[of_recipe % (seed, 32)] for seed in seeds]),
                np.std([done[of_recipe % (seed, 32)] for seed in seeds], ddof=1),
            )
        )


if __name__ == "__main__":
    main()
