"""Parameters from elsewhere and for elsewhere: plain arrays in `.npz` files, scikit-learn's BernoulliRBM, PyDeep.

Formats, by the names and shapes of their arrays (V visible, H hidden units):

    npz       visible_layer_bias (V,)   hidden_layer_bias (H,)  interaction_weight (V, H)
              and of a joint RBM aux_label_classes (number of classes,): the last so many visible units are a label
    sklearn   intercept_visible_ (V,)   intercept_hidden_ (H,)  components_ (H, V)
    pydeep    bv (1, V)                 bh (1, H)               w (V, H)              and offsets ov (1, V), oh (1, H)

PyDeep's energy is centered, E = -(v - ov) bv^T - bh (h - oh)^T - (v - ov) w (h - oh)^T. That is ours, up to a constant,
with a = bv - oh w^T and b = bh - ov w; written are offsets of 0.

Everything is read and written in float32, in which a way there and back changes no bit. No pickle is ever read: to read
one is to run whatever program its author has put there.
"""

import io
import os

import joblib
import numpy as np
from sklearn.neural_network import BernoulliRBM

from gluon_rbm.backend import array_files
from gluon_rbm.backend.arrays import from_host, to_numpy
from gluon_rbm.backend.files import write_whole
from gluon_rbm.errors import InputError
from gluon_rbm.models.energy import Parameters
from gluon_rbm.models.files import CLASSES, read_model

__all__ = ["FORMATS", "from_arrays", "from_bernoulli_rbm", "read", "to_arrays", "to_bernoulli_rbm", "write"]

FORMATS = ("params", "npz", "sklearn", "pydeep", "joblib")

_SKLEARN = ("intercept_visible_", "intercept_hidden_", "components_")
_PYDEEP, _OFFSETS = ("bv", "bh", "w"), ("ov", "oh")
_NAMES = {"npz": Parameters._fields, "sklearn": _SKLEARN, "pydeep": _PYDEEP}


# --- In memory --------------------------------------------------------------------------------------------------------


def to_arrays(parameters, num_classes=0, form="npz"):
    """The arrays of a machine in a format, "npz", "sklearn" or "pydeep": name -> NumPy array, float32.

    parameters : energy.Parameters, of NDArrays or NumPy arrays. num_classes : how many of the last visible units are a
    label. Raises InputError for a label in a format that knows none.
    """
    if num_classes and form != "npz":
        raise InputError("the format %s knows no labels; choose --format npz or params" % form)
    a, b, w = (np.asarray(to_numpy(array), np.float32) for array in parameters)
    if form == "sklearn":
        return dict(zip(_SKLEARN, (a, b, w.T)))
    if form == "pydeep":
        offsets = np.zeros((1, len(a)), np.float32), np.zeros((1, len(b)), np.float32)
        return dict(zip(_PYDEEP + _OFFSETS, (a[None], b[None], w, *offsets)))
    label = {CLASSES: np.arange(num_classes, dtype=np.float32)} if num_classes else {}
    return {**dict(zip(Parameters._fields, (a, b, w))), **label}


def from_arrays(arrays, name="the file"):
    """`energy.Parameters` in float32, and how many of the last visible units are a label, of arrays in any format.

    arrays : name -> NumPy array; others than those of the format are passed over. Raises InputError, about `name`,
    where arrays are missing, do not fit together, or hold what is no finite float32.
    """
    form = next((form for form, names in _NAMES.items() if set(names) & set(arrays)), None)
    if form is None:
        expected = "; or ".join(", ".join(names) for names in _NAMES.values())
        raise InputError("%s holds no parameters of a binary RBM; they are called %s" % (name, expected))
    missing = [one for one in _NAMES[form] if one not in arrays]
    if missing:
        raise InputError("%s holds no %s; save it with the others" % (name, " and no ".join(missing)))
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
        raise InputError("%s has %d classes and %d visible units, which leaves no pixel" % (name, num_classes, len(w)))
    single = (np.ascontiguousarray(_single(array, name)) for array in (a, b, w))
    return Parameters(*map(from_host, single)), num_classes


