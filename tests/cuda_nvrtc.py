"""NVRTC, NVIDIA's run-time compiler, through ctypes. MXNet compiles the kernels with it, too.

It comes from the package nvidia-cuda-nvrtc-cu11 (of the extra `test`), or from the system.
"""

import ctypes
import importlib.util
import sys
from pathlib import Path

_OPTIONS = ("--fmad=false",)


def library():
    """Load NVRTC; None if it is not installed."""
    for name in (*_packaged(), "libnvrtc.so.11.2", "libnvrtc.so.12", "libnvrtc.so.13", "libnvrtc.so"):
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    return None


def _packaged():
    spec = importlib.util.find_spec("nvidia") if "nvidia" not in sys.modules else sys.modules["nvidia"].__spec__
    folders = spec.submodule_search_locations if spec else ()
    return [str(path) for folder in folders or () for path in Path(folder).glob("cuda_nvrtc/lib/libnvrtc.so*")]


def version(nvrtc):
    """Version of NVRTC, (major, minor)."""
    major, minor = ctypes.c_int(), ctypes.c_int()
    assert nvrtc.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor)) == 0
    return major.value, minor.value


def compiled(nvrtc, source, architecture, kind="PTX", options=_OPTIONS):
    """Compile for an architecture such as "sm_80" or "compute_80".

    Returns (machine code or PTX, messages of the compiler). Raises RuntimeError if the compiler
    refuses the source.
    """
    program = ctypes.c_void_p()
    assert nvrtc.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"gibbs.cu", 0, None, None) == 0
    flags = [option.encode() for option in ("--gpu-architecture=" + architecture, *options)]
    status = nvrtc.nvrtcCompileProgram(program, len(flags), (ctypes.c_char_p * len(flags))(*flags))
    log = _text(nvrtc, program, "ProgramLog").rstrip(b"\0").decode().strip()
    try:
        if status:
            raise RuntimeError(log or "NVRTC error %d" % status)
        return _text(nvrtc, program, kind), log
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))


def _text(nvrtc, program, what):
    size = ctypes.c_size_t()
    assert getattr(nvrtc, "nvrtcGet%sSize" % what)(program, ctypes.byref(size)) == 0
    content = ctypes.create_string_buffer(size.value)
    assert getattr(nvrtc, "nvrtcGet" + what)(program, content) == 0
    return content.raw[: size.value]
