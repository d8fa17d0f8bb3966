"""The CUDA engine without a GPU.

A C compiler compiles its source. The chains equal those of the C engine bit for bit.
"""

import functools
import os
import subprocess
import sys
from pathlib import Path

import cuda_device
import cuda_nvrtc
import numpy as np
import pytest
import reference
from test_gibbs import assert_distribution

from gluon_rbm.backend import cuda, native
from gluon_rbm.backend.cuda import launch, self_check
from gluon_rbm.errors import InputError

THREADS = 8  # threads of a block; few, because they are threads of the CPU
CHAINS, VISIBLE, HIDDEN = 5, 70, 45
GROUPS = ((3, 7), (30, 40), (60, 70))
HERE = Path(__file__).parent

pytestmark = pytest.mark.skipif(cuda_device.compiler() is None, reason="there is no C compiler")


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return cuda_device.build(tmp_path_factory.mktemp("cuda"))


@pytest.fixture
def device(library):
    return cuda_device.EmulatedDevice(library, THREADS)


@pytest.fixture
def contracting():
    """Instruction set that makes the C engine contract products and sums, as gibbs.cu does."""
    if not native.available():
        pytest.skip("the C engine is not built")
    sets = native.features()["instruction_sets"]
    if "avx2" not in sets and os.uname().machine != "aarch64":
        pytest.skip("the processor has no fused products")
    return sets[-1]


def whole(generator, *shape):
    """Multiples of 2^-10. Sums of them are exact."""
    return (generator.integers(-600, 601, shape) / 1024).astype(np.float32)


def rbm(generator, base=False):
    arrays = {
        "weight": whole(generator, VISIBLE, HIDDEN),
        "visible_bias": whole(generator, VISIBLE),
        "hidden_bias": whole(generator, HIDDEN),
    }
    return {**arrays, "base": whole(generator, VISIBLE)} if base else arrays


def bits(generator, *shape):
    return (generator.random(shape) < 0.5).astype(np.float32)


def grouped(generator, rows):
    """Turn on exactly one unit of each softmax group in each row."""
    for start, stop in GROUPS:
        rows[:, start:stop] = np.eye(stop - start, dtype=np.float32)[generator.integers(stop - start, size=len(rows))]
    return rows


def clamp(generator, groups, per_chain):
    """Clamp that holds some units. With groups, it holds the whole first group and no other."""
    shape = (CHAINS, VISIBLE) if per_chain else (VISIBLE,)
    mask = generator.random(shape) < 0.3
    values = grouped(generator, bits(generator, CHAINS, VISIBLE)) if groups else bits(generator, CHAINS, VISIBLE)
    for number, (start, stop) in enumerate(GROUPS if groups else ()):
        mask[..., start:stop] = number == 0
    return mask, values if per_chain else values[0]


@pytest.mark.parametrize("groups", [(), GROUPS], ids=["alone", "groups"])
@pytest.mark.parametrize("held", [None, False, True], ids=["free", "held", "held each"])
@pytest.mark.parametrize("start", ["visible", "hidden", "grey"])
@pytest.mark.parametrize("base, per_chain", [(False, True), (True, False)])
def test_chains_equal_those_of_the_c_engine(device, contracting, seed, generator, base, per_chain, start, held, groups):
    settings = {"key": [seed], "sweeps": int(generator.integers(1, 5)), "first_sweep": int(generator.integers(9))}
    settings["beta"] = generator.random(CHAINS) if per_chain else 0.7
    if start == "grey":
        settings["visible"] = (generator.integers(0, 5, (CHAINS, VISIBLE)) / 4).astype(np.float32)
    else:
        settings[start] = bits(generator, CHAINS, VISIBLE if start == "visible" else HIDDEN)
    if held is not None:
        settings["clamp"] = clamp(generator, groups, held)
    arrays = rbm(generator, base)
    expected = native.run(**arrays, **settings, visible_units=groups, instruction_set=contracting)
    for products in (False, True):
        if products and (groups or held is not None and start != "hidden"):
            continue  # the engine does not use matrix products here
        found = cuda.run(device, **arrays, **settings, groups=groups, products=products)
        for name, ours, theirs in zip(("visible", "hidden", "visible probability", "hidden"), found, expected):
            np.testing.assert_array_equal(ours, theirs, err_msg=name)


