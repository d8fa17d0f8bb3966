"""Training runs: state, step, loop, monitors, checkpoints, optimizers, several devices and workers."""
