"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from typing import Any, Iterator

from gluon_rbm.backend.types import Path
from gluon_rbm.errors import InputError

__all__ = ["check_writable", "dump_json", "write_json", "write_whole"]


@contextlib.contextmanager
def write_whole(path: Path, option: str = "--output-dir") -> Iterator[str]:
    """Write a file whole or not at all, in a context manager.

    The block writes to a temporary path. That file takes the place of `path` if the block ends
    well.

    Parameters
    ----------
    path
        The file to write. If the block raises, it stays as it is, or absent.
    option
        The command-line option that sets the path; error messages name it.

    Yields
    ------
    str
        The path of a temporary file in the same folder.

    Raises
    ------
    InputError
        The folder or the file cannot be written, or the block raises an OSError.
    """
    temporary = _temporary_beside(path, option)
    try:
        yield temporary
        _flush_to_disk(temporary)
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        reason = error.strerror or error
        raise InputError("cannot write %s (%s); see to it, or choose another %s" % (path, reason, option)) from error
    finally:
        with contextlib.suppress(OSError):  # it was renamed, or another program removed it
            os.remove(temporary)


def write_json(path: Path, content: Any, option: str = "--output-dir", *, sort_keys: bool = False) -> None:
    """Write a JSON file, whole or not at all.

    Parameters
    ----------
    path
        The file to write, as in `write_whole`.
    content
        As in `dump_json`.
    option
        As in `write_whole`.
    sort_keys
        As in `dump_json`.

    Raises
    ------
    InputError
        As in `write_whole`.
    ValueError
        As in `dump_json`.
    """
    with write_whole(path, option) as temporary:
        dump_json(temporary, content, sort_keys=sort_keys)


def dump_json(path: Path, content: Any, *, sort_keys: bool = False) -> None:
    """Write JSON to a file, indented by 2, with a newline at the end.

    Parameters
    ----------
    path
        The file, such as `write_whole` yields it.
    content
        Dictionaries, lists, texts, numbers and so on, as json.dump takes them.
    sort_keys
        Whether to write the keys of a dictionary in alphabetical order.

    Raises
    ------
    ValueError
        A number is not finite; JSON cannot express it.
    """
    with open(path, "w", encoding="utf-8") as file:
        json.dump(content, file, indent=2, allow_nan=False, sort_keys=sort_keys)
        file.write("\n")


def _flush_to_disk(path: str) -> None:
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _temporary_beside(path: Path, option: str) -> str:
    folder, name = os.path.split(os.path.abspath(path))
    if os.path.isdir(path or os.curdir):
        raise InputError("cannot write %s (it is a folder); choose another %s" % (path, option))
    if os.path.exists(path) and not os.path.isfile(path):  # a device, which the file would replace
        raise InputError("cannot write %s (it is no ordinary file); choose another %s" % (path, option))
    try:
        handle, temporary = tempfile.mkstemp(prefix="." + name + ".", suffix=".part", dir=folder)
        os.close(handle)
    except OSError as error:
        raise InputError("cannot write in %s (%s); choose another %s" % (folder, error.strerror, option)) from error
    return temporary


def check_writable(path: Path, option: str) -> None:
    """Check that `write_whole` could begin to write a file.

    Parameters
    ----------
    path, option
        As in `write_whole`.

    Raises
    ------
    InputError
        The folder or the file cannot be written.
    """
    os.remove(_temporary_beside(path, option))
