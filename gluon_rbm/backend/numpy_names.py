"""Names that MXNet 1.9.1 uses and newer NumPys have dropped.

MXNet 1.9.1 was released before NumPy 1.24 dropped numpy.bool and NumPy 2.0 dropped many old names.
Its wheel asks pip for NumPy < 2, but only the names are missing: with them, MXNet runs on NumPy 2.
`restore` gives each name back only where it is missing, so it never changes NumPy's own meaning of
a name. The names stay for the life of the process, because MXNet uses some of them long after its
import (numpy.bool, numpy.Inf, numpy.compat).

tests/test_numpy_names.py searches the source of the installed MXNet for names that are missing
here.
"""

from __future__ import annotations

import math
import sys
from types import SimpleNamespace
from typing import Any, Callable

import numpy as np

__all__ = ["restore", "write_scalars_plainly"]


def _dropped() -> dict[str, Any]:
    """Return every name that MXNet uses and some NumPy lacks, with its meaning."""
    # MXNet finds its own function for each function of NumPy by identity. If product were np.prod
    # itself, MXNet's function for product would replace its function for prod.
    functions: dict[str, Callable[..., Any]] = {
        "alltrue": lambda *args, **kwargs: np.all(*args, **kwargs),
        "in1d": lambda first, second, **kwargs: np.isin(np.ravel(first), second, **kwargs),
        "msort": lambda array: np.sort(array, axis=0),
        "product": lambda *args, **kwargs: np.prod(*args, **kwargs),
        "round_": lambda *args, **kwargs: np.round(*args, **kwargs),
        "sometrue": lambda *args, **kwargs: np.any(*args, **kwargs),
        # NumPy 1 has no trapezoid.
        "trapz": lambda *args, **kwargs: getattr(np, "trapezoid")(*args, **kwargs),  # noqa: B009
        **{name: _without_financial(name) for name in ("mirr", "npv", "pmt", "ppmt", "pv", "rate")},
    }
    constants = {
        "Inf": math.inf,
        "NAN": math.nan,
        "NINF": -math.inf,
        "NZERO": -0.0,
        "NaN": math.nan,
        "PINF": math.inf,
        "PZERO": 0.0,
    }
    return {"bool": np.bool_, "int": int, "compat": SimpleNamespace(basestring=str), **constants, **functions}


def _without_financial(name: str) -> Callable[..., Any]:
    """Return what NumPy 1.20 to 1.26 have in place of a financial function that they dropped."""

    def dropped(*_: Any, **__: Any) -> Any:
        raise RuntimeError("NumPy 1.20 dropped numpy.%s: use the package numpy-financial" % name)

    return dropped


def restore() -> None:
    """Give NumPy back the names that it lacks."""
    for name, meaning in _dropped().items():
        # hasattr would make NumPy 1.20 to 1.26 warn about the name.
        if name not in vars(np):
            setattr(np, name, meaning)


def write_scalars_plainly() -> None:
    """Make MXNet write NumPy's numbers in parameters of operators as its C++ code reads them.

    MXNet must have been imported. It passes a parameter as str(value). For (np.int64(2), 3) this is
    "(2, 3)" on NumPy 1, and "(np.int64(2), 3)" on NumPy 2. So the modules of MXNet that pass
    parameters get a str of their own. Everywhere else numbers still print as NumPy prints them;
    numpy.set_printoptions(legacy="1.25") would change that.
    """
    if int(np.__version__.partition(".")[0]) >= 2:
        for name in ("mxnet._ctypes.ndarray", "mxnet._ctypes.symbol", "mxnet.symbol.symbol"):
            if name in sys.modules:
                vars(sys.modules[name])["str"] = _Str


class _StrType(type):
    def __call__(cls, value: Any) -> str:
        return str(_plain(value))

    def __instancecheck__(cls, instance: Any) -> bool:  # MXNet calls isinstance(backend, str)
        return isinstance(instance, str)


class _Str(metaclass=_StrType):
    """Like str, but writes NumPy's numbers in tuples and lists as NumPy 1 did."""


class _Number:
    """A number with the representation that it has on NumPy 1."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __repr__(self) -> str:
        return str(self._value)


def _plain(value: Any) -> Any:
    if type(value) in (tuple, list):
        return type(value)(map(_plain, value))
    return _Number(value) if isinstance(value, (np.number, np.bool_)) else value
