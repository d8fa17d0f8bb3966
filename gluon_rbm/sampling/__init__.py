"""Block Gibbs sampling, and what is built on it: chains, tempering, inpainting and diagnostics."""
