"""Representations of objects, examples in docstrings, and what the pages say of the batch size."""

import doctest
import importlib
import re
from pathlib import Path

import numpy as np
import pytest

import binary_rbm
import gluon_rbm
from gluon_rbm.backend.framework import mx

# Two different folders if the package is installed.
ROOT, PAGES = Path(gluon_rbm.__file__).parents[1], Path(__file__).parents[1]
DOCUMENTED = [PAGES / "README.md", *PAGES.glob("docs/*.md"), ROOT / "binary_rbm.py", *ROOT.glob("gluon_rbm/**/*.py")]
WITHOUT_EXAMPLE = {"DivergenceError", "InputError"}


def parameters(num_visible=6, num_hidden=4):
    return gluon_rbm.Parameters(np.zeros(num_visible), np.zeros(num_hidden), np.zeros((num_visible, num_hidden)))


@pytest.mark.parametrize(
    "make, expected",
    [
        (
            lambda: binary_rbm.BinaryRBMBlock(4, 30, True),
            "BinaryRBMBlock(as the first batch has visible, 4 hidden units, PCD-30, for training)",
        ),
        (
            lambda: binary_rbm.BinaryRBMBlock(4, 2, False, num_visible=6),
            "BinaryRBMBlock(6 visible, 4 hidden units, 2 Gibbs sweeps a call, not for training)",
        ),
        (
            lambda: binary_rbm.BinaryRBMBlock(
                4, 3, True, num_visible=6, num_chains=8, rule=gluon_rbm.LearningRule(chains="data")
            ),
            "BinaryRBMBlock(6 visible, 4 hidden units, CD-3 with 8 chains, for training)",
        ),
        (lambda: parameters(), "Parameters(6 visible, 4 hidden units; float64, NumPy)"),
        (
            lambda: gluon_rbm.Parameters.from_arrays(*parameters()),
            "Parameters(6 visible, 4 hidden units; float64, cpu(0))",
        ),
        (lambda: gluon_rbm.Parameters(1, 2, 3), "Parameters(shapes None, None, None; int)"),
        (
            lambda: gluon_rbm.MultinaryRBMBlock(6, 4),
            "MultinaryRBMBlock(visible units: 6 Multinary(0 to 255), hidden units: 4 Multinary(0 to 255))",
        ),
        (
            lambda: gluon_rbm.ConvolutionalRBMBlock((1, 8, 8), 4, visible_units=gluon_rbm.Gaussian()),
            "ConvolutionalRBMBlock(visible units: 1x8x8 Gaussian(), hidden units: 4x4x4 Multinary(0 to 255))",
        ),
        (
            lambda: gluon_rbm.DeepBeliefNetwork([gluon_rbm.MultinaryRBMBlock(6, 4)]),
            "DeepBeliefNetwork(from the images up:\n"
            "  MultinaryRBMBlock(visible units: 6 Multinary(0 to 255), hidden units: 4 Multinary(0 to 255)))",
        ),
        (
            lambda: gluon_rbm.BinaryDeepBeliefNetwork(
                [gluon_rbm.Parameters.from_arrays(*parameters(*sizes)) for sizes in ((6, 4), (4, 2))]
            ),
            "BinaryDeepBeliefNetwork(6-4-2 units, from the images up)",
        ),
    ],
)
def test_representations_describe_objects(make, expected):
    assert repr(make()) == expected


@pytest.mark.parametrize("module", sorted({getattr(gluon_rbm, name).__module__ for name in gluon_rbm.__all__}))
def test_examples_of_docstrings_run(module):
    failed, _ = doctest.testmod(importlib.import_module(module), extraglobs={"np": np, "mx": mx})
    assert not failed


@pytest.mark.parametrize("name", sorted(set(gluon_rbm.__all__) - WITHOUT_EXAMPLE))
def test_every_public_name_has_an_example(name):
    assert ">>> " in getattr(gluon_rbm, name).__doc__


def test_help_of_the_package_lists_every_name():
    missing = [name for name in gluon_rbm.__all__ if not re.search(r"\b%s\b" % name, gluon_rbm.__doc__)]
    assert missing == []
    for name in gluon_rbm.__all__:
        documented = getattr(gluon_rbm, name).__doc__
        assert documented and len(documented) > 40, name


# --- The division by the batch size ---------------------------------------------------------------


@pytest.mark.parametrize("rate, divisor, acts_as", [(0.4, 1, 0.4), (0.4, 80, 0.005)])
def test_the_effective_learning_rate(ctx, rate, divisor, acts_as):
    """The gradient is a mean over the batch. `trainer.step(n)` divides it by n."""
    rbm = binary_rbm.BinaryRBMBlock(3, 1, True, num_visible=5)
    rbm.initialize(mx.init.Normal(sigma=0.01), ctx=ctx)
    batch = mx.nd.ones((80, 5), ctx=ctx)
    rbm(batch)
    trainer = mx.gluon.Trainer(rbm.collect_params(), "sgd", {"learning_rate": rate})
    with mx.autograd.record():
        output, _ = rbm(batch)
    output.backward()
    before = rbm.visible_layer_bias.data().asnumpy()
    gradient = rbm.visible_layer_bias.grad().asnumpy()
    chains = rbm.aux_visible_layer_sample.data().asnumpy()
    np.testing.assert_allclose(gradient, chains.mean(axis=0) - 1, atol=1e-6)  # mean over 80 images
    trainer.step(divisor)
    np.testing.assert_allclose(before - rbm.visible_layer_bias.data().asnumpy(), acts_as * gradient, atol=1e-6)


def snippets(text):
    """Each place that shows `trainer.step` of a binary RBM, with the ten lines around it."""
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if "trainer.step(" in line and "_trainer.step(" not in line:
            yield "\n".join(lines[max(0, number - 5) : number + 6])


@pytest.mark.parametrize("path", DOCUMENTED, ids=lambda path: path.name)
def test_every_snippet_says_that_the_gradient_is_a_mean(path):
    for snippet in snippets(path.read_text(encoding="utf-8")):
        assert re.search(r"\bmean over\b", snippet), snippet
