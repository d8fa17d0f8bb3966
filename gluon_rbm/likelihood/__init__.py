"""log Z by annealed importance sampling or exactly, likelihoods, and the gradient of the likelihood."""
