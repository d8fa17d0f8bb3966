"""Files of parameters that a run, a block or a module has written, read without trust in them."""

from __future__ import annotations

import os
from typing import Mapping

import numpy as np

from gluon_rbm.backend import array_files
from gluon_rbm.backend.arrays import from_host
from gluon_rbm.backend.types import HostArray, NDArray
from gluon_rbm.errors import InputError
from gluon_rbm.models.gaussian_rbm import LOG_VARIANCE
from gluon_rbm.models.parameters import Parameters

__all__ = [
    "CLASSES",
    "DESCRIPTION",
    "PARAMETERS",
    "check_complete",
    "correct_chain_names",
    "folder_of",
    "is_gaussian",
    "parameter_file",
    "read_arrays",
    "read_model",
    "read_parameters",
]

PARAMETERS = "rbm.params"
DESCRIPTION = "description"  # name of the array that describes a network: bytes of JSON
CLASSES = "aux_label_classes"  # name of the array that marks the last visible units as a label

# Samples of the chains: their names in files of the original's Module script -> the right names.
_MISNAMED = {
    "aux_hidden_layer_sample": "aux_visible_layer_sample",
    "aux_hidden_layer_prob_1": "aux_hidden_layer_sample",
}


def read_parameters(path: str | os.PathLike[str]) -> Parameters:
    """Read the parameters of a binary RBM.

    Parameters
    ----------
    path
        As in `read_model`.

    Returns
    -------
    Parameters
        NDArrays on the CPU.

    Raises
    ------
    InputError
        As in `read_model`.
    """
    return read_model(path)[0]


def read_model(path: str | os.PathLike[str]) -> tuple[Parameters, int]:
    """Read the parameters of a binary RBM, and its number of classes.

    Parameters
    ----------
    path
        A run folder, or a file that `BinaryRBMBlock.save_parameters` or MXNet's Module wrote.

    Returns
    -------
    parameters : Parameters
        NDArrays on the CPU.
    num_classes : int
        How many of the last visible units are a label; 0: there is no label.

    Raises
    ------
    InputError
        There is no such file, it holds no parameters of a binary RBM, or all visible units are a
        label.

    Examples
    --------
    >>> import os, tempfile
    >>> import gluon_rbm
    >>> rbm = gluon_rbm.BinaryRBMBlock(4, 1, for_training=False, num_visible=6)
    >>> rbm.initialize()
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "rbm.params")
    ...     rbm.save_parameters(path)
    ...     parameters, num_classes = gluon_rbm.load_model(path)
    >>> parameters, num_classes
    (Parameters(6 visible, 4 hidden units; float32, cpu(0)), 0)
    """
    path = parameter_file(path)
    arrays = read_arrays(path)
    if LOG_VARIANCE in arrays:
        raise InputError("%s is a Gaussian RBM; give a binary one (sample accepts both)" % path)
    if DESCRIPTION in arrays:
        raise InputError(
            "%s is a network of train-multinary, for svm and train-gaussian --network; give a binary RBM" % path
        )
    check_complete(arrays, path)
    parameters = Parameters(*(arrays[name] for name in Parameters._fields)).checked()
    num_classes = arrays[CLASSES].shape[0] if CLASSES in arrays else 0
    if num_classes >= parameters.num_visible:
        raise InputError(
            "%s has %d classes and only %d visible units, so it has no pixels; give the parameters of a joint RBM"
            % (path, num_classes, parameters.num_visible)
        )
    return parameters, num_classes


def is_gaussian(path: str | os.PathLike[str]) -> bool:
    """Return whether a run folder or file holds a Gaussian-Bernoulli RBM.

    Parameters
    ----------
    path
        A run folder, or a file of parameters.

    Returns
    -------
    bool
        True if there are log-variances in the file.

    Raises
    ------
    InputError
        There is no such file.
    """
    return LOG_VARIANCE in read_arrays(parameter_file(path))


def parameter_file(path: str | os.PathLike[str]) -> str:
    """Return the file of parameters that a path means.

    Parameters
    ----------
    path
        A run folder, or a file.

    Returns
    -------
    str
        The file rbm.params of the folder, or the file itself.
    """
    return os.path.join(path, PARAMETERS) if os.path.isdir(path) else os.fspath(path)


def folder_of(path: str | os.PathLike[str]) -> str:
    """Return the folder that holds a model's file of parameters.

    Parameters
    ----------
    path
        A run folder, or a file.

    Returns
    -------
    str
        The run folder itself, or the folder of the file.
    """
    return os.path.dirname(parameter_file(path)) or os.curdir


def read_arrays(path: str | os.PathLike[str]) -> dict[str, NDArray]:
    """Read all arrays of a file of parameters.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    dict
        Name to NDArray on the CPU. Names are without the arg: and aux: of MXNet's Module, and
        without a prefix that Gluon gave all names of one RBM. Floats of
        another size (float16, float64) are converted to float32, the dtype of all computation.

    Raises
    ------
    InputError
        The file cannot be read, is torn or changed, or holds values that are not finite.
    """
    try:
        arrays = array_files.load(path)
    except (OSError, array_files.BrokenFile) as error:
        reason = getattr(error, "strerror", None) or str(error)
        advice = "give a run folder or a file %s" % PARAMETERS
        if os.path.exists(path) and os.fspath(path).endswith((".npz", ".safetensors")):
            advice += "; `python -m gluon_rbm convert` reads other formats"
        raise InputError("%s cannot be read (%s); %s" % (path, reason, advice)) from error
    arrays = _without_prefix({name.rpartition(":")[2]: array for name, array in arrays.items()})
    return {name: from_host(_as_single(array)) for name, array in arrays.items()}


def check_complete(arrays: Mapping[str, NDArray], path: str | os.PathLike[str]) -> None:
    """Check that the learned arrays of a binary RBM are there.

    Parameters
    ----------
    arrays
        Name to array, as `read_arrays` returns them.
    path
        The file, for the message.

    Raises
    ------
    InputError
        One of a, b and W is missing.
    """
    missing = [name for name in Parameters._fields if name not in arrays]
    if missing:
        raise InputError("%s has no %s; give the parameters of a binary RBM" % (path, " and no ".join(missing)))


def _without_prefix(arrays: Mapping[str, HostArray]) -> dict[str, HostArray]:
    """Remove the prefix, such as "rbm_", that names have where MXNet wrote the file by itself."""
    weight = Parameters._fields[-1]
    prefixes = [name[: -len(weight)] for name in arrays if name.endswith("_" + weight)]
    if weight in arrays or len(prefixes) != 1 or arrays[prefixes[0] + weight].ndim != 2:  # snapshots have 3
        return dict(arrays)
    return {name[len(prefixes[0]) :] if name.startswith(prefixes[0]) else name: arrays[name] for name in arrays}


def _as_single(array: HostArray) -> HostArray:
    # Values that are too large become inf. They are noticed where they are used.
    with np.errstate(over="ignore"):
        return array.astype(np.float32) if array.dtype.kind == "f" else array


def correct_chain_names(arrays: dict[str, NDArray]) -> dict[str, NDArray]:
    """Correct the names of the chains in a file that the original's Module script wrote.

    That script saves the visible samples of the chains as aux_hidden_layer_sample, and their hidden
    samples as aux_hidden_layer_prob_1.

    Parameters
    ----------
    arrays
        Name to array, as `read_arrays` returns them.

    Returns
    -------
    dict
        The arrays by their right names.
    """
    if "aux_hidden_layer_prob_1" not in arrays:
        return arrays
    return {_MISNAMED.get(name, name): array for name, array in arrays.items()}
