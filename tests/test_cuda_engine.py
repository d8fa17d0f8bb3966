"""The CUDA engine without a GPU: its source, compiled by a C compiler, draws the chains of the C engine bit for bit."""

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

from gluon_rbm.backend import cuda, devices, native
from gluon_rbm.backend.arrays import host_view
from gluon_rbm.backend.cuda import launch, mxnet_device, self_check
from gluon_rbm.backend.framework import mx
from gluon_rbm.cli import command, doctor
from gluon_rbm.errors import InputError
from gluon_rbm.models.energy import Parameters
from gluon_rbm.sampling import cuda_engine, gibbs

THREADS = 8  # of a block: real ones, so few
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
    """An instruction set of the C engine that contracts products and sums, as the source says `fmaf`."""
    if not native.available():
        pytest.skip("the C engine is not built")
    sets = native.features()["instruction_sets"]
    if "avx2" not in sets and os.uname().machine != "aarch64":
        pytest.skip("the processor has no fused products")
    return sets[-1]


def whole(generator, *shape):
    """Multiples of 2^-10, whose sums are exact."""
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
    """Visible states with one unit of each group on."""
    for start, stop in GROUPS:
        rows[:, start:stop] = np.eye(stop - start, dtype=np.float32)[generator.integers(stop - start, size=len(rows))]
    return rows


def clamp(generator, groups, per_chain):
    """Some units are held; of groups the first is, whole."""
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
def test_chains_of_the_c_engine(device, contracting, seed, generator, base, per_chain, start, held, groups):
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
            continue  # matrix products do not serve this
        found = cuda.run(device, **arrays, **settings, groups=groups, products=products)
        for name, ours, theirs in zip(("visible", "hidden", "visible probability", "hidden"), found, expected):
            np.testing.assert_array_equal(ours, theirs, err_msg=name)


@pytest.mark.parametrize("groups", [(), GROUPS], ids=["alone", "groups"])
@pytest.mark.parametrize("held", [None, True], ids=["free", "held each"])
@pytest.mark.parametrize("base, finish, down", [(False, True, False), (True, False, False), (True, True, True)])
def test_annealing_of_the_c_engine(device, contracting, seed, generator, base, finish, down, held, groups):
    arrays, betas = rbm(generator, base), np.linspace(0, 1, 6)
    visible = grouped(generator, bits(generator, CHAINS, VISIBLE))
    settings = {"key": [seed], "sweeps": 2, "finish": finish, "betas": betas[::-1] if down else betas, "first_sweep": 3}
    if held:
        settings["clamp"] = clamp(generator, groups, True)
        visible = np.where(settings["clamp"][0], settings["clamp"][1], visible).astype(np.float32)
    found = cuda.anneal(device, **arrays, **settings, visible=visible, groups=groups)
    expected = native.anneal(**arrays, **settings, visible=visible, visible_units=groups, instruction_set=contracting)
    np.testing.assert_array_equal(found[0], expected[0])
    # Float32 differences of softplus, a few units in the last place each, summed in float64 in another order.
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
    machine = reference.random_machine(4, 3, generator)
    _, hidden = reference.draw_joint(*machine, draws, generator, 0.8, None)
    visible_bias, hidden_bias, weight = (np.float32(array) for array in machine)
    chains = cuda.run(
        device, weight, visible_bias, hidden_bias, key=[seed], hidden=np.float32(hidden), sweeps=2, beta=0.8
    )
    index = reference.state_index(chains[0]) * 2**3 + reference.state_index(chains[1])
    assert_distribution(index, reference.joint(*machine, 0.8, None))


def test_coins_in_place_of_what_is_no_state(device, seed, generator):
    values = generator.random((200, 100)).astype(np.float32)
    values[0], values[1], values[2] = 0, 1, np.nan
    found = cuda.redraw_non_binary(device, values, [seed])
    assert np.all(found[0] == 0) and np.all(found[1] == 1) and np.all((found == 0) | (found == 1))
    coins = found[2:].ravel()
    assert abs(coins.mean() - 0.5) < 5 * 0.5 / np.sqrt(len(coins))  # five standard errors
    assert not np.array_equal(found, cuda.redraw_non_binary(device, values, [seed + 1]))


def test_a_chain_that_does_not_fit(device):
    num_visible = 20000
    assert not cuda.fits(num_visible, 10) and cuda.fits(784, 2000)
    zeros = np.zeros((num_visible, 10), np.float32), np.zeros(num_visible, np.float32), np.zeros(10, np.float32)
    with pytest.raises(InputError, match="cannot hold 20000 visible and 10 hidden units"):
        cuda.run(device, *zeros, key=[1], hidden=np.zeros((2, 10), np.float32))


def test_no_chains(device, generator):
    found = cuda.run(device, **rbm(generator), key=[1], hidden=np.zeros((0, HIDDEN), np.float32))
    assert [array.shape for array in found] == [(0, VISIBLE), (0, HIDDEN)] * 2


# --- The self-check ---------------------------------------------------------------------------------------------------


def test_the_self_check_knows_the_c_engine(device, contracting):
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


# --- Through MXNet ----------------------------------------------------------------------------------------------------


