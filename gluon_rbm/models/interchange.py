"""Parameters from and for other programs: arrays in files, scikit-learn's BernoulliRBM, PyDeep.

Formats, by the names and shapes of their arrays (V visible, H hidden units):

    params, npz, safetensors
              visible_layer_bias (V,)   hidden_layer_bias (H,)  interaction_weight (V, H)
              a joint RBM also has aux_label_classes (number of classes,):
              as many of the last visible units are a label
    sklearn   intercept_visible_ (V,)   intercept_hidden_ (H,)  components_ (H, V)
    pydeep    bv (1, V)                 bh (1, H)               w (V, H)
              and offsets ov (1, V) and oh (1, H)

params is the file format of MXNet, and safetensors that of the library of this name. The others
are .npz archives.

PyDeep's energy is centered: E = -(v - ov) bv^T - bh (h - oh)^T - (v - ov) w (h - oh)^T. With
a = bv - oh w^T and b = bh - ov w it is our energy, up to a constant. Offsets are written as 0.

Everything is read in float32, and written in float32 unless float16 is chosen. Writing float32 and
reading it back changes no bit.
Pickles are neither read nor written: reading one can run any program that its author put there.
"""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, Any, Mapping

import numpy as np

from gluon_rbm.backend import array_files
from gluon_rbm.backend.arrays import from_host, to_numpy
from gluon_rbm.backend.files import write_whole
from gluon_rbm.backend.types import Arrays, HostArray
from gluon_rbm.errors import InputError
from gluon_rbm.models.files import CLASSES, read_model
from gluon_rbm.models.parameters import Parameters

if TYPE_CHECKING:
    from sklearn.neural_network import BernoulliRBM

__all__ = ["FORMATS", "from_arrays", "from_bernoulli_rbm", "read", "to_arrays", "to_bernoulli_rbm", "write"]

FORMATS = ("params", "npz", "sklearn", "pydeep", "safetensors")

_SKLEARN = ("intercept_visible_", "intercept_hidden_", "components_")
_PYDEEP, _OFFSETS = ("bv", "bh", "w"), ("ov", "oh")
_NAMES = {"npz": Parameters._fields, "sklearn": _SKLEARN, "pydeep": _PYDEEP}


# --- In memory ------------------------------------------------------------------------------------


def to_arrays(parameters: Parameters, num_classes: int = 0, form: str = "npz") -> dict[str, HostArray]:
    """Return the arrays of an RBM by the names of a format.

    Parameters
    ----------
    parameters
        NDArrays or NumPy arrays.
    num_classes
        How many of the last visible units are a label.
    form
        One of `FORMATS`.

    Returns
    -------
    dict
        Name to NumPy array, float32.

    Raises
    ------
    InputError
        There is no such format, or there is a label and the format has no place for it.
    """
    if form not in FORMATS:
        raise InputError("unknown format %r; choose %s" % (form, ", ".join(FORMATS)))
    if num_classes and form in ("sklearn", "pydeep"):
        raise InputError("the format %s cannot hold labels; choose --format npz, safetensors or params" % form)
    a, b, w = (np.asarray(to_numpy(array), np.float32) for array in parameters)
    if form == "sklearn":
        return dict(zip(_SKLEARN, (a, b, w.T)))
    if form == "pydeep":
        offsets = np.zeros((1, len(a)), np.float32), np.zeros((1, len(b)), np.float32)
        return dict(zip(_PYDEEP + _OFFSETS, (a[None], b[None], w, *offsets)))
    label = {CLASSES: np.arange(num_classes, dtype=np.float32)} if num_classes else {}
    return {**dict(zip(Parameters._fields, (a, b, w))), **label}


