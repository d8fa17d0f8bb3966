"""A path to an RBM whose units are on as often as in the data all the way: matched means.

Along the usual path the weights are scaled, E_beta = -a_beta.v - b_beta.h - beta v W h, and so are the biases. The
classes of the data do not keep their shares there: of MNIST nearly all states are ones half way, and chains seldom come
through from one of the other digits to another. Here the biases are learned for each beta, by the gradient of
Boltzmann learning for biases alone,

    a_beta += rate (<v>_data - <v>_beta),        b_beta += rate (<h>_data - <h>_beta),

so that the means of all units stay as they are in the data while beta goes from 0 to 1 (as in the expansion at fixed
magnetisations of Georges & Yedidia, J. Phys. A 24, 1991). For fixed weights that is a convex problem. The RBMs on the
way are no more than a means: exchanges (`gluon_rbm.sampling.trajectory`) keep the distribution of each as it is.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gluon_rbm.backend.arrays import asarray_like, to_numpy
from gluon_rbm.backend.types import Array, HostArray, Key
from gluon_rbm.models.energy import Parameters, hidden_probability
from gluon_rbm.models.visible_units import mean_visible
from gluon_rbm.sampling import trajectory

__all__ = ["Means", "matched_path"]

_START, _MATCH, _FILL = range(3)  # purposes of keys

_RBMS = 10  # whose biases are learned, at even distances of beta
_STEPS, _RATE = 100, 0.05  # of the learning of biases
_LEAST_VARIANCE = 0.01  # of a unit, in the scale of its step
_MEAN_BOUND = 1e-4  # of a hidden unit that is never on, or always


class Means(NamedTuple):
    """How often units are on in the data."""

    visible_bias: HostArray  #: float64 (num_visible,): of independent units that are on as often as in the data
    hidden: HostArray  #: float64 (num_hidden,): the mean of p(h = 1 | v)

    @classmethod
    def of(cls, parameters: Parameters, base_visible_bias: Array, data: Array) -> Means:
        """Of data in [0, 1], an array (n, num_visible), whose smoothed log-odds are base_visible_bias."""
        rows = asarray_like(data, parameters.interaction_weight)
        hidden = to_numpy(hidden_probability(parameters, rows)).mean(axis=0, dtype=np.float64)
        return cls(to_numpy(base_visible_bias).astype(np.float64), hidden)


def matched_path(
    parameters: Parameters, means: Means, num_chains: int, *, key: Key, **settings: Any
) -> trajectory.Path:
    """RBMs from independent units to this one whose units are on as often as in the data, and the chains of each.

    The biases of ten of them are learned by their chains, of which there should be 100 at least; `trajectory.fill` puts
    as many between them as are needed.

    settings : visible_units and engine, as in `gibbs.run_chains`

    Raises what `trajectory.fill` raises.
    """
    visible_units = settings.get("visible_units", ())
    targets = mean_visible(means.visible_bias, visible_units), np.clip(means.hidden, _MEAN_BOUND, 1 - _MEAN_BOUND)
    weight = to_numpy(parameters.interaction_weight).astype(np.float64)
    biases = means.visible_bias, np.log(targets[1] / (1 - targets[1]))
    rbms = [_beside(parameters, *biases, 0 * weight)]
    states = [trajectory.draw_independent(rbms[0], num_chains, [*key, _START], visible_units)]
    for number in range(1, _RBMS):
        # Biases that keep every unit's input where all others are at their means: a start that is nearly right.
        biases = biases[0] - weight @ targets[1] / _RBMS, biases[1] - targets[0] @ weight / _RBMS
        rbms.append(_beside(parameters, *biases, number / _RBMS * weight))
        states.append(states[-1])
        biases, states = _match(rbms, targets, states, [*key, _MATCH, number], settings)
        rbms[-1] = _beside(parameters, *biases, number / _RBMS * weight)
    path, states = trajectory.fill([*rbms, parameters], [*states, None], key=[*key, _FILL], **settings)
    return trajectory.Path("matched means", path[:-1], states[:-1])


def _beside(parameters: Parameters, *arrays: HostArray) -> Parameters:
    """Parameters of these arrays, in the kind and dtype and on the device of others."""
    return Parameters(*(asarray_like(array, like) for array, like in zip(arrays, parameters)))


def _match(
    rbms: list[Parameters],
    targets: tuple[HostArray, HostArray],
    states: list[Array],
    key: Key,
    settings: dict[str, Any],
) -> tuple[tuple[HostArray, HostArray], list[Array]]:
    """Biases of the last RBM with these means, averaged over the second half of the learning; and the chains of all.

    All chains go on and exchange their states meanwhile: those of the last RBM alone could not leave their modes, and
    the biases would run after them.
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
