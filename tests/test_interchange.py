"""Round trips through every format, bit by bit; energies of foreign formulas by brute force; files that are none."""

import itertools
import os
import pickle

import joblib
import numpy as np
import pytest
import reference
from sklearn.neural_network import BernoulliRBM

from gluon_rbm.__main__ import main
from gluon_rbm.backend.arrays import from_host
from gluon_rbm.errors import InputError
from gluon_rbm.estimators import BinaryRBM, LabelRBMClassifier
from gluon_rbm.models import interchange
from gluon_rbm.models.energy import Parameters
from gluon_rbm.models.files import read_model

ON_DISK = ("params", "npz", "sklearn", "pydeep")


@pytest.fixture
def machine(generator):
    return Parameters(*(array.astype(np.float32) for array in reference.random_machine(6, 4, generator)))


def assert_same(found, machine):
    for one, other in zip(found, machine):
        assert one.dtype == np.float32
        np.testing.assert_array_equal(one if isinstance(one, np.ndarray) else one.asnumpy(), other)


@pytest.mark.parametrize("first, second", [*itertools.product(ON_DISK, ON_DISK)])
def test_the_way_through_two_formats_and_back_changes_no_bit(first, second, machine, tmp_path, capsys):
    interchange.write(tmp_path / "start", machine, form="params")
    way = [("start", "one", first), ("one", "two", second), ("two", "end.params", "params")]
    for source, target, form in way:
        assert main(["convert", str(tmp_path / source), str(tmp_path / target), "--format", form]) == 0
    assert_same(read_model(tmp_path / "end.params")[0], machine)
    assert "6 visible, 4 hidden units" in capsys.readouterr().out


def test_labels_are_kept_where_they_can_be(machine, tmp_path, capsys):
    interchange.write(tmp_path / "a.params", machine, 2, "params")
    for source, target, form in (("a.params", "b.npz", "npz"), ("b.npz", "c.params", "params")):
        assert main(["convert", str(tmp_path / source), str(tmp_path / target), "--format", form]) == 0
    parameters, num_classes = read_model(tmp_path / "c.params")
    assert_same(parameters, machine)
    assert num_classes == 2 and "6 visible, of which 2 are a label" in capsys.readouterr().out
    for form in ("sklearn", "pydeep", "joblib"):
        assert main(["convert", str(tmp_path / "a.params"), str(tmp_path / "d"), "--format", form]) == 2
        assert one_line(capsys).endswith("the format %s knows no labels; choose --format npz or params"
                                         % form.replace("joblib", "sklearn"))  # fmt: skip
        assert not (tmp_path / "d").exists()


def test_bernoulli_rbm_there_and_back(machine, generator, tmp_path):
    visible = reference.states(6)
    rbm = interchange.to_bernoulli_rbm(Parameters(*map(from_host, machine)), learning_rate=0.01, random_state=0)
    expected = reference.sigmoid(machine[1] + visible @ machine[2])
    np.testing.assert_allclose(rbm.transform(visible), expected, rtol=1e-6)
    assert_same(interchange.from_bernoulli_rbm(rbm), machine)
    rbm.partial_fit(visible)  # it goes on
    interchange.write(tmp_path / "rbm.joblib", machine, form="joblib")
    assert_same(interchange.from_bernoulli_rbm(joblib.load(tmp_path / "rbm.joblib")), machine)
    fitted = BernoulliRBM(3, n_iter=2, random_state=0).fit(visible)  # float64
    found = interchange.from_bernoulli_rbm(fitted)
    np.testing.assert_allclose(found.interaction_weight.asnumpy(), fitted.components_.T, rtol=1e-7)
    with pytest.raises(InputError, match="the BernoulliRBM holds no parameters"):
        interchange.from_bernoulli_rbm(BernoulliRBM())


def test_estimators_there_and_back(machine):
    rbm = BinaryRBM.of(machine, random_state=0)
    assert_same(rbm.parameters_, machine)
    assert_same(interchange.from_bernoulli_rbm(interchange.to_bernoulli_rbm(rbm.parameters_)), machine)
    visible = reference.states(6)
    np.testing.assert_allclose(rbm.transform(visible), reference.sigmoid(machine[1] + visible @ machine[2]), rtol=1e-6)
    before = rbm.components_.copy()
    assert (rbm.partial_fit(visible).components_ != before).any() and rbm.sample(3, 2).shape == (3, 6)
    classifier = LabelRBMClassifier.of(Parameters(*map(from_host, machine)), ["yes", "no"], random_state=0)
    assert list(classifier.classes_) == ["yes", "no"] and classifier.n_features_in_ == 4
    pixels = reference.states(4)
    joint = [-reference.free_energies(*machine, np.hstack([pixels, np.tile(y, (16, 1))])) for y in np.eye(2)]
    expected = np.where(joint[0] > joint[1], "yes", "no")
    np.testing.assert_array_equal(classifier.predict(pixels), expected)
    assert classifier.sample(["no", "yes"], 3).shape == (2, 4)
    classifier.partial_fit(pixels, expected)


