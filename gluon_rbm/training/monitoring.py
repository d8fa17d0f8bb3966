"""What is measured of a run between epochs: log-likelihoods by AIS, or of a machine with labels how well it classifies.

Both monitors have

    begin(number, parameters) -> log_z    before scores are taken in epoch `number`; NaN where there is no log Z
    score(part, images, parameters, log_z)    of images; `part` says which, so that their pixels are drawn alike
    merit(score) -> float    the larger, the better
    row(scores), message(scores)    columns of metrics.csv and the line to print, of scores by name of the images
    columns(name, score), brief(name, score)    the part that one score has in each
    curve(metrics) -> (column, meaning)    of the rows of metrics.csv, for `plots.learning_curve`
"""

import math

from gluon_rbm.data.batches import iterate_batches
from gluon_rbm.likelihood import ais
from gluon_rbm.models import label_rbm
from gluon_rbm.models.energy import Parameters

__all__ = ["ClassificationMonitor", "LikelihoodMonitor"]

_ROWS_AT_ONCE = 1000
_ROWS_CLASSIFIED_AT_ONCE = 200  # times the hidden units: what should stay in a cache


class LikelihoodMonitor:
    """Log-likelihoods, with log Z by AIS.

    base_visible_bias : NDArray or None, the base rate; keys : of the noise of AIS, and of the pixels
    """

    def __init__(self, args, maximum, base_visible_bias, ais_key, pixels_key):
        self._args, self._maximum, self._base_visible_bias = args, maximum, base_visible_bias
        self._ais_key, self._pixels_key = ais_key, pixels_key
        self._partition = None

    def begin(self, number, parameters):
        args = self._args
        self._partition = ais.log_partition(
            **parameters,
            num_chains=args.ais_batch_size * args.ais_num_batch,
            base_visible_bias=self._base_visible_bias,
            key=[*self._ais_key, number],
            num_distributions=args.ais_intermediate_steps,
            burn_in_sweeps=args.ais_burn_in_steps,
            chains_at_once=args.ais_batch_size,
            engine=args.engine,
        )
        return self._partition.log_z

    def score(self, part, images, parameters, log_z):
        # The pixels are drawn alike in every epoch, so that what changes is the model.
        pixels = iterate_batches(
            images, self._maximum, _ROWS_AT_ONCE, key=[*self._pixels_key, part], binarize=self._args.binarize
        )
        return ais.mean_log_likelihood(Parameters(**parameters), pixels, log_z)

    @staticmethod
    def merit(score):
        return score.mean

    def row(self, scores):
        row, partition = _joined(self, scores), self._partition
        row.update(
            binary_pixels=int(all(score.binary for score in scores.values())),
            log_z=_finite(partition.log_z),
            log_z_low=_finite(partition.low),
            log_z_high=_finite(partition.high),
            effective_sample_size=_finite(partition.effective_sample_size),
        )
        return row

    @staticmethod
    def columns(name, score):
        return _columns(name, log_likelihood=score.mean, standard_error=score.standard_error)

    @staticmethod
    def curve(metrics):
        binary = [row["binary_pixels"] for row in metrics if "binary_pixels" in row]
        kind = "log-likelihood" if binary and all(binary) else "grey-pixel score"
        return "log_likelihood", kind + " (nats per image)"

    def message(self, scores):
        likelihoods = [self.brief(*score) for score in scores.items()]
        remarks = ["log Z %.2f" % self._partition.log_z]
        remarks += [] if all(score.binary for score in scores.values()) else ["grey-pixel score"]
        remarks += ["optimistic: %s" % self._partition.warning] if self._partition.warning else []
        return "%s; %s" % (" and ".join(likelihoods), ", ".join(remarks))

    @staticmethod
    def brief(name, score):
        return "%s log-likelihood %.2f" % (name, score.mean)


class ClassificationMonitor:
    """Errors and class posteriors of images with their labels, exact.

    Of pixels that are drawn anew in training, the grey values are classified: what they are drawn from.
    """

    def __init__(self, args, maximum):
        self._maximum, self._num_classes = maximum, args.num_classes
        self._binarize = "none" if args.binarize == "sample" else args.binarize

    def begin(self, number, parameters):
        return math.nan

    def score(self, part, images, parameters, log_z):
        rows = iterate_batches(images, self._maximum, _ROWS_CLASSIFIED_AT_ONCE, binarize=self._binarize)
        return label_rbm.evaluate(Parameters(**parameters), rows, self._num_classes)

    @staticmethod
    def merit(score):
        return -score.error

    def row(self, scores):
        return _joined(self, scores)

    @staticmethod
    def columns(name, score):
        return _columns(
            name,
            error_percent=100 * score.error,
            standard_error_percent=100 * score.standard_error,
            log_posterior=score.log_posterior,
        )

    @staticmethod
    def curve(metrics):
        return "error_percent", "images classified wrongly (%)"

    def message(self, scores):
        errors = [self.brief(*score) for score in scores.items()]
        posteriors = ["%s %.4f" % (name, score.log_posterior) for name, score in scores.items()]
        return "%s; log p(label | pixels) %s" % (" and ".join(errors), ", ".join(posteriors))

    @staticmethod
    def brief(name, score):
        return "%s error %.2f %%" % (name, 100 * score.error)


def _joined(monitor, scores):
    """The columns of all scores."""
    return {column: value for score in scores.items() for column, value in monitor.columns(*score).items()}


def _columns(name, **values):
    return {"%s_%s" % (name.replace("-", "_"), column): _finite(value) for column, value in values.items()}


def _finite(value):
    return value if math.isfinite(value) else None
