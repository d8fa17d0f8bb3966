"""The command `doctor`, in this environment and in environments that lack something."""

import gzip

import numpy as np
import pytest
from published_files import IDX_NAMES, idx_bytes, sha256
from sites import fails_to_load, make_site, run_python

from gluon_rbm import __main__
from gluon_rbm.backend import native
from gluon_rbm.data import downloads

PACKAGES = ("numpy", "numpy.libs", "setuptools", "_distutils_hack")


@pytest.fixture
def doctor(capsys, tmp_path, monkeypatch):
    """Run `doctor` where there are no data sets; return (status, lines of its output)."""
    (tmp_path / "nothing").mkdir()
    for name in ("MXNET_RBM_DATA", "MXNET_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "nothing"))

    def run(*arguments):
        status = __main__.main(["doctor", *map(str, arguments)])
        return status, capsys.readouterr().out.splitlines()

    return run


def elsewhere(site):
    """Run `doctor` in a Python that sees only this site folder; return (status, lines)."""
    done = run_python(site, "import sys; from gluon_rbm import __main__; sys.exit(__main__.main(['doctor']))")
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout.splitlines()


def test_doctor_in_this_environment(doctor):
    status, lines = doctor()
    assert status == (0 if native.available() else 1)
    begins = {line[:16].strip() for line in lines}
    assert {"mxnet-rbm", "Python", "NumPy", "processor", "MXNet", "native engine", "GPU", "step, mxnet"} <= begins
    assert ("step, native" in begins) == bool(native.available())
    (mnist,) = (line for line in lines if line.startswith("mnist "))
    assert "not found" in mnist


def test_missing_and_damaged_data_sets_are_reported(doctor, tmp_path):
    name = "train-images-idx3-ubyte.gz"
    (tmp_path / name).write_bytes(gzip.compress(b"no images"))
    _, lines = doctor("--data-dir", tmp_path)
    (mnist,) = (line for line in lines if line.startswith("mnist "))
    assert str(tmp_path) in mnist
    assert "train-labels-idx1-ubyte.gz" in mnist  # it is missing
    for rest in ("train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"):
        (tmp_path / (rest + ".gz")).write_bytes(gzip.compress(b"no images"))
    status, lines = doctor("--data-dir", tmp_path)
    assert status == 1
    (after,) = (i for i, line in enumerate(lines) if line.startswith("mnist "))
    assert "WRONG" in lines[after + 1]
    assert name in lines[after + 1]
    assert lines[-1].startswith("Wrong: ")
    assert "mnist" in lines[-1]


def test_missing_folders_are_reported(doctor, tmp_path, monkeypatch):
    # With this role the import of MXNet would wait for a run. In this process MXNet is imported.
    monkeypatch.setenv("DMLC_ROLE", "server")
    monkeypatch.setenv("MXNET_RBM_DATA", str(tmp_path / "nowhere"))
    status, lines = doctor("--data-dir", tmp_path / "mistyped")
    assert status == 1
    assert sum("mistyped" in line for line in lines) == 1
    assert lines[-1] == "Wrong: --data-dir, MXNET_RBM_DATA"
    assert any(line.startswith("DMLC_ROLE") and "server" in line for line in lines)


def test_doctor_imports_mxnet_without_a_role(tmp_path, monkeypatch):
    monkeypatch.setenv("DMLC_ROLE", "server")
    site = make_site(
        tmp_path, PACKAGES, mxnet="import os; assert 'DMLC_ROLE' not in os.environ; raise OSError('no: more')"
    )
    _, lines = elsewhere(site)
    assert any("no: more" in line for line in lines)


@pytest.mark.parametrize(
    "setting, said",
    [
        ({}, "`pip install --no-deps mxnet==1.9.1`"),
        ({"mxnet": fails_to_load("libgomp.so.1: cannot open shared object file")}, "libgomp.so.1"),
        (
            {"wheels": ["mxnet-cu112"], "mxnet": fails_to_load("libcudnn.so.8: cannot open shared object file")},
            "pip install nvidia-cudnn-cu11",
        ),
        ({"mxnet": "raise AttributeError('module numpy has no attribute bool')"}, "numpy has no attribute bool"),
    ],
)
def test_without_mxnet_the_rest_is_reported(tmp_path, setting, said):
    status, lines = elsewhere(make_site(tmp_path, PACKAGES, **setting))
    assert status == 1
    (at,) = (i for i, line in enumerate(lines) if line.startswith("MXNet "))
    assert "WRONG" in lines[at + 1]
    assert said in lines[at + 1]
    assert any(line.startswith("processor ") for line in lines)
    assert any(line.startswith("mnist ") for line in lines)
    assert "MXNet" in lines[-1]


def test_missing_libraries_are_reported(tmp_path):
    status, lines = elsewhere(make_site(tmp_path, PACKAGES))
    assert status == 1
    assert any(
        "pip install jinja2 matplotlib pillow requests scikit-learn threadpoolctl tqdm" in line for line in lines
    )


@pytest.mark.parametrize("packed", [True, False])
def test_a_plain_folder_of_mnist_is_verified(doctor, tmp_path, monkeypatch, packed):
    """The folder itself holds the files. Fashion-MNIST uses the same names, but is not found."""
    images, labels = idx_bytes(np.zeros((3, 4, 4), np.uint8)), idx_bytes(np.zeros(3, np.uint8))
    contents = dict(zip(IDX_NAMES, (images, labels, images, labels)))
    files = []
    (tmp_path / "plain" / "fashion-mnist").mkdir(parents=True)
    for name, content in contents.items():
        archive = gzip.compress(content)
        files.append(downloads.RemoteFile(name, (), sha256(archive), sha256(content)))
        path = tmp_path / "plain" / (name if packed else name[: -len(".gz")])
        path.write_bytes(archive if packed else content)
    monkeypatch.setitem(downloads.SOURCES, "mnist", files)
    status, lines = doctor("--data-dir", tmp_path / "plain")
    found = {line.partition(" ")[0]: line for line in lines}
    assert "3 training images in %s, verified" % (tmp_path / "plain") in found["mnist"]
    assert "not found" in found["fashion-mnist"] and not any("mnist" in line for line in lines if "WRONG" in line)
    assert status == (0 if native.available() else 1)
    for path in (tmp_path / "plain").iterdir():
        if path.is_file():
            path.rename(tmp_path / "plain" / "fashion-mnist" / path.name)
    status, lines = doctor("--data-dir", tmp_path / "plain")
    assert status == 1 and any("WRONG" in line and "belongs to another data set, mnist" in line for line in lines)
