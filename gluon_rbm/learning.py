"""What bends the gradient of an RBM, and how its size changes over a run. All of it is off by default.

Centering (Montavon & Mueller 2012; Melchior, Fischer & Wiskott, JMLR 17, 2016; with these offsets also called the
enhanced gradient, Cho, Raiko & Ilin, ICML 2011) is gradient descent in the parameters of

    E(v, h) = -(v - mu).a' - b'.(h - lambda) - (v - mu) W (h - lambda),     a = a' - W lambda,  b = b' - mu W,

the same machines with the same W. Carried back to a, b and W it bends the plain gradient g:

    g'_W = g_W - mu (x) g_b - g_a (x) lambda = <(v - mu) (x) (h - lambda)>_model - <(v - mu) (x) (h - lambda)>_data
    g'_a = g_a - g'_W lambda                    g'_b = g_b - mu g'_W

so that nothing but the gradient knows of it. The offsets mu and lambda are running means of data and of p(h=1|data).
"""

from typing import NamedTuple

import numpy as np

from gluon_rbm.errors import InputError
from gluon_rbm.framework import mx, operand, store, store_product

__all__ = [
    "LearningRule",
    "PLAIN",
    "SCHEDULES",
    "ParameterAverage",
    "rate_factor",
    "states",
    "store_gradients",
    "update_offsets",
]

SCHEDULES = ("constant", "linear")
OFFSETS = ("aux_visible_offset", "aux_hidden_offset")


class LearningRule(NamedTuple):
    """How an RBM learns from its chains. The default is plain PCD.

    centering : float in [0, 1]
        Rate at which the offsets follow the means of each batch; 0: no centering. 0.01 is usual.
    """

    centering: float = 0.0

    @classmethod
    def checked(cls, **attributes):
        """The rule of these attributes (numbers, or texts as MXNet hands them to operators), or InputError."""
        unknown = sorted(set(attributes) - set(cls._fields))
        if unknown:
            raise InputError("a learning rule has no %s; it has %s" % (unknown[0], ", ".join(cls._fields)))
        rule = cls(**{name: float(value) for name, value in attributes.items()})
        if not 0 <= rule.centering <= 1:  # false for NaN
            raise InputError("centering is %s; it must be a rate in [0, 1]" % rule.centering)
        return rule


PLAIN = LearningRule()


def states(rule, num_chains, num_visible, num_hidden):
    """Names and shapes of what an RBM in training keeps beside its parameters: the chains, then the offsets."""
    shapes = {
        "aux_visible_layer_sample": (num_chains, num_visible),
        "aux_hidden_layer_sample": (num_chains, num_hidden),
    }
    if rule.centering:
        shapes.update(zip(OFFSETS, ((num_visible,), (num_hidden,))))
    return shapes


# --- Gradient ---------------------------------------------------------------------------------------------------------


def store_gradients(targets, how, chains, data, offsets=None):
    """Store the gradients of the mean negative log-likelihood: mean over chains minus mean over data, centered or not.

    targets, how : NDArrays of the gradients with respect to a, b and W; what to do with each (see `framework.store`)
    chains, data : (v, p(h=1|v)), `operand`s of (rows, num_visible) and (rows, num_hidden)
    offsets : (mu, lambda), `operand`s (num_visible,) and (num_hidden,), or None
    """
    visible_gradient, hidden_gradient = (_mean(chain) - _mean(datum) for chain, datum in zip(chains, data))
    # Both means of v (x) p(h=1|v), and their difference, in one product over the rows of chains and data. To subtract
    # the offsets from the few rows costs next to nothing, from the large matrix it would.
    (chain_visible, chain_hidden), (data_visible, data_hidden) = (_without(offsets, *rows) for rows in (chains, data))
    visible = np.concatenate([chain_visible / len(chain_visible), data_visible / -len(data_visible)])
    product = store_product(targets[2], how[2], visible.T, np.concatenate([chain_hidden, data_hidden]))
    if offsets:
        visible_gradient = visible_gradient - product @ offsets[1]
        hidden_gradient = hidden_gradient - offsets[0] @ product
    store(targets[0], how[0], visible_gradient)
    store(targets[1], how[1], hidden_gradient)


def _without(offsets, visible, hidden):
    return (visible - offsets[0], hidden - offsets[1]) if offsets else (visible, hidden)


def _mean(rows):
    # In float64: a running float32 sum of 100,000 alike numbers is off by 5e-4 of it.
    return rows.mean(axis=0, dtype="float64").astype(rows.dtype)


def update_offsets(rule, offsets, visible, hidden_prob_1):
    """Let the offsets (mu, lambda), NDArrays, follow the means of a batch: offset += rate (mean - offset)."""
    for offset, rows in zip(offsets, (visible, hidden_prob_1)):
        store(offset, "add", rule.centering * (_mean(operand(rows)) - operand(offset)))


# --- Schedules --------------------------------------------------------------------------------------------------------


def rate_factor(schedule, hold, progress):
    """What the learning rate is multiplied with when a share `progress` in [0, 1) of the run is done.

    "constant": 1. "linear": 1 up to progress = hold (in [0, 1)), from there linearly down to 0 at the end.
    """
    return 1.0 if schedule == "constant" else min(1.0, (1 - progress) / (1 - hold))


class ParameterAverage:
    """Mean of the parameters over the steps since it was made (Polyak & Juditsky 1992).

    arrays : name -> NDArray, the means; empty before the first step. count : steps.
    """

    def __init__(self):
        self.arrays, self.count = {}, 0

    def add(self, parameters):
        """One more step; parameters : name -> NDArray. MXNet adds behind Python's back: nothing is waited for."""
        self.count += 1
        for name, parameter in parameters.items():
            if name in self.arrays:
                mean = self.arrays[name]
                mean += (parameter - mean) / self.count
            else:
                self.arrays[name] = parameter.copy()

    def parameters(self):
        """name -> NumPy array of the means; empty before the first step."""
        return {name: array.asnumpy() for name, array in self.arrays.items()}

    def state(self):
        """What `restore` takes: name -> NumPy array."""
        return {**self.parameters(), "count": np.array(self.count)}

    def restore(self, state, context):
        """Go on from where another average was."""
        means = {name: array for name, array in state.items() if name != "count"}
        self.arrays = {name: mx.nd.array(array, ctx=context, dtype=array.dtype) for name, array in means.items()}
        self.count = int(state.get("count", 0))
