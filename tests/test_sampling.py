"""Samplers against enumeration, with every engine."""

import numpy as np
import pytest
import reference
from marks import slow_but

from gluon_rbm.backend.framework import mx
from gluon_rbm.errors import InputError
from gluon_rbm.models.parameters import Parameters
from gluon_rbm.sampling.chains import STARTS, initial_visible, parallel_tempering, sample_chains, simulated_annealing
from gluon_rbm.sampling.classes import draw_classes
from gluon_rbm.sampling.inpainting import inpaint, make_mask

CHAINS = 10000
GROUP = (1, 4)
# Two modes far apart: nearly always all units are off, or all units are on. Plain chains stay in
# the mode in which they start.
TWO_MODES = np.full(6, -8.9), np.full(6, -9.0), np.full((6, 6), 3.0)
HELD = {
    "nothing": {},
    "pixels": dict(mask=np.array([1, 0, 0, 0, 0, 1]), values=np.array([1, 0, 0, 0, 0, 0])),
    "label": dict(groups=[GROUP], mask=np.array([0, 1, 1, 1, 0, 0]), values=np.array([0, 0, 1, 0, 0, 0])),
    "group": dict(groups=[GROUP], mask=np.array([1, 0, 0, 0, 0, 0]), values=np.array([1, 0, 0, 0, 0, 0])),
}


def parameters(rbm, ctx=None, dtype="float32"):
    return Parameters(*(mx.nd.array(array, ctx=ctx, dtype=dtype) for array in rbm))


def joint_index(chains):
    visible, hidden = chains.visible_sample.asnumpy(), chains.hidden_sample.asnumpy()
    return reference.state_index(visible) * 2 ** hidden.shape[1] + reference.state_index(hidden)


def settings(held):
    """The arguments of the samplers that hold what `reference.given(joint, **held)` holds."""
    clamp = (held["mask"], held["values"]) if "mask" in held else None
    return dict(clamp=clamp, visible_units=held.get("groups", ()))


# --- Chains ---------------------------------------------------------------------------------------


def plain(rbm, visible, key, **more):
    return sample_chains(rbm, visible, 50, key, **more)


def in_parts(rbm, visible, key, **more):
    *first, last = sample_chains(rbm, visible, 50, key, every=15, **more)
    assert len(first) == 3
    return last


def annealed(rbm, visible, key, **more):
    return simulated_annealing(rbm, visible, 220, key, **more)


def tempered(rbm, visible, key, **more):
    return parallel_tempering(rbm, visible, 52, key, num_temperatures=4, **more).chains


@pytest.mark.parametrize("held", HELD)
@pytest.mark.parametrize("sampler", slow_but([plain, in_parts, annealed, tempered], plain, tempered))
def test_samplers_are_exact(ctx, engine, seed, generator, sampler, held):
    """Chains from zeros reach the exact distribution given the held units."""
    rbm = reference.random_rbm(6, 3, generator, scale=0.7)
    chains = sampler(parameters(rbm, ctx), np.zeros((CHAINS, 6)), [seed], engine=engine, **settings(HELD[held]))
    exact = reference.given(reference.joint(*rbm), **HELD[held])
    reference.assert_drawn_from(joint_index(chains), exact.ravel())


@pytest.mark.parametrize("sampler", [annealed, tempered])
def test_clamps_may_differ_between_chains(ctx, engine, seed, generator, sampler):
    rbm = reference.random_rbm(6, 3, generator, scale=0.7)
    masks, values = np.zeros((CHAINS, 6)), generator.integers(0, 2, (CHAINS, 6))
    masks[::2, 0], masks[1::2, [2, 5]] = 1, 1
    values[::2, 0], values[1::2, [2, 5]] = 1, (0, 1)
    index = joint_index(
        sampler(parameters(rbm, ctx), np.zeros((CHAINS, 6)), [seed], clamp=(masks, values), engine=engine)
    )
    for half in (0, 1):
        exact = reference.given(reference.joint(*rbm), mask=masks[half], values=values[half])
        reference.assert_drawn_from(index[half::2], exact.ravel())


