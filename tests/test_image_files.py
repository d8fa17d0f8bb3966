"""A user's own images. (Folders of images as a data set: tests/test_datasets.py.)"""

import numpy as np
import pytest
from PIL import Image

from gluon_rbm import image_files
from gluon_rbm.errors import InputError


def picture(path, pixels):
    Image.fromarray(pixels).save(path)
    return path


def array(path, values):
    np.save(path, values)
    return path


@pytest.fixture
def pixels(generator):
    return generator.integers(0, 256, (3, 6, 4), dtype=np.uint8)


def test_a_picture_and_a_folder_of_pictures(pixels, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    for index, image in enumerate(pixels):
        picture(folder / ("%d.png" % index), image)
    expected = (pixels / np.float32(255)).reshape((3, 24))
    np.testing.assert_array_equal(image_files.read_images(folder, (6, 4)), expected)
    np.testing.assert_array_equal(image_files.read_images(folder / "1.png", (6, 4)), expected[1:2])


@pytest.mark.parametrize("shape", [(3, 24), (3, 6, 4)])
@pytest.mark.parametrize("kind", ["bytes", "floats"])
def test_an_array(pixels, tmp_path, shape, kind):
    values = pixels if kind == "bytes" else pixels / 255
    found = image_files.read_images(array(tmp_path / "mine.npy", values.reshape(shape)), (6, 4))
    assert found.dtype == np.float32 and found.shape == (3, 24)
    np.testing.assert_allclose(found, pixels.reshape((3, 24)) / 255, rtol=1e-6)


def test_one_image_in_an_array(pixels, tmp_path):
    for index, one in enumerate((pixels[0], pixels[0].ravel())):
        assert image_files.read_images(array(tmp_path / ("%d.npy" % index), one), (6, 4)).shape == (1, 24)


def test_missing_pixels_where_they_may_be(tmp_path):
    values = np.full((2, 6, 4), 0.5)
    values[0, 1, 2] = np.nan
    path = array(tmp_path / "mine.npy", values)
    found = image_files.read_images(path, (6, 4), missing=True)
    assert np.isnan(found).nonzero()[0].tolist() == [0] and np.isnan(found[0, 6])
    with pytest.raises(InputError, match="holds NaN"):
        image_files.read_images(path, (6, 4))
    with pytest.raises(InputError, match="missing pixels cannot be resized"):
        image_files.read_images(path, (3, 2), resize=True, missing=True)


def test_resizing_keeps_the_mean(tmp_path):
    values = np.zeros((2, 8, 8), np.float32)
    values[1] = 1
    small = image_files.read_images(array(tmp_path / "mine.npy", values), (4, 4), resize=True)
    np.testing.assert_allclose(small, np.repeat([[0.0], [1.0]], 16, axis=1), atol=1e-6)
    large = image_files.read_images(picture(tmp_path / "one.png", np.full((8, 8), 51, np.uint8)), (12, 10), resize=True)
    np.testing.assert_allclose(large, np.full((1, 120), 0.2), atol=1 / 255)


def test_colour_for_a_model_in_colour(generator, tmp_path):
    values = generator.integers(0, 256, (6, 4, 3), dtype=np.uint8)
    path = picture(tmp_path / "colour.png", values)
    np.testing.assert_allclose(image_files.read_images(path, (6, 4, 3))[0], values.ravel() / 255, rtol=1e-6)
    assert image_files.read_images(path, (6, 4)).shape == (1, 24)  # as grey
    assert image_files.resized(values[None] / np.float32(255), (3, 2, 3)).shape == (1, 3, 2, 3)
    with pytest.raises(InputError, match="grey images cannot be compared with images in colour"):
        image_files.resized(np.zeros((1, 6, 4), np.float32), (6, 4, 3))


@pytest.mark.parametrize(
    "name, message",
    [
        ("nowhere.png", "there is no .*nowhere.png"),
        ("text.png", "text.png cannot be read as an image"),
        ("text.npy", "write it with numpy.save"),
        ("empty", "holds no images"),
        ("large.png", "5 x 7 pixels where images of the model have 4 x 6; resize it, or give --resize"),
        ("large.npy", r"shape \(2, 7, 5\) where images of \(6, 4\) are needed"),
        ("bright.npy", "outside .0, 1."),
        ("counts.npy", "save floats in .0, 1. or uint8"),
        ("none.npy", "holds no images"),
    ],
)
def test_what_cannot_be_used(tmp_path, name, message):
    (tmp_path / "empty").mkdir()
    for text in ("text.png", "text.npy"):
        (tmp_path / text).write_text("no image")
    picture(tmp_path / "large.png", np.zeros((7, 5), np.uint8))
    array(tmp_path / "large.npy", np.zeros((2, 7, 5)))
    array(tmp_path / "bright.npy", np.full((2, 6, 4), 1.5))
    array(tmp_path / "counts.npy", np.zeros((2, 6, 4), int))
    array(tmp_path / "none.npy", np.zeros((0, 6, 4)))
    with pytest.raises(InputError, match=message) as caught:
        image_files.read_images(tmp_path / name, (6, 4))
    assert "\n" not in str(caught.value)
