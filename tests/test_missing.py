"""Missing values in the estimators, omitted or integrated out, against enumeration."""

import numpy as np
import pytest
import reference
from scipy import sparse
from test_gibbs import assert_distribution
from test_visible_units import GROUPS, possible

from gluon_rbm.backend import native
from gluon_rbm.errors import InputError
from gluon_rbm.estimators import BinaryRBM
from gluon_rbm.estimators.gaps import Integrated
from gluon_rbm.likelihood.missing import marginal_free_energy
from gluon_rbm.models.energy import free_energy
from gluon_rbm.models.parameters import Parameters

ROWS = 20000


@pytest.fixture(params=["no groups", "between"])
def groups(request):
    return GROUPS.get(request.param, ())


@pytest.fixture
def rbm(generator):
    return reference.random_rbm(7, 3, generator)


@pytest.fixture
def rows(generator, groups):
    """Possible states with missing values (NaN).

    Row 0 misses two single units, row 1 a group and a single unit, row 2 all units, row 3 none.
    """
    rows = reference.states(7)[generator.choice(np.flatnonzero(possible(groups)), 4)]
    rows[0, [0, 6]] = rows[1, 1:3] = rows[1, 6] = rows[2] = np.nan
    return rows


def arrays(rbm, dtype=np.float32):
    return Parameters(*(array.astype(dtype) for array in rbm))


def fitted(rbm, **settings):
    """An estimator with the parameters of an RBM, as after a fit."""
    return BinaryRBM.of(arrays(rbm), **{"random_state": 1, **settings})


def given_known(rbm, groups, row):
    """p(v, h | known values of a row)."""
    mask = ~np.isnan(row)
    return reference.given(reference.joint(*rbm), groups=groups, mask=mask, values=np.nan_to_num(row))


def exact_marginal(rbm, groups, row):
    """-log of the sum of exp(-F) over the missing values."""
    states = reference.states(7)[possible(groups)]
    known = ~np.isnan(row)
    alike = (states[:, known] == row[known]).all(axis=1)
    return -reference.log_sum_exp(-reference.free_energies(*rbm, states[alike]))


# --- Integrated out -------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["native", "mxnet"])
def test_the_likelihood_of_known_values(seed, rbm, groups, rows, engine):
    if engine == "native" and not native.available():
        pytest.skip(repr(native.available()))
    found = marginal_free_energy(arrays(rbm), rows, num_chains=2000, softmax_groups=groups, key=[seed], engine=engine)
    expected = [exact_marginal(rbm, groups, row) for row in rows]
    # The log-weights of these RBMs have a standard deviation of about 0.1. So 0.02 is nine standard
    # errors.
    np.testing.assert_allclose(found, expected, atol=0.02, err_msg=str(seed))
    assert found[3] == pytest.approx(expected[3], abs=1e-5)  # nothing is missing


def test_the_likelihood_of_grey_pixels_with_gaps(seed, rbm):
    """F at the grey values, with the missing values summed out."""
    row = np.array([[0.3, np.nan, 1, 0.5, np.nan, 0, 1]])
    filled = np.repeat(row, 4, axis=0)
    filled[:, [1, 4]] = reference.states(2)
    expected = -reference.log_sum_exp(-np.asarray(free_energy(arrays(rbm, np.float64), filled)))
    assert marginal_free_energy(arrays(rbm), row, num_chains=2000, key=[seed])[0] == pytest.approx(expected, abs=0.02)


def test_missing_values_are_drawn_given_known_values(seed, rbm, groups, rows):
    data_of = Integrated(rows.repeat(ROWS, axis=0), rbm[0], 20, groups, [seed], "auto")
    for number in range(2):  # chains go on from call to call
        filled, held = data_of(arrays(rbm), slice(None), [seed, number])
        assert held is None
        for row, drawn in zip(rows, np.split(filled, len(rows))):
            np.testing.assert_array_equal(drawn[:, ~np.isnan(row)], np.tile(row[~np.isnan(row)], (ROWS, 1)))
            if np.isnan(row).any():
                assert_distribution(reference.state_index(drawn), given_known(rbm, groups, row).sum(axis=1))
    shuffled = np.random.RandomState(0).permutation(4 * ROWS)[:100]
    part, _ = data_of(arrays(rbm), shuffled, [seed, 3])
    known = ~np.isnan(rows.repeat(ROWS, axis=0)[shuffled])
    np.testing.assert_array_equal(part[known], rows.repeat(ROWS, axis=0)[shuffled][known])


