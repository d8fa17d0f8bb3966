"""A network of machines trained by backpropagation: `python -m gluon_rbm train-multinary`, from its arguments on."""

import contextlib
import math
import os

import numpy as np

from gluon_rbm.backend import framework
from gluon_rbm.backend.array_files import sha256
from gluon_rbm.backend.arrays import from_host
from gluon_rbm.backend.devices import choose_context
from gluon_rbm.backend.framework import mx
from gluon_rbm.backend.random import make_generator, seed_mxnet
from gluon_rbm.data import datasets
from gluon_rbm.data.batches import prepare_batches
from gluon_rbm.data.statistics import mean_image
from gluon_rbm.data.transforms import augment
from gluon_rbm.errors import InputError, one_line
from gluon_rbm.evaluation import plots
from gluon_rbm.models import networks
from gluon_rbm.models.deep_belief import JointContrastiveFreeEnergy
from gluon_rbm.models.rbm_block import ContrastiveFreeEnergy, alternate
from gluon_rbm.training import epochs, optimization, tensorboard
from gluon_rbm.training.run_folder import RunFolder

__all__ = ["NetworkLearner", "NetworkRun", "train"]

_SIDE = 8  # of the pictures, in images
_MONITOR_BATCH = 500

# Everything random has a key (seed, purpose, ...) of its own; 3 is epochs.Run's.
_WEIGHTS, _SHUFFLE, _SHOWCASE = 0, 2, 4

# The network follows from the other arguments and the data, and earlier versions describe it in other words.
_FREE = (*epochs.RESUMABLE_CHANGES, "sample_sweeps", "strict", "network")


def train(args):
    """Run the training that the arguments of `gluon_rbm.cli.train_multinary` describe."""
    _check(args)
    with contextlib.ExitStack() as stack:
        NetworkRun(args, stack).run()


def _check(args):
    if args.chains == "persistent" and not args.sampled:
        raise InputError("persistent chains are drawn, they do not go by means: give --sampled")
    if args.training == "greedy" and args.learning_rate_schedule != "constant":
        raise InputError("--training greedy keeps the learning rate: leave --learning-rate-schedule out")
    if args.training == "greedy" and not args.detach:
        raise InputError("--no-detach lets all machines learn from all losses: it needs --training joint")


def _describe(args, data):
    """The description of the network that the arguments ask for, on these images."""
    height, width, *colours = data.image_shape
    settings = {name: getattr(args, name) for name in ("channels", "dense", "kernel", "stride", "maximum", "slope")}
    if args.visible_units == "gaussian":
        mean = float(mean_image(data.train_images, data.maximum).mean())
        square = sum(float(np.square(image / data.maximum).mean()) for image in data.train_images)
        deviation = (square / len(data.train_images) - mean**2) ** 0.5
        if not deviation > 1e-4:
            raise InputError("the training images are all of one grey; nothing can be learned from them")
        settings.update(mean=mean, deviation=deviation)
    return networks.describe(
        (*(colours or [1]), height, width),
        visible_units=args.visible_units,
        hidden_units=args.hidden_units,
        quantized=args.whole,
        initial_deviation=args.initial_deviation,
        initial_hidden_bias=args.initial_hidden_bias,
        **settings,
    )


def _check_sizes(network, batch_size):
    """MXNet counts an array's elements in 31 bits. batch_size : of the largest batch, that of monitoring included."""
    largest = max(
        size
        for machine in network.rbms
        for size in (
            batch_size * int(np.prod(machine.visible_shape, dtype=float)),
            batch_size * int(np.prod(machine.hidden_shape, dtype=float)),
            int(np.prod(machine.interaction_weight.shape, dtype=float)),
        )
    )
    if largest >= 2**31:
        raise InputError("an array would have 2^31 elements or more; choose fewer units or a smaller --batch-size")


