"""Aligned sequences: files, units, weights and clusters."""

import numpy as np
import pytest

from gluon_rbm.data import datasets, sequences
from gluon_rbm.data.sequences import NUCLEOTIDES, PROTEINS
from gluon_rbm.errors import InputError


def written(tmp_path, text, name="some.fasta"):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_proteins(tmp_path):
    alignment = sequences.read_fasta(written(tmp_path, "; made up\n>one the first\nAC-\nDX\n\n>\nWYLMN\n"))
    assert alignment.alphabet == PROTEINS and len(PROTEINS) == 21
    assert alignment.names == ("one the first", "2")
    assert sequences.to_text(alignment.sequences, PROTEINS) == ["AC-D-", "WYLMN"]


def test_nucleotides(tmp_path):
    alignment = sequences.read_fasta(written(tmp_path, ">a\nACGU-\n>b\nNTTTT\n"))
    assert alignment.alphabet == NUCLEOTIDES
    assert sequences.to_text(alignment.sequences, NUCLEOTIDES) == ["ACGT-", "-TTTT"]


def test_insertions_are_left_out(tmp_path):
    alignment = sequences.read_fasta(written(tmp_path, ">a\nACde.DF\n>b\nAC..W-\n"))
    assert sequences.to_text(alignment.sequences, PROTEINS) == ["ACDF", "ACW-"]


def test_a_written_file_is_read_back(tmp_path, generator):
    drawn = generator.integers(0, 21, (7, 30)).astype(np.uint8)
    path = tmp_path / "out.fasta"
    sequences.dump_fasta(path, sequences.to_text(drawn, PROTEINS))
    alignment = sequences.read_fasta(path)
    np.testing.assert_array_equal(alignment.sequences, drawn)
    assert alignment.names == tuple("1234567")


def test_units_of_sequences(generator):
    drawn = generator.integers(0, 5, (7, 3))
    units = sequences.one_hot(drawn, NUCLEOTIDES)
    assert units.shape == (7, 3, 5)
    np.testing.assert_array_equal(units.argmax(axis=2), drawn)
    assert sequences.groups_of(3, 5) == ((0, 5), (5, 10), (10, 15))


def test_weights_and_clusters_of_similar_sequences(generator, monkeypatch):
    """Weights and clusters against a comparison of all pairs, in more than one block of rows."""
    monkeypatch.setattr(sequences, "_ROWS_AT_ONCE", 13)
    parents = generator.integers(0, 21, (8, 20))
    drawn = parents[generator.integers(0, 8, 60)]
    drawn = np.where(generator.random(drawn.shape) < 0.1, generator.integers(0, 21, drawn.shape), drawn)
    alike = (drawn[:, None] == drawn).sum(axis=2) >= 16  # 80 % of 20
    np.testing.assert_allclose(sequences.sequence_weights(drawn), 1 / alike.sum(axis=1))
    found = sequences.clusters(drawn)
    reached = np.linalg.matrix_power(alike.astype(float), 60) > 0
    np.testing.assert_array_equal(found[:, None] == found, reached)


def test_sequences_that_occur_twice_count_once():
    drawn = np.array([[0, 1, 2, 3, 4]] * 3 + [[5, 6, 7, 8, 9]])
    np.testing.assert_allclose(sequences.sequence_weights(drawn), [1 / 3, 1 / 3, 1 / 3, 1])


@pytest.mark.parametrize(
    "message, text",
    [
        ("is not aligned: sequence b has 2 letters, but the first has 3", ">a\nACD\n>b\nAC\n"),
        ("sequence a holds '1', which is not a letter", ">a\nAC1\n"),
        ("it does not begin with a line such as >name", "ACD\n"),
        ("holds no sequence", "\n"),
        ("sequence a is empty", ">a\n>b\nACD\n"),
    ],
)
def test_a_file_that_is_no_alignment_is_an_error_of_one_line(tmp_path, message, text):
    with pytest.raises(InputError, match=message) as caught:
        sequences.read_fasta(written(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="give the path of a FASTA file"):
        sequences.read_fasta(tmp_path / "none.fasta")


@pytest.mark.parametrize("rare", ["R", "Y", "N", "W"])
def test_letters_for_several_nucleotides_make_no_protein(tmp_path, rare):
    path = tmp_path / "dna.fasta"
    path.write_text("".join(">%d\nACGTACGUACGT\n" % number for number in range(9)) + ">9\nACGTA%sGTACGT\n" % rare)
    alignment = sequences.read_fasta(path)
    assert alignment.alphabet == sequences.NUCLEOTIDES and alignment.sequences[9, 5] == 0


def test_sequences_cannot_be_resized(tmp_path, generator):
    path = tmp_path / "dna.fasta"
    letters = generator.choice(list("ACGT"), (60, 8))
    path.write_text("".join(">%d\n%s\n" % (number, "".join(row)) for number, row in enumerate(letters)))
    with pytest.raises(InputError, match="leave out --image-size"):
        datasets.load(str(path), image_size=(4, 4))
