"""MXNet finds each name of NumPy that its source uses, in any version of NumPy.

Its C++ code can read NumPy's numbers.
"""

import ast
import functools
import importlib
import warnings
from pathlib import Path

import numpy as np
import pytest

from gluon_rbm.backend import numpy_names
from gluon_rbm.backend.framework import mx

FOLDER = Path(mx.__file__).parent


def aliases(tree):
    """Yield (name, dotted name) for each name that a module imports from NumPy."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                if name.name.split(".")[0] == "numpy":
                    yield (name.asname or "numpy"), (name.name if name.asname else "numpy")
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and (node.module or "").split(".")[0] == "numpy":
            for name in node.names:
                yield (name.asname or name.name), "%s.%s" % (node.module, name.name)


def names_of_numpy(tree):
    """Yield each dotted name of NumPy that is imported or used, also in functions."""
    known = dict(aliases(tree))
    yield from known.values()
    for node in ast.walk(tree):
        chain = []
        while isinstance(node, ast.Attribute):
            chain.insert(0, node.attr)
            node = node.value
        if chain and isinstance(node, ast.Name) and node.id in known:
            yield ".".join([known[node.id], *chain])


def is_there(dotted):
    found = np
    for at, name in enumerate(dotted.split(".")[1:], 2):
        try:
            found = getattr(found, name)
        except AttributeError:
            try:
                found = importlib.import_module(".".join(dotted.split(".")[:at]))
            except ImportError:
                return False
    return True


@functools.lru_cache(maxsize=None)
def used_by_mxnet():
    from mxnet.numpy_dispatch_protocol import _NUMPY_ARRAY_FUNCTION_LIST

    names = {"numpy." + name for name in _NUMPY_ARRAY_FUNCTION_LIST}  # MXNet looks them up by name
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python warns of escapes in MXNet's strings
        for path in FOLDER.rglob("*.py"):
            names.update(names_of_numpy(ast.parse(path.read_text(encoding="utf-8"))))
    return names


def test_every_name_that_mxnet_uses_is_there():
    names = used_by_mxnet()
    assert {"numpy.bool", "numpy.Inf", "numpy.compat.basestring", "numpy.trapz", "numpy.product"} <= names
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy warns of names that it will drop
        assert [name for name in sorted(names) if not is_there(name)] == []


def test_nothing_is_restored_that_mxnet_does_not_use():
    used = {name.split(".")[1] for name in used_by_mxnet() if "." in name}
    assert set(numpy_names._dropped()) <= used


def test_names_that_numpy_has_are_not_replaced(monkeypatch):
    monkeypatch.setattr(np, "trapz", "NumPy's own", raising=False)
    numpy_names.restore()
    assert vars(np)["trapz"] == "NumPy's own"


@pytest.mark.parametrize(
    "name, arguments, expected",
    [
        ("alltrue", ([True, False],), False),
        ("in1d", ([[1, 5], [2, 7]], [1, 2]), [True, False, True, False]),
        ("msort", ([[3, 1], [2, 4]],), [[2, 1], [3, 4]]),
        ("product", ([2, 3, 4],), 24),
        ("round_", (2.567, 1), 2.6),
        ("sometrue", ([True, False],), True),
        ("trapz", ([1, 2, 3],), 4),
    ],
)
def test_restored_functions_work_as_before(name, arguments, expected):
    function = numpy_names._dropped()[name]
    if name == "trapz" and not hasattr(np, "trapezoid"):
        function = np.trapz  # NumPy 1 has it
    np.testing.assert_array_equal(function(*arguments), expected)


def test_restored_functions_are_not_those_of_numpy():
    """MXNet finds its own functions by the identity of NumPy's functions."""
    restored = numpy_names._dropped()
    for name, current in {"alltrue": "all", "product": "prod", "round_": "round", "sometrue": "any"}.items():
        assert restored[name] is not getattr(np, current)


def test_financial_functions_name_their_new_package():
    with pytest.raises(RuntimeError, match="numpy-financial"):
        numpy_names._dropped()["npv"](0.1, [1, 2])


# --- NumPy's numbers in parameters of operators ---------------------------------------------------


def test_shapes_may_have_numbers_of_numpy():
    assert mx.nd.zeros(shape=(np.int64(2), 3)).shape == (2, 3)
    assert mx.sym.Variable("x", shape=(np.int64(2), np.int32(3))).attr("__shape__") == "(2, 3)"
    reshaped = mx.sym.Reshape(mx.sym.Variable("x"), shape=(np.int64(3), 2))
    assert reshaped.infer_shape(x=(2, 3))[1] == [(3, 2)]


def test_optimizers_may_have_numbers_of_numpy():
    weight = mx.nd.ones(2)
    mx.nd.multi_sgd_update(
        weight, mx.nd.ones(2), lrs=(np.float32(0.25),), wds=(np.float64(0),), num_weights=1, out=[weight]
    )
    assert weight.asnumpy().tolist() == [0.75, 0.75]


@pytest.mark.parametrize(
    "value, written",
    [
        ((np.float32(0.1), [np.int64(2), True]), "(0.1, [2, True])"),
        ((np.bool_(True),), "(True,)"),
        (np.float32(0.1), "0.1"),
        (("a", None), "('a', None)"),
        ("a", "a"),
    ],
)
def test_how_numbers_are_written(value, written):
    assert numpy_names._Str(value) == written


def test_strings_are_instances_of_the_replaced_str():
    assert isinstance("MKLDNN", numpy_names._Str) and not isinstance(3, numpy_names._Str)


def test_numbers_print_as_numpy_prints_them():
    assert repr(np.float32(0.5)) == ("0.5" if int(np.__version__.split(".")[0]) < 2 else "np.float32(0.5)")
