"""Pictures of a run that trains a network: for TensorBoard during the run, and at its end."""

from __future__ import annotations

import math
from typing import Any, Callable

import numpy as np

from gluon_rbm.backend.arrays import from_host
from gluon_rbm.backend.random import make_generator, seed_mxnet
from gluon_rbm.backend.types import NDArray
from gluon_rbm.data.datasets import DataSet
from gluon_rbm.evaluation import plots
from gluon_rbm.evaluation.tiles import strongest_filters
from gluon_rbm.models import network_features, networks
from gluon_rbm.models.deep_belief import DeepBeliefNetwork
from gluon_rbm.training.network_settings import NetworkSettings
from gluon_rbm.training.state import TrainState

__all__ = ["NetworkPictures", "normal_like"]

_SIDE = 8  # rows and columns of images in a picture
_START_IMAGES = 2000  # images for the covariance that the samples start with

_SHOWCASE = 4  # purpose of the key of the samples


class NetworkPictures:
    """Pictures of a network.

    Parameters
    ----------
    settings
        Settings of the run.
    network, description
        See `gluon_rbm.models.networks`.
    data
        Images of the run.
    watched_images
        Images that TensorBoard shows reconstructions of, (n, height, width) or
        (n, height, width, 3).
    values
        Makes values of the network from images.
    """

    def __init__(
        self,
        settings: NetworkSettings,
        network: DeepBeliefNetwork,
        description: networks.Description,
        data: DataSet,
        watched_images: np.ndarray,
        values: Callable[[np.ndarray], NDArray],
    ) -> None:
        self._settings, self._network, self._description, self._data = settings, network, description, data
        self._watched_images, self._values = watched_images, values

    def watched(self, depth: int) -> dict[str, tuple[np.ndarray, tuple[int, ...]]]:
        """Return pictures for TensorBoard.

        Parameters
        ----------
        depth
            Number of RBMs that have learned.

        Returns
        -------
        dict
            Name -> (images (n, pixels), shape of an image): filters, reconstructions, and samples
            if all RBMs have learned.
        """
        weight, shape = network_features.filters(self._network, self._description)
        pictures = {"filters": (strongest_filters(weight, _SIDE**2)[0], shape)}
        values = {"reconstructions": self._reconstruct(self._values(self._watched_images[: _SIDE**2]), depth)}
        if depth == len(self._network.rbms):
            values["samples"] = self._samples()
        for name, found in values.items():
            pictures[name] = network_features.to_images(found, self._description), self._data.image_shape
        return pictures

    def draw_all(self, state: TrainState, depth: int, save: Callable[[str, Any], None]) -> None:
        """Draw the pictures of a finished run.

        Parameters
        ----------
        state
            State at the end of the run.
        depth
            Number of RBMs that have learned.
        save
            Takes the file name and the figure of each picture.
        """
        figure, (left, right) = plots.panels(2)
        plots.learning_curve(state.metrics, "loss", "F(v) - F(v') (nats per image)", left)
        plots.learning_curve(state.metrics, "reconstruction_error", "mean squared error of a pixel", right)
        save("learning-curve.png", figure)
        save("filters.png", plots.filters(*network_features.filters(self._network, self._description)))
        save("showcase.png", self._showcase(depth))

    def _reconstruct(self, values: NDArray, depth: int) -> NDArray:
        """Reconstruct by means, through the RBMs that have learned."""
        return self._network.down(self._network.up(values, depth), depth)

    def _showcase(self, depth: int) -> Any:
        samples, images = self._samples(), self._data.test_images
        order = make_generator([self._settings.seed, _SHOWCASE]).permutation(len(images))
        values = self._values(images[np.sort(order[: _SIDE**2])])
        sets = {
            "test images": values,
            "reconstructions": self._reconstruct(values, depth),
            "samples: normal values, %d top sweeps, down" % self._settings.sample_sweeps: samples,
        }
        sets = {title: network_features.to_images(images, self._description) for title, images in sets.items()}
        return plots.grids(sets, self._data.image_shape, _SIDE)

    def _samples(self) -> NDArray:
        seed_mxnet(self._settings.seed, _SHOWCASE)
        return self._network.generate(self._start(), self._settings.sample_sweeps)

    def _start(self) -> NDArray:
        """Draw normal values of the top RBM's visible layer, with training images' covariance."""
        rbms, generator = self._network.rbms, make_generator([self._settings.seed, _SHOWCASE, 1])
        rows = generator.permutation(len(self._data.train_images))[:_START_IMAGES]
        values = self._network.up(self._values(self._data.train_images[np.sort(rows)]), len(rbms) - 1)
        return from_host(normal_like(values, _SIDE**2, rbms[-1].visible_units, generator), values.context)


def normal_like(values: NDArray, count: int, units: Any, generator: np.random.Generator) -> np.ndarray:
    """Draw rows from the normal distribution with the mean and the covariance of `values`.

    Parameters
    ----------
    values
        Values of units, (n, ...).
    count
        Number of rows to draw.
    units
        Family of the units. If it has a maximum N, values are clipped to [0, N].
    generator
        Draws the numbers.

    Returns
    -------
    float32 (count, num_units)
        The rows.
    """
    rows = values.asnumpy().reshape(len(values), -1)
    mean = rows.mean(axis=0)
    noise = generator.standard_normal((count, len(rows)), np.float32)
    mixed = noise @ (rows - mean) / np.float32(math.sqrt(len(rows)))
    return mean + mixed if units.maximum is None else (mean + mixed).clip(0, units.maximum)
