"""Estimates of log Z, likelihoods, and the gradient of the likelihood."""
