"""`import gluon_rbm` is quick, loads names when they are used, and prepares `import mxnet`."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from sites import fails_to_load, make_site, run_python

import gluon_rbm
from gluon_rbm import __main__
from gluon_rbm.backend import import_hook, shutdown

ROOT = Path(gluon_rbm.__file__).parents[1]


def output_of(code, *flags):
    done = subprocess.run([sys.executable, *flags, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


# --- The package ----------------------------------------------------------------------------------


HEAVY = {"mxnet", "matplotlib", "sklearn", "scipy", "pandas", "PIL", "jinja2", "requests", "safetensors"}


def test_the_package_alone_imports_nothing_heavy():
    code = "import sys, gluon_rbm; print(*{name.partition('.')[0] for name in sys.modules})"
    imported = set(output_of(code).split())
    assert "gluon_rbm" in imported
    assert imported & {*HEAVY, "numpy", "tqdm"} == set()


@pytest.mark.parametrize("arguments", [["--help"], ["--nothing-like-it"]])
def test_help_and_wrong_arguments_need_nothing_heavy(arguments):
    """All commands are run in turn in one process."""
    code = """
import contextlib, io, sys
import binary_rbm_gluon, binary_rbm_module
from gluon_rbm import __main__
mains = {(): __main__.main, ("g",): binary_rbm_gluon.main, ("m",): binary_rbm_module.main}
mains.update({(name,): __main__.main for name in __main__._COMMANDS})
for command, main in mains.items():
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            main([*(name for name in command if len(name) > 1), *%r])
        except SystemExit as stop:
            status = stop.code
    print(status, *{name.partition(".")[0] for name in sys.modules})
"""
    lines = output_of(code % (arguments,)).splitlines()
    assert len(lines) == len(__main__._COMMANDS) + 3
    for line in lines:
        status, *imported = line.split()
        assert status == ("0" if arguments == ["--help"] else "2")
        assert HEAVY & set(imported) == set()


def test_commands_take_public_names_of_each_other():
    """Modules of gluon_rbm.cli use only names of each other that are in `__all__`."""
    modules = {path.stem: ast.parse(path.read_text(encoding="utf-8")) for path in ROOT.glob("gluon_rbm/cli/*.py")}
    public = {}
    for name, tree in modules.items():
        for node in tree.body:
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
                public[name] = ast.literal_eval(node.value)
    assert len(public) > 30
    taken = set()
    for tree in modules.values():
        near = {}  # local name -> module of gluon_rbm.cli
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module == "gluon_rbm.cli":
                near.update({alias.asname or alias.name: alias.name for alias in node.names})
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("gluon_rbm.cli."):
                taken |= {(node.module.rpartition(".")[2], alias.name) for alias in node.names}
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in near:
                taken.add((near[node.value.id], node.attr))
    assert {(name, attribute) for name, attribute in taken if attribute not in public[name]} == set()


def test_the_package_alone_imports_few_modules_of_its_own():
    code = "import sys, gluon_rbm; print(*sorted(name for name in sys.modules if name.startswith('gluon_rbm')))"
    assert output_of(code).split() == [
        "gluon_rbm", "gluon_rbm.backend", "gluon_rbm.backend.import_hook", "gluon_rbm.backend.version",
    ]  # fmt: skip


def test_the_package_is_imported_in_a_tenth_of_a_second():
    code = "import time; start = time.perf_counter(); import gluon_rbm; print(time.perf_counter() - start)"
    assert min(float(output_of(code)) for _ in range(7)) < 0.1


@pytest.mark.parametrize("name", gluon_rbm.__all__)
def test_every_name_is_there(name):
    module, _, attribute = gluon_rbm._EXPORTS[name].rpartition(".")
    assert getattr(gluon_rbm, name) is getattr(importlib.import_module(module), attribute)
    assert name in dir(gluon_rbm)


def test_names_are_imported_when_they_are_used():
    code = "import sys, gluon_rbm; gluon_rbm.InputError; print('mxnet' in sys.modules, 'InputError' in vars(gluon_rbm))"
    assert output_of(code) == "False True\n"


@pytest.mark.slow
def test_from_imports_work():
    code = "from gluon_rbm import BinaryRBMBlock, free_energy; print(BinaryRBMBlock.__module__, free_energy.__module__)"
    assert output_of(code) == "binary_rbm gluon_rbm.models.energy\n"


def test_other_names_are_missing():
    with pytest.raises(AttributeError, match="module 'gluon_rbm' has no attribute 'BinaryRMB'"):
        gluon_rbm.BinaryRMB  # noqa: B018


def test_type_checkers_see_the_same_names():
    tree = ast.parse(Path(gluon_rbm.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.asname or alias.name: "%s.%s" % (node.module, alias.name) for node in block.body for alias in node.names
    }
    assert seen == gluon_rbm._EXPORTS
    assert sorted(gluon_rbm.__all__) == sorted(seen)


# --- The hook -------------------------------------------------------------------------------------


def test_a_plain_import_of_mxnet_works():
    code = "import gluon_rbm; import mxnet; print(mxnet.nd.ones((2,)).asnumpy().tolist())"
    assert output_of(code, "-W", "error") == "[1.0, 1.0]\n"


@pytest.mark.slow
def test_mxnet_is_imported_without_packages_that_it_does_not_need():
    code = """
