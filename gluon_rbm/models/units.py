"""Families of units: the value of a unit as a function of its total input x.

A unit of a family has the density  p(h | x) = m(h) exp(x h - A(x))  with base measure m, so that

    E[h] = f(x) = A'(x)        Var[h] = f'(x)
    A(x) = integral of f from -infinity (Gaussian: from 0) to x

Summing such units out of an RBM leaves A in its free energy. The sum of N sigmoid copies with
offsets o_n is an example (Teh & Hinton, NIPS 2001; Nair & Hinton, ICML 2010):
f(x) = sum_n sigma(x - o_n). Any f with a known integral can be used (Hwang, Hwang & Jo 2020).

F is mx.nd or mx.sym, and x an array or symbol of any shape, so the functions also work in graphs.
MXNet's generator draws the samples, and mx.random.seed seeds it. With
`gluon_rbm.backend.random.KeyedOperators` as F, a key fixes the samples instead.

In float32 MXNet's log(1 + exp(x)) is off by up to 4e-6, also for x < 0. Its derivative is accurate
to float precision, so learning is not affected.
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

# Names of the families of units in a network.
VISIBLE_UNITS, HIDDEN_UNITS = ("multinary", "gaussian"), ("multinary", "relu")

_ONE_BY_ONE = 32  # up to this many copies are drawn one by one; more are halved first
# For more copies, sums are drawn as normal. Their mean is then off by at most N / 37,000.
_MOST_COPIES = 4096


def _sigmoid(F: Any, x: Any) -> Any:
    return F.Activation(x, act_type="sigmoid")  # ten times as fast on a CPU as F.sigmoid


def _softplus(F: Any, x: Any) -> Any:
    return F.Activation(x, act_type="softrelu")


def _bernoulli(F: Any, prob_1: Any) -> Any:
    return F.broadcast_lesser(F.random.uniform_like(prob_1), prob_1)


def _binomial(F: Any, count: int, prob_1: Any) -> Any:
    """Draw, for each prob_1, how many of `count` uniform numbers are below it: exactly binomial.

    The median of the numbers is drawn first, from Beta((count + 1) / 2, (count + 1) / 2). If it is
    below prob_1, the smaller numbers are below, too; else the larger numbers are above. The
    remaining numbers are uniform on the rest of the interval. (Devroye, Non-Uniform Random Variate
    Generation, 1986, section X.4.3; section IX.4.3 has the symmetric beta from two uniform
    numbers.)
    """
    ones = F.zeros_like(prob_1)
    while count > _ONE_BY_ONE:
        if count % 2 == 0:
            ones, count = ones + _bernoulli(F, prob_1), count - 1
        half = (count + 1) // 2
        radius = F.sqrt(-F.expm1(F.log1p(-F.random.uniform_like(prob_1)) * (2 / (2 * half - 1))))
        offset = radius * F.cos(2 * math.pi * F.random.uniform_like(prob_1))
        median, above = (1 + offset) / 2, (1 - offset) / 2
        is_below = F.broadcast_lesser(median, prob_1)  # then the half - 1 smaller numbers are, too
        ones = ones + half * is_below
        prob_1 = F.where(is_below, 1 - (1 - prob_1) / above, prob_1 / median)
        count = half - 1
    return ones + sum(_bernoulli(F, prob_1) for _ in range(count))


def times(factor: float, x: Any) -> Any:
    """Return factor * x, without an operator where the factor is 1.

    Parameters
    ----------
    factor
        A number.
    x
        Array or symbol.

    Returns
    -------
    array or symbol
        The product.
    """
    return x if factor == 1 else factor * x


class UnitFamily(abc.ABC):
    """Base class of the families: what an RBM needs to know of its units.

    The RBM computes k x, where k is the `slope`. It multiplies its parameters by k, because there
    are fewer of them than units. It passes k x to the methods of `standard`, which describe the
    same units as functions of k x.
    """

    maximum: Any  #: largest value, an int; None: values have no upper bound
    slope: float = 1.0  #: factor k of the total input

    def __repr__(self) -> str:
        return "%s(%s)" % (type(self).__name__, "" if self.maximum is None else "0 to %s" % self.maximum)

    @property
    def standard(self) -> UnitFamily:
        """The same units with a slope of 1.

        Returns
        -------
        UnitFamily
            Units whose input is k x.
        """
        return self

    @abc.abstractmethod
    def mean(self, F: Any, x: Any) -> Any:
        """Return the mean E[h] = f(x) of each unit.

        Parameters
        ----------
        F
            Operators: mx.nd or mx.sym.
        x
            Total inputs of units, an array or symbol of any shape.

        Returns
        -------
        array or symbol
            Means, in the shape of `x`.
        """

    @abc.abstractmethod
    def integral(self, F: Any, x: Any) -> Any:
        """Return A(x), the integral of f, for each unit.

        Parameters
        ----------
        F, x
            As in `mean`.

        Returns
        -------
        array or symbol
            Integrals, in the shape of `x`.
        """

    @abc.abstractmethod
    def variance(self, F: Any, x: Any) -> Any:
        """Return the variance Var[h] = f'(x) of each unit.

        Parameters
        ----------
        F, x
            As in `mean`.

        Returns
        -------
        array or symbol
            Variances, in the shape of `x`.
        """

    @abc.abstractmethod
    def sample(self, F: Any, x: Any) -> Any:
        """Draw a value h of each unit.

        Parameters
        ----------
        F
            Operators that draw: mx.nd, mx.sym or `gluon_rbm.backend.random.KeyedOperators`.
        x
            As in `mean`.

        Returns
        -------
        array or symbol
            Values, in the shape of `x`.
        """

    @abc.abstractmethod
    def log_base_measure(self, values: HostArray) -> HostArray:
        """Return log m(h) of values of units.

        Parameters
        ----------
        values
            Values h, a NumPy array of any shape.

        Returns
        -------
        float64 array
            Logarithms, in the shape of `values`.
        """

    def total(self, F: Any, x: Any) -> Any:
        """Return the sum of A(x) over all units of each image.

        Parameters
        ----------
        F
            As in `mean`.
        x
            Total inputs of units, an array or symbol (batch, ...).

        Returns
        -------
        array or symbol (batch,)
            Sums.
        """
        return _total(F, self.integral(F, x))


def _total(F: Any, values: Any) -> Any:
    # A product with ones is faster: on a CPU, F.sum takes as long as a convolution.
    values = F.reshape(values, (0, -1))
    return F.dot(values, F.ones_like(F.reshape(F.slice_axis(values, axis=0, begin=0, end=1), -1)))


class Multinary(UnitFamily):
    """Units with values from 0 to N: f(x) = N sigma(k x).

        A(x) = (N / k) log(1 + exp(k x))        f'(x) = k f (1 - f / N)

    If M = N / k is whole, a unit is exactly k times the sum of M sigmoid units. For k = 1 it is the
    binomial unit of N copies with zero offsets, and for N = k = 1 the binary unit. For smaller k it
    approximates copies with spread offsets.

    Parameters
    ----------
    maximum
        Largest value N: 1 for binary units, 255 for images of 8 bits.
    slope
        Slope k. With the default 1 / N, weights mean the same for any N:
        k (b + v W) = b / N + (v / N) W.

    Raises
    ------
    InputError
        `maximum` is not a whole number N >= 1, or `slope` not a finite number above 0.

    Examples
    --------
    >>> units = Multinary(255)
    >>> units
    Multinary(0 to 255)
    >>> units.mean(mx.nd, mx.nd.array([-1000, 0, 1000])).asnumpy().round(1)
    array([  5. , 127.5, 250. ], dtype=float32)
    """

    maximum: int

    def __init__(self, maximum: int = 255, slope: float | None = None) -> None:
        if not (isinstance(maximum, (int, np.integer)) and maximum >= 1):
            raise InputError(
                "the maximum N of multinary units is %r; it must be a whole number of at least 1" % (maximum,)
            )
        slope = 1 / maximum if slope is None else slope
        if not (isinstance(slope, Real) and 0 < slope < math.inf):
            raise InputError("the slope of multinary units is %s; it must be a number above 0" % (slope,))
        self.maximum, self.slope = int(maximum), float(slope)
        self.copies = self.maximum / self.slope  # M = N / k

    @property
    def standard(self) -> Multinary:
        """The same units with a slope of 1.

        Returns
        -------
        Multinary
            Units with k = 1, and with M as it is here.
        """
        units = copy.copy(self)
        units.slope = 1.0
        return units

    def _prob_1(self, F: Any, x: Any) -> Any:
        return _sigmoid(F, times(self.slope, x))

    def mean(self, F: Any, x: Any) -> Any:
        """Return E[h] = N sigma(k x)."""
        return times(self.maximum, self._prob_1(F, x))

    def integral(self, F: Any, x: Any) -> Any:
        """Return A(x) = (N / k) log(1 + exp(k x))."""
        return times(self.copies, _softplus(F, times(self.slope, x)))

    def total(self, F: Any, x: Any) -> Any:
        """Return the sum of A(x) over all units of each image."""
        return times(self.copies, _total(F, _softplus(F, times(self.slope, x))))

    def variance(self, F: Any, x: Any) -> Any:
        """Return Var[h] = k f (1 - f / N)."""
        prob_1 = self._prob_1(F, x)
        return self.maximum**2 / self.copies * prob_1 * (1 - prob_1)

    def sample(self, F: Any, x: Any) -> Any:
        """Draw a value of each unit.

        The draw is exact if M = N / k is whole and at most 4,096. Otherwise it is normal with the
        mean and variance of the unit, cut off at 0 and N.
        """
        prob_1 = self._prob_1(F, x)
        if self.copies == round(self.copies) <= _MOST_COPIES:
            return times(self.maximum / self.copies, _binomial(F, round(self.copies), prob_1))
        deviation = F.sqrt(self.maximum**2 / self.copies * prob_1 * (1 - prob_1))
        return F.clip(self.maximum * prob_1 + deviation * F.random.normal_like(prob_1), 0, self.maximum)

    def log_base_measure(self, values: HostArray) -> HostArray:
        """Return log m(h) = log binomial(M, h / k).

        Parameters
        ----------
        values
            Values h among 0, k, ..., N, a NumPy array of any shape.

        Returns
        -------
        float64 array
            Logarithms, in the shape of `values`.
        """
        from scipy.special import gammaln

        ones = np.asarray(values, "float64") * self.copies / self.maximum
        return gammaln(self.copies + 1) - gammaln(ones + 1) - gammaln(self.copies - ones + 1)


class OffsetSigmoids(UnitFamily):
    """Exact sums of N sigmoid copies with offsets o_n: f(x) = sum_n sigma(x - o_n).

        A(x) = sum_n log(1 + exp(x - o_n))

    `Multinary` approximates this sum by one sigmoid. The exact sum takes N times as long.

    Parameters
    ----------
    offsets
        Offset o_n of each copy. The largest value is N = len(offsets).

    Raises
    ------
    InputError
        There are no offsets, or they are not finite.

    Examples
    --------
    >>> OffsetSigmoids([0.5, 1.5, 2.5])
    OffsetSigmoids(0 to 3)
    """

    maximum: int

    def __init__(self, offsets: Sequence[float]) -> None:
        self.offsets = [float(offset) for offset in offsets]
        if not self.offsets or not all(map(math.isfinite, self.offsets)):
            raise InputError("the offsets of units are %r; give one or more finite numbers" % (offsets,))
        self.maximum = len(self.offsets)

    def _sum(self, function: Callable[[Any, Any], Any], F: Any, x: Any) -> Any:
        return sum(function(F, x - offset) for offset in self.offsets)

    def mean(self, F: Any, x: Any) -> Any:
        """Return E[h] = sum_n sigma(x - o_n)."""
        return self._sum(_sigmoid, F, x)

    def integral(self, F: Any, x: Any) -> Any:
        """Return A(x) = sum_n log(1 + exp(x - o_n))."""
        return self._sum(_softplus, F, x)

    def variance(self, F: Any, x: Any) -> Any:
        """Return Var[h] = sum_n sigma(x - o_n) (1 - sigma(x - o_n))."""
        return self._sum(lambda F, y: _sigmoid(F, y) * (1 - _sigmoid(F, y)), F, x)

    def sample(self, F: Any, x: Any) -> Any:
        """Draw every copy, and return their sums."""
        return self._sum(lambda F, y: _bernoulli(F, _sigmoid(F, y)), F, x)

    def log_base_measure(self, values: HostArray) -> HostArray:
        """Return log m(h), the log of the h-th elementary symmetric polynomial of exp(-o_n).

        Parameters
        ----------
        values
            Whole values h from 0 to N, a NumPy array of any shape.

        Returns
        -------
        float64 array
            Logarithms, in the shape of `values`.
        """
        polynomial = np.ones(1)
        for offset in self.offsets:
            polynomial = np.convolve(polynomial, [1, math.exp(-offset)])
        return np.log(polynomial)[np.asarray(values).astype(int)]


class NoisyReLU(UnitFamily):
    """Noisy rectified linear units: f(x) = log(1 + exp(x)).

        A(x) = -Li2(-exp(x)),  with the dilogarithm Li2

    Such a unit stands for infinitely many sigmoid copies with offsets 1/2, 3/2, ... Samples are
    drawn as max(0, x + normal(0, sigma(x))). Their mean is f(x) for large |x|, and 0.42 less at x =
    -0.2. Values have no upper bound (`maximum` is None), and the base measure has no closed form.

    Notes
    -----
    Nair & Hinton, ICML 2010.

    Examples
    --------
    >>> NoisyReLU().mean(mx.nd, mx.nd.array([-5, 0, 5])).asnumpy().round(3)
    array([0.007, 0.693, 5.007], dtype=float32)
    """

    maximum = None

    def mean(self, F: Any, x: Any) -> Any:
        """Return E[h] = log(1 + exp(x))."""
        return _softplus(F, x)

    def integral(self, F: Any, x: Any) -> Any:
        """Return A(x) = -Li2(-exp(x))."""
        # With s = log(1 + exp(-|x|)) <= log 2, a series in s (with Bernoulli numbers) converges
        # fast to -Li2(-exp(-|x|)). For x > 0, the inversion formula changes its sign and adds
        # pi^2 / 6 + x^2 / 2.
        s = _softplus(F, -F.abs(x))
        square = s * s
        odd = 1 / 36 - square * (1 / 3600 - square * (1 / 211680 - square * (1 / 10886400)))
        series = s + square / 4 + s * square * odd
        inverted = math.pi**2 / 6 + x * x / 2 - series
        value = F.where(x > 0, inverted, series)
        # The derivative is f by definition. MXNet's derivatives of the two pieces would be wrong
        # where the pieces meet.
        return F.BlockGrad(value) + (x - F.BlockGrad(x)) * F.BlockGrad(self.mean(F, x))

    def variance(self, F: Any, x: Any) -> Any:
        """Return f'(x) = sigma(x)."""
        return _sigmoid(F, x)

    def sample(self, F: Any, x: Any) -> Any:
        """Draw max(0, x + normal(0, sigma(x)))."""
        return F.relu(x + F.sqrt(_sigmoid(F, x)) * F.random.normal_like(x))

    def log_base_measure(self, values: HostArray) -> HostArray:
        """Raise an error: the base measure has no closed form."""
        raise InputError("noisy rectified units have no base measure in closed form; use OffsetSigmoids for exact ones")


