"""Time a sweep of Gaussian visible units against binary units and against Langevin steps in NumPy.

    python benchmarks/gaussian.py

Times are milliseconds of processor time, added up over threads. OMP_NUM_THREADS=1 gives one thread.

There are 500 chains of 300 visible and 2,000 hidden units, as with `--preset faces-32`. This
package draws the result of ten Langevin steps at once. Other packages make the steps one by one:
v <- v - s/2 (v - m) + sqrt(s) n, after the product with W that gives the mean m. "Ten Langevin
steps one by one" does this in NumPy. All sides take turns, so that other load of the computer
affects all of them.
"""

import argparse
import statistics
import time

import numpy as np
from common import ROOT  # noqa: F401 (puts the package on the path)

# isort: split
from gluon_rbm.models.parameters import Parameters
from gluon_rbm.models.visible_units import GAUSSIAN
from gluon_rbm.sampling import gibbs

_SWEEPS = 10
_STEPS = gibbs.Langevin(10, 0.5)


def _parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("visible", 300), ("hidden", 2000), ("chains", 500), ("rounds", 7)):
        parser.add_argument("--" + name, type=int, default=default, help="default %(default)s")
    return parser.parse_args()


def _one_by_one(parameters, visible, generator):
    """Make a Gibbs-Langevin sweep in NumPy, float32."""
    a, b, w = parameters
    hidden = (generator.random((len(visible), len(b)), np.float32) < 1 / (1 + np.exp(-(b + visible @ w)))).astype("f")
    mean = a + hidden @ w.T
    size = np.float32(_STEPS.step_size)
    for _ in range(_STEPS.steps):
        noise = generator.standard_normal(visible.shape, np.float32)
        visible = visible - size / 2 * (visible - mean) + np.sqrt(size) * noise
    return visible


def main():
    """Print the table."""
    args = _parse()
    generator = np.random.default_rng(0)
    weight = generator.normal(scale=0.08, size=(args.visible, args.hidden)).astype(np.float32)
    parameters = Parameters(np.zeros(args.visible, "f"), np.full(args.hidden, -3, "f"), weight)
    real = generator.normal(size=(args.chains, args.visible)).astype(np.float32)
    binary = (real > 0).astype(np.float32)

    def chains(engine, visible, **how):
        return lambda: gibbs.run_chains(parameters, visible=visible, sweeps=_SWEEPS, key=[0], engine=engine, **how)

    def steps():
        visible = real
        for _ in range(_SWEEPS):
            visible = _one_by_one(parameters, visible, generator)

    sides = {}
    for engine in ("native", "mxnet"):
        sides["binary, " + engine] = chains(engine, binary)
        sides["Gaussian, drawn, " + engine] = chains(engine, real, visible_units=GAUSSIAN)
        sides["Gaussian, ten Langevin steps at once, " + engine] = chains(
            engine, real, visible_units=GAUSSIAN, langevin=_STEPS
        )
    sides["Gaussian, ten Langevin steps one by one, NumPy"] = steps
    times = {name: [] for name in sides}
    for number in range(args.rounds + 1):
        for name, side in sides.items():
            start = time.process_time()
            side()
            if number:  # the first round warms up
                times[name].append((time.process_time() - start) / _SWEEPS * 1e3)
    reference = statistics.median(times["Gaussian, drawn, native"])
    print('| a sweep of %d chains | ms | ratio to "Gaussian, drawn, native" |' % args.chains)
    print("| --- | --- | --- |")
    for name, found in times.items():
        median = statistics.median(found)
        print("| %s | %.2f | %.2f |" % (name, median, median / reference))


if __name__ == "__main__":
    main()
