"""The binary RBM as an estimator."""

from __future__ import annotations

import hashlib
import itertools
from typing import TYPE_CHECKING, Any, Iterable

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from gluon_rbm.backend.arrays import from_host, to_numpy
from gluon_rbm.errors import InputError
from gluon_rbm.estimators.common import (
    Matrix,
    RandomSeed,
    Rows,
    Transformer,
    base_rate,
    dense,
    float32,
    has_gaps,
    key_from,
    mean_image,
)
from gluon_rbm.estimators.gaps import DataOf, Integrated, check_missing, check_one_on, complete, omitted
from gluon_rbm.estimators.persistent import PersistentLearning
from gluon_rbm.likelihood import ais, learning
from gluon_rbm.likelihood.missing import check_gaps, marginal_free_energy
from gluon_rbm.models import energy
from gluon_rbm.models.parameters import Parameters
from gluon_rbm.models.visible_units import checked_visible_units
from gluon_rbm.sampling import gibbs
from gluon_rbm.sampling.chains import initial_visible, sample_chains
from gluon_rbm.sampling.inpainting import Inpainted, inpaint

if TYPE_CHECKING:
    from gluon_rbm.backend.types import HostArray, SoftmaxGroups
    from gluon_rbm.likelihood.estimates import LogPartition
    from gluon_rbm.likelihood.scores import LogLikelihood

__all__ = ["BinaryRBM"]

_STARTS = ("zeros", "data")
_SWEEPS_OF_GAPS = 100  # sweeps of chains that hold the known values of a row


