"""Conversion: exact round trips through all formats, PyDeep's energy by brute force, bad files."""

import itertools
import json
import os
import pickle
import struct

import numpy as np
import pytest
import reference
import safetensors.numpy
from sklearn.neural_network import BernoulliRBM

from gluon_rbm.__main__ import main
from gluon_rbm.backend.arrays import from_host
from gluon_rbm.errors import InputError
from gluon_rbm.estimators import BinaryRBM, LabelRBMClassifier
from gluon_rbm.models import interchange
from gluon_rbm.models.files import read_model
from gluon_rbm.models.parameters import Parameters

ON_DISK = ("params", "npz", "sklearn", "pydeep", "safetensors")


@pytest.fixture
def binary_rbm(generator):
    return Parameters(*(array.astype(np.float32) for array in reference.random_rbm(6, 4, generator)))


def assert_same(found, binary_rbm):
    for one, other in zip(found, binary_rbm):
        assert one.dtype == np.float32
        np.testing.assert_array_equal(one if isinstance(one, np.ndarray) else one.asnumpy(), other)


@pytest.mark.parametrize("first, second", [*itertools.product(ON_DISK, ON_DISK)])
def test_conversion_through_two_formats_and_back_changes_no_bit(first, second, binary_rbm, tmp_path, capsys):
    interchange.write(tmp_path / "start", binary_rbm, form="params")
    way = [("start", "one", first), ("one", "two", second), ("two", "end.params", "params")]
    for source, target, form in way:
        assert main(["convert", str(tmp_path / source), str(tmp_path / target), "--format", form]) == 0
    assert_same(read_model(tmp_path / "end.params")[0], binary_rbm)
    assert "6 visible, 4 hidden units" in capsys.readouterr().out


@pytest.mark.parametrize("form", ON_DISK)
def test_numbers_of_16_bits(form, binary_rbm, tmp_path, capsys):
    interchange.write(tmp_path / "start", binary_rbm, form="params")
    arguments = ["convert", str(tmp_path / "start"), str(tmp_path / "half"), "--format", form, "--float16"]
    assert main(arguments) == 0
    rounded = [array.astype(np.float16).astype(np.float32) for array in binary_rbm]
    assert_same(interchange.read(tmp_path / "half")[0], rounded)
    interchange.write(tmp_path / "start", Parameters(*(array * 1e6 for array in binary_rbm)), form="params")
    capsys.readouterr()
    assert main([*arguments, "--overwrite"]) == 2
    assert "too large for float16; leave out --float16" in one_line(capsys)
    assert_same(interchange.read(tmp_path / "half")[0], rounded)


def test_labels_are_kept_where_they_can_be(binary_rbm, tmp_path, capsys):
    interchange.write(tmp_path / "a.params", binary_rbm, 2, "params")
    way = [("a.params", "b.npz", "npz"), ("b.npz", "b.safetensors", "safetensors"),
           ("b.safetensors", "c.params", "params")]  # fmt: skip
    for source, target, form in way:
        assert main(["convert", str(tmp_path / source), str(tmp_path / target), "--format", form]) == 0
    parameters, num_classes = read_model(tmp_path / "c.params")
    assert_same(parameters, binary_rbm)
    assert num_classes == 2 and "6 visible (2 of them label units)" in capsys.readouterr().out
    for form in ("sklearn", "pydeep"):
        assert main(["convert", str(tmp_path / "a.params"), str(tmp_path / "d"), "--format", form]) == 2
        expected = "the format %s cannot hold labels; choose --format npz, safetensors or params" % form
        assert one_line(capsys).endswith(expected)
        assert not (tmp_path / "d").exists()


