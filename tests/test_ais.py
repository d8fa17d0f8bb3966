import warnings

import numpy as np
import pytest
import reference

import ais
from gluon_rbm.energy import Parameters
from gluon_rbm.errors import InputError
from gluon_rbm.framework import mx

pytestmark = pytest.mark.usefixtures("auto_engine")

REPEATS = 30


def arrays(machine, ctx=None, dtype="float32"):
    return [mx.nd.array(array, ctx=ctx, dtype=dtype) for array in machine]


def repeated(machine, ctx, seed, **settings):
    """log Z of repeated runs of 50 chains (which run side by side, being independent)."""
    whole = ais.log_partition(
        *arrays(machine, ctx), num_chains=50 * REPEATS, chains_at_once=50 * REPEATS, key=[seed], **settings
    )
    return np.array(
        [
            ais.summarize_log_weights(run, whole.num_distributions).log_z
            for run in whole.log_weights.reshape((REPEATS, 50))
        ]
    )


@pytest.mark.parametrize("base", ["model", "data", "given"])
def test_the_estimate_of_z_is_unbiased_for_any_base_rate(ctx, seed, generator, base):
    """Mean of Z / exact Z over repeated runs within five standard errors, measured over the runs."""
    machine = reference.random_machine(6, 5, generator, scale=0.7)
    choice = {
        "model": {},
        "data": {"training_data": generator.random((20, 6))},
        "given": {"base_visible_bias": generator.normal(size=6)},
    }[base]
    runs = repeated(machine, ctx, seed, num_distributions=30, burn_in_sweeps=2, **choice)
    ratio = np.exp(runs - reference.log_z(*machine))
    assert abs(ratio.mean() - 1) < 5 * ratio.std(ddof=1) / np.sqrt(REPEATS)


def test_the_error_shrinks_with_the_number_of_distributions(ctx, seed, generator):
    machine = reference.random_machine(6, 5, np.random.default_rng(1), scale=1.5)
    exact, errors = reference.log_z(*machine), []
    for num_distributions in (5, 50, 500):
        log_z = repeated(machine, ctx, seed, num_distributions=num_distributions)
        standard_error = log_z.std(ddof=1) / np.sqrt(REPEATS)
        # Jensen: the mean of log Z is low by half the variance of one run's relative error.
        assert abs(log_z.mean() + log_z.var() / 2 - exact) < 5 * standard_error
        errors.append(np.sqrt(np.mean((log_z - exact) ** 2)))
    assert errors[0] > 2 * errors[1] > 4 * errors[2]


def test_interval_and_effective_sample_size_follow_from_the_log_weights(ctx, seed, generator):
    machine = reference.random_machine(6, 5, generator)
    result = ais.log_partition(
        *arrays(machine, ctx), num_chains=70, num_distributions=20, chains_at_once=30, key=[seed]
    )
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
    machine = reference.random_machine(20, 10, generator, scale)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        result = ais.log_partition(*arrays(machine, ctx), num_chains=20, num_distributions=20, key=[seed])
    assert np.isfinite(result.log_weights).all() and np.isfinite(result.log_z)
    assert 0 < result.effective_sample_size <= 20 + 1e-9


def test_the_key_and_mxnets_seed_rule_the_noise(ctx, seed, generator):
    machine = arrays(reference.random_machine(6, 5, generator), ctx)

    def run(**key):
        return ais.log_partition(*machine, num_chains=10, num_distributions=5, **key).log_weights

    np.testing.assert_array_equal(run(key=[seed]), run(key=[seed]))
    assert not np.array_equal(run(key=[seed]), run(key=[seed, 1]))
    mx.random.seed(seed)
    first, second = run(), run()
    assert not np.array_equal(first, second)
    mx.random.seed(seed)
    np.testing.assert_array_equal(run(), first)


