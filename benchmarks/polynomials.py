"""Derive the polynomials of the native Gibbs engine, and measure their errors against exact values.

    python benchmarks/polynomials.py

Each polynomial is the Chebyshev series of its function over an interval, cut off at a degree. It is
close to the best polynomial of that degree (Trefethen, Approximation Theory and Approximation
Practice, 2013). Its coefficients are rounded to float32. The first table shows them beside the
coefficients in gibbs_kernel.inc and, for sine and cosine, gibbs_gaussian.inc. The exit status is 1
if any differs. The second table has the largest relative errors of the kernel's results, without
rounding (float64) and with rounding (float32).

The exponential is e^y = 2^n e^r with r = y - n log 2. As Cody & Waite do (Software Manual for the
Elementary Functions, 1980), log 2 is split into 355/512 and the rest. All multiples of 355/512 that
occur are exact. Cephes splits log 2 in the same way.
"""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.polynomial import Chebyshev, Polynomial

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

# isort: split
from gluon_rbm.backend import native

KERNEL, GAUSSIAN = (Path(native.__file__).parent / name for name in ("gibbs_kernel.inc", "gibbs_gaussian.inc"))
_EIGHTH = math.pi / 4  # an eighth of a turn


class Fit(NamedTuple):
    """A polynomial of the kernel."""

    what: str
    series: Polynomial  #: power series of the function, with enough terms for float64
    interval: tuple[float, float]
    degree: int


FITS = (
    # |r| <= log(2) / 2 = 0.3466, and a little more if rounding chose the other integer.
    Fit(
        "(e^r - 1 - r) / r^2",
        Polynomial([1 / math.factorial(k + 2) for k in range(20)]),
        (-0.3475, 0.3475),
        4,
    ),
    # z = t / (2 + t) for t in (-1/2, 0], and so s = z^2 <= 1/9. The fit leaves out 0, where the
    # function is 0 / 0.
    Fit(
        "(atanh(z) - z) / z^3, s = z^2",
        Polynomial([1 / (2 * k + 3) for k in range(40)]),
        (1e-6, 1 / 9),
        3,
    ),
    # |x| <= pi/4, and s = x^2.
    Fit(
        "(sin(x) - x) / x^3, s = x^2",
        Polynomial([(-1) ** (k + 1) / math.factorial(2 * k + 3) for k in range(12)]),
        (0, _EIGHTH**2),
        2,
    ),
    Fit(
        "(cos(x) - 1) / x^2, s = x^2",
        Polynomial([(-1) ** (k + 1) / math.factorial(2 * k + 2) for k in range(12)]),
        (0, _EIGHTH**2),
        3,
    ),
)


def coefficients(fit: Fit) -> np.ndarray:
    """Return the polynomial's coefficients, float32, starting with the constant."""
    series = Chebyshev.interpolate(fit.series, 32, domain=list(fit.interval))
    return series.truncate(fit.degree + 1).convert(kind=Polynomial).coef.astype(np.float32)


def kernel_coefficients() -> list[np.ndarray]:
    """Return the coefficients of each polynomial in both files, in the order of the files.

    The two highest coefficients of a polynomial are in `q = x * A + B;`. Each `q = q * x + C;` has
    one more.
    """
    found: list[list[str]] = []
    for first, second, next_one in re.findall(
        r"q = [rs] \* ([-\d.e]+)f \+ ([-\d.e]+)f;|q = q \* [rs] \+ ([-\d.e]+)f;",
        KERNEL.read_text() + GAUSSIAN.read_text(),
    ):
        if first:
            found.append([first, second])
        else:
            found[-1].append(next_one)
    return [np.array(polynomial[::-1], np.float32) for polynomial in found]


def kernel_constant(pattern: str) -> np.float32:
    """Return the only constant in gibbs_kernel.inc that matches the pattern's group."""
    (constant,) = re.findall(pattern, KERNEL.read_text())
    return np.float32(constant)


def horner(polynomial: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Evaluate a polynomial by Horner's rule."""
    value = np.zeros_like(x)
    for coefficient in polynomial[::-1].astype(x.dtype):
        value = value * x + coefficient
    return value


def errors(kind: type[np.floating]) -> list[float]:
    """Return the largest relative errors of e^r - 1, atanh z, sin x and cos x in a type.

    The values are computed as in the kernel, without FMA.
    """
    exponential, arctangent, sine, cosine = kernel_coefficients()
    half = np.linspace(0, math.log(2) / 2, 1000001)[1:]
    r = np.concatenate([-half[::-1], half]).astype(kind)
    z = np.linspace(0, 1 / 3, 1000001)[1:].astype(kind)
    s = z * z
    x = np.linspace(0, _EIGHTH, 1000001)[1:].astype(kind)
    t = x * x
    results = (
        horner(exponential, r) * (r * r) + r,
        (z * s) * horner(arctangent, s) + z,
        (x * t) * horner(sine, t) + x,
        horner(cosine, t) * t + kind(1),
    )
    exact = (function(at.astype(float)) for function, at in ((np.expm1, r), (np.arctanh, z), (np.sin, x), (np.cos, x)))
    return [float(np.abs(result / true - 1).max()) for result, true in zip(results, exact)]


def main() -> int:
    """Print the tables."""
    rows = [
        (fit.what, "x^%d" % power, derived, used)
        for fit, kernel in zip(FITS, kernel_coefficients())
        for power, (derived, used) in enumerate(zip(coefficients(fit), kernel))
    ]
    high = kernel_constant(r"\(y - n \* ([\d.]+)f\)")
    rows += [
        ("log2(e)", "", np.float32(1 / math.log(2)), kernel_constant(r"y \* ([\d.]+)f \+ round")),
        ("log 2, high part", "", np.float32(355 / 512), high),
        ("high part - log 2", "", np.float32(355 / 512 - math.log(2)), kernel_constant(r"\+ n \* ([\d.e-]+)f;")),
    ]
    print("| of | coefficient | derived | the engine's |")
    print("| --- | --- | --- | --- |")
    for what, power, derived, used in rows:
        print("| %s | %s | %.9g | %.9g%s |" % (what, power, derived, used, "" if derived == used else " DIFFERS"))
    print("\n| largest relative error | e^r - 1 | atanh(z) | sin(x) | cos(x) |")
    print("| --- | --- | --- | --- | --- |")
    for name, kind in (("of the polynomial", np.float64), ("in float32", np.float32)):
        print("| %s | %.1e | %.1e | %.1e | %.1e |" % (name, *errors(kind)))
    return int(any(derived != used for _, _, derived, used in rows))


if __name__ == "__main__":
    sys.exit(main())
