"""What every command line here shares: arguments, errors in one line, exit statuses, and results as files."""

import contextlib
import json
import os
import sys

import numpy as np

from gluon_rbm.backend import framework, interruption, logs
from gluon_rbm.backend.array_files import sha256
from gluon_rbm.backend.devices import choose_context
from gluon_rbm.backend.files import check_writable, write_whole
from gluon_rbm.backend.framework import mx
from gluon_rbm.backend.random import make_generator
from gluon_rbm.cli import options
from gluon_rbm.cli.arguments import OneLineParser, at_least
from gluon_rbm.data import datasets
from gluon_rbm.data.batches import to_visible
from gluon_rbm.errors import InputError, one_line
from gluon_rbm.evaluation import plots
from gluon_rbm.models.files import read_model
from gluon_rbm.sampling import gibbs

__all__ = [
    "Results",
    "add_common",
    "add_data",
    "add_device",
    "add_model",
    "add_noise",
    "call",
    "exit_status",
    "load_data",
    "load_model",
    "model_record",
    "pixels",
]


def call(module, argv):
    """Run a command, a module with `add_arguments` and `run`, with arguments of its own, as texts."""
    parser = OneLineParser(prog=module.__name__)
    module.add_arguments(parser.add_argument)
    module.run(parser.parse_args(argv))


def exit_status(prog, action):
    """Call action() and return the process's exit status: 0; 2: bad input; 3: divergence; 130, 143: interrupted."""
    logs.configure()
    try:
        with interruption.handled():
            action()
    except InputError as error:
        print("%s: error: %s" % (prog, error), file=sys.stderr)
        return error.exit_status
    except (MemoryError, RuntimeError) as error:  # MXNet's are among them
        said = _what_is_lacking(error)
        if said is None:
            raise
        print("%s: error: %s" % (prog, said), file=sys.stderr)
        return InputError.exit_status
    except KeyboardInterrupt as interrupted:
        print("%s: %s" % (prog, str(interrupted) or "interrupted"), file=sys.stderr)
        return getattr(interrupted, "exit_status", 130)
    return 0


def _what_is_lacking(error):
    """One line for an error of the system's or MXNet's; None for one of this program."""
    text = str(error).strip()
    if isinstance(error, MemoryError) or "bad_alloc" in text or "allocate" in text:
        return "not enough memory; choose smaller sizes"
    if isinstance(error, mx.MXNetError):  # it hands on nothing of an operator's own error but this, and prints that
        return "MXNet failed (%s); see above" % text.splitlines()[-1]
    return "no more threads can be had; choose fewer workers" if "can't start new thread" in text else None


# --- Arguments (add: a parser's `add_argument`) ---------------------------------------------------------------------


def add_common(add, output):
    """All that every command with pictures has; output : what its files are called by default."""
    add_model(add)
    add_data(add)
    add_noise(add)
    add_device(add)
    add("--output", metavar="PATH", default=output, help="what the files of the results are called, before their dot")


def add_model(add):
    add("model", metavar="MODEL", help="a run folder, or a file rbm.params")


def add_data(add):
    options.add_dataset(add)
    add(
        "--part",
        choices=datasets.SPLITS,
        default="test",
        help="which images; held-out: the last 10,000 training images, to choose recipes on",
    )


def add_device(add):
    add("--cuda", action="store_true", default=None, help="compute on the GPU")
    add("--no-cuda", action="store_false", dest="cuda", default=None, help="compute on the CPU")
    add("--device-id", type=at_least(0, int), default=0, help="GPU device id")


def add_noise(add):
    add("--seed", type=at_least(0, int), default=0, help="everything random follows from it")
    add("--engine", choices=gibbs.ENGINES, default="auto", help="what runs the chains")


# --- What the arguments name ------------------------------------------------------------------------------------------


def load_model(args, labels=False):
    """The `Parameters` of MODEL on the device that is asked for; with `labels`, them and the number of classes.

    Without, raises InputError for a model that has labels.
    """
    context, _ = choose_context(args.cuda, args.device_id)
    parameters, num_classes = read_model(args.model)
    if num_classes and not labels:
        raise InputError(
            "%s is a model of images with labels, which this command does not know; sample, weights and classify do"
            % args.model
        )
    parameters = parameters.as_in_context(context)
    return (parameters, num_classes) if labels else parameters


def load_data(args, num_pixels):
    """The `DataSet`; InputError if its images are not the model's."""
    data = datasets.load(args.dataset, args.data_dir)
    if data.num_visible != num_pixels:
        raise InputError(
            "images of %s have %d pixels, the model %d visible units; name the data set that it was trained on"
            % (args.dataset, data.num_visible, num_pixels)
        )
    return data


def pixels(args, data, count):
    """`count` images of --part, chosen by --seed: float32 (count, num_visible). InputError if there are not so many."""
    images, _ = datasets.split_of(data, args.part)
    if count > len(images):
        raise InputError(
            "%s has %d images in part %s; ask for at most so many" % (args.dataset, len(images), args.part)
        )
    rows = np.sort(make_generator([args.seed, 0]).choice(len(images), count, replace=False))
    return to_visible(images[rows], data.maximum)


# --- Results ----------------------------------------------------------------------------------------------------------


class Results:
    """Files PATH.ENDING of a command's results, each written whole or not at all, and all of them at the end.

    Raises InputError at once if they cannot be written there.
    """

    def __init__(self, args, *endings):
        if os.path.basename(args.output) in ("", os.curdir, os.pardir):
            raise InputError("--output %r names no file; give a folder and a name in it" % args.output)
        self._args = args
        self._paths = {ending: "%s.%s" % (args.output, ending) for ending in endings}
        for path in self._paths.values():
            check_writable(path, "--output")

    def write(self, parameters, figures, pictures, arrays=None):
        """Write JSON, pictures and arrays, and say where.

        parameters : of a binary model; None: the figures say what the model is
        figures : dict of what JSON can say; it is given the command, the model and the versions
        pictures : ending -> Figure or animation; arrays : name -> array, for PATH.npz
        """
        arguments = {name: value for name, value in vars(self._args).items() if name != "command"}
        whole = {
            "arguments": arguments,
            "model": parameters and model_record(parameters, self._args.model),
            "results": figures,
            "versions": framework.versions(),
        }
        with contextlib.ExitStack() as stack:  # all are made before any takes its place
            for ending, path in self._paths.items():
                temporary = stack.enter_context(write_whole(path, "--output"))
                if ending == "json":
                    with open(temporary, "w", encoding="utf-8") as file:
                        json.dump(whole, file, indent=2, allow_nan=False)
                        file.write("\n")
                elif ending == "npz":
                    with open(temporary, "wb") as file:
                        np.savez_compressed(file, **arrays)
                else:
                    plots.save(pictures[ending], temporary)
        print("written: %s" % one_line(", ".join(self._paths.values())), flush=True)


def model_record(parameters, path):
    """What a report says of its model."""
    return {
        "path": str(path),
        "num_visible": parameters.num_visible,
        "num_hidden": parameters.num_hidden,
        "sha256": sha256(array.asnumpy() for array in parameters),
    }
