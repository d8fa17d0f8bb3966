"""Modules that are imported when they are used.

This module uses the standard library only.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, Callable

__all__ = ["LazyModule"]


class LazyModule(ModuleType):
    """Stands for a module: calls `load`, which imports and returns it, whenever one of its attributes is asked for.

    Python's `importlib.util.LazyLoader` is not safe among threads before Python 3.12, nor after an import that failed.
    """

    def __init__(self, name: str, load: Callable[[], Any]) -> None:
        super().__init__(name)
        self._load = load

    def __getattr__(self, name: str) -> Any:
        return getattr(self._load(), name)
