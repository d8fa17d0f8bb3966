"""The rule that an RBM learns by: which chains, what bends the gradient, and what is minimised.

`gluon_rbm.likelihood.learning` says what the settings mean.
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

_FIXED_FROM = 13  # chains: fewer add weights row by row, where 16 bits gain nothing


class LearningRule(NamedTuple):
    """How an RBM learns from its chains. The default is plain PCD.

    chains : "persistent", "data", "noise", "tempered" or "trajectory"
        Chains that go on from step to step (PCD, Tieleman 2008); that start at the data in each step (CD, Hinton 2002;
        chain i at image i modulo the batch), or from fair coins, with the labels of the batch held; that go on and have
        replicas at other temperatures; or that go on and exchange states with chains of earlier snapshots of the RBM.
    num_temperatures : int >= 2
        Replicas of each tempered chain, itself included, linear in beta from 1 to 0.
    centering : float in [0, 1]
        Rate at which the offsets follow the means of each batch; 0: no centering. 0.01 is usual.
    sparsity_target, sparsity_cost : float in [0, 1] and >= 0
        p and c above, in nats; a cost of 0: no such term.
    weight_decay_l1 : float >= 0
        lambda_1 in lambda_1 sum |W|, added to the mean loss (Hinton 2010, section 10).
    num_classes : int >= 0
        The last so many visible units are a label: exactly one of them is on, in the data and in the chains.
    softmax_groups : tuple of (start, stop)
        Other groups of visible units of each of which exactly one is on, in order (`gluon_rbm.models.visible_units`).
    objective : "generative", "discriminative" or "hybrid"
        Minimise the mean of -log p(v), of -log p(label | pixels), or of their sum with the first one weighed
        (Larochelle & Bengio 2008). Chains stand still where the objective is discriminative, and what is said of chains
        and their gradient above must then be left as it is. Centering bends the generative gradient only.
    generative_weight : float > 0
        That weight: alpha.
    weight_bits : 16 or 32
        Bits of a weight where the native engine sums weights for chains and for p(h|v) of the data: 16 are faster (see
        `native.run`), and the gradient is that of the RBM with rounded weights. Tempered chains, and chains so few that
        it gains nothing, have 32.
    num_snapshots : int >= 2
        Snapshots that are kept at most, of chains that follow a trajectory.
    visible_layer : "binary" or "gaussian"
        What visible units are: binary, those in a group as above, or normal with variance 1 given the hidden ones.
    langevin_steps : int >= 0
        Langevin steps that move Gaussian units in a sweep; 0: they are drawn anew. Chains then go on from their visible
        layer.
    langevin_step_size : float between 0 and 4
        Size of these steps (`gluon_rbm.sampling.conditions.Langevin`).
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
        """The rule of these attributes (or texts of them, as MXNet hands them to operators), or InputError."""
        unknown = sorted(set(attributes) - set(cls._fields))
        if unknown:
            raise InputError("a learning rule has no %s; it has %s" % (unknown[0], ", ".join(cls._fields)))
        rule = cls(**{name: _like(cls._field_defaults[name], name, value) for name, value in attributes.items()})
        for name, sound, remedy in (
            ("chains", rule.chains in CHAINS, "one of " + ", ".join(CHAINS)),
            ("num_temperatures", rule.num_temperatures >= 2, "at least 2"),
            ("num_snapshots", rule.num_snapshots >= 2, "at least 2"),
            ("centering", 0 <= rule.centering <= 1, "a rate in [0, 1]"),  # false for NaN, here and below
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
        """What so many visible units are: Gaussian, or softmax groups, that of the label the last."""
        if self.visible_layer == GAUSSIAN:
            return GAUSSIAN
        return (*self.softmax_groups, *label_rbm.softmax_groups(num_visible, self.num_classes))

    @property
    def has_exchanges(self) -> bool:
        """Whether chains exchange their states with others."""
        return self.chains in ("tempered", "trajectory")

    @property
    def replicas(self) -> int:
        """Rows of the samples that belong to each chain."""
        return self.num_temperatures if self.chains == "tempered" else 1

    @property
    def is_plain(self) -> bool:
        """Whether this is PCD or CD as `native_learning.learn` does it, with or without sparsity."""
        free = ("chains", "num_temperatures", "num_snapshots", "sparsity_target", "sparsity_cost", "weight_bits")
        free += ("num_classes", "softmax_groups", "generative_weight")
        bent = self._replace(**{name: self._field_defaults[name] for name in free}) != PLAIN
        return self.chains in ("persistent", "data") and not bent

    def has_fixed_point(self, num_chains: int) -> bool:
        """Whether that many chains follow weights of 16 bits."""
        worth = not self.has_exchanges and num_chains >= _FIXED_FROM and self.generative_factor > 0
        return self.weight_bits == 16 and worth

    @property
    def generative_factor(self) -> float:
        """What the generative gradient is multiplied with."""
        return {"generative": 1.0, "discriminative": 0.0, "hybrid": self.generative_weight}[self.objective]


def _like(default: Any, name: str, value: Any) -> Any:
    """The value, or the text of it, in the type of the default; InputError where it is no such number."""
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
