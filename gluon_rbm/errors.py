"""Errors that a user can fix: a message of one line each, and an exit status for the scripts."""

from __future__ import annotations

from typing import Any, Sequence

__all__ = ["InputError", "DivergenceError", "check_count", "did_you_mean", "one_line"]


def one_line(text: object) -> str:
    """Return a text in one line, with escapes for characters that cannot be printed.

    Such characters are line breaks, and undecodable bytes in names of files.

    Parameters
    ----------
    text
        The text, or an object with a text form.

    Returns
    -------
    str
        The printable line.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


class InputError(ValueError):
    """Input from the user cannot be used; the message is one line that says what to do."""

    exit_status = 2

    def __str__(self) -> str:
        return one_line(super().__str__())


class DivergenceError(InputError):
    """Training produced numbers that are not finite, or too large for any unit to use."""

    exit_status = 3


def did_you_mean(word: str, choices: Sequence[str]) -> str:
    """Return a question that names the choice which a word resembles most.

    Parameters
    ----------
    word
        A word that is not among the choices.
    choices
        The words that are allowed.

    Returns
    -------
    str
        Such as "did you mean sample?"; empty if nothing resembles the word.
    """
    import difflib  # only for a wrong word

    meant = difflib.get_close_matches(word, choices, 1)
    return "did you mean %s?" % meant[0] if meant else ""


def check_count(name: str, value: Any, lowest: int = 1) -> int:
    """Return a whole number that was given under a name.

    Parameters
    ----------
    name
        Name of the number in messages.
    value
        A whole number, or its text.
    lowest
        Smallest number that is allowed.

    Returns
    -------
    int
        The number.

    Raises
    ------
    InputError
        The value is not a whole number, or is below `lowest`.
    """
    try:
        number = int(value)
        is_whole = isinstance(value, str) or number == value
    except (TypeError, ValueError, OverflowError):
        number, is_whole = lowest, False
    if not is_whole:
        raise InputError("%s is %r; it must be a whole number of at least %d" % (name, value, lowest))
    if number < lowest:
        raise InputError("%s is %s; it must be at least %d" % (name, value, lowest))
    return number
