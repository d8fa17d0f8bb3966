import warnings

import numpy as np
import pytest
import reference
from marks import slow_but

import ais
from gluon_rbm.backend.framework import mx
from gluon_rbm.errors import InputError
from gluon_rbm.likelihood import enumeration, estimates, schedules
from gluon_rbm.models.parameters import Parameters
from gluon_rbm.sampling import gibbs

pytestmark = pytest.mark.usefixtures("auto_engine")

REPEATS = 30


def arrays(rbm, ctx=None, dtype="float32"):
    return [mx.nd.array(array, ctx=ctx, dtype=dtype) for array in rbm]


def repeated(rbm, ctx, seed, **settings):
    """Estimates of log Z from 30 independent runs of 50 chains. All chains run side by side."""
    whole = ais.log_partition(
        *arrays(rbm, ctx), num_chains=50 * REPEATS, chains_at_once=50 * REPEATS, key=[seed], **settings
    )
    return np.array(
        [
            estimates.summarize_log_weights(run, whole.num_distributions).log_z
            for run in whole.log_weights.reshape((REPEATS, 50))
        ]
    )


@pytest.mark.parametrize("base", ["model", "data", "given"])
def test_the_estimate_of_z_is_unbiased_for_any_base_rate(ctx, seed, generator, base):
    """The mean of Z / exact Z over repeated runs is 1 within five standard errors.

    The standard error is measured over the runs.
    """
    rbm = reference.random_rbm(6, 5, generator, scale=0.7)
    choice = {
        "model": {},
        "data": {"training_data": generator.random((20, 6))},
        "given": {"base_visible_bias": generator.normal(size=6)},
    }[base]
    runs = repeated(rbm, ctx, seed, num_distributions=30, burn_in_sweeps=2, **choice)
    ratio = np.exp(runs - reference.log_z(*rbm))
    assert abs(ratio.mean() - 1) < 5 * ratio.std(ddof=1) / np.sqrt(REPEATS)


@pytest.mark.slow
def test_the_error_shrinks_with_the_number_of_distributions(ctx, seed, generator):
    """Ten times as many distributions divide the error by sqrt(10), within five standard errors.

    An error that does not shrink is more than six standard errors away.
    """
    rbm = reference.random_rbm(6, 5, np.random.default_rng(1), scale=1.5)
    exact, errors = reference.log_z(*rbm), []
    for num_distributions in (5, 50, 500):
        log_z = repeated(rbm, ctx, seed, num_distributions=num_distributions)
        standard_error = log_z.std(ddof=1) / np.sqrt(REPEATS)
        # By Jensen's inequality, the mean of log Z is too low by half the variance of log Z.
        assert abs(log_z.mean() + log_z.var() / 2 - exact) < 5 * standard_error
        errors.append(np.sqrt(np.mean((log_z - exact) ** 2)))
    # The logarithm of a root mean square over R runs has the standard error sqrt(1 / (2 R)).
    # The logarithm of a ratio of two has sqrt(1 / R).
    assert (np.abs(-np.diff(np.log(errors)) - np.log(10) / 2) < 5 / np.sqrt(REPEATS)).all()


def test_interval_and_effective_sample_size_follow_from_the_log_weights(ctx, seed, generator):
    rbm = reference.random_rbm(6, 5, generator)
    result = ais.log_partition(*arrays(rbm, ctx), num_chains=70, num_distributions=20, chains_at_once=30, key=[seed])
    assert result.log_weights.shape == (70,) and result.log_weights.dtype == np.float64
    weights = np.exp(result.log_weights)
    mean, error = weights.mean(), weights.std(ddof=1) / np.sqrt(70)
    assert result.log_z == pytest.approx(np.log(mean), rel=1e-12)
    assert result.high == pytest.approx(np.log(mean + 3 * error), rel=1e-12)
    assert result.low == pytest.approx(np.log(mean - 3 * error) if mean > 3 * error else -np.inf, rel=1e-9)
    assert result.effective_sample_size == pytest.approx(weights.sum() ** 2 / (weights**2).sum(), rel=1e-12)
    assert result.num_distributions == 20


