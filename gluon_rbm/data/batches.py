"""Batches of images as float32 arrays in [0, 1]. Images of bytes are converted batch by batch."""

from __future__ import annotations

import itertools
import math
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Callable, Iterator, Tuple, TypeVar, Union

import numpy as np

from gluon_rbm.backend.random import draw_evenly
from gluon_rbm.backend.types import HostArray, Key
from gluon_rbm.errors import InputError

__all__ = ["BINARIZE", "iterate_batches", "prepare_batches", "to_visible"]

_IMAGES_AT_ONCE = 512

_Rows = Union[slice, np.ndarray]
_Job = Tuple[_Rows, Union[np.random.SeedSequence, None]]
_Batch = TypeVar("_Batch")


def to_visible(images: HostArray, maximum: float) -> HostArray:
    """Flatten images, and divide their values by the maximum.

    Parameters
    ----------
    images
        Images (n, ...) of any shape.
    maximum
        The pixel value that means 1.

    Returns
    -------
    float32 (n, num_visible)
        Images in [0, 1].
    """
    flat = images.reshape(len(images), math.prod(images.shape[1:]))
    return np.divide(flat, maximum, dtype=np.float32)


BINARIZE = ("none", "sample", "threshold")


def iterate_batches(
    images: HostArray,
    maximum: float,
    batch_size: int,
    *,
    key: Key | None = None,
    weights: HostArray | None = None,
    binarize: str = "none",
    num_workers: int = 0,
    skip: int = 0,
) -> Iterator[HostArray]:
    """Iterate once over images in batches.

    Parameters
    ----------
    images
        Images (n, ...), bytes or floats.
    maximum
        The pixel value that means 1.
    batch_size
        Number of images in a batch. The last batch may have fewer.
    key
        Non-negative integers that fix all random numbers, and shuffle the images. None keeps
        their order.
    weights
        Weight of each image, (n,). With a key, n images are drawn, each on average in proportion
        to its weight. Weights need a key.
    binarize
        "none" keeps grey values. "sample" draws each pixel from its grey value, and needs a key.
        "threshold" turns pixels of at least 0.5 on, others off.
    num_workers
        Number of threads that prepare batches ahead. It does not change the batches. The threads
        are at most two jobs each ahead. A job is about 512 images, or a batch if it is larger.
    skip
        Number of batches to skip at the start. It does not change the other batches.

    Returns
    -------
    iterator of float32 (batch_size, num_visible)
        Batches in [0, 1].

    Raises
    ------
    InputError
        An argument is out of range. It is raised before the first batch is asked for.
    """
    if binarize not in BINARIZE:
        raise InputError(f"unknown way to binarize {binarize!r}; choose {', '.join(BINARIZE)}")
    if binarize == "sample" and key is None:
        raise InputError("binarize 'sample' needs a key; give one, or choose threshold")

    def prepare(images: HostArray, generator: np.random.Generator | None) -> HostArray:
        visible = to_visible(images, maximum)
        if binarize == "sample" and generator is not None:
            visible = generator.random(visible.shape, dtype=np.float32) < visible
        elif binarize == "threshold":
            visible = visible >= 0.5
        return visible.astype(np.float32, copy=False)

    return prepare_batches(images, batch_size, prepare, key=key, weights=weights, num_workers=num_workers, skip=skip)


def prepare_batches(
    images: HostArray,
    batch_size: int,
    prepare: Callable[[HostArray, Any], _Batch],
    *,
    key: Key | None = None,
    weights: HostArray | None = None,
    num_workers: int = 0,
    skip: int = 0,
) -> Iterator[_Batch]:
    """Iterate once over images in batches, each prepared by a function.

    Parameters
    ----------
    images, batch_size
        As in `iterate_batches`.
    prepare
        Function of the images of a batch and a generator. The generator is the batch's own NumPy
        generator, or None without a key.
    key, weights, num_workers, skip
        As in `iterate_batches`.

    Returns
    -------
    iterator
        What `prepare` returns for each batch.

    Raises
    ------
    InputError
        As in `iterate_batches`.
    """
    if batch_size < 1:
        raise InputError(f"the batch size is {batch_size}; it must be at least 1")
    if weights is not None and key is None:
        raise InputError("weights need a key, because images are drawn by them; give a key")
    if num_workers < 0:
        raise InputError(f"the number of workers is {num_workers}; it must be at least 0")

    def prepare_job(rows: _Rows, seed: np.random.SeedSequence | None) -> _Batch:
        return prepare(images[rows], None if seed is None else _generator(seed))

    jobs = itertools.islice(_batch_jobs(len(images), batch_size, key, weights), skip, None)
    if not num_workers:
        return (prepare_job(*job) for job in jobs)
    return _ahead(prepare_job, jobs, num_workers, max(1, _IMAGES_AT_ONCE // batch_size))


def _batch_jobs(num_images: int, batch_size: int, key: Key | None, weights: HostArray | None) -> Iterator[_Job]:
    """Rows and seed of each batch.

    As each batch has its own seed, it does not depend on the thread that prepares it, or on time.
    """
    starts = range(0, num_images, batch_size)
    if key is None:
        return ((slice(start, start + batch_size), None) for start in starts)
    root = np.random.SeedSequence([int(word) for word in key])
    generator = _generator(root)
    chosen = num_images if weights is None else draw_evenly(weights, num_images, generator)
    order = generator.permutation(chosen)
    return ((order[start : start + batch_size], root.spawn(1)[0]) for start in starts)


def _generator(seed: np.random.SeedSequence) -> np.random.Generator:
    return np.random.Generator(np.random.SFC64(seed))


def _ahead(function: Callable[..., _Batch], jobs: Iterator[_Job], num_workers: int, at_once: int) -> Iterator[_Batch]:
    """Yield `function(*job)` for every job in order, computed ahead by threads in a bounded window.

    A thread takes `at_once` jobs at a time, because the hand-over takes as long as a small batch.
    """
    window: deque[Future[list[_Batch]]] = deque()
    # The threads also end if the caller closes the generator early.
    with ThreadPoolExecutor(num_workers) as pool:
        for some in iter(lambda: list(itertools.islice(jobs, at_once)), []):
            window.append(pool.submit(lambda some: [function(*job) for job in some], some))
            if len(window) == 2 * num_workers:
                yield from window.popleft().result()
        while window:
            yield from window.popleft().result()
