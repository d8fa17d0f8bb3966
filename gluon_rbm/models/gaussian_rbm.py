"""Gaussian-Bernoulli RBM: real visible units with variances of their own, and binary hidden units.

    E(v, h) = sum_i (v_i / sigma_i - a_i)^2 / 2 - b.h - (v / sigma) W h
    p(v_i | h) = N(sigma_i (a_i + (W h)_i), sigma_i^2)        p(h_j = 1 | v) = sigmoid(b_j + ((v / sigma) W)_j)

so that v / sigma is the visible layer of an RBM whose Gaussian units have variance 1
(`gluon_rbm.models.visible_units`), and all sampling and all likelihoods are that RBM's; the density of v has the
scale's Jacobian besides. The means mu and weights W' of Liao, Kornblith, Ren, Fleet & Hinton (*Gaussian-Bernoulli RBMs
without tears*, 2022, equation 1) are sigma a and sigma W. Variances are learned as log sigma^2 (Cho, Ilin & Raiko,
ICANN 2011), and a and W in units of sigma: steps then have the same size whatever the variance is.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gluon_rbm.backend.arrays import as_operand, restore_kind, to_numpy
from gluon_rbm.backend.types import Array, HostArray
from gluon_rbm.errors import DivergenceError, InputError
from gluon_rbm.models.energy import Parameters, free_energy

__all__ = ["LOG_VARIANCE", "GaussianParameters", "check_variances", "score"]

LOG_VARIANCE = "visible_log_variance"

_WIDEST = 1e6  # a variance of standardized data that means nothing


class GaussianParameters(NamedTuple):
    """The learned arrays of a Gaussian-Bernoulli RBM; all NDArrays on one device, or all NumPy's.

    Parameters
    ----------
    visible_layer_bias : array (num_visible,)
        a, in units of sigma.
    hidden_layer_bias : array (num_hidden,)
    interaction_weight : array (num_visible, num_hidden)
        W, in units of sigma.
    visible_log_variance : array (num_visible,)
        log sigma^2.
    """

    visible_layer_bias: Array
    hidden_layer_bias: Array
    interaction_weight: Array
    visible_log_variance: Array

    @property
    def scaled(self) -> Parameters:
        """The RBM of v / sigma, whose Gaussian units have variance 1."""
        return Parameters(*self[:3])

    def scale(self, visible: Array) -> Array:
        """v / sigma: (rows, num_visible), in the dtype of the parameters."""
        rows = as_operand(visible) * np.exp(-0.5 * as_operand(self.visible_log_variance))
        return restore_kind(rows.astype(self.interaction_weight.dtype, copy=False), visible)

    def unscale(self, scaled: Array) -> Array:
        """v, of v / sigma."""
        return restore_kind(as_operand(scaled) * np.exp(0.5 * as_operand(self.visible_log_variance)), scaled)

    def checked(self) -> GaussianParameters:
        """These parameters, or InputError as `Parameters.checked` has it, and for log-variances of another number."""
        self.scaled.checked()
        shape = self.visible_log_variance.shape
        if shape != (self.scaled.num_visible,) or not np.isfinite(to_numpy(self.visible_log_variance)).all():
            raise InputError(
                "visible_log_variance has shape %s; it must be %d finite numbers" % (shape, self.scaled.num_visible)
            )
        return self


def score(parameters: GaussianParameters, visible: Array) -> HostArray:
    """log p(v) + log Z of each row: float64 (rows,), NumPy, in nats.

    log p(v) = log m(u) - F(u) - log Z - sum_i log sigma_i,        u = v / sigma,  m = N(0, 1)
    """
    scaled = parameters.scale(visible)
    host = to_numpy(scaled).astype(np.float64)
    log_variance = to_numpy(parameters.visible_log_variance).astype(np.float64)
    base = -0.5 * (np.square(host).sum(axis=1) + log_variance.sum() + len(log_variance) * np.log(2 * np.pi))
    return base - to_numpy(free_energy(parameters.scaled, scaled))


def check_variances(log_variance: Array) -> None:
    """DivergenceError, naming the unit, where a variance is not finite or beyond all data."""
    values = to_numpy(log_variance)
    with np.errstate(over="ignore", invalid="ignore"):
        lost = np.flatnonzero(~(values < np.log(_WIDEST)))
    if len(lost):
        raise DivergenceError(
            "training diverged: the variance of visible unit %d is %g; lower the learning rate"
            % (lost[0], np.exp(np.float64(values[lost[0]])))
        )
