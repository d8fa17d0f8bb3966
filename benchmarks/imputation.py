"""Measure errors and seconds of `RBMImputer` on missing values, against scikit-learn's imputers.

    python benchmarks/imputation.py [--rows N] [--only TABLE ...] [--data-dir DIR] [--fasta FILE]
                                    [--choose] [--json FILE]

With --fasta all three tables take about 16 minutes on two cores, IterativeImputer 14 of them.

20 % of the values of a table are hidden at random, the same values for all imputers. Each imputer
learns the table with its gaps, and fills them in. For numbers, the error is the root of the mean
squared error over the hidden values; pixels of digits and MNIST range from 0 to 1. For categories,
the error is the rate of wrong answers.

scikit-learn's imputers see an indicator for each value of a category. The largest indicator is the
answer. All indicators of a category add up to 1, and a regression would read the answer from this
sum. So IterativeImputer gets all indicators but one. In tables with more than 200 columns it uses,
for each column, the 100 columns that correlate most with it.

--choose compares settings of the RBM, and never reads the hidden values. It hides another 20 % of
the values and tests on these. The first settings of each table were the best of those that take
less time than IterativeImputer.
"""

import argparse
import functools
import sys
import time

import numpy as np
from common import Bystanders, conclude
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer

# isort: split
from gluon_rbm.data import datasets, sequences
from gluon_rbm.estimators import BinaryRBM, RBMImputer

_HIDDEN = 0.2
_SEEDS = 2, 3  # for the hidden values, and for the values that --choose hides
_OTHERS = ("mean or mode", "KNNImputer", "IterativeImputer")
_MOST_FEATURES = 200  # with all 784 columns of MNIST, IterativeImputer takes hours and 38 GB
_COMMON = {
    "k": 3,
    "chains": "data",
    "batch_size": 50,
    "learning_rate": 0.02,
    "momentum": 0.9,
    "centering": 0.01,
    "initial_visible_bias": "data",
    "shuffle": True,
}
_SETTINGS = {  # pairs: arguments of BinaryRBM, arguments of RBMImputer
    "digits": [
        ({"n_components": 200, "n_iter": 60}, {"num_bins": 8, "sweeps": 500}),
        ({"n_components": 200, "n_iter": 90, "k": 10, "weight_decay": 0.0003}, {"num_bins": 8, "sweeps": 500}),
        ({"n_components": 200, "n_iter": 60, "k": 10}, {"num_bins": 8, "sweeps": 500}),
        ({"n_components": 200, "n_iter": 60, "k": 5, "chains": "persistent"}, {"num_bins": 8, "sweeps": 500}),
        ({"n_components": 200, "n_iter": 60}, {"num_bins": 8}),
        ({"n_components": 200, "n_iter": 60}, {"num_bins": None}),
        ({"n_components": 200, "n_iter": 60}, {"num_bins": 16}),
        ({"n_components": 200, "n_iter": 120}, {"num_bins": 8}),
        ({"n_components": 400, "n_iter": 60}, {"num_bins": 8}),
        ({"n_components": 200, "n_iter": 60, "weight_decay": 0.001}, {"num_bins": 8}),
        ({"n_components": 200, "n_iter": 30}, {"num_bins": 8}),
        ({"n_components": 100, "n_iter": 60}, {"num_bins": 8}),
    ],
    "mnist": [
        ({"n_components": 400, "n_iter": 120}, {"num_bins": None}),
        ({"n_components": 200, "n_iter": 30}, {"num_bins": None}),
        ({"n_components": 200, "n_iter": 60}, {"num_bins": None}),
        ({"n_components": 200, "n_iter": 120}, {"num_bins": None}),
        ({"n_components": 400, "n_iter": 30}, {"num_bins": None}),
        ({"n_components": 400, "n_iter": 60}, {"num_bins": None}),
        ({"n_components": 200, "n_iter": 30, "weight_decay": 0.001}, {"num_bins": None}),
    ],
    "proteins": [
        ({"n_components": 200, "n_iter": 200, "weight_decay": 0.002}, {"sweeps": 2000}),
        ({"n_components": 200, "n_iter": 200, "weight_decay": 0.002, "k": 10}, {"sweeps": 1000}),
        ({"n_components": 200, "n_iter": 200, "weight_decay": 0.002}, {"sweeps": 500}),
        ({"n_components": 200, "n_iter": 200, "weight_decay": 0.001}, {"sweeps": 500}),
        ({"n_components": 200, "n_iter": 100, "weight_decay": 0.001}, {"sweeps": 500}),
        ({"n_components": 200, "n_iter": 400, "weight_decay": 0.002}, {"sweeps": 500}),
        ({"n_components": 200, "n_iter": 200, "weight_decay": 0.004}, {"sweeps": 500}),
        ({"n_components": 400, "n_iter": 200, "weight_decay": 0.001}, {"sweeps": 500}),
    ],
}