def test_features_of_rows_with_gaps(seed, rbm, groups, rows):
    estimator = fitted(rbm, softmax_groups=groups, missing="integrate")
    features = estimator.transform(rows.repeat(2000, axis=0)).reshape(4, 2000, 3).mean(axis=1)
    for row, found in zip(rows, features):
        expected = given_known(rbm, groups, row).sum(axis=0) @ reference.states(3)
        # The mean of 2,000 probabilities has a standard error below 0.5 / sqrt(2000).
        np.testing.assert_allclose(found, expected, atol=5 * 0.5 / np.sqrt(2000))
    np.testing.assert_array_equal(estimator.transform(rows), estimator.transform(rows))
    np.testing.assert_array_equal(estimator.transform(sparse.csr_matrix(rows)), estimator.transform(rows))


def test_scores_of_rows_with_gaps(rbm, groups, rows):
    estimator = fitted(rbm, softmax_groups=groups, missing="integrate")
    expected = [exact_marginal(rbm, groups, row) for row in rows]
    np.testing.assert_allclose(estimator.free_energy(rows, num_chains=2000), expected, atol=0.02)
    log_z = estimator.log_partition(num_chains=2000)
    likelihood = estimator.log_likelihood(rows, log_z)
    assert likelihood.mean == pytest.approx(-np.mean(expected) - log_z.log_z, abs=0.1)


@pytest.mark.parametrize("missing", ["omit", "integrate"])
def test_the_pseudo_likelihood_of_known_values(rbm, groups, missing):
    """The mean estimate is the sum of log p(unit | other known units) over known units.

    A softmax group counts as one unit.
    """
    rows = reference.states(7)[possible(groups)][:3]
    rows[:, [0, 6]] = np.nan
    estimator = fitted(rbm, softmax_groups=groups, missing=missing)
    known = [group for group in groups if group[0] and group[1] < 7] + [
        (unit, unit + 1) for unit in range(1, 6) if not any(start <= unit < stop for start, stop in groups)
    ]

    def score(row):
        if missing == "omit":
            return -reference.free_energies(*rbm, [np.nan_to_num(row)])[0]
        return -exact_marginal(rbm, groups, row)

    for row in rows:
        expected = 0
        for start, stop in known:
            alternatives = np.tile(row, (max(2, stop - start), 1))
            alternatives[:, start:stop] = np.eye(stop - start) if stop - start > 1 else [[0], [1]]
            expected += score(row) - reference.log_sum_exp(np.array([score(other) for other in alternatives]))
        found = [estimator.set_params(random_state=number).score_samples([row])[0] for number in range(40)]
        error = np.std(found) / np.sqrt(len(found))
        assert abs(np.mean(found) - expected) < 5 * error + 0.05, (found, expected)


def test_the_marginal_is_learned_from_rows_with_gaps(generator, seed):
    """The estimator learns that two units agree in 80 % of the rows.

    Each of the 3 units is missing in a third of the rows. About 1,800 rows have both units, so a
    share of 0.8 has a standard error of 0.01. The steps of learning add as much.
    """
    alike = generator.random(4000) < 0.5
    rows = np.column_stack([alike, alike ^ (generator.random(4000) < 0.2), generator.random(4000) < 0.8]).astype(float)
    rows[generator.random(rows.shape) < 1 / 3] = np.nan
    settings = {"learning_rate": 0.05, "momentum": 0.9, "batch_size": 100, "n_iter": 60, "k": 5}
    estimator = BinaryRBM(4, missing="integrate", random_state=seed % 2**31, **settings).fit(rows)
    probability = reference.joint(*(np.asarray(array, float) for array in estimator.parameters_)).sum(axis=1)
    states = reference.states(3)
    assert abs(probability @ (states[:, 0] == states[:, 1]) - 0.8) < 0.06, seed
    assert abs(probability @ states[:, 2] - 0.8) < 0.06, seed


# --- Omitted --------------------------------------------------------------------------------------


def test_omitted_values_act_as_absent_units(rbm, groups, rows):
    estimator = fitted(rbm, softmax_groups=groups, missing="omit", chains="data")
    for row in rows:
        there = ~np.isnan(row)
        a, b, w = rbm[0][there], rbm[1], rbm[2][there]
        np.testing.assert_allclose(estimator.transform([row])[0], reference.sigmoid(b + row[there] @ w), rtol=1e-5)
        expected = reference.free_energies(a, b, w, [row[there]])
        np.testing.assert_allclose(estimator.free_energy([row]), expected, rtol=1e-5)
    with pytest.raises(InputError, match="each row has a log Z of its own"):
        estimator.log_likelihood(rows)


