"""Dead hidden units: they are on, or off, for all images, and say nothing of them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gluon_rbm.backend.types import HostArray

__all__ = ["LEAST_DEVIATION", "tell"]

logger = logging.getLogger(__name__)

LEAST_DEVIATION = 0.01  #: below this standard deviation of p(h = 1 | v) over images, a unit is dead

_TOLD = 1 / 4  # a larger share of dead units is reported


def tell(hidden_probability: HostArray) -> None:
    """Log how many hidden units are dead, and what to do, if more than a quarter of them are.

    Parameters
    ----------
    hidden_probability
        Probabilities p(h = 1 | v) for images v, (images, num_hidden).
    """
    dead = int((hidden_probability.std(axis=0) < LEAST_DEVIATION).sum())
    if dead > _TOLD * hidden_probability.shape[1]:
        logger.info(
            "note: %d of %d hidden units are dead: on, or off, for all images; a lower --learning-rate may help",
            dead,
            hidden_probability.shape[1],
        )
