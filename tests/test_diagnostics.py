import numpy as np
import pytest
from scipy import special

from gluon_rbm.errors import InputError
from gluon_rbm.sampling import diagnostics


def first_order(correlation, chains, steps, generator):
    """Stationary AR(1) series with correlation c: tau = (1 + c) / (1 - c)."""
    noise = generator.normal(size=(chains, steps)) * np.sqrt(1 - correlation**2)
    noise[:, 0] = generator.normal(size=chains)
    for step in range(1, steps):
        noise[:, step] += correlation * noise[:, step - 1]
    return noise


@pytest.mark.parametrize("correlation", [-0.4, 0, 0.5, 0.9])
@pytest.mark.parametrize("chains, steps", [(4, 20000), (200, 2000)])
def test_autocorrelation_time_of_a_known_process(seed, generator, correlation, chains, steps):
    """The tolerance is five standard errors, plus the bias of a window of five tau: e^-5.

    The standard error is tau sqrt(2 (2 M + 1) / (chains steps)), where M is the window (Sokal,
    equation 3.19).
    """
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


@pytest.mark.parametrize("correlation", [-0.95, -0.8, -0.4, 0.5, 0.9])
@pytest.mark.parametrize("steps", [5000, 20000])
def test_the_mean_autocorrelation_time_is_right_even_if_chains_alternate(seed, generator, correlation, steps):
    """The mean of 40 estimates is right within five standard errors, plus a bias of 5 %.

    Each estimate uses four chains. The scatter of the 40 estimates gives the standard error. The
    bias arises because the sum over lags ends where its noise begins. tau is 0.11 at -0.8, and
    0.026 at -0.95.
    """
    exact = (1 + correlation) / (1 - correlation)
    series = first_order(correlation, 160, steps, generator).reshape(40, 4, steps)
    times = np.array([diagnostics.autocorrelation_time(each) for each in series])
    assert (times > 0).all()
    assert abs(times.mean() - exact) < 5 * times.std(ddof=1) / np.sqrt(40) + 0.05 * exact


@pytest.mark.parametrize("steps", [4, 9, 1000])
def test_autocorrelation_time_is_above_zero(seed, generator, steps):
    """This holds for a series that only alternates, and for noise of any length."""
    alternating = np.tile([0.0, 1.0], (3, steps))[:, :steps]
    assert 0 < diagnostics.autocorrelation_time(alternating) <= 2 / steps
    for _ in range(100):
        assert diagnostics.autocorrelation_time(generator.normal(size=(1, steps))) > 0


def test_effective_sample_size_gives_the_variance_of_the_mean(seed, generator):
    """The mean of a series has variance 1 / ESS; 1,000 repetitions show it to 5 sqrt(2 / 1000)."""
    series = first_order(0.8, 4000, 1000, generator).reshape(1000, 4, 1000)
    sizes = [diagnostics.effective_sample_size(each) for each in series[:100]]
    variance = series.mean(axis=(1, 2)).var(ddof=1)
    assert variance * np.mean(sizes) == pytest.approx(1, abs=5 * np.sqrt(2 / 1000) + 0.02)


def test_chains_in_different_modes_give_a_warning(seed, generator):
    series = generator.normal(size=(4, 5000)) + np.array([[0], [0], [10], [10]])
    # The normal scores of the eight half chains have mean -m (lower half of the values) or m (upper
    # half), and variance 1 - m^2.
    mean = np.sqrt(2 / np.pi)
    r_hat = np.sqrt(1 + 8 / 7 * mean**2 / (1 - mean**2))
    assert diagnostics.split_r_hat(series) == pytest.approx(r_hat, rel=0.02)
    assert diagnostics.effective_sample_size(series) < 20
    assert "chains disagree: split-R-hat is" in diagnostics.reasons_for_warning(series)
    assert diagnostics.reasons_for_warning(generator.normal(size=(4, 5000))) is None


