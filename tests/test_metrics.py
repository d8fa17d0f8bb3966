"""MXNet's own training loops, on one device and on two.

These are metrics, Module.fit with MXNet's callbacks, and gluon.Trainer.
"""

import logging
import os

import numpy as np
import pytest
import reference

from binary_rbm import BinaryRBMBlock, binary_rbm_symbol
from gluon_rbm.backend.framework import mx
from gluon_rbm.data import datasets
from gluon_rbm.data.batches import to_visible
from gluon_rbm.models.energy import pseudo_log_likelihood
from gluon_rbm.models.parameters import Parameters
from gluon_rbm.training import metrics

NAMES = ["free_energy", "pseudo_log_likelihood"]


@pytest.fixture
def parameters(generator, ctx):
    shapes = ((6,), (4,), (6, 4))
    return Parameters(*(mx.nd.array(generator.normal(size=shape), ctx=ctx) for shape in shapes))


@pytest.fixture
def batch(generator, ctx):
    return mx.nd.array(generator.integers(0, 2, (10, 6)), ctx=ctx)


def images():
    return to_visible(datasets.load("bars-and-stripes").train_images, 1)


# --- Metrics --------------------------------------------------------------------------------------


def test_the_free_energy(parameters, batch):
    metric = mx.metric.create("free_energy")
    a, b, w = (array.asnumpy().astype(float) for array in parameters)
    hidden = reference.states(4)
    expected = [-reference.log_sum_exp(hidden @ (b + v @ w)) - v @ a for v in batch.asnumpy()]
    for rows in (slice(0, 7), slice(7, 10)):  # batches of different sizes: a mean over images
        metric.update_dict({}, metrics.scores(parameters, batch[rows]))
    name, value = metric.get()
    assert name == "free_energy" and value == pytest.approx(np.mean(expected), rel=1e-5, abs=1e-5)


def test_the_pseudo_log_likelihood_is_unbiased(parameters, batch):
    """The mean of 400 estimates of each image is within 5 standard errors of the exact value."""
    exact = pseudo_log_likelihood(parameters, batch).asnumpy()
    drawn = np.array([metrics.scores(parameters, batch)[NAMES[1] + "_output"].asnumpy() for _ in range(400)])
    assert (np.abs(drawn.mean(axis=0) - exact) < 5 * drawn.std(axis=0, ddof=1) / np.sqrt(400) + 1e-5).all()


def test_images_that_are_not_binary_have_no_pseudo_log_likelihood(parameters, batch):
    batch[3, 2] = 0.5
    scores = {name: array.asnumpy() for name, array in metrics.scores(parameters, batch).items()}
    assert np.isfinite(scores["free_energy_output"]).all()
    assert np.isnan(scores["pseudo_log_likelihood_output"]).tolist() == [row == 3 for row in range(10)]


def test_metrics_work_as_mxnet_expects(parameters, batch):
    metric = mx.metric.create(NAMES)
    assert np.isnan(metric.get()[1]).all()
    metric.update_dict({}, metrics.scores(parameters, batch))
    first = metric.get()
    assert first[0] == NAMES
    again = mx.metric.create(metrics.FreeEnergy().get_config())
    assert type(again) is metrics.FreeEnergy and again.output_names == ["free_energy_output"]
    # Speedometer resets the local values. The global values remain.
    metric.reset_local()
    assert np.isnan(metric.get()[1]).all() and metric.get_global()[1] == first[1]


def test_scores_change_no_gradient(generator):
    symbol = binary_rbm_symbol(num_hidden=4, k=2, for_training=True)
    found = []
    for one in (symbol, metrics.with_scores(symbol)):
        names = ["images"] if "images" in one.list_arguments() else None
        module = mx.mod.Module(one, label_names=names, context=mx.cpu())
        module.bind([("data", (8, 6))], [("images", (8, 6))] if names else None)
        arrays = {name: mx.nd.ones(shape) / 4 for name, shape in (("visible_layer_bias", (6,)),
                  ("hidden_layer_bias", (4,)), ("interaction_weight", (6, 4)))}  # fmt: skip
        module.init_params(arg_params=arrays, allow_missing=False, aux_params=dict(
            aux_visible_layer_sample=mx.nd.ones((8, 6)), aux_hidden_layer_sample=mx.nd.ones((8, 4))))  # fmt: skip
        mx.random.seed(5)
        data = mx.nd.array((np.arange(48).reshape((8, 6)) % 3) == 0)
        module.forward_backward(mx.io.DataBatch([data], [data]))
        # Operators of a graph draw keys in no fixed order, so chains may differ between the graphs.
        # The output for the data is the same.
        found.append(module.get_outputs()[1].asnumpy())
        gradient = module._exec_group.execs[0].grad_dict["interaction_weight"].asnumpy()
        assert np.isfinite(gradient).all() and np.abs(gradient).max() <= 1
    np.testing.assert_array_equal(*found)


# --- Module.fit -----------------------------------------------------------------------------------


def iterator(visible):
    return mx.io.NDArrayIter(visible, visible, batch_size=8, label_name="images")


def fit(contexts, seed, num_epoch=1, rate=2.0, visible=None, **settings):
    """A module that Module.fit trained.

    MXNet adds the devices' gradients. A step divides the sum by the number of devices times the
    batch size.
    """
    visible = images()[:24] if visible is None else visible
    mx.random.seed(seed)
    symbol = metrics.with_scores(binary_rbm_symbol(num_hidden=6, k=2, for_training=True))
    module = mx.mod.Module(symbol, label_names=["images"], context=contexts)
    module.fit(
        iterator(visible),
        eval_metric=NAMES,
        num_epoch=num_epoch,
        optimizer="sgd",
        optimizer_params={"learning_rate": rate, "momentum": 0.3, "rescale_grad": 1 / (len(contexts) * 8)},
        initializer=mx.init.Normal(0.01),
        kvstore="device",
        **settings,
    )
    return module