class NetworkLearner:
    """A `DeepBeliefNetwork` and its `gluon.Trainer` (see `gluon_rbm.training.binary_training`).

    trained : the place of the one machine that learns, on top of those below it; None: all of them do, jointly
    values : the first images, where persistent chains start: their means of every layer
    """

    def __init__(self, args, network, trained, values):
        self._network, self._sweeps, self._sampled = network, args.k, args.sampled
        self._depth = trained or 0
        places = range(len(network.rbms)) if trained is None else [trained]
        self._machines = [network.rbms[place] for place in places]
        if trained is None:
            self._loss = JointContrastiveFreeEnergy(network, args.k, args.sampled, args.detach)
        else:
            self._loss = ContrastiveFreeEnergy(self._machines[0], args.k, args.sampled)
        self._loss.hybridize(static_alloc=True)
        self._parameters = networks.parameters(network)
        names = [name for name in self._parameters if int(name.partition(".")[0]) in places]
        self._trainer = mx.gluon.Trainer(
            [self._parameters[name] for name in names],
            optimization.make_optimizer(args, wd=args.weight_decay),
            kvstore=None,
        )
        self.updater = self._trainer._updaters[0]  # there is no public way to a trainer's state but pickle
        self.parameter_names = dict(enumerate(names))
        self._chains = {}
        if args.chains == "persistent":
            for place, machine in zip(places, self._machines):
                chains = network.up(values, place).reshape((-1, *machine.visible_shape))
                self._chains["chains.%d" % place] = chains.copy()

    def step(self, batch):
        visible = self._network.up(batch, self._depth, self._sampled).reshape((-1, *self._machines[0].visible_shape))
        for name, machine in zip(self._chains, self._machines):
            self._chains[name] = alternate(machine, self._chains[name], self._sweeps)
        # All chains go on; beside a last short batch so many of them are looked at.
        model_visible = [chains[: len(batch)] for chains in self._chains.values()]
        with mx.autograd.record():
            loss = self._loss(visible, *model_visible)
        loss.backward()
        self._trainer.step(len(batch))
        return loss

    def arrays(self):
        return {**{name: parameter.data() for name, parameter in self._parameters.items()}, **self._chains}


