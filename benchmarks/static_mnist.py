"""Write the static binarized MNIST of Larochelle & Murray (AISTATS 2011) as one file.

    python benchmarks/static_mnist.py FOLDER static-mnist.npz
    python binary_rbm_gluon.py --no-cuda --dataset static-mnist.npz --held-out 10000 [...]

The second command trains on the file. This program prepares data and measures nothing.

FOLDER holds binarized_mnist_train, _valid and _test, as text (.amat: a line of 784 digits for each
image) or as MATLAB's array X (.mat). In the file, the last 10,000 training images are the
validation images.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import scipy.io
from common import ROOT  # noqa: F401

from gluon_rbm.backend.files import write_whole
from gluon_rbm.data.datasets import load_binarized
from gluon_rbm.errors import InputError

_COUNTS = {"train": 50000, "valid": 10000, "test": 10000}


def _read(folder, part):
    """Read the images of a part, uint8 (n, 784) in {0, 1}."""
    path = Path(folder) / ("binarized_mnist_%s" % part)
    if path.with_suffix(".mat").exists():
        return np.asarray(scipy.io.loadmat(str(path.with_suffix(".mat")))["X"], np.uint8)
    return load_binarized(str(path.with_suffix(".amat")), _COUNTS[part], 784)


def main(argv=None):
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", metavar="FOLDER")
    parser.add_argument("output", metavar="FILE")
    args = parser.parse_args(argv)
    try:
        images = {part: _read(args.folder, part) for part in _COUNTS}
    except InputError as error:
        parser.error(str(error))
    if any(images[part].shape != (count, 784) or images[part].max() > 1 for part, count in _COUNTS.items()):
        parser.error("the files of %s do not hold %s images of 784 pixels 0 and 1" % (args.folder, _COUNTS))
    train = np.concatenate([images["train"], images["valid"]])
    with write_whole(args.output, "FILE") as path, open(path, "wb") as file:
        np.savez_compressed(file, x_train=train, x_test=images["test"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
