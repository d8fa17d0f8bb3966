"""Blank images among drawn images: their number, their cause, and advice."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gluon_rbm.backend.types import HostArray

__all__ = ["note", "num_blank", "tell"]

logger = logging.getLogger(__name__)

_MEAN = 0.01  # an image is blank if the mean of its pixels is at most this


def num_blank(images: HostArray) -> int:
    """Count blank images: the mean of their pixels is at most 0.01.

    Parameters
    ----------
    images
        Images (n, num_visible) in [0, 1].

    Returns
    -------
    int
        Number of blank images.
    """
    return int((images.mean(axis=1) <= _MEAN).sum())


def note(images: HostArray) -> str:
    """Text for the title of a picture of drawn images, if half of them or more are blank.

    Parameters
    ----------
    images
        Drawn images (n, num_visible) in [0, 1].

    Returns
    -------
    str
        The text. It is empty if fewer than half of the images are blank.
    """
    blank = num_blank(images)
    return "%d of %d are blank: the chains are in the empty image" % (blank, len(images)) * _tells(blank, images)


def tell(images: HostArray) -> None:
    """Log why drawn images are blank, and what to do, if half of them or more are blank.

    Parameters
    ----------
    images
        As in `note`.
    """
    blank = num_blank(images)
    if not _tells(blank, images):
        return
    logger.info(
        "%d of %d drawn images are blank: the model gives the empty image much probability, and chains stay there. "
        "This is no fault of the pictures. CD-k never draws so far from the data that it would see the empty image and "
        "unlearn it: train with chains that go on from step to step (--chains persistent) and with --centering. Of "
        "this model, --start images shows what chains near the data look like",
        blank,
        len(images),
    )


def _tells(blank: int, images: HostArray) -> bool:
    return 0 < len(images) <= 2 * blank
