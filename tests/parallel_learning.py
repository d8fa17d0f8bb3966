"""Learners on several devices or workers, and the exact log-likelihood of RBMs that they learn."""

import numpy as np
import reference
from training_runs import LEARNED, SMALL

from gluon_rbm.backend.framework import mx
from gluon_rbm.cli import options
from gluon_rbm.data import datasets
from gluon_rbm.data.batches import to_visible
from gluon_rbm.training.binary_start import initial_arrays
from gluon_rbm.training.learners import LEARNERS, DataParallelLearner
from gluon_rbm.training.process_group import ProcessGroup


def parse(*arguments):
    return options.parse([*SMALL, *arguments], "x")


def replicas(api, args, group=None):
    """Make a learner on --num-devices devices; return it and its process group."""
    group = group or ProcessGroup(args.kv_store, cuda=False, num_devices=args.num_devices)
    arrays = initial_arrays(args, datasets.load(args.dataset), mx.cpu())
    make = lambda arrays, context: LEARNERS[api](args, arrays, context, group.num_shards)  # noqa: E731
    return DataParallelLearner(make, arrays, group, args.rule), group


def exact_log_likelihood(arrays, visible):
    """Mean log p(v) over images, by enumeration of the hidden states."""
    a, b, w = (arrays[name].astype(float) for name in LEARNED)
    hidden = reference.states(len(b))
    log_z = reference.log_sum_exp(hidden @ b + np.logaddexp(0, a + hidden @ w.T).sum(axis=1))
    return (visible @ a + np.logaddexp(0, b + visible @ w).sum(axis=1)).mean() - log_z


def likelihoods(args, seeds, group=None):
    """Yield, for each seed, the exact log-likelihood of four images after training on them.

    `group` is the process group of the workers.
    """
    visible = to_visible(datasets.load("bars-and-stripes").train_images, 1)[1:5]
    for seed in map(int, seeds):
        generator = np.random.default_rng(seed)
        learner, shards = replicas("gluon", args, group)
        mx.random.seed(seed + shards.rank)
        for _ in range(60):
            learner.step(shards.scatter(visible[generator.integers(0, 4, 8)]))
        yield exact_log_likelihood(learner.gather(), visible)


def assert_equally_good(one, other):
    """Both means are equal within 4.5 standard errors, and something was learned."""
    one, other = np.array(one), np.array(other)
    error = np.sqrt((one.var(ddof=1) + other.var(ddof=1)) / len(one))
    print("one %.3f, other %.3f, standard error %.3f" % (one.mean(), other.mean(), error))
    assert len(one) == len(other) and abs(one.mean() - other.mean()) < 4.5 * error
    assert min(one.mean(), other.mean()) > 16 * np.log(0.5) + 2
