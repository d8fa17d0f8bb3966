"""Real-valued data: RBMs with Gaussian visible and binary hidden units, and their exact likelihood.

The hidden states are enumerated. With m(v) the standard normal density,

    log p(v) = -F(v) + log m(v) - log Z        Z = sum_h exp(b.h + |a + W h|^2 / 2)

v is a mixture of normal distributions with means a + W h, variance 1 and weights
p(h) = exp(b.h + |a + W h|^2 / 2) / Z.
"""

from typing import Any, NamedTuple

import numpy as np
import pytest
import reference

from gluon_rbm.backend.framework import mx
from gluon_rbm.data import datasets
from gluon_rbm.models.contrastive import ContrastiveFreeEnergy
from gluon_rbm.models.multinary_rbm import MultinaryRBMBlock
from gluon_rbm.models.rbm_block import alternate
from gluon_rbm.models.units import Gaussian, Multinary


class Exact(NamedTuple):
    """A Gaussian-Bernoulli RBM by enumeration, in float64."""

    a: Any
    b: Any
    w: Any

    @classmethod
    def of(cls, rbm):
        parameters = (rbm.visible_layer_bias, rbm.hidden_layer_bias, rbm.interaction_weight)
        return cls(*(parameter.data().asnumpy().astype(np.float64) for parameter in parameters))

    @property
    def centres(self):
        return self.a + reference.states(len(self.b)) @ self.w.T

    @property
    def scores(self):
        return reference.states(len(self.b)) @ self.b + np.square(self.centres).sum(axis=1) / 2

    @property
    def weights(self):
        """Probabilities p(h) of all hidden states."""
        return np.exp(self.scores - reference.log_sum_exp(self.scores))

    def log_probability(self, visible):
        """log p(v) from the mixture, without free energies."""
        distances = np.square(visible[:, None] - self.centres).sum(axis=2)
        terms = np.log(self.weights) - distances / 2 - len(self.a) * np.log(2 * np.pi) / 2
        return np.array([reference.log_sum_exp(row) for row in terms])

    def moments(self):
        mean = self.weights @ self.centres
        shifted = self.centres - mean
        return mean, np.eye(len(self.a)) + (self.weights[:, None] * shifted).T @ shifted

    def draw(self, count, generator):
        rows = generator.choice(len(self.weights), count, p=self.weights)
        return self.centres[rows] + generator.normal(size=(count, len(self.a)))


def random_gaussian_rbm(num_visible, num_hidden, ctx=None, values=None, scale=0.01):
    rbm = MultinaryRBMBlock(
        num_visible,
        num_hidden,
        visible_units=Gaussian(),
        hidden_units=Multinary(1, 1),
        weight_initializer=mx.init.Normal(scale),
    )
    rbm.initialize(ctx=ctx)
    if values is not None:
        parameters = (rbm.visible_layer_bias, rbm.hidden_layer_bias, rbm.interaction_weight)
        for parameter, value in zip(parameters, values):
            parameter.set_data(mx.nd.array(value, ctx=ctx))
    return rbm


def assert_moments(samples, mean, covariance, errors=5.5):
    """Check mean and covariance of independent samples, entry by entry.

    The tolerance is `errors` standard errors.
    """
    count, shifted = len(samples), samples - mean
    deviation = samples.std(axis=0) / np.sqrt(count)
    assert (np.abs(shifted.mean(axis=0)) < errors * deviation).all()
    products = shifted[:, :, None] * shifted[:, None, :]
    assert (np.abs(products.mean(axis=0) - covariance) < errors * products.std(axis=0) / np.sqrt(count)).all()


@pytest.fixture
def teacher(generator):
    """Two visible units and four components. They are close enough to be learned in few epochs."""
    return Exact(generator.uniform(-1, 1, 2), generator.uniform(-2, 0, 2), generator.uniform(-2, 2, (2, 2)))


def test_the_density_equals_that_of_the_mixture(ctx, generator):
    values = reference.random_rbm(3, 4, generator, 0.7)
    rbm, exact = random_gaussian_rbm(3, 4, ctx, values), Exact(*values)
    visible = 2 * generator.normal(size=(50, 3))
    free_energy = rbm.free_energy(mx.nd.array(visible, ctx=ctx)).asnumpy()
    log_measure = Gaussian().log_base_measure(visible).sum(axis=1)
    found = -free_energy + log_measure - reference.log_sum_exp(exact.scores)
    np.testing.assert_allclose(found, exact.log_probability(visible), rtol=1e-4, atol=1e-4)


def test_chains_keep_the_moments_of_the_mixture(ctx, generator, teacher):
    rbm = random_gaussian_rbm(2, 2, ctx, teacher)
    start = mx.nd.array(teacher.draw(100000, generator), ctx=ctx)
    samples = alternate(rbm, start, sweeps=3).asnumpy().astype(np.float64)
    assert_moments(samples, *teacher.moments())


