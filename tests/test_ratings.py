"""Ratings: conditionals and gradients against enumeration, and the estimator RatingRBM."""

import itertools

import numpy as np
import pytest
import reference
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.utils import estimator_checks

from gluon_rbm.errors import InputError
from gluon_rbm.estimators import RatingRBM
from gluon_rbm.likelihood import ratings
from gluon_rbm.models.parameters import Parameters

SIZE = 3  # number of ratings on the scale
QUICK = {"n_components": 8, "n_iter": 5, "batch_size": 50, "by": "users", "random_state": 0}


def parameters(rbm, dtype):
    return Parameters(*(array.astype(dtype) for array in rbm))


def score(rbm, on):
    """Minus the free energy of a row in which exactly these units are on."""
    visible = np.zeros(len(rbm[0]))
    visible[list(on)] = 1
    return -reference.free_energies(*rbm, [visible])[0]


def log_conditional(rbm, on, group):
    """log p of each value of a group, given the units in `on` outside the group: (SIZE,)."""
    others = [unit for unit in on if unit // SIZE != group]
    scores = np.array([score(rbm, [*others, group * SIZE + value]) for value in range(SIZE)])
    return scores - reference.log_sum_exp(scores)


def matrix(rows, num_visible):
    dense = np.zeros((len(rows), num_visible), np.float32)
    for number, on in enumerate(rows):
        dense[number, list(on)] = 1
    return sparse.csr_matrix(dense)


# The units that are on in each row. Units 0 to 8 are three groups; units 9 and 10 are context.
ROWS = [[0, 4, 8], [2, 7], [5], [], [1, 3, 6]]


@pytest.fixture
def rbm(generator):
    return reference.random_rbm(11, 4, generator)


# --- Conditionals and gradients -------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scores_are_conditionals(rbm, dtype):
    units = matrix(ROWS, 11)
    inputs = ratings.hidden_inputs(parameters(rbm, dtype), units)
    for row, on in enumerate(ROWS):
        for group in range(3):
            own = [unit for unit in on if unit // SIZE == group]
            others = inputs[[row]] - rbm[2][own].sum(axis=0)
            first = np.array([group * SIZE])
            found = ratings.group_scores(parameters(rbm, dtype), others.astype(dtype), first, SIZE)[0]
            expected = log_conditional(rbm, on, group)
            np.testing.assert_allclose(found - reference.log_sum_exp(found), expected, atol=1e-4)


def pseudo_likelihood(rbm, rows, context):
    """Minus the log pseudo-likelihood, computed by loops; the mean over rows."""
    total = 0
    for on, beside in zip(rows, context):
        for unit in on:
            total -= log_conditional(rbm, [*on, *beside], unit // SIZE)[unit % SIZE]
    return total / len(rows)


@pytest.mark.parametrize("context", [[[]] * 5, [[9], [], [9, 10], [10], []]])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_gradient_of_the_pseudo_likelihood(rbm, context, dtype):
    units = matrix([on + beside for on, beside in zip(ROWS, context)], 11)
    given = parameters(rbm, dtype)
    entries = ratings.Entries.of(units, SIZE, 9)
    beside = matrix(context, 11)
    loss, gradients = ratings.pseudo_likelihood_gradients(given, entries, ratings.hidden_inputs(given, units), beside)
    assert loss == pytest.approx(pseudo_likelihood(rbm, ROWS, context), rel=1e-4)
    step = 1e-5
    for array, gradient in zip(rbm, gradients):
        expected = np.zeros_like(array)
        for place in itertools.product(*map(range, array.shape)):
            kept = array[place]
            array[place] = kept + step
            above = pseudo_likelihood(rbm, ROWS, context)
            array[place] = kept - step
            expected[place] = (above - pseudo_likelihood(rbm, ROWS, context)) / (2 * step)
            array[place] = kept
        np.testing.assert_allclose(gradient, expected, atol=1e-5 if dtype == np.float64 else 1e-4)


# --- The estimator --------------------------------------------------------------------------------


@pytest.fixture
def taste(generator):
    """Ratings of 30 items by 200 users with two tastes: triples of a random third, and the rest."""
    users, items = np.meshgrid(np.arange(200), np.arange(30), indexing="ij")
    liked = (users % 2) == (items % 2)
    given = np.where(liked, 4, 2) + generator.integers(-1, 2, liked.shape)
    triples = np.column_stack([users.ravel() + 1000, items.ravel() + 10, given.ravel()])
    seen = generator.random(len(triples)) < 1 / 3
    return triples[seen], triples[~seen]


def error(model, triples):
    return np.sqrt(np.mean((model.predict(triples) - triples[:, 2]) ** 2))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"by": "items"},
        {"ordinal": False},
        {"conditional": True},
        {"objective": "contrastive", "n_iter": 100, "k": 3, "learning_rate": 0.02},
    ],
    ids=str,
)
def test_tastes_are_found(taste, settings):
    """The noise of a rating has a standard deviation of 0.82. Predicting the mean errs by 1.29."""
    train, test = taste
    settings = {**QUICK, "n_iter": 40, "learning_rate": 0.02, **settings}
    model = RatingRBM(**settings).fit(train)
    assert error(model, test) < 1.0
    best = model.recommend(1001, 3)
    rated = set(train[train[:, 0] == 1001, 1])
    assert len(best) == 3 and all(item % 2 == 1 and item not in rated for item, _ in best)
    assert [expected for _, expected in best] == sorted((expected for _, expected in best), reverse=True)
    proba = model.predict_proba(test[:50])
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    np.testing.assert_allclose(proba @ model.scale_, model.predict(test[:50]))


