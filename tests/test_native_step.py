"""Steps of training without MXNet's graph give the same bits as steps with it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gluon_rbm.backend import logs, native
from gluon_rbm.backend.framework import mx
from gluon_rbm.backend.random import draw_key
from gluon_rbm.likelihood import learning, snapshots
from gluon_rbm.training import binary
from gluon_rbm.training.binary_settings import BinarySettings
from gluon_rbm.training.learners import LEARNERS
from gluon_rbm.training.optimization import optimizer_state

pytestmark = pytest.mark.skipif(not native.available(), reason="native Gibbs engine " + repr(native.available()))

SIZES, BATCH = (70, 40), 20

SETTINGS = {
    "documented": {},
    "no momentum, weight decay": {"momentum": 0.0, "weight_decay": 0.01, "k": 3},
    "sparse": {"sparsity_cost": 0.2},
    "16 bits": {"weight_bits": 16},
    "centered": {"centering": 0.1},
    "centered, 16 bits": {"centering": 0.1, "weight_bits": 16},
    "CD": {"chains": "data"},
    "tempered": {"chains": "tempered", "num_temperatures": 3},
    "trajectory": {"chains": "trajectory", "num_snapshots": 3},
    "L1": {"weight_decay_l1": 0.01},
    "more chains than images": {"num_chains": 50},
    "hybrid": {"labels": True, "num_classes": 10, "objective": "hybrid"},
    "discriminative": {"labels": True, "num_classes": 10, "objective": "discriminative"},
}


def learner(api, given, generator):
    shapes = {"visible_layer_bias": SIZES[:1], "hidden_layer_bias": SIZES[1:], "interaction_weight": SIZES}
    arrays = {name: generator.normal(0, 0.1, shape) for name, shape in shapes.items()}
    for name, shape in learning.states(given.rule, given.chains_in_all, *SIZES).items():
        arrays[name] = generator.integers(0, 2, shape) if name in learning.SAMPLES else np.full(shape, 0.5)
        if name in snapshots.NAMES:
            arrays[name] = np.zeros(shape)
    return LEARNERS[api](given, {name: mx.nd.array(array) for name, array in arrays.items()}, mx.cpu())


def batches(given, generator):
    for _ in range(3):
        rows = generator.random((BATCH, SIZES[0])).round(generator.integers(2))  # binary, or grey
        if given.num_classes:
            rows[:, -given.num_classes :] = np.eye(given.num_classes)[generator.integers(given.num_classes, size=BATCH)]
        yield mx.nd.array(rows)


@pytest.mark.parametrize("api", LEARNERS)
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_a_step_agrees_with_the_graph(seed, api, settings):
    """Parameters, states, momentum and the numbers of updates are the same.

    Steps with and without the graph may alternate. One call may make several steps.
    """
    given = BinarySettings(**{"num_hidden": SIZES[1], "k": 2, "batch_size": BATCH, "cuda": False, **settings})
    results = []
    for with_graph in ((True, True, True), (False, False, False), (False, True, False), None):
        generator = np.random.default_rng(seed)
        side = learner(api, given, generator)
        step = side._native_step
        assert step is not None
        mx.random.seed(seed)
        draw_key(mx.cpu())
        for graph, batch in zip(with_graph or (), batches(given, generator)):
            side._native_step = None if graph else step
            side.step(batch)
            mx.nd.waitall()
        if not with_graph:
            side.steps(list(batches(given, generator)))
        arrays = {name: array.asnumpy() for name, array in side.arrays().items()}
        results.append({**arrays, **{name + "'s velocity": v for name, v in optimizer_state(side).items()}})
        assert side.updater.optimizer.num_update == 3
    for result in results[1:]:
        assert result.keys() == results[0].keys()
        for name, array in result.items():
            np.testing.assert_array_equal(array, results[0][name], err_msg=name)
    assert np.isfinite(results[0]["interaction_weight"]).all()


@pytest.mark.parametrize("settings", [{"engine": "mxnet"}, {"optimizer": "adam"}, {"k": 100000}])
def test_settings_that_need_the_graph_use_it(generator, settings):
    given = BinarySettings(**{"num_hidden": SIZES[1], "batch_size": BATCH, "cuda": False, "k": 2, **settings})
    assert learner("gluon", given, generator)._native_step is None


def test_a_step_waits_for_earlier_reads(seed):
    """Operations that MXNet has queued before a step read the parameters from before the step."""
    given = BinarySettings(num_hidden=SIZES[1], k=1, batch_size=BATCH, cuda=False, learning_rate=100.0)
    generator = np.random.default_rng(seed)
    side = learner("gluon", given, generator)
    before = side.arrays()["interaction_weight"].asnumpy()
    mx.nd.waitall()
    heavy = mx.nd.random.normal(shape=(1500, 1500))
    for _ in range(5):
        heavy = mx.nd.dot(heavy, heavy) / 1500**0.5  # keeps MXNet busy
    weight = side.arrays()["interaction_weight"]
    copy = weight + 0 * heavy[: SIZES[0], : SIZES[1]].sum().clip(0, 1)
    side.step(next(batches(given, generator)))
    np.testing.assert_array_equal(copy.asnumpy(), before)
    assert (weight.asnumpy() != before).any()


def test_a_run_does_not_depend_on_the_number_of_steps_at_once(tmp_path, monkeypatch):
    """Epochs have 23 steps. The last batch of each is short."""
    given = BinarySettings(
        dataset="digits",
        num_hidden=20,
        k=1,
        batch_size=64,
        num_epoch=2,
        cuda=False,
        monitor_every=2,
        seed=3,
        engine="native",
    )
    assert binary.steps_at_once(given, 64, 1) == 64
    results = []
    for at_once in (64, 5, 1):
        folder = tmp_path / str(at_once)
        monkeypatch.setattr(binary, "_MOST_STEPS_AT_ONCE", at_once)
        binary.train(replace(given, output_dir=str(folder)), "gluon")
        results.append({name: array.asnumpy() for name, array in mx.nd.load(str(folder / "rbm.params")).items()})
    for result in results[1:]:
        for name, array in results[0].items():
            np.testing.assert_array_equal(result[name], array, err_msg=name)


@pytest.mark.parametrize(
    "settings, num_shards",
    [({"learning_rate_schedule": "linear"}, 1), ({"average": 0.5}, 1), ({"chains": "tempered"}, 1), ({}, 2)],
)
def test_steps_with_work_between_them_are_made_one_by_one(settings, num_shards):
    given = BinarySettings(**{"num_hidden": 20, "k": 1, "cuda": False, "engine": "native", **settings})
    assert binary.steps_at_once(given, 64, num_shards) == 1


def test_a_message_says_that_16_bits_have_no_effect(tmp_path, capsys):
    """Up to twelve chains add weights row by row, always with 32 bits."""
    given = BinarySettings(
        dataset="digits", num_hidden=5, k=1, batch_size=10, num_epoch=1, cuda=False, weight_bits=16, monitor_every=2
    )
    logs.configure()  # an earlier test may have done so or not
    for batch_size, says in ((10, True), (20, False)):
        binary.train(replace(given, batch_size=batch_size, output_dir=str(tmp_path / str(batch_size))), "gluon")
        assert ("--weight-bits 16 has no effect" in capsys.readouterr().out) == says
