"""The command `resample`: long chains from images, what becomes of their classes, and whether they are long enough."""

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
from gluon_rbm.sampling.chains import sample_chains

if TYPE_CHECKING:
    from argparse import Namespace

    from matplotlib.figure import Figure

    from gluon_rbm.backend.types import HostArray
    from gluon_rbm.cli.inputs import AddArgument
    from gluon_rbm.models.energy import Parameters

__all__ = ["ABOUT", "add_arguments", "run"]

logger = logging.getLogger(__name__)

ABOUT = "long chains from images: classes before and after, autocorrelation, convergence"

_SHOWN = 64
_TRACED = 6  # chains
_FEWEST = 4  # sweeps
_RECORDS = 1000  # of the chains on their way, at least


def add_arguments(add: AddArgument) -> None:
    inputs.add_common(add, "resample")
    add(
        "--sweeps",
        type=at_least(1, int),
        nargs="+",
        default=[100, 1000, 10000],
        help="after how many Gibbs sweeps the classes are counted; the last one is the end",
    )
    add(
        "--count",
        type=at_least(2, int),
        help="number of chains, at most 64 of them shown (default: 200, or all images)",
    )


def run(args: Namespace) -> None:
    """Run chains from images; count classes, and record the free energy and the number of pixels on."""
    if args.sweeps[-1] < _FEWEST:
        raise InputError("%d sweeps are too few for a diagnosis; end with at least %d" % (args.sweeps[-1], _FEWEST))
    if sorted(set(args.sweeps)) != args.sweeps:
        raise InputError("--sweeps %s do not rise; give each number once, in order" % " ".join(map(str, args.sweeps)))
    results = Results(args, "png", "chains.png", "json", "npz")
    parameters = inputs.model_from(args)
    data = inputs.data_from(args, parameters.num_visible)
    images = inputs.images_from(args, data, inputs.count_from(args, data, 200))
    trained = classifier.train_independent_classifier(data)
    states, recorded, every = _run(args, parameters, images)
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
    results.write(parameters, figures, pictures, arrays)


def _run(
    args: Namespace, parameters: Parameters, images: HostArray
) -> tuple[dict[int, tuple[HostArray, HostArray]], dict[str, HostArray], int]:
    """Run the chains.

    Returns the states at --sweeps: sweep -> (samples, probabilities); what was recorded on the way: name -> float64
    (chains, records); and after every how many sweeps it was.
    """
    every = int(np.gcd.reduce([max(1, args.sweeps[-1] // _RECORDS), *args.sweeps]))
    states, energies, pixels_on = {}, [], []
    chains = sample_chains(parameters, images, args.sweeps[-1], key=[args.seed, 1], every=every, engine=args.engine)
    bar = tqdm(chains, total=args.sweeps[-1] // every, unit="sweep", unit_scale=every, disable=None)
    for index, state in enumerate(bar, 1):
        energies.append(to_numpy(free_energy(parameters, state.visible_sample)))
        pixels_on.append(to_numpy(state.visible_sample.sum(axis=1)).astype(np.float64))
        if index * every in args.sweeps:
            states[index * every] = to_numpy(state.visible_sample), to_numpy(state.visible_prob_1)
    return states, {"free_energy": np.stack(energies, axis=1), "pixels_on": np.stack(pixels_on, axis=1)}, every


def _diagnosed(values: HostArray, every: int) -> dict[str, Any]:
    """How the chains mix, by a number of each state, (chains, records): what JSON can say of it; times in sweeps."""
    found = diagnostics.diagnose(values)
    found = found._replace(autocorrelation_time=every * found.autocorrelation_time)
    *numbers, warning = found
    figures = {name: value if np.isfinite(value) else None for name, value in zip(found._fields, numbers)}
    return {**figures, "doubt": warning}


def _tell(figures: Mapping[str, Any], trained: classifier.IndependentClassifier) -> None:
    logger.info("classes of images, and of the chains' probabilities of pixels, by %s:", trained.description)
    for name, fractions in figures["class_shares"].items():
        stay = "" if name == "images" else "; %.3f are as at the start" % figures["as_at_the_start"][name]
        logger.info("%-20s classes %s%s", name, " ".join("%.3f" % fraction for fraction in fractions), stay)
    for name, found in figures["diagnostics"].items():
        numbers = ["unknown" if value is None else "%.4g" % value for value in list(found.values())[:3]]
        logger.info(
            "%-20s autocorrelation time %s sweeps, effective sample size %s, split-R-hat %s",
            name.replace("_", " "),
            *numbers,
        )
        if found["doubt"]:
            logger.info(
                "TOO SHORT TO TRUST, in steps of %d sweeps: %s; give more --sweeps",
                figures["sweeps_a_step"],
                found["doubt"],
            )


def _picture(fractions: Mapping[str, HostArray], recorded: Mapping[str, HostArray], every: int) -> Figure:
    figure, axes = plots.panels(3)
    plots.class_fractions(fractions, "classes, by the classifier", axes=axes[0])
    plots.traces(recorded["free_energy"][:_TRACED], "free energy of some chains", "F (nats)", every, axes=axes[1])
    plots.traces(recorded["pixels_on"][:_TRACED], "pixels on of some chains", "pixels", every, axes=axes[2])
    return figure
