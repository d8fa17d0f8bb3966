"""Features of real-valued images for an RBM with Gaussian visible units.

    standardized pixels:  f = (x - mean) / scale
    whitened pixels:      f = (x - mean) B / scale

The scale is the standard deviation, so features have mean 0 and variance 1. The columns of B are
the first principal directions of the images.

If f is standard normal, the images x are normal, too. Standardized pixels are then independent.
With whitening, x has the images' covariance in the principal directions, and noise of one variance
in all other directions. (This is probabilistic principal component analysis: Tipping & Bishop,
J. Royal Statistical Society B 61, 1999. The directions are also called "eigenfaces".)
"""

from __future__ import annotations

import math
from typing import Mapping, NamedTuple

import numpy as np

from gluon_rbm.backend.types import HostArray
from gluon_rbm.data.batches import to_visible
from gluon_rbm.errors import InputError

__all__ = ["Standardization", "num_levels"]

_ROWS_AT_ONCE = 1000
_LEAST_DEVIATION = 1e-3  # standard deviation, for pixels in [0, 1]
_LEAST_RESIDUAL = 1e-9  # variance; a smaller one comes from rounding in float32
_POWERS = 7  # power iterations of the randomized search for directions


def num_levels(maximum: float) -> int:
    """Number of values that a pixel can take.

    Parameters
    ----------
    maximum
        Largest value of a pixel.

    Returns
    -------
    int
        `maximum` + 1 for whole numbers, or 256 for images in [0, 1].
    """
    return int(maximum) + 1 if maximum > 1 else 256


