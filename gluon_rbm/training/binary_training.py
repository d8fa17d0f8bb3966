"""What both training scripts share: a run from its arguments to its pictures, with monitoring, checkpoints and resume.

A script brings a learner, which is all that differs between the APIs:

    learner = make_learner(args, arrays, context, parts)    arrays: name -> NDArray of the parameters and chains; it is
                                                     one of so many that share the batch (see `gluon_rbm.training.process_group`)
    learner.backward(batch) -> NDArray               the gradient of a batch; something to wait for
    learner.gradients() -> name -> NDArray           live gradients
    learner.update()                                 one update, with a sum of `parts` gradients
    learner.arrays() -> name -> NDArray              live parameters and chains
    learner.updater, learner.parameter_names         the optimizer's `Updater`, and the parameter that each index means
"""

import contextlib
import math
import os

import numpy as np

from gluon_rbm.backend import heartbeat
from gluon_rbm.backend.array_files import sha256
from gluon_rbm.backend.framework import mx
from gluon_rbm.backend.random import Noise, draw_key, make_generator
from gluon_rbm.cli import command, options
from gluon_rbm.data import datasets
from gluon_rbm.data.batches import iterate_batches, to_visible
from gluon_rbm.data.statistics import base_visible_bias, mean_image
from gluon_rbm.errors import InputError, one_line
from gluon_rbm.evaluation import plots
from gluon_rbm.likelihood import learning
from gluon_rbm.models import label_rbm
from gluon_rbm.models.binary_deep_belief import BinaryDeepBeliefNetwork
from gluon_rbm.models.energy import Parameters
from gluon_rbm.models.files import CLASSES
from gluon_rbm.sampling import gibbs
from gluon_rbm.training import epochs, monitoring, optimization, tensorboard
from gluon_rbm.training.parallel import ParallelRun
from gluon_rbm.training.process_group import ProcessGroup

__all__ = ["Learner", "learner_settings", "main"]

_SHOWCASE_SIDE, _SHOWCASE_SWEEPS = 15, 3000
_WATCHED_IMAGES = 64

# Everything random has a key (seed, purpose, ...) of its own.
_WEIGHTS, _CHAINS, _SHUFFLE, _SWEEPS, _AIS, _PIXELS, _SHOWCASE, _WATCHED = range(8)  # _SWEEPS: see `epochs.Run`

# As in `epochs.FREE`.
_FREE = (
    *epochs.RESUMABLE_CHANGES,
    "num_epoch",
    "below",  # the content of the layers is compared instead
    "ais_batch_size",
    "ais_num_batch",
    "ais_intermediate_steps",
    "ais_burn_in_steps",
    "ais_base_rate",
    # Shares of the same batches and chains: another number of parts draws other noise, and continues as well.
    "kv_store",
    "num_devices",
    "num_workers",
)


class Learner:
    """What is common to both APIs' learners."""

    def step(self, batch):
        result = self.backward(batch)
        self.update()
        return result


def main(argv, prog, api, make_learner):
    """Run a training script; returns its exit status: as `command.exit_status`, or 4 as `peers`."""
    args = options.parse(argv, prog)

    def train():
        with contextlib.ExitStack() as stack:
            exchange = ProcessGroup(args.kv_store, args.cuda_asked, args.device_id, args.num_devices)
            stack.enter_context(exchange)
            _Run(args, api, make_learner, exchange, stack).run()

    status = command.exit_status(prog, train)
    heartbeat.finish(status)
    return status


def _rule(args):
    return learning.LearningRule.checked(**{name: getattr(args, name) for name in learning.LearningRule._fields})


def learner_settings(args, parts=1):
    """What a learner of either API is made with: arguments of `BinaryRBMBlock` and `binary_rbm_symbol`."""
    return {
        "num_hidden": args.num_hidden,
        "k": args.k,
        "for_training": True,
        "num_chains": (args.num_chains or args.batch_size) // parts,
        "engine": args.engine,
        "rule": _rule(args),
    }


