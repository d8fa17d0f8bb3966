"""The import of MXNet with what it needs, one-line errors, and the choice of the device."""

import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sites import fails_to_load, make_site, run_python

import gluon_rbm
from gluon_rbm.backend import devices, framework, import_hook, wheels
from gluon_rbm.backend.arrays import assign_product, from_host, host_view
from gluon_rbm.backend.devices import _probe_gpu, choose_context
from gluon_rbm.backend.framework import mx, versions
from gluon_rbm.errors import InputError

# --- Import ---------------------------------------------------------------------------------------

# Each case runs in a Python of its own, which sees only the site folder made for it.


FIRST_USE = "from gluon_rbm.backend.framework import mx; mx.__file__"


def import_error(site):
    """Return the line of the ImportError at the first use of MXNet. It is the only traceback."""
    done = run_python(site, FIRST_USE)
    assert done.returncode == 1
    assert done.stderr.count("Traceback") == 1, done.stderr
    last_line = done.stderr.strip().splitlines()[-1]
    assert last_line.startswith("ImportError: "), done.stderr
    return last_line


def test_mxnet_is_imported_at_its_first_use(tmp_path):
    code = "import sys; from gluon_rbm.backend.framework import mx; print('mxnet' in sys.modules, mx.a, mx.b, {})"
    again = "__import__('gluon_rbm.backend.framework').backend.framework.mx is sys.modules['mxnet']"
    done = run_python(make_site(tmp_path, mxnet="print('imported'); a, b = 1, 2"), code.format(again))
    assert done.stdout == "imported\nFalse 1 2 True\n", done.stderr


def test_a_failed_import_is_reported_again_at_the_next_use(tmp_path):
    code = """
from gluon_rbm.backend.framework import mx
for _ in range(2):
    try:
        mx.nd
    except ImportError as error:
        print(error)
"""
    done = run_python(make_site(tmp_path, mxnet=fails_to_load("libgomp.so.1: no such file")), code)
    assert len(done.stdout.splitlines()) == 2 and len(set(done.stdout.splitlines())) == 1, done.stderr


def test_says_how_to_install_a_missing_mxnet(tmp_path):
    message = import_error(make_site(tmp_path))
    for remedy in (
        "`pip install --no-deps mxnet==1.9.1`",
        "`pip install 'mxnet-rbm[cu112]' && pip install --no-deps mxnet-cu112==1.9.1`",
    ):
        assert remedy in message


def test_a_clone_is_installed_from_its_own_folder(tmp_path):
    information = tmp_path / "mxnet_rbm-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: mxnet-rbm\nVersion: 1.0\n")
    (information / "direct_url.json").write_text('{"dir_info": {"editable": true}, "url": "file:///home/a%20b/clone"}')
    assert "`pip install '/home/a b/clone[cu112]' && pip install --no-deps mxnet-cu112" in import_error(
        make_site(tmp_path)
    )


def test_a_command_says_what_is_missing_in_one_line(tmp_path):
    done = run_python(make_site(tmp_path), "from gluon_rbm import __main__; __main__.main(['weights', 'model'])")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1, done.stderr


def test_says_that_the_driver_is_missing(tmp_path):
    reason = "libcuda.so.1: cannot open shared object file: No such file or directory"
    message = import_error(make_site(tmp_path, wheels=["mxnet-cu112"], mxnet=fails_to_load(reason)))
    for part in ("libcuda.so.1", "install the NVIDIA driver", "pip uninstall -y mxnet-cu112", "--no-deps mxnet==1.9.1"):
        assert part in message


def test_names_the_package_of_a_missing_cuda_library(tmp_path):
    reason = "libcudnn.so.8: cannot open shared object file: No such file or directory"
    message = import_error(make_site(tmp_path, wheels=["mxnet-cu112"], mxnet=fails_to_load(reason)))
    assert "libcudnn.so.8" in message
    assert "pip install nvidia-cudnn-cu11" in message


