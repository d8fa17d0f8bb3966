"""Call the native engine with random arguments for some seconds.

Usage: python fuzz_native.py SEED SECONDS
"""

import itertools
import sys
import time
import warnings

import numpy as np

from gluon_rbm.backend import native
from gluon_rbm.backend.native import classes, learning

SIZES = [0, 1, 2, 3, 5, 8, 12, 13, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 255, 256, 257]


def once(generator):
    chains = int(generator.choice([*SIZES, 1023, 1024, 1025, 2050]))
    num_visible, num_hidden = (int(n) for n in generator.choice(SIZES, size=2))
    scale = generator.choice([0, 0.1, 1, 1e3, 1e38, np.inf, np.nan])
    with np.errstate(invalid="ignore", over="ignore"):
        weight, visible_bias, hidden_bias = (
            (generator.normal(size=shape) * scale).astype(np.float32)
            for shape in ((num_visible, num_hidden), num_visible, num_hidden)
        )
    options = dict(
        key=generator.integers(0, 2**32, size=4),
        sweeps=int(generator.integers(1, 4)),
        num_threads=int(generator.choice([1, 2, 3, 8])),
        first_sweep=int(generator.integers(0, 2**32 - 100)),
        base=generator.normal(size=num_visible) if generator.random() < 0.5 else None,
        instruction_set=generator.choice(native.features()["instruction_sets"]),
    )
    if generator.random() < 0.5:
        ends = np.unique(generator.integers(0, num_visible + 1, size=2 * int(generator.integers(1, 20))))
        options["visible_units"] = ends[: len(ends) // 2 * 2].reshape(-1, 2)
    visible = generator.integers(0, 2, size=(chains, num_visible))
    if generator.random() < 0.3:
        return learn_once(generator, (weight, visible_bias, hidden_bias), chains, options)
    if generator.random() < 0.5:
        shape = (chains, num_visible) if generator.random() < 0.5 else num_visible
        options["clamp"] = generator.integers(0, 2, size=shape), generator.integers(0, 2, size=shape)
    if generator.random() < 0.3:
        betas = generator.random(int(generator.integers(2, 5))) * 3
        return native.anneal(
            weight, visible_bias, hidden_bias, visible=visible, betas=betas, finish=generator.random() < 0.5, **options
        )
    if generator.random() < 0.5:
        options["beta"] = generator.normal(size=chains)
    if generator.random() < 0.5:
        options["hidden"] = generator.integers(0, 2, size=(chains, num_hidden))
    else:
        options["visible"] = visible if generator.random() < 0.5 else generator.random((chains, num_visible))
    options["fixed_point"] = generator.random() < 0.5
    results = native.run(weight, visible_bias, hidden_bias, **options)
    assert all(np.isin(sample, (0, 1)).all() for sample in results[:2])
    return results


def learn_once(generator, parameters, chains, options):
    weight, rows, chains = parameters[0], int(generator.choice(SIZES[1:])), min(chains, 80) or 1
    how = {name: options[name] for name in ("num_threads", "instruction_set")}
    costs = {"sparsity_cost": 0.1, "sparsity_target": 0.2}
    data = generator.random((rows, len(weight)))
    data = data if generator.random() < 0.5 else data.round()
    samples = [generator.integers(0, 2, (chains, size)).astype(np.float32) for size in weight.shape]
    fixed_point = generator.random() < 0.5
    hidden = learning.hidden_probability(*parameters, data, fixed_point=fixed_point, **how)
    energy = learning.free_energy(*parameters, data, **how)
    label_weight = generator.normal(size=(int(generator.integers(1, 12)), weight.shape[1]))
    inputs = learning.hidden_input(*parameters, data, **how)
    classes.class_sums(inputs, label_weight, **how)
    classes.class_means(inputs, label_weight, generator.random((rows, len(label_weight))), **how)
    targets = [np.zeros(shape, np.float32) for shape in (*weight.shape, weight.shape)]
    learning.store_gradient(
        targets,
        generator.choice(["write", "add", "null"], size=3).tolist(),
        samples,
        (data, hidden),
        weight=weight,
        offsets=[np.full(size, 0.5, np.float32) for size in weight.shape] if generator.random() < 0.5 else (),
        weight_decay_l1=float(generator.choice([0, 0.1])),
        **costs,
        **how,
    )
    learning.learn(
        *parameters,
        data,
        samples,
        [np.zeros_like(array) for array in parameters] if generator.random() < 0.5 else [None] * 3,
        batch_size=int(generator.choice(SIZES[1:])),
        sweeps=options["sweeps"],
        key=options["key"],
        rate=0.1,
        momentum=0.5,
        from_data=generator.random() < 0.5,
        fixed_point=fixed_point,
        **costs,
        **how,
    )
    assert all(np.isin(sample, (0, 1)).all() for sample in samples)
    return hidden, energy, *targets


def main(seed, seconds):
    assert native.available(), native.available()
    warnings.simplefilter("ignore", RuntimeWarning)  # some weights do not fit into 16 bits
    generator = np.random.default_rng(seed)
    end = time.monotonic() + seconds
    for count in itertools.count():
        if time.monotonic() > end:
            break
        state = generator.bit_generator.state
        try:
            once(generator)
        except BaseException:
            print("call %d failed; the generator stood at %s" % (count, state))
            raise
    print("%d calls with seed %d" % (count, seed))


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
