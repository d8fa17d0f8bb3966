"""Spins of the Ising model at an inverse temperature: data with known averages.

    p(s) = exp(beta sum_<ij> s_i s_j) / Z,      s_i = -1 or 1, J = 1, no field, periodic boundaries

A chain is drawn exactly, and so is a small square, from all of its states. A larger square is drawn
by a cluster algorithm.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gluon_rbm.backend.random import make_generator
from gluon_rbm.backend.types import HostArray, Key
from gluon_rbm.errors import InputError, check_count

__all__ = ["CRITICAL_BETA", "Averages", "averages", "chain_averages", "draw_spins", "energies", "square_averages"]

CRITICAL_BETA = float(np.log1p(np.sqrt(2)) / 2)  # for the infinite square lattice (Onsager 1944)

_MOST_ENUMERATED = 16  # spins
# Sweeps of the cluster algorithm. A square of 100 x 100 spins forgets its start in a few sweeps:
# this is tens of times as many.
_SWEEPS = 100
_SPINS_AT_ONCE = 1 << 18


class Averages(NamedTuple):
    """Averages per spin."""

    energy: float  #: <E> / n, E = -sum s_i s_j
    specific_heat: float  #: beta^2 (<E^2> - <E>^2) / n
    magnetisation: float  #: <|sum s_i|> / n


def energies(spins: HostArray) -> HostArray:
    """Energy of each configuration, E = -sum_<ij> s_i s_j.

    Boundaries are periodic: the first spin is a neighbour of the last one. Two spins that are
    neighbours on both sides count twice.

    Parameters
    ----------
    spins
        Spins -1 and 1, (n, length) or (n, side, side).

    Returns
    -------
    float64 (n,)
        Energies E.
    """
    spins = spins.astype(np.float64)
    axes = tuple(range(1, spins.ndim))
    return -np.sum([(spins * np.roll(spins, 1, axis)).sum(axis=axes) for axis in axes], axis=0)


def averages(spins: HostArray, beta: float) -> Averages:
    """Average over configurations.

    Parameters
    ----------
    spins
        As in `energies`.
    beta
        Inverse temperature, for the specific heat.

    Returns
    -------
    Averages
        Averages per spin.
    """
    energy, count = energies(spins), spins[0].size
    magnetisation = np.abs(spins.reshape(len(spins), count).sum(axis=1, dtype=np.float64))
    return Averages(energy.mean() / count, beta**2 * energy.var() / count, magnetisation.mean() / count)


def chain_averages(length: int, beta: float) -> tuple[float, float]:
    """Compute the exact averages of a chain.

    Parameters
    ----------
    length
        Number of spins, n.
    beta
        Inverse temperature.

    Returns
    -------
    energy : float
        Energy per spin, <E> / n.
    specific_heat : float
        Specific heat per spin, beta^2 (<E^2> - <E>^2) / n.

    Notes
    -----
    By the transfer matrix, Z = (2 cosh beta)^n (1 + t^n) with t = tanh beta (Ising 1925).
    """
    tanh = np.tanh(beta)
    power = tanh ** (length - 2)
    energy = -(tanh + power * tanh) / (1 + power * tanh**2)
    # Derivative of -energy with respect to beta. The derivative of tanh is 1 - tanh^2.
    numerator, denominator = tanh + power * tanh, 1 + power * tanh**2
    slopes = 1 + (length - 1) * power, length * power * tanh
    derivative = (slopes[0] * denominator - numerator * slopes[1]) / denominator**2 * (1 - tanh**2)
    return float(energy), float(beta**2 * derivative)


def square_averages(side: int, beta: float) -> Averages:
    """Compute the exact averages of a square, over all of its states.

    Parameters
    ----------
    side
        Number of spins along a side, at most 4.
    beta
        Inverse temperature.

    Returns
    -------
    Averages
        Averages per spin.

    Raises
    ------
    InputError
        The square has more than 16 spins.
    """
    spins, weights = _all_states((side, side), beta)
    energy, count = energies(spins), side * side
    mean, square = float(weights @ energy), float(weights @ energy**2)
    magnetisation = float(weights @ np.abs(spins.sum(axis=(1, 2))))
    return Averages(mean / count, beta**2 * (square - mean**2) / count, magnetisation / count)


def draw_spins(shape: tuple[int, ...], beta: float, count: int, key: Key = ()) -> HostArray:
    """Draw configurations of the Ising model.

    Chains and squares of at most 16 spins are drawn exactly. Each larger square comes from its own
    Markov chain, after 100 sweeps of a cluster algorithm. A few of these sweeps change a state
    strongly, even at the critical temperature.

    Parameters
    ----------
    shape
        (length,) for a chain or (side, side) for a square, with at least 2 spins along a side.
    beta
        Inverse temperature, at least 0.
    count
        Number of configurations.
    key
        Non-negative integers that fix all random numbers.

    Returns
    -------
    int8 (count, *shape)
        Spins, -1 or 1.

    Raises
    ------
    InputError
        `shape`, `beta` or `count` is out of range.

    Notes
    -----
    Swendsen & Wang, Physical Review Letters 58, 1987.
    """
    check_count("the number of configurations", count)
    if len(shape) not in (1, 2) or min(shape) < 2 or (len(shape) == 2 and shape[0] != shape[1]):
        raise InputError(
            "the Ising model has shape %s; it must be (length,) or (side, side), with numbers of at least 2" % (shape,)
        )
    if not 0 <= beta < np.inf:
        raise InputError("the inverse temperature is %s; it must be finite and at least 0" % beta)
    generator = make_generator(key)
    if len(shape) == 1:
        return _draw_chain(shape[0], beta, count, generator)
    if shape[0] * shape[1] <= _MOST_ENUMERATED:
        spins, weights = _all_states(shape, beta)
        return spins[generator.choice(len(spins), count, p=weights)].astype(np.int8)
    at_once = max(1, _SPINS_AT_ONCE // (shape[0] * shape[1]))
    blocks = [min(at_once, count - first) for first in range(0, count, at_once)]
    return np.concatenate([_draw_clusters(shape[0], beta, block, generator) for block in blocks])


def _all_states(shape: tuple[int, ...], beta: float) -> tuple[HostArray, HostArray]:
    """List all configurations and their probabilities."""
    count = int(np.prod(shape))
    if count > _MOST_ENUMERATED:
        raise InputError(
            "%d spins have too many states to enumerate; the maximum is %d spins" % (count, _MOST_ENUMERATED)
        )
    spins = 2.0 * (np.arange(2**count)[:, None] >> np.arange(count) & 1).reshape(-1, *shape) - 1
    logs = -beta * energies(spins)
    weights = np.exp(logs - logs.max())
    return spins, weights / weights.sum()


def _draw_chain(length: int, beta: float, count: int, generator: np.random.Generator) -> HostArray:
    """Draw a chain bond by bond. A bond is the product of two neighbouring spins.

    Bonds are independent, except that the product of all of them is 1. So each bond is drawn given
    the product so far, with all later bonds summed out.
    """
    tanh = np.tanh(beta)
    product = np.ones(count)
    spins = np.empty((count, length), np.int8)
    spins[:, 0] = generator.choice([-1, 1], count)
    for place in range(1, length):
        # p(bond = 1 | product) is proportional to e^beta (1 + product t^m), with m later bonds.
        rest = product * tanh ** (length - place)
        up, down = (1 + tanh) * (1 + rest), (1 - tanh) * (1 - rest)
        bond = np.where(generator.random(count) * (up + down) < up, 1, -1)
        product *= bond
        spins[:, place] = spins[:, place - 1] * bond
    return spins


def _draw_clusters(side: int, beta: float, count: int, generator: np.random.Generator) -> HostArray:
    """Draw squares by the cluster algorithm, all at once.

    A sweep binds equal neighbours with probability 1 - exp(-2 beta). Then each cluster of bound
    spins gets a new sign at random.
    """
    from scipy import sparse  # slow to import, so only here
    from scipy.sparse.csgraph import connected_components

    signs = np.array([-1, 1], np.int8)
    spins = generator.choice(signs, (count, side, side))
    places = np.arange(spins.size).reshape(spins.shape)
    for _ in range(_SWEEPS):
        bound = []
        for axis in (1, 2):
            bonds = (spins == np.roll(spins, -1, axis)) & (generator.random(spins.shape) < -np.expm1(-2 * beta))
            bound.append((places[bonds], np.roll(places, -1, axis)[bonds]))
        ends = tuple(map(np.concatenate, zip(*bound)))
        graph = sparse.coo_matrix((np.ones(len(ends[0]), bool), ends), (spins.size,) * 2)
        num_clusters, cluster = connected_components(graph, directed=False)
        spins = generator.choice(signs, num_clusters)[cluster].reshape(spins.shape)
    return spins
