"""The CUDA engine with MXNet's arrays, without a GPU: emulated kernels replace `mx.rtc`."""

import cuda_device
import numpy as np
import pytest
from test_cuda_engine import CHAINS, HIDDEN, THREADS, VISIBLE, bits, contracting, library, rbm

from gluon_rbm.backend import cuda, devices, native
from gluon_rbm.backend.arrays import host_view
from gluon_rbm.backend.cuda import launch, mxnet_device, self_check
from gluon_rbm.backend.framework import mx
from gluon_rbm.cli import command, doctor
from gluon_rbm.errors import InputError
from gluon_rbm.models.parameters import Parameters
from gluon_rbm.sampling import cuda_engine, gibbs

__all__ = ["contracting", "library"]  # fixtures

pytestmark = pytest.mark.skipif(cuda_device.compiler() is None, reason="there is no C compiler")


class FakeModule:
    """Replaces `mx.rtc.CudaModule` on the CPU. It records launches and emulates them."""

    launches: list = []
    contexts: list = []  # contexts of the launches

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
        FakeModule.contexts.append(context)
        assert all(value.context == context for value in arguments if isinstance(value, mx.nd.NDArray))
        arrays = [host_view(value) if isinstance(value, mx.nd.NDArray) else value for value in arguments]
        self._device.launch(self._name, arrays, grid[0], block[0], shared_bytes)


@pytest.fixture
def on_gpu(library, monkeypatch):
    """Make the package take MXNet's arrays on the CPU for arrays on a GPU."""
    monkeypatch.setattr(FakeModule, "launches", [])
    monkeypatch.setattr(FakeModule, "contexts", [])
    monkeypatch.setattr(mx.rtc, "CudaModule", lambda source, options: FakeModule(library, source, options))
    for function in (mxnet_device.device_of, mxnet_device.reason_against):
        function.cache_clear()
    monkeypatch.setattr(gibbs, "on_cpu", lambda array: isinstance(array, np.ndarray))
    monkeypatch.setattr(cuda_engine, "reason_against", lambda array: mxnet_device.reason_against(array.context))
    yield FakeModule
    for function in (mxnet_device.device_of, mxnet_device.reason_against):
        function.cache_clear()


class OnCPU(mxnet_device.MXNetDevice):
    """Device of the CUDA engine with arrays on the CPU."""


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


def test_several_cards(on_gpu, contracting, seed, generator):
    """Each card is checked once. Chains run on the card of the RBM, wherever they start."""
    arrays, hidden = rbm(generator), bits(generator, CHAINS, HIDDEN)
    expected = native.run(**arrays, hidden=hidden, key=[seed], instruction_set=contracting)
    for card in (mx.cpu(0), mx.cpu(1), mx.cpu(0), mx.cpu(1)):
        on_gpu.launches.clear()
        parameters = Parameters(*(array.as_in_context(card) for array in parameters_of(arrays)))
        found = gibbs.run_chains(parameters, hidden=mx.nd.array(hidden), key=[seed])
        assert found.visible_sample.context == card
        for ours, theirs in zip(found, expected):
            np.testing.assert_array_equal(ours.asnumpy(), theirs)
    checks = mxnet_device.reason_against.cache_info()
    assert (checks.misses, checks.currsize) == (2, 2)
    assert {str(context) for context in on_gpu.contexts} == {"cpu(0)", "cpu(1)"}
    assert on_gpu.contexts[-1] == mx.cpu(1) and [name for name, *_ in on_gpu.launches] == ["pack", "run"]


def test_annealing_through_mxnet(on_gpu, contracting, seed, generator):
    arrays, visible, betas = rbm(generator, True), bits(generator, CHAINS, VISIBLE), np.linspace(0, 1, 7)
    base = mx.nd.array(arrays["base"])
    settings = {"base_visible_bias": base, "key": [seed], "sweeps": 2}
    samples, first = gibbs.anneal_with_weights(parameters_of(arrays), mx.nd.array(visible), betas, 0, 3, **settings)
    samples, second = gibbs.anneal_with_weights(parameters_of(arrays), samples, betas, 3, **settings)
    expected = native.anneal(**arrays, visible=visible, betas=betas, sweeps=2, key=[seed], instruction_set=contracting)
    np.testing.assert_array_equal(samples.asnumpy(), expected[0])
    np.testing.assert_allclose(first + second, expected[1], rtol=0, atol=1e-5)