class Standardization(NamedTuple):
    """Map from images to features, and back. All arrays are float64."""

    mean: HostArray  #: (num_pixels,), in [0, 1]
    scale: HostArray  #: (num_features,), the standard deviations
    basis: HostArray  #: B, (num_pixels, num_features); (0, 0) without whitening
    residual: HostArray  #: (1,), variance of each direction outside the basis; 0 without whitening

    @classmethod
    def of(cls, images: HostArray, maximum: float, num_directions: int = 0) -> Standardization:
        """Learn the standardization of images.

        Parameters
        ----------
        images
            Images (n, ...).
        maximum
            The pixel value that means 1.
        num_directions
            Number of principal directions for whitening. 0 standardizes the pixels.

        Returns
        -------
        Standardization
            The map. Without whitening, a pixel with a deviation below 0.001 has the scale 1. Other
            scales are at least the deviation of uniform noise between two values of a pixel, which
            the density adds: a pixel that hardly varies would cost many nats otherwise.

        Raises
        ------
        InputError
            The images are all alike or vary in fewer directions than `num_directions`, or there
            are not more images, and values in an image, than `num_directions`.
        """
        if num_directions:
            return cls._whitening(to_visible(images, maximum), num_directions)
        num_pixels = int(np.prod(images.shape[1:]))
        total, squares = np.zeros(num_pixels), np.zeros(num_pixels)
        for start in range(0, len(images), _ROWS_AT_ONCE):
            rows = to_visible(images[start : start + _ROWS_AT_ONCE], maximum).astype(np.float64)
            total += rows.sum(axis=0)
            squares += np.square(rows).sum(axis=0)
        mean = total / len(images)
        deviation = np.sqrt(np.maximum(squares / len(images) - np.square(mean), 0))
        if deviation.max() < _LEAST_DEVIATION:
            raise InputError("all training images are the same; there is nothing to learn")
        is_constant = deviation < _LEAST_DEVIATION
        deviation = np.maximum(deviation, 1 / (num_levels(maximum) - 1) / math.sqrt(12))
        deviation[is_constant] = 1  # features of constant pixels are 0
        return cls(mean, deviation, np.zeros((0, 0)), np.zeros(1))

    @classmethod
    def _whitening(cls, pixels: HostArray, num_directions: int) -> Standardization:
        """Find the directions by a randomized search (Halko et al., SIAM Review 53, 2011).

        The directions found are then rotated. So features of these pixels are exactly uncorrelated.
        """
        from sklearn.utils.extmath import randomized_svd

        num_images, num_pixels = pixels.shape
        if num_directions >= min(num_images, num_pixels):
            raise InputError(
                "--whiten is %d; it must be below the number of training images (%d) and of values in an image (%d)"
                % (num_directions, num_images, num_pixels)
            )
        mean = pixels.mean(axis=0, dtype=np.float64)
        centred = pixels - mean.astype(np.float32)
        search = randomized_svd(centred, num_directions, n_iter=_POWERS, random_state=0)  # pyright: ignore[reportArgumentType]
        directions = np.linalg.qr(search[2].T.astype(np.float64))[0]
        blocks = range(0, num_images, _ROWS_AT_ONCE)
        values = np.concatenate([centred[start : start + _ROWS_AT_ONCE] @ directions for start in blocks])
        variances, rotation = np.linalg.eigh(values.T @ values / num_images)
        scale = np.sqrt(np.maximum(variances[::-1], 0))
        if scale[-1] < _LEAST_DEVIATION:
            raise InputError(
                "the training images vary in only %d directions; choose a smaller --whiten"
                % (scale >= _LEAST_DEVIATION).sum()
            )
        left = (
            sum(float(np.square(column).sum(dtype=np.float64)) for column in centred.T) / num_images - variances.sum()
        )
        residual = np.maximum(left / (num_pixels - num_directions), 0).reshape(1)
        if residual[0] < _LEAST_RESIDUAL:  # the density of other images would be 0
            raise InputError(
                "the training images vary in at most %d directions; choose a smaller --whiten" % num_directions
            )
        return cls(mean, scale, directions @ rotation[:, ::-1], residual)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, HostArray]) -> Standardization:
        """Restore a standardization from a file of parameters.

        Parameters
        ----------
        arrays
            Arrays by name, as from `arrays`. Other names are ignored.

        Returns
        -------
        Standardization
            The map. Missing arrays are empty, (0, 0).
        """
        found = {name: arrays.get("transform_" + name, np.zeros((0, 0))) for name in cls._fields}
        return cls(**{name: np.asarray(array, np.float64) for name, array in found.items()})

    def arrays(self) -> dict[str, HostArray]:
        """Arrays for a file of parameters.

        Returns
        -------
        dict of str to float32 array
            Arrays by name. The names begin with "transform_". An empty basis is left out.
        """
        return {
            "transform_" + name: np.asarray(array, np.float32) for name, array in self._asdict().items() if array.size
        }

    @property
    def num_features(self) -> int:
        """Number of features.

        Returns
        -------
        int
            Number of pixels, or of principal directions.
        """
        return len(self.scale)

    def features(self, pixels: HostArray) -> HostArray:
        """Transform pixels into features.

        Parameters
        ----------
        pixels
            Pixels x in [0, 1], (n, num_pixels).

        Returns
        -------
        float32 (n, num_features)
            Features f.
        """
        centred = (pixels - self.mean).astype(np.float32)
        if self.basis.size:
            centred = centred @ self.basis.astype(np.float32)
        return (centred / self.scale).astype(np.float32)

    def pixels(self, features: HostArray) -> HostArray:
        """Transform features back into pixels.

        Parameters
        ----------
        features
            Features f, (n, num_features).

        Returns
        -------
        float32 (n, num_pixels)
            Pixels x. They are not clipped to [0, 1].
        """
        scaled = (features * self.scale).astype(np.float32)
        if self.basis.size:
            scaled = scaled @ self.basis.T.astype(np.float32)
        return (self.mean + scaled).astype(np.float32)

    def log_density(self, pixels: HostArray) -> HostArray:
        """Difference between the log-densities of pixels and of their features.

        Parameters
        ----------
        pixels
            Pixels x in [0, 1], (n, num_pixels).

        Returns
        -------
        float64 (n,)
            The difference log p(x) - log p(f) for each row, in nats.
        """
        constant = -np.log(self.scale).sum()
        if not self.basis.size:
            return np.full(len(pixels), constant)
        centred = pixels - self.mean
        left_out = np.square(centred).sum(axis=1) - np.square(centred @ self.basis).sum(axis=1)
        directions = len(self.mean) - self.num_features
        return constant - 0.5 * (left_out / self.residual + directions * np.log(2 * np.pi * self.residual))