def learn(rbm, data, generator, epochs, batch_size, rate):
    """Learn by PCD-2: the contrastive free energy with persistent chains, two sweeps per step.

    The learning rate falls to zero.
    """
    trainer = mx.gluon.Trainer(rbm.collect_params(), "sgd", {"learning_rate": rate})
    loss, chains = ContrastiveFreeEnergy(rbm), mx.nd.array(data[generator.choice(len(data), batch_size)])
    for epoch in range(epochs):
        trainer.set_learning_rate(rate * min(1, 2 * (1 - epoch / epochs)))
        steps = len(data) // batch_size
        for rows in generator.permutation(len(data))[: steps * batch_size].reshape(steps, batch_size):
            chains = alternate(rbm, chains, sweeps=2)
            with mx.autograd.record():
                value = loss(mx.nd.array(data[rows]), chains).mean()
            value.backward()
            trainer.step(1)


@pytest.mark.slow
def test_it_learns_a_mixture_of_normal_distributions(generator, teacher):
    """PCD learns from samples of a teacher RBM.

    The likelihood of other samples comes near their likelihood under the teacher.
    """
    data, others = teacher.draw(5000, generator), teacher.draw(5000, generator)
    rbm = random_gaussian_rbm(2, 4, scale=0.1)
    before = Exact.of(rbm).log_probability(others).mean()
    learn(rbm, data, generator, epochs=20, batch_size=100, rate=0.05)
    learned = Exact.of(rbm)
    gap = teacher.log_probability(others) - learned.log_probability(others)
    assert learned.log_probability(others).mean() > before
    assert gap.mean() < 0.05 + 5 * gap.std() / np.sqrt(len(gap))
    # Differences are in standard deviations of the data. Over 60 seeds, the largest is 0.03 +- 0.01
    # in the mean and 0.07 +- 0.04 in the covariance. The limit is six such deviations higher.
    (mean, covariance), (true_mean, true_covariance) = learned.moments(), teacher.moments()
    deviation = np.sqrt(np.diag(true_covariance))
    off = (mean - true_mean) / deviation, (covariance - true_covariance) / np.outer(deviation, deviation)
    print(
        "gap to the teacher %.4f nats; off by %.3f in mean, %.3f in covariance"
        % (gap.mean(), *(np.abs(x).max() for x in off))
    )
    assert all(np.abs(x).max() < 0.3 for x in off)


@pytest.fixture(scope="module")
def digits():
    """Standardised digits. Pixels with a standard deviation of at most 1 (of 16) are left out."""
    data = datasets.load("digits")
    train, test = (
        images.reshape(len(images), -1).astype(np.float64) for images in (data.train_images, data.test_images)
    )
    used = train.std(axis=0) > 1
    mean, deviation = train[:, used].mean(axis=0), train[:, used].std(axis=0)
    return (train[:, used] - mean) / deviation, (test[:, used] - mean) / deviation


@pytest.mark.slow
def test_it_learns_standardised_digits(digits, generator):
    """The exact likelihood exceeds that of independent pixels. Reconstructions beat the mean."""
    train, test = digits
    rbm = random_gaussian_rbm(train.shape[1], 10)
    visible = mx.nd.array(test)
    learn(rbm, train, generator, epochs=30, batch_size=100, rate=0.02)
    learned = Exact.of(rbm)
    alone = Exact(train.mean(axis=0), np.zeros(0), np.zeros((train.shape[1], 0)))
    gain = learned.log_probability(test) - alone.log_probability(test)
    error = np.square(rbm.reconstruct(visible).asnumpy() - test).mean(axis=1)
    better = np.square(test).mean(axis=1) - error
    print(
        "gain %.2f nats; squared error %.3f where the mean has %.3f"
        % (gain.mean(), error.mean(), np.square(test).mean())
    )
    assert gain.mean() > 5 * gain.std() / np.sqrt(len(gain))
    assert better.mean() > 5 * better.std() / np.sqrt(len(better))
    # Samples have the moments of the RBM. The RBM has the mean of the data, and explains at least
    # half of the squared covariances.
    start = mx.nd.array(learned.draw(20000, generator))
    samples = alternate(rbm, start, sweeps=2).asnumpy().astype(np.float64)
    mean, covariance = learned.moments()
    assert_moments(samples, mean, covariance, errors=6)
    data_covariance, off = np.cov(train.T), ~np.eye(len(mean), dtype=bool)
    left = np.square(covariance - data_covariance)[off].sum() / np.square(data_covariance[off]).sum()
    print("mean off by at most %.3f; %.3f of the squared covariances left unexplained" % (np.abs(mean).max(), left))
    assert np.abs(mean).max() < 0.25 and left < 0.5
