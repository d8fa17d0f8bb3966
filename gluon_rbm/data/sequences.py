"""Aligned sequences: FASTA files, how much each sequence counts, and letters as softmax groups of units.

A Potts RBM is an RBM whose visible units are a softmax group for each place of the alignment, a unit for each letter
(Tubiana, Cocco & Monasson, eLife 8, 2019).
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
_AS_GAPS = {PROTEINS: "BJOUXZ*", NUCLEOTIDES: "BDHKMNRSVWY"}  # letters that stand for several, or for what is rare
_LEFT_OUT = frozenset(string.ascii_lowercase + ". \t")
_ROWS_AT_ONCE = 1000


class Alignment(NamedTuple):
    """Sequences of one length."""

    alphabet: str  #: its letters, the gap first
    sequences: HostArray  #: uint8 (num_sequences, length): the places of letters in the alphabet
    names: tuple[str, ...]


def read_fasta(path: Path) -> Alignment:
    """Read aligned sequences from a FASTA file.

    The alphabet is that of nucleotides where nine of ten letters are (U counts as T) and the others stand for several
    of them, else that of proteins. Letters that stand for several, such as X, count as gaps. Lower
    case letters and dots, which are insertions in the formats
    A2M and A3M, are left out.

    Raises
    ------
    InputError
        The file cannot be read or holds no FASTA, a letter that is in no alphabet, or sequences of several lengths.
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
                "%s is not aligned: sequence %s has %d letters, the first %d" % (path, name, len(text), len(texts[0]))
            )
        row = table[np.frombuffer(text.encode("latin-1", "replace"), np.uint8)]
        if row.max() == 255:
            raise InputError("%s: sequence %s holds %r, which is no letter" % (path, name, text[row.argmax()]))
        rows.append(row)
    return Alignment(alphabet, np.stack(rows), tuple(names))


def _records(path: Path) -> tuple[list[str], list[str]]:
    """Names and sequences of a FASTA file, in upper case letters and gaps."""
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
                raise InputError("%s is no FASTA file: it does not begin with a line such as >name" % path)
            texts[-1].append("".join(letter for letter in line if letter not in _LEFT_OUT))
    if not texts:
        raise InputError("%s holds no sequence" % path)
    joined = ["".join(text) for text in texts]
    if not joined[0]:
        raise InputError("%s: sequence %s is empty (lower case letters and dots are left out)" % (path, names[0]))
    return names, joined


def dump_fasta(path: Path, sequences: Iterable[str]) -> None:
    """Write sequences as FASTA, named by their numbers."""
    with open(path, "w", encoding="ascii") as file:
        for number, sequence in enumerate(sequences, 1):
            file.write(">%d\n%s\n" % (number, sequence))


def to_text(sequences: HostArray, alphabet: str) -> list[str]:
    """Sequences of places in the alphabet as text."""
    letters = np.frombuffer(alphabet.encode(), np.uint8)
    return [letters[row].tobytes().decode() for row in sequences]


def one_hot(sequences: HostArray, alphabet: str) -> HostArray:
    """uint8 (num_sequences, length, letters) in {0, 1}."""
    return np.eye(len(alphabet), dtype=np.uint8)[sequences]


def groups_of(length: int, num_letters: int) -> SoftmaxGroups:
    """The softmax groups of a sequence's units."""
    return tuple((start, start + num_letters) for start in range(0, length * num_letters, num_letters))


# --- How alike sequences are ------------------------------------------------------------------------------------------


def _alike(sequences: HostArray, identity: float) -> Iterator[tuple[int, HostArray]]:
    """(first, alike): which sequences agree with those from the first on in so many of their places, block by block."""
    units = np.eye(int(sequences.max()) + 1, dtype=np.float32)[sequences].reshape(len(sequences), -1)
    least = np.ceil(identity * sequences.shape[1] - 1e-9)
    for first in range(0, len(units), _ROWS_AT_ONCE):
        yield first, units[first : first + _ROWS_AT_ONCE] @ units.T >= least - 0.5


def sequence_weights(sequences: HostArray, identity: float = 0.8) -> HostArray:
    """1 / the number of sequences that agree with each in so many of their places, itself included: float64.

    (Morcos et al., PNAS 108, 2011. Gaps agree with gaps.) The sum is the effective number of sequences.
    """
    return np.concatenate([1 / alike.sum(axis=1) for _, alike in _alike(sequences, identity)])


def clusters(sequences: HostArray, identity: float = 0.8) -> HostArray:
    """The number of each sequence's cluster: int (num_sequences,).

    Sequences that agree in so many places are in one cluster (single linkage), so that none of two clusters do.
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
