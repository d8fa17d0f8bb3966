"""Several devices and several workers learn together, over MXNet's key-value store.

A run has P parts: the devices of all its workers, in order. Each part has its share of every batch and of the chains,
and gives the gradient g_p of its mean loss; all parts then follow

    (g_1 + ... + g_P) / (P batch),

P times the batch because the documented update divides the mean gradient by the batch once more. The store only adds:
optimizers stay in the workers, so that schedules, averages, checkpoints and resume are those of a single device. All
workers add the same sums to the same numbers, so their parameters stay equal to the last bit, and `check_equal` says so
after every epoch. What the workers have each of their own, the chains, is gathered for a checkpoint. So all that is on
disk belongs to one of them, who leads, and looks like a run of one device.
"""

import hashlib

import numpy as np

from gluon_rbm.backend import heartbeat
from gluon_rbm.backend.arrays import from_host
from gluon_rbm.backend.devices import choose_contexts
from gluon_rbm.backend.framework import mx
from gluon_rbm.errors import InputError
from gluon_rbm.likelihood import learning

__all__ = ["KV_STORES", "ProcessGroup", "DataParallelLearner"]

KV_STORES = ("local", "device", "dist_sync")

_kept = []


class ProcessGroup:
    """The parts of a run, and what they tell each other. Every call with a sum in it is made by all workers or by none.

    kind : one of `KV_STORES`; "dist_sync": this process is one of DMLC_NUM_WORKER workers
    cuda, device_id, num_devices : as `framework.choose_contexts` takes them

    rank, num_workers : of this worker, of all; parts, first : of all devices, of the first one here
    contexts, note : of the devices here

    Raises InputError where the workers cannot find each other, or a device cannot be had.
    """

    def __init__(self, kind, cuda=None, device_id=0, num_devices=1):
        self._watch, self._kv, self._sums, self._all_end = None, None, {}, False
        self.rank, self.num_workers, self.leader = 0, 1, 0
        if kind == "dist_sync":
            self._join()
        elif num_devices > 1:
            self._kv = mx.kv.create(kind)
        self.parts, self.first = self.num_workers * num_devices, self.rank * num_devices
        self.contexts, self.note = choose_contexts(cuda, device_id, num_devices)

    def _join(self):
        where = heartbeat.address()
        if where.role != "worker":
            raise InputError("DMLC_ROLE is %s, which this program was to see when it started" % where.role)
        self._watch = heartbeat.Heartbeat(where)
        self._kv = mx.kv.create("dist_sync")
        self.rank, self.num_workers = self._kv.rank, self._kv.num_workers
        self._watch.rename("worker %d" % self.rank)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if self._watch is None:
            return
        if error is None or self._all_end:
            self._kv._barrier()
            self._watch.leave()
            self._kv = None  # ends the servers and the scheduler
        else:
            _kept.append(self._kv)  # to free it would wait for the others
            self._watch.fail(str(error).strip().splitlines()[-1] if str(error) else kind.__name__)

    @property
    def leads(self):
        """Whether this worker monitors and writes."""
        return self.rank == self.leader

    @property
    def seed_words(self):
        """What the seed of an epoch's noise needs besides: MXNet's generators of one seed start alike in every worker.

        (Devices of one worker differ: CPUs draw one after the other from one generator, GPUs have one each.)
        """
        return [self.rank] if self.rank else []

    # --- Sums ---------------------------------------------------------------------------------------------------------

    def sum(self, name, values):
        """Add NDArrays up: one for each device here, and those of the other workers. The first one becomes the sum."""
        if self._kv is None:
            return
        if name not in self._sums:
            self._kv.init(name, values[0].zeros_like())
            if self._watch:
                self._kv._barrier()  # nothing is pulled before it is there
        elif self._sums[name] is not values[0]:
            # MXNet orders the pushes of an array, not those of a name: two of one worker would count as of two.
            self._sums[name].wait_to_read()
        self._sums[name] = values[0]
        self._kv.push(name, values)
        self._kv.pull(name, out=values[0])

    def gather(self, name, array):
        """The arrays of all workers, NumPy, float32 and of one shape, in order: (num_workers, ...)."""
        return self.begin_gather(name, array).asnumpy()

    def begin_gather(self, name, array):
        """As `gather`; an NDArray, which is there when it is read."""
        rows = np.zeros((self.num_workers, *np.shape(array)), np.float32)
        rows[self.rank] = array
        rows = from_host(rows)
        if self.num_workers > 1:
            self.sum(name, [rows])  # of one number and zeros: exact
        return rows

    def end_together(self):
        """Wait for all workers, who then end for a reason that all of them have."""
        self._kv._barrier()
        self._all_end = True

    def choose_leader(self, candidate):
        """Let the first worker who is a candidate lead; if there is none, the first one."""
        self.leader = int(self.gather("candidates", candidate).argmax())

    def broadcast(self, content):
        """The leader's content, bytes, in every worker."""
        if self.num_workers == 1:
            return content
        size = self.gather("size", np.array(divmod(len(content), 2**16)))[self.leader]  # float32 is exact up to 2^24
        size = int(size[0]) * 2**16 + int(size[1])
        if not size:
            return b""
        values = np.frombuffer(content, np.uint8) if self.leads else np.zeros(size)
        values = from_host(values.astype(np.float32))
        self.sum("content of %d bytes" % size, [values])
        return values.asnumpy().astype(np.uint8).tobytes()

    def check_equal(self, arrays):
        """InputError unless the NumPy arrays, by name, are the leader's in every worker, bit for bit."""
        digest = hashlib.sha256()
        for array in arrays.values():
            digest.update(np.ascontiguousarray(array))
        digests = self.gather("digest", np.frombuffer(digest.digest(), np.uint8))
        others = [str(rank) for rank, row in enumerate(digests) if (row != digests[self.leader]).any()]
        if others:
            raise InputError(
                "the parameters of worker %s are no longer those of worker %d: run the same versions on machines of "
                "one kind, and resume from the last checkpoint" % (", ".join(others), self.leader)
            )

    def place(self, batch):
        """What a learner's `step` takes, of a batch (rows, num_visible), NumPy: an NDArray, or a part's share each.

        All shares are of one size, so that every image counts alike. In a short last batch that cannot be divided the
        first images serve twice.
        """
        if self.parts == 1:
            return mx.nd.array(batch, ctx=self.contexts[0])
        size = -(-len(batch) // self.parts)
        starts = (size * (self.first + index) for index in range(len(self.contexts)))
        shares = (batch[(start + np.arange(size)) % len(batch)] for start in starts)
        return [mx.nd.array(share, ctx=context) for share, context in zip(shares, self.contexts)]


class DataParallelLearner:
    """Learners of the devices here as one learner (see `gluon_rbm.training.binary_training`), in step with those of other workers.

    make : (arrays, context) -> the learner of one device
    arrays : name -> NDArray, of the whole run; chains are divided among the parts
    """

    def __init__(self, make, arrays, exchange, rule):
        self._exchange, self._rule = exchange, rule
        arrays = {name: array.asnumpy() for name, array in arrays.items()}
        self.learners = []
        for context, share in zip(exchange.contexts, self.shares(arrays)):
            share = {name: mx.nd.array(array, ctx=context) for name, array in share.items()}
            self.learners.append(make(share, context))
        self._first, *self._others = self.learners
        self.updater, self.parameter_names = self._first.updater, self._first.parameter_names

    def step(self, shares):
        results = [learner.backward(share) for learner, share in zip(self.learners, shares)]
        gradients = [learner.gradients() for learner in self.learners]
        for name in gradients[0]:
            self._exchange.sum(name, [gradient[name] for gradient in gradients])
        self._first.update()
        states = self._average_states(results)
        for other in self._others:
            arrays, own = self._first.arrays(), other.arrays()
            for name in [*gradients[0], *states]:
                own[name][:] = arrays[name]
        return results[0]

    def _average_states(self, results):
        """Let what follows the data of each part follow those of all of them; the names of it."""
        names = [name for name in (*learning.OFFSETS, learning.SWAP_RATE) if name in self._first.arrays()]
        if names:
            mx.nd.waitall()  # MXNet's executors do not protect states from others
        for name in names:
            arrays = [learner.arrays()[name] for learner in self.learners]
            self._exchange.sum(name, arrays)
            arrays[0] /= self._exchange.parts
        return names

    def arrays(self):
        """Of the first device here: the parameters of all, and its own chains."""
        return self._first.arrays()

    def gathered(self):
        """The arrays of the whole run: name -> NumPy array."""
        joint = {name: array.asnumpy() for name, array in self._first.arrays().items()}
        for name in learning.SAMPLES:
            rows = self._exchange.gather(name, np.stack([one.arrays()[name].asnumpy() for one in self.learners]))
            rows = rows.reshape((self._exchange.parts, self._rule.replicas, -1, rows.shape[-1]))
            joint[name] = rows.swapaxes(0, 1).reshape((-1, rows.shape[-1]))
        return joint

    def shares(self, arrays):
        """The arrays of each device here, of those of the whole run (NumPy, by name)."""
        parts, first = self._exchange.parts, self._exchange.first
        for part in range(first, first + len(self._exchange.contexts)):
            share = dict(arrays)
            for name in learning.SAMPLES:
                rows = arrays[name].reshape((self._rule.replicas, parts, -1, arrays[name].shape[-1]))
                share[name] = rows[:, part].reshape((-1, rows.shape[-1]))
            yield share
