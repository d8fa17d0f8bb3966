"""Files that are read cannot run code.

No source of this project unpickles, or lets MXNet read a file that has not been checked.
"""

import ast
import re

import pytest
from sources import ROOT, SOURCES

MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "shelve", "marshal", "jsonpickle"}
CALLS = {
    "eval", "exec", "load_parameters", "load_states", "load_optimizer_states", "load_frombuffer", "nd.load", "npx.load",
    "mx.load", "set_states", "read_pickle", "joblib.load", "imports", "Module.load", "model.load_checkpoint",
}  # fmt: skip
# These calls let MXNet read a file that `array_files.load` has checked.
CHECKED = {("binary_rbm", "super().load_parameters"), ("gluon_rbm.evaluation.frechet", "mx.gluon.SymbolBlock.imports")}


def faults_in(module, tree):
    """Yield "line: what" for each import and call that a source must not contain."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            prefix = node.module + "." if isinstance(node, ast.ImportFrom) else ""
            for name in (prefix + alias.name for alias in node.names):
                if name.partition(".")[0] in MODULES or name == "joblib.load":
                    yield "%d: import of %s" % (node.lineno, name)
        if not isinstance(node, ast.Call):
            continue
        called = source_of(node.func)
        if (module, called) not in CHECKED and any(re.search(r"(^|\.)%s$" % re.escape(call), called) for call in CALLS):
            yield "%d: %s" % (node.lineno, called)
        if called.endswith(("np.load", "numpy.load", "read_array")):
            allowed = [k.value for k in node.keywords if k.arg == "allow_pickle"]
            if not (allowed and isinstance(allowed[0], ast.Constant) and allowed[0].value is False):
                yield "%d: %s without allow_pickle=False" % (node.lineno, called)


def source_of(node):  # Python 3.8 has no ast.unparse
    if isinstance(node, ast.Attribute):
        return source_of(node.value) + "." + node.attr
    if isinstance(node, ast.Call):
        return source_of(node.func) + "()"
    return getattr(node, "id", "")


@pytest.mark.parametrize("module", SOURCES)
def test_no_source_reads_pickles(module):
    tree = ast.parse(SOURCES[module].read_text(encoding="utf-8"))
    assert list(faults_in(module, tree)) == [], SOURCES[module].relative_to(ROOT)


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from joblib import load",
        "def f():\n    import pickle as p",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=flag)",
        "np.lib.format.read_array(file)",
        "mx.nd.load(path)",
        "trainer.load_states(path)",
        "block.load_parameters(path)",
        "mx.gluon.SymbolBlock.imports(a, b, c)",
        "mx.mod.Module.load(prefix, 1)",
        "updater.set_states(content)",
        "eval(text)",
    ],
)
def test_code_that_unpickles_is_found(text):
    assert list(faults_in("some.module", ast.parse(text)))


def test_harmless_code_is_accepted():
    harmless = "np.load(path, allow_pickle=False)\njson.load(file)\narray_files.load(path)"
    tree = ast.parse(harmless + "\nsuper().load_parameters(path)")
    assert list(faults_in("binary_rbm", tree)) == []
