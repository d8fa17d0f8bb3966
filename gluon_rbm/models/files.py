"""Files of parameters: what a run, a block or a module has written, read with care."""

from __future__ import annotations

import os

import numpy as np

from gluon_rbm.backend import array_files
from gluon_rbm.backend.arrays import from_host
from gluon_rbm.backend.types import HostArray, NDArray
from gluon_rbm.errors import InputError
from gluon_rbm.models.energy import Parameters
from gluon_rbm.models.gaussian_rbm import LOG_VARIANCE

__all__ = [
    "CLASSES",
    "DESCRIPTION",
    "PARAMETERS",
    "correct_chain_names",
    "folder_of",
    "is_gaussian",
    "parameter_file",
    "read_arrays",
    "read_model",
    "read_parameters",
]

PARAMETERS = "rbm.params"
DESCRIPTION = "description"  # the array of a network's file that says what it is: bytes of JSON
CLASSES = "aux_label_classes"  # the array that says that the last visible units are a label

# What the original's Module script calls the chains' visible and hidden samples -> what they are.
_MISNAMED = {
    "aux_hidden_layer_sample": "aux_visible_layer_sample",
    "aux_hidden_layer_prob_1": "aux_hidden_layer_sample",
}


def read_parameters(path: str | os.PathLike[str]) -> Parameters:
    """The `Parameters` of a run folder, or of a file as `BinaryRBMBlock.save_parameters` and `Module` write it.

    Raises InputError when there is no such file, or no such parameters in it.
    """
    return read_model(path)[0]


def read_model(path: str | os.PathLike[str]) -> tuple[Parameters, int]:
    """The `Parameters` of a run folder or file, and how many of the last visible units are a label (0: no label).

    Raises InputError as `read_parameters` does, and where there are not as many visible units.
    """
    path = parameter_file(path)
    arrays = read_arrays(path)
    if LOG_VARIANCE in arrays:
        raise InputError("%s is a Gaussian RBM; this takes a binary one (sample takes both)" % path)
    if DESCRIPTION in arrays:
        raise InputError(
            "%s is a network of train-multinary, which svm and train-gaussian --network take; name a binary RBM" % path
        )
    missing = [name for name in Parameters._fields if name not in arrays]
    if missing:
        raise InputError("%s holds no %s; name the parameters of a binary RBM" % (path, " and no ".join(missing)))
    parameters = Parameters(*(arrays[name] for name in Parameters._fields)).checked()
    num_classes = arrays[CLASSES].shape[0] if CLASSES in arrays else 0
    if num_classes >= parameters.num_visible:
        raise InputError(
            "%s has %d classes and %d visible units, which leaves no pixel; name the parameters of a joint RBM"
            % (path, num_classes, parameters.num_visible)
        )
    return parameters, num_classes


def is_gaussian(path: str | os.PathLike[str]) -> bool:
    """Whether a run folder or file holds a Gaussian-Bernoulli RBM. Raises InputError where there is no such file."""
    return LOG_VARIANCE in read_arrays(parameter_file(path))


def parameter_file(path: str | os.PathLike[str]) -> str:
    """The file of parameters that `path` means: that of a run folder, or itself."""
    return os.path.join(path, PARAMETERS) if os.path.isdir(path) else os.fspath(path)


def folder_of(path: str | os.PathLike[str]) -> str:
    """The folder that a model's file of parameters lies in: a run folder, where `path` means one."""
    return os.path.dirname(parameter_file(path)) or os.curdir


def read_arrays(path: str | os.PathLike[str]) -> dict[str, NDArray]:
    """The arrays of a file of parameters: name, without the arg: and aux: of Module -> NDArray; else InputError.

    Floats of another size (float16, float64) become float32, in which all is computed.
    """
    try:
        arrays = array_files.load(path)
    except (OSError, array_files.BrokenFile) as error:
        reason = getattr(error, "strerror", None) or str(error)
        advice = "name a run folder or a file %s" % PARAMETERS
        if os.path.exists(path) and os.fspath(path).endswith((".npz", ".safetensors")):
            advice += "; `python -m gluon_rbm convert` makes one of parameters in other formats"
        raise InputError("%s cannot be read (%s); %s" % (path, reason, advice)) from error
    return {name.rpartition(":")[2]: from_host(_as_single(array)) for name, array in arrays.items()}


def _as_single(array: HostArray) -> HostArray:
    with np.errstate(over="ignore"):  # what is too large is found where it is used
        return array.astype(np.float32) if array.dtype.kind == "f" else array


def correct_chain_names(arrays: dict[str, NDArray]) -> dict[str, NDArray] | None:
    """The arrays of a file (`read_arrays`) of the original's Module script, by their right names; of others, None.

    That script saves the chains' visible samples as aux_hidden_layer_sample, and their hidden samples as
    aux_hidden_layer_prob_1.
    """
    if "aux_hidden_layer_prob_1" not in arrays:
        return None
    return {_MISNAMED.get(name, name): array for name, array in arrays.items()}