def test_bernoulli_rbm_there_and_back(binary_rbm, generator, tmp_path):
    visible = reference.states(6)
    rbm = interchange.to_bernoulli_rbm(Parameters(*map(from_host, binary_rbm)), learning_rate=0.01, random_state=0)
    expected = reference.sigmoid(binary_rbm[1] + visible @ binary_rbm[2])
    np.testing.assert_allclose(rbm.transform(visible), expected, rtol=1e-6)
    assert_same(interchange.from_bernoulli_rbm(rbm), binary_rbm)
    rbm.partial_fit(visible)  # it can learn on
    fitted = BernoulliRBM(3, n_iter=2, random_state=0).fit(visible)  # float64
    found = interchange.from_bernoulli_rbm(fitted)
    np.testing.assert_allclose(found.interaction_weight.asnumpy(), fitted.components_.T, rtol=1e-7)
    with pytest.raises(InputError, match="the BernoulliRBM has no parameters"):
        interchange.from_bernoulli_rbm(BernoulliRBM())


def test_estimators_there_and_back(binary_rbm):
    rbm = BinaryRBM.of(binary_rbm, random_state=0)
    assert_same(rbm.parameters_, binary_rbm)
    assert_same(interchange.from_bernoulli_rbm(interchange.to_bernoulli_rbm(rbm.parameters_)), binary_rbm)
    visible = reference.states(6)
    np.testing.assert_allclose(
        rbm.transform(visible), reference.sigmoid(binary_rbm[1] + visible @ binary_rbm[2]), rtol=1e-6
    )
    before = rbm.components_.copy()
    assert (rbm.partial_fit(visible).components_ != before).any() and rbm.sample(3, 2).shape == (3, 6)
    classifier = LabelRBMClassifier.of(Parameters(*map(from_host, binary_rbm)), ["yes", "no"], random_state=0)
    assert list(classifier.classes_) == ["yes", "no"] and classifier.n_features_in_ == 4
    pixels = reference.states(4)
    joint = [-reference.free_energies(*binary_rbm, np.hstack([pixels, np.tile(y, (16, 1))])) for y in np.eye(2)]
    expected = np.where(joint[0] > joint[1], "yes", "no")
    np.testing.assert_array_equal(classifier.predict(pixels), expected)
    assert classifier.sample(["no", "yes"], 3).shape == (2, 4)
    classifier.partial_fit(pixels, expected)


def test_the_offsets_of_pydeep_are_folded_in(generator):
    """PyDeep's own energy, by loops, equals our energy up to a constant."""
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
    "has no parameters of a binary RBM": {"other": np.zeros(3)},
    "has no hidden_layer_bias and no interaction_weight": {"visible_layer_bias": np.zeros(3)},
    "interaction_weight of shape": {**good(), "interaction_weight": np.zeros(6)},
    "hidden_layer_bias of shape": {**good(), "hidden_layer_bias": np.zeros(3)},
    "it must be (3,)": {**good(), "visible_layer_bias": np.zeros((3, 1))},
    "not finite": {**good(), "interaction_weight": np.full((3, 2), np.nan)},
    "too large for float32": {**good(), "interaction_weight": np.full((3, 2), 1e39)},
    "of type int64; save floats": {**good(), "hidden_layer_bias": np.zeros(2, int)},
    "so it has no pixels": {**good(), "aux_label_classes": np.arange(3.0)},
    "bv of shape": {"w": np.zeros((3, 2)), "bv": np.zeros((2, 3)), "bh": np.zeros((1, 2))},
    "oh of shape": {"w": np.zeros((3, 2)), "bv": np.zeros((1, 3)), "bh": np.zeros((1, 2)), "oh": np.zeros((1, 3))},
    "holds pickled objects": {**good(), "hidden_layer_bias": np.array([print, None])},
}


def one_line(capsys):
    """Return the error, which must be one line."""
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