import gluon_rbm, mxnet, sys
print("sklearn" in sys.modules, "scipy.stats" in sys.modules, "pandas" in sys.modules)
print(mxnet.contrib.quantization.stats.entropy([1, 1], [1, 1]), mxnet.test_utils.ss.norm.cdf(0))
import sklearn.base
"""
    assert output_of(code) == "False False False\n0.0 0.5\n"


@pytest.mark.slow
def test_mxnet_uses_packages_that_are_imported_before_it():
    code = """
import sklearn.base, scipy.stats, gluon_rbm, mxnet
print(issubclass(mxnet.model.FeedForward, sklearn.base.BaseEstimator), mxnet.contrib.quantization.stats is scipy.stats)
"""
    assert output_of(code) == "True True\n"


@pytest.mark.slow
def test_a_module_of_mxnet_may_be_imported_first():
    code = "import gluon_rbm; from mxnet import gluon; print(gluon.nn.Dense(2).__class__.__module__)"
    assert output_of(code) == "mxnet.gluon.nn.basic_layers\n"


@pytest.mark.slow
def test_mxnet_has_its_own_loader():
    code = """
import gluon_rbm, importlib.util, sys
found = importlib.util.find_spec("mxnet")  # looks, and does nothing
assert "mxnet" not in sys.modules and "numpy" not in sys.modules
assert found.origin.endswith("__init__.py") and found.loader.get_filename("mxnet") == found.origin
assert found.loader.is_package("mxnet")
import mxnet
assert mxnet.__spec__.origin == mxnet.__file__ == found.origin
assert mxnet.__loader__ is mxnet.__spec__.loader
assert importlib.util.find_spec("mxnet") is mxnet.__spec__
print(type(mxnet.__loader__).__name__)
"""
    assert output_of(code) == "SourceFileLoader\n"


@pytest.mark.slow
def test_the_framework_and_a_plain_import_give_one_module():
    code = """
import gluon_rbm, mxnet
from gluon_rbm.backend.framework import mx
print(mx is mxnet)
"""
    assert output_of(code) == "True\n"


@pytest.mark.slow
def test_mxnet_may_be_imported_before_the_package():
    code = """
