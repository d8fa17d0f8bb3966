"""Images of users. (tests/test_datasets.py has folders of images as data sets.)"""

import os
import threading

import numpy as np
import pytest
from PIL import Image
from published_files import bomb

from gluon_rbm.data import datasets, image_files, transforms
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


def test_missing_pixels_are_read_where_they_are_allowed(tmp_path):
    values = np.full((2, 6, 4), 0.5)
    values[0, 1, 2] = np.nan
    path = array(tmp_path / "mine.npy", values)
    found = image_files.read_images(path, (6, 4), missing=True)
    assert np.isnan(found).nonzero()[0].tolist() == [0] and np.isnan(found[0, 6])
    with pytest.raises(InputError, match="holds NaN"):
        image_files.read_images(path, (6, 4))
    with pytest.raises(InputError, match="has missing pixels .NaN., so its images cannot be resized"):
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
        ("large.png", "5 x 7 pixels, but images of the model have 4 x 6; resize it, or give --resize"),
        ("large.npy", r"shape \(2, 7, 5\), but images of \(6, 4\) are needed"),
        ("bright.npy", "scale them into .0, 1."),
        ("counts.npy", "save floats in .0, 1. or uint8"),
        ("none.npy", "not images"),
    ],
)
def test_bad_images_are_refused(tmp_path, name, message):
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


# --- Hostile folders ------------------------------------------------------------------------------


@pytest.fixture
def folder(pixels, tmp_path):
    (tmp_path / "mine" / "a").mkdir(parents=True)
    for index, image in enumerate(pixels):
        picture(tmp_path / "mine" / "a" / ("%d.png" % index), image)
    return tmp_path / "mine"


def found(folder, skipped=None):
    return sorted(path.name for path, _ in image_files.labelled_files(folder, skipped))


def refused(call):
    with pytest.raises(InputError) as caught:
        call()
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


@pytest.mark.parametrize("kind", ["image", "folder"])
def test_links_out_of_the_folder_are_not_followed(pixels, folder, tmp_path, kind):
    (tmp_path / "outside").mkdir()
    secret = picture(tmp_path / "outside" / "secret.png", pixels[0])
    link = folder / ("b" if kind == "folder" else "a/9.png")
    link.symlink_to(secret.parent if kind == "folder" else secret)
    assert "%s is a link to a place outside %s" % (link, folder) in refused(lambda: found(folder))
    skipped = []
    assert found(folder, skipped) == ["0.png", "1.png", "2.png"] and skipped == [link]


def test_links_inside_the_folder_are_followed(folder, tmp_path):
    (folder / "a" / "3.png").symlink_to("2.png")
    (folder / "b").symlink_to("a")
    (folder / "a" / "4.png").symlink_to("4.png")  # a link to itself
    (tmp_path / "link").symlink_to(folder)
    skipped = []
    assert found(tmp_path / "link", skipped) == sorted(["0.png", "1.png", "2.png", "3.png"] * 2)


def test_train_and_test_outside_the_folder_are_refused(folder, tmp_path):
    (tmp_path / "both").mkdir()
    for part in ("train", "test"):
        (tmp_path / "both" / part).symlink_to(folder)
    said = refused(lambda: datasets.load("image-folder", tmp_path / "both"))
    assert "train is a link to a place outside" in said


def test_pipes_and_devices_are_no_images(folder):
    os.mkfifo(folder / "a" / "pipe.png")
    (folder / "b").mkdir()
    assert found(folder) == ["0.png", "1.png", "2.png"]
    message = []
    thread = threading.Thread(
        target=lambda: message.append(refused(lambda: image_files.read_images(folder / "a" / "pipe.png", (6, 4)))),
        daemon=True,
    )
    thread.start()
    thread.join(10)
    assert message and "there is no" in message[0]


@pytest.mark.parametrize("side", [10_000, 20_000, 2**31 - 1])
def test_decompression_bombs_are_refused(folder, side):
    path = folder / "a" / "0.png"
    path.write_bytes(bomb(side))
    assert "0.png cannot be read as an image" in refused(lambda: image_files.read_images(folder, (6, 4)))
    skipped = []
    files = [path for path, _ in image_files.labelled_files(folder)]
    images, places = image_files.read_files(files, (6, 4), False, True, skipped)
    assert skipped == [path] and places == [1, 2]


