"""Aligned sequences: FASTA files, weights of sequences, and letters as softmax groups of units.

A Potts RBM has a softmax group of visible units for each place of the alignment, with a unit for
each letter (Tubiana, Cocco & Monasson, eLife 8, 2019).
"""

from __future__ import annotations

import os
import string
from collections import Counter
from typing import Iterable, Iterator, NamedTuple

import numpy as np

from gluon_rbm.backend.array_files import check_ordinary
from gluon_rbm.backend.types import HostArray, Path, SoftmaxGroups
from gluon_rbm.errors import InputError

__all__ = [
    "NUCLEOTIDES",
    "PROTEINS",
    "SUFFIXES",
    "Alignment",
    "clusters",
    "dump_fasta",
    "groups_of",
    "one_hot",
    "read_fasta",
    "sequence_weights",
    "to_text",
]

SUFFIXES = (".fasta", ".fas", ".fa", ".afa")

PROTEINS, NUCLEOTIDES = "-ACDEFGHIKLMNPQRSTVWY", "-ACGT"
# Each of these letters stands for one of several letters, or for a rare one.
_AS_GAPS = {PROTEINS: "BJOUXZ*", NUCLEOTIDES: "BDHKMNRSVWY"}
_LEFT_OUT = frozenset(string.ascii_lowercase + ". \t")
_ROWS_AT_ONCE = 1000


class Alignment(NamedTuple):
    """Sequences of one length."""

    alphabet: str  #: the letters, the gap first
    sequences: HostArray  #: uint8 (num_sequences, length): the index of each letter in the alphabet
    names: tuple[str, ...]  #: names of the sequences


def read_fasta(path: Path) -> Alignment:
    """Read aligned sequences from a FASTA file.

    The sequences are nucleotides if at least nine of ten letters are A, C, G, T or U, gaps and N
    aside, and all others stand for several nucleotides. U is read as T. Otherwise they are
    proteins. Letters that stand for several letters or for rare ones, such as X, become gaps.
    Lower-case letters and dots are left out: they are insertions in the formats A2M and A3M.

    Parameters
    ----------
    path
        Path of the file.

    Returns
    -------
    Alignment
        The sequences and their names.

    Raises
    ------
    InputError
        The file cannot be read, is not a FASTA file, holds a character that is in no alphabet, or
        sequences of different lengths.
    """
    names, texts = _records(path)
    counts = Counter("".join(texts))
    plain = sum(counts[letter] for letter in "ACGTU")
    is_nucleotides = set(counts) <= set("U" + NUCLEOTIDES + _AS_GAPS[NUCLEOTIDES]) and (
        plain >= 0.9 * (sum(counts.values()) - counts["-"] - counts["N"])
    )
    alphabet = NUCLEOTIDES if is_nucleotides else PROTEINS
    if is_nucleotides:
        texts = [text.replace("U", "T") for text in texts]
    table = np.full(256, 255, np.uint8)
    table[np.frombuffer(alphabet.encode(), np.uint8)] = np.arange(len(alphabet))
    table[np.frombuffer(_AS_GAPS[alphabet].encode(), np.uint8)] = 0
    rows = []
    for name, text in zip(names, texts):
        if len(text) != len(texts[0]):
            raise InputError(
                "%s is not aligned: sequence %s has %d letters, but the first has %d"
                % (path, name, len(text), len(texts[0]))
            )
        row = table[np.frombuffer(text.encode("latin-1", "replace"), np.uint8)]
        if row.max() == 255:
            raise InputError(
                "%s: sequence %s holds %r, which is not a letter of the alphabet" % (path, name, text[row.argmax()])
            )
        rows.append(row)
    return Alignment(alphabet, np.stack(rows), tuple(names))