def test_files_that_would_be_lost_are_kept(binary_rbm, tmp_path, capsys):
    model = tmp_path / "rbm.params"
    interchange.write(model, binary_rbm, 0, "params")
    before = model.read_bytes()
    for source in (tmp_path, model):
        assert main(["convert", str(source), str(model)]) == 2
        assert "is also SOURCE" in one_line(capsys)
    for name, form in (("other.params", "npz"), ("other.safetensors", "params")):
        assert main(["convert", str(model), str(tmp_path / name), "--format", form]) == 2
        assert "needs --format %s, not %s" % (name.split(".")[1], form) in one_line(capsys)
    assert main(["convert", str(model), str(tmp_path / "other.params")]) == 0
    assert (tmp_path / "other.params").read_bytes() == before
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
    (tmp_path / "sprung").unlink(missing_ok=True)  # in case NumPy loads what it saves
    np.savez(tmp_path / "whole.npz", **good())
    (tmp_path / "torn.npz").write_bytes((tmp_path / "whole.npz").read_bytes()[:-60])
    for name, message in (
        ("trap.joblib", "is a pickle"),
        ("trap.npz", "pickled objects"),
        ("torn.npz", "not a complete .npz archive"),
        ("nothing.npz", "cannot be read"),
    ):
        assert main(["convert", str(tmp_path / name), str(tmp_path / "target")]) == 2
        assert message in one_line(capsys)
    assert not (tmp_path / "sprung").exists() and not (tmp_path / "target").exists()
    assert main(["convert", str(tmp_path / "whole.npz"), str(tmp_path / "no" / "where")]) == 2
    assert "choose another TARGET" in one_line(capsys)


# --- safetensors ----------------------------------------------------------------------------------


def test_the_library_reads_our_safetensors(binary_rbm, tmp_path):
    """This holds for any strides of the parameters. (The library itself writes memory in order.)"""
    turned = binary_rbm._replace(interaction_weight=np.asfortranarray(binary_rbm.interaction_weight))
    interchange.write(tmp_path / "a.safetensors", turned, 2, "safetensors")
    found = safetensors.numpy.load_file(tmp_path / "a.safetensors")
    assert_same([found.pop(name) for name in Parameters._fields], binary_rbm)
    np.testing.assert_array_equal(found.pop("aux_label_classes"), np.arange(2, dtype=np.float32))
    assert not found


@pytest.mark.parametrize("form", ["npz", "sklearn", "pydeep"])
def test_safetensors_of_others_are_read_under_any_name(form, binary_rbm, tmp_path):
    arrays = {name: np.ascontiguousarray(array) for name, array in interchange.to_arrays(binary_rbm, form=form).items()}
    safetensors.numpy.save_file(arrays, tmp_path / "model", metadata={"format": "np", "by": "another"})
    parameters, num_classes = interchange.read(tmp_path / "model")
    assert_same(parameters, binary_rbm)
    assert num_classes == 0


def test_float64_in_safetensors_is_rounded(binary_rbm, tmp_path):
    arrays = {name: array.astype(np.float64) + 1e-12 for name, array in binary_rbm._asdict().items()}
    safetensors.numpy.save_file(arrays, tmp_path / "model.safetensors")
    expected = [array.astype(np.float32) for array in arrays.values()]
    assert_same(interchange.read(tmp_path / "model.safetensors")[0], expected)


def tensors(header, content=bytes(44), length=None):
    """A file with this header (JSON or text) and content; the default fits a(3), b(2), W(3, 2)."""
    text = (header if isinstance(header, str) else json.dumps(header)).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + content


