"""What the benchmarks share: the clock, processes in turn, and the machine with its chains that all sides run."""

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from gluon_rbm.data.batches import iterate_batches

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # gluon_rbm is imported where it is needed: see `sides.py`

LEARNED = ("visible_layer_bias", "hidden_layer_bias", "interaction_weight")
_SETTLING_SWEEPS = 300


# --- Clock ------------------------------------------------------------------------------------------------------------


def seconds(function, repeats, clock="wall"):
    """Seconds of each call, after one that warms up; clock "cpu": of processors, for one thread on a busy machine."""
    now = {"wall": time.perf_counter, "cpu": time.process_time}[clock]
    function()
    times = []
    for _ in range(repeats):
        start = now()
        function()
        times.append(now() - start)
    return times


def in_turn(sides, rounds):
    """Run every side once a round, so that whatever else the machine does hits all of them.

    sides : label -> (name of a function of `sides.py`, its arguments)

    Returns label -> a list with what the side measured in each round: a dict, part -> seconds of each call.
    """
    measured = {label: [] for label in sides}
    for _ in range(rounds):
        for label, (name, arguments) in sides.items():
            command = [sys.executable, str(ROOT / "benchmarks" / "sides.py"), name, json.dumps(arguments)]
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            measured[label].append(json.loads(output.splitlines()[-1]))
    return measured


def median(measured, part=None):
    """Median seconds, over all rounds, of one part of a call, or of the whole: the parts of each call added up."""
    return statistics.median(
        time for times in measured for time in (times[part] if part else map(sum, zip(*times.values())))
    )


class Bystanders:
    """What others than this process and its children do to the processors meanwhile: a figure's measure of trust."""

    def __init__(self):
        self._start = self._now()

    def share(self):
        """Part of all processors' time since the start; NaN where there is no /proc/stat."""
        others, total = (now - start for now, start in zip(self._now(), self._start))
        return others / total

    @staticmethod
    def _now():
        """Seconds that others have used, and all seconds, used or not."""
        try:
            ticks = Path("/proc/stat").read_text().split(None, 9)[1:9]
        except OSError:  # not Linux
            return np.nan, np.nan
        seconds = np.array(ticks, float) / os.sysconf("SC_CLK_TCK")
        idle = seconds[3:5].sum()  # and waiting for disks
        return seconds.sum() - idle - sum(os.times()[:4]), seconds.sum()


def conclude(bystanders, figures, path=None):
    """Print what others did to the processors, and write the figures as JSON where a path is given."""
    print("\nOthers used %.0f %% of the processors." % (100 * bystanders.share()))
    if path:
        Path(path).write_text(json.dumps(figures, indent=2))


# --- Machine ----------------------------------------------------------------------------------------------------------


def initial_parameters(num_visible, num_hidden):
    """As training starts, with half of all units on: name -> array."""
    weight = np.random.default_rng(0).normal(scale=0.01, size=(num_visible, num_hidden))
    arrays = (np.zeros(num_visible), np.zeros(num_hidden), weight)
    return {name: array.astype(np.float32) for name, array in zip(LEARNED, arrays)}


def read_parameters(path):
    """The learned arrays of a run's `rbm.params`, or of a .npz archive with the same names."""
    if str(path).endswith(".npz"):
        arrays = np.load(path)
    else:
        from gluon_rbm.backend.framework import mx

        arrays = {name: array.asnumpy() for name, array in mx.nd.load(str(path)).items()}
    return {name: np.asarray(arrays[name], np.float32) for name in LEARNED}


def read_images(count, num_visible, dataset=None, data_dir=None):
    """The first training images, float32 (count, num_visible); without a data set uniform noise."""
    from gluon_rbm.data import datasets

    if dataset is None:
        return np.random.default_rng(1).random((count, num_visible), dtype=np.float32)
    data = datasets.load(dataset, data_dir)
    return next(iter(iterate_batches(data.train_images, data.maximum, count)))


def settle(parameters, images):
    """All that a side needs: the parameters, `data`, and `visible` and `hidden`, states typical of the machine.

    The states are those of chains that started at the images and have long left them.
    """
    from gluon_rbm.backend.arrays import from_host
    from gluon_rbm.models.energy import Parameters
    from gluon_rbm.sampling import gibbs

    arrays = Parameters(*(from_host(parameters[name]) for name in LEARNED))
    chains = gibbs.run_chains(arrays, visible=from_host(images), sweeps=_SETTLING_SWEEPS, key=[1])
    states = {"visible": chains.visible_sample.asnumpy(), "hidden": chains.hidden_sample.asnumpy()}
    return {**parameters, "data": images, **states}
