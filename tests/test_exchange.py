"""Several devices in one process. mx.cpu(0), mx.cpu(1), ... stand for the devices."""

import numpy as np
import pytest
import reference
from parallel_learning import assert_equally_good, likelihoods, parse, replicas
from training_runs import LEARNED, SCRIPTS, assert_same, learned, one_line, run, run_interrupted

import binary_rbm_gluon
from gluon_rbm.backend.framework import mx
from gluon_rbm.likelihood import learning
from gluon_rbm.training import process_group

pytestmark = pytest.mark.usefixtures("short_showcase")


@pytest.fixture(params=SCRIPTS)
def api(request):
    return request.param


# --- The exchange ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["local", "device"])
def test_sums_of_devices(kind, generator):
    devices = process_group.ProcessGroup(kind, cuda=False, num_devices=3)
    assert devices.contexts == [mx.cpu(0), mx.cpu(1), mx.cpu(2)] and devices.num_shards == 3 and devices.is_chief
    for _ in range(3):  # to notice a store that adds to its old values
        values = generator.integers(-100, 100, (3, 4, 5)).astype("float32")
        arrays = [mx.nd.array(value, ctx=context) for value, context in zip(values, devices.contexts)]
        devices.all_reduce("x", arrays)
        np.testing.assert_array_equal(arrays[0].asnumpy(), values.sum(axis=0))


def test_one_device_needs_no_store(generator):
    alone = process_group.ProcessGroup("device", cuda=False)
    values = generator.random((3, 4)).astype("float32")
    array = mx.nd.array(values)
    alone.all_reduce("x", [array])
    np.testing.assert_array_equal(array.asnumpy(), values)
    assert alone._kv is None and alone.num_shards == 1 and alone.broadcast(b"abc") == b"abc"
    np.testing.assert_array_equal(alone.all_gather("x", values), values[np.newaxis])
    (shard,) = alone.scatter(values)
    np.testing.assert_array_equal(shard.asnumpy(), values)


