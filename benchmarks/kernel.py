"""Measure the rate of additions of the native Gibbs kernel against the limit of this processor.

    python benchmarks/kernel.py [--repeats 15] [--instruction-sets avx2 avx512]

The work is sweeps of a 784x500 RBM, and annealing. Half of all units are on, as at initial weights,
or 14 % of the visible and 34 % of the hidden units, as in a trained RBM. "limit" is a loop that is
compiled here. It adds rows of a 16 KB array in the first-level cache to accumulators in registers,
as a table lookup does. "adds" are the additions with which the kernel makes and reads its tables.
Their rate counts the time of a whole call, with noise and sigmoids.
"""

from __future__ import annotations

import argparse
import ctypes
import functools
import os
import subprocess
import tempfile
from typing import Callable

import numpy as np
from common import seconds

# isort: split
from gluon_rbm.backend import native

NUM_VISIBLE, NUM_HIDDEN = 784, 500
ROWS_UP_TO, LARGE_TABLES_FROM = 12, 192  # as in gibbs.h

LIMIT = r"""
typedef float row __attribute__((vector_size(4 * LANES)));
row table[4096 / LANES];
float run(long rounds)
{
    row sum[8] = {{0}};
    while (rounds--) {
        __asm__ volatile("" ::: "memory");
        for (int i = 0; i < 4096 / LANES; i += 8)
            for (int k = 0; k < 8; k++)
                sum[k] += table[i + k];
    }
    return sum[0][0] + sum[1][0] + sum[2][0] + sum[3][0] + sum[4][0] + sum[5][0] + sum[6][0] + sum[7][0];
}
"""
LIMIT_FLAGS = {"plain": ["-DLANES=4"], "avx2": ["-DLANES=8", "-mavx2"], "avx512": ["-DLANES=16", "-mavx512f"]}


def limit(instruction_set: str, repeats: int) -> float:
    """Return the limit of one thread, in additions a second; NaN without a compiler."""
    rounds = 20000
    with tempfile.TemporaryDirectory() as folder:
        library = os.path.join(folder, "limit.so")
        try:
            subprocess.run(
                [
                    os.environ.get("CC", "gcc"),
                    "-x",
                    "c",
                    "-",
                    "-O3",
                    "-fPIC",
                    "-shared",
                    "-o",
                    library,
                    *LIMIT_FLAGS[instruction_set],
                ],
                input=LIMIT,
                text=True,
                check=True,
            )
        except (OSError, subprocess.CalledProcessError):
            return np.nan
        run = ctypes.CDLL(library).run
        run.argtypes, run.restype = [ctypes.c_long], ctypes.c_float
        return rounds * 4096 / float(np.median(seconds(lambda: run(rounds), repeats)))


def additions(chains: int) -> float:
    """Return the number of additions in one sweep.

    Layers are padded to multiples of 32 units. A table serves a group of g units. It takes 2^g
    additions for each column, and each chain takes one more. Groups have 4 units. With many chains,
    32 units make two groups of 6 and four groups of 5.
    """
    pairs = -(-NUM_VISIBLE // 32) * 32 * (-(-NUM_HIDDEN // 32) * 32)
    if chains <= ROWS_UP_TO:
        return np.nan  # the kernel adds rows; their number depends on the states
    per_pair = (16 / 4 + chains / 4) if chains < LARGE_TABLES_FROM else (256 + 6 * chains) / 32
    return 2 * pairs * per_pair


def rbm(visible_on: float, hidden_on: float) -> tuple[np.ndarray, ...]:
    """Return weights and biases of an RBM that keeps these fractions of units on."""
    weight = np.random.default_rng(0).normal(scale=0.01, size=(NUM_VISIBLE, NUM_HIDDEN)).astype(np.float32)
    return weight, *(
        np.full(size, np.log(on / (1 - on)), np.float32)
        for size, on in ((NUM_VISIBLE, visible_on), (NUM_HIDDEN, hidden_on))
    )


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--instruction-sets", nargs="+", choices=native.INSTRUCTION_SETS)
    args = parser.parse_args()
    generator = np.random.default_rng(1)
    threads = sorted({1, min(2, native.features()["threads"])})
    print("| instruction set | work | units on | threads | median ms | least ms | G adds/s | of the limit |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name in args.instruction_sets or native.features()["instruction_sets"]:
        peak = limit(name, args.repeats)
        print("| %s | limit | | 1 | | | %.1f | |" % (name, peak / 1e9))

        def report(
            work: str, on: str, number: int, function: Callable, adds: float, name: str = name, peak: float = peak
        ) -> None:
            times = seconds(function, args.repeats)
            median, least = np.median(times), min(times)
            rate = adds / median
            print(
                "| %s | %s | %s | %d | %.2f | %.2f | %.1f | %.0f %% |"
                % (name, work, on, number, 1e3 * median, 1e3 * least, rate / 1e9, 100 * rate / peak / number),
                flush=True,
            )

        for on in ((0.5, 0.5), (0.14, 0.34)):
            parameters, units_on = rbm(*on), "%.0f %% / %.0f %%" % (100 * on[0], 100 * on[1])
            for chains, sweeps in ((80, 30), (80, 1), (1, 300), (1000, 3)):
                hidden = (generator.random((chains, NUM_HIDDEN)) < on[1]).astype(np.float32)
                for number in threads:
                    sweep = functools.partial(
                        native.run,
                        *parameters,
                        hidden=hidden,
                        sweeps=sweeps,
                        key=[1],
                        num_threads=number,
                        instruction_set=name,
                    )
                    report(
                        "%d sweeps, %d chains" % (sweeps, chains), units_on, number, sweep, sweeps * additions(chains)
                    )
        parameters, visible = rbm(0.5, 0.5), generator.integers(0, 2, size=(1000, NUM_VISIBLE)).astype(np.float32)
        for number in threads:
            anneal = functools.partial(
                native.anneal,
                *parameters,
                visible=visible,
                betas=np.linspace(0.4, 0.5, 11),
                finish=False,
                key=[1],
                num_threads=number,
                instruction_set=name,
            )
            report("10 distributions, 1000 chains", "50 % / 50 %", number, anneal, 10 * additions(1000))


if __name__ == "__main__":
    main()
