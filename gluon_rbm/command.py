"""What every command line here shares: errors in one line, numbers that are checked, exit statuses."""

import argparse
import sys

from gluon_rbm.errors import InputError
from gluon_rbm.framework import mx

__all__ = ["OneLineParser", "above_zero", "at_least", "exit_status", "finite", "share"]

_FLOAT32_MAX = 3.4e38  # what MXNet's optimizers take


class OneLineParser(argparse.ArgumentParser):
    """An `ArgumentParser` whose errors are one line."""

    def error(self, message):
        self.exit(2, "%s: error: %s (see --help)\n" % (self.prog, message))


def _number(kind, sound, expected):
    """A `type` for `add_argument`: numbers of a kind that are `sound`, which means what `expected` says."""

    def convert(text):
        value = kind(text)
        if not sound(value):  # NaN is to fail, too
            raise argparse.ArgumentTypeError("%s is not %s" % (text, expected))
        return value

    convert.__name__ = kind.__name__  # what argparse calls it when the text is no number at all
    return convert


def at_least(lowest, kind):
    """A `type` for `add_argument`: an int below 2^31, or a finite float, of at least `lowest`."""
    limit, noun = (2**31, "a whole number below 2^31") if kind is int else (_FLOAT32_MAX, "a finite number")
    return _number(kind, lambda value: lowest <= value < limit, "%s and at least %s" % (noun, lowest))


share = _number(float, lambda value: 0 <= value < 1, "a number of at least 0 and below 1")
above_zero = _number(float, lambda value: 0 < value < _FLOAT32_MAX, "a finite number above 0")
finite = _number(float, lambda value: abs(value) < _FLOAT32_MAX, "a finite number")


def exit_status(prog, action, interrupted="interrupted"):
    """Call action() and return the process's exit status: 0; 2 for unusable input; 3 for divergence; 130."""
    try:
        action()
    except InputError as error:
        print("%s: error: %s" % (prog, error), file=sys.stderr)
        return error.exit_status
    except MemoryError:
        print("%s: error: not enough memory; choose smaller sizes" % prog, file=sys.stderr)
        return InputError.exit_status
    except mx.MXNetError as error:  # MXNet hands on nothing of an operator's own error but this, and prints that itself
        print("%s: error: MXNet failed (%s); see above" % (prog, str(error).strip().splitlines()[-1]), file=sys.stderr)
        return InputError.exit_status
    except KeyboardInterrupt:
        print("%s: %s" % (prog, interrupted), file=sys.stderr)
        return 130
    return 0
