"""Access to MXNet for the modules of this package: `from gluon_rbm.backend.framework import mx`.

MXNet takes seconds to import. So `mx` imports it when something of it is first used. A module may
import `mx` at its top and still serve a command line that only shows its help. A class that is
derived from one of MXNet's classes uses MXNet at once. So such a class stands in a module that is
imported only where it is needed.

The first use raises ImportError, in one line that says what to do, if MXNet is missing or cannot be
loaded. `gluon_rbm.backend.import_hook` has what MXNet needs on today's Pythons and NumPys.
"""

from __future__ import annotations

import functools
import os
import platform
import sys
from typing import Any

import numpy as np

from gluon_rbm.backend import blas, import_hook, native, numpy_names, shutdown
from gluon_rbm.backend.lazy import LazyModule
from gluon_rbm.backend.version import __version__
from gluon_rbm.backend.wheels import cuda_libraries, install_command, installed_wheels

__all__ = [
    "mx",
    "cuda_libraries",
    "load",
    "versions",
]


@functools.lru_cache(maxsize=None)
def load() -> Any:
    """Import MXNet and return it.

    Returns
    -------
    module
        MXNet itself.

    Raises
    ------
    ImportError
        MXNet is missing or cannot be loaded. The message is one line that says what to do.
    """
    global mx
    mx = _import_mxnet()  # whoever imports this name from now on gets MXNet itself
    shutdown.register(mx)
    return mx


def _import_mxnet() -> Any:
    # If MXNet was imported before this package, the import hook has not prepared it.
    if "mxnet" in sys.modules:
        import_hook.prepare()
        numpy_names.write_scalars_plainly()
    try:
        import mxnet
    except ModuleNotFoundError as error:
        if error.name != "mxnet":
            raise
        raise ImportError(
            f"MXNet is not installed: run `{install_command('cpu')}`, or for an NVIDIA GPU `{install_command('cu112')}`"
        ) from None
    return mxnet


mx: Any = LazyModule("mxnet", load)
# In a distributed run MXNet is imported at once: a scheduler or server does nothing else.
if "mxnet" in sys.modules or "DMLC_ROLE" in os.environ:
    load()


def versions() -> dict[str, str]:
    """Return the versions that a report of a run should name.

    Returns
    -------
    dict of str
        Versions of this package, Python, MXNet (with its build), NumPy and the platform. Then what
        the last digits of results may depend on: the native engine's instruction set, and the BLAS.
    """
    builds = " and ".join(installed_wheels()) or "not installed by pip"
    return {
        "mxnet-rbm": __version__,
        "python": platform.python_version(),
        "mxnet": f"{mx.__version__} ({builds})",
        "numpy": np.__version__,
        "platform": platform.platform(),
        "native engine": native.describe(),
        "BLAS": blas.describe(),
    }