def test_without_interactions_every_weight_is_exact(ctx, seed):
    a, b = np.array([0.5, -1.0, 2.0]), np.array([3.0, -4.0])
    result = ais.log_partition(
        *arrays((a, b, np.zeros((3, 2))), ctx, "float64"), num_chains=20, num_distributions=7, key=[seed]
    )
    np.testing.assert_allclose(result.log_weights, np.logaddexp(0, a).sum() + np.logaddexp(0, b).sum(), rtol=1e-12)
    assert result.effective_sample_size == pytest.approx(20)


@pytest.mark.parametrize("scale", [1e-6, 1e3, 1e6])
def test_no_overflow_at_any_scale_of_the_weights(ctx, seed, generator, scale):
    rbm = reference.random_rbm(20, 10, generator, scale)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        result = ais.log_partition(*arrays(rbm, ctx), num_chains=20, num_distributions=20, key=[seed])
    assert np.isfinite(result.log_weights).all() and np.isfinite(result.log_z)
    assert 0 < result.effective_sample_size <= 20 + 1e-9


def test_the_key_and_mxnets_seed_fix_the_noise(ctx, seed, generator):
    rbm = arrays(reference.random_rbm(6, 5, generator), ctx)

    def run(**key):
        return ais.log_partition(*rbm, num_chains=10, num_distributions=5, **key).log_weights

    np.testing.assert_array_equal(run(key=[seed]), run(key=[seed]))
    assert not np.array_equal(run(key=[seed]), run(key=[seed, 1]))
    mx.random.seed(seed)
    first, second = run(), run()
    assert not np.array_equal(first, second)
    mx.random.seed(seed)
    np.testing.assert_array_equal(run(), first)


def test_warnings_of_an_estimate():
    spread = 0.1 * np.tile([-1.0, 1.0], 50)
    good = estimates.summarize_log_weights(spread, 1000)
    few = estimates.summarize_log_weights(spread, 10)
    alike = estimates.summarize_log_weights(np.full(100, 5.0), 1000)
    carried_by_one = estimates.summarize_log_weights(np.r_[50.0, np.zeros(99)], 1000)
    assert good.warning == ""
    assert alike.warning == "all chains have the same weight, which says nothing of modes that none of them has met"
    assert alike.reasons(confirmed=True) == ""
    assert estimates.summarize_log_weights(spread[:3], 1000).warning == "only 3 chains, too few for an interval"
    assert few.warning == "only 10 intermediate distributions"
    assert carried_by_one.warning == "effective sample size 1.0 of 100 chains"
    assert estimates.summarize_log_weights(np.zeros(1), 1000)[1:3] == (-np.inf, np.inf)


def test_smoothed_visible_bias():
    probability = 1 / (1 + np.exp(-ais.smoothed_visible_bias([0.0, 0.25, 1.0], 8, pseudo_count=2)))
    np.testing.assert_allclose(probability, [1 / 10, 3 / 10, 9 / 10])


# --- Forward and reverse --------------------------------------------------------------------------


def random_rbms(count, generator):
    """Yield RBMs with 2 to 10 units in each layer, and visible biases of base distributions."""
    for _ in range(count):
        num_visible, num_hidden = generator.integers(2, 11, size=2)
        scale = generator.uniform(0.3, 1.2)
        yield reference.random_rbm(num_visible, num_hidden, generator, scale), generator.normal(size=num_visible)


def exact_log_z(rbm):
    return enumeration.log_partition(Parameters(*arrays(rbm, dtype="float64")))


def repeated_bracket(rbm, ctx, seed, chains, repeats, **settings):
    """Forward and reverse estimates of repeated runs, as two lists of `LogPartition`.

    Reverse AIS starts at exact samples.
    """
    count = chains * repeats
    whole = ais.bracket(
        *arrays(rbm, ctx), num_chains=count, chains_at_once=count, reverse_start="exact", key=[seed], **settings
    )
    summaries = (estimates.summarize_log_weights, estimates.summarize_reverse)
    return [
        [summarize(run, side.num_distributions) for run in side.log_weights.reshape((repeats, chains))]
        for summarize, side in zip(summaries, whole)
    ]


