"""Flags made from dataclasses of settings, and the command line of the two training scripts."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any, Callable, Mapping, Sequence, TypeVar

from gluon_rbm.cli.arguments import (
    DefaultsFormatter,
    OneLineParser,
    above_zero,
    at_least,
    finite,
    path,
    positive_share,
    share,
)
from gluon_rbm.data.datasets import NAMES
from gluon_rbm.training import optimization
from gluon_rbm.training.binary_settings import PRESETS, BinarySettings

__all__ = ["NUMBERS", "add_dataset_of_run", "add_fields", "add_settings", "parse", "settings_of"]

#: Functions that convert the text of a flag, by the argument `number` of
#: `gluon_rbm.training.settings.setting`.
NUMBERS: Mapping[str, Callable[[str], Any]] = {
    "count": at_least(1, int),
    "at least 2": at_least(2, int),
    "natural": at_least(0, int),
    "amount": at_least(0.0, float),
    "fraction": share,
    "positive": above_zero,
    "finite": finite,
    "positive fraction": positive_share,
    "path": path,
}

_Settings = TypeVar("_Settings")


class _Switch(argparse.Action):
    """A flag that sets a field to a value.

    With `asked`, the field NAME_asked gets the value, too: it tells a user's choice from a default.
    """

    def __init__(self, option_strings: Sequence[str], dest: str, asked: bool = False, **settings: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, **settings)
        self._asked = asked

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        setattr(namespace, self.dest, self.const)
        if self._asked:
            setattr(namespace, self.dest + "_asked", self.const)


def add_settings(parser: Any, kind: type) -> None:
    """Give a parser the flags of a dataclass of settings, under the headings of its fields.

    Parameters
    ----------
    parser
        The parser.
    kind
        A dataclass. Its fields were made by `gluon_rbm.training.settings.setting`; a field without
        a help text gets no flag.
    """
    groups: dict[str | None, Any] = {None: parser}
    fields = {field.name: field for field in dataclasses.fields(kind)}
    for name, field in fields.items():
        if field.metadata["help"] is None:
            parser.set_defaults(**{name: field.default})
            continue
        heading = field.metadata["group"]
        if heading not in groups:
            groups[heading] = parser.add_argument_group(heading)
        _add(groups[heading].add_argument, field, name + "_asked" in fields)


def add_fields(add: Callable[..., Any], kind: type, *names: str) -> None:
    """Give a parser the flags of some or all fields of a dataclass of settings.

    Parameters
    ----------
    add
        The method add_argument of the parser.
    kind
        The dataclass, as in `add_settings`.
    *names
        Names of the fields; without names, all fields.
    """
    for field in dataclasses.fields(kind):
        if not names or field.name in names:
            _add(add, field)


def _add(add: Callable[..., Any], field: Any, asked: bool = False) -> None:
    """Add the flag of a field, or its switches."""
    has_default = field.default is not dataclasses.MISSING
    default = field.default if has_default else field.default_factory()
    switches = field.metadata["switches"]
    for flag, (value, text) in (switches or {}).items():
        add(flag, action=_Switch, dest=field.name, const=value, default=default, help=text, asked=asked)
    if switches:
        return
    given = {"dest": field.name, "default": default, **field.metadata["argument"]}
    if default is False:
        given["action"] = "store_true"
    elif field.metadata["number"]:
        given["type"] = NUMBERS[field.metadata["number"]]
    add("--" + field.name.replace("_", "-"), help=field.metadata["help"], **given)
    if field.metadata["aliases"]:  # old names of the flag, which still work
        add(*field.metadata["aliases"], help=argparse.SUPPRESS, **given)


def settings_of(kind: type[_Settings], namespace: argparse.Namespace) -> _Settings:
    """Return the settings in the arguments that a parser with `add_settings` has read.

    Parameters
    ----------
    kind
        The dataclass of settings.
    namespace
        The parsed arguments, with all fields of the dataclass.

    Returns
    -------
    object of `kind`
        The settings.
    """
    names = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    return kind(**{name: getattr(namespace, name) for name in names})


def add_dataset_of_run(add: Callable[..., Any]) -> None:
    """Add the flags of a data set, which is by default the data set of the run.

    `gluon_rbm.cli.recorded.settle` fills in the defaults.

    Parameters
    ----------
    add
        The method add_argument of a parser.
    """
    names = ", ".join(NAMES)
    add(
        "--dataset",
        type=path,
        metavar="NAME",
        help="data set: %s, or a .npy, .npz or .fasta file; by default that of the run, else mnist" % names,
    )
    add("--data-dir", type=path, metavar="FOLDER", help="folder of the data set; by default that of the run")
    add(
        "--image-size",
        type=at_least(1, int),
        nargs=2,
        metavar=("HEIGHT", "WIDTH"),
        help="resize all images to this size; by default that of the run",
    )


# --- The two scripts ------------------------------------------------------------------------------


def parse(argv: Sequence[str] | None, prog: str) -> BinarySettings:
    """Read the settings in the command line of a training script.

    Parameters
    ----------
    argv
        The command line; None: that of the process.
    prog
        The name of the program in messages.

    Returns
    -------
    BinarySettings
        The settings. Their field cuda_asked is None unless --cuda or --no-cuda was given.
    """
    parser = OneLineParser(
        prog=prog,
        description="Train a binary restricted Boltzmann machine (RBM), by default on MNIST",
        formatter_class=DefaultsFormatter,
    )
    add_settings(parser, BinarySettings)
    args = parser.parse_args(argv)
    if args.preset:
        parser.set_defaults(**PRESETS[args.preset])
        args = parser.parse_args(argv)
    _check(parser, args)
    return settings_of(BinarySettings, args)


def _check(parser: OneLineParser, args: argparse.Namespace) -> None:
    """Exit with an error for settings that do not go together."""
    if args.num_devices > args.batch_size:
        parser.error(
            "--num-devices %d is more than --batch-size %d: give fewer devices" % (args.num_devices, args.batch_size)
        )
    if args.early_stopping and not args.held_out:
        parser.error("--early-stopping needs held-out images: give --held-out")
    if args.objective != "generative" and not args.labels:
        parser.error("--objective %s needs labels: give --labels" % args.objective)
    if args.initial_momentum_epochs and not optimization.has_momentum(args.optimizer):
        parser.error("--optimizer %s has no momentum: leave out --initial-momentum-epochs" % args.optimizer)