class Gaussian(UnitFamily):
    """Normal units of variance 1 around their input, for real-valued data: f(x) = x.

        A(x) = x^2 / 2

    Standardize the data so that this variance suits them. Values are not bounded (`maximum` is
    None).

    Examples
    --------
    >>> Gaussian().integral(mx.nd, mx.nd.array([-2, 0, 2])).asnumpy()
    array([2., 0., 2.], dtype=float32)
    """

    maximum = None

    def mean(self, F: Any, x: Any) -> Any:
        """Return E[h] = x."""
        return x

    def integral(self, F: Any, x: Any) -> Any:
        """Return A(x) = x^2 / 2."""
        return x * x / 2

    def variance(self, F: Any, x: Any) -> Any:
        """Return Var[h] = 1."""
        return F.ones_like(x)

    def sample(self, F: Any, x: Any) -> Any:
        """Draw x + normal(0, 1)."""
        return x + F.random.normal_like(x)

    def log_base_measure(self, values: HostArray) -> HostArray:
        """Return log m(h) = -h^2 / 2 - log(2 pi) / 2.

        Parameters
        ----------
        values
            Values h, a NumPy array of any shape.

        Returns
        -------
        float64 array
            Logarithms, in the shape of `values`.
        """
        return -(np.asarray(values, "float64") ** 2 + math.log(2 * math.pi)) / 2
