"""Rows of the table: damaged, foreign and harmful files, given to the code that reads files."""

import contextlib
import gzip
import hashlib
import io
import json
import os
import pickle
import resource
import warnings

import numpy as np
from children import check, run, scratch
from PIL import Image
from published_files import cifar10_archive, cifar10_members, idx_bytes

from binary_rbm import BinaryRBMBlock
from gluon_rbm.backend.framework import mx
from gluon_rbm.data import datasets, downloads, image_files
from gluon_rbm.data.batches import to_visible
from gluon_rbm.errors import InputError, one_line
from gluon_rbm.evaluation import frechet
from gluon_rbm.likelihood.state_file import Progress, StateFile
from gluon_rbm.models import networks
from gluon_rbm.models.files import read_model
from gluon_rbm.training import run_folder, run_records
from gluon_rbm.training.checkpoint import Checkpoint

_MEMORY = 6 << 30  # limit of a reader's address space, in bytes


class _Model:
    """A binary RBM of 16 visible and 6 hidden units."""

    shapes = {"visible_layer_bias": (16,), "hidden_layer_bias": (6,), "interaction_weight": (16, 6)}
    arrays = {name: np.random.default_rng(1).normal(size=shape).astype("f4") for name, shape in shapes.items()}


def _digest(*arrays):
    return hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)).hexdigest()


class _File:
    """A kind of file. If `sealed`, a changed file is refused or read as the original."""

    name, sealed = None, False

    def make(self, folder):
        """Write a file of this kind. Returns its path."""
        raise NotImplementedError

    def read(self, path):
        """Read the file as the program does, check it, and return a digest of its content."""
        raise NotImplementedError


class _Parameters(_File):
    name, sealed = "rbm.params", True

    def make(self, folder):
        run_folder.array_files.save(folder / "rbm.params", _Model.arrays)
        return folder / "rbm.params"

    def read(self, path):
        parameters, _ = read_model(path)
        arrays = [array.asnumpy() for array in parameters]
        check(all(np.isfinite(array).all() for array in arrays), "it is not finite")
        check(arrays[2].shape == (len(arrays[0]), len(arrays[1])), "shapes do not fit")
        return _digest(*arrays)


class _ParametersOfMXNet(_Parameters):
    name, sealed = "rbm.params as MXNet writes it", False

    def make(self, folder):
        mx.nd.save(str(folder / "rbm.params"), {name: mx.nd.array(array) for name, array in _Model.arrays.items()})
        return folder / "rbm.params"

    def read(self, path):
        super().read(path)
        rbm = BinaryRBMBlock(6, 1, for_training=False)
        rbm.load_parameters(str(path))
        arrays = [array.asnumpy() for array in rbm.rbm_parameters]
        check(all(np.isfinite(array).all() for array in arrays), "it is not finite")
        return _digest(*arrays)


class _Network(_File):
    name, sealed = "rbm.params of train-multinary", True

    def make(self, folder):
        description = networks.describe((1, 4, 4), dense=[3], maximum=1)
        network = networks.build(description)
        networks.initialize(network, description)
        networks.save(str(folder / "rbm.params"), network, description)
        return folder / "rbm.params"

    def read(self, path):
        network, _ = networks.read(str(path))
        return _digest(*(parameter.data().asnumpy() for parameter in networks.parameters(network).values()))


class _Checkpoint(_File):
    name, sealed = "checkpoint.npz", True

    def make(self, folder):
        metrics = [{"epoch": 1, "seconds": 1.5, "log_z": None}]
        checkpoint = Checkpoint(1, _Model.arrays, _Model.arrays, metrics, partial={"steps": np.array(2)})
        checkpoint.save(str(folder / "checkpoint.npz"))
        return folder / "checkpoint.npz"

    def read(self, path):
        found = Checkpoint.load(str(path))
        arrays = {**found.arrays, **{"o." + name: array for name, array in found.optimizer_state.items()}}
        text = json.dumps([found.epoch, found.steps, found.metrics, sorted(arrays)])
        return _digest(*(arrays[name] for name in sorted(arrays))) + text


class _State(_File):
    name = "the state of a long AIS"

    def make(self, folder):
        state = StateFile(str(folder / "state.npz"))
        visible = mx.nd.ones((5, 16))
        state.keep("up", "meaning", Progress(3, visible, np.arange(5.0)), done=True)
        return folder / "state.npz"

    def read(self, path):
        start = Progress(0, mx.nd.ones((5, 16)), np.zeros(5))
        step, visible, weights = StateFile(str(path)).resume("up", "meaning", start)
        check(visible.shape == (5, 16) and np.isfinite(weights).all(), "shapes do not fit")
        return _digest(visible.asnumpy(), weights) + str(step)