def _check_sizes(args, num_visible, num_images, parts):
    """MXNet counts an array's elements in 31 bits; a batch has no more images than there are; parts share alike."""
    num_chains = (args.num_chains or args.batch_size) * _rule(args).replicas
    rows, units = max(args.batch_size, num_chains, args.ais_batch_size), max(num_visible, args.num_hidden)
    if max(rows * units, num_visible * args.num_hidden) >= 2**31:
        raise InputError(
            "an array would have 2^31 elements or more; choose a smaller --num-hidden, --batch-size, --num-chains "
            "or --ais-batch-size"
        )
    epochs.check_batch_size(args.batch_size, num_images)
    for flag, number in (("batch-size", args.batch_size), ("num-chains", args.num_chains)):
        if number % parts:
            raise InputError(
                "--%s %d cannot be divided among %d parts (devices of all workers); choose a multiple of %d"
                % (flag, number, parts, parts)
            )


def _free_arguments(args):
    """Arguments that a resumed run may change: not its length or monitoring, where its results depend on them."""
    bound = []
    if args.learning_rate_schedule != "constant" or args.average or args.early_stopping:
        bound += ["num_epoch"]
    if args.early_stopping:
        bound += [name for name in _FREE if name.startswith(("ais_", "monitor_"))]
    return [name for name in _FREE if name not in bound]


def _data_bias(data, num_classes):
    """The log-odds of the mean training image, smoothed; of label units, log-probabilities."""
    bias = base_visible_bias(data)
    label = bias[len(bias) - num_classes :]
    label -= np.logaddexp(0, label)
    return bias


def _initial_arrays(args, data, context):
    num_visible, num_hidden = data.num_visible, args.num_hidden
    generator, shape = make_generator([args.seed, _WEIGHTS]), (num_visible, num_hidden)
    if args.initial_weights == "uniform":
        weights = generator.uniform(-0.01, 0.01, shape)
    else:
        weights = generator.normal(scale=0.01, size=shape)
    arrays = {
        "visible_layer_bias": np.zeros(num_visible),
        "hidden_layer_bias": np.full(num_hidden, args.initial_hidden_bias),
        "interaction_weight": weights,
    }
    if args.initial_visible_bias == "data":
        arrays["visible_layer_bias"] = _data_bias(data, args.num_classes)
    elif args.initial_visible_bias == "uniform":
        arrays["visible_layer_bias"] = generator.uniform(-0.01, 0.01, num_visible)
    states = learning.states(_rule(args), args.num_chains or args.batch_size, num_visible, num_hidden)
    arrays.update({name: np.ones(shape) for name, shape in states.items()})
    if args.centering:
        hidden_mean = 1 / (1 + np.exp(-arrays["hidden_layer_bias"]))
        arrays.update(zip(learning.OFFSETS, (mean_image(data.train_images, data.maximum), hidden_mean)))
    if args.chains == "tempered":
        arrays[learning.BASE] = _data_bias(data, args.num_classes)
    if args.num_classes:
        arrays[CLASSES] = np.arange(args.num_classes)
    arrays = {name: mx.nd.array(array, ctx=context, dtype="float32") for name, array in arrays.items()}
    noise = Noise([args.seed, _CHAINS])
    for name in learning.SAMPLES:
        arrays[name] = noise.bernoulli(arrays[name] / 2)
    return arrays


