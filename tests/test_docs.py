"""The documentation: every module has its entry. (Whether links lead somewhere, the strict build of the site says.)"""

import re
from pathlib import Path

import pytest
from test_layers import SOURCES

API = Path(__file__).parents[1] / "docs" / "api"
pytestmark = pytest.mark.skipif(not API.exists(), reason="the tests stand alone, without docs/")


def test_every_module_has_one_entry():
    text = "\n".join(path.read_text(encoding="utf-8") for path in API.glob("*.rst"))
    entries = re.findall(r"^([\w.]+)\n-+\n\n\.\. automodule:: ([\w.]+)$", text, re.MULTILINE)
    assert [heading for heading, module in entries if heading != module] == []
    assert sorted(module for _, module in entries) == sorted(set(SOURCES) - {"gluon_rbm", "gluon_rbm.commands"})


@pytest.mark.parametrize("page", ["estimators.md"])
def test_what_a_page_shows_runs(page, tmp_path, monkeypatch):
    blocks = re.findall(
        r"^```python\n(.*?)^```$", (API.parent / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    assert blocks
    monkeypatch.chdir(tmp_path)
    exec(compile("\n".join(blocks), page, "exec"), {})
