"""The rooms of docs/design.md: a module imports only from below, and each foreign framework has one door.

import-linter cannot say this: its roots must be packages, and half of these modules are single files.
"""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

COMMANDS = (
    "classify",
    "convert",
    "doctor",
    "frechet",
    "likelihood",
    "recall",
    "reconstruct",
    "resample",
    "sample",
    "score",
    "svm",
    "train_multinary",
    "weights",
)
# From the top down; modules of one layer do not import each other.
LAYERS = [
    ["gluon_rbm.__main__"],
    ["gluon_rbm.cli.exercise", "gluon_rbm.cli.page", "gluon_rbm.cli.train_deep"],
    ["binary_rbm_gluon", "binary_rbm_module"],
    ["gluon_rbm.training.binary_training", *("gluon_rbm.cli." + name for name in COMMANDS)],
    ["gluon_rbm.training.multinary", "gluon_rbm.cli.report"],
    ["gluon_rbm.cli.command", "gluon_rbm.training.parallel"],
    ["gluon_rbm.training.epochs"],
    ["gluon_rbm.estimators"],
    ["gluon_rbm.estimators.label", "gluon_rbm.estimators.multinary"],
    ["gluon_rbm.estimators.binary"],
    ["gluon_rbm.cli.options", "gluon_rbm.training.tensorboard"],
    ["gluon_rbm.evaluation.plots"],
    [
        "gluon_rbm.training.process_group",
        "gluon_rbm.models.binary_deep_belief",
        "gluon_rbm.evaluation.frechet",
        "gluon_rbm.evaluation.classifier",
        "gluon_rbm.training.metrics",
        "gluon_rbm.training.monitoring",
        "gluon_rbm.training.optimization",
    ],
    ["gluon_rbm.data.datasets"],
    ["gluon_rbm.data.downloads", "gluon_rbm.data.image_files"],
    ["binary_rbm", "gluon_rbm.estimators.common", "gluon_rbm.models.interchange"],
    ["ais", "gluon_rbm.likelihood.learning", "gluon_rbm.sampling.chains"],
    ["gluon_rbm.models.networks", "gluon_rbm.evaluation.support_vectors"],
    ["gluon_rbm.models.deep_belief"],
    ["gluon_rbm.models.convolutional_rbm", "gluon_rbm.models.multinary_rbm"],
    ["gluon_rbm.models.rbm_block"],
    ["gluon_rbm.models.units"],
    ["gluon_rbm.models.label_rbm"],
    ["gluon_rbm.likelihood.annealing", "gluon_rbm.likelihood.enumeration", "gluon_rbm.likelihood.partition", "gluon_rbm.likelihood.scores", "gluon_rbm.sampling.tempering"],
    ["gluon_rbm.sampling.gibbs", "gluon_rbm.training.run_folder"],
    ["gluon_rbm.models.energy", "gluon_rbm.data.transforms", "gluon_rbm.backend.native"],
    ["gluon_rbm.backend.framework"],
    ["gluon_rbm.backend.array_files", "gluon_rbm.sampling.diagnostics", "gluon_rbm.backend.heartbeat"],
    ["gluon_rbm.cli.arguments"],
    ["gluon_rbm.errors", "gluon_rbm.backend.interruption"],
    ["gluon_rbm", "gluon_rbm.cli"],
]
DOORS = {"mxnet": "gluon_rbm.backend.framework", "matplotlib": "gluon_rbm.evaluation.plots"}

HEIGHT = {module: -depth for depth, layer in enumerate(LAYERS) for module in layer}
# None where the tests stand alone, beside an installed wheel: then there is nothing to read.
SOURCES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).replace(".__init__", ""): path
    for path in [*ROOT.glob("*.py"), *ROOT.glob("gluon_rbm/**/*.py")]
    if path.name != "setup.py"
}


def imported_names(path):
    """Every name imported anywhere in the file, inside functions too: modules, and `module.name` for `from` imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}:{node.lineno}: write the module's full name"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own_module(name):
    """The module of this project that an imported name belongs to, or None."""
    return next((module for module in (name, name.rpartition(".")[0]) if module in SOURCES), None)


@pytest.mark.parametrize("module", SOURCES)
def test_every_module_has_its_layer(module):
    assert module in HEIGHT


@pytest.mark.parametrize("module", SOURCES)
def test_imports_point_down(module):
    used = {own_module(name) for name in imported_names(SOURCES[module])} - {None}
    assert sorted(below for below in used if HEIGHT[below] >= HEIGHT[module]) == []


@pytest.mark.parametrize("module", SOURCES)
def test_foreign_frameworks_come_through_their_door(module):
    used = {name.partition(".")[0] for name in imported_names(SOURCES[module])}
    assert [foreign for foreign, door in DOORS.items() if foreign in used and module != door] == []
