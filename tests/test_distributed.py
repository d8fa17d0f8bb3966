"""Distributed runs of processes on the loopback interface, and the heartbeat that monitors them."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from marks import slow_but
from parallel_learning import assert_equally_good, likelihoods, parse
from training_runs import SMALL, learned, one_line

import binary_rbm_gluon
from gluon_rbm.backend import heartbeat, messages
from gluon_rbm.errors import InputError
from gluon_rbm.training.process_group import ProcessGroup
from gluon_rbm.training.run import open_folder

ROOT = os.path.dirname(os.path.abspath(binary_rbm_gluon.__file__))
PATIENCE = 120  # seconds; a test that waits longer fails, even on a busy computer

# A training script that also prints, after each epoch, a hash of what its worker has learned.
SCRIPT = """
import hashlib, sys
from gluon_rbm.cli import train_binary
from gluon_rbm.training import binary_pictures

def say(state, output):
    if state.step + 1 == state.lengths.steps:
        digest = hashlib.sha256()
        for array in state.learned().values():
            digest.update(array.asnumpy())
        print("digest", state.epoch + 1, digest.hexdigest(), flush=True)

binary_pictures.SHOWCASE_SWEEPS = 10
sys.exit(train_binary.main(sys.argv[1:], "binary_rbm_{api}.py", "{api}", [say]))
"""


def free_port():
    """A free port that is followed by another free port."""
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
        "MXNET_RBM_SECRET": "the secret of the tests",
    }  # fmt: skip


class Processes:
    """Processes by name, with their output in files. All of them are killed at the end."""

    def __init__(self, folder):
        self.folder, self.running, self.environment = Path(folder), {}, {}
        self.folder.mkdir(parents=True, exist_ok=True)

    def start(self, name, command, environment):
        self.environment = environment
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
    """A run with a scheduler, a server and two workers."""
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
    """Wait until a worker reports that it leads; return the names of the workers, leader first."""
    until = time.monotonic() + PATIENCE
    while True:
        for one, other in (("worker-a", "worker-b"), ("worker-b", "worker-a")):
            if "run folder" in processes.said(one) or "resuming" in processes.said(one):
                return one, other
        assert time.monotonic() < until and all(process.poll() is None for process in processes.running.values())
        time.sleep(0.02)


# --- Runs -----------------------------------------------------------------------------------------

LONG = ["--num-epoch", "20", "--monitor-every", "20", "--learning-rate", "1", "--num-devices", "2"]


@pytest.mark.slow
def test_a_killed_worker_ends_all_others_and_the_run_resumes(tmp_path):
    """A run that is killed in one epoch and interrupted in another ends as a run without a stop.

    Both end with the same bits.
    """
    with cluster(tmp_path / "0", "gluon", *LONG, "--output-dir", str(tmp_path / "whole")) as processes:
        assert set(processes.statuses().values()) == {0}
        first, second = digests(processes)
        assert first == second and len(first) == 20
        # Only the leader reports epochs.
        assert sum("Epoch" in processes.said(name) for name in processes.running) == 1
    arguments = [*LONG, "--output-dir", str(tmp_path / "parts"), "--resume"]
    with cluster(tmp_path / "1", "gluon", *arguments) as processes:
        names = leader(processes)
        processes.wait_until_said(names[1], "digest 3 ")
        assert_all_end(processes, names[1], "worker")
    with cluster(tmp_path / "2", "gluon", *arguments) as processes:
        names = leader(processes)
        processes.wait_until_said(names[0], "digest 9 ")
        processes.running[names[1]].terminate()
        statuses = processes.statuses()
        assert statuses.pop("scheduler") == statuses.pop("server") == 0 and set(statuses.values()) == {143}
        assert all("interrupted" in processes.said(name).splitlines()[-1] for name in names)
    with cluster(tmp_path / "3", "module", *arguments) as processes:
        assert set(processes.statuses().values()) == {0}
        first, second = digests(processes)
        assert first == second
    one, two = learned(tmp_path / "whole"), learned(tmp_path / "parts")
    assert sorted(one) == sorted(two) and one["aux_visible_layer_sample"].shape == (8, 16)
    for name in one:
        np.testing.assert_array_equal(one[name], two[name], err_msg=name)


LEARN = """
import sys
import parallel_learning
from gluon_rbm.training.process_group import ProcessGroup

