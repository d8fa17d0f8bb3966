"""The likelihood report: a number, and all that is needed to judge it (see docs/likelihood.md)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Callable, Iterable, Iterator

import numpy as np

from gluon_rbm.backend import framework
from gluon_rbm.backend.array_files import sha256
from gluon_rbm.cli import inputs
from gluon_rbm.cli.results import model_record
from gluon_rbm.data import datasets, splits
from gluon_rbm.data.batches import BINARIZE, iterate_batches
from gluon_rbm.data.statistics import base_visible_bias
from gluon_rbm.errors import InputError
from gluon_rbm.likelihood import ais, enumeration
from gluon_rbm.likelihood.estimates import GIVEN_BASE
from gluon_rbm.likelihood.scores import LogLikelihood, score_kind
from gluon_rbm.sampling import gibbs

if TYPE_CHECKING:
    from argparse import Namespace

    from gluon_rbm.backend.types import HostArray, VisibleUnits
    from gluon_rbm.data.datasets import DataSet
    from gluon_rbm.likelihood.estimates import Bracket, LogPartition, PathPartition
    from gluon_rbm.models.parameters import Parameters
    from gluon_rbm.sampling import trajectory

__all__ = [
    "BASE_RATES",
    "METHODS",
    "PSEUDO_LIKELIHOODS",
    "REVERSE_STARTS",
    "finite",
    "likelihood_report",
    "log_z_of",
]

BASE_RATES = {"data": "the means of the training images", "model": "the model's own visible bias"}
METHODS = ("auto", "enumeration", "ais")
PSEUDO_LIKELIHOODS = ("none", "stochastic", "exact")
REVERSE_STARTS = ("auto", "exact", "chains", "data")


# A function that gives the same batches each time: float32 NumPy (n, num_visible).
Batches = Callable[[], Iterator[Any]]

_PIXELS, _ONE_PIXEL = range(2)  # purposes of random keys (seed, purpose)


def likelihood_report(args: Namespace) -> dict[str, Any]:
    """Compute the likelihood report of a binary RBM.

    Parameters
    ----------
    args
        The parsed arguments of `gluon_rbm.cli.likelihood`.

    Returns
    -------
    dict
        The report, of values that JSON allows. The log-likelihood is in nats per image.

    Raises
    ------
    InputError
        An argument cannot be used. Raised before any long computation.
    """
    parameters = inputs.model_from(args)
    data = inputs.data_from(args, parameters.num_visible)
    images, pixels = _images(args, data)
    weights = {"test": data.test_weights, "train": data.train_weights}.get(args.part)
    # The mean of -F(v), without log Z.
    score = ais.mean_log_likelihood(parameters, pixels(), 0.0, weights)
    method, log_z = _log_z(args, parameters, data, pixels)
    _doubt_what_cannot_be(log_z, score)
    pseudo = None
    if args.pseudo_likelihood != "none" and score.binary:
        key = [args.binarize_seed, _ONE_PIXEL] if args.pseudo_likelihood == "stochastic" else None
        pseudo = ais.mean_pseudo_log_likelihood(parameters, pixels(), key, data.softmax_groups, weights)
    return {
        "model": model_record(parameters, args.model),
        "data": {
            "data_set": args.dataset,
            "part": args.part,
            "num_images": score.num_images,
            "sha256": sha256([images]),
            "binarize": args.binarize,
            "binarize_seed": args.binarize_seed if args.binarize == "sample" else None,
            "binary": score.binary,
        },
        "method": method,
        "log_z": log_z,
        "log_likelihood": {
            "kind": score_kind(score.binary),
            "mean": finite(score.mean - log_z["estimate"]),
            "standard_error": finite(score.standard_error),
            "pessimistic": None if log_z["high"] is None else finite(score.mean - log_z["high"]),
            "optimistic": None if log_z["low"] is None else finite(score.mean - log_z["low"]),
        },
        "pseudo_log_likelihood": pseudo
        and {
            "kind": args.pseudo_likelihood,
            "mean": finite(pseudo.mean),
            "standard_error": finite(pseudo.standard_error),
        },
        "versions": framework.versions(),
    }


def _doubt_what_cannot_be(log_z: dict[str, Any], score: LogLikelihood) -> None:
    """Add a reason for doubt if binary data have a positive log-likelihood, which is impossible."""
    likelihood = score._replace(mean=score.mean - log_z["estimate"])
    if likelihood.binary and likelihood.warning:
        log_z.update(doubt="; ".join(filter(None, [log_z["doubt"], likelihood.warning])), converged=False)


# --- The data -------------------------------------------------------------------------------------


def _images(args: Namespace, data: DataSet) -> tuple[HostArray, Batches]:
    """Return the stored images, and a function that gives the same batches of pixels each time."""
    (images, _), maximum, binarize = splits.split_of(data, args.part), data.maximum, args.binarize
    if binarize not in BINARIZE:
        images, maximum, binarize = datasets.load_binarized(binarize, len(images), data.num_visible), 1, "none"
    if data.train_weights is not None:  # a key would shuffle the images, and draw pixels
        return images, lambda: iterate_batches(images, maximum, 1000)
    key = [args.binarize_seed, _PIXELS]
    return images, lambda: iterate_batches(images, maximum, 1000, key=key, binarize=binarize)


# --- log Z ----------------------------------------------------------------------------------------


def _log_z(
    args: Namespace, parameters: Parameters, data: DataSet, pixels: Batches
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return `log_z_of` for a binary RBM."""
    if _is_enumerated(args, parameters, data.softmax_groups):
        return log_z_of(args, parameters, data.softmax_groups)
    from_images, has_path = args.reverse and args.reverse_start == "data", args.reverse and args.path != "none"
    return log_z_of(
        args,
        parameters,
        data.softmax_groups,
        base_bias=base_visible_bias(data) if args.base_rate == "data" else None,
        start=_some(pixels(), args.chains) if from_images else args.reverse_start,
        path=inputs.path_from(args, args.path, parameters, data) if has_path else None,
    )


