"""Time a training step of `--chains trajectory` against a step of PCD.

    python benchmarks/trajectory.py                # MNIST, best model's weights, k = 30, 100 chains
    python benchmarks/trajectory.py --k 10

Chains along a trajectory exchange states with snapshots. Here the snapshots are RBMs on a path to
the best model (`gluon_rbm.sampling.matching`), and neighbours make about 40 % of the exchanges that
they try. This is the best case for a trajectory. The two kinds of step take turns, in blocks of
five steps. About every k steps a snapshot makes k sweeps and an exchange at once, so the benchmark
compares means over blocks, not medians over steps. Run nothing else on the computer meanwhile.
"""

import argparse
import sys
import time

import numpy as np
from common import ROOT

from gluon_rbm import load_dataset
from gluon_rbm.data.batches import iterate_batches
from gluon_rbm.data.statistics import base_visible_bias
from gluon_rbm.likelihood import learning, snapshots
from gluon_rbm.likelihood.rules import LearningRule
from gluon_rbm.models.files import read_parameters
from gluon_rbm.models.parameters import Parameters
from gluon_rbm.sampling import matching

_STEPS = 5  # steps of a block


def _parse(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=str(ROOT / "docs/reference-runs/best-mnist"), help="default %(default)s")
    parser.add_argument("--dataset", default="mnist", help="default %(default)s")
    most = LearningRule().num_snapshots
    for name, default in (("k", 30), ("chains", 100), ("blocks", 60), ("snapshots", most)):
        parser.add_argument("--" + name, type=int, default=default, help="default %(default)s")
    return parser.parse_args(argv)


def _thinned(path, number):
    """Return the path with at most `number` of its RBMs, and among these the first."""
    kept = np.unique(np.linspace(0, len(path.rbms) - 1, number).round().astype(int))
    return path._replace(rbms=[path.rbms[n] for n in kept], chains=[path.chains[n] for n in kept])


def _aux_states(rule, path, num_chains, shape, generator):
    """Return the arrays that the rule keeps between steps, with states of the path's chains."""
    arrays = {
        name: np.zeros(shape_of, np.float32) for name, shape_of in learning.states(rule, num_chains, *shape).items()
    }
    arrays[learning.SAMPLES[0]][:] = path.chains[-1][:num_chains]
    arrays[learning.SAMPLES[1]][:] = generator.random((num_chains, shape[1])) < 0.5
    if rule.chains == "trajectory":
        number = len(path.rbms)
        for name, *of_rbms in zip(snapshots.PARAMETERS, *path.rbms):
            arrays[name][:number] = of_rbms
        arrays[snapshots.CHAINS][:number] = [rows[:num_chains] for rows in path.chains]
        arrays[snapshots.NUMBER][:], arrays[snapshots.RATES][:number] = number, 0.4
    return arrays


def main(argv=None):
    """Run the benchmark."""
    args, generator = _parse(argv), np.random.default_rng(0)
    parameters = Parameters(*(array.asnumpy() for array in read_parameters(args.model)))
    data = load_dataset(args.dataset)
    rows = next(iterate_batches(data.train_images, data.maximum, 10000, key=[0], binarize="sample"))
    means = matching.Means.of(parameters, base_visible_bias(data), rows)
    path = _thinned(matching.matched_path(parameters, means, max(args.chains, 100), key=[0]), args.snapshots)
    rules = {
        "PCD": LearningRule(centering=0.01),
        "by trajectory": LearningRule(chains="trajectory", centering=0.01, num_snapshots=len(path.rbms) + 1),
    }
    shape = parameters.interaction_weight.shape
    states = {name: _aux_states(rule, path, args.chains, shape, generator) for name, rule in rules.items()}
    gradients = [np.empty_like(array) for array in parameters]
    seconds = {name: [] for name in rules}
    for block in range(args.blocks):
        for name, rule in rules.items():
            begin = time.perf_counter()
            for step in range(_STEPS):
                learning.store_step_gradients(
                    rule,
                    gradients,
                    ("write",) * 3,
                    parameters,
                    data=rows[: args.chains],
                    aux_states=states[name],
                    sweeps=args.k,
                    key=[block, step],
                    engine="native",
                )
            seconds[name].append((time.perf_counter() - begin) / _STEPS)
    rates = states["by trajectory"][snapshots.RATES][: len(path.rbms)]
    print("%d snapshots, rates of exchanges %.2f to %.2f" % (len(path.rbms), rates.min(), rates.max()))
    for name, found in seconds.items():
        print("%-14s %.2f ms a step, k = %d, %d chains" % (name, 1e3 * np.mean(found), args.k, args.chains))
    print("ratio %.2f" % (np.mean(seconds["by trajectory"]) / np.mean(seconds["PCD"])))
    return 0


if __name__ == "__main__":
    sys.exit(main())
