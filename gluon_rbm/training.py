"""What both training scripts share: a run from its arguments to its pictures, with monitoring, checkpoints and resume.

A script brings a learner, which is all that differs between the APIs:

    learner = make_learner(args, arrays, context)    arrays: name -> NDArray of the parameters and chains
    learner.step(batch) -> NDArray                   one update; something to wait for
    learner.arrays() -> name -> NDArray              live parameters and chains
    learner.updater, learner.parameter_names         the optimizer's `Updater`, and the parameter that each index means
"""

import contextlib
import hashlib
import math
import os
import sys
import time

import numpy as np
from tqdm import tqdm

import ais
from gluon_rbm import datasets, framework, gibbs, learning, options, plots
from gluon_rbm.energy import Parameters
from gluon_rbm.errors import DivergenceError, InputError
from gluon_rbm.framework import mx
from gluon_rbm.run_folder import Checkpoint, RunFolder, write_whole

__all__ = ["learning_rule", "main", "make_optimizer"]

_SHOWCASE_SIDE, _SHOWCASE_SWEEPS = 15, 3000

# Everything random has a key (seed, purpose, ...) of its own.
_WEIGHTS, _CHAINS, _SHUFFLE, _SWEEPS, _AIS, _PIXELS, _SHOWCASE = range(7)

# No unit has an input of this size that means anything; float32 gives up soon after.
_DIVERGED = 1e6

# Arguments that a resumed run may change: they do not change what its parameters become.
_FREE = (
    "num_epoch",
    "dataset",  # its content is compared instead
    "data_dir",
    "data_loader_num_worker",
    "output_dir",
    "resume",
    "cuda",
    "device_id",
    "monitor_every",
    "ais_batch_size",
    "ais_num_batch",
    "ais_intermediate_steps",
    "ais_burn_in_steps",
    "ais_base_rate",
)


def main(argv, prog, api, make_learner):
    """Run a training script; returns its exit status (2: unusable input, 3: divergence, 130: interrupted)."""
    try:
        with contextlib.ExitStack() as stack:
            _Run(options.parse(argv, prog), api, make_learner, stack).run()
    except InputError as error:
        print("%s: error: %s" % (prog, error), file=sys.stderr)
        return error.exit_status
    except MemoryError:
        print("%s: error: not enough memory; choose smaller sizes" % prog, file=sys.stderr)
        return InputError.exit_status
    except mx.MXNetError as error:  # MXNet hands on nothing of an operator's own error but this, and prints that itself
        print("%s: error: MXNet failed (%s); see above" % (prog, str(error).strip().splitlines()[-1]), file=sys.stderr)
        return InputError.exit_status
    except KeyboardInterrupt:
        print("%s: interrupted; --resume continues from the last whole epoch" % prog, file=sys.stderr)
        return 130
    return 0


def learning_rule(args):
    """The `LearningRule` of a run."""
    return learning.LearningRule(**{name: getattr(args, name) for name in learning.LearningRule._fields})


def make_optimizer(args, **settings):
    """The `mx.optimizer.SGD` of a run.

    The gradient is a mean over the batch already, and both APIs divide it by the batch size once more: the documented
    rate 0.1 is an effective 0.1 / 80. MXNet adds `wd` after that division, so lambda is divided here.
    """
    optimizer = mx.optimizer.SGD(
        learning_rate=args.learning_rate, momentum=args.momentum, wd=args.weight_decay / args.batch_size, **settings
    )
    optimizer.aggregate_num = 0  # three arrays in one operator take twice as long as one by one
    return optimizer


def _check_sizes(args, num_visible):
    """MXNet counts an array's elements in 31 bits."""
    rows, units = max(args.batch_size, args.ais_batch_size), max(num_visible, args.num_hidden)
    if max(rows * units, num_visible * args.num_hidden) >= 2**31:
        raise InputError(
            "an array would have 2^31 elements or more; choose a smaller --num-hidden, --batch-size or --ais-batch-size"
        )


def _free_arguments(args):
    """Arguments that a resumed run may change: not its length, where what is done before depends on it."""
    bound = args.learning_rate_schedule != "constant" or args.average
    return [name for name in _FREE if not (bound and name == "num_epoch")]


