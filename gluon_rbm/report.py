"""The likelihood report: a number, and everything a reader needs to judge it (docs/likelihood.md teaches how)."""

import contextlib
import hashlib
import json
import math

import ais
from gluon_rbm import datasets, framework, gibbs
from gluon_rbm.errors import InputError
from gluon_rbm.run_folder import read_parameters, write_whole

__all__ = ["BASE_RATES", "PARTS", "run", "likelihood_report", "as_text"]

PARTS = ("test", "train", "held-out")
BASE_RATES = ("data", "model")

_HELD_OUT = 10000

_BINARIZED = {
    "none": "as they are",
    "sample": "drawn from their grey values (seed %(binarize_seed)d)",
    "threshold": "cut at 0.5",
}


def run(args):
    """The command `likelihood`: print the report, and write it as JSON where asked to."""
    context, _ = framework.choose_context(args.cuda, args.device_id)
    with contextlib.ExitStack() as stack:
        # Opened first: a file that cannot be written must not cost an hour of computing.
        file = stack.enter_context(_text_file(args.json)) if args.json else None
        report = likelihood_report(args, context)
        print(as_text(report), flush=True)
        if file:
            json.dump(report, file, indent=2)
            file.write("\n")


@contextlib.contextmanager
def _text_file(path):
    with write_whole(path, "--json") as temporary, open(temporary, "w", encoding="utf-8") as file:
        yield file


def likelihood_report(args, context):
    """The report as a dict of what JSON can say; args as `gluon_rbm.__main__` parses them."""
    parameters = read_parameters(args.model).as_in_context(context).checked()
    data = datasets.load(args.dataset, args.data_dir)
    images = _part(data, args.part)
    if data.num_visible != parameters.num_visible:
        raise InputError(
            "images of %s have %d pixels, the model %d visible units; name the data set that it was trained on"
            % (args.dataset, data.num_visible, parameters.num_visible)
        )
    engine = gibbs.choose_engine(args.engine, parameters.interaction_weight)
    # First, as it is quick and refuses what cannot be used; -F alone is the log-likelihood but for log Z.
    pixels = datasets.batches(images, data.maximum, 1000, key=[args.binarize_seed], binarize=args.binarize)
    negative_free_energy = ais.mean_log_likelihood(parameters, pixels, 0.0)
    base = None
    if args.base_rate == "data":
        mean = datasets.mean_image(data.train_images, data.maximum)
        base = ais.smoothed_visible_bias(mean, len(data.train_images))
    partition = ais.log_partition(
        *parameters,
        num_chains=args.chains,
        num_distributions=args.distributions,
        burn_in_sweeps=args.sweeps,
        base_visible_bias=base,
        key=[args.seed],
        progress=True,
        engine=engine,
    )
    return {
        "model": {
            "path": str(args.model),
            "num_visible": parameters.num_visible,
            "num_hidden": parameters.num_hidden,
            "sha256": _sha256(parameters),
        },
        "data": {
            "data_set": args.dataset,
            "part": args.part,
            "num_images": negative_free_energy.num_images,
            "binarize": args.binarize,
            "binarize_seed": args.binarize_seed if args.binarize == "sample" else None,
            "binary": negative_free_energy.binary,
        },
        "method": {
            "name": "annealed importance sampling",
            "distributions": args.distributions,
            "chains": args.chains,
            "sweeps": args.sweeps,
            "schedule": "linear",
            "base_rate": args.base_rate,
            "seed": args.seed,
            "engine": engine,
            "device": str(context),
        },
        "log_z": {
            "forward": {
                "estimate": _finite(partition.log_z),
                "low": _finite(partition.low),
                "high": _finite(partition.high),
                "effective_sample_size": partition.effective_sample_size,
            }
        },
        "log_likelihood": {
            "kind": "log-likelihood" if negative_free_energy.binary else "grey-pixel score",
            "mean": _finite(negative_free_energy.mean - partition.log_z),
            "standard_error": _finite(negative_free_energy.standard_error),
            "pessimistic": _finite(negative_free_energy.mean - partition.high),
            "optimistic": _finite(negative_free_energy.mean - partition.low),
        },
        "converged": not partition.doubt,
        "doubt": partition.doubt,
        "versions": framework.versions(),
    }


def _part(data, name):
    """The images of a part of a data set."""
    if name != "held-out":
        return data.test_images if name == "test" else data.train_images
    if len(data.train_images) < 2 * _HELD_OUT:
        raise InputError(
            "held-out images are the last %d of the training images, of which %s has %d; choose --part test or train"
            % (_HELD_OUT, data.name, len(data.train_images))
        )
    return data.train_images[-_HELD_OUT:]


def _sha256(parameters):
    digest = hashlib.sha256()
    for array in parameters:
        digest.update(array.asnumpy().tobytes())
    return digest.hexdigest()


def _finite(value):
    """The number, or None for what JSON cannot say."""
    return float(value) if math.isfinite(value) else None


def as_text(report):
    """The report for people."""
    model, data, method = report["model"], report["data"], report["method"]
    rows = [
        ("model", "%(path)s, %(num_visible)d visible and %(num_hidden)d hidden units" % model),
        ("data", "%(data_set)s, %(part)s, %(num_images)d images" % data),
        ("pixels", _BINARIZED[data["binarize"]] % data),
        (
            "method",
            "%(name)s: %(distributions)d distributions (%(schedule)s), %(chains)d chains, %(sweeps)d sweeps at each"
            % method,
        ),
        (
            "",
            "base rate: %s; seed %d; %s engine on %s"
            % (_base_rate(method), method["seed"], method["engine"], method["device"]),
        ),
    ]
    forward = report["log_z"]["forward"]
    rows += [
        (
            "log Z",
            "%s (-3 to +3 sigma: %s to %s)" % tuple(_number(forward[name]) for name in ("estimate", "low", "high")),
        ),
        ("", "effective sample size %.1f of %d chains" % (forward["effective_sample_size"], method["chains"])),
    ]
    likelihood = report["log_likelihood"]
    rows += [
        (
            likelihood["kind"],
            "%s +- %s nats per image (standard error over images)"
            % (_number(likelihood["mean"]), _number(likelihood["standard_error"])),
        ),
        ("", "%s by the pessimistic side of log Z" % _number(likelihood["pessimistic"])),
    ]
    if not data["binary"]:
        rows.append(("", "pixels are not binary: a score to compare runs by, not the logarithm of a probability"))
    rows.append(("verdict", "NOT CONVERGED: %s" % report["doubt"] if report["doubt"] else "nothing speaks against it"))
    return "\n".join("%-16s  %s" % row for row in rows)


def _base_rate(method):
    return "means of the training images" if method["base_rate"] == "data" else "the model's own visible bias"


def _number(value):
    return "unbounded" if value is None else "%.2f" % value
