"""Rows of the table: mirrors that fail, and harmful folders of images."""

import contextlib
import gzip
import os

import numpy as np
from children import check, drop_rights, run, scratch
from PIL import Image
from published_files import IDX_NAMES, Server, bomb, idx_bytes, sha256

import binary_rbm_gluon
from gluon_rbm import __main__
from gluon_rbm.data import datasets, downloads


def mirrors(times, generator):
    """A local server fails in 8 ways. The next mirror is tried, and no partial file is left."""
    arrays = [np.zeros((5, 4, 3), np.uint8), np.zeros(5, np.uint8), np.ones((3, 4, 3), np.uint8), np.ones(3, np.uint8)]
    contents = {name: idx_bytes(array) for name, array in zip(IDX_NAMES, arrays)}
    archives = {name: gzip.compress(content) for name, content in contents.items()}
    server = Server()
    kinds = ("absent", "cut", "wrong", "bomb", "redirected", "astray", "endless", "slow")
    server.locations = {"astray": "http://[::1"}
    server.folders = {"good": archives, "cut": archives}
    server.folders["wrong"] = dict.fromkeys(archives, gzip.compress(b"something else"))
    server.folders["bomb"] = dict.fromkeys(archives, gzip.compress(bytes(1 << 29)))
    server.cut, server.redirected, server.endless, server.slow = {"cut"}, {"redirected"}, {"endless"}, {"slow"}
    downloads._GRACE_SECONDS = 1
    try:
        for kind in kinds:
            for mirrors in ([kind, "good"], [kind]):
                with scratch() as place:
                    ended = run(lambda m=mirrors, p=place: _load([server.mirror(each) for each in m], contents, p), 120)
                    check(ended.status == (0 if "good" in mirrors else 2), kind, ended.status, ended.errors)
                    if ended.status:
                        check("cannot download" in ended.line(), ended.line())
                    left = sorted(os.listdir(place))
                    check(left == (sorted(archives) if "good" in mirrors else []), "left:", left)
    finally:
        server.closed = True
        server.http.shutdown()
        server.http.server_close()
    return 2 * len(kinds), "%s: refused, and fetched from the mirror after it" % ", ".join(kinds)


def _load(mirrors, contents, folder):
    downloads.SOURCES["mnist"] = [
        downloads.RemoteFile(name, mirrors, "0" * 64, sha256(content)) for name, content in contents.items()
    ]
    os.environ.update(NO_PROXY="127.0.0.1", MXNET_HOME=str(folder / "home"))
    os.environ.pop("MXNET_RBM_DATA", None)
    from gluon_rbm.cli.command import exit_status

    def load():
        data = datasets.load("mnist", str(folder), progress=False)
        check(data.train_images.shape == (5, 4, 3), "another data set")

    return exit_status("load", load)


def _hostile(folder, outside):
    """Put untrustworthy files into a folder. Returns those that must be reported, by name."""
    Image.new("L", (8, 8), 7).save(outside / "secret.png")
    bad = {
        "out.png": lambda path: path.symlink_to(outside / "secret.png"),
        "passwd.png": lambda path: path.symlink_to("/etc/passwd"),
        "bomb.png": lambda path: path.write_bytes(bomb(30000)),
        "large-bomb.png": lambda path: path.write_bytes(bomb(2**31 - 1)),
        "empty.png": lambda path: path.write_bytes(b""),
        "program.png": lambda path: path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n"),
        "two\nlines.png": lambda path: path.write_bytes(b"no image"),
        "\x1b[2J.png": lambda path: path.write_bytes(b"no image"),
        os.fsdecode(b"no\xfftext.png"): lambda path: path.write_bytes(b"no image"),
        "--help.png": lambda path: path.write_bytes(b"no image"),
    }
    passed_over = {
        "pipe.png": os.mkfifo,
        "circle.png": lambda path: path.symlink_to("circle.png"),
        "folder.png": lambda path: path.mkdir(),
        ".hidden.png": lambda path: path.write_bytes(b"no image"),
        "notes.txt": lambda path: path.write_bytes(b"no image"),
    }
    for name, make in {**bad, **passed_over}.items():
        make(folder / name)
    with contextlib.suppress(OSError):  # only root may do this, and not everywhere
        os.mknod(folder / "zero.png", 0o20666, os.makedev(1, 5))  # /dev/zero
    return bad


def images(times, generator):
    """Bombs, links out of the folder, pipes, devices, odd names, unreadable files, other files."""
    with scratch() as place:
        folder, outside = place / "images", place / "outside"
        for each in (folder / "a", outside):
            each.mkdir(parents=True)
        for index in range(40):
            pixels = generator.integers(0, 256, (8, 8), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "a" / ("%02d.png" % index))
        bad = _hostile(folder / "a", outside)
        common = ["--dataset", "image-folder", "--data-dir", str(folder), "--no-cuda", "--num-epoch", "1"]
        lenient = ["train-multinary", *common, "--image-size", "8", "8", "--dense", "3", "--batch-size", "8"]
        ended = run(lambda: __main__.main([*lenient, "--output-dir", str(place / "lenient")]), 120)
        check(ended.status == 0, ended.errors)
        said = [line for line in ended.said.splitlines() if "cannot be read as an image" in line]
        check(len(said) == len(bad) and all(line.isprintable() for line in said), ended.said)
        check("%d images skipped" % len(bad) in ended.said, ended.said)
        alone = 0
        for name in bad:
            for other in bad:  # leave one of them in the folder
                path = folder / "a" / other
                if other != name and (path.exists() or path.is_symlink()):
                    path.rename(outside / other)
                elif other == name and not (path.exists() or path.is_symlink()):
                    (outside / other).rename(path)
            strict = [*common, "--batch-size", "8", "--output-dir", str(place / "strict")]
            ended = run(lambda s=strict: binary_rbm_gluon.main(s), 120)
            check(ended.status == 2 and ": error: " in ended.line(), repr(name), ended.status, ended.errors)
            check(not (place / "strict").exists(), "a run folder was made")
            alone += 1
        (folder / "a").chmod(0)
        ended = run(lambda: _without_rights([*common, "--output-dir", str(place / "strict")]), 120)
        check(ended.status == 2 and "check its permissions" in ended.line(), ended.errors)
        (folder / "a").chmod(0o755)
    return alone + 2, "left out and named by train-multinary, refused by the scripts"


def _without_rights(arguments):
    drop_rights()
    return binary_rbm_gluon.main(arguments)
