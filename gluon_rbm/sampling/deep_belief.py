"""Images drawn by a deep belief network of binary RBMs."""

from __future__ import annotations

from typing import NamedTuple

from gluon_rbm.backend.types import Array, Key, NDArray
from gluon_rbm.models.binary_deep_belief import BinaryDeepBeliefNetwork
from gluon_rbm.sampling import gibbs
from gluon_rbm.sampling.chains import initial_visible, sample_chains

__all__ = ["Drawn", "generate"]

_START, _TOP, _DOWN = range(1, 4)  # purposes of keys


class Drawn(NamedTuple):
    """Images of the network, NDArrays (images, num_visible)."""

    visible_sample: NDArray
    visible_prob_1: NDArray  # probabilities of the pixels given a sample of the first hidden layer


def generate(
    network: BinaryDeepBeliefNetwork,
    count: int,
    sweeps: int,
    key: Key,
    *,
    images: Array | None = None,
    engine: str = "auto",
) -> Drawn:
    """Draw images: Gibbs sweeps in the top two layers, then one pass of samples down.

    With many sweeps these are exact samples of the network.

    Parameters
    ----------
    network
        The deep belief network.
    count
        Number of chains, and so of images.
    sweeps
        Number of Gibbs sweeps in the top RBM.
    key
        Non-negative integers that fix the noise.
    images
        Images to start from, (n, num_visible) in [0, 1]. The chains start at their probabilities in
        the visible layer of the top RBM, and the images repeat. None: the chains start at fair
        coins.
    engine
        As in `gibbs.run_chains`.

    Returns
    -------
    Drawn
        Samples and probabilities of the images.
    """
    top, kind = network.layers[-1], "random"
    if images is not None:
        kind, below = "images", type(network)(network.layers[:-1]) if network.layers[1:] else None
        images = below.features(images) if below else images
    visible = initial_visible(top, kind, count, [*key, _START], images=images)
    chains = sample_chains(top, visible, sweeps, [*key, _TOP], engine=engine)
    for depth, layer in enumerate(network.layers[-2::-1]):
        # A sweep draws the visible layer given the hidden layer first: this is one step down.
        chains = gibbs.run_chains(layer, hidden=chains.visible_sample, key=[*key, _DOWN, depth], engine=engine)
    return Drawn(chains.visible_sample, chains.visible_prob_1)
