"""Exchanges between replicas, against enumeration."""

import numpy as np
import reference

from gluon_rbm.sampling import tempering


def test_swaps_keep_all_distributions_and_have_the_right_rates(seed, generator):
    rbm, base = reference.random_rbm(3, 2, generator, scale=1.5), generator.normal(size=3)
    betas, count = np.array([1.0, 0.7, 0.4, 0.0]), 40000
    slopes = reference.uphill_slopes(*rbm, base)
    probabilities, index = reference.draw_replicas(rbm, betas, base, count, generator)
    order, rates = tempering.swap(slopes[index], betas, generator.random)
    after = index.ravel()[order]
    assert sorted(order.ravel()) == list(range(order.size))
    assert (order % count == np.arange(count)).all()  # no chain takes another chain's states
    for pair, (left, right) in enumerate(zip(probabilities, probabilities[1:])):
        step = betas[pair] - betas[pair + 1]
        accepted = np.minimum(1, np.exp(step * (slopes[:, None] - slopes[None, :])))
        mean = left @ accepted @ right
        assert abs(rates[pair] - mean) < 5 * np.sqrt((left @ accepted**2 @ right - mean**2) / count)
    for replica, probability in zip(after, probabilities):
        reference.assert_drawn_from(replica, probability)
    for left, right in ((0, 1), (1, 2), (2, 3)):  # the replicas stay independent of each other
        both = after[left] * len(slopes) + after[right]
        reference.assert_drawn_from(both, np.outer(probabilities[left], probabilities[right]).ravel())