class BinaryRBM(Transformer, PersistentLearning):
    """A binary RBM in place of `sklearn.neural_network.BernoulliRBM`.

    It has the parameters, attributes and methods of BernoulliRBM, and more.

        p(v, h) = exp(intercept_visible_.v + intercept_hidden_.h + h components_ v) / Z

    Parameters
    ----------
    n_components
        Number of hidden units.
    learning_rate
        Rate on the mean gradient of a batch. The scripts divide theirs by the batch size once more.
    batch_size
        Images in a step, and number of chains. In `fit` there are no more chains than images.
    n_iter
        Number of passes through X.
    verbose
        If above 0, print the mean of `score_samples` after each pass.
    random_state
        Integer, generator or None. All random numbers follow from it. An integer gives the same RBM
        every time.
    k
        Gibbs sweeps in each step.
    chains
        Where the chains of a step start. "persistent": where they ended in the step before (PCD-k);
        "data": at the batch (CD-k); "noise": at fair coins. "tempered" and "trajectory" chains are
        persistent and exchange states with chains at other temperatures, or of earlier snapshots of
        the RBM. See `gluon_rbm.likelihood.rules.LearningRule`, also for the next three.
    centering
        Rate in [0, 1] at which the offsets follow the means of each batch; 0: no centering.
    sparsity_target, sparsity_cost
        The loss has the term c sum_j (p - q_j)^2, in nats, with target p and cost c. q_j is the
        mean of p(h_j = 1 | v) over the batch.
    momentum
        Fraction of the last step that is added to each step.
    weight_decay
        The mean loss has the term lambda/2 |W|^2; this is lambda.
    engine
        What runs the chains: "mxnet", "native" (in C), or "auto", which is native where possible.
    softmax_groups
        Groups of features, each (start, stop), such as the values of a category: exactly one
        feature of a group is 1. See `gluon_rbm.models.visible_units`.
    missing
        What NaN in X means. "error": it is refused; "omit": the feature does not exist for its row;
        "integrate": the value exists, is not known, and is summed out. See
        `gluon_rbm.estimators.gaps`.
    initial_visible_bias
        Visible biases before training. "zeros": as in BernoulliRBM; "data": those of independent
        features with the means of X.
    shuffle
        Whether each pass takes X in a new order; if not, in its own.

    Attributes
    ----------
    components_
        Weights (n_components, n_features), in the dtype of X.
    intercept_hidden_
        Hidden biases (n_components,), in the dtype of X.
    intercept_visible_
        Visible biases (n_features,), in the dtype of X.
    h_samples_
        Hidden units of the chains, float32 (chains, n_components), 0 or 1.
    parameters_
        The RBM as a `gluon_rbm.models.parameters.Parameters`, float32.
    n_features_in_
        Number of features in `fit`.
    feature_names_in_
        Names of the features, if X has names that are all text.

    Notes
    -----
    X may hold grey values between 0 and 1.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from gluon_rbm.estimators import BinaryRBM
    >>> images = load_digits().data[:500] / 16
    >>> rbm = BinaryRBM(32, n_iter=5, random_state=0).fit(images)
    >>> rbm.transform(images).shape
    (500, 32)
    >>> rbm.sample(2, sweeps=100).shape
    (2, 64)
    >>> log_z = rbm.log_partition(images, num_chains=100, num_distributions=100)
    >>> log_z.low < log_z.log_z < log_z.high
    True
    """

    def __init__(
        self,
        n_components: int = 256,
        *,
        learning_rate: float = 0.1,
        batch_size: int = 10,
        n_iter: int = 10,
        verbose: int = 0,
        random_state: RandomSeed = None,
        k: int = 1,
        chains: str = "persistent",
        centering: float = 0.0,
        sparsity_target: float = 0.1,
        sparsity_cost: float = 0.0,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        engine: str = "auto",
        softmax_groups: SoftmaxGroups = (),
        missing: str = "error",
        initial_visible_bias: str = "zeros",
        shuffle: bool = False,
    ) -> None:
        self.n_components = n_components
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.n_iter = n_iter
        self.verbose = verbose
        self.random_state = random_state
        self.k = k
        self.chains = chains
        self.centering = centering
        self.sparsity_target = sparsity_target
        self.sparsity_cost = sparsity_cost
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.engine = engine
        self.softmax_groups = softmax_groups
        self.missing = missing
        self.initial_visible_bias = initial_visible_bias
        self.shuffle = shuffle

    @classmethod
    def of(cls, parameters: Parameters, **settings: Any) -> BinaryRBM:
        """Return an estimator with given parameters.

        If it learns on, it starts with new chains.

        Parameters
        ----------
        parameters
            An RBM, NumPy arrays or NDArrays, such as `gluon_rbm.models.files.read_parameters` reads
            of a run.
        **settings
            Parameters of the estimator except n_components.

        Returns
        -------
        BinaryRBM
            A fitted estimator.

        Raises
        ------
        InputError
            The shapes of the arrays do not fit each other, or a value is not finite.
        """
        parameters = Parameters(*map(to_numpy, parameters)).checked()
        estimator = cls(parameters.num_hidden, **settings)
        estimator._adopt(parameters)
        estimator.n_features_in_ = parameters.num_visible
        return estimator

    @property
    def h_samples_(self) -> HostArray:
        """Hidden units of the chains.

        Returns
        -------
        float32 (chains, n_components)
            Last states, 0 or 1.
        """
        return self._aux_states[learning.SAMPLES[1]]

    def _check_settings(self) -> None:
        super()._check_settings()
        self._rule()

    def fit(self, X: Matrix, y: Any = None) -> BinaryRBM:
        """Learn X from the beginning, in `n_iter` passes.

        Parameters
        ----------
        X
            Images (n_samples, n_features) in [0, 1], dense or CSR.
        y
            Ignored.

        Returns
        -------
        BinaryRBM
            The estimator itself.

        Raises
        ------
        ValueError
            X is not valid; the message is scikit-learn's.
        InputError
            A parameter is not valid, or X holds NaN that `missing` does not allow. It is a
            ValueError.
        DivergenceError
            Parameters are no longer finite. It is an InputError.

        Warns
        -----
        PixelRangeWarning
            X holds values outside [0, 1], which are clipped.
        sklearn.exceptions.ConvergenceWarning
            After training, more than a quarter of the hidden units do not depend on the image.
        """
        self._check_settings()
        X = self._checked(X, reset=True)
        generator = self.random_state_ = check_random_state(self.random_state)
        self._begin_at(X, generator, min(self.batch_size, X.shape[0]))
        data_of = self._data_of(X, generator)
        at_once = data_of is None and not self.shuffle and self._can_learn_at_once()

        def learn(batches: Iterable[Rows]) -> None:
            if at_once:
                self._learn_at_once(X, key_from(generator))
            else:
                self._learn(batches, data_of or complete(X), key_from(generator))

        def score() -> str:
            return "pseudo-likelihood = %.2f" % self.score_samples(X).mean()

        self._epochs(X.shape[0], generator, self.shuffle, learn, score)
        self._warn_if_saturated(X)
        return self

    def partial_fit(self, X: Matrix, y: Any = None) -> BinaryRBM:
        """Make one step with X as its batch.

        Chains and momentum go on from the call before.

        Parameters
        ----------
        X, y
            As in `fit`.

        Returns
        -------
        BinaryRBM
            The estimator itself.
        """
        self._check_settings()
        first = not hasattr(self, "components_")
        X, generator = self._checked(X, reset=first), self._continued()
        if first:
            self._begin_at(X, generator, self.batch_size)
        self._learn([slice(None)], self._data_of(X, generator) or complete(X), key_from(generator))
        return self

    def _begin_at(self, X: Matrix, generator: np.random.RandomState, num_chains: int) -> None:
        checked_visible_units(self.softmax_groups, X.shape[1])
        self._begin(mean_image(X), X.shape[0], X.dtype, generator, num_chains)
        if self.initial_visible_bias not in _STARTS:
            raise InputError(
                "initial_visible_bias is %r; it must be one of %s" % (self.initial_visible_bias, ", ".join(_STARTS))
            )
        if self.initial_visible_bias == "data":
            self.intercept_visible_ = base_rate(X, self.softmax_groups).astype(X.dtype)

    def _data_of(self, X: Matrix, generator: np.random.RandomState) -> DataOf | None:
        """The data of steps, where X has gaps; None where it has none."""
        check_one_on(X, self.softmax_groups)
        if not check_missing(self.missing, X, self.softmax_groups, self.chains):
            return None
        if self.missing == "omit":
            return omitted(X)
        return Integrated(
            X, base_rate(X, self.softmax_groups), self.k, self.softmax_groups, key_from(generator), self.engine
        )

    # --- What a fitted RBM does -------------------------------------------------------------------

    def _features(self, X: Matrix) -> HostArray:
        parameters = self._parameters(X.dtype)
        if not self._has_gaps(X):
            return self._in_chunks(X, lambda rows: energy.hidden_probability(parameters, rows))
        if self.missing == "omit":
            return self._in_chunks(X, lambda rows: energy.hidden_probability(parameters, np.nan_to_num(rows)))
        key, chunks = key_from(check_random_state(self.random_state)), itertools.count()
        return self._in_chunks(X, lambda rows: self._filled(rows, [*key, next(chunks)]).hidden_mean.astype(X.dtype))

    def _has_gaps(self, X: Matrix) -> bool:
        return check_missing(self.missing, X, self.softmax_groups, "data")

    def _filled(self, rows: HostArray, key: list[int], sweeps: int = _SWEEPS_OF_GAPS) -> Inpainted:
        """Rows with missing values filled in given the known ones, whatever `missing` is."""
        groups = self.softmax_groups
        return inpaint(self._parameters(), rows, sweeps, key, visible_units=groups, engine=self.engine)

    def impute(self, X: Matrix, sweeps: int = _SWEEPS_OF_GAPS, draws: bool = False) -> HostArray:
        """Fill in missing values by chains that hold the known ones.

        Parameters
        ----------
        X
            Images (n_samples, n_features) in [0, 1]; NaN is missing, whatever `missing` is.
        sweeps
            Number of Gibbs sweeps.
        draws
            False: fill in means of p(v = 1 | h) over the second half of the sweeps, which have the
            least squared error. True: fill in the states after the last sweep, 0 or 1.

        Returns
        -------
        float32 (n_samples, n_features)
            The images without gaps. Known values stay as they are.
        """
        check_is_fitted(self)
        return self._imputed(X, sweeps, draws, key_from(self._continued()))

    def _imputed(self, X: Matrix, sweeps: int, draws: bool, key: list[int]) -> HostArray:
        X, chunks = self._checked(X, gaps=True), itertools.count()
        check_gaps(X, self.softmax_groups)

        def fill(rows: HostArray) -> HostArray:
            missing, number = np.isnan(rows), next(chunks)
            gaps = missing.any(axis=1)
            if not gaps.any():
                return rows
            filled = self._filled(rows[gaps], [*key, number], sweeps)
            rows = rows.copy()
            rows[missing] = (filled.visible_sample if draws else filled.visible_mean)[missing[gaps]]
            return rows

        return self._in_chunks(X, fill).astype(np.float32, copy=False)

    def free_energy(self, X: Matrix, **settings: Any) -> HostArray:
        """Return the free energy of each image.

            F(v) = -a.v - sum_j softplus(b_j + (v W)_j)

        For an image with gaps it is the free energy of the known values. With missing="omit" it
        belongs to the RBM without the missing units, and compares only images with the same gaps.
        With missing="integrate" it is -log sum exp(-F(v)) over the missing values, which annealed
        importance sampling estimates.

        Parameters
        ----------
        X
            Images (n_samples, n_features) in [0, 1].
        **settings
            With missing="integrate", num_chains and num_distributions of
            `gluon_rbm.likelihood.missing.marginal_free_energy`.

        Returns
        -------
        float64 (n_samples,)
            Free energies in nats.
        """
        check_is_fitted(self)
        X = self._checked(X)
        parameters = self._parameters(X.dtype)
        if not self._has_gaps(X):
            return self._in_chunks(X, lambda rows: energy.free_energy(parameters, rows))
        if self.missing == "omit":
            return self._in_chunks(X, lambda rows: energy.free_energy(parameters, np.nan_to_num(rows)))
        return self._marginal_free_energy(X, **settings)

    def _marginal_free_energy(self, X: Matrix, **settings: Any) -> HostArray:
        key, chunks = key_from(check_random_state(self.random_state)), itertools.count()
        settings = {"softmax_groups": self.softmax_groups, "engine": self.engine, **settings}
        parameters = self._parameters()
        return self._in_chunks(
            X, lambda rows: marginal_free_energy(parameters, rows, key=[*key, next(chunks)], **settings)
        )

    def score_samples(self, X: Matrix) -> HostArray:
        """Return a stochastic pseudo-likelihood of each image, as BernoulliRBM does.

        It is n_features log p(v_i | all other v) for one unit i of each image. Its mean over i is
        the sum over all units. A softmax group counts as one v_i. The unit follows from
        `random_state` and the image, so that a score does not depend on the other images of X. If
        `random_state` is None, each call draws it anew.

        For an image with gaps, i is one of the known units, p(v_i | others) is conditional on the
        other known units, and the factor is the number of known units. With missing="integrate"
        p(v_i | others) is a ratio of sums over the missing values, which are estimated as in
        `free_energy`.

        Parameters
        ----------
        X
            Images (n_samples, n_features) in [0, 1].

        Returns
        -------
        float64 (n_samples,)
            Pseudo-log-likelihoods in nats.
        """
        check_is_fitted(self)
        X = self._checked(X)
        parameters, integrate = self._parameters(np.float64), self._has_gaps(X) and self.missing == "integrate"
        salt = np.array(key_from(check_random_state(self.random_state)), np.int32).tobytes()

        def score(rows: HostArray) -> HostArray:
            rows = rows.astype(np.float64)
            words = (hashlib.blake2b(row.tobytes(), digest_size=8, key=salt).digest() for row in rows)
            known = ~np.isnan(rows)
            count = np.maximum(known.sum(axis=1), 1)
            places = np.frombuffer(b"".join(words), np.uint64) % count.astype(np.uint64)
            # The unit at this place among the known units.
            units = (known.cumsum(axis=1) > places[:, None].astype(np.intp)).argmax(axis=1)
            filled = np.nan_to_num(rows)
            scores = energy.pseudo_log_likelihood(parameters, filled, units, self.softmax_groups)
            scores = np.where(known.any(axis=1), scores, 0)
            gaps = np.flatnonzero(known.any(axis=1) & ~known.all(axis=1)) if integrate else ()
            for row in gaps:
                scores[row] = rows.shape[1] * self._log_conditional(rows[row], units[row])
            return scores * count / rows.shape[1]

        return self._in_chunks(X, score)

    def _log_conditional(self, row: HostArray, unit: int) -> float:
        """log p(v_i | other known v) of a row with gaps; for a group, divided by its size."""
        start, stop, values, weights = unit, unit + 1, np.array([[0.0], [1.0]]), np.array([1 - row[unit], row[unit]])
        for first, last in self.softmax_groups:
            if first <= unit < last:
                start, stop, values, weights = first, last, np.eye(last - first), row[first:last]
        rows = np.tile(row, (len(values), 1))
        rows[:, start:stop] = values
        scores = -self._marginal_free_energy(rows)
        return float(weights @ scores - np.logaddexp.reduce(scores)) / (stop - start)

    def gibbs(self, v: Matrix, sweeps: int = 1) -> HostArray:
        """Run Gibbs sweeps from given visible units.

        Parameters
        ----------
        v
            Images (n_samples, n_features) in [0, 1].
        sweeps
            Number of Gibbs sweeps.

        Returns
        -------
        bool (n_samples, n_features)
            Visible units after the last sweep.
        """
        check_is_fitted(self)
        X = self._checked(v, gaps=False)
        chains = gibbs.run_chains(
            self._parameters(),
            visible=float32(dense(X)),
            sweeps=sweeps,
            visible_units=self.softmax_groups,
            key=key_from(self._continued()),
            engine=self.engine,
        )
        return chains.visible_sample.astype(bool)

    def sample(self, n_samples: int = 1, sweeps: int = 1000, prob: bool = False) -> HostArray:
        """Draw images by Gibbs chains that start from fair coins.

        Parameters
        ----------
        n_samples
            Number of images, each from a chain of its own.
        sweeps
            Number of Gibbs sweeps.
        prob
            Whether to return the probabilities that the pixels are drawn from, which look smoother.

        Returns
        -------
        float32 (n_samples, n_features)
            Pixels, 0 or 1, or with `prob` their probabilities.
        """
        check_is_fitted(self)
        key, parameters = key_from(self._continued()), Parameters(*map(from_host, self._parameters()))
        start = initial_visible(parameters, "random", n_samples, [*key, 0])
        settings: Any = {"visible_units": self.softmax_groups, "engine": self.engine}
        chains = sample_chains(parameters, start, sweeps, [*key, 1], **settings)
        return to_numpy(chains.visible_prob_1 if prob else chains.visible_sample)

    def log_partition(self, X: Matrix | None = None, **settings: Any) -> LogPartition:
        """Estimate log Z by annealed importance sampling.

        Parameters
        ----------
        X
            Images with the means of the base rate; give the training images. None: the base rate is
            the visible bias of the RBM.
        **settings
            As in `ais.log_partition`: by default 1,000 chains along 1,000 distributions.

        Returns
        -------
        LogPartition
            Estimate in nats, an `ais.LogPartition`.
        """
        check_is_fitted(self)
        settings = {
            "key": key_from(check_random_state(self.random_state)),
            "engine": self.engine,
            "visible_units": self.softmax_groups,
            **settings,
        }
        if X is not None:
            settings["base_visible_bias"] = base_rate(self._checked(X), self.softmax_groups)
        return ais.log_partition(*self._parameters(), **settings)

    def log_likelihood(self, X: Matrix, log_partition: LogPartition | None = None, **settings: Any) -> LogLikelihood:
        """Return the mean log-likelihood of X.

        Parameters
        ----------
        X
            Images (n_samples, n_features) in [0, 1].
        log_partition
            What `log_partition` returned; None: it is estimated, with the means of X.
        **settings
            As in `log_partition`, where it is estimated.

        Returns
        -------
        LogLikelihood
            Mean in nats per image and its standard error over the images, an `ais.LogLikelihood`.

        Raises
        ------
        InputError
            X has gaps and `missing` is "omit": each row then has a log Z of its own.

        Warns
        -----
        ais.LikelihoodWarning
            log Z is in doubt, or X is not binary. In the latter case the mean is a grey-pixel
            score.
        """
        check_is_fitted(self)
        X = self._checked(X)
        if self.missing == "omit" and has_gaps(X):
            raise InputError("with missing='omit' each row has a log Z of its own; log_likelihood needs 'integrate'")
        partition = self.log_partition(X, **settings) if log_partition is None else log_partition
        return self._likelihood(X, -self.free_energy(X), partition)
