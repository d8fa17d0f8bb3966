"""Write a data set with normalised local contrast as one file.

    python benchmarks/contrast.py cifar10 cifar10-contrast.npz
    python -m gluon_rbm train-multinary --preset cifar10 --dataset cifar10-contrast.npz

The second command trains on the file. This program prepares data and measures nothing.

The local mean is subtracted from each pixel. The difference is divided by the local standard
deviation, and the result is scaled to [0, 255] (Jarrett, Kavukcuoglu, Ranzato & LeCun, ICCV 2009,
section 2):

    d = v - G_s * v
    u = d / sqrt(10^2 + mean over colours of G_2s * d^2)
    pixel = 128 + 64 u, clipped

`*` is a convolution. G_s is a normal distribution with a standard deviation of --sigma pixels.
Labels are kept.
"""

import argparse
import sys

import numpy as np
from common import ROOT  # noqa: F401
from scipy.ndimage import gaussian_filter

from gluon_rbm.backend.files import write_whole
from gluon_rbm.cli.command import exit_status
from gluon_rbm.data import datasets

_SOFTENING, _GREY, _GAIN = 10, 128, 64


def normalised(image, sigma):
    """Normalise the local contrast of an image, uint8 (height, width) or (height, width, 3)."""
    image = np.asarray(image, np.float32).reshape(*image.shape[:2], -1)
    rest = image - gaussian_filter(image, (sigma, sigma, 0))
    variance = gaussian_filter(np.square(rest).mean(axis=2), 2 * sigma)
    found = rest / np.sqrt(_SOFTENING**2 + variance)[..., None]
    return np.clip(_GREY + _GAIN * found, 0, 255).astype(np.uint8)


def main(argv=None):
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", metavar="NAME")
    parser.add_argument("output", metavar="FILE")
    parser.add_argument("--data-dir", metavar="FOLDER")
    parser.add_argument("--sigma", type=float, default=2.0, help="default %(default)s")
    args = parser.parse_args(argv)
    data = datasets.load(args.dataset, args.data_dir)
    if data.maximum != 255 or data.train_labels is None:
        parser.error("%s holds no bytes with labels" % data.name)
    arrays = {"y_train": data.train_labels, "y_test": data.test_labels}
    for part, images in (("x_train", data.train_images), ("x_test", data.test_images)):
        found = np.stack([normalised(image, args.sigma) for image in images])
        arrays[part] = found[..., 0] if found.shape[3] == 1 else found
    with write_whole(args.output, "FILE") as path, open(path, "wb") as file:
        np.savez(file, **arrays)
    return 0


if __name__ == "__main__":
    sys.exit(exit_status("contrast.py", main))
