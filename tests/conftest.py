import os
import sys
import time

import before_numpy  # noqa: F401

# isort: split
import numpy as np
import pytest

from gluon_rbm.backend import native
from gluon_rbm.backend.devices import choose_context
from gluon_rbm.backend.framework import mx


def _contexts():
    device, _ = choose_context()
    return [mx.cpu()] if device == mx.cpu() else [mx.cpu(), device]


@pytest.fixture(params=_contexts(), ids=str)
def ctx(request):
    """Each device that MXNet can use here."""
    return request.param


@pytest.fixture(params=["mxnet", "native"] + ["cuda"] * (len(_contexts()) > 1))
def engine(request, ctx):
    """Each engine of `gluon_rbm.sampling.gibbs` that can serve on the device `ctx`."""
    if request.param == "cuda" and ctx == mx.cpu():
        pytest.skip("the CUDA engine serves a GPU")
    if request.param == "native":
        if ctx != mx.cpu():
            pytest.skip("the native engine serves the CPU")
        if not native.available():
            pytest.skip("the native engine is %s" % native.available())
    return request.param


@pytest.fixture
def auto_engine(engine, monkeypatch):
    """Make the engine "auto" mean each engine in turn, for tests that do not choose an engine."""
    if engine == "mxnet":
        monkeypatch.setattr(native, "available", lambda: native.Availability("it is switched off in this test"))
    return engine


@pytest.fixture
def seed():
    """A new seed for each test, which also seeds MXNet.

    If the test fails, its output shows the seed. MXNET_RBM_TEST_SEED repeats it.
    """
    text = os.environ.get("MXNET_RBM_TEST_SEED")
    value = int(text) if text else int.from_bytes(os.urandom(4), "little") >> 1
    print("seed %d (repeat with MXNET_RBM_TEST_SEED=%d)" % (value, value))
    mx.random.seed(value)
    return value


@pytest.fixture
def generator(seed):
    return np.random.default_rng(seed)


@pytest.fixture
def short_showcase(monkeypatch):
    """Draw pictures of chains after 10 sweeps instead of thousands."""
    from gluon_rbm.training import binary_pictures

    monkeypatch.setattr(binary_pictures, "SHOWCASE_SWEEPS", 10)


if sys.version_info < (3, 10):

    @pytest.fixture(autouse=True)
    def settled():
        """Wait for MXNet's threads after each test.

        In Python before 3.10, `subprocess` forks without calling the functions of
        `os.register_at_fork`, so `gluon_rbm.backend.shutdown` cannot wait before a fork.
        """
        yield
        mx.nd.waitall()
        time.sleep(0.02)