@pytest.mark.filterwarnings("ignore:Optimizer created manually")
@pytest.mark.parametrize("contexts", [[mx.cpu()], [mx.cpu(0), mx.cpu(1)]], ids=len)
def test_fit_with_stock_callbacks(tmp_path, seed, caplog, auto_engine, contexts):
    caplog.set_level(logging.INFO)
    module = fit(
        contexts,
        seed,
        num_epoch=3,
        eval_data=iterator(images()[[24, 25, 26, 27, 28, 29, 24, 25]]),
        batch_end_callback=mx.callback.Speedometer(8, frequent=1),
        epoch_end_callback=mx.callback.do_checkpoint(str(tmp_path / "rbm")),
    )
    for text in ("Speed: ", "Epoch[2] Train-free_energy=", "Epoch[2] Validation-pseudo_log_likelihood="):
        assert text in caplog.text
    assert "nan" not in caplog.text
    assert sorted(os.listdir(tmp_path)) == ["rbm-0001.params", "rbm-0002.params", "rbm-0003.params", "rbm-symbol.json"]
    executors = module._exec_group.execs
    for name in Parameters._fields:
        arrays = [executor.arg_dict[name].asnumpy() for executor in executors]
        assert all((array == arrays[0]).all() for array in arrays)
        saved = mx.nd.load(str(tmp_path / "rbm-0003.params"))["arg:" + name].asnumpy()
        np.testing.assert_array_equal(saved, arrays[0])
    # Between epochs MXNet sets the chains of all devices to their mean. The next step redraws units
    # that are no longer binary.
    data = [mx.nd.array(images()[:8])]
    module.forward_backward(mx.io.DataBatch(data, data))
    module.get_outputs()[0].wait_to_read()
    mx.nd.waitall()
    for executor in executors:
        assert set(np.unique(executor.aux_dict["aux_visible_layer_sample"].asnumpy())) <= {0, 1}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Optimizer created manually")
def test_two_devices_fit_as_well_as_one(generator):
    """Exact log-likelihoods of four images, over 10 seeds, agree within 4.5 standard errors."""
    visible = np.repeat(images()[1:5], 60, axis=0)
    likelihoods = []
    for contexts in ([mx.cpu()], [mx.cpu(0), mx.cpu(1)]):
        values = []
        for _ in range(10):
            order = generator.permutation(len(visible))
            module = fit(contexts, int(generator.integers(2**31)), 2, 2.0, visible[order])
            arrays = {name: array.asnumpy().astype(float) for name, array in module.get_params()[0].items()}
            a, b, w = (arrays[name] for name in Parameters._fields)
            hidden = reference.states(6)
            log_z = reference.log_sum_exp(hidden @ b + np.logaddexp(0, a + hidden @ w.T).sum(axis=1))
            values.append((visible @ a + np.logaddexp(0, b + visible @ w).sum(axis=1)).mean() - log_z)
        likelihoods.append(np.array(values))
    one, two = likelihoods
    error = np.sqrt((one.var(ddof=1) + two.var(ddof=1)) / len(one))
    print("one %.3f, two %.3f, standard error %.3f" % (one.mean(), two.mean(), error))
    assert abs(one.mean() - two.mean()) < 4.5 * error
    assert min(one.mean(), two.mean()) > 16 * np.log(0.5) + 2


# --- gluon.Trainer --------------------------------------------------------------------------------


@pytest.mark.parametrize("update_on_kvstore", [True, False])
def test_a_trainer_on_two_devices(generator, auto_engine, update_on_kvstore):
    """`split_and_load` divides a batch, and each device has its own chains.

    `step` is given the number of devices times the batch size.
    """
    contexts = [mx.cpu(0), mx.cpu(1)]
    rbm = BinaryRBMBlock(num_hidden=6, k=2, for_training=True, num_visible=16, num_chains=4)
    rbm.initialize(mx.init.Normal(0.01), ctx=contexts)
    rbm.hybridize()
    settings = {"learning_rate": 3.0}
    trainer = mx.gluon.Trainer(
        rbm.collect_params(), "sgd", settings, kvstore="device", update_on_kvstore=update_on_kvstore
    )
    parameters = dict(zip(Parameters._fields, (rbm.visible_layer_bias, rbm.hidden_layer_bias, rbm.interaction_weight)))
    data = images()[:8]
    shares = mx.gluon.utils.split_and_load(mx.nd.array(data), contexts)
    for _ in range(2):  # a trainer's first step copies the first device's chains to the others
        before = [parameter.data(contexts[0]).asnumpy() for parameter in parameters.values()]
        with mx.autograd.record():
            outputs = [rbm(share)[0] for share in shares]
        mx.autograd.backward(outputs)
        trainer.step(2 * 8)
        mx.nd.waitall()
    for parameter in parameters.values():
        np.testing.assert_array_equal(*(array.asnumpy() for array in parameter.list_data()))
    a, b, w = before
    chain = np.concatenate([array.asnumpy() for array in rbm.aux_visible_layer_sample.list_data()])
    assert (chain[:4] != chain[4:]).any()
    gradient = (chain.T @ reference.sigmoid(b + chain @ w) - data.T @ reference.sigmoid(b + data @ w)) / 8
    np.testing.assert_allclose(
        rbm.interaction_weight.data(contexts[1]).asnumpy(), w - 3 / 8 * gradient, rtol=1e-4, atol=1e-6
    )