def _is_enumerated(args: Namespace, parameters: Parameters, visible_units: VisibleUnits) -> bool:
    is_quick = args.method == "auto" and enumeration.is_quick(parameters, visible_units)
    return is_quick or args.method == "enumeration"


def log_z_of(
    args: Namespace,
    parameters: Parameters,
    visible_units: VisibleUnits,
    *,
    base_bias: Any = None,
    start: Any = "auto",
    path: trajectory.Path | None = None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Compute log Z, by enumeration or AIS.

    Parameters
    ----------
    args
        The parsed arguments of `gluon_rbm.cli.likelihood`.
    parameters
        The parameters of the RBM.
    visible_units
        As in `gluon_rbm.sampling.gibbs.run_chains`.
    base_bias
        Visible bias of the base rate, (num_visible,); None: the RBM's own.
    start
        Where reverse AIS starts; `reverse_start` in `gluon_rbm.likelihood.ais.bracket`.
    path
        A path to the RBM, which gives a further estimate; or None.

    Returns
    -------
    method : dict
        How log Z was computed, for a report.
    log_z : dict
        The estimate and its interval in nats, the reasons for doubt, and whether it converged.
    """
    if _is_enumerated(args, parameters, visible_units):
        value = enumeration.log_partition(parameters, progress=True, visible_units=visible_units)
        log_z = {"estimate": value, "low": value, "high": value, "forward": None, "reverse": None}
        return {"name": "enumeration"}, {**log_z, "doubt": "", "converged": True}
    return _annealed(args, parameters, visible_units, base_bias, start, path)


def _annealed(
    args: Namespace,
    parameters: Parameters,
    visible_units: VisibleUnits,
    base_bias: Any,
    start: Any,
    path: trajectory.Path | None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    from_images = not isinstance(start, str)
    method = {
        "name": "annealed importance sampling",
        "distributions": args.distributions,
        "chains": args.chains,
        "sweeps": args.sweeps,
        "schedule": args.schedule,
        "base_rate": args.base_rate,
        "reverse_start": None,
        "seed": args.seed,
        "engine": gibbs.choose_engine(args.engine, parameters.interaction_weight),
        "device": str(parameters.interaction_weight.context),
    }
    settings = {
        "num_chains": args.chains,
        "num_distributions": args.distributions,
        "burn_in_sweeps": args.sweeps,
        "schedule": args.schedule,
        "base_visible_bias": base_bias,
        "key": [args.seed],
        "engine": method["engine"],
        "progress": True,
        "visible_units": visible_units,
        "state": args.state,
    }
    if not args.reverse:
        forward = ais.log_partition(*parameters, **settings)
        log_z = {**_side(forward), "forward": _side(forward), "reverse": None, "doubt": forward.warning}
        return method, {**log_z, "converged": False if forward.warning else None}
    bracket = ais.bracket(*parameters, reverse_start=start, path=path, **settings)
    method["reverse_start"] = "data" if from_images else bracket.reverse_start
    warning = bracket.warning
    if from_images:
        diagnostic = "reverse AIS started from the images, which is a diagnostic, not a bracket"
        warning = "; ".join(filter(None, [warning, diagnostic]))
    return method, {**_bracketed(bracket, method["base_rate"]), "doubt": warning, "converged": not warning}


def _bracketed(bracket: Bracket, base_rate: str) -> dict[str, Any]:
    """Return the part of a report that describes a bracket of log Z."""

    def named(name: str) -> str:
        return name.replace(GIVEN_BASE, BASE_RATES[base_rate])

    return {
        "estimate": finite(bracket.log_z),
        "low": finite(bracket.low),
        "high": finite(bracket.high),
        "forward": _side(bracket.forward),
        "reverse": _side(bracket.reverse),
        "base": named(bracket.base),
        "bases": {named(check.name): _side(check.estimate) for check in bracket.bases},
        "mixture": None if bracket.mixture is None else _side(bracket.mixture),
        "path": None if bracket.path is None else _path_side(bracket.path),
        "mixture_counts": bracket.estimate is bracket.mixture,
        "confirmed_by": {named(name): difference for name, difference in bracket.confirmations.items()},
    }


def _some(batches: Iterable[HostArray], count: int) -> HostArray:
    """Return the first `count` binary images, in random order; repeat them if they run out."""
    rows = []
    for batch in batches:
        if not np.isin(batch, (0, 1)).all():
            raise InputError("--reverse-start data needs binary images; choose --binarize sample or threshold")
        rows.extend(batch)
        if len(rows) >= count:
            break
    return np.array([rows[index % len(rows)] for index in range(count)])


def _side(partition: LogPartition) -> dict[str, float | None]:
    names = ("log_z", "low", "high", "effective_sample_size")
    side = {"estimate" if name == "log_z" else name: finite(getattr(partition, name)) for name in names}
    return {**side, "chains": partition.num_chains}


def _path_side(path: PathPartition) -> dict[str, Any]:
    side = {"estimate" if name == "log_z" else name: finite(getattr(path, name)) for name in ("log_z", "low", "high")}
    return {
        **side,
        "name": path.name,
        "chains": path.num_chains,
        "sweeps": path.sweeps,
        "rbms": len(path.swap_rates) + 1,
        "lowest_swap_rate": finite(path.swap_rates.min()),
        "doubt": path.warning,
    }


def finite(value: float) -> float | None:
    """Convert a number for JSON.

    Parameters
    ----------
    value
        The number.

    Returns
    -------
    float or None
        The number; None if it is infinite or NaN.
    """
    return float(value) if math.isfinite(value) else None