with ProcessGroup("dist_sync", cuda=False) as workers:
    arguments = parallel_learning.parse("--learning-rate", "2")
    print("learned", *parallel_learning.likelihoods(arguments, sys.argv[1:], workers))
"""


@pytest.mark.slow
def test_two_workers_learn_as_well_as_one(generator, tmp_path, monkeypatch):
    """They share the batch of a single worker: 8 images in each step, 4 for each of the two."""
    monkeypatch.setenv("PYTHONPATH", os.path.dirname(__file__), prepend=os.pathsep)
    seeds = generator.integers(2**31, size=(2, 12))
    port = free_port()
    with Processes(tmp_path) as processes:
        for name in ("scheduler", "server", "worker-a", "worker-b"):
            command = [sys.executable, "-c", LEARN, *map(str, seeds[0])]
            processes.start(name, command, variables(name.partition("-")[0], port))
        assert set(processes.statuses().values()) == {0}
        lines = [processes.said(name).splitlines()[-1] for name in ("worker-a", "worker-b")]
    assert lines[0] == lines[1] and lines[0].startswith("learned ")
    two = list(map(float, lines[0].split()[1:]))
    assert_equally_good(list(likelihoods(parse("--learning-rate", "2"), seeds[1])), two)


def assert_all_end(processes, name, what):
    processes.running[name].kill()
    started = time.monotonic()
    statuses = processes.statuses()
    assert time.monotonic() - started < 60
    assert statuses.pop(name) == -signal.SIGKILL and set(statuses.values()) == {heartbeat.ENDED}, statuses
    for other in statuses:
        last = processes.said(other).splitlines()[-1]
        assert what in last and "has ended" in last


@pytest.mark.slow
@pytest.mark.skipif("MXNET_RBM_FAULTS" not in os.environ, reason="set MXNET_RBM_FAULTS, as .ci/full does")
@pytest.mark.parametrize("victim", ["server", "scheduler", "leader"])
def test_a_killed_process_ends_all_others(tmp_path, victim):
    arguments = [*LONG, "--num-epoch", "2000", "--output-dir", str(tmp_path / "run")]
    with cluster(tmp_path / "0", "gluon", *arguments) as processes:
        names = leader(processes)
        processes.wait_until_said(names[0], "digest 2 ")
        assert_all_end(processes, *((names[0], "worker") if victim == "leader" else (victim, victim)))


# --- The heartbeat, in processes that do nothing else ---------------------------------------------

ATTEND = "from gluon_rbm.backend import heartbeat; heartbeat.attend(); import time; time.sleep(100)"
WORK = """
import contextlib, sys, time
from gluon_rbm.backend import heartbeat
from gluon_rbm.errors import InputError
try:
    one = heartbeat.Heartbeat(heartbeat.address())
except InputError as error:
    sys.exit(str(error))
print("all are there", flush=True)
if sys.argv[1] == "fail":
    one.fail("a \\x1b[2J\\nlong reason" + 10000 * "!")
    time.sleep(100)
how, _, seconds = sys.argv[1].rpartition(" ")
with one.waiting() if how == "wait" else contextlib.nullcontext():
    time.sleep(float(seconds))
