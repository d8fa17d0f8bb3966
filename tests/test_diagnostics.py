import numpy as np
import pytest

from gluon_rbm.errors import InputError
from gluon_rbm.sampling import diagnostics


def first_order(correlation, chains, steps, generator):
    """Stationary AR(1): tau = (1 + c) / (1 - c)."""
    noise = generator.normal(size=(chains, steps)) * np.sqrt(1 - correlation**2)
    noise[:, 0] = generator.normal(size=chains)
    for step in range(1, steps):
        noise[:, step] += correlation * noise[:, step - 1]
    return noise


@pytest.mark.parametrize("correlation", [-0.4, 0, 0.5, 0.9])
@pytest.mark.parametrize("chains, steps", [(4, 20000), (200, 2000)])
def test_autocorrelation_time_of_a_known_process(seed, generator, correlation, chains, steps):
    """Five standard errors, which are tau sqrt(2 (2 M + 1) / (chains steps)) with M the window (Sokal, equation 3.19),
    and the bias of a window of five tau: e^-5."""
    series = first_order(correlation, chains, steps, generator)
    exact = (1 + correlation) / (1 - correlation)
    window = 5 * max(exact, 1)
    error = exact * np.sqrt(2 * (2 * window + 1) / (chains * steps))
    tau = diagnostics.autocorrelation_time(series)
    bias = exact * (0.01 + 2 * window / steps)
    assert abs(tau - exact) < 5 * error + bias
    assert diagnostics.effective_sample_size(series) == pytest.approx(chains * steps / tau)
    assert abs(diagnostics.split_r_hat(series) - 1) < 50 * exact / steps
    if steps > 200 * exact:  # then R-hat is below 1 + tau / steps
        assert diagnostics.reasons_for_warning(series) is None


def test_effective_sample_size_is_the_variance_of_the_mean(seed, generator):
    """1,000 repetitions of a mean: its variance is 1 / ESS, known to 5 sqrt(2 / 1000)."""
    series = first_order(0.8, 4000, 1000, generator).reshape(1000, 4, 1000)
    sizes = [diagnostics.effective_sample_size(each) for each in series[:100]]
    variance = series.mean(axis=(1, 2)).var(ddof=1)
    assert variance * np.mean(sizes) == pytest.approx(1, abs=5 * np.sqrt(2 / 1000) + 0.02)


def test_chains_stuck_in_modes_of_their_own_are_warned_of(seed, generator):
    series = generator.normal(size=(4, 5000)) + np.array([[0], [0], [10], [10]])
    within, between = 1, np.var([0, 0, 10, 10], ddof=1)
    assert diagnostics.split_r_hat(series) == pytest.approx(
        np.sqrt((within + between * 8 / 7 * 3 / 4) / within), rel=0.02
    )
    assert diagnostics.effective_sample_size(series) < 20
    assert "chains disagree: split-R-hat is" in diagnostics.reasons_for_warning(series)
    assert diagnostics.reasons_for_warning(generator.normal(size=(4, 5000))) is None


def test_a_chain_that_drifts_disagrees_with_itself(seed, generator):
    series = generator.normal(size=(1, 1000)) + np.linspace(0, 3, 1000)
    assert diagnostics.split_r_hat(series) > 1.1
    assert "disagree" in diagnostics.reasons_for_warning(series)


def test_a_chain_too_short_is_warned_of(seed, generator):
    series = first_order(0.99, 3, 500, generator)
    time, size, r_hat, warning = diagnostics.diagnose(series)
    assert "autocorrelation times long, and should be 50" in warning
    assert (time, size) == (diagnostics.autocorrelation_time(series), diagnostics.effective_sample_size(series))
    assert r_hat == diagnostics.split_r_hat(series)


def test_chains_that_never_move(seed):
    assert diagnostics.autocorrelation_time(np.ones((2, 10))) == np.inf
    assert diagnostics.effective_sample_size(np.ones((2, 10))) == 0
    assert "nothing varies in 10 steps of 2 chains" in diagnostics.reasons_for_warning(np.ones((2, 10)))
    apart = np.tile([[0.0], [1.0]], (1, 10))
    assert diagnostics.split_r_hat(apart) == np.inf and "disagree" in diagnostics.reasons_for_warning(apart)


def test_errors():
    for series in (np.ones(10), np.ones((0, 10)), np.ones((2, 3)), np.full((2, 10), np.nan)):
        with pytest.raises(InputError, match="diagnostics need"):
            diagnostics.reasons_for_warning(series)
