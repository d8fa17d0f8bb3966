"""Parameters, energies and conditionals of every family of RBM, and their files."""
