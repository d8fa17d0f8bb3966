"""The command doctor: check whether this environment has what the package needs.

No module that needs MXNet is imported before the check of MXNet. So the command works even where
MXNet cannot be loaded.
"""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import sys
import time
import warnings
from argparse import Namespace
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any, Callable, Iterator, NamedTuple

import gluon_rbm
from gluon_rbm.backend import blas, logs, wheels
from gluon_rbm.cli.arguments import path
from gluon_rbm.errors import InputError

__all__ = ["ABOUT", "add_arguments", "run"]

logger = logging.getLogger(__name__)

ABOUT = "check MXNet, engines, processor, GPU and data sets; exit status 1 if something is wrong"

_NEWEST_TRIED = (3, 13)  # the newest tested Python; pyproject.toml allows newer ones
_LIBRARIES = ("jinja2", "matplotlib", "pillow", "requests", "scikit-learn", "threadpoolctl", "tqdm")
# Instruction sets that the native engine has code for.
_INSTRUCTIONS = ("avx2", "fma", "bmi2", "avx512f", "avx512dq", "avx512bw", "avx512vl")
_FEATURES = ("CUDA", "CUDNN", "MKLDNN", "OPENMP", "DIST_KVSTORE")


class Finding(NamedTuple):
    """One line of the report."""

    about: str
    found: str
    wrong: str | None = None  # a fault, and how to correct it
    note: str | None = None  # a remark that is not a fault, and what to do about it


def add_arguments(add: Callable[..., Any]) -> None:
    """Add the arguments of the command.

    Parameters
    ----------
    add
        The method add_argument of a parser.
    """
    add(
        "--data-dir",
        type=path,
        metavar="FOLDER",
        help="folder of data sets, searched before $MXNET_RBM_DATA and the cache",
    )


def run(args: Namespace) -> int:
    """Check the environment, and log all findings.

    Parameters
    ----------
    args
        The parsed arguments.

    Returns
    -------
    int
        The exit status: 1 if something is wrong, else 0.
    """
    logs.configure()
    wrong = []
    with ThreadPoolExecutor(1) as beside:
        # The data sets are read while MXNet is imported.
        data_sets = beside.submit(lambda: list(_data_sets(args.data_dir)))
        for check in (_python, _libraries, _processor, _mxnet, _native, _gpu, _cuda_engine, _steps, data_sets.result):
            for finding in check():
                logger.info("%-16s %s", finding.about, finding.found)
                if finding.wrong:
                    logger.info("%-16s WRONG: %s", "", finding.wrong)
                    wrong.append(finding.about)
                if finding.note:
                    logger.info("%-16s note: %s", "", finding.note)
    logger.info("\n%s", "Wrong: " + ", ".join(wrong) if wrong else "Nothing is wrong.")
    return 1 if wrong else 0


def _python() -> Iterator[Finding]:
    yield Finding("mxnet-rbm", "%s in %s" % (gluon_rbm.__version__, Path(gluon_rbm.__file__).parent))
    found = "%s%s (%s), %s, %s" % (
        platform.python_version(),
        ", newer than any version tested" if sys.version_info[:2] > _NEWEST_TRIED else "",
        sys.executable,
        platform.platform(),
        " ".join(platform.libc_ver()),
    )
    yield Finding("Python", found)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _libraries() -> Iterator[Finding]:
    yield Finding("NumPy", _version("numpy") or "missing")
    with contextlib.suppress(ImportError):
        yield Finding("BLAS", blas.describe(), note=blas.choice() or blas.warning())
    versions = {name: _version(name) for name in _LIBRARIES}
    missing = [name for name, version in versions.items() if version is None]
    yield Finding(
        "libraries",
        ", ".join("%s %s" % (name, version or "missing") for name, version in versions.items()),
        "run `pip install %s`" % " ".join(missing) if missing else None,
    )


def _processor() -> Iterator[Finding]:
    model, flags = blas.processor_model(), blas.processor_flags()
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Finding(
        "processor",
        "%s, %d CPUs for this process%s; OMP_NUM_THREADS is %s"
        % (
            model or platform.machine(),
            usable,
            " (%s)" % " ".join(name for name in _INSTRUCTIONS if name in flags) if flags else "",
            os.environ.get("OMP_NUM_THREADS") or "not set",
        ),
    )


def _mxnet() -> Iterator[Finding]:
    # With this variable, importing MXNet may wait for other processes.
    role = os.environ.pop("DMLC_ROLE", None)
    if role is not None:
        yield Finding("DMLC_ROLE", "%s: this process is part of a distributed run (docs/distributed.md)" % role)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", RuntimeWarning)
        try:
            from gluon_rbm.backend import framework

            mx = framework.load()
        except Exception as error:  # importing MXNet may raise any error
            yield Finding("MXNet", "cannot be used", " ".join(str(error).split()))
            return
    features = mx.runtime.Features()
    enabled = [name for name in _FEATURES if features.is_enabled(name)]
    two = [str(warning.message) for warning in caught if warning.category is RuntimeWarning]
    yield Finding(
        "MXNet",
        "%s in %s (%s)" % (framework.versions()["mxnet"], Path(mx.__file__).parent, " ".join(enabled)),
        two[0] if two else None,
    )


def _framework() -> ModuleType | None:
    """Return `gluon_rbm.backend.framework`, or None if MXNet cannot be loaded."""
    try:
        from gluon_rbm.backend import framework

        framework.load()
    except Exception:
        return None
    return framework


