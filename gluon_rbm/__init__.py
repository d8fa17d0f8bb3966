"""The rooms behind `binary_rbm`, `ais` and the training scripts (see docs/design.md)."""

__version__ = "0.1.0"
