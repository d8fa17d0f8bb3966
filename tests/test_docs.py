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
