"""Command line of the two training scripts."""

import argparse

from gluon_rbm import datasets, gibbs, learning

__all__ = ["DOCUMENTED", "parse", "documented_namespace", "added_namespace"]

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


_FLOAT32_MAX = 3.4e38  # what MXNet's optimizers take


class _OneLineParser(argparse.ArgumentParser):
    def error(self, message):
        self.exit(2, "%s: error: %s (see --help)\n" % (self.prog, message))


def _at_least(lowest, kind):
    noun = "a whole number below 2^31 and" if kind is int else "a finite number and"

    def convert(text):
        value = kind(text)
        if not lowest <= value < (2**31 if kind is int else _FLOAT32_MAX):  # NaN fails too
            raise argparse.ArgumentTypeError("%s is not %s at least %s" % (text, noun, lowest))
        return value

    convert.__name__ = kind.__name__  # what argparse calls it when the text is no number at all
    return convert


_count, _natural = _at_least(1, int), _at_least(0, int)
_amount = _at_least(0.0, float)


def _share(text):
    value = float(text)
    if not 0 <= value < 1:  # NaN fails too
        raise argparse.ArgumentTypeError("%s is not a number of at least 0 and below 1" % text)
    return value


_share.__name__ = "float"


class _Cuda(argparse.Action):
    """Remember not only the choice but that it was made: a default may fall back to the CPU, a wish may not."""

    def __init__(self, option_strings, dest, const, help):
        super().__init__(option_strings, dest, nargs=0, const=const, help=help)

    def __call__(self, parser, namespace, values, option_string=None):
        namespace.cuda = namespace.cuda_asked = self.const


def _parser(prog):
    parser = _OneLineParser(
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
    parser.set_defaults(cuda=True, cuda_asked=None)
    _add_new(parser.add_argument_group("beyond the original").add_argument)
    return parser


def _add_new(add):
    add("--dataset", default="mnist", help="%s, or a .npy file of images in [0, 1]" % ", ".join(datasets.NAMES))
    add("--data-dir", help="folder of the data set; else $MXNET_RBM_DATA, else $MXNET_HOME/datasets, else downloaded")
    add("--seed", type=_natural, default=0, help="everything random follows from it")
    add("--output-dir", help="run folder; by default a new one under runs/")
    add(
        "--engine",
        choices=gibbs.ENGINES,
        default="auto",
        help="what runs the Gibbs chains: C code or MXNet's operators; auto takes C on a CPU where it is built",
    )
    add("--resume", action="store_true", help="continue the run in the run folder from its last whole epoch")
    add(
        "--binarize",
        choices=datasets.BINARIZE,
        default="none",
        help="leave pixels grey, draw them anew at every use, or cut them at 0.5",
    )
    add("--monitor-every", type=_count, default=1, help="epochs between two estimates of the log-likelihood")
    add(
        "--initial-visible-bias",
        choices=("zero", "data"),
        default="zero",
        help="start the visible biases at zero or at the log-odds of the mean training image",
    )
    add(
        "--weight-decay",
        type=_amount,
        default=0.0,
        help="lambda in lambda/2 |W|^2, added to the mean loss; biases are left alone",
    )
    add(
        "--centering",
        type=_share,
        nargs="?",
        const=0.01,
        default=0.0,
        metavar="RATE",
        help="center the gradient by running means that follow each batch at this rate; without a rate: 0.01",
    )
    add(
        "--learning-rate-schedule",
        choices=learning.SCHEDULES,
        default="constant",
        help="keep the learning rate, or hold it for a share of the run and then let it fall linearly to zero",
    )
    add("--hold", type=_share, default=0.3, help="the share of the run that the linear schedule holds the rate for")
    add(
        "--average",
        type=_share,
        default=0.0,
        metavar="SHARE",
        help="results are the mean of the parameters over the steps of this last share of the run; 0: the last ones",
    )
    add(
        "--held-out",
        type=_natural,
        default=0,
        metavar="N",
        help="hold the last N training images out, and monitor them instead of the test images until the last epoch",
    )
    add(
        "--ais-base-rate",
        choices=("model", "data"),
        default="model",
        help="AIS starts from pixels with the model's own visible biases, or with the means of the training images",
    )


def parse(argv, prog):
    """The arguments as a Namespace; `cuda_asked` is None unless --cuda or --no-cuda was given."""
    return _parser(prog).parse_args(argv)


def documented_namespace(args):
    """The Namespace of exactly the documented names, as the original prints it."""
    return argparse.Namespace(**{name: getattr(args, name) for name in DOCUMENTED})


def added_namespace(args):
    """The rest of the arguments."""
    return argparse.Namespace(
        **{name: value for name, value in vars(args).items() if name not in DOCUMENTED and name != "cuda_asked"}
    )
