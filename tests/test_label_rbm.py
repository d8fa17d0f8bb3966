"""The joint RBM of pixels and a label, against enumeration of its states."""

import numpy as np
import pytest
import reference

from binary_rbm import BinaryRBMBlock, binary_rbm_symbol
from gluon_rbm.backend.framework import mx
from gluon_rbm.errors import InputError
from gluon_rbm.likelihood import learning
from gluon_rbm.likelihood.rules import LearningRule
from gluon_rbm.models import label_rbm
from gluon_rbm.models.files import CLASSES, read_model
from gluon_rbm.models.parameters import Parameters
from gluon_rbm.sampling.classes import draw_classes

LEARNED = Parameters._fields
PIXELS, NUM_CLASSES, HIDDEN = 4, 3, 3
VISIBLE = PIXELS + NUM_CLASSES

STATES = reference.states(VISIBLE)
POSSIBLE = STATES[:, PIXELS:].sum(axis=1) == 1
STATES = STATES[POSSIBLE]  # each image with each label; the last class comes first


def parameters(values, ctx=None, dtype="float64"):
    return Parameters(*(mx.nd.array(array, ctx=ctx, dtype=dtype) for array in values))


@pytest.fixture
def values(generator):
    return reference.random_rbm(VISIBLE, HIDDEN, generator)


def labelled(images, labels):
    return np.concatenate([images, np.eye(NUM_CLASSES)[labels]], axis=1)


def joint_probability(values):
    """p(x, y) of the STATES, by enumeration."""
    return reference.given(reference.joint(*values), groups=[(PIXELS, VISIBLE)]).sum(axis=1)[POSSIBLE]


def log_posteriors(values, images):
    """log p(y | x), by sums over the hidden states."""
    rows = [
        -reference.free_energies(*values, labelled(images, np.full(len(images), label))) for label in range(NUM_CLASSES)
    ]
    scores = np.stack(rows, axis=1)
    return scores - np.array([[reference.log_sum_exp(row)] for row in scores])


# --- Classes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-5), ("float64", 1e-12)])
def test_the_posterior_of_the_classes_is_exact(ctx, values, generator, dtype, tolerance):
    images = generator.random((9, PIXELS))  # grey
    found = label_rbm.class_log_posterior(
        parameters(values, ctx, dtype), mx.nd.array(images, ctx=ctx, dtype=dtype), NUM_CLASSES
    )
    expected = log_posteriors(values, images)
    assert found.dtype == np.float64 and found.context == ctx
    np.testing.assert_allclose(found.asnumpy(), expected, rtol=tolerance, atol=tolerance)
    classes = label_rbm.classify(parameters(values, ctx, dtype), mx.nd.array(images, ctx=ctx, dtype=dtype), NUM_CLASSES)
    assert classes.dtype == np.int32 and classes.asnumpy().tolist() == expected.argmax(axis=1).tolist()


def test_the_posterior_agrees_with_the_joint_distribution(values):
    """p(y | x) = p(x, y) / sum_y' p(x, y'), by enumeration."""
    joint = joint_probability(values).reshape(-1, NUM_CLASSES)[:, ::-1]
    images = mx.nd.array(reference.states(PIXELS), dtype="float64")
    found = np.exp(label_rbm.class_log_posterior(parameters(values), images, NUM_CLASSES).asnumpy())
    np.testing.assert_allclose(found, joint / joint.sum(axis=1, keepdims=True), rtol=1e-11)


def test_large_inputs_do_not_overflow(generator):
    values = reference.random_rbm(VISIBLE, HIDDEN, generator, scale=300.0)
    images = generator.integers(0, 2, (9, PIXELS)).astype(float)
    found = label_rbm.class_log_posterior(
        parameters(values, None, "float32"), mx.nd.array(images, dtype="float32"), NUM_CLASSES
    ).asnumpy()
    assert np.isfinite(found).all()
    np.testing.assert_allclose(np.exp(found).sum(axis=1), 1, rtol=1e-12)


