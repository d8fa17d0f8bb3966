"""Measure the errors of `RatingRBM` on MovieLens 100K against means and biases.

    python benchmarks/ratings.py --ratings-dir FOLDER [--splits 1 2 3 4 5] [--choose] [--seed N]
                                 [--json FILE]

The benchmark takes two minutes on two cores. FOLDER holds the official splits u1.base, u1.test and
so on, from https://grouplens.org/datasets/movielens/100k.

Errors are roots of mean squared errors of expected ratings. Precision at 10 looks at the ten items
with the highest expected ratings among all that a user did not rate in training. It is the share of
them with four or five stars in the test, as a mean over users with such test ratings. A blend is
the mean of the models in its name. Seconds are those of `fit`. One RBM is told which pairs the test
asks for. Nobody knows this in practice, so it has a row of its own ("told").

With --choose, the test ratings are never read: a random tenth of the base is left out and tested.
Settings are chosen in this way.
"""

import argparse
import os
import sys
import time

import numpy as np
from common import Bystanders, conclude

# isort: split
from gluon_rbm.estimators import RatingRBM

_DAMPING = 10.0  # number of mean ratings that each user and each item gets in addition
_LIKED, _SHOWN = 4, 10
_RBMS = {
    "RBM of users": {"by": "users", "batch_size": 50, "n_iter": 15},
    "RBM of items": {},
}
_TRANSDUCTIVE = "RBM of items, told who rated what in the test"
_BLENDS = {
    "RBMs of users and items": ("RBM of users", "RBM of items"),
    "RBM of items and biases": ("RBM of items", "biases"),
    "both RBMs and biases": ("RBM of users", "RBM of items", "biases"),
}


def read(folder, name):
    """Read users, items and ratings: int (n, 3)."""
    return np.loadtxt(os.path.join(folder, name), dtype=int, usecols=(0, 1, 2))


class Biases:
    """Expect mean + b_item + b_user, with biases shrunk towards zero; or the mean of the item."""

    def __init__(self, with_users):
        self._with_users = with_users

    def fit(self, train):
        """Learn the biases from rows (user, item, rating)."""
        users, items, ratings = train.T
        self._mean, size = ratings.mean(), 1 + train.max()
        self._item = self._shrunk(items, ratings - self._mean, size)
        self._user = np.zeros(size)
        if self._with_users:
            self._user = self._shrunk(users, ratings - self._mean - self._item[items], size)
        return self

    def _shrunk(self, places, values, size):
        counts = np.bincount(places, minlength=size) + (_DAMPING if self._with_users else 1e-9)
        return np.bincount(places, values, size) / counts

    def predict(self, pairs):
        """Return the expected ratings of pairs (user, item)."""
        users, items = np.minimum(pairs[:, :2].T, len(self._user) - 1)
        return self._mean + self._user[users] + self._item[items]


def root_mean_square(errors):
    """Return the root of the mean square."""
    return float(np.sqrt(np.mean(np.square(errors))))


def precision(expected, train, test, num_items):
    """Return the mean precision at 10.

    expected : ratings of all pairs (users, items); users and items are numbered from 1
    """
    expected = expected.copy()
    expected[train[:, 0] - 1, train[:, 1] - 1] = -np.inf
    liked = np.zeros(expected.shape, bool)
    good = test[test[:, 2] >= _LIKED]
    liked[good[:, 0] - 1, good[:, 1] - 1] = True
    best = np.argpartition(-expected, _SHOWN, axis=1)[:, :_SHOWN]
    hits = np.take_along_axis(liked, best, axis=1).sum(axis=1)
    return float((hits[liked.any(axis=1)] / _SHOWN).mean())


def split(folder, number, seed, choose):
    """Return the results of one split: name -> error, precision at 10 and seconds."""
    train = read(folder, "u%d.base" % number)
    if choose:
        left_out = np.random.default_rng(number).random(len(train)) < 0.1
        train, test = train[~left_out], train[left_out]
    else:
        test = read(folder, "u%d.test" % number)
    num_users, num_items = np.maximum(train.max(axis=0), test.max(axis=0))[:2]
    everyone = np.stack(np.meshgrid(np.arange(num_users) + 1, np.arange(num_items) + 1, indexing="ij"), axis=-1)
    models = {"item means": Biases(False), "biases": Biases(True)}
    models.update({name: RatingRBM(random_state=seed, **how) for name, how in _RBMS.items()})
    models[_TRANSDUCTIVE] = RatingRBM(random_state=seed, conditional=True)
    found, tables = {}, {}
    for name, model in models.items():
        start = time.perf_counter()
        model.fit(train, **({"shown": test[:, :2]} if name == _TRANSDUCTIVE else {}))
        seconds = time.perf_counter() - start
        tables[name] = model.predict(everyone.reshape(-1, 2)).reshape(num_users, num_items)
        found[name] = {"seconds": seconds}
    tables.update({name: np.mean([tables[part] for part in parts], axis=0) for name, parts in _BLENDS.items()})
    for name, expected in tables.items():
        figures = found.setdefault(name, {"seconds": sum(found[part]["seconds"] for part in _BLENDS.get(name, ()))})
        figures["error"] = root_mean_square(expected[test[:, 0] - 1, test[:, 1] - 1] - test[:, 2])
        figures["precision"] = precision(expected, train, test, num_items)
    return found


def main():
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ratings-dir", required=True)
    parser.add_argument("--splits", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--choose", action="store_true", help="test on a tenth of the base, not on the test ratings")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", help="write the figures to this file")
    arguments = parser.parse_args()
    bystanders = Bystanders()
    found = {}
    for number in arguments.splits:
        found[number] = split(arguments.ratings_dir, number, arguments.seed, arguments.choose)
        print(
            "u%d: %s" % (number, ", ".join("%s %.4f" % (n, f["error"]) for n, f in found[number].items())), flush=True
        )
    print("\n| | %s | mean error | precision at 10 | seconds a split |" % " | ".join("u%d" % n for n in found))
    print("| --- |" + " --- |" * (len(found) + 3))
    for name in next(iter(found.values())):
        errors = [found[number][name]["error"] for number in found]
        rest = [np.mean([found[number][name][what] for number in found]) for what in ("precision", "seconds")]
        cells = " | ".join("%.4f" % error for error in errors)
        print("| %s | %s | %.4f | %.3f | %.1f |" % (name, cells, np.mean(errors), *rest))
    conclude(bystanders, found, arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
