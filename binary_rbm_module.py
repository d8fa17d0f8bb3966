"""Train a binary RBM with MXNet's Module API: `python binary_rbm_module.py --help`."""

from __future__ import annotations

import os
import sys
from typing import Sequence

if __name__ == "__main__":
    from gluon_rbm.backend import blas, interruption, streams

    interruption.quiet()
    streams.prepare()
    blas.choose_kernels()

from gluon_rbm.cli import train_binary

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script.

    Parameters
    ----------
    argv
        Arguments; by default those of the process.

    Returns
    -------
    int
        Exit status, as of `gluon_rbm.cli.train_binary.main`.
    """
    return train_binary.main(argv, os.path.basename(__file__), "module")


if __name__ == "__main__":
    sys.exit(main())
