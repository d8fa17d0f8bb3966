"""Images side by side as one array, for pictures of any kind.

Images are (n, num_visible) arrays in [0, 1], and image_shape is (height, width) or (height, width, 3).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Sequence

import numpy as np

if TYPE_CHECKING:
    from gluon_rbm.backend.types import HostArray

__all__ = ["canvas", "strongest_filters", "tiles"]

_WHITE = 99  # percentile of the absolute weights


def canvas(images: Any, image_shape: Sequence[int], rows: int, columns: int) -> HostArray:
    """Images side by side with a gap of one pixel: float (height, width[, 3]) in [0, 1]; missing images are grey."""
    height, width = image_shape[:2]
    picture = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1) + tuple(image_shape[2:]), 0.5)
    for index, image in enumerate(images[: rows * columns]):
        top, left = index // columns * (height + 1), index % columns * (width + 1)
        picture[top : top + height, left : left + width] = np.reshape(image, image_shape)
    return picture if picture.ndim == 2 else np.where(np.isnan(picture), 0.5, picture)


def tiles(images: HostArray, image_shape: Sequence[int]) -> HostArray:
    """Images in as many rows as columns, as one picture without a frame: float (height, width[, 3]) in [0, 1]."""
    columns = math.ceil(math.sqrt(len(images)))
    return canvas(images, image_shape, -(-len(images) // columns), columns)


def strongest_filters(interaction_weight: HostArray, count: int) -> tuple[HostArray, float]:
    """The weights of up to `count` hidden units as images, and the weight that is white.

    The strongest units (norm of the weights) come first. All share one symmetric scale, so that 0.5 is zero: 1 stands
    for the 99th percentile of the absolute weights shown, and what is beyond is clipped. (Weights have heavy tails. On
    a scale up to the largest of them, nearly all filters are a uniform grey.)

    Parameters
    ----------
    interaction_weight : ndarray (num_visible, num_hidden)
    count : int

    Returns
    -------
    images : ndarray (count, num_visible) in [0, 1]
    limit : float
        The weight that 1 stands for.
    """
    order = np.argsort(-np.linalg.norm(interaction_weight, axis=0), kind="stable")[:count]
    weight = interaction_weight[:, order].T
    size = np.abs(weight)
    limit = float(np.percentile(size, _WHITE)) or float(size.max()) or 1.0  # where nearly all are zero
    return np.clip(0.5 + weight / (2 * limit), 0, 1), limit