def test_evaluate(values, generator):
    images, labels = generator.random((25, PIXELS)), generator.integers(0, NUM_CLASSES, 25)
    rows = labelled(images, labels)
    found = label_rbm.evaluate(parameters(values), [rows[:10], rows[10:20], rows[20:]], NUM_CLASSES)
    expected = log_posteriors(values, images)
    error = (expected.argmax(axis=1) != labels).mean()
    assert found.num_images == 25 and found.error == error
    assert found.standard_error == pytest.approx(np.sqrt(error * (1 - error) / 25))
    assert found.log_posterior == pytest.approx(expected[np.arange(25), labels].mean(), rel=1e-6)
    with pytest.raises(InputError, match="no image"):
        label_rbm.evaluate(parameters(values), [], NUM_CLASSES)


def test_joint_visible(ctx):
    images = mx.nd.array([[0.5, 1], [0, 0.25]], ctx=ctx, dtype="float64")
    joint = label_rbm.joint_visible(images, [2, 0], 3)
    assert joint.dtype == np.float64 and joint.context == ctx
    assert joint.asnumpy().tolist() == [[0.5, 1, 0, 0, 1], [0, 0.25, 1, 0, 0]]
    assert label_rbm.joint_visible(images, mx.nd.array([2, 0]), 3).asnumpy().tolist() == joint.asnumpy().tolist()


@pytest.mark.parametrize("wrong", [3, -1, 1.5, float("nan")])
def test_classes_that_do_not_exist_are_refused(values, wrong):
    with pytest.raises(InputError, match="there is no class %s; the model's classes are 0 to 2" % wrong):
        label_rbm.joint_visible(mx.nd.zeros((2, 4)), [0, wrong], 3)
    with pytest.raises(InputError, match="there is no class"):
        draw_classes(parameters(values), [wrong], NUM_CLASSES)


def test_images_and_labels_that_do_not_fit_are_refused(values):
    model = parameters(values)
    with pytest.raises(InputError, match="2 images but 3 labels"):
        label_rbm.joint_visible(mx.nd.zeros((2, 4)), [0, 1, 2], 3)
    with pytest.raises(InputError, match="images have 5 pixels, but the model has 4, and 3 classes"):
        label_rbm.classify(model, mx.nd.zeros((2, 5)), NUM_CLASSES)
    with pytest.raises(InputError, match=r"start from have shape \(1, 5\); this needs \(1, 4\)"):
        draw_classes(model, [0], NUM_CLASSES, start=mx.nd.zeros((1, 5)))
    for action in (
        lambda: draw_classes(model, [0], 0),
        lambda: label_rbm.classify(model, mx.nd.zeros((2, VISIBLE)), 0),
    ):
        with pytest.raises(InputError, match="the model has no labels; train one with --labels"):
            action()


# --- Gradients ------------------------------------------------------------------------------------


def unflatten(flat):
    return flat[:VISIBLE], flat[VISIBLE : VISIBLE + HIDDEN], flat[VISIBLE + HIDDEN :].reshape(VISIBLE, HIDDEN)


def numerical_gradients(loss, values, step=1e-6):
    start = np.concatenate([array.ravel() for array in values])
    slopes = [
        (loss(*unflatten(start + d)) - loss(*unflatten(start - d))) / (2 * step) for d in step * np.eye(len(start))
    ]
    return unflatten(np.array(slopes))


def discriminative_loss(values, images, labels):
    return -log_posteriors(values, images)[np.arange(len(labels)), labels].mean()


def trained_block(values, ctx, rule, data, num_chains=0, k=2, dtype="float64", hidden=None):
    """A block with these parameters after a forward and a backward pass, and its earlier chains.

    The gradients are not applied yet.
    """
    rbm = BinaryRBMBlock(HIDDEN, k, True, num_visible=VISIBLE, num_chains=num_chains or len(data), rule=rule)
    rbm.initialize(mx.init.Normal(), ctx=ctx)
    rbm.cast(dtype)
    for name, array in zip(LEARNED, values):
        getattr(rbm, name).set_data(mx.nd.array(array, dtype=dtype))
    if hidden is not None:
        rbm.aux_hidden_layer_sample.set_data(mx.nd.array(hidden, dtype=dtype))
    before = [getattr(rbm, name).data().asnumpy() for name in learning.SAMPLES]
    with mx.autograd.record():
        output = rbm(mx.nd.array(data, ctx=ctx, dtype=dtype))[0]
    output.backward()
    mx.nd.waitall()
    return rbm, before


