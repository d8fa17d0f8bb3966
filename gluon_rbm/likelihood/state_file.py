"""State file of a run of annealed importance sampling: a run that was killed continues from it."""

from __future__ import annotations

import hashlib
import io
import os
import time
from typing import Any, NamedTuple

import numpy as np

from gluon_rbm.backend import array_files
from gluon_rbm.backend.arrays import to_numpy
from gluon_rbm.backend.files import write_whole
from gluon_rbm.backend.framework import mx
from gluon_rbm.backend.types import HostArray, NDArray
from gluon_rbm.errors import InputError

__all__ = ["Progress", "StateFile", "fingerprint"]

_SECONDS_BETWEEN_SAVES = 30
_ENTRIES = ("meaning", "step", "visible", "log_weights")  # entries of a state file for each name


class Progress(NamedTuple):
    """Progress of chains along their schedule."""

    step: int  #: index of the beta in the schedule that the chains have reached
    visible: NDArray  #: (chains, num_visible) in {0, 1}
    log_weights: HostArray  #: float64 (chains,): log-weights up to this step


class StateFile:
    """File with the progress of chains, by name.

    It is written every half minute and whenever chains are done. A write replaces the whole file at
    once, so an interrupted write leaves the old file.

    Parameters
    ----------
    path
        Path of the file. If it exists, it is read.

    Raises
    ------
    InputError
        The file is damaged or is not a state file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = path
        self._arrays: dict[str, Any] = {}
        self._saved_at = time.monotonic()
        if os.path.exists(path):
            try:
                self._arrays = array_files.load_npz(path)
            except Exception as error:  # a damaged archive can raise almost any error
                raise InputError("%s is not a whole state file; choose another --state" % path) from error
            if any(name.rpartition("/")[2] not in _ENTRIES for name in self._arrays):
                raise InputError("%s is another kind of file; choose another --state" % path)

    def resume(self, name: str, meaning: str, start: Progress) -> Progress:
        """Return the progress of the chains with a name.

        Parameters
        ----------
        name
            Name of the chains within the run.
        meaning
            The `fingerprint` of all values that the chains depend on.
        start
            Progress at the start of the chains.

        Returns
        -------
        Progress
            Progress in the file; `start` if the file has none of that name.

        Raises
        ------
        InputError
            The progress belongs to another `meaning`, or the file is damaged.
        """
        if name + "/meaning" not in self._arrays:
            return start
        if str(self._arrays[name + "/meaning"]) != meaning:
            raise InputError(
                "%s was kept by a run with another model or other settings; repeat those, or choose another file"
                % self.path
            )
        like = start.visible
        try:
            step, bits, log_weights = (self._arrays["%s/%s" % (name, entry)] for entry in _ENTRIES[1:])
            visible = bits if bits.dtype != np.uint8 else np.unpackbits(bits, axis=1)[:, : like.shape[1]]
            if (visible.shape, log_weights.shape) != (like.shape, like.shape[:1]) or not np.isfinite(log_weights).all():
                raise ValueError
            return Progress(int(step), mx.nd.array(visible, ctx=like.context, dtype=like.dtype), log_weights)
        except (LookupError, TypeError, ValueError) as error:
            raise InputError("%s is not a whole state file; choose another --state" % self.path) from error

    def keep(self, name: str, meaning: str, progress: Progress, done: bool) -> None:
        """Store the progress of chains, and write the file if it is time.

        Parameters
        ----------
        name, meaning
            As in `resume`.
        progress
            Progress of the chains. They are kept as bits if all states are 0 or 1.
        done
            Whether the chains are done. The file is written then, and after half a minute.

        Raises
        ------
        InputError
            The file cannot be written.
        """
        visible = progress.visible.asnumpy()
        is_binary = np.isin(visible, (0, 1)).all()
        entries = {
            "meaning": np.array(meaning),
            "step": np.array(progress.step),
            "visible": np.packbits(visible.astype(bool), axis=1) if is_binary else visible,
            "log_weights": progress.log_weights,
        }
        self._arrays.update(("%s/%s" % (name, entry), array) for entry, array in entries.items())
        if done or time.monotonic() - self._saved_at >= _SECONDS_BETWEEN_SAVES:
            archive = io.BytesIO()
            np.savez(archive, **self._arrays)
            with write_whole(self.path, "--state") as temporary, open(temporary, "wb") as file:
                file.write(archive.getbuffer())
            self._saved_at = time.monotonic()


def fingerprint(*values: Any) -> str:
    """Digest of the values that chains depend on.

    Parameters
    ----------
    *values
        Arrays, numbers, texts, and lists of numbers and texts.

    Returns
    -------
    str
        SHA-256 in hexadecimal digits.
    """
    digest = hashlib.sha256()
    for value in values:
        value = to_numpy(value) if isinstance(value, mx.nd.NDArray) else value
        if isinstance(value, np.ndarray):
            digest.update(value.tobytes())
            value = (value.shape, str(value.dtype))
        digest.update(repr(value).encode())
    return digest.hexdigest()
