"""Monitors score images between epochs: log-likelihoods by AIS, or classification errors."""

from __future__ import annotations

import logging
import math
from types import MappingProxyType
from typing import Any, Dict, Mapping, Protocol, Sequence

import numpy as np

from gluon_rbm.backend.arrays import to_numpy
from gluon_rbm.backend.types import HostArray, Key, NDArray
from gluon_rbm.data.batches import iterate_batches
from gluon_rbm.errors import InputError
from gluon_rbm.likelihood import ais, bennett, learning, snapshots
from gluon_rbm.likelihood.estimates import PathPartition, is_usable
from gluon_rbm.likelihood.scores import LogLikelihood, score_kind
from gluon_rbm.models import label_rbm
from gluon_rbm.models.parameters import Parameters
from gluon_rbm.models.visible_units import log_normalizer
from gluon_rbm.training.binary_settings import BinarySettings

__all__ = ["ClassificationMonitor", "ImageMonitor", "LikelihoodMonitor", "Row", "Scores"]

logger = logging.getLogger(__name__)

Scores = Mapping[str, Any]  #: name of the images -> what `ImageMonitor.score` returned
Row = Dict[str, Any]  #: columns of metrics.csv

# For each RBM of a path, when log Z is estimated along the path.
_PATH_CHAINS, _PATH_SWEEPS = 100, 100
_FEW_EXCHANGES = 0.05  # a lower swap rate is reported
_NO_STATES: Mapping[str, Any] = MappingProxyType({})
_ROWS_AT_ONCE = 1000
_ROWS_CLASSIFIED_AT_ONCE = 200  # an array (rows, num_hidden) then stays in a cache


class ImageMonitor(Protocol):
    """What `Measurement` needs to score images."""

    def begin(
        self, number: int, parameters: Mapping[str, NDArray], aux_states: Mapping[str, NDArray] = _NO_STATES
    ) -> float:
        """Prepare the scores of an epoch.

        Parameters
        ----------
        number
            Number of the epoch, from 1.
        parameters
            Parameters to score: name -> NDArray.
        aux_states
            Chains and other states that the RBM keeps besides its parameters, live.

        Returns
        -------
        float
            Estimate of log Z in nats; NaN if the scores do not need it.
        """
        ...

    def score(self, section: int, images: np.ndarray, parameters: Mapping[str, NDArray], log_z: float) -> Any:
        """Score images.

        Parameters
        ----------
        section
            Number of this set of images. Their pixels are drawn alike in every epoch.
        images
            Images, (n, ...).
        parameters
            Parameters to score: name -> NDArray.
        log_z
            Estimate that `begin` returned for them.

        Returns
        -------
        object
            The score.
        """
        ...

    def merit(self, score: Any) -> float:
        """Return a number that is larger for a better score.

        Parameters
        ----------
        score
            What `score` returned.
        """
        ...

    def row(self, scores: Scores) -> Row:
        """Return the columns of metrics.csv for an epoch.

        Parameters
        ----------
        scores
            Name of the images -> score.

        Returns
        -------
        dict
            Column -> number, or None if it is not finite.
        """
        ...

    def message(self, scores: Scores) -> str:
        """Return the line to print for an epoch.

        Parameters
        ----------
        scores
            As in `row`.
        """
        ...

    def columns(self, name: str, score: Any) -> Row:
        """Return the columns of metrics.csv for one score.

        Parameters
        ----------
        name
            Name of the images.
        score
            What `score` returned.

        Returns
        -------
        dict
            Column -> number, or None if it is not finite.
        """
        ...

    def brief(self, name: str, score: Any) -> str:
        """Return one score in words.

        Parameters
        ----------
        name, score
            As in `columns`.
        """
        ...

    def curve(self, metrics: Sequence[Row]) -> tuple[str, str]:
        """Return what `gluon_rbm.evaluation.plots.learning_curve` draws.

        Parameters
        ----------
        metrics
            Rows of metrics.csv.

        Returns
        -------
        column : str
            Column to draw, without the name of the images.
        meaning : str
            Meaning of its values.
        """
        ...


