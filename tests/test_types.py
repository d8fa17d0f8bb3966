"""Every signature of the package and the modules beside it is typed. As a script: counts them."""

import ast

import pytest
from sources import SOURCES


def functions(module):
    return [
        node
        for node in ast.walk(ast.parse(SOURCES[module].read_text(encoding="utf-8")))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]


def is_typed(function):
    """Whether the return value and all arguments except `self` and `cls` have a type."""
    arguments = function.args
    named = [*arguments.posonlyargs, *arguments.args]
    first = named[:1] if named and named[0].arg in ("self", "cls") else []
    every = [*named[len(first) :], *arguments.kwonlyargs, *filter(None, (arguments.vararg, arguments.kwarg))]
    return function.returns is not None and all(argument.annotation for argument in every)


@pytest.mark.parametrize("module", SOURCES)
def test_every_signature_is_typed(module):
    untyped = ["%d: %s" % (one.lineno, one.name) for one in functions(module) if not is_typed(one)]
    assert untyped == [], SOURCES[module]


if __name__ == "__main__":
    found = [is_typed(function) for module in SOURCES for function in functions(module)]
    print("%d of %d signatures are typed (%.1f %%)" % (sum(found), len(found), 100 * sum(found) / len(found)))
