"""The command recommend: learn ratings, recommend items to users, and predict ratings."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from gluon_rbm.backend.files import write_json
from gluon_rbm.cli.arguments import above_zero, at_least, finite, path
from gluon_rbm.cli.csv_tables import is_missing, is_number, read_table
from gluon_rbm.cli.results import add_overwrite, check_target
from gluon_rbm.errors import InputError

if TYPE_CHECKING:
    from argparse import Namespace

    from gluon_rbm.backend.types import HostArray
    from gluon_rbm.cli.inputs import AddArgument

__all__ = ["ABOUT", "add_arguments", "run"]

logger = logging.getLogger(__name__)

ABOUT = "recommend items to users from ratings (CSV), and measure the error of predicted ratings"


def add_arguments(add: AddArgument) -> None:
    """Add the arguments of the command.

    Parameters
    ----------
    add
        The method add_argument of a parser.
    """
    add(
        "ratings",
        type=path,
        metavar="RATINGS",
        help="CSV file (commas, tabs) whose first three columns are user, item and rating",
    )
    add("--user", nargs="+", default=[], metavar="USER", help="users to recommend items to")
    add("--count", type=at_least(1, int), default=10, help="number of items for each user")
    add(
        "--test",
        type=path,
        metavar="RATINGS",
        help="CSV file of ratings to predict, for the root mean squared error (RMSE)",
    )
    add("--by", choices=("users", "items"), default="items", help="whether each user or each item has an RBM")
    add("--num-hidden", type=at_least(1, int), default=100, help="number of hidden units")
    add("--num-epoch", type=at_least(1, int), default=25, help="number of passes through the ratings")
    add("--batch-size", type=at_least(1, int), default=80, help="users (or items) per batch")
    add("--learning-rate", type=above_zero, default=0.005, help="learning rate, on the mean gradient of a batch")
    add(
        "--scale",
        type=finite,
        nargs="+",
        metavar="RATING",
        help="all possible ratings; by default those that occur in RATINGS",
    )
    add("--seed", type=at_least(0, int), default=0, help="random seed; the same seed gives the same result")
    add("--json", type=path, metavar="FILE", help="also write the results to this JSON file")
    add_overwrite(add)


def run(args: Namespace) -> None:
    """Learn ratings, and print recommendations for --user and the prediction error on --test.

    Parameters
    ----------
    args
        The parsed arguments.
    """
    if args.json is not None:
        check_target(args, args.json, "--json", [args.ratings, args.test])
    if not (args.user or args.test):
        raise InputError("give --user to recommend items, or --test to predict ratings")
    users, items, given = _read(args.ratings)
    unknown = [user for user in args.user if user not in set(users)]
    if unknown:
        raise InputError("%s has no user %s" % (args.ratings, unknown[0]))
    test = _read(args.test) if args.test else None
    from gluon_rbm.estimators import RatingRBM

    model = RatingRBM(
        args.num_hidden,
        by=args.by,
        n_iter=args.num_epoch,
        batch_size=args.batch_size,
        learning_rate=args.learning_rate,
        scale=args.scale,
        random_state=args.seed,
    ).fit(np.column_stack([users, items]), given)
    found: dict[str, Any] = {"recommended": {}}
    if test is not None:
        _check_on_scale(test[2], model.scale_, args.test)
        expected = model.predict(np.column_stack(test[:2]))
        unknown_pairs = ~(np.isin(test[0], model.users_) & np.isin(test[1], model.items_))
        found["root_mean_squared_error"] = float(np.sqrt(np.mean((expected - test[2]) ** 2)))
        logger.info("RMSE of %d ratings: %.4f", len(expected), found["root_mean_squared_error"])
        if unknown_pairs.any():
            logger.info("%d of them are of users or items that are not in %s", unknown_pairs.sum(), args.ratings)
    for user in args.user:
        found["recommended"][user] = [(str(item), rating) for item, rating in model.recommend(user, args.count)]
        logger.info("user %s:%s", user, "" if found["recommended"][user] else " has rated every item")
        for item, rating in found["recommended"][user]:
            logger.info("  %.2f  %s", rating, item)
    if args.json is not None:
        write_json(args.json, found, "--json")


def _check_on_scale(ratings: HostArray, scale: HostArray, file_path: str) -> None:
    """Raise InputError if a rating is not on the scale."""
    others = np.setdiff1d(ratings, scale)
    if len(others):
        raise InputError(
            "%s has the rating %g, which is not on the scale %s; give all ratings with --scale"
            % (file_path, others[0], scale.tolist())
        )


def _read(file_path: str) -> tuple[Any, Any, Any]:
    """Read a file; return users and items as text, and ratings as float64, (num_ratings,) each."""
    table = read_table(
        file_path, has_names=lambda first: len(first) < 3 or not (is_number(first[2]) or is_missing(first[2]))
    )
    if len(table.names) < 3:
        raise InputError("%s has %d columns; user, item and rating are needed" % (file_path, len(table.names)))
    texts = np.array([[name.strip() for name in row[:2]] for row in table.texts])
    for line, names in zip(table.lines, texts):
        for what, name in zip(("user", "item"), names):
            if not name:
                raise InputError("%s: line %d has no %s; remove the line" % (file_path, line, what))
    for line, row in zip(table.lines, table.texts):
        text = row[2].strip()
        if is_missing(text):
            raise InputError("%s: line %d has no rating; remove the line" % (file_path, line))
        if not is_number(text):
            raise InputError(
                "%s: line %d: the rating %r is not a number; correct it, or remove the line" % (file_path, line, text)
            )
    if table.names[0] != "1":
        logger.info("%s: columns %s", file_path, ", ".join(table.names[:3]))
    return texts[:, 0], texts[:, 1], table.values[:, 2].astype(np.float64)
