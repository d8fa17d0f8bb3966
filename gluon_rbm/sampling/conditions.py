"""What chains are run under, and what comes of it: the types that the engines of `gluon_rbm.sampling.gibbs` share."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gluon_rbm.backend.types import Array, Clamp, VisibleUnits
from gluon_rbm.errors import InputError, check_count

__all__ = ["Chains", "Conditions", "Langevin"]


class Chains(NamedTuple):
    """State of some chains after the last sweep; rows are chains, all in the parameters' dtype.

    Samples are in {0, 1}, but for Gaussian visible units; of these visible_prob_1 is the mean given the hidden layer.
    """

    visible_sample: Array  #: (chains, num_visible)
    hidden_sample: Array  #: (chains, num_hidden), drawn given visible_sample
    visible_prob_1: Array  # (chains, num_visible), what visible_sample was drawn from
    hidden_prob_1: Array  # (chains, num_hidden), p(h = 1 | visible_sample)


class Langevin(NamedTuple):
    """Langevin steps that move Gaussian visible units in each sweep."""

    steps: int = 10
    step_size: float = 0.5  #: s above; below 4, where they diverge

    @property
    def retain(self) -> float:
        """r above."""
        return (1 - self.step_size / 2) ** self.steps

    @property
    def spread(self) -> float:
        """q above."""
        return float(np.sqrt((1 - self.retain**2) / (1 - self.step_size / 4)))

    def checked(self) -> Langevin:
        """These steps, or InputError where there are none, or their size is not between 0 and 4."""
        check_count("the number of Langevin steps", self.steps)
        if not 0 < self.step_size < 4:
            raise InputError("a Langevin step has size %s; it must be above 0 and below 4" % self.step_size)
        return self


class Conditions(NamedTuple):
    """What layers are drawn under, as `run_chains` takes it."""

    beta: Any
    base_visible_bias: Array | None
    clamp: Clamp | None
    visible_units: VisibleUnits
    fixed_point: bool = False
    langevin: Langevin | None = None
