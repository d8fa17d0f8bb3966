"""The command line `python -m gluon_rbm COMMAND`: one module for each command."""