def test_a_step_with_omitted_values(rbm, groups, rows, seed):
    """CD with many sweeps follows the exact gradient, in which each row has its own RBM."""
    settings = {"learning_rate": 1.0, "batch_size": 4 * ROWS, "k": 50, "chains": "data", "random_state": seed % 2**31}
    estimator = fitted(rbm, softmax_groups=groups, missing="omit", **settings)
    before = estimator.components_.copy()
    estimator.partial_fit(rows.repeat(ROWS, axis=0))
    a, b, w = rbm
    states, expected = reference.states(7), np.zeros((7, 3))
    hidden = reference.sigmoid(b + states @ w)
    for row in rows:
        values, missing = np.nan_to_num(row), np.isnan(row)
        joint = reference.given(reference.joint(*rbm), groups=groups, mask=missing, values=np.zeros(7))
        expected += np.outer(values, reference.sigmoid(b + values @ w)) / 4
        expected -= (joint.sum(axis=1)[:, None] * states).T @ hidden / 4
    assert np.abs((estimator.components_ - before).T - expected).max() < 6 / np.sqrt(4 * ROWS), seed


# --- Input ----------------------------------------------------------------------------------------


def test_impute_keeps_known_values(rbm, groups, rows):
    estimator = fitted(rbm, softmax_groups=groups)
    for draws in (False, True):
        filled = estimator.impute(rows, draws=draws)
        np.testing.assert_array_equal(filled[~np.isnan(rows)], rows[~np.isnan(rows)])
        assert np.isfinite(filled).all() and (not draws or np.isin(filled, (0, 1)).all())
        for start, stop in groups:
            np.testing.assert_allclose(filled[:, start:stop].sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("missing", ["omit", "integrate"])
def test_the_same_seed_gives_the_same_rbm(rows, groups, missing, shuffle):
    settings = {"softmax_groups": groups, "missing": missing, "chains": "data", "shuffle": shuffle, "random_state": 3}
    one, two = (BinaryRBM(5, batch_size=3, **settings).fit(rows) for _ in range(2))
    np.testing.assert_array_equal(one.components_, two.components_)
    assert np.isfinite(one.components_).all()


@pytest.mark.parametrize(
    "message, settings",
    [
        ("missing is 'skip'; it must be one of", {"missing": "skip"}),
        ("needs chains='data'", {"missing": "omit"}),
        ("X holds NaN: .*; or give missing", {}),
        ("a softmax group, is missing in part", {"missing": "integrate", "softmax_groups": [(0, 2)]}),
        ("initial_visible_bias is 'none'", {"missing": "integrate", "initial_visible_bias": "none"}),
        ("a softmax group of .* is .3, 9.", {"missing": "integrate", "softmax_groups": [(3, 9)]}),
    ],
)
def test_settings_that_do_not_suit_gaps_are_refused(message, settings):
    rows = np.array([[0, 1, np.nan, 1, 0], [1, np.nan, 0, 0, 1], [1, 0, 1, 1, 0]])
    with pytest.raises(InputError, match=message):
        BinaryRBM(3, **settings).fit(rows)


def test_a_feature_without_values_is_an_error():
    with pytest.raises(InputError, match="feature 1 of X is missing in all rows"):
        BinaryRBM(3, missing="integrate").fit([[0, np.nan], [1, np.nan]])


def test_features_of_a_row_without_values(generator, seed):
    """Integrated out, its features are the means of the RBM's hidden units.

    Omitted, they are sigmoid(b).
    """
    rbm = reference.random_rbm(5, 3, generator)
    row = np.full((1, 5), np.nan)
    omitted = fitted(rbm, missing="omit").transform(row)
    np.testing.assert_allclose(omitted[0], reference.sigmoid(rbm[1]), rtol=1e-5)
    assert fitted(rbm, missing="omit").score_samples(row)[0] == 0
    integrated = fitted(rbm, missing="integrate").transform(row.repeat(5000, axis=0)).mean(axis=0)
    expected = reference.joint(*rbm).sum(axis=0) @ reference.states(3)
    np.testing.assert_allclose(integrated, expected, atol=5 * 0.5 / np.sqrt(5000), err_msg=str(seed))
