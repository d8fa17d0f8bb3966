"""Images side by side as one array.

Images are arrays (n, num_visible) in [0, 1]. The image shape is (height, width) or
(height, width, 3).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Sequence

import numpy as np

from gluon_rbm.errors import InputError

if TYPE_CHECKING:
    from gluon_rbm.backend.types import HostArray

__all__ = ["canvas", "strongest_filters", "tiles"]

_WHITE = 99  # this percentile of the absolute weights is drawn white


def canvas(images: Any, image_shape: Sequence[int], rows: int, columns: int) -> HostArray:
    """Place images side by side, with gaps of one grey pixel.

    Parameters
    ----------
    images
        Images (n, num_visible) in [0, 1]. NaN stands for a missing pixel.
    image_shape
        (height, width) or (height, width, 3) of an image.
    rows, columns
        Number of rows and columns. Images beyond these are left out, and places without an image
        are grey.

    Returns
    -------
    float64 (height, width) or (height, width, 3)
        The picture in [0, 1]. Missing pixels are NaN in a grey picture, and grey in a colour one.
    """
    height, width = image_shape[:2]
    picture = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1) + tuple(image_shape[2:]), 0.5)
    for index, image in enumerate(images[: rows * columns]):
        top, left = index // columns * (height + 1), index % columns * (width + 1)
        picture[top : top + height, left : left + width] = np.reshape(image, image_shape)
    return picture if picture.ndim == 2 else np.where(np.isnan(picture), 0.5, picture)


def tiles(images: HostArray, image_shape: Sequence[int]) -> HostArray:
    """Place images side by side in a square.

    Parameters
    ----------
    images, image_shape
        As in `canvas`.

    Returns
    -------
    float64 (height, width) or (height, width, 3)
        The picture, with as many rows of images as columns, or one fewer.

    Raises
    ------
    InputError
        There are no images.
    """
    if not len(images):
        raise InputError("there are no images to draw; give at least one")
    columns = math.ceil(math.sqrt(len(images)))
    return canvas(images, image_shape, -(-len(images) // columns), columns)


def strongest_filters(interaction_weight: HostArray, count: int) -> tuple[HostArray, float]:
    """Weights of the hidden units with the largest norm, as images.

    All images share one scale: 0.5 stands for a weight of 0, and 1 for the 99th percentile of the
    absolute weights shown (if that is 0, for the largest). Larger weights are clipped. (Weights
    have heavy tails. If 1 stood for the largest weight, nearly all filters would be uniform grey.)

    Parameters
    ----------
    interaction_weight
        Weights W, (num_visible, num_hidden).
    count
        Number of hidden units to show, at most.

    Returns
    -------
    images : array (count, num_visible)
        Weights in [0, 1], the unit with the largest norm first.
    limit : float
        The weight that 1 stands for.
    """
    order = np.argsort(-np.linalg.norm(interaction_weight, axis=0), kind="stable")[:count]
    weight = interaction_weight[:, order].T
    size = np.abs(weight)
    # If nearly all weights are zero, the percentile is 0.
    limit = float(np.percentile(size, _WHITE)) or float(size.max()) or 1.0
    return np.clip(0.5 + weight / (2 * limit), 0, 1), limit
