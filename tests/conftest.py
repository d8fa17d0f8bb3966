import os

import numpy as np
import pytest

from gluon_rbm.framework import choose_context, mx


def _contexts():
    device, _ = choose_context()
    return [mx.cpu()] if device == mx.cpu() else [mx.cpu(), device]


@pytest.fixture(params=_contexts(), ids=str)
def ctx(request):
    """Every device that MXNet can use here."""
    return request.param


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
