"""Pictures of a run of a binary RBM: for TensorBoard during the run, and at its end."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from gluon_rbm.backend.arrays import to_numpy
from gluon_rbm.backend.framework import mx
from gluon_rbm.backend.random import make_generator
from gluon_rbm.data.batches import to_visible
from gluon_rbm.evaluation import blank, dead_units, plots
from gluon_rbm.evaluation.tiles import strongest_filters
from gluon_rbm.likelihood import learning
from gluon_rbm.models.energy import hidden_probability
from gluon_rbm.models.parameters import Parameters
from gluon_rbm.sampling import gibbs
from gluon_rbm.training.binary_settings import BinarySettings
from gluon_rbm.training.binary_start import PURPOSES, Images
from gluon_rbm.training.checkpoint import Checkpoint
from gluon_rbm.training.monitors import ImageMonitor
from gluon_rbm.training.state import TrainState

__all__ = ["SHOWCASE_SWEEPS", "BinaryPictures"]

SHOWCASE_SWEEPS = 3000
_SHOWCASE_SIDE = 15
_WATCHED_IMAGES = 64

logger = logging.getLogger(__name__)


class BinaryPictures:
    """Pictures of the RBM that a `TrainState` holds.

    Parameters
    ----------
    settings
        Settings of the run.
    images
        Images of the run.
    context
        Device for sampling.
    """

    def __init__(self, settings: BinarySettings, images: Images, context: Any) -> None:
        self._settings, self._images, self._context = settings, images, context
        self._visible_units = settings.rule.visible_units(images.data.num_visible)

    def watched(self, state: TrainState, checkpoint: Checkpoint) -> dict[str, tuple[np.ndarray, tuple[int, ...]]]:
        """Return pictures for TensorBoard.

        Parameters
        ----------
        state
            State after an epoch.
        checkpoint
            Checkpoint of this state.

        Returns
        -------
        dict
            Name -> (images (n, pixels), shape of an image). "filters": the strongest ones.
            "chains": probabilities of the chains' pixels, unless the objective is discriminative.
        """
        pixels, shape = self._images.pixels, self._images.image_shape
        weight = state.current()["interaction_weight"].asnumpy()[pixels]
        pictures = {"filters": (strongest_filters(weight, _WATCHED_IMAGES)[0], shape)}
        if self._settings.rule.generative_factor:
            count = min(self._settings.chains_in_all, _WATCHED_IMAGES)
            chains = gibbs.run_chains(
                Parameters(**state.learned()),
                hidden=mx.nd.array(checkpoint.arrays[learning.SAMPLES[1]][:count], self._context),
                visible_units=self._visible_units,
                key=[self._settings.seed, PURPOSES.WATCHED],
                engine=self._settings.engine,
            )
            pictures["chains"] = chains.visible_prob_1.asnumpy()[:, pixels], shape
        return pictures

    def draw_all(self, state: TrainState, monitor: ImageMonitor, save: Any) -> None:
        """Draw the pictures of a finished run.

        Parameters
        ----------
        state
            State at the end of the run.
        monitor
            Chooses the column of the learning curve.
        save
            Takes the file name and the figure of each picture.
        """
        shape = self._images.image_shape
        save("learning-curve.png", plots.learning_curve(state.metrics, *monitor.curve(state.metrics)))
        weight = state.result()["interaction_weight"].asnumpy()
        save("filters.png", plots.filters(weight[self._images.pixels], shape))
        logger.info("Preparing showcase: %d Gibbs sweeps", SHOWCASE_SWEEPS)
        images, samples = self._showcase(state)
        blank.tell(samples)
        dead_units.tell(to_numpy(hidden_probability(Parameters(**state.result()), images)))
        originals = images[:, self._images.pixels]
        save("showcase.png", plots.showcase(originals, samples, shape, SHOWCASE_SWEEPS, _SHOWCASE_SIDE))

    def _showcase(self, state: TrainState) -> tuple[np.ndarray, np.ndarray]:
        """Return training images (with labels), and pixel probabilities of chains that start at them.

        After so many sweeps, the chains have forgotten where they started.
        """
        settings, data = self._settings, self._images.data
        count = min(_SHOWCASE_SIDE**2, len(data.train_images))
        generator = make_generator([settings.seed, PURPOSES.SHOWCASE, 1])
        chosen = generator.choice(len(data.train_images), count, replace=False)
        originals = to_visible(data.train_images[np.sort(chosen)], data.maximum)
        chains = gibbs.run_chains(
            Parameters(**state.result()),
            visible=mx.nd.array(originals, ctx=self._context),
            sweeps=SHOWCASE_SWEEPS,
            visible_units=self._visible_units,
            key=[settings.seed, PURPOSES.SHOWCASE, 2],
            engine=settings.engine,
        )
        return originals, chains.visible_prob_1.asnumpy()[:, self._images.pixels]
