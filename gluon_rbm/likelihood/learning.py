"""Gradients by which an RBM learns from its chains. By default they are those of plain PCD-k.

**Centering** (Montavon & Mueller 2012; Melchior, Fischer & Wiskott, JMLR 17, 2016; with such
offsets also called the enhanced gradient, Cho, Raiko & Ilin, ICML 2011) is gradient descent in the
parameters a', b' and W of

    E(v, h) = -(v - mu).a' - b'.(h - lambda) - (v - mu) W (h - lambda)
    a = a' - W lambda,  b = b' - mu W

These are the same RBMs with the same W. In terms of a, b and W the plain gradient g becomes

    g'_W = g_W - mu (x) g_b - g_a (x) lambda
         = <(v - mu) (x) (h - lambda)>_model - <(v - mu) (x) (h - lambda)>_data
    g'_a = g_a - g'_W lambda                    g'_b = g_b - mu g'_W

so centering changes nothing but the gradient. The offsets mu and lambda are running means of the
data and of p(h=1|data).

**Tempered chains** (parallel tempering; Desjardins et al., AISTATS 2010) have replicas at inverse
temperatures from 1 down to 0, which exchange their states. The RBM learns from the replicas at
beta = 1 only. Replicas at low beta cross from mode to mode.

**Trajectory** (parallel trajectory tempering; Béreux et al., ICLR 2025): chains exchange their
states with chains of earlier snapshots of the RBM. The first snapshot has independent units
(`gluon_rbm.likelihood.snapshots`).

**Noise** (Nijkamp, Hill, Zhu & Wu, NeurIPS 2019; Decelle, Furtlehner & Seoane, NeurIPS 2021): in
each step chains start at random bits (Gaussian units at standard normal numbers) and make exactly
k sweeps. The RBM then does not learn p(v). It learns to draw data from noise in k sweeps, out of
equilibrium. With labels, chains hold the labels of the batch.

**Sparsity** (Lee, Ekanadham & Ng, NIPS 2007) adds c sum_j (p - q_j)^2 to the mean loss, where q_j
is the mean of p(h_j=1|v) over the batch. Its gradient replaces p(h_j=1|v) of the data by

    p(h_j=1|v) + 2 c (p - q_j) p(h_j=1|v) (1 - p(h_j=1|v)).

**Labels**: a joint RBM of pixels and a label (`gluon_rbm.models.label_rbm`) may minimise -log p(v),
-log p(label | pixels), or a sum of both.
"""

from __future__ import annotations

from typing import Sequence

import numpy as np

from gluon_rbm.backend.arrays import as_operand, asarray_like, assign, assign_product, take_rows
from gluon_rbm.backend.native import learning as native_learning
from gluon_rbm.backend.random import Noise, make_generator
from gluon_rbm.backend.types import Array, Arrays, Clamp, HostArray, Key
from gluon_rbm.errors import InputError
from gluon_rbm.likelihood import snapshots
from gluon_rbm.likelihood.rules import LearningRule
from gluon_rbm.models import label_rbm
from gluon_rbm.models.energy import hidden_probability, native_serves
from gluon_rbm.models.files import CLASSES
from gluon_rbm.models.parameters import Parameters
from gluon_rbm.models.visible_units import GAUSSIAN, draw_visible
from gluon_rbm.sampling import gibbs, tempering
from gluon_rbm.sampling.tempering import swap_replicas

__all__ = [
    "BASE",
    "OFFSETS",
    "SAMPLES",
    "SWAP_RATE",
    "advance_chains",
    "states",
    "store_data_gradient",
    "store_gradients",
    "store_objective_gradients",
    "update_offsets",
]


# Arrays that an RBM keeps beside its parameters in training: the last samples of its chains, and
# what its learning rule needs.
SAMPLES = ("aux_visible_layer_sample", "aux_hidden_layer_sample")
OFFSETS = ("aux_visible_offset", "aux_hidden_offset")
BASE, SWAP_RATE = "aux_base_visible_bias", "aux_swap_rate"

_SWAP_RATE_DECAY = 0.01