@pytest.mark.slow
def test_forward_is_below_and_reverse_above_on_average(ctx, engine, seed, generator):
    """The mean of log Z is too low in forward AIS and too high in reverse AIS.

    The means of Z (forward) and 1 / Z (reverse) have no bias. All hold within five standard errors
    over 200 runs of 10 chains. A rare weight may be larger than all others together, and 2,000
    chains may miss it. So the means of Z and 1 / Z are checked only if the log-weights have a
    standard deviation of at most 1.
    """
    checked = 0
    for rbm, base in random_rbms(24 if engine == "native" else 8, generator):
        exact, schedule = exact_log_z(rbm), generator.choice(schedules.SCHEDULES)
        settings = dict(num_distributions=int(generator.integers(2, 30)), base_visible_bias=base, schedule=schedule)
        sides = repeated_bracket(rbm, ctx, seed, 10, 200, **settings)
        forward, reverse = (np.array([run.log_z for run in side]) - exact for side in sides)
        assert forward.mean() < 5 * standard_error(forward)
        assert reverse.mean() > -5 * standard_error(reverse)
        for ratio, runs in zip((np.exp(forward), np.exp(-reverse)), sides):
            if np.std([run.log_weights for run in runs]) <= 1:
                checked += 1
                assert abs(ratio.mean() - 1) < 5 * standard_error(ratio)
    assert checked >= 4


def standard_error(values):
    return values.std(ddof=1) / np.sqrt(len(values))


@pytest.mark.slow
def test_the_interval_covers_the_exact_value(ctx, engine, seed, generator):
    """Intervals cover log Z in 95 % of 200 runs of 100 chains.

    This holds if the effective sample size is at least half the number of chains. Near one half,
    intervals cover little more than 95 %. So a single RBM may have less, by three standard errors
    of its 200 runs.
    """
    shares = []
    for rbm, base in random_rbms(24 if engine == "native" else 6, generator):
        exact = exact_log_z(rbm)
        for side in repeated_bracket(rbm, ctx, seed, 100, 200, num_distributions=20, base_visible_bias=base):
            if np.median([run.effective_sample_size for run in side]) >= 50:
                shares.append(np.mean([run.low <= exact <= run.high for run in side]))
    assert len(shares) >= 6
    assert np.mean(shares) >= 0.95
    assert min(shares) >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / 200)


@pytest.mark.slow
def test_estimates_depend_neither_on_the_order_of_units_nor_on_which_state_is_on(ctx, seed, generator):
    a, b, w = rbm = reference.random_rbm(8, 6, generator, scale=0.7)
    exact = exact_log_z(rbm)
    rows, columns = generator.permutation(8), generator.permutation(6)
    flipped, constant = reference.flip_visible(rbm, generator.integers(0, 2, 8))
    for other, shift in ((rbm, 0), ((a[rows], b[columns], w[rows][:, columns]), 0), (flipped, constant)):
        for start in ("exact", "chains"):
            found = ais.bracket(
                *arrays(other, ctx), num_chains=200, num_distributions=60, reverse_start=start, key=[seed]
            )
            assert found.reverse_start == start
            # An interval is six standard errors wide.
            for side in found[:2]:
                assert abs(side.log_z + shift - exact) < side.high - side.low


