"""Modules that are imported when they are used.

This module uses the standard library only.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, Callable

__all__ = ["LazyModule"]


class LazyModule(ModuleType):
    """A stand-in for a module, which is imported when an attribute of it is used.

    Python's importlib.util.LazyLoader is not safe with several threads before Python 3.12, nor
    after an import that failed.

    Parameters
    ----------
    name
        Name of the module.
    load
        Imports the module and returns it. It is called whenever an attribute is used.
    """

    def __init__(self, name: str, load: Callable[[], Any]) -> None:
        super().__init__(name)
        self._load = load

    def __getattr__(self, name: str) -> Any:
        return getattr(self._load(), name)
