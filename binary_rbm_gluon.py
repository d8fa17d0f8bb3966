"""Train a binary RBM with MXNet's Gluon API: `python binary_rbm_gluon.py --help`."""

import os
import sys

if __name__ == "__main__":
    from gluon_rbm.backend import interruption

    interruption.quiet()

from binary_rbm import BinaryRBMBlock
from gluon_rbm.backend.framework import mx
from gluon_rbm.training import binary_training, optimization

__all__ = ["GluonLearner", "main"]


class GluonLearner(binary_training.Learner):
    """A `BinaryRBMBlock` and its `gluon.Trainer` (see `gluon_rbm.training.binary_training`)."""

    def __init__(self, args, arrays, context, parts=1):
        num_visible = arrays["visible_layer_bias"].shape[0]
        self._context, self._divisor = context, parts * args.batch_size
        self._rbm = BinaryRBMBlock(num_visible=num_visible, prefix="", **binary_training.learner_settings(args, parts))
        self._rbm.initialize(ctx=context)
        self._parameters = self._rbm.collect_params()
        for name, array in arrays.items():
            self._parameters[name].set_data(array)
        self._rbm.hybridize()
        self._trainer = mx.gluon.Trainer(self._parameters, optimization.make_optimizer(args), kvstore=None)
        self.updater = self._trainer._updaters[0]  # there is no public way to a trainer's state but pickle
        self.parameter_names = {
            index: parameter.name
            for index, parameter in self.updater.optimizer.param_dict.items()
            if parameter.grad_req != "null"
        }

    def backward(self, batch):
        with mx.autograd.record():
            visible_prob_1, _ = self._rbm(batch)
        visible_prob_1.backward()
        return visible_prob_1

    def update(self):
        self._trainer.step(self._divisor)

    def gradients(self):
        return {name: self._parameters[name].grad(self._context) for name in self.parameter_names.values()}

    def arrays(self):
        return {name: parameter.data(self._context) for name, parameter in self._parameters.items()}


def main(argv=None):
    return binary_training.main(argv, os.path.basename(__file__), "gluon", GluonLearner)


if __name__ == "__main__":
    sys.exit(main())
