"""A training run, epoch by epoch: what every kind of run shares, from its checkpoint to its files."""

import contextlib
import sys
import time

import numpy as np
from tqdm import tqdm

from gluon_rbm.backend import interruption
from gluon_rbm.backend.files import write_whole
from gluon_rbm.backend.framework import mx
from gluon_rbm.backend.random import seed_mxnet
from gluon_rbm.errors import DivergenceError, InputError, one_line
from gluon_rbm.evaluation import plots
from gluon_rbm.training import optimization, tensorboard
from gluon_rbm.training.run_folder import Checkpoint

__all__ = [
    "RESUMABLE_CHANGES",
    "Run",
    "check_batch_size",
]

# Arguments that a resumed run of any kind may change: they do not change what its parameters become.
RESUMABLE_CHANGES = (
    "dataset",  # its content is compared instead
    "data_dir",
    "data_loader_num_worker",
    "output_dir",
    "resume",
    "tensorboard",
    "cuda",
    "device_id",
    "monitor_every",
)


def check_batch_size(batch_size, num_images):
    """InputError if a batch is to hold more images than there are."""
    if batch_size > num_images:
        raise InputError(
            "there are %d training images for a --batch-size of %d; choose a smaller one" % (num_images, batch_size)
        )


class Run:
    """A run as a loop over epochs, each of them whole on disk before the next begins; of one that is interrupted
    (`gluon_rbm.backend.interruption`), so many steps.

    A subclass sets these before `run`:

        args, folder                      arguments (options.parse); a `RunFolder`
        learner                           see `gluon_rbm.training.binary_training`
        num_epoch, batches_an_epoch       lengths
        limit, remedy                     the largest sound value of any array, and what helps against larger ones

    and has `_batches`, `_monitor`, `_watched`, `_make_pictures` and what else is empty here.
    """

    leads = True  # whether this process monitors and writes: see `gluon_rbm.training.parallel`
    _SWEEPS = 3  # the purpose of an epoch's noise, among those of the subclass

    def __init__(self, args, folder):
        self.args, self.folder, self.num_epoch = args, folder, args.num_epoch
        self.epoch, self.metrics, self._watcher = 0, [], None
        self._steps, self._seconds = 0, 0.0  # done of the next epoch
        self._saved = None  # what the checkpoint on disk is of

    def run(self):
        """Train from where the checkpoint is to the end; `Interrupted` leaves one of all steps that were done."""
        try:
            with interruption.held():
                self._restore()
                with self._watching():
                    self._train()
            if self.leads:
                self._make_pictures()
        except interruption.Interrupted as interrupted:
            saved = "%s; --resume goes on from there" % self._saved
            interrupted.where = saved if self._saved else "before anything was saved"
            raise

    # --- What a kind of run is ----------------------------------------------------------------------------------------

    def _seed(self, step, first):
        """See to the noise of a step of the epoch, from 0: it follows from the seed and the numbers of epoch and step.

        first : whether this process has done no step of the epoch
        """
        seed_mxnet(self.args.seed, self._SWEEPS, self.epoch + 1, *self._seed_words())

    def _batches(self, number, skip):
        """The NDArrays that `learner.step` takes in epoch `number`, from 1, but for the first `skip`."""
        raise NotImplementedError

    def _monitor(self, number):
        """A row of metrics, and the line to print."""
        raise NotImplementedError

    def _make_pictures(self):
        raise NotImplementedError

    def _watched(self, arrays):
        """Pictures for who watches: name -> (images (n, pixels) in [0, 1], their shape); arrays : as of `_observed`."""
        raise NotImplementedError

    def _is_over(self):
        return self.epoch >= self.num_epoch

    def _remark(self):
        """What is said of the run when it begins, after its folder."""
        return ""

    def _begin_epoch(self):
        pass

    def _set_pace(self, optimizer, progress):
        """progress : the share of the run that is done."""
        args = self.args
        factor = optimization.rate_factor(args.learning_rate_schedule, args.hold, progress)
        optimizer.set_learning_rate(args.learning_rate * factor)

    def _after_step(self, result, progress):
        """result : what `learner.step` returned; progress : the share of the run that was done before."""

    def _observed(self, arrays):
        """Columns of the metrics that cost nothing; arrays : the learner's, name -> NumPy array."""
        return {}

    def _kept(self):
        """Further states of a checkpoint: average, best."""
        return ()

    def _seed_words(self):
        """What the seed of an epoch's noise needs besides: nothing, in a process that trains alone."""
        return []

    def _is_interrupted(self):
        return interruption.pending()

    def _state(self):
        """What a checkpoint holds of the learner: name -> NumPy array."""
        return self._arrays()

    def _gathered(self):
        """What the row of an epoch needs from its steps: name -> NumPy array."""
        return {}

    def _put(self, checkpoint):
        restore_arrays(self.learner, checkpoint.arrays)

    def _take(self, checkpoint):
        self._put(checkpoint)
        updates = self._epochs_learned(checkpoint.epoch) * self.batches_an_epoch + checkpoint.steps
        optimization.restore_optimizer(self.learner, checkpoint.optimizer_state, updates)

    def _epochs_learned(self, epoch):
        """By the learner, of so many epochs."""
        return epoch

    def _results(self, arrays):
        """What goes into the file of parameters: name -> NumPy array."""
        return arrays

    # --- The loop -----------------------------------------------------------------------------------------------------

    def _restore(self):
        if self.args.resume and not self.folder.resuming:
            print("nothing to resume in %s: training from the beginning" % one_line(self.folder.path))
        checkpoint = self._load_checkpoint()
        if checkpoint is None:
            print("run folder %s%s" % (one_line(self.folder.path), self._remark()), flush=True)
            return
        try:
            self._take(checkpoint)
        except InputError:
            raise
        except (LookupError, TypeError, ValueError, mx.MXNetError) as error:
            raise InputError(
                "the checkpoint in %s does not fit (%s); resume with the arguments and data set of the run"
                % (self.folder.path, str(error).strip().splitlines()[-1])
            ) from error
        self.epoch, self.metrics, self._steps = checkpoint.epoch, checkpoint.metrics, checkpoint.steps
        self._seconds = float(checkpoint.partial.get("seconds", 0))
        self._saved = self._where(checkpoint)
        self._write_results(checkpoint.arrays)  # they may be older than the checkpoint, or gone
        print("resuming %s %s" % (one_line(self.folder.path), self._saved), flush=True)

    @contextlib.contextmanager
    def _watching(self):
        if not (self.args.tensorboard and self.leads):
            yield
            return
        # What an epoch changes is not known of one that was done in part before.
        before = {} if self._steps else self._parameters(self._arrays())
        watcher = tensorboard.TensorBoardWriter(self.folder.file(tensorboard.FOLDER), self.epoch, self.metrics, before)
        with contextlib.closing(watcher) as self._watcher:
            yield

    def _arrays(self):
        return {name: array.asnumpy() for name, array in self.learner.arrays().items()}

    def _parameters(self, arrays):
        return {name: arrays[name] for name in self.learner.parameter_names.values()}

    def _where(self, checkpoint):
        if not checkpoint.steps:
            return "after epoch %d" % checkpoint.epoch
        return "in epoch %d after %d of %d steps" % (checkpoint.epoch + 1, checkpoint.steps, self.batches_an_epoch)

    def _train(self):
        with tqdm(
            total=self.num_epoch * self.batches_an_epoch,
            initial=self.epoch * self.batches_an_epoch + self._steps,
            unit="batch",
            disable=None if self.leads else True,
            dynamic_ncols=True,
        ) as bar:
            while not (self._is_over() or self._is_interrupted()):
                bar.set_description("epoch %d/%d" % (self.epoch + 1, self.num_epoch))
                self._train_epoch(bar)
                if self._is_interrupted():
                    self._save(self._checkpoint())
                else:
                    self._finish_epoch()

    def _load_checkpoint(self):
        return self.folder.load_checkpoint()

    def _train_epoch(self, bar):
        """The steps of the epoch that are left, or those until a signal came."""
        started, done = time.perf_counter() - self._seconds, self._steps
        if not done:
            self._begin_epoch()
        last = None
        for index, batch in enumerate(self._batches(self.epoch + 1, done), done):
            progress = (self.epoch + index / self.batches_an_epoch) / self.num_epoch
            self._set_pace(self.learner.updater.optimizer, progress)
            self._seed(index, index == done)
            # Waiting for the step before keeps MXNet busy, and no more than one batch ahead.
            current = self.learner.step(batch)
            if last is not None:
                last.wait_to_read()
            last = current
            self._after_step(current, progress)
            bar.update()
            self._steps = index + 1
            if self._is_interrupted():
                break
        mx.nd.waitall()
        self._seconds = time.perf_counter() - started

    def _checkpoint(self):
        """The run as it is, in the middle of an epoch; DivergenceError where it diverged."""
        arrays = self._state()
        if not all(np.abs(array).max() < self.limit for array in arrays.values()):  # NaN fails too
            raise DivergenceError(
                "training diverged in epoch %d; %s (%s holds what was saved before)"
                % (self.epoch + 1, self.remedy, self.folder.path)
            )
        state = optimization.optimizer_state(self.learner)
        partial = {"steps": np.array(self._steps), "seconds": np.array(self._seconds), **self._gathered()}
        return Checkpoint(self.epoch, arrays, state, list(self.metrics), *self._kept(), partial=partial)

    def _finish_epoch(self):
        """Refuse what diverged; then monitor, and put the epoch on disk."""
        before, number, seconds = self._checkpoint(), self.epoch + 1, self._seconds
        self.epoch, self._steps, self._seconds = number, 0, 0.0
        row = {"epoch": number, "seconds": round(seconds, 3), **self._observed(before.arrays)}
        message = "Epoch %d completed" % number
        monitored = number % self.args.monitor_every == 0 or number == self.num_epoch
        if monitored:
            started = time.perf_counter()
            try:
                with interruption.allowed():
                    measured, message = self._monitor(number)
            except interruption.Interrupted:
                self._save(before)
                raise
            row.update(measured, monitor_seconds=round(time.perf_counter() - started, 3))
        self.metrics.append(row)
        if self._watcher:  # before the checkpoint: a run that goes on from the one before writes this epoch anew
            pictures = self._watched(before.arrays) if monitored else {}
            self._watcher.write(number, self.metrics, self._parameters(before.arrays), pictures)
        self._save(Checkpoint(number, before.arrays, before.optimizer_state, self.metrics, *self._kept()))
        tqdm.write("%s (%.1f s)" % (message, seconds))
        sys.stdout.flush()

    def _save(self, checkpoint):
        """The checkpoint first: it holds all the rest."""
        self.folder.save_checkpoint(checkpoint)
        self._saved = self._where(checkpoint)
        self._write_results(checkpoint.arrays)

    def _write_results(self, arrays):
        self.folder.write_parameters(self._results(arrays))
        self.folder.write_metrics(self.metrics)

    def _picture(self, name, figure):
        with write_whole(self.folder.file(name)) as temporary:
            plots.save(figure, temporary)


def restore_arrays(learner, saved):
    """Put a checkpoint's arrays into the learner; InputError where they are not of its shapes."""
    arrays = learner.arrays()
    expected = {name: array.shape for name, array in arrays.items()}
    found = {name: array.shape for name, array in saved.items()}
    if expected != found:
        raise InputError(
            "the checkpoint's arrays have shapes %s, the model's %s; resume with the arguments and data set "
            "of the run" % (found, expected)
        )
    for name, array in arrays.items():
        array[:] = mx.nd.array(saved[name], ctx=array.context)
