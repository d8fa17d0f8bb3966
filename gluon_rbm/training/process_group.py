"""Several devices and several workers learn together, over MXNet's key-value store.

A run has P shards: the devices of all its workers, in order. Each shard has its part of every batch and of the chains,
and gives the gradient g_p of its mean loss; all shards then follow

    (g_1 + ... + g_P) / (P batch),

P times the batch because the documented update divides the mean gradient by the batch once more. The store only adds:
optimizers stay in the workers, so that schedules, averages, checkpoints and resume are those of a single device. All
workers add the same sums to the same numbers, so their parameters stay equal to the last bit, and `check_equal` says so
after every epoch. One worker, the chief, has all that is on disk: it looks like a run of one device.

A group of one process is a group as any other; what would be told to others costs nothing there.
"""

from __future__ import annotations

import contextlib
import hashlib
from typing import Any, ContextManager, Mapping, Sequence

import numpy as np

from gluon_rbm.backend import heartbeat, interruption
from gluon_rbm.backend.arrays import from_host
from gluon_rbm.backend.devices import choose_contexts
from gluon_rbm.backend.framework import mx
from gluon_rbm.backend.types import NDArray
from gluon_rbm.errors import InputError

__all__ = ["KV_STORES", "ProcessGroup"]

KV_STORES = ("local", "device", "dist_sync")

_never_freed: list[Any] = []