@pytest.mark.parametrize(
    "num_distributions, tolerance",
    [
        (100, 0.5),
        pytest.param(1000, 0.05, marks=pytest.mark.slow),
        pytest.param(10000, 0.005, marks=pytest.mark.slow),
    ],
)
def test_bars_and_stripes_to_the_tolerance_of_pydeep(engine, seed, num_distributions, tolerance):
    """The root mean square error of 8 runs of 100 chains is below a tolerance.

    The base distribution has the means of the data, which are 1/2.
    """
    if num_distributions > 100 and engine == "mxnet":
        pytest.skip("takes a minute")
    rbm = reference.bars_and_stripes_rbm(np.random.default_rng(1))
    settings = dict(num_distributions=num_distributions, base_visible_bias=np.zeros(4), schedule="adaptive")
    brackets = [ais.Bracket(*sides, "exact") for sides in zip(*repeated_bracket(rbm, None, seed, 100, 8, **settings))]
    for name in ("forward", "reverse", "middle"):
        found = [bracket.log_z if name == "middle" else getattr(bracket, name).log_z for bracket in brackets]
        error = np.sqrt(np.mean((np.array(found) - reference.log_z(*rbm)) ** 2))
        print("%s: root mean square error %.5f nats" % (name, error))
        assert error < tolerance


@pytest.mark.slow
def test_chains_start_reverse_ais_from_samples_of_the_rbm(ctx, seed, generator):
    """Reverse AIS finds log Z of an RBM with two distant modes of unequal probability.

    No chain at beta = 1 leaves its mode. Resampling by the weights of forward AIS gives both modes
    their right share.
    """
    rbm = (np.full(4, -8.0), np.array([-32.7]), np.full((4, 1), 16.0))
    found = ais.bracket(
        *arrays(rbm, ctx),
        num_chains=2000,
        num_distributions=300,
        chains_at_once=2000,
        base_visible_bias=np.zeros(4),
        reverse_start="chains",
        sweeps_at_the_top=20,
        key=[seed],
    )
    exact = exact_log_z(rbm)
    assert found.forward.low < exact < found.forward.high
    assert abs(found.reverse.log_z - exact) < 0.2


def result(log_z, spread=0.01, num_distributions=1000):
    log_weights = log_z + spread * np.tile([-1.0, 1.0], 50)
    return estimates.summarize_log_weights(log_weights, num_distributions)


def test_warnings_of_a_bracket():
    def warning(*sides):
        return ais.Bracket(*sides, "exact").warning

    assert warning(result(5), result(5.1)) == "" == warning(result(5), result(5.9)) == warning(result(5.001), result(5))
    assert warning(result(5), result(6.1)) == "the bracket of log Z is 1.11 nats wide"
    assert warning(result(5.1), result(5)).startswith(
        "the bracket is upside down: forward AIS, which should lie below,"
    )
    assert warning(result(5, num_distributions=10), result(5)) == "forward: only 10 intermediate distributions"
    assert warning(result(5), estimates.summarize_reverse(5 + 0.001 * np.arange(5.0), 1000)) == (
        "reverse: only 5 chains, too few for an interval"
    )
    assert warning(estimates.summarize_log_weights([5.0], 1000), result(5)).endswith(
        "the bracket of log Z is unbounded"
    )
    bracket = ais.Bracket(result(5), result(5.5), "exact")
    assert (bracket.low, bracket.high) == (bracket.forward.low, bracket.reverse.high)


def test_reverse_is_the_mirror_of_forward(generator):
    log_weights = generator.normal(size=50)
    forward, reverse = estimates.summarize_log_weights(-log_weights, 7), estimates.summarize_reverse(log_weights, 7)
    assert (reverse.log_z, reverse.low, reverse.high) == (-forward.log_z, -forward.high, -forward.low)
    assert reverse.effective_sample_size == forward.effective_sample_size and reverse.num_distributions == 7
    np.testing.assert_array_equal(reverse.log_weights, log_weights)