import numpy, runpy, warnings
runpy.run_path("gluon_rbm/backend/numpy_names.py")["restore"]()  # of another making would do as well
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import mxnet
del numpy.bool, numpy.int  # whatever made the import work
import gluon_rbm
from gluon_rbm.backend.framework import mx
print(mx is mxnet, mxnet.np.bool is not None, numpy.int is int)
"""
    assert output_of(code) == "True True True\n"


def test_the_hook_is_installed_once():
    import_hook.install()
    importlib.reload(gluon_rbm)
    assert sum(isinstance(finder, import_hook._Finder) for finder in sys.meta_path) == 1


def test_the_hook_leaves_other_modules_alone():
    (finder,) = (finder for finder in sys.meta_path if isinstance(finder, import_hook._Finder))
    assert finder.find_spec("numpy") is None
    assert finder.find_spec("mxnet.gluon") is None


def test_a_missing_mxnet_stays_missing(tmp_path):
    done = run_python(
        make_site(tmp_path), "import gluon_rbm, importlib.util; print(importlib.util.find_spec('mxnet')); import mxnet"
    )
    assert done.stdout == "None\n"
    assert done.stderr.splitlines()[-1] == "ModuleNotFoundError: No module named 'mxnet'"


def test_a_plain_import_says_what_to_do_in_one_line(tmp_path):
    reason = "libgomp.so.1: cannot open shared object file: No such file or directory"
    site = make_site(tmp_path, wheels=["mxnet"], mxnet=fails_to_load(reason))
    done = run_python(site, "import gluon_rbm, mxnet")
    assert done.stderr.count("Traceback") == 1
    assert done.stderr.splitlines()[-1] == (
        "ImportError: MXNet cannot be loaded (%s): install the system's package that has libgomp.so.1" % reason
    )


def test_the_warning_of_two_wheels_names_the_line_of_the_import(tmp_path):
    site = make_site(tmp_path, wheels=["mxnet", "mxnet-cu112"], mxnet="")
    (site / "program.py").write_text("import gluon_rbm\n\nimport mxnet\n")
    done = run_python(site, "import program")
    assert done.stderr.splitlines()[0].startswith(str(site / "program.py") + ":3: RuntimeWarning: 2 builds of MXNet")


# A fake of MXNet in a server: it prints its calls, and receives one message.
FAKE_SERVER = """
import os
print("imported as", os.environ["DMLC_ROLE"])
class kv:
    handle = None
    create = staticmethod(lambda kind: print("store", kind) or kv)
class base:
    check_call = staticmethod(lambda status: None)
    class _LIB:
        MXKVStoreRunServer = staticmethod(lambda handle, controller, _: controller(0, b"a pickle", None))
"""


def test_a_plain_import_serves_in_a_server_and_refuses_messages(tmp_path):
    code = """
import os, gluon_rbm
from gluon_rbm.backend import heartbeat
heartbeat.attend = lambda: print("attended as", os.environ["DMLC_ROLE"])
os.environ["DMLC_ROLE"] = "server"
import mxnet
print("never")
"""
    done = run_python(make_site(tmp_path, mxnet=FAKE_SERVER), code)
    assert done.stderr == "server: refused a message: this server only adds\n"
    assert done.stdout == "attended as server\nimported as worker\nstore dist\n"
    assert done.returncode == 0


# --- The end of a process -------------------------------------------------------------------------


@pytest.mark.slow
def test_mxnet_finishes_its_calls_once_before_the_end():
    code = """
from gluon_rbm.backend.framework import load, mx
import binary_rbm
from gluon_rbm.backend import shutdown
shutdown.register(load())
mx.nd.waitall = lambda: print("waited")
"""
    assert output_of(code) == "waited\n"


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(shutdown.os, "fork"), reason="this system does not fork")
def test_mxnet_finishes_its_calls_once_before_a_fork():
    code = """
from gluon_rbm.backend.framework import mx
import os
mx.nd.waitall = lambda: os.write(1, b"waited ")
if not os.fork():
    os._exit(0)
os.wait()
os.write(1, b"forked ")
"""
    # Python 3.12 warns of forks in a process with threads.
    assert output_of(code, "-W", "ignore") == "waited forked waited "
