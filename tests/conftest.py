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
    """Every device that MXNet can use here."""
    return request.param


@pytest.fixture(params=["mxnet", "native"] + ["cuda"] * (len(_contexts()) > 1))
def engine(request, ctx):
    """Every engine of `gluon_rbm.sampling.gibbs` that can serve on that device."""
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
    """What "auto" means, for tests that do not choose: each engine in turn."""
    if engine == "mxnet":
        monkeypatch.setattr(native, "available", lambda: native.Availability("it is switched off in this test"))
    return engine


@pytest.fixture
def seed():
    """A new seed for every test, shown when it fails; MXNET_RBM_TEST_SEED repeats one. MXNet is seeded with it."""
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
    """Pictures of chains after 10 sweeps instead of thousands."""
    from gluon_rbm.training import binary_pictures

    monkeypatch.setattr(binary_pictures, "SHOWCASE_SWEEPS", 10)


if sys.version_info < (3, 10):

    @pytest.fixture(autouse=True)
    def settled():
        """There `subprocess` forks without a word to Python, and so to `binary_rbm`, which would have MXNet settle."""
        yield
        mx.nd.waitall()
        time.sleep(0.02)
