"""A path to an RBM on which all units keep the means that they have in the data: matched means.

The usual path scales the weights and the biases: E_beta = -a_beta.v - b_beta.h - beta v W h. On
this path the shares of the classes change. For MNIST nearly all states are ones half way, and
chains seldom get from one of the other digits to another. Here the biases are learned for each beta
instead, by the gradient of Boltzmann learning for biases alone,

    a_beta += rate (<v>_data - <v>_beta),        b_beta += rate (<h>_data - <h>_beta),

so that the means of all units stay as they are in the data while beta goes from 0 to 1 (as in the
expansion at fixed magnetisations of Georges & Yedidia, J. Phys. A 24, 1991). For fixed weights this
problem is convex. The RBMs on the path need not be exact, because exchanges of states
(`gluon_rbm.sampling.trajectory`) leave the distribution of each RBM invariant.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gluon_rbm.backend.arrays import asarray_like, to_numpy
from gluon_rbm.backend.types import Array, HostArray, Key
from gluon_rbm.models.energy import hidden_probability
from gluon_rbm.models.parameters import Parameters
from gluon_rbm.models.visible_units import mean_visible
from gluon_rbm.sampling import trajectory

__all__ = ["Means", "matched_path"]

_START, _MATCH, _FILL = range(3)  # purposes of keys

_RBMS = 10  # number of equal steps of beta to the RBM itself
_STEPS, _RATE = 100, 0.05  # number of steps and learning rate, to learn biases
_LEAST_VARIANCE = 0.01  # added to the variance of a unit; its step is divided by the sum
_MEAN_BOUND = 1e-4  # least distance of the mean of a hidden unit from 0 and 1


class Means(NamedTuple):
    """How often units are on in the data."""

    #: float64 (num_visible,): biases of independent units with the means of the data
    visible_bias: HostArray
    hidden: HostArray  #: float64 (num_hidden,): mean of p(h = 1 | v) over the data

    @classmethod
    def of(cls, parameters: Parameters, base_visible_bias: Array, data: Array) -> Means:
        """Compute the means of data.

        Parameters
        ----------
        parameters
            Parameters of the RBM.
        base_visible_bias
            Smoothed log-odds of the data's means, (num_visible,).
        data
            Rows of data in [0, 1], (n, num_visible).

        Returns
        -------
        Means
            The bias as float64, and the mean of p(h = 1 | v) over the rows.
        """
        rows = asarray_like(data, parameters.interaction_weight)
        hidden = to_numpy(hidden_probability(parameters, rows)).mean(axis=0, dtype=np.float64)
        return cls(to_numpy(base_visible_bias).astype(np.float64), hidden)


def matched_path(
    parameters: Parameters, means: Means, num_chains: int, *, key: Key, **settings: Any
) -> trajectory.Path:
    """Build a path from independent units to an RBM, with all units on as often as in the data.

    The path leads through an RBM without weights and nine RBMs with biases that their chains learn.
    `trajectory.fill` then chooses as many RBMs along it as exchanges need.

    Parameters
    ----------
    parameters
        Parameters of the RBM at the end of the path, which is not part of the path.
    means
        Means of the data.
    num_chains
        Number of chains of each RBM; at least 100 are advisable.
    key
        Non-negative integers that fix the noise.
    **settings
        `visible_units` and `engine`, as in `gibbs.run_chains`.

    Returns
    -------
    trajectory.Path
        RBMs of the path, and the chains of each.

    Raises
    ------
    InputError
        As in `trajectory.fill`.
    """
    visible_units = settings.get("visible_units", ())
    targets = mean_visible(means.visible_bias, visible_units), np.clip(means.hidden, _MEAN_BOUND, 1 - _MEAN_BOUND)
    weight = to_numpy(parameters.interaction_weight).astype(np.float64)
    biases = means.visible_bias, np.log(targets[1] / (1 - targets[1]))
    rbms = [_beside(parameters, *biases, 0 * weight)]
    states = [trajectory.draw_independent(rbms[0], num_chains, [*key, _START], visible_units)]
    for number in range(1, _RBMS):
        # Start at biases that keep the input of each unit if all other units are at their means.
        biases = biases[0] - weight @ targets[1] / _RBMS, biases[1] - targets[0] @ weight / _RBMS
        rbms.append(_beside(parameters, *biases, number / _RBMS * weight))
        states.append(states[-1])
        biases, states = _match(rbms, targets, states, [*key, _MATCH, number], settings)
        rbms[-1] = _beside(parameters, *biases, number / _RBMS * weight)
    path, states = trajectory.fill([*rbms, parameters], [*states, None], key=[*key, _FILL], **settings)
    return trajectory.Path("matched means", path[:-1], states[:-1])


def _beside(parameters: Parameters, *arrays: HostArray) -> Parameters:
    """Return Parameters of these arrays, in the kind and dtype and on the device of others."""
    return Parameters(*(asarray_like(array, like) for array, like in zip(arrays, parameters)))


def _match(
    rbms: list[Parameters],
    targets: tuple[HostArray, HostArray],
    states: list[Array],
    key: Key,
    settings: dict[str, Any],
) -> tuple[tuple[HostArray, HostArray], list[Array]]:
    """Learn biases of the last RBM that give these means; return them and the chains of all RBMs.

    The biases are means over the second half of the learning. All chains continue and exchange
    their states meanwhile: chains of the last RBM alone could not leave their modes, and the biases
    would drift with them.
    """
    *earlier, last = rbms
    biases = [to_numpy(array).astype(np.float64) for array in last[:2]]
    scales = [target * (1 - target) + _LEAST_VARIANCE for target in targets]
    total = [np.zeros_like(bias) for bias in biases]
    pairs = range(len(earlier))
    for step in range(_STEPS):
        arrays = [asarray_like(bias, like) for bias, like in zip(biases, last)]
        moving = Parameters(arrays[0], arrays[1], last.interaction_weight)
        path = [*earlier, moving]
        states = trajectory.advance(path, states, pairs=pairs, key=[*key, step], **settings).states
        found = states[-1], hidden_probability(moving, states[-1])
        rate = _RATE * min(1, 2 * (1 - step / _STEPS))
        for bias, target, scale, rows in zip(biases, targets, scales, found):
            bias += rate * (target - to_numpy(rows).mean(axis=0, dtype=np.float64)) / scale
        if step >= _STEPS // 2:
            for mean, bias in zip(total, biases):
                mean += bias / (_STEPS - _STEPS // 2)
    return (total[0], total[1]), states
