"""Code that the benchmarks share: timing, processes that take turns, and an RBM with chains.

A side is one of the programs that a benchmark compares. It is a function that runs in a process of
its own (see `sides.py`).
"""

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the package of this clone, also where none is installed

from gluon_rbm.data.batches import iterate_batches  # noqa: E402

LEARNED = ("visible_layer_bias", "hidden_layer_bias", "interaction_weight")
_SETTLING_SWEEPS = 300


# --- Clock ----------------------------------------------------------------------------------------


def seconds(function, repeats, clock="wall"):
    """Return the seconds of each call of a function, after one call that warms up.

    The clock "wall" counts elapsed time. The clock "cpu" counts the processor time of this process,
    which suits one thread on a busy computer.
    """
    now = {"wall": time.perf_counter, "cpu": time.process_time}[clock]
    function()
    times = []
    for _ in range(repeats):
        start = now()
        function()
        times.append(now() - start)
    return times


def in_turn(sides, rounds):
    """Run every side once in each round, so that other load of the computer affects all sides.

    sides : label -> (function of `sides.py` or MODULE.FUNCTION, its arguments)

    Returns label -> a list of one dict for each round: part of a call -> seconds of each call.
    """
    measured = {label: [] for label in sides}
    for _ in range(rounds):
        for label, (name, arguments) in sides.items():
            command = [sys.executable, str(ROOT / "benchmarks" / "sides.py"), name, json.dumps(arguments)]
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            measured[label].append(json.loads(output.splitlines()[-1]))
    return measured


def median(measured, part=None):
    """Return the median over all calls of all rounds: seconds of one part, or of the whole call."""
    return statistics.median(
        time for times in measured for time in (times[part] if part else map(sum, zip(*times.values())))
    )


class Bystanders:
    """Measure how busy other programs keep the processors. If they do, do not trust the figures."""

    def __init__(self):
        self._start = self._now()

    def share(self):
        """Return the share of processor time that others used since the start.

        It is NaN without /proc/stat.
        """
        others, total = (now - start for now, start in zip(self._now(), self._start))
        return others / total

    @staticmethod
    def _now():
        """Return the processor seconds of other programs, and all seconds, used or idle."""
        try:
            ticks = Path("/proc/stat").read_text().split(None, 9)[1:9]
        except OSError:  # not Linux
            return np.nan, np.nan
        seconds = np.array(ticks, float) / os.sysconf("SC_CLK_TCK")
        idle = seconds[3:5].sum()  # idle, or waiting for disks
        return seconds.sum() - idle - sum(os.times()[:4]), seconds.sum()


def conclude(bystanders, figures, path=None):
    """Print the share that other programs used, and write the figures as JSON to a given path."""
    print("\nOther programs used %.0f %% of the processors." % (100 * bystanders.share()))
    if path:
        Path(path).write_text(json.dumps(figures, indent=2))


# --- RBM ------------------------------------------------------------------------------------------


def initial_parameters(num_visible, num_hidden):
    """Return parameters as at the start of training, with half of all units on: name -> array."""
    weight = np.random.default_rng(0).normal(scale=0.01, size=(num_visible, num_hidden))
    arrays = (np.zeros(num_visible), np.zeros(num_hidden), weight)
    return {name: array.astype(np.float32) for name, array in zip(LEARNED, arrays)}


def read_parameters(path):
    """Read the learned arrays from a run's `rbm.params` or an .npz archive with the same names."""
    if str(path).endswith(".npz"):
        arrays = np.load(path)
    else:
        from gluon_rbm.backend.framework import mx

        arrays = {name: array.asnumpy() for name, array in mx.nd.load(str(path)).items()}
    return {name: np.asarray(arrays[name], np.float32) for name in LEARNED}


def read_images(count, num_visible, dataset=None, data_dir=None):
    """Return the first training images, float32 (count, num_visible).

    Without a data set, return uniform noise.
    """
    from gluon_rbm.data import datasets

    if dataset is None:
        return np.random.default_rng(1).random((count, num_visible), dtype=np.float32)
    data = datasets.load(dataset, data_dir)
    return next(iter(iterate_batches(data.train_images, data.maximum, count)))


def settle(parameters, images):
    """Return all arrays that a side needs: the parameters, images, and typical states of chains.

    `data` has the images. The chains start at the images and run for 300 sweeps; `visible` and
    `hidden` have their last states.
    """
    from gluon_rbm.backend.arrays import from_host
    from gluon_rbm.models.parameters import Parameters
    from gluon_rbm.sampling import gibbs

    arrays = Parameters(*(from_host(parameters[name]) for name in LEARNED))
    chains = gibbs.run_chains(arrays, visible=from_host(images), sweeps=_SETTLING_SWEEPS, key=[1])
    states = {"visible": chains.visible_sample.asnumpy(), "hidden": chains.hidden_sample.asnumpy()}
    return {**parameters, "data": images, **states}
