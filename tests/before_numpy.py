"""Choose OpenBLAS's kernels before NumPy is imported, as the command lines do.

Otherwise each command line in a test, and each child process, prints a note if OpenBLAS does not
know the processor.
"""

from gluon_rbm.backend import blas

blas.choose_kernels()
