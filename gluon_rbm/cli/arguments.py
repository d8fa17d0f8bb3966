"""Arguments of command lines: a parser whose errors are one line, and numbers that are checked."""

from __future__ import annotations

import argparse
from typing import Any, Callable, NoReturn

from gluon_rbm.errors import one_line

__all__ = [
    "DefaultsFormatter",
    "OneLineParser",
    "above_zero",
    "at_least",
    "finite",
    "number",
    "path",
    "positive_share",
    "share",
]

_FLOAT32_MAX = 3.4e38  # what MXNet's optimizers take


class OneLineParser(argparse.ArgumentParser):
    """An `ArgumentParser` whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, one_line("%s: error: %s (see --help)" % (self.prog, message)) + "\n")


class DefaultsFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Help texts with the defaults that say something: no None, no empty list, nothing for a switch."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        says_nothing = action.default is None or action.default == [] or isinstance(action.default, bool)
        return action.help if says_nothing else super()._get_help_string(action)


def number(kind: type, sound: Callable[[Any], bool], expected: str) -> Callable[[str], Any]:
    """A `type` for `add_argument`: texts to numbers of a kind that are `sound`, which means what `expected` says."""

    def convert(text: str) -> Any:
        value = kind(text)
        if not sound(value):  # NaN is to fail, too
            raise argparse.ArgumentTypeError("%s is not %s" % (text, expected))
        return value

    convert.__name__ = kind.__name__  # what argparse calls it when the text is no number at all
    return convert


def at_least(lowest: float, kind: type) -> Callable[[str], Any]:
    """A `type`: an int below 2^31, or a float below 3.4e38, the largest float32; of at least `lowest`."""
    limit, noun = (2**31, "a whole number") if kind is int else (_FLOAT32_MAX, "a number")
    expected = "%s below %s and at least %s" % (noun, "2^31" if kind is int else "%g" % limit, lowest)
    return number(kind, lambda value: lowest <= value < limit, expected)


def path(text: str) -> str:
    """A `type`: a path, or a name, that is not empty."""
    if not text:
        raise argparse.ArgumentTypeError("it is empty; give a path, or leave it out")
    return text


share = number(float, lambda value: 0 <= value < 1, "a number of at least 0 and below 1")
positive_share = number(float, lambda value: 0 < value < 1, "a number above 0 and below 1")
above_zero = number(float, lambda value: 0 < value < _FLOAT32_MAX, "a number above 0 and below %g" % _FLOAT32_MAX)
finite = number(float, lambda value: abs(value) < _FLOAT32_MAX, "a number between -%g and %g" % (2 * (_FLOAT32_MAX,)))
