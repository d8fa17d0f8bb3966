"""The command `train-multinary`: a multinary, convolutional or deep machine, trained by backpropagation."""

from gluon_rbm.cli import inputs, options
from gluon_rbm.cli.arguments import above_zero, at_least, finite
from gluon_rbm.models import networks
from gluon_rbm.training import multinary, optimization

__all__ = ["ABOUT", "PRESETS", "add_arguments", "run"]

ABOUT = "train a stack of multinary machines, convolutional and dense, by backpropagation"
PRESETS = networks.PRESETS

_CHANNELS = [64, 128]

_count, _natural, _amount = at_least(1, int), at_least(0, int), at_least(0.0, float)


def add_arguments(add):
    add("--preset", choices=PRESETS, help="a network and its recipe: defaults of other flags")
    _add_run(add)
    _add_images(add)
    _add_network(add)
    _add_learning(add)


def _add_run(add):
    options.add_run(add)
    add("--num-epoch", type=_count, default=10, help="number of epochs; of each machine in turn with greedy training")
    add("--monitor-every", type=_count, default=1, help="epochs between two looks at the reconstruction error")
    add(
        "--sample-sweeps",
        type=_natural,
        default=1,
        help="samples of the picture: sweeps of the top machine, from normal values with the images' covariance",
    )
    inputs.add_device(add)


def _add_images(add):
    options.add_dataset(add)
    options.add_image_size(add)
    add(
        "--random-crop",
        type=_natural,
        default=0,
        metavar="PIXELS",
        help="mirror so many pixels outwards at the edges of a training image, and crop anywhere in it, at every use",
    )
    add("--mirror", action="store_true", help="turn left and right of half of the training images, at every use")
    add("--strict", action="store_true", help="stop at an image that cannot be read, instead of leaving it out")
    add(
        "--held-out",
        type=_natural,
        default=0,
        metavar="N",
        help="hold the last N training images out, and monitor them instead of the test images until the last epoch",
    )
    add("--data-loader-num-worker", type=_natural, default=4, help="threads that prepare batches ahead")


def _add_network(add):
    add("--channels", type=_count, nargs="*", help="filters of each convolutional machine; without --dense: 64 128")
    add("--dense", type=_count, nargs="*", help="hidden units of each dense machine on top of them")
    add("--kernel", type=_count, default=4, help="side of the filters")
    add("--stride", type=_count, default=2, help="places from one filter to the next")
    add("--maximum", type=_count, default=255, metavar="N", help="the largest value of multinary units; 1: binary ones")
    add("--slope", type=above_zero, metavar="K", help="k in f(x) = N sigma(k x); by default 1 / N")
    add("--visible-units", choices=networks.VISIBLE_UNITS, default="multinary", help="units of the images")
    add("--whole", action="store_true", help="round pixels to whole values from 0 to N; with N = 1: black and white")
    add("--hidden-units", choices=networks.HIDDEN_UNITS, default="multinary", help="units of all other layers")


def _add_learning(add):
    add("--initial-deviation", type=above_zero, default=0.01, help="standard deviation that weights start with")
    add(
        "--initial-hidden-bias",
        type=finite,
        default=0.0,
        metavar="B",
        help="hidden biases start at B / k: below 0, most units are off at first",
    )
    add("--batch-size", type=_count, default=128, help="batch size")
    add("--optimizer", choices=optimization.OPTIMIZERS, default="adam", help="MXNet's optimizer of that name")
    add("--learning-rate", type=_amount, default=0.003, help="learning rate on the mean loss of a batch")
    add("--momentum", type=_amount, default=0.9, help="momentum, of optimizers that have one")
    options.add_schedule(add)
    add("--weight-decay", type=_amount, default=0.0, help="lambda in lambda/2 |W|^2, added to the mean loss")
    add("--k", type=_count, default=1, help="sweeps from v to v' in the loss F(v) - F(v')")
    add(
        "--chains",
        choices=("data", "persistent"),
        default="data",
        help="v' starts at the data (CD-k), or goes on from step to step (PCD-k)",
    )
    add("--sampled", action="store_true", default=False, help="draw the units on the way to v'")
    add("--means", action="store_false", dest="sampled", default=False, help="go to v' by means")
    add(
        "--training",
        choices=("joint", "greedy"),
        default="joint",
        help="add the losses of all machines, or train one after the other, from the images up",
    )
    add("--detach", action="store_true", default=True, help="a machine's loss teaches that machine alone")
    add("--no-detach", action="store_false", dest="detach", default=True, help="it teaches those below, too")


def run(args):
    """Train, and make the pictures of the run."""
    if args.channels is None and args.dense is None:
        args.channels = _CHANNELS
    args.channels, args.dense = args.channels or [], args.dense or []
    multinary.train(args)
