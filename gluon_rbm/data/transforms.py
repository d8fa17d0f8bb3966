"""Resizing and random crops by MXNet's own image operators. Nothing global is seeded: what is drawn, NumPy draws."""

import numpy as np

from gluon_rbm.backend.arrays import from_host
from gluon_rbm.backend.framework import mx

__all__ = ["resize_and_crop", "augment"]

_CUBIC, _AREA = 2, 3  # OpenCV's numbers of ways to resize


def resize_and_crop(image, size):
    """An image, uint8 (height, width[, 3]), brought to size = (height, width) by MXNet's image pipeline.

    The whole of it that has the shape asked for, around its middle.
    """
    if image.shape[:2] == tuple(size):
        return image
    scale = max(size[0] / image.shape[0], size[1] / image.shape[1])
    height, width = (max(least, round(scale * side)) for least, side in zip(size, image.shape))
    pixels = from_host(image.reshape(*image.shape[:2], -1))
    if scale != 1:
        pixels = mx.image.imresize(pixels, width, height, _AREA if scale < 1 else _CUBIC)
    return mx.image.center_crop(pixels, size[::-1])[0].asnumpy().reshape(*size, *image.shape[2:])


def augment(images, generator, padding=0, mirror=False):
    """Images (n, height, width[, 3]) as an eye might have met them, by MXNet's image pipeline; of the same shape.

    padding : pixels mirrored outwards at every edge, before a place to crop is drawn; mirror : turn half of them
    generator : NumPy's, which draws
    """
    if not padding and not mirror:
        return images
    count, height, width = images.shape[:3]
    edges = [(0, 0), (padding, padding), (padding, padding), (0, 0)]
    batch = from_host(np.pad(images.reshape(count, height, width, -1), edges, mode="reflect"))
    places = generator.integers(0, 2 * padding + 1, (count, 2)).tolist()
    crops = [mx.image.fixed_crop(image, left, top, width, height) for image, (left, top) in zip(batch, places)]
    batch = mx.nd.stack(*crops)
    if mirror:
        turned = from_host((generator.random(count) < 0.5).astype(np.float32))
        batch = mx.nd.where(turned, mx.nd.flip(batch, axis=2), batch)
    return batch.asnumpy().reshape(images.shape)
