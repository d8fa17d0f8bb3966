"""A plain `import mxnet` works on today's Pythons and NumPys after `import gluon_rbm`.

MXNet 1.9.1 was released in 2022. Its import fails where NumPy or Python has dropped names since. So
`install` puts a finder in front of sys.meta_path. The finder lets the other finders look for MXNet,
and wraps the loader that they choose. The wrapper calls `prepare` just before the code of MXNet is
executed. It raises ImportError, in one line that says what to do, if MXNet cannot be loaded.
`gluon_rbm.backend.framework` imports MXNet in the same way.

While MXNet is imported, scikit-learn and scipy.stats are hidden from it, unless they are imported
already. They take as long to import as all the rest. MXNet only needs scikit-learn for the base
class of mxnet.model.FeedForward, which is long deprecated. scipy.stats is put back afterwards, and
is imported when MXNet uses it.

Installing the hook imports nothing. This module uses the standard library only, and little of it at
import time.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import warnings
from _thread import get_ident
from typing import TYPE_CHECKING, Any, Iterator

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import ModuleType

__all__ = ["install", "prepare"]


# --- Finding and loading --------------------------------------------------------------------------


def install() -> None:
    """Put the finder in front of sys.meta_path.

    Calling this function again changes nothing.
    """
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder:
    """Finds MXNet as other finders do, with a loader that prepares for it. Hides slow modules."""

    hides_in: int | None = None  # the thread that imports MXNet

    def find_spec(self, fullname: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if fullname in ("sklearn", "scipy.stats") and self.hides_in == get_ident():
            raise ModuleNotFoundError("MXNet is imported without %s" % fullname, name=fullname)
        if fullname != "mxnet":
            return None
        for finder in sys.meta_path:
            if not isinstance(finder, _Finder) and hasattr(finder, "find_spec"):
                spec: Any = finder.find_spec(fullname, path, target)
                if spec is not None:
                    if hasattr(spec.loader, "exec_module"):  # not in a folder without code
                        spec.loader = _Loader(spec.loader)
                    return spec
        return None


class _Loader:
    """Wraps the loader of a module until the module is executed."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> Any:  # other methods of loaders: get_source, get_data, ...
        if name == "_loader":  # the object is being copied
            raise AttributeError(name)
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: Any) -> None:
        module.__spec__.loader = module.__loader__ = self._loader
        prepare()
        try:
            with _as_a_worker(), _without_slow_modules(), _without_collection(), warnings.catch_warnings():
                # A user can do nothing about MXNet's own deprecations (NumPy's financial functions,
                # distutils).
                warnings.simplefilter("ignore")
                self._loader.exec_module(module)
        except OSError as error:
            from gluon_rbm.backend.wheels import explain_load_error

            raise ImportError(explain_load_error(error)) from None
        from gluon_rbm.backend import numpy_names

        numpy_names.write_scalars_plainly()
        _serve(module)


@contextlib.contextmanager
def _without_slow_modules() -> Iterator[None]:
    """Hide slow modules from this thread's imports in the block; put back what MXNet may use."""
    _Finder.hides_in = get_ident()
    try:
        yield
    finally:
        _Finder.hides_in = None
    import importlib

    from gluon_rbm.backend.lazy import LazyModule

    for module, name in (("mxnet.contrib.quantization", "stats"), ("mxnet.test_utils", "ss")):
        if module in sys.modules and getattr(sys.modules[module], name) is None:
            setattr(
                sys.modules[module], name, LazyModule("scipy.stats", lambda: importlib.import_module("scipy.stats"))
            )


@contextlib.contextmanager
def _without_collection() -> Iterator[None]:
    """Switch garbage collection off in the block.

    The block makes hundreds of thousands of objects that stay.
    """
    import gc

    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


# --- What MXNet needs -----------------------------------------------------------------------------


@functools.lru_cache(maxsize=None)
def prepare() -> None:
    """Make this process ready for MXNet, once.

    This is for the import of MXNet, and for the names of NumPy that MXNet uses long after it. In a
    scheduler or server of a distributed run, it also starts the watch (`heartbeat.attend`).

    Raises
    ------
    ImportError
        MXNet cannot be loaded, or would end the process. The message is one line that says what to
        do.
    """
    from gluon_rbm.backend import (
        heartbeat,
        numpy_names,
        wheels,
    )  # here, because they would slow down `import gluon_rbm`

    _check_address_space()
    numpy_names.restore()
    _provide_distutils()
    # Without it, each executor prints "Subgraph backend MKLDNN is activated". The first executor
    # reads it.
    os.environ.setdefault("MXNET_SUBGRAPH_VERBOSE", "0")
    installed = wheels.installed_wheels()
    _warn_of_two_wheels(installed)
    if wheels.has_cuda_wheel(installed):
        wheels.preload_cuda_libraries()
    heartbeat.attend()


def _check_address_space() -> None:
    """Refuse a small limit of the address space.

    Without room for itself and for the stacks of its threads, MXNet ends the process in one way or
    another.
    """
    try:
        import resource
    except ImportError:  # not on Windows
        return
    limit, needed = resource.getrlimit(resource.RLIMIT_AS)[0], (6 + (os.cpu_count() or 1)) << 28
    if limit != resource.RLIM_INFINITY and limit < needed:
        raise ImportError(
            f"the address space is limited to {limit >> 20} MiB, and MXNet needs {needed >> 20} to begin with: "
            "raise that limit (ulimit -v), or limit the memory that is used by a control group"
        )


def _provide_distutils() -> None:
    """Provide distutils, which MXNet imports and Python 3.12 dropped: setuptools brings it back."""
    import importlib.util

    if importlib.util.find_spec("distutils") is not None:
        return
    try:
        import setuptools  # noqa: F401
    except ImportError:
        raise ImportError(
            "MXNet needs distutils, which Python 3.12 no longer has: run `pip install setuptools`"
        ) from None


def _warn_of_two_wheels(wheels: list[str]) -> None:
    if len(wheels) > 1:
        names = " ".join(wheels)
        warnings.warn(
            f"{len(wheels)} builds of MXNet are installed into one folder ({names}): "
            f"run `pip uninstall -y {names}` and install one of them",
            RuntimeWarning,
            stacklevel=4,  # the warning shows the line that imports MXNet
        )


# --- In the scheduler and the servers of a distributed run ----------------------------------------


@contextlib.contextmanager
def _as_a_worker() -> Iterator[None]:
    """Let `import mxnet` return in a scheduler or server.

    There the import would enter MXNet's own loop, which unpickles what anyone sends.
    """
    role = os.environ.get("DMLC_ROLE", "worker")
    if role == "worker":
        yield
        return
    os.environ["DMLC_ROLE"] = "worker"
    try:
        yield
    finally:
        os.environ["DMLC_ROLE"] = role


def _serve(mxnet: Any) -> None:
    """Serve, in a scheduler or server, until the last worker leaves; then end the process.

    A server adds what workers push. MXNet's own loop (mxnet.kvstore.kvstore_server) does the same,
    but passes every message of the kind kController to pickle.loads. Nothing here sends such
    messages, so all of them are refused, unread.
    """
    if os.environ.get("DMLC_ROLE", "worker") == "worker":
        return
    import ctypes

    store = mxnet.kv.create("dist")

    @ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
    def refuse(command: int, body: bytes, _: int | None) -> None:
        print("%s: refused a message: this server only adds" % os.environ["DMLC_ROLE"], file=sys.stderr, flush=True)

    mxnet.base.check_call(mxnet.base._LIB.MXKVStoreRunServer(store.handle, refuse, None))
    sys.exit()