class _Metrics(_File):
    name = "metrics.csv"

    def make(self, folder):
        (folder / "metrics.csv").write_text("epoch,seconds,log_z\n1,0.5,3.25\n2,0.5,\n")
        return folder / "metrics.csv"

    def read(self, path):
        return str(run_records.read_metrics(path.parent))


class _Arguments(_File):
    name = "arguments.json"

    def make(self, folder):
        text = json.dumps({"arguments": {"seed": 1, "k": 2, "dataset": "digits"}, "versions": {"numpy": "1"}})
        (folder / "arguments.json").write_text(text)
        return folder / "arguments.json"

    def read(self, path):
        with contextlib.closing(run_folder.RunFolder(str(path.parent), "x", True)) as folder:
            recorded = run_records.read_arguments(folder.path)
            run_folder.check_same(folder.path, recorded, {"seed": 1, "k": 2, "dataset": "digits"})


class _Images(_File):
    name = "images.npy"

    def make(self, folder):
        np.save(folder / "images.npy", np.random.default_rng(2).random((20, 4, 4)).astype("f4"))
        return folder / "images.npy"

    def read(self, path):
        data = datasets.load(str(path))
        for images in (data.train_images, data.test_images):
            values = to_visible(images, data.maximum)
            check(values.size and values.min() >= 0 and values.max() <= 1, "pixels outside [0, 1]")
        return _digest(data.train_images, data.test_images)


class _Samples(_File):
    name = "samples.npz, compressed"

    def make(self, folder):
        np.savez_compressed(folder / "samples.npz", samples=np.ones((20, 16), "f4"))
        return folder / "samples.npz"

    def read(self, path):
        values = image_files.read_images(path, (4, 4), array="samples")
        check(values.shape[1] == 16 and values.min() >= 0 and values.max() <= 1, "pixels outside [0, 1]")
        return _digest(values)


class _Idx(_File):
    name, sealed = "an archive of MNIST's kind", True

    def make(self, folder):
        images = np.random.default_rng(3).integers(0, 256, (5, 4, 4), dtype=np.uint8)
        self.content = idx_bytes(images)
        name = downloads.SOURCES["mnist"][0].name
        (folder / name).write_bytes(gzip.compress(self.content))
        return folder / name

    def read(self, path):
        file = downloads.RemoteFile(path.name, (), "0" * 64, hashlib.sha256(self.content).hexdigest())
        return _digest(downloads._read_idx(path, file))


class _Cifar(_File):
    name, sealed = "an archive of CIFAR-10's kind", True

    def make(self, folder):
        self.archive = cifar10_archive(cifar10_members())
        (folder / "cifar-10-binary.tar.gz").write_bytes(self.archive)
        return folder / "cifar-10-binary.tar.gz"

    def read(self, path):
        file = downloads.RemoteFile(path.name, (), hashlib.sha256(self.archive).hexdigest())
        return _digest(*downloads._read_cifar10(path, file))


class _Picture(_File):
    def __init__(self, suffix):
        self.name, self._suffix = "a picture (%s)" % suffix, suffix

    def make(self, folder):
        pixels = np.random.default_rng(4).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / ("picture." + self._suffix))
        return folder / ("picture." + self._suffix)

    def read(self, path):
        values = image_files.read_images(path, (8, 8, 3))
        check(values.shape == (1, 192) and values.min() >= 0 and values.max() <= 1, "pixels outside [0, 1]")
        return _digest(values)


class _Exported(_File):
    name = "parameters of an exported network"

    def make(self, folder):
        network = mx.gluon.nn.HybridSequential()
        network.add(mx.gluon.nn.Flatten(), mx.gluon.nn.Dense(3, in_units=16))
        network.initialize()
        network.hybridize()
        network(mx.nd.ones((1, 1, 4, 4)))
        network.export(str(folder / "network"))
        return folder / "network-0000.params"

    def read(self, path):
        network = frechet.load_network(str(path)[: -len("-0000.params")])
        return _digest(frechet.features(network, np.ones((2, 16), "f4"), (4, 4)))


FILES = [
    _Parameters(), _ParametersOfMXNet(), _Network(), _Checkpoint(), _State(), _Metrics(), _Arguments(), _Images(),
    _Samples(), _Idx(), _Cifar(), *map(_Picture, ("png", "jpg", "bmp", "gif", "tif", "webp")), _Exported(),
]  # fmt: skip


# --- Rows -----------------------------------------------------------------------------------------


