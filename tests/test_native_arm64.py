"""The native engine on an emulated arm64 processor.

It gives the same samples as on this processor, and the same sums apart from the last digits.
`.ci/full arm` runs all tests of the engine on arm64, in an emulated Python.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from test_native_build import CROSS, SOURCE, compile_source

from gluon_rbm.backend import native
from gluon_rbm.backend.native import binding, learning
from gluon_rbm.backend.native.arguments import set_key

LIBRARIES = Path("/usr/aarch64-linux-gnu")  # where Debian's cross compilers have the C library
PROGRAM = """
#include "gibbs.h"
#include <stdio.h>
static float chain_mean[CHAINS * HIDDEN], gradients[3][VISIBLE + HIDDEN], velocities[3][VISIBLE * HIDDEN];
int main(void)
{
    struct gibbs g = {.chains = CHAINS, .num_visible = VISIBLE, .num_hidden = HIDDEN, .sweeps = 1, .num_betas = BETAS,
                      .finish = 1, .key_0 = KEY_0, .key_1 = KEY_1, .num_threads = 3, .instruction_set = -1,
                      .weight = weight, .visible_bias = visible_bias, .hidden_bias = hidden_bias, .beta = beta,
                      .visible = annealed, .log_weight = log_weight, .hidden_probability = chain_mean};
    struct learning l = {.rows = 20, .num_rows = ROWS, .factor = 1, .rescale = 1, .rate = 0.1, .momentum = 0.5,
                         .weight_decay = 0.01, .data = data, .weight = weight, .visible_bias = visible_bias,
                         .hidden_bias = hidden_bias,
                         .visible_gradient = gradients[1],
                         .hidden_gradient = gradients[2], .weight_velocity = velocities[0],
                         .visible_velocity = velocities[1], .hidden_velocity = velocities[2]};
    if (mxnet_rbm_gibbs_anneal(&g))
        return 1;
    g.visible = visible, g.hidden = hidden, g.log_weight = NULL, g.num_betas = 1, g.sweeps = 3;
    g.fixed_point = FIXED_POINT;
    if (mxnet_rbm_gibbs_learn(&g, &l))
        return 2;
#define PRINT(x) fwrite(x, sizeof x, 1, stdout)
    PRINT(annealed), PRINT(visible), PRINT(hidden);
    PRINT(log_weight), PRINT(weight), PRINT(visible_bias), PRINT(hidden_bias);
    return 0;
}
"""
SAMPLES, SUMS = ("annealed", "visible", "hidden"), ("log_weight", "weight", "visible_bias", "hidden_bias")


def random_case(chains: int, num_visible: int, num_hidden: int, rows: int) -> dict[str, np.ndarray]:
    """Arrays for the program.

    The seed is fixed, because one sample in millions may depend on a last digit.
    """
    generator = np.random.default_rng(1)
    shapes = {"weight": (num_visible, num_hidden), "visible_bias": num_visible, "hidden_bias": num_hidden}
    states = {"annealed": num_visible, "visible": num_visible, "hidden": num_hidden}
    return {
        **{name: generator.normal(0, 0.3, shape).astype(np.float32) for name, shape in shapes.items()},
        **{name: generator.integers(0, 2, (chains, size)).astype(np.float32) for name, size in states.items()},
        "data": generator.random((rows, num_visible)).astype(np.float32),
        "beta": np.linspace(0, 1, 9),
        "log_weight": np.zeros(chains),
    }


def in_c(case: dict[str, np.ndarray], key: list[int], fixed_point: bool) -> str:
    """The C program with the arrays of a case."""
    call = binding.Gibbs()
    set_key(call, key)
    numbers = {"KEY_0": call.key_0, "KEY_1": call.key_1, "BETAS": len(case["beta"]), "ROWS": len(case["data"])}
    numbers.update(zip(("CHAINS", "VISIBLE", "HIDDEN"), (len(case["visible"]), *case["weight"].shape)))
    numbers["FIXED_POINT"] = fixed_point
    lines = ["#define %s %d" % number for number in numbers.items()]
    for name, array in case.items():
        values = ",".join(float(value).hex() for value in array.ravel())
        lines.append("static %s %s[] = {%s};" % ({"f": "float", "d": "double"}[array.dtype.char], name, values))
    return "\n".join(lines) + PROGRAM


def computed_here(case: dict[str, np.ndarray], key: list[int], fixed_point: bool) -> dict[str, np.ndarray]:
    found = {name: array.copy() for name, array in case.items()}
    parameters = [found[name] for name in ("weight", "visible_bias", "hidden_bias")]
    found["annealed"], found["log_weight"] = native.anneal(
        *parameters, key=key, visible=case["annealed"], betas=case["beta"]
    )
    samples, velocities = [found["visible"], found["hidden"]], [np.zeros_like(array) for array in parameters]
    learning.learn(
        *parameters,
        case["data"],
        samples,
        velocities,
        batch_size=20,
        sweeps=3,
        key=key,
        rate=0.1,
        momentum=0.5,
        weight_decay=0.01,
        fixed_point=fixed_point,
    )
    return found


@pytest.mark.skipif(not native.available(), reason="native Gibbs engine " + repr(native.available()))
@pytest.mark.skipif(not shutil.which("qemu-aarch64"), reason="qemu-aarch64 is not installed")
@pytest.mark.skipif(not LIBRARIES.exists(), reason="there is no C library for arm64 at %s" % LIBRARIES)
@pytest.mark.parametrize("chains, fixed_point", [(5, False), (20, False), (20, True), (300, False), (300, True)])
@pytest.mark.parametrize("name", ["gcc for arm64", "clang for arm64"])
def test_arm64_computes_the_same(name: str, chains: int, fixed_point: bool, tmp_path: Path) -> None:
    """Sums differ in the last digits, because their order or their fused operations differ."""
    case, key = random_case(chains, 40, 70, 50), [7]
    (tmp_path / "program.c").write_text(in_c(case, key, fixed_point))
    options = ["-O3", "program.c", "-o", "program", "-lm", "-I", str(SOURCE.parent)]
    result = compile_source(CROSS[name], tmp_path, *options)
    assert result.returncode == 0, result.stderr[:4000]
    command = ["qemu-aarch64", "-L", str(LIBRARIES), "./program"]
    output = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=60).stdout
    expected = computed_here(case, key, fixed_point)
    for field in SAMPLES + SUMS:
        array = expected[field]
        found, output = np.frombuffer(output[: array.nbytes], array.dtype).reshape(array.shape), output[array.nbytes :]
        if field in SAMPLES:
            np.testing.assert_array_equal(found, array, err_msg=field)
        else:
            np.testing.assert_allclose(found, array, rtol=1e-5, atol=1e-6, err_msg=field)
        assert (array != case[field]).any(), field
    assert not output
