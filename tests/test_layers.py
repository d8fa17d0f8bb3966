"""The rooms of docs/design.md: an import points down, and each foreign framework has one door."""

import ast

import pytest
from sources import SOURCES

# From the top down. `gluon_rbm.errors` and `gluon_rbm/__init__.py` lie below all of them.
ROOMS = ("cli", "estimators", "training", "evaluation", "likelihood", "sampling", "models", "data", "backend")
SCRIPTS = ("binary_rbm_gluon", "binary_rbm_module", "gluon_rbm.__main__")
DOORS = {"mxnet": "gluon_rbm.backend.framework", "matplotlib": "gluon_rbm.evaluation.plots"}


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


def used_by(module):
    return {own_module(name) for name in imported_names(SOURCES[module])} - {None}


def height(module):
    """How far up a module lies: scripts, rooms, what is below them."""
    if module in SCRIPTS:
        return len(ROOMS) + 1
    if module in ("binary_rbm", "ais"):  # beside the package: `binary_rbm` between two of its rooms
        return (
            len(ROOMS) - ROOMS.index("evaluation") - 0.5 if module == "binary_rbm" else height("gluon_rbm.evaluation")
        )
    room = module.split(".")[1] if "." in module else None
    return len(ROOMS) - ROOMS.index(room) if room in ROOMS else 0


# `gluon_rbm/__init__.py` names what is in the rooms for type checkers; what it imports, tests/test_import.py sees.
@pytest.mark.parametrize("module", [module for module in SOURCES if module != "gluon_rbm"])
def test_imports_point_down(module):
    above = [other for other in used_by(module) if height(other) > height(module)]
    assert sorted(above) == []


@pytest.mark.parametrize(
    "module", [module for module in SOURCES if module.startswith("gluon_rbm.") and module not in SCRIPTS]
)
def test_the_package_imports_no_script(module):
    allowed = {"binary_rbm"} if module == "gluon_rbm.training.learners" else set()
    assert used_by(module) & {*SCRIPTS, "ais", "binary_rbm"} - allowed == set()


def test_no_module_imports_itself_by_way_of_others():
    below = {module: used_by(module) - {"gluon_rbm"} for module in SOURCES}
    while below:
        free = [module for module, used in below.items() if not used & below.keys() - {module}]
        assert free, sorted(below)
        below = {module: used for module, used in below.items() if module not in free}


@pytest.mark.parametrize("module", SOURCES)
def test_foreign_frameworks_come_through_their_door(module):
    used = {name.partition(".")[0] for name in imported_names(SOURCES[module])}
    assert [foreign for foreign, door in DOORS.items() if foreign in used and module != door] == []