@pytest.mark.parametrize("count, parts", [(8, 2), (8, 4), (6, 4), (5, 2), (1, 3), (2, 5)])
def test_shares_of_a_batch(count, parts):
    devices = process_group.ProcessGroup("device", cuda=False, num_devices=parts)
    batch = np.arange(2 * count, dtype="float32").reshape((count, 2))
    shares = [share.asnumpy() for share in devices.scatter(batch)]
    assert {share.shape for share in shares} == {(-(-count // parts), 2)}
    joined = np.concatenate(shares)
    np.testing.assert_array_equal(joined[:count], batch)
    times = (joined[:, np.newaxis] == batch).all(axis=-1).sum(axis=0)  # of each image in the shares
    assert times.min() >= 1 and times.sum() == len(joined) < count + parts * (1 + count)


# --- A step ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_devices", [1, 2, 4])
def test_a_step_follows_the_mean_over_all_parts(api, num_devices, generator):
    """A step subtracts the rate times (g_1 + ... + g_P) / (P batch).

    g_p is a mean over the chains and data of part p.
    """
    args = parse("--num-devices", str(num_devices), "--learning-rate", "3", "--momentum", "0", "--weight-decay", "0.5")
    learner, devices = replicas(api, args)
    before = {name: array.asnumpy() for name, array in learner.arrays().items()}
    batch = generator.integers(0, 2, (8, 16)).astype("float32")
    learner.step(devices.scatter(batch))
    mx.nd.waitall()
    after = learner.gather()
    a, b, w = (before[name] for name in LEARNED)
    chain = after["aux_visible_layer_sample"]  # of all parts
    assert chain.shape == (8, 16)
    hidden, chain_hidden = reference.sigmoid(b + batch @ w), reference.sigmoid(b + chain @ w)
    gradient = (chain.T @ chain_hidden - batch.T @ hidden) / 8
    np.testing.assert_allclose(after["interaction_weight"], w - 3 / 8 * (gradient + 0.5 * w), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(
        after["visible_layer_bias"], a - 3 / 8 * (chain.mean(axis=0) - batch.mean(axis=0)), rtol=1e-4, atol=1e-6
    )
    np.testing.assert_allclose(
        after["hidden_layer_bias"], b - 3 / 8 * (chain_hidden.mean(axis=0) - hidden.mean(axis=0)), rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("rule", [[], ["--centering", "0.1"], ["--chains", "tempered", "--num-temperatures", "3"]])
def test_all_devices_stay_equal_but_for_their_chains(api, rule, generator):
    learner, devices = replicas(api, parse("--num-devices", "2", "--learning-rate", "2", *rule))
    for _ in range(5):
        learner.step(devices.scatter(generator.integers(0, 2, (8, 16)).astype("float32")))
    mx.nd.waitall()
    first, second = ({n: a.asnumpy() for n, a in one.arrays().items()} for one in learner.learners)
    assert sorted(first) == sorted(second)
    for name in first:
        if name in learning.SAMPLES:
            assert (first[name] != second[name]).any()
        else:
            np.testing.assert_array_equal(first[name], second[name], err_msg=name)


def test_offsets_follow_the_joint_batch(api, generator):
    learner, devices = replicas(api, parse("--num-devices", "2", "--centering", "0.1"))
    before = learner.arrays()["aux_visible_offset"].asnumpy()
    batch = generator.integers(0, 2, (8, 16)).astype("float32")
    learner.step(devices.scatter(batch))
    mx.nd.waitall()
    for one in learner.learners:
        np.testing.assert_allclose(
            one.arrays()["aux_visible_offset"].asnumpy(), before + 0.1 * (batch.mean(axis=0) - before), rtol=1e-5
        )


def test_chains_are_divided_among_devices_and_gathered(generator):
    """Replicas of tempered chains lie one after the other. Those of one chain stay together."""
    args = parse("--num-devices", "2", "--chains", "tempered", "--num-temperatures", "3", "--num-chains", "4")
    learner, _ = replicas("gluon", args)
    whole = learner.gather()
    for name in learning.SAMPLES:
        whole[name] = generator.random(whole[name].shape).astype("float32")
    learner.scatter(whole)
    parts = [{name: array.asnumpy() for name, array in one.arrays().items()} for one in learner.learners]
    visible = whole[learning.SAMPLES[0]].reshape((3, 4, -1))
    for part, rows in enumerate([slice(0, 2), slice(2, 4)]):
        np.testing.assert_array_equal(parts[part][learning.SAMPLES[0]], visible[:, rows].reshape((6, -1)))
    for name, array in learner.gather().items():
        np.testing.assert_array_equal(array, whole[name], err_msg=name)


# --- Runs -----------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [[], ["--chains", "tempered", "--num-temperatures", "3"]])
def test_two_devices_give_the_same_in_both_apis_and_over_both_stores(tmp_path, auto_engine, arguments):
    arguments = ["--num-epoch", "2", "--num-devices", "2", "--monitor-every", "2", *arguments]
    for name, script, kind in (("a", "gluon", "device"), ("b", "gluon", "local"), ("c", "module", "device")):
        assert run(SCRIPTS[script], tmp_path / name, *arguments, "--kv-store", kind) == 0
    for name in "bc":
        one, other = learned(tmp_path / "a"), learned(tmp_path / name)
        for array in one:
            np.testing.assert_array_equal(one[array], other[array], err_msg=array)


def test_a_resumed_run_ends_as_an_uninterrupted_one(api, tmp_path):
    arguments = ["--num-devices", "2", "--optimizer", "adam", "--learning-rate", "0.1", "--average", "0.9"]
    arguments += ["--monitor-every", "9", "--num-epoch", "3"]
    assert run(SCRIPTS[api], tmp_path / "whole", *arguments) == 0

    sixth = lambda state: (state.epoch, state.step) == (1, 1)  # noqa: E731  (an epoch has four)
    assert run_interrupted(api, tmp_path / "parts", *arguments, when=sixth) == 143
    assert run(SCRIPTS[api], tmp_path / "parts", *arguments, "--resume") == 0
    assert_same(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.slow
def test_a_run_goes_on_with_another_number_of_devices(tmp_path):
    """The chains are divided anew among the devices."""
    for epochs, devices in ((1, 2), (2, 4), (3, 1)):
        arguments = ["--num-epoch", str(epochs), "--num-devices", str(devices), "--monitor-every", "9"]
        assert run(binary_rbm_gluon, tmp_path / "run", *arguments, "--resume") == 0
    assert learned(tmp_path / "run")["aux_visible_layer_sample"].shape == (8, 16)


@pytest.mark.parametrize("arguments, flag", [([], "--batch-size 8"), (["--num-chains", "7"], "--num-chains 7")])
def test_uneven_shares_are_refused(tmp_path, capsys, arguments, flag):
    devices = "2" if arguments else "3"
    assert run(binary_rbm_gluon, tmp_path / "run", "--num-devices", devices, *arguments) == 2
    assert flag + " cannot be divided evenly among the %s devices" % devices in one_line(capsys)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_two_devices_learn_as_well_as_one(generator):
    one, two = (
        list(likelihoods(parse("--learning-rate", "2", "--num-devices", devices), generator.integers(2**31, size=12)))
        for devices in "12"
    )
    assert_equally_good(one, two)
