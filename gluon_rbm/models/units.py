"""Families of units: how the value of a unit follows from its total input x.

A unit of a family has the density  p(h | x) = m(h) exp(x h - A(x))  with base measure m, so that

    E[h] = f(x) = A'(x)        Var[h] = f'(x)        A(x) = integral of f from -infinity (Gaussian: from 0) to x

and summing such units out of a Boltzmann machine leaves A in its free energy. N sigmoid copies with offsets o_n are
the example (Teh & Hinton, NIPS 2001; Nair & Hinton, ICML 2010): f(x) = sum_n sigma(x - o_n). Any f with a known
integral plugs in (Hwang, Hwang & Jo 2020).

F is `mx.nd` or `mx.sym`, x an array or symbol of any shape; so these go into graphs. What is drawn is drawn by MXNet's
generator: `mx.random.seed` rules it. In float32 MXNet's log(1 + exp(x)) is off by up to 4e-6, below 0 too; its
derivative is good to float precision, so learning does not notice.
"""

from __future__ import annotations

import abc
import copy
import math
from numbers import Real
from typing import Any, Callable, Sequence

import numpy as np

from gluon_rbm.backend.types import HostArray
from gluon_rbm.errors import InputError

__all__ = [
    "HIDDEN_UNITS",
    "VISIBLE_UNITS",
    "Gaussian",
    "Multinary",
    "NoisyReLU",
    "OffsetSigmoids",
    "UnitFamily",
    "times",
]

VISIBLE_UNITS, HIDDEN_UNITS = ("multinary", "gaussian"), ("multinary", "relu")  # the families of a network, by name

_ONE_BY_ONE = 32  # up to so many copies are drawn one by one; of more, half at a time
_MOST_COPIES = 4096  # of more than these, the sum is drawn as normal: its mean is off by at most N / 37,000


def _sigmoid(F: Any, x: Any) -> Any:
    return F.Activation(x, act_type="sigmoid")  # ten times as fast on a CPU as F.sigmoid


def _softplus(F: Any, x: Any) -> Any:
    return F.Activation(x, act_type="softrelu")


def _bernoulli(F: Any, prob_1: Any) -> Any:
    return F.broadcast_lesser(F.random.uniform_like(prob_1), prob_1)


def _binomial(F: Any, count: int, prob_1: Any) -> Any:
    """How many of `count` uniform numbers are below each prob_1, exactly: of a binomial distribution.

    Their median is drawn first, from Beta((count + 1) / 2, (count + 1) / 2). Where it is below prob_1, so are those
    smaller than it; else those larger are above. The others are uniform, too, on what is left. (Devroye, Non-Uniform
    Random Variate Generation, 1986, section X.4.3; a symmetric beta from two uniform numbers, section IX.4.3.)
    """
    ones = F.zeros_like(prob_1)
    while count > _ONE_BY_ONE:
        if count % 2 == 0:
            ones, count = ones + _bernoulli(F, prob_1), count - 1
        half = (count + 1) // 2
        radius = F.sqrt(-F.expm1(F.log1p(-F.random.uniform_like(prob_1)) * (2 / (2 * half - 1))))
        offset = radius * F.cos(2 * math.pi * F.random.uniform_like(prob_1))
        median, above = (1 + offset) / 2, (1 - offset) / 2
        is_below = F.broadcast_lesser(median, prob_1)  # and so are the half - 1 numbers before it
        ones = ones + half * is_below
        prob_1 = F.where(is_below, 1 - (1 - prob_1) / above, prob_1 / median)
        count = half - 1
    return ones + sum(_bernoulli(F, prob_1) for _ in range(count))


def times(factor: float, x: Any) -> Any:
    """factor * x; no operator where the factor is 1."""
    return x if factor == 1 else factor * x


