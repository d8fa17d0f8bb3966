"""Time training steps (forward, backward, Adam) of multinary networks against plain PyTorch.

    python benchmarks/multinary.py [--parts step full] [--presets mnist celeba-64 ...]
                                   [--threads N] [--json FILE]

step: time the networks of the presets of `gluon_rbm.training.network_settings`, with N = 255 and
reconstructions by means, on MNIST or noise. PyTorch has the same network, loss and initial
parameters. First, both sides must find the same loss and gradients. Then they take turns, each in
its own process, for several rounds, with the same number of threads. The ratio is the median of
PyTorch over the median of this package. The smallest and the largest ratio of a single round stand
in brackets.

full: time the networks for large images at full size, on noise, without PyTorch. It prints seconds
of a step, peak memory, and the time of an epoch that follows.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
from common import Bystanders, in_turn, median, read_images

# isort: split
from gluon_rbm.backend.framework import mx
from gluon_rbm.errors import InputError
from gluon_rbm.models import networks
from gluon_rbm.training import network_settings

TRAINING_IMAGES = {"celeba-64": 162770, "celeba-128": 162770, "caltech-101": 30 * 101}
_MOST_APART = 1e-6


def description(preset):
    """Return the description of a preset's network."""
    flags = network_settings.PRESETS[preset]
    size = flags.get("image_size") or {"mnist": (28, 28), "cifar10": (32, 32)}[preset]
    known = networks.describe((1, 1, 1))
    settings = {name: value for name, value in flags.items() if name in known}
    return networks.describe((1 if preset == "mnist" else 3, *size), **settings)


def save_model(path, description, batch_size, images=None):
    """Save what all sides start from: description, initial parameters, and images or noise."""
    mx.random.seed(1)
    network = networks.build(description)
    networks.initialize(network, description)
    arrays = {name: array.asnumpy() for name, array in networks.arrays(network, description).items()}
    shape = (batch_size, *description["image_shape"])
    if images is None:
        images = np.random.default_rng(1).random(shape, dtype=np.float32)
    np.savez(path, images=images.reshape(shape) * np.float32(description["maximum"]), **arrays)


def apart(path, sides):
    """Return how far the first loss and gradients of both sides differ, in float64.

    This is the largest difference, as a share of the largest value of its array. (A gradient is a
    small difference between a term of v and a term of v'. In float32 it is mostly rounding errors.)
    """
    in_turn({label: (name, {**common, "steps": 1, "dtype": "float64"}) for label, (name, common) in sides.items()}, 1)
    ours, theirs = (np.load("%s.%s.npz" % (path, side)) for side in ("ours", "torch"))
    return max(float(np.abs(ours[name] - theirs[name]).max() / np.abs(ours[name]).max()) for name in ours.files)


def step(args, report):
    """Time this package against PyTorch; return whether both compute the same."""
    same = [_step_of(preset, args, report) for preset in args.presets]
    return all(same)


def _step_of(preset, args, report):
    images = None
    if preset == "mnist":
        try:
            images = read_images(args.batch_size, 784, "mnist", args.data_dir)
        except InputError as error:
            print("noise instead of MNIST: %s" % error)
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "model.npz")
        save_model(path, description(preset), args.batch_size, images)
        common = {"model": path, "steps": args.steps, "clock": args.clock}
        sides = {"ours": ("multinary_sides.ours", common), "PyTorch": ("multinary_sides.pytorch", common)}
        difference, bystanders = apart(path, sides), Bystanders()
        measured = in_turn(sides, args.rounds)
        share = bystanders.share()
    ours, theirs = measured["ours"], measured["PyTorch"]
    ratio = median(theirs) / median(ours)
    by_round = [median([other]) / median([mine]) for mine, other in zip(ours, theirs)]
    same = difference < _MOST_APART
    print(
        "%s, batch %d, %d threads, %d steps, %s clock: ours %.1f ms, PyTorch %.1f ms, ratio %.2fx (%.2fx to %.2fx),"
        " goal 1x: %s; other programs used %.0f %% of the processors"
        % (
            preset,
            args.batch_size,
            args.threads,
            args.rounds * args.steps,
            args.clock,
            1e3 * median(ours),
            1e3 * median(theirs),
            ratio,
            min(by_round),
            max(by_round),
            "met" if ratio >= 1 else "missed",
            100 * share,
        )
    )
    print(
        "in float64 the first loss and gradients differ by %.1e of the largest value%s"
        % (difference, "" if same else ": TOO MUCH")
    )
    report["step of " + preset] = {
        "measured": measured,
        "ratio": ratio,
        "by_round": by_round,
        "others": share,
        "apart": difference,
    }
    return same


def full(args, report):
    """Print a row for each network for large images."""
    print("%d threads, %s clock" % (args.threads, args.clock))
    print("| network | parameters | s a step of %d | peak memory | epoch of | takes |" % args.batch_size)
    print("|%s" % (" --- |" * 6))
    for preset, count in TRAINING_IMAGES.items():
        arguments = {"preset": preset, "batch_size": args.batch_size, "steps": args.full_steps, "clock": args.clock}
        measured = in_turn({preset: ("multinary_sides.full", arguments)}, 1)[preset]
        seconds, memory = median(measured, "call"), measured[0]["memory"][0]
        shapes = [p.shape for p in networks.build(description(preset)).collect_params().values()]
        print(
            "| %s | %.1f million | %.1f | %.1f GB | %d images | %.0f minutes |"
            % (
                preset,
                sum(map(np.prod, shapes)) / 1e6,
                seconds,
                memory / 1e9,
                count,
                seconds * count / args.batch_size / 60,
            ),
            flush=True,
        )
        report[preset] = {"seconds": measured[0]["call"], "memory": memory}
    return True


PARTS = {"step": step, "full": full}


def _parse(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--parts", nargs="+", choices=PARTS, default=["step"], help="default: step")
    presets = tuple(network_settings.PRESETS)
    add(
        "--presets",
        nargs="+",
        choices=presets,
        default=["mnist"],
        metavar="NAME",
        help="presets of the part step; default: mnist",
    )
    for name, default in (("batch-size", 128), ("steps", 20), ("rounds", 3), ("full-steps", 2)):
        add("--" + name, type=int, default=default, help="default %(default)s")
    add("--threads", type=int, default=os.cpu_count(), help="threads of each side; default %(default)s")
    add(
        "--clock",
        choices=("wall", "cpu"),
        default="wall",
        help="cpu: processor time, for one thread on a busy computer",
    )
    add("--data-dir", help="folder of MNIST")
    add("--json", help="also write the figures to this file")
    return parser.parse_args(argv)


def main(argv=None):
    """Run the benchmarks."""
    args, report = _parse(argv), {}
    os.environ["OMP_NUM_THREADS"] = str(args.threads)  # for the processes of the sides
    same = [PARTS[part](args, report) for part in args.parts]
    if args.json:
        Path(args.json).write_text(json.dumps(report, indent=2) + "\n")
    return 0 if all(same) else 1


if __name__ == "__main__":
    sys.exit(main())
