"""What MXNet 1.9.1 expects of NumPy, on a NumPy that has it no longer.

MXNet was released before NumPy 1.24 dropped `numpy.bool`, and NumPy 2.0 many old names. Its wheel asks pip for
NumPy < 2, but the names are all that is missing: with them, it runs on NumPy 2. `restore` gives them back, each only
where it is missing, so NumPy's own meaning of a name is never changed. They stay for the life of the process, because
MXNet uses some of them long after its import (`numpy.bool`, `numpy.Inf`, `numpy.compat`).

`tests/test_numpy_names.py` looks through the source of the installed MXNet for names that are not here.
"""

from __future__ import annotations

import math
import sys
from types import SimpleNamespace
from typing import Any, Callable

import numpy as np

__all__ = ["restore", "write_scalars_plainly"]


def _dropped() -> dict[str, Any]:
    """Every name that MXNet uses and some NumPy lacks, and what it stood for."""
    # MXNet registers functions of its own for NumPy's, by identity. Were `product` the very `np.prod`, what MXNet
    # registers for `product` would take the place of what it registers for `prod`.
    functions: dict[str, Callable[..., Any]] = {
        "alltrue": lambda *args, **kwargs: np.all(*args, **kwargs),
        "in1d": lambda first, second, **kwargs: np.isin(np.ravel(first), second, **kwargs),
        "msort": lambda array: np.sort(array, axis=0),
        "product": lambda *args, **kwargs: np.prod(*args, **kwargs),
        "round_": lambda *args, **kwargs: np.round(*args, **kwargs),
        "sometrue": lambda *args, **kwargs: np.any(*args, **kwargs),
        "trapz": lambda *args, **kwargs: getattr(np, "trapezoid")(*args, **kwargs),  # noqa: B009 (not in NumPy 1)
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
    """What NumPy 1.20 to 1.26 have in place of the financial functions that NumPy 1.20 dropped."""

    def dropped(*_: Any, **__: Any) -> Any:
        raise RuntimeError("NumPy 1.20 dropped numpy.%s: use the package numpy-financial" % name)

    return dropped


def restore() -> None:
    """Put back the names that are missing."""
    for name, meaning in _dropped().items():
        # Not hasattr: it makes NumPy 1.20 to 1.26 warn about the very name.
        if name not in vars(np):
            setattr(np, name, meaning)


def write_scalars_plainly() -> None:
    """Let MXNet, once it is imported, write NumPy's numbers in parameters of operators as its C++ reads them.

    MXNet hands parameters over as `str(value)`. Of `(np.int64(2), 3)` that is "(2, 3)" on NumPy 1, and
    "(np.int64(2), 3)" on NumPy 2. The modules that do so get a `str` of their own. So users' numbers still print as
    their NumPy prints them, everywhere (`numpy.set_printoptions(legacy="1.25")` would change that).
    """
    if int(np.__version__.partition(".")[0]) >= 2:
        for name in ("mxnet._ctypes.ndarray", "mxnet._ctypes.symbol", "mxnet.symbol.symbol"):
            if name in sys.modules:
                vars(sys.modules[name])["str"] = _Str


class _StrType(type):
    def __call__(cls, value: Any) -> str:
        return str(_plain(value))

    def __instancecheck__(cls, instance: Any) -> bool:  # MXNet asks once: isinstance(backend, str)
        return isinstance(instance, str)


class _Str(metaclass=_StrType):
    """`str`, but for NumPy's numbers in tuples and lists, which it writes as NumPy 1 did."""


class _Number:
    """Represented as NumPy 1 represented it."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __repr__(self) -> str:
        return str(self._value)


def _plain(value: Any) -> Any:
    if type(value) in (tuple, list):
        return type(value)(map(_plain, value))
    return _Number(value) if isinstance(value, (np.number, np.bool_)) else value
