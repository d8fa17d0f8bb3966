"""Importance sampling from a mixture of conditionals, and the verdicts that use it."""

import json

import hard_rbms
import numpy as np
import pytest
import reference
from marks import slow_but

import ais
from gluon_rbm import __main__
from gluon_rbm.backend.framework import mx
from gluon_rbm.likelihood import enumeration, estimates
from gluon_rbm.likelihood.mixture import dispersed_hidden, mixture_log_partition
from gluon_rbm.models.parameters import Parameters
from gluon_rbm.sampling import gibbs


def of(rbm):
    return Parameters.from_arrays(*(np.asarray(array, np.float32) for array in rbm))


def estimate(log_z, spread=0.01, num_distributions=1000):
    return estimates.summarize_log_weights(log_z + spread * np.tile([-1.0, 1.0], 50), num_distributions)


# --- The estimate ---------------------------------------------------------------------------------


@pytest.mark.parametrize("components", [1, 5, 200])
def test_the_estimate_of_z_is_unbiased_for_any_components(seed, generator, components):
    """The mean of estimated Z / exact Z over 10,000 draws is 1, within six standard errors."""
    rbm = reference.random_rbm(6, 5, generator, scale=0.5)
    hidden = generator.integers(0, 2, size=(components, 5)).astype(float)
    found = mixture_log_partition(of(rbm), hidden, [seed])
    ratios = np.exp(found.log_weights - reference.log_z(*rbm))
    assert abs(ratios.mean() - 1) < 6 * ratios.std(ddof=1) / np.sqrt(len(ratios)) + 1e-6
    assert found.num_distributions == 0 and found.log_weights.shape == (10000,)


def test_one_component_without_interactions_is_exact(seed, generator):
    a, b = generator.normal(size=4), generator.normal(size=3)
    found = mixture_log_partition(of((a, b, np.zeros((4, 3)))), np.zeros((1, 3)), [seed])
    np.testing.assert_allclose(found.log_weights, np.logaddexp(0, a).sum() + np.logaddexp(0, b).sum(), rtol=1e-6)


def test_components_are_chosen_from_more_hidden_states(seed, generator):
    rbm = reference.random_rbm(14, 13, generator, scale=0.3)
    found = mixture_log_partition(of(rbm), reference.states(13), [seed])
    assert found.log_z == pytest.approx(enumeration.log_partition(of(rbm)), abs=0.05)
    assert found.low < found.high < found.low + 0.2


def test_dispersed_chains_find_both_modes(ctx, engine, seed):
    """One hidden unit turns 24 visible units on. It is off unless all of them are on, so chains
    from fair coins in the visible units find one mode only.
    """
    a, b, w = np.full(24, -8.0), np.array([-376.0]), np.full((24, 1), 16.0)
    parameters = of((a, b, w)).as_in_context(ctx)
    coins = mx.nd.array(np.random.default_rng(seed).integers(0, 2, (1000, 24)), ctx=ctx)
    chains = gibbs.run_chains(parameters, visible=coins, sweeps=100, key=[seed], engine=engine)
    assert not chains.hidden_sample.asnumpy().any()
    hidden = dispersed_hidden(parameters, np.zeros((2, 24), np.float32), [seed], engine)
    assert hidden.shape[1] == 1 and set(np.unique(hidden)) == {0.0, 1.0}
    again = dispersed_hidden(parameters, np.zeros((2, 24), np.float32), [seed], engine)
    np.testing.assert_array_equal(hidden, again)


# --- Verdicts -------------------------------------------------------------------------------------


def test_the_largest_estimate_counts():
    def warning(mixture, *bases, forward=5.0, reverse=5.1):
        checks = [estimates.Check("fair coins", base) for base in bases]
        return estimates.Bracket(estimate(forward), estimate(reverse), "chains", "here", checks, mixture).warning

    # One draw dominates this estimate.
    vague = estimates.summarize_log_weights(np.r_[3.0, np.full(99, -50.0)], 0)
    assert warning(vague, estimate(5.2)) == ""
    assert warning(estimate(5.01)) == "" == warning(estimate(4.8), forward=4.6)
    assert warning(vague, estimate(7)) == "AIS from fair coins finds at least 1.89 nats more"
    assert warning(vague._replace(log_z=9.0, low=8.0), estimate(5)).startswith("importance sampling finds at least")
    assert warning(vague, estimate(3)) == (
        "no other estimate confirms 5.00 (AIS from fair coins 3.00, importance sampling -1.61)"
    )
    assert warning(estimate(8), estimate(5)) == (
        "no other estimate confirms 8.00 (AIS from here 5.00, AIS from fair coins 5.00)"
    )


