"""Compare the speed of this package with other software for the same work, and with its goals.

    python benchmarks/compare.py --reference DIR --weights FILE --pydeep DIR [--json FILE]

The other software is MXNet's original example, PyTorch, scikit-learn, PyDeep and plain NumPy. The
benchmark takes twenty minutes on two cores, and prints a Markdown table.

--reference takes the folder of the original `binary_rbm.py` (apache/mxnet,
example/restricted-boltzmann-machine). --weights takes the `rbm.params` of a training run. --pydeep
takes a checkout of MelJan/PyDeep; without it, annealed importance sampling in plain NumPy takes its
place. PyTorch is compared if it is installed. A comparison is skipped if something for it is
missing, and a line says so.

Every side of a comparison runs in its own process. The sides take turns, for several rounds. A
ratio is the median of one side over the median of the other. The smallest and the largest ratio of
a single round stand in brackets. All sides compute in float32, after a warm-up, with their default
number of threads. Some figures have an upper limit and no other side; they are made of medians,
too. The column "others used" is the share of the processors that other programs used meanwhile.
Above a few percent, do not trust the figures.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Callable, NamedTuple, Optional

import numpy as np
from common import Bystanders, in_turn, initial_parameters, median, read_images, read_parameters, settle

# isort: split
from gluon_rbm.backend import framework, native
from gluon_rbm.errors import InputError
from gluon_rbm.likelihood.rules import WEIGHT_BITS

NUM_VISIBLE, NUM_HIDDEN, BATCH, K = 784, 500, 80, 30
CHAINS, DISTRIBUTIONS = 100, 1000
MANY = 10000
MNIST_FIT = ("mnist", 10000, 500, 80)


class Row(NamedTuple):
    """A ratio and its goal. The ratio is the seconds of side `other` over the seconds of `ours`."""

    what: str
    ours: str
    other: str
    goal: float
    stretch: Optional[float] = None
    percent: bool = False

    def number(self, ratio):
        """Format a ratio."""
        return "%.0f %%" % (100 * ratio) if self.percent else "%.1fx" % ratio

    def verdict(self, ratio):
        """Say whether a ratio meets the goals."""
        met = "met" if ratio >= self.goal else "missed"
        if not self.stretch:
            return met
        return "%s; stretch of %s %s" % (
            met,
            self.number(self.stretch),
            "met" if ratio >= self.stretch else "missed",
        )


class Model(NamedTuple):
    """An archive of the arrays that the sides start from: its path and a description."""

    path: str
    state: str
    trained: bool

    @classmethod
    def save(cls, folder, name, parameters, images):
        """Save parameters with settled chains, and return the model."""
        arrays, path = settle(parameters, images), str(Path(folder) / (name + ".npz"))
        np.savez(path, **arrays)
        on = tuple(100 * arrays[layer].mean() for layer in ("visible", "hidden"))
        size = "%dx%d" % arrays["interaction_weight"].shape
        return cls(path, "%s, %s weights (%.0f %% / %.0f %% of units on)" % (size, name, *on), name == "trained")


class Limit(NamedTuple):
    """A figure with an upper limit: a function of what `in_turn` returns, its unit and its goal."""

    what: str
    figure: Callable[[dict], float]
    unit: str
    goal: float


# --- Parts: each yields (sides, rows) -------------------------------------------------------------


def steps(args, models, skip):
    """Compare training steps: scripts with the original operator, the block with MXNet's engine."""
    if not args.reference:
        skip("steps of the original operator: no --reference")
    for model in models:
        what = "training step, %s, batch %d, k = %d" % (model.state, BATCH, K)
        common = {"model": model.path, "k": K, "steps": args.steps}
        ours = {"scripts, %d bits" % bits: ("script_step", {**common, "weight_bits": bits}) for bits in WEIGHT_BITS}
        sides = {
            **ours,
            "block and Trainer": ("step", common),
            "own MXNet engine": ("step", {**common, "engine": "mxnet"}),
            "30 sweeps": ("sweeps", {"model": model.path, "number": K, "repeats": args.steps}),
        }
        rows = [Row(what, "block and Trainer", "own MXNet engine", 4)]
        if args.reference:
            sides["original operator"] = ("step", {**common, "folder": str(Path(args.reference).resolve())})
            goals = {16: 50, 32: 35} if model.trained else {16: 35, 32: 25}
            rows = [
                Row(what, "scripts, %d bits" % bits, "original operator", goals[bits]) for bits in WEIGHT_BITS
            ] + rows

        def outside(measured):
            return 1e3 * (median(measured["scripts, 32 bits"]) - median(measured["30 sweeps"]))

        yield sides, [*rows, Limit("outside the sweeps, " + what, outside, "ms", 2.5)]


