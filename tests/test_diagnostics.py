import numpy as np
import pytest
from scipy import special

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


@pytest.mark.parametrize("correlation", [-0.95, -0.8, -0.4, 0.5, 0.9])
@pytest.mark.parametrize("steps", [5000, 20000])
def test_autocorrelation_time_is_right_on_average_also_of_chains_that_alternate(seed, generator, correlation, steps):
    """The mean of 40 estimates, of four chains each, within five of its standard errors, which the 40 show, and a bias
    of 5 %: the sum ends where its noise begins. 0.11 at -0.8, and 0.026 at -0.95."""
    exact = (1 + correlation) / (1 - correlation)
    series = first_order(correlation, 160, steps, generator).reshape(40, 4, steps)
    times = np.array([diagnostics.autocorrelation_time(each) for each in series])
    assert (times > 0).all()
    assert abs(times.mean() - exact) < 5 * times.std(ddof=1) / np.sqrt(40) + 0.05 * exact


@pytest.mark.parametrize("steps", [4, 9, 1000])
def test_autocorrelation_time_is_above_zero(seed, generator, steps):
    """Even where a series does nothing but alternate; and of noise, however short."""
    alternating = np.tile([0.0, 1.0], (3, steps))[:, :steps]
    assert 0 < diagnostics.autocorrelation_time(alternating) <= 2 / steps
    for _ in range(100):
        assert diagnostics.autocorrelation_time(generator.normal(size=(1, steps))) > 0


def test_effective_sample_size_is_the_variance_of_the_mean(seed, generator):
    """1,000 repetitions of a mean: its variance is 1 / ESS, known to 5 sqrt(2 / 1000)."""
    series = first_order(0.8, 4000, 1000, generator).reshape(1000, 4, 1000)
    sizes = [diagnostics.effective_sample_size(each) for each in series[:100]]
    variance = series.mean(axis=(1, 2)).var(ddof=1)
    assert variance * np.mean(sizes) == pytest.approx(1, abs=5 * np.sqrt(2 / 1000) + 0.02)


def test_chains_stuck_in_modes_of_their_own_are_warned_of(seed, generator):
    series = generator.normal(size=(4, 5000)) + np.array([[0], [0], [10], [10]])
    # The normal scores of the lower and of the upper half: eight half chains, of means -m and m and variance 1 - m^2.
    mean = np.sqrt(2 / np.pi)
    r_hat = np.sqrt(1 + 8 / 7 * mean**2 / (1 - mean**2))
    assert diagnostics.split_r_hat(series) == pytest.approx(r_hat, rel=0.02)
    assert diagnostics.effective_sample_size(series) < 20
    assert "chains disagree: split-R-hat is" in diagnostics.reasons_for_warning(series)
    assert diagnostics.reasons_for_warning(generator.normal(size=(4, 5000))) is None


def scores(values):
    """Normal scores of ranks, one by one: Vehtari et al. 2021, equation 14."""
    flat = values.ravel()
    ranks = np.array([(flat < value).sum() + ((flat == value).sum() + 1) / 2 for value in flat])
    return special.ndtri((ranks - 3 / 8) / (len(flat) + 1 / 4)).reshape(values.shape)


def test_split_r_hat_is_that_of_its_formula(generator):
    """Also with ties, and an odd number of steps, whose middle one is left out."""
    for series in (generator.normal(size=(3, 21)), generator.integers(4, size=(5, 20)).astype(float)):
        half = series.shape[1] // 2
        halves = np.vstack([series[:, :half], series[:, -half:]])
        expected = []
        for values in (halves, abs(halves - np.median(halves))):
            z = scores(values)
            within = z.var(axis=1, ddof=1).mean()
            expected.append(np.sqrt((half - 1) / half + z.mean(axis=1).var(ddof=1) / within))
        assert diagnostics.split_r_hat(series) == pytest.approx(max(expected), rel=1e-12)
        assert diagnostics.split_r_hat(np.exp(3 * series)) >= expected[0] * (1 - 1e-12)  # the order is all that counts


def test_chains_that_differ_in_spread_are_warned_of(seed, generator):
    """One of four is ten times as wide: alike in mean, so that R-hat of the values themselves is 1."""
    series = generator.normal(size=(4, 5000)) * np.array([[1], [1], [1], [10]])
    assert diagnostics.split_r_hat(series) > 1.1
    assert "disagree" in diagnostics.reasons_for_warning(series)


def test_chains_of_a_cauchy_distribution(seed, generator):
    """No mean and no variance: alike they are near 1, and apart, or of other widths, they are not."""
    series = generator.standard_cauchy(size=(4, 5000))
    assert diagnostics.split_r_hat(series) == pytest.approx(1, abs=0.005)
    assert diagnostics.split_r_hat(series + np.array([[0], [0], [0], [2]])) > 1.05
    assert diagnostics.split_r_hat(series * np.array([[1], [1], [1], [10]])) > 1.05


@pytest.mark.parametrize("kind", ["normal", "0 or 1", "counts"])
def test_good_chains_are_near_one(seed, generator, kind):
    """R-hat - 1 is chi^2_7 / 7 / (2 n) of eight halves of n = 1,000 steps: below 0.01 by twenty standard errors."""
    draw = {"normal": generator.normal, "0 or 1": lambda size: generator.integers(2, size=size)}
    series = draw.get(kind, lambda size: generator.poisson(3, size=size))(size=(4, 2000))
    assert diagnostics.split_r_hat(series) < 1.01
    assert diagnostics.reasons_for_warning(series) is None


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


def test_autocorrelation_time_of_classes(seed, generator):
    """A chain that draws its class anew, of three that are not alike, with probability 0.1 a step: tau = 1.9 / 0.1."""
    chains, steps = 200, 2000
    drawn = generator.choice(3, size=(chains, steps), p=[0.6, 0.3, 0.1])
    last = np.maximum.accumulate(np.where(generator.random((chains, steps)) < 0.1, np.arange(steps), 0), axis=1)
    tau = diagnostics.autocorrelation_time_of_classes(np.take_along_axis(drawn, last, axis=1))
    assert tau == pytest.approx(19, rel=0.1)
    assert diagnostics.autocorrelation_time_of_classes(np.repeat([[0], [1]], 50, axis=1)) > 40  # which never change
    assert diagnostics.autocorrelation_time_of_classes(np.zeros((3, 50))) == np.inf
