"""Learning rule of an RBM: the kind of chains, changes to the gradient, and the objective.

`gluon_rbm.likelihood.learning` explains the methods.
"""

from __future__ import annotations

import ast
import operator
from typing import Any, NamedTuple

import numpy as np

from gluon_rbm.backend.types import SoftmaxGroups, VisibleUnits
from gluon_rbm.errors import InputError, check_count
from gluon_rbm.models import label_rbm
from gluon_rbm.models.visible_units import GAUSSIAN, checked_visible_units

__all__ = ["CHAINS", "PLAIN", "VISIBLE_LAYERS", "WEIGHT_BITS", "LearningRule"]

CHAINS = ("persistent", "data", "noise", "tempered", "trajectory")
WEIGHT_BITS = (16, 32)
VISIBLE_LAYERS = ("binary", GAUSSIAN)

_FIXED_FROM = 13  # fewest chains; fewer add weights row by row, so 16 bits gain nothing


class LearningRule(NamedTuple):
    """Rule by which an RBM learns from its chains. The default is plain PCD.

    Attributes
    ----------
    chains
        Kind of chains. "persistent" chains go on from step to step (PCD, Tieleman 2008). "data"
        chains start at the data in each step (CD, Hinton 2002), chain i at image i modulo the batch
        size. "noise" chains start in each step at random states, with the labels of the batch held.
        "tempered" chains are persistent and have replicas at other temperatures. "trajectory"
        chains are persistent and exchange states with chains of earlier snapshots of the RBM.
    num_temperatures
        Replicas of each tempered chain, itself included, at least 2. Their inverse temperatures are
        evenly spaced from 1 to 0.
    centering
        Rate in [0, 1] at which the offsets follow the means of each batch; 0.01 is usual, and 0
        means no centering.
    sparsity_target
        Target p in [0, 1] for the mean q_j of p(h_j = 1 | v) over a batch.
    sparsity_cost
        Factor c >= 0 of the sparsity term c sum_j (p - q_j)^2, in nats; 0 means no such term.
    weight_decay_l1
        Factor lambda_1 >= 0 of the term lambda_1 sum |W|, which is added to the mean loss (Hinton
        2010, section 10).
    num_classes
        Number of label units, the last visible units; 0 means no label. Exactly one of them is on,
        in the data and in the chains.
    softmax_groups
        Other groups (start, stop) of visible units, in order. Exactly one unit of each group is on
        (see `gluon_rbm.models.visible_units`).
    objective
        Loss to minimise, a mean over images (Larochelle & Bengio 2008). "generative" is -log p(v),
        "discriminative" is -log p(label | pixels), and "hybrid" is the discriminative loss plus
        alpha times the generative loss. With "discriminative" chains do not move, and `chains`,
        `centering`, `sparsity_cost`, `weight_decay_l1` and `weight_bits` must keep their defaults.
        Centering changes the generative gradient only.
    generative_weight
        Weight alpha > 0 of the generative loss in "hybrid".
    weight_bits
        Bits of a weight, 16 or 32, where the native engine sums weights for chains and for p(h|v)
        of the data. 16 bits are faster (see `gluon_rbm.backend.native.run`), and give the gradient
        of the RBM with rounded weights. Fewer than 13 chains use 32 bits in any case, because 16
        gain nothing there. Tempered chains, trajectory chains and Gaussian units allow 32 only.
    num_snapshots
        Largest number of snapshots that trajectory chains keep, at least 2.
    visible_layer
        Kind of visible units: "binary" (those in groups as above), or "gaussian" for normal units
        with variance 1 given the hidden units.
    langevin_steps
        Langevin steps that move Gaussian units in a sweep; 0 means that the units are drawn anew.
        Chains with Langevin steps go on from their visible layer.
    langevin_step_size
        Size of a Langevin step, between 0 and 4 (see `gluon_rbm.sampling.conditions.Langevin`).

    Examples
    --------
    >>> rule = LearningRule(chains="tempered", num_temperatures=5)
    >>> rule.replicas
    5
    >>> LearningRule.checked(chains="data", centering="0.01").centering
    0.01
    """

    chains: str = "persistent"
    num_temperatures: int = 10
    centering: float = 0.0
    sparsity_target: float = 0.1
    sparsity_cost: float = 0.0
    weight_decay_l1: float = 0.0
    num_classes: int = 0
    softmax_groups: SoftmaxGroups = ()
    objective: str = "generative"
    generative_weight: float = 0.01
    weight_bits: int = 32
    num_snapshots: int = 15
    visible_layer: str = "binary"
    langevin_steps: int = 0
    langevin_step_size: float = 0.5

    @classmethod
    def checked(cls, **attributes: Any) -> LearningRule:
        """Return the rule with these attributes after a check.

        Parameters
        ----------
        **attributes
            Attributes by name. Values may be texts, because MXNet hands texts to operators.

        Returns
        -------
        LearningRule
            Rule with values of the right types.

        Raises
        ------
        InputError
            An attribute does not exist, a value is not allowed, or two values do not go together.
        """
        unknown = sorted(set(attributes) - set(cls._fields))
        if unknown:
            raise InputError("a learning rule has no %s; it has %s" % (unknown[0], ", ".join(cls._fields)))
        rule = cls(**{name: _like(cls._field_defaults[name], name, value) for name, value in attributes.items()})
        for name, sound, remedy in (
            ("chains", rule.chains in CHAINS, "one of " + ", ".join(CHAINS)),
            ("num_temperatures", rule.num_temperatures >= 2, "at least 2"),
            ("num_snapshots", rule.num_snapshots >= 2, "at least 2"),
            # NaN fails this test and the tests below.
            ("centering", 0 <= rule.centering <= 1, "a rate in [0, 1]"),
            ("sparsity_target", 0 <= rule.sparsity_target <= 1, "a probability in [0, 1]"),
            ("sparsity_cost", 0 <= rule.sparsity_cost < np.inf, "finite and at least 0"),
            ("weight_decay_l1", 0 <= rule.weight_decay_l1 < np.inf, "finite and at least 0"),
            ("num_classes", rule.num_classes >= 0, "at least 0"),
            ("objective", rule.objective in label_rbm.OBJECTIVES, "one of " + ", ".join(label_rbm.OBJECTIVES)),
            ("weight_bits", rule.weight_bits in WEIGHT_BITS, "16 or 32"),
            ("visible_layer", rule.visible_layer in VISIBLE_LAYERS, "one of " + ", ".join(VISIBLE_LAYERS)),
            ("langevin_step_size", 0 < rule.langevin_step_size < 4, "above 0 and below 4"),
            ("generative_weight", 0 < rule.generative_weight < np.inf, "finite and above 0"),
        ):
            if not sound:
                raise InputError("%s is %s; it must be %s" % (name, getattr(rule, name), remedy))
        rule._check_objective()
        rule._check_visible_layer()
        checked_visible_units(rule.softmax_groups, rule.softmax_groups[-1][1] if rule.softmax_groups else 0)
        return rule

    def _check_objective(self) -> None:
        if self.objective != "generative" and not self.num_classes:
            raise InputError("the %s objective needs labels: give num_classes (--labels)" % self.objective)
        if self.has_exchanges and self.weight_bits == 16:
            raise InputError("%s chains have weights of 32 bits; leave weight_bits out" % self.chains)
        if self.objective != "discriminative":
            return
        for name in ("chains", "centering", "sparsity_cost", "weight_decay_l1", "weight_bits"):
            if getattr(self, name) != self._field_defaults[name]:
                raise InputError("%s is of no effect where the objective is discriminative; leave it out" % name)

    def _check_visible_layer(self) -> None:
        if self.visible_layer == GAUSSIAN:
            for name in ("num_classes", "softmax_groups", "weight_bits"):
                if getattr(self, name) != self._field_defaults[name]:
                    raise InputError("%s is for binary visible units; leave it out" % name)
            if self.chains == "tempered" and self.langevin_steps:
                raise InputError("tempered chains draw Gaussian units anew; leave langevin_steps out")
        elif self.langevin_steps:
            raise InputError("langevin_steps are for Gaussian visible units; leave them out")

    def visible_units(self, num_visible: int) -> VisibleUnits:
        """Kinds of visible units, as `gluon_rbm.sampling.gibbs.run_chains` takes them.

        Parameters
        ----------
        num_visible
            Number of visible units.

        Returns
        -------
        VisibleUnits
            "gaussian", or the softmax groups with the label's group at the end.
        """
        if self.visible_layer == GAUSSIAN:
            return GAUSSIAN
        return (*self.softmax_groups, *label_rbm.softmax_groups(num_visible, self.num_classes))

    @property
    def has_exchanges(self) -> bool:
        """Whether chains exchange their states with other chains.

        Returns
        -------
        bool
            True for tempered and trajectory chains.
        """
        return self.chains in ("tempered", "trajectory")

    @property
    def replicas(self) -> int:
        """Number of rows that a chain has in the arrays of samples.

        Returns
        -------
        int
            `num_temperatures` for tempered chains, else 1.
        """
        return self.num_temperatures if self.chains == "tempered" else 1

    @property
    def is_plain(self) -> bool:
        """Whether `gluon_rbm.backend.native.learning.learn` can do all of a step.

        It does PCD and CD, with or without sparsity and softmax groups. It does not do centering,
        L1 terms, other objectives or Gaussian units.

        Returns
        -------
        bool
            True if it can.
        """
        free = ("chains", "num_temperatures", "num_snapshots", "sparsity_target", "sparsity_cost", "weight_bits")
        free += ("num_classes", "softmax_groups", "generative_weight")
        bent = self._replace(**{name: self._field_defaults[name] for name in free}) != PLAIN
        return self.chains in ("persistent", "data") and not bent

    def has_fixed_point(self, num_chains: int) -> bool:
        """Whether the native engine sums weights of 16 bits.

        Parameters
        ----------
        num_chains
            Number of chains.

        Returns
        -------
        bool
            True if `weight_bits` is 16 and so many chains gain from it.
        """
        worth = not self.has_exchanges and num_chains >= _FIXED_FROM and self.generative_factor > 0
        return self.weight_bits == 16 and worth

    @property
    def generative_factor(self) -> float:
        """Factor of the generative gradient.

        Returns
        -------
        float
            1 for "generative", 0 for "discriminative", `generative_weight` for "hybrid".
        """
        return {"generative": 1.0, "discriminative": 0.0, "hybrid": self.generative_weight}[self.objective]


def _like(default: Any, name: str, value: Any) -> Any:
    """Convert a value, or a text of it, to the type of the default; InputError if impossible."""
    if isinstance(default, tuple):
        try:
            pairs = ast.literal_eval(value) if isinstance(value, str) else value
            return tuple((operator.index(start), operator.index(stop)) for start, stop in pairs)
        except (TypeError, ValueError, SyntaxError):
            raise InputError("%s is %s; it must be pairs (start, stop)" % (name, value)) from None
    if isinstance(default, int):
        return check_count(name, value, 0)
    try:
        return type(default)(value)
    except (TypeError, ValueError):
        raise InputError("%s is %s; it must be a number" % (name, value)) from None


PLAIN = LearningRule()
