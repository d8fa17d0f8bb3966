"""Ladders of inverse temperatures, and the way along them: in parts, with a progress bar, and resumable.

A ladder is a float64 array of betas. Importance weights vary with the square of a step of beta, so steps should be
small where the energy varies much: between beta = 0, where pixels are independent, and 1, the machine itself.
"""

import hashlib
import io
import os
import time

import numpy as np

from gluon_rbm.backend import array_files
from gluon_rbm.backend.arrays import to_numpy
from gluon_rbm.backend.files import write_whole
from gluon_rbm.backend.framework import mx
from gluon_rbm.errors import InputError
from gluon_rbm.sampling import gibbs

__all__ = ["SCHEDULES", "State", "adaptive", "anneal_chains", "linear", "three_piece"]

SCHEDULES = ("linear", "three-piece", "adaptive")

_PILOT_DISTRIBUTIONS = 500
_STEPS_AT_ONCE = 20  # between two looks at the progress bar
_SECONDS_BETWEEN_SAVES = 30
_PARTS = ("meaning", "step", "visible", "log_weights")  # of a climb in a state file


# --- Ladders ----------------------------------------------------------------------------------------------------------


def linear(num_distributions):
    """beta_n = n / N: float64 (N + 1,)."""
    return np.arange(num_distributions + 1) / num_distributions


def three_piece(num_distributions):
    """Three evenly spaced pieces, finer towards 1: float64 (N + 1,).

    Of 14,500 steps, 500 go from 0 to 0.5, 4,000 to 0.9 and 10,000 to 1 (Salakhutdinov & Murray 2008, section 5); of
    another number, the same shares.
    """
    return np.interp(linear(num_distributions), [0, 500 / 14500, 4500 / 14500, 1], [0, 0.5, 0.9, 1])


def adaptive(num_distributions, parameters, visible, base_visible_bias, key, engine="auto"):
    """A ladder whose steps all lose the same share of the effective sample size: float64 (N + 1,).

    A step of size d, taken by chains at equilibrium, keeps a share 1 / (1 + (s d)^2) of it, for small steps, where s is
    the standard deviation over chains of dF/dbeta. So d must go as 1 / s: steps are even in the integral of s (the
    path's length; Gelman & Meng, Statistical Science 13, 1998, section 5). s comes from a pilot run of `visible`,
    samples at beta = 0, along 500 even steps at most.
    """
    betas = linear(min(num_distributions, _PILOT_DISTRIBUTIONS)).tolist()
    deviations = []
    for step in range(len(betas) - 1):
        visible, grown = gibbs.anneal(
            parameters, visible, betas, step, step + 1, 1, base_visible_bias, key=key, engine=engine
        )
        deviations.append(grown.std())
    # Some of it even, so that a stretch where the pilot's chains happened to agree is not leapt over.
    lengths = np.array(deviations) + max(np.mean(deviations), 1e-12) / 10
    length = np.concatenate([[0], np.cumsum(lengths)])
    ladder = np.interp(linear(num_distributions) * length[-1], length, betas)
    ladder[[0, -1]] = 0, 1
    return ladder


# --- The way along them -----------------------------------------------------------------------------------------------


def anneal_chains(parameters, visible, betas, sweeps, base_visible_bias, key, engine, bar, state=None, name=""):
    """As `gibbs.anneal` from the first to the last of betas, up or down: the visible samples and the log-weights.

    bar : a tqdm, told of each step
    state : State, or None
        Keeps the way under `name`, and takes it up again where a run that was killed had kept it: with the same result,
        bit for bit.
    """
    betas = [float(beta) for beta in betas]  # MXNet takes no NumPy scalar from the left
    step, log_weights, last = 0, np.zeros(visible.shape[0]), len(betas) - 1
    if state is not None:
        meaning = _fingerprint(*parameters, visible, betas, sweeps, base_visible_bias, key, engine)
        step, visible, log_weights = state.resume(name, meaning, (step, visible, log_weights))
        bar.update(step)
    while step < last:
        stop = min(step + _STEPS_AT_ONCE, last)
        visible, grown = gibbs.anneal(
            parameters, visible, betas, step, stop, sweeps, base_visible_bias, key=key, engine=engine
        )
        bar.update(stop - step)
        step, log_weights = stop, log_weights + grown
        if state is not None:
            state.keep(name, meaning, (step, visible, log_weights), done=step == last)
    return visible, log_weights


class State:
    """A file that climbs are kept in, every half minute and at their end: written whole or not at all.

    Raises InputError when the file is none of ours, and later when it cannot be written or belongs to another run.
    """

    def __init__(self, path):
        self.path, self._kept, self._saved_at = path, {}, time.monotonic()
        if os.path.exists(path):
            try:
                self._kept = array_files.load_npz(path)
            except Exception as error:  # a torn archive can raise nearly anything
                raise InputError("%s is not a whole state file; choose another --state" % path) from error
            if any(name.rpartition("/")[2] not in _PARTS for name in self._kept):
                raise InputError("%s is another kind of file; choose another --state" % path)

    def resume(self, name, meaning, beginning):
        """What was kept under that name: step, visible samples, log-weights; else the beginning, which is such, too."""
        if name + "/meaning" not in self._kept:
            return beginning
        if str(self._kept[name + "/meaning"]) != meaning:
            raise InputError(
                "%s was kept by a run with another model or other settings; repeat those, or choose another file"
                % self.path
            )
        like = beginning[1]
        try:
            step, bits, log_weights = (self._kept["%s/%s" % (name, part)] for part in _PARTS[1:])
            step, visible = int(step), np.unpackbits(bits, axis=1)[:, : like.shape[1]]
            if (visible.shape, log_weights.shape) != (like.shape, like.shape[:1]) or not np.isfinite(log_weights).all():
                raise ValueError
        except (LookupError, TypeError, ValueError) as error:
            raise InputError("%s is not a whole state file; choose another --state" % self.path) from error
        return step, mx.nd.array(visible, ctx=like.context, dtype=like.dtype), log_weights

    def keep(self, name, meaning, where, done):
        """Keep where a climb is; on disk, if it is done or half a minute has passed."""
        step, visible, log_weights = where
        parts = {
            "meaning": np.array(meaning),
            "step": np.array(step),
            "visible": np.packbits(visible.asnumpy().astype(bool), axis=1),
            "log_weights": log_weights,
        }
        self._kept.update(("%s/%s" % (name, part), array) for part, array in parts.items())
        if done or time.monotonic() - self._saved_at >= _SECONDS_BETWEEN_SAVES:
            archive = io.BytesIO()
            np.savez(archive, **self._kept)
            with write_whole(self.path, "--state") as temporary, open(temporary, "wb") as file:
                file.write(archive.getbuffer())
            self._saved_at = time.monotonic()


def _fingerprint(*values):
    """A digest of all that a climb depends on."""
    digest = hashlib.sha256()
    for value in values:
        value = to_numpy(value) if isinstance(value, mx.nd.NDArray) else value
        if isinstance(value, np.ndarray):
            digest.update(value.tobytes())
            value = (value.shape, str(value.dtype))
        digest.update(repr(value).encode())
    return digest.hexdigest()