def read(table, rows, data_dir, fasta):
    """Return the table without gaps: float64, or objects for categories."""
    if table == "proteins":
        alignment = sequences.read_fasta(fasta)
        _, first = np.unique(alignment.sequences, axis=0, return_index=True)
        letters = np.array(list(alignment.alphabet), object)
        chosen = np.random.default_rng(0).permutation(np.sort(first))[:rows]
        return letters[alignment.sequences[chosen]]
    data = datasets.load(table, data_dir)
    images = data.train_images[:rows].reshape(len(data.train_images[:rows]), -1)
    return images / data.maximum


def hide(whole, seed):
    """Hide values: return which are missing, and the table with gaps."""
    missing = np.random.default_rng(seed).random(whole.shape) < _HIDDEN
    missing[:, missing.all(axis=0)] = False
    return missing, np.where(missing, None if whole.dtype == object else np.nan, whole)


def measure(fill, whole, missing, gaps):
    """Return the error over the missing values, and the seconds of fit and transform."""
    start = time.perf_counter()
    filled = fill(gaps)
    seconds = time.perf_counter() - start
    if whole.dtype == object:
        error = (filled[missing] != whole[missing]).mean()
    else:
        error = np.sqrt(np.mean((filled - whole)[missing] ** 2))
    return {"error": float(error), "seconds": seconds}


def fill_by_rbm(settings, gaps):
    """Fill in the gaps with `RBMImputer`."""
    of_rbm, of_imputer = settings
    rbm = BinaryRBM(**{**_COMMON, **of_rbm})
    return RBMImputer(rbm, random_state=0, **of_imputer).fit(gaps).transform(gaps)


def fill_by_other(side, gaps):
    """Fill in the gaps with an imputer of scikit-learn."""
    if side == "mean or mode":
        missing, strategy = (None, "most_frequent") if gaps.dtype == object else (np.nan, "mean")
        return SimpleImputer(missing_values=missing, strategy=strategy).fit_transform(gaps)
    if gaps.dtype != object:
        return _imputer(side, gaps).fit_transform(gaps)
    values = [sorted({value for value in column if value is not None}) for column in gaps.T]
    first = 1 if side == "IterativeImputer" else 0
    units = np.concatenate(
        [
            np.where(column[:, None] == None, np.nan, column[:, None] == np.array(of_column, object))[:, first:]  # noqa: E711
            for column, of_column in zip(gaps.T, values)
        ],
        axis=1,
    ).astype(float)
    sizes = [len(of_column) - first for of_column in values]
    blocks = np.split(_imputer(side, units).fit_transform(units), np.cumsum(sizes)[:-1], axis=1)
    if first:
        blocks = [np.column_stack([1 - block.sum(axis=1), block]) for block in blocks]
    filled = [np.array(of_column, object)[block.argmax(axis=1)] for block, of_column in zip(blocks, values)]
    return np.where(gaps == None, np.column_stack(filled), gaps)  # noqa: E711


def _imputer(side, gaps):
    if side == "KNNImputer":
        return KNNImputer()
    few = gaps.shape[1] <= _MOST_FEATURES
    return IterativeImputer(random_state=0, n_nearest_features=None if few else _MOST_FEATURES // 2)


def main():
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2000, help="rows of each table (default %(default)s)")
    parser.add_argument("--only", nargs="+", choices=_SETTINGS, default=list(_SETTINGS))
    parser.add_argument("--data-dir")
    parser.add_argument("--fasta", help="an alignment, for the table of categories")
    parser.add_argument("--choose", action="store_true", help="compare settings of the RBM, on other hidden values")
    parser.add_argument("--json", help="write the figures to this file")
    arguments = parser.parse_args()
    bystanders, found = Bystanders(), {}
    print("| table | side | error | seconds |\n| --- | --- | --- | --- |")
    for table in arguments.only:
        if table == "proteins" and not arguments.fasta:
            print("| proteins | left out: no --fasta | | |")
            continue
        whole = read(table, arguments.rows, arguments.data_dir, arguments.fasta)
        missing, gaps = hide(whole, _SEEDS[0])
        if arguments.choose:
            known = ~missing
            missing, gaps = hide(gaps, _SEEDS[1])
            missing &= known
            sides = {str(settings): functools.partial(fill_by_rbm, settings) for settings in _SETTINGS[table]}
        else:
            sides = {side: functools.partial(fill_by_other, side) for side in _OTHERS}
            sides["RBMImputer"] = functools.partial(fill_by_rbm, _SETTINGS[table][0])
        for side, fill in sides.items():
            measured = measure(fill, whole, missing, gaps)
            found["%s, %s" % (table, side)] = measured
            print("| %s | %s | %.4f | %.1f |" % (table, side, measured["error"], measured["seconds"]), flush=True)
    conclude(bystanders, found, arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
