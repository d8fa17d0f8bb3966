"""The C library of the native engine: its file, the layout of its arguments, and whether it works.

setup.py builds the library from gibbs.c where there is a C compiler. The library lies next to the
package under a name of its own, so that a checkout on sys.path does not hide the library of the
installed distribution.
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

INSTRUCTION_SETS = ("plain", "avx2", "avx512")  #: all that a build may have, the best last

_LIBRARY = "_mxnet_rbm_native"
ABI_VERSION = 9  # as in gibbs.h
_OK, _BAD_SIZE, _NO_MEMORY, _NOT_BINARY, _BAD_ARGUMENT = 0, -1, -2, -3, -4


def _pointer(name: str) -> type[ctypes.c_void_p]:
    """Make a type of pointers. ctypes checks none of them: they tell a structure's fields apart."""
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
    """The structure gibbs of gibbs.h, which describes the fields."""

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
    """The structure learning of gibbs.h, which describes the fields."""

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
    """The structure classes of gibbs.h, which describes the fields."""

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
    """The structure gibbs_field of gibbs.h: what the library says of a field of a structure."""

    _fields_ = [
        ("name", ctypes.c_char_p),
        ("type", ctypes.c_char_p),
        ("offset", ctypes.c_int64),
        ("size", ctypes.c_int64),
    ]


_FUNCTIONS = ("has", "noise", "run", "anneal", "mean", "gradient", "descend", "learn", "class_sums", "class_means")
_STRUCTURES: dict[str, type[ctypes.Structure]] = {"gibbs": Gibbs, "learning": Learning, "classes": Classes}


class Availability:
    """Whether the native engine can be used: true, or false with a reason.

    Parameters
    ----------
    reason
        Why it cannot be used; None if it can.
    """

    def __init__(self, reason: str | None = None) -> None:
        self.reason = reason

    def __bool__(self) -> bool:
        return self.reason is None

    def __repr__(self) -> str:
        return "available" if self.reason is None else "not available: " + self.reason


@functools.lru_cache(maxsize=None)
def load() -> tuple[ctypes.CDLL | None, str | None]:
    """Load the library, and check that it is of this version.

    Returns
    -------
    library : ctypes.CDLL or None
        The library; None if it cannot be used.
    reason : str or None
        Why it cannot be used; None if it can.
    """
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
    """Return a line for each field of a structure, in their order in memory."""
    lines = []
    for name, kind, *_ in structure._fields_:
        field = getattr(structure, name)
        lines.append(_field_line(_TYPE_NAMES[kind], name, field.offset, field.size))
    return lines


def _library_layout(library: ctypes.CDLL, name: str) -> list[str]:
    """Return the same for the library's structure of that name, as the compiler laid it out."""
    table = getattr(library, "mxnet_rbm_%s_fields" % name)()
    fields = itertools.takewhile(lambda field: field.name, (table[i] for i in itertools.count()))
    return [_field_line(field.type.decode(), field.name.decode(), field.offset, field.size) for field in fields]


def _field_line(kind: str, name: str, offset: int, size: int) -> str:
    return "%s %s: bytes %d to %d" % (kind, name, offset, offset + size)


def _layout_difference(theirs: list[str], ours: list[str]) -> str | None:
    """Say in words which field differs first between library and module; None if none does."""
    for left, right in itertools.zip_longest(theirs, ours, fillvalue="nothing"):
        if left != right:
            return "it has %s where %s is expected" % (left, right)
    return None


def available() -> Availability:
    """Return whether the library is built, is of this version, and loads.

    Returns
    -------
    Availability
        True, or false with a reason.
    """
    return Availability(load()[1])


def path() -> str | None:
    """Return the file of the library.

    Returns
    -------
    str or None
        Its path; None if it is not built.
    """
    spec = importlib.util.find_spec(_LIBRARY)
    return spec.origin if spec else None


def library() -> ctypes.CDLL:
    """Return the library.

    Returns
    -------
    ctypes.CDLL
        The library.

    Raises
    ------
    InputError
        The library is not available.
    """
    loaded, reason = load()
    if loaded is None:
        raise InputError("the native Gibbs engine is not available: %s" % reason)
    return loaded


def features() -> dict[str, Any]:
    """Return what the library uses here.

    Returns
    -------
    dict
        "instruction_sets": names, the best last, which is used; "threads": the default number of
        threads.

    Raises
    ------
    InputError
        The library is not available.
    """
    loaded = library()
    return {
        "instruction_sets": [name for i, name in enumerate(INSTRUCTION_SETS) if loaded.mxnet_rbm_gibbs_has(i)],
        "threads": default_num_threads(),
    }


def describe() -> str:
    """Describe what the library uses here.

    Returns
    -------
    str
        Its instruction set and number of threads, or why it cannot be used.
    """
    if not available():
        return repr(available())
    return "%s, %d threads" % (features()["instruction_sets"][-1], features()["threads"])


def default_num_threads() -> int:
    """Return the default number of threads.

    Returns
    -------
    int
        OMP_NUM_THREADS, which MXNet obeys, too; else the number of processors of this process.
    """
    number = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if number.isdecimal() and int(number) > 0:
        return int(number)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check(code: int, what: str) -> None:
    """Raise what a code of the library means.

    Parameters
    ----------
    code
        What a function of the library returned.
    what
        Name, in messages, of the argument that must be binary.

    Raises
    ------
    InputError
        Sizes are too large, or an argument is not binary or does not suit the engine.
    MemoryError
        There is not enough memory.
    RuntimeError
        The code is unknown.
    """
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
