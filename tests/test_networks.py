"""Networks of RBMs: their descriptions, their files and their images."""

import json

import numpy as np
import pytest

from gluon_rbm.backend.arrays import from_host
from gluon_rbm.backend.framework import mx
from gluon_rbm.errors import InputError
from gluon_rbm.models import network_features, networks, units
from gluon_rbm.models.files import read_model
from gluon_rbm.training import network_settings

COLOUR = networks.describe((3, 8, 8), channels=[4, 6], dense=[5, 3], maximum=255)


def made(description, context=None):
    network = networks.build(description)
    network.initialize(ctx=context)
    return network


def bytes_of(generator, shape):
    return generator.integers(0, 256, shape, np.uint8)


# --- Descriptions ---------------------------------------------------------------------------------


def test_a_network_is_built_from_its_description():
    network = made(json.loads(json.dumps(COLOUR)))
    assert [rbm.visible_shape for rbm in network.rbms] == [(3, 8, 8), (4, 4, 4), (24,), (5,)]
    assert [rbm.hidden_shape for rbm in network.rbms] == [(4, 4, 4), (6, 2, 2), (5,), (3,)]
    assert {rbm.visible_units.maximum for rbm in network.rbms} == {255}


@pytest.mark.parametrize("visible_units", units.VISIBLE_UNITS)
@pytest.mark.parametrize("hidden_units", units.HIDDEN_UNITS)
def test_the_hidden_units_are_the_visible_units_of_the_next_rbm(visible_units, hidden_units):
    description = networks.describe((1, 4, 4), [2], [3], visible_units=visible_units, hidden_units=hidden_units)
    below, above = networks.build(description).rbms
    assert above.visible_units is below.hidden_units
    assert type(below.visible_units).__name__.lower() == visible_units
    assert type(below.hidden_units).__name__ == {"multinary": "Multinary", "relu": "NoisyReLU"}[hidden_units]


@pytest.mark.parametrize(
    "change, said",
    [
        ({"image_shape": [3, 28, 28], "channels": [4, 4, 4]}, "RBM 3 .* 7 x 7 is not divisible by the stride, 2"),
        ({"image_shape": [2, 8, 8]}, "it must be .1 or 3, height, width"),
        ({"image_shape": [1, 64], "channels": []}, "it must be .1 or 3, height, width"),
        ({"image_shape": []}, "it must be .1 or 3, height, width"),
        ({"visible_units": "gaussian", "deviation": 0}, "the deviation above 0"),
        ({"visible_units": "gaussian", "mean": float("nan")}, "pixels have mean nan"),
        ({"channels": [], "dense": []}, "at least one RBM"),
        ({"channels": [0]}, "give 1 or more"),
        ({"dense": [0]}, "give 1 or more"),
        ({"maximum": 0}, "a whole number of at least 1"),
        ({"slope": 0.0}, "above 0"),
        ({"kernel": 3}, "do not fit a stride"),
        ({"visible_units": "ternary"}, "unknown visible units"),
        ({"hidden_units": "ternary"}, "unknown hidden units"),
    ],
)
def test_impossible_descriptions_are_refused_in_one_line(change, said):
    with pytest.raises(InputError, match=said) as raised:
        networks.build({**COLOUR, **change})
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", network_settings.PRESETS)
def test_presets_can_be_built(name):
    preset = network_settings.PRESETS[name]
    shape = {"mnist": (1, 28, 28), "cifar10": (3, 32, 32)}.get(name) or (3, *preset["image_size"])
    network = networks.build(networks.describe(shape, preset["channels"], preset.get("dense", ())))
    if preset.get("dense"):  # the paper's generators
        assert network.rbms[len(preset["channels"])].visible_shape == (4096,)


# --- Files ----------------------------------------------------------------------------------------


def test_a_saved_network_is_read_back(tmp_path, ctx, generator):
    network, images = made(COLOUR, ctx), bytes_of(generator, (5, 8, 8, 3))
    path = str(tmp_path / "rbm.params")
    networks.save(path, network, COLOUR)
    for place in (path, str(tmp_path)):
        again, description = networks.read(place, ctx)
        assert description == COLOUR
        np.testing.assert_array_equal(
            network_features.features(again, COLOUR, images), network_features.features(network, COLOUR, images)
        )


