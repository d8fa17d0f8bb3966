"""Resizing by Pillow, and random crops and mirror images by NumPy."""

from __future__ import annotations

import math
from typing import Sequence

import numpy as np

from gluon_rbm.backend.types import HostArray
from gluon_rbm.errors import InputError

__all__ = ["augment", "check_memory", "resize", "resize_and_crop"]

_MOST_BYTES = 2**33


def check_memory(count: int, shape: Sequence[int]) -> None:
    """InputError where so many images of a shape, a byte a value, are more than 8 GB."""
    size = count * math.prod(shape)
    if size > _MOST_BYTES:
        raise InputError(
            "%d images of %d x %d pixels are %.0f GB; choose a smaller --image-size" % (count, *shape[:2], size / 1e9)
        )


def resize(image: HostArray, size: Sequence[int]) -> HostArray:
    """Stretch or shrink an image by Lanczos interpolation, which averages where it shrinks.

    Parameters
    ----------
    image
        (height, width) or (height, width, 3): uint8, or float32 in any range.
    size
        The height and width to bring it to.

    Returns
    -------
    The image in its dtype, (*size) or (*size, 3). Floats may leave the range of the image beside an edge.
    """
    from PIL import Image

    if image.ndim == 3 and image.dtype != np.uint8:  # Pillow knows no colours in floats
        return np.stack([resize(image[..., colour], size) for colour in range(image.shape[2])], axis=2)
    height, width = size
    lanczos = Image.LANCZOS  # pyright: ignore[reportAttributeAccessIssue]  # Pillow makes the name when imported
    return np.asarray(Image.fromarray(image).resize((width, height), lanczos))


def resize_and_crop(image: HostArray, size: Sequence[int]) -> HostArray:
    """Resize an image to cover a size, and crop it around its middle: its proportions stay.

    Parameters
    ----------
    image
        uint8 (height, width) or (height, width, 3).
    size
        The height and width to bring it to.

    Returns
    -------
    uint8 (*size) or (*size, 3), by Lanczos interpolation; the image itself where it has that size.
    """
    from PIL import Image, ImageOps

    height, width = size
    if image.shape[:2] == (height, width):
        return image
    lanczos = Image.LANCZOS  # pyright: ignore[reportAttributeAccessIssue]  # as above
    return np.asarray(ImageOps.fit(Image.fromarray(image), (width, height), lanczos))


def augment(images: HostArray, generator: np.random.Generator, padding: int = 0, mirror: bool = False) -> HostArray:
    """Crop images at random places, and turn left and right of half of them.

    Parameters
    ----------
    images
        (n, height, width) or (n, height, width, 3).
    generator
        It draws the places, and which images are turned.
    padding
        So many pixels are mirrored outwards at every edge before the place to crop is drawn.
    mirror
        Whether to turn half of the images.

    Returns
    -------
    Images of the same shape and dtype; without padding and mirror the given ones.
    """
    if not padding and not mirror:
        return images
    count, height, width = images.shape[:3]
    edges = [(0, 0), (padding, padding), (padding, padding), *[(0, 0)] * (images.ndim - 3)]
    padded = np.pad(images, edges, mode="reflect")
    places = generator.integers(0, 2 * padding + 1, (count, 2)).tolist()
    crops = [image[top : top + height, left : left + width] for image, (left, top) in zip(padded, places)]
    batch = np.stack(crops)
    if mirror:
        turned = generator.random(count) < 0.5
        batch[turned] = batch[turned, :, ::-1]
    return batch
