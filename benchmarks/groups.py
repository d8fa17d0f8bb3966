"""Time a sweep with many softmax groups against a sweep with as many binary units.

    python benchmarks/groups.py [--repeats 15] [--hidden 100] [--chains 100]

A unit of either kind is on with probability 1 / (size of a group). Calls of both kinds take turns.
The ratio is the median with groups over the median with binary units.
"""

import argparse
import functools

import numpy as np
from common import Bystanders, conclude, seconds

# isort: split
from gluon_rbm.backend import native

_SIZES = ((1, 10), (1000, 5), (200, 21), (5000, 2))


def main():
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--hidden", type=int, default=100)
    parser.add_argument("--chains", type=int, default=100)
    arguments = parser.parse_args()
    bystanders, generator = Bystanders(), np.random.default_rng(0)
    print("| groups | binary units beside | groups ms | binary ms | ratio |\n| --- | --- | --- | --- | --- |")
    for number, size in _SIZES:
        beside = 784 if number == 1 else 0
        num_visible, on = beside + number * size, 1 / size
        weight = generator.normal(scale=0.01, size=(num_visible, arguments.hidden)).astype(np.float32)
        bias = np.full(num_visible, np.log(on / (1 - on)), np.float32)
        hidden = generator.integers(0, 2, (arguments.chains, arguments.hidden)).astype(np.float32)
        sweep = functools.partial(
            native.run, weight, bias, np.zeros(arguments.hidden, np.float32), hidden=hidden, sweeps=30, key=[1]
        )
        groups = tuple((first, first + size) for first in range(beside, num_visible, size))
        times = [
            [seconds(functools.partial(sweep, visible_units=which), 1)[0] for which in (groups, ())]
            for _ in range(arguments.repeats)
        ]
        grouped, binary = np.median(times, axis=0)
        print(
            "| %d of %d | %d | %.1f | %.1f | %.2f |"
            % (number, size, beside, 1e3 * grouped, 1e3 * binary, grouped / binary)
        )
    conclude(bystanders, None)
    return 0


if __name__ == "__main__":
    main()
