"""Estimate the time of a training step on three GPUs from published figures, without a GPU.

    python benchmarks/cuda_model.py

The estimate counts registers, occupancy, bytes and launches of kernels. NVRTC (`pip install
nvidia-cuda-nvrtc-cu11`) compiles the kernels and reports their registers. The rest is arithmetic
with the published figures; nothing is measured. Reading weights takes the larger of two times: the
time to read their bytes from the second-level cache, and the time to wait for them, eight rows at a
time.
"""

import re
import sys
from typing import NamedTuple

from common import ROOT

sys.path.insert(0, str(ROOT / "tests"))
import cuda_nvrtc  # noqa: E402

from gluon_rbm.backend.cuda import PRODUCTS_FROM, launch  # noqa: E402


class Card(NamedTuple):
    """Figures of a GPU. Most are from its maker's white paper.

    Others measured the cache's rate and the latency.
    """

    architecture: str
    processors: int
    threads: int  #: threads that a processor holds at once
    shared: int  #: bytes of shared memory of a processor
    cache_rate: float  #: bytes a second from the second-level cache
    latency: float  #: seconds until a row arrives
    flops: float  #: operations a second, float32
    launch: float  #: seconds from one of MXNet's kernels to the next


CARDS = {
    "GTX 1080 Ti": Card("61", 28, 2048, 96 << 10, 1.1e12, 170e-9, 11.3e12, 6e-6),
    "RTX 3090": Card("86", 82, 1536, 100 << 10, 2.0e12, 150e-9, 35.6e12, 5e-6),
    "H100": Card("90", 132, 2048, 228 << 10, 5.0e12, 150e-9, 67e12, 4e-6),
}
REGISTERS = 65536  # of a processor, on all these GPUs

# The documented run: MNIST, 500 hidden units, 80 images, PCD-30, 130 epochs.
VISIBLE, HIDDEN, BATCH, SWEEPS, STEPS = 784, 500, 80, 30, 130 * 750
ON = {"visible": 0.13 * VISIBLE, "hidden": 0.25 * HIDDEN}  # for MNIST, and for an RBM trained on it
SMALL_KERNELS = 45  # MXNet's kernels for the gradient, the update and other work
PRODUCT_EFFICIENCY = 0.5


def registers(nvrtc, architecture):
    """Return the number of registers of each kernel."""
    options = ("--fmad=false", "--ptxas-options=-v")
    _, said = cuda_nvrtc.compiled(nvrtc, launch.source(), "sm_" + architecture, "CUBIN", options)
    return {name: int(count) for name, count in re.findall(r"function '(\w+)'.*?Used (\d+) registers", said, re.DOTALL)}


def occupancy(card, count, threads, memory):
    """Return the number of thread blocks that a processor holds at once."""
    per_warp = -(-count * 32 // 256) * 256  # allocated in units of 256
    return min(card.threads // threads, REGISTERS // (per_warp * threads // 32), card.shared // (memory + 1024), 32)


def sweep_seconds(card, chains, resident):
    """Return two times of a sweep of chains that add rows: for the bytes, and for the waiting."""
    rows = {"hidden": ON["visible"], "visible": ON["hidden"]}
    units = {"hidden": launch.padded(HIDDEN), "visible": launch.padded(VISIBLE)}
    by_bytes = chains * sum(4 * rows[layer] * units[layer] for layer in rows) / card.cache_rate
    waits = sum(-(-rows[layer] // 8) for layer in rows) + 8  # 8 for barriers
    rounds = -(-chains // (card.processors * resident))
    return by_bytes, rounds * waits * card.latency


def main():
    """Print the table."""
    nvrtc = cuda_nvrtc.library()
    if nvrtc is None:
        print("there is no NVRTC: pip install nvidia-cuda-nvrtc-cu11")
        return 2
    threads = launch.geometry(VISIBLE, HIDDEN)
    memory = launch.shared_bytes(VISIBLE, HIDDEN, threads, False)
    print("%d + %d units: %d threads and %d bytes of shared memory a chain" % (VISIBLE, HIDDEN, threads, memory))
    print(
        "\n| card | registers of run, draw, anneal | chains at once on a processor | a sweep of %d chains, by bytes"
        " | by waiting | %d sweeps | a step | the documented run | products win from |" % (BATCH, SWEEPS)
    )
    print("|%s" % (" --- |" * 9))
    for name, card in CARDS.items():
        count = registers(nvrtc, card.architecture)
        resident = occupancy(card, count["run"], threads, memory)
        by_bytes, by_waiting = sweep_seconds(card, BATCH, resident)
        sweeps = SWEEPS * max(by_bytes, by_waiting)
        products = (
            2 * 2 * VISIBLE * HIDDEN * 2 * BATCH / (PRODUCT_EFFICIENCY * card.flops)
        )  # for p(h | v) and the gradient
        step = sweeps + (SMALL_KERNELS + 2) * card.launch + products
        a_chain = sweep_seconds(card, 1e6, resident)
        flops = 4 * VISIBLE * HIDDEN / (PRODUCT_EFFICIENCY * card.flops)
        crossing = 4 * card.launch / max(max(a_chain) / 1e6 - flops, 1e-12)
        print(
            "| %s | %d, %d, %d | %d | %.1f us | %.1f us | %.2f ms | %.2f ms | %.1f minutes | %.0f chains |"
            % (
                name,
                count["run"],
                count["draw"],
                count["anneal"],
                resident,
                1e6 * by_bytes,
                1e6 * by_waiting,
                1e3 * sweeps,
                1e3 * step,
                step * STEPS / 60,
                crossing,
            )
        )
    print("\nThe engine takes products from %d chains on." % PRODUCTS_FROM)
    return 0


if __name__ == "__main__":
    sys.exit(main())
