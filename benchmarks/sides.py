"""Run one side of a comparison in its own process, and print its times.

    python benchmarks/sides.py [MODULE.]FUNCTION ARGUMENTS

Other benchmarks start this program (`common.in_turn`); a side is one of the programs that they
compare. ARGUMENTS is a JSON object with the arguments of the function. The last line of the output
is a JSON object, too: part of a call -> seconds of each call. `model` is the path of an archive of
the arrays that `common.settle` returns.

Each function imports its libraries itself, so that threads and settings of one library do not
affect another.
"""

import dataclasses
import importlib
import json
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from common import LEARNED, ROOT, seconds

from gluon_rbm.data.batches import to_visible


def main():
    """Call the function that the command line names, and print its result as JSON."""
    name, arguments = sys.argv[1:]
    module, _, name = name.rpartition(".")  # MODULE is in the folder of this file
    functions = vars(importlib.import_module(module)) if module else globals()
    print("\n" + json.dumps(functions[name](**json.loads(arguments))))


# --- Training step --------------------------------------------------------------------------------


def step(model, k, steps, folder=str(ROOT), engine=None):
    """Time training steps with the `binary_rbm.py` in a folder: this package's or the original.

    The original has no engines, so it takes no `engine`.
    """
    sys.path.insert(0, folder)
    # First: the original needs MXNet with this package's repairs.
    from gluon_rbm.backend.framework import mx

    # isort: split
    from binary_rbm import BinaryRBMBlock

    return time_steps(mx, BinaryRBMBlock, dict(np.load(model)), k, steps, **({"engine": engine} if engine else {}))


def time_steps(mx, block, model, k, steps, **settings):
    """Return the seconds of the parts of each step, starting at the model's parameters and chains.

    The parts are "forward", "backward" and "update".
    """
    mx.random.seed(1)
    rbm = block(num_hidden=len(model["hidden_layer_bias"]), k=k, for_training=True, **settings)
    rbm.initialize()
    rbm.hybridize()
    data = mx.nd.array(model["data"])
    rbm(data)  # fixes the shapes
    for name in LEARNED:
        getattr(rbm, name).set_data(mx.nd.array(model[name]))
    for layer in ("visible", "hidden"):
        getattr(rbm, "aux_%s_layer_sample" % layer).set_data(mx.nd.array(model[layer]))
    learned = {name: parameter for name, parameter in rbm.collect_params().items() if "_aux_" not in name}
    trainer = mx.gluon.Trainer(learned, "sgd", {"learning_rate": 0.1, "momentum": 0.3})

    def finished():
        mx.nd.waitall()
        return time.perf_counter()

    times = {"forward": [], "backward": [], "update": []}
    for number in range(steps + 2):
        moments = [finished()]
        with mx.autograd.record():
            visible_prob_1, _ = rbm(data)
        moments.append(finished())
        visible_prob_1.backward()
        moments.append(finished())
        trainer.step(len(data))
        moments.append(finished())
        if number >= 2:  # the first two warm up
            for part, start, end in zip(times, moments, moments[1:]):
                times[part].append(end - start)
    return times


def script_step(model, k, steps, **settings):
    """Time steps of the scripts' learner, starting at the model's parameters and chains."""
    from gluon_rbm.backend.framework import mx
    from gluon_rbm.training.binary_settings import BinarySettings
    from gluon_rbm.training.learners import GluonLearner

    model = {name: mx.nd.array(array) for name, array in np.load(model).items()}
    arrays = {name: model[name] for name in LEARNED}
    arrays.update({"aux_%s_layer_sample" % layer: model[layer] for layer in ("visible", "hidden")})
    data = model["data"]
    given = BinarySettings(num_hidden=len(model["hidden_layer_bias"]), k=k, batch_size=len(data), cuda=False)
    learner = GluonLearner(dataclasses.replace(given, **settings), arrays, mx.cpu())

    def run():
        learner.step(data)
        mx.nd.waitall()

    run()
    return {"call": seconds(run, steps)}


# --- Gibbs sweeps ---------------------------------------------------------------------------------


