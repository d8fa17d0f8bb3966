"""The code on the pages of the documentation runs."""

import ast
import re
from pathlib import Path

import pytest

import gluon_rbm

DOCS = Path(__file__).parents[1] / "docs"


@pytest.mark.parametrize(
    "page",
    [pytest.param("estimators.md", marks=pytest.mark.slow), "how-to.md", "multinary.md", "reference-runs/README.md"],
)
def test_the_code_of_a_page_runs(page, tmp_path, monkeypatch):
    blocks = re.findall(r"^```python\n(.*?)^```$", (DOCS / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert blocks
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").symlink_to(DOCS)  # the pages read models from there
    exec(compile("\n".join(blocks), page, "exec"), {})


PAGES = sorted("docs/" + path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))


@pytest.mark.parametrize("page", ["README.md", *PAGES])
def test_the_imports_of_a_page_work(page):
    text = (DOCS.parent / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    for node in (node for block in blocks for node in ast.parse(block).body):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            exec(compile(ast.Module([node], []), "<%s>" % page, "exec"), {})


@pytest.mark.parametrize(
    "page, pattern", [("CITATION.cff", r"^version: (\S+)$"), ("CHANGELOG.md", r"^## (\S+) \(.+\)$")]
)
def test_the_version_is_the_same_everywhere(page, pattern):
    if not (DOCS.parent / page).exists():
        pytest.skip("the tests stand alone, without %s" % page)
    found = re.search(pattern, (DOCS.parent / page).read_text(encoding="utf-8"), re.MULTILINE)
    assert found.group(1) == gluon_rbm.__version__