class _Run(ParallelRun):
    # No unit has an input of this size that means anything; float32 gives up soon after.
    limit, remedy = 1e6, "lower --learning-rate, --momentum or --weight-decay"

    def __init__(self, args, api, make_learner, exchange, stack):
        self.exchange, self.context = exchange, exchange.contexts[0]
        default_name = "%s-%s" % (api, os.path.splitext(os.path.basename(os.path.normpath(args.dataset)))[0])
        self.choose_leader(args, default_name)
        if self.leads:
            print(options.documented_namespace(args))
            print(options.added_namespace(args), flush=True)
            if exchange.note:
                print(exchange.note, flush=True)
        tensorboard.check(args)
        self.data = datasets.load(args.dataset, args.data_dir)
        self.image_shape = self.data.image_shape
        if args.labels:
            args.num_classes, self.data = self.data.num_classes, datasets.with_label_units(self.data)
        below = BinaryDeepBeliefNetwork.load(args.below, self.context) if args.below else None
        # Not of what is computed: its rounding depends on the number of threads.
        digest = sha256([self.data.train_images, *(below.arrays() if below else [])])
        if below:
            self.image_shape, self.data = below.hidden_shape, below.hidden_data(self.data, args.num_classes)
        self.pixels = slice(math.prod(self.image_shape))  # the rest of the visible units is the label
        self.data, self.held_out = datasets.hold_out(self.data, args.held_out)
        _check_sizes(args, self.data.num_visible, len(self.data.train_images), exchange.parts)
        arrays = _initial_arrays(args, self.data, self.context)
        # To be recorded, as the noise depends on it; and before the folder is made, as it may be refused.
        args.engine = gibbs.choose_engine(args.engine, arrays["interaction_weight"])
        arguments = {name: value for name, value in vars(args).items() if name != "cuda_asked"}
        arguments["device"] = self.context.device_type  # noise and rounding depend on it
        arguments["data_sha256"] = digest
        arguments["image_shape"] = list(self.image_shape)
        arguments["num_workers"] = exchange.num_workers
        super().__init__(args, self.open_folder(args, default_name, arguments, _free_arguments(args), stack))
        self.learner = self.make_learner(
            lambda arrays, context: make_learner(args, arrays, context, exchange.parts), arrays, _rule(args)
        )
        self.batches_an_epoch = -(-len(self.data.train_images) // args.batch_size)
        self.average, self.stopping = optimization.ParameterAverage(), optimization.EarlyStopping(args.early_stopping)
        self.monitor = self._make_monitor()

    def _is_over(self):
        return super()._is_over() or self.stopping.over

    def _learned(self):
        arrays = self.learner.arrays()
        return {name: arrays[name] for name in Parameters._fields}

    def _current(self):
        """What is monitored: the averaged parameters as soon as there are such."""
        return self.average.arrays or self._learned()

    def _best(self):
        """The run's results so far: with early stopping the best of what was monitored."""
        return self.stopping.arrays or self._current()

    def _remark(self):
        return ", %s engine" % self.args.engine

    def _take(self, checkpoint):
        super()._take(checkpoint)
        self.average.restore(checkpoint.average, self.context)
        self.stopping.restore(checkpoint.best, self.context)

    def _kept(self):
        return self.average.state(), self.stopping.state()

    def _results(self, arrays):
        return {**arrays, **{name: array.asnumpy() for name, array in self._best().items()}}

    def _seed(self, step, first):
        if first:
            super()._seed(step, first)
            for context in step * self.exchange.contexts:  # each of them drew one in its graph
                draw_key(context)

    def _batches(self, number, skip):
        args = self.args
        batches = iterate_batches(
            self.data.train_images,
            self.data.maximum,
            args.batch_size,
            key=[args.seed, _SHUFFLE, number],
            binarize=args.binarize,
            num_workers=args.data_loader_num_worker,
            skip=skip,
        )
        return (self.exchange.place(batch) for batch in batches)

    def _set_pace(self, optimizer, progress):
        optimization.set_pace(optimizer, self.args, self.epoch, progress)

    def _after_step(self, result, progress):
        if self.leads and progress >= 1 - self.args.average:
            self.average.add(self._learned())

    def _observed(self, arrays):
        row = {}
        if _rule(self.args).generative_factor:  # what sampling costs may depend on it
            for name in learning.SAMPLES:
                chains = arrays[name][: self._num_chains()]
                row[name.split("_")[1] + "_units_on"] = round(chains.mean(dtype="float64"), 5)
        if learning.SWAP_RATE in arrays:
            row["lowest_swap_rate"] = round(float(arrays[learning.SWAP_RATE].min()), 5)
            row["mean_swap_rate"] = round(float(arrays[learning.SWAP_RATE].mean()), 5)
        return row

    def _make_monitor(self):
        args, data = self.args, self.data
        if args.labels:
            return monitoring.ClassificationMonitor(args, data.maximum)
        base = base_visible_bias(data) if args.ais_base_rate == "data" else None
        return monitoring.LikelihoodMonitor(args, data.maximum, base, [args.seed, _AIS], [args.seed, _PIXELS])

    def _monitor(self, number):
        """A row of metrics, and the line to print."""
        monitor, log_z = self.monitor, self.monitor.begin(number, self._current())
        # Choices are made on held-out images; so where there are such, the test images are looked at only once.
        watched = ("held-out", self.held_out) if self.args.held_out else ("test", self.data.test_images)
        scores = {
            name: monitor.score(part, images, self._current(), log_z)
            for part, (name, images) in enumerate([watched, ("train", self.data.train_images)], 1)
        }
        self.stopping.note(monitor.merit(scores[watched[0]]), log_z, self._current())
        row, message = monitor.row(scores), monitor.message(scores)
        if self._is_over() and "test" not in scores:
            log_z = self.stopping.log_z if self.stopping.arrays else log_z
            score = monitor.score(3, self.data.test_images, self._best(), log_z)
            # It belongs into the row of the epoch that the results are of: with early stopping an earlier one.
            columns = monitor.columns(watched[0], scores[watched[0]])
            monitored = [
                earlier for earlier in [*self.metrics, {"epoch": number, **row}] if columns.keys() <= earlier.keys()
            ]
            of = monitored[-1 - self.stopping.worse]
            (row if of["epoch"] == number else of).update(monitor.columns("test", score))
            message += "; %s after epoch %d" % (monitor.brief("test", score), of["epoch"])
        return row, "Epoch %d completed with %s" % (number, message)

    def _watched(self, arrays):
        weight = self._current()["interaction_weight"].asnumpy()[self.pixels]
        pictures = {"filters": (plots.strongest_filters(weight, _WATCHED_IMAGES)[0], self.image_shape)}
        if _rule(self.args).generative_factor:
            chains = gibbs.run_chains(
                Parameters(**self._learned()),
                hidden=mx.nd.array(
                    arrays[learning.SAMPLES[1]][: min(self._num_chains(), _WATCHED_IMAGES)], self.context
                ),
                softmax_group=label_rbm.softmax_group(self.data.num_visible, self.args.num_classes),
                key=[self.args.seed, _WATCHED],
                engine=self.args.engine,
            )
            pictures["chains"] = chains.visible_prob_1.asnumpy()[:, self.pixels], self.image_shape
        return pictures

    def _num_chains(self):
        return self.args.num_chains or self.args.batch_size

    def _make_pictures(self):
        shape = self.image_shape
        self._picture("learning-curve.png", plots.learning_curve(self.metrics, *self.monitor.curve(self.metrics)))
        weight = self._best()["interaction_weight"].asnumpy()
        self._picture("filters.png", plots.filters(weight[self.pixels], shape))
        print("Preparing showcase: %d Gibbs sweeps" % _SHOWCASE_SWEEPS, flush=True)
        originals, samples = self._showcase()
        self._picture("showcase.png", plots.showcase(originals, samples, shape, _SHOWCASE_SWEEPS, _SHOWCASE_SIDE))
        print("Done: %s" % one_line(self.folder.path), flush=True)
        plots.show(self.folder.file("showcase.png"), "Showcase")

    def _showcase(self):
        """Training images, and the probabilities of chains that started there: any memory of the start is long gone."""
        generator = make_generator([self.args.seed, _SHOWCASE, 1])
        count = _SHOWCASE_SIDE**2
        chosen = generator.choice(len(self.data.train_images), count, replace=len(self.data.train_images) < count)
        originals = to_visible(self.data.train_images[np.sort(chosen)], self.data.maximum)
        chains = gibbs.run_chains(
            Parameters(**self._best()),
            visible=mx.nd.array(originals, ctx=self.context),
            sweeps=_SHOWCASE_SWEEPS,
            softmax_group=label_rbm.softmax_group(self.data.num_visible, self.args.num_classes),
            key=[self.args.seed, _SHOWCASE, 2],
            engine=self.args.engine,
        )
        return originals[:, self.pixels], chains.visible_prob_1.asnumpy()[:, self.pixels]