def gradients(rbm):
    return [getattr(rbm, name).grad().asnumpy() for name in LEARNED]


def test_the_discriminative_gradient_is_the_derivative_of_the_loss(ctx, values, generator):
    images, labels = generator.random((7, PIXELS)), generator.integers(0, NUM_CLASSES, 7)
    expected = numerical_gradients(lambda *values: discriminative_loss(values, images, labels), values)
    data = labelled(images, labels)
    found = label_rbm.discriminative_gradients(
        parameters(values, ctx), mx.nd.array(data, ctx=ctx, dtype="float64"), NUM_CLASSES
    )
    rbm, before = trained_block(values, ctx, LearningRule(num_classes=NUM_CLASSES, objective="discriminative"), data)
    for direct, operator, theirs in zip(found, gradients(rbm), expected):
        np.testing.assert_allclose(np.asarray(direct), theirs, rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(operator, theirs, rtol=1e-6, atol=1e-8)
    # The discriminative objective uses no chains, so they do not move.
    for name, array in zip(learning.SAMPLES, before):
        np.testing.assert_array_equal(getattr(rbm, name).data().asnumpy(), array)


def test_the_discriminative_gradient_works_on_mx_np_arrays(values, generator, monkeypatch):
    """On a GPU, `as_operand` gives mx.np arrays. Here they are on the CPU."""
    data = mx.nd.array(labelled(generator.random((7, PIXELS)), generator.integers(0, NUM_CLASSES, 7)), dtype="float64")
    expected = label_rbm.discriminative_gradients(parameters(values), data, NUM_CLASSES)
    monkeypatch.setattr(label_rbm, "as_operand", lambda array: array.as_np_ndarray())
    for ours, theirs in zip(label_rbm.discriminative_gradients(parameters(values), data, NUM_CLASSES), expected):
        assert isinstance(ours, mx.np.ndarray)
        np.testing.assert_allclose(ours.asnumpy(), theirs, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("centering", [0.0, 1e-300])
def test_the_hybrid_gradient_is_the_derivative_of_the_loss(ctx, values, generator, centering):
    """The last samples of the chains are taken as given. Centering changes the generative part."""
    images, labels = generator.random((7, PIXELS)), generator.integers(0, NUM_CLASSES, 7)
    data, alpha, target, cost, decay = labelled(images, labels), 0.3, 0.2, 0.7, 0.4
    costs = {"sparsity_target": target, "sparsity_cost": cost, "weight_decay_l1": decay, "centering": centering}
    rule = LearningRule(num_classes=NUM_CLASSES, objective="hybrid", generative_weight=alpha, **costs)
    rbm, _ = trained_block(values, ctx, rule, data, num_chains=5)
    chains = rbm.aux_visible_layer_sample.data().asnumpy()
    np.testing.assert_array_equal(chains[:, PIXELS:].sum(axis=1), 1)

    def generative_loss(a, b, w):
        activity = reference.sigmoid(b + data @ w).mean(axis=0)
        likelihood = [reference.free_energies(a, b, w, rows).mean() for rows in (data, chains)]
        return (
            alpha * (likelihood[0] - likelihood[1]) + cost * ((target - activity) ** 2).sum() + decay * np.abs(w).sum()
        )

    generative = numerical_gradients(generative_loss, values)
    # Centering: g'_W = g_W - mu (x) g_b - g_a (x) lambda, with offsets 1/2. The gradient of L1
    # decay is centered, too, although this term depends on W only.
    if centering:
        a, b, w = generative
        w = w - 0.5 * b - 0.5 * a[:, None]
        generative = a - w @ np.full(HIDDEN, 0.5), b - np.full(VISIBLE, 0.5) @ w, w
    exact = numerical_gradients(lambda *values: discriminative_loss(values, images, labels), values)
    for ours, left, right in zip(gradients(rbm), generative, exact):
        np.testing.assert_allclose(ours, left + right, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("objective, alpha", [("generative", 0.01), ("hybrid", 0.3)])
def test_the_joint_gradient_agrees_with_enumeration(ctx, auto_engine, seed, values, generator, objective, alpha):
    """Chains start at exact draws of p(x, y), with one label unit on, and remain exact draws.

    So the gradient agrees with enumeration within 5.5 standard errors.
    """
    num_chains, (_, b, w) = 100000, values
    probability = joint_probability(values)
    start = STATES[generator.choice(len(STATES), num_chains, p=probability)]
    hidden = generator.random((num_chains, HIDDEN)) < reference.sigmoid(b + start @ w)
    images, labels = generator.integers(0, 2, (6, PIXELS)).astype(float), generator.integers(0, NUM_CLASSES, 6)
    data = labelled(images, labels)
    rule = LearningRule(num_classes=NUM_CLASSES, objective=objective, generative_weight=alpha)
    rbm, _ = trained_block(values, ctx, rule, data, num_chains, k=3, dtype="float32", hidden=hidden)

    def exact_loss(a, b, w):
        log_z = reference.log_sum_exp(-reference.free_energies(a, b, w, STATES))
        generative = reference.free_energies(a, b, w, data).mean() + log_z
        if objective == "generative":
            return generative
        return discriminative_loss((a, b, w), images, labels) + alpha * generative

    expected = numerical_gradients(exact_loss, values)
    given_visible = reference.sigmoid(b + STATES @ w)
    terms = [STATES, given_visible, STATES[:, :, None] * given_visible[:, None, :]]
    share = 1 if objective == "generative" else alpha
    for ours, theirs, term in zip(gradients(rbm), expected, terms):
        mean = np.tensordot(probability, term, 1)
        standard_error = share * np.sqrt((np.tensordot(probability, term**2, 1) - mean**2) / num_chains)
        assert (np.abs(ours - theirs) < 5.5 * standard_error + 1e-5).all()


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"objective": "hybrid"}, "the hybrid objective needs labels"),
        ({"objective": "discriminative", "num_classes": 3, "centering": 0.1}, "centering is of no effect"),
        ({"objective": "discriminative", "num_classes": 3, "chains": "data"}, "chains is of no effect"),
        ({"objective": "discriminative", "num_classes": 3, "weight_bits": 16}, "weight_bits is of no effect"),
        ({"chains": "tempered", "weight_bits": 16}, "tempered chains have weights of 32 bits"),
        ({"chains": "trajectory", "weight_bits": 16}, "trajectory chains have weights of 32 bits"),
        ({"objective": "both"}, "objective is both; it must be one of generative, discriminative, hybrid"),
        ({"generative_weight": 0}, "generative_weight is 0.0; it must be finite and above 0"),
        ({"num_classes": -1}, "num_classes is -1"),
    ],
)
def test_rules_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        LearningRule.checked(**settings)


