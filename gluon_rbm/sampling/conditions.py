"""Types that the engines of `gluon_rbm.sampling.gibbs` share: conditions and results of a run."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gluon_rbm.backend.types import Array, Clamp, VisibleUnits
from gluon_rbm.errors import InputError, check_count

__all__ = ["Chains", "Conditions", "Langevin", "check_ndarrays"]


class Chains(NamedTuple):
    """States of some chains after the last sweep; rows are chains, all in the parameters' dtype.

    Samples are in {0, 1}. Gaussian visible units are an exception: their `visible_sample` is real,
    and their `visible_prob_1` is the mean given the hidden layer.
    """

    visible_sample: Array  #: (chains, num_visible)
    hidden_sample: Array  #: (chains, num_hidden), drawn given visible_sample
    visible_prob_1: Array  # (chains, num_visible), probabilities that visible_sample was drawn with
    hidden_prob_1: Array  # (chains, num_hidden), p(h = 1 | visible_sample)


class Langevin(NamedTuple):
    """Langevin steps that move Gaussian visible units in each sweep.

    `gluon_rbm.sampling.gibbs` has the formulas with r, s and q.
    """

    steps: int = 10
    step_size: float = 0.5  #: s, above 0 and below 4; from 4 on the steps diverge

    @property
    def retain(self) -> float:
        """Factor r, by which all steps together shrink v - m.

        Returns
        -------
        float
            (1 - s/2)^n for n steps of size s.
        """
        return (1 - self.step_size / 2) ** self.steps

    @property
    def spread(self) -> float:
        """Standard deviation q of the noise of all steps together.

        Returns
        -------
        float
            The square root of (1 - r^2) / (1 - s/4).
        """
        return float(np.sqrt((1 - self.retain**2) / (1 - self.step_size / 4)))

    def checked(self) -> Langevin:
        """Return these steps if they are possible.

        Returns
        -------
        Langevin
            The same steps.

        Raises
        ------
        InputError
            There are no steps, or their size is not above 0 and below 4.
        """
        check_count("the number of Langevin steps", self.steps)
        if not 0 < self.step_size < 4:
            raise InputError("a Langevin step has size %s; it must be above 0 and below 4" % self.step_size)
        return self


class Conditions(NamedTuple):
    """Conditions under which layers are drawn, as `run_chains` takes them."""

    beta: Any
    base_visible_bias: Array | None
    clamp: Clamp | None
    visible_units: VisibleUnits
    fixed_point: bool = False
    langevin: Langevin | None = None


def check_ndarrays(*parameters: Array) -> None:
    """Refuse NumPy parameters where a function needs NDArrays.

    Parameters
    ----------
    *parameters
        Arrays of an RBM.

    Raises
    ------
    InputError
        One of them is a NumPy array.
    """
    if any(isinstance(array, np.ndarray) for array in parameters):
        raise InputError("the parameters are NumPy arrays; convert them by Parameters.from_arrays(*parameters)")
