"""Training on aligned sequences with both scripts, and commands that use such a run."""

import csv
import json

import numpy as np
import pytest
from training_runs import SCRIPTS, assert_same_arrays, learned, one_line

from gluon_rbm import __main__
from gluon_rbm.data import datasets, sequences, splits
from gluon_rbm.data.batches import iterate_batches
from gluon_rbm.data.sequences import NUCLEOTIDES
from gluon_rbm.errors import InputError
from gluon_rbm.likelihood import learning
from gluon_rbm.models.energy import free_energy
from gluon_rbm.models.parameters import Parameters
from gluon_rbm.models.visible_units import zero_sum_gauge

pytestmark = pytest.mark.usefixtures("short_showcase")
GROUPS = sequences.groups_of(12, 5)


@pytest.fixture
def fasta(tmp_path, generator):
    """400 sequences of 12 nucleotides. The second half of each sequence repeats the first half."""
    half = generator.choice(4, (400, 6), p=[0.4, 0.3, 0.2, 0.1]) + 1
    half[generator.random(half.shape) < 0.05] = 0
    path = tmp_path / "pairs.fasta"
    sequences.dump_fasta(path, sequences.to_text(np.hstack([half, half]), NUCLEOTIDES))
    return path


def train(api, fasta, folder, *arguments):
    small = ["--dataset", fasta, "--no-cuda", "--num-hidden", "18", "--k", "3", "--batch-size", "20", "--seed", "1"]
    small += ["--ais-intermediate-steps", "500", "--learning-rate", "4", "--initial-visible-bias", "data"]
    return SCRIPTS[api].main([str(one) for one in [*small, "--output-dir", folder, *arguments]])


def command(*arguments):
    return __main__.main([str(argument) for argument in arguments])


def assert_sequences(units):
    for start, stop in GROUPS:
        np.testing.assert_array_equal(units[:, start:stop].sum(axis=1), 1)


def test_a_data_set_of_sequences(fasta):
    data = datasets.load(fasta)
    train_images, test_images = data.train_images, data.test_images
    assert data.image_shape == (12, 5) and data.softmax_groups == GROUPS and data.alphabet == NUCLEOTIDES
    assert_sequences(train_images.reshape(len(train_images), -1))
    train, test = (images.argmax(axis=2) for images in (train_images, test_images))
    identity = (test[:, None] == train).mean(axis=2)
    assert identity.max() < 0.8  # no test sequence is similar to a training sequence
    for images, weights in ((train, data.train_weights), (test, data.test_weights)):
        np.testing.assert_allclose(weights, 1 / ((images[:, None] == images).mean(axis=2) >= 0.8 - 1e-9).sum(axis=1))
    share = data.test_weights.sum() / (data.test_weights.sum() + data.train_weights.sum())
    assert 0.05 < share <= 0.1
    kept, held_out = splits.hold_out(data, 7)
    assert len(kept.train_weights) == len(kept.train_images) and len(held_out) == 7


def test_batches_are_drawn_by_weight(generator):
    images, weights = np.arange(40, dtype=np.uint8)[:, None], generator.random(40)
    counts = np.zeros(40)
    for epoch in range(200):
        batches = list(iterate_batches(images, 1, 16, key=[epoch], weights=weights))
        assert [len(batch) for batch in batches] == [16, 16, 8]
        counts += np.bincount(np.concatenate(batches)[:, 0].astype(int), minlength=40)
    expected = 40 * weights / weights.sum()
    np.testing.assert_allclose(counts / 200, expected, atol=5 * 0.5 / np.sqrt(200))
    with pytest.raises(InputError, match="weights need a key"):
        iterate_batches(images, 1, 16, weights=weights)


