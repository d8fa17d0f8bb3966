"""The networks for large images at full size: each makes one real training step with two images."""

import numpy as np
import pytest

from gluon_rbm.backend.framework import mx
from gluon_rbm.models import network_features, networks
from gluon_rbm.models.deep_belief import JointContrastiveFreeEnergy
from gluon_rbm.training import network_settings

LARGE = {name: flags for name, flags in network_settings.PRESETS.items() if "image_size" in flags}


@pytest.mark.parametrize("preset", LARGE)
def test_one_step_at_full_size(preset, generator):
    flags = LARGE[preset]
    description = networks.describe((3, *flags["image_size"]), flags["channels"], flags["dense"])
    network = networks.build(description)
    network.initialize()
    loss = JointContrastiveFreeEnergy(network)
    loss.hybridize(static_alloc=True)
    trainer = mx.gluon.Trainer(network.collect_params(), "adam", {"learning_rate": flags["learning_rate"]})
    images = generator.integers(256, size=(2, *flags["image_size"], 3), dtype=np.uint8)
    visible = mx.nd.array(network_features.to_values(images, description))
    parameters = network.collect_params().values()
    before = [parameter.data().asnumpy() for parameter in parameters]
    with mx.autograd.record():
        value = loss(visible)
    value.backward()
    trainer.step(2)
    assert value.shape == (2,) and np.isfinite(value.asnumpy()).all()
    for parameter, old in zip(parameters, before):
        new = parameter.data().asnumpy()
        assert np.isfinite(new).all() and (new != old).any(), parameter.name
    size = int(np.prod(network.rbms[-1].hidden_shape))
    features = network_features.features(network, description, images)
    assert features.shape == (2, size) and ((features >= 0) & (features <= 1)).all()


def test_the_layers_equal_those_of_the_paper():
    """Hwang, Hwang & Jo 2020: 256 channels of 4 x 4, and above them 4096-1000-500-200-100.

    The network for classification, caltech-101, ends with the channels.
    """
    for preset, flags in LARGE.items():
        network = networks.build(networks.describe((3, *flags["image_size"]), flags["channels"], flags["dense"]))
        shapes = [rbm.hidden_shape for rbm in network.rbms]
        assert shapes[len(flags["channels"]) - 1] == (256, 4, 4), preset
        assert flags["dense"] == ([] if preset == "caltech-101" else [1000, 500, 200, 100])