def test_fit_starts_from_the_beginning(taste):
    """A second fit depends neither on the first one nor on predictions in between."""
    train, test = taste
    again = RatingRBM(**QUICK).fit(test)
    again.predict(test)
    np.testing.assert_array_equal(again.fit(train).predict(train), RatingRBM(**QUICK).fit(train).predict(train))


def test_a_prediction_is_the_exact_conditional(taste):
    """This holds for learned pairs, too: the pair's own rating is left out."""
    train, test = taste
    model = RatingRBM(**QUICK).fit(train)
    a, b, w = (np.asarray(array, float) for array in model.parameters_)
    for user, item, _ in [*train[:3], *test[:3]]:
        mine = train[(train[:, 0] == user) & (train[:, 1] != item)]
        on = [list(model.items_).index(other) * 5 + int(rating) - 1 for _, other, rating in mine]
        group = list(model.items_).index(item) * 5
        x = b + w[on].sum(axis=0)
        scores = np.array([a[group + r] + np.logaddexp(0, x + w[group + r]).sum() for r in range(5)])
        expected = np.exp(scores - reference.log_sum_exp(scores))
        np.testing.assert_allclose(model.predict_proba([[user, item]])[0], expected, rtol=1e-4)


def test_all_forms_of_ratings_give_the_same_predictions(taste):
    pandas = pytest.importorskip("pandas")
    train, test = taste
    model = RatingRBM(**QUICK).fit(train)
    expected = model.predict(test)
    frame = pandas.DataFrame(train, columns=["user", "item", "rating"])
    sparse_form = sparse.coo_matrix((train[:, 2], (train[:, 0], train[:, 1]))).tocsr()
    for form in ((train[:, :2], train[:, 2]), (frame,), (train.tolist(),), (sparse_form,)):
        np.testing.assert_array_equal(RatingRBM(**QUICK).fit(*form).predict(test), expected)
    np.testing.assert_array_equal(model.predict(test[:, :2]), expected)
    np.testing.assert_array_equal(clone(model).fit(train).predict(test), expected)
    names = [("user %d" % user, "item %d" % item, rating) for user, item, rating in train]
    named = RatingRBM(**QUICK).fit(names)
    assert np.isfinite(named.predict([("user 1001", "item 11"), ("nobody", "nothing")])).all()
    assert named.recommend("user 1001", 2)[0][0].startswith("item ")


def test_unknown_users_and_items_get_default_predictions(taste):
    train, _ = taste
    model = RatingRBM(**QUICK).fit(train)
    overall = np.bincount(train[:, 2], minlength=6)[1:] / len(train)
    np.testing.assert_allclose(model.predict_proba([[1001, 999]])[0], overall)
    of_nobody = model.predict([[5, 11], [6, 11]])
    assert of_nobody[0] == of_nobody[1] and len(model.recommend(5, 100)) == 30


def test_a_conditional_rbm_uses_the_shown_pairs(taste):
    train, test = taste
    model = RatingRBM(**QUICK, conditional=True).fit(train, shown=test[:, :2])
    assert not np.array_equal(model.predict(test), RatingRBM(**QUICK, conditional=True).fit(train).predict(test))
    size = len(model.items_) * 5
    assert len(model.parameters_.visible_layer_bias) == size + len(model.items_)


