"""Command line of the two training scripts."""

import argparse

from gluon_rbm.cli.arguments import OneLineParser, above_zero, at_least, finite, share
from gluon_rbm.data import datasets
from gluon_rbm.data.batches import BINARIZE
from gluon_rbm.likelihood import learning
from gluon_rbm.models import label_rbm
from gluon_rbm.sampling import gibbs
from gluon_rbm.training import optimization, process_group

__all__ = [
    "DOCUMENTED",
    "PRESETS",
    "add_dataset",
    "add_image_size",
    "add_schedule",
    "parse",
    "documented_namespace",
    "added_namespace",
]

# The flags of the original example: names, defaults and help texts stay as they are.
DOCUMENTED = (
    "num_hidden",
    "k",
    "batch_size",
    "num_epoch",
    "learning_rate",
    "momentum",
    "ais_batch_size",
    "ais_num_batch",
    "ais_intermediate_steps",
    "ais_burn_in_steps",
    "cuda",
    "device_id",
    "data_loader_num_worker",
)
_NOT_FLAGS = ("cuda_asked", "num_classes")


# Recipes by name: defaults of other flags. What was tried for them: docs/learning.md.
PRESETS = {
    "best": {
        "num_hidden": 500,
        "binarize": "sample",
        "batch_size": 100,
        "k": 10,
        "centering": 0.01,
        "initial_visible_bias": "data",
        "learning_rate": 24.0,
        "momentum": 0.0,
        "weight_decay": 1e-4,
        "learning_rate_schedule": "linear",
        "hold": 0.3,
        "average": 0.2,
        "num_epoch": 300,
        # The test images are looked at once.
        "monitor_every": 300,
        "ais_base_rate": "data",
        "ais_batch_size": 200,
        "ais_num_batch": 1,
        "ais_intermediate_steps": 10000,
        "ais_burn_in_steps": 1,
    },
    # A student's exercise: a rate of 0.1 on the mean over 64 images, which the optimizer divides by 64 once more.
    "exercise": {
        "binarize": "sample",
        "batch_size": 64,
        "k": 1,
        "chains": "data",
        "learning_rate": 6.4,
        "momentum": 0.0,
        "initial_weights": "uniform",
        "initial_visible_bias": "uniform",
        "num_epoch": 10,
    },
}

_count, _natural, _amount = at_least(1, int), at_least(0, int), at_least(0.0, float)


class _Cuda(argparse.Action):
    """Remember not only the choice but that it was made: a default may fall back to the CPU, a wish may not."""

    def __init__(self, option_strings, dest, const, help):
        super().__init__(option_strings, dest, nargs=0, const=const, help=help)

    def __call__(self, parser, namespace, values, option_string=None):
        namespace.cuda = namespace.cuda_asked = self.const