def test_both_apis_and_resumed_runs_learn_the_same(fasta, tmp_path):
    assert train("gluon", fasta, tmp_path / "gluon", "--num-epoch", "2") == 0
    assert train("module", fasta, tmp_path / "module", "--num-epoch", "1") == 0
    assert train("module", fasta, tmp_path / "module", "--num-epoch", "2", "--resume") == 0
    assert_same_arrays(tmp_path / "gluon", tmp_path / "module")
    assert_sequences(learned(tmp_path / "gluon")[learning.SAMPLES[0]])
    arguments = json.loads((tmp_path / "gluon" / "arguments.json").read_text())["arguments"]
    assert arguments["alphabet"] == NUCLEOTIDES and arguments["image_shape"] == [12, 5]


def test_commands_use_a_run(fasta, tmp_path, capsys):
    """The RBM learns that the halves repeat. The likelihood is the one that the run estimated."""
    run = tmp_path / "run"
    assert train("gluon", fasta, run, "--num-epoch", "60", "--monitor-every", "60") == 0
    with open(run / "metrics.csv") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 60 and float(rows[-1]["train_log_likelihood"]) > float(rows[-1]["test_log_likelihood"])
    assert command("sample", run, "--count", "200", "--sweeps", "300", "--no-cuda") == 0
    drawn = sequences.read_fasta(run / "sample.fasta")
    assert drawn.alphabet == NUCLEOTIDES and drawn.sequences.shape == (200, 12)
    assert (drawn.sequences[:, :6] == drawn.sequences[:, 6:]).mean() > 0.6  # 0.3 by chance
    assert_sequences(np.load(run / "sample.npz")["samples"])
    assert command("likelihood", run, "--no-cuda", "--json", tmp_path / "report.json") == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["log_likelihood"]["mean"] == pytest.approx(float(rows[-1]["test_log_likelihood"]), abs=0.3)
    assert report["method"]["name"] == "enumeration" and report["pseudo_log_likelihood"]["mean"] < 0
    assert command("likelihood", run, "--no-cuda", "--method", "ais", "--distributions", "1000") == 0
    assert "log Z" in capsys.readouterr().out
    assert command("weights", run, "--no-cuda") == 0
    assert (run / "weights.logos.png").stat().st_size > 10000
    weight = np.load(run / "weights.npz")["interaction_weight"].reshape(12, 5, -1)
    np.testing.assert_allclose(weight.sum(axis=1), 0, atol=1e-5)
    assert command("score", run, "--no-cuda") == 0
    auc = json.loads((run / "score.json").read_text())["results"]["auc"]
    assert set(auc) == {"letters at random", "shuffled places"}
    assert min(auc.values()) > 0.7  # 0.95 minus four standard errors (19 sequences against 19)
    assert command("html-report", run) == 0


def test_the_gauge_changes_no_probability(generator):
    parameters = Parameters(*(generator.normal(size=shape) for shape in (60, 4, (60, 4))))
    fixed = zero_sum_gauge(parameters, GROUPS)
    units = np.eye(5)[generator.integers(0, 5, (9, 12))].reshape(9, -1)
    difference = free_energy(fixed, units) - free_energy(parameters, units)
    np.testing.assert_allclose(difference, difference[0])
    np.testing.assert_allclose(fixed.interaction_weight.reshape(12, 5, 4).sum(axis=1), 0, atol=1e-12)
    np.testing.assert_allclose(fixed.visible_layer_bias.reshape(12, 5).sum(axis=1), 0, atol=1e-12)


@pytest.mark.parametrize(
    "message, text",
    [
        ("is not aligned", ">a\nACGT\n>b\nACG\n"),
        ("too similar, or too few", ">a\nACGT\n>b\nACGT\n"),
    ],
)
def test_unusable_files_give_one_line(tmp_path, capsys, message, text):
    path = tmp_path / "bad.fasta"
    path.write_text(text)
    assert train("gluon", path, tmp_path / "run") == 2
    assert message in one_line(capsys)
    assert train("gluon", tmp_path / "none.fasta", tmp_path / "run") == 2
    assert "give the path of a FASTA file" in one_line(capsys)
