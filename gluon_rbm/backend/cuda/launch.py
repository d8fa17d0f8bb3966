"""What a launch of the kernels in gibbs.cu takes: arguments, thread blocks, shared memory."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Sequence

import numpy as np

__all__ = [
    "KERNELS",
    "PADDING",
    "SHARED_BYTES",
    "Device",
    "Parameter",
    "geometry",
    "padded",
    "parameters",
    "shared_bytes",
    "source",
]

PADDING = 32  #: number of units in a word; a row of weights is padded to whole words
SHARED_BYTES = 48 * 1024  #: bytes of shared memory that a thread block has on every GPU

KERNELS = ("pack", "run", "draw", "redraw", "anneal")  #: names of the kernels

_QUADS = 8  # threads that draw a word
_MOST_THREADS = 512
_TYPES = {"int": np.int32, "float": np.float32, "double": np.float64, "unsigned char": np.uint8}


class Parameter(NamedTuple):
    """A parameter of a kernel."""

    name: str  #: its name in gibbs.cu
    dtype: type[np.generic]  #: of the number, or of the elements of the array
    is_array: bool  #: whether it is an array, not a number
    is_written: bool  #: whether the kernel writes to the array


class Device(Protocol):
    """What runs the kernels: a GPU through MXNet or the driver, or, in tests, a CPU."""

    def empty(self, shape: tuple[int, ...], dtype: type[np.generic]) -> Any:
        """Return an array of the device without setting its values.

        Parameters
        ----------
        shape, dtype
            Shape and dtype of the array.

        Returns
        -------
        array of the device
            An array of any values.
        """
        ...

    def array(self, values: Any, dtype: type[np.generic], copy: bool = False) -> Any:
        """Return values as an array of the device, in C order.

        Parameters
        ----------
        values
            An array of the device, or what numpy.asarray takes.
        dtype
            Dtype of the array.
        copy
            Whether the array must be a new one.

        Returns
        -------
        array of the device
            The values.
        """
        ...

    def to_host(self, array: Any) -> Any:
        """Return an array of the device, or of NumPy, as a NumPy array.

        Parameters
        ----------
        array
            The array.

        Returns
        -------
        HostArray
            Its values.
        """
        ...

    def product(self, state: Any, rows: Any) -> Any:
        """Multiply states by rows of weights.

        Parameters
        ----------
        state
            States of one layer, (chains, units), on the device.
        rows
            Rows of weights to the other layer, (units, padded units), on the device.

        Returns
        -------
        array of the device
            The matrix product, (chains, padded units).
        """
        ...

    def launch(self, kernel: str, arguments: Sequence[Any], blocks: int, threads: int, shared_bytes: int) -> None:
        """Start a kernel.

        Parameters
        ----------
        kernel
            One of `KERNELS`.
        arguments
            Numbers and arrays for the `parameters` of the kernel, in their order.
        blocks, threads
            Number of thread blocks, and of threads of each block.
        shared_bytes
            Bytes of shared memory of a thread block.
        """
        ...


@functools.lru_cache(maxsize=None)
def source() -> str:
    """Return the text of gibbs.cu.

    Returns
    -------
    str
        The text.
    """
    return (Path(__file__).parent / "gibbs.cu").read_text(encoding="utf-8")


@functools.lru_cache(maxsize=None)
def parameters(kernel: str) -> tuple[Parameter, ...]:
    """Read the parameters of a kernel from the source.

    Parameters
    ----------
    kernel
        One of `KERNELS`.

    Returns
    -------
    tuple of Parameter
        The parameters, in their order.

    Raises
    ------
    LookupError
        There is no such kernel.
    """
    found = re.search(r"ENTRY %s\(([^)]*)\)" % kernel, source())
    if not found:
        raise LookupError("gibbs.cu has no kernel %s" % kernel)
    return tuple(_parameter(" ".join(item.split())) for item in found.group(1).split(","))


def _parameter(text: str) -> Parameter:
    const, kind, star, name = re.fullmatch(r"(const )?([a-z ]+?) (\*?)(\w+)", text).groups()  # type: ignore[union-attr]
    return Parameter(name, _TYPES[kind], bool(star), bool(star) and not const)


def padded(units: int) -> int:
    """Round a number of units up to whole words.

    Parameters
    ----------
    units
        The number.

    Returns
    -------
    int
        A multiple of `PADDING`.
    """
    return -(-units // PADDING) * PADDING


def geometry(num_visible: int, num_hidden: int) -> int:
    """Return how many threads run a chain.

    They are whole warps: as many as draw the larger layer at once, but at most 512.

    Parameters
    ----------
    num_visible, num_hidden
        Number of units of each layer.

    Returns
    -------
    int
        Threads of a thread block.
    """
    words = max(padded(num_visible), padded(num_hidden)) // PADDING
    return min(-(-_QUADS * words // PADDING) * PADDING, _MOST_THREADS)


def shared_bytes(num_visible: int, num_hidden: int, threads: int, has_groups: bool) -> int:
    """Return how much shared memory a thread block needs.

    The function lay_out in gibbs.cu does the same arithmetic.

    Parameters
    ----------
    num_visible, num_hidden
        Number of units of each layer.
    threads
        Threads of a thread block.
    has_groups
        Whether there are softmax groups of visible units.

    Returns
    -------
    int
        Bytes.
    """
    visible, hidden = (padded(units) // PADDING for units in (num_visible, num_hidden))
    most = max(visible, hidden)
    words = 1 + 4 * visible + hidden + _QUADS * most + PADDING * most + (num_visible if has_groups else 0)
    return 8 * threads + 4 * words
