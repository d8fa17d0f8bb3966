"""`--tensorboard`: its files, read back, show the run, and watching does not change the run."""

import errno
import io
import os
import shutil
import signal
import struct
import sys

import numpy as np
import pytest
from marks import slow_but
from PIL import Image
from training_runs import SCRIPTS, SMALL, assert_same_arrays, learned, run_interrupted

import binary_rbm_gluon
from gluon_rbm import __main__
from gluon_rbm.training import tensorboard
from gluon_rbm.training.run_records import read_metrics

event_pb2 = pytest.importorskip("tensorboardX.proto.event_pb2", reason="tensorboardX is not installed")

NETWORK = ["train-multinary", "--dataset", "digits", "--no-cuda", "--channels", "3", "--dense", "5"]
NETWORK += ["--batch-size", "100", "--held-out", "1000"]

pytestmark = pytest.mark.usefixtures("short_showcase")


def run(folder, *arguments, script=binary_rbm_gluon):
    return script.main([*SMALL, "--output-dir", str(folder), *arguments])


def train_network(folder, *arguments):
    return __main__.main([*NETWORK, "--output-dir", str(folder), *arguments])


def records(path):
    """The serialized events of a file. A record is a length, a checksum, an event, a checksum."""
    content = path.read_bytes()
    while content:
        (length,) = struct.unpack("<Q", content[:8])
        yield content[12 : 12 + length]
        content = content[12 + length + 4 :]


def shown(folder):
    """What TensorBoard shows of a run folder: tag -> list of (step, value).

    A new session removes earlier points from its first step on.
    """
    values = {}
    for path in sorted((folder / tensorboard.FOLDER).iterdir()):
        for record in records(path):
            event = event_pb2.Event.FromString(record)
            if event.HasField("session_log"):
                values = {tag: [p for p in points if p[0] < event.step] for tag, points in values.items()}
            for value in event.summary.value:
                values.setdefault(value.tag, []).append((event.step, value))
    return values


def numbers(folder):
    """All points except times: (tag, step) -> value. No point occurs twice."""
    points = [
        ((tag, step), value.simple_value if tag.startswith("metrics/") else value.SerializeToString())
        for tag, values in shown(folder).items()
        for step, value in values
        if "seconds" not in tag
    ]
    assert len(points) == len(dict(points))
    return dict(points)


def picture(values, tag, step, mode="L"):
    (value,) = (value for at, value in values[tag] if at == step)
    return np.asarray(Image.open(io.BytesIO(value.image.encoded_image_string)).convert(mode))


# --- What is shown --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCRIPTS)
def test_what_a_run_shows(tmp_path, name):
    assert run(tmp_path, "--num-epoch", "3", "--monitor-every", "2", "--tensorboard", script=SCRIPTS[name]) == 0
    values = shown(tmp_path)
    rows = read_metrics(tmp_path)
    for row in rows:
        for column in set(row) - {"epoch"}:
            found = dict(values["metrics/" + column])[row["epoch"]].simple_value
            assert found == pytest.approx(row[column], rel=1e-6)
    assert sum(len(points) for tag, points in values.items() if tag.startswith("metrics/")) == sum(
        len(row) - 1 for row in rows
    )
    arrays = learned(tmp_path)
    for array in ("visible_layer_bias", "hidden_layer_bias", "interaction_weight"):
        histograms = dict(values["parameters/" + array])
        assert sorted(histograms) == [1, 2, 3]
        histogram = histograms[3].histo
        assert sum(histogram.bucket) == histogram.num == arrays[array].size
        assert histogram.min == pytest.approx(arrays[array].min()) and histogram.max == pytest.approx(
            arrays[array].max()
        )
        updates = [histogram.histo.sum for _, histogram in values["updates/" + array]]
        differences = np.diff([histograms[epoch].histo.sum for epoch in (1, 2, 3)])
        np.testing.assert_allclose(updates[1:], differences, atol=1e-5)
    assert [step for step, _ in values["pictures/filters"]] == [2, 3]  # the monitored epochs
    # 6 filters of 4 x 4 pixels.
    assert picture(values, "pictures/filters", 3).shape == (2 * 5 - 1, 3 * 5 - 1)
    chains = picture(values, "pictures/chains", 3)
    assert chains.shape == (3 * 5 - 1, 3 * 5 - 1) and chains.std() > 1  # 8 chains


