"""Dead hidden units: they do the same for all images, and say nothing of them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gluon_rbm.backend.types import HostArray

__all__ = ["LEAST_DEVIATION", "tell"]

logger = logging.getLogger(__name__)

LEAST_DEVIATION = 0.01  #: below this standard deviation of p(h = 1 | v) over images, a unit is dead

_SATURATED = 0.05  # a dead unit with a mean below this, or above 1 minus this, is always off, or on
_TOLD = 1 / 4  # a larger share of dead units is reported


def tell(hidden_probability: HostArray) -> None:
    """Log how many hidden units are dead, and what to do, if more than a quarter of them are.

    Parameters
    ----------
    hidden_probability
        Probabilities p(h = 1 | v) for images v, (images, num_hidden).
    """
    is_dead = hidden_probability.std(axis=0) < LEAST_DEVIATION
    mean = hidden_probability.mean(axis=0)[is_dead]
    dead, saturated = len(mean), int(((mean < _SATURATED) | (mean > 1 - _SATURATED)).sum())
    if dead <= _TOLD * len(is_dead):
        return
    if saturated > dead / 2:
        found = "are dead: on, or off, for all images; a lower --learning-rate may help"
    else:
        found = "hardly react to images yet: their weights are small; train longer, or give a higher --learning-rate"
    logger.info("note: %d of %d hidden units %s", dead, len(is_dead), found)