class FakeModule:
    """What `mx.rtc.CudaModule` is, on the CPU: launches are recorded, and emulated."""

    launches: list = []

    def __init__(self, library, source, options):
        assert source == launch.source() and options == ("--fmad=false",)
        self._device = cuda_device.EmulatedDevice(library, THREADS)

    def get_kernel(self, name, signature):
        return FakeKernel(self._device, name, signature)


class FakeKernel:
    def __init__(self, device, name, signature):
        self._device, self._name = device, name
        real = mx.rtc.CudaKernel if hasattr(mx.rtc, "CudaKernel") else None
        assert real is not None
        for text, parameter in zip(signature.split(", "), launch.parameters(name)):
            words = text.replace("*", "* ").split()
            assert words[-1] == parameter.name and (words[0] == "const") == (not parameter.is_written)
            assert ("*" in text) == parameter.is_array

    def launch(self, arguments, context, grid, block, shared_bytes):
        assert grid[1:] == block[1:] == (1, 1) and block[0] % 32 == 0 and block[0] <= 512 and grid[0] >= 1
        FakeModule.launches.append((self._name, grid[0], block[0], shared_bytes))
        arrays = [host_view(value) if isinstance(value, mx.nd.NDArray) else value for value in arguments]
        self._device.launch(self._name, arrays, grid[0], block[0], shared_bytes)


@pytest.fixture
def on_gpu(library, monkeypatch):
    """The package believes that MXNet's arrays on the CPU are on a GPU."""
    monkeypatch.setattr(FakeModule, "launches", [])
    monkeypatch.setattr(mx.rtc, "CudaModule", lambda source, options: FakeModule(library, source, options))
    for function in (mxnet_device.device_of, mxnet_device.reason_against):
        function.cache_clear()
    monkeypatch.setattr(gibbs, "on_cpu", lambda array: isinstance(array, np.ndarray))
    monkeypatch.setattr(cuda_engine, "reason_against", lambda array: mxnet_device.reason_against(array.context))
    yield FakeModule
    for function in (mxnet_device.device_of, mxnet_device.reason_against):
        function.cache_clear()


class OnCPU(mxnet_device.MXNetDevice):
    """Of a GPU that is the CPU."""


def parameters_of(arrays):
    names = ("visible_bias", "hidden_bias", "weight")
    return Parameters(*(mx.nd.array(arrays[name], dtype="float32") for name in names))


def test_run_chains_through_mxnet(on_gpu, contracting, seed, generator):
    arrays, hidden = rbm(generator), bits(generator, CHAINS, HIDDEN)
    found = gibbs.run_chains(parameters_of(arrays), hidden=mx.nd.array(hidden), sweeps=103, key=[seed])
    expected = native.run(**arrays, hidden=hidden, sweeps=103, key=[seed], instruction_set=contracting)
    for ours, theirs in zip(found, expected):
        np.testing.assert_array_equal(ours.asnumpy(), theirs)
    threads = launch.geometry(VISIBLE, HIDDEN)
    assert threads == 32
    memory = launch.shared_bytes(VISIBLE, HIDDEN, threads, False)
    runs = [launched for launched in on_gpu.launches if launched[0] == "run"]
    assert runs[-2:] == [("run", CHAINS, threads, memory)] * 2  # 100 sweeps, and 3


def test_annealing_through_mxnet(on_gpu, contracting, seed, generator):
    arrays, visible, betas = rbm(generator, True), bits(generator, CHAINS, VISIBLE), np.linspace(0, 1, 7)
    base = mx.nd.array(arrays["base"])
    settings = {"base_visible_bias": base, "key": [seed], "sweeps": 2}
    samples, first = gibbs.anneal_with_weights(parameters_of(arrays), mx.nd.array(visible), betas, 0, 3, **settings)
    samples, second = gibbs.anneal_with_weights(parameters_of(arrays), samples, betas, 3, **settings)
    expected = native.anneal(**arrays, visible=visible, betas=betas, sweeps=2, key=[seed], instruction_set=contracting)
    np.testing.assert_array_equal(samples.asnumpy(), expected[0])
    np.testing.assert_allclose(first + second, expected[1], rtol=0, atol=1e-5)


def test_doctor_looks_longer(on_gpu, monkeypatch):
    monkeypatch.setattr(devices, "choose_context", lambda *args: (mx.context.Context("gpu", 0), None))
    monkeypatch.setattr(mxnet_device, "MXNetDevice", lambda context: OnCPU(mx.cpu()))
    (finding,) = doctor._cuda_engine()
    assert finding.found == "draws the chains of the C engine" and finding.wrong is None
    monkeypatch.setattr(OnCPU, "product", lambda self, state, rows: mx.nd.dot(state, rows) * 1.001)
    (finding,) = doctor._cuda_engine()
    assert (
        finding.found.startswith("%d chains of 784 visible" % cuda.PRODUCTS_FROM)
        and "MXNet's operators" in finding.wrong
    )


