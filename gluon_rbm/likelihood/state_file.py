"""A file that keeps a run of annealed importance sampling, so that it can go on after it was killed."""

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
_ENTRIES = ("meaning", "step", "visible", "log_weights")  # of chains in a state file


class Progress(NamedTuple):
    """How far chains have come along their schedule."""

    step: int  #: the number of the beta that they have reached
    visible: NDArray  #: (chains, num_visible) in {0, 1}
    log_weights: HostArray  #: float64 (chains,): what they have grown by


class StateFile:
    """A file of the progress of chains, saved every half minute and when chains are done: written whole or not at all.

    Raises InputError when the file is none of ours, and later when it cannot be written or belongs to another run.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = path
        self._arrays: dict[str, Any] = {}
        self._saved_at = time.monotonic()
        if os.path.exists(path):
            try:
                self._arrays = array_files.load_npz(path)
            except Exception as error:  # a torn archive can raise nearly anything
                raise InputError("%s is not a whole state file; choose another --state" % path) from error
            if any(name.rpartition("/")[2] not in _ENTRIES for name in self._arrays):
                raise InputError("%s is another kind of file; choose another --state" % path)

    def resume(self, name: str, meaning: str, start: Progress) -> Progress:
        """The progress of the chains of that name; `start` itself where the file has none.

        Parameters
        ----------
        name : str
            Of the chains within the run.
        meaning : str
            The `fingerprint` of all that the chains depend on.
        start : Progress
            Where the chains start.

        Raises InputError for progress with another meaning, and for a damaged file.
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
            visible = np.unpackbits(bits, axis=1)[:, : like.shape[1]]
            if (visible.shape, log_weights.shape) != (like.shape, like.shape[:1]) or not np.isfinite(log_weights).all():
                raise ValueError
            return Progress(int(step), mx.nd.array(visible, ctx=like.context, dtype=like.dtype), log_weights)
        except (LookupError, TypeError, ValueError) as error:
            raise InputError("%s is not a whole state file; choose another --state" % self.path) from error

    def keep(self, name: str, meaning: str, progress: Progress, done: bool) -> None:
        """Keep the progress of chains; on disk, if they are done or half a minute has passed."""
        entries = {
            "meaning": np.array(meaning),
            "step": np.array(progress.step),
            "visible": np.packbits(progress.visible.asnumpy().astype(bool), axis=1),
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
    """A digest of values that chains depend on: arrays, numbers, texts and lists of them."""
    digest = hashlib.sha256()
    for value in values:
        value = to_numpy(value) if isinstance(value, mx.nd.NDArray) else value
        if isinstance(value, np.ndarray):
            digest.update(value.tobytes())
            value = (value.shape, str(value.dtype))
        digest.update(repr(value).encode())
    return digest.hexdigest()