@pytest.mark.parametrize("quantized", [False, True])
def test_descriptions_of_earlier_versions_are_read(quantized, tmp_path, generator):
    """They have `whole` in place of `quantized`, or neither."""
    today = {**COLOUR, "quantized": quantized}
    earlier = {name: value for name, value in today.items() if name != "quantized"}
    network, images = made(COLOUR), bytes_of(generator, (3, 8, 8, 3))
    kinds = [{**earlier, "whole": quantized}] + [earlier] * (not quantized)
    for description in kinds:
        networks.save(str(tmp_path / "rbm.params"), network, description)
        again, found = networks.read(str(tmp_path / "rbm.params"))
        assert found == today and list(found) == list(today)
        np.testing.assert_array_equal(
            network_features.features(again, found, images), network_features.features(network, today, images)
        )
        assert len(networks.build(description).rbms) == len(network.rbms)


def test_files_that_hold_no_network_are_refused(tmp_path):
    network, whole = made(COLOUR), tmp_path / "rbm.params"
    networks.save(str(whole), network, COLOUR)
    content = networks.arrays(network, COLOUR)
    cases = {"missing": None, "cut.params": whole.read_bytes()[:-100], "text.params": b"no parameters"}
    for name, data in cases.items():
        if data is not None:
            (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError, match="cannot be read"):
            networks.read(str(tmp_path / name))
    text = from_host(np.frombuffer(b"{", np.uint8))
    fewer = {name: array for name, array in content.items() if name != "1.visible_layer_bias"}
    foreign = {"a": mx.nd.zeros(3)}
    others = [
        {"description": from_host(np.frombuffer(json.dumps({**COLOUR, **change}).encode(), np.uint8))}
        for change in ({"colour": 1}, {"image_shape": []}, {"kernel": float("inf")}, {"dense": ["a"]})
    ]
    others += [{"description": text}, {"0.interaction_weight": content["0.interaction_weight"] * np.nan}]
    for arrays in (foreign, fewer, *({**content, **other} for other in others)):
        mx.nd.save(str(tmp_path / "other.params"), arrays)
        with pytest.raises(InputError, match="is not a network|holds values that are not finite"):
            networks.read(str(tmp_path / "other.params"))
    with pytest.raises(InputError, match="is a network of train-multinary"):
        read_model(str(whole))


# --- Images ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(4, 8, 8, 3), (4, 8, 8)])
@pytest.mark.parametrize("visible_units", units.VISIBLE_UNITS)
@pytest.mark.parametrize("maximum", [1, 15, 255])
def test_images_become_values_and_back(shape, visible_units, maximum, generator):
    images = bytes_of(generator, shape)
    channels = 3 if len(shape) == 4 else 1
    own = {"mean": 0.4, "deviation": 0.3} if visible_units == "gaussian" else {}
    description = networks.describe((channels, 8, 8), dense=[2], maximum=maximum, visible_units=visible_units, **own)
    values = network_features.to_values(images, description)
    assert values.shape == (4, channels, 8, 8) and values.dtype == np.float32 and values.flags.c_contiguous
    expected = images / 255
    scaled = (expected - 0.4) / 0.3 if own else maximum * expected
    np.testing.assert_allclose(values[2, -1, 3, 5], np.atleast_1d(scaled[2, 3, 5])[-1], rtol=1e-5, atol=1e-6)
    for given in (values, mx.nd.array(values)):
        np.testing.assert_allclose(network_features.to_images(given, description), expected.reshape(4, -1), atol=1e-6)
    np.testing.assert_allclose(
        network_features.to_values(expected.astype("float32"), description), values, rtol=1e-5, atol=1e-5
    )


def test_pixels_of_8_bits_are_values_from_0_to_255(generator):
    images = bytes_of(generator, (3, 8, 8, 3))
    np.testing.assert_array_equal(network_features.to_values(images, COLOUR), images.transpose(0, 3, 1, 2))


@pytest.mark.parametrize(
    "images, maximum, said",
    [
        (np.zeros((2, 8, 8), "uint8"), None, "trained on colour images of 8 x 8 pixels"),
        (np.zeros((2, 9, 8, 3), "uint8"), None, "but the network was trained on"),
        (np.zeros((2, 192), "uint8"), None, "but the network was trained on"),
        (np.full((2, 8, 8, 3), 1.5), None, "scale them to 0 to 1"),
        (np.full((2, 8, 8, 3), -0.5), None, "scale them to 0 to 1"),
        (np.full((2, 8, 8, 3), np.nan), None, "scale them to 0 to 1"),
        (np.full((2, 8, 8, 3), 17, "uint8"), 16, "scale them to 0 to 16"),
    ],
)
def test_images_of_another_kind_are_refused(images, maximum, said):
    with pytest.raises(InputError, match=said):
        network_features.to_values(images, COLOUR, maximum)