class ProcessGroup:
    """The workers of a run and their devices. Every call that tells something is made by all workers or by none.

    Parameters
    ----------
    kind : str
        One of `KV_STORES`; "dist_sync": this process is one of DMLC_NUM_WORKER workers.
    cuda, device_id, num_devices
        As `gluon_rbm.backend.devices.choose_contexts` takes them.

    Attributes
    ----------
    rank, num_workers : int
        Of this worker; of all.
    chief : int
        The rank of the worker who monitors and writes.
    num_shards, first_shard : int
        Devices of all workers; the first of them that is here.
    contexts : list of mx.Context
        The devices here.
    note : str or None
        What to say of the choice of devices.

    Raises
    ------
    InputError
        Where the workers cannot find each other, or a device cannot be had.
    """

    def __init__(self, kind: str, cuda: bool | None = None, device_id: int = 0, num_devices: int = 1) -> None:
        self._heartbeat: heartbeat.Heartbeat | None = None
        self._kv: Any = None
        self._sums: dict[str, NDArray] = {}
        self._all_end = False
        self._signals: NDArray | None = None  # of the step before
        self.is_agreed = False  #: all workers know of a signal that came to one of them
        self.rank, self.num_workers, self.chief = 0, 1, 0
        if kind == "dist_sync":
            self._join()
        elif num_devices > 1:
            self._kv = mx.kv.create(kind)
        self.num_shards, self.first_shard = self.num_workers * num_devices, self.rank * num_devices
        self.contexts, self.note = choose_contexts(cuda, device_id, num_devices)

    def _join(self) -> None:
        where = heartbeat.address()
        if where.role != "worker":
            raise InputError("DMLC_ROLE is %s, which this program was to see when it started" % where.role)
        self._heartbeat = heartbeat.Heartbeat(where)
        with self.waiting():
            self._kv = mx.kv.create("dist_sync")
        self.rank, self.num_workers = self._kv.rank, self._kv.num_workers
        self._heartbeat.rename("worker %d" % self.rank)

    def __enter__(self) -> ProcessGroup:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if self._heartbeat is None:
            return
        if error is None or self._all_end:
            self._barrier()
            self._heartbeat.leave()
            self._kv = None  # ends the servers and the scheduler
        else:
            _never_freed.append(self._kv)  # to free it would wait for the others
            said = str(error).strip()
            self._heartbeat.fail(said.splitlines()[-1] if said else type(error).__name__)

    @property
    def is_chief(self) -> bool:
        """Whether this worker monitors and writes."""
        return self.rank == self.chief

    @property
    def seed_words(self) -> list[int]:
        """What the seed of an epoch's noise needs besides: MXNet's generators of one seed start alike in every worker.

        (Devices of one worker differ: CPUs draw one after the other from one generator, GPUs have one each.)
        """
        return [self.rank] if self.rank else []

    def waiting(self) -> ContextManager[None]:
        """Meanwhile this process waits for other workers, and computes nothing: where all do, the run ends."""
        return self._heartbeat.waiting() if self._heartbeat else contextlib.nullcontext()

    def _barrier(self) -> None:
        with self.waiting():
            self._kv._barrier()

    # --- Sums ---------------------------------------------------------------------------------------------------------

    def all_reduce(self, name: str, values: Sequence[NDArray]) -> None:
        """Add NDArrays up: one for each device here, and those of the other workers. The first one becomes the sum."""
        if self._kv is None:
            return
        if name not in self._sums:
            zeros = values[0].zeros_like()
            zeros.wait_to_read()
            with self.waiting():
                self._kv.init(name, zeros)
            if self._heartbeat:
                self._barrier()  # nothing is pulled before it is there
        elif self._sums[name] is not values[0]:
            # MXNet orders the pushes of an array, not those of a name: two of one worker would count as of two.
            with self.waiting():
                self._sums[name].wait_to_read()
        self._sums[name] = values[0]
        self._kv.push(name, values)
        self._kv.pull(name, out=values[0])

    def all_gather(self, name: str, array: Any) -> np.ndarray:
        """The arrays of all workers, of one shape, in order: float32 (num_workers, ...)."""
        gathered = self._begin_gather(name, array)
        with self.waiting():
            return gathered.asnumpy()

    def _begin_gather(self, name: str, array: Any) -> NDArray:
        """As `all_gather`; an NDArray, which is there when it is read."""
        rows = np.zeros((self.num_workers, *np.shape(array)), np.float32)
        rows[self.rank] = array
        gathered = from_host(rows)
        if self.num_workers > 1:
            self.all_reduce(name, [gathered])  # of one number and zeros: exact
        return gathered

    def broadcast(self, content: bytes) -> bytes:
        """The chief's content in every worker."""
        if self.num_workers == 1:
            return content
        size = self.all_gather("size", np.array(divmod(len(content), 2**16)))[self.chief]  # float32: exact up to 2^24
        if not (0 <= size).all() or not (size <= 2**16).all():  # NaN is to fail, too
            raise InputError("what worker %d says is garbled; start all anew" % self.chief)
        length = int(size[0]) * 2**16 + int(size[1])
        if not length:
            return b""
        values = np.frombuffer(content, np.uint8) if self.is_chief else np.zeros(length)
        told = from_host(values.astype(np.float32))
        self.all_reduce("content of %d bytes" % length, [told])
        with self.waiting():
            return told.asnumpy().astype(np.uint8).tobytes()

    def scatter(self, batch: np.ndarray) -> list[NDArray]:
        """The shards of a batch (rows, num_visible) that belong to the devices here.

        All shards are of one size, so that every image counts alike. In a short last batch that cannot be divided the
        first images serve twice.
        """
        if self.num_shards == 1:
            return [from_host(np.asarray(batch, np.float32), self.contexts[0])]
        size = -(-len(batch) // self.num_shards)
        starts = (size * (self.first_shard + index) for index in range(len(self.contexts)))
        shards = (batch[(start + np.arange(size)) % len(batch)] for start in starts)
        return [from_host(np.asarray(shard, np.float32), context) for shard, context in zip(shards, self.contexts)]

    # --- What the workers agree on ------------------------------------------------------------------------------------

    def choose_chief(self, is_candidate: bool) -> None:
        """Let the first worker who is a candidate be the chief; if there is none, the first one."""
        if self.num_workers > 1:
            self.chief = int(self.all_gather("candidates", is_candidate).argmax())

    def chief_says(self, stop: bool) -> bool:
        """Whether the chief says to stop."""
        return self.broadcast(b"stop" if stop else b"go on") == b"stop"

    def is_interrupted(self) -> bool:
        """Whether a signal came to any worker: all are told in the same step, the one after."""
        if self.num_workers == 1:
            return interruption.pending()
        if not self.is_agreed:
            before, self._signals = self._signals, self._begin_gather("signals", interruption.received())
            with self.waiting():
                number = 0 if before is None else int(before.asnumpy().max())
            if number:
                interruption.receive(number)
                self.is_agreed = True
        return self.is_agreed

    def end_together(self) -> None:
        """Wait for all workers, who then end for a reason that all of them have."""
        self._barrier()
        self._all_end = True

    def check_equal(self, arrays: Mapping[str, np.ndarray]) -> None:
        """InputError unless the arrays, by name, are the chief's in every worker, bit for bit."""
        if self.num_workers == 1:
            return
        digest = hashlib.sha256()
        for array in arrays.values():
            digest.update(np.ascontiguousarray(array).tobytes())
        digests = self.all_gather("digest", np.frombuffer(digest.digest(), np.uint8))
        others = [str(rank) for rank, row in enumerate(digests) if (row != digests[self.chief]).any()]
        if others:
            raise InputError(
                "the parameters of worker %s are no longer those of worker %d: run the same versions on machines of "
                "one kind, and resume from the last checkpoint" % (", ".join(others), self.chief)
            )