@pytest.mark.parametrize(
    "content", [b"", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 6\n(x) run\n", b"\x89PNG\r\n\x1a\n" + bytes(50)]
)
def test_files_that_are_only_named_like_images_are_refused(folder, content):
    """The second content is EPS, for which Pillow would run another program if EPS were allowed."""
    (folder / "a" / "0.png").write_bytes(content)
    assert "0.png cannot be read as an image" in refused(lambda: image_files.read_images(folder, (6, 4)))


@pytest.mark.parametrize(
    "name", [b"two\nlines.png", b"not\xff\xfetext.png", b"--help.png", b"\x1b[31mred.png", b"a b\r.png"]
)
def test_odd_names(folder, name):
    path = os.path.join(os.fsencode(folder), b"a", name)
    os.rename(folder / "a" / "0.png", path)
    assert len(found(folder)) == 3
    with open(path, "wb"):
        pass
    said = refused(lambda: image_files.read_images(folder, (6, 4)))
    assert said.isprintable() and said.isascii() and "cannot be read as an image" in said


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is forbidden to root")
def test_folders_that_may_not_be_read(folder):
    (folder / "a").chmod(0)
    try:
        assert "check its permissions" in refused(lambda: found(folder))
    finally:
        (folder / "a").chmod(0o700)


# --- Resizing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(9, 11), (30, 30), (7, 40), (61, 20), (12, 12)])
@pytest.mark.parametrize("colours", [(), (3,)])
def test_images_cover_a_size_and_are_cropped_in_their_middle(size, colours):
    """The crop holds the middle of a ramp in each direction.

    A resized ramp is nearly linear, except at its ends.
    """
    height, width = 40, 60
    ramps = np.meshgrid(np.linspace(30, 220, width), np.linspace(30, 220, height))
    scale = max(size[0] / height, size[1] / width)
    for axis, ramp in enumerate(ramps):
        image = np.broadcast_to(ramp.reshape(height, width, *len(colours) * [1]), (height, width, *colours))
        found = transforms.resize_and_crop(image.round().astype(np.uint8), size)
        assert found.dtype == np.uint8 and found.shape == (*size, *colours)
        side, length = (size[1], width) if axis == 0 else (size[0], height)
        # Centres of the new pixels, in pixels of the image.
        places = (np.arange(side) + 0.5 - side / 2) / scale + length / 2 - 0.5
        inside = (places > 3 / min(scale, 1)) & (places < length - 1 - 3 / min(scale, 1))
        expected = (30 + 190 * places / (length - 1))[inside]
        assert inside.any()
        line = np.moveaxis(found, 1 - axis, 0)[inside].reshape(inside.sum(), -1)
        np.testing.assert_allclose(line, np.repeat(expected[:, None], line.shape[1], axis=1), atol=1.5)


def test_an_image_of_the_size_is_taken_as_it_is(generator):
    image = generator.integers(0, 256, (6, 4, 3), dtype=np.uint8)
    assert transforms.resize_and_crop(image, [6, 4]) is image
    np.testing.assert_array_equal(transforms.resize(image, (6, 4)), image)


def test_floats_and_bytes_are_resized_alike(generator):
    image = generator.integers(60, 200, (12, 10, 3), dtype=np.uint8)
    for size in ((5, 7), (20, 30)):
        floats = transforms.resize(image.astype(np.float32), size)
        assert floats.dtype == np.float32 and floats.shape == (*size, 3)
        np.testing.assert_allclose(floats, transforms.resize(image, size), atol=1.5)


def test_data_sets_are_cropped_and_a_users_own_images_stretched(tmp_path):
    image = np.zeros((20, 60), np.uint8)
    image[:, 20:40] = 200
    path = picture(tmp_path / "wide.png", image)
    cropped, _ = image_files.read_files([path], (10, 10), False, True)
    np.testing.assert_array_equal(cropped[0], transforms.resize_and_crop(image, (10, 10)))
    stretched = image_files.read_images(path, (10, 10), resize=True)
    np.testing.assert_array_equal(stretched[0], transforms.resize(image, (10, 10)).ravel() / np.float32(255))
    assert cropped.mean() > 190 > 80 > stretched.mean() * 255
