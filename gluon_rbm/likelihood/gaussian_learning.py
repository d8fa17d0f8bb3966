"""Gradients of a Gaussian-Bernoulli RBM: those of the RBM of v / sigma, and those of the variances.

Let u = v / sigma. At fixed a, b and W, the derivative of F with respect to z_i = log sigma_i^2 is
-(u_i^2 - a_i u_i - u_i (W p(h=1|u))_i) / 2. So the gradient of the mean of -log p(v) is

    d/dz_i = (S_i - a_i A_i - sum_j W_ij B_ij) / 2,        S = <u^2>_chains - <u^2>_data,

where A = <u>_chains - <u>_data and B = <u p(h=1|u)>_chains - <u p(h=1|u)>_data are the gradients
of a and W. The mean <u^2>_data = <v^2> / sigma^2 is over all training data, not over a batch. The
reason is features that are 0 in all but a few rows. Most batches would say nothing about such a
feature and a few would say far too much, and its variance would collapse in between.
"""

from __future__ import annotations

from typing import Sequence

import numpy as np

from gluon_rbm.backend.arrays import as_operand, assign
from gluon_rbm.backend.types import Array, Arrays, Key
from gluon_rbm.likelihood import learning
from gluon_rbm.likelihood.rules import LearningRule
from gluon_rbm.models.gaussian_rbm import GaussianParameters

__all__ = ["store_step_gradients"]


# Training checks the parameters, and says which of them diverged.
@np.errstate(over="ignore", invalid="ignore")
def store_step_gradients(
    rule: LearningRule,
    targets: Sequence[Array],
    parameters: GaussianParameters,
    *,
    data: Array,
    mean_square: Array,
    aux_states: Arrays,
    sweeps: int,
    key: Key,
    engine: str,
) -> None:
    """Store the gradients of a, b, W and log sigma^2 for one step.

    Parameters
    ----------
    rule
        Learning rule with Gaussian visible units and without an L1 term.
    targets
        Arrays to write the four gradients to; with three arrays, that of log sigma^2 is left out.
    parameters
        Parameters of the RBM.
    data
        Batch v, (batch, num_visible).
    mean_square
        Mean <v^2> over all training data, (num_visible,).
    aux_states
        Arrays of `gluon_rbm.likelihood.learning.states`, by name; chains are those of v / sigma.
    sweeps, key, engine
        As in `gluon_rbm.likelihood.learning`.
    """
    scaled = parameters.scale(data)
    how = {"aux_states": aux_states, "sweeps": sweeps, "key": key, "engine": engine}
    learning.store_step_gradients(rule, targets[:3], ("write",) * 3, parameters.scaled, data=scaled, **how)
    if len(targets) == 4:
        chains = as_operand(aux_states[learning.SAMPLES[0]])[: len(aux_states[learning.SAMPLES[0]]) // rule.replicas]
        of_data = as_operand(mean_square) * np.exp(-as_operand(parameters.visible_log_variance))
        squares = (chains * chains).sum(axis=0) / len(chains) - of_data
        visible, weight = _uncentered(targets, parameters, aux_states)
        bias = as_operand(parameters.visible_layer_bias)
        assign(targets[3], "write", 0.5 * (squares - bias * visible - weight))


def _uncentered(targets: Sequence[Array], parameters: GaussianParameters, aux_states: Arrays) -> tuple[Array, Array]:
    """A and sum_j W_ij B_ij, from gradients that may be centered.

    Let C be the gradient of b. With offsets mu and lambda the centered gradients are
    B' = B - mu C^T - A lambda^T, A' = A - B' lambda and C' = C - mu B'.
    """
    visible, hidden, weight_gradient = (as_operand(target) for target in targets[:3])
    weight = as_operand(parameters.interaction_weight)
    total = (weight * weight_gradient).sum(axis=1)
    if learning.OFFSETS[0] not in aux_states:
        return visible, total
    mu, lam = (as_operand(aux_states[name]) for name in learning.OFFSETS)
    visible = visible + weight_gradient @ lam
    hidden = hidden + mu @ weight_gradient
    return visible, total + mu * (weight @ hidden) + visible * (weight @ lam)