def sweeps(model, number, repeats, fixed_point=False):
    """Time sweeps of the model's chains by `gibbs.run_chains`."""
    from gluon_rbm.backend.arrays import from_host
    from gluon_rbm.models.parameters import Parameters
    from gluon_rbm.sampling import gibbs

    model = {name: from_host(array) for name, array in np.load(model).items()}
    parameters = Parameters(*(model[name] for name in LEARNED))

    def run():
        settings = {"sweeps": number, "fixed_point": fixed_point, "key": [1]}
        gibbs.run_chains(parameters, hidden=model["hidden"], **settings).hidden_sample.wait_to_read()

    return {"call": seconds(run, repeats)}


def sweeps_numpy(model, number, repeats, dtype, clock):
    """Time the same sweeps in plain NumPy."""
    model = {name: array.astype(dtype) for name, array in np.load(model).items()}
    visible_bias, hidden_bias, weight = (model[name] for name in LEARNED)
    generator = np.random.default_rng(1)

    def sample(logits):
        return (generator.random(logits.shape, dtype) < 1 / (1 + np.exp(-logits))).astype(dtype)

    def run():
        hidden = model["hidden"]
        for _ in range(number):
            visible = sample(hidden @ weight.T + visible_bias)
            hidden = sample(visible @ weight + hidden_bias)

    return {"call": seconds(run, repeats, clock)}


def sampler(model, name, chains, number, repeats, clock, **settings):
    """Time sweeps of the first chains of the model by a function of `gluon_rbm.sampling.chains`."""
    from gluon_rbm.backend.arrays import from_host
    from gluon_rbm.backend.framework import mx
    from gluon_rbm.models.parameters import Parameters
    from gluon_rbm.sampling import chains

    model = {name: from_host(array) for name, array in np.load(model).items()}
    parameters, visible = Parameters(*(model[name] for name in LEARNED)), model["visible"][:chains]

    def run():
        getattr(chains, name)(parameters, visible, number, [1], **settings)
        mx.nd.waitall()

    return {"call": seconds(run, repeats, clock)}


def sweeps_torch(model, number, repeats, bernoulli):
    """Time the same sweeps in plain PyTorch.

    bernoulli: use `torch.bernoulli`. Otherwise use `torch.rand_like(p) < p`, which is nearly twice
    as fast.
    """
    import torch

    model = {name: torch.from_numpy(array) for name, array in np.load(model).items()}
    visible_bias, hidden_bias, weight = (model[name] for name in LEARNED)

    def sample(logits):
        prob_1 = torch.sigmoid(logits)
        return torch.bernoulli(prob_1) if bernoulli else (torch.rand_like(prob_1) < prob_1).float()

    @torch.inference_mode()
    def run():
        hidden = model["hidden"]
        for _ in range(number):
            visible = sample(torch.addmm(visible_bias, hidden, weight.t()))
            hidden = sample(torch.addmm(hidden_bias, visible, weight))

    return {"call": seconds(run, repeats)}


# --- Commands -------------------------------------------------------------------------------------


def command(argv, repeats):
    """Time a process of Python with these arguments, from its start to its end."""

    def run():
        subprocess.run([sys.executable, *argv], check=True, cwd=str(ROOT), stdout=subprocess.DEVNULL)

    return {"call": seconds(run, repeats)}


def peak_memory(argv):
    """Return the peak memory of `binary_rbm_gluon.py` in MB, under "call"."""
    import training

    with tempfile.TemporaryDirectory() as folder:
        _, _, peak = training.train("binary_rbm_gluon.py", argv, Path(folder) / "run")
    return {"call": [peak]}


# --- Epoch ----------------------------------------------------------------------------------------


def epoch(argv):
    """Return the seconds of each epoch, without monitoring, that `binary_rbm_gluon.py` reports."""
    import training

    with tempfile.TemporaryDirectory() as folder:
        rows, _, _ = training.train("binary_rbm_gluon.py", argv, Path(folder) / "run")
    return {"call": [float(row["seconds"]) for row in rows]}


def epoch_sklearn(dataset, data_dir, batch_size, num_hidden):
    """Time an epoch of scikit-learn's BernoulliRBM, which also uses PCD with k = 1."""
    from sklearn.neural_network import BernoulliRBM

    from gluon_rbm.data import datasets

    data = datasets.load(dataset, data_dir)
    images = to_visible(data.train_images, data.maximum)

    def fit(images):
        BernoulliRBM(n_components=num_hidden, batch_size=batch_size, n_iter=1, random_state=0).fit(images)

    fit(images[: 2 * batch_size])  # warms up
    start = time.perf_counter()
    fit(images)
    return {"call": [time.perf_counter() - start]}