@pytest.mark.slow
def test_a_killed_bracket_resumes_with_the_same_result(seed, generator, monkeypatch, tmp_path):
    rbm, path = arrays(reference.random_rbm(6, 5, generator)), tmp_path / "state"
    settings = dict(num_chains=30, chains_at_once=20, num_distributions=50, schedule="adaptive", key=[seed])
    expected = ais.bracket(*rbm, reverse_start="chains", **settings)
    whole, calls = gibbs.anneal_with_weights, []

    def anneal(*args, **more):
        calls.append(1)
        # Two pilot runs make 50 calls each, and annealing of a block of chains makes three. So this
        # call is in the middle of the forward run from fair coins.
        if len(calls) == 110:
            raise KeyboardInterrupt
        return whole(*args, **more)

    monkeypatch.setattr(gibbs, "anneal_with_weights", anneal)
    with pytest.raises(KeyboardInterrupt):
        ais.bracket(*rbm, reverse_start="chains", state=path, **settings)
    assert path.exists()
    found = ais.bracket(*rbm, reverse_start="chains", state=path, **settings)
    assert len(calls) == 110 + 2 * 50 + 24 - 9
    for left, right in zip(found[:2], expected[:2]):
        np.testing.assert_array_equal(left.log_weights, right.log_weights)
        assert left._replace(log_weights=None) == right._replace(log_weights=None)
    with pytest.raises(InputError, match="another model or other settings"):
        ais.bracket(*rbm, reverse_start="chains", state=path, **{**settings, "key": [seed, 1]})
    with pytest.raises(InputError, match="needs a key"):
        ais.log_partition(*rbm, state=path)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"schedule": "steep"}, "schedule 'steep' does not exist; choose linear, three-piece, adaptive"),
        ({"reverse_start": "best"}, "reverse_start 'best' does not exist; choose auto, exact, chains"),
        ({"reverse_start": np.zeros((5, 6))}, r"binary samples of shape \(10, 6\), not at these \(5, 6\)"),
        ({"reverse_start": np.full((10, 6), 0.5)}, "binary samples"),
        ({"sweeps_at_the_top": 0}, "sweeps_at_the_top is 0"),
    ],
)
def test_wrong_arguments_of_a_bracket_are_refused(generator, settings, message):
    rbm = arrays(reference.random_rbm(6, 5, generator))
    with pytest.raises(InputError, match=message):
        ais.bracket(*rbm, **{"num_chains": 10, "num_distributions": 5, "key": [0], **settings})


def test_exact_samples_of_a_large_rbm_are_refused_at_once(monkeypatch):
    monkeypatch.setattr(gibbs, "anneal_with_weights", None)
    with pytest.raises(InputError, match="enumeration ends at 25"):
        ais.bracket(*arrays((np.zeros(30), np.zeros(30), np.zeros((30, 30)))), reverse_start="exact")


def test_reverse_ais_alone(ctx, seed, generator):
    rbm = reference.random_rbm(6, 5, generator, scale=0.5)
    visible, _ = reference.draw_joint(*rbm, 100, generator)
    found = ais.reverse_log_partition(*arrays(rbm, ctx), visible, num_distributions=300, key=[seed])
    assert found.log_z == pytest.approx(exact_log_z(rbm), abs=0.05)
    assert found.low < found.log_z < found.high and len(found.log_weights) == 100


# --- Likelihood of data ---------------------------------------------------------------------------


def sources(images, ctx):
    """The same images in each kind of source. The last batch is smaller than the others."""
    flat = images.reshape((len(images), -1))
    dataset = mx.gluon.data.ArrayDataset(mx.nd.array(images), np.zeros(len(images)))
    return {
        "numpy": flat,
        "ndarray": mx.nd.array(images, ctx=ctx),
        "DataLoader": mx.gluon.data.DataLoader(dataset, batch_size=4),
        "DataLoader of images only": mx.gluon.data.DataLoader(mx.gluon.data.SimpleDataset(images), batch_size=4),
        "NDArrayIter": mx.io.NDArrayIter(images, batch_size=4),
        "list": [flat[:3], flat[3:]],
    }


SOURCES = ("numpy", "ndarray", "DataLoader", "DataLoader of images only", "NDArrayIter", "list")


