"""What command lines do before they import NumPy; without it each of them here, and each child, would print a note."""

from gluon_rbm.backend import blas

blas.choose_kernels()