def _native() -> Iterator[Finding]:
    from gluon_rbm.backend import native

    availability = native.available()
    if not availability:
        yield Finding(
            "native engine",
            "not available: MXNet's operators are used instead, which is slower",
            "%s; or install this package from a wheel, which includes the engine" % availability.reason,
        )
        return
    features = native.features()
    found = "%s; instruction sets %s; threads %d" % (
        native.path(),
        ", ".join(features["instruction_sets"]),
        features["threads"],
    )
    yield Finding("native engine", found)


def _gpu() -> Iterator[Finding]:
    driver = wheels.nvidia_driver()
    framework = _framework()
    if framework is None:
        yield Finding("GPU", "driver: %s" % (driver or "none found"))
        return
    from gluon_rbm.backend.devices import choose_context

    cuda = framework.mx.runtime.Features().is_enabled("CUDA")
    try:
        context, _ = choose_context(True)
        yield Finding("GPU", "%s works (driver: %s)" % (context, driver or "unknown"))
    except InputError as error:
        # A CPU build of MXNet on a computer without a GPU is not a fault.
        wanted = cuda or driver
        yield Finding("GPU", "none is used" if wanted else "none found", str(error) if wanted else None)
    if cuda:
        for library, (package, path) in framework.cuda_libraries().items():
            wrong = None if path else "run `pip install %s`, unless the system has the library" % package
            yield Finding(library, str(path or "not installed by pip"), wrong)


def _cuda_engine() -> Iterator[Finding]:
    """If there is a GPU, check that the package's own kernels draw the same as the C engine."""
    framework = _framework()
    if framework is None:
        return
    from gluon_rbm.backend.devices import choose_context

    context, _ = choose_context()
    if context.device_type != "gpu":
        return
    from gluon_rbm.backend.cuda import mxnet_device, self_check

    reason = mxnet_device.reason_against(context)
    reason = reason or self_check.longer_difference(mxnet_device.device_of(context))
    wrong = "MXNet's operators are used instead; please report the line above" if reason else None
    yield Finding("CUDA engine", reason or "draws the same chains as the native engine", wrong)


def _steps() -> Iterator[Finding]:
    """Run a training step on each engine, to check that the parts work together."""
    if _framework() is None:
        return
    import numpy as np

    from gluon_rbm import BinaryRBMBlock
    from gluon_rbm.backend import native
    from gluon_rbm.backend.arrays import to_numpy
    from gluon_rbm.backend.devices import choose_context
    from gluon_rbm.backend.framework import mx
    from gluon_rbm.sampling import gibbs

    gpu, _ = choose_context()
    for engine in gibbs.ENGINES[1:]:
        if engine == "native" and not native.available() or engine == "cuda" and gpu.device_type != "gpu":
            continue
        context = gpu if engine == "cuda" else mx.cpu()
        rbm = BinaryRBMBlock(num_hidden=500, k=10, for_training=True, engine=engine)
        rbm.initialize(mx.init.Normal(0.01), ctx=context)
        images = mx.nd.ones((80, 784), ctx=context) / 2
        seconds, sound = [], False
        for _ in range(2):  # the first step allocates memory
            started = time.perf_counter()
            with mx.autograd.record():
                probability, _ = rbm(images)
            probability.backward()
            gradient = to_numpy(rbm.interaction_weight.grad())
            sound = bool(np.isfinite(gradient).all() and gradient.any())
            seconds.append(time.perf_counter() - started)
        found = "%.1f ms for 80 images of 784 pixels, 500 hidden units, k = 10" % (1e3 * min(seconds))
        yield Finding("step, %s" % engine, found, None if sound else "the gradient is zero or not finite")


def _data_sets(data_dir: str | None) -> Iterator[Finding]:
    from gluon_rbm.data import downloads

    for about, folder in (("--data-dir", data_dir), ("MXNET_RBM_DATA", os.environ.get("MXNET_RBM_DATA"))):
        if folder and not os.path.isdir(os.path.expanduser(folder)):
            yield Finding(about, folder, "not a folder; create it, or name another")
            if folder == data_dir:
                data_dir = None
    for name in downloads.SOURCES:
        paths = downloads.located(name, data_dir)
        missing = [file for file, path in paths.items() if path is None]
        folders = sorted({str(path.parent) for path in paths.values() if path})
        if len(missing) == len(paths):
            looked = ", ".join(str(folder) for folder in downloads.search_folders(name, data_dir))
            yield Finding(name, "not found (searched %s); it is downloaded when it is needed" % looked)
        elif missing:
            yield Finding(
                name,
                "in %s, where %s is missing; it is downloaded when it is needed" % (folders[0], ", ".join(missing)),
            )
        else:
            try:
                train_images = downloads.read_published(name, data_dir, progress=False)[0]
                yield Finding(name, "%d training images in %s, verified" % (len(train_images), ", ".join(folders)))
            except downloads.OtherDataSet as error:
                # The files of MNIST and Fashion-MNIST have the same names. A folder with the other
                # data set is a fault only if it has the name of this one.
                is_misplaced = any(Path(folder).name == name for folder in folders)
                found = "not found: %s has another data set in files of the same names" % ", ".join(folders)
                yield Finding(name, found, str(error) if is_misplaced else None)
            except InputError as error:
                yield Finding(name, "in %s" % ", ".join(folders), str(error))
