"""Arguments of command lines: a parser that reports errors in one line, and checked numbers."""

from __future__ import annotations

import argparse
from typing import Any, Callable, NoReturn, Sequence

from gluon_rbm.errors import did_you_mean, one_line

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

_FLOAT32_MAX = 3.4e38  # the largest number that MXNet's optimizers take


class OneLineParser(argparse.ArgumentParser):
    """A parser that reports an error in one line, with the flag that a wrong flag resembles."""

    def error(self, message: str) -> NoReturn:
        """Print an error in one line, and exit with status 2.

        Parameters
        ----------
        message
            What is wrong.
        """
        self.exit(2, one_line("%s: error: %s (see --help)" % (self.prog, message)) + "\n")

    def refuse(self, unknown: Sequence[str]) -> NoReturn:
        """Print which arguments are unknown and which flag was perhaps meant; exit with status 2.

        Parameters
        ----------
        unknown
            The arguments, of which there is at least one.
        """
        flags = list(self._option_string_actions)
        guesses = (did_you_mean(flag.partition("=")[0], flags) for flag in unknown if flag[:1] == "-")
        self.error("; ".join(["unrecognized arguments: " + " ".join(unknown), *list(filter(None, guesses))[:1]]))

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse arguments as argparse does, and `refuse` those that are unknown.

        Parameters
        ----------
        args
            The arguments; by default those of the process.
        namespace
            The object that receives them; by default a new one.

        Returns
        -------
        Namespace
            The values.
        """
        namespace, unknown = self.parse_known_args(args, namespace)
        if unknown:
            self.refuse(unknown)
        return namespace


class DefaultsFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """A formatter of help texts that shows a default if it is informative.

    It shows no None, no empty list and no default of a switch.
    """

    def _get_help_string(self, action: argparse.Action) -> str | None:
        says_nothing = action.default is None or action.default == [] or isinstance(action.default, bool)
        return action.help if says_nothing else super()._get_help_string(action)


def number(kind: type, sound: Callable[[Any], bool], expected: str) -> Callable[[str], Any]:
    """Return a function that converts the text of an argument to a number, and checks it.

    Parameters
    ----------
    kind
        The type of the number: int or float.
    sound
        Whether a number is allowed. NaN must fail.
    expected
        Which numbers are allowed, in words.

    Returns
    -------
    callable
        From a text to the number; the type of an argument in argparse.
    """

    def convert(text: str) -> Any:
        value = kind(text)
        if not sound(value):  # NaN must fail, too
            raise argparse.ArgumentTypeError("it must be %s, not %s" % (expected, text))
        return value

    convert.__name__ = kind.__name__  # argparse names it when the text is not a number
    return convert


def at_least(lowest: float, kind: type) -> Callable[[str], Any]:
    """Return a converter of texts, as `number` does, to numbers of at least `lowest`.

    Parameters
    ----------
    lowest
        The smallest allowed number.
    kind
        The type: int for whole numbers below 2^31; float for numbers below 3.4e38, the largest
        float32.

    Returns
    -------
    callable
        From a text to the number.
    """
    limit, noun = (2**31, "a whole number") if kind is int else (_FLOAT32_MAX, "a number")
    expected = "%s of at least %g and below %s" % (noun, lowest, "2^31" if kind is int else "%g" % limit)
    return number(kind, lambda value: lowest <= value < limit, expected)


def path(text: str) -> str:
    """Check that a path or name is not empty.

    Parameters
    ----------
    text
        The path or name.

    Returns
    -------
    str
        The same text.
    """
    if not text:
        raise argparse.ArgumentTypeError("must not be empty; give a path or name, or omit it")
    return text


share = number(float, lambda value: 0 <= value < 1, "a number of at least 0 and below 1")
positive_share = number(float, lambda value: 0 < value < 1, "a number above 0 and below 1")
above_zero = number(float, lambda value: 0 < value < _FLOAT32_MAX, "a number above 0 and below %g" % _FLOAT32_MAX)
finite = number(float, lambda value: abs(value) < _FLOAT32_MAX, "a number between -%g and %g" % (2 * (_FLOAT32_MAX,)))
