import numpy as np
import pytest
import reference
from scipy import integrate, special, stats

from gluon_rbm.backend.framework import mx
from gluon_rbm.backend.random import KeyedOperators
from gluon_rbm.errors import InputError
from gluon_rbm.models.units import Gaussian, Multinary, NoisyReLU, OffsetSigmoids

GRID = np.array([-50, -12.3, -5, -1, -0.2, -1e-3, 0, 1e-3, 0.2, 1, 5, 12.3, 50])
OFFSETS = [0.5, 1.5, -2.0]
# Each family, and its mean in float64.
FAMILIES = {
    "binary": (Multinary(1), lambda x: special.expit(x)),
    "binomial": (Multinary(3, slope=1), lambda x: 3 / (1 + np.exp(-x))),
    "half": (Multinary(2, slope=0.5), lambda x: 2 / (1 + np.exp(-x / 2))),
    "steep": (Multinary(4, slope=2), lambda x: 4 / (1 + np.exp(-2 * x))),
    "8 bits": (Multinary(255), lambda x: 255 / (1 + np.exp(-x / 255))),
    "255 copies": (Multinary(255, slope=1), lambda x: 255 / (1 + np.exp(-x))),
    "not whole": (Multinary(255, slope=0.7), lambda x: 255 / (1 + np.exp(-0.7 * x))),
    "offsets": (OffsetSigmoids(OFFSETS), lambda x: sum(1 / (1 + np.exp(offset - x)) for offset in OFFSETS)),
    "noisy ReLU": (NoisyReLU(), lambda x: np.log1p(np.exp(-np.abs(x))) + np.maximum(x, 0)),
    "Gaussian": (Gaussian(), lambda x: x),
}
DISCRETE = ("binary", "binomial", "half", "steep", "offsets")
# `softrelu` errs by 4e-6 for each copy in float32, and by 2e-9 in float64.
TOLERANCE = {"float32": 1e-5, "float64": 5e-9}


@pytest.fixture(params=FAMILIES)
def family(request):
    return FAMILIES[request.param]


def inputs(units, dtype, ctx):
    """Inputs x for which slope * x is GRID: an NDArray, and the same in NumPy in float64."""
    x = mx.nd.array(GRID / units.slope, dtype=dtype, ctx=ctx)
    return x, x.asnumpy().astype("float64")


def integral_of(mean, x, slope):
    """The integral of the mean up to x, by quadrature of pieces.

    It begins at a point that is as good as -infinity, but at 0 for Gaussian units.
    """
    if mean is FAMILIES["Gaussian"][1]:
        return integrate.quad(mean, 0, x)[0]
    knots = [*np.arange(-110, x * slope, 5) / slope, x]
    return sum(integrate.quad(mean, *piece, epsabs=0, epsrel=1e-11)[0] for piece in zip(knots, knots[1:]))


def copies_of(units):
    return len(OFFSETS) if isinstance(units, OffsetSigmoids) else getattr(units, "copies", 1)


# --- Mean, variance, integral ---------------------------------------------------------------------


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_mean_variance_and_integral(ctx, family, dtype):
    units, mean = family
    x, points = inputs(units, dtype, ctx)
    step = 1e-4 / units.slope
    variance = (mean(points + step) - mean(points - step)) / (2 * step)
    integral = [integral_of(mean, point, units.slope) for point in points]
    for name, exact in (("mean", mean(points)), ("variance", variance), ("integral", integral)):
        ours = getattr(units, name)(mx.nd, x)
        assert ours.dtype == np.dtype(dtype) and ours.context == ctx
        scale = copies_of(units) * TOLERANCE[dtype] * (units.slope if name != "integral" else 1)
        np.testing.assert_allclose(ours.asnumpy(), exact, rtol=TOLERANCE[dtype], atol=scale, err_msg=name)


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_the_derivative_of_the_integral_is_the_mean(ctx, family, dtype):
    """Also at 0, where |x| has no derivative, and far from 0."""
    units, mean = family
    x, points = inputs(units, dtype, ctx)
    x.attach_grad()
    with mx.autograd.record():
        integral = units.integral(mx.nd, x)
    integral.backward()
    derivative = x.grad.asnumpy()
    np.testing.assert_allclose(derivative, units.mean(mx.nd, x).asnumpy(), rtol=1e-6 if dtype == "float32" else 1e-12)
    assert derivative[GRID == 0] == pytest.approx(mean(0.0), rel=1e-6)


@pytest.mark.parametrize("name", ["mean", "variance", "integral"])
def test_symbols_compute_what_arrays_do(ctx, family, name):
    units, _ = family
    x, _ = inputs(units, "float32", ctx)
    graph = getattr(units, name)(mx.sym, mx.sym.var("x")).bind(ctx, {"x": x})
    np.testing.assert_allclose(
        graph.forward()[0].asnumpy(), getattr(units, name)(mx.nd, x).asnumpy(), rtol=1e-6, atol=1e-6
    )