@pytest.mark.parametrize("source", slow_but(SOURCES, "numpy", "ndarray", "NDArrayIter", "list"))
def test_mean_log_likelihood_equals_enumeration_over_every_source(ctx, generator, source):
    rbm = reference.random_rbm(6, 5, generator)
    images = generator.integers(0, 2, (10, 1, 2, 3)).astype("float32")
    log_z = reference.log_z(*rbm)
    expected = -reference.free_energies(*rbm, images.reshape((10, 6))) - log_z
    for _ in range(2):  # a DataIter starts over
        result = ais.mean_log_likelihood(Parameters(*arrays(rbm, ctx)), sources(images, ctx)[source], log_z)
        assert result.num_images == 10 and result.binary
        assert result.mean == pytest.approx(expected.mean(), rel=1e-5)
        assert result.standard_error == pytest.approx(expected.std(ddof=1) / np.sqrt(10), rel=1e-4)


def test_estimate_log_likelihood_is_close_to_the_exact_one(ctx, seed, generator):
    rbm = reference.random_rbm(6, 5, generator, scale=0.5)
    images = generator.integers(0, 2, (10, 6)).astype("float32")
    with warnings.catch_warnings():
        warnings.simplefilter("error", ais.LikelihoodWarning)  # no warning is expected
        log_likelihood, log_z = ais.estimate_log_likelihood(*arrays(rbm, ctx), 50, 2, 300, 1, images, ctx, key=[seed])
    assert isinstance(log_likelihood, float) and isinstance(log_z, float)
    exact = reference.log_z(*rbm)
    # With 100 chains and 300 distributions, log Z of RBMs of this kind has a standard deviation
    # below 0.01 nats.
    assert log_z == pytest.approx(exact, abs=0.05)
    assert log_likelihood == pytest.approx((-reference.free_energies(*rbm, images)).mean() - log_z, abs=1e-4)


def test_estimate_log_likelihood_warns_of_few_distributions_and_grey_pixels(generator):
    rbm = arrays(reference.random_rbm(6, 5, generator))
    with pytest.warns(ais.LikelihoodWarning, match="only 10 intermediate distributions.*optimistic"):
        ais.estimate_log_likelihood(*rbm, 10, 1, 10, 1, np.zeros((3, 6)))
    with pytest.warns(ais.LikelihoodWarning, match="grey-pixel score"):
        ais.estimate_log_likelihood(*rbm, 10, 1, 100, 1, np.full((3, 6), 0.5))


@pytest.mark.parametrize(
    "images, message",
    [
        (np.full((3, 6), np.nan), "not be NaN"),
        (np.full((3, 6), 1.5), r"in \[0, 1\]"),
        (np.full((3, 6), -0.1), r"in \[0, 1\]"),
        (np.zeros((3, 7)), "7 pixels, the model 6"),
        (np.zeros((0, 6)), "no image"),
    ],
)
def test_wrong_images_are_refused(generator, images, message):
    rbm = Parameters(*arrays(reference.random_rbm(6, 5, generator)))
    with pytest.raises(InputError, match=message):
        ais.mean_log_likelihood(rbm, images, 0.0)


@pytest.mark.parametrize("size", ["num_chains", "num_distributions", "burn_in_sweeps", "chains_at_once"])
def test_sizes_below_one_are_refused(generator, size):
    with pytest.raises(InputError, match=size + " is 0"):
        ais.log_partition(*arrays(reference.random_rbm(3, 2, generator)), **{size: 0})


def test_too_many_distributions_are_refused(generator):
    with pytest.raises(InputError, match="num_distributions is 2147483647; it may be 10000000 at most"):
        ais.log_partition(*arrays(reference.random_rbm(3, 2, generator)), num_distributions=2**31 - 1)


def test_wrong_parameters_are_refused(generator):
    rbm = reference.random_rbm(3, 2, generator)
    with pytest.raises(InputError, match="not finite"):
        ais.log_partition(*arrays((rbm[0] * np.inf, *rbm[1:])))
    for weight in (np.nan, np.inf, -np.inf):
        with pytest.raises(InputError, match="log Z is not finite"):
            estimates.summarize_log_weights(np.array([1.0, weight]), 1000)
    with pytest.raises(InputError, match="base rate has shape"):
        ais.log_partition(*arrays(rbm), base_visible_bias=np.zeros(4))
