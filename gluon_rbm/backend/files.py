"""Files that are written whole or not at all."""

import contextlib
import json
import os
import tempfile

from gluon_rbm.errors import InputError

__all__ = ["check_writable", "write_json", "write_whole"]


@contextlib.contextmanager
def write_whole(path, option="--output-dir"):
    """A path to write to, which takes the place of `path` at once when the block ends well, and never before.

    Raises InputError when the folder cannot be written; `option` is what the user chooses it with.
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
        with contextlib.suppress(FileNotFoundError):
            os.remove(temporary)


def write_json(path, content, option="--output"):
    """Write what JSON can say to a file, which is written whole or not at all, as `write_whole` does."""
    with write_whole(path, option) as temporary, open(temporary, "w", encoding="utf-8") as file:
        json.dump(content, file, indent=2, allow_nan=False)
        file.write("\n")


def _flush_to_disk(path):
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _temporary_beside(path, option):
    folder, name = os.path.split(os.path.abspath(path))
    if os.path.isdir(path or os.curdir):
        raise InputError("cannot write %s (it is a folder); choose another %s" % (path, option))
    if os.path.exists(path) and not os.path.isfile(path):  # a file would take the place of the device
        raise InputError("cannot write %s (it is no ordinary file); choose another %s" % (path, option))
    try:
        handle, temporary = tempfile.mkstemp(prefix="." + name + ".", suffix=".part", dir=folder)
        os.close(handle)
    except OSError as error:
        raise InputError("cannot write in %s (%s); choose another %s" % (folder, error.strerror, option)) from error
    return temporary


def check_writable(path, option):
    """InputError if `write_whole` could not begin there."""
    os.remove(_temporary_beside(path, option))
