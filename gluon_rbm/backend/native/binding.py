"""The C library of the native engine: where it is, its argument's layout, and whether it can be used.

The library is built by setup.py from gibbs.c where there is a compiler, and lies next to the package under a name of
its own, so that a checkout on `sys.path` does not hide the library of the installed distribution.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import itertools
import os
from typing import Any

from gluon_rbm.errors import InputError

__all__ = [
    "INSTRUCTION_SETS",
    "Availability",
    "Classes",
    "Gibbs",
    "Learning",
    "available",
    "check",
    "default_num_threads",
    "describe",
    "features",
    "library",
    "load",
    "path",
]

INSTRUCTION_SETS = ("plain", "avx2", "avx512")

_LIBRARY = "_mxnet_rbm_native"
ABI_VERSION = 9  # as in gibbs.h
_OK, _BAD_SIZE, _NO_MEMORY, _NOT_BINARY, _BAD_ARGUMENT = 0, -1, -2, -3, -4


def _pointer(name: str) -> type[ctypes.c_void_p]:
    """Make a type of pointers; ctypes checks none of them, so they serve to tell a structure's fields apart."""
    return type(name, (ctypes.c_void_p,), {})


_Int64, _Float64 = ctypes.c_int64, ctypes.c_double
_ConstUint8s = _pointer("_ConstUint8s")
_ConstInt64s = _pointer("_ConstInt64s")
_ConstFloat32s = _pointer("_ConstFloat32s")
_Float32s = _pointer("_Float32s")
_ConstFloat64s = _pointer("_ConstFloat64s")
_Float64s = _pointer("_Float64s")
_TYPE_NAMES = {  # as in gibbs.c
    _Int64: "int64",
    _Float64: "float64",
    _ConstUint8s: "const uint8 *",
    _ConstInt64s: "const int64 *",
    _ConstFloat32s: "const float32 *",
    _Float32s: "float32 *",
    _ConstFloat64s: "const float64 *",
    _Float64s: "float64 *",
}


class Gibbs(ctypes.Structure):
    """struct gibbs of gibbs.h, where the fields are described."""

    _fields_ = [
        ("chains", _Int64),
        ("num_visible", _Int64),
        ("num_hidden", _Int64),
        ("sweeps", _Int64),
        ("first_sweep", _Int64),
        ("num_betas", _Int64),
        ("start_visible", _Int64),
        ("clamp_per_chain", _Int64),
        ("finish", _Int64),
        ("key_0", _Int64),
        ("key_1", _Int64),
        ("fixed_point", _Int64),
        ("num_threads", _Int64),
        ("instruction_set", _Int64),
        ("gaussian", _Int64),
        ("num_groups", _Int64),
        ("groups", _ConstInt64s),
        ("weight", _ConstFloat32s),
        ("visible_bias", _ConstFloat32s),
        ("hidden_bias", _ConstFloat32s),
        ("base", _ConstFloat32s),
        ("beta", _ConstFloat64s),
        ("clamp", _ConstUint8s),
        ("clamp_value", _ConstFloat32s),
        ("retain", _Float64),
        ("spread", _Float64),
        ("visible", _Float32s),
        ("hidden", _Float32s),
        ("visible_probability", _Float32s),
        ("hidden_probability", _Float32s),
        ("hidden_input", _Float32s),
        ("scale", _Float64s),
        ("log_weight", _Float64s),
    ]


class Learning(ctypes.Structure):
    """struct learning of gibbs.h."""

    _fields_ = [
        ("rows", _Int64),
        ("num_rows", _Int64),
        ("from_data", _Int64),
        ("keys", _ConstInt64s),
        ("add", _Int64),
        ("factor", _Float64),
        ("rescale", _Float64),
        ("sparsity_target", _Float64),
        ("sparsity_cost", _Float64),
        ("weight_decay_l1", _Float64),
        ("rate", _Float64),
        ("momentum", _Float64),
        ("weight_decay", _Float64),
        ("data", _ConstFloat32s),
        ("data_hidden", _ConstFloat32s),
        ("visible_offset", _ConstFloat32s),
        ("hidden_offset", _ConstFloat32s),
        ("weight_gradient", _Float32s),
        ("visible_gradient", _Float32s),
        ("hidden_gradient", _Float32s),
        ("weight", _Float32s),
        ("visible_bias", _Float32s),
        ("hidden_bias", _Float32s),
        ("weight_velocity", _Float32s),
        ("visible_velocity", _Float32s),
        ("hidden_velocity", _Float32s),
    ]


class Classes(ctypes.Structure):
    """struct classes of gibbs.h."""

    _fields_ = [
        ("rows", _Int64),
        ("num_classes", _Int64),
        ("num_hidden", _Int64),
        ("input", _ConstFloat32s),
        ("label_weight", _ConstFloat32s),
        ("first", _ConstInt64s),
        ("score", _Float64s),
        ("slope", _ConstFloat32s),
        ("hidden", _Float32s),
        ("label_hidden", _Float32s),
    ]