def test_only_the_generative_objective_has_a_gradient_of_the_data(generator, capsys):
    rbm = BinaryRBMBlock(HIDDEN, 1, True, rule=LearningRule(num_classes=NUM_CLASSES, objective="discriminative"))
    rbm.initialize(mx.init.Normal())
    data = mx.nd.array(labelled(generator.random((3, PIXELS)), [0, 1, 2]))
    data.attach_grad()
    with mx.autograd.record():
        output = rbm(data)[0]
    with pytest.raises(mx.MXNetError):
        output.backward()
        data.grad.asnumpy()
    assert "only the generative objective has a gradient with respect to the data" in capsys.readouterr().out


# --- Drawing --------------------------------------------------------------------------------------


def test_drawn_images_have_the_distribution_of_their_class(ctx, engine, seed, values):
    """p(x | y) by enumeration. The chains forget their start in a few sweeps, and make 60."""
    draws, wanted = 20000, 1
    chains = draw_classes(
        parameters(values, ctx, "float32"), np.full(draws, wanted), NUM_CLASSES, sweeps=60, key=[seed], engine=engine
    )
    assert chains.visible_sample.shape == chains.visible_prob_1.shape == (draws, PIXELS)
    counts = np.bincount(reference.state_index(chains.visible_sample.asnumpy()), minlength=2**PIXELS)
    joint = joint_probability(values).reshape(-1, NUM_CLASSES)[:, ::-1][:, wanted]
    statistic, freedom = reference.chi_square(counts, draws * joint / joint.sum())
    assert statistic < freedom + 6 * np.sqrt(2 * freedom) + 6


