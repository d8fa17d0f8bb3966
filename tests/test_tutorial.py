"""Notebooks run from top to bottom without a download. The stored tutorial shows MNIST."""

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "docs" / "tutorial.ipynb"
SHORTER = {  # notebook: replacements that shorten it, and a text that it still prints
    "ising": ({"20000": "1000", "n_iter=30": "n_iter=1", "sweeps=300": "sweeps=10"}, "beta of the RBM's samples"),
    "ratings": ({"n_iter=60": "n_iter=2"}, "correlation with the true places"),
}

nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed (pip install '.[test]')")
nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed (pip install '.[test]')")
pytest.importorskip("ipykernel", reason="ipykernel is not installed (pip install '.[test]')")
pytestmark = pytest.mark.skipif(not NOTEBOOK.exists(), reason="the tests stand alone, without docs/")


@pytest.fixture
def notebook():
    return nbformat.read(NOTEBOOK, as_version=4)


def pictures(cell):
    return [output for output in cell.get("outputs", []) if "image/png" in output.get("data", {})]


@pytest.mark.slow
def test_the_tutorial_runs_on_digits(notebook, monkeypatch):
    monkeypatch.setenv("TUTORIAL_DATASET", "digits")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *filter(None, sys.path)]))
    stored = [len(pictures(cell)) for cell in notebook.cells]
    # An error of a cell is raised here.
    nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
    assert [len(pictures(cell)) for cell in notebook.cells] == stored
    text = "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", []))
    assert "(1437, 64) (360, 64)" in text and "carry the class asked for" in text


@pytest.mark.slow
@pytest.mark.parametrize("name", SHORTER)
def test_other_notebooks_run(name, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *filter(None, sys.path)]))
    notebook, (shorter, printed) = nbformat.read(NOTEBOOK.with_name(name + ".ipynb"), as_version=4), SHORTER[name]
    for old, new in shorter.items():
        assert any(old in cell.source for cell in notebook.cells), old
        for cell in notebook.cells:
            cell.source = cell.source.replace(old, new)
    nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
    assert printed in "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", []))


def code_of(notebook):
    """The code cells, all of which were run in order."""
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    return code


@pytest.mark.parametrize("name", SHORTER)
def test_other_notebooks_are_stored_with_their_outputs(name):
    assert sum(len(pictures(cell)) for cell in code_of(nbformat.read(NOTEBOOK.with_name(name + ".ipynb"), 4))) == 2


def test_the_stored_tutorial_shows_mnist(notebook):
    code = code_of(notebook)
    assert sum(len(pictures(cell)) for cell in code) >= 10
    text = "".join(output.get("text", "") for cell in code for output in cell.outputs)
    assert "(60000, 784) (10000, 784)" in text
