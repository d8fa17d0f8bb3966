"""The version of the distribution mxnet-rbm, stated here only."""

__all__ = ["__version__"]

__version__ = "1.0.0"