def from_arrays(arrays: Mapping[str, HostArray], name: str = "the file") -> tuple[Parameters, int]:
    """Return the parameters that arrays in any format hold; their names tell the format.

    Parameters
    ----------
    arrays
        Name to NumPy array. Arrays that are not part of the format are ignored.
    name
        Name of the source of the arrays, for error messages.

    Returns
    -------
    parameters : Parameters
        NDArrays in float32, on the CPU.
    num_classes : int
        How many of the last visible units are a label.

    Raises
    ------
    InputError
        Arrays are missing, do not fit together, or hold values that are not finite in float32.
    """
    form = next((form for form, names in _NAMES.items() if set(names) & set(arrays)), None)
    if form is None:
        expected = "; or ".join(", ".join(names) for names in _NAMES.values())
        raise InputError("%s has no parameters of a binary RBM; their names are %s" % (name, expected))
    missing = [one for one in _NAMES[form] if one not in arrays]
    if missing:
        raise InputError("%s has no %s; save it with the others" % (name, " and no ".join(missing)))
    read = {one: _numbers(one, arrays[one], name) for one in (*_NAMES[form], *_OFFSETS, CLASSES) if one in arrays}
    a, b, w = (read[one] for one in _NAMES[form])
    if w.ndim != 2 or not w.size:
        raise InputError("%s has %s of shape %s; it must have two dimensions" % (name, _NAMES[form][2], w.shape))
    if form == "sklearn":
        w = w.T
    if form == "pydeep":
        a, b, *offsets = (
            _row(one, read.get(one), count, name) for one, count in zip(("bv", "bh", *_OFFSETS), 2 * w.shape)
        )
        a, b = _without_offsets(a, b, w, *offsets)
    for one, array, count in zip(_NAMES[form], (a, b), w.shape):
        if array.shape != (count,):
            raise InputError("%s has %s of shape %s; it must be (%d,)" % (name, one, array.shape, count))
    num_classes = len(read[CLASSES].reshape(-1)) if form == "npz" and CLASSES in read else 0
    if num_classes >= len(w):
        raise InputError(
            "%s has %d classes and only %d visible units, so it has no pixels" % (name, num_classes, len(w))
        )
    single = (np.ascontiguousarray(_single(array, name)) for array in (a, b, w))
    return Parameters(*map(from_host, single)), num_classes


def _numbers(one: str, array: HostArray, name: str) -> HostArray:
    array = np.asarray(array)
    if array.dtype.kind != "f":
        raise InputError("%s has %s of type %s; save floats" % (name, one, array.dtype))
    return array


def _row(one: str, array: HostArray | None, count: int, name: str) -> HostArray:
    """Return a row (1, count) as (count,), or zeros if there is none."""
    array = np.zeros((1, count)) if array is None else array
    if array.shape != (1, count):
        raise InputError("%s has %s of shape %s; it must be (1, %d)" % (name, one, array.shape, count))
    return array[0]


def _without_offsets(
    a: HostArray, b: HostArray, w: HostArray, visible_offset: HostArray, hidden_offset: HostArray
) -> tuple[HostArray, HostArray]:
    w = w.astype(np.float64)
    return a - w @ hidden_offset, b - visible_offset @ w


def _single(array: HostArray, name: str) -> HostArray:
    with np.errstate(over="ignore"):
        array = array.astype(np.float32)
    if not np.isfinite(array).all():
        raise InputError("%s holds values that are not finite, or too large for float32; train again" % name)
    return array


def to_bernoulli_rbm(parameters: Parameters, **settings: Any) -> BernoulliRBM:
    """Return scikit-learn's BernoulliRBM with these parameters, as after fitting.

    Parameters
    ----------
    parameters
        NDArrays or NumPy arrays.
    **settings
        Parameters of BernoulliRBM, such as learning_rate.

    Returns
    -------
    BernoulliRBM
        The estimator. Its chains h_samples_ are zeros, as before its first step.
    """
    from sklearn.neural_network import BernoulliRBM

    arrays = to_arrays(parameters, form="sklearn")
    num_hidden, num_visible = arrays["components_"].shape
    rbm: Any = BernoulliRBM(num_hidden, **settings)
    for name, array in arrays.items():
        setattr(rbm, name, array)
    rbm.n_features_in_, rbm._n_features_out = num_visible, num_hidden
    rbm.h_samples_ = np.zeros((rbm.batch_size, num_hidden), np.float32)
    return rbm


def from_bernoulli_rbm(rbm: BernoulliRBM) -> Parameters:
    """Return the parameters of a fitted BernoulliRBM.

    Parameters
    ----------
    rbm
        The estimator.

    Returns
    -------
    Parameters
        NDArrays in float32, on the CPU.

    Raises
    ------
    InputError
        As in `from_arrays`.
    """
    return from_arrays({name: getattr(rbm, name) for name in _SKLEARN if hasattr(rbm, name)}, "the BernoulliRBM")[0]


