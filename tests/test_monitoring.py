"""Likelihoods that a run measures between epochs, and its messages about them."""

import numpy as np
import pytest
import reference

from gluon_rbm.backend.arrays import from_host
from gluon_rbm.cli import options, run_summary
from gluon_rbm.likelihood.scores import LogLikelihood
from gluon_rbm.training.monitors import LikelihoodMonitor


def monitored(scale, generator, seed, **flags):
    """A monitor, and its scores of binary images, for an RBM with weights of this scale."""
    arguments = [text for name, value in flags.items() for text in ("--" + name.replace("_", "-"), str(value))]
    monitor = LikelihoodMonitor(options.parse(arguments, "test"), 1, None, ais_key=[seed, 0], pixels_key=[seed, 1])
    names = ("visible_layer_bias", "hidden_layer_bias", "interaction_weight")
    rbm = reference.random_rbm(12, 8, generator, scale=scale)
    # AIS starts at these biases. With large ones all chains would have the same start and weight.
    rbm[0][:] = 0
    parameters = {name: from_host(np.asarray(array, np.float32)) for name, array in zip(names, rbm)}
    images = generator.integers(0, 2, size=(50, 12)).astype(np.uint8)
    log_z = monitor.begin(1, parameters)
    return monitor, {"test": monitor.score(1, images, parameters, log_z)}


def test_a_value_that_a_few_chains_dominate_is_not_usable(generator, seed, capsys):
    flags = dict(ais_batch_size=100, ais_num_batch=1, ais_intermediate_steps=1, ais_burn_in_steps=1)
    monitor, scores = monitored(5.0, generator, seed, **flags)
    row = {"epoch": 3, **monitor.row(scores)}
    assert row["effective_sample_size"] < 10 and row["log_z_usable"] == 0
    message = monitor.message(scores)
    assert message.startswith("test log-likelihood ") and "not usable: only 1 intermediate distributions" in message
    (line,) = run_summary.last_scores([row])
    assert line.startswith(
        "log-likelihood, test images: not usable (%.2f, epoch 3), as log Z" % row["test_log_likelihood"]
    )
    capsys.readouterr()


def test_a_usable_value_may_be_optimistic(generator, seed, capsys):
    flags = dict(ais_batch_size=100, ais_num_batch=1, ais_intermediate_steps=50)
    monitor, scores = monitored(0.1, generator, seed, **flags)
    row = {"epoch": 3, **monitor.row(scores)}
    assert row["log_z_usable"] == 1
    assert "optimistic: only 50 intermediate distributions" in monitor.message(scores)
    (line,) = run_summary.last_scores([row])
    assert line == "log-likelihood, test images: %.2f ± %.2f nats per image (epoch 3)" % (
        row["test_log_likelihood"],
        row["test_standard_error"],
    )
    capsys.readouterr()


@pytest.mark.parametrize("binary", [True, False])
def test_a_positive_value_is_impossible_for_binary_images_only(generator, seed, binary):
    monitor, _ = monitored(0.1, generator, seed)
    message = monitor.message({"test": LogLikelihood(2.09, 0.1, 50, binary)})
    assert ("above zero is impossible: log Z is too low by 2.09 nats at least" in message) == binary


def test_a_model_worse_than_fair_coins_is_reported(generator, seed):
    monitor, _ = monitored(0.1, generator, seed)
    # Fair coins have a log-likelihood of -12 log 2 = -8.32.
    bad, good = LogLikelihood(-3152.0, 5.0, 50, True), LogLikelihood(-8.0, 0.1, 50, True)
    assert "worse than fair coins (-8.32): try a lower learning rate" in monitor.message({"test": bad, "train": good})
    assert "coins" not in monitor.message({"test": good})
    assert "coins" not in monitor.message({"test": bad._replace(binary=False)})
