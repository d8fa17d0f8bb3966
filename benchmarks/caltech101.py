"""Write Caltech-101 as one file: 30 training images of each class, all others for testing.

    python benchmarks/caltech101.py FOLDER caltech-0.npz --seed 0
    python -m gluon_rbm train-multinary --preset caltech-101 --dataset caltech-0.npz

The second command trains on the file. This program prepares data and measures nothing.

FOLDER holds a folder of images for each class. The background is not a class. An image is resized
until it covers --size pixels in each direction, and cropped around the middle. The split is the
usual one (Fei-Fei, Fergus & Perona, 2004; Grauman & Darrell, ICCV 2005).
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from common import ROOT  # noqa: F401
from PIL import Image

from gluon_rbm.backend.files import write_whole
from gluon_rbm.cli.command import exit_status
from gluon_rbm.data.transforms import resize_and_crop

_BACKGROUND = "BACKGROUND_Google"


def main(argv=None):
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("output", metavar="FILE")
    for name, default in (("seed", 0), ("size", 128), ("count", 30)):
        parser.add_argument("--" + name, type=int, default=default, help="default %(default)s")
    args = parser.parse_args(argv)
    classes = sorted(path for path in args.folder.iterdir() if path.is_dir() and path.name != _BACKGROUND)
    parts = {"train": ([], []), "test": ([], [])}
    generator = np.random.default_rng(args.seed)
    for label, folder in enumerate(classes):
        paths = generator.permutation(sorted(folder.glob("*.jpg")))
        if len(paths) <= args.count:
            parser.error("%s has %d images; more than %d are needed" % (folder, len(paths), args.count))
        for place, path in enumerate(paths):
            images, labels = parts["train" if place < args.count else "test"]
            images.append(resize_and_crop(np.asarray(Image.open(path).convert("RGB")), (args.size, args.size)))
            labels.append(label)
    arrays = {}
    for part, (images, labels) in parts.items():
        order = generator.permutation(len(labels))  # mix the classes
        arrays["x_" + part], arrays["y_" + part] = np.stack(images)[order], np.array(labels)[order]
    with write_whole(args.output, "FILE") as path, open(path, "wb") as file:
        np.savez(file, **arrays)
    print("%d classes, %d training and %d test images" % (len(classes), *(len(parts[part][1]) for part in parts)))
    return 0


if __name__ == "__main__":
    sys.exit(exit_status("caltech101.py", main))
