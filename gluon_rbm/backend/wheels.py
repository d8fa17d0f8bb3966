"""The builds of MXNet that pip installs, their CUDA libraries, and advice where one is missing.

This module uses the standard library only, and does not import MXNet.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import shlex
import sys
from importlib import metadata
from pathlib import Path
from urllib.parse import unquote, urlsplit

__all__ = [
    "cuda_libraries",
    "explain_load_error",
    "has_cuda_wheel",
    "install_command",
    "installed_wheels",
    "nvidia_driver",
    "preload_cuda_libraries",
    "replace_wheel",
]

_VERSION = "1.9.1"
_CPU_WHEEL = "mxnet"
_CUDA_WHEELS = ("mxnet-cu112", "mxnet-cu117")

# Libraries that libmxnet.so of the CUDA wheels links to, and the pip packages that contain them.
# Each library stands after the libraries that it needs. (The parts of cuDNN are not listed:
# libcudnn.so.8 finds them in its own folder.)
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

# Arm's Performance Libraries. libmxnet.so of the arm64 wheel links to them. No package index has
# them.
_ARM_LIBRARIES = ("libarmpl_lp64_mp.so", "libamath.so", "libastring.so")


def installed_wheels() -> list[str]:
    """Return the names of the MXNet builds that pip has installed.

    Returns
    -------
    list of str
        Names such as mxnet or mxnet-cu112: one name, if all is well.
    """
    wheels = []
    for name in (_CPU_WHEEL, *_CUDA_WHEELS):
        with contextlib.suppress(metadata.PackageNotFoundError):
            metadata.distribution(name)
            wheels.append(name)
    return wheels


def nvidia_driver() -> str | None:
    """Description of the NVIDIA driver of this Linux.

    Returns
    -------
    str or None
        Its first line about its version; None if there is no driver.
    """
    with contextlib.suppress(OSError):
        return Path("/proc/driver/nvidia/version").read_text().splitlines()[0]
    return None


def has_cuda_wheel(wheels: list[str]) -> bool:
    """Return whether a build for CUDA is among the wheels.

    Parameters
    ----------
    wheels
        Names, as from `installed_wheels`.

    Returns
    -------
    bool
        True if one of them is a build for CUDA.
    """
    return any(name in wheels for name in _CUDA_WHEELS)


def install_command(extra: str) -> str:
    """Return the command that installs the MXNet build of an extra of this package.

    The command passes --no-deps, because the wheel forbids the NumPy that Python 3.13 needs. The
    other requirements of the wheel come with this package.

    Parameters
    ----------
    extra
        "cpu" or "cu112".

    Returns
    -------
    str
        A shell command for any version of Python.
    """
    if extra == "cpu":
        return f"pip install --no-deps {_CPU_WHEEL}=={_VERSION}"
    return f"pip install {_this_package(extra)} && pip install --no-deps {_CPU_WHEEL}-{extra}=={_VERSION}"


def _this_package(extra: str) -> str:
    """Return what pip installs this package from, with an extra, quoted for a shell.

    It is the folder that the package was installed from, or else its name. pip writes the folder
    into direct_url.json (PEP 610). A clone's own .egg-info has no such file.
    """
    source = "mxnet-rbm"
    for distribution in metadata.distributions(name=source):
        recorded = json.loads(distribution.read_text("direct_url.json") or "{}")
        if "dir_info" in recorded:
            source = unquote(urlsplit(recorded["url"]).path)
            break
    return shlex.quote(f"{source}[{extra}]")


def replace_wheel(extra: str) -> str:
    """Return the commands that replace the installed MXNet build by that of an extra.

    Parameters
    ----------
    extra
        As in `install_command`.

    Returns
    -------
    str
        Two commands in backticks, joined by ", then".
    """
    installed = " ".join(installed_wheels()) or _CPU_WHEEL
    return f"`pip uninstall -y {installed}`, then `{install_command(extra)}`"


def cuda_libraries() -> dict[str, tuple[str, Path | None]]:
    """Find the libraries that libmxnet.so of the CUDA wheels needs.

    Returns
    -------
    dict
        Library -> (the pip package that contains it, its path in an installed package or None). A
        library stands after the libraries that it needs itself.
    """
    folders = [folder for entry in sys.path for folder in sorted(Path(entry, "nvidia").glob("*/lib"))]
    return {
        library: (package, next((folder / library for folder in folders if (folder / library).exists()), None))
        for library, package in _CUDA_LIBRARIES.items()
    }


def preload_cuda_libraries() -> None:
    """Load the CUDA libraries of the nvidia-*-cu11 packages.

    Then libmxnet.so finds them without LD_LIBRARY_PATH. A library that is missing or does not load
    is left to the dynamic linker of the system, which may know another copy.
    """
    for _, path in cuda_libraries().values():
        if path:
            with contextlib.suppress(OSError):
                ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)


def explain_load_error(error: OSError) -> str:
    """Explain an error of the dynamic linker.

    Parameters
    ----------
    error
        What loading MXNet raised.

    Returns
    -------
    str
        One line with the message of the error, and what to do.
    """
    reason = str(error).splitlines()[0]
    library = reason.split(":")[0]
    if library == "libcuda.so.1":
        remedy = "install the NVIDIA driver, or use the CPU: " + replace_wheel("cpu")
    elif library in _CUDA_LIBRARIES:
        remedy = (
            f"run `pip install {_CUDA_LIBRARIES[library]}`, or `pip install {_this_package('cu112')}` for all of them"
        )
    elif library in _ARM_LIBRARIES:
        remedy = "on arm64 MXNet needs Arm's Performance Libraries on LD_LIBRARY_PATH, see docs/installing.md"
    elif "cannot open shared object file" in reason:
        remedy = f"install the system's package that has {library}"
    else:
        remedy = "is it built for this system? Install it anew: " + replace_wheel("cpu")
    return f"MXNet cannot be loaded ({reason}): {remedy}"
