"""Block Gibbs sampling, the one primitive, and what is made of it: tempering, chains, inpainting, diagnostics."""