def _data_bias(data):
    """The log-odds of the mean training image, smoothed."""
    return ais.smoothed_visible_bias(datasets.mean_image(data.train_images, data.maximum), len(data.train_images))


def _initial_arrays(args, data, context):
    num_visible, num_hidden = data.num_visible, args.num_hidden
    weights = np.random.Generator(np.random.SFC64([args.seed, _WEIGHTS])).normal(
        scale=0.01, size=(num_visible, num_hidden)
    )
    arrays = {
        "visible_layer_bias": np.zeros(num_visible),
        "hidden_layer_bias": np.zeros(num_hidden),
        "interaction_weight": weights,
    }
    if args.initial_visible_bias == "data":
        arrays["visible_layer_bias"] = _data_bias(data)
    if args.centering:
        means = datasets.mean_image(data.train_images, data.maximum), np.full(num_hidden, 0.5)
        arrays.update(zip(learning.OFFSETS, means))
    arrays = {name: mx.nd.array(array, ctx=context, dtype="float32") for name, array in arrays.items()}
    noise = gibbs.Noise([args.seed, _CHAINS])
    for layer, units in (("visible", num_visible), ("hidden", num_hidden)):
        half = mx.nd.full((args.batch_size, units), 0.5, ctx=context)
        arrays["aux_%s_layer_sample" % layer] = noise.bernoulli(half)
    return arrays


