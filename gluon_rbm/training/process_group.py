"""Training with several devices and several workers, over MXNet's key-value store.

A run has P shards: the devices of all its workers, in order. Each shard has a part of every batch
and of the chains, and computes the gradient g_p of its mean loss. All shards then follow

    (g_1 + ... + g_P) / (P batch).

The divisor contains the batch size because the documented update divides the mean gradient by the
batch size once more. The store only adds. The optimizers stay in the workers, so schedules,
averages, checkpoints and resuming work as with a single device. All workers make the same updates,
so their parameters stay equal to the last bit. `ProcessGroup.check_equal` checks this after every
epoch. One worker, the chief, writes all files. The run folder looks like that of a run with one
device.

A run with one process has a group too. Its messages cost nothing.
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
    """Workers of a run and their devices.

    If a method exchanges data with other workers, all workers must call it.

    Parameters
    ----------
    kind
        One of `KV_STORES`. With "dist_sync", this process is one of DMLC_NUM_WORKER workers.
    cuda, device_id, num_devices
        As `cuda`, `device_id` and `count` in `gluon_rbm.backend.devices.choose_contexts`.

    Attributes
    ----------
    rank
        Number of this worker, from 0.
    num_workers
        Number of workers.
    chief
        Rank of the worker that monitors the run and writes files.
    num_shards
        Number of devices of all workers.
    first_shard
        Number of this worker's first device among them, from 0.
    contexts
        Devices of this worker.
    note
        Remark on the choice of the devices, for the user, or None.
    is_agreed
        Whether all workers know that one of them has received a signal.

    Raises
    ------
    InputError
        The workers cannot find each other, or a device is not available.
    """

    def __init__(self, kind: str, cuda: bool | None = None, device_id: int = 0, num_devices: int = 1) -> None:
        self._heartbeat: heartbeat.Heartbeat | None = None
        self._kv: Any = None
        self._sums: dict[str, NDArray] = {}
        self._all_end = False
        self._signals: NDArray | None = None  # signals of all workers before the previous step
        self.is_agreed = False
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
            raise InputError("DMLC_ROLE was set to %s after the program started; set it before" % where.role)
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
            _never_freed.append(self._kv)  # freeing it would wait for the others
            said = str(error).strip()
            self._heartbeat.fail(said.splitlines()[-1] if said else type(error).__name__)

    @property
    def is_chief(self) -> bool:
        """Whether this worker monitors the run and writes files.

        Returns
        -------
        bool
            True in one worker.
        """
        return self.rank == self.chief

    @property
    def seed_words(self) -> list[int]:
        """Numbers to add to a seed, so that every worker has its own noise.

        With equal seeds, MXNet's generators would be the same in all workers. The devices of one
        worker differ anyway: CPUs draw in turn from one generator, and each GPU has its own.

        Returns
        -------
        list of int
            [rank], or [] if the rank is 0.
        """
        return [self.rank] if self.rank else []

    def waiting(self) -> ContextManager[None]:
        """Mark a block in which this process only waits for other workers.

        The run ends when all workers wait for too long.

        Returns
        -------
        context manager
            The block.
        """
        return self._heartbeat.waiting() if self._heartbeat else contextlib.nullcontext()

    def _barrier(self) -> None:
        with self.waiting():
            self._kv._barrier()

    # --- Sums -------------------------------------------------------------------------------------

    def all_reduce(self, name: str, values: Sequence[NDArray]) -> None:
        """Add NDArrays of all devices of all workers.

        Parameters
        ----------
        name
            Name of the sum.
        values
            One NDArray for each device of this worker. The first one becomes the sum.
        """
        if self._kv is None:
            return
        if name not in self._sums:
            zeros = values[0].zeros_like()
            zeros.wait_to_read()
            with self.waiting():
                self._kv.init(name, zeros)
            if self._heartbeat:
                self._barrier()  # so that no worker pulls the array before it exists
        elif self._sums[name] is not values[0]:
            # MXNet keeps pushes of one array in order, but not pushes of different arrays under one
            # name. It would take two pushes of one worker for pushes of two workers.
            with self.waiting():
                self._sums[name].wait_to_read()
        self._sums[name] = values[0]
        self._kv.push(name, values)
        self._kv.pull(name, out=values[0])

    def all_gather(self, name: str, array: Any) -> np.ndarray:
        """Collect an array from each worker.

        Parameters
        ----------
        name
            Name of the array.
        array
            This worker's array. All workers' arrays have the same shape.

        Returns
        -------
        float32 (num_workers, ...)
            Arrays of all workers, by rank.
        """
        gathered = self._begin_gather(name, array)
        with self.waiting():
            return gathered.asnumpy()

    def _begin_gather(self, name: str, array: Any) -> NDArray:
        """As `all_gather`, but return an NDArray at once; reading it waits for the others."""
        rows = np.zeros((self.num_workers, *np.shape(array)), np.float32)
        rows[self.rank] = array
        gathered = from_host(rows)
        if self.num_workers > 1:
            # The sums are exact: only one term of each is not zero.
            self.all_reduce(name, [gathered])
        return gathered

    def broadcast(self, content: bytes) -> bytes:
        """Send bytes from the chief to all workers.

        Parameters
        ----------
        content
            Bytes to send. Only those of the chief count.

        Returns
        -------
        bytes
            The chief's content.

        Raises
        ------
        InputError
            The message is garbled.
        """
        if self.num_workers == 1:
            return content
        # The length is sent as two numbers, because float32 is exact only up to 2^24.
        size = self.all_gather("size", np.array(divmod(len(content), 2**16)))[self.chief]
        if not (0 <= size).all() or not (size <= 2**16).all():  # NaN fails, too
            raise InputError("a message of worker %d cannot be read; restart all workers" % self.chief)
        length = int(size[0]) * 2**16 + int(size[1])
        if not length:
            return b""
        values = np.frombuffer(content, np.uint8) if self.is_chief else np.zeros(length)
        told = from_host(values.astype(np.float32))
        self.all_reduce("content of %d bytes" % length, [told])
        with self.waiting():
            return told.asnumpy().astype(np.uint8).tobytes()

    def scatter(self, batch: np.ndarray) -> list[NDArray]:
        """Divide a batch among the shards.

        All shards have the same size, so every image counts alike. If the number of shards does
        not divide a short last batch, the first images occur twice.

        Parameters
        ----------
        batch
            Batch of the whole run, (rows, num_visible).

        Returns
        -------
        list of NDArray
            Shards for the devices of this worker, float32.
        """
        if self.num_shards == 1:
            return [from_host(np.asarray(batch, np.float32), self.contexts[0])]
        size = -(-len(batch) // self.num_shards)
        starts = (size * (self.first_shard + index) for index in range(len(self.contexts)))
        shards = (batch[(start + np.arange(size)) % len(batch)] for start in starts)
        return [from_host(np.asarray(shard, np.float32), context) for shard, context in zip(shards, self.contexts)]

    # --- Agreement between workers ----------------------------------------------------------------

    def choose_chief(self, is_candidate: bool) -> None:
        """Make the first candidate the chief, or the first worker if there is no candidate.

        Parameters
        ----------
        is_candidate
            Whether this worker is a candidate.
        """
        if self.num_workers > 1:
            self.chief = int(self.all_gather("candidates", is_candidate).argmax())

    def chief_says(self, stop: bool) -> bool:
        """Tell all workers whether the chief wants to stop.

        Parameters
        ----------
        stop
            Whether this worker wants to stop. Only the chief's value counts.

        Returns
        -------
        bool
            The chief's value.
        """
        return self.broadcast(b"stop" if stop else b"go on") == b"stop"

    def is_interrupted(self) -> bool:
        """Whether any worker has received a signal.

        Returns
        -------
        bool
            True in all workers at the same step, one step after the signal.
        """
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
        """Wait for all workers, which then end for the same reason."""
        self._barrier()
        self._all_end = True

    def check_equal(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Check that arrays are equal in all workers, bit for bit.

        Parameters
        ----------
        arrays
            Name -> NumPy array.

        Raises
        ------
        InputError
            A worker's arrays differ from the chief's.
        """
        if self.num_workers == 1:
            return
        digest = hashlib.sha256()
        for array in arrays.values():
            digest.update(np.ascontiguousarray(array).tobytes())
        digests = self.all_gather("digest", np.frombuffer(digest.digest(), np.uint8))
        others = [str(rank) for rank, row in enumerate(digests) if (row != digests[self.chief]).any()]
        if others:
            raise InputError(
                "the parameters of worker %s differ from those of worker %d; run the same versions on computers of the "
                "same kind, and resume from the last checkpoint" % (", ".join(others), self.chief)
            )