def scores(values):
    """Normal scores of ranks, value by value (Vehtari et al. 2021, equation 14)."""
    flat = values.ravel()
    ranks = np.array([(flat < value).sum() + ((flat == value).sum() + 1) / 2 for value in flat])
    return special.ndtri((ranks - 3 / 8) / (len(flat) + 1 / 4)).reshape(values.shape)


def test_split_r_hat_equals_its_formula(generator):
    """This holds with ties, and with an odd number of steps (the middle step is left out)."""
    for series in (generator.normal(size=(3, 21)), generator.integers(4, size=(5, 20)).astype(float)):
        half = series.shape[1] // 2
        halves = np.vstack([series[:, :half], series[:, -half:]])
        expected = []
        for values in (halves, abs(halves - np.median(halves))):
            z = scores(values)
            within = z.var(axis=1, ddof=1).mean()
            expected.append(np.sqrt((half - 1) / half + z.mean(axis=1).var(ddof=1) / within))
        assert diagnostics.split_r_hat(series) == pytest.approx(max(expected), rel=1e-12)
        # Only the order of the values counts.
        assert diagnostics.split_r_hat(np.exp(3 * series)) >= expected[0] * (1 - 1e-12)


def test_chains_with_different_spread_give_a_warning(seed, generator):
    """One of four chains is ten times as wide. The means agree, so R-hat without ranks is 1."""
    series = generator.normal(size=(4, 5000)) * np.array([[1], [1], [1], [10]])
    assert diagnostics.split_r_hat(series) > 1.1
    assert "disagree" in diagnostics.reasons_for_warning(series)


def test_chains_of_a_cauchy_distribution(seed, generator):
    """The distribution has no mean and no variance.

    R-hat is near 1 for equal chains, but not for chains with different locations or widths.
    """
    series = generator.standard_cauchy(size=(4, 5000))
    assert diagnostics.split_r_hat(series) == pytest.approx(1, abs=0.005)
    assert diagnostics.split_r_hat(series + np.array([[0], [0], [0], [2]])) > 1.05
    assert diagnostics.split_r_hat(series * np.array([[1], [1], [1], [10]])) > 1.05


@pytest.mark.parametrize("kind", ["normal", "0 or 1", "counts"])
def test_good_chains_have_r_hat_near_one(seed, generator, kind):
    """R-hat - 1 is distributed like chi^2_7 / 7 / (2 n), for eight halves of n = 1,000 steps.

    So it is below 0.01 by twenty standard errors.
    """
    draw = {"normal": generator.normal, "0 or 1": lambda size: generator.integers(2, size=size)}
    series = draw.get(kind, lambda size: generator.poisson(3, size=size))(size=(4, 2000))
    assert diagnostics.split_r_hat(series) < 1.01
    assert diagnostics.reasons_for_warning(series) is None


def test_a_chain_that_drifts_disagrees_with_itself(seed, generator):
    series = generator.normal(size=(1, 1000)) + np.linspace(0, 3, 1000)
    assert diagnostics.split_r_hat(series) > 1.1
    assert "disagree" in diagnostics.reasons_for_warning(series)


def test_a_chain_that_is_too_short_gives_a_warning(seed, generator):
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


def test_autocorrelation_time_of_classes(seed, generator):
    """Each step draws the class anew with probability 0.1, so tau = 1.9 / 0.1.

    The three classes have different probabilities.
    """
    chains, steps = 200, 2000
    drawn = generator.choice(3, size=(chains, steps), p=[0.6, 0.3, 0.1])
    last = np.maximum.accumulate(np.where(generator.random((chains, steps)) < 0.1, np.arange(steps), 0), axis=1)
    tau = diagnostics.autocorrelation_time_of_classes(np.take_along_axis(drawn, last, axis=1))
    assert tau == pytest.approx(19, rel=0.1)
    # These two chains never change their class.
    assert diagnostics.autocorrelation_time_of_classes(np.repeat([[0], [1]], 50, axis=1)) > 40
    assert diagnostics.autocorrelation_time_of_classes(np.zeros((3, 50))) == np.inf
