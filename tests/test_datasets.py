"""Data sets: reading, bad files, downloads from a server on this computer, and batches."""

import gzip
import logging
import os
import subprocess
import sys
import threading
import time
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from published_files import IDX_NAMES, Server, cifar10_archive, cifar10_members, idx_bytes, sha256

from gluon_rbm.data import batches, datasets, downloads, splits
from gluon_rbm.data.batches import BINARIZE, iterate_batches, to_visible
from gluon_rbm.data.statistics import mean_image
from gluon_rbm.errors import InputError

REAL_DATA = os.environ.get("MXNET_RBM_DATA")
IMAGES_NAME, LABELS_NAME = IDX_NAMES[:2]


@pytest.fixture(autouse=True)
def _own_folders(tmp_path, monkeypatch):
    """Hide the user's data, cache and proxy from the tests."""
    monkeypatch.delenv("MXNET_RBM_DATA", raising=False)
    monkeypatch.setenv("MXNET_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def fails(call, *parts):
    """Check that `call` raises InputError with one line that contains all `parts`; return it."""
    with pytest.raises(InputError) as caught:
        call()
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    for part in parts:
        assert str(part) in message
    return message


# --- Small published data sets --------------------------------------------------------------------


class Published:
    """A data set like MNIST, of 5 + 3 images with 4 x 3 pixels, and its entry in the sources."""

    def __init__(self, monkeypatch, name="mnist", content_hashes=True):
        self.monkeypatch, self.name = monkeypatch, name
        numbers = np.arange(8 * 12, dtype=np.uint8)
        self.arrays = [
            numbers[: 5 * 12].reshape(5, 4, 3),
            np.array([3, 1, 4, 1, 5], np.uint8),
            numbers[5 * 12 :].reshape(3, 4, 3),
            np.array([9, 2, 6], np.uint8),
        ]
        self.contents = dict(zip(IDX_NAMES, map(idx_bytes, self.arrays)))
        self.archives = {file: gzip.compress(content) for file, content in self.contents.items()}
        self.content_hashes = content_hashes
        self.list_at()

    def list_at(self, *mirrors):
        """Put the data set, with these mirrors, into the sources."""
        files = [
            downloads.RemoteFile(
                name, mirrors, sha256(self.archives[name]), sha256(self.contents[name]) if self.content_hashes else None
            )
            for name in IDX_NAMES
        ]
        self.monkeypatch.setitem(downloads.SOURCES, self.name, files)

    def replace(self, name, content):
        """Publish other content under a file name."""
        self.contents[name], self.archives[name] = content, gzip.compress(content)
        self.list_at()

    def write(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name, archive in self.archives.items():
            (folder / name).write_bytes(archive)
        return folder

    def check(self, dataset):
        found = [dataset.train_images, dataset.train_labels, dataset.test_images, dataset.test_labels]
        for array, expected in zip(found, self.arrays):
            np.testing.assert_array_equal(array, expected)
        assert [array.dtype for array in found] == [np.uint8, np.int32, np.uint8, np.int32]


@pytest.fixture
def published(monkeypatch):
    return Published(monkeypatch)


@pytest.mark.parametrize("place", ["given", "given/mnist", "environment", "environment/mnist", "home/datasets/mnist"])
def test_files_are_found_in_each_folder(published, tmp_path, monkeypatch, place):
    monkeypatch.setenv("MXNET_RBM_DATA", str(tmp_path / "environment"))
    (tmp_path / "given").mkdir()
    published.write(tmp_path / place)
    dataset = datasets.load("mnist", data_dir=tmp_path / "given")
    published.check(dataset)
    assert (dataset.name, dataset.maximum, dataset.image_shape, dataset.num_visible) == ("mnist", 255, (4, 3), 12)


def test_search_order(tmp_path, monkeypatch):
    monkeypatch.setenv("MXNET_RBM_DATA", str(tmp_path / "b"))
    expected = ["a", "a/digits", "b", "b/digits", "home/datasets/digits"]
    assert downloads.search_folders("digits", str(tmp_path / "a")) == [tmp_path / name for name in expected]
    monkeypatch.setenv("MXNET_RBM_DATA", "")
    monkeypatch.delenv("MXNET_HOME")
    monkeypatch.setenv("APPDATA" if os.name == "nt" else "HOME", str(tmp_path))
    home = tmp_path / ("mxnet" if os.name == "nt" else ".mxnet")
    assert downloads.search_folders("digits") == [home / "datasets" / "digits"]


def test_decompressed_and_recompressed_files_are_accepted(published, tmp_path):
    for level, (name, content) in enumerate(published.contents.items()):
        if level % 2:
            (tmp_path / name[:-3]).write_bytes(content)
        else:
            (tmp_path / name).write_bytes(gzip.compress(content, level, mtime=1))
            assert sha256((tmp_path / name).read_bytes()) != sha256(published.archives[name])
    published.check(datasets.load("mnist", tmp_path))


def test_without_a_content_hash_only_the_published_archive_is_accepted(monkeypatch, tmp_path):
    published = Published(monkeypatch, "fashion-mnist", content_hashes=False)
    path = published.write(tmp_path) / IMAGES_NAME
    published.check(datasets.load("fashion-mnist", tmp_path))
    path.write_bytes(gzip.compress(published.contents[IMAGES_NAME], 1, mtime=1))
    fails(lambda: datasets.load("fashion-mnist", tmp_path), path, "published archive", "delete it")
    path.unlink()
    plain = tmp_path / IMAGES_NAME[:-3]
    plain.write_bytes(published.contents[IMAGES_NAME])
    fails(lambda: datasets.load("fashion-mnist", tmp_path), plain, "published archive", "delete it")


def test_files_of_another_data_set_are_named(published, monkeypatch, tmp_path):
    fashion = Published(monkeypatch, "fashion-mnist")
    fashion.replace(IMAGES_NAME, idx_bytes(np.zeros((5, 4, 3), np.uint8)))
    path = published.write(tmp_path) / IMAGES_NAME
    fails(lambda: datasets.load("fashion-mnist", tmp_path), path, "another data set, mnist", "move it")


BAD_FILES = {
    "empty": (lambda content: b"", "is empty"),
    "half an archive": (lambda content: gzip.compress(content)[:40], "truncated"),
    "archive without its end": (lambda content: gzip.compress(content)[:-4], "truncated"),
    "archive with wrong checksum": (lambda content: gzip.compress(content)[:-8] + bytes(8), "truncated or not a whole"),
    "archive with garbage inside": (lambda content: gzip.compress(content)[:20] + bytes(99), "truncated or not"),
    "empty archive": (lambda content: gzip.compress(b""), "magic number"),
    "web page": (lambda content: b"<html>not found</html>", "magic number"),
    "only half a header": (lambda content: content[:6], "magic number"),
    "labels": (lambda content: idx_bytes(np.zeros(5, np.uint8)) + bytes(20), "1 dimensions instead of 3"),
    "floats": (lambda content: idx_bytes(np.zeros((5, 4, 3), ">f4"), 0x0D), "type 0x0d"),
    "too short": (lambda content: content[:-1], "declares 60 bytes of data but holds 59"),
    "too long": (lambda content: gzip.compress(content + b"\0"), "declares 60 bytes of data but holds 61"),
    "other content": (lambda content: gzip.compress(content[:-1] + b"\xff"), "its content has another hash"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_idx_file(published, tmp_path, case):
    damage, part = BAD_FILES[case]
    path = published.write(tmp_path) / IMAGES_NAME
    path.write_bytes(damage(published.contents[IMAGES_NAME]))
    before = path.read_bytes()
    fails(lambda: datasets.load("mnist", tmp_path), path, part, "delete it to download it again")
    assert path.read_bytes() == before


def test_an_archive_that_would_fill_the_memory(published, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "_LARGEST", 10**6)
    path = published.write(tmp_path) / IMAGES_NAME
    path.write_bytes(gzip.compress(bytes(10**7)))
    fails(lambda: datasets.load("mnist", tmp_path), path, "would unpack to more than 1000000 bytes")


def test_images_and_labels_must_match(published, tmp_path):
    published.replace(LABELS_NAME, idx_bytes(np.zeros(4, np.uint8)))
    published.write(tmp_path)
    fails(lambda: datasets.load("mnist", tmp_path), IMAGES_NAME, "5 images", "4 labels")


def test_hash_table():
    hashes = [sha for files in downloads.SOURCES.values() for file in files for sha in file[2:] if sha is not None]
    assert len(hashes) == len(set(hashes)) == 4 + 4 + 4 + 1
    assert all(len(sha) == 64 and int(sha, 16) for sha in hashes)
    assert [file.name for file in downloads.SOURCES["fashion-mnist"]] == IDX_NAMES


# --- CIFAR-10 -------------------------------------------------------------------------------------


def publish_cifar10(monkeypatch, folder, archive, sha=None):
    file = downloads.RemoteFile("cifar-10-binary.tar.gz", (), sha or sha256(archive))
    monkeypatch.setitem(downloads.SOURCES, "cifar10", [file])
    (folder / file.name).write_bytes(archive)
    return folder / file.name


def test_cifar10(monkeypatch, tmp_path):
    publish_cifar10(monkeypatch, tmp_path, cifar10_archive(cifar10_members()))
    dataset = datasets.load("cifar10", tmp_path)
    assert (dataset.image_shape, dataset.num_visible, dataset.maximum) == ((32, 32, 3), 3072, 255)
    assert dataset.train_images.shape == (10, 32, 32, 3) and dataset.train_images.dtype == np.uint8
    # Batches are in the order of the numbers in their names, not in the order of the archive.
    assert dataset.train_labels.tolist() == [2, 3, 0, 1, 4, 5, 6, 7, 8, 9] and dataset.train_labels.dtype == np.int32
    assert dataset.test_labels.tolist() == [10, 11]
    assert dataset.train_images[0, 7, 9].tolist() == [1, 107, 209]
    assert dataset.test_images[1, 31, 0].tolist() == [5, 131, 200]
    assert [path.name for path in tmp_path.iterdir()] == ["cifar-10-binary.tar.gz"]


def test_bad_cifar10(monkeypatch, tmp_path):
    members = cifar10_members()
    good = cifar10_archive(members)
    without = cifar10_archive({name: content for name, content in members.items() if name != "test_batch.bin"})
    short = cifar10_archive({**members, "data_batch_4.bin": members["data_batch_4.bin"][:-1]})
    cases = [
        (b"", "is empty"),
        (good[: len(good) // 2], "truncated"),
        (b"<html></html>", "not a whole gzip archive"),
        (gzip.compress(b"no tar" * 999), "not a tar.gz archive"),
        (without, "lacks test_batch.bin"),
        (short, "data_batch_4.bin of 6145 bytes"),
    ]
    for archive, part in cases:
        path = publish_cifar10(monkeypatch, tmp_path, archive)
        fails(lambda: datasets.load("cifar10", tmp_path), path, part, "delete it to download it again")
    for archive in (good[:-4], cifar10_archive({**members, "readme.html": b"goodbye"})):
        path = publish_cifar10(monkeypatch, tmp_path, archive, sha=sha256(good))
        fails(lambda: datasets.load("cifar10", tmp_path), path, "hash", "delete it to download it again")


# --- Downloads ------------------------------------------------------------------------------------


@pytest.fixture
def server():
    server = Server()
    yield server
    server.closed = True
    server.http.shutdown()
    server.http.server_close()


@pytest.mark.parametrize("bad", ["absent", "wrong", "cut", "refused"])
def test_the_next_mirror_is_tried(published, server, tmp_path, bad):
    server.folders["good"] = published.archives
    server.folders["cut"] = published.archives
    server.cut.add("cut")
    wrong = gzip.compress(idx_bytes(np.zeros((5, 4, 3), np.uint8)))
    server.folders["wrong"] = dict.fromkeys(IDX_NAMES, wrong)
    (tmp_path / "new").mkdir()
    # Nothing listens on port 9.
    first = "http://127.0.0.1:9/" if bad == "refused" else server.mirror(bad)
    published.list_at(first, server.mirror("good"))
    published.check(datasets.load("mnist", tmp_path / "new"))
    files = {path.name: path.read_bytes() for path in (tmp_path / "new").iterdir()}
    assert files == published.archives
    asked = len(server.requests)
    published.check(datasets.load("mnist", tmp_path / "new"))
    assert len(server.requests) == asked > 0


def test_without_data_dir_the_cache_is_filled(published, server, tmp_path):
    server.folders["good"] = published.archives
    published.list_at(server.mirror("good"))
    published.check(datasets.load("mnist", progress=False))
    assert sorted(os.listdir(tmp_path / "home" / "datasets" / "mnist")) == sorted(IDX_NAMES)


def test_only_missing_files_are_downloaded(published, server, tmp_path):
    server.folders["good"] = published.archives
    published.list_at(server.mirror("good"))
    (published.write(tmp_path) / LABELS_NAME).unlink()
    published.check(datasets.load("mnist", tmp_path))
    assert server.requests == [("good", LABELS_NAME)]


@pytest.mark.parametrize("kind", ["redirected", "endless", "slow"])
def test_endless_answers_of_mirrors_are_given_up(published, server, tmp_path, monkeypatch, kind):
    """The clock jumps by 100 seconds at each answer that a slow mirror begins."""
    monkeypatch.setattr(downloads, "_LARGEST", 10**6)
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + 100 * server.slow_answers)
    monkeypatch.setattr(downloads, "time", clock)
    server.folders["good"] = published.archives
    getattr(server, kind).add(kind)
    (tmp_path / "new").mkdir()
    published.list_at(server.mirror(kind), server.mirror("good"))
    published.check(datasets.load("mnist", tmp_path / "new"))
    assert sorted(os.listdir(tmp_path / "new")) == sorted(IDX_NAMES)
    published.list_at(server.mirror(kind))
    (tmp_path / "other").mkdir()
    fails(lambda: datasets.load("mnist", tmp_path / "other"), server.mirror(kind), "failed with")
    assert os.listdir(tmp_path / "other") == []


@pytest.mark.parametrize(
    "location",
    ["http://[::1", "http://:80:80/", "http://host:many/", "http://" + "a" * 300 + "/", "http://\u0130..x/", "file:///etc/passwd",
     "http://*/", "//", "http:///"],
)  # fmt: skip
def test_a_redirect_to_an_invalid_address(published, server, tmp_path, location):
    """After such a redirect the next mirror is tried, as after any other failure."""
    server.folders["good"] = published.archives
    # `send_header` encodes in latin-1, so the bytes that are sent are UTF-8.
    server.locations["astray"] = location.encode("utf-8").decode("latin-1")
    (tmp_path / "new").mkdir()
    published.list_at(server.mirror("astray"), server.mirror("good"))
    published.check(datasets.load("mnist", tmp_path / "new"))
    assert sorted(os.listdir(tmp_path / "new")) == sorted(IDX_NAMES)


def test_all_mirrors_are_encrypted():
    for files in downloads.SOURCES.values():
        assert all(mirror.startswith("https://") for file in files for mirror in file.mirrors)


def test_a_failed_download_leaves_no_file(published, server, tmp_path):
    (tmp_path / "data").mkdir()
    server.folders["cut"] = published.archives
    server.cut.add("cut")
    published.list_at(server.mirror("cut"))
    fails(lambda: datasets.load("mnist", tmp_path / "data"), tmp_path / "data", server.mirror("cut"))
    assert os.listdir(tmp_path / "data") == []


def test_an_interrupted_download_leaves_no_file(published, server, tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    server.folders["good"] = published.archives
    published.list_at(server.mirror("good"))

    def interrupted(source, target):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        datasets.load("mnist", tmp_path / "data")
    assert os.listdir(tmp_path / "data") == []


def test_no_mirror_answers(published, server, tmp_path):
    published.list_at(server.mirror("absent"), "http://127.0.0.1:9/")
    (published.write(tmp_path) / LABELS_NAME).unlink()
    (tmp_path / IDX_NAMES[3]).unlink()
    message = fails(
        lambda: datasets.load("mnist", tmp_path),
        f"put {LABELS_NAME}, {IDX_NAMES[3]} into {tmp_path}",
        "--dataset digits",
        "answered 404",
        "http://127.0.0.1:9/ failed",
    )
    assert IMAGES_NAME not in message
    assert sorted(os.listdir(tmp_path)) == sorted([IMAGES_NAME, IDX_NAMES[2]])


def test_folder_that_cannot_be_written(published, server, tmp_path):
    server.folders["good"] = published.archives
    published.list_at(server.mirror("good"))
    (tmp_path / "file").write_bytes(b"")
    for folder in (tmp_path / "file", tmp_path / "file" / "folder", tmp_path / "mistyped"):
        fails(
            partial(datasets.load, "mnist", folder), folder, "is not a folder; create it", "choose another --data-dir"
        )
    assert not server.requests and not (tmp_path / "mistyped").exists()
    home = tmp_path / "home" / "datasets"
    home.mkdir(parents=True)
    (home / "mnist").write_bytes(b"")
    fails(lambda: datasets.load("mnist"), home / "mnist", IMAGES_NAME, "choose another --data-dir")


# --- Folders of images ----------------------------------------------------------------------------


def save_image(path, value, size=(3, 2), mode="L"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value).save(path)
    return path


def test_folder_of_classes(tmp_path):
    for index in range(12):
        save_image(tmp_path / "cat" / f"{index:02}.png", index)
    for index in range(12, 20):
        save_image(tmp_path / "ant" / f"{index}.BMP", index)
    (tmp_path / "ant" / "notes.txt").write_text("no image")
    (tmp_path / "ant" / "._12.png").write_text("no image either")
    (tmp_path / "empty").mkdir()
    dataset = datasets.load("image-folder", tmp_path)
    assert (dataset.image_shape, dataset.num_visible, dataset.maximum) == ((2, 3), 6, 255)
    # The images are ant 12..19, then cat 0..11. The first and the eleventh are test images.
    assert dataset.test_images[:, 0, 0].tolist() == [12, 2]
    assert dataset.test_labels.tolist() == [0, 1]
    assert dataset.train_images[:, 1, 2].tolist() == [*range(13, 20), 0, 1, *range(3, 12)]
    assert dataset.train_labels.tolist() == [0] * 7 + [1] * 11
    assert dataset.train_images.dtype == np.uint8 and dataset.train_labels.dtype == np.int32


def test_folder_of_train_and_test(tmp_path):
    for path, value in [("train/a/1", 1), ("train/c/2", 2), ("test/b/3", 3), ("test/c/4", 4)]:
        save_image(tmp_path / f"{path}.png", value)
    dataset = datasets.load("image-folder", str(tmp_path))
    assert dataset.train_images[:, 0, 0].tolist() == [1, 2] and dataset.train_labels.tolist() == [0, 2]
    assert dataset.test_images[:, 0, 0].tolist() == [3, 4] and dataset.test_labels.tolist() == [1, 2]


def test_folder_without_classes(tmp_path):
    for index in range(11):
        save_image(tmp_path / f"{index:02}.png", index)
    dataset = datasets.load("image-folder", tmp_path)
    assert dataset.train_labels is None and dataset.test_labels is None
    assert dataset.train_images[:, 0, 0].tolist() == list(range(1, 10))
    assert dataset.test_images[:, 0, 0].tolist() == [0, 10]


@pytest.mark.parametrize(
    "mode, value, expected",
    [("1", 1, 255), ("L", 7, 7), ("LA", (7, 9), 7), ("I;16", 258 * 2, 2), ("RGB", (1, 2, 3), [1, 2, 3])],
)
def test_the_first_image_decides_between_grey_and_colour(tmp_path, mode, value, expected):
    save_image(tmp_path / "0.png", value, mode=mode)
    save_image(tmp_path / "1.png", (9, 9, 9, 9), mode="RGBA")
    save_image(tmp_path / "2.png", value, mode=mode)
    dataset = datasets.load("image-folder", tmp_path)
    assert dataset.image_shape == ((2, 3) if mode != "RGB" else (2, 3, 3))
    assert dataset.test_images[0, 0, 0].tolist() == dataset.train_images[1, 1, 1].tolist() == expected
    assert np.all(dataset.train_images[0] == 9)


def test_lost_colour_is_reported(tmp_path, caplog):
    save_image(tmp_path / "0.png", 7)
    save_image(tmp_path / "1.png", (1, 2, 3), mode="RGB")
    with caplog.at_level("INFO"):
        assert datasets.load("image-folder", tmp_path).image_shape == (2, 3)
    assert "1 of 1 images are in colour; they are converted to grey" in caplog.text


def test_grey_image_among_colour(tmp_path):
    save_image(tmp_path / "0.png", (1, 2, 3), mode="RGB")
    save_image(tmp_path / "1.png", 0xFFFF, mode="I;16")
    assert np.all(datasets.load("image-folder", tmp_path).train_images == 255)


def test_bad_image_folders(tmp_path):
    def load():
        return datasets.load("image-folder", tmp_path)

    fails(lambda: datasets.load("image-folder"), "--data-dir")
    fails(lambda: datasets.load("image-folder", tmp_path / "none"), tmp_path / "none", "--data-dir")
    fails(load, tmp_path, "no images")
    first = save_image(tmp_path / "a" / "0.png", 0)
    fails(load, tmp_path, "single image")
    odd = save_image(tmp_path / "b" / "1.png", 0, size=(5, 4))
    fails(load, odd, "5 x 4", "3 x 2")
    odd.write_bytes(first.read_bytes()[:40])  # ends before the pixels
    fails(load, odd, "cannot be read as an image")
    odd.write_bytes(b"")
    fails(load, odd, "cannot be read as an image")
    beside = save_image(tmp_path / "2.png", 0)
    fails(load, beside, "move it")


def test_train_with_classes_and_test_without(tmp_path):
    save_image(tmp_path / "train" / "a" / "0.png", 0)
    save_image(tmp_path / "test" / "0.png", 0)
    fails(lambda: datasets.load("image-folder", tmp_path), tmp_path, "has class folders")
    (tmp_path / "test" / "0.png").unlink()
    fails(lambda: datasets.load("image-folder", tmp_path), tmp_path / "test", "no images")
    (tmp_path / "test").rmdir()
    fails(lambda: datasets.load("image-folder", tmp_path), "has train/ but no test/")


# --- Data sets without files, and arrays ----------------------------------------------------------


def test_digits():
    dataset = datasets.load("digits")
    assert dataset.train_images.shape == (1437, 8, 8) and dataset.test_images.shape == (360, 8, 8)
    assert dataset.train_images.dtype == np.uint8 and dataset.maximum == 16 == dataset.train_images.max()
    assert dataset.train_labels.shape == (1437,) and dataset.test_labels.shape == (360,)
    assert dataset.train_labels.dtype == np.int32 and set(dataset.test_labels) == set(range(10))


def test_bars_and_stripes():
    dataset = datasets.load("bars-and-stripes")
    assert (dataset.image_shape, dataset.num_visible, dataset.maximum) == ((4, 4), 16, 1)
    assert dataset.train_images is dataset.test_images and dataset.train_images.dtype == np.uint8
    patterns = {image.tobytes() for image in dataset.train_images}
    expected = set()
    for line in np.ndindex(2, 2, 2, 2):
        image = np.tile(np.array(line, np.uint8), (4, 1))
        expected |= {image.tobytes(), image.T.tobytes()}
    assert len(dataset.train_images) == 30 and patterns == expected
    for image, label in zip(dataset.train_images, dataset.train_labels):
        assert np.all(image == (image[:1] if label == 0 else image[:, :1]))


def save_array(path, array):
    np.save(path, array)
    return path


def test_array_of_floats(tmp_path):
    images = np.linspace(0, 1, 21 * 9).reshape(21, 9)
    path = save_array(tmp_path / "images.npy", images)
    dataset = datasets.load(path)
    assert dataset.name == str(path) and dataset.train_labels is None and dataset.test_labels is None
    assert dataset.image_shape == (3, 3) and dataset.maximum == 1 and dataset.train_images.dtype == np.float32
    np.testing.assert_array_equal(to_visible(dataset.test_images, 1), images[[0, 10, 20]].astype(np.float32))
    assert len(dataset.train_images) == 18


@pytest.mark.parametrize(
    "shape, image_shape",
    [((4, 10), (1, 10)), ((4, 2, 5), (2, 5)), ((4, 2, 5, 3), (2, 5, 3)), ((4, 2, 5, 1), (2, 5)), ((4, 16), (4, 4))],
)
def test_array_shapes(tmp_path, shape, image_shape):
    path = save_array(tmp_path / "images.npy", np.full(shape, 200, np.uint8))
    dataset = datasets.load(str(path))
    assert dataset.image_shape == image_shape and dataset.maximum == 255 and dataset.train_images.dtype == np.uint8


def test_array_of_bits(tmp_path):
    assert datasets.load(save_array(tmp_path / "bits.npy", np.eye(4, dtype=np.uint8))).maximum == 1


def test_bad_arrays(tmp_path):
    path = tmp_path / "images.npy"
    fails(lambda: datasets.load(path), path, "no file")
    good = np.full((4, 9), 0.5)
    cases = [
        (np.where(np.eye(4, 9) > 0, np.nan, good), "NaN"),
        (good + 1, "from 1.5 to 1.5"),
        (good - 1, "from -0.5 to -0.5"),
        (np.where(np.eye(4, 9) > 0, np.inf, good), "to inf"),
        (np.ones((4, 9), np.int64), "int64"),
        (np.ones((4, 9), complex), "complex"),
        (np.ones(4), "(4,)"),
        (np.ones((1, 9)), "(1, 9)"),
        (np.ones((4, 0)), "(4, 0)"),
        (np.ones((4, 2, 2, 2)), "(4, 2, 2, 2)"),
    ]
    for array, part in cases:
        save_array(path, array)
        fails(lambda: datasets.load(path), path, part)


def test_files_that_hold_no_array(tmp_path):
    path = save_array(tmp_path / "images.npy", np.full((4, 9), 0.5))
    whole = path.read_bytes()
    for content in (b"", b"text", whole[:-1], whole[:20]):
        path.write_bytes(content)
        fails(lambda: datasets.load(path), path, "numpy.save")
    np.save(path, np.array([{}, None], object), allow_pickle=True)  # to read a pickle can run code
    fails(lambda: datasets.load(path), path, "numpy.save")
    with open(path, "wb") as file:
        np.savez(file, a=np.ones(3))
    fails(lambda: datasets.load(path), path)


def save_arrays(path, **arrays):
    np.savez(path, **arrays)
    return path


def test_archive_with_a_split_of_its_own(tmp_path):
    train, test = np.full((5, 2, 3), 200, np.uint8), np.eye(3, 6, dtype=np.uint8).reshape(3, 2, 3)
    labels = np.arange(5, dtype=np.uint8)[:, None], np.array([1, 0, 6])
    path = save_arrays(tmp_path / "a.npz", x_train=train, y_train=labels[0], x_test=test, y_test=labels[1])
    dataset = datasets.load(path)
    assert dataset.maximum == 255 and dataset.num_classes == 7 and dataset.train_labels.dtype == np.int32
    np.testing.assert_array_equal(dataset.train_images, train)
    np.testing.assert_array_equal(dataset.test_images, test)
    np.testing.assert_array_equal(dataset.train_labels, range(5))
    np.testing.assert_array_equal(dataset.test_labels, labels[1])
    bits = datasets.load(
        save_arrays(tmp_path / "b.npz", x_train=np.eye(4, dtype=np.uint8), x_test=np.eye(4, dtype="u1"))
    )
    assert bits.maximum == 1 and bits.num_classes == 0 and bits.image_shape == (2, 2) and len(bits.test_images) == 4


def test_bad_archives(tmp_path):
    path, images = tmp_path / "a.npz", np.full((4, 9), 0.5)
    fails(lambda: datasets.load(path), path, "no file")
    good = {"x_train": images, "x_test": images[:2]}
    of_train, of_test = np.arange(4), np.arange(2)
    cases = [
        ({"x_train": images}, "x_test", "it has x_train"),
        ({**good, "x_test": images[:, :4]}, "(3, 3)", "(2, 2)"),
        ({**good, "x_test": images[:2].astype(np.uint8)}, "float32", "uint8"),
        ({**good, "x_train": images + 1}, "x_train", "from 1.5 to 1.5"),
        ({**good, "y_train": of_train}, "y_test", "missing"),
        ({**good, "y_train": of_test, "y_test": of_test}, "y_train", "(2,)", "4 images"),
        ({**good, "y_train": of_train * 1.0, "y_test": of_test}, "y_train", "float64"),
        ({**good, "y_train": of_train, "y_test": of_test - 1}, "y_test", "from -1 to 0"),
        ({**good, "y_train": of_train * 5000, "y_test": of_test}, "y_train", "to 15000"),
    ]
    for arrays, *parts in cases:
        save_arrays(path, **arrays)
        fails(lambda: datasets.load(path), path, *parts)
    whole = save_arrays(path, **good).read_bytes()
    for content in (b"", b"text", whole[:-1], whole[:20]):
        path.write_bytes(content)
        fails(lambda: datasets.load(path), path, "numpy.save or savez")
    np.savez(path, **good, other=np.array([{}], object))
    fails(lambda: datasets.load(path), path, "numpy.save or savez")


def test_unknown_name():
    fails(lambda: datasets.load("mnits"), "'mnits'", ", ".join(datasets.NAMES), ".npy")


def test_mxnet_is_not_imported():
    code = "import sys, gluon_rbm.data.datasets; sys.exit('mxnet' in sys.modules)"
    root = os.path.dirname(os.path.dirname(os.path.dirname(downloads.__file__)))
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0


def test_real_mnist(monkeypatch):
    if not REAL_DATA:
        pytest.skip("MXNET_RBM_DATA names no folder with MNIST")
    monkeypatch.setenv("MXNET_RBM_DATA", REAL_DATA)
    folders = downloads.search_folders("mnist")[:2]
    if not any(os.path.isfile(folder / name) for folder in folders for name in (IMAGES_NAME, IMAGES_NAME[:-3])):
        pytest.skip(f"MXNET_RBM_DATA={REAL_DATA} does not hold MNIST")
    dataset = datasets.load("mnist")
    assert dataset.train_images.shape == (60000, 28, 28) and dataset.test_images.shape == (10000, 28, 28)
    # The counts of digits and the mean are published with the data set.
    assert np.bincount(dataset.train_labels).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(dataset.test_labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert round(mean_image(dataset.train_images, dataset.maximum).mean(), 4) == 0.1307


# --- Arrays and batches ---------------------------------------------------------------------------


@pytest.mark.parametrize("maximum", [1, 16, 255])
def test_to_visible(maximum):
    images = np.array([[[0, maximum]], [[maximum // 2, 1]]], np.uint8)
    visible = to_visible(images, maximum)
    assert visible.dtype == np.float32 and visible.shape == (2, 2)
    expected = np.array([[0, 1], [maximum // 2 / maximum, 1 / maximum]])
    np.testing.assert_allclose(visible, expected, rtol=np.finfo(np.float32).eps)
    assert visible[0, 1] == 1
    assert to_visible(images[:0], maximum).shape == (0, 2)


def test_mean_image(seed):
    images = np.random.default_rng(seed).integers(0, 256, (37, 3, 2, 3), np.uint8)
    mean = mean_image(images, 255)
    assert mean.dtype == np.float64 and mean.shape == (18,)
    np.testing.assert_allclose(mean, images.reshape(37, 18).astype(float).mean(axis=0) / 255, rtol=1e-12)


def numbered(count=23):
    """Images in which each pixel is the number of the image."""
    return np.repeat(np.arange(count, dtype=np.uint8), 6).reshape(count, 2, 3)


def numbers_of(some_batches):
    return np.concatenate([batch[:, 0] for batch in some_batches]).round(6).tolist()


@pytest.mark.parametrize("num_workers", [0, 1, 4])
def test_batches_in_order(num_workers):
    found = list(iterate_batches(numbered(), 1, 5, num_workers=num_workers))
    assert [batch.shape for batch in found] == [(5, 6)] * 4 + [(3, 6)]
    assert all(batch.dtype == np.float32 for batch in found)
    assert numbers_of(found) == list(range(23))


@pytest.mark.parametrize("binarize", BINARIZE)
def test_batches_follow_from_the_key_alone(seed, binarize):
    images = np.random.default_rng(seed).integers(0, 256, (43, 5, 5), np.uint8)

    def epoch(*key, num_workers=0):
        return list(iterate_batches(images, 255, 4, key=key, binarize=binarize, num_workers=num_workers))

    for batch, again, threaded in zip(epoch(seed, 0), epoch(seed, 0), epoch(seed, 0, num_workers=4)):
        np.testing.assert_array_equal(batch, again)
        np.testing.assert_array_equal(batch, threaded)
    assert len(epoch(seed, 0, num_workers=4)) == 11
    # Two keys give the same order of 43 images with probability 1 / 43!.
    assert not np.array_equal(np.concatenate(epoch(seed, 0)), np.concatenate(epoch(seed, 1)))


@pytest.mark.parametrize("num_workers", [0, 3])
@pytest.mark.parametrize("key", [None, (1, 2)])
def test_skipped_batches_do_not_change_the_others(seed, key, num_workers):
    images = np.random.default_rng(seed).integers(0, 256, (23, 5, 5), np.uint8)
    settings = {"key": key, "binarize": "sample" if key else "none"}
    whole = list(iterate_batches(images, 255, 5, **settings))
    for skip in range(6):
        rest = list(iterate_batches(images, 255, 5, **settings, num_workers=num_workers, skip=skip))
        assert len(rest) == 5 - skip
        for batch, expected in zip(rest, whole[skip:]):
            np.testing.assert_array_equal(batch, expected)


def test_every_image_once_an_epoch(seed):
    for num_workers in (0, 3):
        found = list(iterate_batches(numbered(), 1, 5, key=(seed, 7), num_workers=num_workers))
        assert [len(batch) for batch in found] == [5, 5, 5, 5, 3]
        assert numbers_of(found) != list(range(23))  # equal with probability 1 / 23!
        assert sorted(numbers_of(found)) == list(range(23))


def test_sampled_pixels_have_the_grey_value_as_mean(seed):
    grey = np.arange(17, dtype=np.uint8)
    images = np.tile(grey, (5000, 1))
    found = np.concatenate(list(iterate_batches(images, 16, 100, key=(seed,), binarize="sample")))
    assert found.dtype == np.float32 and set(np.unique(found)) == {0, 1}
    # The tolerance is five standard errors of a mean of 5000 independent draws. It is 0 for black
    # and white pixels.
    standard_error = np.sqrt(grey / 16 * (1 - grey / 16) / 5000)
    assert np.all(np.abs(found.mean(axis=0) - grey / 16) <= 5 * standard_error)
    # Each batch and each key draws anew: all 1,500 grey pixels of two batches would have to agree
    # by chance.
    other = np.concatenate(list(iterate_batches(images, 16, 100, key=(seed, 1), binarize="sample")))
    assert not np.array_equal(found[:100], found[100:200])
    assert not np.array_equal(found, other)


def test_threshold():
    images = np.array([[0, 127, 128, 255]], np.uint8)
    (batch,) = iterate_batches(images, 255, 10, binarize="threshold")
    assert batch.tolist() == [[0, 0, 1, 1]] and batch.dtype == np.float32
    (batch,) = iterate_batches(np.array([[7, 8]], np.uint8), 16, 1, binarize="threshold")
    assert batch.tolist() == [[0, 1]]


def test_workers_keep_a_bounded_window_and_stop_early(monkeypatch):
    started = []
    monkeypatch.setattr(batches, "_IMAGES_AT_ONCE", 1)
    monkeypatch.setattr(batches, "to_visible", lambda *arguments: started.append(1) or to_visible(*arguments))
    threads = set(threading.enumerate())
    iterator = iterate_batches(numbered(100), 1, 1, num_workers=3)
    assert next(iterator)[0, 0] == 0 and next(iterator)[0, 0] == 1
    time.sleep(0.1)  # an unbounded window would grow in this time
    assert 2 <= len(started) <= 2 * 3 + 1
    assert set(threading.enumerate()) - threads
    iterator.close()
    assert not set(threading.enumerate()) - threads
    assert len(started) <= 2 * 3 + 1


def test_no_images_give_no_batches():
    assert (
        list(iterate_batches(numbered()[:0], 1, 5))
        == list(iterate_batches(numbered()[:0], 1, 5, key=(1,), binarize="sample", num_workers=2))
        == []
    )


def test_bad_arguments_of_batches():
    images = numbered()
    fails(lambda: iterate_batches(images, 1, 0), "batch size")
    fails(lambda: iterate_batches(images, 1, 5, num_workers=-1), "number of workers is -1")
    fails(lambda: iterate_batches(images, 1, 5, binarize="round"), "'round'", "threshold")
    fails(lambda: iterate_batches(images, 1, 5, binarize="sample"), "key")


def test_an_unknown_split_is_refused():
    fails(lambda: splits.split_of(datasets.load("digits"), "validation"), "split 'validation'", "held-out")


def test_images_that_are_too_large():
    with pytest.raises(InputError, match="images of 3000 x 3000 pixels would take 15.1 GiB, and 8 GiB is the limit"):
        datasets.load("digits", image_size=(3000, 3000))


def test_data_from_another_folder_are_reported(published, server, tmp_path, monkeypatch):
    server.folders["good"] = published.archives
    published.list_at(server.mirror("good"))
    for folder in ("named", "found"):
        (tmp_path / folder).mkdir()
    datasets.load("mnist", tmp_path / "found", progress=False)
    monkeypatch.setenv("MXNET_RBM_DATA", str(tmp_path / "found"))
    # Not caplog: with older versions of pytest it records nothing after a command has configured
    # the package's logger.
    records = []
    handler = logging.Handler()
    handler.emit = records.append
    monkeypatch.setattr(logging.getLogger("gluon_rbm"), "handlers", [handler])
    datasets.load("mnist", tmp_path / "found", progress=False)
    assert not records
    datasets.load("mnist", tmp_path / "named", progress=False)
    (record,) = records
    assert "is not in %s; reading it from %s" % (tmp_path / "named", tmp_path / "found") in record.getMessage()
    monkeypatch.setenv("MXNET_RBM_DATA", str(tmp_path / "nowhere"))
    datasets.load("mnist", tmp_path / "found", progress=False)
    assert "MXNET_RBM_DATA names %s, which is not a folder" % (tmp_path / "nowhere") in records[-1].getMessage()
