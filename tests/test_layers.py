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
    ["gluon_rbm.commands.exercise", "gluon_rbm.commands.page", "gluon_rbm.commands.train_deep"],
    ["binary_rbm_gluon", "binary_rbm_module"],
    ["gluon_rbm.training", *("gluon_rbm.commands." + name for name in COMMANDS)],
    ["gluon_rbm.multinary_training", "gluon_rbm.report"],
    ["gluon_rbm.command", "gluon_rbm.parallel"],
    ["gluon_rbm.epochs"],
    ["gluon_rbm.estimators"],
    ["gluon_rbm.estimators.label", "gluon_rbm.estimators.multinary"],
    ["gluon_rbm.estimators.binary"],
    ["gluon_rbm.options", "gluon_rbm.watch"],
    ["gluon_rbm.plots"],
    [
        "gluon_rbm.exchange",
        "gluon_rbm.binary_deep_belief",
        "gluon_rbm.frechet",
        "gluon_rbm.judge",
        "gluon_rbm.metrics",
        "gluon_rbm.monitoring",
        "gluon_rbm.optimization",
    ],
    ["gluon_rbm.datasets"],
    ["gluon_rbm.downloads", "gluon_rbm.image_files"],
    ["binary_rbm", "gluon_rbm.estimators.common", "gluon_rbm.interchange"],
    ["ais", "gluon_rbm.learning", "gluon_rbm.sampling"],
    ["gluon_rbm.networks", "gluon_rbm.support_vectors"],
    ["gluon_rbm.deep_belief"],
    ["gluon_rbm.convolutional_rbm", "gluon_rbm.multinary_rbm"],
    ["gluon_rbm.machine"],
    ["gluon_rbm.units"],
    ["gluon_rbm.label_rbm"],
    ["gluon_rbm.annealing", "gluon_rbm.enumeration", "gluon_rbm.partition", "gluon_rbm.scores", "gluon_rbm.tempering"],
    ["gluon_rbm.gibbs", "gluon_rbm.run_folder"],
    ["gluon_rbm.energy", "gluon_rbm.image_pipeline", "gluon_rbm.native"],
    ["gluon_rbm.framework"],
    ["gluon_rbm.array_files", "gluon_rbm.diagnostics", "gluon_rbm.peers"],
    ["gluon_rbm.arguments"],
    ["gluon_rbm.errors", "gluon_rbm.interruption"],
    ["gluon_rbm", "gluon_rbm.commands"],
]
DOORS = {"mxnet": "gluon_rbm.framework", "matplotlib": "gluon_rbm.plots"}

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