@pytest.mark.parametrize("groups", [(), GROUPS], ids=["alone", "groups"])
@pytest.mark.parametrize("held", [None, True], ids=["free", "held each"])
@pytest.mark.parametrize("base, finish, down", [(False, True, False), (True, False, False), (True, True, True)])
def test_annealing_equals_that_of_the_c_engine(device, contracting, seed, generator, base, finish, down, held, groups):
    arrays, betas = rbm(generator, base), np.linspace(0, 1, 6)
    visible = grouped(generator, bits(generator, CHAINS, VISIBLE))
    settings = {"key": [seed], "sweeps": 2, "finish": finish, "betas": betas[::-1] if down else betas, "first_sweep": 3}
    if held:
        settings["clamp"] = clamp(generator, groups, True)
        visible = np.where(settings["clamp"][0], settings["clamp"][1], visible).astype(np.float32)
    found = cuda.anneal(device, **arrays, **settings, visible=visible, groups=groups)
    expected = native.anneal(**arrays, **settings, visible=visible, visible_units=groups, instruction_set=contracting)
    np.testing.assert_array_equal(found[0], expected[0])
    # Differences of softplus in float32 differ by a few units in the last place. They are summed in
    # float64, in another order.
    np.testing.assert_allclose(found[1], expected[1], rtol=0, atol=1e-5)


def test_any_number_of_threads_draws_the_same(library, seed, generator):
    arrays, start = rbm(generator), bits(generator, CHAINS, HIDDEN)
    found = [
        cuda.run(cuda_device.EmulatedDevice(library, threads), **arrays, key=[seed], hidden=start, sweeps=2)
        for threads in (1, 3, 32)
    ]
    for other in found[1:]:
        for one, same in zip(found[0], other):
            np.testing.assert_array_equal(one, same)


def test_sweeps_leave_the_exact_distribution_alone(device, seed, generator):
    draws = 20000
    values = reference.random_rbm(4, 3, generator)
    _, hidden = reference.draw_joint(*values, draws, generator, 0.8, None)
    visible_bias, hidden_bias, weight = (np.float32(array) for array in values)
    chains = cuda.run(
        device, weight, visible_bias, hidden_bias, key=[seed], hidden=np.float32(hidden), sweeps=2, beta=0.8
    )
    index = reference.state_index(chains[0]) * 2**3 + reference.state_index(chains[1])
    assert_distribution(index, reference.joint(*values, 0.8, None))


def test_values_other_than_0_and_1_become_fair_coins(device, seed, generator):
    values = generator.random((200, 100)).astype(np.float32)
    values[0], values[1], values[2] = 0, 1, np.nan
    found = cuda.redraw_non_binary(device, values, [seed])
    assert np.all(found[0] == 0) and np.all(found[1] == 1) and np.all((found == 0) | (found == 1))
    coins = found[2:].ravel()
    assert abs(coins.mean() - 0.5) < 5 * 0.5 / np.sqrt(len(coins))  # five standard errors
    assert not np.array_equal(found, cuda.redraw_non_binary(device, values, [seed + 1]))


def test_a_chain_too_large_for_shared_memory_is_refused(device):
    num_visible = 20000
    assert not cuda.fits(num_visible, 10) and cuda.fits(784, 2000)
    zeros = np.zeros((num_visible, 10), np.float32), np.zeros(num_visible, np.float32), np.zeros(10, np.float32)
    with pytest.raises(InputError, match="cannot hold 20000 visible and 10 hidden units"):
        cuda.run(device, *zeros, key=[1], hidden=np.zeros((2, 10), np.float32))


def test_no_chains(device, generator):
    found = cuda.run(device, **rbm(generator), key=[1], hidden=np.zeros((0, HIDDEN), np.float32))
    assert [array.shape for array in found] == [(0, VISIBLE), (0, HIDDEN)] * 2


# --- The self-check -------------------------------------------------------------------------------


