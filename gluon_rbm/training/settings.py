"""Settings as dataclasses: flags, arguments.json and the check of --resume follow from the fields.

A field made by `setting` holds its default, its help text, the numbers that it accepts, and
whether a resumed run may change it. `gluon_rbm.cli.options` makes flags of the fields. This module
does not deal with command lines.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Mapping, Sequence

from gluon_rbm.data.datasets import NAMES
from gluon_rbm.sampling.gibbs import ENGINES
from gluon_rbm.training.optimization import SCHEDULES

__all__ = [
    "cuda",
    "data_dir",
    "data_loader_num_worker",
    "dataset",
    "device_id",
    "engine",
    "held_out",
    "hold",
    "image_size",
    "learning_rate_schedule",
    "mirror",
    "output_dir",
    "preset",
    "record",
    "resumable",
    "resume",
    "seed",
    "setting",
    "tensorboard",
]


def setting(
    default: Any,
    help: str | None,
    *,
    number: str | None = None,
    group: str | None = None,
    resumable: bool = False,
    recorded: bool = True,
    switches: Mapping[str, Any] | None = None,
    aliases: Sequence[str] = (),
    **argument: Any,
) -> Any:
    """Make a field of a dataclass of settings.

    Parameters
    ----------
    default
        Default value. Each object gets its own copy of a list.
    help
        Help text of the flag; None: the field has no flag.
    number
        Which values are valid: a name in `gluon_rbm.cli.options.NUMBERS`; None: any text.
    group
        Heading of the help text that the flag stands under; None: the first one.
    resumable
        Whether a resumed run may have another value, because the result of learning does not
        depend on it.
    recorded
        Whether arguments.json holds the value.
    switches
        Flags that each set the field to one value: flag -> (value, help text). They replace the
        flag with the field's name.
    aliases
        Further names of the flag.
    **argument
        Further arguments for argparse: choices, nargs, const, metavar.

    Returns
    -------
    dataclasses.Field
        The field.
    """
    metadata = {
        "help": help,
        "number": number,
        "group": group,
        "resumable": resumable,
        "recorded": recorded,
        "switches": switches,
        "aliases": aliases,
        "argument": argument,
    }
    if isinstance(default, list):
        return dataclasses.field(default_factory=lambda: list(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def record(settings: Any) -> dict[str, Any]:
    """Return the settings that arguments.json holds.

    Parameters
    ----------
    settings
        A dataclass object with fields made by `setting`.

    Returns
    -------
    dict
        Name -> value of each recorded field.
    """
    return {
        field.name: getattr(settings, field.name)
        for field in dataclasses.fields(settings)
        if field.metadata["recorded"]
    }


def resumable(settings: Any) -> list[str]:
    """Return the names of the fields that a resumed run may change.

    Parameters
    ----------
    settings
        A dataclass object with fields made by `setting`.

    Returns
    -------
    list of str
        Names, in the order of the fields.
    """
    return [field.name for field in dataclasses.fields(settings) if field.metadata["resumable"]]


# --- Settings of every kind of run ----------------------------------------------------------------


def dataset(group: str | None = None) -> Any:
    """Make the field for --dataset.

    Parameters
    ----------
    group
        As in `setting`.

    Returns
    -------
    dataclasses.Field
        A name or path of a data set.
    """
    # Resumable, because a resumed run compares the content of the data set, not its name.
    names = ", ".join(NAMES)
    text = "%s; or a file: .npy or .npz with images in [0, 1] or of bytes, or FASTA with aligned sequences" % names
    return setting("mnist", text, number="path", group=group, resumable=True)


def data_dir(group: str | None = None) -> Any:
    """Make the field for --data-dir.

    Parameters
    ----------
    group
        As in `setting`.

    Returns
    -------
    dataclasses.Field
        A path, or None.
    """
    text = "folder of the data set; by default $MXNET_RBM_DATA, else $MXNET_HOME/datasets, else it is downloaded"
    return setting(None, text, number="path", group=group, resumable=True)


def image_size(group: str | None = None) -> Any:
    """Make the field for --image-size.

    Parameters
    ----------
    group
        As in `setting`.

    Returns
    -------
    dataclasses.Field
        Height and width in pixels, or None.
    """
    text = "resize all images to cover this size, and crop them at the centre"
    return setting(None, text, number="count", group=group, nargs=2, metavar=("HEIGHT", "WIDTH"))


def seed(group: str | None = None) -> Any:
    """Make the field for --seed.

    Parameters
    ----------
    group
        As in `setting`.

    Returns
    -------
    dataclasses.Field
        A whole number, at least 0.
    """
    return setting(0, "random seed; the same seed gives the same result", number="natural", group=group)


def output_dir(group: str | None = None) -> Any:
    """Make the field for --output-dir.

    Parameters
    ----------
    group
        As in `setting`.

    Returns
    -------
    dataclasses.Field
        A path, or None.
    """
    text = "run folder; by default a new folder under runs/, or with --resume the one of them that was trained last"
    return setting(None, text, number="path", group=group, resumable=True)


def resume(group: str | None = None) -> Any:
    """Make the field for --resume.

    Parameters
    ----------
    group
        As in `setting`.

    Returns
    -------
    dataclasses.Field
        True or False.
    """
    text = "continue the run in the run folder from its checkpoint, with its settings; no other flag is needed"
    return setting(False, text, group=group, resumable=True)


def tensorboard(group: str | None = None) -> Any:
    """Make the field for --tensorboard.

    Parameters
    ----------
    group
        As in `setting`.

    Returns
    -------
    dataclasses.Field
        True or False.
    """
    text = "write data for TensorBoard into the run folder after each epoch"
    return setting(False, text, group=group, resumable=True)


def cuda() -> Any:
    """Make the field for --cuda and --no-cuda.

    Returns
    -------
    dataclasses.Field
        True, False, or None where neither flag is given.
    """
    switches = {"--cuda": (True, "compute on the GPU"), "--no-cuda": (False, "compute on the CPU")}
    return setting(None, "compute on the GPU, or on the CPU", resumable=True, switches=switches)


def device_id() -> Any:
    """Make the field for --device-id.

    Returns
    -------
    dataclasses.Field
        A whole number, at least 0.
    """
    return setting(0, "GPU device id", number="natural", resumable=True)


def engine(group: str | None = None) -> Any:
    """Make the field for --engine.

    Parameters
    ----------
    group
        As in `setting`.

    Returns
    -------
    dataclasses.Field
        One of the engines of `gluon_rbm.sampling.gibbs`.
    """
    text = (
        "engine of the Gibbs chains: native: C code, on a CPU; cuda: CUDA kernels, on a GPU, for binary units; mxnet: "
        "MXNet's operators; auto: native on a CPU and cuda on a GPU if possible, else mxnet"
    )
    return setting("auto", text, group=group, choices=ENGINES)


def data_loader_num_worker() -> Any:
    """Make the field for --data-loader-num-worker.

    Returns
    -------
    dataclasses.Field
        A number of threads, at least 0.
    """
    return setting(4, "number of threads that prepare batches in advance", number="natural", resumable=True)


def mirror() -> Any:
    """Make the field for --mirror.

    Returns
    -------
    dataclasses.Field
        True or False.
    """
    return setting(False, "swap left and right of half of the training images, chosen at random at each use")


def held_out(group: str | None = None) -> Any:
    """Make the field for --held-out.

    Parameters
    ----------
    group
        As in `setting`.

    Returns
    -------
    dataclasses.Field
        A number of images, at least 0.
    """
    text = "hold out the last N training images and monitor them; evaluate the test images after the last epoch only"
    return setting(0, text, number="natural", group=group, metavar="N")


def learning_rate_schedule(group: str | None = None) -> Any:
    """Make the field for --learning-rate-schedule.

    Parameters
    ----------
    group
        As in `setting`.

    Returns
    -------
    dataclasses.Field
        "constant" or "linear".
    """
    text = (
        "constant: the rate stays the same; linear: after a fraction of the run (--hold), it decreases linearly to zero"
    )
    return setting("constant", text, group=group, choices=SCHEDULES)


def hold(group: str | None = None) -> Any:
    """Make the field for --hold.

    Parameters
    ----------
    group
        As in `setting`.

    Returns
    -------
    dataclasses.Field
        A fraction of the run, in [0, 1).
    """
    text = "fraction of the run before the linear schedule starts to decrease the rate"
    return setting(0.3, text, number="fraction", group=group)


def preset(names: Sequence[str], text: str, group: str | None = None) -> Any:
    """Make the field for --preset.

    Parameters
    ----------
    names
        Names of the presets.
    text
        Help text of the flag.
    group
        As in `setting`.

    Returns
    -------
    dataclasses.Field
        One of `names`, or None.
    """
    return setting(None, text, group=group, choices=names)
