"""A run whose batches are shared by several devices and workers (see `gluon_rbm.training.process_group`), as one of them sees it.

One worker leads: it alone has a run folder, monitors, and makes pictures. The others wait for it between two epochs,
where they tell it their chains, and it tells them whether to go on.
"""

import contextlib
import io
import json

from gluon_rbm.backend import framework, interruption
from gluon_rbm.errors import InputError
from gluon_rbm.training import epochs
from gluon_rbm.training.process_group import DataParallelLearner
from gluon_rbm.training.run_folder import Checkpoint, RunFolder, has_checkpoint

__all__ = ["ParallelRun"]


class ParallelRun(epochs.Run):
    """`exchange` is to be set before anything else; one device of one worker is a run as any other."""

    _told_to_stop = False
    _signals, _agreed = None, False

    @property
    def leads(self):
        return self.exchange.leads

    def choose_leader(self, args, default_name):
        """Who has a checkpoint to go on from leads: workers may be numbered anew when a run is resumed."""
        if self.exchange.num_workers > 1:
            self.exchange.choose_leader(args.resume and has_checkpoint(args.output_dir, default_name))

    def open_folder(self, args, default_name, arguments, free, stack):
        """The run folder, which `stack` closes; None in a worker who does not lead.

        arguments, free : as `RunFolder.write_arguments` takes them. InputError if they are not those of the leader.
        """
        folder = None
        if self.leads:
            folder = stack.enter_context(contextlib.closing(RunFolder(args.output_dir, default_name, args.resume)))
            folder.write_arguments(arguments, framework.versions(), free)
        theirs = json.loads(self.exchange.broadcast(json.dumps(arguments).encode()).decode())
        for name, value in json.loads(json.dumps(arguments)).items():
            if name not in epochs.RESUMABLE_CHANGES and value != theirs[name]:
                raise InputError(
                    "worker %d has --%s %s, worker %d has %s; start all with the same arguments and data"
                    % (self.exchange.rank, name.replace("_", "-"), value, self.exchange.leader, theirs[name])
                )
        return folder

    def make_learner(self, make, arrays, rule):
        """make : (arrays, context) -> the learner of one device; arrays, rule : as `Replicas` takes them"""
        if self.exchange.parts == 1:
            return make(arrays, self.exchange.contexts[0])
        return DataParallelLearner(make, arrays, self.exchange, rule)

    def _seed_words(self):
        return self.exchange.seed_words

    def _is_over(self):
        return super()._is_over() or self._told_to_stop

    def _load_checkpoint(self):
        if self.exchange.num_workers == 1:
            return super()._load_checkpoint()
        checkpoint = super()._load_checkpoint() if self.leads else None
        content = self.exchange.broadcast(checkpoint.content() if checkpoint else b"")
        return Checkpoint.load(io.BytesIO(content)) if content else None

    def _restore(self):
        if self.leads:
            super()._restore()
            return
        checkpoint = self._load_checkpoint()
        if checkpoint is not None:
            self._take(checkpoint)
            self.epoch, self._steps = checkpoint.epoch, checkpoint.steps
        print("worker %d of %d" % (self.exchange.rank, self.exchange.num_workers), flush=True)

    def _put(self, checkpoint):
        if self.exchange.parts == 1:
            super()._put(checkpoint)
            return
        for learner, arrays in zip(self.learner.learners, self.learner.shares(checkpoint.arrays)):
            epochs.restore_arrays(learner, arrays)

    def _state(self):
        if self.exchange.parts == 1:
            return super()._state()
        arrays = self.learner.gathered()
        self.exchange.check_equal(arrays)
        return arrays

    def _is_interrupted(self):
        """Whether a signal came to any worker: all are told in the same step, the one after."""
        if self.exchange.num_workers == 1:
            return super()._is_interrupted()
        if not self._agreed:
            before, self._signals = self._signals, self.exchange.begin_gather("signals", interruption.received())
            number = 0 if before is None else int(before.asnumpy().max())
            if number:
                interruption.receive(number)
                self._agreed = True
        return self._agreed

    def _train(self):
        super()._train()
        if self._agreed:
            self.exchange.end_together()  # now that the leader has saved

    def _checkpoint(self):
        if self.leads:
            return super()._checkpoint()
        self._state()
        return None

    def _save(self, checkpoint):
        if self.leads:
            super()._save(checkpoint)

    def _finish_epoch(self):
        if self.leads:
            super()._finish_epoch()
        else:
            self._checkpoint()
            self.epoch, self._steps, self._seconds = self.epoch + 1, 0, 0.0
        self._told_to_stop = self.exchange.broadcast(b"stop" if self._is_over() else b"go on") == b"stop"