def test_samples_at_other_temperatures(ctx, engine, seed, generator):
    rbm, base = reference.random_rbm(5, 3, generator, scale=0.5), generator.normal(size=5)
    trained, zeros = parameters(rbm, ctx), np.zeros((CHAINS, 5))
    common = dict(base_visible_bias=base, engine=engine)
    each = sample_chains(trained, zeros, 30, [seed, 1], beta=np.repeat([0.0, 0.5], CHAINS // 2), **common)
    cold = simulated_annealing(trained, zeros, 300, [seed, 2], highest_beta=2.5, **common)
    index = joint_index(each)
    for half, beta in ((index[: CHAINS // 2], 0.0), (index[CHAINS // 2 :], 0.5), (joint_index(cold), 2.5)):
        reference.assert_drawn_from(half, reference.joint(*rbm, beta, base).ravel())


@pytest.mark.slow
def test_tempering_and_annealing_reach_modes_that_plain_chains_miss(ctx, engine, seed):
    exact = reference.joint(*TWO_MODES).sum(axis=1)
    assert exact[0] + exact[-1] > 0.8 and 0.2 < exact[-1] < 0.8
    rbm, zeros = parameters(TWO_MODES, ctx), np.zeros((1000, 6))

    def all_on(chains):
        return chains.visible_sample.asnumpy().min(axis=1).mean()

    crossed = all_on(
        parallel_tempering(rbm, zeros, 400, [seed], num_temperatures=12, swap_every=1, engine=engine).chains
    )
    assert crossed == pytest.approx(exact[-1], abs=5 * 0.5 / np.sqrt(1000) + 0.02)
    assert all_on(sample_chains(rbm, zeros, 400, [seed], engine=engine)) < 0.5 * exact[-1]
    assert all_on(simulated_annealing(rbm, zeros, 400, [seed], engine=engine)) > 0.1


def test_swap_rates_are_right(ctx, engine, seed, generator):
    rbm, base = reference.random_rbm(4, 3, generator), generator.normal(size=4)
    betas = np.linspace(1, 0.25, 4)
    exact = [reference.joint(*rbm, beta, base).ravel() for beta in betas]
    slopes = reference.uphill_slopes(*rbm, base)
    accepted = np.minimum(1, np.exp(0.25 * (slopes[:, None] - slopes[None, :])))
    rates = parallel_tempering(
        parameters(rbm, ctx),
        np.zeros((CHAINS, 4)),
        200,
        [seed],
        num_temperatures=4,
        lowest_beta=0.25,
        swap_every=20,
        base_visible_bias=base,
        engine=engine,
    ).swap_rates
    for rate, left, right in zip(rates, exact, exact[1:]):
        assert rate == pytest.approx(left @ accepted @ right, abs=5 * 0.5 / np.sqrt(CHAINS))
    never = parallel_tempering(parameters(rbm, ctx), np.zeros((2, 4)), 5, [seed], num_temperatures=3, engine=engine)
    assert np.isnan(never.swap_rates).all() and never.chains.visible_sample.shape == (2, 4)


def test_the_key_fixes_the_samples_for_both_kinds_of_arrays(ctx, engine, seed, generator):
    rbm = parameters(reference.random_rbm(20, 10, generator, scale=0.1), ctx)
    images = generator.random((50, 20)).astype(np.float32)

    def run(key, images):
        return sample_chains(rbm, images, 3, [key], engine=engine).visible_sample.asnumpy()

    first = run(seed, images)
    np.testing.assert_array_equal(run(seed, mx.nd.array(images, ctx=ctx)), first)
    assert not np.array_equal(run(seed + 1, images), first)


# --- Starts ---------------------------------------------------------------------------------------


def test_starts(ctx, seed, generator):
    rbm = parameters(reference.random_rbm(4, 2, generator), ctx)
    images, base = generator.random((3, 4)).astype(np.float32), generator.normal(size=4)
    starts = {
        kind: initial_visible(rbm, kind, CHAINS, [seed], images=images, base_visible_bias=base).asnumpy()
        for kind in STARTS
    }
    np.testing.assert_array_equal(starts["zeros"], np.zeros((CHAINS, 4)))
    np.testing.assert_array_equal(starts["images"], images[np.arange(CHAINS) % 3])
    for kind, probability in (("random", np.full(4, 0.5)), ("base", reference.sigmoid(base))):
        assert np.isin(starts[kind], (0, 1)).all()
        assert (np.abs(starts[kind].mean(axis=0) - probability) < 5 * 0.5 / np.sqrt(CHAINS)).all()


# --- Missing pixels -------------------------------------------------------------------------------


def test_masks(seed):
    shape = (4, 6)
    for kind, dropped in (
        ("top", np.s_[:1]),
        ("bottom", np.s_[3:]),
        ("left", np.s_[:, :2]),
        ("right", np.s_[:, 4:]),
    ):
        expected = np.ones(shape)
        expected[dropped] = 0
        np.testing.assert_array_equal(make_mask(kind, shape, fraction=0.3).reshape(shape), expected, kind)
    at_random = make_mask("random", (10, 10, 3), 0.37, [seed]).reshape(100, 3)
    assert (at_random[:, :1] == at_random).all() and at_random[:, 0].sum() == 63
    np.testing.assert_array_equal(make_mask("random", (10, 10, 3), 0.37, [seed]).reshape(100, 3), at_random)
    assert (make_mask("random", (10, 10, 3), 0.37, [seed + 1]).reshape(100, 3) != at_random).any()


@pytest.mark.parametrize("annealed", [False, True])
def test_missing_pixels_follow_their_conditional_distribution(ctx, engine, seed, generator, annealed):
    """Two images miss different pixels. The means over chains are the exact conditional means."""
    rbm, copies = reference.random_rbm(5, 3, generator, scale=0.7), 4000
    pair = np.array([[1, np.nan, 0, np.nan, np.nan], [np.nan, 0, np.nan, np.nan, 1]])
    images = np.tile(pair, (copies, 1))
    filled = inpaint(parameters(rbm, ctx), images, 100, [seed], annealed=annealed, engine=engine)
    for number, image in enumerate(pair):
        known = ~np.isnan(image)
        joint = reference.given(reference.joint(*rbm), mask=known, values=image)
        exact = joint.sum(axis=1) @ reference.states(5)
        for part in filled[:3]:
            rows = part.asnumpy()[number::2].astype(float)
            np.testing.assert_array_equal(rows[:, known], np.tile(image[known], (copies, 1)))
            assert (np.abs(rows.mean(axis=0) - exact) < 5 * 0.5 / np.sqrt(copies) + 1e-6).all()
        hidden = filled.hidden_mean.asnumpy()[number::2].mean(axis=0)
        assert (np.abs(hidden - joint.sum(axis=0) @ reference.states(3)) < 5 * 0.5 / np.sqrt(copies)).all()
        spread = [part.asnumpy()[number::2][:, ~known].std(axis=0) for part in filled[:3]]
        assert (spread[2] < spread[1]).all() and (spread[1] < spread[0]).all()


def test_a_mask_means_the_same_as_nan(ctx, seed, generator):
    rbm = parameters(reference.random_rbm(6, 3, generator), ctx)
    images = generator.integers(0, 2, (7, 6)).astype(float)
    mask = make_mask("left", (2, 3), 0.4)
    by_mask = inpaint(rbm, images, 9, [seed], mask=mask)
    by_nan = inpaint(rbm, np.where(mask, images, np.nan), 9, [seed])
    for left, right in zip(by_mask, by_nan):
        np.testing.assert_array_equal(left.asnumpy(), right.asnumpy())


@pytest.mark.parametrize("sweeps", [1, 2, 41])
def test_known_grey_pixels_stay_grey(ctx, seed, generator, sweeps):
    rbm = parameters(reference.random_rbm(6, 3, generator), ctx)
    images = generator.random((7, 6)).astype(np.float32)
    images[:, 4] = np.nan
    for part in inpaint(rbm, images, sweeps, [seed], annealed=True, base_visible_bias=np.zeros(6))[:3]:
        np.testing.assert_allclose(np.delete(part.asnumpy(), 4, axis=1), np.delete(images, 4, axis=1), rtol=1e-6)
        assert np.isfinite(part.asnumpy()).all()


# --- Bad input ------------------------------------------------------------------------------------


def test_errors():
    rbm, two = Parameters(mx.nd.zeros(6), mx.nd.zeros(3), mx.nd.zeros((6, 3))), np.zeros((2, 6))
    in_numpy = Parameters(np.zeros(6), np.zeros(3), np.zeros((6, 3)))
    for message, call in [
        ("do not start from 'ones'; choose one of zeros", lambda: initial_visible(rbm, "ones", 3)),
        ("chains is 0", lambda: initial_visible(rbm, "zeros", 0)),
        ("convert them by Parameters.from_arrays", lambda: initial_visible(in_numpy, "zeros", 3)),
        ("convert them by Parameters.from_arrays", lambda: parallel_tempering(in_numpy, two, 2, [1])),
        ("convert them by Parameters.from_arrays", lambda: draw_classes(in_numpy, [0], 2)),
        ("'images' needs images", lambda: initial_visible(rbm, "images", 3)),
        ("'base' needs the base rate", lambda: initial_visible(rbm, "base", 3)),
        ("needs .images, 6.", lambda: initial_visible(rbm, "images", 3, images=np.zeros((2, 5)))),
        ("needs .images, 6.", lambda: sample_chains(rbm, np.zeros(6), 1, [1])),
        ("needs .images, 6.", lambda: sample_chains(rbm, np.zeros((0, 6)), 1, [1])),
        ("outside of .0, 1.", lambda: sample_chains(rbm, two + 255, 1, [1])),
        ("outside of .0, 1.", lambda: sample_chains(rbm, two + np.nan, 1, [1])),
        ("sweeps is 0", lambda: sample_chains(rbm, two, 0, [1])),
        ("sweeps is 0", lambda: sample_chains(rbm, two, 0, [1], every=2)),
        ("a part is 0", lambda: sample_chains(rbm, two, 2, [1], every=0)),
        ("mask have shape", lambda: sample_chains(rbm, two, 1, [1], clamp=(np.zeros(5), np.zeros(6)))),
        ("sweeps is 0", lambda: simulated_annealing(rbm, two, 0, [1])),
        ("lowest inverse temperature is -1", lambda: simulated_annealing(rbm, two, 1, [1], lowest_beta=-1)),
        ("highest inverse temperature is inf", lambda: simulated_annealing(rbm, two, 1, [1], highest_beta=np.inf)),
        ("with 1 temperatures", lambda: parallel_tempering(rbm, two, 1, [1], num_temperatures=1)),
        ("down to beta = 1", lambda: parallel_tempering(rbm, two, 1, [1], lowest_beta=1)),
        ("sweeps is 0", lambda: parallel_tempering(rbm, two, 0, [1])),
        ("a part is 0", lambda: parallel_tempering(rbm, two, 1, [1], swap_every=0)),
        ("no mask 'middle'; choose one of top", lambda: make_mask("middle", (2, 3))),
        ("share to drop is 1.1", lambda: make_mask("top", (2, 3), 1.1)),
        ("mask has shape .5,.; it must be .6,. or .2, 6.", lambda: inpaint(rbm, two, 1, [1], mask=np.ones(5))),
        ("other values than 0 and 1", lambda: inpaint(rbm, two, 1, [1], mask=np.full(6, np.nan))),
        ("sweeps is 0", lambda: inpaint(rbm, two, 0, [1])),
    ]:
        with pytest.raises(InputError, match=message):
            call()
