"""Compare learning methods by exact likelihoods on the 30 bars and stripes of 4x4 pixels.

    python benchmarks/bars_and_stripes.py [--runs 5]

The methods are CD and PCD, plain and centered, and tempered chains. The benchmark takes two minutes
on one core, and prints the table of docs/learning.md.

The RBM has 12 hidden units and 100 chains, with k = 5. It makes 2,000 steps with all 30 images. The
learning rate is 0.3 for 30 % of the steps, and then falls linearly to zero. A run gives a mean
log-likelihood in nats per image, with log Z by enumeration. The table shows the mean and the
standard deviation over runs with different seeds. No model can exceed -log 30 = -3.40.
"""

import argparse
import sys

import numpy as np
from common import ROOT  # noqa: F401 (puts the package on the path)

# isort: split
import ais
from binary_rbm import BinaryRBMBlock
from gluon_rbm.backend.framework import mx
from gluon_rbm.data import datasets
from gluon_rbm.data.batches import to_visible
from gluon_rbm.likelihood import enumeration
from gluon_rbm.likelihood.rules import LearningRule
from gluon_rbm.training.optimization import rate_factor

RULES = {
    "CD-5": LearningRule(chains="data"),
    "CD-5, centered": LearningRule(chains="data", centering=0.01),
    "PCD-5": LearningRule(),
    "PCD-5, centered": LearningRule(centering=0.01),
    "tempered, 5 temperatures, k = 5, centered": LearningRule(chains="tempered", num_temperatures=5, centering=0.01),
}
STEPS, RATE, HOLD = 2000, 0.3, 0.3
LOOKS = (500, 1000, 1500, 2000)


def learn(rule, seed, images):
    """Train an RBM, and return the exact mean log-likelihoods after the steps in `LOOKS`."""
    mx.random.seed(seed)
    np.random.seed(seed)  # MXNet's initializers use it
    rbm = BinaryRBMBlock(12, 5, True, num_visible=16, num_chains=100, rule=rule)
    rbm.initialize(mx.init.Normal(sigma=0.01))
    rbm.hybridize()
    trainer = mx.gluon.Trainer(rbm.collect_params(), "sgd")
    values = []
    for step in range(STEPS):
        with mx.autograd.record():
            loss = rbm(images)[0]
        loss.backward()
        trainer.set_learning_rate(RATE * rate_factor("linear", HOLD, step / STEPS))
        trainer.step(1)
        if step + 1 in LOOKS:
            log_z = enumeration.log_partition(rbm.rbm_parameters)
            values.append(ais.mean_log_likelihood(rbm.rbm_parameters, images, log_z).mean)
    return values


def main(argv=None):
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="runs of each method; default %(default)s")
    args = parser.parse_args(argv)
    images = mx.nd.array(to_visible(datasets.load("bars-and-stripes").train_images, 1))
    print(
        "| chains | %s |\n|%s" % (" | ".join("%s steps" % f"{look:,}" for look in LOOKS), " --- |" * (len(LOOKS) + 1))
    )
    for name, rule in RULES.items():
        values = np.array([learn(rule, seed, images) for seed in range(args.runs)])
        cells = ["%.2f ± %.2f" % pair for pair in zip(values.mean(axis=0), values.std(axis=0))]
        print("| %s | %s |" % (name, " | ".join(cells)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