def test_the_offsets_of_pydeep_are_folded_in(generator):
    """Its own energy, by loops, is ours up to a constant."""
    bv, bh, ov, oh = (generator.normal(size=(1, count)) for count in (5, 3, 5, 3))
    w = generator.normal(size=(5, 3))
    theirs = np.array(
        [
            [-(v - ov) @ bv.T - bh @ (h - oh).T - (v - ov) @ w @ (h - oh).T for h in reference.states(3)]
            for v in reference.states(5)
        ]
    ).reshape(32, 8)
    found, _ = interchange.from_arrays({"w": w, "bv": bv, "bh": bh, "ov": ov, "oh": oh})
    ours = reference.energies(*(array.asnumpy().astype(float) for array in found))
    difference = theirs - ours
    assert np.abs(difference - difference.mean()).max() < 1e-5
    without, _ = interchange.from_arrays({"w": w, "bv": bv, "bh": bh})
    np.testing.assert_array_equal(without.visible_layer_bias.asnumpy(), bv[0].astype(np.float32))


def good():
    return {name: np.zeros(shape) for name, shape in zip(Parameters._fields, ((3,), (2,), (3, 2)))}


BAD = {
    "holds no parameters of a binary RBM": {"other": np.zeros(3)},
    "holds no hidden_layer_bias and no interaction_weight": {"visible_layer_bias": np.zeros(3)},
    "interaction_weight of shape": {**good(), "interaction_weight": np.zeros(6)},
    "hidden_layer_bias of shape": {**good(), "hidden_layer_bias": np.zeros(3)},
    "it must be (3,)": {**good(), "visible_layer_bias": np.zeros((3, 1))},
    "not finite": {**good(), "interaction_weight": np.full((3, 2), np.nan)},
    "too large for float32": {**good(), "interaction_weight": np.full((3, 2), 1e39)},
    "in int64; save floats": {**good(), "hidden_layer_bias": np.zeros(2, int)},
    "leaves no pixel": {**good(), "aux_label_classes": np.arange(3.0)},
    "bv of shape": {"w": np.zeros((3, 2)), "bv": np.zeros((2, 3)), "bh": np.zeros((1, 2))},
    "oh of shape": {"w": np.zeros((3, 2)), "bv": np.zeros((1, 3)), "bh": np.zeros((1, 2)), "oh": np.zeros((1, 3))},
    "holds pickled objects": {**good(), "hidden_layer_bias": np.array([print, None])},
}


def one_line(capsys):
    """What was said: one line."""
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and error.startswith("python -m gluon_rbm convert: error: ")
    return error.strip()


@pytest.mark.parametrize("message", BAD)
def test_files_that_hold_something_else_are_refused_in_one_line(message, tmp_path, capsys):
    np.savez(tmp_path / "bad.npz", **BAD[message])
    target = tmp_path / "kept"
    target.write_text("of old")
    assert main(["convert", str(tmp_path / "bad.npz"), str(target)]) == 2
    assert message in one_line(capsys)
    assert target.read_text() == "of old"


def test_what_would_be_lost(machine, tmp_path, capsys):
    model = tmp_path / "rbm.params"
    interchange.write(model, machine, 0, "params")
    before = model.read_bytes()
    for target, message in (
        (model, "is the source, too"),
        (tmp_path / "other" / "rbm.params", "is of --format params"),
    ):
        for source in (tmp_path, model):
            assert main(["convert", str(source), str(target)]) == 2
            assert message in one_line(capsys)
    os.mkfifo(tmp_path / "pipe")
    assert main(["convert", str(tmp_path / "pipe"), str(tmp_path / "target")]) == 2
    assert "no ordinary file" in one_line(capsys)
    assert main(["convert", str(model), str(tmp_path / "pipe")]) == 2
    assert "no ordinary file" in one_line(capsys)
    assert model.read_bytes() == before


def test_pickles_and_torn_and_missing_files_are_refused_and_never_run(tmp_path, capsys):
    class Trap:
        def __reduce__(self):
            return open, (str(tmp_path / "sprung"), "w")

    (tmp_path / "trap.joblib").write_bytes(pickle.dumps(Trap()))
    np.savez(tmp_path / "trap.npz", **{**good(), "hidden_layer_bias": np.array([Trap()])})
    (tmp_path / "sprung").unlink(missing_ok=True)  # NumPy tried what it saved
    np.savez(tmp_path / "whole.npz", **good())
    (tmp_path / "torn.npz").write_bytes((tmp_path / "whole.npz").read_bytes()[:-60])
    for name, message in (
        ("trap.joblib", "is a pickle"),
        ("trap.npz", "pickled objects"),
        ("torn.npz", "not a whole .npz archive"),
        ("nothing.npz", "cannot be read"),
    ):
        assert main(["convert", str(tmp_path / name), str(tmp_path / "target")]) == 2
        assert message in one_line(capsys)
    assert not (tmp_path / "sprung").exists() and not (tmp_path / "target").exists()
    assert main(["convert", str(tmp_path / "whole.npz"), str(tmp_path / "no" / "where")]) == 2
    assert "choose another TARGET" in one_line(capsys)