def _numbers(one, array, name):
    array = np.asarray(array)
    if array.dtype.kind != "f":
        raise InputError("%s has %s in %s; save floats" % (name, one, array.dtype))
    return array


def _row(one, array, count, name):
    """A row (1, count) as (count,); zeros where there is none."""
    array = np.zeros((1, count)) if array is None else array
    if array.shape != (1, count):
        raise InputError("%s has %s of shape %s; it must be (1, %d)" % (name, one, array.shape, count))
    return array[0]


def _without_offsets(a, b, w, visible_offset, hidden_offset):
    w = w.astype(np.float64)
    return a - w @ hidden_offset, b - visible_offset @ w


def _single(array, name):
    with np.errstate(over="ignore"):
        array = array.astype(np.float32)
    if not np.isfinite(array).all():
        raise InputError("%s holds values that are not finite, or too large for float32; train again" % name)
    return array


def to_bernoulli_rbm(parameters, **settings):
    """scikit-learn's BernoulliRBM with these parameters, as after a fit.

    settings : its own parameters (learning_rate, ...). Its chains, h_samples_, are zeros, as before its first step.
    """
    arrays = to_arrays(parameters, form="sklearn")
    num_hidden, num_visible = arrays["components_"].shape
    rbm = BernoulliRBM(num_hidden, **settings)
    for name, array in arrays.items():
        setattr(rbm, name, array)
    rbm.n_features_in_, rbm._n_features_out = num_visible, num_hidden
    rbm.h_samples_ = np.zeros((rbm.batch_size, num_hidden), np.float32)
    return rbm


def from_bernoulli_rbm(rbm):
    """The `energy.Parameters`, in float32, of a fitted BernoulliRBM. Raises InputError as `from_arrays` does."""
    return from_arrays({name: getattr(rbm, name) for name in _SKLEARN if hasattr(rbm, name)}, "the BernoulliRBM")[0]


# --- On disk ----------------------------------------------------------------------------------------------------------


def read(path):
    """`energy.Parameters` in float32, and how many of the last visible units are a label: of any file `write` makes.

    path : a run folder, a file rbm.params, or a `.npz` archive in one of the formats. A joblib file is none of these:
    it is a pickle. Raises InputError.
    """
    if os.path.isdir(path) or not _begins(path, b"PK"):
        if _begins(path, b"\x80"):
            raise InputError(
                "%s is a pickle, and to read one may run any program; where you trust it, save its arrays by np.savez"
                % path
            )
        parameters, num_classes = read_model(path)
        return Parameters(*(array.astype("float32") for array in parameters)), num_classes
    try:
        arrays = array_files.load_npz(path)
    except Exception as error:  # a torn archive can raise nearly anything
        if "allow_pickle" in str(error):
            raise InputError("%s holds pickled objects, which may run any program; save plain arrays" % path) from error
        raise InputError("%s cannot be read (it is not a whole .npz archive); save it again" % path) from error
    return from_arrays(arrays, path)


def _begins(path, start):
    try:
        array_files.check_ordinary(path)
        with open(path, "rb") as file:
            return file.read(len(start)) == start
    except OSError:  # whoever reads it says why
        return False


def write(path, parameters, num_classes=0, form="npz"):
    """Write a machine in one of the `FORMATS`, whole or not at all.

    params is MXNet's format, as `rbm.params` of a run; joblib a BernoulliRBM, as scikit-learn's users keep it. Raises
    InputError as `to_arrays` does, and where the file cannot be written.
    """
    arrays = to_arrays(parameters, num_classes, {"params": "npz", "joblib": "sklearn"}.get(form, form))
    with write_whole(path, "TARGET") as temporary:
        if form == "params":
            array_files.save(temporary, arrays)
        elif form == "joblib":
            joblib.dump(to_bernoulli_rbm(parameters), temporary)
        else:
            archive = io.BytesIO()  # first: on a full disk an archive that is half written fails once more when closed
            np.savez(archive, **arrays)
            with open(temporary, "wb") as file:
                file.write(archive.getbuffer())