def _records(path: Path) -> tuple[list[str], list[str]]:
    """Read names and sequences of a FASTA file, without lower-case letters, dots and blanks."""
    try:
        check_ordinary(os.path.expanduser(path))
        with open(os.path.expanduser(path), encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
    except OSError as error:
        raise InputError("%s cannot be read (%s); give the path of a FASTA file" % (path, error.strerror)) from error
    names: list[str] = []
    texts: list[list[str]] = []
    for line in map(str.strip, lines):
        if line.startswith(">"):
            names.append(line[1:].strip() or "%d" % (len(names) + 1))
            texts.append([])
        elif line and not line.startswith(";"):
            if not texts:
                raise InputError("%s is not a FASTA file: it does not begin with a line such as >name" % path)
            texts[-1].append("".join(letter for letter in line if letter not in _LEFT_OUT))
    if not texts:
        raise InputError("%s holds no sequence" % path)
    joined = ["".join(text) for text in texts]
    if not joined[0]:
        raise InputError("%s: sequence %s is empty (lower case letters and dots are left out)" % (path, names[0]))
    return names, joined


def dump_fasta(path: Path, sequences: Iterable[str]) -> None:
    """Write sequences as a FASTA file.

    Parameters
    ----------
    path
        Path of the file to write.
    sequences
        Texts. Their names in the file are 1, 2, ...
    """
    with open(path, "w", encoding="ascii") as file:
        for number, sequence in enumerate(sequences, 1):
            file.write(">%d\n%s\n" % (number, sequence))


def to_text(sequences: HostArray, alphabet: str) -> list[str]:
    """Turn indices in the alphabet into text.

    Parameters
    ----------
    sequences
        Index of each letter, (num_sequences, length).
    alphabet
        The letters, as in `Alignment`.

    Returns
    -------
    list of str
        Texts of the sequences.
    """
    letters = np.frombuffer(alphabet.encode(), np.uint8)
    return [letters[row].tobytes().decode() for row in sequences]


def one_hot(sequences: HostArray, alphabet: str) -> HostArray:
    """Turn indices in the alphabet into one-hot units.

    Parameters
    ----------
    sequences, alphabet
        As in `to_text`.

    Returns
    -------
    uint8 (num_sequences, length, letters)
        Units, 1 for the letter of a place and 0 for all others.
    """
    return np.eye(len(alphabet), dtype=np.uint8)[sequences]


def groups_of(length: int, num_letters: int) -> SoftmaxGroups:
    """Softmax groups of the units of a sequence.

    Parameters
    ----------
    length
        Number of places.
    num_letters
        Number of letters of the alphabet, and so of units in a group.

    Returns
    -------
    tuple of (start, stop)
        Range of units of each place, in order.
    """
    return tuple((start, start + num_letters) for start in range(0, length * num_letters, num_letters))


# --- Similarity of sequences ----------------------------------------------------------------------


def _alike(sequences: HostArray, identity: float) -> Iterator[tuple[int, HostArray]]:
    """Find the pairs of sequences that agree in a fraction `identity` of places, block by block.

    Yields `first` and a matrix: row i tells which sequences agree with sequence `first` + i.
    """
    units = np.eye(int(sequences.max()) + 1, dtype=np.float32)[sequences].reshape(len(sequences), -1)
    least = np.ceil(identity * sequences.shape[1] - 1e-9)
    for first in range(0, len(units), _ROWS_AT_ONCE):
        yield first, units[first : first + _ROWS_AT_ONCE] @ units.T >= least - 0.5


def sequence_weights(sequences: HostArray, identity: float = 0.8) -> HostArray:
    """Weight of each sequence: 1 / the number of sequences that are similar to it.

    Two sequences are similar if they agree in enough places. Gaps agree with gaps. A sequence is
    similar to itself. The sum of the weights is the effective number of sequences.

    Parameters
    ----------
    sequences
        Index of each letter in the alphabet, (num_sequences, length).
    identity
        Fraction of places in which similar sequences agree, at least.

    Returns
    -------
    float64 (num_sequences,)
        Weights in (0, 1].

    Notes
    -----
    Morcos et al., PNAS 108, 2011.
    """
    return np.concatenate([1 / alike.sum(axis=1) for _, alike in _alike(sequences, identity)])


def clusters(sequences: HostArray, identity: float = 0.8) -> HostArray:
    """Find clusters of similar sequences by single linkage.

    Similar sequences, as in `sequence_weights`, are in one cluster. So sequences of two clusters
    are never similar.

    Parameters
    ----------
    sequences, identity
        As in `sequence_weights`.

    Returns
    -------
    int (num_sequences,)
        Number of each sequence's cluster, from 0.
    """
    from scipy import sparse  # slow to import, so only here
    from scipy.sparse.csgraph import connected_components

    rows, columns = [], []
    for first, alike in _alike(sequences, identity):
        row, column = np.nonzero(alike)
        rows.append(row + first)
        columns.append(column)
    places = np.concatenate(rows), np.concatenate(columns)
    graph = sparse.coo_matrix((np.ones(len(places[0]), bool), places), (len(sequences),) * 2)
    return connected_components(graph, directed=False)[1]
