"""The BLAS library that multiplies NumPy's matrices, and whether it knows the processor.

OpenBLAS takes an x86 processor that is newer than itself for a Prescott of 2004. Then it is three
to five times as slow as it could be. The wheels of NumPy 1 contain OpenBLAS 0.3.23, of 2023. The
environment variable OPENBLAS_CORETYPE tells OpenBLAS which processor to assume. OpenBLAS reads it
when it is loaded, that is, when NumPy is imported.

This module uses the standard library only, except in `pools`.
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

# Architectures without AVX2 for which OpenBLAS has kernels.
_WITHOUT_AVX2 = {
    *("Katmai", "Coppermine", "Northwood", "Banias", "Prescott", "Core2", "Penryn", "Dunnington", "Atom", "Nano"),
    *("Nehalem", "Sandybridge", "Athlon", "Opteron", "Opteron_SSE3", "Barcelona", "Bobcat", "Bulldozer"),
    *("Piledriver", "Steamroller"),
}
_SKYLAKE_X = {"avx512f", "avx512cd", "avx512dq", "avx512bw", "avx512vl"}
_CORE_NAME = ("openblas_get_corename64_", "openblas_get_corename", "scipy_openblas_get_corename64_")


def processor_model() -> str | None:
    """Return the name of the processor.

    Returns
    -------
    str or None
        The name; None where /proc/cpuinfo does not state it.
    """
    return _cpuinfo("model name")


def processor_flags() -> frozenset[str]:
    """Return the features of the processor.

    Returns
    -------
    frozenset of str
        Features such as avx2 and avx512f; empty where /proc/cpuinfo does not state them.
    """
    return frozenset((_cpuinfo("flags") or "").split())


def _cpuinfo(name: str) -> str | None:
    with contextlib.suppress(OSError):
        found = re.search(r"^%s\s*: (.*)" % name, Path("/proc/cpuinfo").read_text(), re.MULTILINE)
        return found.group(1) if found else None
    return None


def _better_kernels(architecture: str | None, flags: frozenset[str]) -> str | None:
    """Return the OPENBLAS_CORETYPE for a processor with these flags.

    It is None if the kernels of the architecture are new enough.
    """
    if "avx2" not in flags or architecture not in _WITHOUT_AVX2:
        return None
    return "SkylakeX" if flags >= _SKYLAKE_X else "Haswell"


# --- The library that is loaded -------------------------------------------------------------------


def pools() -> list[dict[str, Any]]:
    """Return what threadpoolctl reports of each BLAS that this process has loaded.

    NumPy's BLAS is among them. OpenCV's own is left out: it comes with MXNet where OpenCV is
    installed, and nothing here calls it.

    Returns
    -------
    list of dict
        Entries of threadpoolctl.threadpool_info.
    """
    import numpy  # noqa: F401  (so that its library is loaded)
    from threadpoolctl import threadpool_info

    return [pool for pool in threadpool_info() if pool["user_api"] == "blas" and "opencv" not in pool["filepath"]]


def describe() -> str:
    """Describe each BLAS that this process has loaded.

    Returns
    -------
    str
        Name, version, architecture and number of threads of each.
    """
    parts = (
        (pool["internal_api"], pool.get("version"), pool.get("architecture"), "%d threads" % pool["num_threads"])
        for pool in pools()
    )
    texts = dict.fromkeys(" ".join(part for part in words if part) for words in parts)
    return "; ".join(texts) or "none that threadpoolctl knows"


def warning() -> str | None:
    """Warn of a loaded BLAS that takes the processor for an older one.

    Returns
    -------
    str or None
        One line that says what to do; None if the kernels of each BLAS are new enough.
    """
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


# --- Before it is loaded --------------------------------------------------------------------------


class _Choice:
    made: str | None = None  # what `choose_kernels` has set


def choose_kernels() -> None:
    """Set OPENBLAS_CORETYPE if the OpenBLAS of NumPy or MXNet does not know the processor.

    It works only before NumPy is imported. If OpenBLAS knows the processor, or the user has set the
    variable, nothing is set and no result changes. Only command lines call this: a program that
    imports this package decides about its imports and its environment itself.
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
    """Say whether `choose_kernels` has set OPENBLAS_CORETYPE.

    Returns
    -------
    str or None
        One line that says what other programs need; None if nothing was set.
    """
    if _Choice.made is None:
        return None
    return (
        "the OpenBLAS of NumPy or MXNet does not know this processor, and this command has set OPENBLAS_CORETYPE=%s "
        "for itself: set it for programs of your own, before Python starts" % _Choice.made
    )


def _libraries() -> list[Path]:
    """Return the files of NumPy and MXNet that contain their BLAS or are linked to it."""
    found = []
    for package, pattern in (("numpy", "*core/_multiarray_umath*.so"), ("mxnet", "libopenblas.so*")):
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.origin is not None:
            found += [*Path(spec.origin).parent.glob(pattern)][:1]
    return found


def _architecture_to_be(library: Path) -> str | None:
    """Return what a library's OpenBLAS takes the processor for; None if this cannot be found out.

    OpenBLAS only says so once it is loaded, and then it is too late for this process. So a child
    process loads it.
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

    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # more threads would only take time to start
    loaded = ctypes.CDLL(str(extension))
    function = next(getattr(loaded, name) for name in _CORE_NAME if hasattr(loaded, name))
    function.restype = ctypes.c_char_p
    return function()
