"""The BLAS that multiplies NumPy's matrices: what it is, and whether its kernels are as new as the processor.

OpenBLAS takes an x86 processor that is newer than itself for a Prescott of 2004, and then is three to five times as
slow as it could be. The wheels of NumPy 1 bring OpenBLAS 0.3.23, of 2023. The environment variable OPENBLAS_CORETYPE
says what to take the processor for; OpenBLAS reads it when it is loaded, which is when NumPy is imported.

This module uses the standard library only, but for `pools`.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import sys
from pathlib import Path
from typing import Any

__all__ = ["choice", "choose_kernels", "describe", "pools", "processor_flags", "processor_model", "warning"]

# The architectures that OpenBLAS has kernels for and that lack AVX2.
_WITHOUT_AVX2 = {
    *("Katmai", "Coppermine", "Northwood", "Banias", "Prescott", "Core2", "Penryn", "Dunnington", "Atom", "Nano"),
    *("Nehalem", "Sandybridge", "Athlon", "Opteron", "Opteron_SSE3", "Barcelona", "Bobcat", "Bulldozer"),
    *("Piledriver", "Steamroller"),
}
_SKYLAKE_X = {"avx512f", "avx512cd", "avx512dq", "avx512bw", "avx512vl"}
_CORE_NAME = ("openblas_get_corename64_", "openblas_get_corename", "scipy_openblas_get_corename64_")


def processor_model() -> str | None:
    """Its name, where the system says it."""
    return _cpuinfo("model name")


def processor_flags() -> frozenset[str]:
    """What it can: avx2, avx512f, ...; none where the system does not say it."""
    return frozenset((_cpuinfo("flags") or "").split())


def _cpuinfo(name: str) -> str | None:
    with contextlib.suppress(OSError):
        found = re.search(r"^%s\s*: (.*)" % name, Path("/proc/cpuinfo").read_text(), re.MULTILINE)
        return found.group(1) if found else None
    return None


def _better_kernels(architecture: str | None, flags: frozenset[str]) -> str | None:
    """The OPENBLAS_CORETYPE for a processor with these flags; None where the architecture's kernels are new enough."""
    if "avx2" not in flags or architecture not in _WITHOUT_AVX2:
        return None
    return "SkylakeX" if flags >= _SKYLAKE_X else "Haswell"


# --- The library that is loaded ---------------------------------------------------------------------------------------


def pools() -> list[dict[str, Any]]:
    """What threadpoolctl says of each BLAS that this process has loaded, NumPy's among them.

    But for OpenCV's own, which comes with MXNet where OpenCV is installed, and which nothing here calls.
    """
    import numpy  # noqa: F401  (so that its library is loaded)
    from threadpoolctl import threadpool_info

    return [pool for pool in threadpool_info() if pool["user_api"] == "blas" and "opencv" not in pool["filepath"]]


def describe() -> str:
    """Each BLAS that this process has loaded: name, version, architecture and threads."""
    parts = (
        (pool["internal_api"], pool.get("version"), pool.get("architecture"), "%d threads" % pool["num_threads"])
        for pool in pools()
    )
    texts = dict.fromkeys(" ".join(part for part in words if part) for words in parts)
    return "; ".join(texts) or "none that threadpoolctl knows"


def warning() -> str | None:
    """One line where a BLAS that is loaded has kernels older than the processor: what to do; else None."""
    flags = processor_flags()
    for pool in pools():
        architecture = pool.get("architecture")
        better = _better_kernels(architecture, flags)
        if better:
            of_mxnet = os.path.basename(os.path.dirname(pool["filepath"])) == "mxnet"
            advice = "set OPENBLAS_CORETYPE=%s before Python starts" % better
            return "%sOpenBLAS %s takes this processor for a %s, and is slow: %s" % (
                "MXNet's " * of_mxnet,
                pool.get("version") or "",
                architecture,
                advice if of_mxnet else advice + ", or install a newer NumPy",
            )
    return None


# --- Before it is loaded ----------------------------------------------------------------------------------------------


class _Choice:
    made: str | None = None  # by `choose_kernels`


def choose_kernels() -> None:
    """Set OPENBLAS_CORETYPE for a processor that NumPy's OpenBLAS, or MXNet's, does not know; before NumPy's import.

    Where OpenBLAS knows the processor, or the user has set the variable, nothing is set, and no result changes. Only
    command lines call this: what is imported before this package in a program, and its environment, are the program's.
    """
    flags = processor_flags()
    if "avx2" not in flags or "numpy" in sys.modules or "OPENBLAS_CORETYPE" in os.environ:
        return
    for library in _libraries():
        better = _better_kernels(_architecture_to_be(library), flags)
        if better:
            os.environ["OPENBLAS_CORETYPE"] = _Choice.made = better
            return


def choice() -> str | None:
    """One line where `choose_kernels` has set the variable: what other programs need; else None."""
    if _Choice.made is None:
        return None
    return (
        "the OpenBLAS of NumPy or MXNet does not know this processor, and this command has set OPENBLAS_CORETYPE=%s "
        "for itself: set it for programs of your own, before Python starts" % _Choice.made
    )


def _libraries() -> list[Path]:
    """What NumPy and MXNet load, that holds their BLAS or is linked to it."""
    found = []
    for package, pattern in (("numpy", "*core/_multiarray_umath*.so"), ("mxnet", "libopenblas.so*")):
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.origin is not None:
            found += [*Path(spec.origin).parent.glob(pattern)][:1]
    return found


def _architecture_to_be(library: Path) -> str | None:
    """What a library's OpenBLAS takes the processor for; None where that cannot be found out.

    It says so only once it is loaded, and then it is too late for this process. So a child process loads it.
    """
    if not hasattr(os, "fork"):
        return None
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            os.write(theirs, _core_name(library))
        os._exit(0)
    os.close(theirs)
    with open(ours, "rb") as answer:
        name = answer.read()
    os.waitpid(child, 0)
    return name.decode() or None


def _core_name(extension: Path) -> bytes:
    import ctypes

    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # more of them would only take time to start
    loaded = ctypes.CDLL(str(extension))
    function = next(getattr(loaded, name) for name in _CORE_NAME if hasattr(loaded, name))
    function.restype = ctypes.c_char_p
    return function()