def test_filters_and_chains_are_those_of_the_rbm(tmp_path):
    assert run(tmp_path, "--num-epoch", "1", "--tensorboard") == 0
    arrays, values = learned(tmp_path), shown(tmp_path)
    probability = 1 / (
        1 + np.exp(-arrays["visible_layer_bias"] - arrays["aux_hidden_layer_sample"] @ arrays["interaction_weight"].T)
    )
    tiles = picture(values, "pictures/chains", 1)
    for chain, expected in enumerate(probability):
        top, left = chain // 3 * 5, chain % 3 * 5
        found = tiles[top : top + 4, left : left + 4].ravel() / 255
        np.testing.assert_allclose(found, expected, atol=0.51 / 255)
    weight = arrays["interaction_weight"]
    strongest = weight[:, np.argmax(np.linalg.norm(weight, axis=0))]
    found = picture(values, "pictures/filters", 1)[:4, :4].ravel() / 255
    # All filters share one scale.
    expected = np.clip(0.5 + strongest / (2 * np.percentile(np.abs(weight), 99)), 0, 1)
    np.testing.assert_allclose(found, expected, atol=0.51 / 255)


@pytest.mark.slow
def test_a_run_with_labels(tmp_path):
    labels = ["--dataset", "digits", "--labels", "--num-epoch", "2", "--monitor-every", "2", "--tensorboard"]
    assert run(tmp_path / "generative", *labels) == 0
    values = shown(tmp_path / "generative")
    assert len(values["metrics/test_error_percent"]) == 1
    # The pixels, without the label.
    assert picture(values, "pictures/chains", 2).shape == (3 * 9 - 1, 3 * 9 - 1)
    assert run(tmp_path / "discriminative", *labels, "--objective", "discriminative") == 0
    assert "pictures/chains" not in shown(tmp_path / "discriminative")  # it has no chains


@pytest.mark.slow
def test_the_test_score_that_is_measured_at_the_end(tmp_path):
    arguments = ["--dataset", "digits", "--held-out", "200", "--early-stopping", "1", "--num-epoch", "20"]
    assert run(tmp_path, *arguments, "--learning-rate", "30", "--tensorboard") == 0
    rows = [row for row in read_metrics(tmp_path) if "test_log_likelihood" in row]
    ((step, value),) = shown(tmp_path)["metrics/test_log_likelihood"]
    assert step == rows[0]["epoch"] and value.simple_value == pytest.approx(rows[0]["test_log_likelihood"], rel=1e-6)


@pytest.mark.parametrize(
    "arguments", slow_but([(), ("--training", "greedy"), ("--chains", "persistent", "--sampled")], ())
)
def test_what_a_network_shows(tmp_path, arguments):
    greedy = "greedy" in arguments
    assert train_network(tmp_path / "watched", "--num-epoch", "2", "--tensorboard", *arguments) == 0
    assert train_network(tmp_path / "not", "--num-epoch", "2", *arguments) == 0
    assert_same_arrays(tmp_path / "watched", tmp_path / "not")
    values = shown(tmp_path / "watched")
    assert [step for step, _ in values["metrics/train_loss"]] == list(range(1, 5 if greedy else 3))
    assert [step for step, _ in values["pictures/samples"]] == ([3, 4] if greedy else [1, 2])
    last = 4 if greedy else 2
    for name in ("samples", "reconstructions"):
        tiles = picture(values, "pictures/" + name, last)
        assert tiles.shape == (8 * 9 - 1, 8 * 9 - 1) and tiles.std() > 1
    assert picture(values, "pictures/filters", last).shape == (2 * 5 - 1, 2 * 5 - 1)
    tags = {"parameters/%d.%s" % (m, n) for m in (0, 1) for n in ("visible_layer_bias", "interaction_weight")}
    assert tags <= set(values)


def test_colour(tmp_path, generator):
    np.save(tmp_path / "images.npy", generator.integers(0, 256, (20, 4, 6, 3), np.uint8))
    arguments = ["--dataset", str(tmp_path / "images.npy"), "--batch-size", "7", "--held-out", "0"]
    assert train_network(tmp_path / "run", *arguments, "--channels", "--num-epoch", "1", "--tensorboard") == 0
    values = shown(tmp_path / "run")
    for name in ("filters", "samples"):
        tiles = picture(values, "pictures/" + name, 1, "RGB")
        assert (tiles[..., 0] != tiles[..., 2]).any()


# --- Watched runs and resumed runs ----------------------------------------------------------------


