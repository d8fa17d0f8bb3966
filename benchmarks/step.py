"""Time one training step (forward, backward, update) against the original MXNet example.

    python benchmarks/step.py --reference DIR [--weights FILE] [--dataset mnist]

DIR holds the original `binary_rbm.py` (apache/mxnet, example/restricted-boltzmann-machine). Without
--reference only this package is timed. The sides take turns, each in its own process, for several
rounds. All start from the same parameters and chains. The ratio is the median of the original over
the median of this package.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
from common import in_turn, initial_parameters, median, read_images, read_parameters, settle


def _parse(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference", help="folder of the original binary_rbm.py")
    parser.add_argument(
        "--weights", help="rbm.params of a run, or .npz; default: initial weights, half of all units on"
    )
    parser.add_argument("--dataset", help="data set of the batch; default: uniform noise")
    parser.add_argument("--data-dir", help="folder of the data set")
    for name, default in (
        ("num-visible", 784),
        ("num-hidden", 500),
        ("batch-size", 80),
        ("k", 30),
        ("steps", 20),
        ("rounds", 3),
    ):
        parser.add_argument("--" + name, type=int, default=default, help="default %(default)s")
    parser.add_argument(
        "--engine", action="append", help="auto, mxnet or native; may be given more than once; default auto"
    )
    return parser.parse_args(argv)


def _model(args):
    if args.weights:
        parameters = read_parameters(args.weights)
    else:
        parameters = initial_parameters(args.num_visible, args.num_hidden)
    num_visible = len(parameters["visible_layer_bias"])
    return settle(parameters, read_images(args.batch_size, num_visible, args.dataset, args.data_dir))


def main(argv=None):
    """Run the benchmark."""
    args = _parse(argv)
    model = _model(args)
    with tempfile.TemporaryDirectory() as folder:
        common = {"model": str(Path(folder) / "model.npz"), "k": args.k, "steps": args.steps}
        np.savez(common["model"], **model)
        sides = {engine: ("step", {**common, "engine": engine}) for engine in args.engine or ["auto"]}
        if args.reference:
            sides["original"] = ("step", {**common, "folder": str(Path(args.reference).resolve())})
        times = in_turn(sides, args.rounds)
    print(
        "%dx%d, batch %d, k=%d, %.0f %% / %.0f %% of the units on, %d steps; medians in ms"
        % (
            *model["interaction_weight"].shape,
            args.batch_size,
            args.k,
            100 * model["visible"].mean(),
            100 * model["hidden"].mean(),
            args.rounds * args.steps,
        )
    )
    for side, measured in times.items():
        parts = " | ".join("%s %6.1f" % (part, 1e3 * median(measured, part)) for part in measured[0])
        print("| %-8s | %s | step %7.1f |" % (side, parts, 1e3 * median(measured)))
    for side, measured in times.items():
        if args.reference and side != "original":
            print("ratio original / %s: %.1f" % (side, median(times["original"]) / median(measured)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
