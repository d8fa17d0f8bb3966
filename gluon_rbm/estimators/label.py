"""The joint RBM of pixels and a label (`gluon_rbm.models.label_rbm`) as a classifier."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Iterable

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils.multiclass import check_classification_targets, unique_labels
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from gluon_rbm.backend.arrays import from_host, to_numpy
from gluon_rbm.backend.random import Noise
from gluon_rbm.errors import InputError, check_count
from gluon_rbm.estimators.common import (
    Matrix,
    RandomSeed,
    Rows,
    Transformer,
    base_rate,
    dense,
    float32,
    key_from,
    mean_image,
)
from gluon_rbm.estimators.gaps import DataOf
from gluon_rbm.estimators.persistent import PersistentLearning
from gluon_rbm.likelihood import ais, rules
from gluon_rbm.likelihood.estimates import summarize_log_weights
from gluon_rbm.models import label_rbm
from gluon_rbm.models.parameters import Parameters
from gluon_rbm.sampling import gibbs
from gluon_rbm.sampling.classes import draw_classes

if TYPE_CHECKING:
    from gluon_rbm.backend.types import HostArray
    from gluon_rbm.likelihood.estimates import LogPartition
    from gluon_rbm.likelihood.scores import LogLikelihood

__all__ = ["LabelRBMClassifier"]


class LabelRBMClassifier(ClassifierMixin, Transformer, PersistentLearning):
    """A joint RBM of pixels and a label that classifies images and draws them.

    It classifies by p(y | x), the exact posterior of the classes.

    Parameters
    ----------
    n_components
        Number of hidden units.
    objective
        What training minimises, as a mean over images. "discriminative": -log p(y | x);
        "generative": -log p(x, y); "hybrid": -log p(y | x) - alpha log p(x, y). A discriminative
        RBM does not draw.
    generative_weight
        The factor alpha of the hybrid objective.
    learning_rate
        Rate on the mean gradient of a batch. The default suits the exact gradient of -log p(y | x).
        The generative gradient comes from few chains and needs a lower rate, less momentum, and
        centering.
    batch_size
        As in `BinaryRBM`.
    n_iter
        Number of passes through X, each in a new order.
    verbose
        If above 0, print the mean of log p(y | x) after each pass.
    random_state, k, chains, centering, momentum, weight_decay, engine
        As in `BinaryRBM`.

    Attributes
    ----------
    classes_
        The classes in order, (n_classes,).
    components_
        Weights (n_components, n_features + n_classes). The last columns belong to the label.
    intercept_visible_
        Visible biases (n_features + n_classes,). The last ones belong to the label.
    intercept_hidden_
        Hidden biases (n_components,).
    parameters_
        The RBM as a `gluon_rbm.models.parameters.Parameters`, float32.
    n_features_in_
        Number of features in `fit`.
    feature_names_in_
        Names of the features, if X has names that are all text.

    Notes
    -----
    The objectives are those of Larochelle & Bengio 2008.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from gluon_rbm.estimators import LabelRBMClassifier
    >>> images, labels = load_digits(return_X_y=True)
    >>> images = images[:500] / 16
    >>> classifier = LabelRBMClassifier(32, n_iter=5, random_state=0).fit(images, labels[:500])
    >>> print(classifier.score(images, labels[:500]) > 0.9)
    True
    >>> classifier.sample([3, 3, 5], sweeps=100).shape
    (3, 64)
    """

    _initial_deviation = 0.1  # with 0.01, the first hundred steps would only enlarge the weights

    def __init__(
        self,
        n_components: int = 256,
        *,
        objective: str = "hybrid",
        generative_weight: float = 0.01,
        learning_rate: float = 0.3,
        batch_size: int = 10,
        n_iter: int = 20,
        verbose: int = 0,
        random_state: RandomSeed = None,
        k: int = 1,
        chains: str = "persistent",
        centering: float = 0.0,
        momentum: float = 0.5,
        weight_decay: float = 0.0,
        engine: str = "auto",
    ) -> None:
        self.n_components = n_components
        self.objective = objective
        self.generative_weight = generative_weight
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.n_iter = n_iter
        self.verbose = verbose
        self.random_state = random_state
        self.k = k
        self.chains = chains
        self.centering = centering
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.engine = engine

    if TYPE_CHECKING:  # attributes of a fitted estimator
        classes_: Any

    @classmethod
    def of(cls, parameters: Parameters, classes: Any, **settings: Any) -> LabelRBMClassifier:
        """Return a classifier with the parameters of a joint RBM.

        Parameters
        ----------
        parameters
            A joint RBM, NumPy arrays or NDArrays, such as `gluon_rbm.models.files.read_model` reads
            of a run.
        classes
            What the label units mean, in their order.
        **settings
            Parameters of the estimator except n_components.

        Returns
        -------
        LabelRBMClassifier
            A fitted estimator.

        Raises
        ------
        InputError
            Classes are not all different, or there are not fewer of them than visible units. Or the
            arrays do not fit each other, or a value is not finite.
        """
        parameters = Parameters(*map(to_numpy, parameters)).checked()
        estimator = cls(parameters.num_hidden, **settings)
        estimator.classes_ = classes = np.asarray(classes)
        num_different = len(set(classes.ravel().tolist()))
        if classes.ndim != 1 or num_different != classes.size or not 0 < num_different < parameters.num_visible:
            raise InputError(
                "classes are %s; give one for each label unit, all different, and fewer than the %d visible units"
                % (classes.tolist(), parameters.num_visible)
            )
        estimator._adopt(parameters)
        estimator.n_features_in_ = parameters.num_visible - len(classes)
        return estimator

    def _rule(self) -> rules.LearningRule:
        names = ("objective", "generative_weight", "chains", "centering")
        settings = {name: getattr(self, name) for name in names}
        return rules.LearningRule.checked(num_classes=len(self.classes_), **settings)

    def fit(self, X: Matrix, y: Any) -> LabelRBMClassifier:
        """Learn images and their labels from the beginning, in `n_iter` passes.

        Parameters
        ----------
        X
            Images (n_samples, n_features) in [0, 1], dense or CSR.
        y
            Labels (n_samples,), numbers or text.

        Returns
        -------
        LabelRBMClassifier
            The estimator itself.

        Raises
        ------
        ValueError, InputError, DivergenceError
            As in `BinaryRBM.fit`.

        Warns
        -----
        PixelRangeWarning, sklearn.exceptions.ConvergenceWarning
            As in `BinaryRBM.fit`.
        """
        self._check_settings()
        X, y = self._checked(X, y, reset=True)
        check_classification_targets(y)
        self.classes_, numbers = np.unique(y, return_inverse=True)
        generator = self.random_state_ = check_random_state(self.random_state)
        self._begin_at(X, numbers, generator, min(self.batch_size, X.shape[0]))

        data_of = self._data_of(X, numbers)

        def learn(batches: Iterable[Rows]) -> None:
            self._learn(batches, data_of, key_from(generator))

        def score() -> str:
            log_posterior = self._log_posterior(X)[np.arange(X.shape[0]), numbers]
            return "log p(label | pixels) = %.4f" % log_posterior.mean()

        self._epochs(X.shape[0], generator, True, learn, score)
        self._warn_if_saturated(X)
        return self

    def partial_fit(self, X: Matrix, y: Any, classes: Any = None) -> LabelRBMClassifier:
        """Make one step with X and y as its batch.

        Parameters
        ----------
        X, y
            As in `fit`.
        classes
            All classes that there are. They are needed in the first call.

        Returns
        -------
        LabelRBMClassifier
            The estimator itself.

        Raises
        ------
        ValueError
            The first call has no classes, or classes differ from those of the first call.
        """
        self._check_settings()
        first = not hasattr(self, "classes_")
        X, y = self._checked(X, y, reset=first)
        check_classification_targets(y)
        if first and classes is None:
            raise ValueError("classes must be passed on the first call to partial_fit.")
        if classes is not None:
            classes = unique_labels(classes)
            if not first and not np.array_equal(classes, self.classes_):
                raise ValueError("classes are %r, and were %r in an earlier call" % (classes, self.classes_))
        known: HostArray = np.asarray(classes) if first else self.classes_
        numbers = self._numbers(y, known)
        self.classes_, generator = known, self._continued()
        if first:
            self._begin_at(X, numbers, generator, self.batch_size)
        self._learn([slice(None)], self._data_of(X, numbers), key_from(generator))
        return self

    def _begin_at(self, X: Matrix, numbers: HostArray, generator: np.random.RandomState, num_chains: int) -> None:
        mean = np.concatenate([mean_image(X), np.bincount(numbers, minlength=len(self.classes_)) / len(numbers)])
        self._begin(mean, len(numbers), X.dtype, generator, num_chains)

    def _data_of(self, X: Matrix, numbers: HostArray) -> DataOf:
        """The data of steps: pixels and label side by side."""
        labels = np.eye(len(self.classes_), dtype=np.float32)[numbers]
        return lambda _, rows, key: (np.concatenate([float32(dense(X[rows])), labels[rows]], axis=1), None)

    @staticmethod
    def _numbers(labels: HostArray, classes: HostArray) -> HostArray:
        """Number of each label among the classes; InputError for a label that is none of them."""
        places, labels = {one: place for place, one in enumerate(classes.tolist())}, labels.tolist()
        unknown = [label for label in labels if label not in places]
        if unknown:
            raise InputError("there is no class %r; the classes are %s" % (unknown[0], classes.tolist()))
        return np.array([places[label] for label in labels], int)

    # --- What a fitted RBM does -------------------------------------------------------------------

    def _log_posterior(self, X: Matrix) -> HostArray:
        parameters, num_classes = self._parameters(X.dtype), len(self.classes_)
        return self._in_chunks(X, lambda rows: label_rbm.class_log_posterior(parameters, rows, num_classes))

    def predict_log_proba(self, X: Matrix) -> HostArray:
        """Return the exact log p(y | x) of each class.

        Parameters
        ----------
        X
            Images (n_samples, n_features) in [0, 1].

        Returns
        -------
        float64 (n_samples, n_classes)
            Log-probabilities in nats.
        """
        check_is_fitted(self)
        return self._log_posterior(self._checked(X))

    def predict_proba(self, X: Matrix) -> HostArray:
        """Return the exact p(y | x) of each class.

        Parameters
        ----------
        X
            As in `predict_log_proba`.

        Returns
        -------
        float64 (n_samples, n_classes)
            Probabilities.
        """
        return np.exp(self.predict_log_proba(X))

    def predict(self, X: Matrix) -> HostArray:
        """Return the most probable class of each image.

        Parameters
        ----------
        X
            As in `predict_log_proba`.

        Returns
        -------
        array (n_samples,)
            Values of `classes_`.
        """
        chosen = self.predict_log_proba(X).argmax(axis=1)
        return self.classes_[chosen]

    def _features(self, X: Matrix) -> HostArray:
        parameters, num_classes = self._parameters(X.dtype), len(self.classes_)
        return self._in_chunks(X, lambda rows: label_rbm.hidden_probability(parameters, rows, num_classes))

    def free_energy(self, X: Matrix, y: Any = None) -> HostArray:
        """Return the free energy of each image, with its label or without one.

        Without a label it is F(x) = -log sum_y exp(-F(x, y)).

        Parameters
        ----------
        X
            Images (n_samples, n_features) in [0, 1].
        y
            Labels (n_samples,), or None.

        Returns
        -------
        float64 (n_samples,)
            F(x, y), or without `y` F(x), in nats.
        """
        check_is_fitted(self)
        X = self._checked(X)
        parameters, num_classes = self._parameters(X.dtype), len(self.classes_)
        energies = self._in_chunks(X, lambda rows: label_rbm.free_energies(parameters, rows, num_classes))
        if y is None:
            return -np.logaddexp.reduce(-energies, axis=1)
        check_consistent_length(X, y)
        return energies[np.arange(X.shape[0]), self._numbers(column_or_1d(y), self.classes_)]

    def score_samples(self, X: Matrix) -> HostArray:
        """Return log p(x) + log Z = -F(x) of each image.

        It compares images under the same RBM.

        Parameters
        ----------
        X
            Images (n_samples, n_features) in [0, 1].

        Returns
        -------
        float64 (n_samples,)
            Scores in nats.
        """
        return -self.free_energy(X)

    def gibbs(self, v: Matrix, sweeps: int = 1) -> HostArray:
        """Run Gibbs sweeps from given pixels, and from labels drawn given them.

        Parameters
        ----------
        v
            Images (n_samples, n_features) in [0, 1].
        sweeps
            Number of Gibbs sweeps.

        Returns
        -------
        bool (n_samples, n_features)
            Pixels after the last sweep.
        """
        check_is_fitted(self)
        X, num_classes, key = float32(dense(self._checked(v))), len(self.classes_), key_from(self._continued())
        posterior = from_host(np.exp(self._log_posterior(X)))
        label = to_numpy(Noise([*key, 0]).one_hot(posterior)).astype(np.float32)
        chains = gibbs.run_chains(
            self._parameters(),
            visible=np.concatenate([X, label], axis=1),
            sweeps=sweeps,
            visible_units=label_rbm.softmax_groups(X.shape[1] + num_classes, num_classes),
            key=[*key, 1],
            engine=self.engine,
        )
        return chains.visible_sample[:, :-num_classes].astype(bool)

    def log_partition(self, X: Matrix | None = None, **settings: Any) -> LogPartition:
        """Estimate log Z by annealed importance sampling of the pixels, for each class in turn.

            Z = sum_y exp(d_y) Z_y

        Z_y belongs to the RBM of the pixels with hidden biases b + U_y. Here d_y is the visible
        bias of the label unit y, and U_y its weights. The interval is computed as if each chain had
        fallen to a class by chance, so that it is rather too wide.

        Parameters
        ----------
        X
            Images with the means of the base rate; give the training images. None: the base rate is
            the visible bias of the pixels.
        **settings
            As in `ais.log_partition`, where num_chains counts the chains for each class (by default
            100).

        Returns
        -------
        LogPartition
            Estimate in nats, an `ais.LogPartition`.
        """
        check_is_fitted(self)
        a, b, w = self._parameters()
        num_classes, key = len(self.classes_), key_from(check_random_state(self.random_state))
        settings = {"num_chains": 100, "engine": self.engine, **settings}
        if X is not None:
            settings["base_visible_bias"] = base_rate(self._checked(X))
        of_classes = [
            ais.log_partition(a[:-num_classes], b + label, w[:-num_classes], key=[*key, number], **settings)
            for number, label in enumerate(w[-num_classes:])
        ]
        offsets = a[-num_classes:].astype(np.float64) + np.log(num_classes)
        log_weights = np.concatenate([of_class.log_weights + offset for of_class, offset in zip(of_classes, offsets)])
        return summarize_log_weights(log_weights, of_classes[0].num_distributions)

    def log_likelihood(
        self, X: Matrix, y: Any = None, log_partition: LogPartition | None = None, **settings: Any
    ) -> LogLikelihood:
        """Return the mean of log p(x), or with labels of log p(x, y).

        Parameters
        ----------
        X, y
            As in `free_energy`.
        log_partition, **settings
            As in `BinaryRBM.log_likelihood`.

        Returns
        -------
        LogLikelihood
            Mean in nats per image and its standard error over the images, an `ais.LogLikelihood`.

        Warns
        -----
        ais.LikelihoodWarning
            As in `BinaryRBM.log_likelihood`.
        """
        check_is_fitted(self)
        X = self._checked(X)
        partition = self.log_partition(X, **settings) if log_partition is None else log_partition
        return self._likelihood(X, -self.free_energy(X, y), partition)

    def sample(self, labels: Any, sweeps: int = 1000, prob: bool = False) -> HostArray:
        """Draw images of given classes.

        The chains start from fair coins for the pixels. They hold the label in all sweeps.

        Parameters
        ----------
        labels
            Classes of the images to draw, (n_images,), or one class.
        sweeps
            Number of Gibbs sweeps.
        prob
            Whether to return the probabilities that the pixels are drawn from.

        Returns
        -------
        float32 (n_images, n_features)
            Pixels, 0 or 1, or with `prob` their probabilities.

        Raises
        ------
        InputError
            A label is none of the classes.
        """
        check_is_fitted(self)
        classes = self._numbers(np.atleast_1d(labels), self.classes_)
        check_count("the number of labels", len(classes))
        parameters, key = Parameters(*map(from_host, self._parameters())), key_from(self._continued())
        chains = draw_classes(parameters, classes, len(self.classes_), sweeps, key=key, engine=self.engine)
        return to_numpy(chains.visible_prob_1 if prob else chains.visible_sample)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        # Scores are poor on scikit-learn's test data: mean 0, variance 1, then clipped to [0, 1].
        tags.classifier_tags.poor_score = True
        return tags

    def _more_tags(self) -> dict[str, Any]:  # scikit-learn < 1.6
        return {"poor_score": True}
