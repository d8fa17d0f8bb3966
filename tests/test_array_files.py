"""Files of arrays: MXNet and the package read each other's files, and broken files are refused."""

import copy
import io
import os
import struct
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest

from binary_rbm import BinaryRBMBlock
from gluon_rbm.backend import array_files
from gluon_rbm.backend.framework import mx
from gluon_rbm.cli import inpaint
from gluon_rbm.errors import InputError
from gluon_rbm.evaluation import frechet
from gluon_rbm.models import files, interchange
from gluon_rbm.models.parameters import Parameters

DTYPES = ("float32", "float64", "float16", "uint8", "int32", "int8", "int64")


@pytest.fixture
def arrays(generator):
    found = {dtype: generator.integers(0, 100, (3, 2)).astype(dtype) for dtype in DTYPES}
    return {**found, "flat": generator.normal(size=5).astype("f4"), "0.odd name: é": np.ones((1, 2, 3), "f4")}


def same(found, expected):
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype, name
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def test_mxnet_and_the_package_read_each_others_files(arrays, tmp_path):
    array_files.save(tmp_path / "ours", arrays)
    mx.nd.save(str(tmp_path / "theirs"), {n: mx.nd.array(array, dtype=array.dtype) for n, array in arrays.items()})
    ours, theirs = ((tmp_path / name).read_bytes() for name in ("ours", "theirs"))
    assert ours[: len(theirs)] == theirs and ours[len(theirs) :].startswith(b"\nsha256 ")
    for path in (tmp_path / "ours", tmp_path / "theirs"):
        same(array_files.load(path), arrays)
        same({name: array.asnumpy() for name, array in mx.nd.load(str(path)).items()}, arrays)


def test_arrays_of_mxnets_numpy_interface(tmp_path):
    with mx.util.np_shape(True), mx.util.np_array(True):
        mx.npx.save(str(tmp_path / "file"), {"a": mx.np.array([1.0, 2.0]), "b": mx.np.array(3.0)})
    same(array_files.load(tmp_path / "file"), {"a": np.array([1, 2], "f4"), "b": np.array(3, "f4")})


def test_any_changed_byte_of_a_sealed_file_is_seen(tmp_path):
    path = tmp_path / "file"
    array_files.save(path, {"a": np.ones(3, "f4"), "b": np.zeros((2, 2), "f4")})
    content = path.read_bytes()
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 0x20
        path.write_bytes(changed)
        with pytest.raises(array_files.BrokenFile):
            array_files.load(path)
    for length in range(len(content)):
        path.write_bytes(content[:length])
        if content[length:].startswith(b"\nsha256 "):
            assert len(array_files.load(path)) == 2  # without the hash, it is a file of MXNet
        else:
            with pytest.raises(array_files.BrokenFile):
                array_files.load(path)


def record(shape=(2,), dtype=0, magic=0xF993FAC9, kind=0, content=bytes(8)):
    lengths = struct.pack("<%dq" % len(shape), *shape)
    return struct.pack("<Iii", magic, kind, len(shape)) + lengths + struct.pack("<iii", 1, 0, dtype) + content


def file_of(*records, names=None, magic=0x112, reserved=0, count=None):
    names = [b"%d" % number for number in range(len(records))] if names is None else names
    parts = [struct.pack("<QQQ", magic, reserved, len(records) if count is None else count), *records]
    parts += [struct.pack("<Q", len(names)), *(struct.pack("<Q", len(name)) + name for name in names)]
    return b"".join(parts)


@pytest.mark.parametrize(
    "content, said",
    [
        (b"", "not whole, or another kind"),
        (b"PK\3\4" + bytes(100), "not whole, or another kind"),
        (file_of(record(), magic=0x113), "not whole, or another kind"),
        (file_of(record(), reserved=1), "not whole, or another kind"),
        (file_of(record(), count=2**63), "no dense array"),
        (file_of(count=2**63), "not whole, or another kind"),
        (file_of(record(), names=[]), "not whole, or another kind"),
        (file_of(record(), record(), names=[b"a", b"a"]), "two arrays of one name"),
        (file_of(record(), names=[b"\xff"]), "a name that is no text"),
        (file_of(record(shape=(2**62, 2**62))), "not whole"),
        (file_of(record(shape=(2**31,))), "not whole"),
        (file_of(record(shape=(-1, -2))), "no known type or shape"),
        (file_of(record(shape=(0, 2))), "no known type or shape"),
        (file_of(record(dtype=99)), "no known type or shape"),
        (file_of(record(dtype=-1)), "no known type or shape"),
        (file_of(record(kind=1)), "no dense array"),
        (file_of(record(magic=0xF993FAC8)), "no dense array"),
        (file_of(record(shape=(1,) * 33)), "no dense array"),
        (file_of(record(shape=())), "no dense array"),
        (file_of(record(content=np.array([1, np.nan], "f4").tobytes())), "not finite"),
        (file_of(record()) + b"more", "by its hash"),
        (file_of(record()) + b"\nsha256 %s\n" % (b"0" * 64), "by its hash"),
    ],
    ids=range(22),
)
def test_broken_files_are_refused(tmp_path, content, said):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(array_files.BrokenFile, match=said):
        array_files.load(tmp_path / "file")


