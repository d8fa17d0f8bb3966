"""Features of real images that an RBM of Gaussian units takes: pixels with mean 0 and deviation 1, or whitened ones.

    standardized:  f = (x - mean) / scale
    whitened:      f = (x - mean) B / scale,   the columns of B the first principal directions, scale their deviations

Either kind has the density of a normal distribution of its own where f is standard normal: with independent pixels, or
with the images' covariance ("eigenfaces"; probabilistic principal components: Tipping & Bishop, J. Royal Statistical
Society B 61, 1999). What the directions leave out is taken for normal noise of one variance in all other directions.
"""

from __future__ import annotations

from typing import Mapping, NamedTuple

import numpy as np

from gluon_rbm.backend.types import HostArray
from gluon_rbm.data.batches import to_visible
from gluon_rbm.errors import InputError

__all__ = ["Standardization"]

_ROWS_AT_ONCE = 1000
_LEAST_DEVIATION = 1e-3  # of pixels in [0, 1]
_POWERS = 7  # iterations of the search for directions


class Standardization(NamedTuple):
    """How images become features, and back; float64 arrays.

    mean : (num_pixels,), in [0, 1]
    scale : (num_features,)
    basis : (num_pixels, num_features), or (0, 0) where pixels are features
    residual : (1,), the variance of each direction that the basis leaves out; 0 where there is none
    """

    mean: HostArray
    scale: HostArray
    basis: HostArray
    residual: HostArray

    @classmethod
    def of(cls, images: HostArray, maximum: float, num_directions: int = 0) -> Standardization:
        """That of images (n, ...); num_directions : of the whitening, or 0 for pixels.

        Raises InputError where images are all alike, or fewer than directions.
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
            raise InputError("the training images are all alike; nothing can be learned from them")
        deviation[deviation < _LEAST_DEVIATION] = 1  # pixels of one value stay at 0
        return cls(mean, deviation, np.zeros((0, 0)), np.zeros(1))

    @classmethod
    def _whitening(cls, pixels: HostArray, num_directions: int) -> Standardization:
        """By a randomized search for the directions (Halko, Martinsson & Tropp, SIAM Review 53, 2011).

        What it finds is turned so that features are uncorrelated on these pixels exactly.
        """
        from sklearn.utils.extmath import randomized_svd

        num_images, num_pixels = pixels.shape
        if num_directions >= min(num_images, num_pixels):
            raise InputError(
                "--whiten is %d; it must be below the number of training images, %d, and of their values, %d"
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
                "the training images differ in %d directions; choose a smaller --whiten"
                % (scale >= _LEAST_DEVIATION).sum()
            )
        left = (
            sum(float(np.square(column).sum(dtype=np.float64)) for column in centred.T) / num_images - variances.sum()
        )
        residual = np.maximum(left / (num_pixels - num_directions), 0).reshape(1)
        return cls(mean, scale, directions @ rotation[:, ::-1], residual)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, HostArray]) -> Standardization:
        """What `arrays` returned."""
        found = {name: arrays.get("transform_" + name, np.zeros((0, 0))) for name in cls._fields}
        return cls(**{name: np.asarray(array, np.float64) for name, array in found.items()})

    def arrays(self) -> dict[str, HostArray]:
        """By name, float32, for a file of parameters; without a basis where there is none."""
        return {
            "transform_" + name: np.asarray(array, np.float32) for name, array in self._asdict().items() if array.size
        }

    @property
    def num_features(self) -> int:
        return len(self.scale)

    def features(self, pixels: HostArray) -> HostArray:
        """f of pixels in [0, 1], (n, num_pixels): float32 (n, num_features)."""
        centred = (pixels - self.mean).astype(np.float32)
        if self.basis.size:
            centred = centred @ self.basis.astype(np.float32)
        return (centred / self.scale).astype(np.float32)

    def pixels(self, features: HostArray) -> HostArray:
        """x of features: float32 (n, num_pixels); not cut off at 0 and 1."""
        scaled = (features * self.scale).astype(np.float32)
        if self.basis.size:
            scaled = scaled @ self.basis.T.astype(np.float32)
        return (self.mean + scaled).astype(np.float32)

    def log_density(self, pixels: HostArray) -> HostArray:
        """log p(x) - log p(f) of each row: float64 (n,), in nats, x being pixels in [0, 1]."""
        constant = -np.log(self.scale).sum()
        if not self.basis.size:
            return np.full(len(pixels), constant)
        centred = pixels - self.mean
        left_out = np.square(centred).sum(axis=1) - np.square(centred @ self.basis).sum(axis=1)
        directions = len(self.mean) - self.num_features
        return constant - 0.5 * (left_out / self.residual + directions * np.log(2 * np.pi * self.residual))