class NetworkRun(epochs.Run):
    """A run of `train-multinary`: all machines of a network jointly, or each for --num-epoch epochs in turn."""

    remedy = "lower --learning-rate or --weight-decay"

    def __init__(self, args, stack):
        tensorboard.check(args)
        self.context, note = choose_context(args.cuda, args.device_id)
        if note:
            print(note, flush=True)
        self.data = self._load(args)
        digest = sha256([self.data.train_images])
        self.data, self.held_out = datasets.hold_out(self.data, args.held_out)
        epochs.check_batch_size(args.batch_size, len(self.data.train_images))
        if args.random_crop >= min(self.data.image_shape[:2]):
            raise InputError("--random-crop %d is larger than the images; choose less" % args.random_crop)
        self.description = _describe(args, self.data)
        self.network = networks.build(self.description)
        _check_sizes(self.network, max(args.batch_size, _MONITOR_BATCH))
        self._values(self.data.train_images[:1])  # refuses pixels that cannot be, before there is a folder
        name = os.path.splitext(os.path.basename(os.path.normpath(args.dataset)))[0]
        folder = RunFolder(args.output_dir, "multinary-%s" % name, args.resume)
        super().__init__(args, stack.enter_context(contextlib.closing(folder)))
        arguments = {
            **vars(args),
            "device": self.context.device_type,  # noise and rounding depend on it
            "data_sha256": digest,
            "network": self.description,
        }
        greedy = args.training == "greedy"
        # The length is free where nothing depends on it.
        free = _FREE if greedy or args.learning_rate_schedule != "constant" else (*_FREE, "num_epoch")
        folder.write_arguments(arguments, framework.versions(), free)
        seed_mxnet(args.seed, _WEIGHTS)
        networks.initialize(self.network, self.description, self.context)
        machines = self.network.rbms
        # No unit has an input of this size that means anything; float32 gives up soon after.
        self.limit = 1e6 * max(1 / units.slope for m in machines for units in (m.visible_units, m.hidden_units))
        self.num_epoch = args.num_epoch * (len(machines) if greedy else 1)
        self.batches_an_epoch = -(-len(self.data.train_images) // args.batch_size)
        self.learner = self._make_learner()

    def _load(self, args):
        skipped = None if args.strict else []
        data = datasets.load(args.dataset, args.data_dir, image_size=args.image_size, skipped=skipped)
        for path in skipped or ():
            print("cannot be read as an image: %s" % one_line(path))
        if skipped:
            print("%d images skipped; --strict would stop here" % len(skipped), flush=True)
        return data

    def _values(self, images):
        return networks.to_values(images, self.description, self.data.maximum)

    # --- Epochs -------------------------------------------------------------------------------------------------------

    def _trained(self, epoch):
        """Which machine learns in an epoch, from 0; None: all."""
        return epoch // self.args.num_epoch if self.args.training == "greedy" else None

    def _make_learner(self):
        first = self._values(self.data.train_images[: self.args.batch_size])
        return NetworkLearner(self.args, self.network, self._trained(self.epoch), from_host(first, self.context))

    def _take(self, checkpoint):
        self.epoch = checkpoint.epoch if checkpoint.steps else checkpoint.epoch - 1  # whose learner it is
        self.learner = self._make_learner()
        self._losses = list(map(from_host, checkpoint.partial.get("losses", np.empty((0, 1)))))
        super()._take(checkpoint)

    def _epochs_learned(self, epoch):
        return epoch - (self._trained(self.epoch) or 0) * self.args.num_epoch

    def _begin_epoch(self):
        self._losses = []
        if self.epoch and self._trained(self.epoch) != self._trained(self.epoch - 1):
            self.learner = self._make_learner()

    def _seed(self, step, first):
        if self.args.sampled:  # the steps before drew more than could be drawn again
            seed_mxnet(self.args.seed, self._SWEEPS, self.epoch + 1, step)

    def _batches(self, number, skip):
        args = self.args

        def prepare(images, generator):
            return self._values(augment(images, generator, args.random_crop, args.mirror))

        batches = prepare_batches(
            self.data.train_images,
            args.batch_size,
            prepare,
            key=[args.seed, _SHUFFLE, number],
            num_workers=args.data_loader_num_worker,
            skip=skip,
        )
        return (from_host(batch, self.context) for batch in batches)

    def _after_step(self, result, progress):
        self._losses.append(result.sum())

    def _mean_loss(self):
        """Of the epoch's training images, each under the parameters of its step."""
        return sum(loss.asscalar().item() for loss in self._losses) / len(self.data.train_images)

    def _gathered(self):
        return {"losses": np.array([loss.asnumpy() for loss in self._losses])}

    def _observed(self, arrays):
        loss = self._mean_loss()  # a sum over all units, which float32 may not hold
        return {"train_loss": round(loss, 5) if math.isfinite(loss) else None}

    def _monitor(self, number):
        # Choices are made on held-out images; so where there are such, the test images are looked at only once.
        parts = {"held_out": self.held_out} if self.args.held_out else {"test": self.data.test_images}
        if self._is_over():
            parts["test"] = self.data.test_images
        errors = {name: self._reconstruction_error(images) for name, images in parts.items()}
        said = ", ".join("%s reconstruction error %.5f" % (n.replace("_", "-"), e) for n, e in errors.items())
        row = {name + "_reconstruction_error": round(error, 7) for name, error in errors.items()}
        return row, "Epoch %d completed with loss %.3f, %s" % (number, self._mean_loss(), said)

    def _reconstruct(self, values):
        """By means, through the machines that have learned."""
        trained = self._trained(self.epoch - 1)
        depth = len(self.network.rbms) if trained is None else trained + 1
        return self.network.down(self.network.up(values, depth), depth)

    def _reconstruction_error(self, images):
        """Mean squared error of a pixel in [0, 1]."""
        total = 0.0
        for start in range(0, len(images), _MONITOR_BATCH):
            values = self._values(images[start : start + _MONITOR_BATCH])
            found = self._reconstruct(from_host(values, self.context))
            error = networks.to_images(found, self.description) - networks.to_images(values, self.description)
            total += float(np.square(error).sum(dtype="float64"))
        return total / (len(images) * self.data.num_visible)

    def _results(self, arrays):
        return {name: array.asnumpy() for name, array in networks.arrays(self.network, self.description).items()}

    # --- Pictures -----------------------------------------------------------------------------------------------------

    def _watched(self, arrays):
        """Filters, images as reconstructed, and samples as soon as all machines have learned something."""
        weight, shape = networks.filters(self.network, self.description)
        pictures = {"filters": (plots.strongest_filters(weight, _SIDE**2)[0], shape)}
        images = self.held_out if self.args.held_out else self.data.test_images
        values = {"reconstructions": self._reconstruct(from_host(self._values(images[: _SIDE**2]), self.context))}
        if self._trained(self.epoch - 1) in (None, len(self.network.rbms) - 1):
            seed_mxnet(self.args.seed, _SHOWCASE)
            values["samples"] = self.network.generate(self._start(), self.args.sample_sweeps)
        for name, found in values.items():
            pictures[name] = networks.to_images(found, self.description), self.data.image_shape
        return pictures

    def _make_pictures(self):
        figure, (left, right) = plots.panels(2)
        plots.learning_curve(self.metrics, "loss", "F(v) - F(v') (nats per image)", left)
        plots.learning_curve(self.metrics, "reconstruction_error", "mean squared error of a pixel", right)
        self._picture("learning-curve.png", figure)
        self._picture("filters.png", plots.filters(*networks.filters(self.network, self.description)))
        self._picture("showcase.png", self._showcase())
        print("Done: %s" % one_line(self.folder.path), flush=True)
        plots.show(self.folder.file("showcase.png"), "Showcase")

    def _showcase(self):
        seed_mxnet(self.args.seed, _SHOWCASE)
        images, sweeps = self.data.test_images, self.args.sample_sweeps
        order = make_generator([self.args.seed, _SHOWCASE]).permutation(len(images))
        values = from_host(self._values(images[np.sort(order[: _SIDE**2])]), self.context)
        samples = self.network.generate(self._start(), sweeps)
        sets = {
            "test images": values,
            "reconstructions": self._reconstruct(values),
            "samples: normal values, %d top sweeps, down" % sweeps: samples,
        }
        sets = {title: networks.to_images(images, self.description) for title, images in sets.items()}
        return plots.grids(sets, self.data.image_shape, _SIDE)

    def _start(self):
        """Values of the top machine's visible layer, drawn as normal as those of training images are on average."""
        machines, generator = self.network.rbms, make_generator([self.args.seed, _SHOWCASE, 1])
        rows = generator.permutation(len(self.data.train_images))[: 4 * _MONITOR_BATCH]
        values = from_host(self._values(self.data.train_images[np.sort(rows)]), self.context)
        values = self.network.up(values, len(machines) - 1)
        return from_host(_normal_like(values, _SIDE**2, machines[-1].visible_units, generator), self.context)


def _normal_like(values, count, units, generator):
    """Rows drawn from the normal distribution with the mean and covariance of `values`, cut off where units end."""
    rows = values.asnumpy().reshape(len(values), -1)
    mean = rows.mean(axis=0)
    mixed = generator.standard_normal((count, len(rows)), np.float32) @ (rows - mean) / np.sqrt(len(rows))
    return mean + mixed if units.maximum is None else (mean + mixed).clip(0, units.maximum)
