"""The published data sets MNIST, Fashion-MNIST and CIFAR-10: download, verify and read them."""

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

__all__ = ["SOURCES", "OtherDataSet", "RemoteFile", "located", "read_published", "search_folders"]

logger = logging.getLogger(__name__)

_CONNECT_AND_READ_SECONDS = (10, 60)
# Least mean rate in bytes per second, and the time at the start when it is not required.
_SLOWEST, _GRACE_SECONDS = 10000, 30
_LARGEST = 1 << 28  # bytes; all files are smaller than this, packed or unpacked


class OtherDataSet(InputError):
    """A file belongs to another data set that uses the same file names."""


class RemoteFile(NamedTuple):
    """A published archive: its addresses and the hashes (SHA-256, hexadecimal) that verify it."""

    name: str  #: of the published archive, which ends in .gz
    mirrors: tuple[str, ...]  #: addresses to try in order; the name is appended
    archive_sha256: str  #: hash of the archive
    content_sha256: str | None = None  #: hash of the decompressed file; None if it is not known

    @property
    def names(self) -> list[str]:
        """Names under which the file is looked for.

        Returns
        -------
        list of str
            The published name and, unless it ends in .tar.gz, the name without .gz.
        """
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


# The order is: training images, training labels, test images, test labels. For Fashion-MNIST and
# CIFAR-10 only the archives have published hashes. Unpacked or repacked copies cannot be verified.
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
    """Read a published data set, and download the files that are missing.

    Parameters
    ----------
    name
        Name of the data set in `SOURCES`.
    data_dir
        Folder to search first and to download into; else the cache (see `search_folders`).
    progress
        Show progress bars, on a terminal only.

    Returns
    -------
    tuple of 4 arrays
        Training images, their labels, test images, their labels. Images are uint8, (num_images,
        height, width) or (num_images, height, width, 3). Labels are int32 (num_images,).

    Raises
    ------
    InputError
        A file is damaged, is the wrong one or cannot be downloaded, or `data_dir` is no folder.
    """
    if name == "cifar10":
        return _obtain(name, _read_cifar10, data_dir, progress)[0]
    arrays = _obtain(name, _read_idx, data_dir, progress)
    for images, labels, file in zip(arrays[::2], arrays[1::2], SOURCES[name][::2]):
        if len(images) != len(labels):
            raise InputError(
                f"{file.name} holds {len(images)} images but its labels file {len(labels)} labels; delete both"
                " to download them again"
            )
    train_images, train_labels, test_images, test_labels = arrays
    return train_images, train_labels.astype(np.int32), test_images, test_labels.astype(np.int32)


def search_folders(name: str, data_dir: str | os.PathLike[str] | None = None) -> list[Path]:
    """Folders in which the files of a data set are looked for.

    Parameters
    ----------
    name, data_dir
        As in `read_published`.

    Returns
    -------
    list of Path
        `data_dir` and its subfolder `name`, the same two for MXNET_RBM_DATA, and the cache.
    """
    if os.name == "nt":  # the folders that MXNet itself chooses
        default_home = os.path.join(os.environ.get("APPDATA", ""), "mxnet")
    else:
        default_home = os.path.join("~", ".mxnet")
    folders = []
    for folder in (data_dir, os.environ.get("MXNET_RBM_DATA")):
        if folder:
            folders += [_path(folder), _path(folder) / name]
    return folders + [_path(os.environ.get("MXNET_HOME") or default_home) / "datasets" / name]


def located(name: str, data_dir: str | os.PathLike[str] | None = None) -> dict[str, Path | None]:
    """Find the files of a published data set that are on this computer.

    Parameters
    ----------
    name, data_dir
        As in `read_published`.

    Returns
    -------
    dict of str to Path or None
        Path of each file by its published name. None if the file is missing.
    """
    folders = search_folders(name, data_dir)
    return {file.name: _find(file, folders) for file in SOURCES[name]}


def _path(folder: str | os.PathLike[str]) -> Path:
    return Path(os.path.expanduser(os.fspath(folder)))


# -- Finding and downloading -----------------------------------------------------------------------


def _obtain(
    name: str, read: Callable[[Path, RemoteFile], Any], data_dir: str | os.PathLike[str] | None, progress: bool
) -> list[Any]:
    """Find or download every file, and return what `read` makes of each. `read` also verifies."""
    files, folders = SOURCES[name], search_folders(name, data_dir)
    paths = [_find(file, folders) for file in files]
    named = os.environ.get("MXNET_RBM_DATA")
    if named and not os.path.isdir(_path(named)):
        logger.warning("note: MXNET_RBM_DATA names %s, which is not a folder; it is not searched", named)
    missing = [file.name for file, path in zip(files, paths) if path is None]
    target = folders[0] if data_dir else folders[-1]
    if data_dir and not os.path.isdir(target):  # probably a typing error, so the folder is not made
        raise InputError(f"{target} is not a folder; create it to download {name} there, or choose another --data-dir")
    elsewhere = [path for path in paths if path and data_dir and path.parent not in folders[:2]]
    if elsewhere:
        logger.warning("note: %s is not in %s; reading it from %s", elsewhere[0].name, target, elsewhere[0].parent)
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
    """Download a file from the first mirror that works. Only a verified file is kept."""
    import requests  # imported here, because it is not needed if all files are present
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
            failures.append(f"{mirror} sent another file")
        except requests.HTTPError as error:
            failures.append(f"{mirror} answered {getattr(error.response, 'status_code', 'with an error')}")
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            failures.append(f"{mirror} failed with {type(error).__name__}")
        except OSError as error:  # an error of the disk: errors of the network are caught above
            reason = error.strerror or error
            raise InputError(f"cannot write {file.name} into {folder} ({reason}); choose another --data-dir") from error
        # Python's parser raises it if a mirror redirects to something that is not an address.
        except ValueError as error:
            failures.append(f"{mirror} failed with {type(error).__name__}")
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()
    raise InputError(
        f"cannot download {file.name} ({'; '.join(failures)}); put {', '.join(missing)} into {folder},"
        " or use --dataset digits, which needs no network"
    )