def states(rule: LearningRule, num_chains: int, num_visible: int, num_hidden: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the arrays that an RBM in training keeps beside its parameters.

    These are the samples of the chains, with those at beta = 1 first. Centering adds the offsets.
    Tempering adds the visible bias at beta = 0 and the rates of exchanges between neighbouring
    replicas, with the pair at the lowest beta last. A trajectory adds the arrays of
    `gluon_rbm.likelihood.snapshots.states`. Labels add the class of each label unit.

    Parameters
    ----------
    rule
        Learning rule.
    num_chains, num_visible, num_hidden
        Numbers of chains, visible units and hidden units.

    Returns
    -------
    dict of str to tuple of int
        Shape of each array by name, in order.
    """
    rows = num_chains * rule.replicas
    shapes: dict[str, tuple[int, ...]] = {}
    shapes.update(zip(SAMPLES, ((rows, num_visible), (rows, num_hidden))))
    if rule.centering:
        shapes.update(zip(OFFSETS, ((num_visible,), (num_hidden,))))
    if rule.chains == "tempered":
        shapes.update({BASE: (num_visible,), SWAP_RATE: (rule.num_temperatures - 1,)})
    if rule.chains == "trajectory":
        shapes.update(snapshots.states(rule.num_snapshots, num_chains, num_visible, num_hidden))
    if rule.num_classes:
        shapes[CLASSES] = (rule.num_classes,)
    return shapes


# --- Chains ---------------------------------------------------------------------------------------


def advance_chains(
    rule: LearningRule,
    parameters: Parameters,
    aux_states: Arrays,
    data: Array,
    *,
    sweeps: int,
    key: Key,
    engine: str,
    held: HostArray | None = None,
) -> tuple[Array, Array]:
    """Advance the chains of a step by a number of sweeps.

    Parameters
    ----------
    rule
        Learning rule.
    parameters
        Parameters of the RBM. Arrays are NDArrays, or all of them NumPy's.
    aux_states
        Arrays of `states`, by name. The samples and the rates of exchanges are changed, and with
        "trajectory" chains the snapshots.
    data
        Batch (batch, num_visible).
    sweeps
        Number of sweeps.
    key
        Integers that fix the noise.
    engine
        As in `gluon_rbm.sampling.gibbs.run_chains`.
    held
        Bool array (batch, num_visible) of units that chains hold at the data's values, if any.
        The model is conditioned on them, or they are 0 and stand for units that a row lacks.

    Returns
    -------
    visible : array (num_chains, num_visible)
        Probabilities of the visible units of the chains at beta = 1; means of Gaussian units.
    hidden : array (num_chains, num_hidden)
        Probabilities of their hidden units. If the objective is discriminative, `visible` and
        `hidden` are the samples, unchanged.

    Raises
    ------
    InputError
        Units are held and chains do not start at the data.
    """
    visible, hidden = (aux_states[name] for name in SAMPLES)
    if not rule.generative_factor:
        return visible, hidden
    num_chains, settings = len(visible) // rule.replicas, {"sweeps": sweeps, "key": [*key, 1], "engine": engine}
    settings["visible_units"] = rule.visible_units(visible.shape[1])
    if held is not None:
        if rule.chains != "data":
            raise InputError("where units are held, chains must start at the data")
        settings["clamp"] = _cycled(held, num_chains), _cycled(data, num_chains)
    settings["fixed_point"] = rule.has_fixed_point(num_chains)
    if rule.langevin_steps:
        settings["langevin"] = gibbs.Langevin(rule.langevin_steps, rule.langevin_step_size)
    if rule.chains == "data":
        chains = gibbs.run_chains(parameters, visible=_cycled(data, num_chains), **settings)
    elif rule.chains == "noise":
        start, clamp = _noise(rule, visible, data, [*key, 0])
        chains = gibbs.run_chains(parameters, visible=start, clamp=clamp, **settings)
    elif rule.chains == "trajectory":
        start = _sound(rule, visible, [*key, 0])
        how = {"visible_units": settings["visible_units"], "key": [*key, 2], "engine": engine}
        start = snapshots.follow(aux_states, parameters, start, sweeps=sweeps, **how)
        chains = gibbs.run_chains(parameters, visible=start, **settings)
    elif rule.langevin_steps:
        chains = gibbs.run_chains(parameters, visible=visible, **settings)
    else:
        start = gibbs.redraw_non_binary(hidden, Noise([*key, 0]))
        if rule.chains == "tempered":
            start, betas = _exchange(rule, parameters, aux_states, start, key)
            settings.update(beta=betas, base_visible_bias=aux_states[BASE])
        chains = gibbs.run_chains(parameters, hidden=start, **settings)
    assign(visible, "write", as_operand(chains.visible_sample))
    assign(hidden, "write", as_operand(chains.hidden_sample))
    if rule.replicas == 1:
        return chains.visible_prob_1, chains.hidden_prob_1
    return chains.visible_prob_1[:num_chains], chains.hidden_prob_1[:num_chains]


def _cycled(rows: Array, count: int) -> Array:
    """The first `count` rows, repeated from the first row when there are fewer."""
    return rows if len(rows) == count else take_rows(rows, np.arange(count) % len(rows))


def _noise(rule: LearningRule, visible: Array, data: Array, key: Key) -> tuple[Array, Clamp | None]:
    """Random states like `visible` as a start of chains, and the clamp of the batch's labels."""
    width = visible.shape[1]
    drawn = draw_visible(np.zeros(visible.shape, np.float32), rule.visible_units(width), make_generator(key))
    start = asarray_like(drawn, visible)
    if not rule.num_classes:
        return start, None
    mask = np.arange(width) >= width - rule.num_classes
    return start, (asarray_like(mask, visible), _cycled(data, len(visible)))


def _sound(rule: LearningRule, visible: Array, key: Key) -> Array:
    """Visible samples of chains, with random bits for values other than 0 and 1 of binary units."""
    return visible if rule.visible_layer == GAUSSIAN else gibbs.redraw_non_binary(visible, Noise(key))


def _exchange(
    rule: LearningRule, parameters: Parameters, aux_states: Arrays, hidden: Array, key: Key
) -> tuple[Array, Array]:
    """Exchange states of neighbouring replicas; return new hidden samples and the betas of rows."""
    visible = _sound(rule, aux_states[SAMPLES[0]], [*key, 2])
    betas = np.linspace(1, 0, rule.replicas)
    start, rates = swap_replicas(parameters, visible, hidden, betas, base_visible_bias=aux_states[BASE], key=[*key, 3])
    swap_rate = aux_states[SWAP_RATE]
    step = as_operand(asarray_like(rates, swap_rate)) - as_operand(swap_rate)
    assign(swap_rate, "add", _SWAP_RATE_DECAY * step)
    return start, tempering.beta_of_rows(betas, hidden)


def data_probability(rule: LearningRule, parameters: Parameters, aux_states: Arrays, data: Array) -> Array:
    """Hidden probabilities p(h = 1 | v) of the data, by weights of as many bits as the chains'.

    Parameters
    ----------
    rule, parameters, aux_states, data
        As in `advance_chains`.

    Returns
    -------
    array (batch, num_hidden)
        Probabilities.
    """
    num_chains = len(aux_states[SAMPLES[0]]) // rule.replicas
    return hidden_probability(parameters, data, fixed_point=rule.has_fixed_point(num_chains))


# --- Gradient -------------------------------------------------------------------------------------


def store_objective_gradients(
    rule: LearningRule,
    targets: Sequence[Array],
    how: Sequence[str],
    parameters: Parameters,
    *,
    data: Array,
    hidden_prob_1: Array,
    chain_hidden_prob_1: Array,
    aux_states: Arrays,
) -> None:
    """Store the gradients of the rule's objective, a mean over the data.

    Parameters
    ----------
    rule
        Learning rule.
    targets, how
        Arrays of the gradients with respect to a, b and W, and what to do with each, as in
        `gluon_rbm.backend.arrays.assign`.
    parameters
        Parameters of the RBM.
    data, hidden_prob_1
        Batch v, (batch, num_visible), and its probabilities p(h=1|v), (batch, num_hidden).
    chain_hidden_prob_1
        Probabilities p(h=1|v) of the chains, the second result of `advance_chains`.
    aux_states
        Arrays of `states`, by name.
    """
    if rule.generative_factor:
        # Gradients use p(h = 1 | v) of the last visible sample: a hidden sample only adds variance.
        chain_hidden = as_operand(chain_hidden_prob_1)
        chains = as_operand(aux_states[SAMPLES[0]])[: len(chain_hidden)], chain_hidden
        weight = as_operand(parameters.interaction_weight)
        rows = as_operand(data), as_operand(hidden_prob_1)
        store_gradients(rule, targets, how, chains, rows, weight=weight, aux_states=aux_states)
        how = ["null" if one == "null" else "add" for one in how]
    if rule.objective != "generative":
        exact = label_rbm.discriminative_gradients(parameters, data, rule.num_classes)
        for target, one, gradient in zip(targets, how, exact):
            assign(target, one, gradient)


def store_step_gradients(
    rule: LearningRule,
    targets: Sequence[Array],
    how: Sequence[str],
    parameters: Parameters,
    *,
    data: Array,
    aux_states: Arrays,
    sweeps: int,
    key: Key,
    engine: str,
    held: HostArray | None = None,
) -> None:
    """Do all of a step but the update: chains, offsets and gradients.

    Parameters
    ----------
    rule, targets, how, parameters
        As in `store_objective_gradients`.
    data, aux_states, sweeps, key, engine, held
        As in `advance_chains`.
    """
    how_far = {"sweeps": sweeps, "key": key, "engine": engine, "held": held}
    _, chain_hidden = advance_chains(rule, parameters, aux_states, data, **how_far)
    hidden = data_probability(rule, parameters, aux_states, data)
    update_offsets(rule, aux_states, data, hidden)
    store_objective_gradients(
        rule,
        targets,
        how,
        parameters,
        data=data,
        hidden_prob_1=hidden,
        chain_hidden_prob_1=chain_hidden,
        aux_states=aux_states,
    )


def store_gradients(
    rule: LearningRule,
    targets: Sequence[Array],
    how: Sequence[str],
    chains: tuple[Array, Array],
    data: tuple[Array, Array],
    *,
    weight: Array,
    aux_states: Arrays,
) -> None:
    """Store the generative gradients under a rule: a mean over chains minus a mean over data.

    Parameters
    ----------
    rule, targets, how
        As in `store_objective_gradients`.
    chains, data
        Operands v and p(h=1|v), of shapes (rows, num_visible) and (rows, num_hidden).
    weight
        Operand of the weights W.
    aux_states
        Arrays of `states`, by name.
    """
    factor = rule.generative_factor
    offsets = [as_operand(aux_states[name]) for name in OFFSETS if name in aux_states]
    if native_serves(weight, *chains, *data):
        native_learning.store_gradient(
            [as_operand(target) for target in targets],
            how,
            chains,
            data,
            weight=weight,
            offsets=offsets,
            factor=factor,
            sparsity_target=rule.sparsity_target,
            sparsity_cost=rule.sparsity_cost,
            weight_decay_l1=rule.weight_decay_l1,
        )
        return
    data = data[0], _sparse(rule, data[1])
    visible_gradient, hidden_gradient = (factor * (_mean(chain) - _mean(datum)) for chain, datum in zip(chains, data))
    # One product over the rows of chains and data gives the difference of their means of
    # v (x) p(h=1|v). Offsets are subtracted from the few rows, not from the large matrix.
    (chain_visible, chain_hidden), (data_visible, data_hidden) = (_without(offsets, *rows) for rows in (chains, data))
    visible = np.concatenate(
        [chain_visible / (len(chain_visible) / factor), data_visible / (-len(data_visible) / factor)]
    )
    hidden = np.concatenate([chain_hidden, data_hidden])
    if rule.weight_decay_l1:
        weight_gradient = visible.T @ hidden + rule.weight_decay_l1 * np.sign(weight)
        assign(targets[2], how[2], weight_gradient)
    else:
        weight_gradient = assign_product(targets[2], how[2], visible.T, hidden)
    if offsets:
        visible_gradient = visible_gradient - weight_gradient @ offsets[1]
        hidden_gradient = hidden_gradient - offsets[0] @ weight_gradient
    assign(targets[0], how[0], visible_gradient)
    assign(targets[1], how[1], hidden_gradient)


def store_data_gradient(
    rule: LearningRule, target: Array, how: str, parameters: Parameters, hidden_prob_1: Array
) -> None:
    """Store the gradient of the mean of F(v) with respect to v: -(a + W p(h=1|v)) / batch.

    Parameters
    ----------
    rule
        Learning rule.
    target, how
        Array of the gradient, (batch, num_visible), and what to do with it, as in
        `gluon_rbm.backend.arrays.assign`.
    parameters
        Parameters of the RBM.
    hidden_prob_1
        Probabilities p(h=1|v) of the data, (batch, num_hidden).

    Raises
    ------
    InputError
        The objective is not generative.
    """
    if rule.objective != "generative":
        raise InputError("only the generative objective has a gradient with respect to the data")
    hidden, bias = as_operand(hidden_prob_1), as_operand(parameters.visible_layer_bias)
    gradient = -(hidden @ as_operand(parameters.interaction_weight).T + bias) / hidden.shape[0]
    assign(target, how, gradient)


def _sparse(rule: LearningRule, hidden_prob_1: Array) -> Array:
    if not rule.sparsity_cost:
        return hidden_prob_1
    pull = 2 * rule.sparsity_cost / rule.generative_factor * (rule.sparsity_target - _mean(hidden_prob_1))
    return hidden_prob_1 + pull * hidden_prob_1 * (1 - hidden_prob_1)


def _without(offsets: Sequence[Array], visible: Array, hidden: Array) -> tuple[Array, Array]:
    return (visible - offsets[0], hidden - offsets[1]) if offsets else (visible, hidden)


def _mean(rows: Array) -> Array:
    # The sum is in float64, because a running float32 sum of 100,000 equal numbers has a relative
    # error of 5e-4. The method `mean` takes twice as long.
    return (rows.sum(axis=0, dtype="float64") / len(rows)).astype(rows.dtype)


def update_offsets(rule: LearningRule, aux_states: Arrays, visible: Array, hidden_prob_1: Array) -> None:
    """With centering, let the offsets follow the means of a batch: offset += rate (mean - offset).

    Parameters
    ----------
    rule
        Learning rule.
    aux_states
        Arrays of `states`, by name; the offsets are changed.
    visible, hidden_prob_1
        Batch v and its probabilities p(h=1|v).
    """
    for name, rows in zip(OFFSETS, (visible, hidden_prob_1)):
        if name in aux_states:
            mean, offset = _mean(as_operand(rows)), aux_states[name]
            assign(offset, "add", rule.centering * (mean - as_operand(offset)))
