"""Exact results by enumeration, in plain float64 NumPy, without the code under test."""

import itertools

import numpy as np


def states(num_units):
    """All 2^num_units binary states, float64 (2^num_units, num_units)."""
    return np.array(list(itertools.product((0.0, 1.0), repeat=num_units)))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def log_sum_exp(x):
    return x.max() + np.log(np.exp(x - x.max()).sum())


def energies(a, b, w, beta=1.0, base=None):
    """E_beta(v, h) of each pair of states, by loops: (2^V, 2^H)."""
    base = np.zeros_like(a) if base is None else base
    visible, hidden = states(len(a)), states(len(b))
    energy = np.empty((len(visible), len(hidden)))
    for row, v in enumerate(visible):
        for column, h in enumerate(hidden):
            energy[row, column] = -np.dot((1 - beta) * base + beta * a, v) - beta * (np.dot(b, h) + v @ w @ h)
    return energy


def log_z(a, b, w, beta=1.0, base=None):
    return log_sum_exp(-energies(a, b, w, beta, base).ravel())


def joint(a, b, w, beta=1.0, base=None):
    """p(v, h): (2^V, 2^H)."""
    negative = -energies(a, b, w, beta, base)
    return np.exp(negative - log_sum_exp(negative.ravel()))


def given(joint, **held):
    """Condition joint (2^V, 2^H) on visible states that satisfy groups and a clamp.

    groups : softmax groups (start, stop); exactly one unit is on, or none if all are held at 0
    mask, values : (V,); units with mask != 0 have these values
    """
    visible = states(int(np.log2(len(joint))))
    possible = np.ones(len(visible), bool)
    fixed = np.zeros(visible.shape[1], bool)
    if held.get("mask") is not None:
        fixed = np.asarray(held["mask"]) != 0
        possible &= (visible[:, fixed] == np.asarray(held["values"])[fixed]).all(axis=1)
    for start, stop in held.get("groups", ()):
        missing = fixed[start:stop].all() and not np.any(held["values"][start:stop])
        possible &= visible[:, start:stop].sum(axis=1) == (0 if missing else 1)
    joint = joint * possible[:, None]
    return joint / joint.sum()


def draw(joint, count, generator):
    """Exact samples (v, h) of a joint distribution (2^V, 2^H)."""
    index = generator.choice(joint.size, size=count, p=joint.ravel())
    num_visible, num_hidden = (int(np.log2(size)) for size in joint.shape)
    return states(num_visible)[index // joint.shape[1]], states(num_hidden)[index % joint.shape[1]]


def free_energies(a, b, w, visible, beta=1.0, base=None):
    """F_beta(v) of each row, by a sum over the hidden states."""
    base = np.zeros_like(a) if base is None else base
    result = []
    for v in visible:
        terms = np.array(
            [np.dot((1 - beta) * base + beta * a, v) + beta * (np.dot(b, h) + v @ w @ h) for h in states(len(b))]
        )
        result.append(-log_sum_exp(terms))
    return np.array(result)


def gradients(a, b, w, data):
    """Gradients of the mean of -log p(v) over data with respect to a, b, w, by enumeration."""
    probability, visible = joint(a, b, w).sum(axis=1), states(len(a))
    model_hidden, data_hidden = sigmoid(b + visible @ w), sigmoid(b + data @ w)
    model_w = sum(p * np.outer(v, h) for p, v, h in zip(probability, visible, model_hidden))
    data_w = sum(np.outer(v, h) for v, h in zip(data, data_hidden)) / len(data)
    return (
        probability @ visible - data.mean(axis=0),
        probability @ model_hidden - data_hidden.mean(axis=0),
        model_w - data_w,
    )


def draw_joint(a, b, w, count, generator, beta=1.0, base=None):
    """Exact samples (v, h) of p(v, h)."""
    return draw(joint(a, b, w, beta, base), count, generator)


def random_rbm(num_visible, num_hidden, generator, scale=1.0):
    return (
        generator.normal(scale=scale, size=num_visible),
        generator.normal(scale=scale, size=num_hidden),
        generator.normal(scale=scale, size=(num_visible, num_hidden)),
    )


def state_index(samples):
    """Index of each sample in `states`."""
    return (samples @ (2 ** np.arange(samples.shape[1])[::-1])).astype(int)


def chi_square(counts, expected):
    """Chi-square statistic and degrees of freedom.

    Cells with fewer than five expected counts are joined with the cell of the next larger number.
    """
    order = np.argsort(expected)
    observed_cells, expected_cells = [], []
    observed_sum = expected_sum = 0.0
    for index in order:
        observed_sum, expected_sum = observed_sum + counts[index], expected_sum + expected[index]
        if expected_sum >= 5:
            observed_cells.append(observed_sum)
            expected_cells.append(expected_sum)
            observed_sum = expected_sum = 0.0
    observed_cells, expected_cells = np.array(observed_cells), np.array(expected_cells)
    return ((observed_cells - expected_cells) ** 2 / expected_cells).sum(), len(expected_cells) - 1


def flip_visible(rbm, flipped):
    """Exchange on and off for each visible unit i with flipped[i] = 1.

    Returns the new RBM, and log Z of the old RBM minus log Z of the new one.
    """
    a, b, w = rbm
    sign, rows = 1 - 2 * flipped, flipped.astype(bool)
    return (sign * a, b + w[rows].sum(axis=0), sign[:, None] * w), a[rows].sum()


def bars_and_stripes_rbm(generator):
    """RBM with 2x2 pixels and 4 hidden units, after 3,000 steps along the exact gradient."""
    data = np.array([[0, 0, 0, 0], [1, 1, 1, 1], [1, 0, 1, 0], [0, 1, 0, 1], [1, 1, 0, 0], [0, 0, 1, 1]], float)
    rbm = np.zeros(4), np.zeros(4), generator.normal(scale=0.5, size=(4, 4))
    visible = states(4)
    for _ in range(3000):
        a, b, w = rbm
        score = visible @ a + np.logaddexp(0, b + visible @ w).sum(axis=1)
        probability = np.exp(score - log_sum_exp(score))[:, None]
        model_hidden, data_hidden = sigmoid(b + visible @ w), sigmoid(b + data @ w)
        rbm = (
            a + 0.5 * (data.mean(axis=0) - (probability * visible).sum(axis=0)),
            b + 0.5 * (data_hidden.mean(axis=0) - (probability * model_hidden).sum(axis=0)),
            w + 0.5 * (data.T @ data_hidden / 6 - (probability * visible).T @ model_hidden),
        )
    return rbm


def uphill_slopes(a, b, w, base):
    """U = dE_beta/dbeta of each pair of states, as a flat array. E_beta is linear in beta."""
    return (energies(a, b, w, 1.0, base) - energies(a, b, w, 0.0, base)).ravel()


def draw_replicas(rbm, betas, base, count, generator):
    """Draw pairs of states exactly at each beta.

    Returns the probabilities of all pairs, and indices of drawn pairs (num_temperatures, count).
    """
    probabilities = [joint(*rbm, beta, base).ravel() for beta in betas]
    return probabilities, np.array([generator.choice(len(p), count, p=p) for p in probabilities])


def assert_drawn_from(index, probability):
    statistic, freedom = chi_square(np.bincount(index, minlength=len(probability)), len(index) * probability)
    assert statistic < freedom + 5 * np.sqrt(2 * freedom) + 10  # five standard deviations, and 10
