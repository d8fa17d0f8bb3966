"""Builds the distribution `mxnet-rbm`, which pyproject.toml describes; here stands what it cannot say."""

from setuptools import setup

# The license in pyproject.toml would have to be a table for setuptools < 77 (the newest of Python 3.8 is 75) and a
# string for those to come.
setup(license="Apache-2.0")