one.leave()
"""


@contextlib.contextmanager
def watched(folder, timeout=30, names=("scheduler", "server", "worker-a", "worker-b"), working=100):
    port = free_port()
    with Processes(folder) as processes:
        for name in names:
            role = name.partition("-")[0]
            how = working[name] if role == "worker" and isinstance(working, dict) else working
            command = [sys.executable, "-c", WORK if role == "worker" else ATTEND, str(how)]
            processes.start(name, command, variables(role, port, timeout=timeout))
        yield processes


@pytest.mark.parametrize("victim", ["scheduler", "server", "worker-b"])
@pytest.mark.parametrize("number", slow_but([signal.SIGKILL, signal.SIGSTOP], signal.SIGKILL))
def test_idle_processes_end_when_one_is_killed_or_stopped(tmp_path, victim, number):
    with watched(tmp_path, timeout=30 if number == signal.SIGKILL else 2) as processes:
        for name in ("worker-a", "worker-b"):
            processes.wait_until_said(name, "all are there")
        processes.running[victim].send_signal(number)
        others = [name for name in processes.running if name != victim]
        # After a good run, too, the scheduler may end first. So a server waits a little.
        if victim == "scheduler":
            others.remove("server")
        for name in others:
            assert processes.running[name].wait(PATIENCE) == heartbeat.ENDED
            assert victim.partition("-")[0] in processes.said(name).splitlines()[-1]


@pytest.mark.slow
def test_no_false_alarm(tmp_path):
    """Workers may compute for three times the timeout: their threads report that they are alive."""
    with watched(tmp_path, timeout=2, working=6) as processes:
        statuses = {name: processes.running[name].wait(PATIENCE) for name in ("worker-a", "worker-b")}
        assert set(statuses.values()) == {0}


@pytest.mark.parametrize("other", ["wait 100", pytest.param("compute 8", marks=pytest.mark.slow)])
def test_the_run_ends_if_all_workers_wait(tmp_path, other):
    """A worker may wait as long as another worker computes, and no longer."""
    with watched(tmp_path, timeout=2, working={"worker-a": "wait 8", "worker-b": other}) as processes:
        statuses = {processes.running[name].wait(PATIENCE) for name in ("worker-a", "worker-b")}
        said = "all workers have waited for 2 seconds"
        assert statuses == {heartbeat.ENDED if other == "wait 100" else 0}
        assert all((said in processes.said(name)) == (other == "wait 100") for name in processes.running)


@pytest.mark.parametrize(
    "names, said",
    [
        (("scheduler", "worker-a"), "only 0 of 1 servers and 1 of 2 workers have come in 1 seconds"),
        (("worker-a",), "no scheduler answers at 127.0.0.1"),
        (("server",), "no scheduler answers at 127.0.0.1"),
        (("scheduler", "server", "worker-a", "worker-b", "worker-c"), "there are 2 already, as DMLC_NUM_WORKER says"),
    ],
)
def test_missing_and_surplus_processes_are_reported(tmp_path, names, said):
    with watched(tmp_path, 1 if len(names) < 5 else 30, names) as processes:
        until = time.monotonic() + PATIENCE
        while not any(said in processes.said(name) for name in names):
            assert time.monotonic() < until
            time.sleep(0.05)


def connected(processes, content):
    """Connect to the heartbeat port of a run, send `content`, and return the connection."""
    connection = socket.create_connection(("127.0.0.1", int(processes.environment["DMLC_PS_ROOT_PORT"]) + 1), PATIENCE)
    with contextlib.suppress(OSError):  # the other side may close it before all is sent
        connection.sendall(content)
    return connection


def is_closed(connection):
    """Wait until the other side closes the connection."""
    with contextlib.suppress(ConnectionError):
        while connection.recv(4096):
            pass
    return True


DIGITS = 32 * b"0" + b"\n"
STRANGE = {
    "another protocol": b"GET / HTTP/1.0\r\n\r\n",
    "no message": b'["role"]\n',
    "no text": b"\xff\n",
    "a failure": b'{"failed": "x"}\n',
    "a failure behind digits": DIGITS + b'{"failed": "x"}\n',
    "a role": DIGITS + 64 * b"0" + b' {"role": "worker", "name": "w"}\n' + 64 * b"0" + b' {"failed": "x"}\n',
    "escape codes": DIGITS + b'\x1b]0;x\x07\x1b[2J {"failed": "\\u001b[2J"}\n',
    "deep": DIGITS + 64 * b"0" + b" " + 4000 * b"[" + b"\n",
    "deeper": 200000 * b"[" + b"\n",
    "long": 10**6 * b"x",
    "empty lines": 1000 * b"\n",
}


def test_messages_without_the_secret_are_ignored(tmp_path):
    """Messages without the secret are ignored, and the heartbeat still notices a killed worker."""
    with watched(tmp_path) as processes:
        for name in ("worker-a", "worker-b"):
            processes.wait_until_said(name, "all are there")
        connected(processes, b"").close()
        for what, content in STRANGE.items():
            with connected(processes, content) as connection:
                assert is_closed(connection), what
        with contextlib.ExitStack() as stack:  # some of the silent connections stay open
            connections = [stack.enter_context(connected(processes, DIGITS)) for _ in range(200)]
            assert all(map(is_closed, connections[: 200 - heartbeat._STRANGERS]))
            assert all(process.poll() is None for process in processes.running.values())
            processes.running["worker-b"].kill()
            for name in ("scheduler", "server", "worker-a"):
                assert processes.running[name].wait(PATIENCE) == heartbeat.ENDED
                last = processes.said(name).splitlines()[-1]
                assert "worker (process %d" % processes.running["worker-b"].pid in last and "has ended" in last
                assert "\x1b" not in processes.said(name)


def test_a_worker_with_another_secret_is_refused(tmp_path):
    """A worker with another secret is not admitted, and reports so at once."""
    port = free_port()
    with Processes(tmp_path) as processes:
        processes.start("scheduler", [sys.executable, "-c", ATTEND], variables("scheduler", port))
        given = {**variables("worker", port), "MXNET_RBM_SECRET": "the secret of others"}
        processes.start("worker", [sys.executable, "-c", WORK, "100"], given)
        assert processes.running["worker"].wait(PATIENCE) == 1
        said = processes.said("worker")
        assert "is no scheduler of this program, or has another MXNET_RBM_SECRET" in said and said.count("\n") == 1
        assert processes.running["scheduler"].poll() is None


def test_all_processes_report_a_failure_in_one_line(tmp_path):
    """The reason may contain anything and may be long."""
    with watched(tmp_path, working="fail") as processes:
        for name in ("scheduler", "server"):
            assert processes.running[name].wait(PATIENCE) == heartbeat.ENDED
            said = processes.said(name).strip()
            assert "has ended: a \\x1b[2J\\nlong reason!" in said and "\n" not in said and len(said) < 1000


class Sides:
    """The two ends of a connection. A test may change what one end sends to the other."""

    def __init__(self, monkeypatch, secrets=("0123456789abcdef",) * 2):
        pairs = [socket.socketpair() for _ in range(2)]
        self.sides = []
        for (one, _), secret, names in zip(pairs, secrets, ((b"a", b"b"), (b"b", b"a"))):
            monkeypatch.setenv(messages.SECRET, secret)
            self.sides.append(messages.Connection(one, *names))
        self.between = [other for _, other in pairs]
        for index in range(2):
            self.hand_on(index)
            assert self.sides[1 - index].receive() == []

    def taken(self, index):
        return self.between[index].recv(10**6)

    def hand_on(self, index):
        self.between[1 - index].sendall(self.taken(index))

    def give(self, index, content):
        self.between[index].sendall(content)
        return self.sides[index].receive()


def test_messages_arrive(monkeypatch):
    one = Sides(monkeypatch)
    for index in (0, 1, 1, 0):
        one.sides[index].send()
        one.sides[index].send(name="\n\x1b")
        one.sides[index].send(done=True)
        assert one.give(1 - index, one.taken(index)) == [{"name": "\n\x1b"}, {"done": True}]
    assert all(side.is_trusted and not side.is_foreign for side in one.sides)


@pytest.mark.parametrize(
    "kind", ["changed", "repeated", "left out", "sent back", "of another connection", "another secret"]
)
def test_forged_lines_are_ignored(monkeypatch, kind):
    """A forged line is ignored, and everything after it, too."""
    given = ("0123456789abcdef", "fedcba9876543210") if kind == "another secret" else ("0123456789abcdef",) * 2
    one = Sides(monkeypatch, given)
    one.sides[0].send(done=True)
    line = one.taken(0)
    assert b"0123456789abcdef" not in line
    one.sides[0].send(done=True)
    second = one.taken(0)
    one.sides[1].send(done=True)
    attack = {
        "changed": line.replace(b"true", b"null"),
        "repeated": line + line,
        "left out": second,
        "sent back": one.taken(1),
        "of another connection": line,
        "another secret": line,
    }[kind]
    if kind == "of another connection":
        one = Sides(monkeypatch)
    assert one.give(1, attack) is None and one.sides[1].is_foreign


# A worker that sends a pickled program to the server. MXNet's own controller would unpickle it.
STRANGER = """
import os, pickle, sys
import numpy as np
from gluon_rbm.training.process_group import ProcessGroup

