"""Sides of `multinary.py`, each in its own process: time steps of this package and of PyTorch.

`sides.py` runs these functions. `model` is the path of an archive with the arrays that
`networks.arrays` names, and with `images`.
"""

import json
import resource
import tempfile
from pathlib import Path

import numpy as np
from common import LEARNED, seconds


def ours(model, steps, clock, dtype="float32"):
    """Time training steps of a network of `gluon_rbm.models.networks` with Adam.

    The first loss and gradients are written to a file beside the model.
    """
    from gluon_rbm.backend.arrays import from_host
    from gluon_rbm.backend.framework import mx
    from gluon_rbm.models import networks
    from gluon_rbm.models.deep_belief import JointContrastiveFreeEnergy

    arrays = dict(np.load(model))
    network = networks.build(json.loads(arrays.pop("description").tobytes()))
    network.cast(dtype)
    network.initialize()
    arrays = {name: from_host(array.astype(dtype)) for name, array in arrays.items()}
    learned = {
        "%d.%s" % (number, name): getattr(rbm, name) for number, rbm in enumerate(network.rbms) for name in LEARNED
    }
    for name, parameter in learned.items():
        parameter.set_data(arrays[name])
    loss = JointContrastiveFreeEnergy(network)
    loss.hybridize(static_alloc=True, static_shape=True)
    trainer = mx.gluon.Trainer(network.collect_params(), "adam", {"learning_rate": 0.003})

    def gradients():
        with mx.autograd.record():
            value = loss(arrays["images"])
        value.backward()
        return value

    def step():
        gradients()
        trainer.step(len(arrays["images"]))
        mx.nd.waitall()

    found = {"loss": gradients().asnumpy()}
    np.savez(model + ".ours", **found, **{name: parameter.grad().asnumpy() for name, parameter in learned.items()})
    return {"call": seconds(step, steps, clock)}


def pytorch(model, steps, clock, dtype="float32"):
    """Time the same steps in plain PyTorch, for convolutional RBMs below dense RBMs."""
    import torch
    from torch.nn import functional

    arrays = dict(np.load(model))
    description = json.loads(arrays.pop("description").tobytes())
    arrays = {name: torch.from_numpy(array.astype(dtype)) for name, array in arrays.items()}
    images = arrays.pop("images")
    window = {"stride": description["stride"], "padding": (description["kernel"] - description["stride"]) // 2}
    maximum = description["maximum"]  # N; the slope is 1 / N

    class RBM(torch.nn.Module):
        def __init__(self, number):
            super().__init__()
            for name in LEARNED:
                setattr(self, name, torch.nn.Parameter(arrays["%d.%s" % (number, name)]))

        def free_energy(self, visible, hidden_input):
            gain = maximum**2 * functional.softplus(hidden_input / maximum).flatten(1).sum(1)
            return -self.weighted(visible) - gain

    class Dense(RBM):
        def hidden_input(self, visible):
            return visible.flatten(1) @ self.interaction_weight + self.hidden_layer_bias

        def visible_input(self, hidden):
            return hidden @ self.interaction_weight.T + self.visible_layer_bias

        def weighted(self, visible):
            return visible.flatten(1) @ self.visible_layer_bias

    class Convolutional(RBM):
        def hidden_input(self, visible):
            return functional.conv2d(visible, self.interaction_weight, self.hidden_layer_bias, **window)

        def visible_input(self, hidden):
            return functional.conv_transpose2d(hidden, self.interaction_weight, self.visible_layer_bias, **window)

        def weighted(self, visible):
            return visible.sum((2, 3)) @ self.visible_layer_bias

    def mean(x):
        return maximum * torch.sigmoid(x / maximum)

    kinds = [Convolutional] * len(description["channels"]) + [Dense] * len(description["dense"])
    rbms = torch.nn.ModuleList(kind(number) for number, kind in enumerate(kinds))
    biases = [value for name, value in rbms.named_parameters() if name.endswith("bias")]
    weights = [value for name, value in rbms.named_parameters() if name.endswith("weight")]
    groups = [{"params": weights}, {"params": biases, "lr": 0.003 * maximum}]
    optimizer = torch.optim.Adam(groups, lr=0.003)

    def gradients():
        optimizer.zero_grad()
        loss, visible = 0, images
        for rbm in rbms:
            hidden_input = rbm.hidden_input(visible)
            with torch.no_grad():
                hidden = mean(hidden_input)
                model_visible = mean(rbm.visible_input(hidden))
            loss = loss + rbm.free_energy(visible, hidden_input)
            loss = loss - rbm.free_energy(model_visible, rbm.hidden_input(model_visible))
            visible = hidden
        loss.mean().backward()
        return loss

    def step():
        gradients()
        optimizer.step()

    found = {"loss": gradients().detach().numpy()}
    found.update((name, len(images) * value.grad.numpy()) for name, value in rbms.named_parameters())
    np.savez(model + ".torch", **found)
    return {"call": seconds(step, steps, clock)}


def full(preset, batch_size, steps, clock):
    """Time steps of a preset's network on noise, and return the peak memory in bytes, too."""
    import multinary as benchmark

    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "model.npz")
        benchmark.save_model(path, benchmark.description(preset), batch_size)
        times = ours(path, steps, clock)
    # Linux gives KiB.
    return {**times, "memory": [1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss]}
