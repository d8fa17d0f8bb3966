"""A scheduler, a server and two workers on the loopback interface, as processes; and the watch over them."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from test_training import SMALL, learned, one_line

import binary_rbm_gluon
from gluon_rbm import exchange, parallel, watch
from gluon_rbm.errors import InputError

ROOT = os.path.dirname(os.path.abspath(binary_rbm_gluon.__file__))
PATIENCE = 120  # seconds for anything on a busy machine; a test that needs so many fails

# A script that also says, after each epoch, what its worker holds.
SCRIPT = """
import hashlib, sys
import binary_rbm_{api} as script
from gluon_rbm import training

finish = training._Run._finish_epoch

def finish_and_say(self):
    finish(self)
    digest = hashlib.sha256()
    for array in self._learned().values():
        digest.update(array.asnumpy())
    print("digest", self.epoch, digest.hexdigest(), flush=True)

training._SHOWCASE_SWEEPS, training._Run._finish_epoch = 10, finish_and_say
sys.exit(script.main(sys.argv[1:]))
"""


def free_port():
    """A free one with a free one after it."""
    for _ in range(100):
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            with contextlib.suppress(OSError, OverflowError):
                second.bind(("127.0.0.1", port + 1))
                return port
    raise AssertionError("no two free ports")


def variables(role, port, num_workers=2, timeout=30):
    return {
        "DMLC_ROLE": role, "DMLC_PS_ROOT_URI": "127.0.0.1", "DMLC_PS_ROOT_PORT": str(port), "DMLC_NUM_SERVER": "1",
        "DMLC_NUM_WORKER": str(num_workers), "DMLC_NODE_HOST": "127.0.0.1", "MXNET_RBM_TIMEOUT": str(timeout),
    }  # fmt: skip


class Processes:
    """Processes by name, with their output in files; whatever happens, all are gone at the end."""

    def __init__(self, folder):
        self.folder, self.running = Path(folder), {}
        self.folder.mkdir(parents=True, exist_ok=True)

    def start(self, name, command, environment):
        path = os.pathsep.join([ROOT, os.environ.get("PYTHONPATH", "")])
        environment = {**os.environ, "PYTHONPATH": path, "MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1", **environment}
        with open(self.folder / name, "wb") as output:
            self.running[name] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=environment
            )

    def said(self, name):
        return (self.folder / name).read_text()

    def wait_until_said(self, name, text):
        until = time.monotonic() + PATIENCE
        while text not in self.said(name):
            assert time.monotonic() < until and self.running[name].poll() is None, self.said(name)
            time.sleep(0.02)

    def statuses(self):
        until = time.monotonic() + PATIENCE
        return {name: process.wait(max(0.1, until - time.monotonic())) for name, process in self.running.items()}

    def __enter__(self):
        return self

    def __exit__(self, *error):
        for process in self.running.values():
            process.kill()
            process.wait()
        if error[0]:
            for name in self.running:
                print("--- %s\n%s" % (name, self.said(name)))


@contextlib.contextmanager
def cluster(folder, api, *arguments):
    """A run with two workers."""
    port = free_port()
    command = [sys.executable, "-c", SCRIPT.format(api=api), *SMALL, "--kv-store", "dist_sync", *arguments]
    with Processes(folder) as processes:
        for name in ("scheduler", "server", "worker-a", "worker-b"):
            processes.start(name, command, variables(name.partition("-")[0], port))
        yield processes


def digests(processes):
    return [
        [line for line in processes.said(name).splitlines() if line.startswith("digest")]
        for name in ("worker-a", "worker-b")
    ]


def leader(processes):
    """The workers' names, the leader first; once it has said so."""
    until = time.monotonic() + PATIENCE
    while True:
        for one, other in (("worker-a", "worker-b"), ("worker-b", "worker-a")):
            if "run folder" in processes.said(one) or "resuming" in processes.said(one):
                return one, other
        assert time.monotonic() < until and all(process.poll() is None for process in processes.running.values())
        time.sleep(0.02)


# --- Runs -------------------------------------------------------------------------------------------------------------

LONG = ["--num-epoch", "40", "--monitor-every", "20", "--learning-rate", "1", "--num-devices", "2"]


def test_both_workers_hold_the_same_and_any_that_is_killed_ends_all_others(tmp_path):
    """Killed one after the other: server, scheduler, a worker, the leader; then SIGTERM; each time the run goes on.

    It ends as one that was never stopped, bit for bit.
    """
    with cluster(tmp_path / "0", "gluon", *LONG, "--output-dir", str(tmp_path / "whole")) as processes:
        assert set(processes.statuses().values()) == {0}
        first, second = digests(processes)
        assert first == second and len(first) == 40
        assert sum("Epoch" in processes.said(name) for name in processes.running) == 1  # one of them leads
    arguments = [*LONG, "--output-dir", str(tmp_path / "parts"), "--resume"]
    for attempt, victim in enumerate(("server", "scheduler", "worker", "leader")):
        with cluster(tmp_path / str(attempt + 1), "gluon", *arguments) as processes:
            names = dict(zip(("leader", "worker"), leader(processes)))
            name = names.get(victim, victim)
            processes.wait_until_said(names["leader"], "digest %d " % (8 * attempt + 6))
            processes.running[name].kill()
            started = time.monotonic()
            statuses = processes.statuses()
            assert time.monotonic() - started < 60
            assert statuses.pop(name) == -signal.SIGKILL and set(statuses.values()) == {watch.ENDED}, statuses
            for other in statuses:
                last = processes.said(other).splitlines()[-1]
                # (A worker learns of a scheduler, and of nothing else, from its own connection.)
                assert "%s" % victim.replace("leader", "worker") in last and "has ended" in last
    with cluster(tmp_path / "5", "gluon", *arguments) as processes:
        first, other = leader(processes)
        processes.wait_until_said(first, "digest 3")
        processes.running[other].terminate()
        statuses = processes.statuses()
        assert statuses[first] == statuses[other] == 143 and statuses["scheduler"] == statuses["server"] == 0
        assert "interrupted" in processes.said(first).splitlines()[-1]
    with cluster(tmp_path / "6", "gluon", *arguments) as processes:
        assert set(processes.statuses().values()) == {0}
        first, second = digests(processes)
        assert first == second
    one, two = learned(tmp_path / "whole"), learned(tmp_path / "parts")
    assert sorted(one) == sorted(two) and one["aux_visible_layer_sample"].shape == (8, 16)
    for name in one:
        np.testing.assert_array_equal(one[name], two[name], err_msg=name)
    assert (one["aux_hidden_layer_sample"][:4] != one["aux_hidden_layer_sample"][4:]).any()
