"""RBMs with modes that are hard to find, and their exact log Z.

This is plain NumPy and does not import the code under test. A layer has up to 30 units. The entries
of W have a standard deviation of 3 to 20. There are six kinds:

gaussian    W is normal, and so are the biases unless they are 0; without these biases, some RBMs
            would be symmetric under a flip of all units, so modes come in pairs
columns     one to five hidden units, each of which turns many visible units on, against their biases
templates   two to ten hidden units; each one stores a pattern, and the visible biases are weak
patterns    one to five patterns of visible units, each paired with a pattern of hidden units, as in
            a Hopfield network, with random biases against them
copies      small RBMs with large weights side by side
mixed       columns beside a Gaussian RBM
"""

from typing import NamedTuple

import numpy as np
import reference

MOST_UNITS = 30
_ENUMERATED = 22  # units of the smaller layer, at most, so that its states can be enumerated


class HardRBM(NamedTuple):
    kind: str
    parameters: tuple  # a, b, W in float32
    log_z: float  # exact
    images: np.ndarray  # drawn from the visible biases alone, so they show one mode at most


def hard_rbm(*key):
    """RBM that follows from a key. The last number of the key modulo six gives the kind."""
    generator = np.random.default_rng(key)
    kind = list(_KINDS)[key[-1] % len(_KINDS)]
    while True:
        blocks = [tuple(array.astype(np.float32) for array in block) for block in _KINDS[kind](generator)]
        a, b, w = rbm = _side_by_side(blocks)
        if max(w.shape) <= MOST_UNITS and 3 <= w.std() <= 20:
            break
    log_z = sum(_log_z(*(array.astype(float) for array in block)) for block in blocks)
    images = generator.random((500, len(a))) < reference.sigmoid(a.astype(float))
    return HardRBM(kind, rbm, log_z, images.astype(np.float32))


def _gaussian(generator, most=22):
    shape = generator.permutation(
        [generator.integers(most // 2, most + 1), generator.integers(most // 2, MOST_UNITS + 1)]
    )
    scale = generator.uniform(3, 20)
    of_biases = generator.choice([0, 1, scale])
    a, b, w = (
        of_biases * generator.normal(size=shape[0]),
        of_biases * generator.normal(size=shape[1]),
        generator.normal(size=shape),
    )
    w *= scale
    if generator.random() < 0.4:
        a, b = a - w.sum(axis=1) / 2, b - w.sum(axis=0) / 2
    yield a, b, w


def _columns(generator, most=22):
    num_visible, num_hidden = (
        generator.integers(most // 2, MOST_UNITS + 1 if most > 15 else most + 1),
        generator.integers(3, most // 2),
    )
    strength, w = generator.uniform(8, 40), np.zeros((num_visible, num_hidden))
    a, b = np.full(num_visible, -strength / 2), np.zeros(num_hidden)
    count = generator.integers(1, min(6, num_hidden))
    for hidden, units in enumerate(np.array_split(generator.permutation(num_visible), count)):
        w[units, hidden] = strength
        # The log-weight of all states with this unit on, minus that of all states with it off, is
        # between -4 and 14.
        on, off = np.logaddexp(0, strength / 2), np.logaddexp(0, -strength / 2)
        b[hidden] = generator.uniform(-4, 14) - len(units) * (on - off)
    yield a, b, w


def _templates(generator):
    num_visible, num_hidden = generator.integers(16, MOST_UNITS + 1), generator.integers(10, _ENUMERATED + 1)
    a, b = generator.choice([0, 0.5, 2]) * generator.normal(size=num_visible), np.zeros(num_hidden)
    w, strength = np.zeros((num_visible, num_hidden)), generator.uniform(4, 30)
    for hidden in range(min(generator.integers(2, 11), num_hidden)):
        pattern = generator.random(num_visible) < generator.uniform(0.2, 0.8)
        w[:, hidden] = strength * (2 * pattern - 1)
        # The log-weight of the pattern with this unit on, minus that of all visible states with
        # these hidden units off, is between -3 and 12.
        b[hidden] = generator.uniform(-3, 12) + np.logaddexp(0, a).sum() - a @ pattern - strength * pattern.sum()
    yield a, b, w


def _patterns(generator):
    num_visible, num_hidden = generator.integers(14, MOST_UNITS + 1), generator.integers(12, _ENUMERATED + 1)
    strength, w = generator.uniform(3, 12), np.zeros((num_visible, num_hidden))
    for units in np.array_split(generator.permutation(num_hidden), generator.integers(1, 6)):
        w[:, units] = strength * np.outer(generator.choice([-1, 1], num_visible), generator.choice([-1, 1], len(units)))
    field = strength * generator.choice([0, 0.3, 0.6])
    a, b = generator.normal(size=num_visible), generator.normal(size=num_hidden)
    yield field * a - w.sum(axis=1) / 2, field * b - w.sum(axis=0) / 2, w


def _copies(generator):
    kinds = [_small(generator) for _ in range(generator.integers(1, 4))]
    num_visible = num_hidden = 0
    while True:
        a, b, w = kinds[generator.integers(len(kinds))]
        num_visible, num_hidden = num_visible + len(a), num_hidden + len(b)
        if max(num_visible, num_hidden) > MOST_UNITS:
            return
        yield a, b, w


def _small(generator):
    num_hidden, scale = generator.integers(3, 6), generator.uniform(6, 50)
    num_visible = num_hidden + generator.integers(0, 2)
    a, b = scale * generator.normal(size=num_visible), scale * generator.normal(size=num_hidden)
    return (
        generator.choice([0.3, 1, 2]) * a,
        generator.choice([0.3, 1]) * b,
        scale * generator.normal(size=(num_visible, num_hidden)),
    )


def _mixed(generator):
    yield from _columns(generator, 12)
    shape = generator.integers(8, 18, size=2)
    scale = generator.uniform(0.5, 6)
    yield generator.normal(size=shape[0]), generator.normal(size=shape[1]), scale * generator.normal(size=shape)


_KINDS = {
    "gaussian": _gaussian,
    "columns": _columns,
    "templates": _templates,
    "patterns": _patterns,
    "copies": _copies,
    "mixed": _mixed,
}


def _side_by_side(blocks):
    shape = tuple(sum(len(block[layer]) for block in blocks) for layer in (0, 1))
    w, row, column = np.zeros(shape, np.float32), 0, 0
    for a, b, own in blocks:
        w[row : row + len(a), column : column + len(b)] = own
        row, column = row + len(a), column + len(b)
    return np.concatenate([block[0] for block in blocks]), np.concatenate([block[1] for block in blocks]), w


def _log_z(a, b, w):
    """Log Z by enumeration of the smaller layer, 2^14 states at a time."""
    if len(a) < len(b):
        a, b, w = b, a, w.T
    first = min(len(b), 14)
    table = reference.states(first)
    inputs, own = a + table @ w[:, :first].T, table @ b[:first]
    sums = [
        reference.log_sum_exp(own + rest @ b[first:] + np.logaddexp(0, inputs + w[:, first:] @ rest).sum(axis=1))
        for rest in reference.states(len(b) - first)
    ]
    return reference.log_sum_exp(np.array(sums))