@pytest.mark.parametrize("name", SCRIPTS)
def test_watching_changes_nothing(tmp_path, name):
    arguments = ["--num-epoch", "3", "--monitor-every", "2", "--momentum", "0.9"]
    for folder, flag in (("watched", ["--tensorboard"]), ("not", [])):
        assert run(tmp_path / folder, *arguments, *flag, script=SCRIPTS[name]) == 0
    assert_same_arrays(tmp_path / "watched", tmp_path / "not")
    assert not (tmp_path / "not" / tensorboard.FOLDER).exists()


@pytest.mark.slow
def test_a_resumed_run_shows_the_same_as_an_uninterrupted_one(tmp_path):
    """As if it was killed when epoch 3 was shown, but was not yet in the checkpoint.

    Resuming a finished run adds nothing.
    """
    assert run(tmp_path / "whole", "--num-epoch", "4", "--tensorboard") == 0
    parts, older = tmp_path / "parts", tmp_path / "older"
    assert run(parts, "--num-epoch", "2", "--tensorboard") == 0
    shutil.copytree(parts, older)
    assert run(parts, "--num-epoch", "3", "--tensorboard", "--resume") == 0
    for name in ("checkpoint.npz", "metrics.csv", "rbm.params"):
        shutil.copy(older / name, parts / name)
    assert run(parts, "--num-epoch", "4", "--tensorboard", "--resume") == 0
    assert numbers(parts) == numbers(tmp_path / "whole")
    assert run(parts, "--num-epoch", "4", "--tensorboard", "--resume") == 0  # nothing is left to do
    assert numbers(parts) == numbers(tmp_path / "whole")


def test_a_run_that_is_interrupted_within_an_epoch(tmp_path):
    """Only the updates of that epoch are missing."""
    assert run(tmp_path / "whole", "--num-epoch", "3", "--tensorboard") == 0
    second = lambda state: (state.epoch, state.step) == (1, 1)  # noqa: E731
    arguments = ["--num-epoch", "3", "--tensorboard"]
    assert run_interrupted("gluon", tmp_path / "parts", *arguments, when=second) == 128 + signal.SIGTERM
    assert run(tmp_path / "parts", "--num-epoch", "3", "--tensorboard", "--resume") == 0
    whole = {(tag, step): value for (tag, step), value in numbers(tmp_path / "whole").items()
             if not (tag.startswith("updates/") and step == 2)}  # fmt: skip
    assert numbers(tmp_path / "parts") == whole


def test_watching_may_start_in_the_middle_of_a_run(tmp_path):
    assert run(tmp_path, "--num-epoch", "2") == 0
    assert run(tmp_path, "--num-epoch", "3", "--tensorboard", "--resume") == 0
    values = shown(tmp_path)
    assert [step for step, _ in values["metrics/test_log_likelihood"]] == [1, 2, 3]
    assert [step for step, _ in values["parameters/interaction_weight"]] == [3]


# --- Errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("train", [run, train_network])
def test_without_tensorboardx_nothing_is_written(tmp_path, capsys, monkeypatch, train):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    assert train(tmp_path / "run", "--tensorboard") == 2
    error = capsys.readouterr().err.strip()
    assert "pip install tensorboardX" in error and len(error.splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_a_folder_that_cannot_be_written(tmp_path, capsys):
    (tmp_path / tensorboard.FOLDER).write_text("a file")
    assert run(tmp_path, "--num-epoch", "1", "--tensorboard") == 2
    error = capsys.readouterr().err.strip()
    assert "leave out --tensorboard" in error and len(error.splitlines()) == 1
    assert "rbm.params" not in os.listdir(tmp_path)


def test_a_full_disk(tmp_path, capsys, monkeypatch):
    assert run(tmp_path, "--num-epoch", "1") == 0
    event_file_writer = pytest.importorskip("tensorboardX.event_file_writer")
    monkeypatch.setattr(event_file_writer, "RecordWriter", FullDisk)
    capsys.readouterr()
    assert run(tmp_path, "--num-epoch", "2", "--tensorboard", "--resume") == 2
    error = capsys.readouterr().err.strip()
    assert "No space left on device" in error and len(error.splitlines()) == 1
    assert len(read_metrics(tmp_path)) == 1  # only the whole epoch before is there


class FullDisk:
    """A file on a full disk: writing only fills a buffer, and flushing the buffer fails."""

    def __init__(self, path):
        self._buffered = 0

    def write(self, content):
        self._buffered += len(content)

    def flush(self):
        if self._buffered:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    close = flush