class UnitFamily(abc.ABC):
    """What an RBM asks of a family of units.

    The RBM computes k x, with k the `slope`, from k times its parameters, which are fewer than the units. It hands k x
    to the family's `standard`: the same units as functions of k x.
    """

    maximum: Any  #: int, the largest value; None: values have no upper end
    slope: float = 1.0

    def __repr__(self) -> str:
        return "%s(%s)" % (type(self).__name__, "" if self.maximum is None else "0 to %s" % self.maximum)

    @property
    def standard(self) -> UnitFamily:
        """These units with a slope of 1."""
        return self

    @abc.abstractmethod
    def mean(self, F: Any, x: Any) -> Any:
        """E[h] = f(x), in the shape of x."""

    @abc.abstractmethod
    def integral(self, F: Any, x: Any) -> Any:
        """A(x), the integral of f, in the shape of x."""

    @abc.abstractmethod
    def variance(self, F: Any, x: Any) -> Any:
        """Var[h] = f'(x), in the shape of x."""

    @abc.abstractmethod
    def sample(self, F: Any, x: Any) -> Any:
        """A value h of each unit, in the shape of x."""

    @abc.abstractmethod
    def log_base_measure(self, values: HostArray) -> HostArray:
        """log m(h) of a NumPy array of values: float64."""

    def total(self, F: Any, x: Any) -> Any:
        """The sum of A(x) over all units of each image: (batch,)."""
        return _total(F, self.integral(F, x))


def _total(F: Any, values: Any) -> Any:
    # A product with ones: on a CPU F.sum takes as long as a convolution.
    values = F.reshape(values, (0, -1))
    return F.dot(values, F.ones_like(F.reshape(F.slice_axis(values, axis=0, begin=0, end=1), -1)))


class Multinary(UnitFamily):
    """f(x) = N sigma(k x), A(x) = (N / k) log(1 + exp(k x)), f'(x) = k f (1 - f / N): values from 0 to N.

    Exactly k times the sum of M = N / k sigmoid units, where M is whole: for k = 1 the binomial unit of N copies with
    zero offsets, for N = k = 1 the binary unit. For smaller k it stands in for copies with spread offsets.

    Parameters
    ----------
    maximum
        N, the largest value: 1 for binary units, 255 for images of 8 bits.
    slope
        k; by default 1 / N, with which weights mean the same for any N: k (b + v W) = b / N + (v / N) W.

    Raises InputError unless N >= 1 and k > 0.
    """

    maximum: int

    def __init__(self, maximum: int = 255, slope: float | None = None) -> None:
        if not (isinstance(maximum, (int, np.integer)) and maximum >= 1):
            raise InputError("multinary units have whole values from 0 to N with N >= 1; %r is no such N" % (maximum,))
        slope = 1 / maximum if slope is None else slope
        if not (isinstance(slope, Real) and 0 < slope < math.inf):
            raise InputError("the slope of multinary units is %s; it must be a number above 0" % (slope,))
        self.maximum, self.slope = int(maximum), float(slope)
        self.copies = self.maximum / self.slope  # M = N / k

    @property
    def standard(self) -> Multinary:
        units = copy.copy(self)
        units.slope = 1.0
        return units

    def _prob_1(self, F: Any, x: Any) -> Any:
        return _sigmoid(F, times(self.slope, x))

    def mean(self, F: Any, x: Any) -> Any:
        return times(self.maximum, self._prob_1(F, x))

    def integral(self, F: Any, x: Any) -> Any:
        return times(self.copies, _softplus(F, times(self.slope, x)))

    def total(self, F: Any, x: Any) -> Any:
        return times(self.copies, _total(F, _softplus(F, times(self.slope, x))))

    def variance(self, F: Any, x: Any) -> Any:
        prob_1 = self._prob_1(F, x)
        return self.maximum**2 / self.copies * prob_1 * (1 - prob_1)

    def sample(self, F: Any, x: Any) -> Any:
        """Exact where M is whole and at most 4,096; else normal with this mean and variance, cut off at 0 and N."""
        prob_1 = self._prob_1(F, x)
        if self.copies == round(self.copies) <= _MOST_COPIES:
            return times(self.maximum / self.copies, _binomial(F, round(self.copies), prob_1))
        deviation = F.sqrt(self.maximum**2 / self.copies * prob_1 * (1 - prob_1))
        return F.clip(self.maximum * prob_1 + deviation * F.random.normal_like(prob_1), 0, self.maximum)

    def log_base_measure(self, values: HostArray) -> HostArray:
        """log m(h) = log binomial(M, h / k): float64, of a NumPy array of values in 0, k, ..., N."""
        from scipy.special import gammaln

        ones = np.asarray(values, "float64") * self.copies / self.maximum
        return gammaln(self.copies + 1) - gammaln(ones + 1) - gammaln(self.copies - ones + 1)


