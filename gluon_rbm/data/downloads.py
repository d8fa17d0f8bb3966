"""The published data sets (MNIST, Fashion-MNIST, CIFAR-10): found on this machine or downloaded, verified, read."""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import math
import os
import tarfile
import threading
import time
import uuid
import zlib
from pathlib import Path
from typing import Any, Callable, NamedTuple, Sequence

import numpy as np

from gluon_rbm.backend.types import HostArray
from gluon_rbm.errors import InputError

__all__ = ["SOURCES", "OtherDataSet", "RemoteFile", "read_published", "search_folders"]

logger = logging.getLogger(__name__)

_CONNECT_AND_READ_SECONDS = (10, 60)
_SLOWEST, _GRACE_SECONDS = 10000, 30  # bytes a second, and when they are counted first
_LARGEST = 1 << 28  # bytes: more than any of these files has, packed or unpacked


class OtherDataSet(InputError):
    """A file of one data set lies where another is looked for: some name their files alike."""


class RemoteFile(NamedTuple):
    """One published archive: where it is fetched from and what proves that it is the right one (SHA-256, hex)."""

    name: str
    mirrors: tuple[str, ...]
    archive_sha256: str
    content_sha256: str | None = None  # of the decompressed file, where it is known

    @property
    def names(self) -> list[str]:
        """Names under which the file is looked for: as published, or decompressed."""
        return [self.name] if self.name.endswith(".tar.gz") else [self.name, self.name[: -len(".gz")]]


_IDX_NAMES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)


def _idx_files(
    mirrors: tuple[str, ...], archives: Sequence[str], contents: Sequence[Any] = (None,) * 4
) -> list[RemoteFile]:
    return [RemoteFile(name, mirrors, *hashes) for name, *hashes in zip(_IDX_NAMES, archives, contents)]


