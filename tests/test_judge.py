import numpy as np
import pytest

from gluon_rbm.data import datasets
from gluon_rbm.data.batches import to_visible
from gluon_rbm.errors import InputError
from gluon_rbm.evaluation import classifier


@pytest.fixture(scope="module")
def digits():
    return datasets.load("digits")


@pytest.fixture(scope="module")
def trained(digits):
    return classifier.train_classifier(digits)


def test_it_knows_the_digits(trained, digits):
    # Measured: 97 %; it draws nothing, so only another scikit-learn could change that.
    assert trained.accuracy > 0.95 and trained.num_classes == 10
    assert (trained.num_training_images, trained.num_test_images) == (1437, 360)
    test = to_visible(digits.test_images, digits.maximum)
    assert (trained.classes(test) == digits.test_labels).mean() == trained.accuracy


def test_shares_count_classes(trained, digits):
    threes = to_visible(digits.train_images[digits.train_labels == 3], digits.maximum)
    shares = trained.shares(threes)
    assert shares.shape == (10,) and shares.sum() == pytest.approx(1) and shares[3] > 0.98
    share, error = trained.share_as_asked(threes, 3)
    assert share == shares[3] and error == pytest.approx(np.sqrt(share * (1 - share) / len(threes)))
    assert trained.share_as_asked(threes, np.full(len(threes), 4))[0] == shares[4]


def test_it_is_the_same_every_time(digits):
    few, again = classifier.train_classifier(digits, 200), classifier.train_classifier(digits, 200)
    test = to_visible(digits.test_images, digits.maximum)
    assert few.num_training_images == 200
    np.testing.assert_array_equal(few.classes(test), again.classes(test))


def test_images_without_labels(tmp_path):
    np.save(tmp_path / "images.npy", np.zeros((20, 4, 4)))
    with pytest.raises(InputError, match="have no labels"):
        classifier.train_classifier(datasets.load(str(tmp_path / "images.npy")))