def test_the_self_check_agrees_with_the_c_engine(device, contracting):
    run, anneal = self_check.example()
    chains = native.run(**run, visible_units=self_check.GROUPS, instruction_set=contracting)
    assert self_check.digest(chains) == self_check.DIGEST
    _, log_weight = native.anneal(**anneal, visible_units=self_check.GROUPS, instruction_set=contracting)
    np.testing.assert_allclose(log_weight, self_check.LOG_WEIGHTS, rtol=0, atol=1e-5)
    assert self_check.difference(device) is None


def test_the_longer_check(library, contracting):
    assert self_check.longer_difference(cuda_device.EmulatedDevice(library, 32)) is None
    wrong = cuda_device.EmulatedDevice(library, 32)
    wrong.product = lambda state, rows: 1.001 * (state @ rows)
    assert "%d chains of 784 visible and 500" % cuda.PRODUCTS_FROM in self_check.longer_difference(wrong)


@pytest.mark.parametrize(
    "right, wrong, said",
    [
        ("0xCD9E8D57u", "0xCD9E8D55u", "its chains are not those of the C engine"),
        ("<= 16777216.0f", "< 16777215.0f * 0.99f", "its chains are not those of the C engine"),
        ("sum >= passed", "sum > 1.1f * passed", "its chains are not those of the C engine"),
        ("z * s, q, z", "z * s, q * 1.01f, z", "its log-weights are not those of the C engine"),
        ("total += step * visible_part", "total += 1.001 * step * visible_part", "its log-weights are not"),
    ],
)
def test_a_broken_kernel_is_found(tmp_path, right, wrong, said):
    text = launch.source()
    assert text.count(right) == 1
    (tmp_path / "gibbs.cu").write_text(text.replace(right, wrong))
    broken = cuda_device.build(tmp_path, '-DSOURCE="%s"' % (tmp_path / "gibbs.cu"))
    assert said in self_check.difference(cuda_device.EmulatedDevice(broken, THREADS))


# --- Compilers ------------------------------------------------------------------------------------


@functools.lru_cache
def nvrtc():
    return cuda_nvrtc.library()


@pytest.mark.parametrize("architecture", ["50", "60", "70", "75", "80", "86"])
def test_the_kernels_compile_for_every_card_of_mxnet(architecture):
    """NVRTC makes machine code and PTX. For newer cards, the driver compiles the PTX."""
    if nvrtc() is None:
        pytest.skip("there is no NVRTC: pip install nvidia-cuda-nvrtc-cu11")
    for target, kind in (("sm_", "CUBIN"), ("compute_", "PTX")):
        try:
            content, said = cuda_nvrtc.compiled(nvrtc(), launch.source(), target + architecture, kind)
        except RuntimeError as error:
            if cuda_nvrtc.version(nvrtc()) >= (12, 0) and "architecture" in str(error):
                pytest.skip("this NVRTC is too new for sm_" + architecture)
            raise
        assert said == ""  # no warning
        for name in launch.KERNELS:
            assert name.encode() in content


@pytest.mark.slow
@pytest.mark.parametrize("sanitizers, runtime", [("address,undefined", "libasan.so"), ("thread", "libtsan.so")])
def test_under_sanitizers(tmp_path, sanitizers, runtime):
    """Kernels stay within shared memory, and threads do not race for a word between barriers."""
    script = (
        "import sys; sys.path.insert(0, %r); import ctypes, cuda_device\n"
        "from gluon_rbm.backend.cuda import self_check\n"
        "assert self_check.difference(cuda_device.EmulatedDevice(ctypes.CDLL(%r), 8)) is None; print('right')\n"
    ) % (str(HERE), str(tmp_path / "emulated.so"))
    try:
        cuda_device.build(tmp_path, "-g", "-fsanitize=" + sanitizers, "-fno-sanitize-recover=undefined", load=False)
        name = [cuda_device.compiler(), "-print-file-name=" + runtime]
        preloaded = subprocess.run(name, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip("no compiler with sanitizers: %s" % error)
    environment = dict(
        os.environ,
        LD_PRELOAD=preloaded,
        ASAN_OPTIONS="detect_leaks=0",
        PYTHONPATH=os.pathsep.join(path for path in sys.path if path),
    )
    result = subprocess.run(
        [sys.executable, "-c", script], timeout=300, capture_output=True, text=True, env=environment
    )
    assert result.returncode == 0 and "right" in result.stdout, result.stdout[-2000:] + result.stderr[-4000:]
