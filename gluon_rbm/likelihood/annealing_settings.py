"""Settings of annealed importance sampling."""

from __future__ import annotations

import dataclasses
import os

from gluon_rbm.backend.types import Array, Key, VisibleUnits
from gluon_rbm.errors import InputError, check_count
from gluon_rbm.likelihood import schedules

__all__ = ["AnnealingSettings"]

_MOST_DISTRIBUTIONS = 10**7


@dataclasses.dataclass(frozen=True)
class AnnealingSettings:
    """Settings that the estimates of `gluon_rbm.likelihood.ais` take as keyword arguments.

    Attributes
    ----------
    num_distributions
        Number of intermediate distributions, from 1 to 10^7.
    burn_in_sweeps
        Gibbs sweeps at each of them, at least 1.
    training_data
        Images (n, num_visible) in [0, 1]; any numbers for Gaussian units. The base distribution
        gets the smoothed bias of their means. Give them unless there is a reason not to.
    base_visible_bias
        Bias a0 of the base distribution, (num_visible,), instead of `training_data`. With neither,
        it is the RBM's own visible bias.
    chains_at_once
        Number of chains that run side by side, at least 1; more need more memory.
    key
        Integers that fix the noise. By default they are drawn from MXNet's generator, which
        `mx.random.seed` seeds.
    progress
        Whether to show a progress bar on a terminal.
    engine
        As in `gluon_rbm.sampling.gibbs.run_chains`.
    schedule
        Inverse temperatures: "linear", "three-piece" or "adaptive", as in
        `gluon_rbm.likelihood.schedules`.
    state
        Path of a file that keeps the run. If the run is killed, the same call resumes it, with the
        same result. This needs `key`.
    visible_units
        As in `gluon_rbm.sampling.gibbs.run_chains`.
    """

    num_distributions: int = 1000
    burn_in_sweeps: int = 1
    training_data: Array | None = None
    base_visible_bias: Array | None = None
    chains_at_once: int = 1000
    key: Key | None = None
    progress: bool = False
    engine: str = "auto"
    schedule: str = "linear"
    state: str | os.PathLike[str] | None = None
    visible_units: VisibleUnits = ()

    def checked(self) -> AnnealingSettings:
        """Return these settings after a check.

        Returns
        -------
        AnnealingSettings
            These settings.

        Raises
        ------
        InputError
            A number is not allowed, the schedule does not exist, or a state file has no key.
        """
        for name in ("num_distributions", "burn_in_sweeps", "chains_at_once"):
            check_count(name, getattr(self, name))
        if self.num_distributions > _MOST_DISTRIBUTIONS:  # the schedule is kept in memory
            raise InputError(
                "num_distributions is %d; it may be %d at most" % (self.num_distributions, _MOST_DISTRIBUTIONS)
            )
        if self.state is not None and self.key is None:
            raise InputError("a run that is kept in a state file needs a key, so that it can be repeated")
        if self.schedule not in schedules.SCHEDULES:
            choices = ", ".join(schedules.SCHEDULES)
            raise InputError("schedule %r does not exist; choose %s" % (self.schedule, choices))
        return self
