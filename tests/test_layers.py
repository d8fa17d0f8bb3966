"""Imports point down between the packages, as docs/design.md shows.

Only the modules in IMPORTERS import MXNet or Matplotlib.
"""

import ast
import re
from pathlib import Path

import pytest
from sources import SOURCES

ROOT = Path(__file__).parents[1]

# Packages, and modules that stand alone, from the top down. Those on one line do not import each
# other.
LAYERS = (
    ("binary_rbm_gluon", "binary_rbm_module", "gluon_rbm.__main__", "gluon_rbm"),
    ("gluon_rbm.cli",),
    ("gluon_rbm.estimators",),
    ("gluon_rbm.training",),
    ("binary_rbm",),
    ("ais", "gluon_rbm.evaluation"),
    ("gluon_rbm.likelihood",),
    ("gluon_rbm.sampling",),
    ("gluon_rbm.models",),
    ("gluon_rbm.data",),
    ("gluon_rbm.backend",),
    ("gluon_rbm.errors",),
)
ALONE = ("ais", "binary_rbm", "binary_rbm_gluon", "binary_rbm_module")
IMPORTERS = {
    "mxnet": ("gluon_rbm.backend.framework",),
    "matplotlib": (
        "gluon_rbm.evaluation.plots.figures",
        "gluon_rbm.evaluation.plots.images",
        "gluon_rbm.evaluation.plots.charts",
        "gluon_rbm.evaluation.logos",
    ),
}

DESIGN = ROOT / "docs" / "design.md"


def statements(nodes):
    """All statements and expressions, except those under `if TYPE_CHECKING`."""
    for node in nodes:
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        yield node
        yield from statements(ast.iter_child_nodes(node))


def imported_names(path):
    """Names that a file imports anywhere: modules, and `module.name` of `from` imports."""
    for node in statements(ast.parse(path.read_text(encoding="utf-8")).body):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}:{node.lineno}: write the module's full name"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def used_by(module):
    """The modules of this project that a module imports."""
    names = imported_names(SOURCES[module])
    return {owner for name in names for owner in [name, name.rpartition(".")[0]] if owner in SOURCES} - {"gluon_rbm"}


def layer_of(module):
    """The number of a module's line in LAYERS, and its package."""
    package = module if module in ("gluon_rbm", "gluon_rbm.__main__") else ".".join(module.split(".")[:2])
    return next((number, package) for number, packages in enumerate(LAYERS) if package in packages)


@pytest.mark.parametrize("module", SOURCES)
def test_imports_point_down_between_packages(module):
    (here, package), others = layer_of(module), {other: layer_of(other) for other in used_by(module)}
    assert sorted(other for other, (there, its) in others.items() if its != package and there <= here) == []


@pytest.mark.parametrize("module", [module for module in SOURCES if module not in ALONE])
def test_only_the_learners_import_a_module_beside_the_package(module):
    """`gluon_rbm.training.learners` imports binary_rbm."""
    allowed = {"binary_rbm"} if module == "gluon_rbm.training.learners" else set()
    assert used_by(module) & {*ALONE} - allowed == set()


def test_imports_have_no_cycle():
    below = {module: used_by(module) for module in SOURCES}
    while below:
        free = [module for module, used in below.items() if not used & below.keys() - {module}]
        assert free, sorted(below)
        below = {module: used for module, used in below.items() if module not in free}


@pytest.mark.parametrize("module", SOURCES)
def test_only_a_few_modules_import_mxnet_or_matplotlib(module):
    used = {name.partition(".")[0] for name in imported_names(SOURCES[module])}
    assert [foreign for foreign, importers in IMPORTERS.items() if foreign in used and module not in importers] == []


@pytest.mark.skipif(not DESIGN.exists(), reason="the tests stand alone, without docs/")
def test_the_design_page_shows_the_same_order():
    picture = re.search(r"## Layers.*?```\n(.*?)```", DESIGN.read_text(encoding="utf-8"), re.DOTALL).group(1)
    rows = [re.split(r"\s{2,}", line)[0].split(", ") for line in picture.splitlines() if not line.startswith(" ")]
    assert tuple(tuple(row) for row in rows) == LAYERS
