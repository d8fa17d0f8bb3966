"""The command inpaint: fill in missing pixels of images."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from gluon_rbm.backend.array_files import load_npy
from gluon_rbm.backend.arrays import to_numpy
from gluon_rbm.cli import inputs
from gluon_rbm.cli.arguments import at_least, number, path
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

ABOUT = "fill in missing pixels: half an image, any mask, or NaN in your own images"

_SHOWN = 64
_SWEEPS, _MASK = range(1, 3)  # purposes of keys
_fraction = number(float, lambda value: 0 <= value <= 1, "a number from 0 to 1")


def add_arguments(add: AddArgument) -> None:
    """Add the arguments of the command.

    Parameters
    ----------
    add
        The method add_argument of a parser.
    """
    inputs.add_common(add, "inpaint")
    add("--drop", choices=MASKS, help="part of the image to drop (default: bottom)")
    add("--share", type=_fraction, help="fraction of the image to drop, from 0 to 1 (default: 0.5)")
    add(
        "--mask",
        type=path,
        metavar="FILE",
        help="mask to use instead of --drop: a .npy file of the image's shape, 1 for known pixels and 0 for missing "
        "ones",
    )
    add(
        "--images",
        type=path,
        metavar="PATH",
        help="use your own images; NaN pixels of a .npy file are missing, and then only --mask drops more",
    )
    add("--resize", action="store_true", help="resize --images of another size to that of the model")
    add("--sweeps", type=at_least(1, int), default=1000, help="Gibbs sweeps")
    add("--annealed", action="store_true", help="simulated annealing: start at a high temperature and cool down")
    add("--count", type=at_least(1, int), help="number of images; at most 64 are shown (default: 64, or all)")


def run(args: Namespace) -> None:
    """Fill in missing pixels by chains, and compare them with the mean of the training images.

    The chains hold the known pixels in every sweep. At the start, a missing pixel is on as often as
    it is in the training images.

    Parameters
    ----------
    args
        The parsed arguments.
    """
    if args.mask and (args.drop or args.share is not None):
        raise InputError("--mask replaces --drop and --share; leave these out")
    args.drop, args.share = args.drop or "bottom", 0.5 if args.share is None else args.share
    results = Results(args, "png", "json", "npz")
    if args.images:
        image_files.check_exists(args.images)  # before anything slow is loaded
    parameters = inputs.model_from(args)
    data = inputs.data_from(args, parameters.num_visible)
    images, given = _given(args, data)
    missing = np.isnan(given)
    if not missing.any():
        raise InputError(
            "no pixel is missing; drop some with --drop, --share or --mask, or set pixels of --images to NaN"
        )
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
            "mean squared error of a missing pixel: %(visible_mean).4f (mean of the chain), %(visible_prob_1).4f "
            "(probabilities of the last state), %(data_mean).4f (mean of the training images)",
            figures["mean_squared_error"],
        )
    panels = {"original": images, "given": given, "filled in": arrays["visible_prob_1"], "mean": arrays["visible_mean"]}
    if "mean_squared_error" not in figures:
        del panels["original"]
    picture = plots.grids({name: rows[:_SHOWN] for name, rows in panels.items()}, data.image_shape, size=3.6)
    results.write(parameters, figures, {"png": picture}, {"original": images, "given": given, **arrays})


def _given(args: Namespace, data: DataSet) -> tuple[HostArray, HostArray]:
    """Return images, and the same with NaN for missing pixels: float32 (n, num_visible) each."""
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
    """Return True for known pixels: bool, (num_visible,) or with a row for each image."""
    if not args.mask:
        return make_mask(args.drop, image_shape, args.share, key=[args.seed, _MASK]) > 0
    try:
        mask = load_npy(os.path.expanduser(args.mask))
        shape = mask.shape
    except Exception as error:  # NumPy raises various errors if a file is damaged or holds no array
        raise InputError("%s cannot be read as an array; write it with numpy.save" % args.mask) from error
    num_visible = int(np.prod(image_shape))
    if shape not in (tuple(image_shape), (num_visible,), (count, num_visible), (count, *image_shape)):
        raise InputError("%s has the shape %s, but images have %s; give a mask of their shape"
                         % (args.mask, shape, tuple(image_shape)))  # fmt: skip
    if not np.isin(mask, (0, 1)).all():
        raise InputError("%s has values other than 0 and 1; use 1 for known pixels and 0 for missing ones" % args.mask)
    return mask.reshape((-1, num_visible)).astype(bool)


def _error(fill: HostArray, images: HostArray, missing: HostArray) -> float:
    """Return the mean squared error over missing pixels."""
    return float(np.square(fill - images, dtype=np.float64)[missing].mean())