def test_each_chain_draws_its_own_class(engine, seed):
    """A hidden unit connects each class with one pixel."""
    a, b = np.full(2 * NUM_CLASSES, -8.0), np.full(NUM_CLASSES, -16.0)
    w = 16 * np.concatenate([np.eye(NUM_CLASSES), np.eye(NUM_CLASSES)])
    classes = np.arange(50) % NUM_CLASSES
    chains = draw_classes(
        parameters((a, b, w), None, "float32"), classes, NUM_CLASSES, sweeps=50, key=[seed], engine=engine
    )
    assert (chains.visible_sample.asnumpy().argmax(axis=1) == classes).mean() > 0.9


def test_drawing_follows_from_the_key(engine, seed, values):
    model = parameters(values, None, "float32")

    def drawn(*key):
        return draw_classes(
            model, [0, 1, 2] * 20, NUM_CLASSES, sweeps=2, key=key, engine=engine
        ).visible_sample.asnumpy()

    np.testing.assert_array_equal(drawn(seed), drawn(seed))
    assert not np.array_equal(drawn(seed), drawn(seed, 1))  # equal by chance: next to impossible


def test_drawing_goes_on_from_the_start(engine, seed, generator):
    """Strong weights tie each hidden unit to one pixel, so a chain cannot leave its start."""
    pinned = np.concatenate([40 * np.eye(PIXELS), np.zeros((NUM_CLASSES, PIXELS))])
    model = parameters((np.repeat([-20.0, 0], [PIXELS, NUM_CLASSES]), np.full(PIXELS, -20.0), pinned), None, "float32")
    start = generator.integers(0, 2, (60, PIXELS))
    chains = draw_classes(model, [0, 1, 2] * 20, NUM_CLASSES, 3, start=mx.nd.array(start), key=[seed], engine=engine)
    np.testing.assert_array_equal(chains.visible_sample.asnumpy(), start)


# --- Files ----------------------------------------------------------------------------------------


def test_a_saved_model_holds_its_classes(tmp_path, values, generator):
    data = labelled(generator.random((5, PIXELS)), generator.integers(0, NUM_CLASSES, 5))
    rbm, _ = trained_block(values, mx.cpu(), LearningRule(num_classes=NUM_CLASSES), data, dtype="float32")
    path = str(tmp_path / "rbm.params")
    rbm.save_parameters(path)
    found, num_classes = read_model(path)
    assert num_classes == NUM_CLASSES
    for ours, theirs in zip(found, values):
        np.testing.assert_allclose(ours.asnumpy(), theirs, rtol=1e-6)
    other = BinaryRBMBlock(HIDDEN, 1, True, rule=LearningRule(num_classes=NUM_CLASSES))
    other.load_parameters(path)
    assert other.aux_label_classes.data().asnumpy().tolist() == [0, 1, 2]
    plain = BinaryRBMBlock(HIDDEN, 1, False)
    plain.load_parameters(path)
    assert plain.rbm_parameters.num_visible == VISIBLE
    symbol = binary_rbm_symbol(HIDDEN, 1, True, rule=LearningRule(num_classes=NUM_CLASSES))
    assert CLASSES in symbol.list_auxiliary_states()


def test_models_without_classes_and_with_too_many(tmp_path, values):
    path = str(tmp_path / "rbm.params")
    arrays = dict(zip(LEARNED, parameters(values, None, "float32")))
    mx.nd.save(path, arrays)
    assert read_model(path)[1] == 0
    mx.nd.save(path, {**arrays, CLASSES: mx.nd.arange(VISIBLE)})
    with pytest.raises(InputError, match="7 classes and only 7 visible units"):
        read_model(path)
