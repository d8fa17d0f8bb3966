"""Resizing of images by Pillow, and random crops and reflections by NumPy."""

from __future__ import annotations

import math
from typing import Sequence

import numpy as np

from gluon_rbm.backend.types import HostArray
from gluon_rbm.errors import InputError

__all__ = ["augment", "check_memory", "resize", "resize_and_crop"]

_MOST_BYTES = 2**33


def check_memory(count: int, shape: Sequence[int]) -> None:
    """Check that images of bytes take at most 8 GiB.

    Parameters
    ----------
    count
        Number of images.
    shape
        Shape of an image. Each value takes a byte.

    Raises
    ------
    InputError
        They take more.
    """
    size = count * math.prod(shape)
    if size > _MOST_BYTES:
        raise InputError(
            "%d images of %d x %d pixels would take %.1f GiB, and %d GiB is the limit; choose a smaller --image-size"
            % (count, *shape[:2], size / 2**30, _MOST_BYTES >> 30)
        )


def resize(image: HostArray, size: Sequence[int]) -> HostArray:
    """Stretch or shrink an image by Lanczos interpolation, which averages pixels when it shrinks.

    Parameters
    ----------
    image
        (height, width) or (height, width, 3), uint8, or float32 in any range.
    size
        Height and width of the result.

    Returns
    -------
    array (height, width) or (height, width, 3)
        The image in its dtype. Beside an edge, floats may leave the range of the image.
    """
    from PIL import Image

    if image.ndim == 3 and image.dtype != np.uint8:  # Pillow has no colour images of floats
        return np.stack([resize(image[..., colour], size) for colour in range(image.shape[2])], axis=2)
    height, width = size
    # Pillow defines the name when it is imported, so pyright does not know it.
    lanczos = Image.LANCZOS  # pyright: ignore[reportAttributeAccessIssue]
    return np.asarray(Image.fromarray(image).resize((width, height), lanczos))


def resize_and_crop(image: HostArray, size: Sequence[int]) -> HostArray:
    """Resize an image until it covers a size, and crop the centre. Its proportions stay.

    Parameters
    ----------
    image
        (height, width) or (height, width, 3), uint8.
    size
        Height and width of the result.

    Returns
    -------
    uint8 (height, width) or (height, width, 3)
        Image by Lanczos interpolation, or `image` itself if it has that size.
    """
    from PIL import Image, ImageOps

    height, width = size
    if image.shape[:2] == (height, width):
        return image
    lanczos = Image.LANCZOS  # pyright: ignore[reportAttributeAccessIssue]  # as above
    return np.asarray(ImageOps.fit(Image.fromarray(image), (width, height), lanczos))


def augment(images: HostArray, generator: np.random.Generator, padding: int = 0, mirror: bool = False) -> HostArray:
    """Pad images and crop them at random places, and swap left and right at random.

    Parameters
    ----------
    images
        (n, height, width) or (n, height, width, 3).
    generator
        Source of the random numbers.
    padding
        Number of pixels to add at every edge, by reflection. Each image is then cropped to its
        size at a random place.
    mirror
        Swap left and right of each image with probability 1/2.

    Returns
    -------
    array, as `images`
        Images of the same shape and dtype. Without `padding` and `mirror`, `images` itself.
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
