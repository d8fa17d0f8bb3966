"""Marks for some of the cases of a test."""

import pytest


def slow_but(cases, *fast):
    """The cases, all of them slow but those given: one of a kind runs with the fast tests."""
    assert all(case in cases for case in fast)
    return [case if case in fast else pytest.param(case, marks=pytest.mark.slow) for case in cases]
