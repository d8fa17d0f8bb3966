"""Small runs of both scripts, as a user starts them, and the files that they write."""

import signal

import numpy as np

import binary_rbm_gluon
import binary_rbm_module
from gluon_rbm.backend.framework import mx
from gluon_rbm.cli import train_binary

SCRIPTS = {"gluon": binary_rbm_gluon, "module": binary_rbm_module}
SMALL = ["--dataset", "bars-and-stripes", "--no-cuda", "--num-hidden", "6", "--k", "2", "--batch-size", "8"]
SMALL += ["--ais-batch-size", "20", "--ais-num-batch", "2", "--ais-burn-in-steps", "1"]
LEARNED = ("visible_layer_bias", "hidden_layer_bias", "interaction_weight")


def run(script, folder, *arguments):
    """Run a script with the flags of SMALL and return its exit status."""
    return script.main([*SMALL, "--output-dir", str(folder), *arguments])


def run_interrupted(api, folder, *arguments, when, number=signal.SIGTERM):
    """Run a script with a signal in each step where `when(state)` is true; return its status."""

    def send(state, output):
        if when(state):
            signal.raise_signal(number)

    given = [*SMALL, "--output-dir", str(folder), *arguments]
    return train_binary.main(given, "binary_rbm_%s.py" % api, api, on_step=[send])


def learned(folder):
    """Arrays in the parameter file of a run, by name."""
    return {name: array.asnumpy() for name, array in mx.nd.load(str(folder / "rbm.params")).items()}


def assert_same_arrays(left, right):
    """Both runs have the same arrays in their parameter files, bit for bit."""
    left, right = learned(left), learned(right)
    assert sorted(left) == sorted(right)
    for name in left:
        np.testing.assert_array_equal(left[name], right[name], err_msg=name)


def assert_same(left, right):
    """Both runs of a binary RBM have the same parameters and chains, bit for bit.

    That is three arrays of parameters and two arrays of states of the chains.
    """
    assert_same_arrays(left, right)
    assert len(learned(left)) == 5


def one_line(capsys):
    """Return what was written to stderr, which must be a single line."""
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1, error
    return error