@pytest.mark.parametrize(
    "message, fit",
    [
        ("give rows of .user, item, rating.", lambda: RatingRBM().fit([[1, 2]])),
        ("give rows of .user, item, rating.", lambda: RatingRBM().fit([[1, 2, 3]], [4])),
        ("there is no rating", lambda: RatingRBM().fit(np.zeros((0, 3)))),
        ("1 pairs of user and item, and 2 ratings", lambda: RatingRBM().fit([[1, 2]], [3, 4])),
        ("ratings must be numbers", lambda: RatingRBM().fit([["a", "b", "good"]])),
        ("the rating in row 1 is nan", lambda: RatingRBM().fit([[1, 3, 2], [1, 2, np.nan]])),
        ("row 1 has no user", lambda: RatingRBM().fit([["a", 3, 2], [None, 2, 1]])),
        ("row 0 has no item", lambda: RatingRBM().fit([[1, np.nan, 2], [1, 2, 1]])),
        ("n is -1", lambda: RatingRBM(n_iter=1).fit([[1, 2, 3]]).recommend(1, -1)),
        ("user 1 rated item 2 twice", lambda: RatingRBM().fit([[1, 2, 3], [1, 2, 4]])),
        ("ratings hold -1: if it stands for missing", lambda: RatingRBM().fit([[1, 2, -1], [1, 3, 4]])),
        ("hold 6, which is not on the scale", lambda: RatingRBM(scale=range(1, 6)).fit([[1, 2, 6]])),
        ("by is 'films'; it must be one of users, items", lambda: RatingRBM(by="films").fit([[1, 2, 3]])),
        ("objective is 'both'", lambda: RatingRBM(objective="both").fit([[1, 2, 3]])),
        ("row 1 has 2 values, the first 3", lambda: RatingRBM().fit([[1, 2, 3], [1, 2]])),
        ("give rows of .user, item.", lambda: RatingRBM(n_iter=1).fit([[1, 2, 3]]).predict([1, 2])),
    ],
)
def test_invalid_input_is_an_error_of_one_line(message, fit):
    with pytest.raises(InputError, match=message) as caught:
        fit()
    assert "\n" not in str(caught.value)


def test_few_users_are_enough(generator):
    """With default settings: 60 users with two tastes, 20 items, a third of the ratings."""
    user, item = np.meshgrid(np.arange(60), np.arange(20), indexing="ij")
    triples = np.column_stack([user.ravel(), item.ravel(), np.where(user % 2 == item % 2, 5, 2).ravel()])
    seen = generator.random(len(triples)) < 1 / 3
    assert RatingRBM(random_state=0).fit(triples[seen]).score(triples[~seen]) > 0.9


def test_a_learning_rate_that_is_too_large_gives_a_warning(taste):
    with pytest.warns(ConvergenceWarning, match="went astray.*lower learning_rate"):
        RatingRBM(**{**QUICK, "learning_rate": 1e10}).fit(taste[0])


def test_minus_one_may_be_a_rating():
    model = RatingRBM(n_iter=1, scale=[-1, 0, 1]).fit([[1, 1, -1], [1, 2, 1], [2, 1, 0]])
    assert model.predict_proba([[1, 1]]).shape == (1, 3)


@pytest.mark.parametrize(
    "check",
    [
        estimator_checks.check_parameters_default_constructible,
        estimator_checks.check_no_attributes_set_in_init,
        estimator_checks.check_get_params_invariance,
        estimator_checks.check_set_params,
        estimator_checks.check_estimators_unfitted,
    ],
)
def test_scikit_learn_checks_without_a_matrix(check):
    """The other checks fit tables of numbers, which are not triples of ratings."""
    check("RatingRBM", RatingRBM())


def test_in_a_grid_search(taste):
    train, test = taste
    by_r2 = GridSearchCV(RatingRBM(**QUICK), {"n_components": [2, 8]}, cv=2).fit(train)
    assert by_r2.best_score_ == max(by_r2.cv_results_["mean_test_score"]) <= 1
    search = GridSearchCV(RatingRBM(**QUICK), {"n_components": [2, 8]}, scoring="neg_root_mean_squared_error", cv=2)
    assert np.isfinite(search.fit(train[:, :2], train[:, 2]).predict(test)).all()
    assert len(search.cv_results_["mean_test_score"]) == 2 and np.isfinite(search.best_score_)
