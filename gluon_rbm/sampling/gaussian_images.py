"""Images that a Gaussian-Bernoulli RBM draws from random hidden units."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gluon_rbm.backend.arrays import asarray_like, to_numpy
from gluon_rbm.backend.random import make_generator
from gluon_rbm.backend.types import HostArray, Key
from gluon_rbm.models.gaussian_rbm import GaussianParameters
from gluon_rbm.models.visible_units import GAUSSIAN
from gluon_rbm.sampling import gibbs

if TYPE_CHECKING:
    from gluon_rbm.models.image_features import ImageFeatures

__all__ = ["draw_images"]


def draw_images(
    parameters: GaussianParameters,
    features: ImageFeatures,
    count: int,
    sweeps: int,
    *,
    start_key: Key,
    key: Key,
    engine: str = "auto",
) -> tuple[HostArray, HostArray]:
    """Draw images by chains that start from random hidden units.

    Parameters
    ----------
    parameters
        Parameters of the Gaussian-Bernoulli RBM.
    features
        Map from the RBM's visible units back to pixels.
    count
        Number of images.
    sweeps
        Number of Gibbs sweeps, at least 1.
    start_key
        Non-negative integers that fix the start: fair coins.
    key
        Non-negative integers that fix the noise of the sweeps.
    engine
        As in `gibbs.run_chains`.

    Returns
    -------
    drawn : float32 NumPy array (count, num_pixels)
        Drawn images, in [0, 1].
    means : float32 NumPy array (count, num_pixels)
        Images of the visible means given the hidden units, in [0, 1].
    """
    shape = count, parameters.scaled.num_hidden
    coins = make_generator(start_key).integers(0, 2, shape).astype(np.float32)
    chains = gibbs.run_chains(
        parameters.scaled,
        hidden=asarray_like(coins, parameters.interaction_weight),
        sweeps=sweeps,
        visible_units=GAUSSIAN,
        key=key,
        engine=engine,
    )
    drawn, means = (
        features.images(to_numpy(parameters.unscale(rows))) for rows in (chains.visible_sample, chains.visible_prob_1)
    )
    return drawn, means
