"""Errors a user can do something about: one line each, and an exit status for the scripts."""

__all__ = ["InputError", "DivergenceError"]


class InputError(ValueError):
    """Something given by the user cannot be used; the message is one line that says what to do."""

    exit_status = 2


class DivergenceError(InputError):
    """Training produced numbers that are not finite."""

    exit_status = 3