class LikelihoodMonitor:
    """Monitor of log-likelihoods, with log Z by AIS.

    Parameters
    ----------
    settings
        Settings of the run.
    maximum
        Pixel value that means 1.
    base_visible_bias
        Base rate of AIS, (num_visible,); None: the visible bias of the RBM.
    ais_key, pixels_key
        Keys for the noise of AIS, and for drawing pixels.
    weights
        Section -> weights of its images, (n,). Without weights, all images count alike.
    """

    def __init__(
        self,
        settings: BinarySettings,
        maximum: int,
        base_visible_bias: np.ndarray | None,
        *,
        ais_key: Key,
        pixels_key: Key,
        weights: Mapping[int, HostArray] = MappingProxyType({}),
    ) -> None:
        self._settings, self._maximum, self._base_visible_bias = settings, maximum, base_visible_bias
        self._ais_key, self._pixels_key, self._weights = ais_key, pixels_key, weights
        self._partition: Any = None
        self._path: PathPartition | None = None  # estimate along the trajectory
        # Whether steps are too large for chains to move along the trajectory.
        self._steps_are_large = False
        # Log-likelihood of an image if all visible units are fair coins.
        self._fair_coins = -math.inf

    def begin(
        self, number: int, parameters: Mapping[str, NDArray], aux_states: Mapping[str, NDArray] = _NO_STATES
    ) -> float:
        """Estimate log Z by AIS, and along the trajectory if there are snapshots."""
        settings = self._settings
        groups = settings.rule.visible_units(len(parameters["visible_layer_bias"]))
        self._fair_coins = -float(log_normalizer(np.zeros(len(parameters["visible_layer_bias"])), groups))
        self._partition = ais.log_partition(
            **parameters,
            num_chains=settings.ais_batch_size * settings.ais_num_batch,
            base_visible_bias=self._base_visible_bias,
            key=[*self._ais_key, number],
            num_distributions=settings.ais_intermediate_steps,
            burn_in_sweeps=settings.ais_burn_in_steps,
            chains_at_once=settings.ais_batch_size,
            engine=settings.engine,
            visible_units=groups,
        )
        self._path = self._along_trajectory(Parameters(**parameters), aux_states, [*self._ais_key, number, 1])
        return self._partition.log_z

    def _along_trajectory(
        self, parameters: Parameters, aux_states: Mapping[str, NDArray], key: Key
    ) -> PathPartition | None:
        """Estimate log Z along the snapshots of the training so far, or return None.

        None means that there are no snapshots, or that no estimate along them is possible.
        """
        if snapshots.NUMBER not in aux_states:
            return None
        rbms, chains = snapshots.of_states(aux_states)
        self._steps_are_large = to_numpy(aux_states[snapshots.RATES])[: len(rbms)].min() < _FEW_EXCHANGES
        try:
            return bennett.log_partition(
                [*rbms, parameters],
                [rows[:_PATH_CHAINS] for rows in [*chains, aux_states[learning.SAMPLES[0]]]],
                name=snapshots.TRAJECTORY,
                num_chains=min(len(chains[0]), _PATH_CHAINS),
                sweeps=_PATH_SWEEPS,
                visible_units=self._settings.rule.visible_units(parameters.num_visible),
                key=key,
                engine=self._settings.engine,
            )
        except InputError as error:
            logger.warning("cannot estimate log Z along the trajectory: %s", error)
            return None

    def score(self, section: int, images: np.ndarray, parameters: Mapping[str, NDArray], log_z: float) -> LogLikelihood:
        """Compute the mean log-likelihood of images."""
        # Every epoch draws the same pixels, so the score changes only with the RBM.
        key, binarize = [*self._pixels_key, section], self._settings.binarize
        weights = self._weights.get(section)
        # A key would shuffle the images, but the weights are in the given order. Weighted images
        # have no grey pixels to draw.
        how = {"key": key, "binarize": binarize} if weights is None else {}
        pixels = iterate_batches(images, self._maximum, _ROWS_AT_ONCE, **how)
        return ais.mean_log_likelihood(Parameters(**parameters), pixels, log_z, weights)

    def merit(self, score: LogLikelihood) -> float:
        """Return the mean log-likelihood.

        Parameters
        ----------
        score
            What `score` returned.

        Returns
        -------
        float
            In nats per image.
        """
        return score.mean

    def row(self, scores: Scores) -> Row:
        """Return log-likelihoods and estimates of log Z as columns of metrics.csv."""
        row, partition = _joined(self, scores), self._partition
        row.update(
            binary_pixels=int(all(score.binary for score in scores.values())),
            log_z=_finite(partition.log_z),
            log_z_low=_finite(partition.low),
            log_z_high=_finite(partition.high),
            effective_sample_size=_finite(partition.effective_sample_size),
            log_z_usable=int(self._usable and not _impossible(scores)),
        )
        if self._path is not None:
            for name in ("log_z", "low", "high"):
                row["trajectory_" + name] = _finite(getattr(self._path, name))
        return row

    def message(self, scores: Scores) -> str:
        """Return log-likelihoods or grey-pixel scores, log Z and warnings in one line."""
        likelihoods = [self.brief(*score) for score in scores.items()]
        remarks, are_binary = ["log Z %.2f" % self._partition.log_z], all(score.binary for score in scores.values())
        if self._path is not None:
            error = 3 * self._path.standard_error
            remarks.append("along the trajectory %.2f +- %.2f" % (self._path.log_z, error))
            if self._path.warning:
                remarks.append("which is not usable: " + self._path.warning)
        if self._steps_are_large:
            remarks.append("few exchanges with snapshots: lower --learning-rate or give more --num-chains")
        if self._partition.warning:
            remarks.append("%s: %s" % ("optimistic" if self._usable else "not usable", self._partition.warning))
        remarks += _impossible(scores)
        worst = min(score.mean + 3 * score.standard_error for score in scores.values())
        if worst < self._fair_coins and are_binary:
            remarks.append("worse than fair coins (%.2f): try a lower learning rate" % self._fair_coins)
        return "%s; %s" % (" and ".join(likelihoods), ", ".join(remarks))

    @property
    def _usable(self) -> bool:
        """Whether the estimate of log Z rests on more than a few chains."""
        return is_usable(self._partition.num_chains, self._partition.effective_sample_size)

    def columns(self, name: str, score: LogLikelihood) -> Row:
        """Return the log-likelihood and its standard error."""
        return _columns(name, log_likelihood=score.mean, standard_error=score.standard_error)

    def brief(self, name: str, score: LogLikelihood) -> str:
        """Return the log-likelihood, or the grey-pixel score, in words."""
        return "%s %s %.2f" % (name, score_kind(score.binary), score.mean)

    @staticmethod
    def curve(metrics: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
        """Return the column to draw, and its meaning.

        Parameters
        ----------
        metrics
            Rows of metrics.csv.

        Returns
        -------
        column : str
            "log_likelihood".
        meaning : str
            Log-likelihood, or grey-pixel score unless the pixels of all rows are binary.
        """
        binary = [row["binary_pixels"] for row in metrics if "binary_pixels" in row]
        return "log_likelihood", score_kind(bool(binary) and all(binary)) + " (nats per image)"


class ClassificationMonitor:
    """Monitor of classification errors and class posteriors, which are exact.

    If training draws the pixels anew at every use, the monitor classifies the grey images.

    Parameters
    ----------
    settings
        Settings of the run, with labels.
    maximum
        Pixel value that means 1.
    """

    def __init__(self, settings: BinarySettings, maximum: int) -> None:
        self._maximum, self._num_classes = maximum, settings.num_classes
        self._binarize = "none" if settings.binarize == "sample" else settings.binarize

    def begin(
        self, number: int, parameters: Mapping[str, NDArray], aux_states: Mapping[str, NDArray] = _NO_STATES
    ) -> float:
        """Return NaN, because log Z is not needed."""
        return math.nan

    def score(
        self, section: int, images: np.ndarray, parameters: Mapping[str, NDArray], log_z: float
    ) -> label_rbm.Classification:
        """Classify images, and compare the classes with the labels."""
        rows = iterate_batches(images, self._maximum, _ROWS_CLASSIFIED_AT_ONCE, binarize=self._binarize)
        return label_rbm.evaluate(Parameters(**parameters), rows, self._num_classes)

    def merit(self, score: label_rbm.Classification) -> float:
        """Return the negative error.

        Parameters
        ----------
        score
            What `score` returned.

        Returns
        -------
        float
            Minus the fraction of wrongly classified images.
        """
        return -score.error

    def row(self, scores: Scores) -> Row:
        """Return errors and log-posteriors as columns of metrics.csv."""
        return _joined(self, scores)

    def message(self, scores: Scores) -> str:
        """Return errors and log-posteriors in one line."""
        errors = [self.brief(*score) for score in scores.items()]
        posteriors = ["%s %.4f" % (name, score.log_posterior) for name, score in scores.items()]
        return "%s; log p(label | pixels) %s" % (" and ".join(errors), ", ".join(posteriors))

    def columns(self, name: str, score: label_rbm.Classification) -> Row:
        """Return the error, its standard error and the log-posterior."""
        return _columns(
            name,
            error_percent=100 * score.error,
            standard_error_percent=100 * score.standard_error,
            log_posterior=score.log_posterior,
        )

    def brief(self, name: str, score: label_rbm.Classification) -> str:
        """Return the error in words."""
        return "%s error %.2f %%" % (name, 100 * score.error)

    @staticmethod
    def curve(metrics: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
        """Return the column to draw, and its meaning.

        Parameters
        ----------
        metrics
            Not used.

        Returns
        -------
        column : str
            "error_percent".
        meaning : str
            "images classified wrongly (%)".
        """
        return "error_percent", "images classified wrongly (%)"


def _impossible(scores: Mapping[str, LogLikelihood]) -> list[str]:
    """Return the warnings about binary images with a positive log-likelihood."""
    return sorted({score.warning for score in scores.values() if score.binary and score.warning})


def _joined(monitor: ImageMonitor, scores: Scores) -> Row:
    """Return the columns of all scores."""
    return {column: value for score in scores.items() for column, value in monitor.columns(*score).items()}


def _columns(name: str, **values: float) -> Row:
    return {"%s_%s" % (name.replace("-", "_"), column): _finite(value) for column, value in values.items()}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