def test_names_a_missing_library_of_the_system(tmp_path):
    reason = "libgomp.so.1: cannot open shared object file: No such file or directory"
    message = import_error(make_site(tmp_path, wheels=["mxnet"], mxnet=fails_to_load(reason)))
    assert "install the system's package that has libgomp.so.1" in message


def test_says_where_arms_libraries_come_from(tmp_path):
    reason = "libarmpl_lp64_mp.so: cannot open shared object file: No such file or directory"
    message = import_error(make_site(tmp_path, wheels=["mxnet"], mxnet=fails_to_load(reason)))
    assert "needs Arm's Performance Libraries on LD_LIBRARY_PATH, see docs/installing.md" in message


def test_quotes_other_errors_of_the_linker(tmp_path):
    reason = "libmxnet.so: invalid ELF header\nsecond line"
    message = import_error(make_site(tmp_path, wheels=["mxnet"], mxnet=fails_to_load(reason)))
    assert "libmxnet.so: invalid ELF header" in message


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Python has distutils itself")
def test_says_that_python_needs_setuptools(tmp_path):
    message = import_error(make_site(tmp_path, packages=("numpy", "numpy.libs"), mxnet=""))
    assert "pip install setuptools" in message


def test_other_missing_modules_keep_their_own_error(tmp_path):
    done = run_python(make_site(tmp_path, mxnet="import graphviz_of_mxnet"), FIRST_USE)
    assert "ModuleNotFoundError: No module named 'graphviz_of_mxnet'" in done.stderr


def test_warns_of_two_wheels_in_one_folder(tmp_path):
    site = make_site(tmp_path, wheels=["mxnet", "mxnet-cu112"], mxnet="")
    done = run_python(site, FIRST_USE)
    assert done.returncode == 0, done.stderr
    (line,) = (line for line in done.stderr.splitlines() if "RuntimeWarning" in line)
    assert "pip uninstall -y mxnet mxnet-cu112" in line


def test_provides_distutils_and_numpy_aliases_for_mxnet(tmp_path):
    needs = "import distutils.version, numpy; numpy.bool, numpy.int; __version__ = 'fake'"
    done = run_python(
        make_site(tmp_path, mxnet=needs), "from gluon_rbm.backend.framework import mx; print(mx.__version__)"
    )
    assert done.stdout == "fake\n", done.stderr


@pytest.mark.slow
def test_import_is_silent_even_where_warnings_are_errors():
    code = "from gluon_rbm.backend.framework import mx; mx.nd.ones((1,)).wait_to_read()"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_numpy_aliases_stay_for_lazy_uses():
    assert np.dtype(np.bool) == np.dtype("bool")
    assert mx.np.array([True, False], dtype=mx.np.bool).dtype == np.bool_
    assert "int" in vars(np)


def test_executors_do_not_announce_their_backend(capfd):
    mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=2).simple_bind(ctx=mx.cpu(), data=(1, 2))
    assert "MKLDNN" not in "".join(capfd.readouterr())


# --- CUDA libraries -------------------------------------------------------------------------------


@pytest.fixture
def loaded(monkeypatch):
    """The names given to `ctypes.CDLL`, in order. It loads nothing, and fails for libnvrtc."""
    names = []

    def load(path, mode):
        assert mode == wheels.ctypes.RTLD_GLOBAL
        names.append(Path(path).name)
        if "nvrtc" in path:
            raise OSError("cannot load")

    monkeypatch.setattr(wheels.ctypes, "CDLL", load)
    return names


def add_library(site, folder, name):
    library = site / "nvidia" / folder / "lib" / name
    library.parent.mkdir(parents=True, exist_ok=True)
    library.touch()


