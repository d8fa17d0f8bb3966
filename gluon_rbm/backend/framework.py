"""The one door to MXNet: makes `import mxnet` work on today's Pythons and NumPys, and chooses the device.

Every other module writes `from gluon_rbm.backend.framework import mx`. Importing this module raises `ImportError`,
in one line that says what to do, when MXNet is missing or cannot be loaded.
"""

import contextlib
import ctypes
import os
import platform
import sys
import warnings
from importlib import metadata, util
from pathlib import Path

import numpy as np

from gluon_rbm import __version__
from gluon_rbm.backend import heartbeat

try:
    import resource
except ImportError:  # not on Windows
    resource = None

__all__ = [
    "mx",
    "cuda_libraries",
    "versions",
]

_CPU_WHEEL = "mxnet"
_CUDA_WHEELS = ("mxnet-cu112", "mxnet-cu117")

# What libmxnet.so of the CUDA wheels links to, and the packages of pip that bring it, each after what it needs itself.
# (The parts of cuDNN are not here: libcudnn.so.8 finds them beside itself.)
_CUDA_LIBRARIES = {
    "libcudart.so.11.0": "nvidia-cuda-runtime-cu11",
    "libnvrtc.so.11.2": "nvidia-cuda-nvrtc-cu11",
    "libnvToolsExt.so.1": "nvidia-nvtx-cu11",
    "libcublasLt.so.11": "nvidia-cublas-cu11",
    "libcublas.so.11": "nvidia-cublas-cu11",
    "libcufft.so.10": "nvidia-cufft-cu11",
    "libcurand.so.10": "nvidia-curand-cu11",
    "libcusparse.so.11": "nvidia-cusparse-cu11",
    "libcusolver.so.11": "nvidia-cusolver-cu11",
    "libcudnn.so.8": "nvidia-cudnn-cu11",
    "libnccl.so.2": "nvidia-nccl-cu11",
}


def _check_numpy():
    """pip only warns where it installs a NumPy that MXNet forbids."""
    if int(np.__version__.split(".")[0]) >= 2:
        raise ImportError("MXNet needs NumPy below 2, and here is %s: run `pip install 'numpy<2'`" % np.__version__)


def _restore_numpy_aliases():
    """Put back the names that NumPy 1.24 removed and MXNet 1.9.1 uses, some of them long after its import."""
    # Not hasattr: it makes NumPy 1.20 to 1.26 warn about the very name.
    for name, meaning in {"bool": np.bool_, "int": int}.items():
        if name not in vars(np):
            setattr(np, name, meaning)


def _provide_distutils():
    """Python 3.12 dropped `distutils`, which MXNet imports; setuptools brings it back."""
    if util.find_spec("distutils") is not None:
        return
    try:
        import setuptools  # noqa: F401
    except ImportError:
        raise ImportError(
            "MXNet needs distutils, which Python 3.12 no longer has: run `pip install setuptools`"
        ) from None


def _installed_wheels():
    """Names of the distributions of MXNet that pip installed: one, if all is well."""
    wheels = []
    for name in (_CPU_WHEEL, *_CUDA_WHEELS):
        with contextlib.suppress(metadata.PackageNotFoundError):
            metadata.distribution(name)
            wheels.append(name)
    return wheels


def _warn_of_two_wheels(wheels):
    if len(wheels) > 1:
        names = " ".join(wheels)
        warnings.warn(
            f"{len(wheels)} builds of MXNet are installed into one folder ({names}): "
            f"run `pip uninstall -y {names}` and install one of them",
            RuntimeWarning,
            stacklevel=2,
        )


def cuda_libraries():
    """What libmxnet.so of the CUDA wheels needs: library -> (package of pip that brings it, its Path there or None)."""
    folders = [folder for entry in sys.path for folder in sorted(Path(entry, "nvidia").glob("*/lib"))]
    return {
        library: (package, next((folder / library for folder in folders if (folder / library).exists()), None))
        for library, package in _CUDA_LIBRARIES.items()
    }


def _preload_cuda_libraries():
    """Load the CUDA libraries of the nvidia-*-cu11 packages, so that libmxnet.so finds them without LD_LIBRARY_PATH.

    What is not there, or does not load, is left to the system's own linker, which may know another copy.
    """
    for _, path in cuda_libraries().values():
        if path:
            with contextlib.suppress(OSError):
                ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)