def test_what_the_engine_does_not_serve(on_gpu, generator):
    parameters = parameters_of(rbm(generator))
    visible = mx.nd.array(bits(generator, CHAINS, VISIBLE))
    with pytest.raises(InputError, match="the CUDA engine serves binary units"):
        gibbs.run_chains(parameters, visible=visible, visible_units="gaussian", engine="cuda")
    with pytest.raises(InputError, match="held at 0 or 1"):
        half = mx.nd.ones(VISIBLE) / 2
        gibbs.run_chains(parameters, visible=visible, clamp=(mx.nd.ones(VISIBLE), half), engine="cuda")
    on_gpu.launches.clear()
    for settings in ({"visible_units": "gaussian"}, {"clamp": (mx.nd.ones(VISIBLE), mx.nd.ones(VISIBLE) / 2)}):
        assert np.isfinite(gibbs.run_chains(parameters, visible=visible, **settings).visible_prob_1.asnumpy()).all()
    assert not on_gpu.launches  # MXNet's operators took over


def test_states_are_mended_on_the_gpu(on_gpu, seed):
    sample = mx.nd.array([[0, 1, 0.5, np.nan]])
    found = gibbs.redraw_non_binary(sample, gibbs.Noise([seed])).asnumpy()
    assert found[0, :2].tolist() == [0, 1] and set(found[0, 2:]) <= {0, 1}
    assert on_gpu.launches[-1][0] == "redraw"


def test_a_difference_is_said_once_and_mxnet_takes_over(on_gpu, monkeypatch, caplog, generator):
    monkeypatch.setattr(self_check, "DIGEST", "another")
    parameters, hidden = parameters_of(rbm(generator)), mx.nd.array(bits(generator, CHAINS, HIDDEN))
    for _ in range(2):
        assert gibbs.choose_engine("auto", parameters.interaction_weight) == "mxnet"
        gibbs.run_chains(parameters, hidden=hidden, key=[1])
    assert caplog.text.count("the CUDA engine is not used: its chains are not those of the C engine") == 1
    with pytest.raises(InputError, match="the cuda engine cannot be used: its chains are not those of the C engine"):
        gibbs.run_chains(parameters, hidden=hidden, engine="cuda")


def test_a_launch_that_fails(on_gpu, monkeypatch, capsys, generator):
    """One line says so, and arrays on the CPU are as they were."""
    arrays, hidden = rbm(generator), bits(generator, CHAINS, HIDDEN)
    parameters, start = parameters_of(arrays), hidden.copy()

    def fail(*launched):
        raise mx.MXNetError("Traceback\nMXNetError: CUDA Driver Error: an illegal memory access was encountered")

    assert gibbs.choose_engine("auto", parameters.interaction_weight) == "cuda"
    monkeypatch.setattr(FakeKernel, "launch", fail)
    status = command.exit_status("sample", lambda: gibbs.run_chains(parameters, hidden=mx.nd.array(hidden), key=[1]))
    said = capsys.readouterr().err
    assert status == 2 and said.count("\n") == 1
    assert said.startswith("sample: error: the GPU failed (MXNetError: CUDA Driver Error: an illegal memory access")
    np.testing.assert_array_equal(hidden, start)
    np.testing.assert_array_equal(parameters.interaction_weight.asnumpy(), arrays["weight"])


@pytest.mark.parametrize(
    "place, name, reason",
    [(mx.rtc, "CudaModule", "compile_res == NVRTC_SUCCESS"), (FakeKernel, "launch", "unsupported toolchain")],
    ids=["no compiler", "old driver"],
)
def test_kernels_that_cannot_be_compiled_or_loaded(on_gpu, monkeypatch, caplog, place, name, reason):
    def fail(*arguments, **settings):
        raise mx.MXNetError("Traceback\nMXNetError: Check failed: " + reason)

    monkeypatch.setattr(place, name, fail)
    assert gibbs.choose_engine("auto", mx.nd.ones((4, 3))) == "mxnet"
    assert caplog.text.count("\n") == 1 and "do not run on cpu(0) (MXNetError: Check failed: " + reason in caplog.text


def test_arrays_that_are_not_on_a_gpu():
    with pytest.raises(InputError, match="cuda engine cannot be used: it needs a GPU, and the RBM is on the CPU"):
        gibbs.choose_engine("cuda", mx.nd.ones((4, 3)))
    with pytest.raises(InputError, match="it needs a GPU, and the RBM is on the CPU"):
        gibbs.choose_engine("cuda", np.ones((4, 3)))


def test_signatures_that_mxnet_reads():
    """Its own pattern, and its own types."""
    pattern_types = mx.rtc._DTYPE_CPP_TO_NP
    for kernel in launch.KERNELS:
        for text in mxnet_device._signature(kernel).split(", "):
            kind = text.replace("const ", "").split()[0]
            assert kind in pattern_types, text


# --- What compiles it -------------------------------------------------------------------------------------------------


@functools.lru_cache
def nvrtc():
    return cuda_nvrtc.library()


@pytest.mark.parametrize("architecture", ["50", "60", "70", "75", "80", "86"])
def test_it_compiles_for_every_card_of_mxnet(architecture):
    """Machine code, and PTX, which a driver makes machine code of for newer cards."""
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
    """Shared memory ends where it should, and no two threads touch a word between two barriers."""
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
