"""The command resample: run long chains from images, follow their classes, and diagnose mixing."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Mapping

import numpy as np
from tqdm import tqdm

from gluon_rbm.backend.arrays import to_numpy
from gluon_rbm.cli import inputs
from gluon_rbm.cli.arguments import at_least
from gluon_rbm.cli.results import Results
from gluon_rbm.errors import InputError
from gluon_rbm.evaluation import blank, classifier, plots
from gluon_rbm.models.energy import free_energy
from gluon_rbm.sampling import diagnostics
from gluon_rbm.sampling.chains import path_tempering, sample_chains

if TYPE_CHECKING:
    from argparse import Namespace

    from matplotlib.figure import Figure

    from gluon_rbm.backend.types import HostArray
    from gluon_rbm.cli.inputs import AddArgument
    from gluon_rbm.models.parameters import Parameters
    from gluon_rbm.sampling import trajectory

__all__ = ["ABOUT", "add_arguments", "run"]

logger = logging.getLogger(__name__)

ABOUT = "run long chains from images: classes before and after, autocorrelation, convergence"

_SHOWN = 64
_TRACED = 6  # number of chains to plot
_FEWEST = 4  # fewest sweeps, and fewest records, for a diagnosis
_RECORDS = 1000  # states of each chain to record, at least, if there are as many sweeps
_CLASSIFIED = 250  # recorded states of each chain to classify, at most


def add_arguments(add: AddArgument) -> None:
    """Add the arguments of the command.

    Parameters
    ----------
    add
        The method add_argument of a parser.
    """
    inputs.add_common(add, "resample")
    add(
        "--sweeps",
        type=at_least(1, int),
        nargs="+",
        default=[100, 1000, 10000],
        help="numbers of Gibbs sweeps after which the classes are counted; the chains end after the last",
    )
    add(
        "--count",
        type=at_least(2, int),
        help="number of chains; at most 64 are shown (default: 200, or all images)",
    )
    inputs.add_chains(add)


def run(args: Namespace) -> None:
    """Run chains from images, count their classes, and diagnose how they mix.

    The diagnosis is of the free energy, of the number of pixels that are on, and of the class.

    Parameters
    ----------
    args
        The parsed arguments.
    """
    if args.sweeps[-1] < _FEWEST:
        raise InputError("%d sweeps are too few for a diagnosis; give at least %d" % (args.sweeps[-1], _FEWEST))
    if sorted(set(args.sweeps)) != args.sweeps:
        raise InputError("--sweeps %s must increase; give each number once, in order" % " ".join(map(str, args.sweeps)))
    results = Results(args, "png", "chains.png", "json", "npz")
    parameters = inputs.model_from(args)
    data = inputs.data_from(args, parameters.num_visible)
    images = inputs.images_from(args, data, inputs.count_from(args, data, 200))
    trained = classifier.train_independent_classifier(data)
    path = None if args.chains == "gibbs" else inputs.path_from(args, args.chains, parameters, data)
    states, recorded, classes_on_the_way, every = _run(args, parameters, images, trained, path)
    rows = {"images": images, **{"after %d sweeps" % sweep: state[1] for sweep, state in states.items()}}
    fractions = {name: trained.class_fractions(values) for name, values in rows.items()}
    classes = {name: trained.classes(values) for name, values in rows.items()}
    figures = {
        "class_shares": {name: fraction.tolist() for name, fraction in fractions.items()},
        "as_at_the_start": {name: float((found == classes["images"]).mean()) for name, found in classes.items()},
        "classified": "probabilities",
        **trained.record(),
        "sweeps_a_step": every,
        "diagnostics": {name: _diagnosed(values, every) for name, values in recorded.items()},
        "class_autocorrelation_time": _class_time(classes_on_the_way, args.sweeps[-1]),
    }
    _tell(figures, trained)
    samples, probabilities = states[args.sweeps[-1]]
    blank.tell(samples)
    end = "after %d sweeps" % args.sweeps[-1]
    shown = {"images": images, "samples " + end: samples, "probabilities " + end: probabilities}
    pictures = {
        "png": plots.grids({name: rows[:_SHOWN] for name, rows in shown.items()}, data.image_shape),
        "chains.png": _picture(fractions, recorded, every),
    }
    arrays = {"images": images, "samples": samples, "probabilities": probabilities, **recorded}
    arrays["classes"] = classes_on_the_way
    results.write(parameters, figures, pictures, arrays)


def _run(
    args: Namespace,
    parameters: Parameters,
    images: HostArray,
    trained: classifier.IndependentClassifier,
    path: trajectory.Path | None,
) -> tuple[dict[int, tuple[HostArray, HostArray]], dict[str, HostArray], HostArray, int]:
    """Run the chains, and return four things.

    1. The states after each number of --sweeps: sweep -> (samples, probabilities).
    2. The recorded series: name -> float64 (chains, records).
    3. The classes at regular intervals: int (chains, records of classes).
    4. The number of sweeps between two records of the series.
    """
    every = int(np.gcd.reduce([max(1, args.sweeps[-1] // _RECORDS), *args.sweeps]))
    states, energies, pixels_on, classes = {}, [], [], []
    settings = {"sweeps": args.sweeps[-1], "key": [args.seed, 1], "every": every, "engine": args.engine}
    if path is None:
        chains = sample_chains(parameters, images, **settings)
    else:
        chains = (found.chains for found in path_tempering(parameters, images, path=path, **settings))
    apart = -(-args.sweeps[-1] // every // _CLASSIFIED)
    bar = tqdm(chains, total=args.sweeps[-1] // every, unit="sweep", unit_scale=every, disable=None)
    for index, state in enumerate(bar, 1):
        energies.append(to_numpy(free_energy(parameters, state.visible_sample)))
        pixels_on.append(to_numpy(state.visible_sample.sum(axis=1)).astype(np.float64))
        if index % apart == 0:
            classes.append(trained.classes(to_numpy(state.visible_prob_1)))
        if index * every in args.sweeps:
            states[index * every] = to_numpy(state.visible_sample), to_numpy(state.visible_prob_1)
    recorded = {"free_energy": np.stack(energies, axis=1), "pixels_on": np.stack(pixels_on, axis=1)}
    return states, recorded, np.stack(classes, axis=1), every


def _class_time(classes: HostArray, sweeps: int) -> float | None:
    """Return the autocorrelation time of the recorded classes in sweeps; None if it is unknown."""
    if classes.shape[1] < _FEWEST:
        return None
    time = sweeps / classes.shape[1] * diagnostics.autocorrelation_time_of_classes(classes)
    return time if np.isfinite(time) else None


def _diagnosed(values: HostArray, every: int) -> dict[str, Any]:
    """Return figures for JSON on how chains mix, from a series (chains, records).

    Times are in sweeps.
    """
    found = diagnostics.diagnose(values)
    found = found._replace(autocorrelation_time=every * found.autocorrelation_time)
    *numbers, warning = found
    figures = {name: value if np.isfinite(value) else None for name, value in zip(found._fields, numbers)}
    return {**figures, "doubt": warning}


def _in_words(value: float | None) -> str:
    return "unknown" if value is None else "%.4g" % value


def _tell(figures: Mapping[str, Any], trained: classifier.IndependentClassifier) -> None:
    logger.info("shares of the classes of images, and of the chains' pixel probabilities, by %s:", trained.description)
    for name, fractions in figures["class_shares"].items():
        stay = "" if name == "images" else "; %.3f in their class at the start" % figures["as_at_the_start"][name]
        logger.info("%-20s classes %s%s", name, " ".join("%.3f" % fraction for fraction in fractions), stay)
    logger.info("autocorrelation time of the class: %s sweeps", _in_words(figures["class_autocorrelation_time"]))
    for name, found in figures["diagnostics"].items():
        numbers = [_in_words(value) for value in list(found.values())[:3]]
        logger.info(
            "%-20s autocorrelation time %s sweeps, effective sample size %s, split-R-hat %s",
            name.replace("_", " "),
            *numbers,
        )
        if found["doubt"]:
            logger.info(
                "TOO SHORT TO TRUST: %s (1 step = %d sweeps); give more --sweeps",
                found["doubt"],
                figures["sweeps_a_step"],
            )


def _picture(fractions: Mapping[str, HostArray], recorded: Mapping[str, HostArray], every: int) -> Figure:
    figure, axes = plots.panels(3)
    plots.class_fractions(fractions, "classes, by the classifier", axes=axes[0])
    plots.traces(recorded["free_energy"][:_TRACED], "free energy in some chains", "F (nats)", every, axes=axes[1])
    plots.traces(recorded["pixels_on"][:_TRACED], "pixels on in some chains", "pixels", every, axes=axes[2])
    return figure
