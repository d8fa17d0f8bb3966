"""What a launch of the kernels in `gibbs.cu` takes: names and types of arguments, thread blocks, shared memory."""

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

PADDING = 32  #: units of a word; rows of weights are whole words
SHARED_BYTES = 48 * 1024  #: of a thread block, on every card

KERNELS = ("pack", "run", "draw", "redraw", "anneal")

_QUADS = 8  # threads that draw a word
_MOST_THREADS = 512
_TYPES = {"int": np.int32, "float": np.float32, "double": np.float64, "unsigned char": np.uint8}


class Parameter(NamedTuple):
    """A parameter of a kernel."""

    name: str
    dtype: type[np.generic]
    is_array: bool
    is_written: bool


class Device(Protocol):
    """What runs the kernels: a GPU through MXNet or the driver, or, in tests, a CPU."""

    def empty(self, shape: tuple[int, ...], dtype: type[np.generic]) -> Any:
        """An array of the device, of any values."""
        ...

    def array(self, values: Any, dtype: type[np.generic], copy: bool = False) -> Any:
        """Values as an array of the device in C order; a new one with `copy`."""
        ...

    def to_host(self, array: Any) -> Any:
        """An array of the device, or of NumPy, as one of NumPy."""
        ...

    def product(self, state: Any, rows: Any) -> Any:
        """state (chains, units) times rows (units, padded units): an array of the device."""
        ...

    def launch(self, kernel: str, arguments: Sequence[Any], blocks: int, threads: int, shared_bytes: int) -> None:
        """Start a kernel, with the arrays and numbers of `Parameter` in order."""
        ...


@functools.lru_cache(maxsize=None)
def source() -> str:
    """The text of `gibbs.cu`."""
    return (Path(__file__).parent / "gibbs.cu").read_text(encoding="utf-8")


@functools.lru_cache(maxsize=None)
def parameters(kernel: str) -> tuple[Parameter, ...]:
    """The parameters of a kernel, read from the source."""
    found = re.search(r"ENTRY %s\(([^)]*)\)" % kernel, source())
    if not found:
        raise LookupError("gibbs.cu has no kernel %s" % kernel)
    return tuple(_parameter(" ".join(item.split())) for item in found.group(1).split(","))


def _parameter(text: str) -> Parameter:
    const, kind, star, name = re.fullmatch(r"(const )?([a-z ]+?) (\*?)(\w+)", text).groups()  # type: ignore[union-attr]
    return Parameter(name, _TYPES[kind], bool(star), bool(star) and not const)


def padded(units: int) -> int:
    """So many units in whole words."""
    return -(-units // PADDING) * PADDING


def geometry(num_visible: int, num_hidden: int) -> int:
    """How many threads run a chain: whole warps, as many as draw a layer at once, up to 512."""
    words = max(padded(num_visible), padded(num_hidden)) // PADDING
    return min(-(-_QUADS * words // PADDING) * PADDING, _MOST_THREADS)


def shared_bytes(num_visible: int, num_hidden: int, threads: int, has_groups: bool) -> int:
    """What a thread block needs of shared memory: the arithmetic of `lay_out` in gibbs.cu."""
    visible, hidden = (padded(units) // PADDING for units in (num_visible, num_hidden))
    most = max(visible, hidden)
    words = 1 + 4 * visible + hidden + _QUADS * most + PADDING * most + (num_visible if has_groups else 0)
    return 8 * threads + 4 * words