def test_features_do_not_depend_on_batches(generator, monkeypatch):
    network, images = made(COLOUR), bytes_of(generator, (7, 8, 8, 3))
    found = network_features.features(network, COLOUR, images, batch_size=3)
    assert found.shape == (7, 3) and found.dtype == np.float32 and 0 <= found.min() and found.max() <= 1
    np.testing.assert_allclose(found, network_features.features(network, COLOUR, images), rtol=1e-5)
    assert network_features.features(network, COLOUR, images[:0]).shape == (0, 3)
    counts, transform = [], network.transform
    monkeypatch.setattr(
        network, "transform", lambda values, *how: counts.append(len(values)) or transform(values, *how)
    )
    monkeypatch.setattr(network_features, "_LAYER_VALUES", 2 * 3 * 8 * 8 + 1)  # two images
    np.testing.assert_allclose(found, network_features.features(network, COLOUR, images), rtol=1e-5)
    assert counts == [2, 2, 2, 1]


# --- Start of training, quantized values, pooled features -----------------------------------------


def test_weights_and_hidden_biases_start_where_the_description_says(seed):
    description = networks.describe((1, 12, 12), [40], maximum=255, initial_deviation=0.1, initial_hidden_bias=-5)
    network = networks.build(description)
    mx.random.seed(seed)
    networks.initialize(network, description)
    (rbm,) = network.rbms
    weight = rbm.interaction_weight.data().asnumpy()
    # 5 standard errors of the standard deviation of this many normal numbers
    assert abs(weight.std() - 0.1) < 5 * 0.1 / np.sqrt(2 * weight.size)
    assert (rbm.hidden_layer_bias.data().asnumpy() == -5 * 255).all()
    assert (rbm.visible_layer_bias.data().asnumpy() == 0).all()
    mx.random.seed(seed)
    networks.initialize(network, description)
    np.testing.assert_array_equal(rbm.interaction_weight.data().asnumpy(), weight)


def test_quantized_values_are_the_nearest_whole_numbers():
    images = np.array([[[0, 127], [128, 255]]], np.uint8)
    values = [
        network_features.to_values(
            images, networks.describe((1, 2, 2), dense=[1], maximum=maximum, quantized=True)
        ).ravel()
        for maximum in (1, 3, 255)
    ]
    np.testing.assert_array_equal(values, [[0, 0, 1, 1], [0, 1, 2, 3], [0, 127, 128, 255]])


def test_pooled_features_are_means_over_squares(generator):
    description = networks.describe((1, 8, 8), [3])
    network = made(description)
    images = bytes_of(generator, (5, 8, 8))
    hidden = network.rbms[0].mean_hidden(mx.nd.array(network_features.to_values(images, description))).asnumpy() / 255
    expected = [
        hidden[:, :, top : top + 2, left : left + 2].mean(axis=(2, 3)) for top in (0, 2) for left in (0, 2)
    ]  # the squares of each filter, from the top left on
    found = network_features.features(network, description, images, pool=2)
    np.testing.assert_allclose(found.reshape(5, 3, 4), np.moveaxis(expected, 0, 2), rtol=1e-5)
    assert network_features.features(network, description, images[:0], pool=2).shape == (0, 12)


@pytest.mark.parametrize(
    "layers, said",
    [({"channels": [3]}, "choose a pool of 1, 2, 4"), ({"channels": [3], "dense": [4]}, "the top layer is dense")],
)
def test_a_pool_that_does_not_fit_is_refused(layers, said):
    description = networks.describe((1, 8, 8), **layers)
    with pytest.raises(InputError, match=said):
        network_features.features(made(description), description, np.zeros((2, 8, 8), np.uint8), pool=3)


def test_sampled_features_are_values_of_units(seed, generator):
    description = networks.describe((1, 8, 8), [3], maximum=1)
    network = made(description)
    images = bytes_of(generator, (400, 8, 8))
    mx.random.seed(seed)
    drawn = network_features.features(network, description, images, sampled=True)
    means = network_features.features(network, description, images)
    assert set(np.unique(drawn)) == {0, 1}
    error = np.sqrt((means * (1 - means)).sum()) / means.size
    assert abs(drawn.mean(dtype="float64") - means.mean(dtype="float64")) < 5 * error


@pytest.mark.parametrize(
    "description",
    [
        "[" * 100000 + "]" * 100000,
        '{"dense": [%s]}' % ("9" * 5000),
        "[1e999]",
        "NaN",
        "\ud800".encode("utf-8", "replace").decode(),
    ],
    ids=["deep", "huge", "infinite", "nan", "text"],
)
def test_hostile_descriptions_end_with_one_line(description, tmp_path):
    file = str(tmp_path / "rbm.params")
    text = np.frombuffer(description.encode(), np.uint8)
    mx.nd.save(file, {"description": mx.nd.array(text, dtype="uint8")})
    with pytest.raises(InputError, match="is not a network of train-multinary") as caught:
        networks.read(file)
    assert "\n" not in str(caught.value)
