"""Images as features for an RBM of Gaussian units, and features back as images.

    images -> (the top layer of a network of multinary RBMs ->) standardized or whitened values

With a network, the Gaussian RBM stands on top of it and draws the network's top layer. Together
they are a deep belief network with real noise at the top (Hinton, Osindero & Teh 2006).
"""

from __future__ import annotations

import math
import os
from typing import Any, Mapping, NamedTuple

import numpy as np

from gluon_rbm.backend.arrays import from_host
from gluon_rbm.backend.types import HostArray, NDArray
from gluon_rbm.data.batches import to_visible
from gluon_rbm.data.standardization import Standardization
from gluon_rbm.errors import InputError
from gluon_rbm.models import network_features, networks
from gluon_rbm.models.deep_belief import DeepBeliefNetwork
from gluon_rbm.models.files import parameter_file, read_arrays
from gluon_rbm.models.gaussian_rbm import GaussianParameters

__all__ = ["Code", "ImageFeatures", "read_gaussian"]

_NETWORK = "network."
_ROWS_AT_ONCE = 200


class Code(NamedTuple):
    """The code of images: means of a network's top layer, as fractions of their maximum."""

    network: DeepBeliefNetwork
    description: networks.Description

    def of(self, images: HostArray, maximum: float) -> HostArray:
        """Return the code of images.

        Parameters
        ----------
        images
            Images (n, height, width) or (n, height, width, 3), values from 0 to `maximum`.
        maximum
            Pixel value of white.

        Returns
        -------
        float32 array (n, num_units)
            Codes.
        """
        return network_features.features(self.network, self.description, images, maximum=maximum)

    def images(self, code: HostArray) -> HostArray:
        """Return the means of the images below a code.

        Parameters
        ----------
        code
            Codes, (n, num_units). Values outside the range of the units are cut off.

        Returns
        -------
        float32 array (n, num_pixels)
            Images, values in [0, 1].
        """
        top = self.network.rbms[-1].hidden_units.maximum
        context = self.network.rbms[0].interaction_weight.list_ctx()[0]
        rows = []
        for start in range(0, len(code), _ROWS_AT_ONCE):
            values = code[start : start + _ROWS_AT_ONCE]
            values = np.maximum(values, 0) if top is None else values.clip(0, 1) * top
            below = self.network.down(from_host(values.astype(np.float32), context))
            rows.append(network_features.to_images(below, self.description))
        return np.concatenate(rows)


class ImageFeatures(NamedTuple):
    """Images as features, and features back as images."""

    standardization: Standardization
    code: Code | None = None  #: None without a network

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray]) -> ImageFeatures:
        """Return features from arrays that `ImageFeatures.arrays` made.

        Parameters
        ----------
        arrays
            Name to NDArray.

        Returns
        -------
        ImageFeatures
            The features.

        Raises
        ------
        ValueError
            The arrays hold a network that cannot be.
        """
        found = {name[len(_NETWORK) :]: array for name, array in arrays.items() if name.startswith(_NETWORK)}
        standardization = Standardization.from_arrays({name: array.asnumpy() for name, array in arrays.items()})
        return cls(standardization, Code(*networks.from_arrays(found)) if found else None)

    def arrays(self) -> dict[str, HostArray]:
        """Return all arrays for a file of parameters.

        Returns
        -------
        dict
            Name to NumPy array.
        """
        network = networks.arrays(*self.code) if self.code else {}
        return {
            **self.standardization.arrays(),
            **{_NETWORK + name: array.asnumpy() for name, array in network.items()},
        }

    @property
    def num_pixels(self) -> int:
        """Number of pixels of an image, times colours.

        Returns
        -------
        int
            The number.
        """
        shape = self.code.description["image_shape"] if self.code else self.standardization.mean.shape
        return math.prod(shape)

    def features(self, images: HostArray, maximum: float) -> HostArray:
        """Return the features of images.

        Parameters
        ----------
        images
            As in `Code.of`; if there is a network, their codes instead.
        maximum
            The value that means 1.

        Returns
        -------
        float32 array (n, num_features)
            Features.
        """
        return self.standardization.features(to_visible(images, maximum))

    def images(self, features: Any) -> HostArray:
        """Return the images that features show.

        Parameters
        ----------
        features
            Features, (n, num_features).

        Returns
        -------
        float32 array (n, num_pixels)
            Images, values in [0, 1].
        """
        values = self.standardization.pixels(features)
        return self.code.images(values) if self.code else values.clip(0, 1)


def read_gaussian(path: str | os.PathLike[str]) -> tuple[GaussianParameters, ImageFeatures]:
    """Read the parameters and the image features of a run of train-gaussian.

    Parameters
    ----------
    path
        A run folder, or its file of parameters.

    Returns
    -------
    parameters : GaussianParameters
        NDArrays on the CPU.
    features : ImageFeatures
        How images become features.

    Raises
    ------
    InputError
        There is no such file, or its arrays are missing or do not belong together.
    """
    path = parameter_file(path)
    arrays = read_arrays(path)
    names = [*GaussianParameters._fields, "transform_mean", "transform_scale"]
    missing = [name for name in names if name not in arrays]
    if missing:
        raise InputError("%s has no %s; give a run of train-gaussian" % (path, " and no ".join(missing)))
    parameters = GaussianParameters(*(arrays[name] for name in GaussianParameters._fields)).checked()
    try:
        features = ImageFeatures.from_arrays(arrays)
    except ValueError as error:
        raise InputError("the network in %s is not valid (%s); train again" % (path, error)) from error
    if features.standardization.num_features != parameters.scaled.num_visible:
        raise InputError(
            "%s has %d visible units, but its transform has %d features; train again"
            % (path, parameters.scaled.num_visible, features.standardization.num_features)
        )
    return parameters, features
