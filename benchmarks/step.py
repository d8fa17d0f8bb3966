"""Time one training step (forward, backward, update) against the original MXNet example.

    python benchmarks/step.py --reference DIR

DIR holds the original `binary_rbm.py` (apache/mxnet, example/restricted-boltzmann-machine). Each side runs in processes
of its own, in turn, several rounds; the ratio is that of the medians. Without --reference only ours is timed.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent


def _parse(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference", help="folder of the original binary_rbm.py")
    for name, default in (
        ("num-visible", 784),
        ("num-hidden", 500),
        ("batch-size", 80),
        ("k", 30),
        ("steps", 20),
        ("rounds", 3),
    ):
        parser.add_argument("--" + name, type=int, default=default, help="default %(default)s")
    parser.add_argument("--engine", action="append", help="auto, mxnet or native; may be given again; default auto")
    parser.add_argument("--measure", help=argparse.SUPPRESS)  # one process: the folder whose binary_rbm is timed
    return parser.parse_args(argv)


def measure(args):
    """Seconds of each part of each step, at initial weights (about half of all units on), as JSON."""
    sys.path[:0] = [args.measure, str(_ROOT)]  # binary_rbm from the first, gluon_rbm.framework from the second
    from gluon_rbm.framework import mx  # first: the original imports MXNet as if NumPy were of its time

    # isort: split
    from binary_rbm import BinaryRBMBlock

    mx.random.seed(1)
    engine = {"engine": args.engine[0]} if args.engine else {}  # the original has none
    rbm = BinaryRBMBlock(num_hidden=args.num_hidden, k=args.k, for_training=True, **engine)
    rbm.initialize(mx.init.Normal(sigma=0.01))
    rbm.hybridize()
    data = mx.nd.random.uniform(shape=(args.batch_size, args.num_visible))
    rbm(data)
    learned = {name: parameter for name, parameter in rbm.collect_params().items() if "_aux_" not in name}
    trainer = mx.gluon.Trainer(learned, "sgd", {"learning_rate": 0.1, "momentum": 0.3})
    times = {"forward": [], "backward": [], "update": []}
    for step in range(args.steps + 2):
        moments = [time.perf_counter()]
        with mx.autograd.record():
            visible_prob_1, _ = rbm(data)
        moments.append(_finished(mx))
        visible_prob_1.backward()
        moments.append(_finished(mx))
        trainer.step(args.batch_size)
        moments.append(_finished(mx))
        if step >= 2:  # the first two warm up
            for part, start, end in zip(times, moments, moments[1:]):
                times[part].append(end - start)
    print(json.dumps(times))


def _finished(mx):
    mx.nd.waitall()
    return time.perf_counter()


def _run(args, folder, engine):
    command = [sys.executable, __file__, "--measure", str(folder)] + (["--engine", engine] if engine else [])
    for name in ("num_visible", "num_hidden", "batch_size", "k", "steps"):
        command += ["--" + name.replace("_", "-"), str(getattr(args, name))]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(output.splitlines()[-1])


def main(argv=None):
    args = _parse(argv)
    if args.measure:
        return measure(args)
    sides = {engine: (_ROOT, engine) for engine in args.engine or ["auto"]}
    if args.reference:
        sides["original"] = (Path(args.reference).resolve(), None)
    parts = ("forward", "backward", "update")
    times = {side: {part: [] for part in parts} for side in sides}
    for _ in range(args.rounds):
        for side, (folder, engine) in sides.items():
            for part, seconds in _run(args, folder, engine).items():
                times[side][part] += seconds
    print(
        "%dx%d, batch %d, k=%d, %d steps; medians in ms"
        % (args.num_visible, args.num_hidden, args.batch_size, args.k, args.rounds * args.steps)
    )
    whole = {}
    for side in sides:
        whole[side] = statistics.median(map(sum, zip(*times[side].values())))
        print(
            "| %-8s | %s | step %7.1f |"
            % (
                side,
                " | ".join("%s %6.1f" % (part, 1e3 * statistics.median(times[side][part])) for part in parts),
                1e3 * whole[side],
            )
        )
    for side in sides:
        if args.reference and side != "original":
            print("ratio original / %s: %.1f" % (side, whole["original"] / whole[side]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
