"""Time long chains against plain NumPy, and parallel tempering against plain chains.

    python benchmarks/sampling.py [--weights PATH/rbm.params] [--clock cpu]

The RBM is 784x500, with the given weights or with initial weights. The sides take turns, each in
its own process. Figures are medians over all rounds. NumPy runs a few sweeps, and its time is
scaled to all sweeps. Tempering has ten temperatures. "Ten times single" is ten times the time of as
many chains at beta = 1 for as many sweeps. On a busy computer, use OMP_NUM_THREADS=1 and --clock
cpu: then a time is the processor time of each side.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
from common import Bystanders, in_turn, initial_parameters, median, read_images, read_parameters, settle

NUM_VISIBLE, NUM_HIDDEN = 784, 500
TEMPERATURES = 10


def save_model(folder, weights, chains):
    """Save the RBM with states of up to 1,000 chains (`settle`), repeated for all chains."""
    parameters = read_parameters(weights) if weights else initial_parameters(NUM_VISIBLE, NUM_HIDDEN)
    arrays = settle(parameters, read_images(min(chains, 1000), len(parameters["visible_layer_bias"])))
    for layer in ("visible", "hidden"):
        arrays[layer] = np.resize(arrays[layer], (chains, arrays[layer].shape[1]))
    path = str(Path(folder) / "model.npz")
    np.savez(path, **arrays)
    return path


def report(what, ours, theirs, sides, scale, goal, at_most=False):
    """Print a row of the table: the medians of both sides, and the smallest and largest ratio.

    `scale` multiplies the times of the other side. `at_most` says that the ratio is our time over
    the other time, and should be at most the goal; otherwise it is the other way round.
    """
    times = median(sides[ours]), median(sides[theirs]) * scale
    rounds = [median([left]) / (median([right]) * scale) for left, right in zip(sides[ours], sides[theirs])]
    ratio, rounds = times[0] / times[1], sorted(rounds)
    if not at_most:
        ratio, rounds = 1 / ratio, [1 / each for each in rounds[::-1]]
    met = "met" if (ratio <= goal if at_most else ratio >= goal) else "missed"
    print(
        "| %s | %.2f | %s | %.2f | **%.2fx** (%.2fx to %.2fx) | %s %gx | %s |"
        % (what, times[0], theirs, times[1], ratio, rounds[0], rounds[-1], "<=" if at_most else ">=", goal, met),
        flush=True,
    )


def main(argv=None):
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", help="parameters of a trained run")
    parser.add_argument("--chains", type=int, default=10000, help="default %(default)s")
    parser.add_argument("--sweeps", type=int, default=1000, help="default %(default)s")
    parser.add_argument("--numpy-sweeps", type=int, default=5, help="sweeps of NumPy; default %(default)s")
    parser.add_argument(
        "--tempered", type=int, nargs="*", default=[1, 100, 1000], help="numbers of tempered chains; default 1 100 1000"
    )
    parser.add_argument("--tempered-sweeps", type=int, default=100, help="default %(default)s")
    parser.add_argument("--rounds", type=int, default=3, help="default %(default)s")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="default %(default)s")
    args = parser.parse_args(argv)
    bystanders = Bystanders()
    print("| what | ours, s | against | theirs, s | ratio | goal | |\n| --- | --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        common = {"model": save_model(folder, args.weights, args.chains), "repeats": 1, "clock": args.clock}
        ours = {"name": "sample", "chains": args.chains, "number": args.sweeps}
        sides = {"ours": ("sampler", {**common, **ours})}
        for dtype in ("float32", "float64"):
            theirs = {"number": args.numpy_sweeps, "dtype": dtype}
            sides["plain NumPy, " + dtype] = ("sweeps_numpy", {**common, **theirs})
        measured = in_turn(sides, args.rounds)
        for label in list(sides)[1:]:
            what = "%d chains, %d sweeps" % (args.chains, args.sweeps)
            report(what, "ours", label, measured, args.sweeps / args.numpy_sweeps, 10)
        for chains in args.tempered:
            work = {**common, "repeats": 5, "chains": chains, "number": args.tempered_sweeps}
            sides = {
                "tempered": ("sampler", {**work, "name": "temper", "num_temperatures": TEMPERATURES}),
                "ten times single": ("sampler", {**work, "name": "sample"}),
            }
            what = "%d temperatures of %d chains, %d sweeps" % (TEMPERATURES, chains, args.tempered_sweeps)
            measured = in_turn(sides, args.rounds)
            report(what, "tempered", "ten times single", measured, TEMPERATURES, 1.3, at_most=True)
    print("\nother programs used %.0f %% of the processors meanwhile" % (100 * bystanders.share()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
