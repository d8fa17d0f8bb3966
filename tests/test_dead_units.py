"""A run reports dead hidden units, which say nothing about the images."""

import logging

import numpy as np
import pytest

from gluon_rbm.evaluation import dead_units


@pytest.mark.parametrize("num_dead, told", [(0, False), (2, False), (3, True), (8, True)])
def test_more_than_a_quarter_of_dead_units_is_reported(caplog, generator, num_dead, told):
    probability = generator.random((50, 8))
    probability[:, :num_dead] = 0.999
    with caplog.at_level(logging.INFO):
        dead_units.tell(probability)
    assert ("%d of 8 hidden units are dead" % num_dead in caplog.text) == told


def test_units_that_have_not_learned_yet_are_told_apart(caplog):
    with caplog.at_level(logging.INFO):
        dead_units.tell(np.full((50, 8), 0.51))
    assert "8 of 8 hidden units hardly react to images yet" in caplog.text and "train longer" in caplog.text