def test_preloads_what_is_there_after_what_it_needs(tmp_path, monkeypatch, loaded):
    first, second = tmp_path / "first", tmp_path / "second"
    for site, folder, name in (
        (first, "cudnn", "libcudnn.so.8"),
        (first, "cublas", "libcublas.so.11"),
        (first, "cublas", "libcublasLt.so.11"),
        (first, "cublas", "libnvblas.so.11"),
        (second, "cuda_nvrtc", "libnvrtc.so.11.2"),
        (second, "cuda_runtime", "libcudart.so.11.0"),
        (second, "cudnn", "libcudnn.so.8"),
    ):
        add_library(site, folder, name)
    monkeypatch.setattr(sys, "path", [str(first), str(tmp_path / "nowhere"), str(second)])

    wheels.preload_cuda_libraries()

    assert loaded == ["libcudart.so.11.0", "libnvrtc.so.11.2", "libcublasLt.so.11", "libcublas.so.11", "libcudnn.so.8"]


@pytest.mark.parametrize("wheel, preloads", [("mxnet", False), ("mxnet-cu112", True), ("mxnet-cu117", True)])
def test_preloads_only_for_a_cuda_wheel(monkeypatch, wheel, preloads):
    called = []
    monkeypatch.setattr(wheels, "installed_wheels", lambda: [wheel])
    monkeypatch.setattr(wheels, "preload_cuda_libraries", lambda: called.append(True))
    import_hook.prepare.cache_clear()
    assert framework._import_mxnet() is mx
    assert bool(called) == preloads


# --- Choice of the device -------------------------------------------------------------------------


class FakeGpus:
    """What MXNet reports of its GPUs: their number or an error, and the error of a kernel."""

    def __init__(self, monkeypatch, cuda=True, count=1, kernel_error=None, driver=True):
        self.cuda, self.count, self.kernel_error = cuda, count, kernel_error
        monkeypatch.setattr(devices, "_has_driver", lambda: driver)
        monkeypatch.setattr(mx.runtime, "Features", lambda: self)
        monkeypatch.setattr(mx.context, "num_gpus", self.num_gpus)
        monkeypatch.setattr(mx.nd, "ones", self.ones)

    def is_enabled(self, name):
        return name == "CUDA" and self.cuda

    def num_gpus(self):
        if isinstance(self.count, Exception):
            raise self.count
        return self.count

    def ones(self, shape, ctx):
        assert ctx.device_type == "gpu"
        return self

    def asnumpy(self):
        if self.kernel_error is not None:
            raise self.kernel_error


def mxnet_error(line):
    """An error as MXNet 1.9.1 words it: a trace, and then the line with the reason."""
    return mx.MXNetError(f'Traceback (most recent call last):\n  File "../src/x.cc", line 81\nMXNetError: {line}\nmore')


REASONS = {
    "CPU-only build": (dict(cuda=False), 0, ["CPU-only build", "[cu112]"]),
    "no driver": (dict(cuda=False, driver=False), 0, ["no NVIDIA driver"]),
    "no device": (dict(count=0), 0, ["no GPU", "nvidia-smi", "CUDA_VISIBLE_DEVICES"]),
    "device_id too large": (dict(count=2), 2, ["no GPU 2", "sees 2"]),
    "device_id negative": (dict(count=2), -1, ["no GPU -1", "sees 2"]),
    "driver": (dict(count=mxnet_error("CUDA: unknown error")), 0, ["NVIDIA driver", "(CUDA: unknown error)"]),
    "GPU too new": (
        dict(kernel_error=mxnet_error("ErrStr:no kernel image is available for execution on the device")),
        0,
        ["no code for GPU 0", "5.0 to 8.9"],
    ),
    "kernel fails": (dict(kernel_error=mxnet_error("out of memory")), 0, ["GPU 0 does not work (out of memory)"]),
    "terse error": (dict(kernel_error=mx.MXNetError("[10:00:00] x.cc:1: oops\nmore")), 0, ["x.cc:1: oops)"]),
}


@pytest.mark.parametrize("gpus, device_id, parts", REASONS.values(), ids=REASONS)
def test_probe_says_why_in_one_line(monkeypatch, gpus, device_id, parts):
    FakeGpus(monkeypatch, **gpus)
    reason = _probe_gpu(device_id)
    assert "\n" not in reason
    for part in parts:
        assert part in reason


def test_probe_finds_a_working_gpu(monkeypatch):
    FakeGpus(monkeypatch, count=2)
    assert _probe_gpu(1) is None