# In the order: training images, training labels, test images, test labels. Of Fashion-MNIST and CIFAR-10 only the
# archives' hashes are published, so copies of them that were decompressed or compressed anew cannot be verified.
SOURCES: dict[str, list[RemoteFile]] = {
    "mnist": _idx_files(
        ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"),
        archives=(
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        ),
        contents=(
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
    ),
    "fashion-mnist": _idx_files(
        ("https://storage.googleapis.com/tensorflow/tf-keras-datasets/",),
        archives=(
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        ),
    ),
    "cifar10": [
        RemoteFile(
            "cifar-10-binary.tar.gz",
            ("https://www.cs.toronto.edu/~kriz/",),
            "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        )
    ],
}
_CIFAR10_TRAIN = ["data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"]
_CIFAR10_TEST = "test_batch.bin"


def read_published(
    name: str, data_dir: str | os.PathLike[str] | None = None, progress: bool = True
) -> tuple[HostArray, HostArray, HostArray, HostArray]:
    """Read a data set of `SOURCES`: (train_images, train_labels, test_images, test_labels).

    Images are uint8 (num_images, height, width) or (num_images, height, width, 3), labels int32 (num_images,). Files
    that are in none of `search_folders` are downloaded, into `data_dir` or else into the cache. Raises InputError for
    a file that is damaged or not the published one, and when a missing file cannot be downloaded, or `data_dir` is no
    folder to put it into.
    """
    if name == "cifar10":
        return _obtain(name, _read_cifar10, data_dir, progress)[0]
    arrays = _obtain(name, _read_idx, data_dir, progress)
    for images, labels, file in zip(arrays[::2], arrays[1::2], SOURCES[name][::2]):
        if len(images) != len(labels):
            raise InputError(
                f"{file.name} holds {len(images)} images but its labels file {len(labels)} labels; delete both"
                " to fetch them again"
            )
    train_images, train_labels, test_images, test_labels = arrays
    return train_images, train_labels.astype(np.int32), test_images, test_labels.astype(np.int32)


def search_folders(name: str, data_dir: str | os.PathLike[str] | None = None) -> list[Path]:
    """Folders where files of a data set are looked for, in order; the last one is the cache."""
    if os.name == "nt":  # as MXNet does
        default_home = os.path.join(os.environ.get("APPDATA", ""), "mxnet")
    else:
        default_home = os.path.join("~", ".mxnet")
    folders = []
    for folder in (data_dir, os.environ.get("MXNET_RBM_DATA")):
        if folder:
            folders += [_path(folder), _path(folder) / name]
    return folders + [_path(os.environ.get("MXNET_HOME") or default_home) / "datasets" / name]


def located(name: str, data_dir: str | os.PathLike[str] | None = None) -> dict[str, Path | None]:
    """Where each file of a data set of `SOURCES` is, before anything is downloaded: its name -> Path, or None."""
    folders = search_folders(name, data_dir)
    return {file.name: _find(file, folders) for file in SOURCES[name]}


def _path(folder: str | os.PathLike[str]) -> Path:
    return Path(os.path.expanduser(os.fspath(folder)))


# -- finding and downloading -------------------------------------------------------------------------------------------


def _obtain(
    name: str, read: Callable[[Path, RemoteFile], Any], data_dir: str | os.PathLike[str] | None, progress: bool
) -> list[Any]:
    """`read(path, file)` of every file of a data set. `read` verifies too, so a download is kept only if it passes."""
    files, folders = SOURCES[name], search_folders(name, data_dir)
    paths = [_find(file, folders) for file in files]
    missing = [file.name for file, path in zip(files, paths) if path is None]
    target = folders[0] if data_dir else folders[-1]
    if data_dir and not os.path.isdir(target):  # more likely mistyped than meant
        raise InputError(f"{target} is no folder; make it, to fetch {name} into it, or name another --data-dir")
    elsewhere = [path for path in paths if path and data_dir and path.parent not in folders[:2]]
    if elsewhere:
        logger.warning("note: %s is not in %s; it is read from %s", elsewhere[0].name, target, elsewhere[0].parent)
    values = []
    for file, path in zip(files, paths):
        if path is not None:
            values.append(read(path, file))
        else:
            values.append(_download(file, target, read, progress, missing))
            missing.remove(file.name)
    return values


def _find(file: RemoteFile, folders: Sequence[Path]) -> Path | None:
    candidates = [folder / name for folder in folders for name in file.names]
    return next((path for path in candidates if os.path.isfile(path)), None)


def _download(
    file: RemoteFile,
    folder: Path,
    read: Callable[[Path, RemoteFile], Any],
    progress: bool,
    missing: Sequence[str],
) -> Any:
    """Try mirror after mirror. The file gets its name only when it is whole and verified; nothing else is left."""
    import requests  # imported where it is needed: a machine that has its data never loads it
    import urllib3

    failures = []
    for mirror in file.mirrors:
        temporary = folder / f".{file.name}.{uuid.uuid4().hex}.part"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _stream(mirror + file.name, temporary, progress)
            value = read(temporary, file)
            os.replace(temporary, folder / file.name)
            return value
        except InputError:
            failures.append(f"{mirror} sent something else")
        except requests.HTTPError as error:
            failures.append(f"{mirror} answered {getattr(error.response, 'status_code', 'with an error')}")
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            failures.append(f"{mirror} failed with {type(error).__name__}")
        except OSError as error:  # of the disk: those of the network were caught above
            reason = error.strerror or error
            raise InputError(f"cannot write {file.name} into {folder} ({reason}); name another --data-dir") from error
        except ValueError as error:  # of Python's own parser, where a mirror redirects to what is no address
            failures.append(f"{mirror} failed with {type(error).__name__}")
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()
    raise InputError(
        f"cannot download {file.name} ({'; '.join(failures)}); put {', '.join(missing)} into {folder},"
        " or use --dataset digits, which needs no network"
    )


def _stream(url: str, path: Path, progress: bool) -> None:
    """Fetch a file by a thread, which is left to itself where it is too slow: nothing can wake it from a read."""
    import requests

    done, failures = [0], []

    def work() -> None:
        try:
            _fetch(url, path, progress, done)
        except BaseException as error:
            failures.append(error)

    thread, started = threading.Thread(target=work, daemon=True), time.monotonic()
    thread.start()
    while thread.is_alive():
        thread.join(0.2)
        seconds = time.monotonic() - started
        if done[0] > _LARGEST or seconds > _GRACE_SECONDS and done[0] < _SLOWEST * seconds and thread.is_alive():
            raise requests.Timeout
    if failures:
        raise failures[0]


def _fetch(url: str, path: Path, progress: bool, done: list[int]) -> None:
    """done : [the number of bytes so far]"""
    import requests
    from tqdm import tqdm

    with requests.get(url, stream=True, timeout=_CONNECT_AND_READ_SECONDS) as response, open(path, "xb") as target:
        response.raise_for_status()
        # disable=None: no bar where the output is not a terminal.
        shown = {"desc": url.rsplit("/", 1)[-1], "unit": "B", "unit_scale": True, "disable": None if progress else True}
        with tqdm(total=response.raw.length_remaining, **shown) as bar:
            # Not iter_content: it would decompress an archive that the server calls gzip-encoded.
            for chunk in response.raw.stream(1 << 16, decode_content=False):
                target.write(chunk)
                bar.update(len(chunk))
                done[0] += len(chunk)
                if done[0] > _LARGEST:
                    break


# -- reading and verifying ---------------------------------------------------------------------------------------------


def _damaged(path: Path, what: str) -> InputError:
    return InputError(f"{path} {what}; delete it to fetch it again")


def _read_bytes(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}); check its permissions") from error
    if not content:
        raise _damaged(path, "is empty")
    return content


def _verify(path: Path, file: RemoteFile, archive: bytes, content: bytes) -> None:
    """Compare hashes; both arguments are bytes, the same ones for a file that is not compressed."""
    found = {hashlib.sha256(archive).hexdigest()}
    if content is not archive and file.archive_sha256 not in found:
        found.add(hashlib.sha256(content).hexdigest())
    if found & {file.archive_sha256, file.content_sha256}:
        return
    for name, files in SOURCES.items():  # MNIST and Fashion-MNIST name their files alike
        for other in files:
            if other.name == file.name and found & {other.archive_sha256, other.content_sha256}:
                raise OtherDataSet(f"{path} belongs to another data set, {name}; move it to a subfolder named {name}")
    if file.content_sha256:
        raise _damaged(path, f"has the content hash (SHA-256) of something else than {file.name}")
    raise _damaged(path, f"is not the published archive {file.name}, the only form whose hash (SHA-256) is known")


def _unpacked(path: Path, archive: bytes) -> bytes:
    """The content of a gzip archive; one that would fill the memory is refused."""
    unpacker = zlib.decompressobj(31)  # of gzip
    try:
        content = unpacker.decompress(archive, _LARGEST)
    except zlib.error as error:
        raise _damaged(path, "is truncated or not a whole gzip archive") from error
    if unpacker.unconsumed_tail:
        raise _damaged(path, f"would unpack to more than {_LARGEST} bytes")
    if not unpacker.eof or unpacker.unused_data.strip(b"\0"):
        raise _damaged(path, "is truncated or not a whole gzip archive")
    return content


def _read_idx(path: Path, file: RemoteFile) -> HostArray:
    """Read a verified idx file of bytes, gzip-compressed or not: uint8, images (n, height, width) or labels (n,)."""
    archive = content = _read_bytes(path)
    if archive[:2] == b"\x1f\x8b":  # the name does not decide
        content = _unpacked(path, archive)
    dimensions = 3 if "idx3" in file.name else 1
    start = 4 + 4 * dimensions
    # Two zero bytes, the type of the numbers (8: unsigned byte), the number of dimensions, then their big-endian sizes.
    if content[:2] != b"\0\0" or len(content) < start:
        raise _damaged(path, "is not an idx file (wrong magic number)")
    if content[2] != 8:
        raise _damaged(path, f"holds idx numbers of type 0x{content[2]:02x}, not unsigned bytes (0x08)")
    if content[3] != dimensions:
        raise _damaged(path, f"has the magic number of {content[3]} dimensions instead of {dimensions}")
    shape = np.frombuffer(content, ">u4", dimensions, offset=4).tolist()
    if len(content) != start + math.prod(shape):
        raise _damaged(path, f"announces {math.prod(shape)} bytes of data but holds {len(content) - start}")
    _verify(path, file, archive, content)
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _read_cifar10(path: Path, file: RemoteFile) -> tuple[HostArray, ...]:
    """Read the verified archive of binary records: all four arrays. Nothing is extracted to disk."""
    archive, members = _read_bytes(path), {}
    _verify(path, file, archive, archive)  # first: what a tar archive is made of needs no more to be doubted
    try:
        with tarfile.open(fileobj=io.BytesIO(_unpacked(path, archive)), mode="r:") as tar:
            for member in tar:
                base = member.name.rsplit("/", 1)[-1]
                if member.isfile() and base in [*_CIFAR10_TRAIN, _CIFAR10_TEST]:
                    content: Any = tar.extractfile(member)  # None for what is no file
                    members[base] = _cifar10_records(path, base, content.read())
    except (OSError, tarfile.TarError) as error:
        raise _damaged(path, "is truncated or not a whole tar.gz archive") from error
    absent = [name for name in [*_CIFAR10_TRAIN, _CIFAR10_TEST] if name not in members]
    if absent:
        raise _damaged(path, f"lacks {', '.join(absent)}")
    images, labels = zip(*(members[name] for name in _CIFAR10_TRAIN))
    return (np.concatenate(images), np.concatenate(labels), *members[_CIFAR10_TEST])


def _cifar10_records(path: Path, name: str, content: bytes) -> tuple[HostArray, HostArray]:
    """A record is a label byte, then the red, the green and the blue plane of 32 x 32 bytes."""
    if not content or len(content) % 3073:
        raise _damaged(path, f"holds {name} of {len(content)} bytes, not a whole number of records of 3073 bytes")
    records = np.frombuffer(content, np.uint8).reshape(-1, 3073)
    images = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), records[:, 0].astype(np.int32)
