"""Measure log-likelihoods of held-out protein sequences against independent places and PGM.

    python benchmarks/sequences.py FILE.fasta ... [--num-epoch N] [--pgm FOLDER --pgm-python FILE]
                                   [--json FILE]

PGM is the RBM of jertubiana/PGM. To learn 8,000 sequences, PGM took 2 to 17 minutes, depending on
the computer, and this package took 20 to 75 seconds.

The sequences of a file are split by clusters (80 % identity) and weighted, in training and in the
test (see `gluon_rbm.data.sequences`). The model of independent places has a frequency of each
letter at each place. Both RBMs have 100 binary hidden units and make the same number of passes,
with ten sweeps a step. PGM has its authors' regularization. FOLDER holds the source of PGM, and
--pgm-python names a Python that has numba. Annealed importance sampling gives log Z of both RBMs
from below and from above. Figures are in nats per sequence, with the standard error over the test
sequences.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from common import ROOT, Bystanders, conclude

# isort: split
from gluon_rbm.backend.framework import mx
from gluon_rbm.data import datasets
from gluon_rbm.data.statistics import base_visible_bias
from gluon_rbm.likelihood import ais
from gluon_rbm.likelihood.scores import LogLikelihood, mean_log_likelihood
from gluon_rbm.models.parameters import Parameters

_NUM_HIDDEN, _SWEEPS, _BATCH = 100, 10, 100
# fmt: off
_FLAGS = [
    "--centering", "0.01", "--initial-visible-bias", "data", "--learning-rate", "20", "--momentum", "0.5",
    "--weight-decay", "2e-3", "--learning-rate-schedule", "linear", "--hold", "0.3", "--average", "0.2",
    "--no-cuda", "--seed", "1",
]
# fmt: on
_PGM = """
import json, sys, time
import numpy as np
sys.path.insert(0, sys.argv[1])
import rbm
data, settings = np.load(sys.argv[2]), json.loads(sys.argv[4])
model = rbm.RBM(n_v=data["sequences"].shape[1], n_h=settings.pop("n_h"), visible="Potts", hidden="Bernoulli",
                  n_cv=int(data["letters"]), random_state=0)
model.fit(data["sequences"][:200], weights=data["weights"][:200], verbose=0, **{**settings, "n_iter": 1})  # compiles
model = rbm.RBM(n_v=data["sequences"].shape[1], n_h=model.n_h, visible="Potts", hidden="Bernoulli",
                  n_cv=int(data["letters"]), random_state=0)
start = time.perf_counter()
model.fit(data["sequences"], weights=data["weights"], verbose=0, **settings)
np.savez(sys.argv[3], visible=model.vlayer.fields, hidden=model.hlayer.fields, weight=model.weights,
         seconds=time.perf_counter() - start)
"""


def independent(data):
    """Return the log-likelihood of the test sequences if places are independent."""
    units = data.test_images.reshape(len(data.test_images), -1)
    bias = base_visible_bias(data)  # log p of each letter in each place
    return LogLikelihood.of(units @ bias, True, data.test_weights)


def train(path, num_epoch):
    """Return the parameters and seconds of a run of `binary_rbm_gluon.py`."""
    with tempfile.TemporaryDirectory() as folder:
        sizes = ["--num-hidden", _NUM_HIDDEN, "--k", _SWEEPS, "--batch-size", _BATCH, "--num-epoch", num_epoch]
        sizes += ["--monitor-every", num_epoch]
        command = [sys.executable, ROOT / "binary_rbm_gluon.py", "--dataset", path, *sizes, *_FLAGS]
        start = time.perf_counter()
        subprocess.run(list(map(str, [*command, "--output-dir", folder])), check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - start
        arrays = mx.nd.load(str(Path(folder) / "rbm.params"))
    return Parameters(*(arrays[name].asnumpy() for name in Parameters._fields)), seconds


def train_pgm(data, num_epoch, source, python):
    """Return the parameters and seconds of PGM's RBM."""
    settings = {"n_h": _NUM_HIDDEN, "batch_size": _BATCH, "n_iter": num_epoch, "N_MC": _SWEEPS, "l1b": 0.25}
    with tempfile.TemporaryDirectory() as folder:
        sequences, letters = data.train_images.argmax(axis=2).astype(np.int16), len(data.alphabet)
        np.savez(folder + "/data.npz", sequences=sequences, weights=data.train_weights, letters=letters)
        command = [python, "-c", _PGM, source, folder + "/data.npz", folder + "/found.npz", json.dumps(settings)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with np.load(folder + "/found.npz") as found:
            weight = found["weight"].transpose(1, 2, 0).reshape(-1, _NUM_HIDDEN)
            arrays = found["visible"].ravel(), found["hidden"], np.ascontiguousarray(weight)
            return Parameters(*(array.astype(np.float32) for array in arrays)), float(found["seconds"])


def measure(parameters, data):
    """Return the bracket of log Z, and the log-likelihood of the test sequences."""
    bracket = ais.bracket(
        *map(mx.nd.array, parameters),
        num_chains=500,
        num_distributions=5000,
        base_visible_bias=base_visible_bias(data),
        visible_units=data.softmax_groups,
        key=[0],
    )
    units = data.test_images.reshape(len(data.test_images), -1).astype(np.float32)
    likelihood = mean_log_likelihood(Parameters(*map(mx.nd.array, parameters)), units, bracket.log_z, data.test_weights)
    return bracket, likelihood


def main():
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", metavar="FILE.fasta")
    parser.add_argument("--num-epoch", type=int, default=50)
    parser.add_argument("--pgm", metavar="FOLDER")
    parser.add_argument("--pgm-python", default=sys.executable, metavar="FILE")
    parser.add_argument("--json", help="write the figures to this file")
    arguments = parser.parse_args()
    bystanders, figures = Bystanders(), {}
    print("| sequences | model | log-likelihood | log Z from below, from above | verdict | seconds to fit |")
    print("| --- | --- | --- | --- | --- | --- |")
    for path in arguments.files:
        data, name = datasets.load(path), Path(path).stem
        likelihood = independent(data)
        print("| %s | independent places | %.2f ± %.2f | | | |" % (name, *likelihood[:2]))
        sides = {"this package": lambda path=path: train(path, arguments.num_epoch)}
        if arguments.pgm:
            sides["PGM"] = lambda data=data: train_pgm(data, arguments.num_epoch, arguments.pgm, arguments.pgm_python)
        figures[name] = {"independent": likelihood[:2]}
        for side, trained in sides.items():
            parameters, seconds = trained()
            bracket, likelihood = measure(parameters, data)
            ends = bracket.forward.log_z, bracket.reverse.log_z
            cells = name, side, *likelihood[:2], *ends, bracket.warning or "agree", seconds
            print("| %s | %s | %.2f ± %.2f | %.2f, %.2f | %s | %.1f |" % cells, flush=True)
            figures[name][side] = {"log_likelihood": likelihood[:2], "log_z": ends, "seconds": seconds}
    conclude(bystanders, figures, arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
