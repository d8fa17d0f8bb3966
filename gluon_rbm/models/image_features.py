"""How images become the features that an RBM of Gaussian units takes, and features images.

    images -> (the top layer of a network of multinary RBMs ->) standardized or whitened values

With a network the RBM stands on top of it, in place of whatever drew the network's top layer: a deep belief network
(Hinton, Osindero & Teh 2006) whose top has real noise.
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
from gluon_rbm.models import networks
from gluon_rbm.models.deep_belief import DeepBeliefNetwork
from gluon_rbm.models.files import parameter_file, read_arrays
from gluon_rbm.models.gaussian_rbm import GaussianParameters

__all__ = ["Code", "ImageFeatures", "read_gaussian"]

_NETWORK = "network."
_ROWS_AT_ONCE = 200


class Code(NamedTuple):
    """What a network's top layer makes of images: its means, as fractions of their maximum."""

    network: DeepBeliefNetwork
    description: networks.Description

    def of(self, images: HostArray, maximum: float) -> HostArray:
        """The code of images (n, height, width[, 3]), whose white pixels are `maximum`: float32 (n, units)."""
        return networks.features(self.network, self.description, images, maximum=maximum)

    def images(self, code: HostArray) -> HostArray:
        """The means of the images below a code, in [0, 1]: float32 (n, num_pixels). Values beyond the units' end."""
        top = self.network.rbms[-1].hidden_units.maximum
        context = self.network.rbms[0].interaction_weight.list_ctx()[0]
        rows = []
        for start in range(0, len(code), _ROWS_AT_ONCE):
            values = code[start : start + _ROWS_AT_ONCE]
            values = np.maximum(values, 0) if top is None else values.clip(0, 1) * top
            below = self.network.down(from_host(values.astype(np.float32), context))
            rows.append(networks.to_images(below, self.description))
        return np.concatenate(rows)


class ImageFeatures(NamedTuple):
    """From images to features and back; code : None without a network."""

    standardization: Standardization
    code: Code | None = None

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray]) -> ImageFeatures:
        """What `arrays` returned. Raises ValueError where a network is none."""
        found = {name[len(_NETWORK) :]: array for name, array in arrays.items() if name.startswith(_NETWORK)}
        standardization = Standardization.from_arrays({name: array.asnumpy() for name, array in arrays.items()})
        return cls(standardization, Code(*networks.from_arrays(found)) if found else None)

    def arrays(self) -> dict[str, HostArray]:
        """By name, for a file of parameters."""
        network = networks.arrays(*self.code) if self.code else {}
        return {
            **self.standardization.arrays(),
            **{_NETWORK + name: array.asnumpy() for name, array in network.items()},
        }

    @property
    def num_pixels(self) -> int:
        """Of an image, times colours."""
        shape = self.code.description["image_shape"] if self.code else self.standardization.mean.shape
        return math.prod(shape)

    def features(self, images: HostArray, maximum: float) -> HostArray:
        """Features of images, or with a network of their code: float32 (n, num_features)."""
        return self.standardization.features(to_visible(images, maximum))

    def images(self, features: Any) -> HostArray:
        """What features show, in [0, 1]: float32 (n, num_pixels)."""
        values = self.standardization.pixels(features)
        return self.code.images(values) if self.code else values.clip(0, 1)


def read_gaussian(path: str | os.PathLike[str]) -> tuple[GaussianParameters, ImageFeatures]:
    """The parameters of a run of `train-gaussian`, and how images become features of it.

    Raises InputError when there is no such file, no such parameters in it, or they do not belong together.
    """
    path = parameter_file(path)
    arrays = read_arrays(path)
    names = [*GaussianParameters._fields, "transform_mean", "transform_scale"]
    missing = [name for name in names if name not in arrays]
    if missing:
        raise InputError("%s holds no %s; name a run of train-gaussian" % (path, " and no ".join(missing)))
    parameters = GaussianParameters(*(arrays[name] for name in GaussianParameters._fields)).checked()
    try:
        features = ImageFeatures.from_arrays(arrays)
    except ValueError as error:
        raise InputError("the network in %s is none (%s); train anew" % (path, error)) from error
    if features.standardization.num_features != parameters.scaled.num_visible:
        raise InputError(
            "%s has %d visible units and a transform to %d features; train anew"
            % (path, parameters.scaled.num_visible, features.standardization.num_features)
        )
    return parameters, features