def entry(start, stop, *shape, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


SOUND = dict(zip(Parameters._fields, (entry(0, 12, 3), entry(12, 20, 2), entry(20, 44, 3, 2))))
HOSTILE = {
    "empty": b"",
    "short": b"\1\0\0",
    "no header": bytes(8),
    "a header longer than the file": tensors(SOUND, length=10**6),
    "a header without end": tensors(SOUND, length=2**63),
    "torn": tensors(SOUND)[:-1],
    "too long": tensors(SOUND) + b"\0",
    "no JSON": tensors("{" * 50),
    "deep JSON": tensors('{"a":' * 100000),
    "a list": tensors("[]"),
    "not UTF-8": struct.pack("<Q", 4) + b'{"\xff\xfe',
    "offsets beyond the end": tensors({**SOUND, "interaction_weight": entry(20, 2**40, 2**19, 2**19)}),
    "offsets that overlap": tensors({**SOUND, "hidden_layer_bias": entry(0, 8, 2)}),
    "offsets backwards": tensors({**SOUND, "hidden_layer_bias": entry(20, 12, 2)}),
    "negative offsets": tensors({**SOUND, "visible_layer_bias": entry(-12, 0, 3)}),
    "a shape that overflows": tensors({**SOUND, "interaction_weight": entry(20, 44, 2**62, 2**62)}),
    "a shape that is not the content's": tensors({**SOUND, "interaction_weight": entry(20, 44, 3, 3)}),
    "an unknown type": tensors({**SOUND, "interaction_weight": entry(20, 44, 3, 2, dtype="F99")}),
    "a type that NumPy has not": tensors({**SOUND, "interaction_weight": entry(20, 44, 3, 4, dtype="BF16")}),
    "whole numbers": tensors({**SOUND, "interaction_weight": entry(20, 44, 3, 2, dtype="I32")}),
    "NaN": tensors(SOUND, b"\xff" * 44),
    "other names": tensors({"weight": entry(0, 44, 11)}),
    "no arrays": tensors({}, b""),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_safetensors_are_refused_in_one_line(name, tmp_path, capsys):
    (tmp_path / "bad.safetensors").write_bytes(HOSTILE[name])
    assert main(["convert", str(tmp_path / "bad.safetensors"), str(tmp_path / "target")]) == 2
    assert "bad.safetensors" in one_line(capsys)
    assert not (tmp_path / "target").exists()


def test_sound_safetensors_by_hand_are_read(tmp_path):
    (tmp_path / "sound").write_bytes(tensors(SOUND))
    assert_same(
        interchange.read(tmp_path / "sound")[0], [np.zeros(shape, np.float32) for shape in ((3,), (2,), (3, 2))]
    )


def test_a_pickle_called_safetensors_is_not_run(tmp_path, capsys):
    (tmp_path / "trap.safetensors").write_bytes(pickle.dumps({"a": 1}))
    (tmp_path / "loop.safetensors").mkdir()
    os.mkfifo(tmp_path / "pipe.safetensors")
    for name, message in (("trap", "not a complete .safetensors file"), ("loop", "cannot be read"),
                          ("pipe", "no ordinary file"), ("nothing", "cannot be read (No such file")):  # fmt: skip
        assert main(["convert", str(tmp_path / (name + ".safetensors")), str(tmp_path / "target")]) == 2
        assert message in one_line(capsys)


def test_changed_safetensors_are_read_or_refused_and_nothing_else(binary_rbm, generator, tmp_path):
    interchange.write(tmp_path / "sound", binary_rbm, 2, "safetensors")
    sound, path = (tmp_path / "sound").read_bytes(), tmp_path / "changed.safetensors"
    seen = 0
    for _ in range(300):
        content = bytearray(sound)
        for place in generator.integers(0, generator.choice([16, len(sound)]), generator.integers(1, 4)):
            content[place] = generator.integers(256)
        path.write_bytes(content[: generator.integers(len(content) // 2, 2 * len(content))])
        try:
            parameters, num_classes = interchange.read(path)
        except InputError as error:
            seen += "\n" not in str(error)
        else:
            assert parameters.num_visible == 6 and parameters.num_hidden == 4 and num_classes in (0, 2)
            seen += 1
    assert seen == 300


def test_unknown_formats_are_refused(binary_rbm, tmp_path):
    with pytest.raises(InputError, match="unknown format 'joblib'; choose params, npz, sklearn, pydeep, safetensors"):
        interchange.write(tmp_path / "rbm", binary_rbm, form="joblib")
    assert not (tmp_path / "rbm").exists()


def test_the_suffix_of_safetensors_sets_the_format(tmp_path, capsys):
    np.savez(tmp_path / "a.npz", **interchange.to_arrays(Parameters(np.ones(3), np.zeros(2), np.ones((3, 2)))))
    target = tmp_path / "b.safetensors"
    assert main(["convert", str(tmp_path / "a.npz"), str(target), "--format", "npz"]) == 2
    assert "needs --format safetensors, not npz" in capsys.readouterr().err and not target.exists()
    assert main(["convert", str(tmp_path / "a.npz"), str(target)]) == 0
    assert safetensors.numpy.load_file(target)["interaction_weight"].tolist() == [[1, 1]] * 3
