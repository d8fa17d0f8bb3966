"""The command `inpaint`: images with missing pixels, filled in."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from gluon_rbm.backend.array_files import load_npy
from gluon_rbm.backend.arrays import to_numpy
from gluon_rbm.cli import inputs
from gluon_rbm.cli.arguments import at_least, number
from gluon_rbm.cli.results import Results
from gluon_rbm.data import image_files
from gluon_rbm.data.statistics import base_visible_bias, mean_image
from gluon_rbm.errors import InputError
from gluon_rbm.evaluation import plots
from gluon_rbm.sampling.inpainting import MASKS, inpaint, make_mask

if TYPE_CHECKING:
    from argparse import Namespace

    from gluon_rbm.backend.types import HostArray
    from gluon_rbm.cli.inputs import AddArgument
    from gluon_rbm.data.datasets import DataSet

__all__ = ["ABOUT", "add_arguments", "run"]

logger = logging.getLogger(__name__)

ABOUT = "fill in missing pixels: half an image, any mask, or what is NaN in images of one's own"

_SHOWN = 64
_SWEEPS, _MASK = range(1, 3)  # purposes of keys
_fraction = number(float, lambda value: 0 <= value <= 1, "a number from 0 to 1")


def add_arguments(add: AddArgument) -> None:
    inputs.add_common(add, "inpaint")
    add("--drop", choices=MASKS, default="bottom", help="which pixels are dropped")
    add("--share", type=_fraction, default=0.5, help="how many of them")
    add(
        "--mask",
        metavar="FILE",
        help="instead: a .npy file of the image's shape, with 1 where pixels are known, else 0",
    )
    add(
        "--images",
        metavar="PATH",
        help="images of one's own; in a .npy file, NaN is missing, and nothing else is dropped but by --mask",
    )
    add("--resize", action="store_true", help="bring images of one's own that have another size to the model's")
    add("--sweeps", type=at_least(1, int), default=1000, help="Gibbs sweeps")
    add("--annealed", action="store_true", help="start hot, and cool down on the way")
    add("--count", type=at_least(1, int), help="number of images, at most 64 of them shown (default: 64, or all)")


def run(args: Namespace) -> None:
    """Hold the known pixels in every sweep, and compare what comes out with filling in the training images' mean.

    Missing pixels start on as often as in the training images.
    """
    results = Results(args, "png", "json", "npz")
    if args.images:
        image_files.check_exists(args.images)  # before anything is loaded that takes longer
    parameters = inputs.model_from(args)
    data = inputs.data_from(args, parameters.num_visible)
    images, given = _given(args, data)
    missing = np.isnan(given)
    if not missing.any():
        raise InputError("no pixel is missing; drop some by --drop, --share or --mask, or by NaN in --images")
    mean = mean_image(data.train_images, data.maximum).astype(np.float32)
    filled = inpaint(
        parameters,
        given,
        args.sweeps,
        key=[args.seed, _SWEEPS],
        annealed=args.annealed,
        base_visible_bias=base_visible_bias(data),
        engine=args.engine,
    )
    arrays = {name: to_numpy(array) for name, array in filled._asdict().items()}
    figures: dict[str, Any] = {"num_images": len(images), "share_missing": float(missing.mean())}
    if not np.isnan(images[missing]).any():
        fills = {"visible_mean": arrays["visible_mean"], "visible_prob_1": arrays["visible_prob_1"], "data_mean": mean}
        figures["mean_squared_error"] = {name: _error(fill, images, missing) for name, fill in fills.items()}
        logger.info(
            "mean squared error of a missing pixel: %(visible_mean).4f; of the last state's probabilities"
            " %(visible_prob_1).4f; of the training images' mean %(data_mean).4f",
            figures["mean_squared_error"],
        )
    panels = {"original": images, "given": given, "filled in": arrays["visible_prob_1"], "mean": arrays["visible_mean"]}
    if "mean_squared_error" not in figures:
        del panels["original"]
    picture = plots.grids({name: rows[:_SHOWN] for name, rows in panels.items()}, data.image_shape, size=3.6)
    results.write(parameters, figures, {"png": picture}, {"original": images, "given": given, **arrays})


def _given(args: Namespace, data: DataSet) -> tuple[HostArray, HostArray]:
    """Images, and the same with NaN where pixels are missing: float32 (n, num_visible)."""
    if args.images:
        images = image_files.read_images(args.images, data.image_shape, args.resize, missing=True)[
            : args.count or _SHOWN
        ]
        if np.isnan(images).any() and not args.mask:
            return images, images
    else:
        images = inputs.images_from(args, data, inputs.count_from(args, data, _SHOWN))
    known = _mask(args, data.image_shape, len(images))
    return images, np.where(known, images, np.float32(np.nan))


def _mask(args: Namespace, image_shape: tuple[int, ...], count: int) -> HostArray:
    """True where pixels are known: bool, (num_visible,) or a row for each image."""
    if not args.mask:
        return make_mask(args.drop, image_shape, args.share, key=[args.seed, _MASK]) > 0
    try:
        mask = load_npy(os.path.expanduser(args.mask))
        shape = mask.shape
    except Exception as error:  # NumPy raises this and that on a file that is damaged or holds no array
        raise InputError("%s cannot be read as an array; write it with numpy.save" % args.mask) from error
    num_visible = int(np.prod(image_shape))
    if shape not in (tuple(image_shape), (num_visible,), (count, num_visible), (count, *image_shape)):
        raise InputError("%s has shape %s where images have %s; give a mask of that shape"
                         % (args.mask, shape, tuple(image_shape)))  # fmt: skip
    if not np.isin(mask, (0, 1)).all():
        raise InputError("%s holds other values than 0 and 1; 1 means that a pixel is known" % args.mask)
    return mask.reshape((-1, num_visible)).astype(bool)


def _error(fill: HostArray, images: HostArray, missing: HostArray) -> float:
    """Mean squared error over missing pixels."""
    return float(np.square(fill - images, dtype=np.float64)[missing].mean())