def _parser(prog):
    parser = OneLineParser(
        prog=prog,
        description="Restricted Boltzmann machine learning MNIST",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--num-hidden", type=_count, default=500, help="number of hidden units")
    add("--k", type=_count, default=30, help="number of Gibbs sampling steps used in the PCD algorithm")
    add("--batch-size", type=_count, default=80, help="batch size")
    add("--num-epoch", type=_count, default=130, help="number of epochs")
    # The gradient is a mean over the batch, and the optimizer divides by the batch size once more, as in the original.
    add("--learning-rate", type=_amount, default=0.1, help="learning rate for stochastic gradient descent")
    add("--momentum", type=_amount, default=0.3, help="momentum for the stochastic gradient descent")
    add("--ais-batch-size", type=_count, default=100, help="batch size for AIS to estimate the log-likelihood")
    add("--ais-num-batch", type=_count, default=10, help="number of batches for AIS to estimate the log-likelihood")
    add(
        "--ais-intermediate-steps",
        type=_count,
        default=10,
        help="number of intermediate distributions for AIS to estimate the log-likelihood",
    )
    add(
        "--ais-burn-in-steps",
        type=_count,
        default=10,
        help="number of burn in steps for each intermediate distributions of AIS to estimate the log-likelihood",
    )
    add("--cuda", action=_Cuda, const=True, dest="cuda", help="train on GPU with CUDA")
    add("--no-cuda", action=_Cuda, const=False, dest="cuda", help="train on CPU")
    add("--device-id", type=_natural, default=0, help="GPU device id")
    add(
        "--data-loader-num-worker",
        type=_natural,
        default=4,
        help="number of multithreading workers for the data loader",
    )
    parser.set_defaults(cuda=True, cuda_asked=None, num_classes=0)  # how many there are, the data say
    _add_new(parser.add_argument_group("beyond the original").add_argument)
    _add_learning(parser.add_argument_group("learning beyond the original").add_argument)
    return parser


def add_dataset(add):
    """The flags that name a data set, of scripts and commands; add : a parser's `add_argument`."""
    add("--dataset", default="mnist", help="%s, or a .npy file of images in [0, 1]" % ", ".join(datasets.NAMES))
    add("--data-dir", help="folder of the data set; else $MXNET_RBM_DATA, else $MXNET_HOME/datasets, else downloaded")


def add_run(add):
    """The flags of what every training run has: a seed, a folder, and that it may be resumed."""
    add("--seed", type=_natural, default=0, help="everything random follows from it")
    add("--output-dir", help="run folder; by default a new one under runs/")
    add("--resume", action="store_true", help="continue the run in the run folder from its checkpoint")
    add("--tensorboard", action="store_true", help="write what TensorBoard shows into the run folder, epoch by epoch")


def add_image_size(add):
    """The flag of commands that resize the images of the data set."""
    add(
        "--image-size",
        type=_count,
        nargs=2,
        metavar=("HEIGHT", "WIDTH"),
        help="bring all images to this size: resized to cover it, and cropped around the middle",
    )


def add_schedule(add):
    """The flags of how the learning rate changes over a run."""
    add(
        "--learning-rate-schedule",
        choices=optimization.SCHEDULES,
        default="constant",
        help="keep the learning rate, or hold it for a share of the run and then let it fall linearly to zero",
    )
    add("--hold", type=share, default=0.3, help="the share of the run that the linear schedule holds the rate for")


def _add_new(add):
    add_dataset(add)
    add(
        "--below",
        nargs="+",
        default=[],
        metavar="MODEL",
        help="run folders or files rbm.params, from the images up: learn the hidden probabilities of the last of them",
    )
    add_run(add)
    add(
        "--engine",
        choices=gibbs.ENGINES,
        default="auto",
        help="what runs the Gibbs chains: C code or MXNet's operators; auto takes C on a CPU where it is built",
    )
    add(
        "--num-devices",
        type=_count,
        default=1,
        metavar="N",
        help="GPUs --device-id and the N - 1 after it, or as many threads of work on a CPU, share each batch",
    )
    add(
        "--kv-store",
        choices=process_group.KV_STORES,
        default="device",
        help="where gradients are added: on the CPU, on the devices, or by MXNet's parameter server "
        "for all workers that DMLC_* names (see docs/distributed.md)",
    )
    add(
        "--binarize",
        choices=BINARIZE,
        default="none",
        help="leave pixels grey, draw them anew at every use, or cut them at 0.5",
    )
    add(
        "--monitor-every",
        type=_count,
        default=1,
        help="epochs between two estimates of the log-likelihood, or with labels of the error",
    )
    add(
        "--initial-visible-bias",
        choices=("zero", "data", "uniform"),
        default="zero",
        help="start the visible biases at zero, at the log-odds of the mean training image, or within 0.01 of zero",
    )
    add(
        "--initial-weights",
        choices=("normal", "uniform"),
        default="normal",
        help="start the weights with a standard deviation of 0.01, or within 0.01 of zero",
    )
    add(
        "--weight-decay",
        type=_amount,
        default=0.0,
        help="lambda in lambda/2 |W|^2, added to the mean loss; biases are left alone",
    )
    add(
        "--held-out",
        type=_natural,
        default=0,
        metavar="N",
        help="hold the last N training images out, and monitor them instead of the test images until the last epoch",
    )
    add(
        "--early-stopping",
        type=_natural,
        default=0,
        metavar="N",
        help="stop after N estimates of the held-out log-likelihood, or with labels error, that are no better than "
        "the best one, and keep the best; 0: never",
    )
    add(
        "--ais-base-rate",
        choices=("model", "data"),
        default="model",
        help="AIS starts from pixels with the model's own visible biases, or with the means of the training images",
    )


def _add_learning(add):
    rule = learning.PLAIN
    add("--preset", choices=PRESETS, help="a recipe: defaults of other flags (see docs/learning.md)")
    add(
        "--chains",
        choices=learning.CHAINS,
        default=rule.chains,
        help="chains go on from step to step (PCD), start at the data (CD), or go on by parallel tempering",
    )
    add("--num-chains", type=_natural, default=0, help="number of chains; 0: the batch size")
    add(
        "--num-temperatures",
        type=at_least(2, int),
        default=rule.num_temperatures,
        help="replicas of each tempered chain, itself included",
    )
    add(
        "--centering",
        type=share,
        nargs="?",
        const=0.01,
        default=rule.centering,
        metavar="RATE",
        help="center the gradient by running means that follow each batch at this rate; without a rate: 0.01",
    )
    add(
        "--sparsity-target",
        type=share,
        default=rule.sparsity_target,
        help="p in c sum (p - q)^2, added to the mean loss; q: each hidden unit's mean probability over the batch",
    )
    add("--sparsity-cost", type=_amount, default=rule.sparsity_cost, help="c of it; 0: none")
    add(
        "--weight-decay-l1",
        type=_amount,
        default=rule.weight_decay_l1,
        help="lambda in lambda |W|, added to the mean loss",
    )
    add("--labels", action="store_true", help="learn pixels and label together: a joint RBM, which classifies")
    add(
        "--objective",
        choices=label_rbm.OBJECTIVES,
        default=rule.objective,
        help="with labels, minimise -log p(pixels, label); -log p(label | pixels); or this plus alpha times that",
    )
    add("--generative-weight", type=above_zero, default=rule.generative_weight, metavar="ALPHA", help="that alpha")
    add("--initial-hidden-bias", type=finite, default=0.0, help="what the hidden biases start at")
    add("--optimizer", choices=optimization.OPTIMIZERS, default="sgd", help="MXNet's optimizer of that name")
    add("--initial-momentum", type=above_zero, default=0.5, help="momentum in the first --initial-momentum-epochs")
    add("--initial-momentum-epochs", type=_natural, default=0, help="epochs before --momentum counts")
    add_schedule(add)
    add(
        "--average",
        type=share,
        default=0.0,
        metavar="SHARE",
        help="results are the mean of the parameters over the steps of this last share of the run; 0: the last ones",
    )


def parse(argv, prog):
    """The arguments as a Namespace; `cuda_asked` is None unless --cuda or --no-cuda was given."""
    parser = _parser(prog)
    args = parser.parse_args(argv)
    if args.preset:
        parser.set_defaults(**PRESETS[args.preset])
        args = parser.parse_args(argv)
    if args.num_devices > args.batch_size:
        parser.error(
            "--num-devices %d leaves nothing of a --batch-size of %d for some: give fewer"
            % (args.num_devices, args.batch_size)
        )
    if args.early_stopping and not args.held_out:
        parser.error("--early-stopping needs held-out images: give --held-out")
    if args.objective != "generative" and not args.labels:
        parser.error("--objective %s needs labels: give --labels" % args.objective)
    if args.initial_momentum_epochs and not optimization.has_momentum(args.optimizer):
        parser.error("--optimizer %s has no momentum: leave --initial-momentum-epochs out" % args.optimizer)
    return args


def documented_namespace(args):
    """The Namespace of exactly the documented names, as the original prints it."""
    return argparse.Namespace(**{name: getattr(args, name) for name in DOCUMENTED})


def added_namespace(args):
    """The rest of the arguments."""
    return argparse.Namespace(
        **{name: value for name, value in vars(args).items() if name not in DOCUMENTED and name not in _NOT_FLAGS}
    )