def test_an_unconfirmed_estimate_spans_all_intervals():
    found = estimates.Bracket(estimate(4), estimate(9), "chains", "here", [], estimate(6))
    assert found.estimate is found.mixture and not found.confirmations
    assert (found.low, found.high) == (found.forward.low, found.reverse.high)
    confirmed = estimates.Bracket(estimate(5.9), estimate(9), "chains", "here", [], estimate(6))
    assert (confirmed.low, confirmed.high) == (confirmed.mixture.low, confirmed.mixture.high)


@pytest.mark.parametrize("change", [{"low": -np.inf}, {"log_weights": np.full(3, 6.0)}], ids=["unbounded", "few"])
def test_an_estimate_that_knows_little_confirms_nothing(change):
    other = estimate(6)._replace(**change)
    found = estimates.Bracket(other, estimate(6), "chains", "here", [], estimate(6))
    assert found.estimate is found.mixture and not found.confirmations
    assert found.warning == "no other estimate confirms 6.00 (AIS from here %.2f)" % other.log_z


def test_estimates_in_the_wrong_order_by_rounding_are_no_warning():
    """Rounding puts the lower estimate 2e-7 above the upper one, with hardly any spread."""
    sides = estimate(5 + 1e-7, spread=2e-6), estimate(5 - 1e-7, spread=2e-6)
    assert estimates.Bracket(*sides, "exact").warning == ""


def rbm_of_two_groups():
    """24 visible units are mostly off, or all on together with one of 22 hidden units.

    The second mode is e^10 times as probable.
    """
    w = np.zeros((24, 22))
    w[:, 0] = 10
    b = np.zeros(22)
    b[0] = -110
    return np.full(24, -5.0), b, w


@pytest.mark.parametrize("base", ["data", "model"])
def test_a_missed_mode_is_not_called_converged(seed, generator, base):
    rbm = rbm_of_two_groups()
    exact = enumeration.log_partition(of(rbm))
    assert exact == pytest.approx(24.717, abs=1e-3)
    images = generator.random((500, 24)) < reference.sigmoid(-5)
    found = ais.bracket(
        *of(rbm),
        num_chains=100,
        num_distributions=1000,
        reverse_start="chains",
        schedule="adaptive",
        training_data=images if base == "data" else None,
        key=[seed],
    )
    assert abs(found.log_z - exact) < 0.5
    assert found.warning == "" and found.base == "fair coins" and "AIS from fair coins" in found.confirmations
    assert found.bases[0].name == "the given base rate" and found.bases[0].estimate.log_z < exact - 5
    alone = ais.bracket(*of(rbm), num_chains=100, num_distributions=1000, reverse_start="chains", check=False)
    assert abs(alone.log_z - exact) > 5  # forward and reverse AIS agree on a wrong value


@pytest.mark.parametrize("number", slow_but(range(24), 1, 4))
def test_no_verdict_on_a_hard_rbm_is_wrong(seed, number):
    rbm = hard_rbms.hard_rbm(seed, number)
    settings = dict(num_chains=100, num_distributions=1000, training_data=rbm.images if number % 2 else None)
    found = ais.bracket(*rbm.parameters, reverse_start="chains", key=[seed], **settings)
    assert found.warning or abs(found.log_z - rbm.log_z) < 0.5, (rbm.kind, found.log_z - rbm.log_z)


def test_hard_rbms_have_the_log_z_that_enumeration_gives(generator):
    for number in range(6):
        rbm = hard_rbms.hard_rbm(int(generator.integers(100)), number)
        if min(rbm.parameters[2].shape) <= 15:
            assert enumeration.log_partition(of(rbm.parameters)) == pytest.approx(rbm.log_z, rel=1e-6)


# --- Impossible values ----------------------------------------------------------------------------


def test_a_positive_log_likelihood_of_binary_data_is_impossible(seed):
    """AIS starts at the visible bias, so every chain misses the mode of the data."""
    rbm, data = of(rbm_of_two_groups()), np.ones((10, 24))
    with pytest.warns(ais.LikelihoodWarning, match="above zero is impossible: log Z is too low by"):
        value, log_z = ais.estimate_log_likelihood(*rbm, 100, 1, 1000, 1, data, key=[seed])
    assert value > 0 and log_z < 15
    assert ais.mean_log_likelihood(rbm, data, 24.72).warning == ""


def test_the_report_doubts_a_positive_log_likelihood(seed, tmp_path, capsys):
    file, images = str(tmp_path / "rbm.params"), str(tmp_path / "ones.npy")
    mx.nd.save(file, of(rbm_of_two_groups())._asdict())
    np.save(images, np.ones((20, 4, 6), np.uint8))
    arguments = ["likelihood", file, "--dataset", images, "--method", "ais", "--base-rate", "model", "--no-reverse"]
    assert __main__.main([*arguments, "--distributions", "1000", "--json", str(tmp_path / "report.json")]) == 0
    log_z = json.loads((tmp_path / "report.json").read_text())["log_z"]
    assert log_z["converged"] is False and "above zero is impossible" in log_z["doubt"]
    assert "verdict           NOT CONVERGED" in capsys.readouterr().out
