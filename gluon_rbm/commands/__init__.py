"""The commands of `python -m gluon_rbm`, a module each: ABOUT, a line; add_arguments(add); run(args).

One with TAKES_OTHERS finds the flags that it does not know in args.others.
"""
