"""Pictures, the Frechet distance and the independent classifier."""
