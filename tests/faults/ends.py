"""Rows of the table: trainings that are killed or interrupted, or lack disk, rights or memory."""

import functools
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from children import LONG_EPOCHS, TRAININGS, Training, check, check_readable, drop_rights, run, scratch

import binary_rbm_gluon
from gluon_rbm import __main__
from gluon_rbm.backend import files
from gluon_rbm.models.files import PARAMETERS

ROOT = Path(binary_rbm_gluon.__file__).parent
_STAGES = ("half written", "written", "in its place")


def kill(times, generator):
    """kill -9 at random moments and during writing. A resumed training ends with the same bits."""
    killed, of = 0, dict.fromkeys(_STAGES, 0)
    for name in TRAININGS:
        with scratch() as place:
            training, folder, here = Training(name, place), None, 0
            while here < -(-times // len(TRAININGS)):
                folder = folder or training.new_folder()
                stage = generator.choice(_STAGES) if generator.random() < 0.4 else None
                if stage:
                    number = int(generator.integers(1, 25))
                    child = training.begin(folder, functools.partial(_die_writing, stage, number))
                else:
                    child = training.begin(folder)
                    time.sleep(generator.random() * training.seconds)
                    child.kill(signal.SIGKILL)
                ended = child.end()
                check(ended.status in (0, -signal.SIGKILL), name, ended.status, ended.errors)
                if ended.status:
                    here += 1
                    of[stage] = of.get(stage, 0) + 1
                    check_readable(folder)
                else:
                    training.check_whole(folder, goes_on=False)
                    folder = None
            if folder:
                training.check_whole(folder)
            killed += here
    aimed = ", ".join("%d with a file %s" % (of[stage], stage) for stage in _STAGES)
    return killed, "%d at random moments, %s; all went on to the same bits" % (of.get(None, 0), aimed)


def _die_writing(stage, number):
    """Make this process kill itself when its n-th file has reached the stage."""
    left, replace, flush = [number], os.replace, files._flush_to_disk

    def die():
        os.kill(os.getpid(), signal.SIGKILL)

    def flush_half(path):
        left[0] -= 1
        if stage == "half written" and left[0] == 0:
            os.truncate(path, os.path.getsize(path) // 2)
            die()
        flush(path)

    def replace_or_die(source, target):
        if stage == "written" and left[0] == 0:
            die()
        replace(source, target)
        if stage == "in its place" and left[0] == 0:
            die()

    files._flush_to_disk, os.replace = flush_half, replace_or_die


def interrupt(times, generator):
    """Ctrl-C and SIGTERM at random moments: one line, exit status 130 or 143.

    A resumed training ends with the same bits.
    """
    counts = {}
    for name in TRAININGS:
        with scratch() as place:
            training, folder = Training(name, place, LONG_EPOCHS), None
            for _ in range(-(-times // len(TRAININGS))):
                folder = folder or training.new_folder()
                number = [signal.SIGINT, signal.SIGTERM][generator.integers(2)]
                child = training.begin(folder)
                time.sleep(0.05 + generator.random() * training.seconds)
                child.kill(number)
                ended = child.end(60)
                check(ended.status in (0, 128 + number), name, ended.status, ended.errors)
                if ended.status:
                    line = ended.line()
                    check(": interrupted" in line, line)
                    where = next((word for word in ("before", "in epoch", "after") if word in line), "while it began")
                    counts[where] = counts.get(where, 0) + 1
                    check_readable(folder)
                else:
                    training.check_whole(folder, goes_on=False)
                    folder = None
            if folder:
                training.check_whole(folder)
    said = {"before": "before a step", "in epoch": "in the middle of an epoch", "after": "between epochs or later"}
    return sum(counts.values()), ", ".join("%d %s" % (n, said.get(where, where)) for where, n in counts.items())


def interrupt_imports(times, generator):
    """Ctrl-C and SIGTERM while a script is imported: no traceback."""
    scripts = [["binary_rbm_gluon.py"], ["binary_rbm_module.py"], ["-m", "gluon_rbm", "sample"]]
    for index in range(times):
        number = [signal.SIGINT, signal.SIGTERM][generator.integers(2)]
        process = subprocess.Popen(
            [sys.executable, "-X", "importtime", *scripts[index % 3]],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        errors = []
        for line in process.stderr:
            errors.append(line)
            if "numpy" in line:
                time.sleep(generator.random() * 0.5)
                process.send_signal(number)
                break
        errors += process.communicate(timeout=60)[1]
        text = "".join(errors)
        check(process.returncode in (-number, 128 + number, 2), process.returncode, text[-300:])
        check("Traceback" not in text, text[-1000:])
    return times, "the process ends, and says nothing"


# --- Disk, rights, memory -------------------------------------------------------------------------


def disk_full(times, generator):
    """A full file system: exit status 2, one line, whole files. With more space the run resumes."""
    with scratch() as place:
        training, disk = Training("binary_rbm_gluon.py", place), place / "disk"
        needed = sum(path.stat().st_size for path in (place / "whole").iterdir())
        disk.mkdir()
        mount = ["mount", "-t", "tmpfs", "tmpfs", str(disk)]
        can_mount = shutil.which("mount") and not subprocess.run(mount, capture_output=True).returncode
        try:
            for index in range(times):
                if can_mount:
                    subprocess.run(["umount", str(disk)], check=True)
                    size = "size=%d" % max(4096, generator.integers(needed))
                    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(disk)], check=True)
                    ended = training.go_on(disk / "run")
                else:
                    limit, disk = int(generator.integers(8000, 20000)), place / ("disk-%d" % index)
                    sizes = limit, resource.getrlimit(resource.RLIMIT_FSIZE)[1]
                    ended = training.go_on(disk / "run", lambda s=sizes: resource.setrlimit(resource.RLIMIT_FSIZE, s))
                check(ended.status == 2, ended.status, ended.errors)
                check("cannot" in ended.line() and "--output-dir" in ended.line(), ended.errors)
                check_readable(disk / "run")
                if can_mount:
                    subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
                training.check_whole(disk / "run")
        finally:
            if can_mount:
                subprocess.run(["umount", str(disk)], check=True)
    return times, "on a tmpfs that is too small" if can_mount else "with a limit on the size of files (RLIMIT_FSIZE)"


def read_only(times, generator):
    """A read-only folder: exit status 2, one line, and nothing is changed."""
    with scratch() as place:
        training, output = Training("binary_rbm_gluon.py", place), place / "output"
        output.mkdir()
        folder = place / "whole"
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
        for path in (folder, output):
            path.chmod(0o555)
        model = str(folder / PARAMETERS)
        sampling = ["sample", model, "--dataset", "bars-and-stripes", "--output", str(output / "picture")]

        def sample():
            drop_rights()
            return __main__.main(sampling)

        for ended in (
            training.go_on(folder, drop_rights),
            training.go_on(output / "run", drop_rights),
            run(sample),
        ):
            check(ended.status == 2, ended.status, ended.errors)
            check("Permission denied" in ended.line() and "choose another" in ended.line(), ended.line())
        after = {path.name: path.read_bytes() for path in folder.iterdir()}
        check(after == before and not list(output.iterdir()), "something was written")
        for path in (folder, output):
            path.chmod(0o755)
    return 3, "mode 555, without root's capabilities: resuming, beginning, sample --output"


def two_runs(times, generator):
    """A second run in a folder is refused with one line. The first run is not disturbed."""
    refused = 0
    with scratch() as place:
        training = Training("binary_rbm_gluon.py", place)
        for _ in range(10 * times):
            if refused == times:
                break
            folder = training.new_folder()
            first = training.begin(folder)
            while not (folder / "arguments.json").exists():
                time.sleep(0.005)
            second = training.go_on(folder)
            if second.status == 2:  # otherwise the first had ended
                check("another run is using" in second.line(), second.line())
                refused += 1
            ended = first.end()
            check(ended.status == 0, ended.errors)
            training.check_whole(folder, goes_on=False)
    check(refused == times, "only %d second runs met a first one" % refused)
    return refused, "refused while the first was at work"


def memory(times, generator):
    """Less memory than is needed: one clear line, no crash."""
    statuses = {}
    for index in range(times):
        limit = int(generator.integers(1 << 31, 5 << 29))
        hidden = str(int(10 ** generator.uniform(5.9, 6.6)) if index else 100)
        ended = _limited(limit, ["--num-hidden", hidden, "--batch-size", "10", "--ais-batch-size", "10"])
        check(ended.returncode in (0, 2), ended.returncode, hidden, limit, ended.stderr[-500:])
        if ended.returncode:
            check("error: " in ended.stderr.splitlines()[-1], ended.stderr)
            check("Traceback" not in ended.stderr, ended.stderr)
        statuses[ended.returncode] = statuses.get(ended.returncode, 0) + 1
    below = _limited(1 << 29, [])
    check(below.returncode == 1 and "the address space is limited to 512 MiB" in below.stderr, below.stderr)
    return times + 1, "%d refused with status 2, %d had enough; below what MXNet needs to begin, an ImportError" % (
        statuses.get(2, 0),
        statuses.get(0, 0),
    )


def _limited(limit, arguments):
    with scratch() as place:
        arguments = ["--dataset", "digits", "--no-cuda", "--k", "1", "--num-epoch", "1", *arguments]
        arguments += ["--ais-intermediate-steps", "2", "--ais-num-batch", "1", "--output-dir", str(place / "run")]
        return subprocess.run(
            [sys.executable, "binary_rbm_gluon.py", *arguments],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=300,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
        )
