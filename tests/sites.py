"""Python processes that see only the standard library and a site folder made for them."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

import gluon_rbm


def make_site(folder, packages=("numpy", "numpy.libs", "setuptools", "_distutils_hack"), wheels=(), mxnet=None):
    """Fill a site folder with links to installed packages and with fake MXNet wheels.

    `wheels` are names of distributions. `mxnet`, if given, is the source of a fake package mxnet.
    """
    installed = Path(np.__file__).parents[1]
    (folder / "gluon_rbm").symlink_to(Path(gluon_rbm.__file__).parent)
    for name in packages:
        if (installed / name).exists():
            (folder / name).symlink_to(installed / name)
    for name in wheels:
        information = folder / f"{name.replace('-', '_')}-1.9.1.dist-info"
        information.mkdir()
        (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.9.1\n")
    if mxnet is not None:
        (folder / "mxnet").mkdir()
        (folder / "mxnet" / "__init__.py").write_text(mxnet)
    return folder


def run_python(site, code):
    environment = {**os.environ, "PYTHONPATH": str(site)}
    return subprocess.run(
        [sys.executable, "-S", "-B", "-c", code], env=environment, cwd=site, capture_output=True, text=True, timeout=120
    )


def fails_to_load(reason):
    return f"raise OSError({reason!r})"
