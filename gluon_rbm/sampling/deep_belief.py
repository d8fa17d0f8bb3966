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
    visible_prob_1: NDArray  # what that was drawn from, given a sample of the first hidden layer


def generate(
    network: BinaryDeepBeliefNetwork,
    count: int,
    sweeps: int,
    key: Key,
    *,
    images: Array | None = None,
    engine: str = "auto",
) -> Drawn:
    """Draw images: `sweeps` Gibbs sweeps in the top pair, then one pass down of samples: `Drawn`.

    network : models.binary_deep_belief.BinaryDeepBeliefNetwork
    count : int, chains, and so images
    images : (n, num_visible) in [0, 1], or None
        Chains start at their probabilities in the top pair's visible layer, over and over; or at fair coins.
    key : sequence of int, fixes the noise; engine : as in `gibbs.run_chains`

    With many sweeps these are samples of the network, exactly.
    """
    top, kind = network.layers[-1], "random"
    if images is not None:
        kind, below = "images", type(network)(network.layers[:-1]) if network.layers[1:] else None
        images = below.features(images) if below else images
    visible = initial_visible(top, kind, count, [*key, _START], images=images)
    chains = sample_chains(top, visible, sweeps, [*key, _TOP], engine=engine)
    for depth, layer in enumerate(network.layers[-2::-1]):
        # A sweep begins with the visible layer given the hidden one: one step down.
        chains = gibbs.run_chains(layer, hidden=chains.visible_sample, key=[*key, _DOWN, depth], engine=engine)
    return Drawn(chains.visible_sample, chains.visible_prob_1)