def _what_to_do(error):
    """One line for an `OSError` of the dynamic linker."""
    reason = str(error).splitlines()[0]
    library = reason.split(":")[0]
    if library == "libcuda.so.1":
        remedy = "install the NVIDIA driver, or use the CPU: " + _replace_wheel("cpu")
    elif library in _CUDA_LIBRARIES:
        remedy = f"run `pip install {_CUDA_LIBRARIES[library]}`, or `pip install 'mxnet-rbm[cu112]'` for all of them"
    elif "cannot open shared object file" in reason:
        remedy = f"install the system's package that has {library}"
    else:
        remedy = "is it built for this system? Install it anew: `pip install 'mxnet-rbm[cpu]'`"
    return f"MXNet cannot be loaded ({reason}): {remedy}"


def _replace_wheel(extra):
    installed = " ".join(_installed_wheels()) or _CPU_WHEEL
    return f"`pip uninstall -y {installed}`, then `pip install 'mxnet-rbm[{extra}]'`"


def _check_address_space():
    """Where MXNet gets no room for itself and the stacks of its threads, it ends the process in one way or another."""
    if resource is None:
        return
    limit, needed = resource.getrlimit(resource.RLIMIT_AS)[0], (6 + (os.cpu_count() or 1)) << 28
    if limit != resource.RLIM_INFINITY and limit < needed:
        raise ImportError(
            f"the address space is limited to {limit >> 20} MiB, and MXNet needs {needed >> 20} to begin with: "
            "raise that limit (ulimit -v), or limit the memory that is used by a control group"
        )


@contextlib.contextmanager
def _as_a_worker():
    """Let `import mxnet` return in a scheduler or server: its own loop, in that import, unpickles what anyone sends."""
    role = os.environ.get("DMLC_ROLE", "worker")
    if role == "worker":
        yield
        return
    os.environ["DMLC_ROLE"] = "worker"
    try:
        yield
    finally:
        os.environ["DMLC_ROLE"] = role


def _serve(mxnet):
    """In a scheduler or server: add what workers push, until the last of them leaves; then end the process.

    MXNet's own loop (`mxnet.kvstore.kvstore_server`) does the same, but hands every message of the kind kController to
    `pickle.loads`. Nothing here sends such messages, so all of them are refused, unread.
    """
    if os.environ.get("DMLC_ROLE", "worker") == "worker":
        return
    store = mxnet.kv.create("dist")

    @ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
    def refuse(command, body, _):
        print("%s: refused a message: this server only adds" % os.environ["DMLC_ROLE"], file=sys.stderr, flush=True)

    mxnet.base.check_call(mxnet.base._LIB.MXKVStoreRunServer(store.handle, refuse, None))
    sys.exit()


def _import_mxnet():
    _check_address_space()
    _check_numpy()
    _restore_numpy_aliases()
    _provide_distutils()
    # Read by the first executor: else every one prints "Subgraph backend MKLDNN is activated".
    os.environ.setdefault("MXNET_SUBGRAPH_VERBOSE", "0")
    wheels = _installed_wheels()
    _warn_of_two_wheels(wheels)
    if any(name in wheels for name in _CUDA_WHEELS):
        _preload_cuda_libraries()
    heartbeat.attend()
    try:
        with _as_a_worker(), warnings.catch_warnings():
            # Its own deprecations (NumPy's financial functions, distutils) are nothing a user can act on.
            warnings.simplefilter("ignore")
            import mxnet
    except ModuleNotFoundError as error:
        if error.name != "mxnet":
            raise
        raise ImportError(
            "MXNet is not installed: run `pip install 'mxnet-rbm[cpu]'`, or `pip install 'mxnet-rbm[cu112]'` "
            "for an NVIDIA GPU (from a checkout: `pip install '.[cpu]'`)"
        ) from None
    except OSError as error:
        raise ImportError(_what_to_do(error)) from None
    _serve(mxnet)
    return mxnet


mx = _import_mxnet()


def versions():
    """What a report of a run should name: versions of this package, Python, MXNet (and its build), NumPy, platform."""
    builds = " and ".join(_installed_wheels()) or "not installed by pip"
    return {
        "mxnet-rbm": __version__,
        "python": platform.python_version(),
        "mxnet": f"{mx.__version__} ({builds})",
        "numpy": np.__version__,
        "platform": platform.platform(),
    }
