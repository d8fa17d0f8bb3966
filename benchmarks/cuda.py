"""Check the CUDA engine against the C engine, and time it on a GPU, without MXNet.

    python benchmarks/cuda.py [--ptx FILE] [--json FILE]
    python benchmarks/cuda.py --compile FILE --architecture 90    # PTX for a computer without NVRTC

The check passes if both engines draw the same chains. The RBM has MNIST's size, 784 x 500, and its
units are on about as often as in a trained RBM. Times are medians by the GPU's own clock. The
column "of the cache's rate" compares them with the second-level cache: the time to read the rows of
weights at 5.5 TB/s, as a share of the median.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path

import numpy as np
from common import ROOT

sys.path.insert(0, str(ROOT / "tests"))
import cuda_driver  # noqa: E402
import cuda_nvrtc  # noqa: E402

from gluon_rbm.backend import cuda  # noqa: E402
from gluon_rbm.backend.cuda import launch, self_check  # noqa: E402

VISIBLE, HIDDEN = 784, 500
_CACHE_RATE = 5.5e12


def rbm(generator):
    """Return parameters on the host, with 1/8 of the visible and 1/4 of the hidden units on."""
    return {
        "weight": generator.normal(0, 0.1, (VISIBLE, HIDDEN)).astype(np.float32),
        "visible_bias": np.full(VISIBLE, -2, np.float32),
        "hidden_bias": np.full(HIDDEN, -1.2, np.float32),
    }


def sweeps(device, arrays, chains, count):
    """Return the seconds of each call of `count` sweeps, and the seconds to read its rows.

    The second number assumes that the cache gives the rows of weights at its full rate.
    """
    hidden = device.array(np.zeros((chains, HIDDEN)), np.float32)
    found = {}

    def run():
        found["states"] = cuda.run(device, **arrays, key=[1], hidden=hidden, sweeps=count, products=False)

    times = device.seconds(run, 5)
    visible, hidden_state = (device.to_host(array).sum() for array in found["states"][:2])
    rows = 4 * (visible * launch.padded(HIDDEN) + hidden_state * launch.padded(VISIBLE))
    return times, count * float(rows) / _CACHE_RATE


def measure(device, report):
    """Print the table."""
    host = rbm(np.random.default_rng(0))
    arrays = {name: device.array(array, np.float32) for name, array in host.items()}
    print("| what | median | of the cache's rate |\n| --- | --- | --- |")
    for chains in (80, 1000, 10000):
        times, at_best = sweeps(device, arrays, chains, 30)
        median = statistics.median(times)
        print("| 30 sweeps of %d chains | %.2f ms | %.0f %% |" % (chains, 1e3 * median, 100 * at_best / median))
        report["%d chains" % chains] = times
    visible = device.array(np.zeros((10000, VISIBLE)), np.float32)
    betas = np.linspace(0, 1, 1001)
    times = device.seconds(lambda: cuda.anneal(device, **arrays, key=[1], visible=visible, betas=betas), 1)
    print("| AIS: 10,000 chains, 1,000 distributions | %.2f s | |" % statistics.median(times))
    report["ais"] = times


def main(argv=None):
    """Check, and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ptx", type=Path, metavar="FILE", help="kernels that were compiled elsewhere, as PTX")
    parser.add_argument("--compile", type=Path, metavar="FILE", help="write the kernels as PTX to this file, and stop")
    parser.add_argument("--architecture", default="80", help="compute capability, for --compile; default %(default)s")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to this file")
    args = parser.parse_args(argv)
    if args.compile:
        ptx, _ = cuda_nvrtc.compiled(cuda_nvrtc.library(), launch.source(), "compute_" + args.architecture)
        args.compile.write_bytes(ptx)
        return 0
    try:
        device = cuda_driver.DriverDevice(ptx=args.ptx.read_bytes() if args.ptx else None)
    except (OSError, cuda_driver.DriverError) as error:
        print("no GPU: %s" % error)
        return 2
    difference = self_check.difference(device)
    report = {"card": device.name, "architecture": device.architecture, "difference": difference}
    print("%s (sm_%s): %s" % (device.name, device.architecture, difference or "draws the chains of the C engine"))
    measure(device, report)
    if args.json:
        args.json.write_text(json.dumps(report, indent=2) + "\n")
    return 1 if difference else 0


if __name__ == "__main__":
    sys.exit(main())