def spread(args, models, skip):
    """Compare the same step in ten processes or more: the slowest median over the fastest."""
    common = {"model": models[-1].path, "k": K, "steps": args.steps}

    def ratio(measured):
        medians = [median([one]) for processes in measured.values() for one in processes]
        return max(medians) / min(medians)

    sides = {"process %d" % number: ("script_step", common) for number in range(-(-10 // args.rounds))}
    yield sides, [Limit("step of the scripts in ten processes or more, slowest by fastest median", ratio, "x", 1.2)]


def sweeps(args, models, skip):
    """Compare sweeps of the chains with PyTorch."""
    if not importlib.util.find_spec("torch"):
        skip("sweeps in PyTorch: it is not installed")
        return
    for model in models:
        common = {"model": model.path, "number": K, "repeats": args.steps}
        sides = {
            "32 bits": ("sweeps", common),
            "16 bits": ("sweeps", {**common, "fixed_point": True}),
            "PyTorch, rand < p": ("sweeps_torch", {**common, "bernoulli": False}),
            "PyTorch, bernoulli": ("sweeps_torch", {**common, "bernoulli": True}),
        }
        what, goal = "%d sweeps of %d chains, %s" % (K, BATCH, model.state), 4 if model.trained else 2
        others = [label for label in sides if label.startswith("PyTorch")]
        yield sides, [Row(what, bits, other, goal) for bits in ("32 bits", "16 bits") for other in others]


def many(args, models, skip):
    """Compare sweeps of many chains with plain NumPy."""
    arrays = dict(np.load(models[-1].path))
    for layer in ("visible", "hidden"):
        arrays[layer] = np.resize(arrays[layer], (MANY, arrays[layer].shape[1]))
    path = models[-1].path + ".many.npz"
    np.savez(path, **arrays)
    sides = {
        "32 bits": ("sweeps", {"model": path, "number": 20, "repeats": 2}),
        "16 bits": ("sweeps", {"model": path, "number": 20, "repeats": 2, "fixed_point": True}),
        "plain NumPy, float32": (
            "sweeps_numpy",
            {"model": path, "number": 20, "repeats": 1, "dtype": "float32", "clock": "wall"},
        ),
    }
    what = "20 sweeps of %d chains, %s" % (MANY, models[-1].state)
    yield sides, [Row(what, bits, "plain NumPy, float32", 7) for bits in ("32 bits", "16 bits")]


def epoch(args, models, skip):
    """Compare an epoch of the script with scikit-learn."""
    if args.dataset is None:
        skip("epoch of scikit-learn: no data set")
        return
    argv = ["--dataset", args.dataset, "--no-cuda", "--k", 1, "--batch-size", BATCH, "--num-hidden", NUM_HIDDEN]
    argv += ["--num-epoch", 2, "--monitor-every", 2] + (["--data-dir", args.data_dir] if args.data_dir else [])
    theirs = {"dataset": args.dataset, "data_dir": args.data_dir, "batch_size": BATCH, "num_hidden": NUM_HIDDEN}
    what = "epoch of %s, k = 1, batch %d, %d hidden units" % (args.dataset, BATCH, NUM_HIDDEN)
    yield (
        {"script": ("epoch", {"argv": list(map(str, argv))}), "scikit-learn": ("epoch_sklearn", theirs)},
        [Row(what, "script", "scikit-learn", 2, 3)],
    )


def fits(args, models, skip):
    """Compare epochs of the estimators, as `estimators.py` does for more cases."""
    for dataset, count, num_hidden, batch_size in (("digits", 1437, 100, 10), ("digits", 1437, 256, 10), MNIST_FIT):
        if dataset != "digits" and args.dataset is None:
            skip("fit of mnist: no data set")
            continue
        for dtype in ("float32", "float64"):
            common = {"dataset": dataset, "count": count, "num_hidden": num_hidden}
            common["data_dir"] = None if dataset == "digits" else args.data_dir
            common.update(batch_size=batch_size, dtype=dtype, clock="wall")
            kinds = ("BinaryRBM", "BernoulliRBM")
            sides = {kind: ("estimators.epoch", {"estimator": kind, **common}) for kind in kinds}
            what = "fit, an epoch of %s, %d, batch %d, %d hidden units, %s"
            yield sides, [Row(what % (dataset, count, batch_size, num_hidden, dtype), *kinds, 2)]


def exercise(args, models, skip):
    """Measure an epoch of a student's exercise (`--preset exercise`)."""
    if args.dataset is None:
        skip("epochs of a student's exercise: no data set")
        return
    where = ["--data-dir", args.data_dir] if args.data_dir else []
    for num_hidden, goal in ((10, 1.0), (400, 3.0)):
        argv = ["--preset", "exercise", "--no-cuda", "--num-hidden", str(num_hidden), "--num-epoch", "3", *where]
        what = "epoch of a student's exercise (--preset exercise), %d hidden units" % num_hidden
        yield (
            {"script": ("epoch", {"argv": argv})},
            [Limit(what, lambda measured: median(measured["script"]), "s", goal)],
        )


def commands(args, models, skip):
    """Measure the time of the import and of short commands."""

    def seconds_of(label):
        return lambda measured: median(measured[label])

    def of_import(measured):
        return median(measured["import"]) - median(measured["nothing"])

    sides = {
        "nothing": ("command", {"argv": ["-c", "pass"], "repeats": 5}),
        "import": ("command", {"argv": ["-c", "import gluon_rbm"], "repeats": 5}),
        "help": ("command", {"argv": ["binary_rbm_gluon.py", "--help"], "repeats": 5}),
        "doctor": ("command", {"argv": ["-m", "gluon_rbm", "doctor"], "repeats": 3}),
    }
    yield (
        sides,
        [
            Limit("import gluon_rbm", of_import, "s", 0.1),
            Limit("binary_rbm_gluon.py --help", seconds_of("help"), "s", 1),
            Limit("gluon_rbm doctor", seconds_of("doctor"), "s", 3),
        ],
    )


def memory(args, models, skip):
    """Measure the peak memory of a training run."""
    if args.dataset is None:
        skip("peak memory: no data set")
        return
    argv = ["--no-cuda", "--num-epoch", "2", *(["--data-dir", args.data_dir] if args.data_dir else [])]
    figure = Limit("peak memory, two epochs of the documented run", lambda found: median(found["script"]), "MB", 450)
    yield {"script": ("peak_memory", {"argv": argv})}, [figure]


def annealing(args, models, skip):
    """Compare annealed importance sampling with PyDeep or plain NumPy."""
    model = models[-1]
    common = {"model": model.path, "chains": CHAINS, "distributions": DISTRIBUTIONS}
    if args.pydeep:
        other, side = "PyDeep", ("annealing_pydeep", {**common, "folder": str(Path(args.pydeep).resolve())})
    else:
        skip("annealing by PyDeep: no --pydeep; plain NumPy takes its place")
        other, side = "plain NumPy", ("annealing_numpy", common)
    what = "AIS, %d distributions, %d chains, %s" % (DISTRIBUTIONS, CHAINS, model.state)
    yield {"ours": ("annealing", {**common, "repeats": 3}), other: side}, [Row(what, "ours", other, 5)]


def kernel(args, models, skip):
    """Compare the native kernel with the processor's limit, and two threads with one thread."""
    if not native.available():
        skip("the native kernel: " + native.available().reason)
        return
    sides = {"one thread": ("kernel", {"threads": 1, "repeats": args.steps})}
    rows = []
    if shutil.which(os.environ.get("CC", "gcc")):
        sides["limit of this processor"] = ("limit", {"repeats": args.steps})
        what = "native kernel, one thread, half of all units on"
        rows.append(Row(what, "one thread", "limit of this processor", 0.6, percent=True))
    else:
        skip("the processor's limit: no C compiler")
    if native.features()["threads"] > 1:
        sides["two threads"] = ("kernel", {"threads": 2, "repeats": args.steps})
        rows.append(Row("native kernel, two threads", "two threads", "one thread", 1.8))
    else:
        skip("two threads: there is one processor")
    yield sides, rows


_PARTS = (steps, spread, sweeps, many, epoch, fits, exercise, annealing, kernel, commands, memory)
PARTS = {part.__name__: part for part in _PARTS}


# --- Report ---------------------------------------------------------------------------------------


def versions():
    """Return versions of software, the processor and the number of threads, by name."""
    found = framework.versions()
    for name in ("scikit-learn", "torch"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    found["processor"] = _processor()
    found["threads"] = native.features()["threads"] if native.available() else os.cpu_count()
    return found


def _processor():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        lines = []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown")


COLUMNS = ("what", "ms", "against", "its ms", "ratio", "goal", "verdict", "others used")


def result(row, measured):
    """Return the cells of a row, column -> text or number, and with them `measured_ratio`."""
    if isinstance(row, Limit):
        figure = row.figure(measured)
        by_round = [row.figure(dict(zip(measured, ([one] for one in some)))) for some in zip(*measured.values())]
        return {
            "what": row.what,
            "ms": "",
            "against": "",
            "its ms": "",
            "ratio": "**%.3g %s** (%.3g to %.3g)" % (figure, row.unit, min(by_round), max(by_round)),
            "goal": "at most %g %s" % (row.goal, row.unit),
            "verdict": "met" if figure <= row.goal else "missed",
            "measured_ratio": figure,
        }
    ours, other = measured[row.ours], measured[row.other]
    ratio = median(other) / median(ours)
    by_round = [median([theirs]) / median([mine]) for mine, theirs in zip(ours, other)]
    return {
        "what": "%s: %s" % (row.what, row.ours),
        "ms": round(1e3 * median(ours), 2),
        "against": row.other,
        "its ms": round(1e3 * median(other), 2),
        "ratio": "**%s** (%s to %s)" % tuple(map(row.number, (ratio, min(by_round), max(by_round)))),
        "goal": "at least " + row.number(row.goal),
        "verdict": row.verdict(ratio),
        "measured_ratio": ratio,
    }


def print_line(cells):
    """Print a line of the table."""
    print("| %s |" % " | ".join(map(str, cells)), flush=True)


def main(argv=None):
    """Run the benchmarks."""
    args = parse(argv)
    report = {"versions": versions(), "rows": [], "skipped": []}
    print("; ".join("%s %s" % pair for pair in report["versions"].items()) + "\n")
    with tempfile.TemporaryDirectory() as folder:
        models = prepare(args, folder, report["skipped"].append)
        print_line(COLUMNS)
        print_line(["---"] * len(COLUMNS))
        for part in args.parts:
            for sides, rows in PARTS[part](args, models, report["skipped"].append):
                bystanders = Bystanders()
                measured = in_turn(sides, args.rounds)
                share = bystanders.share()
                for row in rows:
                    report["rows"].append({**result(row, measured), "others used": "%.0f %%" % (100 * share)})
                    print_line(report["rows"][-1][column] for column in COLUMNS)
    print("".join("\nSkipped: %s." % line for line in report["skipped"]))
    if args.json:
        Path(args.json).write_text(json.dumps(report, indent=2) + "\n")
    return 0


def prepare(args, folder, skip):
    """Return the models: with initial weights and, if --weights is given, with trained weights."""
    parameters = {"initial": initial_parameters(NUM_VISIBLE, NUM_HIDDEN)}
    if args.weights:
        parameters["trained"] = read_parameters(args.weights)
    else:
        skip("trained weights: no --weights")
    try:
        images = read_images(BATCH, NUM_VISIBLE, args.dataset, args.data_dir)
    except InputError as error:
        skip("images of %s (%s); uniform noise takes their place" % (args.dataset, error))
        args.dataset = None
        images = read_images(BATCH, NUM_VISIBLE)
    return [Model.save(folder, name, arrays, images) for name, arrays in parameters.items()]


def parse(argv):
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference", help="folder of the original binary_rbm.py")
    parser.add_argument("--weights", help="rbm.params of a run on the data set, or .npz with the same arrays")
    parser.add_argument("--pydeep", help="a checkout of MelJan/PyDeep")
    parser.add_argument("--dataset", default="mnist", help="as in binary_rbm_gluon.py; default %(default)s")
    parser.add_argument("--data-dir", help="folder of the data set")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="default: all of them")
    parser.add_argument("--rounds", type=int, default=3, help="default %(default)s")
    parser.add_argument("--steps", type=int, default=20, help="timed calls in each process; default %(default)s")
    parser.add_argument("--json", help="also write the figures to this file")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
