"""End every process of a distributed run, with one line that says why, when one of them ends.

MXNet's parameter server lets the others wait forever: workers only hear whether the scheduler is
alive, and nobody acts on that. So each server and worker holds one connection to the scheduler.
There a thread listens at the port after DMLC_PS_ROOT_PORT. A process that is killed loses its
connection at once. A process that stands still, or is on a computer that is gone, says nothing for
MXNET_RBM_TIMEOUT seconds. Threads report that a process is alive, so it may compute or wait as long
as it likes. But if all workers wait, nobody computes what they wait for: the run ends when this has
lasted as many seconds, too.

All processes of a run share the secret of `gluon_rbm.backend.messages`. Messages from anyone
without the secret are not read, and cannot end the watch.

This module uses the standard library only: a scheduler or server calls `attend` before it imports
MXNet.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import selectors
import socket
import sys
import threading
import time
from typing import Any, Iterator, NamedTuple, NoReturn

from gluon_rbm.backend.messages import SECRET, Connection, shared_secret
from gluon_rbm.errors import InputError, one_line

__all__ = ["ENDED", "Address", "Heartbeat", "address", "attend", "finish", "seconds_to_wait"]

ENDED = 4  #: exit status: another process of the run has ended
_GRACE = 10  # seconds in which a process may end by itself
_STRANGERS = 64  # most connections that have not yet shown that they know the secret
_SCHEDULER, _OTHER = b"scheduler", b"other"  # the sides of a connection
_ROLES = ("scheduler", "server", "worker")
_VARIABLES = ("DMLC_ROLE", "DMLC_PS_ROOT_URI", "DMLC_PS_ROOT_PORT", "DMLC_NUM_SERVER", "DMLC_NUM_WORKER")


class Address(NamedTuple):
    """What the variables DMLC_* say: of this process, the scheduler, and the number of others."""

    role: str
    host: str
    port: int
    num_servers: int
    num_workers: int


def address() -> Address:
    """Read the `Address` of this process from the environment.

    Returns
    -------
    Address
        What the variables DMLC_* say.

    Raises
    ------
    InputError
        A variable is missing, or cannot have its value.
    """
    missing = [name for name in (*_VARIABLES, SECRET) if not os.environ.get(name)]
    if missing:
        raise InputError("set %s (see docs/distributed.md)" % ", ".join(missing))
    shared_secret()
    role, host, port, *numbers = (os.environ[name] for name in _VARIABLES)
    if role not in _ROLES:
        raise InputError("DMLC_ROLE is %r; it must be scheduler, server or worker" % role)
    return Address(
        role,
        host,
        _number("DMLC_PS_ROOT_PORT", port, 65534),
        *(_number(name, text, 1000) for name, text in zip(_VARIABLES[3:], numbers)),
    )


def seconds_to_wait() -> int:
    """Return how long a process may be silent, or be waited for when a run starts.

    Returns
    -------
    int
        Seconds: MXNET_RBM_TIMEOUT, or 60.

    Raises
    ------
    InputError
        The variable is not a whole number from 1 to 10^6.
    """
    return _number("MXNET_RBM_TIMEOUT", os.environ.get("MXNET_RBM_TIMEOUT") or "60", 10**6)


def _number(name: str, text: str, highest: int) -> int:
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text) <= highest:
        raise InputError("%s is %r; it must be a whole number from 1 to %d" % (name, text, highest))
    return int(text)


def attend() -> None:
    """Have the run monitored, in a scheduler or server, before MXNet is imported.

    The process exits, with one line on standard error, if a variable DMLC_* is wrong, if the
    scheduler cannot listen, or if a server finds no scheduler. In a worker nothing is done (see
    `Heartbeat`).
    """
    if os.environ.get("DMLC_ROLE", "worker") == "worker":
        return
    try:
        where = address()
        if where.role == "scheduler":
            monitor = _Monitor(where)
            monitor.start()
            atexit.register(monitor.finish)
        else:
            atexit.register(Heartbeat(where).leave)
    except InputError as error:
        print("%s: error: %s" % (os.path.basename(sys.argv[0]), error), file=sys.stderr)
        sys.exit(error.exit_status)


def _exit(status: int) -> NoReturn:
    for stream in (sys.stdout, sys.stderr):
        # The stream may be closed, or nobody may read it.
        with contextlib.suppress(AttributeError, OSError, ValueError):
            stream.flush()
    os._exit(status)


def _end_process(line: str) -> NoReturn:
    """End the process at once: its main thread may wait in MXNet, where nothing reaches it."""
    try:
        print("\n%s: error: %s" % (os.path.basename(sys.argv[0]) or "mxnet-rbm", one_line(line)), file=sys.stderr)
    finally:
        _exit(ENDED)


# --- In the scheduler -----------------------------------------------------------------------------


class _Peer(Connection):
    """The connection of another process.

    role, name : None until it has said who it is. done : it may end. waiting : seconds without
    computing.
    """

    def __init__(self, connection: socket.socket) -> None:
        super().__init__(connection, _SCHEDULER, _OTHER)
        self.role: str | None = None
        self.name: str | None = None
        self.done = False
        self._waiting, self._said_at = 0.0, time.monotonic()

    def hear_of_waiting(self, seconds: float) -> None:
        self._waiting, self._said_at = seconds, time.monotonic()

    @property
    def waiting(self) -> float:
        """Seconds, as reported last; a process that is done has waited since then."""
        return time.monotonic() - self._said_at if self.done else self._waiting


class _Monitor(threading.Thread):
    """Listens to all other processes, and tells all of them when one ends."""

    def __init__(self, where: Address) -> None:
        super().__init__(daemon=True)
        self._expected = {"server": where.num_servers, "worker": where.num_workers}
        self._patience = seconds_to_wait()
        self._peers: list[_Peer] = []  # trusted processes that have told their role
        self._strangers: list[_Peer] = []  # connections that are not trusted yet, oldest first
        self._first_came: float | None = None  # when the first worker came
        self._selector = selectors.DefaultSelector()
        try:
            listener = socket.create_server((where.host, where.port + 1))
        except OSError as error:
            raise InputError(
                "cannot listen at %s:%d (%s); the scheduler runs on the computer of DMLC_PS_ROOT_URI, and needs "
                "DMLC_PS_ROOT_PORT and the port after it: choose another" % (where.host, where.port + 1, error.strerror)
            ) from error
        self._selector.register(listener, selectors.EVENT_READ)

    def run(self) -> None:
        try:
            self._listen_to_all()
        except BaseException as error:  # no process may be left waiting
            _end_process("the watch itself has failed (%s: %s)" % (type(error).__name__, error))

    def _listen_to_all(self) -> None:
        told = time.monotonic()
        while not self._is_over():
            for key, _ in self._selector.select(timeout=min(1, self._patience / 4)):
                if key.data is None:
                    self._accept(key.fileobj)
                else:
                    self._listen(key.data)
            self._look_for_silence()
            if time.monotonic() - told > self._patience / 4:
                told = time.monotonic()
                self._tell()

    def finish(self) -> None:
        """Wait until the last messages of the others are heard, when the scheduler ends well."""
        self.join(timeout=5)

    def _is_over(self) -> bool:
        workers = [peer for peer in self._peers if peer.role == "worker"]
        return len(workers) == self._expected["worker"] and all(peer.done for peer in workers)

    def _accept(self, listener: Any) -> None:
        try:
            peer = _Peer(listener.accept()[0])
        except OSError:  # the other side has closed it
            return
        self._selector.register(peer.connection, selectors.EVENT_READ, peer)
        self._strangers.append(peer)
        if len(self._strangers) > _STRANGERS:
            self._drop(self._strangers[0])

    def _drop(self, peer: _Peer) -> None:
        self._selector.unregister(peer.connection)
        peer.connection.close()
        if peer in self._strangers:
            self._strangers.remove(peer)

    def _listen(self, peer: _Peer) -> None:
        if peer.connection.fileno() < 0:  # dropped meanwhile
            return
        was_greeted = peer.is_greeted
        messages = peer.receive()
        if messages is None:
            self._drop(peer)
            if peer.role and not peer.done:
                self._end("%s has ended" % peer.name)
            return
        if peer.is_greeted and not was_greeted:
            peer.send()  # its code proves to the other side that this is its scheduler
        if peer.is_trusted and peer in self._strangers:
            self._strangers.remove(peer)
        for message in messages:
            self._hear(peer, message)

    def _hear(self, peer: _Peer, message: dict[str, Any]) -> None:
        if "role" in message:
            self._welcome(peer, str(message["role"]), str(message.get("name")))
        elif "name" in message:
            peer.name = str(message["name"])
        elif "failed" in message:
            peer.done = True
            self._end("%s has ended: %s" % (peer.name, message["failed"]))
        elif "done" in message:
            peer.done = True
            peer.hear_of_waiting(0)
        elif "waiting" in message:
            peer.hear_of_waiting(float(message["waiting"]))

    def _welcome(self, peer: _Peer, role: str, name: str) -> None:
        expected = self._expected.get(role, 0)
        if sum(other.role == role for other in self._peers) >= expected:
            peer.send(ended="there are %d already, as DMLC_NUM_%s says" % (expected, role.upper()))
            return
        peer.role, peer.name = role, name
        self._peers.append(peer)
        if role == "worker" and self._first_came is None:
            self._first_came = time.monotonic()
        if self._missing() is None:
            self._tell(all=True)

    def _missing(self) -> str | None:
        """Say in words how many have come; None if all are there."""
        counts = {role: sum(peer.role == role for peer in self._peers) for role in self._expected}
        if counts == self._expected:
            return None
        return " and ".join("%d of %d %ss" % (counts[role], self._expected[role], role) for role in self._expected)

    def _look_for_silence(self) -> None:
        for peer in self._peers:
            if not peer.done and peer.silence > self._patience:
                self._end("nothing was heard of %s for %d seconds" % (peer.name, self._patience))
        workers = [peer for peer in self._peers if peer.role == "worker"]
        if not self._missing() and min(peer.waiting for peer in workers) > self._patience:
            self._end(
                "all workers have waited for %d seconds, and nobody answers: what they sent is lost; start all anew "
                "with --resume" % self._patience
            )
        # Time counts from when the first worker came. Before that, the run may not have begun.
        waited = time.monotonic() - (self._first_came or time.monotonic())
        if waited > self._patience and self._missing():
            self._end("only %s have come in %d seconds" % (self._missing(), self._patience))

    def _tell(self, **message: Any) -> None:
        for peer in self._peers:
            peer.send(**message)

    def _end(self, reason: str) -> NoReturn:
        self._tell(ended=reason)
        until = time.monotonic() + 1
        # Read until the others have the message. Closing a connection with unread data would
        # discard the message.
        for peer in self._peers:
            with contextlib.suppress(OSError):  # it is closed
                peer.connection.settimeout(0.1)
            while time.monotonic() < until and peer.receive() is not None:
                pass
        _end_process(reason)


# --- In the others --------------------------------------------------------------------------------


class Heartbeat:
    """The connection of a server or worker to the scheduler.

    Its thread ends this process when another process of the run ends.

    Parameters
    ----------
    where
        The `Address` of this process.

    Raises
    ------
    InputError
        No scheduler answers, or not all others come, within `seconds_to_wait`.
    """

    failed = False  # whether this process has failed

    def __init__(self, where: Address) -> None:
        self._where, self._patience, self._left = where, seconds_to_wait(), False
        self._waits_since: float | None = None
        name = "%s (process %d on %s)" % (where.role, os.getpid(), socket.gethostname())
        self._lines = self._connect()
        self._lines.send(role=where.role, name=name)
        if where.role == "worker":  # a server may wait as long as its scheduler does
            self._wait_for_all()
        threading.Thread(target=self._listen, daemon=True).start()

    def _connect(self) -> Connection:
        """Connect to the scheduler, and return when it has shown that it knows the secret."""
        where, started, said = self._where, time.monotonic(), None
        while time.monotonic() - started < self._patience:
            try:
                found = socket.create_connection((where.host, where.port + 1), timeout=self._patience)
            except OSError as error:
                said = error.strerror or str(error)
                time.sleep(0.1)
                continue
            lines, said = Connection(found, _OTHER, _SCHEDULER), "it says nothing"
            while time.monotonic() - started < self._patience:
                if lines.receive() is None:
                    said = "it closes the connection"
                    break
                if lines.is_trusted:
                    return lines
            if lines.is_foreign:
                raise InputError(
                    "what answers at %s:%d is no scheduler of this program, or has another %s; see to it and to "
                    "DMLC_PS_ROOT_PORT" % (where.host, where.port + 1, SECRET)
                )
            time.sleep(0.1)
        raise InputError(
            "no scheduler answers at %s:%d, which is DMLC_PS_ROOT_PORT + 1 (%s); start this program with "
            "DMLC_ROLE=scheduler there, or see to DMLC_PS_ROOT_URI and DMLC_PS_ROOT_PORT"
            % (where.host, where.port + 1, said)
        )

    def _wait_for_all(self) -> None:
        started = time.monotonic()
        # The scheduler gives up first and says who is missing.
        while time.monotonic() - started < self._patience + 5:
            messages = self._lines.receive()
            if messages is None:
                break
            for message in messages:
                if "ended" in message:
                    raise InputError("%s; start all processes of a run" % message["ended"])
                if "all" in message:
                    return
            self._lines.send()
        raise InputError("the scheduler closed the connection; see what it says, and start all anew")

    def _listen(self) -> None:
        self._lines.connection.settimeout(min(5, self._patience / 4))
        while not self._left:
            messages = self._lines.receive()
            since = self._waits_since
            self._lines.send(waiting=time.monotonic() - since if since else 0.0)
            if messages is None or self._lines.silence > self._patience:
                reason = "the scheduler has ended"
            else:
                reason = next((message["ended"] for message in messages if "ended" in message), None)
            if reason:
                # Even if all is well, the scheduler may end before a server. A process that failed
                # has its own exit status. Both get some time to end by themselves.
                time.sleep(_GRACE if messages is None and self._where.role == "server" or self.failed else 0)
                if not self._left:
                    _end_process(reason)

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Report, during the block, that this worker computes nothing and waits for the others."""
        self._waits_since = time.monotonic()
        try:
            yield
        finally:
            self._waits_since = None

    def rename(self, name: str) -> None:
        """Change what the others call this process.

        Parameters
        ----------
        name
            The new name. Process number and host are added to it.
        """
        self._lines.send(name="%s (process %d on %s)" % (name, os.getpid(), socket.gethostname()))

    def leave(self) -> None:
        """Let this process end before the others, because all is well."""
        self._left = True
        self._lines.send(done=True)

    def fail(self, reason: str) -> None:
        """End the others. This process must end by itself, soon: see `finish`.

        Parameters
        ----------
        reason
            One line that says why; at most 500 characters are sent.
        """
        Heartbeat.failed = True
        self._lines.send(failed=one_line(reason)[:500])


def finish(status: int) -> None:
    """End this process at once if it has failed: at a normal exit MXNet waits for the others.

    Parameters
    ----------
    status
        Exit status.
    """
    if Heartbeat.failed:
        _exit(status)