class Program:
    def __reduce__(self):
        return os.mkdir, (sys.argv[1],)

with ProcessGroup("dist_sync", cuda=False) as worker:
    worker._kv._send_command_to_servers(0, pickle.dumps(Program(), protocol=0).decode("ascii"))
    print("the sum is", worker.all_gather("x", np.ones(3)).tolist())
"""


@pytest.mark.slow
def test_the_server_runs_no_pickled_program(tmp_path):
    """The server refuses the message, and goes on adding."""
    port, command = free_port(), [sys.executable, "-c", STRANGER, str(tmp_path / "made by the program")]
    with Processes(tmp_path / "said") as processes:
        for name in ("scheduler", "server", "worker"):
            processes.start(name, command, variables(name, port, num_workers=1))
        assert set(processes.statuses().values()) == {0}
        assert "the sum is [[1.0, 1.0, 1.0]]" in processes.said("worker")
        assert processes.said("server") == "server: refused a message: this server only adds\n"
    assert not (tmp_path / "made by the program").exists()


# --- Mistakes of users ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"DMLC_ROLE": None, "DMLC_NUM_SERVER": None}, "set DMLC_ROLE, DMLC_NUM_SERVER (see docs/distributed.md)"),
        ({"DMLC_ROLE": "boss"}, "DMLC_ROLE is 'boss'; it must be scheduler, server or worker"),
        ({"DMLC_PS_ROOT_PORT": "²"}, "DMLC_PS_ROOT_PORT is '²'; it must be"),
        ({"DMLC_PS_ROOT_PORT": "many"}, "DMLC_PS_ROOT_PORT is 'many'; it must be a whole number from 1 to 65534"),
        ({"MXNET_RBM_SECRET": None}, "set MXNET_RBM_SECRET (see docs/distributed.md)"),
        ({"MXNET_RBM_SECRET": "short"}, "MXNET_RBM_SECRET is too short; set it to one text of at least 16 characters"),
        ({"DMLC_NUM_WORKER": "0"}, "DMLC_NUM_WORKER is '0'; it must be a whole number from 1 to 1000"),
        ({"MXNET_RBM_TIMEOUT": "x"}, "MXNET_RBM_TIMEOUT is 'x'"),
        ({}, "no scheduler answers at 127.0.0.1"),
    ],
)
def test_bad_environment_variables_are_refused(tmp_path, capsys, monkeypatch, changes, message):
    for name, value in {**variables("worker", free_port(), timeout=1), **changes}.items():
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    arguments = [*SMALL, "--kv-store", "dist_sync", "--output-dir", str(tmp_path / "run")]
    assert binary_rbm_gluon.main(arguments) == 2
    assert message in one_line(capsys)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("role", ["boss", ""])
def test_an_unknown_role_is_refused_at_import(tmp_path, role):
    with Processes(tmp_path) as processes:
        processes.start("x", [sys.executable, "-c", "import ais"], {**variables("x", free_port()), "DMLC_ROLE": role})
        assert processes.statuses() == {"x": 2}
        assert "DMLC_ROLE" in processes.said("x") and processes.said("x").count("\n") == 1


def test_workers_with_different_arguments_are_refused():
    class Theirs:
        is_chief, rank, chief = False, 1, 0

        @staticmethod
        def broadcast(content):
            return json.dumps({**json.loads(content.decode()), "k": 3}).encode()

    settings = SimpleNamespace(resumable=list)
    assert open_folder(settings, "x", {"k": 3, "seed": 1}, Theirs, None) is None
    with pytest.raises(InputError, match="worker 1 has --k 2, but worker 0 has 3"):
        open_folder(settings, "x", {"k": 2, "seed": 1}, Theirs, None)


@pytest.mark.parametrize("content", [b"", b"\xff", b"[1]", b"3", 10**5 * b"[", b"{}"])
def test_arguments_that_cannot_be_read_are_refused(content):
    theirs = SimpleNamespace(is_chief=False, rank=1, chief=0, broadcast=lambda _: content)
    with pytest.raises(InputError, match="worker 0"):
        open_folder(SimpleNamespace(resumable=list), "x", {"k": 3}, theirs, None)


@pytest.mark.parametrize("size", [[np.nan, 0], [-1, 5], [1e9, 0], [np.inf, 0]])
def test_impossible_sizes_of_a_message_are_refused(monkeypatch, size):
    one = ProcessGroup("device", cuda=False)
    monkeypatch.setattr(one, "num_workers", 2)
    monkeypatch.setattr(one, "all_gather", lambda name, row: np.array([size, size], np.float32))
    with pytest.raises(InputError, match="a message of worker 0 cannot be read"):
        one.broadcast(b"x")


def test_workers_with_different_parameters_are_refused(monkeypatch):
    one = ProcessGroup("device", cuda=False)
    one.check_equal({"w": np.ones(3)})
    monkeypatch.setattr(one, "num_workers", 2)
    monkeypatch.setattr(one, "all_gather", lambda name, row: np.stack([row, row]))
    one.check_equal({"w": np.ones(3)})
    monkeypatch.setattr(one, "all_gather", lambda name, row: np.stack([row, row + 1]))
    with pytest.raises(InputError, match="the parameters of worker 1 differ from those of worker 0"):
        one.check_equal({"w": np.ones(3)})


PAGE = Path(__file__).parents[1] / "docs" / "distributed.md"


@pytest.mark.slow
@pytest.mark.skipif(not PAGE.exists(), reason="the tests stand alone, without docs/")
def test_the_commands_of_the_page_run(tmp_path):
    """They run as written, apart from the port, which may be in use, and the path of Python."""
    lines = re.search(r"<!-- one computer -->\n\n```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL).group(1)
    assert lines.count("9091") == 1
    (tmp_path / "python").symlink_to(sys.executable)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("DMLC_")},
        "PATH": os.pathsep.join([str(tmp_path), os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join([ROOT, *sys.path]),
        "MPLBACKEND": "Agg",
    }
    (tmp_path / "binary_rbm_gluon.py").write_text(Path(binary_rbm_gluon.__file__).read_text())
    done = subprocess.run(
        ["bash", "-euc", lines.replace("9091", str(free_port()))],
        cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=PATIENCE,
    )  # fmt: skip
    assert "Done: runs/two-workers" in done.stdout and done.returncode == 0, done.stdout
    assert learned(tmp_path / "runs" / "two-workers")["aux_visible_layer_sample"].shape == (20, 64)
