"""Marks for some cases of a test."""

import pytest


def slow_but(cases, *fast):
    """Mark all cases slow except the fast ones, so that some cases run with the fast tests."""
    assert all(case in cases for case in fast)
    return [case if case in fast else pytest.param(case, marks=pytest.mark.slow) for case in cases]
