"""An independent judge of classes: a classifier that has seen real images only, and no Boltzmann machine.

Principal components, then a support vector machine with a Gaussian kernel (scikit-learn). Trained anew at each use, in
seconds, so that nothing has to be kept: always with the same result. It must choose: an empty image gets a class, too
(on MNIST, a one).
"""

from typing import Any, NamedTuple

import numpy as np

from gluon_rbm.data.batches import to_visible
from gluon_rbm.errors import InputError

__all__ = ["IndependentClassifier", "check_labels", "train_classifier"]

_COMPONENTS = 50


class IndependentClassifier(NamedTuple):
    """A trained classifier, and how far it can be trusted."""

    classifier: Any
    accuracy: float  #: share of the test images it classifies as they are labelled
    num_training_images: int
    num_test_images: int

    @property
    def num_classes(self):
        return len(self.classifier.classes_)

    def record(self):
        """What a report says of its judge."""
        names = ("accuracy", "num_training_images", "num_test_images")
        return {"judge": {name: getattr(self, name) for name in names}}

    def classes(self, images):
        """The class of each image: int (n,). images : (n, num_visible) in [0, 1], samples or probabilities."""
        return self.classifier.predict(images)

    def shares(self, images):
        """The share of each class among images: float64 (num_classes,), in the order of the labels."""
        return (self.classes(images)[:, None] == self.classifier.classes_).mean(axis=0)

    def share_as_asked(self, images, asked):
        """The share of images that carry the class asked for, one or one for each, and its standard error."""
        share = float((self.classes(images) == asked).mean())
        return share, float(np.sqrt(share * (1 - share) / len(images)))


def check_labels(data):
    """InputError where images of a `DataSet` have no labels to learn to judge by."""
    if data.train_labels is None:
        raise InputError(
            "images of %s have no labels, by which a judge could learn; choose a data set that has" % data.name
        )


def train_classifier(data, num_images=20000):
    """A `Judge` from the first `num_images` training images of a `DataSet`; InputError if they have no labels."""
    from sklearn.decomposition import PCA
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import SVC

    check_labels(data)
    images = to_visible(data.train_images[:num_images], data.maximum)
    test = to_visible(data.test_images, data.maximum)
    components = PCA(min(_COMPONENTS, *images.shape), random_state=0)
    classifier = make_pipeline(components, SVC(C=10)).fit(images, data.train_labels[:num_images])
    accuracy = float((classifier.predict(test) == data.test_labels).mean())
    return IndependentClassifier(classifier, accuracy, len(images), len(test))