def _stream(url: str, path: Path, progress: bool) -> None:
    """Fetch a file in a thread. If it is too slow, abandon it: it cannot be interrupted."""
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
    """Fetch a file. `done` holds one number, the bytes received so far."""
    import requests
    from tqdm import tqdm

    with requests.get(url, stream=True, timeout=_CONNECT_AND_READ_SECONDS) as response, open(path, "xb") as target:
        response.raise_for_status()
        shown = {"desc": url.rsplit("/", 1)[-1], "unit": "B", "unit_scale": True, "disable": None if progress else True}
        # With disable=None, the bar appears on a terminal only.
        with tqdm(total=response.raw.length_remaining, **shown) as bar:
            # iter_content would decompress an archive that the server declares as gzip-encoded.
            for chunk in response.raw.stream(1 << 16, decode_content=False):
                target.write(chunk)
                bar.update(len(chunk))
                done[0] += len(chunk)
                if done[0] > _LARGEST:
                    break


# -- Reading and verifying -------------------------------------------------------------------------


def _damaged(path: Path, what: str) -> InputError:
    return InputError(f"{path} {what}; delete it to download it again")


def _read_bytes(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}); check its permissions") from error
    if not content:
        raise _damaged(path, "is empty")
    return content


def _verify(path: Path, file: RemoteFile, archive: bytes, content: bytes) -> None:
    """Check the hash of a file, or of its content, which is `archive` if it is not compressed."""
    found = {hashlib.sha256(archive).hexdigest()}
    if content is not archive and file.archive_sha256 not in found:
        found.add(hashlib.sha256(content).hexdigest())
    if found & {file.archive_sha256, file.content_sha256}:
        return
    for name, files in SOURCES.items():  # MNIST and Fashion-MNIST use the same file names
        for other in files:
            if other.name == file.name and found & {other.archive_sha256, other.content_sha256}:
                raise OtherDataSet(f"{path} belongs to another data set, {name}; move it to a subfolder named {name}")
    if file.content_sha256:
        raise _damaged(path, f"is not {file.name}: its content has another hash (SHA-256)")
    raise _damaged(path, f"is not the published archive {file.name}, the only form with a known hash (SHA-256)")


def _unpacked(path: Path, archive: bytes) -> bytes:
    """Decompress a gzip archive, and refuse content of more than `_LARGEST` bytes."""
    unpacker = zlib.decompressobj(31)  # 31 stands for the gzip format
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
    """Read and verify an idx file, gzip or not: uint8, images (n, height, width) or labels (n,)."""
    archive = content = _read_bytes(path)
    if archive[:2] == b"\x1f\x8b":  # the content decides, not the name
        content = _unpacked(path, archive)
    dimensions = 3 if "idx3" in file.name else 1
    start = 4 + 4 * dimensions
    # Two zero bytes, the type (8: unsigned byte), the number of dimensions, their big-endian sizes.
    if content[:2] != b"\0\0" or len(content) < start:
        raise _damaged(path, "is not an idx file (wrong magic number)")
    if content[2] != 8:
        raise _damaged(path, f"holds idx numbers of type 0x{content[2]:02x}, not unsigned bytes (0x08)")
    if content[3] != dimensions:
        raise _damaged(path, f"has the magic number of {content[3]} dimensions instead of {dimensions}")
    shape = np.frombuffer(content, ">u4", dimensions, offset=4).tolist()
    if len(content) != start + math.prod(shape):
        raise _damaged(path, f"declares {math.prod(shape)} bytes of data but holds {len(content) - start}")
    _verify(path, file, archive, content)
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _read_cifar10(path: Path, file: RemoteFile) -> tuple[HostArray, ...]:
    """Verify and read the archive: all four arrays. Nothing is extracted to disk."""
    archive, members = _read_bytes(path), {}
    # The archive is verified first, so its contents can be trusted.
    _verify(path, file, archive, archive)
    try:
        with tarfile.open(fileobj=io.BytesIO(_unpacked(path, archive)), mode="r:") as tar:
            for member in tar:
                base = member.name.rsplit("/", 1)[-1]
                if member.isfile() and base in [*_CIFAR10_TRAIN, _CIFAR10_TEST]:
                    content: Any = tar.extractfile(member)  # None only if the member is not a file
                    members[base] = _cifar10_records(path, base, content.read())
    except (OSError, tarfile.TarError) as error:
        raise _damaged(path, "is truncated or not a tar.gz archive") from error
    absent = [name for name in [*_CIFAR10_TRAIN, _CIFAR10_TEST] if name not in members]
    if absent:
        raise _damaged(path, f"lacks {', '.join(absent)}")
    images, labels = zip(*(members[name] for name in _CIFAR10_TRAIN))
    return (np.concatenate(images), np.concatenate(labels), *members[_CIFAR10_TEST])


def _cifar10_records(path: Path, name: str, content: bytes) -> tuple[HostArray, HostArray]:
    """Read records: a label byte, then the red, the green and the blue plane of 32 x 32 bytes."""
    if not content or len(content) % 3073:
        raise _damaged(path, f"holds {name} of {len(content)} bytes, not a whole number of records of 3073 bytes")
    records = np.frombuffer(content, np.uint8).reshape(-1, 3073)
    images = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), records[:, 0].astype(np.int32)