def test_doctor_makes_the_longer_check(on_gpu, monkeypatch):
    monkeypatch.setattr(devices, "choose_context", lambda *args: (mx.context.Context("gpu", 0), None))
    monkeypatch.setattr(mxnet_device, "MXNetDevice", lambda context: OnCPU(mx.cpu()))
    (finding,) = doctor._cuda_engine()
    assert finding.found == "draws the same chains as the native engine" and finding.wrong is None
    monkeypatch.setattr(OnCPU, "product", lambda self, state, rows: mx.nd.dot(state, rows) * 1.001)
    (finding,) = doctor._cuda_engine()
    assert (
        finding.found.startswith("%d chains of 784 visible" % cuda.PRODUCTS_FROM)
        and "MXNet's operators" in finding.wrong
    )


def test_gaussian_units_and_grey_clamps_are_left_to_mxnet(on_gpu, generator):
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
    assert not on_gpu.launches  # the MXNet engine ran


def test_states_are_redrawn_on_the_gpu(on_gpu, seed):
    sample = mx.nd.array([[0, 1, 0.5, np.nan]])
    found = gibbs.redraw_non_binary(sample, gibbs.Noise([seed])).asnumpy()
    assert found[0, :2].tolist() == [0, 1] and set(found[0, 2:]) <= {0, 1}
    assert on_gpu.launches[-1][0] == "redraw"


def test_a_difference_is_reported_once_and_mxnet_takes_over(on_gpu, monkeypatch, caplog, generator):
    monkeypatch.setattr(self_check, "DIGEST", "another")
    parameters, hidden = parameters_of(rbm(generator)), mx.nd.array(bits(generator, CHAINS, HIDDEN))
    for _ in range(2):
        assert gibbs.choose_engine("auto", parameters.interaction_weight) == "mxnet"
        gibbs.run_chains(parameters, hidden=hidden, key=[1])
    assert caplog.text.count("the CUDA engine is not used: its chains are not those of the C engine") == 1
    with pytest.raises(InputError, match="the cuda engine cannot be used: its chains are not those of the C engine"):
        gibbs.run_chains(parameters, hidden=hidden, engine="cuda")


def test_a_failed_launch_is_reported(on_gpu, monkeypatch, capsys, generator):
    """The error is one line, and arrays on the CPU do not change."""
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
def test_mxnet_replaces_kernels_that_cannot_be_compiled_or_loaded(on_gpu, monkeypatch, caplog, place, name, reason):
    def fail(*arguments, **settings):
        raise mx.MXNetError("Traceback\nMXNetError: Check failed: " + reason)

    monkeypatch.setattr(place, name, fail)
    assert gibbs.choose_engine("auto", mx.nd.ones((4, 3))) == "mxnet"
    assert caplog.text.count("\n") == 1 and "do not run on cpu(0) (MXNetError: Check failed: " + reason in caplog.text


def test_arrays_that_are_not_on_a_gpu_are_refused():
    with pytest.raises(InputError, match="cuda engine cannot be used: it needs a GPU, and the RBM is on the CPU"):
        gibbs.choose_engine("cuda", mx.nd.ones((4, 3)))
    with pytest.raises(InputError, match="it needs a GPU, and the RBM is on the CPU"):
        gibbs.choose_engine("cuda", np.ones((4, 3)))


def test_mxnet_knows_the_types_in_signatures():
    """MXNet knows each type in the signatures of the kernels."""
    pattern_types = mx.rtc._DTYPE_CPP_TO_NP
    for kernel in launch.KERNELS:
        for text in mxnet_device._signature(kernel).split(", "):
            kind = text.replace("const ", "").split()[0]
            assert kind in pattern_types, text