class OffsetSigmoids(UnitFamily):
    """f(x) = sum_n sigma(x - o_n), A(x) = sum_n log(1 + exp(x - o_n)): N sigmoid copies, summed exactly.

    What `Multinary` approximates with one sigmoid. Costs N times as much.

    Parameters
    ----------
    offsets
        o_n, one for each copy; N = len(offsets) is the largest value.
    """

    maximum: int

    def __init__(self, offsets: Sequence[float]) -> None:
        self.offsets = [float(offset) for offset in offsets]
        if not self.offsets or not all(map(math.isfinite, self.offsets)):
            raise InputError("units need at least one copy, and finite offsets; %r are no such offsets" % (offsets,))
        self.maximum = len(self.offsets)

    def _sum(self, function: Callable[[Any, Any], Any], F: Any, x: Any) -> Any:
        return sum(function(F, x - offset) for offset in self.offsets)

    def mean(self, F: Any, x: Any) -> Any:
        return self._sum(_sigmoid, F, x)

    def integral(self, F: Any, x: Any) -> Any:
        return self._sum(_softplus, F, x)

    def variance(self, F: Any, x: Any) -> Any:
        return self._sum(lambda F, y: _sigmoid(F, y) * (1 - _sigmoid(F, y)), F, x)

    def sample(self, F: Any, x: Any) -> Any:
        return self._sum(lambda F, y: _bernoulli(F, _sigmoid(F, y)), F, x)

    def log_base_measure(self, values: HostArray) -> HostArray:
        """log m(h), the log of the h-th elementary symmetric polynomial of exp(-o_n): float64, of whole values."""
        polynomial = np.ones(1)
        for offset in self.offsets:
            polynomial = np.convolve(polynomial, [1, math.exp(-offset)])
        return np.log(polynomial)[np.asarray(values).astype(int)]


class NoisyReLU(UnitFamily):
    """f(x) = log(1 + exp(x)): infinitely many sigmoid copies with offsets 1/2, 3/2, ... (Nair & Hinton, ICML 2010).

    A(x) = -Li2(-exp(x)), the dilogarithm. Samples are theirs, max(0, x + normal(0, sigma(x))): their mean is f(x)
    for large |x|, and 0.42 less at x = -0.2. Values have no upper end (`maximum` is None), and no base measure in
    closed form.
    """

    maximum = None

    def mean(self, F: Any, x: Any) -> Any:
        return _softplus(F, x)

    def integral(self, F: Any, x: Any) -> Any:
        # With s = log(1 + exp(-|x|)) <= log 2, -Li2(-exp(-|x|)) is a quickly falling series (Bernoulli numbers); for
        # x > 0 the inversion formula adds pi^2 / 6 + x^2 / 2 and turns its sign.
        s = _softplus(F, -F.abs(x))
        square = s * s
        odd = 1 / 36 - square * (1 / 3600 - square * (1 / 211680 - square * (1 / 10886400)))
        series = s + square / 4 + s * square * odd
        inverted = math.pi**2 / 6 + x * x / 2 - series
        value = F.where(x > 0, inverted, series)
        # The derivative is f by definition; that of the pieces would be wrong where they meet.
        return F.BlockGrad(value) + (x - F.BlockGrad(x)) * F.BlockGrad(self.mean(F, x))

    def variance(self, F: Any, x: Any) -> Any:
        return _sigmoid(F, x)

    def sample(self, F: Any, x: Any) -> Any:
        return F.relu(x + F.sqrt(_sigmoid(F, x)) * F.random.normal_like(x))

    def log_base_measure(self, values: HostArray) -> HostArray:
        raise InputError("noisy rectified units have no base measure in closed form; use OffsetSigmoids for exact ones")


class Gaussian(UnitFamily):
    """f(x) = x, A(x) = x^2 / 2: normal units of variance 1 around their input, for real-valued data.

    Standardise the data, so that this variance suits them. Values have no ends (`maximum` is None).
    """

    maximum = None

    def mean(self, F: Any, x: Any) -> Any:
        return x

    def integral(self, F: Any, x: Any) -> Any:
        return x * x / 2

    def variance(self, F: Any, x: Any) -> Any:
        return F.ones_like(x)

    def sample(self, F: Any, x: Any) -> Any:
        return x + F.random.normal_like(x)

    def log_base_measure(self, values: HostArray) -> HostArray:
        """log m(h) = -h^2 / 2 - log(2 pi) / 2."""
        return -(np.asarray(values, "float64") ** 2 + math.log(2 * math.pi)) / 2
