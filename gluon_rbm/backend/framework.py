"""The one door to MXNet for the modules of this package: they write `from gluon_rbm.backend.framework import mx`.

Importing this module raises `ImportError`, in one line that says what to do, where MXNet is missing or cannot be
loaded. (What MXNet needs on today's Pythons and NumPys is in `gluon_rbm.backend.import_hook`.)
"""

from __future__ import annotations

import platform
import sys
from typing import Any

import numpy as np

from gluon_rbm.backend import import_hook, numpy_names, shutdown
from gluon_rbm.backend.version import __version__
from gluon_rbm.backend.wheels import cuda_libraries, install_command, installed_wheels

__all__ = [
    "mx",
    "cuda_libraries",
    "versions",
]


def _import_mxnet() -> Any:
    if "mxnet" in sys.modules:  # it may have been imported before this package, and so without the hook
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


mx: Any = _import_mxnet()
shutdown.register(mx)


def versions() -> dict[str, str]:
    """What a report of a run should name: versions of this package, Python, MXNet (and its build), NumPy, platform."""
    builds = " and ".join(installed_wheels()) or "not installed by pip"
    return {
        "mxnet-rbm": __version__,
        "python": platform.python_version(),
        "mxnet": f"{mx.__version__} ({builds})",
        "numpy": np.__version__,
        "platform": platform.platform(),
    }