# --- Annealed importance sampling -----------------------------------------------------------------
# The base rate of all sides is the model's own visible bias. There is one sweep at each
# distribution between the first and the last.


def annealing(model, chains, distributions, repeats):
    """Time `ais.log_partition`."""
    import ais

    model = np.load(model)
    parameters = [model[name] for name in LEARNED]
    return {
        "call": seconds(
            lambda: ais.log_partition(*parameters, num_chains=chains, num_distributions=distributions, key=[1]), repeats
        )
    }


def annealing_pydeep(model, chains, distributions, folder):
    """Time PyDeep, from its source in a folder, without centering (offsets 0)."""
    sys.path.insert(0, folder)
    warnings.simplefilter("ignore")  # PyDeep is from 2017 and compares strings with `is`
    from pydeep.rbm.estimator import annealed_importance_sampling
    from pydeep.rbm.model import BinaryBinaryRBM

    model = np.load(model)
    visible_bias, hidden_bias, weight = (model[name] for name in LEARNED)
    rbm = BinaryBinaryRBM(
        *weight.shape,
        initial_weights=weight,
        initial_visible_bias=visible_bias[None],
        initial_hidden_bias=hidden_bias[None],
        initial_visible_offsets=0.0,
        initial_hidden_offsets=0.0,
        dtype=np.float32,
    )
    rbm.bv_base = rbm.bv
    annealed_importance_sampling(rbm, num_chains=chains, betas=10)  # warms up
    start = time.perf_counter()
    annealed_importance_sampling(rbm, num_chains=chains, betas=distributions + 1)
    return {"call": [time.perf_counter() - start]}


def annealing_numpy(model, chains, distributions):
    """Time annealing in plain NumPy. One product v W serves the log-weights and the hidden draw."""
    model, generator = np.load(model), np.random.default_rng(1)
    visible_bias, hidden_bias, weight = (model[name] for name in LEARNED)

    def bernoulli(logits):
        return (generator.random(logits.shape, dtype=np.float32) < 1 / (1 + np.exp(-logits))).astype(np.float32)

    def log_weights(betas):
        total, visible = np.zeros(chains), bernoulli(np.tile(visible_bias, (chains, 1)))
        for before, beta in zip(betas, betas[1:]):
            logits = visible @ weight + hidden_bias
            total += (np.logaddexp(0, beta * logits) - np.logaddexp(0, before * logits)).sum(axis=1)
            if beta < 1:
                hidden = bernoulli(beta * logits)
                visible = bernoulli(beta * (hidden @ weight.T) + visible_bias)
        return total

    with np.errstate(over="ignore"):  # exp of a large number gives probability 0, as intended
        log_weights(np.linspace(0, 1, 10, dtype=np.float32))  # warms up
        start = time.perf_counter()
        log_weights(np.linspace(0, 1, distributions + 1, dtype=np.float32))
        return {"call": [time.perf_counter() - start]}


# --- Kernel ---------------------------------------------------------------------------------------

_KERNEL_CHAINS, _KERNEL_SWEEPS = 80, 30


def kernel(threads, repeats):
    """Time sweeps of the native kernel alone, with half of all units on."""
    from kernel import rbm

    from gluon_rbm.backend import native

    parameters = rbm(0.5, 0.5)
    hidden = np.random.default_rng(1).integers(0, 2, (_KERNEL_CHAINS, len(parameters[2]))).astype(np.float32)

    def run():
        native.run(*parameters, hidden=hidden, sweeps=_KERNEL_SWEEPS, key=[1], num_threads=threads)

    return {"call": seconds(run, repeats)}


def limit(repeats):
    """Return the seconds of the kernel's additions in one thread at the processor's limit."""
    from kernel import additions
    from kernel import limit as additions_a_second

    from gluon_rbm.backend import native

    rate = additions_a_second(native.features()["instruction_sets"][-1], repeats)
    return {"call": [_KERNEL_SWEEPS * additions(_KERNEL_CHAINS) / rate]}


if __name__ == "__main__":
    main()