def test_the_dilogarithm_is_smooth_where_its_pieces_meet(ctx):
    x = np.concatenate([-np.logspace(-9, 1, 41), [0], np.logspace(-9, 1, 41)])
    ours = NoisyReLU().integral(mx.nd, mx.nd.array(x, ctx=ctx, dtype="float64")).asnumpy()
    np.testing.assert_allclose(ours, -special.spence(1 + np.exp(x)), rtol=1e-9)


# --- Copies ---------------------------------------------------------------------------------------


def values_of(units):
    return units.slope * np.arange(round(copies_of(units)) + 1)


def probabilities(units, x):
    """p(h | x) of the discrete families, by enumeration of all states of the copies."""
    offsets = OFFSETS if isinstance(units, OffsetSigmoids) else [0] * round(units.copies)
    copies = reference.states(len(offsets))
    weight = np.exp((units.slope * x * copies - np.array(offsets) * copies).sum(axis=1))
    return np.bincount(copies.sum(axis=1).astype(int), weight / weight.sum())


@pytest.mark.parametrize("name", DISCRETE)
@pytest.mark.parametrize("x", [-1.5, 0.0, 2.0])
def test_base_measure(ctx, name, x):
    """sum_h m(h) exp(x h) = exp(A(x)), and m(h) exp(x h - A(x)) = p(h | x) of the sum of copies."""
    units, _ = FAMILIES[name]
    terms = units.log_base_measure(values_of(units)) + x * values_of(units)
    integral = units.integral(mx.nd, mx.nd.array([x], ctx=ctx, dtype="float64")).asscalar()
    assert special.logsumexp(terms) == pytest.approx(integral, abs=1e-8)
    np.testing.assert_allclose(np.exp(terms - integral), probabilities(units, x), rtol=1e-7)


@pytest.mark.parametrize("x", [-1.5, 0.0, 2.0])
def test_base_measure_of_gaussian_units(x):
    total, _ = integrate.quad(lambda h: np.exp(Gaussian().log_base_measure(h) + x * h), -20, 20)
    assert np.log(total) == pytest.approx(x**2 / 2, abs=1e-9)


@pytest.mark.parametrize("maximum", [1, 2, 3, 30])
def test_one_sigmoid_is_a_sum_of_copies_only_if_the_slope_is_one(ctx, maximum):
    x = mx.nd.array(GRID, ctx=ctx, dtype="float64")
    copies = OffsetSigmoids([0] * maximum)
    for name in ("mean", "variance", "integral"):
        np.testing.assert_allclose(
            getattr(Multinary(maximum, slope=1), name)(mx.nd, x).asnumpy(),
            getattr(copies, name)(mx.nd, x).asnumpy(),
            rtol=1e-12,
        )
    # Far below 0 a sum of copies grows by the factor e if x grows by 1, for all offsets.
    # N sigma(k x) grows by e^k.
    tail = mx.nd.array([-61.0, -60.0], ctx=ctx, dtype="float64")
    for units, growth in (
        (copies, 1),
        (OffsetSigmoids(np.linspace(-5, 5, maximum)), 1),
        (Multinary(maximum, slope=0.5), 0.5),
        (Multinary(maximum, slope=2), 2),
    ):
        low, high = units.mean(mx.nd, tail).asnumpy()
        assert np.log(high / low) == pytest.approx(growth, abs=1e-6)


# --- Samples --------------------------------------------------------------------------------------


def draw(units, x, count, ctx, dtype="float32", F=mx.nd):
    array = mx.nd.full((count,), x, ctx=ctx, dtype=dtype)
    if F is mx.sym:
        (sample,) = units.sample(F, F.var("x")).bind(ctx, {"x": array}).forward()
    else:
        sample = units.sample(F, array)
    assert sample.dtype == np.dtype(dtype) and sample.context == ctx
    return sample.asnumpy().astype("float64")


@pytest.mark.parametrize("F", [mx.nd, mx.sym], ids=["arrays", "symbols"])
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", DISCRETE)
def test_samples_of_few_copies_are_exact(ctx, seed, name, dtype, F):
    units, _ = FAMILIES[name]
    for x in (-1.5, 0.0, 2.0):
        index = draw(units, x, 20000, ctx, dtype, F) / units.slope
        assert (index == index.round()).all()
        reference.assert_drawn_from(index.astype(int), probabilities(units, x))


@pytest.mark.parametrize("how", ["arrays", "symbols", "keyed"])
@pytest.mark.parametrize("copies", [33, 34, 64, 255, 1000, 4096])
def test_samples_of_many_copies_are_binomial(ctx, seed, copies, how):
    """Also near 0 and near N, where a clipped normal number has another mean."""
    F = {"arrays": mx.nd, "symbols": mx.sym, "keyed": KeyedOperators([seed])}[how]
    units = Multinary(copies, slope=1)
    for prob_1 in (0.001, 1.5 / copies, 0.3, 0.97, 1 - 1 / copies):
        x = np.float32(special.logit(prob_1))
        index = draw(units, x, 20000, ctx, F=F)
        binomial = stats.binom(copies, special.expit(np.float64(x)))
        assert (index == index.round()).all()
        reference.assert_drawn_from(index.astype(int), binomial.pmf(np.arange(copies + 1)))
        assert abs(index.mean() - binomial.mean()) < 5 * binomial.std() / np.sqrt(20000)