# --- .npz -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_archives_are_read(arrays, tmp_path, save):
    save(tmp_path / "file.npz", **arrays)
    same(array_files.load_npz(tmp_path / "file.npz"), arrays)
    same(array_files.load_npz(tmp_path / "file.npz", only="flat"), {"flat": arrays["flat"]})
    with pytest.raises(array_files.BrokenFile, match="it holds no array none; it has float32, "):
        array_files.load_npz(tmp_path / "file.npz", only="none")


def test_archives_that_unpack_to_too_much_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(array_files, "_UNPACKED", 10**6)
    np.savez_compressed(tmp_path / "bomb.npz", small=np.ones(3), large=np.zeros(10**6))
    same(array_files.load_npz(tmp_path / "bomb.npz", only="small"), {"small": np.ones(3)})
    with pytest.raises(array_files.BrokenFile, match="unpack to more than"):
        array_files.load_npz(tmp_path / "bomb.npz")
    np.savez(tmp_path / "large.npz", large=np.zeros(10**6))  # not compressed
    assert array_files.load_npz(tmp_path / "large.npz")["large"].shape == (10**6,)


def test_archives_with_overlapping_arrays_are_refused(tmp_path):
    """800 members lie at the same place of a file, so 1.5 MB would be read as 1.2 GB."""
    path = tmp_path / "bomb.npz"
    content = io.BytesIO()
    np.save(content, np.zeros(3 * 2**16))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", content.getvalue())
        for number in range(800):
            info = copy.copy(archive.infolist()[0])
            info.filename = "%d.npy" % number
            archive.filelist.append(info)
            archive.NameToInfo[info.filename] = info
        archive._didModify = True
    assert path.stat().st_size < 1.7e6
    with pytest.raises(array_files.BrokenFile, match="its arrays overlap"):
        array_files.load_npz(path)


def test_archives_with_two_arrays_of_one_name_are_refused(tmp_path):
    content = io.BytesIO()
    np.save(content, np.zeros(3))
    with zipfile.ZipFile(tmp_path / "file.npz", "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("a.npy", content.getvalue())
        archive.writestr("a.npy", content.getvalue())
    with pytest.raises(array_files.BrokenFile, match="two arrays of one name"):
        array_files.load_npz(tmp_path / "file.npz")


@pytest.mark.parametrize("load", [array_files.load, array_files.load_npy, array_files.load_npz])
def test_files_larger_than_the_memory_are_not_read(tmp_path, load):
    """A file with a hole needs no room on the disk, but it would fill the memory."""
    path = tmp_path / "file"
    with open(path, "wb") as file:
        np.save(file, np.zeros(3))
        file.truncate(1 << 42)
    with pytest.raises(OSError, match="it has more than"):
        load(path)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_floats_of_another_size_become_float32_everywhere(tmp_path, generator, dtype):
    values = [generator.normal(size=shape).astype(dtype) for shape in (4, 3, (4, 3))]
    arrays = dict(zip(Parameters._fields, values))
    array_files.save(tmp_path / "rbm.params", arrays)
    np.savez(tmp_path / "rbm.npz", **arrays)
    block = BinaryRBMBlock(num_hidden=3, k=1, for_training=False)
    block.load_parameters(str(tmp_path / "rbm.params"))
    found = [
        files.read_parameters(tmp_path / "rbm.params"),
        interchange.read(tmp_path / "rbm.params")[0],
        interchange.read(tmp_path / "rbm.npz")[0],
        block.rbm_parameters,
    ]
    for parameters in found:
        for array, value in zip(parameters, values):
            assert array.dtype == np.float32
            np.testing.assert_array_equal(array.asnumpy(), value.astype(np.float32))


@pytest.mark.parametrize("shape", ["(10000000000000,)", "(3000000000, 3000000000)", "(-1,)", "(2,)"])
def test_archives_with_wrong_headers_are_refused(tmp_path, shape):
    text = "{'descr': '<f8', 'fortran_order': False, 'shape': %s}\n" % shape
    member = b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text.encode() + bytes(8)
    with zipfile.ZipFile(tmp_path / "file.npz", "w") as archive:
        archive.writestr("a.npy", member)
    with pytest.raises((ValueError, MemoryError)):
        array_files.load_npz(tmp_path / "file.npz")


def test_no_pickle_is_read(tmp_path):
    class Trap:
        def __reduce__(self):
            return exec, ("raise SystemExit('pickled code ran')",)

    content = io.BytesIO()
    np.save(content, np.array([Trap()], object), allow_pickle=True)
    with zipfile.ZipFile(tmp_path / "file.npz", "w") as archive:
        archive.writestr("a.npy", content.getvalue())
    with pytest.raises(ValueError, match="Object arrays cannot be loaded"):
        array_files.load_npz(tmp_path / "file.npz")


def test_pipes_are_refused_at_once(tmp_path):
    """A pipe as a mask, a network or a file of parameters is refused at once."""
    os.mkfifo(tmp_path / "pipe")
    os.mkfifo(tmp_path / "pipe-symbol.json")
    with pytest.raises(InputError, match="cannot be read as an array"):
        inpaint._mask(SimpleNamespace(mask=str(tmp_path / "pipe")), (2, 2), 1)
    with pytest.raises(InputError, match="it is no ordinary file"):
        frechet.load_network(str(tmp_path / "pipe"))
    with pytest.raises(InputError, match="it is no ordinary file"):
        files.read_arrays(tmp_path / "pipe")