def flips(times, generator):
    """Bits flipped at random in each kind of file: one clear line, or what was read is sound."""
    total, refused, same = 0, 0, 0
    for file in FILES:
        counts = _offer(file, times, _flipped, int(generator.integers(2**31)))
        total, refused, same = total + times, refused + counts["refused"], same + counts["same"]
    return total, "%d kinds of file: %d refused, %d read as they were, %d read as something else that is sound" % (
        len(FILES), refused, same, total - refused - same,
    )  # fmt: skip


def _flipped(content, draw):
    changed = bytearray(content)
    for _ in range(1 if draw.random() < 0.5 else int(draw.integers(1, 9))):
        changed[draw.integers(len(changed))] ^= 1 << int(draw.integers(8))
    return bytes(changed)


def truncated(times, generator):
    """Each kind of file, cut off at a random place."""
    total, refused = 0, 0
    for file in FILES:
        counts = _offer(file, times, lambda c, draw: c[: draw.integers(len(c))], int(generator.integers(2**31)))
        total, refused = total + times, refused + counts["refused"]
    return total, "%d refused, the others read as something that is sound" % refused


def foreign(times, generator):
    """Each kind of file under the name of every other kind."""
    with scratch() as place:
        contents = [b"", b"\0" * 1000, b"{" * 5000, b"<html></html>", b"\x80\x04" + pickle.dumps({"a": 1})]
        for number, file in enumerate(FILES):
            (place / str(number)).mkdir()
            contents.append(run_in_child(lambda f=file, n=number: f.make(place / str(n)).read_bytes()))
    refused = 0
    for file in FILES:
        refused += _offer(file, len(contents), _one_after_the_other(contents), 0)["refused"]
    return len(FILES) * len(contents), "%d refused, the others are what could be meant" % refused


def no_code(times, generator):
    """Pickles that would write a file if they were loaded, in the place of each kind of file."""

    with scratch() as place:
        trace = str(place / "trace")

        class Trap:
            def __reduce__(self):
                return open, (trace, "w")

        raw = pickle.dumps(Trap())
        array = io.BytesIO()
        np.save(array, np.array([Trap()] * 3, object), allow_pickle=True)
        archive = io.BytesIO()
        np.savez(archive, progress=np.array([Trap()], object), samples=np.array([Trap()], object), a=np.ones(2))
        contents = [raw, array.getvalue(), archive.getvalue()]
        for file in FILES:
            _offer(
                file,
                len(contents),
                _one_after_the_other(contents),
                0,
                all_refused=file.name != "metrics.csv",
            )
        check(not os.path.exists(trace), "pickled code ran")
        pickle.loads(raw).close()
        check(os.path.exists(trace), "unpickling the file by hand runs no code either, so this shows nothing")
    return len(contents) * len(FILES), "nothing ran"


def _one_after_the_other(contents):
    left = iter(contents)
    return lambda content, draw: next(left)


def run_in_child(action):
    """The bytes that `action()` returns in a child, as MXNet must not run before a fork."""
    with scratch() as place:

        def write():
            (place / "result").write_bytes(action())

        ended = run(write)
        check(ended.status == 0, ended.errors)
        return (place / "result").read_bytes()


def _offer(file, times, change, seed, all_refused=False):
    """Read `times` changed files in a child, which must not crash.

    Returns how many were refused, and how many were read as the original.
    """
    with scratch() as place:
        progress = place / "trial"
        progress.write_text("0")
        (place / "file").mkdir()

        def work():
            warnings.simplefilter("ignore")
            resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
            path = file.make(place / "file")
            whole, original = path.read_bytes(), file.read(path)
            draw, counts = np.random.default_rng(seed), {"refused": 0, "same": 0}
            handle = os.open(progress, os.O_WRONLY)
            for trial in range(times):
                os.pwrite(handle, b"%09d" % trial, 0)
                content = change(whole, draw)
                path.write_bytes(content)
                try:
                    found = file.read(path)
                except MemoryError:
                    counts["refused"] += 1
                except InputError as error:
                    counts["refused"] += 1
                    check(str(error) == one_line(error) and len(str(error)) > 20, "no line:", str(error))
                else:
                    check(not all_refused, "it was read")
                    counts["same"] += found == original
                    check(found == original or not file.sealed, "a change was not seen")
                    if content == whole:
                        check(found == original, "not what was written")
            print(json.dumps(counts))

        ended = run(work)
        said = "%s, trial %s with seed %d:" % (file.name, progress.read_text(), seed)
        check(ended.status == 0, said, "status %d" % ended.status, ended.errors[-1500:])
        return json.loads(ended.said)
