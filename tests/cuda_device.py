"""A `Device` of the CUDA engine that needs no GPU.

A C compiler compiles the kernels. Each thread of a block is a thread of the CPU.
"""

import ctypes
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np

from gluon_rbm.backend.cuda import launch

HERE = Path(__file__).parent / "cuda"


def compiler():
    """Path of the C compiler, or None."""
    return shutil.which(os.environ.get("CC", "cc"))


def build(folder, *flags, load=True):
    """Compile the emulated kernels to emulated.so in the folder. Return the library if `load`."""
    path = Path(folder) / "emulated.so"
    fused = [] if os.uname().machine == "aarch64" else ["-mfma"]
    command = [str(compiler()), "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off", *fused, *flags]
    command += ["-fPIC", "-shared", "-o", str(path), "-x", "c", str(HERE / "emulated.c"), "-lm", "-lpthread"]
    subprocess.run(command, check=True)
    return ctypes.CDLL(str(path)) if load else None


class EmulatedDevice:
    """Device with NumPy arrays.

    `threads`, if given, is the number of threads in a block. A small number saves time, because the
    threads are real.
    """

    def __init__(self, library, threads=None):
        self._library, self._threads = library, threads

    def empty(self, shape, dtype):
        return np.full(shape, 77, dtype)

    def array(self, values, dtype, copy=False):
        return np.array(values, dtype, order="C") if copy else np.require(values, dtype, ("C", "ALIGNED"))

    def to_host(self, array):
        return array

    def product(self, state, rows):
        return state @ rows

    def launch(self, kernel, arguments, blocks, threads, shared_bytes):
        if self._threads:
            by_chain = kernel in ("run", "anneal")
            shared_bytes += 8 * (self._threads - threads) if by_chain else 0
            threads, blocks = self._threads, blocks if by_chain else 2
        held, places = [], []
        for parameter, value in zip(launch.parameters(kernel), arguments):
            if parameter.is_array:
                assert value.dtype == parameter.dtype and value.flags.c_contiguous, parameter.name
                value = ctypes.c_void_p(value.ctypes.data)
            else:
                value = ctypes.c_int32(value)
            held.append(value)
            places.append(ctypes.cast(ctypes.pointer(value), ctypes.c_void_p))
        assert len(places) == len(arguments) == len(launch.parameters(kernel))
        number = launch.KERNELS.index(kernel)
        assert (
            self._library.emulate(number, blocks, threads, shared_bytes, (ctypes.c_void_p * len(places))(*places)) == 0
        )
