"""Gaussian-Bernoulli RBM: real visible units with variances of their own, and binary hidden units.

    E(v, h) = sum_i (v_i / sigma_i - a_i)^2 / 2 - b.h - (v / sigma) W h
    p(v_i | h) = N(sigma_i (a_i + (W h)_i), sigma_i^2)
    p(h_j = 1 | v) = sigmoid(b_j + ((v / sigma) W)_j)

So v / sigma is the visible layer of an RBM with Gaussian units of variance 1
(`gluon_rbm.models.visible_units`). That RBM is used for all sampling and all likelihoods; the
density of v also has the Jacobian of the scaling as a factor.

The means mu and weights W' of Liao, Kornblith, Ren, Fleet & Hinton (*Gaussian-Bernoulli RBMs
without tears*, 2022, equation 1) are sigma a and sigma W. Variances are learned as log sigma^2
(Cho, Ilin & Raiko, ICANN 2011). a and W are learned in units of sigma, so that steps have the same
size for any variance.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gluon_rbm.backend.arrays import as_operand, restore_kind, to_numpy
from gluon_rbm.backend.types import Array, HostArray
from gluon_rbm.errors import DivergenceError, InputError
from gluon_rbm.models.energy import free_energy
from gluon_rbm.models.parameters import Parameters

__all__ = ["LOG_VARIANCE", "GaussianParameters", "check_variances", "score"]

LOG_VARIANCE = "visible_log_variance"

_WIDEST = 1e6  # standardized data have variance 1, so a larger variance means divergence


class GaussianParameters(NamedTuple):
    """The learned arrays of a Gaussian-Bernoulli RBM.

    All are NDArrays on one device, or all are NumPy arrays.

    Attributes
    ----------
    visible_layer_bias
        Biases a in units of sigma, (num_visible,).
    hidden_layer_bias
        Biases b, (num_hidden,).
    interaction_weight
        Weights W in units of sigma, (num_visible, num_hidden).
    visible_log_variance
        Logarithms of the variances, log sigma^2, (num_visible,).
    """

    visible_layer_bias: Array
    hidden_layer_bias: Array
    interaction_weight: Array
    visible_log_variance: Array

    @property
    def scaled(self) -> Parameters:
        """RBM of v / sigma, with Gaussian units of variance 1.

        Returns
        -------
        Parameters
            Biases a and b and weights W.
        """
        return Parameters(*self[:3])

    def scale(self, visible: Array) -> Array:
        """Return v / sigma.

        Parameters
        ----------
        visible
            Visible layers v, (rows, num_visible).

        Returns
        -------
        array (rows, num_visible)
            Scaled layers, in the dtype of the parameters.
        """
        rows = as_operand(visible) * np.exp(-0.5 * as_operand(self.visible_log_variance))
        return restore_kind(rows.astype(self.interaction_weight.dtype, copy=False), visible)

    def unscale(self, scaled: Array) -> Array:
        """Return v, given v / sigma.

        Parameters
        ----------
        scaled
            Scaled layers v / sigma, (rows, num_visible).

        Returns
        -------
        array (rows, num_visible)
            Visible layers v.
        """
        return restore_kind(as_operand(scaled) * np.exp(0.5 * as_operand(self.visible_log_variance)), scaled)

    def checked(self) -> GaussianParameters:
        """Check these parameters, and return them.

        Returns
        -------
        GaussianParameters
            These parameters.

        Raises
        ------
        InputError
            As in `Parameters.checked`; or there is not one finite log-variance for each visible
            unit.
        """
        self.scaled.checked()
        shape = self.visible_log_variance.shape
        if shape != (self.scaled.num_visible,) or not np.isfinite(to_numpy(self.visible_log_variance)).all():
            raise InputError(
                "visible_log_variance has shape %s; it must be %d finite numbers" % (shape, self.scaled.num_visible)
            )
        return self


def score(parameters: GaussianParameters, visible: Array) -> HostArray:
    """Return log p(v) + log Z of each row.

        log p(v) = log m(u) - F(u) - log Z - sum_i log sigma_i,        u = v / sigma,  m = N(0, 1)

    Parameters
    ----------
    parameters
        The RBM.
    visible
        Visible layers v, (rows, num_visible).

    Returns
    -------
    float64 array (rows,)
        Scores in nats, a NumPy array.
    """
    scaled = parameters.scale(visible)
    host = to_numpy(scaled).astype(np.float64)
    log_variance = to_numpy(parameters.visible_log_variance).astype(np.float64)
    base = -0.5 * (np.square(host).sum(axis=1) + log_variance.sum() + len(log_variance) * np.log(2 * np.pi))
    return base - to_numpy(free_energy(parameters.scaled, scaled))


def check_variances(log_variance: Array) -> None:
    """Raise an error if training has lost a variance.

    Parameters
    ----------
    log_variance
        Logarithms of the variances, (num_visible,).

    Raises
    ------
    DivergenceError
        A variance is NaN, 0, or 10^6 or more. The message names the visible unit.
    """
    values = to_numpy(log_variance)
    with np.errstate(over="ignore", invalid="ignore"):
        lost = np.flatnonzero(~((values > -np.inf) & (values < np.log(_WIDEST))))
    if len(lost):
        raise DivergenceError(
            "training diverged: the variance of visible unit %d is %g; lower the learning rate"
            % (lost[0], np.exp(np.float64(values[lost[0]])))
        )