def test_default_takes_the_gpu_where_there_is_one(monkeypatch):
    monkeypatch.setattr(devices, "_probe_gpu", lambda device_id: None)
    assert choose_context(device_id=1) == (mx.gpu(1), None)
    assert choose_context(cuda=True, device_id=1) == (mx.gpu(1), None)


def test_default_falls_back_to_the_cpu_and_says_why(monkeypatch):
    monkeypatch.setattr(devices, "_probe_gpu", lambda device_id: f"GPU {device_id} is asleep")
    assert choose_context(device_id=3) == (mx.cpu(), "using the CPU: GPU 3 is asleep")


def test_explicit_gpu_must_be_usable(monkeypatch):
    monkeypatch.setattr(devices, "_probe_gpu", lambda device_id: f"GPU {device_id} is asleep")
    with pytest.raises(InputError, match="^cannot use the GPU: GPU 3 is asleep; leave --cuda out to use the CPU$"):
        choose_context(cuda=True, device_id=3)


def test_explicit_cpu_probes_no_gpu(monkeypatch):
    monkeypatch.setattr(devices, "_probe_gpu", lambda device_id: pytest.fail("probed"))
    assert choose_context(cuda=False) == (mx.cpu(), None)


def test_chosen_context_computes():
    context, note = choose_context()
    assert mx.nd.ones((2,), ctx=context).asnumpy().tolist() == [1, 1]
    assert (note is None) == (context.device_type == "gpu")


# --- Arrays ---------------------------------------------------------------------------------------


def test_a_view_keeps_its_array_alive():
    views = [host_view(mx.nd.full((50, 20), number)) for number in range(20)]
    mx.nd.waitall()
    later = [mx.nd.full((50, 20), -1) for _ in range(40)]  # they reuse any memory that is free
    mx.nd.waitall()
    assert len(later) == 40
    for number, view in enumerate(views):
        np.testing.assert_array_equal(view, np.full((50, 20), number, "float32"))
    views[3][:] = 7
    assert views[3].sum() == 7000


@pytest.mark.parametrize("stype", ["csr", "row_sparse"])
def test_sparse_arrays_have_no_view(stype):
    with pytest.raises(InputError, match="dense one is needed"):
        host_view(mx.nd.ones((3, 4)).tostype(stype))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32", "uint8"])
def test_arrays_from_the_host_are_copies(dtype):
    array = np.arange(6).reshape(2, 3).astype(dtype)
    ours = from_host(array)
    array[:] = 0
    assert ours.dtype == array.dtype and ours.context == mx.cpu()
    np.testing.assert_array_equal(ours.asnumpy(), np.arange(6).reshape(2, 3))


@pytest.mark.parametrize("how, expected", [("write", 11), ("inplace", 11), ("add", 12), ("null", 1)])
def test_a_product_is_stored_as_asked(how, expected):
    target = mx.nd.ones((2, 2))
    left, right = np.array([[1, 2], [1, 2]], "float32"), np.array([[3, 3], [4, 4]], "float32")
    assign_product(target, how, left, right)
    np.testing.assert_array_equal(target.asnumpy(), np.full((2, 2), expected))


# --- Versions -------------------------------------------------------------------------------------


def test_versions_name_what_is_installed():
    found = versions()
    assert found["mxnet-rbm"] == gluon_rbm.__version__
    assert found["python"] == platform.python_version()
    assert found["numpy"] == np.__version__
    assert found["mxnet"].startswith(f"{mx.__version__} (")
    assert found["platform"]


@pytest.mark.parametrize(
    "installed, words",
    [
        (["mxnet-cu112"], "(mxnet-cu112)"),
        (["mxnet", "mxnet-cu112"], "(mxnet and mxnet-cu112)"),
        ([], "not installed by pip"),
    ],
)
def test_versions_name_the_build(monkeypatch, installed, words):
    monkeypatch.setattr(framework, "installed_wheels", lambda: installed)
    assert words in versions()["mxnet"]
