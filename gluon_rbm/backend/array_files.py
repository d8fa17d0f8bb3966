"""Files of arrays in MXNet's format and in .npz, read without trust in any length that they state.

Nothing here is unpickled. A file in MXNet's format (mx.nd.save) is, in little-endian order,

    uint64 0x112, uint64 0;  uint64 n, then n arrays;
    uint64 n, then n names, each uint64 length and UTF-8

and an array is

    uint32 0xF993FAC9, int32 0 (dense), int32 dimensions, int64 lengths,
    int32 and int32 (its device), int32 dtype, and its numbers.

MXNet's own reader believes what a file states: of 1,500 files with a few wrong bytes, one ended the
process. So NumPy reads the files here. `save` adds a line with the SHA-256 of everything before it.
The line stands behind the last name, where MXNet does not look.
"""

from __future__ import annotations

import errno
import hashlib
import io
import math
import os
import struct
import zipfile
from typing import IO, Iterable, Mapping

import numpy as np

from gluon_rbm.backend.types import HostArray, Path

__all__ = [
    "LARGEST_TEXT",
    "BrokenFile",
    "check_ordinary",
    "load",
    "load_npy",
    "load_npz",
    "save",
    "sha256",
    "total_memory",
]

_MAGIC, _ARRAY, _ARRAY_OF_NUMPY = 0x112, 0xF993FAC9, 0xF993FACA  # the last one is mx.np's
# In the order of their numbers in MXNet.
_DTYPES = [np.dtype(name) for name in ("f4", "f8", "f2", "u1", "i4", "i1", "i8")]
_SEAL = b"\nsha256 %s\n"
_UNPACKED = 1 << 31  # most bytes that the arrays of a .npz may unpack to
LARGEST_TEXT = 1 << 26  #: the most bytes of a file of text, such as metrics.csv


class BrokenFile(ValueError):
    """The content of a file is not what it should be.

    The message is the end of a sentence about the file, such as "it holds two arrays of one name".
    """


def check_ordinary(path: Path, largest: int | None = None) -> None:
    """Refuse a file that takes forever to read, or fills the memory.

    A file may be larger than the memory although it takes no room on the disk.

    Parameters
    ----------
    path
        The file. A missing file or a folder passes: opening it says why it cannot be read.
    largest
        The most bytes that the file may have; by default as many as this computer has memory.

    Raises
    ------
    OSError
        The path is a pipe or a device, or the file has more than `largest` bytes.
    """
    if not os.path.exists(path) or os.path.isdir(path):
        return  # the caller opens it: the error says why it cannot be read
    if not os.path.isfile(path):
        raise OSError(errno.EINVAL, "it is no ordinary file", path)
    if largest is None:
        largest = total_memory()
    if os.path.getsize(path) > largest:
        raise OSError(errno.EFBIG, "it has more than %d MiB" % (largest >> 20), path)


def total_memory() -> int:
    """Return the size of this computer's memory.

    Returns
    -------
    int
        Bytes; 2^62 where the size is unknown, as on Windows.
    """
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # Windows has no such function
        return 1 << 62


class _Reader:
    """Takes bytes from the front; raises BrokenFile where too few are left."""

    def __init__(self, content: bytes) -> None:
        self._content, self._place = memoryview(content), 0

    def take(self, count: int) -> memoryview:
        if not 0 <= count <= len(self._content) - self._place:
            raise BrokenFile("it is not whole, or another kind of file")
        self._place += count
        return self._content[self._place - count : self._place]

    def numbers(self, form: str) -> tuple[int, ...]:
        return struct.unpack("<" + form, self.take(struct.calcsize("<" + form)))

    def expect(self, form: str, *expected: int) -> None:
        if self.numbers(form) != expected:
            raise BrokenFile("it is not whole, or another kind of file")

    def array(self) -> HostArray:
        magic, kind, dimensions = self.numbers("Iii")
        if magic not in (_ARRAY, _ARRAY_OF_NUMPY) or kind or not (magic == _ARRAY) <= dimensions <= 32:
            raise BrokenFile("it holds what is no dense array")
        shape = self.numbers("%dq" % dimensions)
        _, _, number = self.numbers("iii")  # the first two give the device, which does not matter
        if not 0 <= number < len(_DTYPES) or any(length < 1 for length in shape):
            raise BrokenFile("it holds an array of no known type or shape")
        dtype = _DTYPES[number]
        return np.frombuffer(self.take(math.prod(shape) * dtype.itemsize), dtype).reshape(shape)

    def name(self) -> str:
        try:
            return str(self.take(*self.numbers("Q")), "utf-8")
        except UnicodeDecodeError:
            raise BrokenFile("it holds a name that is no text") from None

    def rest(self) -> bytes:
        return bytes(self._content[self._place :])