# --- On disk --------------------------------------------------------------------------------------


def read(path: str | os.PathLike[str]) -> tuple[Parameters, int]:
    """Read parameters from any file that `write` makes.

    Parameters
    ----------
    path
        A run folder, a file rbm.params, a safetensors file, or a .npz archive in one of the
        formats. The content tells which, whatever the file's name is.

    Returns
    -------
    parameters : Parameters
        NDArrays in float32, on the CPU.
    num_classes : int
        How many of the last visible units are a label.

    Raises
    ------
    InputError
        The file cannot be read, is torn, holds something else, or is a pickle.
    """
    start = b"" if os.path.isdir(path) else _first_bytes(path)
    if start[:2] == b"PK":
        return from_arrays(_read_npz(path), os.fspath(path))
    # A safetensors file has "{" here, after the length of its header; a pickle has another byte.
    if start[8:9] == b"{" or os.fspath(path).endswith(".safetensors"):
        return from_arrays(_read_safetensors(path), os.fspath(path))
    if start[:1] == b"\x80":
        raise InputError(
            "%s is a pickle, which can run any program when it is read; if you trust it, save its arrays with np.savez"
            % path
        )
    parameters, num_classes = read_model(path)
    return Parameters(*(array.astype("float32") for array in parameters)), num_classes


def _first_bytes(path: str | os.PathLike[str]) -> bytes:
    try:
        array_files.check_ordinary(path)
        with open(path, "rb") as file:
            return file.read(9)
    except OSError:  # the function that reads the file raises it again
        return b""


def _read_npz(path: str | os.PathLike[str]) -> dict[str, HostArray]:
    try:
        return array_files.load_npz(path)
    except Exception as error:  # a damaged archive can raise almost any error
        if "allow_pickle" in str(error):
            raise InputError("%s holds pickled objects, which can run any program; save plain arrays" % path) from error
        raise InputError("%s cannot be read (it is not a complete .npz archive); save it again" % path) from error


def _read_safetensors(path: str | os.PathLike[str]) -> dict[str, HostArray]:
    from safetensors.numpy import load

    try:
        array_files.check_ordinary(path)
        with open(path, "rb") as file:
            return load(file.read())
    except OSError as error:
        raise InputError("%s cannot be read (%s); give another file" % (path, error.strerror or error)) from error
    except Exception as error:
        # The library's own error for a damaged file; KeyError for dtypes that NumPy does not know.
        raise InputError(
            "%s cannot be read (it is not a complete .safetensors file with number types of NumPy); save it again"
            % path
        ) from error


def write(
    path: str | os.PathLike[str],
    parameters: Parameters,
    num_classes: int = 0,
    form: str = "npz",
    float16: bool = False,
) -> None:
    """Write an RBM in one of the `FORMATS`. The file is written whole or not at all.

    Parameters
    ----------
    path
        The file.
    parameters, num_classes, form
        As in `to_arrays`.
    float16
        Write float16, which takes half the space and keeps three digits.

    Raises
    ------
    InputError
        As in `to_arrays`; or the file cannot be written, or a number is too large for float16.
    """
    arrays = to_arrays(parameters, num_classes, form)
    if float16:
        arrays = {name: _as_half(array) for name, array in arrays.items()}
    with write_whole(path, "TARGET") as temporary:
        if form == "params":
            array_files.save(temporary, arrays)
            return
        with open(temporary, "wb") as file:
            file.write(_safetensors_bytes(arrays) if form == "safetensors" else _npz_bytes(arrays))


def _as_half(array: HostArray) -> HostArray:
    largest = np.abs(array).max(initial=0)
    if largest > np.finfo(np.float16).max:
        raise InputError("the parameters reach %g, too large for float16; leave out --float16" % largest)
    return array.astype(np.float16)


def _safetensors_bytes(arrays: Mapping[str, HostArray]) -> bytes:
    from safetensors.numpy import save

    # The library writes the memory of an array as it is, and ignores its strides.
    return save({name: np.ascontiguousarray(array) for name, array in arrays.items()})


def _npz_bytes(arrays: Arrays) -> bytes:
    # The archive is made in memory. On a full disk, a half-written archive would fail a second time
    # when it is closed.
    archive = io.BytesIO()
    np.savez(archive, **arrays)
    return archive.getvalue()
