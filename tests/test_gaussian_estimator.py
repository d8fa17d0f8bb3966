"""The Gaussian-Bernoulli RBM with variances: its gradient by enumeration, and the estimator."""

import numpy as np
import pytest
from test_gaussian_units import DRAWS, Exact, small

from gluon_rbm.likelihood import gaussian_learning, learning
from gluon_rbm.likelihood.rules import LearningRule
from gluon_rbm.models.gaussian_rbm import GaussianParameters
from gluon_rbm.models.visible_units import GAUSSIAN


def log_density(arrays, data):
    """log p(v) of each row, by the mixture."""
    *scaled, log_variance = arrays
    return Exact(*scaled).log_density(data * np.exp(-log_variance / 2)) - log_variance.sum() / 2


@pytest.mark.parametrize("centering", [0.0, 0.5])
def test_the_gradient_is_that_of_the_exact_likelihood(auto_engine, seed, generator, centering):
    """With chains that are exact draws; with centering, of the gradients that the centered ones stand for."""
    arrays = [*small(generator), generator.normal(size=5)]
    exact, data = Exact(*arrays[:3]), 1.5 * generator.normal(size=(40, 5))
    rule = LearningRule(visible_layer=GAUSSIAN, centering=centering)
    aux = {name: np.zeros(shape, np.float32) for name, shape in learning.states(rule, DRAWS, 5, 3).items()}
    aux[learning.SAMPLES[1]][:] = exact.draw(DRAWS, generator)[1]
    parameters = GaussianParameters(*(array.astype(np.float32) for array in arrays))
    targets = [np.zeros_like(array) for array in parameters]
    how = {"data": data.astype(np.float32), "aux_states": aux, "sweeps": 1, "key": [seed], "engine": auto_engine}
    gaussian_learning.store_step_gradients(rule, targets, parameters, **how)
    if centering:
        mu, lam = (aux[name] for name in learning.OFFSETS)
        assert np.abs(mu).max() > 0.01 and np.abs(lam).max() > 0.01
        visible, hidden = targets[0] + targets[2] @ lam, targets[1] + mu @ targets[2]
        targets[:3] = visible, hidden, targets[2] + np.outer(mu, hidden) + np.outer(visible, lam)
    error = 6 * (1 + np.square(exact.centres).max()) / np.sqrt(DRAWS)
    for number, (target, array) in enumerate(zip(targets, arrays)):
        for index in np.ndindex(array.shape):
            losses = []
            for step in (1e-4, -1e-4):
                moved = [np.array(one) for one in arrays]
                moved[number][index] += step
                losses.append(-log_density(moved, data).mean())
            assert target[index] == pytest.approx((losses[0] - losses[1]) / 2e-4, abs=error), (number, index)
