"""Spins of the Ising model, against enumeration of their states and known formulas."""

import numpy as np
import pytest
import reference
from test_gibbs import assert_distribution

from gluon_rbm.data import ising
from gluon_rbm.errors import InputError

DRAWS = 100000


def exact(shape, beta):
    """All configurations and their probabilities, from sums over pairs of neighbours."""
    spins = 2 * reference.states(int(np.prod(shape))).reshape(-1, *shape) - 1
    bonds = sum((spins * np.roll(spins, 1, axis)).reshape(len(spins), -1).sum(1) for axis in range(1, spins.ndim))
    logs = beta * bonds
    return spins, np.exp(logs - reference.log_sum_exp(logs))


@pytest.mark.parametrize("shape", [(2,), (3,), (8,), (2, 2), (3, 3)])
@pytest.mark.parametrize("beta", [0, 0.3, 1.1])
def test_draws_have_the_exact_distribution(shape, beta, seed):
    _, probability = exact(shape, beta)
    drawn = ising.draw_spins(shape, beta, DRAWS, [seed])
    assert drawn.dtype == np.int8 and drawn.shape == (DRAWS, *shape)
    assert_distribution(reference.state_index((drawn.reshape(DRAWS, -1) + 1) / 2), probability)


@pytest.mark.parametrize("length", [2, 3, 10])
@pytest.mark.parametrize("beta", [0.1, 0.7])
def test_averages_of_a_chain(length, beta):
    spins, probability = exact((length,), beta)
    energy = ising.energies(spins)
    mean = probability @ energy
    expected = mean / length, beta**2 * (probability @ energy**2 - mean**2) / length
    np.testing.assert_allclose(ising.chain_averages(length, beta), expected, rtol=1e-9)


def test_averages_of_a_square():
    spins, probability = exact((3, 3), 0.4)
    energy, magnetisation = ising.energies(spins), np.abs(spins.sum(axis=(1, 2)))
    mean = probability @ energy
    expected = mean / 9, 0.16 * (probability @ energy**2 - mean**2) / 9, probability @ magnetisation / 9
    np.testing.assert_allclose(ising.square_averages(3, 0.4), expected, rtol=1e-9)


def test_averages_of_draws_agree_with_enumeration(seed):
    drawn = ising.averages(ising.draw_spins((4, 4), 0.3, DRAWS, [seed]), 0.3)
    np.testing.assert_allclose(drawn, ising.square_averages(4, 0.3), atol=5 / np.sqrt(DRAWS), err_msg=str(seed))


@pytest.mark.parametrize("beta", [0.2, 0.35])
def test_the_cluster_algorithm_gives_the_exact_energy(seed, beta, monkeypatch):
    """The mean energy of a 4 x 4 square agrees with enumeration within 4 standard errors."""
    monkeypatch.setattr(ising, "_MOST_ENUMERATED", 4)
    states = ising.draw_spins((4, 4), beta, 4000, [seed])
    monkeypatch.undo()
    energy = ising.energies(states) / 16
    error = energy.std() / np.sqrt(len(energy))
    assert abs(energy.mean() - ising.square_averages(4, beta).energy) < 4 * error, seed


def test_the_large_square_is_disordered_or_ordered(seed):
    """Below the critical temperature the magnetisation is Onsager's, (1 - sinh(2 beta)^-4)^(1/8).

    Above the critical temperature it is small.
    """
    cold = ising.averages(ising.draw_spins((24, 24), 0.6, 50, [seed]), 0.6)
    assert cold.magnetisation == pytest.approx((1 - np.sinh(1.2) ** -4) ** (1 / 8), abs=0.01)
    warm = ising.averages(ising.draw_spins((24, 24), 0.2, 50, [seed]), 0.2)
    assert warm.magnetisation < 0.2
    assert ising.CRITICAL_BETA == pytest.approx(0.4406868)


@pytest.mark.parametrize(
    "message, arguments",
    [
        ("has shape", ((1,), 1, 1)),
        ("has shape", ((2, 3), 1, 1)),
        ("has shape", ((2, 2, 2), 1, 1)),
        ("inverse temperature is nan", ((4,), np.nan, 1)),
        ("inverse temperature is -1", ((4,), -1, 1)),
        ("number of configurations is 0", ((4,), 1, 0)),
    ],
)
def test_arguments_out_of_range_are_refused(message, arguments):
    with pytest.raises(InputError, match=message):
        ising.draw_spins(*arguments)
    with pytest.raises(InputError, match="25 spins have too many states"):
        ising.square_averages(5, 1)