class _Run:
    def __init__(self, args, api, make_learner, stack):
        self.args = args
        print(options.documented_namespace(args))
        print(options.added_namespace(args), flush=True)
        self.context, note = framework.choose_context(args.cuda_asked, args.device_id)
        if note:
            print(note, flush=True)
        self.data = datasets.load(args.dataset, args.data_dir)
        digest = hashlib.sha256(np.ascontiguousarray(self.data.train_images)).hexdigest()
        self.data, self.held_out = datasets.hold_out(self.data, args.held_out)
        _check_sizes(args, self.data.num_visible)
        data_name = os.path.splitext(os.path.basename(os.path.normpath(args.dataset)))[0]
        arrays = _initial_arrays(args, self.data, self.context)
        # To be recorded, as the noise depends on it; and before the folder is made, as it may be refused.
        args.engine = gibbs.choose_engine(args.engine, arrays["interaction_weight"])
        folder = RunFolder(args.output_dir, "%s-%s" % (api, data_name), args.resume)
        self.folder = stack.enter_context(contextlib.closing(folder))
        arguments = {name: value for name, value in vars(args).items() if name != "cuda_asked"}
        arguments["device"] = self.context.device_type  # noise and rounding depend on it
        arguments["data_sha256"] = digest
        self.folder.write_arguments(arguments, framework.versions(), _free_arguments(args))
        self.learner = make_learner(args, arrays, self.context)
        self.batches_an_epoch = -(-len(self.data.train_images) // args.batch_size)
        self.epoch, self.metrics, self.average = 0, [], learning.ParameterAverage()

    def run(self):
        self._restore()
        with tqdm(
            total=self.args.num_epoch * self.batches_an_epoch,
            initial=self.epoch * self.batches_an_epoch,
            unit="batch",
            disable=None,
            dynamic_ncols=True,
        ) as bar:
            while self.epoch < self.args.num_epoch:
                bar.set_description("epoch %d/%d" % (self.epoch + 1, self.args.num_epoch))
                started = time.perf_counter()
                self._train_epoch(bar)
                self._finish_epoch(time.perf_counter() - started)
        self._make_pictures()

    def _parameters(self):
        """The run's results so far: the averaged parameters as soon as there are such."""
        return Parameters(**(self.average.arrays or self._learned()))

    def _learned(self):
        arrays = self.learner.arrays()
        return {name: arrays[name] for name in Parameters._fields}

    def _restore(self):
        if self.args.resume and not self.folder.resuming:
            print("nothing to resume in %s: training from the beginning" % self.folder.path)
        checkpoint = self.folder.load_checkpoint()
        if checkpoint is not None:
            _restore_arrays(self.learner, checkpoint)
            self.average.restore(checkpoint.average, self.context)
            self.epoch, self.metrics = checkpoint.epoch, checkpoint.metrics
            self._write_results(checkpoint.arrays)  # they may be older than the checkpoint, or gone
            print("resuming %s after epoch %d" % (self.folder.path, self.epoch), flush=True)
        else:
            print("run folder %s, %s engine" % (self.folder.path, self.args.engine), flush=True)

    def _train_epoch(self, bar):
        args, number = self.args, self.epoch + 1
        # The one place that seeds MXNet: an epoch's noise depends on the seed and its number alone, resumed or not.
        mx.random.seed(int(np.random.SeedSequence([args.seed, _SWEEPS, number]).generate_state(1)[0] >> 1))
        batches = datasets.batches(
            self.data.train_images,
            self.data.maximum,
            args.batch_size,
            key=[args.seed, _SHUFFLE, number],
            binarize=args.binarize,
            num_workers=args.data_loader_num_worker,
        )
        last = None
        for index, batch in enumerate(batches):
            progress = (self.epoch + index / self.batches_an_epoch) / args.num_epoch
            rate = args.learning_rate * learning.rate_factor(args.learning_rate_schedule, args.hold, progress)
            self.learner.updater.optimizer.set_learning_rate(rate)
            # Waiting for the step before keeps MXNet busy, and no more than one batch ahead.
            current = self.learner.step(mx.nd.array(batch, ctx=self.context))
            if last is not None:
                last.wait_to_read()
            last = current
            if progress >= 1 - args.average:
                self.average.add(self._learned())
            bar.update()
        mx.nd.waitall()

    def _finish_epoch(self, seconds):
        """Refuse what diverged; then monitor, and put the epoch on disk."""
        number = self.epoch + 1
        arrays = {name: array.asnumpy() for name, array in self.learner.arrays().items()}
        if not all(np.abs(array).max() < _DIVERGED for array in arrays.values()):  # NaN fails too
            raise DivergenceError(
                "training diverged in epoch %d; lower --learning-rate, --momentum or --weight-decay (%s holds what was "
                "saved before)" % (number, self.folder.path)
            )
        self.epoch = number
        row = {"epoch": number, "seconds": round(seconds, 3)}
        for layer in ("visible", "hidden"):  # of the chains: what sampling costs may depend on it
            row[layer + "_units_on"] = round(arrays["aux_%s_layer_sample" % layer].mean(dtype="float64"), 5)
        message = "Epoch %d completed" % number
        if number % self.args.monitor_every == 0 or number == self.args.num_epoch:
            started = time.perf_counter()
            measured, message = self._monitor(number)
            row.update(measured, monitor_seconds=round(time.perf_counter() - started, 3))
        self.metrics.append(row)
        self._save(arrays)
        tqdm.write("%s (%.1f s)" % (message, seconds))
        sys.stdout.flush()

    def _monitor(self, number):
        """Log-likelihoods by AIS: a row of metrics, and the line to print."""
        args = self.args
        partition = ais.log_partition(
            *self._parameters(),
            num_chains=args.ais_batch_size * args.ais_num_batch,
            base_visible_bias=_data_bias(self.data) if args.ais_base_rate == "data" else None,
            key=[args.seed, _AIS, number],
            num_distributions=args.ais_intermediate_steps,
            burn_in_sweeps=args.ais_burn_in_steps,
            chains_at_once=args.ais_batch_size,
            engine=args.engine,
        )
        scores = {
            name: self._likelihood(part, images, partition.log_z)
            for part, (name, images) in enumerate(self._monitored_images(number), 1)
        }
        binary = all(score.binary for score in scores.values())
        likelihoods = ["%s log-likelihood %.2f" % (name, score.mean) for name, score in scores.items()]
        message = "Epoch %d completed with %s" % (number, " and ".join(likelihoods))
        remarks = ["log Z %.2f" % partition.log_z]
        remarks += [] if binary else ["grey-pixel score"]
        remarks += ["optimistic: %s" % partition.doubt] if partition.doubt else []
        row = {}
        for name, score in scores.items():
            row[name.replace("-", "_") + "_log_likelihood"] = score.mean
            row[name.replace("-", "_") + "_standard_error"] = score.standard_error
        row.update(
            binary_pixels=int(binary),
            log_z=partition.log_z,
            log_z_low=partition.low,
            log_z_high=partition.high,
            effective_sample_size=partition.effective_sample_size,
        )
        row = {name: value if math.isfinite(value) else None for name, value in row.items()}
        return row, "%s; %s" % (message, ", ".join(remarks))

    def _monitored_images(self, number):
        """(name, images) of each part whose likelihood epoch `number` reports.

        Choices are made on the held-out images; so where there are such, the test images are looked at only once.
        """
        parts = [("test", self.data.test_images), ("train", self.data.train_images)]
        if self.args.held_out:
            parts = [("held-out", self.held_out), *parts[1:], *parts[: number == self.args.num_epoch]]
        return parts

    def _likelihood(self, part, images, log_z):
        # The pixels are drawn alike in every epoch, so that what changes is the model.
        pixels = datasets.batches(
            images, self.data.maximum, 1000, key=[self.args.seed, _PIXELS, part], binarize=self.args.binarize
        )
        return ais.mean_log_likelihood(self._parameters(), pixels, log_z)

    def _save(self, arrays):
        """The checkpoint first: it holds all the rest."""
        state = {
            self.learner.parameter_names[index]: momentum.asnumpy()
            for index, momentum in self.learner.updater.states.items()
            if momentum is not None
        }
        average = self.average.state()
        self.folder.save_checkpoint(Checkpoint(self.epoch, arrays, state, self.metrics, average))
        self._write_results(arrays)

    def _write_results(self, arrays):
        self.folder.write_parameters({**arrays, **self.average.parameters()})
        self.folder.write_metrics(self.metrics)

    def _make_pictures(self):
        shape = self.data.image_shape
        binary = [row["binary_pixels"] for row in self.metrics if "binary_pixels" in row]
        score = "log-likelihood" if binary and all(binary) else "grey-pixel score"
        self._picture("learning-curve.png", plots.learning_curve(self.metrics, score))
        self._picture("filters.png", plots.filters(self._parameters().interaction_weight.asnumpy(), shape))
        print("Preparing showcase: %d Gibbs sweeps" % _SHOWCASE_SWEEPS, flush=True)
        originals, samples = self._showcase()
        self._picture("showcase.png", plots.showcase(originals, samples, shape, _SHOWCASE_SWEEPS, _SHOWCASE_SIDE))
        print("Done: %s" % self.folder.path, flush=True)
        plots.show(self.folder.file("showcase.png"), "Showcase")

    def _showcase(self):
        """Training images, and the probabilities of chains that started there: any memory of the start is long gone."""
        generator = np.random.Generator(np.random.SFC64([self.args.seed, _SHOWCASE, 1]))
        count = _SHOWCASE_SIDE**2
        chosen = generator.choice(len(self.data.train_images), count, replace=len(self.data.train_images) < count)
        originals = datasets.to_visible(self.data.train_images[np.sort(chosen)], self.data.maximum)
        chains = gibbs.run_chains(
            self._parameters(),
            visible=mx.nd.array(originals, ctx=self.context),
            sweeps=_SHOWCASE_SWEEPS,
            key=[self.args.seed, _SHOWCASE, 2],
            engine=self.args.engine,
        )
        return originals, chains.visible_prob_1.asnumpy()

    def _picture(self, name, figure):
        with write_whole(self.folder.file(name)) as temporary:
            plots.save(figure, temporary)


def _restore_arrays(learner, checkpoint):
    """Put a checkpoint's arrays and momentum into the learner."""
    arrays = learner.arrays()
    expected = {name: array.shape for name, array in arrays.items()}
    found = {name: array.shape for name, array in checkpoint.arrays.items()}
    if expected != found:
        raise InputError(
            "the checkpoint's arrays have shapes %s, the model's %s; resume with the arguments and data set "
            "of the run" % (found, expected)
        )
    for name, array in arrays.items():
        array[:] = mx.nd.array(checkpoint.arrays[name], ctx=array.context)
    updater = learner.updater
    for index, name in learner.parameter_names.items():
        if name in checkpoint.optimizer_state:
            state = mx.nd.array(checkpoint.optimizer_state[name], ctx=arrays[name].context)
            updater.states[index], updater.states_synced[index] = state, True
