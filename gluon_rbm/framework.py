"""The one door to MXNet: makes `import mxnet` work on today's Pythons and NumPys, and chooses the device.

Every other module writes `from gluon_rbm.framework import mx`. Importing this module raises `ImportError`, in one
line that says what to do, when MXNet is missing or cannot be loaded.
"""

import contextlib
import ctypes
import math
import os
import platform
import re
import sys
import warnings
from importlib import metadata, util
from pathlib import Path

import numpy as np

from gluon_rbm import __version__, peers
from gluon_rbm.errors import InputError

try:
    import resource
except ImportError:  # not on Windows
    resource = None

__all__ = [
    "mx",
    "as_given",
    "beside",
    "choose_context",
    "choose_contexts",
    "cuda_libraries",
    "from_host",
    "host_view",
    "on_cpu",
    "operand",
    "store",
    "store_product",
    "take_rows",
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
    """Let `import mxnet` return in a scheduler or server: its own loop, inside that import, unpickles what anyone sends."""
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
    peers.attend()
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


def host_view(array):
    """NumPy view of the memory of an NDArray on a CPU, once what was under way on it is done; of a NumPy array itself.

    The view keeps the array alive. MXNet does not know what is read or written through it: let no operator write the
    array meanwhile.
    """
    if isinstance(array, np.ndarray):
        return array
    context, dtype, shape = array.context, array.dtype, array.shape  # each of them asks MXNet anew
    if not context.device_type.startswith("cpu"):
        raise InputError("an array is on %s where one on a CPU is needed; move all arrays to one device" % context)
    if array.stype != "default":  # its memory is another shape
        raise InputError("an array is %s where a dense one is needed; call tostype('default')" % array.stype)
    if dtype == np.float16:
        raise InputError("float16 needs a GPU; cast to float32")
    array.wait_to_read()
    size = math.prod(shape)
    if not size:
        return np.empty(shape, dtype)
    address = ctypes.c_void_p()
    mx.base.check_call(mx.base._LIB.MXNDArrayGetData(array.handle, ctypes.byref(address)))
    memory = (np.ctypeslib.as_ctypes_type(dtype) * size).from_address(address.value)
    memory.owner = array  # lives as long as the view
    return np.frombuffer(memory, dtype).reshape(shape)


def from_host(array, context=None):
    """The NDArray of a NumPy array, in its dtype: a copy.

    `mx.nd.from_numpy` would save the copy; but then MXNet's threads call Python to give the memory back, and a program
    that ends meanwhile is aborted.
    """
    if context not in (None, mx.cpu()) or array.dtype == np.float16:
        return mx.nd.array(array, ctx=context, dtype=array.dtype)
    result = mx.nd.empty(array.shape, dtype=array.dtype)
    host_view(result)[...] = array  # a third of the time of mx.nd.array
    return result


def operand(array):
    """The NDArray as something with NumPy's operators: a NumPy view on a CPU, an `mx.np` array on a GPU; no copy.

    On a CPU NumPy's BLAS is the fastest at hand: 131 GFLOP/s on two cores where MXNet's `dot` reaches 74. NumPy arrays
    stay as they are: what takes `operand`s takes them in place of NDArrays on a CPU.
    """
    return host_view(array) if on_cpu(array) else array.as_np_ndarray()


def on_cpu(array):
    """Whether an NDArray is on a CPU; a NumPy array is."""
    return isinstance(array, np.ndarray) or array.context.device_type == "cpu"


def as_given(value, given):
    """What operators made of `operand`s, as an array like the one that was `given`: of NumPy, or an NDArray."""
    if isinstance(given, np.ndarray):
        return value
    return from_host(value) if isinstance(value, np.ndarray) else value.as_nd_ndarray()


def beside(values, array):
    """NumPy values as an array like the other: of its kind and dtype, on its device."""
    values = np.asarray(values, array.dtype)
    return values if isinstance(array, np.ndarray) else from_host(values, array.context)


def take_rows(array, indices):
    """Rows of an NDArray or NumPy array; indices : NumPy int (n,)."""
    if isinstance(array, np.ndarray):
        return array[indices]
    return array.take(mx.nd.array(indices, ctx=array.context, dtype="int32"))


def store(target, how, value):
    """Do what an operator was asked to do ("write", "inplace", "add" or "null") with an `operand` and its target."""
    if how == "null":
        return
    place = operand(target)
    if how == "add":
        place += value
    else:
        place[:] = value


def store_product(target, how, left, right):
    """As `store` of left.right, and return it; on a CPU it is made in place (a new array of this size costs more)."""
    if how in ("write", "inplace") and on_cpu(target):
        return np.matmul(left, right, out=operand(target))
    product = left @ right
    store(target, how, product)
    return product


def _first_line(error):
    """What an `MXNetError` says, without its trace."""
    text = str(error).strip()
    said = re.search(r"^MXNetError: (.+)", text, re.MULTILINE)
    return said.group(1) if said else text.splitlines()[0]


def _probe_gpu(device_id):
    """None if MXNet can compute on this GPU, else the reason and what to do, in one line."""
    if not mx.runtime.Features().is_enabled("CUDA"):
        return "the installed MXNet is the CPU-only build; for a GPU run " + _replace_wheel("cu112")
    try:
        count = mx.context.num_gpus()
    except mx.MXNetError as error:
        return f"the NVIDIA driver does not work ({_first_line(error)}); install one for CUDA 11.2 or newer"
    if count == 0:
        return "MXNet sees no GPU; check `nvidia-smi` and CUDA_VISIBLE_DEVICES"
    if not 0 <= device_id < count:
        return f"there is no GPU {device_id}; MXNet sees {count}, counted from 0"
    return _try_kernel(device_id)


def _try_kernel(device_id):
    try:
        mx.nd.ones((1,), ctx=mx.gpu(device_id)).asnumpy()
    except mx.MXNetError as error:
        # The wheels hold machine code for sm_50 to sm_86 and no PTX that the driver could translate for a newer one.
        if "no kernel image" in str(error):
            return (
                f"this MXNet has no code for GPU {device_id}; it knows compute capability 5.0 to 8.9 "
                "(Maxwell to Ada); use such a GPU, or the CPU"
            )
        return f"GPU {device_id} does not work ({_first_line(error)}); use another, or the CPU"
    return None


def choose_context(cuda=None, device_id=0):
    """The device to compute on, and a note for the user.

    Parameters
    ----------
    cuda : bool or None
        True asks for the GPU, False for the CPU; None takes the GPU if MXNet can use it, else the CPU.
    device_id : int
        Which GPU, counted from 0.

    Returns
    -------
    (mx.Context, str or None)
        The note says in one line why it is the CPU, where nobody asked for that.

    Raises
    ------
    InputError
        `cuda` is True and MXNet cannot use that GPU; the message says why and what to do.
    """
    if cuda is not None and not cuda:
        return mx.cpu(), None
    reason = _probe_gpu(device_id)
    if reason is None:
        return mx.gpu(device_id), None
    if cuda:
        raise InputError(f"cannot use the GPU: {reason}")
    return mx.cpu(), f"using the CPU: {reason}"


def choose_contexts(cuda=None, device_id=0, count=1):
    """`count` devices to compute on, and a note, as `choose_context` chooses one: GPU device_id, device_id + 1, ...

    Where it chooses the CPU: cpu(0), cpu(1), ..., which are one device with as many queues of work.
    """
    context, note = choose_context(cuda, device_id)
    if context.device_type == "cpu":
        return [mx.cpu(index) for index in range(count)], note
    return [context, *(choose_context(True, device_id + index)[0] for index in range(1, count))], note


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
