"""Provoke every fault that docs/reliability.md names: `python tests/faults/run.py`.

Prints the table, and ends with status 1 if a row fails. --write FILE updates the table in a file.
"""

import argparse
import os
import sys
import time
import traceback
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("OMP_NUM_THREADS", "1")
TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS.parent), str(TESTS)]

import ends  # noqa: E402
import files  # noqa: E402
import numpy as np  # noqa: E402
import outside  # noqa: E402

RESUMES = "`--resume` works and ends with the same bits as an uninterrupted run"
ONE_LINE = "exit status 2, one line that says what to do"
SOUND = "refused with one clear line, or read and checked: shapes, finite values, and the hash if the file has one"

# name: (fault, how it is provoked, what must happen, function(times, generator), times)
ROWS = {
    "kill": ("`kill -9` during training and during writing", "a forked child is killed at random moments, and when "
             "its n-th file is half written, written, or just moved to its place; both scripts and `train-multinary`",
             RESUMES + "; no partial file is left", ends.kill, 102),
    "interrupt": ("Ctrl-C and SIGTERM", "sent at random moments; both scripts and `train-multinary`",
                  "a checkpoint of all finished steps, one line, exit status 130 or 143; " + RESUMES,
                  ends.interrupt, 30),
    "interrupt-imports": ("Ctrl-C and SIGTERM during the imports of a script", "sent up to half a second after NumPy "
                          "is imported", "the process ends without a traceback", ends.interrupt_imports, 6),
    "disk-full": ("full disk", "a tmpfs of random size that is too small for the run, and is enlarged afterwards",
                  ONE_LINE + "; then " + RESUMES, ends.disk_full, 12),
    "read-only": ("read-only folder", "mode 555, without root's capabilities",
                  ONE_LINE + "; nothing is changed", ends.read_only, 3),
    "two-runs": ("two runs in one folder", "a second run is started during the first",
                 "the second run: " + ONE_LINE + "; the first run is not disturbed", ends.two_runs, 5),
    "memory": ("a memory limit", "RLIMIT_AS between 2 and 2.5 GiB, with 100 or 800,000 to 4,000,000 hidden units; and "
               "RLIMIT_AS of 512 MiB", ONE_LINE + ", or enough memory; an ImportError at 512 MiB; never a crash",
               ends.memory, 5),
    "flips": ("corrupted files", "1 to 8 random bits are flipped in each kind of file that is read", SOUND,
              files.flips, 10000),
    "truncated": ("truncated files", "each kind of file cut off at a random place", SOUND, files.truncated, 500),
    "foreign": ("foreign files", "each kind of file in the place of every other; empty files, zeros, text, a pickle",
                "refused with one clear line, or read if it is valid in this place", files.foreign, 1),
    "no-code": ("code in files", "pickles that would write a file if they were loaded, alone, in `.npy` and in `.npz`, "
                "in the place of each kind of file", "one clear line; no code runs", files.no_code, 1),
    "mirrors": ("downloads that fail", "a local server that has no file, cuts the file off, sends another file or a "
                "decompression bomb, redirects for ever or to an invalid address, sends without end, or sends slowly",
                "the next mirror is tried; without one, " + ONE_LINE + "; no partial file is left",
                outside.mirrors, 1),
    "images": ("hostile folders of images", "decompression bombs, links out of the folder, pipes, devices, circular "
               "links, line breaks and undecodable bytes in names, empty files, PostScript, an unreadable folder",
               "bad files are left out and named, or " + ONE_LINE + "; nothing outside the folder is read, and nothing "
               "blocks", outside.images, 1),
}  # fmt: skip


HEAD = ["| fault | how it is provoked | what must happen | times | result | seconds |", "| --- " * 6 + "|"]
BEGIN, END = "<!-- table: tests/faults/run.py --write -->", "<!-- end of table -->"


def line(name, times, result, seconds):
    """A line of the table, in Markdown."""
    fault, how, must, _, _ = ROWS[name]
    return "| %s | %s | %s | %s | %s | %.0f |" % (fault, how, must, f"{times:,}", result, seconds)


def provoke(name, share, generator):
    """Run a row. Returns the arguments of `line`, and whether the row holds."""
    _, _, _, function, times = ROWS[name]
    started = time.monotonic()
    try:
        times, result = function(max(1, round(share * times)), generator)
        good, result = True, "as it must be: " + result
    except Exception as error:  # of any kind: the other rows still run
        if type(error).__name__ != "Failure":
            traceback.print_exc()
        good, result = False, "**FAILS**: " + " ".join(str(error).split())[-2000:].replace("|", "/")
    return (name, times, result, time.monotonic() - started), good


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--row", action="append", choices=ROWS, help="only this one; may be repeated")
    parser.add_argument("--share", type=float, default=1, help="of the number of times; at least one each")
    parser.add_argument("--seed", type=int, default=None, help="of what is drawn; by default a new one, which is shown")
    parser.add_argument("--write", metavar="FILE", help="put the rows into the table between its markers in this file")
    args = parser.parse_args(argv)
    seed = int.from_bytes(os.urandom(4), "little") if args.seed is None else args.seed
    print("seed %d" % seed, flush=True)
    found, all_good = [], True
    for name in args.row or ROWS:
        row, good = provoke(name, args.share, np.random.default_rng([seed, list(ROWS).index(name)]))
        found.append(line(*row))
        all_good = all_good and good
        print("%-18s %6.0f s  %s" % (name, row[3], row[2]), flush=True)
        if args.write:
            write(args.write, name, found[-1])
    print("\n".join(["", *HEAD, *found]))
    return 0 if all_good else 1


def write(path, name, text):
    """Replace one line of the table in the file. The other lines stay."""
    before, _, rest = Path(path).read_text(encoding="utf-8").partition(BEGIN)
    old, _, after = rest.partition(END)
    faults = {"| %s |" % ROWS[row][0]: row for row in ROWS}
    lines = {faults[start]: one for one in old.splitlines() for start in faults if one.startswith(start)}
    lines[name] = text
    content = "\n".join(["", *HEAD, *(lines[row] for row in ROWS if row in lines), ""])
    Path(path).write_text(before + BEGIN + content + END + after, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