def test_doubt():
    good = ais.summarize_log_weights(np.zeros(100), 1000)
    few = ais.summarize_log_weights(np.zeros(100), 10)
    carried_by_one = ais.summarize_log_weights(np.r_[50.0, np.zeros(99)], 1000)
    assert good.doubt == ""
    assert ais.summarize_log_weights(np.zeros(3), 1000).doubt == "effective sample size 3.0 of 3 chains"
    assert few.doubt == "only 10 intermediate distributions"
    assert carried_by_one.doubt == "effective sample size 1.0 of 100 chains"
    assert ais.summarize_log_weights(np.zeros(1), 1000)[1:3] == (-np.inf, np.inf)


def test_smoothed_visible_bias():
    probability = 1 / (1 + np.exp(-ais.smoothed_visible_bias([0.0, 0.25, 1.0], 8, pseudo_count=2)))
    np.testing.assert_allclose(probability, [1 / 10, 3 / 10, 9 / 10])


# --- Likelihood of data -----------------------------------------------------------------------------------------------


def sources(images, ctx):
    """The same images as every kind of source, with batches that do not divide them."""
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


@pytest.mark.parametrize("source", SOURCES)
def test_mean_log_likelihood_equals_enumeration_over_every_source(ctx, generator, source):
    machine = reference.random_machine(6, 5, generator)
    images = generator.integers(0, 2, (10, 1, 2, 3)).astype("float32")
    log_z = reference.log_z(*machine)
    expected = -reference.free_energies(*machine, images.reshape((10, 6))) - log_z
    for _ in range(2):  # a DataIter starts over
        result = ais.mean_log_likelihood(Parameters(*arrays(machine, ctx)), sources(images, ctx)[source], log_z)
        assert result.num_images == 10 and result.binary
        assert result.mean == pytest.approx(expected.mean(), rel=1e-5)
        assert result.standard_error == pytest.approx(expected.std(ddof=1) / np.sqrt(10), rel=1e-4)


def test_estimate_log_likelihood_is_close_to_the_exact_one(ctx, seed, generator):
    machine = reference.random_machine(6, 5, generator, scale=0.5)
    images = generator.integers(0, 2, (10, 6)).astype("float32")
    with warnings.catch_warnings():
        warnings.simplefilter("error", ais.LikelihoodWarning)  # nothing to warn of
        log_likelihood, log_z = ais.estimate_log_likelihood(
            *arrays(machine, ctx), 50, 2, 300, 1, images, ctx, key=[seed]
        )
    assert isinstance(log_likelihood, float) and isinstance(log_z, float)
    exact = reference.log_z(*machine)
    # 100 chains, 300 distributions: the standard deviation over runs is below 0.01 nats for such machines.
    assert log_z == pytest.approx(exact, abs=0.05)
    assert log_likelihood == pytest.approx((-reference.free_energies(*machine, images)).mean() - log_z, abs=1e-4)


def test_it_warns_of_few_distributions_and_of_grey_pixels(generator):
    machine = arrays(reference.random_machine(6, 5, generator))
    with pytest.warns(ais.LikelihoodWarning, match="only 10 intermediate distributions.*optimistic"):
        ais.estimate_log_likelihood(*machine, 10, 1, 10, 1, np.zeros((3, 6)))
    with pytest.warns(ais.LikelihoodWarning, match="grey-pixel score"):
        ais.estimate_log_likelihood(*machine, 10, 1, 100, 1, np.full((3, 6), 0.5))


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
def test_images_that_cannot_be_scored(generator, images, message):
    machine = Parameters(*arrays(reference.random_machine(6, 5, generator)))
    with pytest.raises(InputError, match=message):
        ais.mean_log_likelihood(machine, images, 0.0)


@pytest.mark.parametrize("size", ["num_chains", "num_distributions", "burn_in_sweeps", "chains_at_once"])
def test_sizes_below_one(generator, size):
    with pytest.raises(InputError, match=size + " is 0"):
        ais.log_partition(*arrays(reference.random_machine(3, 2, generator)), **{size: 0})


def test_parameters_that_cannot_be_used(generator):
    machine = reference.random_machine(3, 2, generator)
    with pytest.raises(InputError, match="not finite"):
        ais.log_partition(*arrays((machine[0] * np.inf, *machine[1:])))
    with pytest.raises(InputError, match="base rate has shape"):
        ais.log_partition(*arrays(machine), base_visible_bias=np.zeros(4))
