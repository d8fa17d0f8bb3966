"""Measure ROC areas, false alarms and seconds of `RBMOutlierDetector` against scikit-learn.

    python benchmarks/outliers.py [--only TABLE ...] [--rows N] [--splits N] [--data-dir DIR]
                                  [--json FILE]

scikit-learn's detectors are IsolationForest and LocalOutlierFactor. The benchmark takes seven
minutes on two cores.

A detector learns rows of one kind: digits of MNIST, or benign breast tumours. Then it scores new
rows of this kind, and outliers: clothes (Fashion-MNIST) and letters (drawn here from a font,
rotated and scaled) beside digits, malignant tumours beside benign ones. The area is the probability
that an outlier has a lower score than a new row of the learned kind; 1 is best. False alarms are
the share of these new rows that are called outliers. Areas, false alarms and seconds are means over
splits.
"""

import argparse
import sys
import time

import matplotlib
import numpy as np
from common import Bystanders, conclude
from PIL import Image, ImageDraw, ImageFont
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import make_pipeline

# isort: split
from gluon_rbm.data import datasets
from gluon_rbm.estimators import BinaryRBM, RBMOutlierDetector

_ASKED = 0.1  # rate of false alarms that one of the detectors is asked for
_TABLES = ("digits", "tumours")
_DIGITS = BinaryRBM(n_components=200, n_iter=20, k=3, learning_rate=0.05, batch_size=50, centering=0.01, shuffle=True)


def draw_letters(count, generator):
    """Draw grey capital letters in the middle of 28 x 28 pixels: (count, 784).

    They are at most 20 pixels high, like MNIST's digits.
    """
    font = ImageFont.truetype(matplotlib.get_data_path() + "/fonts/ttf/DejaVuSans.ttf", 88)
    images = np.empty((count, 28, 28))
    for image in images:
        canvas = Image.new("L", (112, 112))
        letter = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[generator.integers(26)]
        ImageDraw.Draw(canvas).text((56, 56), letter, fill=255, font=font, anchor="mm")
        canvas = canvas.rotate(generator.uniform(-20, 20), resample=Image.BILINEAR)
        left, upper, right, lower = canvas.getbbox()
        scale = 20 / max(right - left, lower - upper) * generator.uniform(0.85, 1)
        size = round((right - left) * scale), round((lower - upper) * scale)
        small = canvas.crop((left, upper, right, lower)).resize(size, Image.LANCZOS)
        image[:] = 0
        top, side = (28 - size[1]) // 2, (28 - size[0]) // 2
        image[top : top + size[1], side : side + size[0]] = np.asarray(small) / 255
    return images.reshape(count, -1)


def rows_of(table, rows, split, data_dir):
    """Return the rows to learn, new rows of this kind, and name -> other rows."""
    generator = np.random.default_rng(split)
    if table == "tumours":
        data, benign = load_breast_cancer(return_X_y=True)
        usual = generator.permutation(data[benign == 1])
        return usual[:250], usual[250:], {"malignant tumours": data[benign == 0]}
    digits = datasets.load("mnist", data_dir)
    # New rows are training images, too: other people wrote MNIST's test images.
    train, new = np.split(generator.permutation(len(digits.train_images))[: rows + 2000], [rows])
    clothes = datasets.load("fashion-mnist", data_dir).test_images
    clothes = clothes[generator.permutation(len(clothes))[:2000]].reshape(2000, -1) / 255
    others = {"clothes": clothes, "letters": draw_letters(2000, generator)}
    return *(digits.train_images[some].reshape(len(some), -1) / 255 for some in (train, new)), others


def detectors(table, split):
    """Return name -> a detector that has learned nothing yet."""
    if table == "tumours":
        rbm = {"random_state": split}
    else:
        rbm = {"estimator": _DIGITS, "num_bins": None, "random_state": split}
    found = {
        "IsolationForest": IsolationForest(random_state=split),
        "LocalOutlierFactor": LocalOutlierFactor(novelty=True),
        "RBMOutlierDetector": RBMOutlierDetector(**rbm),
        "RBMOutlierDetector, false_alarm_rate=%g" % _ASKED: RBMOutlierDetector(**rbm, false_alarm_rate=_ASKED),
    }
    if table == "digits":
        features = clone(_DIGITS).set_params(random_state=split)
        found["BinaryRBM, then LocalOutlierFactor"] = make_pipeline(features, LocalOutlierFactor(novelty=True))
    return found


def measure(table, rows, split, data_dir):
    """Return name -> ROC areas for each kind of outlier, false alarms and seconds."""
    usual, new, others = rows_of(table, rows, split, data_dir)
    found = {}
    for name, detector in detectors(table, split).items():
        start = time.perf_counter()
        detector.fit(usual)
        seconds, ours = time.perf_counter() - start, detector.score_samples(new)
        found[name] = {"false alarms": float((detector.predict(new) == -1).mean()), "seconds": seconds, "areas": {}}
        for kind, rows in others.items():
            truth, scores = [1] * len(new) + [0] * len(rows), np.concatenate([ours, detector.score_samples(rows)])
            found[name]["areas"][kind] = float(roc_auc_score(truth, scores))
    return found


def main():
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=_TABLES, default=_TABLES)
    parser.add_argument("--rows", type=int, default=5000, help="digits to learn (default %(default)s)")
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument("--data-dir")
    parser.add_argument("--json", help="write the figures to this file")
    arguments = parser.parse_args()
    bystanders, found = Bystanders(), {}
    print("| learned | detector | areas | false alarms | seconds to fit |\n| --- | --- | --- | --- | --- |")
    for table in arguments.only:
        splits = [measure(table, arguments.rows, split, arguments.data_dir) for split in range(arguments.splits)]
        found[table] = splits
        for name in splits[0]:
            alarms, seconds = (
                np.array([split[name][what] for split in splits]) for what in ("false alarms", "seconds")
            )
            error = alarms.std(ddof=1) / np.sqrt(len(alarms)) if len(alarms) > 1 else np.nan
            areas = ", ".join(
                "%s %.4f" % (kind, np.mean([split[name]["areas"][kind] for split in splits]))
                for kind in splits[0][name]["areas"]
            )
            cells = areas, alarms.mean(), error, seconds.mean()
            print("| %s | %s | %s | %.3f ± %.3f | %.1f |" % (table, name, *cells), flush=True)
    conclude(bystanders, found, arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
