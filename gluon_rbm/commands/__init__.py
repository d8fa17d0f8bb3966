"""The commands of `python -m gluon_rbm`, a module each: ABOUT, a line; add_arguments(add); run(args)."""
