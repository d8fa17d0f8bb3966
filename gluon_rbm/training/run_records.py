"""What a run records: its arguments, its metrics, and what they say of the images."""

from __future__ import annotations

import csv
import json
import math
import os
from typing import Any, Mapping

from gluon_rbm.backend import array_files
from gluon_rbm.backend.types import SoftmaxGroups
from gluon_rbm.data.array_sets import guess_shape
from gluon_rbm.data.sequences import groups_of
from gluon_rbm.errors import InputError
from gluon_rbm.models import label_rbm

__all__ = [
    "ARGUMENTS",
    "METRICS",
    "class_names_of",
    "image_shape_of",
    "read_arguments",
    "read_metrics",
    "softmax_groups_of",
]

ARGUMENTS = "arguments.json"
METRICS = "metrics.csv"


def read_metrics(path: str) -> list[dict[str, float]]:
    """Read metrics.csv of a run folder.

    Parameters
    ----------
    path
        Run folder.

    Returns
    -------
    list of dict
        Column -> float for each row, without empty cells. An empty list if there is no such file.

    Raises
    ------
    InputError
        The file cannot be read, or a value is not a finite number.
    """
    try:
        array_files.check_ordinary(os.path.join(path, METRICS), array_files.LARGEST_TEXT)
        with open(os.path.join(path, METRICS), encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        rows = [{name: float(value) for name, value in row.items() if value} for row in rows]
        if not all(math.isfinite(value) for row in rows for value in row.values()):
            raise ValueError("not finite")
        if not all("epoch" in row for row in rows):
            raise ValueError("rows without an epoch")
        return rows
    except (FileNotFoundError, NotADirectoryError):
        return []
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise InputError("%s in %s cannot be read; move it away" % (METRICS, path)) from error


def read_arguments(path: str, name: str = ARGUMENTS) -> dict[str, Any]:
    """Read the arguments that a run recorded in its folder.

    Parameters
    ----------
    path
        Run folder.
    name
        Name of the file.

    Returns
    -------
    dict
        Name -> value. Empty if there is no such file.

    Raises
    ------
    InputError
        The file cannot be read, or a run did not write it.
    """
    file_path = os.path.join(path, name)
    try:
        array_files.check_ordinary(file_path, array_files.LARGEST_TEXT)
        with open(file_path, encoding="utf-8") as file:
            return dict(json.load(file)["arguments"])
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or "a run did not write it"
        raise InputError("%s cannot be read (%s); repair it, or choose another folder" % (file_path, reason)) from error


def image_shape_of(arguments: Mapping[str, Any], num_pixels: int) -> tuple[int, ...]:
    """Return the shape of a run's images.

    Parameters
    ----------
    arguments
        Recorded arguments of the run.
    num_pixels
        Number of pixels of an image, times colours.

    Returns
    -------
    tuple of int
        (height, width) or (height, width, 3). If no shape with `num_pixels` is recorded: a square,
        or else (1, num_pixels).
    """
    shape: Any = arguments.get("image_shape")
    is_shape = isinstance(shape, list) and len(shape) in (2, 3) and all(type(side) is int for side in shape)
    if is_shape and min(shape) > 0 and math.prod(shape) == num_pixels:
        return tuple(shape)
    return guess_shape(num_pixels)


def softmax_groups_of(arguments: Mapping[str, Any], num_visible: int, num_classes: int) -> SoftmaxGroups:
    """Return the softmax groups of a run's visible units.

    Parameters
    ----------
    arguments
        Recorded arguments of the run.
    num_visible
        Number of visible units.
    num_classes
        Number of label units; 0 without labels.

    Returns
    -------
    sequence of (int, int)
        First unit of each group, and the unit after its last one. A group holds the letters of one
        place in a sequence, or the classes of a label.
    """
    if arguments.get("alphabet"):
        return groups_of(*image_shape_of(arguments, num_visible))
    return label_rbm.softmax_groups(num_visible, num_classes)


def class_names_of(arguments: Mapping[str, Any], num_classes: int) -> list[str]:
    """Return the names of a run's classes.

    Parameters
    ----------
    arguments
        Recorded arguments of the run.
    num_classes
        Number of classes.

    Returns
    -------
    list of str
        Recorded names, or "0", "1", ... if none are recorded.
    """
    names: Any = arguments.get("class_names")
    is_names = isinstance(names, list) and len(names) == num_classes and all(isinstance(name, str) for name in names)
    return names if is_names else [str(number) for number in range(num_classes)]