def load(path: Path) -> dict[str, HostArray]:
    """Read the arrays of a file that MXNet or `save` wrote.

    The content is checked against its hash if the file has one.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    dict
        Name -> NumPy array, read-only.

    Raises
    ------
    OSError
        The file cannot be read.
    BrokenFile
        The file is torn, changed or of another kind, or holds values that are not finite.
    """
    check_ordinary(path)
    with open(path, "rb") as file:
        content = file.read()
    reader = _Reader(content)
    reader.expect("QQ", _MAGIC, 0)
    (count,) = reader.numbers("Q")
    arrays = [reader.array() for _ in range(count)]
    reader.expect("Q", count)
    names = [reader.name() for _ in range(count)]
    if len(set(names)) < count:
        raise BrokenFile("it holds two arrays of one name")
    rest = reader.rest()
    if rest and rest != _seal(memoryview(content)[: len(content) - len(rest)]):
        raise BrokenFile("it is not what was written, by its hash")
    for name, array in zip(names, arrays):
        if not _is_finite(array):
            raise BrokenFile("%s holds values that are not finite" % name)
    return dict(zip(names, arrays))


def _is_finite(array: HostArray) -> bool:
    return array.dtype.kind != "f" or bool(np.isfinite(array).all())


def _seal(content: bytes | memoryview) -> bytes:
    return _SEAL % hashlib.sha256(content).hexdigest().encode()


def save(path: Path, arrays: Mapping[str, HostArray]) -> None:
    """Write arrays to a file that `load` and mx.nd.load read.

    Parameters
    ----------
    path
        The file.
    arrays
        Name -> NumPy array of a dtype that MXNet has: float16, float32, float64, uint8, int8, int32
        or int64.

    Raises
    ------
    ValueError
        An array has another dtype.
    """
    parts = [struct.pack("<QQQ", _MAGIC, 0, len(arrays))]
    for array in map(np.asarray, arrays.values()):
        number = _DTYPES.index(array.dtype)
        parts.append(struct.pack("<Iii%dq" % array.ndim, _ARRAY, 0, array.ndim, *array.shape))
        parts += [struct.pack("<iii", 1, 0, number), array.tobytes()]
    parts.append(struct.pack("<Q", len(arrays)))
    for name in arrays:
        parts += [struct.pack("<Q", len(name.encode())), name.encode()]
    content = b"".join(parts)
    with open(path, "wb") as file:
        file.write(content + _seal(content))


def load_npy(path: Path) -> HostArray:
    """Read the array of a .npy file.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    HostArray
        The array.

    Raises
    ------
    Exception
        Nearly any exception, if the file is missing, torn or pickled.
    """
    check_ordinary(path)
    return np.load(path, allow_pickle=False)


def load_npz(path: Path | IO[bytes], only: str | None = None) -> dict[str, HostArray]:
    """Read arrays of a .npz archive, which holds a checksum of each array.

    Parameters
    ----------
    path
        A path, or an open binary file.
    only
        Name of the one array to read; by default all are read.

    Returns
    -------
    dict
        Name -> NumPy array.

    Raises
    ------
    BrokenFile
        The archive lacks the array `only`, its compressed arrays would unpack to more than 2 GiB,
        or its arrays overlap, share a name, or have sizes that make no sense.
    Exception
        Nearly any exception, if the archive is torn.
    """
    if isinstance(path, (str, os.PathLike)):
        check_ordinary(path)
    arrays = {}
    with zipfile.ZipFile(path) as archive:
        members = _members(archive)
        if only is not None:
            if only not in members:
                raise BrokenFile("it holds no array %s; it has %s" % (only, ", ".join(members)))
            members = {only: members[only]}
        if sum(info.file_size for info in members.values() if info.compress_type != zipfile.ZIP_STORED) > _UNPACKED:
            raise BrokenFile("it would unpack to more than 2 GiB")
        for name, info in members.items():
            arrays[name] = np.lib.format.read_array(io.BytesIO(archive.read(info)), allow_pickle=False)
    return arrays


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Return the members of an archive by the names of their arrays.

    Raise BrokenFile if they overlap, share a name, or have sizes that make no sense.
    """
    infos = sorted(archive.infolist(), key=lambda info: info.header_offset)
    ends = [info.header_offset + info.compress_size for info in infos]
    if any(end > other.header_offset for end, other in zip(ends, infos[1:])):
        raise BrokenFile("its arrays overlap")
    if any(info.compress_type == zipfile.ZIP_STORED and info.file_size != info.compress_size for info in infos):
        raise BrokenFile("the sizes of its arrays make no sense")
    members = {info.filename.rpartition(".npy")[0]: info for info in archive.infolist()}
    if len(members) < len(infos):
        raise BrokenFile("it holds two arrays of one name")
    return members


def sha256(arrays: Iterable[HostArray]) -> str:
    """Return the SHA-256 of the numbers of arrays, one array after the other.

    Parameters
    ----------
    arrays
        NumPy arrays. Their shapes do not enter the hash.

    Returns
    -------
    str
        Hexadecimal digits.
    """
    digest = hashlib.sha256()
    for array in arrays:
        # The stubs of NumPy 1 do not say that an array is a buffer.
        digest.update(np.ascontiguousarray(array))  # pyright: ignore[reportArgumentType]
    return digest.hexdigest()
