"""The joint RBM of pixels and a label (`gluon_rbm.label_rbm`) as a classifier."""

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets, unique_labels
from sklearn.utils.validation import check_is_fitted

from gluon_rbm import label_rbm, learning
from gluon_rbm.energy import Parameters
from gluon_rbm.errors import InputError
from gluon_rbm.estimators.binary import PersistentLearning
from gluon_rbm.estimators.common import dense, float32, key_from
from gluon_rbm.framework import from_host

__all__ = ["LabelRBMClassifier"]


class LabelRBMClassifier(ClassifierMixin, PersistentLearning):
    """A classifier that can draw: an RBM of pixels and a label, which classifies by its exact class posterior.

    Parameters
    ----------
    n_components : int, default 256
        Hidden units.
    objective : "hybrid", "discriminative" or "generative", default "hybrid"
        Minimise the mean of -log p(y | x) - generative_weight log p(x, y), of -log p(y | x), or of -log p(x, y)
        (Larochelle & Bengio 2008). A discriminative machine does not draw.
    generative_weight : float, default 0.01
    learning_rate, momentum, n_iter : default 0.3, 0.5 and 20
        The rate is one for the exact gradient of -log p(y | x): a generative machine learns from few chains, and wants
        a tenth of it or less.
    batch_size, verbose, random_state, k, chains, centering, weight_decay, engine
        As in `BinaryRBM`. Images come in a new order in each pass; verbose prints the mean of log p(y | x).

    Attributes: classes_; components_ (n_components, n_features + number of classes), whose last columns are of the
    label, as are the last of intercept_visible_; intercept_hidden_; n_features_in_, feature_names_in_.
    """

    _initial_deviation = 0.1  # with 0.01 the first hundred steps do nothing but make the weights larger

    def __init__(
        self,
        n_components=256,
        *,
        objective="hybrid",
        generative_weight=0.01,
        learning_rate=0.3,
        batch_size=10,
        n_iter=20,
        verbose=0,
        random_state=None,
        k=1,
        chains="persistent",
        centering=0.0,
        momentum=0.5,
        weight_decay=0.0,
        engine="auto",
    ):
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

    @classmethod
    def of(cls, parameters, classes, **settings):
        """A classifier with the `energy.Parameters` of a joint RBM, such as `run_folder.read_model` reads of a run.

        classes : what the label units mean, in their order. settings : parameters of the estimator.
        """
        estimator = cls(parameters.num_hidden, **settings)
        estimator.classes_ = np.asarray(classes)
        estimator.n_features_in_ = parameters.num_visible - len(estimator.classes_)
        return estimator._adopt(parameters)

    def _rule(self):
        names = ("objective", "generative_weight", "chains", "centering")
        settings = {name: getattr(self, name) for name in names}
        return learning.LearningRule.checked(num_classes=len(self.classes_), **settings)

    def fit(self, X, y):
        """Learn images X (n_samples, n_features) and their labels y (n_samples,) anew; returns self."""
        self._check_settings()
        X, y = self._checked(X, y, reset=True)
        check_classification_targets(y)
        self.classes_, numbers = np.unique(y, return_inverse=True)
        generator = check_random_state(self.random_state)
        self._begin_at(X, numbers, generator)

        def learn(batches):
            self._learn((self._joint(X, numbers, rows) for rows in batches), key_from(generator))

        def score():
            log_posterior = self._log_posterior(X)[np.arange(X.shape[0]), numbers]
            return "log p(label | pixels) = %.4f" % log_posterior.mean()

        self._epochs(X.shape[0], generator, True, learn, score)
        return self

    def partial_fit(self, X, y, classes=None):
        """One step with X and y as its batch; classes : all that there are, in the first call. Returns self."""
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
        known = classes if first else self.classes_
        numbers = self._numbers(y, known)
        self.classes_, generator = known, self._continued()
        if first:
            self._begin_at(X, numbers, generator)
        self._learn([self._joint(X, numbers, slice(None))], key_from(generator))
        return self

    def _begin_at(self, X, numbers, generator):
        mean = np.asarray(X.mean(axis=0, dtype=np.float64)).ravel()
        mean = np.concatenate([mean, np.bincount(numbers, minlength=len(self.classes_)) / len(numbers)])
        self._begin(len(mean), mean, len(numbers), X.dtype, generator)

    def _joint(self, X, numbers, rows):
        label = np.eye(len(self.classes_), dtype=np.float32)[numbers[rows]]
        return np.concatenate([float32(dense(X[rows])), label], axis=1)

    @staticmethod
    def _numbers(labels, classes):
        """The place of each label among the classes; InputError for one that is not there."""
        order = np.argsort(classes)
        places = order[np.searchsorted(classes, labels, sorter=order).clip(0, len(classes) - 1)]
        unknown = classes[places] != labels
        if unknown.any():
            raise InputError("there is no class %r; the classes are %s" % (labels[unknown][0], list(classes)))
        return places

    # --- What a fitted machine does -----------------------------------------------------------------------------------

    def _log_posterior(self, X):
        parameters, num_classes = self._parameters(X.dtype), len(self.classes_)
        return self._in_parts(X, lambda rows: label_rbm.class_log_posterior(parameters, rows, num_classes))

    def predict_log_proba(self, X):
        """log p(y | x) of every class, exactly: float64 (n_samples, classes), in nats."""
        check_is_fitted(self)
        return self._log_posterior(self._checked(X))

    def predict_proba(self, X):
        """p(y | x) of every class, exactly: float64 (n_samples, classes)."""
        return np.exp(self.predict_log_proba(X))

    def predict(self, X):
        """The most probable class of each image: (n_samples,)."""
        chosen = self.predict_log_proba(X).argmax(axis=1)
        return self.classes_[chosen]

    def sample(self, labels, sweeps=1000, prob=False):
        """Draw an image of each of the given classes: float32 (number of labels, n_features).

        From pixels on at random, by so many sweeps with the label held. prob : the probabilities that pixels were drawn
        from, instead of 0 and 1. Raises InputError for a class that does not exist.
        """
        check_is_fitted(self)
        classes = self._numbers(np.atleast_1d(labels), self.classes_)
        parameters, key = Parameters(*map(from_host, self._parameters())), key_from(self._continued())
        chains = label_rbm.draw(parameters, classes, len(self.classes_), sweeps, key=key, engine=self.engine)
        return (chains.visible_prob_1 if prob else chains.visible_sample).asnumpy()

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.classifier_tags.poor_score = True  # on data that is no images: around 0, of variance 1, cut at 0 and 1
        return tags

    def _more_tags(self):  # scikit-learn < 1.6
        return {"poor_score": True}