class _Field(ctypes.Structure):
    """struct gibbs_field of gibbs.h: what the library says of a field of a structure."""

    _fields_ = [
        ("name", ctypes.c_char_p),
        ("type", ctypes.c_char_p),
        ("offset", ctypes.c_int64),
        ("size", ctypes.c_int64),
    ]


_FUNCTIONS = ("has", "noise", "run", "anneal", "mean", "gradient", "descend", "learn", "class_sums", "class_means")
_STRUCTURES: dict[str, type[ctypes.Structure]] = {"gibbs": Gibbs, "learning": Learning, "classes": Classes}


class Availability:
    """True where the native engine can be used; otherwise `reason` says why not."""

    def __init__(self, reason: str | None = None) -> None:
        self.reason = reason

    def __bool__(self) -> bool:
        return self.reason is None

    def __repr__(self) -> str:
        return "available" if self.reason is None else "not available: " + self.reason


@functools.lru_cache(maxsize=None)
def load() -> tuple[ctypes.CDLL | None, str | None]:
    """The library and None, or None and the reason."""
    origin = path()
    if not origin:
        return None, "it is not built; install the distribution from source where there is a C compiler"
    try:
        library = ctypes.CDLL(origin)
        if library.mxnet_rbm_gibbs_abi() != ABI_VERSION:
            return None, "%s is of another version; install the distribution again" % origin
        for name in _FUNCTIONS:
            getattr(library, "mxnet_rbm_gibbs_" + name).restype = ctypes.c_int64
        library.mxnet_rbm_gibbs_has.argtypes = [ctypes.c_int64]
        for structure in _STRUCTURES:
            getattr(library, "mxnet_rbm_%s_fields" % structure).restype = ctypes.POINTER(_Field)
    except (OSError, AttributeError) as error:
        return None, "%s cannot be loaded: %s" % (origin, error)
    for name, structure in _STRUCTURES.items():
        difference = _layout_difference(_library_layout(library, name), _layout(structure))
        if difference:
            return None, "%s is of another version (%s); install the distribution again" % (origin, difference)
    return library, None


def _layout(structure: type[ctypes.Structure]) -> list[str]:
    """One line for each field of a structure of `_TYPE_NAMES`, in their order in memory."""
    lines = []
    for name, kind, *_ in structure._fields_:
        field = getattr(structure, name)
        lines.append(_field_line(_TYPE_NAMES[kind], name, field.offset, field.size))
    return lines


def _library_layout(library: ctypes.CDLL, name: str) -> list[str]:
    """The same of the library's structure of that name as the compiler laid it out."""
    table = getattr(library, "mxnet_rbm_%s_fields" % name)()
    fields = itertools.takewhile(lambda field: field.name, (table[i] for i in itertools.count()))
    return [_field_line(field.type.decode(), field.name.decode(), field.offset, field.size) for field in fields]


def _field_line(kind: str, name: str, offset: int, size: int) -> str:
    return "%s %s: bytes %d to %d" % (kind, name, offset, offset + size)


def _layout_difference(theirs: list[str], ours: list[str]) -> str | None:
    """The first field that differs between the library and this module, in words; None where none does."""
    for left, right in itertools.zip_longest(theirs, ours, fillvalue="nothing"):
        if left != right:
            return "it has %s where %s is expected" % (left, right)
    return None


def available() -> Availability:
    """Whether the library is built, of this version and loads: an `Availability`."""
    return Availability(load()[1])


def path() -> str | None:
    """The file of the library; None where there is none."""
    spec = importlib.util.find_spec(_LIBRARY)
    return spec.origin if spec else None


def library() -> ctypes.CDLL:
    """The library; InputError where it is not available."""
    loaded, reason = load()
    if loaded is None:
        raise InputError("the native Gibbs engine is not available: %s" % reason)
    return loaded


def features() -> dict[str, Any]:
    """What the library uses here: instruction_sets (worst first; the last is used) and threads."""
    loaded = library()
    return {
        "instruction_sets": [name for i, name in enumerate(INSTRUCTION_SETS) if loaded.mxnet_rbm_gibbs_has(i)],
        "threads": default_num_threads(),
    }


def describe() -> str:
    """The instruction set that the library uses here, and its threads; or why it cannot be used."""
    if not available():
        return repr(available())
    return "%s, %d threads" % (features()["instruction_sets"][-1], features()["threads"])


def default_num_threads() -> int:
    """OMP_NUM_THREADS, which MXNet obeys too, else the processors of this process."""
    number = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if number.isdecimal() and int(number) > 0:
        return int(number)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check(code: int, what: str) -> None:
    """Raise what a code of the library means, unless all is well; what : the argument that must be binary."""
    if code == _BAD_SIZE:
        raise InputError("sizes or the number of sweeps are too large for the native Gibbs engine")
    if code == _NO_MEMORY:
        raise MemoryError("the native Gibbs engine needs more memory than there is")
    if code == _NOT_BINARY:
        raise InputError("%s must be binary: every value 0 or 1" % what)
    if code == _BAD_ARGUMENT:
        raise InputError("an argument does not suit the native Gibbs engine")
    if code != _OK:
        raise RuntimeError("the native Gibbs engine failed with code %d" % code)
