"""Check, at the first use of a device, that it draws the same chains as the C engine.

Weights are multiples of 2^-10 and sums of them are exact, so every bit must agree. The chains of
the C engine are stored here as a digest, so the check does not need that engine. (A test draws them
again.)
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from gluon_rbm.backend import cuda, native
from gluon_rbm.backend.cuda.launch import Device

__all__ = ["DIGEST", "GROUPS", "LOG_WEIGHTS", "difference", "digest", "example", "longer_difference"]

_VISIBLE, _HIDDEN, _CHAINS, _SWEEPS = 70, 45, 7, 5
GROUPS = ((3, 7), (30, 40))  #: softmax groups of the example

#: `digest` of what `run` returns for the example.
DIGEST = "e5ebac6482c7cc5bee23f9a777be1b97e08add9255700be7a2c90862665b61c6"

#: Log-weights of the annealed chains, in nats: float64. Devices add them up in different orders.
LOG_WEIGHTS = (16.915582, 19.240480, 18.268591, 18.691272, 15.353208, 16.456783, 17.914829)
_TOLERANCE = 1e-4  # nats; inputs of units are float32, some tens of nats


def _whole(generator: Any, most: int, *shape: int) -> Any:
    """Draw multiples of 2^-10, of at most `most` times 2^-10."""
    return (generator.randint(-most, most + 1, shape) / 1024).astype(np.float32)


def example() -> tuple[dict[str, Any], dict[str, Any]]:
    """Return arguments for the check: a small RBM with a base rate and softmax groups.

    Returns
    -------
    run : dict
        Arguments of `gluon_rbm.backend.cuda.run`, with a clamp and a temperature for each chain.
        `GROUPS` has the groups.
    anneal : dict
        Arguments of `gluon_rbm.backend.cuda.anneal`, for the same groups.
    """
    generator = np.random.RandomState(0)  # the same numbers in all versions of NumPy
    rbm = {
        "weight": _whole(generator, 512, _VISIBLE, _HIDDEN),
        "visible_bias": _whole(generator, 512, _VISIBLE),
        "hidden_bias": _whole(generator, 512, _HIDDEN),
        "base": _whole(generator, 512, _VISIBLE),
        "key": [2012, 11, 8],
    }
    held = generator.random_sample(_VISIBLE) < 0.2
    for start, stop in GROUPS:
        held[start:stop] = False
    visible = (generator.random_sample((_CHAINS, _VISIBLE)) < 0.5).astype(np.float32)
    for start, stop in GROUPS:
        visible[:, start:stop] = np.eye(stop - start, dtype=np.float32)[np.arange(_CHAINS) % (stop - start)]
    values = visible[0]
    run = {
        **rbm,
        "visible": visible,
        "sweeps": _SWEEPS,
        "beta": np.linspace(0.1, 1, _CHAINS),
        "clamp": (held, values),
    }
    return run, {**rbm, "visible": visible, "betas": np.linspace(0, 1, 6), "sweeps": 2}


def digest(arrays: Any) -> str:
    """Return the SHA-256 of the bits of arrays.

    Parameters
    ----------
    arrays
        Arrays, which are converted to float32.

    Returns
    -------
    str
        Hexadecimal digits.
    """
    return hashlib.sha256(b"".join(np.ascontiguousarray(array, np.float32).tobytes() for array in arrays)).hexdigest()


def difference(device: Device) -> str | None:
    """Compare the chains that a device draws with those of the C engine.

    Parameters
    ----------
    device
        The device.

    Returns
    -------
    str or None
        One line that says what differs; None if nothing does.
    """
    run, anneal = example()
    if digest(map(device.to_host, cuda.run(device, **run, groups=GROUPS))) != DIGEST:
        return "its chains are not those of the C engine"
    visible, log_weight = map(device.to_host, cuda.anneal(device, **anneal, groups=GROUPS))
    if not np.allclose(log_weight, LOG_WEIGHTS, rtol=0, atol=_TOLERANCE):
        return "its log-weights are not those of the C engine"
    return None


def longer_difference(device: Device) -> str | None:
    """Compare with the C engine as `difference` does, and with an RBM of MNIST's size, too.

    The larger RBM has a base rate, and a temperature and a clamp for each chain. It runs with 20
    chains and with `PRODUCTS_FROM`, which are summed in different ways. This takes seconds. Without
    the C engine it is only `difference`.

    Parameters
    ----------
    device
        The device.

    Returns
    -------
    str or None
        As in `difference`.
    """
    if not native.available():
        return difference(device)
    generator = np.random.RandomState(1)
    num_visible, num_hidden = 784, 500
    shapes = {
        "weight": (num_visible, num_hidden),
        "visible_bias": (num_visible,),
        "hidden_bias": (num_hidden,),
        "base": (num_visible,),
    }
    rbm = {name: _whole(generator, 100, *shape) for name, shape in shapes.items()}
    for chains in (20, cuda.PRODUCTS_FROM):
        hidden = (generator.random_sample((chains, num_hidden)) < 0.5).astype(np.float32)
        held = generator.random_sample((chains, num_visible)) < 0.1, np.ones((chains, num_visible), np.float32)
        settings = {
            "hidden": hidden,
            "sweeps": 30,
            "beta": generator.random_sample(chains),
            "clamp": held,
            "key": [chains],
        }
        found = [device.to_host(array) for array in cuda.run(device, **rbm, **settings)]
        if digest(found) != digest(native.run(**rbm, **settings)):
            return "%d chains of 784 visible and 500 hidden units are not those of the C engine" % chains
    return difference(device)