def test_the_mean_of_255_copies_near_zero(ctx, seed):
    """It is 0.255 at p = 0.001, within five standard errors of 10^6 samples (0.0025).

    Clipped normal numbers would have the mean 0.354.
    """
    sample = draw(Multinary(255, slope=1), special.logit(0.001), 10**6, ctx)
    assert abs(sample.mean() - 0.255) < 5 * np.sqrt(0.255 * 0.999 / 10**6)


@pytest.mark.parametrize("copies", [3, 33, 255])
def test_copies_that_are_certain(ctx, seed, copies):
    units = Multinary(copies, slope=1)
    for x, value in ((-200.0, 0), (200.0, copies)):
        assert (draw(units, x, 10000, ctx) == value).all()


@pytest.mark.parametrize("x", [-4.0, -0.5, 0.0, 0.7, 4.0])
@pytest.mark.parametrize("name", ["8 bits", "not whole", "noisy ReLU", "Gaussian"])
def test_samples_that_are_normal(ctx, generator, name, x):
    """Samples of some families are normal, and clipped at 0 and at the maximum N.

    - More than 4,096 copies, or a number of copies that is not whole: mean f, variance f'.
    - Noisy rectified units: mean x, variance sigma(x), clipped at 0 only.
    - Gaussian units: mean x, variance 1, not clipped.
    """
    units, mean = FAMILIES[name]
    x, count = x / units.slope, 20000
    variance = {"noisy ReLU": special.expit(x), "Gaussian": 1.0}.get(name)
    if variance is None:
        variance = units.slope * mean(x) * (1 - mean(x) / units.maximum)
    center = x if name == "noisy ReLU" else mean(x)
    low, high = -np.inf if name == "Gaussian" else 0, units.maximum or np.inf
    sample = draw(units, x, count, ctx)
    assert sample.min() >= low and sample.max() <= high
    normal = stats.norm(center, np.sqrt(variance))
    # Clipped values are drawn anew from the tail beyond the end. Then all values must be normal.
    uniform = generator.random(count)
    uncut = np.where(sample == low, normal.ppf(uniform * normal.cdf(low)), sample)
    uncut = np.where(sample == high, normal.isf(uniform * normal.sf(high)), uncut)
    assert stats.kstest(uncut, normal.cdf).pvalue > 1e-6
    if low + 6 * np.sqrt(variance) < center < high - 6 * np.sqrt(variance):  # nothing is clipped
        assert abs(sample.mean() - mean(x)) < 5 * np.sqrt(variance / count) + 1e-6 * center
        assert abs(sample.var() - variance) < 5 * variance * np.sqrt(2 / count)


def test_samples_of_noisy_rectified_units_have_almost_the_mean():
    """E[max(0, x + s z)] = x Phi(x/s) + s phi(x/s), with s^2 = sigma(x) and z ~ N(0, 1).

    It is at most 0.42 below log(1 + exp(x)).
    """
    x = np.linspace(-10, 10, 2001)
    deviation = np.sqrt(special.expit(x))
    mean = x * stats.norm.cdf(x / deviation) + deviation * stats.norm.pdf(x / deviation)
    below = np.logaddexp(0, x) - mean
    assert below.min() > 0 and below.max() == pytest.approx(0.42, abs=0.005)
    assert abs(x[below.argmax()] + 0.2) < 0.05 and below[[0, -1]].max() < 1e-4


def test_a_seed_fixes_the_samples(ctx, family, seed):
    units, _ = family
    x, _ = inputs(units, "float32", ctx)
    samples = []
    for one in (seed, seed, seed + 1):
        mx.random.seed(one)
        samples.append(units.sample(mx.nd, mx.nd.repeat(x, 100)).asnumpy())
    np.testing.assert_array_equal(samples[0], samples[1])
    assert (samples[0] != samples[2]).any()


# --- Bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize("maximum", [0, -1, 2.5, "3", None])
def test_multinary_units_need_a_whole_maximum(maximum):
    with pytest.raises(InputError, match="a whole number of at least 1"):
        Multinary(maximum)


@pytest.mark.parametrize("slope", [0, -1.0, np.inf, np.nan])
def test_multinary_units_need_a_slope_above_zero(slope):
    with pytest.raises(InputError, match="above 0"):
        Multinary(3, slope)


@pytest.mark.parametrize("offsets", [[], [0, np.nan], [np.inf]])
def test_copies_need_finite_offsets(offsets):
    with pytest.raises(InputError, match="give one or more finite numbers"):
        OffsetSigmoids(offsets)


def test_noisy_rectified_units_have_no_base_measure():
    with pytest.raises(InputError, match="OffsetSigmoids"):
        NoisyReLU().log_base_measure([0])
